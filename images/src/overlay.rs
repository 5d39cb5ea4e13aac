//! Lays a folder over a tree, like a layer of an OCI image.
//!
//! Files and symlinks replace what is there, folders are merged, `.wh.NAME` removes `NAME`, `.wh..wh..opq` empties the
//! folder it lies in (OCI image specification, layer.md, "Whiteouts").
//! A folder that is a symlink in the tree is followed inside the tree, so that `lib/modules/…` reaches a merged `/usr`.
//! Modes are kept, everything becomes root's.

use crate::digest::{self, Fields};
use crate::error::{Cause, Context, Failure};
use crate::tree;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Lays `overlay` over `tree`.
///
/// # Errors
/// A path that leads out of the tree, a whiteout of nothing nameable, a file that is neither regular, symlink nor
/// folder, or an I/O error.
pub(crate) fn apply(overlay: &Path, tree: &Path) -> Result<(), Failure> {
    // Whiteouts speak of what lies below, so they go first.
    let entries = walk(overlay)?;
    for entry in entries.iter().filter(|e| e.whiteout().is_some()) {
        entry.remove(tree)?;
    }
    for entry in entries.iter().filter(|e| e.whiteout().is_none()) {
        entry.lay(tree)?;
    }
    Ok(())
}

/// A hash over everything that [`apply`] would bring.
pub(crate) fn hash(overlay: &Path) -> Result<String, Failure> {
    let mut fields = Fields::default();
    for entry in walk(overlay)? {
        let meta = &entry.meta;
        let content = if meta.is_symlink() {
            digest::of_bytes(entry.target()?.as_os_str().as_bytes())
        } else if meta.is_file() {
            digest::of_file(&entry.from)?
        } else {
            String::new()
        };
        fields = fields
            .add("path", entry.relative.as_os_str().as_bytes())
            .add("mode", meta.mode().to_le_bytes())
            .add("content", content);
    }
    Ok(fields.hex())
}

struct Entry {
    from: PathBuf,
    relative: PathBuf,
    meta: std::fs::Metadata,
}

/// Everything below a folder, in a stable order, folders before what is in them.
fn walk(overlay: &Path) -> Result<Vec<Entry>, Failure> {
    if !overlay.is_dir() {
        return Err(refused(overlay, "expected a folder"));
    }
    let mut all = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        let folder = overlay.join(&relative);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).context("reading", &folder)? {
            let entry = entry.context("reading", &folder)?;
            let meta = entry.metadata().context("reading", &entry.path())?;
            found.push(Entry { from: entry.path(), relative: relative.join(entry.file_name()), meta });
        }
        found.sort_by(|a, b| a.relative.cmp(&b.relative));
        folders.extend(found.iter().filter(|e| e.meta.is_dir()).map(|e| e.relative.clone()));
        all.extend(found);
    }
    Ok(all)
}

impl Entry {
    fn whiteout(&self) -> Option<&[u8]> {
        self.relative.file_name().map(|n| n.as_bytes()).and_then(|n| n.strip_prefix(WHITEOUT.as_bytes()))
    }

    fn target(&self) -> Result<PathBuf, Failure> {
        std::fs::read_link(&self.from).context("reading", &self.from)
    }

    /// The folder of the tree that the entry belongs into.
    fn folder(&self, tree: &Path) -> Result<PathBuf, Failure> {
        let parent = self.relative.parent().unwrap_or(Path::new(""));
        tree::resolve(tree, parent).map_err(|e| refused(&self.relative, &e.to_string()))
    }

    fn remove(&self, tree: &Path) -> Result<(), Failure> {
        let folder = self.folder(tree)?;
        if self.relative.file_name().is_some_and(|n| n == OPAQUE) {
            let Ok(dir) = std::fs::read_dir(&folder) else {
                return Ok(());
            };
            return dir.flatten().try_for_each(|e| delete(&e.path()));
        }
        match self.whiteout().unwrap_or_default() {
            b"" | b"." | b".." => Err(refused(&self.relative, "a whiteout must name a file")),
            name => delete(&folder.join(std::ffi::OsStr::from_bytes(name))),
        }
    }

    fn lay(&self, tree: &Path) -> Result<(), Failure> {
        let name = self.relative.file_name().unwrap_or_default();
        let target = self.folder(tree)?.join(name);
        if self.meta.is_dir() {
            // Through a symlink of the tree, if that is what is there.
            let target = tree::resolve(tree, &self.relative).map_err(|e| refused(&self.relative, &e.to_string()))?;
            if !target.is_dir() {
                delete(&target)?;
                std::fs::create_dir_all(&target).context("creating", &target)?;
            }
            return self.own(&target);
        }
        if !self.meta.is_file() && !self.meta.is_symlink() {
            return Err(refused(&self.relative, "expected a regular file, a symlink or a folder"));
        }
        delete(&target)?;
        if self.meta.is_symlink() {
            std::os::unix::fs::symlink(self.target()?, &target).context("creating", &target)?;
            return Ok(());
        }
        std::fs::copy(&self.from, &target).context("copying", &self.from)?;
        self.own(&target)
    }

    fn own(&self, target: &Path) -> Result<(), Failure> {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(target, Some(0), Some(0)).context("changing the owner of", target)?;
        }
        // After the owner: changing that clears the setuid bit.
        let mode = std::fs::Permissions::from_mode(self.meta.mode() & 0o7777);
        std::fs::set_permissions(target, mode).context("changing the mode of", target)
    }
}

fn delete(path: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path).context("removing", path),
        Ok(_) => std::fs::remove_file(path).context("removing", path),
    }
}

fn refused(path: &Path, reason: &str) -> Failure {
    Cause::BadOverlay { path: path.display().to_string(), reason: reason.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (overlay, tree) = (dir.path().join("overlay"), dir.path().join("tree"));
        std::fs::create_dir_all(&overlay).unwrap();
        std::fs::create_dir_all(tree.join("usr/lib")).unwrap();
        symlink("usr/lib", tree.join("lib")).unwrap();
        (dir, overlay, tree)
    }

    #[test]
    fn files_replace_and_whiteouts_remove() {
        let (_dir, overlay, tree) = pair();
        write(&tree, "usr/libexec/virtiofsd", "real");
        write(&tree, "usr/lib/modules/virtiofs.ko", "module");
        write(&tree, "opt/old/x", "x");
        write(&tree, "data/a", "a");
        write(&overlay, "usr/libexec/virtiofsd", "fake");
        std::fs::set_permissions(overlay.join("usr/libexec/virtiofsd"), PermissionsExt::from_mode(0o4755)).unwrap();
        write(&overlay, "lib/modules/.wh.virtiofs.ko", "");
        write(&overlay, "opt/.wh.old", "");
        write(&overlay, "data/.wh..wh..opq", "");
        write(&overlay, "data/b", "b");
        apply(&overlay, &tree).unwrap();
        let daemon = tree.join("usr/libexec/virtiofsd");
        assert_eq!(std::fs::read_to_string(&daemon).unwrap(), "fake");
        assert_eq!(daemon.metadata().unwrap().mode() & 0o7777, 0o4755);
        assert!(!tree.join("usr/lib/modules/virtiofs.ko").exists());
        assert!(tree.join("lib").is_symlink());
        assert!(!tree.join("opt/old").exists());
        assert!(!tree.join("data/a").exists() && tree.join("data/b").exists());
    }

    #[test]
    fn a_file_replaces_a_symlink_instead_of_writing_through_it() {
        let (dir, overlay, tree) = pair();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "untouched").unwrap();
        symlink(&outside, tree.join("config")).unwrap();
        write(&overlay, "config", "new");
        apply(&overlay, &tree).unwrap();
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
        assert_eq!(std::fs::read_to_string(tree.join("config")).unwrap(), "new");
    }

    #[test]
    fn nothing_leads_out_of_the_tree() {
        let (dir, overlay, tree) = pair();
        symlink("../..", tree.join("up")).unwrap();
        write(&overlay, "up/x", "x");
        assert!(matches!(apply(&overlay, &tree).unwrap_err().cause, Cause::BadOverlay { .. }));
        assert!(!dir.path().join("x").exists());
        std::fs::remove_dir_all(overlay.join("up")).unwrap();
        for name in [".wh...", ".wh..", ".wh."] {
            write(&overlay, &format!("a/{name}"), "");
            assert!(matches!(apply(&overlay, &tree).unwrap_err().cause, Cause::BadOverlay { .. }), "{name}");
            std::fs::remove_file(overlay.join("a").join(name)).unwrap();
        }
        // An absolute symlink of the tree means the tree's own root.
        symlink("/etc", tree.join("abs")).unwrap();
        std::fs::create_dir(tree.join("etc")).unwrap();
        write(&overlay, "abs/kata-qualify-test", "x");
        apply(&overlay, &tree).unwrap();
        assert!(tree.join("etc/kata-qualify-test").exists());
        assert!(!Path::new("/etc/kata-qualify-test").exists());
    }

    #[test]
    fn special_files_are_refused() {
        let (_dir, overlay, tree) = pair();
        let _socket = std::os::unix::net::UnixListener::bind(overlay.join("s")).unwrap();
        assert!(matches!(apply(&overlay, &tree).unwrap_err().cause, Cause::BadOverlay { .. }));
    }

    #[test]
    fn the_hash_sees_content_modes_and_names() {
        let (_dir, overlay, _tree) = pair();
        write(&overlay, "a", "1");
        let first = hash(&overlay).unwrap();
        assert_eq!(first, hash(&overlay).unwrap());
        std::fs::set_permissions(overlay.join("a"), PermissionsExt::from_mode(0o755)).unwrap();
        let second = hash(&overlay).unwrap();
        write(&overlay, "a", "2");
        let third = hash(&overlay).unwrap();
        std::fs::rename(overlay.join("a"), overlay.join("b")).unwrap();
        let all = [first, second, third, hash(&overlay).unwrap()];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }
}
