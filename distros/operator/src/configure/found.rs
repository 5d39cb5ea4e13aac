//! What a machine has: paths, the daemon's flavour, what QEMU was built with.
//!
//! Binaries are read, never run: the root may be another machine's, or another architecture's.

use super::guest::Guest;
use super::initrd::Initrd;
use crate::kernel_image::newest;
use crate::packages::QueryError;
use model::package::{PackageName, PackageVersion};
use model::release::Release;
use model::share::Share;
use model::virtiofsd::Flavour;
use root::{Root, RootError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of a binary that are searched; QEMU's are some 30 MB.
const MAX_BINARY: u64 = 512 << 20;

/// A virtio-fs daemon that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundVirtiofsd {
    /// Its path.
    pub path: String,
    /// Which of the two.
    pub flavour: Flavour,
}

/// What was found on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// The record's VMM, where its program is there: its path.
    pub hypervisor: Option<String>,
    /// Paths of the record's programs at which something stands that nobody can execute.
    pub no_programs: Vec<String>,
    /// Whether that QEMU was linked with liburing; `None` where it cannot be told (statically linked).
    pub io_uring: Option<bool>,
    /// Shared filesystems that this QEMU has no device for: `virtio-9p` in Enterprise Linux's.
    pub lacks: Vec<Share>,
    /// Whether the kernel lets nobody use io_uring (`kernel.io_uring_disabled` is 2).
    pub io_uring_forbidden: bool,
    /// The record's virtio-fs daemon, where it is there.
    pub daemon: Option<FoundVirtiofsd>,
    /// The image of the kernel that counts; see [`newest`].
    pub kernel: Option<String>,
    /// Whether other flavours lie beside it, and nothing says which one the record means.
    pub kernel_in_doubt: bool,
    /// What is in the initrd that was named, where it was looked into.
    pub initrd: Option<Initrd>,
    /// Versions of the release's packages that are installed.
    pub packages: BTreeMap<PackageName, PackageVersion>,
    /// Whether those are known.
    pub database: PackageDatabase,
}

/// The answers of the package database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageDatabase {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It was read.
    Read,
    /// It cannot be read, and why.
    Unread(String),
}

impl Inventory {
    /// Looks below a root for what a release's record names, for such guests.
    ///
    /// # Errors
    ///
    /// That something which they need may be there and cannot be read, or that the package database, which says which
    /// kernel it is, is damaged.
    pub fn gather(root: &Root, release: &Release, guest: &Guest) -> Result<Inventory, QueryError> {
        let mut no_programs = Vec::new();
        let mut there = |path: &str| program(root, path, &mut no_programs);
        let qemu = release.qemu().map(|v| there(&v.path)).transpose()?.flatten();
        let daemon =
            release.filesystem(Share::VirtioFs).and_then(|f| f.path.as_deref()).map(there).transpose()?.flatten();
        let (hypervisor, qemu) = qemu.unzip();
        // One that the kernel does not have, or does not show, forbids nothing.
        let sysctl = root.utf8_if_any(Path::new("/proc/sys/kernel/io_uring_disabled")).ok().flatten();
        let kernel = match &release.kernel {
            Some(kernel) => newest(root, &kernel.image, &kernel.packages, Some(release.package_manager)),
            None => Ok(None),
        };
        let kernel = match guest {
            Guest::Own { kernel: None, .. } => kernel?,
            // Their kernel is another one.
            Guest::Own { kernel: Some(_), .. } | Guest::Kata => kernel.ok().flatten(),
        };
        Ok(Inventory {
            io_uring: qemu.as_deref().and_then(links_liburing),
            lacks: qemu.as_deref().map(lacks).unwrap_or_default(),
            io_uring_forbidden: sysctl.is_some_and(|v| v.trim() == "2"),
            hypervisor,
            no_programs,
            daemon: daemon.map(|(path, bytes)| FoundVirtiofsd {
                path,
                flavour: Flavour::of_program(|sign| contains(&bytes, sign)),
            }),
            kernel_in_doubt: kernel.as_ref().is_some_and(|k| k.in_doubt),
            kernel: kernel.and_then(|k| k.path.to_str().map(str::to_owned)),
            packages: BTreeMap::new(),
            database: PackageDatabase::NotAsked,
            initrd: None,
        })
    }
}

/// A program with its path and what is in it; noted down where something stands there that nobody can execute.
fn program(root: &Root, path: &str, no_programs: &mut Vec<String>) -> Result<Option<(String, Vec<u8>)>, RootError> {
    let inside = Path::new(path);
    let Some(found) = root.look(inside)? else { return Ok(None) };
    // What this user may not read is not known, whatever its mode is.
    let bytes = if found.is_file() { root.head(inside, MAX_BINARY)? } else { Vec::new() };
    if root.is_program(inside)? {
        return Ok(Some((path.to_owned(), bytes)));
    }
    no_programs.push(path.to_owned());
    Ok(None)
}

/// Why a program cannot be used at whose path something stands.
pub(super) fn no_program(path: &str) -> String {
    format!("{path} is no program: make it executable, or install it again")
}

/// The reason against a file that a key of Kata's configuration for QEMU names, after `which`.
///
/// # Errors
///
/// That a folder on the way to it cannot be searched.
pub(super) fn against(root: &Root, key: &str, named: &Path) -> Result<Option<&'static str>, RootError> {
    let is_run = ["path", "virtio_fs_daemon"].contains(&key);
    Ok(match root.has_file(named)? {
        false => Some("is not there"),
        true if is_run && !root.is_program(named)? => Some("is no program"),
        true => None,
    })
}

/// The name of a needed library stands in a dynamically linked program as it is.
fn links_liburing(binary: &[u8]) -> Option<bool> {
    match (contains(binary, "liburing.so"), contains(binary, "libc.so.")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// The shared filesystems whose device a QEMU does not name; neither is ever a module of its own.
fn lacks(qemu: &[u8]) -> Vec<Share> {
    // What does not look like a QEMU, a wrapper perhaps, says nothing.
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
    fn what_nobody_can_execute_is_no_program() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let mut none = Vec::new();
        assert_eq!(program(&root, "/qemu", &mut none).unwrap(), None);
        assert_eq!(against(&root, "path", Path::new("/qemu")).unwrap(), Some("is not there"));
        assert_eq!(none, Vec::<String>::new());
        std::fs::write(dir.path().join("qemu"), "q").unwrap();
        assert_eq!(program(&root, "/qemu", &mut none).unwrap(), None);
        assert_eq!(against(&root, "path", Path::new("/qemu")).unwrap(), Some("is no program"));
        assert_eq!(against(&root, "kernel", Path::new("/qemu")).unwrap(), None);
        assert_eq!(none, ["/qemu"]);
        std::fs::set_permissions(dir.path().join("qemu"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program(&root, "/qemu", &mut none).unwrap(), Some(("/qemu".to_owned(), b"q".to_vec())));
        assert_eq!(against(&root, "path", Path::new("/qemu")).unwrap(), None);
    }

    #[test]
    fn liburing_shows_in_what_a_program_needs() {
        assert_eq!(links_liburing(b"\0libc.so.6\0liburing.so.2\0"), Some(true));
        assert_eq!(links_liburing(b"\0libc.so.6\0libaio.so.1\0"), Some(false));
        assert_eq!(links_liburing(b"static"), None);
    }

    #[test]
    fn a_qemu_without_a_device_lacks_its_filesystem() {
        assert_eq!(lacks(b"virtio-blk-pci\0vhost-user-fs-pci\0"), [Share::Virtio9p]);
        assert_eq!(lacks(b"virtio-blk-ccw\0vhost-user-fs-ccw\0virtio-9p-ccw\0"), []);
        assert_eq!(lacks(b"#!/bin/sh"), []);
    }
}
