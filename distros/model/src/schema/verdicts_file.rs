//! Schema of a file of verdicts.

use super::{ApiVersion, Day, Version};
use crate::arch::Arch;
use crate::environment::Environment;
use crate::profile::Runtime;
use crate::verified::{Basis, Verdict, VerifiedCause};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// Verdicts on one Linux distro; never written by hand.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct VerdictsFile {
    /// The format's version.
    #[schemars(rename = "apiVersion")]
    api_version: Option<ApiVersion>,
    /// The distro, as its record names it.
    #[schemars(regex(pattern = r"^[a-z0-9._-]+$"))]
    distro: String,
    /// The results of each run.
    verified: Vec<Entry>,
}

/// The results of one run for a release, an architecture and a profile.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Entry {
    release: Version,
    arch: Arch,
    /// The profile: `rs-4.0`.
    profile: String,
    environment: Environment,
    basis: Basis,
    /// The day of the run, UTC.
    tested: Day,
    harness: Version,
    /// A digest of the required tests.
    test_set: Version,
    /// Whether the caller's keys, image or records vouched for the packages.
    shaped: Option<bool>,
    /// The Kata that was run, if the verdicts are about Kata itself.
    kata: Option<Kata>,
    /// Version of each component package.
    versions: Option<BTreeMap<String, Version>>,
    /// Verdicts by capability.
    #[schemars(extend("propertyNames" = capability_names()))]
    capabilities: BTreeMap<String, Judged>,
}

/// The Kata that was run.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Kata {
    version: Version,
    runtime: Runtime,
    /// Replacements of the distro's own components, by component.
    brought: Option<BTreeMap<String, String>>,
}

/// Returns the names in the capability table.
fn capability_names() -> serde_json::Value {
    let names: Vec<&str> = crate::capability::Capability::ALL.iter().map(|c| c.name()).collect();
    serde_json::json!({ "enum": names })
}

/// A verdict's word, or a map with details.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Judged {
    Word(Verdict),
    Map(JudgedMap),
}

/// A verdict with its causes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct JudgedMap {
    verdict: Verdict,
    /// Whether a required test failed before it passed, in a fresh guest of the same run.
    flaky: Option<bool>,
    causes: Option<Vec<VerifiedCause>>,
    workaround: Option<String>,
}
