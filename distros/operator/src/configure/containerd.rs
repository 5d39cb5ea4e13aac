//! containerd's handler: a drop-in if containerd merges those, otherwise an edit of its main file.
//!
//! A planned change is first checked against a model of how that containerd reads its files ([`loaded`]): the handler
//! must come out as intended, and everything else unchanged.

mod beside;
mod config;
mod distribution;
mod files;
mod glob;
mod handler;
pub(super) mod in_effect;
mod loaded;
mod loading;
mod loss;
pub(super) mod migrated;
mod reads;
pub(super) mod stray;
mod values;
mod written;

pub(super) use beside::{with_import_beside, without_dangling_imports};
pub use config::{ContainerdConfig, find_containerd_config};
pub(super) use config::{Unread, each};
pub(super) use files::Replaced;
pub(super) use handler::WantedHandler;
pub use loading::{ContainerdVersion, NotAContainerdVersion};
pub(super) use loss::{first_lost_key, loss, names_default};
pub(super) use reads::{ReadFiles, config_paths, paths_marked_as_ours, read_files};
pub(super) use written::ContainerdHandler;

use super::KeyValue;
use super::edit::{EditError, LineEnds, current_if_equivalent, edited};
use super::keys::HEAD;
use super::lists;
use super::runtime_files::{HandlerError, NAME};
use super::state::{ChangeError, FileChange};
use files::Files;
use handler::{default_runtime, foreign_values, handler, settings};
use loaded::{GRPC, LoadError, Loaded, RUNTIME, read};
use loading::Loading;
use root::{Root, RootError};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};
use written::{Effect, loaded, set_by};

/// Returns Kata's handler as `configure` writes it, with its name: for a containerd of the caller's own.
pub fn kata_handler(shim: &Path, config: &Path) -> (&'static str, Map<String, Value>) {
    (NAME, handler::proven(WantedHandler { shim, config, version: None }))
}

/// Returns the name of the CRI plugin's section in a version of the configuration.
fn plugin(version: i64) -> &'static str {
    match version {
        ..3 => GRPC,
        _ => RUNTIME,
    }
}

/// Function that returns the current or the original text of a file; `None` if there is no file.
pub(super) type Original<'a> = dyn Fn(&Path) -> Result<Option<String>, ChangeError> + 'a;

/// Builds the files that make Kata a handler of the containerd that reads `place`.
///
/// containerd before 2.0 replaces a plugin's whole section by that of an imported file, so its main file is edited.
/// Later versions get a drop-in, in a configuration version that this containerd accepts, and an import of the drop-in
/// if nothing imports it already. No containerd reads a drop-in without a main file (`cmd/containerd/command/main.go`
/// at v2.3.4), so in this case a main file that only imports is created. Before 2.0, configured runtimes also replace
/// the default one, `runc`, without which pods that use it do not start: if no runtime is configured, `runc` is written
/// out next to Kata ([`writes_runc`]).
///
/// `original` returns a file's text before anything was configured, and `today` its current text.
///
/// # Errors
///
/// A file cannot be read or edited, an import would override the edit, or more than the handler would change.
pub(super) fn containerd(
    root: &Root,
    original: &Original<'_>,
    today: &Original<'_>,
    place: &ContainerdConfig,
    wanted: WantedHandler<'_>,
    replaced: &Replaced,
) -> Result<(Vec<FileChange>, ContainerdHandler), HandlerError> {
    if let Some(template) = place.template.clone() {
        let folder = place.drop_in.with_file_name("");
        return Err(HandlerError::Rebuilt { main: place.main.clone(), template, folder, owner: place.owner.name() });
    }
    let path = root.resolve_new(&place.main)?;
    let (before, today) = (original(&path)?, today(&path)?);
    let edit = |source| HandlerError::Edit { path: path.clone(), source };
    let document: DocumentMut = before.as_deref().unwrap_or_default().parse().map_err(|e| edit(EditError::from(e)))?;
    let stated = document.get("version").and_then(Item::as_integer);
    let form = stated.unwrap_or(if document.is_empty() { 0 } else { 1 });
    let mut replaced = replaced.clone();
    replaced.insert(path.clone(), before.clone());
    let mut loadings: Vec<Loading> = Loading::all(wanted.version);
    let mut instead = Replaced::new();
    if place.joins_drop_ins_itself(&imports(&document)) {
        instead.insert(path.clone(), Some(place.joined()));
        replaced.extend(instead.clone());
        loadings = vec![Loading::MergesThenMigrates];
    }
    // The version of the files shows which containerds read them; containerd 1 takes files without a version as version
    // 1.
    let mut why = String::new();
    let mut now: Vec<(Loading, Loaded)> = Vec::new();
    for loading in loadings {
        match loaded(root, &replaced, &place.main, loading) {
            Ok((_, loaded)) => now.push((loading, loaded)),
            Err(LoadError::Root(error)) if error.is_unreadable() => return Err(error.into()),
            Err(error) => why = error.to_string(),
        }
    }
    if now.is_empty() {
        return Err(HandlerError::WouldNotStart { main: path, why });
    }
    let old = now.iter().any(|(l, _)| l.replaces());
    if old && form == 1 || stated == Some(1) {
        return Err(HandlerError::OldConfig { path, migrate: !old });
    }
    let existing = now.iter().find_map(|(loading, l)| Some((*loading, l.runtimes.get(NAME)?.as_object()?.clone())));
    let handler = handler(wanted, existing.as_ref().map(|(_, existing)| existing));
    let values_of_others = |changes: &[FileChange]| {
        let Some((loading, existing)) = &existing else { return Vec::new() };
        // In a main file that stays unchanged, the current line numbers are valid.
        let unchanged = changes.iter().find(|c| c.path == path && today.as_ref() == Some(&c.after));
        let mut replaced = replaced.clone();
        if let Some(main) = unchanged {
            // The main file imports kata-osinfo's drop-in, which holds nothing of others.
            let ours = changes.iter().filter(|c| c.before.is_none());
            replaced.extend(ours.map(|c| (c.path.clone(), Some(String::new()))));
            replaced.insert(path.clone(), Some(main.after.clone()));
        }
        let files = read(&Files { root, replaced: &replaced }, &place.main, *loading).unwrap_or_default();
        foreign_values(existing, &handler, wanted, |key| {
            let (file, line) = set_by(&files, key).unwrap_or((place.main.as_path(), None));
            (file.to_owned(), line)
        })
    };
    let before_text = before.as_deref();
    let candidates = Candidates {
        root,
        original,
        place,
        handler: &handler,
        runc: default_runtime(&now),
        path: &path,
        before: before_text,
        today: today.as_deref(),
        replaced: &replaced,
    };
    let candidates = match old && place.rebuilt.is_none() {
        true => vec![candidates.edit(&document, form).map_err(edit)?],
        false => candidates.drop_ins(form)?,
    };
    let written = ContainerdHandler {
        main: place.main.clone(),
        instead,
        loadings: now.iter().map(|(l, _)| *l).collect(),
        handler: handler.clone(),
        foreign_values: Vec::new(),
    };
    let mut harm = String::new();
    let mut second = None;
    for changes in candidates {
        match written.outcome(root, &replaced, &changes, &now) {
            Effect::Good => {
                let foreign_values = values_of_others(&changes);
                return Ok((changes, ContainerdHandler { foreign_values, ..written }));
            }
            Effect::NotEffective => second = second.or(Some(changes)),
            // The first candidate uses the main file's own version; why the other versions fail is nothing to act on.
            Effect::Harm(what) if harm.is_empty() => harm = what,
            Effect::Harm(_) => {}
        }
    }
    let note = written.working_folder(root, &replaced);
    if let Some(import) = replacing(root, &replaced, place, &now) {
        return Err(HandlerError::Replaced { import, main: path, plugin: GRPC, note });
    }
    match (second, &place.rebuilt) {
        (Some(changes), _) => {
            let foreign_values = values_of_others(&changes);
            Ok((changes, ContainerdHandler { foreign_values, ..written }))
        }
        (None, Some(advice)) if harm.is_empty() => {
            Err(HandlerError::NotImported { main: path, advice: advice.clone() })
        }
        (None, _) => {
            let what = note.into_iter().fold(harm, |harm, note| format!("{harm}; {note}"));
            Err(HandlerError::Harm { main: path, what })
        }
    }
}

/// Returns a message about the file into which `runc` is written next to Kata.
pub(super) fn writes_runc(changes: &[FileChange]) -> Option<String> {
    let states = |text: &str| {
        text.parse::<DocumentMut>().is_ok_and(|document| migrated::runtime(&document, GRPC, "runc").is_some())
    };
    let is_new = |c: &&FileChange| states(&c.after) && !states(c.before.as_deref().unwrap_or_default());
    let path = changes.iter().find(is_new)?.path.display();
    Some(format!(
        "the handler runc is written to {path} as well: containerd before 2.0 provides it by default only if no other handler is configured"
    ))
}

/// The context for building the possible ways of writing the handler.
struct Candidates<'a> {
    root: &'a Root,
    original: &'a Original<'a>,
    place: &'a ContainerdConfig,
    handler: &'a Map<String, Value>,
    /// The default runtime, if it has to be written out in version 2.
    runc: Option<KeyValue>,
    path: &'a Path,
    before: Option<&'a str>,
    today: Option<&'a str>,
    replaced: &'a Replaced,
}

impl Candidates<'_> {
    /// Returns the settings in a version of the configuration.
    fn settings(&self, form: i64) -> Vec<KeyValue> {
        let beside = self.runc.iter().filter(|_| form < 3).cloned();
        settings(plugin(form), self.handler).into_iter().chain(beside).collect()
    }

    /// Builds an edit of the main file.
    fn edit(&self, document: &DocumentMut, form: i64) -> Result<Vec<FileChange>, EditError> {
        let form = form.max(2);
        let settings = self.settings(form);
        // A file with nothing but comments has no version yet.
        let text = match document.is_empty() {
            true => format!("version = {form}\n{}", self.before.unwrap_or_default()),
            false => self.before.unwrap_or_default().to_owned(),
        };
        let after = current_if_equivalent(edited(&text, &settings)?, self.today);
        Ok(vec![FileChange { path: self.path.to_owned(), before: self.before.map(str::to_owned), after }])
    }

    /// Builds a drop-in in each possible version, with an import of the drop-in if there is none.
    fn drop_ins(&self, form: i64) -> Result<Vec<Vec<FileChange>>, HandlerError> {
        let edit = |source| HandlerError::Edit { path: self.path.to_owned(), source };
        let path = self.root.resolve_new(&self.place.drop_in)?;
        let first = if form < 2 { 3 } else { form };
        let mut forms = vec![first];
        // Without a main file no other version can be needed.
        if self.before.is_some() {
            forms.extend([3, 2].into_iter().filter(|f| *f != first));
        }
        let mut all = Vec::new();
        for form in forms {
            let head = format!("{HEAD}version = {form}\n");
            let after = edited(&head, &self.settings(form)).map_err(edit)?;
            let mut replaced = self.replaced.clone();
            replaced.insert(path.clone(), Some(after.clone()));
            let mut changes = vec![FileChange { before: (self.original)(&path)?, path: path.clone(), after }];
            let files = Files { root: self.root, replaced: &replaced };
            let read = read(&files, &self.place.main, Loading::MergesThenMigrates);
            if read.is_ok_and(|files| !files.iter().any(|f| f.path == self.place.drop_in)) {
                if self.place.rebuilt.is_some() {
                    continue;
                }
                let text = self.before.map_or_else(|| format!("version = {form}\n"), str::to_owned);
                let after = with_import(&text, &self.place.drop_in).map_err(edit)?;
                let before = self.before.map(str::to_owned);
                let main = FileChange { path: self.path.to_owned(), before, after };
                let stands = current_if_equivalent(main.after.clone(), self.today);
                if stands != main.after {
                    all.push([changes.clone(), vec![FileChange { after: stands, ..main.clone() }]].concat());
                }
                changes.push(main);
            }
            all.push(changes);
        }
        Ok(all)
    }
}

/// Returns the paths where kata-osinfo's drop-ins are read, for every containerd that can be examined.
pub(super) fn drop_ins(root: &Root) -> Vec<PathBuf> {
    let mut ignore_error = |_: &Path, _: RootError| Ok(());
    each(root, &mut ignore_error).unwrap_or_default().into_iter().map(|place| place.drop_in).collect()
}

/// Returns the files that this program writes to, for every containerd that can be examined.
pub(super) fn written_to(root: &Root) -> Vec<PathBuf> {
    let mut ignore_error = |_: &Path, _: RootError| Ok(());
    let places = each(root, &mut ignore_error).unwrap_or_default();
    places.into_iter().flat_map(|place| [place.main, place.drop_in]).collect()
}

/// Returns the imported file whose section replaces the main file's.
fn replacing(root: &Root, replaced: &Replaced, place: &ContainerdConfig, now: &[(Loading, Loaded)]) -> Option<PathBuf> {
    now.iter().map(|(loading, _)| *loading).filter(|loading| loading.replaces()).find_map(|loading| {
        let files = read(&Files { root, replaced }, &place.main, loading).ok()?;
        files.into_iter().rev().find(|f| f.path != place.main && f.has(GRPC)).map(|f| f.path)
    })
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
    lists::extend(list, [drop_in.display().to_string().into()]);
    Ok(line_ends.put(document.to_string()))
}

#[cfg(test)]
mod tests;
