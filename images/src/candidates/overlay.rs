//! Lays a folder over a tree, like a layer of an OCI image.
//!
//! Files and symlinks replace existing entries, directories are merged, `.wh.NAME` removes `NAME`, `.wh..wh..opq`
//! empties its directory (OCI image specification, layer.md, "Whiteouts").
//! A directory that is a symlink in the tree is followed inside the tree, so that `lib/modules/…` reaches a merged
//! `/usr`. Links of the overlay are copied and only its regular files are read, so that no link of overlay or tree
//! leads out.
//! Modes are kept, and everything becomes owned by root.

use crate::digest::{self, Fields};
use crate::error::{Context, Failure, ImageErrorKind};
use crate::tree::{self, of_descriptor, whiteout};
use root::Root;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Limits of an overlay's entries and bytes, the same as for an archive.
const ENTRIES: usize = 4_000_000;
const BYTES: u64 = 64 << 30;

/// Callback that fails with the reason if the work must stop.
pub(crate) type GoOn<'a> = &'a dyn Fn() -> Result<(), Failure>;

/// Lays `overlay` over `tree`.
///
/// # Errors
/// If there is a whiteout without a name, a file that is neither regular, symlink nor directory, more entries or bytes
/// than allowed, or an I/O error.
pub(crate) fn apply(overlay: &Path, tree: &Path, go_on: GoOn<'_>) -> Result<(), Failure> {
    let mut application = Application { source: source(overlay)?, tree: tree::open(tree)?, go_on, remaining: BYTES };
    // Whiteouts are about the tree's entries, so they are applied first.
    let entries = walk(overlay, go_on)?;
    let (whiteouts, others): (Vec<_>, Vec<_>) = entries.iter().partition(|e| whiteout::is_one(&e.relative));
    for entry in whiteouts {
        whiteout::apply(&application.tree, &entry.inside(), |reason| refused(&entry.relative, reason))?;
    }
    for entry in others {
        application.apply_entry(entry)?;
    }
    Ok(())
}

/// Returns a hash of everything that [`apply`] would add.
pub(crate) fn hash(overlay: &Path, go_on: GoOn<'_>) -> Result<String, Failure> {
    let source = source(overlay)?;
    let (mut fields, mut remaining) = (Fields::default(), BYTES);
    for entry in walk(overlay, go_on)? {
        let meta = &entry.meta;
        let content = if meta.is_symlink() {
            digest::of_bytes(entry.target()?.as_os_str().as_bytes())
        } else if meta.is_file() {
            digest::of_reader(&mut entry.content(&source, go_on, &mut remaining)?)
                .map_err(|e| entry.read_failure(e, go_on))?
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

fn source(overlay: &Path) -> Result<Root, Failure> {
    Root::new(overlay).map_err(|e| refused(overlay, &e.to_string()))
}

struct Entry {
    from: PathBuf,
    relative: PathBuf,
    meta: std::fs::Metadata,
}

/// Lists everything below a directory, in a stable order, directories before their content.
fn walk(overlay: &Path, go_on: GoOn<'_>) -> Result<Vec<Entry>, Failure> {
    if !overlay.is_dir() {
        return Err(refused(overlay, "expected a folder"));
    }
    let mut all = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        go_on()?;
        let folder = overlay.join(&relative);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).context("reading", &folder)? {
            let entry = entry.context("reading", &folder)?;
            let meta = entry.metadata().context("reading", &entry.path())?;
            found.push(Entry { from: entry.path(), relative: relative.join(entry.file_name()), meta });
            if all.len() + found.len() > ENTRIES {
                return Err(refused(&relative, &format!("an overlay may have at most {ENTRIES} entries")));
            }
        }
        found.sort_by(|a, b| a.relative.cmp(&b.relative));
        folders.extend(found.iter().filter(|e| e.meta.is_dir()).map(|e| e.relative.clone()));
        all.extend(found);
    }
    Ok(all)
}

impl Entry {
    fn target(&self) -> Result<PathBuf, Failure> {
        std::fs::read_link(&self.from).context("reading", &self.from)
    }

    /// Returns the path as seen from inside the overlay or the tree.
    fn inside(&self) -> PathBuf {
        Path::new("/").join(&self.relative)
    }

    /// Returns the file's content; reading stops when `go_on` fails or the byte limit is reached.
    fn content<'a>(&self, source: &Root, go_on: GoOn<'a>, remaining: &'a mut u64) -> Result<Content<'a>, Failure> {
        let file = source.file(&self.inside()).map_err(|e| refused(&self.relative, &e.to_string()))?;
        Ok(Content { file, go_on, remaining })
    }

    /// Returns the reason why the content was not read to the end.
    fn read_failure(&self, error: io::Error, go_on: GoOn<'_>) -> Failure {
        match go_on() {
            Err(stopped) => stopped,
            Ok(()) => refused(&self.relative, &error.to_string()),
        }
    }
}

struct Content<'a> {
    file: File,
    go_on: GoOn<'a>,
    remaining: &'a mut u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.go_on)().is_err() {
            return Err(io::Error::other("stopped"));
        }
        let count = self.file.read(buffer)?;
        *self.remaining =
            self.remaining.checked_sub(count as u64).ok_or_else(|| io::Error::other("the overlay is too large"))?;
        Ok(count)
    }
}

/// An overlay while it is laid over a tree.
struct Application<'a> {
    source: Root,
    tree: Root,
    go_on: GoOn<'a>,
    remaining: u64,
}

impl Application<'_> {
    fn apply_entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        (self.go_on)()?;
        if entry.meta.is_dir() {
            return self.folder(entry);
        }
        if !entry.meta.is_file() && !entry.meta.is_symlink() {
            return Err(refused(&entry.relative, "expected a regular file, a symlink or a folder"));
        }
        let target = tree::entry(&self.tree, &entry.inside())?;
        if entry.meta.is_symlink() {
            target.remove()?;
            return std::os::unix::fs::symlink(entry.target()?, target.path()).context("creating", &entry.from);
        }
        let mut content = entry.content(&self.source, self.go_on, &mut self.remaining)?;
        let written = target.write(0o600, &mut content);
        (self.go_on)()?;
        set_owner_and_mode(&of_descriptor(&written?), &entry.meta)
            .context("changing the owner and mode of", &entry.relative)
    }

    fn folder(&self, entry: &Entry) -> Result<(), Failure> {
        let inside = entry.inside();
        let failed = |e| refused(&entry.relative, &format!("{e}"));
        // An existing directory may be a symlink of the tree, which is followed.
        let existing = self.tree.look(&inside).map_err(failed)?;
        if existing.is_some_and(|meta| !meta.is_dir()) {
            tree::entry(&self.tree, &inside)?.remove()?;
        }
        let folder = self.tree.make_folder(&inside).map_err(failed)?;
        set_owner_and_mode(&of_descriptor(&folder), &entry.meta)
            .context("changing the owner and mode of", &entry.relative)
    }
}

fn set_owner_and_mode(target: &Path, meta: &std::fs::Metadata) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(target, Some(0), Some(0))?;
    }
    // After the owner, because changing the owner clears the setuid bit.
    std::fs::set_permissions(target, Permissions::from_mode(meta.mode() & 0o7777))
}

fn refused(path: &Path, reason: &str) -> Failure {
    ImageErrorKind::BadOverlay { path: path.display().to_string(), reason: reason.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn go_on() -> Result<(), Failure> {
        Ok(())
    }

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
        apply(&overlay, &tree, &go_on).unwrap();
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
        apply(&overlay, &tree, &go_on).unwrap();
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
        assert_eq!(std::fs::read_to_string(tree.join("config")).unwrap(), "new");
    }

    #[test]
    fn overlay_paths_are_confined_to_the_tree() {
        let (dir, overlay, tree) = pair();
        symlink("../..", tree.join("up")).unwrap();
        write(&overlay, "up/x", "x");
        // A path that climbs above the root stays at the root, as for a process inside.
        apply(&overlay, &tree, &go_on).unwrap();
        assert!(!dir.path().join("x").exists() && tree.join("x").exists());
        std::fs::remove_dir_all(overlay.join("up")).unwrap();
        for name in [".wh...", ".wh..", ".wh."] {
            write(&overlay, &format!("a/{name}"), "");
            assert!(
                matches!(apply(&overlay, &tree, &go_on).unwrap_err().cause, ImageErrorKind::BadOverlay { .. }),
                "{name}"
            );
            std::fs::remove_file(overlay.join("a").join(name)).unwrap();
        }
        // An absolute symlink of the tree is relative to the tree's own root.
        symlink("/etc", tree.join("abs")).unwrap();
        std::fs::create_dir(tree.join("etc")).unwrap();
        write(&overlay, "abs/kata-qualify-test", "x");
        apply(&overlay, &tree, &go_on).unwrap();
        assert!(tree.join("etc/kata-qualify-test").exists());
        assert!(!Path::new("/etc/kata-qualify-test").exists());
    }

    #[test]
    fn special_files_are_refused() {
        let (_dir, overlay, tree) = pair();
        let _socket = std::os::unix::net::UnixListener::bind(overlay.join("s")).unwrap();
        assert!(matches!(apply(&overlay, &tree, &go_on).unwrap_err().cause, ImageErrorKind::BadOverlay { .. }));
    }

    #[test]
    fn cancelling_stops_hashing_and_applying() {
        let (_dir, overlay, tree) = pair();
        write(&overlay, "a", "1");
        let stop = || Err(ImageErrorKind::Cancelled.into());
        assert!(matches!(hash(&overlay, &stop).unwrap_err().cause, ImageErrorKind::Cancelled));
        assert!(matches!(apply(&overlay, &tree, &stop).unwrap_err().cause, ImageErrorKind::Cancelled));
        // Cancelling works in the middle of a file, too.
        let reads = std::cell::Cell::new(0);
        let soon = || {
            reads.set(reads.get() + 1);
            if reads.get() > 2 { Err(ImageErrorKind::Cancelled.into()) } else { Ok(()) }
        };
        let endless = File::create(overlay.join("a")).unwrap();
        endless.set_len(32 << 30).unwrap();
        assert!(matches!(hash(&overlay, &soon).unwrap_err().cause, ImageErrorKind::Cancelled));
    }

    #[test]
    fn the_hash_depends_on_content_modes_and_names() {
        let (_dir, overlay, _tree) = pair();
        write(&overlay, "a", "1");
        let first = hash(&overlay, &go_on).unwrap();
        assert_eq!(first, hash(&overlay, &go_on).unwrap());
        std::fs::set_permissions(overlay.join("a"), PermissionsExt::from_mode(0o755)).unwrap();
        let second = hash(&overlay, &go_on).unwrap();
        write(&overlay, "a", "2");
        let third = hash(&overlay, &go_on).unwrap();
        std::fs::rename(overlay.join("a"), overlay.join("b")).unwrap();
        let all = [first, second, third, hash(&overlay, &go_on).unwrap()];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }
}
