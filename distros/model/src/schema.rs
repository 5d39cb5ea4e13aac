//! The JSON Schemas of a record, of a file of verdicts and of one of known issues, from types that mirror their keys.
//!
//! The files are decoded from a syntax tree, so that messages have places; the types here describe the same format to
//! editors and other programs. A test keeps the two consistent.
//! The schema of a program's output is generated from the type that is serialized ([`of`]).

mod known_issues_file;
mod record_file;
mod verdicts_file;

use crate::capability::Capability;
use crate::package_manager::PackageManager;
use known_issues_file::KnownIssuesFile;
use record_file::RecordFile;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;
use verdicts_file::VerdictsFile;

/// Returns a record's schema as a document with a newline at its end.
///
/// # Errors
///
/// No known cause: the schema consists of plain values.
pub fn record() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(RecordFile);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Returns the schema of a file of verdicts, in the form of [`record`].
///
/// # Errors
///
/// No known cause.
pub fn verified() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(VerdictsFile);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Returns the schema of a file of known issues, in the form of [`record`].
///
/// # Errors
///
/// No known cause.
pub fn known_issues() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(KnownIssuesFile);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Returns the schema of a program's output, by the type that is serialized.
///
/// # Errors
///
/// No known cause.
pub fn of<T: JsonSchema + ?Sized>() -> serde_json::Result<String> {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

impl JsonSchema for Capability {
    fn schema_name() -> Cow<'static, str> {
        "Capability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Capability::ALL.iter().map(|capability| capability.name()).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

impl JsonSchema for PackageManager {
    fn schema_name() -> Cow<'static, str> {
        "PackageManager".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = PackageManager::ALL.iter().map(|manager| manager.name()).collect();
        schemars::json_schema!({ "description": "What installs packages.", "type": "string", "enum": names })
    }
}

/// The format's version.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum ApiVersion {
    #[schemars(rename = "v1")]
    V1,
}

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Text, even if YAML reads it as a number.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Version {
    Text(String),
    Number(f64),
}

/// A day, `2025-08-09`, or `unknown`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Day(#[schemars(regex(pattern = r"^(\d{4}-\d{2}-\d{2}|unknown)$"))] String);

#[cfg(test)]
mod tests;
