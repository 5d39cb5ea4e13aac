//! QEMU's process, started with the descriptors that it inherits.

use crate::launch::compose::Composed;
use crate::launch::paths::GuestPaths;
use crate::launch::vhost;
use crate::process::spawn;
use std::os::fd::OwnedFd;
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
        fds.push((OwnedFd::from(listener), number));
    }
    fds.extend(vhost::open_all(&composed.vhost, composed.guest_cid, &composed.disk)?);
    let program = &composed.qemu[0];
    spawn(&composed.qemu, fds).map_err(|e| Stop::blame(Component::Qemu, format!("{program} does not start: {e}")))
}

/// Beginnings of the lines by which QEMU reports that KVM gave up on a guest, before the CPU's registers: from
/// `kvm_handle_internal_error` and `kvm_cpu_exec` (accel/kvm/kvm-all.c of QEMU 5.2 to 10.0) and x86's
/// `kvm_arch_handle_exit` (target/i386/kvm/kvm.c).
const GAVE_UP: [&str; 3] = ["KVM internal error", "error: kvm run failed", "KVM: entry failed"];

/// Returns QEMU's line about a KVM that gave up on its guest, if any: QEMU then pauses the guest and runs forever.
pub fn kvm_error(stderr: &str) -> Option<String> {
    let line = stderr.lines().find(|line| GAVE_UP.iter().any(|beginning| line.starts_with(beginning)))?;
    Some(line.trim().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::kvm_error;

    #[test]
    fn a_kvm_error_is_distinguished_from_a_warning() {
        let stderr = "qemu-system-x86_64: warning: x\nKVM internal error. Suberror: 1\nextra data[0]: 0x1\n";
        assert_eq!(kvm_error(stderr).as_deref(), Some("KVM internal error. Suberror: 1"));
        assert!(kvm_error("error: kvm run failed Bad address\n").is_some());
        assert_eq!(kvm_error("qemu-system-x86_64: warning: x\n"), None);
    }
}
