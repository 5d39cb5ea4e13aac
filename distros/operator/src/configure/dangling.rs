//! Links of others to drop-ins of ours that have gone: Kata, containerd and CRI-O do not start with a link that leads
//! nowhere.

use super::edit::DROP_IN;
use super::keys::is_whole;
use super::state::{NotReverted, State};
use super::{containerd, crio};
use root::{PinnedPath, Root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A link that cannot be removed.
pub(super) struct Dangling {
    /// The link, with why.
    pub(super) link: NotReverted,
    /// The file of ours that it leads to.
    pub(super) file: PathBuf,
}

/// Removes them where drop-ins of a state's configurations, and of container managers, are read.
///
/// Returns those that cannot be removed.
pub(super) fn remove(root: &Root, state: &State) -> Vec<Dangling> {
    let is_ours = |path: &Path| state.files.iter().any(|f| f.path == path && is_whole(f));
    let mut left = Vec::new();
    for path in links(root, state) {
        let Some(file) = root.resolve_new(&path).ok().filter(|path| is_ours(path)) else { continue };
        let removed = match root.look(&path) {
            Ok(Some(_)) => continue,
            Ok(None) => root.pin_itself(&path).and_then(|link| link.iter().try_for_each(PinnedPath::remove)),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            let why = format!("it is a link to {}, which has gone: {error}", file.display());
            left.push(Dangling { link: NotReverted { path, why, by_force: false }, file });
        }
    }
    left
}

/// All links where such drop-ins are read; a folder that cannot be listed may have some that nobody can remove either.
fn links(root: &Root, state: &State) -> BTreeSet<PathBuf> {
    let mains = state.configurations.iter().flat_map(|c| std::iter::once(&c.config).chain(&c.files));
    let of_kata = mains.map(|main| main.with_file_name("config.d").join(DROP_IN));
    let drop_ins: BTreeSet<PathBuf> = of_kata.chain(containerd::drop_ins(root)).collect();
    let folders: BTreeSet<PathBuf> = drop_ins.iter().map(|path| path.with_file_name("")).collect();
    let beside = |folder: &PathBuf| {
        let names = root.list_if_any(folder).unwrap_or_default();
        names.into_iter().map(|name| folder.join(name)).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<PathBuf> = folders.iter().flat_map(beside).chain(drop_ins).collect();
    all.extend(crio::paths(root).unwrap_or_default());
    all.retain(|path| root.symlink_metadata(path).is_ok_and(|found| found.is_symlink()));
    all
}
