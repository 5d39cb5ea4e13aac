//! The layers of an OCI image, applied to a tree one on the other (OCI image specification, layer.md).

use super::archive::LIMITS;
use crate::error::{Context as _, Failure};
use crate::runner::Runner;
use crate::tree::{self, whiteout};
use crate::unpack::{self, Names, UnpackLimits};
use root::Root;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// Applies layers, the lowest first, with owners, modes, and files' capabilities and other extended attributes.
///
/// The layers are plain archives, and not trusted.
/// A name that leads out is refused; a directory that is a link is followed inside the tree, where `/etc` is the tree's
/// own.
/// Device nodes and pipes are left out, as when a tree is handed to Docker.
pub(super) fn apply(runner: &Runner<'_>, layers: &[PathBuf], tree: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(tree).context("creating", tree)?;
    let (root, mut remaining) = (tree::open(tree)?, LIMITS);
    layers.iter().try_for_each(|layer| apply_layer(runner, layer, &root, &mut remaining))
}

fn apply_layer(runner: &Runner<'_>, layer: &Path, root: &Root, remaining: &mut UnpackLimits) -> Result<(), Failure> {
    let go_on = || runner.check();
    unpack::check_metadata(opened(layer)?, layer, &go_on)?;
    let (mut whiteouts, mut folders) = (Vec::new(), Vec::new());
    unpack::each(opened(layer)?, layer, &mut { *remaining }, &accept, &go_on, |entry| {
        let path = inside(&entry.path().context("reading", layer)?);
        if whiteout::is_one(&path) {
            whiteouts.push(path);
        } else if entry.header().entry_type().is_dir() {
            folders.push(path);
        }
        Ok(())
    })?;
    // Whiteouts are about the layers below, wherever in the archive they are.
    for path in &whiteouts {
        whiteout::apply(root, path, |reason| unpack::refused(path.as_os_str().as_bytes(), reason))?;
    }
    // A directory replaces a file or link of a layer below before anything is put into it.
    folders.sort();
    folders.iter().try_for_each(|path| make_folder(root, path))?;
    unpack::each(opened(layer)?, layer, remaining, &accept, &go_on, |entry| put(root, entry))
}

fn opened(layer: &Path) -> Result<tar::Archive<BufReader<File>>, Failure> {
    let mut tar = tar::Archive::new(BufReader::new(File::open(layer).context("opening", layer)?));
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(true);
    tar.set_unpack_xattrs(true);
    tar.set_preserve_mtime(true);
    Ok(tar)
}

fn accept(path: &Path, target: Option<&Path>, kind: EntryType) -> Result<(), &'static str> {
    match Names::OfTree.entry_leads_out(path, target, kind) {
        true => Err("its path leads out of the tree"),
        false => Ok(()),
    }
}

/// Returns a name in an archive as a path of the tree.
fn inside(name: &Path) -> PathBuf {
    let parts = name.components().filter(|part| matches!(part, Component::Normal(_)));
    Path::new("/").join(parts.collect::<PathBuf>())
}

fn make_folder(root: &Root, path: &Path) -> Result<(), Failure> {
    if path == Path::new("/") {
        return Ok(());
    }
    let destination = tree::entry(root, path)?;
    if std::fs::symlink_metadata(destination.path()).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    destination.remove()?;
    std::fs::create_dir(destination.path()).context("creating", &root.shown(path))
}

/// Puts an entry into the tree. Unlike [`unpack::put`] it replaces an entry of a layer below, and follows the tree's
/// own links inside.
fn put<R: Read>(root: &Root, entry: &mut tar::Entry<'_, R>) -> Result<(), Failure> {
    let kind = entry.header().entry_type();
    let path = inside(&entry.path().context("unpacking into", root.path())?);
    let is_special = kind.is_character_special() || kind.is_block_special() || kind.is_fifo();
    if path == Path::new("/") || whiteout::is_one(&path) || is_special || kind.is_pax_global_extensions() {
        return Ok(());
    }
    let (destination, shown) = (tree::entry(root, &path)?, root.shown(&path));
    if !kind.is_dir() {
        destination.remove()?;
    }
    if kind.is_hard_link() {
        let target = inside(&entry.link_name().context("reading", &shown)?.unwrap_or_default());
        let linked = std::fs::hard_link(tree::entry(root, &target)?.path(), destination.path());
        return linked.context("linking", &shown);
    }
    entry.unpack(destination.path()).map(drop).context("unpacking", &shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ImageErrorKind;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::sync::atomic::AtomicBool;

    /// An entry of a layer: kind, name exactly as written, and a file's content or a link's target.
    type Written<'a> = (EntryType, &'a str, &'a str);

    const FILE: EntryType = EntryType::Regular;
    const FOLDER: EntryType = EntryType::Directory;

    fn layer(entries: &[Written<'_>]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (kind, name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(if *kind == FOLDER { 0o755 } else { 0o4711 });
            header.set_uid(rustix::process::geteuid().as_raw().into());
            header.set_gid(rustix::process::getegid().as_raw().into());
            // Written directly, because the builder refuses such hostile names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            let is_link = kind.is_symlink() || kind.is_hard_link();
            if is_link {
                header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            let content = if is_link { "" } else { text };
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn applied(layers: &[Vec<u8>]) -> (tempfile::TempDir, Result<(), Failure>) {
        let dir = tempfile::tempdir().unwrap();
        let written = |(n, bytes): (usize, &Vec<u8>)| {
            let path = dir.path().join(format!("{n}.tar"));
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let paths: Vec<PathBuf> = layers.iter().enumerate().map(written).collect();
        let cancel = AtomicBool::new(false);
        let result = apply(&crate::fixtures::runner(&cancel, 60), &paths, &dir.path().join("tree"));
        (dir, result)
    }

    #[test]
    fn a_layer_replaces_removes_and_adds_files() {
        let below = layer(&[
            (FOLDER, "./", ""),
            (FOLDER, "kept/", ""),
            (FILE, "kept/a", "old"),
            (FILE, "gone", "x"),
            (EntryType::Link, "same", "gone"),
            (FOLDER, "emptied/", ""),
            (FILE, "emptied/a", "x"),
            (FILE, "file", "x"),
            (EntryType::Symlink, "link", "kept"),
            (EntryType::Char, "null", ""),
        ]);
        let above = layer(&[
            (FILE, "kept/a", "new"),
            (FILE, "emptied/b", "new"),
            // Applies to the layers below, although it comes last.
            (FILE, "emptied/.wh..wh..opq", ""),
            (FILE, ".wh.gone", ""),
            (FILE, "file/inner", "new"),
            (FOLDER, "file/", ""),
            (FOLDER, "link/", ""),
            (FILE, "link/inner", "new"),
        ]);
        let (dir, result) = applied(&[below, above]);
        result.unwrap();
        let tree = dir.path().join("tree");
        let read = |path: &str| std::fs::read_to_string(tree.join(path)).unwrap();
        for path in ["kept/a", "emptied/b", "file/inner", "link/inner"] {
            assert_eq!(read(path), "new", "{path}");
        }
        assert_eq!(tree.join("kept/a").metadata().unwrap().permissions().mode() & 0o7777, 0o4711);
        assert!(!tree.join("emptied/a").exists() && !tree.join("gone").exists() && !tree.join("null").exists());
        assert_eq!(read("same"), "x", "a hard link outlives the name that it was made of");
        assert!(!tree.join("link").is_symlink() && !tree.join("kept/inner").exists(), "a folder replaces a link");
        assert!(!tree.join(".wh.gone").exists() && !tree.join("emptied/.wh..wh..opq").exists());
    }

    #[test]
    fn links_in_layers_are_resolved_inside_the_tree() {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let folder = outside.path().to_str().unwrap();
        let climbing = format!("../../../../../../../..{folder}");
        for target in [folder, climbing.as_str()] {
            let below = layer(&[(EntryType::Symlink, "link", target)]);
            let above = layer(&[(FILE, "link/victim", "overwritten"), (FILE, "link/.wh.other", "")]);
            let (dir, result) = applied(&[below, above]);
            result.unwrap();
            let inside = dir.path().join("tree").join(folder.trim_start_matches('/')).join("victim");
            assert_eq!(std::fs::read_to_string(inside).unwrap(), "overwritten");
        }
        let file = victim.to_str().unwrap();
        let (dir, result) = applied(&[layer(&[(EntryType::Link, "taken", file)])]);
        assert!(result.is_err() && !dir.path().join("tree/taken").exists());
        // A file replaces a link instead of being written through it.
        let (_dir, result) =
            applied(&[layer(&[(EntryType::Symlink, "config", file)]), layer(&[(FILE, "config", "overwritten")])]);
        result.unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(victim.metadata().unwrap().nlink(), 1);
    }

    #[test]
    fn names_out_of_the_tree_and_bad_whiteouts_are_refused() {
        for entry in [
            (FILE, "../file", "x"),
            (FILE, "a/../../file", "x"),
            (FOLDER, "../folder/", ""),
            (EntryType::Link, "taken", "../../etc/passwd"),
            (FILE, "a/.wh...", ""),
            (FILE, ".wh.", ""),
        ] {
            let (dir, result) = applied(&[layer(&[entry])]);
            let cause = result.unwrap_err().cause;
            assert!(matches!(cause, ImageErrorKind::BadArchive { .. }), "{entry:?}: {cause}");
            assert!(!dir.path().join("file").exists() && !dir.path().join("folder").exists());
        }
    }

    #[test]
    fn oversized_tar_metadata_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(8 << 30);
        header.set_cksum();
        let (_dir, result) = applied(&[header.as_bytes().to_vec()]);
        let cause = result.unwrap_err().cause.to_string();
        assert!(cause.contains("attributes are too large"), "{cause}");
    }
}
