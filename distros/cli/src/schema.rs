//! The JSON Schemas of records, of files of verdicts and of known issues, and of what the calls answer to programs.
//!
//! Answers are put together where they are given; the types here mirror their keys, and tests hold real answers against
//! them. A key that these types do not have is not valid, so that none is added without being described here.

mod configure;
mod install;
mod requirements;
mod system;

use clap::ValueEnum;
use schemars::JsonSchema;

/// What there is a schema of.
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
}

/// A schema as a document.
///
/// # Errors
///
/// None that is known.
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
    }
}

fn answer<T: JsonSchema>() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(Said<T>);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// The answer, or why there is none.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Said<T> {
    Answer(T),
    Nothing(Nothing),
}

/// Why there is no answer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Nothing {
    version: Version,
    error: Error,
}

/// What is wrong.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Error {
    /// For programs: `unknown-system`.
    kind: String,
    /// For people.
    message: String,
    /// What to do.
    hint: Option<String>,
}

/// Of the documents: it is raised when a key goes or means something else.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Version(#[schemars(range(min = 1, max = 1))] u32);

/// What stands behind an exit code that is not 0, or a text of others that lies aside.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Problem {
    /// The file that it is about, where it is about one.
    file: Option<String>,
    /// The line in it, from 1.
    line: Option<u64>,
    /// For people.
    message: String,
    /// What to do, where that is known.
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

/// `2025-08-09`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Day(#[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))] String);
