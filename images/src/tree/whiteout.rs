//! Whiteouts, by which a layer removes entries of the layers below: `.wh.NAME` removes `NAME`, `.wh..wh..opq` empties
//! its directory (OCI image specification, layer.md, "Whiteouts").

use super::{FolderEntry, of_descriptor};
use crate::error::{Context as _, Failure};
use root::Root;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Returns the name that a whiteout removes; `None` if the path is no whiteout.
fn named(path: &Path) -> Option<&OsStr> {
    path.file_name()?.as_bytes().strip_prefix(PREFIX).map(OsStr::from_bytes)
}

/// Returns whether a path is a whiteout, by its name.
pub(crate) fn is_one(path: &Path) -> bool {
    named(path).is_some()
}

/// Applies the whiteout at a path inside the tree.
///
/// A directory that is a link is followed inside the tree.
/// A whiteout that names no file is passed to `refused` with the reason.
pub(crate) fn apply(tree: &Root, inside: &Path, refused: impl Fn(&str) -> Failure) -> Result<(), Failure> {
    let whiteout = named(inside).unwrap_or_default();
    let is_opaque = inside.file_name().is_some_and(|name| name == OPAQUE);
    if !is_opaque && ["", ".", ".."].iter().any(|name| whiteout == *name) {
        return Err(refused("a whiteout must name a file"));
    }
    let folder = inside.parent().unwrap_or(Path::new("/"));
    let Ok(opened) = tree.folder(folder) else { return Ok(()) };
    let remove = |name: &OsStr| {
        let again = opened.try_clone().context("opening", &tree.shown(folder))?;
        FolderEntry::new(again, name, tree.shown(&folder.join(name))).remove()
    };
    if is_opaque {
        let names = std::fs::read_dir(of_descriptor(&opened)).context("reading", &tree.shown(folder))?;
        return names.flatten().try_for_each(|entry| remove(&entry.file_name()));
    }
    remove(whiteout)
}
