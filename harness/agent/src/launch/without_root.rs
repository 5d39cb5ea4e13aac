//! QEMU as a user other than root, as with `rootless = true` in Kata's configuration.
//!
//! Kata adds a user for a sandbox, in the group of /dev/kvm, with a directory of the user's own for QEMU's sockets.
//! Kata itself stays root: it opens the host's drivers and the socket of QMP, and QEMU inherits them
//! (`configureNonRootHypervisor` in src/runtime/pkg/containerd-shim-v2/create.go@3.32.0,
//! `configure_non_root_hypervisor` in src/runtime-rs/crates/runtimes/src/manager.rs@4.1.0).
//! QEMU opens everything else as that user: its own files and the guest's kernel, which a distro may make readable for
//! root only.
//!
//! Here the user is a number that /etc/passwd does not name.
//! Everything is tried as the user before QEMU is started, because QEMU's own message would not say whose file it is.

use crate::launch::compose::Composed;
use crate::launch::paths::GuestPaths;
use crate::launch::provided::Provided;
use crate::process::{User, as_user, prepare};
use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, geteuid, getrlimit};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use suites::check::{Check, Stop};
use suites::environment::Claims;
use suites::outcome::{Component, Grounds};

/// The first number that the user may have: distros give ordinary users lower ones.
const FIRST: u32 = 40_000;
/// The number of processes and threads that QEMU may need.
const PROCESSES: u64 = 256;
/// KVM's device.
const KVM: &str = "/dev/kvm";

/// Makes the guest one whose QEMU runs as another user: gives this user the directory of sockets, and checks that the
/// user can read what QEMU is given.
///
/// # Errors
/// A failure for files of the release that only root can use, a skip if the environment does not permit a QEMU without
/// root, an error for the harness's own files.
pub(super) fn drop_root(composed: &mut Composed, claims: &Claims, paths: &GuestPaths, provided: Provided) -> Check {
    if !geteuid().is_root() {
        return Err(Stop::skip("the environment lacks root, and only root starts QEMU as another user"));
    }
    // The limit applies to every user but root.
    if let Some(most) = getrlimit(Resource::Nproc).current.filter(|most| *most < PROCESSES) {
        let limit = format!("the environment's RLIMIT_NPROC is {most} for other users, expected {PROCESSES} or more");
        return Err(Stop::skip(limit));
    }
    let user = user(provided.kvm)?;
    own(&paths.sockets, &user)?;
    if provided.kvm && !(may(&user, "-r", KVM)? && may(&user, "-w", KVM)?) {
        // Kata's documentation leaves this to the admin: docs/how-to/how-to-run-rootless-vmm.md@4.1.0.
        return Err(Stop::skip(format!("the group of {KVM} may not use it (mode {:04o})", mode(KVM))));
    }
    let program = composed.qemu[0].clone();
    if !may(&user, "-x", &program)? {
        return Err(unusable(claims, Component::Qemu, "execute", &program));
    }
    if !may(&user, "-r", &claims.vmlinuz)? {
        return Err(unusable(claims, Component::Kernel, "read", &claims.vmlinuz));
    }
    let initramfs = readable(&user, &claims.initramfs, &paths.sockets)?;
    for word in composed.qemu.iter_mut().filter(|word| **word == claims.initramfs) {
        word.clone_from(&initramfs);
    }
    composed.user = Some(user);
    Ok(())
}

/// Returns a user whom the environment does not know, in the group of /dev/kvm if the guest uses it.
fn user(kvm: bool) -> Result<User, Stop> {
    let known = ["/etc/passwd", "/etc/group"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let number = free(&known.concat());
    let mut groups = Vec::new();
    if kvm {
        let device = fs::metadata(KVM).map_err(|e| Stop::error(format!("{KVM}: {e}")))?;
        groups.push(Gid::from_raw(device.gid()));
    }
    Ok(User { uid: Uid::from_raw(number), gid: Gid::from_raw(number), groups })
}

/// Returns the first number that no line of /etc/passwd or /etc/group has in its third field.
fn free(known: &str) -> u32 {
    let taken: Vec<u32> = known.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
    (FIRST..).find(|number| !taken.contains(number)).unwrap_or(FIRST)
}

/// Gives the user a directory and closes it to others, as Kata does with the user's /run/user/UID.
fn own(folder: &Path, user: &User) -> Check {
    give(folder, user)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o750))
        .map_err(|e| Stop::error(format!("closing {} to others: {e}", folder.display())))?;
    let folder = folder.to_string_lossy();
    match may(user, "-w", &folder)? && may(user, "-x", &folder)? {
        true => Ok(()),
        false => Err(Stop::error(format!("another user cannot reach {folder}: its parents must be searchable by all"))),
    }
}

/// Returns the path of a file of the harness's that the user can read: the file itself, or a copy in `folder` if the
/// harness's directory is closed to others.
fn readable(user: &User, file: &str, folder: &Path) -> Result<String, Stop> {
    if may(user, "-r", file)? {
        return Ok(file.to_owned());
    }
    let copy = folder.join("initramfs");
    fs::copy(file, &copy).map_err(|e| Stop::error(format!("copying {file} for another user: {e}")))?;
    give(&copy, user)?;
    let copy = copy.to_string_lossy().into_owned();
    match may(user, "-r", &copy)? {
        true => Ok(copy),
        false => Err(Stop::error(format!("another user cannot read {copy}"))),
    }
}

fn give(path: &Path, user: &User) -> Check {
    let failed = |e: io::Error| Stop::error(format!("giving {} to another user: {e}", path.display()));
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(failed)
}

/// Returns whether the user passes a check of test(1).
fn may(user: &User, check: &str, path: &str) -> Result<bool, Stop> {
    let mut command = Command::new("test");
    command.args([check, path]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match as_user(prepare(&mut command, Vec::new()), user.clone()).status() {
        Ok(status) => Ok(status.success()),
        Err(e) => Err(Stop::error(format!("starting a program as user {}: {e}", user.uid.as_raw()))),
    }
}

/// Returns the stop for a file of the release that the user cannot use; what the harness put in its place says nothing
/// about the release.
fn unusable(claims: &Claims, component: Component, doing: &str, path: &str) -> Stop {
    let what = format!("a QEMU that does not run as root cannot {doing} {path} (mode {:04o})", mode(path));
    match claims.candidates.contains_key(&component) {
        true => Stop::error(what),
        false => Stop::blame(component, what).resting_on(Grounds::Measured),
    }
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).map_or(0, |meta| meta.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_if_neither_a_user_nor_a_group_has_it() {
        assert_eq!(free("root:x:0:0:root:/root:/bin/sh\n"), FIRST);
        assert_eq!(free("a:x:40000:7::/:/bin/sh\nb:x:40001:\nbroken\n"), FIRST + 2);
    }
}
