//! Facts of a record: a value, how well it is known, and where it stands.

use crate::arch::Arch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// How well a fact is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Nobody checked.
    Assumed,
    /// The distro's documentation says so.
    Documented,
    /// Read from the distro's packages or their sources.
    Packaging,
    /// Seen on a running system of the release.
    Measured,
}

impl Confidence {
    /// All of them, the weakest first.
    pub const ALL: &'static [Confidence] =
        &[Confidence::Assumed, Confidence::Documented, Confidence::Packaging, Confidence::Measured];

    /// The word in a record.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Assumed => "assumed",
            Confidence::Documented => "documented",
            Confidence::Packaging => "packaging",
            Confidence::Measured => "measured",
        }
    }
}

/// One fact: a value, or the explicit `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<T> {
    /// The value; `None` where the record says `unknown`.
    pub value: Option<T>,
    /// How well it is known.
    pub confidence: Confidence,
    /// Where it stands in the file.
    pub span: Range<usize>,
    /// Which of the record's sources the file is.
    pub source: usize,
}

/// A fact's value, where it is stated and known.
pub fn known<T>(fact: &Option<Fact<T>>) -> Option<&T> {
    fact.as_ref().and_then(|fact| fact.value.as_ref())
}

/// A value for all architectures, or one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PerArch<T> {
    /// The same everywhere.
    All(T),
    /// By architecture: `None` is the record's `unknown`, and one that is missing has none.
    Each(BTreeMap<Arch, Option<T>>),
}

impl<T> PerArch<T> {
    /// The value for one architecture.
    pub fn get(&self, arch: Arch) -> Option<&T> {
        match self {
            PerArch::All(value) => Some(value),
            PerArch::Each(map) => map.get(&arch)?.as_ref(),
        }
    }

    /// Whether anything is stated for one architecture, also if it is that nobody knows.
    pub fn states(&self, arch: Arch) -> bool {
        match self {
            PerArch::All(_) => true,
            PerArch::Each(map) => map.contains_key(&arch),
        }
    }

    /// All values.
    pub fn values(&self) -> Vec<&T> {
        match self {
            PerArch::All(value) => vec![value],
            PerArch::Each(map) => map.values().flatten().collect(),
        }
    }
}
