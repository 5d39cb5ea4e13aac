//! The root filesystem that a guest's kernel was told of, mounted as that kernel would have mounted it without an initramfs.

use rustix::mount::{MountFlags, mount as mount_filesystem};
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

/// Mounts it on a folder, which is made.
///
/// # Errors
/// When the kernel was told of none, or refuses to mount it.
pub(crate) fn mount(target: &Path) -> io::Result<()> {
    let told = fs::read_to_string("/proc/cmdline")?;
    let root = RootParameters::of(&told)
        .ok_or_else(|| io::Error::other(format!("no root filesystem is named in {told:?}")))?;
    fs::create_dir_all(target)?;
    let (flags, options) = (if root.read_only { MountFlags::RDONLY } else { MountFlags::empty() }, root.flags);
    mount_filesystem(root.device, target, root.filesystem, flags, CString::new(options)?.as_c_str())
        .map_err(|e| io::Error::other(format!("mounting {} as {} with {options}: {e}", root.device, root.filesystem)))
}

/// `root=`, `rootfstype=`, `rootflags=`, `ro`.
#[derive(Debug, PartialEq, Eq)]
struct RootParameters<'a> {
    device: &'a str,
    filesystem: &'a str,
    flags: &'a str,
    read_only: bool,
}

impl RootParameters<'_> {
    fn of(told: &str) -> Option<RootParameters<'_>> {
        let value = |key: &str| told.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        Some(RootParameters {
            device: value("root")?,
            filesystem: value("rootfstype")?,
            flags: value("rootflags").unwrap_or_default(),
            read_only: told.split_whitespace().any(|word| word == "ro"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_filesystem_is_what_katas_parameters_say() {
        let told = "panic=1 root=/dev/pmem0p1 rootflags=dax,data=ordered,errors=remount-ro ro rootfstype=ext4 quiet\n";
        let root = RootParameters {
            device: "/dev/pmem0p1",
            filesystem: "ext4",
            flags: "dax,data=ordered,errors=remount-ro",
            read_only: true,
        };
        assert_eq!(RootParameters::of(told), Some(root));
        assert_eq!(RootParameters::of("panic=1 rootfstype=ext4"), None);
    }
}
