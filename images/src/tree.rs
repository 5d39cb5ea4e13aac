//! A root filesystem as a directory: files in it, programs in it.
//!
//! Its content is not trusted: every path is looked up relative to the tree's descriptor, so that no link leads out.

pub(crate) mod archived;
pub(crate) mod attributes;
pub(crate) mod compare;
pub(crate) mod whiteout;

use crate::error::{Context, Failure, ImageErrorKind};
use crate::runner;
use operator::process::sandbox::BindMount;
use root::{Root, RootError};
use rustix::fs::{FileType, Mode, OFlags, makedev, mknodat, openat, symlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Opens the tree as a root.
pub(crate) fn open(tree: &Path) -> Result<Root, Failure> {
    Root::new(tree).map_err(failed)
}

/// Makes a failure from an error of reading or writing a file of the tree.
pub(crate) fn failed(error: RootError) -> Failure {
    let full = matches!(&error, RootError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull);
    match full {
        true => ImageErrorKind::DiskFull.into(),
        false => {
            ImageErrorKind::Io { context: "in the release's tree".to_owned(), source: io::Error::other(error) }.into()
        }
    }
}

/// Returns a path by which this process reaches an open file, independent of the file's name.
pub(crate) fn of_descriptor(open: &impl AsFd) -> PathBuf {
    Path::new("/proc/self/fd").join(open.as_fd().as_raw_fd().to_string())
}

/// A name in a folder of the tree; a link of that name is never followed.
pub(crate) struct FolderEntry {
    folder: OwnedFd,
    name: PathBuf,
    /// Path for messages.
    shown: PathBuf,
}

/// Returns the entry of a path: links are followed inside the tree, and a missing directory is created.
pub(crate) fn entry(root: &Root, inside: &Path) -> Result<FolderEntry, Failure> {
    let folder = root.make_folder(inside.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    Ok(FolderEntry::new(folder, inside.file_name().unwrap_or_default(), root.shown(inside)))
}

impl FolderEntry {
    pub(crate) fn new(folder: OwnedFd, name: &OsStr, shown: PathBuf) -> FolderEntry {
        FolderEntry { folder, name: name.into(), shown }
    }

    /// Returns a path by which only this process reaches the entry, even if its directory was renamed.
    pub(crate) fn path(&self) -> PathBuf {
        of_descriptor(&self.folder).join(&self.name)
    }

    /// Removes the entry, a directory with its content.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        let removed = match std::fs::symlink_metadata(self.path()) {
            Err(_) => Ok(()),
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(self.path()),
            Ok(_) => std::fs::remove_file(self.path()),
        };
        removed.context("removing", &self.shown)
    }

    /// Writes a new file, and replaces any existing entry.
    pub(crate) fn write(&self, mode: u32, content: &mut dyn io::Read) -> Result<File, Failure> {
        self.remove()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = openat(&self.folder, &self.name, flags, Mode::from_raw_mode(0o600))
            .map_err(io::Error::from)
            .map(File::from)
            .and_then(|mut file| {
                io::copy(content, &mut file)?;
                file.set_permissions(std::fs::Permissions::from_mode(mode))?;
                Ok(file)
            });
        written.context("writing", &self.shown)
    }
}

/// Writes a file of the tree, and replaces any existing entry.
pub(crate) fn write(root: &Root, inside: &str, mode: u32, mut content: &[u8]) -> Result<(), Failure> {
    entry(root, Path::new(inside))?.write(mode, &mut content).map(drop)
}

/// Copies a regular file of at most `limit` bytes out of a tree, to a new file.
///
/// The file is never completely in memory: an initrd has some 60 MB, and several releases are prepared at the same
/// time.
pub(crate) fn copy_out(tree: &Path, inside: &Path, limit: u64, to: &Path) -> Result<(), Failure> {
    let root = open(tree)?;
    let file = match root.file(inside) {
        Err(error) if error.is_missing() => {
            return Err(ImageErrorKind::NotInTree { what: inside.display().to_string() }.into());
        }
        file => file.map_err(failed)?,
    };
    let size = file.metadata().context("reading", &root.shown(inside))?.len();
    if size > limit {
        return Err(failed(RootError::TooLarge { path: root.shown(inside), limit }));
    }
    let copied = File::create_new(to).and_then(|mut target| io::copy(&mut file.take(size), &mut target));
    copied.map(drop).context("writing", to)
}

/// Removes a file or a directory of the tree.
pub(crate) fn remove(root: &Root, inside: &str) -> Result<(), Failure> {
    entry(root, Path::new(inside))?.remove()
}

/// Returns a command inside the tree, with a clean environment and no network; directories of the machine may be
/// mounted over the tree's.
pub(crate) fn command(tree: &Path, mounts: &[BindMount<'_>], program: &str) -> Result<Command, Failure> {
    let root = open(tree)?;
    let mounted_over = mounts.iter().map(|mount| mount.over);
    for folder in ["/proc", "/dev", "/tmp"].into_iter().chain(mounted_over) {
        root.make_folder(Path::new(folder)).map_err(failed)?;
    }
    let mut command = runner::of_tree(tree, mounts, program)?;
    command.env_clear().env("PATH", root::PATH).env("HOME", "/root").env("LC_ALL", "C.UTF-8").env("LANGUAGE", "C");
    Ok(command)
}

/// Makes the missing device nodes of an installed system, and the usual links next to them.
///
/// Programs of a tree cannot make device nodes, and do not see these: they have a `/dev` of their own.
pub(crate) fn devices(root: &Root) -> Result<(), Failure> {
    let dev = root.make_folder(Path::new("/dev")).map_err(failed)?;
    let shown = root.shown(Path::new("/dev"));
    let done = |made: rustix::io::Result<()>| match made {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(io::Error::from(e)).context("making the devices of", &shown),
    };
    let nodes = [
        ("console", 5, 1),
        ("full", 1, 7),
        ("null", 1, 3),
        ("ptmx", 5, 2),
        ("random", 1, 8),
        ("tty", 5, 0),
        ("urandom", 1, 9),
        ("zero", 1, 5),
    ];
    for (name, major, minor) in nodes {
        let mode = Mode::from_raw_mode(0o666);
        if done(mknodat(&dev, name, FileType::CharacterDevice, mode, makedev(major, minor)))? {
            // Independent of this process's umask.
            let node =
                FolderEntry::new(dev.try_clone().context("opening", &shown)?, OsStr::new(name), shown.join(name));
            let permissions = std::fs::Permissions::from_mode(0o666);
            std::fs::set_permissions(node.path(), permissions).context("changing the mode of", &node.shown)?;
        }
    }
    for folder in ["pts", "shm"] {
        done(rustix::fs::mkdirat(&dev, folder, Mode::from_raw_mode(0o755)))?;
    }
    for (name, to) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")]
        .map(|(n, fd)| (n, format!("/proc/self/fd{fd}")))
    {
        done(symlinkat(to, &dev, name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn writes_and_removals_do_not_leave_the_tree() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = open(dir.path()).unwrap();
        std::fs::write(outside.path().join("file"), "precious").unwrap();
        symlink(outside.path(), dir.path().join("folder")).unwrap();
        symlink(outside.path().join("file"), dir.path().join("link")).unwrap();
        write(&root, "/folder/file", 0o640, b"ours").unwrap();
        write(&root, "/link", 0o644, b"ours").unwrap();
        assert!(!dir.path().join("link").is_symlink());
        remove(&root, "/folder/file").unwrap();
        symlink(outside.path(), dir.path().join("gone")).unwrap();
        remove(&root, "/gone").unwrap();
        assert!(std::fs::symlink_metadata(dir.path().join("gone")).is_err());
        assert_eq!(std::fs::read_to_string(outside.path().join("file")).unwrap(), "precious");
    }

    #[test]
    fn only_regular_files_within_the_size_limit_are_copied_out() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("initrd"), "0123456789").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        symlink("/initrd", dir.path().join("link")).unwrap();
        symlink(outside.path().join("secret"), dir.path().join("out")).unwrap();
        std::fs::write(outside.path().join("secret"), "of the machine").unwrap();
        let to = outside.path().join("kept");
        let copy = |name: &str, limit| {
            let copied = copy_out(dir.path(), &Path::new("/").join(name), limit, &to);
            copied.map_err(|failure| failure.cause.to_string())
        };
        for (name, limit, expected) in [
            ("initrd", 9, "has more than 9 bytes"),
            ("folder", 10, "not a regular file"),
            ("out", 10, "/out was not found in the tree"),
            ("none", 10, "/none was not found in the tree"),
        ] {
            let error = copy(name, limit).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
            assert!(!to.exists(), "{name}");
        }
        copy("link", 10).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "0123456789");
        assert!(copy("initrd", 10).is_err(), "what is there already is not written over");
    }
}
