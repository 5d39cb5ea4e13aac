//! Settings in others' drop-ins that a copy of Kata's configuration does not have.

use super::super::added::ForeignAdditions;
use super::super::merged::settings_in;
use super::super::{KeyValue, LocatedConfiguration, MergedConfiguration};
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns the drop-ins of a configuration that others wrote, including the new files for their additions (`added`).
pub(super) fn drop_ins_of(
    root: &Root,
    located: &LocatedConfiguration,
    added: &[ForeignAdditions],
    is_ours: &dyn Fn(&PathBuf) -> bool,
) -> Result<BTreeMap<PathBuf, String>, RootError> {
    let folder = root.resolve_new(&located.drop_ins())?;
    let mut all = BTreeMap::new();
    for path in root.list(&folder)?.iter().map(|name| folder.join(name)).filter(|path| !is_ours(path)) {
        let text = root.text_if_any(&path)?.unwrap_or_default();
        all.insert(path, text);
    }
    let moved = added.iter().filter_map(ForeignAdditions::theirs).filter(|c| c.path.parent() == Some(folder.as_path()));
    all.extend(moved.map(|c| (c.path.clone(), c.after.clone())));
    Ok(all)
}

/// Returns a message about settings in a drop-in of the original configuration that the copy, with its separate
/// drop-ins, lacks.
pub(super) fn left_behind(
    path: &Path,
    text: &str,
    copy_folder: &Path,
    planned: &[KeyValue],
    merged: &MergedConfiguration,
) -> Option<String> {
    let set = settings_in(text);
    let is_lost = |s: &&KeyValue| {
        let of_another =
            s.table.first().is_some_and(|t| t == "hypervisor") && s.table.get(1).is_some_and(|t| t != "qemu");
        let is_planned = planned.iter().any(|p| p.path() == s.path());
        !of_another && !is_planned && merged.leaf(&s.path()).map(|leaf| leaf.value) != Some(&s.value)
    };
    let lost: Vec<String> = set.iter().filter(is_lost).map(|s| format!("{} = {}", s.name(), s.value)).collect();
    if lost.is_empty() && !set.is_empty() {
        return None;
    }
    let lost = if lost.is_empty() { String::new() } else { format!(" ({})", lost.join(", ")) };
    Some(format!(
        "the copy does not read {}: put the settings that it needs{lost} into {}",
        path.display(),
        copy_folder.display()
    ))
}
