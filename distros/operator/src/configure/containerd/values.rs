//! Handlers as values: keys that kata-osinfo writes, keys without a value, and differences.

use serde_json::Value;

/// JSON pointers of the keys that this program writes into a handler.
pub(super) const KEYS: [&str; 5] =
    ["/runtime_type", "/runtime_path", "/privileged_without_host_devices", "/pod_annotations", "/options/ConfigPath"];

/// Returns an earlier handler with kata-osinfo's keys merged into it.
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

/// Returns the paths of a handler's keys that differ from the expected ones; missing keys, and new keys without a
/// value, do not count.
pub(super) fn differing(found: &Value, expected: &Value) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, value) in found.as_object().into_iter().flatten() {
        let expected_value = expected.get(key);
        match value {
            Value::Object(_) => {
                let below = differing(value, expected_value.unwrap_or(&Value::Null));
                all.extend(below.into_iter().map(|keys| [vec![key.clone()], keys].concat()));
            }
            _ if expected_value == Some(value) || expected_value.is_none() && is_default(value) => {}
            _ => all.push(vec![key.clone()]),
        }
    }
    all
}

/// Returns the value at a path of a handler's keys.
pub(super) fn value_at<'h>(handler: &'h Value, keys: &[String]) -> Option<&'h Value> {
    keys.iter().try_fold(handler, |value, key| value.get(key))
}

/// Returns a handler with only the keys that have a value or that this program writes.
pub(super) fn without_unset_keys(handler: &Value) -> Value {
    let is_set = |(key, value): &(&String, &Value)| is_written(key) || !is_default(value);
    let map = handler.as_object().into_iter().flatten().filter(is_set);
    Value::Object(map.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Returns whether this program writes a key.
pub(super) fn is_written(key: &str) -> bool {
    KEYS.iter().any(|written| written.strip_prefix('/') == Some(key))
}

/// Returns whether a value equals containerd's default for an unset key.
pub(super) fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_default),
    }
}
