//! The JSON Schemas of records, of files of verdicts and of known issues, and of the subcommands' answers to programs.
//!
//! Answers are built where they are given; the types here mirror their keys, and tests validate real answers with them.
//! Unknown keys are invalid, so that no key is added without being described here.

mod configure;
mod install;
mod lint;
mod requirements;
mod system;

use clap::ValueEnum;
use schemars::JsonSchema;

/// The documents that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A record.
    Record,
    /// A file of verdicts.
    Verified,
    /// A file of known issues.
    KnownIssues,
    /// The answer of `detect`.
    DetectAnswer,
    /// The answer of `list`.
    ListAnswer,
    /// The answer of `show`.
    ShowAnswer,
    /// The answer of `check`.
    CheckAnswer,
    /// The answer of `verified`.
    VerifiedAnswer,
    /// The answer of `installer`.
    InstallerAnswer,
    /// The answer of `packages`.
    PackagesAnswer,
    /// The answer of `install`.
    InstallAnswer,
    /// The answer of `configure`.
    ConfigureAnswer,
    /// The answer of `unconfigure`.
    UnconfigureAnswer,
    /// The answer of `fallback`.
    FallbackAnswer,
    /// The answer of `requirements`.
    RequirementsAnswer,
    /// The answer of `lint`.
    LintAnswer,
}

/// Returns a schema as a document.
///
/// # Errors
///
/// No known cause.
pub(crate) fn document(of: SchemaOf) -> serde_json::Result<String> {
    match of {
        SchemaOf::Record => model::schema::record(),
        SchemaOf::Verified => model::schema::verified(),
        SchemaOf::KnownIssues => model::schema::known_issues(),
        SchemaOf::DetectAnswer => answer::<system::Detect>(),
        SchemaOf::ListAnswer => answer::<system::List>(),
        SchemaOf::ShowAnswer => answer::<system::Show>(),
        SchemaOf::CheckAnswer => answer::<system::Check>(),
        SchemaOf::VerifiedAnswer => answer::<system::Verified>(),
        SchemaOf::InstallerAnswer => answer::<install::Installer>(),
        SchemaOf::PackagesAnswer => answer::<install::Packages>(),
        SchemaOf::InstallAnswer => answer::<install::Install>(),
        SchemaOf::ConfigureAnswer => answer::<configure::Configure>(),
        SchemaOf::UnconfigureAnswer => answer::<configure::Unconfigure>(),
        SchemaOf::FallbackAnswer => answer::<configure::Fallback>(),
        SchemaOf::RequirementsAnswer => answer::<requirements::Requirements>(),
        SchemaOf::LintAnswer => answer::<lint::Lint>(),
    }
}

fn answer<T: JsonSchema>() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(AnswerOrError<T>);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// The answer, or the error.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum AnswerOrError<T> {
    Answer(T),
    Nothing(Nothing),
}

/// Document of a call without an answer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Nothing {
    version: Version,
    error: Error,
}

/// The error.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Error {
    /// For programs: `unknown-system`.
    kind: String,
    /// For people.
    message: String,
    /// Advice.
    hint: Option<String>,
}

/// Version of the documents: raised when a key is removed or changes its meaning.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Version(#[schemars(range(min = 1, max = 1))] u32);

/// A reason for a nonzero exit code, or another tool's text that was put aside.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Problem {
    /// The file, if the problem is about one.
    file: Option<String>,
    /// The line in the file, from 1.
    line: Option<u64>,
    /// For people.
    message: String,
    /// Advice, if known.
    hint: Option<String>,
}

/// A release, in every answer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Release {
    /// `debian:13`.
    name: String,
    /// `debian`.
    distro: String,
    /// `13`.
    version: String,
    /// `trixie`.
    codename: Option<String>,
    /// Other names: `stable`.
    aliases: Vec<String>,
    /// The day of the release.
    released: Option<Day>,
    /// The last day of the distro's own support.
    eol: Option<Day>,
    /// The last day of long-term support.
    lts: Option<Day>,
}

/// A day: `2025-08-09`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Day(#[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))] String);
