//! Temporary files that keep packages' scripts from starting services and installing boot loaders in a tree.

use crate::error::{Context as _, Failure};
use crate::tree::{self, FolderEntry};
use root::Root;
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The files that keep packages' scripts from starting services; removed again when dropped.
#[derive(Debug)]
pub(super) struct Scaffold {
    undo: Vec<(OwnedFd, &'static str)>,
}

/// Name of a file while another file takes its place.
const ASIDE: &str = ".kata-qualify-aside";

impl Scaffold {
    pub(super) fn raise(tree: &Path) -> Result<Scaffold, Failure> {
        let root = tree::open(tree)?;
        for folder in ["/sys", "/etc/apt"] {
            root.make_folder(Path::new(folder)).map_err(tree::failed)?;
        }
        tree::devices(&root)?;
        let mut scaffold = Scaffold { undo: Vec::new() };
        scaffold.put(&root, "policy-rc.d", b"#!/bin/sh\nexit 101\n")?;
        // A cloud image has a boot loader, whose hook would look for a disk that no longer holds the tree.
        if root.symlink_metadata(Path::new("/usr/sbin/update-grub")).is_ok() {
            scaffold.put(&root, "update-grub", b"#!/bin/sh\nexit 0\n")?;
        }
        Ok(scaffold)
    }

    fn put(&mut self, root: &Root, name: &'static str, mut script: &[u8]) -> Result<(), Failure> {
        let folder = root.make_folder(Path::new("/usr/sbin")).map_err(tree::failed)?;
        let aside = format!("{ASIDE}-{name}");
        match renameat(&folder, name, &folder, aside) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()).context("moving aside", &root.shown(&Path::new("/usr/sbin").join(name))),
        }
        let path = root.shown(&Path::new("/usr/sbin").join(name));
        let again = folder.try_clone().context("opening", &path)?;
        FolderEntry::new(again, OsStr::new(name), path).write(0o755, &mut script)?;
        self.undo.push((folder, name));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    #[cfg_attr(lacks = "root", ignore = "needs root")]
    fn dropping_the_scaffold_restores_the_original_files() {
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
