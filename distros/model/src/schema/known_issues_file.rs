//! Schema of a file of known issues.

use super::{ApiVersion, OneOrMany, Version};
use crate::environment::Environment;
use schemars::JsonSchema;

/// Known failures on one Linux distro.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct KnownIssuesFile {
    /// The format's version.
    #[schemars(rename = "apiVersion")]
    api_version: Option<ApiVersion>,
    /// The distro, as its record names it.
    #[schemars(regex(pattern = r"^[a-z0-9._-]+$"))]
    distro: String,
    /// The entries.
    known_issues: Vec<Issue>,
}

/// A known failure, identified by its signature or by its test.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Issue {
    /// The name of the entry.
    id: Version,
    /// One cause, as in `results.json`: the component, a colon, the observation.
    signature: Option<String>,
    /// One test, regardless of the observation.
    test: Option<String>,
    /// The source package at fault.
    package: String,
    versions: Versions,
    /// Profiles in which the failure occurs; all if the key is missing.
    profiles: Option<OneOrMany<String>>,
    /// Environments in which the failure occurs; all if the key is missing.
    environments: Option<OneOrMany<Environment>>,
    /// Address of the bug report.
    #[schemars(regex(pattern = r#"^https://[^ <>"]*$"#))]
    url: String,
    /// Person responsible for the entry.
    owner: String,
    /// The last day on which the entry excuses anything.
    #[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    expires: String,
}

/// The affected versions, in the distro's own order.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Versions {
    All(AllVersions),
    Range(Range),
}

/// All versions.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum AllVersions {
    All,
}

/// From the first affected version to the first fixed one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Range {
    /// The first affected version.
    from: Option<Version>,
    /// The first fixed version.
    before: Option<Version>,
}
