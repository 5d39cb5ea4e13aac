//! A root filesystem as a folder: files in it, programs in it.
//!
//! What is in it is a stranger's: every path is looked up below the tree's descriptor, where no link leads out.

use crate::command::{Laid, in_tree};
use crate::error::{Cause, Context, Failure};
use kata_osinfo::root::{Root, RootError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev, mknodat, openat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Takes the tree for a root.
pub(crate) fn open(tree: &Path) -> Result<Root, Failure> {
    Root::new(tree).map_err(failed)
}

/// A file of the tree that cannot be read or written.
pub(crate) fn failed(error: RootError) -> Failure {
    let full = matches!(&error, RootError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull);
    match full {
        true => Cause::DiskFull.into(),
        false => Cause::Io { context: "in the release's tree".to_owned(), source: io::Error::other(error) }.into(),
    }
}

/// A name in a folder of the tree; a link of that name is never followed.
pub(crate) struct Named {
    folder: OwnedFd,
    name: PathBuf,
    shown: PathBuf,
}

/// The folder of a path with the links in it followed inside, made where it is missing, and the name in it.
pub(crate) fn named(root: &Root, inside: &Path) -> Result<Named, Failure> {
    let folder = root.make_folder(inside.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    Ok(Named::new(folder, inside.file_name().unwrap_or_default(), root.shown(inside)))
}

impl Named {
    pub(crate) fn new(folder: OwnedFd, name: &OsStr, shown: PathBuf) -> Named {
        Named { folder, name: name.into(), shown }
    }

    /// A path by which this process and no other reaches it, whatever its folder is called by now.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(&self.name)
    }

    /// Removes what is there, a folder with all that is in it.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        let removed = match std::fs::symlink_metadata(self.path()) {
            Err(_) => Ok(()),
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(self.path()),
            Ok(_) => std::fs::remove_file(self.path()),
        };
        removed.context("removing", &self.shown)
    }

    /// Writes a new file in the place of whatever is there.
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

/// Writes a file of the tree in the place of whatever is there.
pub(crate) fn write(root: &Root, inside: &str, mode: u32, mut content: &[u8]) -> Result<(), Failure> {
    named(root, Path::new(inside))?.write(mode, &mut content).map(drop)
}

/// Removes a file or a folder of the tree.
pub(crate) fn remove(root: &Root, inside: &str) -> Result<(), Failure> {
    named(root, Path::new(inside))?.remove()
}

/// apt's package lists, which the tree's own apt may read.
pub(crate) fn lists(folder: &Path) -> Laid<'_> {
    Laid { folder, over: c"/var/lib/apt/lists", writable: false }
}

/// Packages that were fetched, where the tree's own apt looks for them.
pub(crate) fn archives(folder: &Path) -> Laid<'_> {
    Laid { folder, over: c"/var/cache/apt/archives", writable: true }
}

/// A command inside the tree: a clean environment, no network, no services, no questions.
pub(crate) fn command(tree: &Path, laid: &[Laid<'_>], program: &str) -> Result<Command, Failure> {
    let root = open(tree)?;
    let laid_over = laid.iter().filter_map(|l| l.over.to_str().ok());
    for folder in ["/proc", "/dev", "/tmp"].into_iter().chain(laid_over) {
        root.make_folder(Path::new(folder)).map_err(failed)?;
    }
    let mut command = in_tree(tree, laid, program)?;
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("LANGUAGE", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        // Debian's kernel hook makes no initrd then. Nobody boots the tree's own here, and it costs more than all else.
        .env("INITRD", "No");
    Ok(command)
}

/// The files that keep packages' scripts from starting services, taken away again when dropped.
#[derive(Debug)]
pub(crate) struct Scaffold {
    undo: Vec<(OwnedFd, &'static str)>,
}

/// What a file is called while another one takes its place.
const ASIDE: &str = ".kata-qualify-aside";

impl Scaffold {
    pub(crate) fn raise(tree: &Path) -> Result<Scaffold, Failure> {
        let root = open(tree)?;
        for folder in ["/sys", "/etc/apt"] {
            root.make_folder(Path::new(folder)).map_err(failed)?;
        }
        devices(&root)?;
        let mut scaffold = Scaffold { undo: Vec::new() };
        scaffold.put(&root, "policy-rc.d", b"#!/bin/sh\nexit 101\n")?;
        // A cloud image has a boot loader, whose hook looks for the disk that the tree no longer lies on.
        if root.symlink_metadata(Path::new("/usr/sbin/update-grub")).is_ok() {
            scaffold.put(&root, "update-grub", b"#!/bin/sh\nexit 0\n")?;
        }
        Ok(scaffold)
    }

    fn put(&mut self, root: &Root, name: &'static str, mut script: &[u8]) -> Result<(), Failure> {
        let folder = root.make_folder(Path::new("/usr/sbin")).map_err(failed)?;
        let aside = format!("{ASIDE}-{name}");
        match renameat(&folder, name, &folder, aside) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()).context("moving aside", &root.shown(Path::new(name))),
        }
        let script = Named::new(folder, OsStr::new(name), root.shown(Path::new(name))).put(&mut script)?;
        self.undo.push((script.folder, name));
        Ok(())
    }
}

impl Named {
    fn put(self, script: &mut dyn io::Read) -> Result<Named, Failure> {
        self.write(0o755, script)?;
        Ok(self)
    }
}

impl Drop for Scaffold {
    fn drop(&mut self) {
        for (folder, name) in &self.undo {
            let _ = unlinkat(folder, *name, AtFlags::empty());
            let _ = renameat(folder, format!("{ASIDE}-{name}"), folder, *name);
        }
    }
}

/// The device nodes of an installed Debian, and the links beside them, as far as they are missing.
///
/// Programs of a tree cannot make any, and do not see these: they have a `/dev` of their own.
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
            // Whatever this process' umask is.
            let node = Named::new(dev.try_clone().context("opening", &shown)?, OsStr::new(name), shown.join(name));
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
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree in which programs can run: this machine's shell and a few of its tools, and these scripts.
    pub(crate) fn with(scripts: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let place = |inside: &Path| {
            let path = dir.path().join(inside.strip_prefix("/").unwrap_or(inside));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for name in ["sh", "ln", "mkfifo", "rm", "truncate"] {
            let program = Path::new("/usr/bin").join(name);
            std::fs::copy(&program, place(&Path::new("/bin").join(name))).unwrap();
            let said = Command::new("ldd").arg(&program).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`
            for library in said.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
                std::fs::copy(library, place(library)).unwrap();
            }
        }
        for (path, script) in scripts {
            let path = place(Path::new(path));
            std::fs::write(&path, script).unwrap();
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, permissions).unwrap();
        }
        dir
    }

    #[test]
    fn what_is_written_and_removed_is_the_trees_own() {
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
    #[cfg_attr(lacks = "root", ignore = "needs root")]
    fn a_scaffold_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let sbin = dir.path().join("usr/sbin");
        std::fs::create_dir_all(&sbin).unwrap();
        symlink("/bin/true", sbin.join("update-grub")).unwrap();
        let scaffold = Scaffold::raise(dir.path()).unwrap();
        assert!(std::fs::read_to_string(sbin.join("policy-rc.d")).unwrap().contains("101"));
        assert!(!sbin.join("update-grub").is_symlink());
        drop(scaffold);
        assert_eq!(std::fs::read_link(sbin.join("update-grub")).unwrap(), Path::new("/bin/true"));
        assert_eq!(std::fs::read_dir(&sbin).unwrap().count(), 1);
    }
}
