//! Kata's handler in containerd's terms.

use super::super::KeyValue;
use super::super::runtime_files::NAME;
use super::super::theirs::{ForeignValue, joined};
use super::loaded::{GRPC, Loaded};
use super::loading::{ContainerdVersion, Loading};
use super::values::differing;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The type of containerd's default runtime.
pub(super) const RUNC: &str = "io.containerd.runc.v2";

/// The handler that a machine's containerd is to have.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct WantedHandler<'a> {
    /// The shim.
    pub(in super::super) shim: &'a Path,
    /// Kata's configuration.
    pub(in super::super) config: &'a Path,
    /// containerd's version; `None` if it is not known.
    pub(in super::super) version: Option<ContainerdVersion>,
}

/// Returns containerd's implicit handler `runc`, which containerd before 2.0 has only while no runtime is configured;
/// it must be written out together with the first one.
///
/// It exists whichever runtime is the default (`config dump` of 1.6.20 and 1.7).
pub(super) fn default_runtime(now: &[(Loading, Loaded)]) -> Option<KeyValue> {
    let (_, loaded) = now.iter().find(|(loading, _)| loading.replaces())?;
    let table = ["plugins", GRPC, "containerd", "runtimes", "runc"];
    loaded.runtimes.is_empty().then(|| setting(&table, "runtime_type", json!(RUNC)))
}

/// Returns the handler's keys, merged with those of an existing handler of this name.
pub(super) fn handler(wanted: WantedHandler<'_>, existing: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut handler = proven(wanted);
    for (key, ours) in &mut handler {
        match (existing.and_then(|t| t.get(key)), key.as_str()) {
            (Some(theirs), "pod_annotations") => *ours = joined(theirs, ours),
            (Some(Value::Bool(theirs)), "privileged_without_host_devices") => *ours = (*theirs).into(),
            _ => {}
        }
    }
    handler
}

/// Returns the handler's keys with the values that were qualified.
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

/// Returns the values of an existing handler that differ from kata-osinfo's or are additional, with their places.
pub(super) fn foreign_values(
    existing: &Map<String, Value>,
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
    fn value_at<'m>(map: &'m Map<String, Value>, key: &[&str]) -> Option<&'m Value> {
        let (first, rest) = key.split_first()?;
        rest.iter().try_fold(map.get(*first)?, |value, name| value.get(name))
    }
    let foreign_value = |key: &[&str]| {
        let (file, line) = place(key);
        let name = format!("handler {NAME}: {}", key.join("."));
        ForeignValue::of(&name, (&file, line), value_at(existing, key)?, value_at(&proven, key)?, value_at(now, key)?)
    };
    // An empty string counts as unset.
    let mut all: Vec<ForeignValue> = keys
        .into_iter()
        .filter(|key| value_at(existing, key).is_some_and(|v| v != ""))
        .filter_map(foreign_value)
        .collect();
    // Keys of theirs that this program does not write.
    for key in differing(&existing.clone().into(), &Value::Null) {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let beside = value_at(existing, &key).filter(|_| !keys.contains(&key.as_slice()));
        all.extend(beside.map(|value| {
            let (file, line) = place(&key);
            ForeignValue::beside(&format!("handler {NAME}: {}", key.join(".")), (&file, line), value)
        }));
    }
    all
}

/// Returns the settings that write the handler into a plugin's section.
pub(super) fn settings(plugin: &str, handler: &Map<String, Value>) -> Vec<KeyValue> {
    let runtime = ["plugins", plugin, "containerd", "runtimes", NAME];
    let options: Vec<&str> = runtime.into_iter().chain(["options"]).collect();
    let value = |key: &str| handler.get(key).cloned().unwrap_or_default();
    let config = value("options").get("ConfigPath").cloned().unwrap_or_default();
    let keys = ["runtime_type", "runtime_path", "privileged_without_host_devices", "pod_annotations"];
    let mut all: Vec<KeyValue> = keys.iter().map(|key| setting(&runtime, key, value(key))).collect();
    all.push(setting(&options, "ConfigPath", config));
    all
}

/// Returns the setting for a key of a table.
pub(super) fn setting(table: &[&str], key: &str, value: Value) -> KeyValue {
    KeyValue { table: table.iter().map(|t| (*t).to_owned()).collect(), key: key.to_owned(), value, why: String::new() }
}
