//! Checks whether the written configuration is still in effect, by reading all files as Kata and its container manager
//! do.

use super::edit::DROP_IN;
use super::locate::siblings;
use super::merged::settings_in;
use super::runtime_files::NAME;
use super::state::{FileChange, ManagedConfiguration, State};
use super::{
    ContainerdVersion, KeyValue, LocatedConfiguration, MergedConfiguration, NotEffective, Problem, containerd, copy,
    crio,
};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use root::{Root, RootError};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Returns later changes of others that keep a configuration from being in effect.
///
/// `containerd` is its version, if known; `is_reported` returns whether something worse has already been reported for a
/// file.
///
/// # Errors
///
/// A file that matters cannot be read, or looked for.
pub(super) fn problems(
    root: &Root,
    state: &State,
    containerd: Option<ContainerdVersion>,
    is_reported: &dyn Fn(&Path) -> bool,
) -> Result<Vec<Problem>, RootError> {
    let mut all = Vec::new();
    for configured in &state.configurations {
        let (handler, of_kata): (Vec<&FileChange>, Vec<&FileChange>) = state
            .files
            .iter()
            .filter(|f| configured.files.contains(&f.path))
            .partition(|f| configured.handler.contains(&f.path));
        let is_whole = |files: &[&FileChange]| !files.is_empty() && !files.iter().any(|f| is_reported(&f.path));
        if is_whole(&of_kata) {
            all.extend(of_configuration(root, configured, &of_kata)?);
        }
        if is_whole(&handler) {
            all.extend(of_handler(root, &handler, containerd)?);
        }
    }
    Ok(all)
}

/// Returns settings that Kata would read with another value than was written, and faults with which it would not start.
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
        // States before version 3 record only the directory, which does not show the file.
        Some(_) => return Ok(Vec::new()),
        None => return Ok(vec![problem("Kata's configuration is not there any more: configure again".to_owned())]),
    }
    let drop_in = files.iter().find(|f| f.path.ends_with(Path::new("config.d").join(DROP_IN)));
    let Some((runtime, kata)) = kata(configured, drop_in.map(|f| f.after.as_str())) else { return Ok(Vec::new()) };
    let expected = match drop_in {
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
    let not_effective = merged.not_effective(&expected).into_iter().filter(|n| !may_be(n)).map(|n| {
        let found = n.found.map_or_else(|| "not set".to_owned(), |value| value.to_string());
        let message = format!("{} is {found}, wanted {}", n.key, n.wanted);
        Problem { file: n.file.unwrap_or_else(|| main.clone()), line: n.line, message }
    });
    let confidential = merged.confidential().map(|(key, set)| {
        let message = format!(
            "hypervisor.qemu.{key} is true: confidential guests share no filesystem: remove it, or run `kata-osinfo unconfigure`"
        );
        Problem { file: set.file.to_owned(), line: Some(set.line), message }
    });
    // A configuration that was added later gets kata-osinfo's drop-in, too.
    let beside = if drop_in.is_some() { siblings(root, &located, runtime, kata)? } else { Vec::new() };
    let unlike = beside.into_iter().filter(|s| !s.alike).map(|s| {
        let message =
            "it is not for ordinary QEMU guests, but reads the same drop-ins, including kata-osinfo's: configure again";
        Problem { file: s.path, line: None, message: message.to_owned() }
    });
    let missing = merged.missing_files(root, runtime)?;
    let others = merged.problems().iter().cloned().chain(missing);
    let others = others.chain(merged.dax_window(runtime)).chain(merged.other_vmm(runtime)).chain(confidential);
    Ok(others.chain(unlike).chain(not_effective).collect())
}

/// Returns the runtime, by the profile, and Kata's version, by the first line of the drop-in. An edit without a drop-in
/// is for a version that reads none; all of these read it in the same way.
fn kata(configured: &ManagedConfiguration, drop_in: Option<&str>) -> Option<(Runtime, KataVersion)> {
    let runtime = Runtime::of_profile(&configured.profile)?;
    let Some(text) = drop_in else { return Some((runtime, KataVersion::new(2, 4, 0))) };
    let (_, rest) = text.lines().next()?.split_once("(Kata ")?;
    Some((runtime, rest.split_once(')')?.0.parse().ok()?))
}

/// Returns the settings that an edit added or changed.
fn changed(file: &FileChange) -> Vec<KeyValue> {
    let before = file.before.as_deref().map(settings_in).unwrap_or_default();
    settings_in(&file.after).into_iter().filter(|setting| !before.contains(setting)).collect()
}

/// Returns whether `configure` would accept this value, too: longer deadlines, longer lists, another daemon cache.
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

/// Returns why the handler is missing or replaced.
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

/// Returns a problem if the handler's shim does not exist any more.
fn without_shim(root: &Root, files: &[&FileChange]) -> Result<Option<Problem>, RootError> {
    for file in files {
        let is_shim =
            |s: &KeyValue| s.key == "runtime_path" && s.table.ends_with(&["runtimes".to_owned(), NAME.to_owned()]);
        let written = settings_in(&file.after).into_iter().find(is_shim);
        if let Some(path) = written.as_ref().and_then(|setting| setting.value.as_str())
            && !root.is_program(Path::new(path))?
        {
            let message = format!(
                "handler {NAME}: its shim {path} is no longer an executable file: reinstall Kata, or configure again"
            );
            return Ok(Some(Problem { file: file.path.clone(), line: None, message }));
        }
    }
    Ok(None)
}
