//! Checks whether a written handler is still in effect.

use super::super::Problem;
use super::super::keys::is_whole;
use super::super::runtime_files::NAME;
use super::super::state::FileChange;
use super::config::{ContainerdConfig, STANDARD, present};
use super::files::Replaced;
use super::imports;
use super::loaded::{LoadError, working_folder};
use super::loading::{ContainerdVersion, Loading, Patterns};
use super::migrated::handler_of;
use super::written::{disabled, loaded, of_first_form, set_by};
use root::{Root, RootError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use toml_edit::DocumentMut;

/// Keys that decide which runtime a handler starts; others may be changed without harm.
const DECIDING: [&[&str]; 3] = [&["runtime_type"], &["runtime_path"], &["options", "ConfigPath"]];

/// Returns why the handler of some files is missing or replaced.
///
/// The containerd is inferred from how the handler was written: an edited main file is for 1.x, and must work with
/// every way of loading that `version` leaves open. A drop-in is for 2.0 and later, where one working way is enough.
///
/// # Errors
///
/// One of the files that containerd reads cannot be read, or looked for.
pub(in super::super) fn problems(
    root: &Root,
    files: &[&FileChange],
    version: Option<ContainerdVersion>,
) -> Result<Vec<Problem>, RootError> {
    let Some((file, handler)) = files.iter().find_map(|f| Some((*f, handler_of(f)?))) else { return Ok(Vec::new()) };
    let Some((main, replaced)) = main_of(root, file, files)? else { return Ok(Vec::new()) };
    if let Some(problem) = rebuilt_without(root, file)? {
        return Ok(vec![problem]);
    }
    let expected = Expected { root, main: &main, replaced: &replaced, handler: &handler };
    let of_2 = [Loading::MergesThenMigrates, Loading::MigratesThenMerges];
    let (before_2, later): (Vec<Loading>, &[Loading]) = match version {
        Some(known) if known.major < 2 => (Loading::all(version), &[]),
        // If a containerd 2 is installed, an edited main file was written for its predecessor.
        _ => (Patterns::all(version).iter().copied().map(Loading::Replaces).collect(), &of_2),
    };
    let (of_it, of_others): (Vec<&[Loading]>, &[Loading]) = match (is_whole(file), replaced.is_empty()) {
        (true, true) => (of_2.chunks(1).collect(), &[]),
        (true, false) => (vec![&of_2[..1]], &[]),
        (false, _) => (vec![before_2.as_slice()], later),
    };
    let mut found: Vec<Result<Vec<Problem>, LoadError>> = Vec::new();
    for alike in of_it {
        let problems = expected.problems_of_any(alike);
        if problems.as_ref().is_ok_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        found.push(problems);
    }
    // Other versions matter only if containerd of the version that the handler was written for does not start.
    if found.iter().all(Result::is_err) {
        for loading in of_others {
            let problems = expected.problems(*loading);
            if problems.as_ref().is_ok_and(Vec::is_empty) {
                return Ok(vec![expected.moved(*loading)]);
            }
            found.push(problems);
        }
    }
    let starts = found.iter().position(Result::is_ok).unwrap_or_default();
    match found.into_iter().nth(starts) {
        Some(Ok(problems)) => Ok(problems),
        Some(Err(LoadError::Root(error))) if error.is_unreadable() => Err(error),
        Some(Err(why)) => {
            Ok(vec![Problem { file: main, line: None, message: format!("containerd would not start: {why}") }])
        }
        None => Ok(Vec::new()),
    }
}

/// Returns the main file, and the text that stands in for it with a distribution that joins drop-ins itself; `None` if
/// the main file is not known.
pub(super) fn main_of(
    root: &Root,
    file: &FileChange,
    files: &[&FileChange],
) -> Result<Option<(PathBuf, Replaced)>, RootError> {
    let is_drop_in = is_whole(file);
    // Every drop-in lies in a subdirectory next to its main file.
    let Some(beside) = file.path.ancestors().nth(2) else { return Ok(None) };
    let is_its = |place: &ContainerdConfig| {
        let followed = |path: &Path| root.resolve_new(path).unwrap_or_else(|_| path.to_owned());
        match is_drop_in {
            true => place.main.parent().is_some_and(|folder| followed(folder) == beside),
            false => followed(&place.main) == file.path,
        }
    };
    let Some(place) = present(root)?.into_iter().find(is_its) else {
        let edited =
            if is_drop_in { files.iter().find(|f| f.path != file.path).map(|f| &f.path) } else { Some(&file.path) };
        let main = edited.cloned().unwrap_or_else(|| beside.join("config.toml"));
        let is_known = main == Path::new(STANDARD) || root.has_file(&main)?;
        return Ok(is_known.then(|| (main, Replaced::new())));
    };
    let text = root.text_if_any(&place.main)?.unwrap_or_default();
    let document: DocumentMut = text.parse().unwrap_or_default();
    let mut replaced = Replaced::new();
    if is_drop_in && place.joins_drop_ins_itself(&imports(&document)) {
        replaced.insert(root.resolve_new(&place.main)?, Some(place.joined()));
    }
    Ok(Some((place.main, replaced)))
}

/// Returns a problem if a Kubernetes distribution generates its main file from a template without an import of the
/// drop-in.
fn rebuilt_without(root: &Root, drop_in: &FileChange) -> Result<Option<Problem>, RootError> {
    let is_its = |place: &ContainerdConfig| root.resolve_new(&place.drop_in).is_ok_and(|path| path == drop_in.path);
    let place = present(root)?.into_iter().find(is_its);
    let template = place.and_then(|place| Some((place.template.clone()?, place.owner.name(), place.main)));
    Ok(template.map(|(file, owner, main)| {
        let main = main.display();
        let message = format!(
            "{owner} regenerates {main} from this template at each start, and the template does not import {}",
            drop_in.path.display()
        );
        Problem { file, line: None, message }
    }))
}

/// The expected handler.
struct Expected<'a> {
    root: &'a Root,
    main: &'a Path,
    replaced: &'a Replaced,
    handler: &'a Value,
}

impl Expected<'_> {
    /// Like [`Expected::problems`], for the first of several containerds that has problems.
    fn problems_of_any(&self, alike: &[Loading]) -> Result<Vec<Problem>, LoadError> {
        for loading in alike {
            let mut problems = self.problems(*loading)?;
            if let Some(first) = problems.first_mut() {
                let files = loaded(self.root, self.replaced, self.main, *loading).map(|(files, _)| files);
                let note = working_folder(alike, &files.unwrap_or_default());
                first.message.extend(note.map(|note| format!("; {note}")));
                return Ok(problems);
            }
        }
        Ok(Vec::new())
    }

    /// Returns what is wrong with the handler for one containerd, or why that containerd would not start.
    fn problems(&self, loading: Loading) -> Result<Vec<Problem>, LoadError> {
        let (files, loaded) = loaded(self.root, self.replaced, self.main, loading)?;
        let mut problems: Vec<Problem> = disabled(&files, &loaded).into_iter().collect();
        if let Some(problem) = of_first_form(&files, loading) {
            problems.push(problem);
            return Ok(problems);
        }
        let Some(found) = loaded.runtimes.get(NAME) else {
            let message = format!("handler {NAME} is not there any more: configure again");
            problems.push(Problem { file: self.main.to_owned(), line: None, message });
            return Ok(problems);
        };
        for keys in DECIDING {
            let value_at = |handler: &Value| keys.iter().try_fold(handler, |value, key| value.get(key)).cloned();
            let (expected, found) = (value_at(self.handler), value_at(found));
            if expected == found {
                continue;
            }
            let (file, line) = set_by(&files, keys).unwrap_or((self.main, None));
            let shown = |value: Option<Value>| value.map_or_else(|| "not set".to_owned(), |value| value.to_string());
            let message = format!("handler {NAME}: {} is {}, wanted {}", keys.join("."), shown(found), shown(expected));
            problems.push(Problem { file: file.to_owned(), line, message });
        }
        Ok(problems)
    }

    /// Returns the problem that the handler works only for a containerd other than the one that it was written for.
    fn moved(&self, loading: Loading) -> Problem {
        let loaded = loaded(self.root, self.replaced, self.main, loading);
        let files = loaded.map(|(files, _)| files).unwrap_or_default();
        let (file, line) = set_by(&files, &["runtime_path"]).unwrap_or((self.main, None));
        let message = format!(
            "handler {NAME} is no longer where kata-osinfo wrote it, for example because of `containerd config migrate`: configure again"
        );
        Problem { file: file.to_owned(), line, message }
    }
}
