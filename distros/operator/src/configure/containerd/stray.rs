//! Parts of a containerd's configuration that certainly come from this program, without a state that records them.

use super::super::comments;
use super::super::edit::edited;
use super::super::keys::{is_marked_as_ours, take_back};
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

/// Findings in containerds' configurations.
#[derive(Debug, Default)]
pub(in super::super) struct ContainerdStrays {
    /// The parts that are kata-osinfo's.
    pub(in super::super) changes: Vec<FileChange>,
    /// Files that may be kata-osinfo's in part.
    pub(in super::super) kept: Vec<NotReverted>,
    /// Files that are not TOML, which containerd cannot read either, and whose origin cannot be determined.
    pub(in super::super) unclear: Vec<NotReverted>,
}

/// Finds kata-osinfo's drop-ins, its keys in containerds' main files, and files that may be its own; a main file comes
/// after the drop-in that it imports.
///
/// A handler is kata-osinfo's if it equals exactly what this program writes, for a configuration that is `marked` as
/// configured by it. Keys without a value are ignored: `containerd config migrate` writes them out.
///
/// # Errors
///
/// The errors of `unread` for files that cannot be read.
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

/// Finds the stray parts of one containerd's configuration.
fn of_one(
    root: &Root,
    place: &ContainerdConfig,
    marked: &dyn Fn(&Path) -> bool,
    found: &mut ContainerdStrays,
) -> Result<(), RootError> {
    let ContainerdStrays { changes, kept, unclear } = found;
    let main = root.resolve_new(&place.main)?;
    let path = root.resolve_new(&place.drop_in)?;
    let drop_in = root.utf8_if_any(&path)?.filter(|text| is_marked_as_ours(text));
    let bytes = root.text_if_any(&main)?;
    let parsed = bytes.as_ref().map(|text| text.parse::<DocumentMut>());
    let (Some(text), Some(Ok(document))) = (bytes.as_ref(), parsed) else {
        // Everything that this program writes there contains Kata's name; bytes that are not text cannot be judged.
        if bytes.map_or(drop_in.is_some(), |text| text.contains(NAME)) {
            let why = "it is not valid TOML, so kata-osinfo cannot tell which parts it wrote and whether its drop-in is imported";
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
        let expected = proven(WantedHandler { shim: &shim, config: &config, version: None });
        match Value::Object(expected.clone()) == without_unset_keys(&handler) {
            true => {
                ours = edited(&ours, &settings(plugin, &expected)).unwrap_or(ours);
                bare = without_unset(&bare, plugin).unwrap_or(bare);
            }
            false => kept.push(NotReverted {
                path: main.clone(),
                why: format!(
                    "kata-osinfo wrote at most a part of its handler {NAME}, and the earlier values are not known"
                ),
                by_force: false,
            }),
        }
    }
    changes.extend(drop_in.map(|after| FileChange { path, before: None, after }));
    if !ours.is_empty() {
        match take_back(&bare, Some(""), &ours, false) {
            Ok(stripped) => {
                let before = comments::keep_comments(text, None, &ours, stripped.text);
                changes.push(FileChange { path: main, before, after: text.clone() });
            }
            Err(error) => kept.push(NotReverted { path: main, why: error.to_string(), by_force: false }),
        }
    }
    Ok(())
}
