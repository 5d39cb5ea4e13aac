//! QEMU's process, started with the descriptors that it inherits.

use crate::launch::compose::Composed;
use crate::launch::paths::GuestPaths;
use crate::launch::vhost;
use crate::process::{spawn, spawn_as};
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::process::Child;
use suites::check::Stop;
use suites::outcome::Component;

/// Starts QEMU; its QMP socket is bound here and inherited, unless QEMU binds the path itself.
///
/// # Errors
/// A failure that blames QEMU if it does not start, an error if something cannot be opened for it.
pub(crate) fn start(composed: &Composed, paths: &GuestPaths) -> Result<Child, Stop> {
    let mut fds: Vec<(OwnedFd, i32)> = Vec::new();
    if let Some(number) = composed.qmp_fd {
        let listener = UnixListener::bind(&paths.qmp);
        let listener = listener.map_err(|e| Stop::error(format!("binding {}: {e}", paths.qmp.display())))?;
        if let Some(user) = &composed.user {
            // As both runtimes do: `createQmpSocket` in src/runtime/virtcontainers/qemu.go@4.1.0, `chown_to_parent` in
            // src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
            chown(&paths.qmp, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .map_err(|e| Stop::error(format!("giving {} away: {e}", paths.qmp.display())))?;
        }
        fds.push((OwnedFd::from(listener), number));
    }
    fds.extend(vhost::open_all(&composed.vhost, composed.guest_cid, &composed.disk)?);
    let program = &composed.qemu[0];
    let started = match &composed.user {
        Some(user) => spawn_as(&composed.qemu, fds, user),
        None => spawn(&composed.qemu, fds, None),
    };
    started.map_err(|e| Stop::blame(Component::Qemu, format!("{program} does not start: {e}")))
}
