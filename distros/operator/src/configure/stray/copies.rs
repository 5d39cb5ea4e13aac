//! Copies of kata-osinfo's files next to the originals, as editors and careful admins make them: Kata, containerd and
//! CRI-O read them like any other file.
//!
//! The copies are reported and stay: only their author knows their purpose.

use super::super::containerd::{self, ReadFiles, Unread};
use super::super::crio;
use super::super::edit::DROP_IN;
use super::super::state::{NotReverted, State};
use super::{configurations, our_file, target};
use root::{Root, RootError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Returns copies of kata-osinfo's files that Kata, containerd or CRI-O reads, each with the reason why it is reported;
/// `known` is the recorded state. Unreadable files are skipped, because other checks report them.
pub(in super::super) fn copies(root: &Root, known: &State) -> Vec<NotReverted> {
    let mut ignore_error = |_: &Path, _: RootError| Ok(());
    let places = containerd::each(root, &mut ignore_error).unwrap_or_default();
    let read = containerd::read_files(root, &places, &mut ignore_error).unwrap_or_default();
    among(root, &configurations(root, &read), known, &read, &mut ignore_error).unwrap_or_default()
}

/// Returns files that say they are kata-osinfo's but have another name, in places where they are read: next to drop-ins
/// of the configurations in `named` and in the state, and among the files that containerd and CRI-O read.
pub(super) fn among(
    root: &Root,
    named: &BTreeSet<PathBuf>,
    known: &State,
    read: &[ReadFiles<'_>],
    unread: &mut Unread<'_>,
) -> Result<Vec<NotReverted>, RootError> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for config in named.iter().chain(known.configurations.iter().map(|c| &c.config)).filter(|path| path.is_absolute()) {
        folders.extend(target(root, config, unread)?.map(|path| path.with_file_name("config.d")));
    }
    let of_state = known.files.iter().filter(|file| file.path.ends_with(Path::new("config.d").join(DROP_IN)));
    folders.extend(of_state.map(|file| file.path.with_file_name("")));
    let drop_ins = folders.iter().map(|folder| folder.join(DROP_IN));
    let drop_ins = drop_ins.chain(read.iter().map(|files| files.drop_in().to_owned())).chain([crio::drop_in()]);
    let drop_ins: BTreeSet<PathBuf> = drop_ins.filter_map(|path| root.resolve_new(&path).ok()).collect();
    let mut found: Vec<(PathBuf, &str)> = Vec::new();
    for folder in folders {
        match root.list_if_any(&folder) {
            Ok(names) => found.extend(names.iter().map(|name| (folder.join(name), "Kata"))),
            Err(error) => unread(&folder, error)?,
        }
    }
    match crio::paths(root) {
        Ok(paths) => found.extend(paths.into_iter().map(|path| (path, "CRI-O"))),
        Err(error) => unread(&crio::drop_in(), error)?,
    }
    found.extend(containerd::paths_marked_as_ours(root, read).into_iter().map(|path| (path, "containerd")));
    let mut all = Vec::new();
    for (path, reader) in found {
        let Some(copy) = our_file(root, &path, unread)? else { continue };
        // A link to one of kata-osinfo's drop-ins is not a copy.
        if !drop_ins.contains(&copy.path) && !known.files.iter().any(|file| file.path == copy.path) {
            let why = format!("it is a copy of a file of kata-osinfo's, and {reader} reads it, too: remove it");
            all.push(NotReverted { path, why, by_force: false });
        }
    }
    Ok(all)
}
