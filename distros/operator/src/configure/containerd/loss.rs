//! What a containerd loses when files of ours go.

use super::super::runtime_files::NAME;
use super::config::{ContainerdConfig, each};
use super::files::Replaced;
use super::handler::RUNC;
use super::imports;
use super::loaded::{File, GRPC, LoadError, Loaded, Loading, RUNTIME};
use super::written::loaded;
use root::{Root, RootError};
use serde_json::{Map, Value, json};
use toml_edit::DocumentMut;

/// What a containerd would miss of what is others', or why it would not come up, when files are as they are to be
/// (`then`).
///
/// Where containerd's version is not known, all of them are asked.
///
/// # Errors
///
/// That a main file cannot be read. What it imports is not asked: where that cannot be read it does not start today.
pub(in super::super) fn loss(
    root: &Root,
    then: &Replaced,
    version: Option<(u32, u32)>,
) -> Result<Option<String>, RootError> {
    let mut untold = |_: &std::path::Path, _: RootError| Ok(());
    for place in each(root, &mut untold)? {
        let (now, then) = (as_read(root, &place, &Replaced::new())?, as_read(root, &place, then)?);
        for loading in Loading::all(version) {
            let Ok((files, before)) = loaded(root, &now, &place.main, *loading) else { continue };
            if before.disabled.is_some() {
                continue;
            }
            match loaded(root, &then, &place.main, *loading) {
                Err(LoadError::Root(_)) => {}
                Err(why) => return Ok(Some(format!("without it containerd would not start: {why}"))),
                Ok((_, after)) => {
                    if let Some(why) = difference(&files, &before, &after) {
                        return Ok(Some(why));
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Files as a containerd reads them, also where a distribution of Kubernetes joins them itself.
fn as_read(root: &Root, place: &ContainerdConfig, files: &Replaced) -> Result<Replaced, RootError> {
    let mut files = files.clone();
    let path = root.resolve_new(&place.main)?;
    let text = match files.get(&path) {
        Some(text) => text.clone(),
        None => root.text_if_any(&path)?,
    };
    if let Some(Ok(document)) = text.map(|text| text.parse::<DocumentMut>())
        && place.joins_drop_ins_itself(&imports(&document))
    {
        files.insert(path, Some(place.joined()));
    }
    Ok(files)
}

/// What of others' is not as it was in the files of today.
fn difference(files: &[File], before: &Loaded, after: &Loaded) -> Option<String> {
    let default = |loaded: &Loaded| {
        let sections = [RUNTIME, GRPC].into_iter();
        let mut stated = sections.filter_map(|s| loaded.rest.get(s)?.get("containerd")?.get("default_runtime_name"));
        stated.any(|name| name.as_str() == Some(NAME))
    };
    let has_ours = |loaded: &Loaded| loaded.runtimes.contains_key(NAME);
    if has_ours(before) && !has_ours(after) && default(after) {
        let place = set_in(files, &[RUNTIME, "containerd", "default_runtime_name"]);
        return Some(format!(
            "{place} makes {NAME} containerd's default handler, without which its CRI plugin does not come up: \
             name another one there first"
        ));
    }
    for (name, handler) in before.runtimes.iter().filter(|(name, _)| *name != NAME) {
        // The default one, written out, goes with ours.
        let is_written_out = name == "runc" && *handler == json!({ "runtime_type": RUNC });
        if after.runtimes.get(name) != Some(handler) && !is_written_out {
            let place = set_in(files, &[RUNTIME, "containerd", "runtimes", name]);
            return Some(would_be_lost(&format!("handler {name} of {place}")));
        }
    }
    let keys = lost(&before.rest, &after.rest)?;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    Some(would_be_lost(&format!("{} of {}", keys.last()?, set_in(files, &names))))
}

fn would_be_lost(what: &str) -> String {
    format!("{what} would have no effect any more: move it to a file of your own that containerd reads")
}

/// The path of the first value that is not there any more, or is another one.
pub(in super::super) fn lost(before: &Map<String, Value>, after: &Map<String, Value>) -> Option<Vec<String>> {
    before.iter().find_map(|(key, was)| {
        let rest = match (was, after.get(key)) {
            (was, Some(is)) if was == is => return None,
            (Value::Object(was), Some(Value::Object(is))) => lost(was, is)?,
            (Value::Object(was), None) => lost(was, &Map::new())?,
            _ => Vec::new(),
        };
        Some([vec![key.clone()], rest].concat())
    })
}

/// The last file that sets a key of a plugin, with the line; the CRI plugin's section has another name in other forms.
fn set_in(files: &[File], path: &[&str]) -> String {
    let [plugin, keys @ ..] = path else { return String::new() };
    let place = files.iter().rev().find_map(|file| {
        let line = [*plugin, RUNTIME, GRPC, "cri"].iter().find_map(|p| file.line(&[&["plugins", p], keys].concat()))?;
        Some(format!("{}:{line}", file.path.display()))
    });
    place.unwrap_or_else(|| "containerd's configuration".to_owned())
}
