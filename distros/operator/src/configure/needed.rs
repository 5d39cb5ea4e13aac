//! Files that others need, among those to be removed: a container manager may need the handler to start, and settings
//! of others may no longer be read.
//!
//! The decision compares what container managers and Kata make of all files together, before and after.

use super::added::ForeignAdditions;
use super::containerd::{self, Replaced};
use super::merged::settings_in;
use super::state::{FileChange, ManagedConfiguration, NotReverted, State};
use super::{ContainerdVersion, copy, crio};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

/// Returns the files of a state that stay because others need them, each with the reason, those of the handler first.
/// The files of a configuration belong together, so none of them is removed alone.
///
/// `planned` holds all planned texts, including the new files for others' additions (`added`); `version` is
/// containerd's, if known.
///
/// # Errors
///
/// A file that matters cannot be read.
pub(super) fn needed(
    root: &Root,
    state: &State,
    added: &[ForeignAdditions],
    planned: &Replaced,
    version: Option<ContainerdVersion>,
) -> Result<Vec<NotReverted>, RootError> {
    let of_crio = root.resolve_new(&crio::drop_in()).ok();
    let is_crio = |path: &PathBuf| Some(path) == of_crio.as_ref();
    let mut kept = Vec::new();
    for configured in &state.configurations {
        let (of_crio, of_containerd): (Vec<&FileChange>, Vec<&FileChange>) = state
            .files
            .iter()
            .filter(|f| configured.handler.contains(&f.path) && changes(root, f, planned))
            .partition(|f| is_crio(&f.path));
        let mut why = None;
        if !of_containerd.is_empty() {
            why = containerd::loss(root, &of_containerd, planned, version);
        }
        if why.is_none() && !of_crio.is_empty() {
            why = crio::loss(root, planned);
        }
        if why.is_none() {
            why = unread(root, state, configured, added, planned)?;
        }
        if let Some(why) = why {
            keep_all_files(&mut kept, configured, &why);
        }
    }
    Ok(kept)
}

/// Returns whether a file would change; an unreadable file counts as changing.
fn changes(root: &Root, file: &FileChange, planned: &Replaced) -> bool {
    planned.get(&file.path).is_some_and(|text| root.utf8_if_any(&file.path).ok().as_ref() != Some(text))
}

/// Keeps all files of a configuration, those of its handler first.
pub(super) fn keep_all_files(kept: &mut Vec<NotReverted>, configured: &ManagedConfiguration, why: &str) {
    for path in configured.handler.iter().chain(&configured.files) {
        if !kept.iter().any(|k| k.path == *path) {
            kept.push(NotReverted { path: path.clone(), why: why.to_owned(), by_force: true });
        }
    }
}

/// Returns a message if Kata would no longer read settings of others: additions to a drop-in of kata-osinfo's, and
/// others' drop-ins next to a copy that is removed.
fn unread(
    root: &Root,
    state: &State,
    configured: &ManagedConfiguration,
    added: &[ForeignAdditions],
    planned: &Replaced,
) -> Result<Option<String>, RootError> {
    let is_copy = |path: &&PathBuf| state.files.iter().any(|f| f.path == **path && copy::source(&f.after).is_some());
    let copies: Vec<&PathBuf> = configured.files.iter().filter(is_copy).collect();
    let mains: Vec<&PathBuf> = std::iter::once(&configured.config).chain(copies.iter().copied()).collect();
    // Kata itself may have been uninstalled.
    if root.look(&configured.config)?.is_none() {
        return Ok(None);
    }
    let is_of_kata = |path: &Path| {
        let is = |paths: &[PathBuf]| paths.iter().any(|p| p == path);
        is(&configured.files) && !is(&configured.handler)
    };
    for added in added.iter().filter(|a| is_of_kata(a.ours())) {
        if let Some(theirs) = added.theirs()
            && !settings_in(&theirs.after).is_empty()
            && !is_read(root, &mains, &theirs.path, planned)?
        {
            return Ok(Some(added.would_be_lost()));
        }
    }
    for copy in copies.into_iter().filter(|copy| planned.get(*copy).is_some_and(Option::is_none)) {
        let folder = copy.with_file_name("config.d");
        for path in root.list_if_any(&folder)?.iter().map(|name| folder.join(name)) {
            let is_ours = state.files.iter().any(|f| f.path == path);
            let text = root.text_if_any(&path)?.unwrap_or_default();
            if !is_ours && !settings_in(&text).is_empty() {
                let (path, main) = (path.display(), configured.config.display());
                return Ok(Some(format!(
                    "{path} would have no effect any more: remove it, or move it to a file that is read with {main}"
                )));
            }
        }
    }
    Ok(None)
}

/// Returns whether a drop-in lies next to a configuration that will exist.
fn is_read(root: &Root, mains: &[&PathBuf], drop_in: &Path, planned: &Replaced) -> Result<bool, RootError> {
    let folder = drop_in.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "config.d"));
    let Some(beside) = folder.and_then(Path::parent) else { return Ok(false) };
    for main in mains.iter().filter(|main| main.parent() == Some(beside)) {
        let is_there = match planned.get(*main) {
            Some(text) => text.is_some(),
            None => root.look(main)?.is_some(),
        };
        if is_there {
            return Ok(true);
        }
    }
    Ok(false)
}
