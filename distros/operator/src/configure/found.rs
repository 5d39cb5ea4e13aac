//! Inventory of a machine: paths, the daemon's flavour, and features that QEMU was built with.
//!
//! Binaries are read, never run: the root may be another machine's, or another architecture's.

use super::guest::GuestKernel;
use super::initrd::Initrd;
use crate::kernel_image::newest;
use crate::packages::QueryError;
use model::package::{PackageName, PackageVersion};
use model::release::Release;
use model::share::Share;
use model::virtiofsd::Flavour;
use root::{InsidePath, Root, RootError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Maximum number of bytes of a binary that are searched; QEMU's binaries have about 30 MB.
const MAX_BINARY: u64 = 512 << 20;

/// An installed virtio-fs daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundVirtiofsd {
    /// Its path.
    pub path: InsidePath,
    /// The flavour: the C daemon of QEMU, or the Rust one.
    pub flavour: Flavour,
}

/// The findings on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// The path of the record's VMM, if the program is installed.
    pub hypervisor: Option<InsidePath>,
    /// Paths of the record's programs at which a file stands that is not executable.
    pub no_programs: Vec<InsidePath>,
    /// Whether that QEMU was linked with liburing; `None` if this cannot be determined (statically linked).
    pub io_uring: Option<bool>,
    /// Shared filesystems for which this QEMU has no device: `virtio-9p` in Enterprise Linux's.
    pub lacks: Vec<Share>,
    /// Whether the kernel forbids io_uring for everyone (`kernel.io_uring_disabled` is 2).
    pub io_uring_forbidden: bool,
    /// The record's virtio-fs daemon, if it is installed.
    pub daemon: Option<FoundVirtiofsd>,
    /// The image of the newest kernel; see [`newest`].
    pub kernel: Option<PathBuf>,
    /// Whether kernels of other flavours are installed too, and nothing shows which one the record means.
    pub kernel_in_doubt: bool,
    /// The content of the named initrd, if it was examined.
    pub initrd: Option<Initrd>,
    /// Versions of the release's packages that are installed.
    pub packages: BTreeMap<PackageName, PackageVersion>,
    /// Whether these versions are known.
    pub database: PackageDatabase,
}

/// The state of the package database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageDatabase {
    /// The database was not queried.
    #[default]
    NotAsked,
    /// The database was read.
    Read,
    /// The database cannot be read, with the reason.
    Unread(String),
}

impl Inventory {
    /// Gathers what a release's record names, below a root, for guests of this kind.
    ///
    /// # Errors
    ///
    /// A file that these guests need may exist but cannot be read, or the package database, which says which kernel it
    /// is, is damaged.
    pub fn gather(root: &Root, release: &Release, guest: &GuestKernel) -> Result<Inventory, QueryError> {
        let mut no_programs = Vec::new();
        let mut find_program = |path: &InsidePath| program(root, path, &mut no_programs);
        let qemu = release.qemu().map(|v| find_program(&v.path)).transpose()?.flatten();
        let daemon =
            release.filesystem(Share::VirtioFs).and_then(|f| f.path.as_ref()).map(find_program).transpose()?.flatten();
        let (hypervisor, qemu) = qemu.unzip();
        // A sysctl that the kernel does not have or does not show forbids nothing.
        let sysctl = root.utf8_if_any(Path::new("/proc/sys/kernel/io_uring_disabled")).ok().flatten();
        let kernel = match &release.kernel {
            Some(kernel) => newest(root, kernel.image.as_str(), &kernel.packages, Some(release.package_manager)),
            None => Ok(None),
        };
        let kernel = match guest {
            GuestKernel::Own { kernel: None, .. } => kernel?,
            // These guests boot another kernel, so errors about this one do not matter.
            GuestKernel::Own { kernel: Some(_), .. } | GuestKernel::Kata => kernel.ok().flatten(),
        };
        Ok(Inventory {
            io_uring: qemu.as_deref().and_then(links_liburing),
            lacks: qemu.as_deref().map(missing_shares).unwrap_or_default(),
            io_uring_forbidden: sysctl.is_some_and(|v| v.trim() == "2"),
            hypervisor,
            no_programs,
            daemon: daemon.map(|(path, bytes)| FoundVirtiofsd {
                path,
                flavour: Flavour::of_program(|sign| contains(&bytes, sign)),
            }),
            kernel_in_doubt: kernel.as_ref().is_some_and(|k| k.in_doubt),
            kernel: kernel.map(|k| k.path),
            packages: BTreeMap::new(),
            database: PackageDatabase::NotAsked,
            initrd: None,
        })
    }
}

/// Returns a program's path and content; records the path if the file there is not executable.
fn program(
    root: &Root,
    path: &InsidePath,
    no_programs: &mut Vec<InsidePath>,
) -> Result<Option<(InsidePath, Vec<u8>)>, RootError> {
    let inside = path.as_path();
    let Some(found) = root.look(inside)? else { return Ok(None) };
    // A file that this user may not read is an error, whatever its mode.
    let bytes = if found.is_file() { root.head(inside, MAX_BINARY)? } else { Vec::new() };
    if root.is_program(inside)? {
        return Ok(Some((path.clone(), bytes)));
    }
    no_programs.push(path.clone());
    Ok(None)
}

/// Explains why a program cannot be used whose path leads to something not executable.
pub(super) fn no_program(path: &InsidePath) -> String {
    format!("{path} is not an executable file: make it executable, or reinstall it")
}

/// Returns the objection to a file that a key of Kata's QEMU configuration names, as a phrase that follows `which`.
///
/// # Errors
///
/// A directory in its path cannot be searched.
pub(super) fn objection_to(root: &Root, key: &str, named: &Path) -> Result<Option<&'static str>, RootError> {
    let is_run = ["path", "virtio_fs_daemon"].contains(&key);
    Ok(match root.has_file(named)? {
        false => Some("is not there"),
        true if is_run && !root.is_program(named)? => Some("is not an executable file"),
        true => None,
    })
}

/// Returns whether a program needs liburing: the name of a needed library is part of a dynamically linked binary.
fn links_liburing(binary: &[u8]) -> Option<bool> {
    match (contains(binary, "liburing.so"), contains(binary, "libc.so.")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// Returns the shared filesystems whose device does not occur in a QEMU binary; neither device is ever a loadable
/// module.
fn missing_shares(qemu: &[u8]) -> Vec<Share> {
    // A file that does not look like QEMU, perhaps a wrapper script, proves nothing.
    if !contains(qemu, "virtio-blk") {
        return Vec::new();
    }
    let devices = [(Share::VirtioFs, "vhost-user-fs-"), (Share::Virtio9p, "virtio-9p-")];
    devices.into_iter().filter(|(_, device)| !contains(qemu, device)).map(|(share, _)| share).collect()
}

fn contains(binary: &[u8], text: &str) -> bool {
    memchr::memmem::find(binary, text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_executable_is_not_a_program() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let qemu: InsidePath = "/qemu".parse().unwrap();
        let mut no_programs = Vec::new();
        assert_eq!(program(&root, &qemu, &mut no_programs).unwrap(), None);
        assert_eq!(objection_to(&root, "path", Path::new("/qemu")).unwrap(), Some("is not there"));
        assert_eq!(no_programs, Vec::<InsidePath>::new());
        std::fs::write(dir.path().join("qemu"), "q").unwrap();
        assert_eq!(program(&root, &qemu, &mut no_programs).unwrap(), None);
        assert_eq!(objection_to(&root, "path", Path::new("/qemu")).unwrap(), Some("is not an executable file"));
        assert_eq!(objection_to(&root, "kernel", Path::new("/qemu")).unwrap(), None);
        assert_eq!(no_programs, std::slice::from_ref(&qemu));
        std::fs::set_permissions(dir.path().join("qemu"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program(&root, &qemu, &mut no_programs).unwrap(), Some((qemu.clone(), b"q".to_vec())));
        assert_eq!(objection_to(&root, "path", Path::new("/qemu")).unwrap(), None);
    }

    #[test]
    fn liburing_is_detected_among_the_needed_libraries() {
        assert_eq!(links_liburing(b"\0libc.so.6\0liburing.so.2\0"), Some(true));
        assert_eq!(links_liburing(b"\0libc.so.6\0libaio.so.1\0"), Some(false));
        assert_eq!(links_liburing(b"static"), None);
    }

    #[test]
    fn a_qemu_without_a_device_lacks_its_filesystem() {
        assert_eq!(missing_shares(b"virtio-blk-pci\0vhost-user-fs-pci\0"), [Share::Virtio9p]);
        assert_eq!(missing_shares(b"virtio-blk-ccw\0vhost-user-fs-ccw\0virtio-9p-ccw\0"), []);
        assert_eq!(missing_shares(b"#!/bin/sh"), []);
    }
}
