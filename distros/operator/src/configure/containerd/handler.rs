//! Kata's handler in containerd's words.

use super::super::Setting;
use super::super::runtime_files::NAME;
use super::super::theirs::{ForeignValue, joined};
use super::loaded::{GRPC, Loaded};
use super::loading::{ContainerdVersion, Loading};
use super::values::differing;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The type of the runtime that containerd has by default.
pub(super) const RUNC: &str = "io.containerd.runc.v2";

/// What a machine's containerd is to have.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct WantedHandler<'a> {
    /// The shim.
    pub(in super::super) shim: &'a Path,
    /// Kata's configuration.
    pub(in super::super) config: &'a Path,
    /// containerd's version; `None` is not known.
    pub(in super::super) version: Option<ContainerdVersion>,
}

/// The handler `runc` as containerd before 2.0 has it while no runtimes are stated, to be stated with the first one.
///
/// It is there whichever runtime is taken by default (`config dump` of 1.6.20 and 1.7).
pub(super) fn default_runtime(now: &[(Loading, Loaded)]) -> Option<Setting> {
    let (_, loaded) = now.iter().find(|(loading, _)| loading.replaces())?;
    let table = ["plugins", GRPC, "containerd", "runtimes", "runc"];
    loaded.runtimes.is_empty().then(|| setting(&table, "runtime_type", json!(RUNC)))
}

/// The handler's keys, beside those of a handler of this name that is there.
pub(super) fn handler(wanted: WantedHandler<'_>, there: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut handler = proven(wanted);
    for (key, ours) in &mut handler {
        match (there.and_then(|t| t.get(key)), key.as_str()) {
            (Some(theirs), "pod_annotations") => *ours = joined(theirs, ours),
            (Some(Value::Bool(theirs)), "privileged_without_host_devices") => *ours = (*theirs).into(),
            _ => {}
        }
    }
    handler
}

/// The handler's keys, as they were qualified.
pub(super) fn proven(wanted: WantedHandler<'_>) -> Map<String, Value> {
    let handler = json!({
        "runtime_type": "io.containerd.kata.v2",
        "runtime_path": wanted.shim.display().to_string(),
        "privileged_without_host_devices": true,
        "pod_annotations": ["io.katacontainers.*"],
        "options": { "ConfigPath": wanted.config.display().to_string() },
    });
    if let Value::Object(map) = handler { map } else { Map::new() }
}

/// What a handler that is there says otherwise or beside ours, with the places.
pub(super) fn told(
    there: &Map<String, Value>,
    now: &Map<String, Value>,
    wanted: WantedHandler<'_>,
    place: impl Fn(&[&str]) -> (PathBuf, Option<usize>),
) -> Vec<ForeignValue> {
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
        ForeignValue::of(&name, (&file, line), at(there, key)?, at(&proven, key)?, at(now, key)?)
    };
    // An empty text is none.
    let mut all: Vec<ForeignValue> =
        keys.into_iter().filter(|key| at(there, key).is_some_and(|v| v != "")).filter_map(theirs).collect();
    // Keys of theirs that this program does not write.
    for key in differing(&there.clone().into(), &Value::Null) {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let beside = at(there, &key).filter(|_| !keys.contains(&key.as_slice()));
        all.extend(beside.map(|value| {
            let (file, line) = place(&key);
            ForeignValue::beside(&format!("handler {NAME}: {}", key.join(".")), (&file, line), value)
        }));
    }
    all
}

/// The settings that write it in a plugin's section.
pub(super) fn settings(plugin: &str, handler: &Map<String, Value>) -> Vec<Setting> {
    let runtime = ["plugins", plugin, "containerd", "runtimes", NAME];
    let options: Vec<&str> = runtime.into_iter().chain(["options"]).collect();
    let of = |key: &str| handler.get(key).cloned().unwrap_or_default();
    let config = of("options").get("ConfigPath").cloned().unwrap_or_default();
    let keys = ["runtime_type", "runtime_path", "privileged_without_host_devices", "pod_annotations"];
    let mut all: Vec<Setting> = keys.iter().map(|key| setting(&runtime, key, of(key))).collect();
    all.push(setting(&options, "ConfigPath", config));
    all
}

/// A key of a table, with its value.
pub(super) fn setting(table: &[&str], key: &str, value: Value) -> Setting {
    Setting { table: table.iter().map(|t| (*t).to_owned()).collect(), key: key.to_owned(), value, why: String::new() }
}
