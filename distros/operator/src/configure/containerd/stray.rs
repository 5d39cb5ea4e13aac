//! What of a containerd's configuration is certainly this program's, where no state says so.

use super::super::comments;
use super::super::edit::edited;
use super::super::keys::{says_it_is_ours, take_back};
use super::super::runtime_files::{NAME, is_shim};
use super::super::state::{FileChange, NotReverted};
use super::config::{ContainerdConfig, Unread};
use super::handler::{WantedHandler, proven, settings};
use super::imports;
use super::loaded::{GRPC, RUNTIME};
use super::migrated::{runtime, without_unset};
use super::values::without_unset_keys;
use root::{Root, RootError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use toml_edit::DocumentMut;

/// What was found in containerds' configurations.
#[derive(Debug, Default)]
pub(in super::super) struct ContainerdStrays {
    /// What is ours.
    pub(in super::super) changes: Vec<FileChange>,
    /// What may be, in part.
    pub(in super::super) kept: Vec<NotReverted>,
    /// Files that containerd does not read either, and of which nobody can tell.
    pub(in super::super) unclear: Vec<NotReverted>,
}

/// Our drop-ins and our keys in the files that containerds read first, and what may be ours; a main file stands behind
/// the drop-in that it imports.
///
/// A handler is ours where it is to the letter what this program writes, for a configuration that it has left a mark at;
/// keys that say nothing are those that `containerd config migrate` writes out.
///
/// # Errors
///
/// What `unread` makes of those that cannot be read.
pub(in super::super) fn strays(
    root: &Root,
    places: &[ContainerdConfig],
    marked: &dyn Fn(&Path) -> bool,
    unread: &mut Unread<'_>,
) -> Result<ContainerdStrays, RootError> {
    let mut found = ContainerdStrays::default();
    for place in places {
        if let Err(error) = of_one(root, place, marked, &mut found) {
            unread(&place.main, error)?;
        }
    }
    Ok(found)
}

/// The stray parts of one containerd's configuration.
fn of_one(
    root: &Root,
    place: &ContainerdConfig,
    marked: &dyn Fn(&Path) -> bool,
    found: &mut ContainerdStrays,
) -> Result<(), RootError> {
    let ContainerdStrays { changes, kept, unclear } = found;
    let main = root.resolve_new(&place.main)?;
    let path = root.resolve_new(&place.drop_in)?;
    let drop_in = root.utf8_if_any(&path)?.filter(|text| says_it_is_ours(text));
    let bytes = root.text_if_any(&main)?;
    let parsed = bytes.as_ref().map(|text| text.parse::<DocumentMut>());
    let (Some(text), Some(Ok(document))) = (bytes.as_ref(), parsed) else {
        // All that this program writes there names Kata; of bytes that are no text nobody can tell whether they do.
        if bytes.map_or(drop_in.is_some(), |text| text.contains(NAME)) {
            let why = "it is no TOML, so nobody can see what in it is ours and whether it imports our file";
            unclear.push(NotReverted { path: main, why: why.to_owned(), by_force: false });
        } else {
            changes.extend(drop_in.map(|after| FileChange { path, before: None, after }));
        }
        return Ok(());
    };
    let import = place.drop_in.display().to_string();
    let mut ours = match drop_in.is_some() && imports(&document).contains(&import) {
        true => format!("imports = [{}]\n", toml_edit::Value::from(import)),
        false => String::new(),
    };
    let mut bare = text.clone();
    for plugin in [GRPC, RUNTIME] {
        let Some(handler) = runtime(&document, plugin, NAME) else { continue };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(PathBuf::from).unwrap_or_default();
        let (shim, config) = (text(handler.get("runtime_path")), text(handler.pointer("/options/ConfigPath")));
        if !marked(&config) || !shim.to_str().is_some_and(is_shim) {
            continue;
        }
        let wanted = proven(WantedHandler { shim: &shim, config: &config, version: None });
        match Value::Object(wanted.clone()) == without_unset_keys(&handler) {
            true => {
                ours = edited(&ours, &settings(plugin, &wanted)).unwrap_or(ours);
                bare = without_unset(&bare, plugin).unwrap_or(bare);
            }
            false => kept.push(NotReverted {
                path: main.clone(),
                why: format!("its handler {NAME} is ours in part at most: what it said before is not known"),
                by_force: false,
            }),
        }
    }
    changes.extend(drop_in.map(|after| FileChange { path, before: None, after }));
    if !ours.is_empty() {
        match take_back(&bare, Some(""), &ours, false) {
            Ok(taken) => {
                let before = comments::kept(text, None, &ours, taken.text);
                changes.push(FileChange { path: main, before, after: text.clone() });
            }
            Err(error) => kept.push(NotReverted { path: main, why: error.to_string(), by_force: false }),
        }
    }
    Ok(())
}
