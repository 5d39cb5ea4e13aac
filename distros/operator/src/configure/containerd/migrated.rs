//! Reverts kata-osinfo's handler even if it is no longer where it was written.
//!
//! `containerd config migrate` moves the handler from [`GRPC`]'s section to [`RUNTIME`]'s, copies the handlers of
//! imported files into the main file, and writes out every unset key (seen with containerd 2.1.9). Admins move sections
//! by hand.
//!
//! All of these files are read before anything is reverted. An unreadable file ends the call, as in `configure`; with
//! `force` it is reported, and the files next to it stay. It may contain the handler, or an import of the drop-in, and
//! containerd does not start with an import of a missing file. The handler is recognized only by the state, which is
//! therefore removed last.

mod mains;
mod mend;

pub(in super::super) use mains::{Main, mains};
pub(in super::super) use mend::repair_instructions;

use super::super::KeyValue;
use super::super::comments;
use super::super::edit::{EditError, LineEnds, edited};
use super::super::keys::{self, StrippedText};
use super::super::merged::settings_in;
use super::super::runtime_files::NAME;
use super::super::state::{FileChange, NotReverted, State};
use super::super::toml::value_of;
use super::config::{ContainerdConfig, present};
use super::files::Replaced;
use super::handler::{RUNC, setting};
use super::imports;
use super::loaded::{GRPC, RUNTIME};
use super::values::{KEYS, both, differing, is_default, is_written, value_at};
use root::{Root, RootError};
use serde_json::{Value, json};
use std::path::PathBuf;
use toml_edit::{DocumentMut, Item};

/// Keys that identify the owner of a handler.
const TELLING: [&str; 2] = ["/runtime_path", "/options/ConfigPath"];

/// Returns the handlers that a state's files were written with.
pub(in super::super) fn handlers(state: &State) -> Vec<Value> {
    let mut all = Vec::new();
    for file in &state.files {
        if let Some(handler) = handler_of(file)
            && !all.contains(&handler)
        {
            all.push(handler);
        }
    }
    all
}

/// Returns the handler that a file was written with.
pub(in super::super) fn handler_of(file: &FileChange) -> Option<Value> {
    let after: DocumentMut = file.after.parse().ok()?;
    let before: DocumentMut = file.before.as_deref().unwrap_or_default().parse().ok()?;
    let written =
        |plugin: &&str| runtime(&after, plugin, NAME).filter(|h| runtime(&before, plugin, NAME).as_ref() != Some(h));
    [GRPC, RUNTIME].iter().find_map(written)
}

/// The fate of kata-osinfo's handler if others have changed it or added keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Changed {
    /// The handler stays as a whole: half a handler starts nothing.
    Stays,
    /// The handler is removed with the changes of others.
    Goes,
    /// Only kata-osinfo's keys are removed, because they are written again.
    KeepsTheirs,
}

/// Reverts the change from `before` to `after`, as [`keys::take_back`] does, and kata-osinfo's handler even if others
/// have moved it.
///
/// The handler is removed as a whole; if others have changed it, `how` decides. A handler that existed before is
/// complete without kata-osinfo's keys, so the others' keys stay. If the written handler is no longer there, the file
/// is a different one and belongs to others entirely.
///
/// # Errors
///
/// As [`keys::take_back`].
pub(in super::super) fn take_back(
    now: &str,
    before: Option<&str>,
    after: &str,
    handlers: &[Value],
    how: Changed,
) -> Result<StrippedText, EditError> {
    let force = how == Changed::Goes;
    if handlers.is_empty() {
        return keys::take_back(now, before, after, force);
    }
    let mut stripped = StrippedText { text: Some(now.to_owned()), changed: Vec::new() };
    let mut is_ours = false;
    let (old, new): (DocumentMut, DocumentMut) = (before.unwrap_or_default().parse()?, after.parse()?);
    for plugin in [GRPC, RUNTIME] {
        let Some(text) = stripped.text.clone() else { break };
        let document: DocumentMut = text.parse()?;
        let Some(found) = runtime(&document, plugin, NAME) else { continue };
        let mut was =
            runtime(&old, plugin, NAME).or_else(|| runtime(&old, other_plugin(plugin), NAME)).unwrap_or_default();
        let Some(ours) = closest_handler(handlers, &found, &was) else { continue };
        is_ours = true;
        let expected = both(&was, ours);
        let mut changed = differing(&found, &expected);
        let is_list = |keys: &[String]| keys == ["pod_annotations"];
        let has_list = changed.iter().any(|keys| is_list(keys));
        let is_theirs = was.get("runtime_type").is_some();
        if is_theirs {
            changed.retain(|keys| value_at(ours, keys) != value_at(&was, keys) && !is_list(keys));
        }
        stripped.changed.extend(changed.iter().map(|keys| path(plugin, keys).join(".")));
        if !changed.is_empty() && how == Changed::Stays {
            continue;
        }
        let is_added = |keys: &&Vec<String>| force && value_at(&expected, keys).is_none();
        let added: Vec<Vec<String>> = changed.iter().filter(is_added).map(|keys| path(plugin, keys)).collect();
        let bare = if was.is_null() { without_unset(&text, plugin)? } else { text };
        if has_list && (is_theirs || how == Changed::KeepsTheirs) && was.get("pod_annotations").is_none() {
            // Only kata-osinfo's element of the list is removed.
            was = both(&was, &json!({ "pod_annotations": [] }));
        }
        let before = match before {
            None if was.is_null() => None,
            text => Some(edited(text.unwrap_or_default(), &settings_of(plugin, &was))?),
        };
        let after = edited(before.as_deref().unwrap_or_default(), &settings_of(plugin, ours))?;
        stripped.text = keys::take_back(&keys::without(&bare, &added)?, before.as_deref(), &after, force)?.text;
    }
    // Removes an empty table header whose keys others have removed.
    for plugin in [GRPC, RUNTIME] {
        let Some(text) = &stripped.text else { break };
        let is_empty = |document: &DocumentMut| runtime(document, plugin, NAME) == Some(json!({}));
        if is_empty(&text.parse()?) && !is_empty(&old) {
            stripped.text = Some(keys::without(text, &[path(plugin, &[])])?);
        }
    }
    let handler = |document: &DocumentMut| [GRPC, RUNTIME].map(|plugin| runtime(document, plugin, NAME));
    if !is_ours && handler(&new) != handler(&old) {
        return Ok(stripped);
    }
    // The default runtime that was written out next to the handler: containerd needs it while any other handler exists.
    // Once it has further keys, from the migration or from others, it stays, too.
    let has_runc = |document: &DocumentMut| [GRPC, RUNTIME].iter().any(|p| runtime(document, p, "runc").is_some());
    for plugin in [GRPC, RUNTIME].into_iter().filter(|_| has_runc(&new) && !has_runc(&old)) {
        let Some(text) = stripped.text.take() else { break };
        let document: DocumentMut = text.parse()?;
        let written = setting(&["plugins", plugin, "containerd", "runtimes", "runc"], "runtime_type", json!(RUNC));
        stripped.text = match runtimes(&document, plugin) == Some(json!({ "runc": { "runtime_type": RUNC } })) {
            true => keys::take_back(&text, before, &edited(before.unwrap_or_default(), &[written])?, false)?.text,
            false => Some(text),
        };
    }
    if let Some(text) = stripped.text.take() {
        let is_done = |path: &[String]| path.get(2..4).is_some_and(|names| names == ["containerd", "runtimes"]);
        let rest = keys::take_back_but(&text, before, after, force, &is_done)?;
        stripped.text = rest.text;
        stripped.changed.extend(rest.changed);
    }
    Ok(stripped)
}

/// Returns whether a changed key belongs to kata-osinfo's handler, which then stays as a whole.
pub(in super::super) fn is_of_handler(key: &str) -> bool {
    [GRPC, RUNTIME].iter().any(|plugin| key.starts_with(&format!("{}.", path(plugin, &[]).join("."))))
}

/// Returns the path of a key of kata-osinfo's handler.
fn path(plugin: &str, keys: &[String]) -> Vec<String> {
    let table = ["plugins", plugin, "containerd", "runtimes", NAME].map(str::to_owned);
    table.into_iter().chain(keys.iter().cloned()).collect()
}

/// Returns the state with main files added that others have made from a recorded one: a link that has become a regular
/// file again, or a copy.
///
/// The recorded texts of the old file are valid for the new one.
///
/// # Errors
///
/// A main file cannot be read, or looked for.
pub(in super::super) fn adopted(root: &Root, state: State) -> Result<State, RootError> {
    if state.configurations.iter().all(|c| c.handler.is_empty()) {
        return Ok(state);
    }
    let places = present(root)?;
    adopted_of(root, state, &mains(root, &places, &mut |_, error| Err(error))?)
}

/// Like [`adopted`], with main files that were already read.
///
/// # Errors
///
/// A main file of the state cannot be looked for.
pub(in super::super) fn adopted_of(root: &Root, mut state: State, mains: &[Main<'_>]) -> Result<State, RootError> {
    if state.configurations.iter().all(|c| c.handler.is_empty()) {
        return Ok(state);
    }
    let handlers = handlers(&state);
    for main in mains {
        let is_known = |path: &PathBuf| state.files.iter().any(|f| f.path == *path);
        let Some(text) = main.text.as_ref().filter(|_| !is_known(&main.path)) else { continue };
        let import = main.drop_in.as_ref().is_some_and(is_known);
        if !matches!(without_ours(text, &handlers, import.then_some(main.place)), Ok(Some(_))) {
            continue;
        }
        let is_of_it = |f: &FileChange| {
            let stripped = keys::take_back(text, f.before.as_deref(), &f.after, false);
            !keys::is_whole(f)
                && state.configurations.iter().any(|c| c.handler.contains(&f.path))
                && !mains.iter().any(|main| main.path == f.path)
                && stripped.is_ok_and(|stripped| stripped.changed.is_empty())
        };
        let Some(at) = state.files.iter().position(is_of_it) else { continue };
        let file = state.files[at].clone();
        for configured in state.configurations.iter_mut().filter(|c| c.handler.contains(&file.path)) {
            configured.files.push(main.path.clone());
            configured.handler.push(main.path.clone());
        }
        // The new entry comes before the old one, whose file may be unused by now.
        state.files.insert(at, FileChange { path: main.path.clone(), ..file.clone() });
        if root.look(&file.path)?.is_none() {
            state.files.retain(|f| f.path != file.path);
            state.configurations.iter_mut().for_each(|c| c.keep(|path| *path != file.path));
        }
    }
    Ok(state)
}

/// Returns main files that a state does not list, with the parts that exactly match its files: the handler, and imports
/// of files that will be removed.
pub(in super::super) fn unknown_mains(mains: &[Main<'_>], state: &State) -> Vec<FileChange> {
    let handlers = handlers(state);
    let is_known = |path: &PathBuf| state.files.iter().any(|f| f.path == *path);
    let mut changes = Vec::new();
    for main in mains.iter().filter(|main| !is_known(&main.path)) {
        let Some(text) = &main.text else { continue };
        let import = main.drop_in.as_ref().is_some_and(is_known);
        // A file that is not TOML has no effect.
        if let Ok(Some(without)) = without_ours(text, &handlers, import.then_some(main.place)) {
            changes.push(FileChange { path: main.path.clone(), before: Some(without), after: text.clone() });
        }
    }
    changes
}

/// Returns a main file's text without the handler and an import of the drop-in; `None` if it has neither.
fn without_ours(
    text: &str,
    handlers: &[Value],
    imported: Option<&ContainerdConfig>,
) -> Result<Option<String>, EditError> {
    let document: DocumentMut = text.parse()?;
    let mut written = Vec::new();
    let mut bare = text.to_owned();
    for plugin in [GRPC, RUNTIME] {
        if let Some(handler) = exact_handler(&document, plugin, handlers) {
            written.extend(settings_of(plugin, handler));
            bare = without_unset(&bare, plugin)?;
        }
    }
    let import = imported.map(|place| place.drop_in.display().to_string());
    if let Some(import) = import.filter(|import| imports(&document).contains(import)) {
        written.push(setting(&[], "imports", json!([import])));
    }
    if written.is_empty() {
        return Ok(None);
    }
    let ours = edited("", &written)?;
    let remaining = keys::take_back(&bare, Some(""), &ours, false)?.text;
    Ok(comments::keep_comments(text, None, &ours, remaining))
}

/// Returns copies of the handler that remain in main files after the revert: they existed before a state recorded them.
///
/// `texts` holds the planned texts of files.
pub(in super::super) fn remaining_handlers(mains: &[Main<'_>], state: &State, texts: &Replaced) -> Vec<NotReverted> {
    let mut handlers = handlers(state);
    if handlers.is_empty() {
        // The edit may have changed nothing.
        let edited =
            state.files.iter().filter(|f| !keys::is_whole(f)).filter_map(|f| f.after.parse::<DocumentMut>().ok());
        let handler_in =
            |document: DocumentMut| [GRPC, RUNTIME].iter().find_map(|plugin| runtime(&document, plugin, NAME));
        handlers.extend(edited.filter_map(handler_in));
    }
    let mut kept = Vec::new();
    for main in mains {
        let text = texts.get(&main.path).unwrap_or(&main.text);
        let Some(Ok(document)) = text.as_ref().map(|text| text.parse::<DocumentMut>()) else { continue };
        if [GRPC, RUNTIME].iter().any(|plugin| exact_handler(&document, plugin, &handlers).is_some()) {
            let why = format!(
                "its handler {NAME} is the same as the one that kata-osinfo wrote, but was there before: remove it by hand"
            );
            kept.push(NotReverted { path: main.path.clone(), why, by_force: false });
        }
    }
    kept
}

/// Returns a text without the handler's keys that are written out but unset.
pub(super) fn without_unset(text: &str, plugin: &str) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let line_ends = LineEnds::of(text, &document)?;
    let path = ["plugins", plugin, "containerd", "runtimes", NAME].map(str::to_owned);
    if let Some(handler) = keys::table(&mut document, &path) {
        let all = handler.iter().map(|(key, item)| (key.to_owned(), value_of(item)));
        let unset: Vec<String> =
            all.filter(|(key, value)| !is_written(key) && is_default(value)).map(|(key, _)| key).collect();
        for key in unset {
            handler.remove(&key);
        }
    }
    Ok(line_ends.put(document.to_string()))
}

/// Returns a text without an incomplete handler, of which only others' keys remain and which starts nothing, and these
/// keys; `None` if the handler is complete, or there is none.
pub(in super::super) fn without_half(text: &str) -> Option<(String, Vec<Vec<String>>)> {
    let document: DocumentMut = text.parse().ok()?;
    let is_half = |plugin: &&&str| {
        let kind = runtime(&document, plugin, NAME).map(|remaining| remaining.get("runtime_type").cloned());
        kind.is_some_and(|kind| kind.is_none_or(|kind| kind.as_str() == Some("")))
    };
    let halves: Vec<Vec<String>> = [GRPC, RUNTIME].iter().filter(is_half).map(|plugin| path(plugin, &[])).collect();
    let all = settings_in(text).into_iter().map(|setting| setting.path());
    let remaining_keys: Vec<Vec<String>> = all.filter(|key| halves.iter().any(|half| key.starts_with(half))).collect();
    let remaining = keys::without(text, &[remaining_keys.as_slice(), halves.as_slice()].concat()).ok()?;
    (!remaining_keys.is_empty()).then_some((remaining, remaining_keys))
}

/// Returns the written handler that a found one stems from, if any: matched by a shim or a configuration that was not
/// there before, else by any key.
fn closest_handler<'h>(handlers: &'h [Value], found: &Value, was: &Value) -> Option<&'h Value> {
    let same = |ours: &Value, key: &str| ours.pointer(key).is_some() && found.pointer(key) == ours.pointer(key);
    let is_from = |ours: &&Value| {
        let is_new = |key: &&&str| ours.pointer(key).is_some() && was.pointer(key) != ours.pointer(key);
        // An earlier handler with the same shim and configuration has only other keys from kata-osinfo.
        let keys: &[&str] = if TELLING.iter().any(|key| is_new(&key)) { &TELLING } else { &KEYS };
        keys.iter().filter(is_new).any(|key| same(ours, key))
    };
    handlers.iter().filter(is_from).max_by_key(|ours| KEYS.iter().filter(|key| same(ours, key)).count())
}

/// Returns the written handler whose values a section contains completely.
fn exact_handler<'h>(document: &DocumentMut, plugin: &str, handlers: &'h [Value]) -> Option<&'h Value> {
    let found = runtime(document, plugin, NAME)?;
    handlers
        .iter()
        .find(|ours| KEYS.iter().all(|key| ours.pointer(key).is_some() && found.pointer(key) == ours.pointer(key)))
}

fn other_plugin(plugin: &str) -> &'static str {
    if plugin == GRPC { RUNTIME } else { GRPC }
}

/// Returns those of a handler's keys that this program writes, as settings of a section.
fn settings_of(plugin: &str, handler: &Value) -> Vec<KeyValue> {
    let setting_of = |pointer: &&str| {
        let value = handler.pointer(pointer)?.clone();
        let mut table = vec!["plugins", plugin, "containerd", "runtimes", NAME];
        table.extend(pointer.split('/').skip(1));
        let key = table.pop()?;
        Some(setting(&table, key, value))
    };
    KEYS.iter().filter_map(setting_of).collect()
}

/// Returns all handlers in a plugin's section.
fn runtimes(document: &DocumentMut, plugin: &str) -> Option<Value> {
    let keys = ["plugins", plugin, "containerd", "runtimes"];
    keys.iter().try_fold(document.as_item(), |item: &Item, key| item.get(key)).map(value_of)
}

/// Returns one handler in a plugin's section.
pub(super) fn runtime(document: &DocumentMut, plugin: &str, name: &str) -> Option<Value> {
    let keys = ["plugins", plugin, "containerd", "runtimes", name];
    keys.iter().try_fold(document.as_item(), |item: &Item, key| item.get(key)).map(value_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p:1\"\n";
    const HANDLER: &str = "
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]
runtime_type = \"io.containerd.kata.v2\"
runtime_path = \"/shim\"
privileged_without_host_devices = true
pod_annotations = [\"io.katacontainers.*\"]

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata.options]
ConfigPath = \"/k.toml\"
";
    const RUNC_WRITTEN: &str = "
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
";

    fn after() -> String {
        format!("{BEFORE}{HANDLER}{RUNC_WRITTEN}")
    }

    fn moved(text: &str) -> String {
        text.replace(GRPC, RUNTIME).replace("version = 2", "version = 3")
    }

    #[test]
    fn changes_to_our_handler_are_reported_with_their_lines() {
        let now = after().replace("runtime_path", "snapshotter = \"s\"\nruntime_path").replace("/k.toml", "/mine.toml");
        let file = FileChange { path: "/main".into(), before: Some(BEFORE.to_owned()), after: after() };
        let state = State { files: vec![file], ..State::default() };
        for now in [now.clone(), moved(&now)] {
            let mut changed = stripped(&now, Some(BEFORE), false).changed;
            changed.sort();
            let advice = repair_instructions(&now, &state, &changed);
            assert_eq!(
                advice,
                "put `options.ConfigPath` (line 14) back to \"/k.toml\", remove `snapshotter` (line 8), which is new"
            );
        }
        assert_eq!(repair_instructions(&now, &state, &["imports".to_owned()]), "put `imports` back");
    }

    #[test]
    fn rewriting_our_handler_keeps_the_keys_that_others_changed() {
        let mine = "privileged_without_host_devices = false\nsnapshotter = \"s\"\n";
        let now = after()
            .replace("privileged_without_host_devices = true\n", mine)
            .replace("[\"io.katacontainers.*\"]", "[\"io.katacontainers.*\", \"my.org/*\"]");
        let expected = format!(
            "{BEFORE}\n[plugins.\"{GRPC}\".containerd.runtimes.kata]\n{mine}pod_annotations = [\"my.org/*\"]\n{RUNC_WRITTEN}"
        );
        for (before, now, expected) in [
            (Some(BEFORE), now.clone(), expected.clone()),
            (None, now.clone(), expected.clone()),
            (Some(BEFORE), moved(&now), moved(&expected)),
        ] {
            let file = FileChange { path: "/main".into(), before: before.map(str::to_owned), after: after() };
            let state = State { files: vec![file], ..State::default() };
            let text = super::super::super::today::without_our_keys(&state, &state.files[0], &now).unwrap();
            // A file that did not exist before is entirely kata-osinfo's.
            let expected = if before.is_some() { expected } else { expected.replace("sandbox_image = \"p:1\"\n", "") };
            assert_eq!(text, Some(expected));
        }
    }

    /// The others' handler is complete without kata-osinfo's keys.
    #[test]
    fn changes_in_a_foreign_handler_are_kept_and_our_keys_removed() {
        let theirs = HANDLER.replace("[\"io.katacontainers.*\"]", "[\"my.org/*\"]").replace("/shim", "/their-shim");
        let before = format!("{BEFORE}{theirs}");
        let both = HANDLER.replace("[\"io", "[\"my.org/*\", \"io");
        let file = FileChange { path: "/main".into(), before: Some(before.clone()), after: format!("{BEFORE}{both}") };
        let state = State { files: vec![file], ..State::default() };
        let list = "[\"my.org/*\", \"io.katacontainers.*\"]";
        for (now, then) in [
            ("[\"other/*\"]", "[\"other/*\"]"),
            ("[\"my.org/*\", # mine\n  \"io.katacontainers.*\", # c\n]", "[\"my.org/*\", # mine\n  # c\n]"),
            ("[\"io.katacontainers.*\", \"b/*\"]\nsnapshotter = \"s\"", "[\"b/*\"]\nsnapshotter = \"s\""),
        ] {
            let now = state.files[0].after.replace(list, now);
            for force in [false, true] {
                let stripped = super::super::super::today::stripped(&state, &state.files[0], &now, force).unwrap();
                let text = Some(before.replace("[\"my.org/*\"]", then));
                assert_eq!(stripped, StrippedText { text, changed: Vec::new() }, "{force}");
            }
        }
    }

    /// Reverts in every way that [`super::super::super::today`] does.
    fn stripped(now: &str, before: Option<&str>, force: bool) -> StrippedText {
        let file = FileChange { path: "/main".into(), before: before.map(str::to_owned), after: after() };
        let state = State { files: vec![file], ..State::default() };
        super::super::super::today::stripped(&state, &state.files[0], now, force).unwrap()
    }

    #[test]
    fn a_migrated_handler_is_removed_from_its_new_section() {
        let expected = StrippedText { text: Some(moved(BEFORE)), changed: Vec::new() };
        assert_eq!(stripped(&moved(&after()), Some(BEFORE), false), expected);
        // If the handler is where it was written, no other section is searched.
        assert_eq!(stripped(&after(), Some(BEFORE), false).text.as_deref(), Some(BEFORE));
        // Both sections, and lines of DOS.
        let both = format!("{}{}", moved(BEFORE), HANDLER) + &moved(HANDLER);
        assert_eq!(stripped(&both, Some(BEFORE), false), expected);
        let dos = stripped(&moved(&after()).replace('\n', "\r\n"), Some(BEFORE), false);
        assert_eq!(dos.text, Some(moved(BEFORE).replace('\n', "\r\n")));
        // A file that was created with the handler.
        assert_eq!(stripped(&format!("version = 3\n{}", moved(HANDLER)), None, false).text, None);
    }

    #[test]
    fn keys_that_the_migration_added_are_removed_and_runc_is_kept() {
        let unset = "snapshotter = ''\ncontainer_annotations = []\ncgroup_writable = false\ncni_max_conf_num = 0\n";
        let kata = moved(HANDLER).replace("pod_annotations", &format!("{unset}pod_annotations"));
        let runc = moved(RUNC_WRITTEN) + "sandboxer = 'podsandbox'\n";
        let now = format!("{}{kata}{runc}", moved(BEFORE));
        assert_eq!(stripped(&now, Some(BEFORE), false).text, Some(moved(BEFORE) + &runc));
    }

    #[test]
    fn a_changed_migrated_handler_is_kept_whole_unless_forced() {
        let now = moved(&after()).replace("/k.toml", "/mine.toml");
        let kept = stripped(&now, Some(BEFORE), false);
        assert_eq!(kept.text.as_deref(), Some(now.as_str()));
        let key = format!("plugins.{RUNTIME}.containerd.runtimes.kata.options.ConfigPath");
        assert_eq!(kept.changed, [key]);
        assert_eq!(stripped(&now, Some(BEFORE), true).text, Some(moved(BEFORE)));
        // Nothing in the handler is kata-osinfo's any more.
        let theirs = now.replace("/shim", "/their-shim");
        let kept = stripped(&theirs, Some(BEFORE), false);
        assert_eq!((kept.text.as_deref(), kept.changed), (Some(theirs.as_str()), Vec::new()));
    }

    #[test]
    fn a_foreign_handler_is_restored_in_its_migrated_section() {
        let theirs = HANDLER.replace("/shim", "/their-shim").replace("true", "false");
        let before = format!("{BEFORE}{theirs}");
        let file =
            FileChange { path: "/main".into(), before: Some(before.clone()), after: format!("{BEFORE}{HANDLER}") };
        let state = State { files: vec![file], ..State::default() };
        let now = moved(&state.files[0].after);
        let stripped = super::super::super::today::stripped(&state, &state.files[0], &now, false).unwrap();
        assert_eq!(stripped.text, Some(moved(&before)));
    }

    #[test]
    fn runc_is_kept_while_others_need_it_or_have_changed_it() {
        let nvidia = HANDLER.replace("runtimes.kata", "runtimes.nvidia");
        let text = stripped(&(after() + &nvidia), Some(BEFORE), false).text;
        assert_eq!(text, Some(format!("{BEFORE}{RUNC_WRITTEN}{nvidia}")));
        let options = format!("\n[plugins.\"{GRPC}\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n");
        let text = stripped(&(after() + &options), Some(BEFORE), false).text;
        assert_eq!(text, Some(format!("{BEFORE}{RUNC_WRITTEN}{options}")));
        // Without the handler it is a different file.
        let theirs = format!("{BEFORE}{RUNC_WRITTEN}");
        for force in [false, true] {
            let expected = StrippedText { text: Some(theirs.clone()), changed: Vec::new() };
            assert_eq!(stripped(&theirs, Some(BEFORE), force), expected);
        }
    }

    #[test]
    fn a_handler_changed_by_others_is_kept_whole_unless_forced() {
        let added = after().replace("runtime_path", "snapshotter = \"nydus\"\nruntime_path");
        let changed = after().replace("/k.toml", "/mine.toml");
        for (now, key) in [(added, "snapshotter"), (changed, "options.ConfigPath")] {
            let kept = stripped(&now, Some(BEFORE), false);
            let key = format!("plugins.{GRPC}.containerd.runtimes.kata.{key}");
            assert!(is_of_handler(&key));
            assert_eq!(kept, StrippedText { text: Some(now.clone()), changed: vec![key.clone()] });
            assert_eq!(stripped(&now, Some(BEFORE), true).text.as_deref(), Some(BEFORE));
            // The same in the section that the migration moves it to.
            let kept = stripped(&moved(&now), Some(BEFORE), false);
            assert_eq!((kept.text, kept.changed), (Some(moved(&now)), vec![key.replace(GRPC, RUNTIME)]));
            assert_eq!(stripped(&moved(&now), Some(BEFORE), true).text, Some(moved(BEFORE)));
        }
    }

    /// Only the keys that the earlier handler lacked show that kata-osinfo edited it.
    #[test]
    fn an_earlier_handler_with_the_same_shim_and_config_is_restored() {
        let before = format!("{BEFORE}{}", HANDLER.replace("privileged_without_host_devices = true\n", ""));
        let file =
            FileChange { path: "/main".into(), before: Some(before.clone()), after: format!("{BEFORE}{HANDLER}") };
        let state = State { files: vec![file], ..State::default() };
        let nvidia = HANDLER.replace("runtimes.kata", "runtimes.nvidia");
        let now = format!("{}{nvidia}", state.files[0].after);
        let stripped = super::super::super::today::stripped(&state, &state.files[0], &now, false).unwrap();
        assert_eq!(stripped.text, Some(format!("{before}{nvidia}")));
    }

    #[test]
    fn our_imported_handler_is_removed_from_a_migrated_main_file() {
        let handlers = [json!({
            "runtime_type": "io.containerd.kata.v2", "runtime_path": "/shim", "privileged_without_host_devices": true,
            "pod_annotations": ["io.katacontainers.*"], "options": { "ConfigPath": "/k.toml" },
        })];
        let main = format!("{}{}", moved(BEFORE), moved(HANDLER));
        assert_eq!(without_ours(&main, &handlers, None).unwrap(), Some(moved(BEFORE)));
        // Mixed line ends, as two editors leave them.
        let mixed = |text: &str| text.replacen('\n', "\r\n", 2);
        assert_eq!(without_ours(&mixed(&main), &handlers, None).unwrap(), Some(mixed(&moved(BEFORE))));
        // The earlier text is unknown, so only an exact match counts as kata-osinfo's.
        for theirs in [moved(BEFORE), main.replace("true", "false"), main.replace("/k.toml", "/mine.toml")] {
            assert_eq!(without_ours(&theirs, &handlers, None).unwrap(), None, "{theirs}");
        }
    }
}
