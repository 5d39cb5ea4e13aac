//! Answer of `lint`.

use super::{Problem, Version};
use schemars::JsonSchema;

/// Findings in files of records.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Lint {
    version: Version,
    diagnostics: Vec<Diagnostic>,
    /// The same findings, in the form of all answers.
    problems: Vec<Problem>,
}

/// One finding.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Diagnostic {
    severity: Severity,
    /// The rule's stable name: `duplicate-key`.
    rule: String,
    /// For people.
    message: String,
    /// The file as the user named it.
    file: String,
    /// The line, from 1.
    line: u64,
    /// The column in characters, from 1.
    column: u64,
    /// First byte of the place.
    start: u64,
    /// The byte after the place.
    end: u64,
    /// Advice, if known.
    hint: Option<String>,
    /// Replacements that correct the finding, in order, not overlapping.
    fixes: Option<Vec<Fix>>,
}

/// How bad a finding is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Severity {
    /// The record cannot be used.
    Error,
    /// The record can be used, but something in it looks wrong.
    Warning,
}

/// A replacement that corrects a finding.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Fix {
    /// First byte that is replaced.
    start: u64,
    /// The byte after the last one that is replaced.
    end: u64,
    /// The corrected text.
    replacement: String,
}
