//! Losses of a CRI-O when kata-osinfo's files are removed.

use super::super::containerd::{Replaced, first_lost_key, names_default};
use super::super::runtime_files::NAME;
use super::super::toml::{line_of, table_of};
use super::{FOLDER, File, HANDLER, MAIN, checked_text, paths, text};
use root::{Root, RootError};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use toml_edit::{Document, DocumentMut, Item};

/// The key that names the default runtime.
const DEFAULT: [&str; 3] = ["crio", "runtime", "default_runtime"];

/// Returns which setting of others CRI-O would lose, or why it would not start, after the changes in `planned`.
///
/// `None` also if one of its files cannot be read: the code that writes the handler or reverts it reports that.
pub(in super::super) fn loss(root: &Root, planned: &Replaced) -> Option<String> {
    let read = |path: PathBuf| Ok::<File, RootError>(File { text: text(root, &Replaced::new(), &path)?, path });
    let today: Vec<File> = paths(root).ok()?.into_iter().map(read).collect::<Result<_, RootError>>().ok()?;
    let (mut before, mut after) = (merged(&today), merged(&changed(root, &today, planned).ok()?));
    // A remainder of others' keys alone is not a handler that starts anything.
    let is_whole = |handler: &Value| ["runtime_path", "runtime_type"].iter().any(|key| handler.get(key).is_some());
    let has_ours = |merged: &Map<String, Value>| value_at(merged, &HANDLER).is_some_and(is_whole);
    if has_ours(&before) && !has_ours(&after) {
        let place = match value_at(&after, &DEFAULT).and_then(Value::as_str) == Some(NAME) {
            true => Some(default_in(&today).unwrap_or_else(|| "CRI-O's configuration".to_owned())),
            false => default_in_broken(root, &today),
        };
        if let Some(place) = place {
            return Some(format!(
                "{place} makes {NAME} CRI-O's default_runtime, and CRI-O does not start without its default: name another one there first"
            ));
        }
    }
    [&mut before, &mut after].into_iter().for_each(without_handler);
    let key = first_lost_key(&before, &after)?.join(".");
    Some(format!("{key} would have no effect any more: move it to a file of your own that CRI-O reads"))
}

/// Returns the place in a file that is not TOML where [`NAME`] is the default runtime: it takes effect once the file is
/// repaired.
fn default_in_broken(root: &Root, all: &[File]) -> Option<String> {
    all.iter().filter(|file| file.text.is_err()).find_map(|File { path, .. }| {
        let text = root.utf8(path).ok()?;
        Some(format!("{}:{}", path.display(), names_default(&text, "default_runtime")?))
    })
}

/// Returns the last file that names a default runtime, with the line.
fn default_in(all: &[File]) -> Option<String> {
    all.iter().rev().find_map(|File { path, text }| {
        let text = text.as_ref().ok()?;
        let document = Document::parse(text.as_str()).ok()?;
        let item = DEFAULT.iter().try_fold(document.as_item(), |item: &Item, key| item.get(key))?;
        let line = item.span().map_or(1, |span| line_of(text, span.start));
        Some(format!("{}:{line}", path.display()))
    })
}

fn value_at<'v>(map: &'v Map<String, Value>, path: &[&str]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(map.get(*first)?, |value, key| value.get(key))
}

/// Removes the handler named [`NAME`].
fn without_handler(merged: &mut Map<String, Value>) {
    let [crio, runtime, runtimes, name] = HANDLER;
    let runtimes = merged.get_mut(crio).and_then(|crio| crio.get_mut(runtime)?.get_mut(runtimes)?.as_object_mut());
    if let Some(runtimes) = runtimes {
        runtimes.remove(name);
    }
}

/// Applies the changes in `planned` to the current files; returns them in CRI-O's order.
fn changed(root: &Root, today: &[File], planned: &Replaced) -> Result<Vec<File>, RootError> {
    let folder = root.resolve_new(Path::new(FOLDER));
    let mut all = Vec::new();
    for File { path, text } in today {
        let text = match planned.get(&root.resolve_new(path)?) {
            Some(Some(text)) => checked_text(path, text.clone()),
            // A link to a removed file says nothing, either.
            Some(None) => continue,
            None => text.clone(),
        };
        all.push(File { path: path.clone(), text });
    }
    for (path, text) in planned.iter().filter(|(path, _)| folder.as_ref().is_ok_and(|folder| path.starts_with(folder)))
    {
        if let Some(text) = text
            && root.look(path)?.is_none()
        {
            all.push(File { path: path.clone(), text: checked_text(path, text.clone()) });
        }
    }
    all.sort_by_cached_key(|file| (file.path != Path::new(MAIN), file.path.clone()));
    Ok(all)
}

/// Merges all files as CRI-O does; files that do not parse are skipped, as if they were not there until they are
/// repaired.
fn merged(all: &[File]) -> Map<String, Value> {
    let mut merged = Map::new();
    for document in all.iter().filter_map(|file| file.text.as_ref().ok()?.parse::<DocumentMut>().ok()) {
        if let Value::Object(own) = table_of(document.as_table()) {
            merge(&mut merged, own, 0);
        }
    }
    merged
}

/// Merges a later file's values over earlier ones; a runtime is replaced as a whole.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>, depth: usize) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) if depth + 1 < HANDLER.len() => {
                merge(into, from, depth + 1);
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
