//! CRI-O's handler.
//!
//! The files that CRI-O reads, and their order, follow crio.conf.d(5) and `UpdateFromPath` in `pkg/config/config.go` of
//! August 2026. This was not compared with a running CRI-O: the tests' files are made by hand.

use super::change::original;
use super::containerd::{Replaced, first_lost_key, names_default};
use super::edit::edited;
use super::keys::HEAD;
use super::runtime_files::{HandlerError, NAME};
use super::state::{FileChange, State};
use super::theirs::ForeignValue;
use super::toml::{line_of, table_of};
use super::{Problem, Setting};
use root::{Root, RootError};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{Document, DocumentMut, Item, Table};

/// CRI-O reads this directory after its main file, with all subdirectories, in the order of names.
const FOLDER: &str = "/etc/crio/crio.conf.d";
const FILE: &str = "50-kata-osinfo.conf";
const MAIN: &str = "/etc/crio/crio.conf";
const HANDLER: [&str; 4] = ["crio", "runtime", "runtimes", NAME];
const DEFAULT: [&str; 3] = ["crio", "runtime", "default_runtime"];

/// Limit on files, far more than any machine has.
const MAX_FILES: usize = 10_000;

/// A handler that was written, to be looked for when everything is read again.
#[derive(Debug, Clone)]
pub(super) struct CrioHandler {
    /// The handler's whole content, including the keys that an earlier handler of this name adds.
    handler: Map<String, Value>,
    /// Values of an earlier handler of this name that differ from the planned ones.
    pub(super) theirs: Vec<ForeignValue>,
}

/// Builds the drop-in that makes Kata a handler of CRI-O.
///
/// The keys are those that Kata's own installer writes (`tools/packaging/kata-deploy/binary/src/runtime/crio.rs@4.1.0`).
/// A handler in a later file replaces one of the same name as a whole, so the earlier handler's additional keys are
/// repeated.
///
/// # Errors
///
/// The file was changed since this program wrote it, another file of CRI-O's cannot be read, or CRI-O would not start
/// with one of them.
pub(super) fn crio(
    root: &Root,
    state: Option<&State>,
    shim: &Path,
    config: &Path,
    replaced: &Replaced,
) -> Result<(Vec<FileChange>, CrioHandler), HandlerError> {
    let path = root.resolve_new(&drop_in())?;
    let proven = [
        ("runtime_path", json!(shim.display().to_string())),
        ("runtime_type", json!("vm")),
        ("runtime_root", json!("/run/vc")),
        ("runtime_config_path", json!(config.display().to_string())),
        ("privileged_without_host_devices", json!(true)),
    ];
    let others = others(root, replaced)?;
    if let Some(problem) = others.iter().find_map(|other| other.text.as_ref().err()) {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        let place = format!("{}{line}", problem.file.display());
        return Err(HandlerError::CrioWouldNotStart { place, why: problem.message.clone() });
    }
    let existing = earlier(&others);
    let was = |key: &str| existing.as_ref().and_then(|t| t.handler.get(key));
    let table = HANDLER.map(str::to_owned).to_vec();
    let (mut settings, mut theirs) = (Vec::new(), Vec::new());
    for (key, ours) in proven {
        let value = match was(key) {
            Some(Value::Bool(theirs)) => json!(theirs),
            _ => ours.clone(),
        };
        if let (Some(existing), Some(was)) = (&existing, was(key)) {
            let place = (existing.file.as_path(), existing.line(key));
            theirs.extend(ForeignValue::of(&format!("handler {NAME}: {key}"), place, was, &ours, &value));
        }
        settings.push(Setting { table: table.clone(), key: key.to_owned(), value, why: String::new() });
    }
    // In a text of comments alone, added keys would come before the comments.
    let text = existing.as_ref().map(Earlier::full_text).unwrap_or_default();
    let text = edited(&text, &settings).map_err(|source| HandlerError::Edit { path: path.clone(), source })?;
    let after = format!("{HEAD}{text}");
    let handler = handler_of(&after).unwrap_or_default();
    let change = FileChange { before: original(root, state, &path)?, path, after };
    Ok((vec![change], CrioHandler { handler, theirs }))
}

/// Returns the path of kata-osinfo's drop-in.
pub(super) fn drop_in() -> PathBuf {
    Path::new(FOLDER).join(FILE)
}

/// Returns the handler named [`NAME`] in a document.
fn handler_in(document: &Item) -> Option<&Item> {
    HANDLER.iter().try_fold(document, |item, key| item.get(key))
}

/// A handler named [`NAME`] in a file that is read before kata-osinfo's drop-in.
struct Earlier {
    file: PathBuf,
    text: String,
    handler: Map<String, Value>,
}

impl Earlier {
    fn line(&self, key: &str) -> Option<usize> {
        let document = Document::parse(self.text.as_str()).ok()?;
        handler_in(document.as_item())?.get(key)?.span().map(|s| line_of(&self.text, s.start))
    }

    /// Returns the handler's whole content as text.
    fn full_text(&self) -> String {
        let Ok(theirs) = self.text.parse::<DocumentMut>() else { return String::new() };
        let Some(item) = handler_in(theirs.as_item()) else { return String::new() };
        let mut handler = Table::new();
        item.as_table_like().into_iter().flat_map(|t| t.iter()).for_each(|(key, item)| {
            handler.insert(key, item.clone());
        });
        let whole = HANDLER.iter().rev().fold(Item::Table(handler), |item, key| {
            let mut table = Table::new();
            table.set_implicit(true);
            table.insert(key, item);
            Item::Table(table)
        });
        whole.into_table().map_or_else(|_| String::new(), |table| DocumentMut::from(table).to_string())
    }
}

/// A file that CRI-O reads.
struct File {
    path: PathBuf,
    /// The file's text, or why CRI-O would not start with it.
    text: Result<String, Problem>,
}

impl File {
    /// Returns whether it is read after kata-osinfo's drop-in: `Path` compares component by component, which is CRI-O's
    /// order.
    fn is_later(&self) -> bool {
        self.path > drop_in()
    }
}

/// Returns the files that CRI-O reads in addition to kata-osinfo's drop-in, in its order.
fn others(root: &Root, replaced: &Replaced) -> Result<Vec<File>, RootError> {
    let others = paths(root)?.into_iter().filter(|path| *path != drop_in());
    others.map(|path| Ok::<File, RootError>(File { text: text(root, replaced, &path)?, path })).collect()
}

/// Returns the main file, then all files below [`FOLDER`] in the order of Go's `filepath.Walk`: sorted by name, each
/// directory entered at its place in the order, and links to directories not followed but taken for files.
pub(super) fn paths(root: &Root) -> Result<Vec<PathBuf>, RootError> {
    let if_present = |path: &str| Ok::<_, RootError>(root.look(Path::new(path))?.map(|_| PathBuf::from(path)));
    let mut paths: Vec<PathBuf> = if_present(MAIN)?.into_iter().collect();
    let mut todo: Vec<PathBuf> = if_present(FOLDER)?.into_iter().collect();
    while let Some(path) = todo.pop() {
        let found = match root.symlink_metadata(&path) {
            // The entry was removed after its directory was listed.
            Err(error) if error.is_missing() => continue,
            found => found?,
        };
        if found.is_dir() {
            todo.extend(root.list(&path)?.iter().rev().map(|name| path.join(name)));
        } else {
            paths.push(path);
        }
        if todo.len() + paths.len() > MAX_FILES {
            return Err(RootError::TooMany { path: root.shown(Path::new(FOLDER)), limit: MAX_FILES });
        }
    }
    Ok(paths)
}

/// Returns a file's text after the changes in `replaced`, or why CRI-O would not start with it.
fn text(root: &Root, replaced: &Replaced, path: &Path) -> Result<Result<String, Problem>, RootError> {
    let broken = |why: &str| {
        let message = format!("CRI-O would not start: {why}");
        Ok(Err(Problem { file: path.to_owned(), line: None, message }))
    };
    if root.look(path)?.is_some_and(|found| found.is_dir()) {
        return broken("CRI-O reads it as a file, but it leads to a folder");
    }
    let text = match root.resolve_new(path).ok().and_then(|path| replaced.get(&path)) {
        Some(Some(text)) => text.clone(),
        Some(None) => return broken("it is a link to a file that does not exist"),
        None => match root.utf8(path) {
            Ok(text) => text,
            Err(error) if error.is_unreadable() || matches!(error, RootError::TooLarge { .. }) => return Err(error),
            Err(error) => return broken(&error.to_string()),
        },
    };
    Ok(checked_text(path, text))
}

/// Returns a file's text, or why CRI-O would not start with it.
fn checked_text(path: &Path, text: String) -> Result<String, Problem> {
    let Err(error) = Document::parse(text.as_str()) else { return Ok(text) };
    let line = error.span().map(|span| line_of(&text, span.start));
    let message = format!("CRI-O would not start: not TOML: {}", error.message());
    Err(Problem { file: path.to_owned(), line, message })
}

/// Returns which setting of others CRI-O would lose, or why it would not start, after the changes in `planned`.
///
/// `None` also if one of its files cannot be read: the code that writes the handler or reverts it reports that.
pub(super) fn loss(root: &Root, planned: &Replaced) -> Option<String> {
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

/// Returns the handler named [`NAME`] in a text.
fn handler_of(text: &str) -> Option<Map<String, Value>> {
    let document = Document::parse(text).ok()?;
    let handler = table_of(handler_in(document.as_item())?.as_table_like()?);
    if let Value::Object(handler) = handler { Some(handler) } else { None }
}

/// Returns the last handler of this name before kata-osinfo's drop-in: in the main file, or in a drop-in.
fn earlier(others: &[File]) -> Option<Earlier> {
    others.iter().rev().filter(|other| !other.is_later()).find_map(|other| {
        let text = other.text.as_ref().ok()?.clone();
        Some(Earlier { file: other.path.clone(), handler: handler_of(&text)?, text })
    })
}

/// Whether additional keys of another handler count as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Besides {
    /// They count: the handler is in a later file and replaces kata-osinfo's as a whole.
    Counts,
    /// They do not count: others have added them to kata-osinfo's handler.
    IsTheirs,
}

impl CrioHandler {
    /// Returns files with which CRI-O would not start, and the last handler of the same name after kata-osinfo's
    /// drop-in, which replaces that one, unless both have the same content.
    ///
    /// # Errors
    ///
    /// One of the files cannot be read.
    pub(super) fn problems(&self, root: &Root, replaced: &Replaced) -> Result<Vec<Problem>, RootError> {
        let others = others(root, replaced)?;
        let mut problems: Vec<Problem> = others.iter().filter_map(|other| other.text.as_ref().err().cloned()).collect();
        let mut later = others.into_iter().rev().filter(File::is_later);
        let last = later.find_map(|other| {
            let text = other.text.ok()?;
            handler_of(&text).is_some().then_some((other.path, text))
        });
        problems.extend(last.and_then(|(path, text)| self.difference_in(path, &text, Besides::Counts)));
        Ok(problems)
    }

    /// Returns the first difference of a file's handler, if it has one: keys that choose the runtime come first.
    fn difference_in(&self, path: PathBuf, text: &str, besides: Besides) -> Option<Problem> {
        let document = Document::parse(text).ok()?;
        let item = handler_in(document.as_item())?;
        let Value::Object(found) = item.as_table_like().map(table_of)? else { return None };
        let added = found.keys().filter(|_| besides == Besides::Counts);
        let keys = ["runtime_path", "runtime_type", "runtime_config_path"].into_iter();
        let mut keys = keys.chain(self.handler.keys().chain(added).map(String::as_str));
        let key = keys.find(|key| found.get(*key) != self.handler.get(*key))?;
        let span = item.get(key).and_then(Item::span).or_else(|| item.span());
        let shown = |value: &Map<String, Value>| value.get(key).map_or_else(|| "not set".to_owned(), Value::to_string);
        let message = format!("handler {NAME}: {key} is {}, wanted {}", shown(&found), shown(&self.handler));
        Some(Problem { line: span.map(|s| line_of(text, s.start)), file: path, message })
    }
}

/// Checks whether the handler of kata-osinfo's drop-in is missing or differs from what was written.
///
/// # Errors
///
/// A drop-in cannot be read.
pub(super) fn problems(root: &Root, file: &FileChange) -> Result<Vec<Problem>, RootError> {
    let Some(wanted) = handler_of(&file.after) else { return Ok(Vec::new()) };
    let written = CrioHandler { handler: wanted, theirs: Vec::new() };
    let mut problems = written.problems(root, &Replaced::new())?;
    // A handler in a later file replaces this one, so its difference is enough.
    if problems.is_empty() {
        match text(root, &Replaced::new(), &file.path)? {
            Err(problem) => problems.push(problem),
            Ok(now) if handler_of(&now).is_none() => {
                let message = format!("handler {NAME} is not there any more: configure again");
                problems.push(Problem { file: file.path.clone(), line: None, message });
            }
            Ok(now) => problems.extend(written.difference_in(file.path.clone(), &now, Besides::IsTheirs)),
        }
    }
    Ok(problems)
}
