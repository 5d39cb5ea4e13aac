//! Handlers as values: which keys are ours, which say nothing, and what differs.

use serde_json::Value;

/// What this program writes of a handler.
pub(super) const KEYS: [&str; 5] =
    ["/runtime_type", "/runtime_path", "/privileged_without_host_devices", "/pod_annotations", "/options/ConfigPath"];

/// A handler that was there with ours in it.
pub(super) fn both(was: &Value, ours: &Value) -> Value {
    let mut all = was.as_object().cloned().unwrap_or_default();
    for (key, value) in ours.as_object().into_iter().flatten() {
        match (all.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => into.extend(from.clone()),
            _ => {
                all.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(all)
}

/// The paths of a handler's keys that are not as they are expected: keys that are not there, and new ones that say nothing,
/// are no loss.
pub(super) fn differing(found: &Value, expected: &Value) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, value) in found.as_object().into_iter().flatten() {
        let there = expected.get(key);
        match value {
            Value::Object(_) => {
                let below = differing(value, there.unwrap_or(&Value::Null));
                all.extend(below.into_iter().map(|keys| [vec![key.clone()], keys].concat()));
            }
            _ if there == Some(value) || there.is_none() && says_nothing(value) => {}
            _ => all.push(vec![key.clone()]),
        }
    }
    all
}

/// A key of a handler.
pub(super) fn at<'h>(handler: &'h Value, keys: &[String]) -> Option<&'h Value> {
    keys.iter().try_fold(handler, |value, key| value.get(key))
}

/// The handler's keys that have a value, and those that this program writes.
pub(super) fn without_unset_keys(handler: &Value) -> Value {
    let said = |(key, value): &(&String, &Value)| is_written(key) || !says_nothing(value);
    let map = handler.as_object().into_iter().flatten().filter(said);
    Value::Object(map.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Whether this program writes a key.
pub(super) fn is_written(key: &str) -> bool {
    KEYS.iter().any(|written| written.strip_prefix('/') == Some(key))
}

/// Whether a value is what containerd has where nothing is set.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(says_nothing),
    }
}
