//! The root filesystem named on a guest's kernel command line, mounted as the kernel would mount it without an
//! initramfs, and made the root directory.

use rustix::mount::{MountFlags, mount as mount_filesystem, mount_move};
use rustix::process::{chdir, chroot};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Mounts the root filesystem on a directory, which is created.
///
/// # Errors
/// If the command line names no root filesystem, or the kernel refuses to mount it.
pub(crate) fn mount(target: &Path) -> io::Result<()> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let root = RootParameters::of(&command_line)
        .ok_or_else(|| io::Error::other(format!("no root filesystem is named in {command_line:?}")))?;
    fs::create_dir_all(target)?;
    // Its partition may have appeared just now; mounting reports any other problem.
    let _ = suites::disk::opened(root.device, File::options().read(true));
    let (flags, options) = (if root.read_only { MountFlags::RDONLY } else { MountFlags::empty() }, root.flags);
    mount_filesystem(root.device, target, root.filesystem, flags, CString::new(options)?.as_c_str())
        .map_err(|e| io::Error::other(format!("mounting {} as {} with {options}: {e}", root.device, root.filesystem)))
}

/// Directories of the kernel's filesystems, which also exist in the new root.
const KEPT: [&str; 4] = ["dev", "proc", "run", "sys"];

/// Makes a mounted filesystem the root and executes a program in it, as an initramfs ends (switch_root(8)); returns
/// only on failure, with the reason.
pub(crate) fn switch(root: &Path, program: &str) -> io::Error {
    match enter(root) {
        Ok(()) => io::Error::other(format!("executing {program}: {}", Command::new(program).exec())),
        Err(e) => io::Error::other(format!("making {} the root: {e}", root.display())),
    }
}

fn enter(root: &Path) -> io::Result<()> {
    for folder in KEPT {
        mount_move(Path::new("/").join(folder), root.join(folder))?;
    }
    // The kernel's initial filesystem cannot be unmounted: it is covered, and never used again.
    chdir(root)?;
    mount_move(".", "/")?;
    chroot(".")?;
    Ok(chdir("/")?)
}

/// Parameters `root=`, `rootfstype=`, `rootflags=`, `ro`.
#[derive(Debug, PartialEq, Eq)]
struct RootParameters<'a> {
    device: &'a str,
    filesystem: &'a str,
    flags: &'a str,
    read_only: bool,
}

impl RootParameters<'_> {
    fn of(command_line: &str) -> Option<RootParameters<'_>> {
        let value =
            |key: &str| command_line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        Some(RootParameters {
            device: value("root")?,
            filesystem: value("rootfstype")?,
            flags: value("rootflags").unwrap_or_default(),
            read_only: command_line.split_whitespace().any(|word| word == "ro"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_filesystem_is_read_from_katas_parameters() {
        let line = "panic=1 root=/dev/pmem0p1 rootflags=dax,data=ordered,errors=remount-ro ro rootfstype=ext4 quiet\n";
        let root = RootParameters {
            device: "/dev/pmem0p1",
            filesystem: "ext4",
            flags: "dax,data=ordered,errors=remount-ro",
            read_only: true,
        };
        assert_eq!(RootParameters::of(line), Some(root));
        assert_eq!(RootParameters::of("panic=1 rootfstype=ext4"), None);
    }
}
