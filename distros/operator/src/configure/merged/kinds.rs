//! Values of a kind that Kata does not accept for their key: text for a number, a value for a table.
//!
//! The correct kind is taken from another file that sets the same key. The Go runtime decodes each file separately and
//! refuses any wrong value (`updateFromDropIn` in `src/runtime/pkg/katautils/config.go@3.30.0`); the Rust runtime
//! merges before it decodes, so only the value that wins counts (`load` in
//! `src/libs/kata-types/src/config/drop_in.rs@4.1.0`).

use super::{DROP_IN, MergedConfiguration, Problem};
use serde_json::Value;
use std::cmp::Ordering;

/// Returns whether the Go runtime ignores a value because it stands in place of a map: `hypervisor = 1`.
pub(super) fn is_passed_over(path: &[String]) -> bool {
    matches!(path, [only] if ["hypervisor", "agent"].contains(&only.as_str()))
}

/// Returns the name of a value's kind.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

impl MergedConfiguration {
    /// Returns a message if a value differs in kind from the one that is already set.
    pub(super) fn clash(&self, path: &[String], value: &Value) -> Option<String> {
        let (old, leaf) = self.leaves.iter().find(|(old, leaf)| {
            if old.as_slice() == path {
                kind(&leaf.value) != kind(value)
            } else {
                old.starts_with(path) || path.starts_with(old)
            }
        })?;
        let (key, here, there) = match old.len().cmp(&path.len()) {
            Ordering::Equal => (path, kind(value), kind(&leaf.value)),
            Ordering::Less => (old.as_slice(), "a table", kind(&leaf.value)),
            Ordering::Greater => (path, kind(value), "a table"),
        };
        Some(format!(
            "{} is {here}, but {there} in {}:{}: Kata would refuse its configuration",
            key.join("."),
            leaf.file.display(),
            leaf.line
        ))
    }

    /// Reports winning values that differ in kind from the main file's; kata-osinfo's own values are correct.
    pub(super) fn compare_kinds(&mut self, main: &MergedConfiguration) {
        let of_others = self.leaves.iter().filter(|(_, leaf)| !leaf.file.ends_with(DROP_IN));
        let problems = of_others.filter_map(|(path, leaf)| {
            let message = main.clash(path, &leaf.value)?;
            Some(Problem { file: leaf.file.clone(), line: Some(leaf.line), message })
        });
        let problems: Vec<Problem> = problems.collect();
        self.problems.extend(problems);
    }
}
