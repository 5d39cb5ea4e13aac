//! Results that runs proved: the entries of `verified/DISTRO.yaml`, which are part of the distro's record.

mod answer;
mod cause;
mod decided;
mod decision;
mod decode;
mod evidence;
mod file;
mod forged;
mod kata;
mod key;
mod newest;
mod test_sets;
mod write;

pub use answer::{CanRun, CapabilityNames, RunAnswer};
pub use cause::VerifiedCause;
pub use decided::{EvidenceSummary, decided};
pub use decision::Decision;
pub use evidence::{Evidence, RunEvidence};
pub(crate) use file::lint;
pub use file::{FOLDER, VerifiedFile};
pub use forged::is_yet_to_come;
pub use kata::{VerifiedKata, joined, remove_overridden, remove_repeated_inapplicable};
pub use key::{Outdated, VerifiedKey, remove_outdated};
pub use newest::Measured;
pub use test_sets::{same_tests, test_set_of_today};
pub use write::{MAX_CAUSES, WriteError, apply, changed, outdated, write_file};

use crate::arch::Arch;
use crate::capability::Capability;
use crate::distro::ReleaseVersion;
use crate::environment::Environment;
use crate::package::{PackageName, PackageVersion};
use crate::profile::ProfileName;
use jiff::civil::Date;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Verdict on a capability under a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every required test ran and passed.
    Supported,
    /// It works with the named workaround.
    Partial,
    /// It is in a list, such as QEMU's list of devices; nothing has used it.
    Offered,
    /// It does not work; every independent cause is named.
    Unsupported,
    /// The profile does not have it.
    NotApplicable,
    /// A required test did not run.
    Untested,
    /// The evidence disagrees.
    Inconclusive,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: &'static [Verdict] = &[
        Verdict::Supported,
        Verdict::Partial,
        Verdict::Offered,
        Verdict::Unsupported,
        Verdict::NotApplicable,
        Verdict::Untested,
        Verdict::Inconclusive,
    ];

    /// Returns the verdicts that are possible if the profile has the capability.
    pub fn applicable() -> impl Iterator<Item = Verdict> {
        Verdict::ALL.iter().copied().filter(|verdict| *verdict != Verdict::NotApplicable)
    }

    /// Whether something was established, for or against the capability.
    pub fn is_decided(self) -> bool {
        matches!(self, Verdict::Supported | Verdict::Partial | Verdict::Offered | Verdict::Unsupported)
    }

    /// Whether every required test passed, at least when it was repeated; only such a verdict can be flaky.
    pub fn has_passed(self) -> bool {
        matches!(self, Verdict::Supported | Verdict::Partial | Verdict::Offered)
    }

    /// Whether the verdict counts against a Kata that needs the capability; a capability that is only offered was never
    /// used.
    pub fn is_against(self) -> bool {
        matches!(self, Verdict::Unsupported | Verdict::Offered)
    }

    /// Returns the word in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Supported => "supported",
            Verdict::Partial => "partial",
            Verdict::Offered => "offered",
            Verdict::Unsupported => "unsupported",
            Verdict::NotApplicable => "not-applicable",
            Verdict::Untested => "untested",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Basis of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Hardware virtualization.
    Hardware,
    /// QEMU's emulation (TCG), including nested KVM on top of it.
    Emulated,
}

impl Basis {
    /// Both bases.
    pub const ALL: &'static [Basis] = &[Basis::Hardware, Basis::Emulated];

    /// Returns the word in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Basis::Hardware => "hardware",
            Basis::Emulated => "emulated",
        }
    }

    /// Returns the word for people, marked if it is unknown whether the packages were the distro's own.
    pub fn marked(self, shaped: bool) -> String {
        format!("{}{}", self.name(), if shaped { " (shaped)" } else { "" })
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Results of one run for one release, architecture, profile and environment.
///
/// Several runs may have proved a part each: a capability occurs only once in the entries of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VerifiedEntry {
    /// The release's version: `13`.
    pub release: ReleaseVersion,
    /// The architecture.
    pub arch: Arch,
    /// The profile: `go-3.29`.
    pub profile: ProfileName,
    /// The environment of the run.
    pub environment: Environment,
    /// The basis of the verdicts.
    pub basis: Basis,
    /// The day of the run, UTC.
    pub tested: Date,
    /// The harness's version.
    pub harness: String,
    /// A digest of the tests that the catalogue required.
    pub test_set: String,
    /// Whether the caller's keys, image or records vouched for the packages, which may not be the distro's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shaped: bool,
    /// The Kata that was run, if the verdicts are about Kata itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kata: Option<VerifiedKata>,
    /// Version of each component package.
    pub versions: BTreeMap<PackageName, PackageVersion>,
    /// Verdicts by capability.
    pub capabilities: BTreeMap<Capability, VerifiedCapability>,
}

/// A capability's verdict with details.
///
/// Serialized as the verdict's word alone if there are no details, else as a map with `verdict`, `flaky`, `causes`,
/// `workaround`; both are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCapability {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether a required test failed before it passed, in a fresh guest of the same run.
    pub flaky: bool,
    /// Every independent cause; for a capability that could not be shown, the missing prerequisites.
    pub causes: Vec<VerifiedCause>,
    /// The workaround that makes the capability work.
    pub workaround: Option<String>,
}

/// Prefix of a workaround that consists of components in place of the distro's own.
pub const WITH_CANDIDATES: &str = "with candidates: ";

impl VerifiedCapability {
    /// Creates a verdict without details.
    pub fn plain(verdict: Verdict) -> Self {
        VerifiedCapability { verdict, flaky: false, causes: Vec::new(), workaround: None }
    }

    /// Returns the causes that are failures: a capability that could not be shown, or does not exist, has not failed.
    pub fn failures(&self) -> &[VerifiedCause] {
        match self.verdict {
            Verdict::Untested | Verdict::NotApplicable => &[],
            Verdict::Supported | Verdict::Partial | Verdict::Offered | Verdict::Unsupported | Verdict::Inconclusive => {
                &self.causes
            }
        }
    }

    /// Returns the verdict in words: `supported`, `supported, flaky`.
    pub fn words(&self) -> String {
        format!("{}{}", self.verdict, if self.flaky { ", flaky" } else { "" })
    }

    /// Whether there are no details.
    fn is_plain(&self) -> bool {
        !self.flaky && self.causes.is_empty() && self.workaround.is_none()
    }
}

impl Serialize for VerifiedCapability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_plain() {
            return self.verdict.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("verdict", &self.verdict)?;
        if self.flaky {
            map.serialize_entry("flaky", &true)?;
        }
        if !self.causes.is_empty() {
            map.serialize_entry("causes", &self.causes)?;
        }
        if let Some(workaround) = &self.workaround {
            map.serialize_entry("workaround", workaround)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for VerifiedCapability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;
        impl<'de> Visitor<'de> for WordOrMap {
            type Value = VerifiedCapability;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a verdict's word, or a map with `verdict`, `flaky`, `causes`, `workaround`")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
                let found = Verdict::ALL.iter().find(|v| v.name() == word);
                found
                    .map(|v| VerifiedCapability::plain(*v))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(word), &self))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut verdict, mut flaky, mut causes, mut workaround) = (None, false, Vec::new(), None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "verdict" => verdict = Some(map.next_value()?),
                        "flaky" => flaky = map.next_value()?,
                        "causes" => causes = map.next_value()?,
                        "workaround" => workaround = map.next_value()?,
                        other => {
                            let known = &["verdict", "flaky", "causes", "workaround"];
                            return Err(de::Error::unknown_field(other, known));
                        }
                    }
                }
                Ok(VerifiedCapability {
                    verdict: verdict.ok_or_else(|| de::Error::missing_field("verdict"))?,
                    flaky,
                    causes,
                    workaround,
                })
            }
        }
        deserializer.deserialize_any(WordOrMap)
    }
}

/// Returns the verdict that counts among those of several environments on one capability of the same packages: of the
/// decided ones, the verdict of the environment that shows most.
pub fn decisive(verdicts: impl IntoIterator<Item = (Environment, Verdict)>) -> Option<(Environment, Verdict)> {
    verdicts.into_iter().filter(|(_, verdict)| verdict.is_decided()).max_by_key(|(environment, _)| *environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_serializes_as_a_word_or_a_map() {
        let plain = VerifiedCapability::plain(Verdict::NotApplicable);
        assert_eq!(serde_json::to_string(&plain).unwrap(), "\"not-applicable\"");
        let full = VerifiedCapability {
            verdict: Verdict::Partial,
            flaky: true,
            causes: vec![VerifiedCause::of_nobody("slow")],
            workaround: Some("wait".into()),
        };
        assert_eq!((plain.words().as_str(), full.words().as_str()), ("not-applicable", "partial, flaky"));
        for capability in [plain, full] {
            let text = serde_json::to_string(&capability).unwrap();
            assert_eq!(serde_json::from_str::<VerifiedCapability>(&text).unwrap(), capability);
        }
        let error = serde_json::from_str::<VerifiedCapability>("\"suported\"").unwrap_err();
        assert!(error.to_string().contains("a verdict's word"), "{error}");
        let error = serde_json::from_str::<VerifiedCapability>("{\"cause\":1}").unwrap_err();
        assert!(error.to_string().contains("`causes`"), "{error}");
    }

    #[test]
    fn untested_and_not_applicable_count_as_no_failure() {
        let failures = |verdict| {
            let causes = vec![VerifiedCause::new(crate::component::Component::Qemu, "no q35")];
            VerifiedCapability { causes, ..VerifiedCapability::plain(verdict) }.failures().len()
        };
        assert_eq!(failures(Verdict::Unsupported), 1);
        assert_eq!((failures(Verdict::Untested), failures(Verdict::NotApplicable)), (0, 0));
    }
}
