//! Whether what was configured has an effect still: all files are read together, as Kata and its container manager do.

use super::edit::DROP_IN;
use super::locate::siblings;
use super::merged::settings_in;
use super::runtime_files::NAME;
use super::state::{FileChange, ManagedConfiguration, State};
use super::{
    ContainerdVersion, LocatedConfiguration, MergedConfiguration, NotEffective, Problem, Setting, containerd, copy,
    crio,
};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use root::{Root, RootError};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What others have done since that keeps a configuration from having an effect.
///
/// `containerd` is its version, where that is known; `is_told` says of which files something worse is told already.
///
/// # Errors
///
/// That a file which decides it cannot be read, or looked for.
pub(super) fn problems(
    root: &Root,
    state: &State,
    containerd: Option<ContainerdVersion>,
    is_told: &dyn Fn(&Path) -> bool,
) -> Result<Vec<Problem>, RootError> {
    let mut all = Vec::new();
    for configured in &state.configurations {
        let (handler, of_kata): (Vec<&FileChange>, Vec<&FileChange>) = state
            .files
            .iter()
            .filter(|f| configured.files.contains(&f.path))
            .partition(|f| configured.handler.contains(&f.path));
        let is_whole = |files: &[&FileChange]| !files.is_empty() && !files.iter().any(|f| is_told(&f.path));
        if is_whole(&of_kata) {
            all.extend(of_configuration(root, configured, &of_kata)?);
        }
        if is_whole(&handler) {
            all.extend(of_handler(root, &handler, containerd)?);
        }
    }
    Ok(all)
}

/// What Kata would read otherwise than it was written, or would not start with.
fn of_configuration(
    root: &Root,
    configured: &ManagedConfiguration,
    files: &[&FileChange],
) -> Result<Vec<Problem>, RootError> {
    let copied = files.iter().find(|f| copy::source(&f.after).is_some());
    let main = copied.map_or(&configured.config, |f| &f.path);
    let problem = |message: String| Problem { file: main.clone(), line: None, message };
    match root.look(main)? {
        Some(found) if found.is_file() => {}
        // Of states before form 3 only the folder is known, and what lies there is not told by anything.
        Some(_) => return Ok(Vec::new()),
        None => return Ok(vec![problem("Kata's configuration is not there any more: configure again".to_owned())]),
    }
    let drop_in = files.iter().find(|f| f.path.ends_with(Path::new("config.d").join(DROP_IN)));
    let Some((runtime, kata)) = kata(configured, drop_in.map(|f| f.after.as_str())) else { return Ok(Vec::new()) };
    let wanted = match drop_in {
        Some(drop_in) => settings_in(&drop_in.after),
        None => files.iter().flat_map(|f| changed(f)).collect(),
    };
    let (named, path) = (main.clone(), main.clone());
    let located = LocatedConfiguration { named, path, by: String::new(), others: Vec::new(), searched: false };
    let merged = match MergedConfiguration::read(root, &located, runtime, kata) {
        Ok(merged) => merged,
        Err(error) if error.is_unreadable() => return Err(error),
        Err(error) => return Ok(vec![problem(error.to_string())]),
    };
    let not_effective = merged.not_effective(&wanted).into_iter().filter(|n| !may_be(n)).map(|n| {
        let found = n.found.map_or_else(|| "not set".to_owned(), |value| value.to_string());
        let message = format!("{} is {found}, wanted {}", n.key, n.wanted);
        Problem { file: n.file.unwrap_or_else(|| main.clone()), line: n.line, message }
    });
    let confidential = merged.confidential().map(|(key, set)| {
        let message = format!(
            "hypervisor.qemu.{key} is true: confidential guests share no filesystem: take it out, or run `kata-osinfo unconfigure`"
        );
        Problem { file: set.file.to_owned(), line: Some(set.line), message }
    });
    // One that has come since gets our drop-in too.
    let beside = if drop_in.is_some() { siblings(root, &located, runtime, kata)? } else { Vec::new() };
    let unlike = beside.into_iter().filter(|s| !s.alike).map(|s| {
        let message =
            "it is not for ordinary guests of QEMU, and has the same drop-ins, ours among them: configure again";
        Problem { file: s.path, line: None, message: message.to_owned() }
    });
    let missing = merged.missing_files(root, runtime)?;
    let others = merged.problems().iter().cloned().chain(missing);
    let others = others.chain(merged.dax_window(runtime)).chain(merged.other_vmm(runtime)).chain(confidential);
    Ok(others.chain(unlike).chain(not_effective).collect())
}

/// The runtime, by its profile, and Kata's version, by the first line of the drop-in: before there were drop-ins an edit
/// is read by every version alike.
fn kata(configured: &ManagedConfiguration, drop_in: Option<&str>) -> Option<(Runtime, KataVersion)> {
    let runtime = Runtime::of_profile(&configured.profile)?;
    let Some(text) = drop_in else { return Some((runtime, KataVersion::new(2, 4, 0))) };
    let (_, rest) = text.lines().next()?.split_once("(Kata ")?;
    Some((runtime, rest.split_once(')')?.0.parse().ok()?))
}

/// What an edit set that was not so before.
fn changed(file: &FileChange) -> Vec<Setting> {
    let before = file.before.as_deref().map(settings_in).unwrap_or_default();
    settings_in(&file.after).into_iter().filter(|setting| !before.contains(setting)).collect()
}

/// Whether another value is one that `configure` would leave: longer deadlines, more in a list, the daemon's cache.
fn may_be(different: &NotEffective) -> bool {
    let Some(found) = &different.found else { return false };
    let key = different.key.rsplit('.').next().unwrap_or_default();
    match (key, &different.wanted, found) {
        ("virtio_fs_cache" | "block_device_aio", Value::String(_), Value::String(_)) => true,
        ("dial_timeout" | "create_container_timeout" | "reconnect_timeout_ms", wanted, found) => {
            found.as_u64() >= wanted.as_u64()
        }
        (_, Value::Array(wanted), Value::Array(found)) => wanted.iter().all(|value| found.contains(value)),
        _ => false,
    }
}

/// Why the handler is not there, or another one.
fn of_handler(
    root: &Root,
    files: &[&FileChange],
    version: Option<ContainerdVersion>,
) -> Result<Vec<Problem>, RootError> {
    let drop_in: Option<PathBuf> = match root.resolve_new(&crio::drop_in()) {
        Err(error) if error.is_unreadable() => return Err(error),
        path => path.ok(),
    };
    let mut problems = match files.iter().find(|f| Some(&f.path) == drop_in.as_ref()) {
        Some(file) => crio::problems(root, file)?,
        None => containerd::in_effect::problems(root, files, version)?,
    };
    problems.extend(without_shim(root, files)?);
    Ok(problems)
}

/// That the shim which the handler names has gone.
fn without_shim(root: &Root, files: &[&FileChange]) -> Result<Option<Problem>, RootError> {
    for file in files {
        let is_shim =
            |s: &Setting| s.key == "runtime_path" && s.table.ends_with(&["runtimes".to_owned(), NAME.to_owned()]);
        let written = settings_in(&file.after).into_iter().find(is_shim);
        if let Some(path) = written.as_ref().and_then(|setting| setting.value.as_str())
            && !root.is_program(Path::new(path))?
        {
            let message = format!(
                "handler {NAME}: its shim {path} is no program any more: install Kata again, or configure again"
            );
            return Ok(Some(Problem { file: file.path.clone(), line: None, message }));
        }
    }
    Ok(None)
}
