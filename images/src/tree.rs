//! A root filesystem as a folder: paths inside it, commands inside it.

use crate::command::{Network, contained};
use crate::error::{Context, Failure};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Symlinks followed before giving up, as the kernel does.
const LINKS: usize = 40;

/// Where a path of the tree really lies, following symlinks as a process inside the tree would.
///
/// The last component may be missing; `..` above the root is refused rather than clamped.
///
/// # Errors
/// `..` above the root, too many symlinks, a file where a folder is needed.
pub(crate) fn resolve(tree: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut real: Vec<OsString> = Vec::new();
    let mut left: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            if real.pop().is_none() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "leads out of the tree"));
            }
            continue;
        }
        real.push(part);
        let here: PathBuf = tree.join(real.iter().collect::<PathBuf>());
        match std::fs::symlink_metadata(&here) {
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::other("too many symlinks"));
                }
                let target = std::fs::read_link(&here)?;
                if target.is_absolute() {
                    real.clear();
                } else {
                    real.pop();
                }
                left.extend(parts(&target));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(tree.join(real.iter().collect::<PathBuf>()))
}

/// A path of the tree with all its folders' symlinks followed inside the tree, for writing: never the machine's own file.
///
/// The last component is taken as it is, so that a symlink there is replaced rather than followed.
pub(crate) fn at(tree: &Path, file: &str) -> Result<PathBuf, Failure> {
    let file = Path::new(file);
    let parent = file.parent().unwrap_or(Path::new(""));
    let folder = resolve(tree, parent).context("resolving in the tree", parent)?;
    std::fs::create_dir_all(&folder).context("creating", &folder)?;
    Ok(folder.join(file.file_name().unwrap_or_default()))
}

/// A folder of the tree, made where it is missing; see [`at`].
pub(crate) fn folder(tree: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = resolve(tree, Path::new(name)).context("resolving in the tree", Path::new(name))?;
    std::fs::create_dir_all(&folder).context("creating", &folder)?;
    Ok(folder)
}

/// The components of a path, last first; the root and `.` mean nothing here.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|c| match c {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// A path of the tree as a process inside it writes it: `/usr/bin/x`.
pub(crate) fn inside(tree: &Path, real: &Path) -> Option<String> {
    real.strip_prefix(tree).ok().map(|p| format!("/{}", p.display()))
}

/// A command inside the tree: own mounts and processes, a clean environment, no services, no questions.
pub(crate) fn command(tree: &Path, network: Network, program: &str) -> Result<Command, Failure> {
    let mut command = contained(Some(tree), network, program)?;
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
    for variable in crate::apt::PROXY_VARIABLES {
        if let Ok(value) = std::env::var(variable) {
            command.env(variable, value);
        }
    }
    Ok(command)
}

/// The files that make a bare tree usable by a package manager, taken away again when dropped.
#[derive(Debug)]
pub(crate) struct Scaffold {
    undo: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Scaffold {
    /// Name service as on the machine, credentials of the machine's apt, and a policy that starts no service.
    pub(crate) fn raise(tree: &Path, aside: &Path) -> Result<Scaffold, Failure> {
        let mut scaffold = Scaffold { undo: Vec::new() };
        std::fs::create_dir_all(aside).context("creating", aside)?;
        devices(tree)?;
        for folder in ["proc", "sys", "tmp", "etc/apt/auth.conf.d", "usr/sbin"] {
            self::folder(tree, folder)?;
        }
        for (name, file) in ["etc/resolv.conf", "etc/apt/auth.conf"].iter().enumerate() {
            if let Ok(content) = std::fs::read(Path::new("/").join(file)) {
                let path = scaffold.put(tree, file, &aside.join(name.to_string()), &content)?;
                mode(&path, if *file == "etc/apt/auth.conf" { 0o600 } else { 0o644 })?;
            }
        }
        let auth = std::fs::read_dir("/etc/apt/auth.conf.d").into_iter().flatten().flatten();
        for (n, entry) in auth.enumerate() {
            if let (Ok(content), Some(name)) = (std::fs::read(entry.path()), entry.file_name().to_str()) {
                let file = format!("etc/apt/auth.conf.d/{name}");
                let path = scaffold.put(tree, &file, &aside.join(format!("auth{n}")), &content)?;
                mode(&path, 0o600)?;
            }
        }
        let policy = b"#!/bin/sh\nexit 101\n";
        let path = scaffold.put(tree, "usr/sbin/policy-rc.d", &aside.join("policy"), policy)?;
        mode(&path, 0o755)?;
        // A cloud image has a boot loader, whose hook looks for the disk that the tree no longer lies on.
        if at(tree, "usr/sbin/update-grub")?.exists() {
            let path = scaffold.put(tree, "usr/sbin/update-grub", &aside.join("grub"), b"#!/bin/sh\nexit 0\n")?;
            mode(&path, 0o755)?;
        }
        Ok(scaffold)
    }

    fn put(&mut self, tree: &Path, file: &str, aside: &Path, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = at(tree, file)?;
        let saved = std::fs::symlink_metadata(&path).is_ok();
        if saved {
            std::fs::rename(&path, aside).context("moving aside", &path)?;
        }
        self.undo.push((path.clone(), saved.then(|| aside.to_owned())));
        std::fs::write(&path, content).context("writing", &path)?;
        Ok(path)
    }
}

impl Drop for Scaffold {
    fn drop(&mut self) {
        for (path, saved) in &self.undo {
            let _ = std::fs::remove_file(path);
            if let Some(saved) = saved {
                let _ = std::fs::rename(saved, path);
            }
        }
    }
}

pub(crate) fn mode(path: &Path, mode: u32) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context("changing the mode of", path)
}

/// The device nodes that maintainer scripts use; a tree from an OCI or a cloud image has none.
fn devices(tree: &Path) -> Result<(), Failure> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let dev = folder(tree, "dev")?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let path = dev.join(name);
        if std::fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))
            .map_err(io::Error::from)
            .context("creating the device node", &path)?;
        mode(&path, 0o666)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_are_followed_inside_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        std::fs::create_dir_all(tree.join("usr/lib/qemu")).unwrap();
        symlink("usr/lib", tree.join("lib")).unwrap();
        symlink("/usr/lib/qemu", tree.join("usr/q")).unwrap();
        symlink("../../etc", tree.join("usr/up")).unwrap();
        symlink("loop", tree.join("loop")).unwrap();
        let of = |p: &str| resolve(tree, Path::new(p)).map(|r| inside(tree, &r).unwrap());
        assert_eq!(of("/lib/qemu/virtiofsd").unwrap(), "/usr/lib/qemu/virtiofsd");
        assert_eq!(of("/usr/q/x").unwrap(), "/usr/lib/qemu/x");
        assert!(of("/usr/up/passwd").is_err());
        assert!(of("/../x").is_err());
        assert!(of("/loop").is_err());
        assert_eq!(of("/no/such/file").unwrap(), "/no/such/file");
    }
}
