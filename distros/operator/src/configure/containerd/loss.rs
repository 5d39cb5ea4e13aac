//! Losses of a containerd when kata-osinfo's files are removed.

use super::super::keys::is_whole;
use super::super::runtime_files::NAME;
use super::super::state::FileChange;
use super::config::{ContainerdConfig, each};
use super::files::Replaced;
use super::handler::RUNC;
use super::imports;
use super::in_effect::main_of;
use super::loaded::{File, GRPC, LoadError, Loaded, RUNTIME, merge};
use super::loading::{ContainerdVersion, Loading};
use super::written::loaded;
use root::{Root, RootError};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// Returns which setting of others containerd would lose, or why it would not start, after the changes in `planned`;
/// `written` are the files of kata-osinfo's handler that are removed.
///
/// If containerd's version is not known, it is inferred from how the handler was written: an edited main file is for
/// 1.x, a drop-in for 2.0 and later.
///
/// Unreadable files are skipped: the code that writes the handler or reverts it reports them.
pub(in super::super) fn loss(
    root: &Root,
    written: &[&FileChange],
    planned: &Replaced,
    version: Option<ContainerdVersion>,
) -> Option<String> {
    let mut ignore_error = |_: &Path, _: RootError| Ok(());
    let mut mains: Vec<(PathBuf, Option<ContainerdConfig>)> =
        each(root, &mut ignore_error).ok()?.into_iter().map(|place| (place.main.clone(), Some(place))).collect();
    // A main file may have been named on the command line when the handler was written.
    for file in written {
        if let Ok(Some((main, _))) = main_of(root, file, written)
            && !mains.iter().any(|(known, _)| *known == main)
        {
            mains.push((main, None));
        }
    }
    let (its, of_any) = (Loading::all(version), Loading::all(None));
    // For an unknown version, 1.6's way of loading stands for 1.7's, which is added here.
    let of_it_alone: Vec<Loading> = its.iter().copied().filter(|loading| !of_any.contains(loading)).collect();
    let loadings = [of_any, of_it_alone].concat();
    for (main, place) in mains {
        let read = |files| as_read(root, &main, place.as_ref(), files);
        let (Ok(now), Ok(planned)) = (read(&Replaced::new()), read(planned)) else { continue };
        // A distribution that joins the drop-ins itself merges them, whichever containerd it ships.
        let is_joined = !now.is_empty();
        let is_its = |loading: Loading| match version {
            Some(_) if is_joined => !loading.replaces(),
            Some(_) => its.contains(&loading),
            None => written.iter().any(|file| is_whole(file) != loading.replaces()),
        };
        let mut starts = false;
        // The default that a distribution is configured with takes effect at its next start.
        let default = place.as_ref().and_then(|p| Some(needs_default(&p.default.as_ref()?.display().to_string())));
        for loading in loadings.iter().copied() {
            let Ok((files, before)) = loaded(root, &now, &main, loading) else { continue };
            starts = true;
            if before.disabled.is_some() {
                continue;
            }
            let why = match loaded(root, &planned, &main, loading) {
                Err(LoadError::Root(_)) => None,
                Err(why) => Some(format!("without it containerd would not start: {why}")).filter(|_| is_its(loading)),
                Ok((_, after)) if is_gone(&before, &after) && default.is_some() => default.clone(),
                Ok((files_after, after)) => {
                    let find_loss = || difference(&files, &before, &after).or_else(|| beside(&files, &files_after));
                    without_default(&files, &before, &after).or_else(|| find_loss().filter(|_| is_its(loading)))
                }
            };
            if why.is_some() {
                return why;
            }
        }
        // Once the file that keeps containerd from starting is repaired, the default handler is needed again.
        let folder = place.as_ref().map_or_else(|| main.with_file_name("conf.d"), |p| p.drop_in.with_file_name(""));
        if !starts && let Some(place) = stated_default(root, &main, &folder) {
            return Some(needs_default(&place));
        }
    }
    None
}

/// Returns where a main file, or a drop-in next to it, makes [`NAME`] the default handler; each file is read alone.
fn stated_default(root: &Root, main: &Path, folder: &Path) -> Option<String> {
    let beside = root.list_if_any(folder).unwrap_or_default().into_iter().map(|name| folder.join(name));
    std::iter::once(main.to_owned()).chain(beside).find_map(|path| {
        let text = root.text_if_any(&path).ok()??;
        let Ok(document) = text.parse::<DocumentMut>() else {
            let line = names_default(&text, "default_runtime_name")?;
            return Some(format!("{}:{line}", path.display()));
        };
        let stated = |plugin: &str| {
            let keys = ["plugins", plugin, "containerd", "default_runtime_name"];
            keys.iter().try_fold(document.as_item(), |item: &Item, key| item.get(key))?.as_str()
        };
        let is_default = [RUNTIME, GRPC].into_iter().any(|plugin| stated(plugin) == Some(NAME));
        is_default.then(|| path.display().to_string())
    })
}

/// Returns the line, from 1, that makes [`NAME`] the default in a text that is not TOML.
pub(in super::super) fn names_default(text: &str, key: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let stated = line.trim().strip_prefix(key).and_then(|rest| rest.trim_start().strip_prefix('='));
        let value = stated.and_then(|value| value.split('#').next()).unwrap_or_default();
        value.trim().trim_matches(['"', '\'']) == NAME
    };
    text.lines().position(is_it).map(|at| at + 1)
}

/// Returns the files as containerd reads them, also if a Kubernetes distribution joins them itself.
pub(super) fn as_read(
    root: &Root,
    main: &Path,
    place: Option<&ContainerdConfig>,
    files: &Replaced,
) -> Result<Replaced, RootError> {
    let mut files = files.clone();
    let Some(place) = place else { return Ok(files) };
    let path = root.resolve_new(main)?;
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

/// Returns a message if [`NAME`] is the default handler and would be removed, or if only keys of others would remain,
/// which mean nothing without it.
fn without_default(files: &[File], before: &Loaded, after: &Loaded) -> Option<String> {
    let sections = [RUNTIME, GRPC].into_iter();
    let mut stated = sections.filter_map(|s| after.rest.get(s)?.get("containerd")?.get("default_runtime_name"));
    let is_default = stated.any(|name| name.as_str() == Some(NAME));
    let is_removed = is_gone(before, after);
    if is_removed
        && !is_default
        && let Some(remaining) =
            after.runtimes.get(NAME).and_then(Value::as_object).filter(|remaining| !remaining.is_empty())
    {
        let keys: Vec<&str> = remaining.keys().map(String::as_str).collect();
        let place =
            set_in(files, &[RUNTIME, "containerd", "runtimes", NAME, keys.first().copied().unwrap_or_default()]);
        let keys = keys.join(", ");
        return Some(format!(
            "only {keys} of {place} would be left of the handler {NAME}, which could not start anything: remove that first"
        ));
    }
    (is_removed && is_default).then(|| needs_default(&set_in(files, &[RUNTIME, "containerd", "default_runtime_name"])))
}

/// Returns whether the handler is removed; a remainder of others' keys alone is not a handler that starts anything.
fn is_gone(before: &Loaded, after: &Loaded) -> bool {
    let is_whole = |handler: &Value| handler.get("runtime_type").is_some_and(|kind| kind.as_str() != Some(""));
    let has_ours = |loaded: &Loaded| loaded.runtimes.get(NAME).is_some_and(is_whole);
    has_ours(before) && !has_ours(after)
}

fn needs_default(place: &str) -> String {
    format!(
        "{place} makes {NAME} containerd's default handler, and containerd's CRI plugin does not start without its \
         default: name another one there first"
    )
}

/// Returns any other setting of others that would change.
fn difference(files: &[File], before: &Loaded, after: &Loaded) -> Option<String> {
    for (name, handler) in before.runtimes.iter().filter(|(name, _)| *name != NAME) {
        // An explicit `runc` handler with the default's content is removed together with kata-osinfo's.
        let is_written_out = name == "runc" && *handler == json!({ "runtime_type": RUNC });
        if after.runtimes.get(name) != Some(handler) && !is_written_out {
            let place = set_in(files, &[RUNTIME, "containerd", "runtimes", name]);
            return Some(would_be_lost(&format!("handler {name} of {place}")));
        }
    }
    let keys = first_lost_key(&before.rest, &after.rest)?;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    Some(would_be_lost(&format!("{} of {}", keys.last()?, set_in(files, &names))))
}

/// Returns a setting of other plugins or of containerd itself that would be lost.
fn beside(files: &[File], files_after: &[File]) -> Option<String> {
    let keys = first_lost_key(&settings_beside_cri(files), &settings_beside_cri(files_after))?;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let place = files.iter().rev().find_map(|f| Some(format!("{}:{}", f.path.display(), f.line(&names)?)));
    Some(would_be_lost(&format!("{} of {}", keys.join("."), place?)))
}

/// Returns the settings of all files, except the CRI plugin's and those that control how the files are read.
fn settings_beside_cri(files: &[File]) -> Map<String, Value> {
    let mut all = Map::new();
    for file in files {
        let mut own = file.document();
        ["version", "imports", "disabled_plugins", "required_plugins"].iter().for_each(|key| drop(own.remove(*key)));
        if let Some(plugins) = own.get_mut("plugins").and_then(Value::as_object_mut) {
            plugins.retain(|name, _| name != "cri" && name != GRPC && !name.starts_with("io.containerd.cri."));
        }
        merge(&mut all, own);
    }
    all
}

fn would_be_lost(what: &str) -> String {
    format!("{what} would have no effect any more: move it to a file of your own that containerd reads")
}

/// Returns the path of the first value that is missing or changed.
pub(in super::super) fn first_lost_key(before: &Map<String, Value>, after: &Map<String, Value>) -> Option<Vec<String>> {
    before.iter().find_map(|(key, was)| {
        let rest = match (was, after.get(key)) {
            (was, Some(is)) if was == is => return None,
            (Value::Object(was), Some(Value::Object(is))) => first_lost_key(was, is)?,
            (Value::Object(was), None) => first_lost_key(was, &Map::new())?,
            _ => Vec::new(),
        };
        Some([vec![key.clone()], rest].concat())
    })
}

/// Returns the last file that sets a key of a plugin, with the line; the CRI plugin's section has another name in other
/// versions.
fn set_in(files: &[File], path: &[&str]) -> String {
    let [plugin, keys @ ..] = path else { return String::new() };
    let place = files.iter().rev().find_map(|file| {
        let line = [*plugin, RUNTIME, GRPC, "cri"].iter().find_map(|p| file.line(&[&["plugins", p], keys].concat()))?;
        Some(format!("{}:{line}", file.path.display()))
    });
    place.unwrap_or_else(|| "containerd's configuration".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_broken_file_the_default_is_ours_only_by_its_exact_name() {
        let default_line = |value: &str| names_default(&format!("[broken\n  key = {value}\n"), "key");
        assert_eq!((default_line("\"kata\""), default_line("'kata' # mine")), (Some(2), Some(2)));
        assert_eq!(
            (default_line("\"kata-qemu\""), default_line("\"runc\" # kata"), default_line("")),
            (None, None, None)
        );
    }
}
