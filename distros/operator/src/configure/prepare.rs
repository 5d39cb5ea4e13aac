//! Turns a planned configuration into files, and checks that they will take effect.

mod error;
mod foreign;
mod left_behind;

pub use error::PrepareError;

use super::added::{self, ForeignAdditions};
use super::change::{self, Originals, original, originals};
use super::dangling::{self, Dangling};
use super::edit::{DROP_IN, EditError, current_if_equivalent, drop_in, edited};
use super::keys::is_whole;
use super::locate::siblings;
use super::lock::Lock;
use super::needed::needed;
use super::runtime_files::shim;
use super::secrets::hidden_diff;
use super::state::{ChangeError, FileChange, ManagedConfiguration, NotReverted, State};
use super::stray;
use super::theirs::{self, ForeignValue};
use super::{
    ContainerdVersion, Handler, KataConfiguration, KeyValue, LocatedConfiguration, MergedConfiguration, NotEffective,
    Problem, containerd, containerd::WantedHandler, copy, crio, own, reads_drop_ins, settings,
};
use foreign::{foreign, unknown_words};
use left_behind::{drop_ins_of, left_behind};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A handler to write, and the known facts about its container manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerChoice {
    /// The container manager.
    pub handler: Handler,
    /// containerd's main file; `None` to use the one that is found on the machine.
    pub config: Option<PathBuf>,
    /// containerd's version, if known.
    pub version: Option<ContainerdVersion>,
}

/// Files that are ready to be written.
#[derive(Debug, Clone)]
pub struct PreparedFiles {
    /// The configuration that Kata will read: the one that was found, or a copy with separate drop-ins.
    pub located: LocatedConfiguration,
    /// Kata's keys.
    pub settings: Vec<KeyValue>,
    /// The files, each with its text before kata-osinfo first touched it and its new text.
    pub changes: Vec<FileChange>,
    /// Keys that would not take effect.
    pub not_effective: Vec<NotEffective>,
    /// Other problems that would keep Kata from starting.
    pub problems: Vec<Problem>,
    /// Values of others that are overridden, extended, or kept although the release was qualified with something else.
    pub foreign_values: Vec<ForeignValue>,
    /// Additions of others to kata-osinfo's files, which move to separate files.
    pub added: Vec<ForeignAdditions>,
    /// Other changes that a reader may not expect.
    pub warnings: Vec<String>,
    /// Files that are no longer written and change because of that, with their restored texts; `None` is a file that is
    /// removed.
    pub back: BTreeMap<PathBuf, Option<String>>,
    handler: Option<WrittenHandler>,
    /// The recorded state before this call.
    old: Option<State>,
    new: State,
}

/// The handler to check once everything is read again.
#[derive(Debug, Clone)]
enum WrittenHandler {
    Containerd(containerd::ContainerdHandler),
    Crio(crio::CrioHandler),
}

/// Works out which files to write. `force` also replaces others' files that have the names of kata-osinfo's, and
/// others' changes in kata-osinfo's files.
///
/// # Errors
///
/// The configuration that Kata reads is not for QEMU or cannot be read, or a handler cannot be written.
pub fn prepare(
    root: &Root,
    located: &LocatedConfiguration,
    configuration: &KataConfiguration,
    handler: Option<HandlerChoice>,
    force: bool,
) -> Result<PreparedFiles, PrepareError> {
    let mut warnings = Vec::new();
    let recorded = stray::recorded(root, handler.is_some(), &mut warnings)?;
    // A handler that is not rewritten keeps the changes of others.
    let by_force = |old: &State, file: &PathBuf| {
        let is_written = |o: &ManagedConfiguration| match o.handler.contains(file) {
            true => handler.is_some(),
            false => o.is_of(&located.path),
        };
        force && old.owner(file).is_none_or(is_written)
    };
    let mut added = recorded.as_ref().map(|old| added::all(root, old, &|file| by_force(old, file))).unwrap_or_default();
    let old = recorded.as_ref().map(|old| added::noted(root, old, &added));
    // With `force`, a rewritten file counts as kata-osinfo's even if others have changed it; any other file counts as
    // theirs.
    let changed = recorded.as_ref().filter(|_| force).map(|old| added::changed_otherwise(root, old, &added));
    let changed = changed.unwrap_or_default();
    let forced = old.clone().map(|old| old.with_earlier(&changed, |_| true));
    let mut planned = settings(configuration);
    let base = original(root, forced.as_ref(), &located.path)?.unwrap_or_default();
    let edit = |source| PrepareError::Edit { path: located.path.clone(), source };
    let document: toml_edit::DocumentMut = base.parse().map_err(|e| edit(EditError::from(e)))?;
    let source = located;
    let version = (configuration.runtime, configuration.kata);
    let of_others = MergedConfiguration::of_others(root, source, version, &base)?;
    let has_qemu = document.get("hypervisor").is_some_and(|h| h.get("qemu").is_some());
    if !has_qemu && !of_others.is_of_qemu() {
        return Err(PrepareError::NotQemu(source.path.clone()));
    }
    are_ordinary(&of_others, source)?;
    let drop_ins = reads_drop_ins(configuration.runtime, configuration.kata);
    let mut changes = Vec::new();
    let others = own::unlike(&siblings(root, source, configuration.runtime, configuration.kata)?);
    let located = if drop_ins && !others.is_empty() {
        let Some(own) = own::place(root, source, configuration, handler.is_some())? else {
            let by_handler = handler.is_none() && own::place(root, source, configuration, true)?.is_some();
            let blocked = (!by_handler).then(|| own::named(configuration.runtime));
            return Err(PrepareError::Shared { path: source.path.clone(), others, blocked });
        };
        let before = original(root, forced.as_ref(), &own.path)?;
        changes.push(FileChange { path: own.path.clone(), before, after: copy::text(&source.path, &base) });
        own
    } else {
        source.clone()
    };
    // Files that were written before are restored, unless they are rewritten: those of the same configuration, and
    // those of another configuration's handler, because there is only one handler.
    let back = old.as_ref().map(|old| {
        originals(root, old, &|file| {
            let owner = old.owner(file);
            owner.is_none_or(|o| o.is_of(&source.path) || handler.is_some() && o.handler.contains(file))
        })
    });
    let Originals { texts: back, kept, handler: kept_handler } = back.transpose()?.unwrap_or_default();
    let mut replaced = back.clone();
    replaced.insert(source.path.clone(), Some(base.clone()));
    replaced.extend(added.iter().filter_map(ForeignAdditions::theirs).map(|c| (c.path.clone(), Some(c.after.clone()))));
    replaced.extend(changes.iter().map(|c| (c.path.clone(), Some(c.after.clone()))));
    let drop_in_path = root.resolve_new(&located.drop_ins().join(DROP_IN))?;
    if drop_ins {
        // Settings that exist without this drop-in need not be written again.
        replaced.insert(drop_in_path.clone(), None);
    }
    let without = MergedConfiguration::read_with(root, &located, configuration.runtime, configuration.kata, &replaced)?;
    // The copy has drop-ins of its own, which may make its guests confidential.
    are_ordinary(&without, &located)?;
    planned.extend(control_groups(root, configuration, &without)?);
    let settings = theirs::settled(&planned, &without, configuration);
    if drop_ins {
        let before = original(root, forced.as_ref(), &drop_in_path)?;
        changes.push(FileChange { path: drop_in_path, before, after: drop_in(configuration, &settings) });
    } else {
        let today = change::text(root, old.as_ref(), &located.path)?;
        let after = current_if_equivalent(edited(&base, &settings).map_err(edit)?, today.as_deref());
        changes.push(FileChange { path: located.path.clone(), before: Some(base), after });
    }
    let for_kata = changes.len();
    let (mut foreign_values, mut written) = (Vec::new(), None);
    let containerd = handler.as_ref().and_then(|choice| choice.version);
    if let Some(choice) = handler {
        let shim = shim(root, configuration.runtime)?;
        match choice.handler {
            Handler::Containerd => {
                let place = containerd::find_containerd_config(root, choice.config.as_deref())?;
                let wanted = WantedHandler { shim: &shim, config: &located.named, version: choice.version };
                let before = |path: &Path| original(root, forced.as_ref(), path);
                let today = |path: &Path| change::text(root, old.as_ref(), path).map_err(ChangeError::from);
                let (files, handler) = containerd::containerd(root, &before, &today, &place, wanted, &replaced)?;
                warnings.extend(containerd::writes_runc(&files));
                warnings.extend(handler.working_folder(root, &replaced));
                changes.extend(files);
                foreign_values.clone_from(&handler.foreign_values);
                written = Some(WrittenHandler::Containerd(handler));
            }
            Handler::Crio => {
                let (files, handler) = crio::crio(root, forced.as_ref(), &shim, &located.named, &replaced)?;
                changes.extend(files);
                foreign_values.clone_from(&handler.foreign_values);
                written = Some(WrittenHandler::Crio(handler));
            }
        }
        warnings.extend(change::hold_only_ours(root, old.as_ref(), &changes[for_kata..], force)?);
    }
    let is_written = |path: &Path| changes.iter().any(|c| c.path == path);
    let of_ours = recorded.iter().flat_map(|old| &old.files).filter(|file| is_written(&file.path));
    warnings.extend(of_ours.filter_map(|file| Some(added::forced(file, changed.get(&file.path)?))));
    warnings.extend(unknown_words(root, recorded.as_ref(), &changes)?);
    let is_reported = |path: &PathBuf| changed.contains_key(path) || added.iter().any(|added| added.ours() == path);
    for path in foreign(root, &changes)?.into_iter().filter(|path| !is_reported(path)) {
        if !force {
            return Err(PrepareError::Foreign(path));
        }
        let path = path.display();
        warnings.push(format!(
            "{path} was not written by kata-osinfo: it is replaced until `kata-osinfo unconfigure` restores it"
        ));
    }
    // Additions to other configurations' files stay where they are.
    added.retain(|a| back.contains_key(a.ours()) || changes.iter().any(|c| c.path == a.ours()));
    warnings.extend(added.iter().flat_map(|added| [added.words(), added.forced_words()]).flatten());
    let copies = stray::copies(root, recorded.as_ref().unwrap_or(&State::default()));
    warnings.extend(copies.iter().map(|copy| format!("{}: {}", copy.path.display(), copy.why)));
    let not_rewritten = kept.iter().filter(|(path, _)| !is_written(path));
    warnings.extend(not_rewritten.map(|(path, why)| format!("{} is kept: {why}", path.display())));
    let kept_handler: Vec<PathBuf> = kept_handler.into_iter().filter(|path| !is_written(path)).collect();
    if let Some(old) = &recorded {
        let mut planned_texts = back.clone();
        planned_texts
            .extend(added.iter().filter_map(ForeignAdditions::theirs).map(|c| (c.path.clone(), Some(c.after.clone()))));
        planned_texts.extend(changes.iter().map(|c| (c.path.clone(), Some(c.after.clone()))));
        if let Some(NotReverted { path, why, .. }) =
            needed(root, old, &added, &planned_texts, containerd)?.into_iter().next()
        {
            let is_handler = old.configurations.iter().any(|c| c.handler.contains(&path));
            let or = if is_handler && written.is_none() { "; --handler keeps it" } else { "" };
            return Err(ChangeError::Needed { path, why: why + or }.into());
        }
    }
    let old = recorded.as_ref().map(|old| added::noted(root, old, &added).with_earlier(&changed, is_written));
    let paths = |changes: &[FileChange]| changes.iter().map(|c| c.path.clone()).collect::<Vec<_>>();
    let this = ManagedConfiguration {
        config: source.path.clone(),
        profile: configuration.profile.to_string(),
        production: configuration.production,
        notes: configuration.notes.iter().map(|n| format!("{}: {}", n.about, n.text)).collect(),
        files: [paths(&changes), kept_handler.clone()].concat(),
        handler: [paths(&changes[for_kata..]), kept_handler].concat(),
    };
    warnings.extend(old.iter().flat_map(|old| old.warnings_for(&this)));
    let new = old.clone().unwrap_or_default().with(this, changes.clone());
    replaced.extend(changes.iter().map(|c| (c.path.clone(), Some(c.after.clone()))));
    let merged = MergedConfiguration::read_with(root, &located, configuration.runtime, configuration.kata, &replaced)?;
    let mut of_kata = theirs::foreign_values(&planned, &settings, &without, &merged);
    if located.path != source.path {
        theirs::in_source(&mut of_kata, &located.path, &source.path);
        let is_ours = |path: &PathBuf| recorded.iter().flat_map(|s| &s.files).any(|f| f.path == *path && is_whole(f));
        let copy_folder = located.drop_ins();
        for (path, text) in drop_ins_of(root, source, &added, &is_ours)? {
            warnings.extend(left_behind(&path, &text, &copy_folder, &planned, &merged));
        }
    }
    foreign_values.splice(0..0, of_kata);
    let mut to_restore = BTreeMap::new();
    for (path, text) in back {
        if !changes.iter().any(|c| c.path == path) && root.utf8_if_any(&path)? != text {
            to_restore.insert(path, text);
        }
    }
    Ok(PreparedFiles {
        not_effective: merged.not_effective(&settings),
        problems: problems(root, &merged, configuration.runtime, written.as_ref(), &replaced)?,
        handler: written,
        located,
        settings,
        foreign_values,
        added,
        warnings,
        back: to_restore,
        changes,
        old,
        new,
    })
}

impl PreparedFiles {
    /// Returns the differences to the current files, as unified diffs without secrets; empty if nothing would change.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn diff(&self, root: &Root) -> Result<String, PrepareError> {
        let mut text = String::new();
        for theirs in self.added.iter().filter_map(ForeignAdditions::theirs) {
            text += &hidden_diff(&FileChange { before: root.utf8_if_any(&theirs.path)?, ..theirs.clone() });
        }
        for (path, after) in &self.back {
            let after = after.clone().unwrap_or_default();
            text += &hidden_diff(&FileChange { path: path.clone(), before: root.utf8_if_any(path)?, after });
        }
        for change in &self.changes {
            text += &hidden_diff(&FileChange { before: root.utf8_if_any(&change.path)?, ..change.clone() });
        }
        Ok(text)
    }

    /// Writes the files, then reads everything again as Kata would.
    ///
    /// Returns the keys that did not take effect, and other problems.
    ///
    /// # Errors
    ///
    /// A file could not be written; files written by then are restored, or named.
    pub fn write(
        self,
        root: &Root,
        lock: &Lock,
        configuration: &KataConfiguration,
    ) -> Result<(Vec<NotEffective>, Vec<Problem>), PrepareError> {
        change::apply(root, lock, self.old.as_ref(), self.new, &self.added)?;
        let read = MergedConfiguration::read(root, &self.located, configuration.runtime, configuration.kata);
        let read = read.and_then(|merged| {
            let handler = self.handler.as_ref();
            let problems = problems(root, &merged, configuration.runtime, handler, &BTreeMap::new())?;
            Ok((merged.not_effective(&self.settings), problems))
        });
        // Everything is written by now, and may be in effect.
        let (not_effective, mut problems) = read.unwrap_or_else(|error| {
            let message =
                format!("the files were written, but kata-osinfo cannot tell whether they have an effect: {error}");
            (Vec::new(), vec![Problem { file: self.located.path.clone(), line: None, message }])
        });
        let dangling = self.old.iter().flat_map(|old| dangling::remove(root, old));
        let links = dangling.map(|Dangling { link: NotReverted { path, why, .. }, .. }| (path, why));
        problems.extend(links.map(|(file, message)| Problem { file, line: None, message }));
        Ok((not_effective, problems))
    }
}

/// Checks that the guests of a configuration are not confidential.
fn are_ordinary(of_others: &MergedConfiguration, located: &LocatedConfiguration) -> Result<(), PrepareError> {
    match of_others.confidential() {
        None => Ok(()),
        Some((key, set)) => Err(PrepareError::Confidential {
            path: located.path.clone(),
            key,
            file: set.file.to_owned(),
            line: set.line,
        }),
    }
}

/// Returns the setting that a Go runtime before 3.0.0 needs on a machine with cgroups v2, which it supports only
/// through systemd (`src/runtime/pkg/resourcecontrol/cgroups.go@2.5.0` and `@3.0.0`; kata-containers issues 1927 and
/// 3073).
fn control_groups(
    root: &Root,
    configuration: &KataConfiguration,
    without: &MergedConfiguration,
) -> Result<Option<KeyValue>, RootError> {
    let (table, key) = ("runtime", "sandbox_cgroup_only");
    let needed = configuration.runtime == Runtime::Go
        && configuration.kata < KataVersion::new(3, 0, 0)
        && root.has_file(Path::new("/sys/fs/cgroup/cgroup.controllers"))?
        && without.get(&[table, key]) != Some(&true.into());
    Ok(needed.then(|| KeyValue {
        table: vec![table.to_owned()],
        key: key.to_owned(),
        value: true.into(),
        why: "on a host with cgroup v2, Kata before 3.0 starts no container without it".to_owned(),
    }))
}

fn problems(
    root: &Root,
    merged: &MergedConfiguration,
    runtime: Runtime,
    handler: Option<&WrittenHandler>,
    replaced: &BTreeMap<PathBuf, Option<String>>,
) -> Result<Vec<Problem>, RootError> {
    let handler = match handler {
        Some(WrittenHandler::Containerd(written)) => written.problems(root, replaced),
        Some(WrittenHandler::Crio(written)) => written.problems(root, replaced)?,
        None => Vec::new(),
    };
    let missing = merged.missing_files(root, runtime)?;
    let of_kata = missing.into_iter().chain(merged.dax_window(runtime)).chain(merged.other_vmm(runtime));
    Ok(merged.problems().iter().cloned().chain(of_kata).chain(handler).collect())
}
