//! Messages about others' changes to kata-osinfo's handler.

use super::super::super::state::State;
use super::super::super::toml::line_of;
use super::super::loaded::{GRPC, RUNTIME};
use super::super::values::value_at;
use super::{handlers, path};
use toml_edit::{Document, Item};

/// Describes how to restore the handler in a text in which others have changed its keys, each with its line.
pub(in super::super::super) fn repair_instructions(now: &str, state: &State, changed: &[String]) -> String {
    let document = Document::parse(now).ok();
    let handlers = handlers(state);
    let words = |key: &String| {
        let in_section = |plugin: &&str| {
            let names = key.strip_prefix(&format!("{}.", path(plugin, &[]).join(".")))?;
            let names: Vec<String> = names.split('.').map(str::to_owned).collect();
            Some((path(plugin, &names), names))
        };
        let Some((path, names)) = [GRPC, RUNTIME].iter().find_map(in_section) else {
            return format!("put `{key}` back");
        };
        let item =
            document.as_ref().and_then(|d| path.iter().try_fold(d.as_item(), |item, key| item.get(key.as_str())));
        let line = item.and_then(Item::span).map(|span| format!(" (line {})", line_of(now, span.start)));
        let place = format!("`{}`{}", names.join("."), line.unwrap_or_default());
        match handlers.iter().rev().find_map(|ours| value_at(ours, &names)) {
            Some(ours) => format!("put {place} back to {ours}"),
            None => format!("remove {place}, which is new"),
        }
    };
    changed.iter().map(words).collect::<Vec<_>>().join(", ")
}
