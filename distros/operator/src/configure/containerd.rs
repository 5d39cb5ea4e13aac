//! containerd's handler: a drop-in where containerd merges those, an edit of its configuration where it does not.
//!
//! What is written is first held against a model of how that containerd reads it ([`loaded`]): the handler must come
//! out as it was meant, and everything else as it was.

mod glob;
pub(super) mod in_effect;
mod loaded;
pub(super) mod migrated;
mod place;
pub(super) mod stray;

pub use place::{Place, place};

use super::change::{Change, State, original};
use super::edit::{EditError, LineEnds, edited};
use super::runtime_files::{HandlerError, NAME};
use super::theirs::{self, Theirs};
use super::{Problem, Setting};
use loaded::{File, Files, GRPC, Loaded, Loading, RUNTIME, join, read};
use model::profile::Runtime;
use root::Root;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// The type of the runtime that containerd has by default.
const RUNC: &str = "io.containerd.runc.v2";

/// The CRI plugin's section, by the version of the configuration's form.
fn plugin(version: i64) -> &'static str {
    match version {
        ..3 => GRPC,
        _ => RUNTIME,
    }
}

/// What a machine's containerd is to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The shim.
    pub(super) shim: &'a Path,
    /// Kata's configuration.
    pub(super) config: &'a Path,
    /// containerd's major and minor version; `None` is not known.
    pub(super) version: Option<(u32, u32)>,
}

/// A handler that was written, to be looked for when everything is read again.
#[derive(Debug, Clone)]
pub(super) struct Written {
    main: PathBuf,
    /// What is read in the place of a file, by a distribution that joins drop-ins itself.
    instead: Replaced,
    loadings: Vec<Loading>,
    handler: Map<String, Value>,
    /// What a handler of this name that is there says otherwise.
    pub(super) theirs: Vec<Theirs>,
}

/// Files by their paths with links followed, as they are to be; `None` is a file that goes.
pub(super) type Replaced = BTreeMap<PathBuf, Option<String>>;

/// The files that make Kata a handler of the containerd that reads `place`.
///
/// containerd before 2.0 replaces a plugin's whole section by that of an imported file, so there the main file is edited;
/// later ones get a drop-in, in the version of the form that this containerd takes it from, and an import of it where
/// nothing imports it already. No containerd reads a drop-in where there is no main file (`cmd/containerd/command/main.go`
/// at v2.3.4), so then there is one that only imports.
/// Before 2.0 the main file's runtimes also replace the default ones, and the CRI plugin does not start without the one
/// that it takes by default: where the file names none, `runc` is written out beside Kata.
///
/// # Errors
///
/// What cannot be read or edited, would be undone by an import, or would change more than the handler.
pub(super) fn containerd(
    root: &Root,
    state: Option<&State>,
    place: &Place,
    wanted: Wanted<'_>,
    replaced: &Replaced,
) -> Result<(Vec<Change>, Written), HandlerError> {
    let path = root.resolve_new(&place.main)?;
    let before = original(root, state, &path)?;
    let edit = |source| HandlerError::Edit { path: path.clone(), source };
    let document: DocumentMut =
        before.as_deref().unwrap_or_default().parse().map_err(|e| edit(EditError::Syntax(e)))?;
    let stated = document.get("version").and_then(Item::as_integer);
    let form = stated.unwrap_or(if document.is_empty() { 0 } else { 1 });
    let mut replaced = replaced.clone();
    replaced.insert(path.clone(), before.clone());
    let mut loadings: Vec<Loading> = Loading::all(wanted.version).to_vec();
    let mut instead = Replaced::new();
    if place.joins_drop_ins_itself(&imports(&document)) {
        instead.insert(path.clone(), Some(place.joined()));
        replaced.extend(instead.clone());
        loadings = vec![Loading::MergesThenMigrates];
    }
    // A form says which containerds read it, and containerd 1 reads none without a version but its first.
    let mut why = String::new();
    let mut now: Vec<(Loading, Loaded)> = Vec::new();
    for loading in loadings {
        match loaded(root, &replaced, &place.main, loading) {
            Ok((_, loaded)) => now.push((loading, loaded)),
            Err(told) => why = told,
        }
    }
    if now.is_empty() {
        return Err(HandlerError::WouldNotStart { main: path, why });
    }
    let old = now.iter().any(|(l, _)| *l == Loading::Replaces);
    if old && form == 1 || stated == Some(1) {
        return Err(HandlerError::OldConfig { path, migrate: !old });
    }
    let there = now.iter().find_map(|(loading, l)| Some((*loading, l.runtimes.get(NAME)?.as_object()?.clone())));
    let handler = handler(wanted, there.as_ref().map(|(_, there)| there));
    let theirs = there.map(|(loading, there)| {
        let files = read(&Files { root, replaced: &replaced }, &place.main, loading).unwrap_or_default();
        told(&there, &handler, wanted, |key| {
            let (file, line) = set_by(&files, key).unwrap_or((place.main.as_path(), None));
            (file.to_owned(), line)
        })
    });
    let before_text = before.as_deref();
    let candidates =
        Candidates { root, state, place, handler: &handler, path: &path, before: before_text, replaced: &replaced };
    let candidates = match old && place.made_anew.is_none() {
        true => vec![candidates.edit(&document, form).map_err(edit)?],
        false => candidates.drop_ins(form)?,
    };
    let written = Written {
        main: place.main.clone(),
        instead,
        loadings: now.iter().map(|(l, _)| *l).collect(),
        handler: handler.clone(),
        theirs: theirs.unwrap_or_default(),
    };
    let mut harm = String::new();
    let mut second = None;
    for changes in candidates {
        match written.outcome(root, &replaced, &changes, &now) {
            Outcome::Good => return Ok((changes, written)),
            Outcome::NotEffective => second = second.or(Some(changes)),
            Outcome::Harm(what) => harm = what,
        }
    }
    if let Some(import) = replacing(root, &replaced, place, &now) {
        return Err(HandlerError::Replaced { import, main: path, plugin: GRPC });
    }
    match (second, &place.made_anew) {
        (Some(changes), _) => Ok((changes, written)),
        (None, Some(advice)) if harm.is_empty() => {
            Err(HandlerError::NotImported { main: path, advice: advice.clone() })
        }
        (None, _) => Err(HandlerError::Harm { main: path, what: harm }),
    }
}

/// The ways in which the handler could be written.
struct Candidates<'a> {
    root: &'a Root,
    state: Option<&'a State>,
    place: &'a Place,
    handler: &'a Map<String, Value>,
    path: &'a Path,
    before: Option<&'a str>,
    replaced: &'a Replaced,
}

impl Candidates<'_> {
    /// An edit of the main file.
    fn edit(&self, document: &DocumentMut, form: i64) -> Result<Vec<Change>, EditError> {
        let form = form.max(2);
        let mut settings = settings(plugin(form), self.handler);
        settings.extend(default_runtime(document, plugin(form)));
        // Comments alone have no version yet.
        let text = match document.is_empty() {
            true => format!("version = {form}\n{}", self.before.unwrap_or_default()),
            false => self.before.unwrap_or_default().to_owned(),
        };
        let after = edited(&text, &settings)?;
        Ok(vec![Change { path: self.path.to_owned(), before: self.before.map(str::to_owned), after }])
    }

    /// A drop-in in each form, with an import of it where there is none.
    fn drop_ins(&self, form: i64) -> Result<Vec<Vec<Change>>, HandlerError> {
        let edit = |source| HandlerError::Edit { path: self.path.to_owned(), source };
        let path = self.root.resolve_new(&self.place.drop_in)?;
        let first = if form < 2 { 3 } else { form };
        let mut forms = vec![first];
        // Without a main file there is nothing that another form could be needed for.
        if self.before.is_some() {
            forms.extend([3, 2].into_iter().filter(|f| *f != first));
        }
        let mut all = Vec::new();
        for form in forms {
            let head = format!("# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.\nversion = {form}\n");
            let after = edited(&head, &settings(plugin(form), self.handler)).map_err(edit)?;
            let mut replaced = self.replaced.clone();
            replaced.insert(path.clone(), Some(after.clone()));
            let mut changes =
                vec![Change { before: original(self.root, self.state, &path)?, path: path.clone(), after }];
            let files = Files { root: self.root, replaced: &replaced };
            let read = read(&files, &self.place.main, Loading::MergesThenMigrates);
            if read.is_ok_and(|files| !files.iter().any(|f| f.path == self.place.drop_in)) {
                if self.place.made_anew.is_some() {
                    continue;
                }
                let text = self.before.map_or_else(|| format!("version = {form}\n"), str::to_owned);
                let after = with_import(&text, &self.place.drop_in).map_err(edit)?;
                let before = self.before.map(str::to_owned);
                changes.push(Change { path: self.path.to_owned(), before, after });
            }
            all.push(changes);
        }
        Ok(all)
    }
}

/// What a way of writing the handler comes to.
enum Outcome {
    Good,
    /// The handler is not the one that was meant.
    NotEffective,
    /// Something else changes.
    Harm(String),
}

impl Written {
    fn outcome(&self, root: &Root, replaced: &Replaced, changes: &[Change], now: &[(Loading, Loaded)]) -> Outcome {
        let mut then = replaced.clone();
        then.extend(changes.iter().map(|c| (c.path.clone(), Some(c.after.clone()))));
        let mut outcome = Outcome::Good;
        for (loading, before) in now {
            let (_, after) = match loaded(root, &then, &self.main, *loading) {
                Ok(loaded) => loaded,
                Err(why) => return Outcome::Harm(format!("containerd would not start: {why}")),
            };
            let others = |l: &Loaded| {
                let mut others = l.runtimes.clone();
                others.remove(NAME);
                others
            };
            let mut left = others(&after);
            // The default one, written out.
            if !before.runtimes.contains_key("runc") && left.get("runc") == Some(&json!({ "runtime_type": RUNC })) {
                left.remove("runc");
            }
            if others(before) != left {
                return Outcome::Harm("other handlers would change".to_owned());
            }
            if before.rest != after.rest {
                return Outcome::Harm("other settings of the CRI plugin would change".to_owned());
            }
            if !self.differences(&after).is_empty() {
                outcome = Outcome::NotEffective;
            }
        }
        outcome
    }

    /// The handler's keys that are not as they were meant, with what they are.
    fn differences(&self, loaded: &Loaded) -> Vec<(Vec<String>, Value, Option<Value>)> {
        let none = Map::new();
        let found = loaded.runtimes.get(NAME).and_then(Value::as_object).unwrap_or(&none);
        let mut all = Vec::new();
        for (key, wanted) in &self.handler {
            match wanted {
                Value::Object(options) => {
                    for (name, wanted) in options {
                        let found = found.get(key).and_then(|o| o.get(name));
                        all.push((vec![key.clone(), name.clone()], wanted.clone(), found.cloned()));
                    }
                }
                _ => all.push((vec![key.clone()], wanted.clone(), found.get(key).cloned())),
            }
        }
        all.retain(|(_, wanted, found)| found.as_ref() != Some(wanted));
        all
    }

    /// Why the handler would not be there, or not as it was meant.
    pub(super) fn problems(&self, root: &Root, replaced: &Replaced) -> Vec<Problem> {
        let mut replaced = replaced.clone();
        replaced.extend(self.instead.clone());
        let mut problems: Vec<Problem> = Vec::new();
        let mut tell = |file: &Path, line, message: String| {
            let problem = Problem { file: file.to_owned(), line, message };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        for loading in &self.loadings {
            let (files, loaded) = match loaded(root, &replaced, &self.main, *loading) {
                Ok(loaded) => loaded,
                Err(why) => {
                    tell(&self.main, None, format!("containerd would not start: {why}"));
                    continue;
                }
            };
            if let Some(file) = &loaded.disabled {
                let message =
                    "disabled_plugins has containerd's CRI plugin: no handler has an effect until it is taken out";
                tell(file, line_in(&files, file, &["disabled_plugins"]), message.to_owned());
            }
            for (key, wanted, found) in self.differences(&loaded) {
                let keys: Vec<&str> = key.iter().map(String::as_str).collect();
                let (file, line) = set_by(&files, &keys).unwrap_or((self.main.as_path(), None));
                let found = found.map_or_else(|| "not set".to_owned(), |v| v.to_string());
                tell(file, line, format!("handler {NAME}: {} is {found}, wanted {wanted}", key.join(".")));
            }
        }
        problems
    }
}

fn loaded(root: &Root, replaced: &Replaced, main: &Path, loading: Loading) -> Result<(Vec<File>, Loaded), String> {
    let files = read(&Files { root, replaced }, main, loading)?;
    let loaded = join(&files, loading)?;
    Ok((files, loaded))
}

/// The imported file whose section takes the place of the main file's.
fn replacing(root: &Root, replaced: &Replaced, place: &Place, now: &[(Loading, Loaded)]) -> Option<PathBuf> {
    now.iter().find(|(l, _)| *l == Loading::Replaces)?;
    let files = read(&Files { root, replaced }, &place.main, Loading::Replaces).ok()?;
    files.into_iter().rev().find(|f| f.path != place.main && f.has(GRPC)).map(|f| f.path)
}

/// The last file that sets a key of the handler, and the line in it.
fn set_by<'a>(files: &'a [File], key: &[&str]) -> Option<(&'a Path, Option<usize>)> {
    files.iter().rev().find_map(|file| {
        [RUNTIME, GRPC].iter().find_map(|plugin| {
            let path = [&["plugins", plugin, "containerd", "runtimes", NAME], key].concat();
            Some((file.path.as_path(), Some(file.line(&path)?)))
        })
    })
}

fn line_in(files: &[File], file: &Path, key: &[&str]) -> Option<usize> {
    files.iter().find(|f| f.path == file)?.line(key)
}

fn setting(table: &[&str], key: &str, value: Value) -> Setting {
    Setting { table: table.iter().map(|t| (*t).to_owned()).collect(), key: key.to_owned(), value, why: String::new() }
}

/// The runtime that containerd takes by default, as it describes it itself, unless the file has runtimes or another default.
fn default_runtime(document: &DocumentMut, plugin: &str) -> Option<Setting> {
    let section = document.get("plugins").and_then(|p| p.get(plugin)).and_then(|c| c.get("containerd"));
    let stated = |key: &str| section.and_then(|s| s.get(key));
    let named = stated("default_runtime_name").and_then(Item::as_str);
    let runc = stated("runtimes").is_none() && stated("default_runtime").is_none() && named.is_none_or(|n| n == "runc");
    let table = ["plugins", plugin, "containerd", "runtimes", "runc"];
    runc.then(|| setting(&table, "runtime_type", json!(RUNC)))
}

/// The handler's keys, beside those of a handler of this name that is there.
fn handler(wanted: Wanted<'_>, there: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut handler = proven(wanted);
    for (key, ours) in &mut handler {
        match (there.and_then(|t| t.get(key)), key.as_str()) {
            (Some(theirs), "pod_annotations") => *ours = theirs::joined(theirs, ours),
            (Some(Value::Bool(theirs)), "privileged_without_host_devices") => *ours = (*theirs).into(),
            _ => {}
        }
    }
    handler
}

/// The handler's keys, as they were qualified.
fn proven(wanted: Wanted<'_>) -> Map<String, Value> {
    let handler = json!({
        "runtime_type": "io.containerd.kata.v2",
        "runtime_path": wanted.shim.display().to_string(),
        "privileged_without_host_devices": true,
        "pod_annotations": ["io.katacontainers.*"],
        "options": { "ConfigPath": wanted.config.display().to_string() },
    });
    if let Value::Object(map) = handler { map } else { Map::new() }
}

/// What a handler that is there says otherwise, with the places.
fn told(
    there: &Map<String, Value>,
    now: &Map<String, Value>,
    wanted: Wanted<'_>,
    place: impl Fn(&[&str]) -> (PathBuf, Option<usize>),
) -> Vec<Theirs> {
    let keys: [&[&str]; 5] = [
        &["runtime_type"],
        &["runtime_path"],
        &["privileged_without_host_devices"],
        &["pod_annotations"],
        &["options", "ConfigPath"],
    ];
    let proven = proven(wanted);
    fn at<'m>(map: &'m Map<String, Value>, key: &[&str]) -> Option<&'m Value> {
        let (first, rest) = key.split_first()?;
        rest.iter().try_fold(map.get(*first)?, |value, name| value.get(name))
    }
    let theirs = |key: &[&str]| {
        let (file, line) = place(key);
        let name = format!("handler {NAME}: {}", key.join("."));
        Theirs::of(&name, (&file, line), at(there, key)?, at(&proven, key)?, at(now, key)?)
    };
    // An empty text is none.
    keys.into_iter().filter(|key| at(there, key).is_some_and(|v| v != "")).filter_map(theirs).collect()
}

fn settings(plugin: &str, handler: &Map<String, Value>) -> Vec<Setting> {
    let runtime = ["plugins", plugin, "containerd", "runtimes", NAME];
    let options: Vec<&str> = runtime.into_iter().chain(["options"]).collect();
    let of = |key: &str| handler.get(key).cloned().unwrap_or_default();
    let config = of("options").get("ConfigPath").cloned().unwrap_or_default();
    let keys = ["runtime_type", "runtime_path", "privileged_without_host_devices", "pod_annotations"];
    let mut all: Vec<Setting> = keys.iter().map(|key| setting(&runtime, key, of(key))).collect();
    all.push(setting(&options, "ConfigPath", config));
    all
}

fn imports(document: &DocumentMut) -> Vec<String> {
    let list = document.get("imports").and_then(Item::as_array);
    list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn with_import(text: &str, drop_in: &Path) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let line_ends = LineEnds::of(text, &document)?;
    let item = document.entry("imports").or_insert_with(|| toml_edit::Array::new().into());
    let list = item.as_array_mut().ok_or_else(|| EditError::NotATable("imports".to_owned()))?;
    list.push(drop_in.display().to_string());
    Ok(line_ends.put(document.to_string()))
}

/// The `ConfigPath` of every Kata handler for a runtime, of every containerd that is there.
pub(super) fn config_paths(root: &Root, runtime: Runtime) -> Vec<String> {
    let replaced = Replaced::new();
    let mut handlers = BTreeMap::new();
    for place in place::present(root) {
        let files = read(&Files { root, replaced: &replaced }, &place.main, Loading::MergesThenMigrates);
        for file in files.unwrap_or_default() {
            for (name, handler) in [GRPC, RUNTIME].into_iter().filter_map(|p| file.runtimes(p)).flatten() {
                handlers.insert((place.owner, name.clone()), handler.clone());
            }
        }
    }
    let text = |handler: &Value, key: &str| handler.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut paths = Vec::new();
    for handler in handlers.values() {
        let path = handler.get("options").map(|o| text(o, "ConfigPath")).unwrap_or_default();
        let shim = text(handler, "runtime_path");
        // Kata keeps the Rust runtime's shim and configurations apart by these names.
        let rust =
            [&shim, &path].iter().any(|p| p.contains("runtime-rs")) || shim.ends_with("/containerd-shim-kata-rs-v2");
        let kata = text(handler, "runtime_type").starts_with("io.containerd.kata");
        if kata && rust == (runtime == Runtime::Rs) && !path.is_empty() {
            paths.push(path);
        }
    }
    paths
}

#[cfg(test)]
mod tests;
