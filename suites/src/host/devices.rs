//! The device nodes of Kata's host, and their permissions.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::row::{Row, row};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

const SOURCE: &str = include_str!("devices.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(kvm_and_vhost_nodes_are_there), &[Capability::HostKvm, Capability::HostVhost], Kernel)
        .blocked_by(&["host::kvm_modules_are_loaded", "host::vhost_modules_load"]),
    row!(Environment(tun_node_is_there), &[Capability::HostNetwork], Kernel).blocked_by(&["host::tun_loads"]),
];

/// /dev/kvm, /dev/vhost-vsock and /dev/vhost-net are character devices that root opens and that not everybody may
/// write.
///
/// Kata opens them as root and passes descriptors on; a rootless VMM gets /dev/kvm through its group
/// (src/runtime/pkg/resourcecontrol/cgroups.go@3.29.0 lists them for the device cgroup).
/// /dev/kvm is open to all on some distros, because KVM confines its users itself: that is noted.
fn kvm_and_vhost_nodes_are_there(env: &dyn EnvironmentSide) -> Check {
    for (path, minor) in [("/dev/kvm", Some(232)), ("/dev/vhost-vsock", None), ("/dev/vhost-net", Some(238))] {
        let mode = node(path, 10, minor)?;
        env.note(format!("{path} has mode {mode:04o}"));
        ensure!(mode & 0o002 == 0 || path == "/dev/kvm", "{path} may be written by everybody (mode {mode:04o})");
    }
    Ok(())
}

/// /dev/net/tun is the character device 10:200 and opens.
///
/// Kata makes a tap for each interface of a guest; its device cgroup allows exactly 10:200. That is `sandboxDevices` in
/// src/runtime/pkg/resourcecontrol/cgroups.go@4.1.0.
fn tun_node_is_there(env: &dyn EnvironmentSide) -> Check {
    let mode = node("/dev/net/tun", 10, Some(200))?;
    env.note(format!("/dev/net/tun has mode {mode:04o}"));
    Ok(())
}

/// Checks a node's kind and numbers, opens the node, and returns its permission bits.
///
/// The numbers are those of the kernel's Documentation/admin-guide/devices.txt; without a number there, any will do.
fn node(path: &str, major: u32, minor: Option<u32>) -> Result<u32, Stop> {
    let meta = std::fs::metadata(path).map_err(|e| Stop::fail(format!("{path}: {e}")))?;
    ensure_node(path, &meta, major, minor)?;
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(path);
    match opened {
        Ok(_) => Ok(meta.permissions().mode() & 0o7777),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() => {
            Err(Stop::skip(format!("the environment lacks root: {path}: {e}")))
        }
        Err(e) => Err(Stop::fail(format!("opening {path}: {e}"))),
    }
}

fn ensure_node(path: &str, meta: &std::fs::Metadata, major: u32, minor: Option<u32>) -> Check {
    ensure!(meta.file_type().is_char_device(), "{path} is no character device");
    let (is_major, is_minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    ensure!(is_major == major, "{path} has major number {is_major}, {major} was expected");
    ensure!(minor.is_none_or(|m| m == is_minor), "{path} has minor number {is_minor}, {minor:?} was expected");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_another_node_is_not_accepted_as_the_device_node() {
        let null = std::fs::metadata("/dev/null").unwrap();
        assert!(ensure_node("/dev/null", &null, 1, Some(3)).is_ok());
        assert!(ensure_node("/dev/null", &null, 1, Some(5)).is_err());
        assert!(ensure_node("/dev/null", &null, 10, None).is_err());
        let file = std::fs::metadata("/proc/self/exe").unwrap();
        assert!(ensure_node("/proc/self/exe", &file, 1, None).is_err());
    }
}
