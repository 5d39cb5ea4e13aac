//! Compares a derived tree with its base: equal files are stored once, and different ones become a layer.
//!
//! The derived tree is a complete copy while packages and overlays are written into it; its unchanged files become hard
//! links to those of the base only after the last write.
//! Finished trees are only read, so that a change of one tree can never show in the other.

use super::attributes;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Size limit of a compared file, in bytes: a larger file, larger than any in a release, may be a hole that takes hours
/// to read, and counts as different.
const LARGEST: u64 = 4 << 30;

/// Replaces files of `tree` by hard links if `base` has the same path with the same content, owner, mode, times and
/// attributes; returns the number of links.
///
/// # Errors
/// If a file cannot be read or linked; links made so far stay.
pub(crate) fn link_unchanged(base: &Path, tree: &Path) -> io::Result<usize> {
    let mut linked = 0;
    walk(tree, &mut |folder, entries| {
        let base_folder = base.join(folder);
        if !is_folder(base, folder) {
            return Ok(());
        }
        let times = std::fs::symlink_metadata(tree.join(folder))?;
        let before = linked;
        let compared = |meta: &Metadata| meta.is_file() && meta.nlink() == 1 && meta.len() <= LARGEST;
        for (name, meta) in entries.iter().filter(|(_, meta)| compared(meta)) {
            let (mine, other) = (tree.join(folder).join(name), base_folder.join(name));
            if std::fs::symlink_metadata(&other).is_ok_and(|in_base| is_alike(&in_base, meta))
                && attributes::of(&mine)? == attributes::of(&other)?
                && same_content(&mine, &other)?
            {
                // Linked under a name that no package uses, until it replaces the copy.
                let aside = tree.join(folder).join(".kata-qualify-shared");
                // A filesystem may have no hard links, or allow no more for this file: then the copy stays.
                if std::fs::hard_link(&other, &aside).is_ok() {
                    std::fs::rename(&aside, &mine)?;
                    linked += 1;
                }
            }
        }
        if linked > before { keep_times(&tree.join(folder), &times) } else { Ok(()) }
    })?;
    Ok(linked)
}

/// Returns the paths of `tree` that differ from `base`, including directories; `None` if something of `base` is missing
/// or has become another kind of file, which the files of a layer cannot express.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn changed(base: &Path, tree: &Path) -> io::Result<Option<BTreeSet<PathBuf>>> {
    let mut changed = BTreeSet::new();
    walk(tree, &mut |folder, entries| {
        for (name, meta) in entries {
            let path = folder.join(name);
            let in_base = match is_folder(base, folder) {
                true => std::fs::symlink_metadata(base.join(&path)),
                false => Err(io::ErrorKind::NotFound.into()),
            };
            let same = match in_base {
                Ok(in_base) if (in_base.dev(), in_base.ino()) == (meta.dev(), meta.ino()) => true,
                Ok(in_base) => is_the_same(&in_base, meta, &base.join(&path), &tree.join(&path))?,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => false,
                Err(e) => return Err(e),
            };
            if !same {
                changed.insert(path);
            }
        }
        Ok(())
    })?;
    let mut whole = true;
    walk(base, &mut |folder, entries| {
        for (name, meta) in entries {
            let in_tree = std::fs::symlink_metadata(tree.join(folder).join(name));
            whole &= is_folder(tree, folder) && in_tree.is_ok_and(|in_tree| in_tree.file_type() == meta.file_type());
        }
        Ok(())
    })?;
    Ok(whole.then_some(changed))
}

/// Returns whether a path of the tree is a directory that is reached without links: a tree's own link could lead out of
/// it.
fn is_folder(tree: &Path, path: &Path) -> bool {
    let real = |path: &Path| std::fs::symlink_metadata(tree.join(path)).is_ok_and(|meta| meta.is_dir());
    path.ancestors().filter(|p| !p.as_os_str().is_empty()).all(real)
}

fn is_the_same(in_base: &Metadata, meta: &Metadata, base: &Path, tree: &Path) -> io::Result<bool> {
    if !is_alike(in_base, meta) || attributes::of(base)? != attributes::of(tree)? {
        return Ok(false);
    }
    if meta.is_symlink() {
        return Ok(std::fs::read_link(base)? == std::fs::read_link(tree)?);
    }
    Ok(!meta.is_file() || (meta.len() <= LARGEST && same_content(base, tree)?))
}

/// Callback for a directory with its entries; subdirectories follow.
type Visit<'a> = &'a mut dyn FnMut(&Path, &[(std::ffi::OsString, Metadata)]) -> io::Result<()>;

fn walk(tree: &Path, visit: Visit<'_>) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(tree.join(&folder))? {
            let entry = entry?;
            entries.push((entry.file_name(), entry.metadata()?));
        }
        visit(&folder, &entries)?;
        folders.extend(entries.iter().filter(|(_, meta)| meta.is_dir()).map(|(name, _)| folder.join(name)));
    }
    Ok(())
}

/// Compares owner, mode, size, kind, modification time, and the device of a node. The size of a directory depends on
/// the filesystem and is ignored.
fn is_alike(a: &Metadata, b: &Metadata) -> bool {
    let compared = |m: &Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), m.rdev());
    compared(a) == compared(b) && (a.is_dir() || a.len() == b.len())
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0_u8; 1 << 17], vec![0_u8; 1 << 17]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
        match b.read_exact(&mut right[..count]) {
            Ok(()) if left[..count] == right[..count] => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

fn keep_times(folder: &Path, meta: &Metadata) -> io::Result<()> {
    let timespec = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = rustix::fs::Timestamps {
        last_access: timespec(meta.atime(), meta.atime_nsec()),
        last_modification: timespec(meta.mtime(), meta.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, folder, &times, rustix::fs::AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    struct Trees {
        dir: tempfile::TempDir,
    }

    impl Trees {
        /// Makes a base with a few files, and a copy of it.
        fn new() -> Trees {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("base");
            std::fs::create_dir_all(base.join("usr/bin")).unwrap();
            for name in ["same", "other-content", "other-mode", "other-time"] {
                std::fs::write(base.join("usr/bin").join(name), "content").unwrap();
            }
            std::os::unix::fs::symlink("same", base.join("usr/bin/link")).unwrap();
            let trees = Trees { dir };
            let copied = Command::new("cp").arg("-a").args([trees.base(), trees.tree()]).status().unwrap();
            assert!(copied.success());
            trees
        }

        fn base(&self) -> PathBuf {
            self.dir.path().join("base")
        }

        fn tree(&self) -> PathBuf {
            self.dir.path().join("tree")
        }

        /// Changes files of the copy, each only in the way that its name says.
        fn edit(&self) {
            let bin = self.tree().join("usr/bin");
            let time = std::fs::metadata(bin.join("other-content")).unwrap().modified().unwrap();
            std::fs::write(bin.join("other-content"), "CONTENT").unwrap();
            File::options().write(true).open(bin.join("other-content")).unwrap().set_modified(time).unwrap();
            std::fs::set_permissions(bin.join("other-mode"), PermissionsExt::from_mode(0o4755)).unwrap();
            let later = time + std::time::Duration::from_secs(1);
            File::options().write(true).open(bin.join("other-time")).unwrap().set_modified(later).unwrap();
            std::fs::write(bin.join("new"), "content").unwrap();
        }
    }

    fn inode(path: PathBuf) -> u64 {
        std::fs::symlink_metadata(path).unwrap().ino()
    }

    #[test]
    fn only_files_identical_in_content_and_metadata_are_hard_linked() {
        let trees = Trees::new();
        trees.edit();
        let stamp = std::fs::metadata(trees.tree().join("usr/bin")).unwrap().modified().unwrap();
        assert_eq!(link_unchanged(&trees.base(), &trees.tree()).unwrap(), 1);
        let inode_of = |tree: PathBuf, name: &str| inode(tree.join("usr/bin").join(name));
        assert_eq!(inode_of(trees.base(), "same"), inode_of(trees.tree(), "same"));
        for name in ["other-content", "other-mode", "other-time"] {
            assert_ne!(inode_of(trees.base(), name), inode_of(trees.tree(), name), "{name}");
        }
        let read = |name: &str| std::fs::read_to_string(trees.tree().join("usr/bin").join(name)).unwrap();
        assert_eq!(
            (read("other-content"), read("link"), read("new")),
            ("CONTENT".into(), "content".into(), "content".into())
        );
        assert_eq!(std::fs::metadata(trees.tree().join("usr/bin")).unwrap().modified().unwrap(), stamp);
    }

    #[test]
    fn huge_sparse_files_are_not_compared() {
        let trees = Trees::new();
        let time = std::time::SystemTime::UNIX_EPOCH;
        for tree in [trees.base(), trees.tree()] {
            let hole = File::create(tree.join("usr/hole")).unwrap();
            hole.set_len(LARGEST + 1).unwrap();
            hole.set_modified(time).unwrap();
            File::open(tree.join("usr")).unwrap().set_modified(time).unwrap();
        }
        link_unchanged(&trees.base(), &trees.tree()).unwrap();
        assert_ne!(inode(trees.base().join("usr/hole")), inode(trees.tree().join("usr/hole")));
        let layer = changed(&trees.base(), &trees.tree()).unwrap();
        assert_eq!(layer, Some(BTreeSet::from([PathBuf::from("usr/hole")])));
    }

    #[test]
    fn files_behind_links_of_the_base_are_not_shared() {
        let trees = Trees::new();
        let outside = trees.dir.path().join("outside");
        std::fs::rename(trees.base().join("usr"), &outside).unwrap();
        std::os::unix::fs::symlink(&outside, trees.base().join("usr")).unwrap();
        assert_eq!(link_unchanged(&trees.base(), &trees.tree()).unwrap(), 0);
        let layer = changed(&trees.base(), &trees.tree()).unwrap();
        assert_eq!(layer, None);
        assert_eq!(std::fs::metadata(outside.join("bin/same")).unwrap().nlink(), 1);
    }

    #[test]
    fn changed_paths_are_listed_unless_files_were_removed() {
        let trees = Trees::new();
        link_unchanged(&trees.base(), &trees.tree()).unwrap();
        assert_eq!(changed(&trees.base(), &trees.tree()).unwrap(), Some(BTreeSet::new()));
        let bin = trees.tree().join("usr/bin");
        std::fs::remove_file(bin.join("other-content")).unwrap();
        std::fs::write(bin.join("other-content"), "CONTENT").unwrap();
        std::fs::write(bin.join("new"), "").unwrap();
        let layer = changed(&trees.base(), &trees.tree()).unwrap().unwrap();
        let names: Vec<&str> = layer.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(names, ["usr/bin", "usr/bin/new", "usr/bin/other-content"]);
        std::fs::remove_file(bin.join("same")).unwrap();
        assert_eq!(changed(&trees.base(), &trees.tree()).unwrap(), None);
    }
}
