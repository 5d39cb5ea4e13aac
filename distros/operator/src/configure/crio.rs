//! CRI-O's handler.
//!
//! Which files CRI-O reads, and in which order, is that of its crio.conf.d(5); no CRI-O was asked: the tests' files are
//! made by hand.

use super::change::original;
use super::containerd::Replaced;
use super::edit::edited;
use super::keys::HEAD;
use super::runtime_files::{HandlerError, NAME};
use super::state::{Change, State};
use super::theirs::ForeignValue;
use super::toml::{line_of, table_of, value_of};
use super::{Problem, Setting};
use root::{Root, RootError};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{Document, DocumentMut, Item, Table};

/// CRI-O reads this directory after its configuration, in the order of names.
const FOLDER: &str = "/etc/crio/crio.conf.d";
const FILE: &str = "50-kata-osinfo.conf";
const MAIN: &str = "/etc/crio/crio.conf";
const HANDLER: [&str; 4] = ["crio", "runtime", "runtimes", NAME];

/// A handler that was written, to be looked for when everything is read again.
#[derive(Debug, Clone)]
pub(super) struct Written {
    path: PathBuf,
    handler: Value,
    /// What a handler of this name that is there says otherwise.
    pub(super) theirs: Vec<ForeignValue>,
}

/// The drop-in that makes Kata a handler of CRI-O.
///
/// The keys are those that Kata's own installer writes (`tools/packaging/kata-deploy/binary/src/runtime/crio.rs@4.1.0`).
/// A handler of a later file takes the place of one of the same name as a whole, so what an earlier one has besides is
/// said again.
///
/// # Errors
///
/// That the file was changed since this program wrote it, or that one beside it cannot be read.
pub(super) fn crio(
    root: &Root,
    state: Option<&State>,
    shim: &Path,
    config: &Path,
    replaced: &Replaced,
) -> Result<(Vec<Change>, Written), HandlerError> {
    let path = root.resolve_new(&drop_in())?;
    let proven = [
        ("runtime_path", json!(shim.display().to_string())),
        ("runtime_type", json!("vm")),
        ("runtime_root", json!("/run/vc")),
        ("runtime_config_path", json!(config.display().to_string())),
        ("privileged_without_host_devices", json!(true)),
    ];
    let there = earlier(root, &path, replaced)?;
    let was = |key: &str| there.as_ref().and_then(|t| t.handler.get(key));
    let table = HANDLER.map(str::to_owned).to_vec();
    let mut settings: Vec<Setting> = Vec::new();
    let mut theirs = Vec::new();
    for (key, ours) in proven {
        let value = match was(key) {
            Some(Value::Bool(theirs)) => json!(theirs),
            _ => ours.clone(),
        };
        if let (Some(there), Some(was)) = (&there, was(key)) {
            let place = (there.file.as_path(), there.line(key));
            theirs.extend(ForeignValue::of(&format!("handler {NAME}: {key}"), place, was, &ours, &value));
        }
        settings.push(Setting { table: table.clone(), key: key.to_owned(), value, why: String::new() });
    }
    // A text of comments alone would have them behind what is added to it.
    let text = there.as_ref().map(Earlier::said_again).unwrap_or_default();
    let text = edited(&text, &settings).map_err(|source| HandlerError::Edit { path: path.clone(), source })?;
    let after = format!("{HEAD}{text}");
    let handler: Value = settings.into_iter().map(|s| (s.key, s.value)).collect::<Map<_, _>>().into();
    let change = Change { before: original(root, state, &path)?, path: path.clone(), after };
    Ok((vec![change], Written { path, handler, theirs }))
}

/// Our drop-in.
pub(super) fn drop_in() -> PathBuf {
    Path::new(FOLDER).join(FILE)
}

/// The handler of our name in a document.
fn handler_in(document: &Item) -> Option<&Item> {
    HANDLER.iter().try_fold(document, |item, key| item.get(key))
}

/// A handler of this name in a file that is read before ours.
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

    /// All that it says.
    fn said_again(&self) -> String {
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

/// The last handler of this name before ours: of the main file, or of a drop-in.
fn earlier(root: &Root, ours: &Path, replaced: &Replaced) -> Result<Option<Earlier>, RootError> {
    let folder = Path::new(FOLDER);
    let names = root.list_if_any(folder)?;
    let drop_ins = names.iter().filter(|n| n.as_str() < FILE).map(|n| folder.join(n));
    let files: Vec<PathBuf> = [PathBuf::from(MAIN)].into_iter().chain(drop_ins).collect();
    let handler = |text: &str| {
        let document = Document::parse(text).ok()?;
        let item = handler_in(document.as_item())?;
        if let Value::Object(handler) = table_of(item.as_table_like()?) { Some(handler) } else { None }
    };
    for file in files.into_iter().rev().filter(|p| p != ours && !replaced.contains_key(p)) {
        let Some(text) = root.text_if_any(&file)? else { continue };
        if let Some(handler) = handler(&text) {
            return Ok(Some(Earlier { file, text, handler }));
        }
    }
    Ok(None)
}

impl Written {
    /// A later file's handler of the same name, which takes the place of ours, unless it says the same.
    ///
    /// # Errors
    ///
    /// That one of them cannot be read.
    pub(super) fn problems(&self, root: &Root, replaced: &Replaced) -> Result<Vec<Problem>, RootError> {
        let folder = Path::new(FOLDER);
        let names = root.list_if_any(folder)?;
        let later = names.iter().filter(|n| n.as_str() > FILE).map(|n| folder.join(n));
        let mut problems = Vec::new();
        for path in later.filter(|p| *p != self.path && !replaced.contains_key(p)) {
            problems.extend(self.difference(root, path)?);
        }
        Ok(problems)
    }

    /// What a file's handler says otherwise, if it has one.
    fn difference(&self, root: &Root, path: PathBuf) -> Result<Option<Problem>, RootError> {
        Ok(root.text_if_any(&path)?.and_then(|text| self.difference_in(path, &text)))
    }

    fn difference_in(&self, path: PathBuf, text: &str) -> Option<Problem> {
        let document = Document::parse(text).ok()?;
        let item = handler_in(document.as_item())?;
        let found = item.as_table_like().map(table_of)?;
        let differs = |key: &&&str| found.get(**key) != self.handler.get(**key);
        let key = ["runtime_path", "runtime_type", "runtime_config_path"].iter().find(differs)?;
        let span = item.get(key).and_then(Item::span).or_else(|| item.span());
        let of = |value: &Value| value.get(*key).map_or_else(|| "not set".to_owned(), Value::to_string);
        let message = format!("handler {NAME}: {key} is {}, wanted {}", of(&found), of(&self.handler));
        Some(Problem { line: span.map(|s| line_of(text, s.start)), file: path, message })
    }
}

/// Why the handler that our drop-in was written with is not there, or another one.
///
/// # Errors
///
/// That a drop-in cannot be read.
pub(super) fn problems(root: &Root, file: &Change) -> Result<Vec<Problem>, RootError> {
    let handler = |text: &str| {
        let document: DocumentMut = text.parse().ok()?;
        handler_in(document.as_item()).map(value_of)
    };
    let Some(wanted) = handler(&file.after) else { return Ok(Vec::new()) };
    let written = Written { path: file.path.clone(), handler: wanted, theirs: Vec::new() };
    let mut problems = written.problems(root, &Replaced::new())?;
    // A later file's handler takes the place of this one, too.
    if problems.is_empty() {
        let now = root.text_if_any(&file.path)?.unwrap_or_default();
        if handler(&now).is_none() {
            let message = format!("handler {NAME} is not there any more: configure again");
            problems.push(Problem { file: file.path.clone(), line: None, message });
        }
        problems.extend(written.difference(root, file.path.clone())?);
    }
    Ok(problems)
}
