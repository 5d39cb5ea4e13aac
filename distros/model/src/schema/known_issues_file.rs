//! The form of a file of known issues.

use super::{ApiVersion, OneOrMany, Version};
use crate::environment::Environment;
use schemars::JsonSchema;

/// What is known to fail on one Linux distro.
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

/// A failure that somebody knows of: by its signature or by its test.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Issue {
    /// By which it is named.
    id: Version,
    /// One cause, as `results.json` has it: the component, a colon, what was seen.
    signature: Option<String>,
    /// One test, whatever is seen in it.
    test: Option<String>,
    /// The source package at fault.
    package: String,
    versions: Versions,
    /// The profiles that it is seen under; all where the key is left out.
    profiles: Option<OneOrMany<String>>,
    /// Where it is seen; anywhere where the key is left out.
    environments: Option<OneOrMany<Environment>>,
    /// Where it is reported.
    #[schemars(regex(pattern = r#"^https://[^ <>"]*$"#))]
    url: String,
    /// Who looks after the entry.
    owner: String,
    /// The last day on which it excuses anything.
    #[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    expires: String,
}

/// The versions that have the fault, in the distro's own order.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Versions {
    All(AllVersions),
    Range(Range),
}

/// All of them.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum AllVersions {
    All,
}

/// From the first bad one to the first good one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Range {
    /// The first bad one.
    from: Option<Version>,
    /// The first good one.
    before: Option<Version>,
}
