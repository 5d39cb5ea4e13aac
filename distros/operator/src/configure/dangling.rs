//! Others' links to removed drop-ins of kata-osinfo's: Kata, containerd and CRI-O do not start with a dangling link.

use super::edit::DROP_IN;
use super::keys::is_whole;
use super::state::{NotReverted, State};
use super::{containerd, crio};
use root::{Root, RootError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A link that cannot be removed.
pub(super) struct Dangling {
    /// The link, with the reason.
    pub(super) link: NotReverted,
    /// The file of kata-osinfo's to which the link leads.
    pub(super) file: PathBuf,
}

/// Removes dangling links from the places where drop-ins of a state's configurations, and of container managers, are
/// read.
///
/// Returns the links that cannot be removed.
pub(super) fn remove(root: &Root, state: &State) -> Vec<Dangling> {
    let is_ours = |path: &Path| state.files.iter().any(|f| f.path == path && is_whole(f));
    let mut remaining = Vec::new();
    for path in links(root, state) {
        if let Some((file, error)) = remove_one(root, &path, &is_ours) {
            let why = format!(
                "it is a link to {}, which no longer exists, and the link cannot be removed: {error}",
                file.display()
            );
            remaining.push(Dangling { link: NotReverted { path, why, by_force: false }, file });
        }
    }
    remaining
}

/// Removes a link if it leads to a file of kata-osinfo's that no longer exists; on failure returns the file and the
/// error.
///
/// Others may change the link at the same time, because they take no lock. The link's text is read before it is
/// followed, and the link and its target are checked again once it has been taken from its path. Whatever others have
/// put there in the meantime stays.
fn remove_one(root: &Root, path: &Path, is_ours: &dyn Fn(&Path) -> bool) -> Option<(PathBuf, RootError)> {
    let link = root.pin_itself(path);
    let words = match &link {
        Ok(Some(link)) => link.link(),
        _ => Ok(None),
    };
    let file = root.resolve_new(path).ok().filter(|path| is_ours(path))?;
    let has_gone = || matches!(root.look(&file), Ok(None));
    let removed = match (root.look(&file), link) {
        (Ok(Some(_)), _) => return None,
        (Ok(None), Ok(Some(link))) => match words {
            Ok(Some(words)) => link.remove_link(&words, &has_gone).map(drop),
            Ok(None) => return None,
            Err(source) => Err(RootError::Read { path: root.shown(path), source }),
        },
        (Ok(None), Ok(None)) => return None,
        (Err(error), _) | (Ok(None), Err(error)) => Err(error),
    };
    removed.err().map(|error| (file, error))
}

/// Returns all links in these places; a directory that cannot be listed is skipped, because its links cannot be removed
/// either.
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
