//! Facts of a record: a value, its confidence, and its place in the file.

use crate::arch::Arch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Confidence of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Nobody has checked the fact.
    Assumed,
    /// According to the distro's documentation.
    Documented,
    /// Read from the distro's packages or their sources.
    Packaging,
    /// Seen on a running system of the release.
    Measured,
}

impl Confidence {
    /// All levels, the weakest first.
    pub const ALL: &'static [Confidence] =
        &[Confidence::Assumed, Confidence::Documented, Confidence::Packaging, Confidence::Measured];

    /// Returns the word in a record.
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
    /// The value; `None` if the record says `unknown`.
    pub value: Option<T>,
    /// The confidence.
    pub confidence: Confidence,
    /// The place in the file.
    pub span: Range<usize>,
    /// Index of the file among the record's sources.
    pub source: usize,
}

/// Returns a fact's value, if it is stated and known.
pub fn known<T>(fact: &Option<Fact<T>>) -> Option<&T> {
    fact.as_ref().and_then(|fact| fact.value.as_ref())
}

/// A value for all architectures, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PerArch<T> {
    /// The same value for all architectures.
    All(T),
    /// Values by architecture: `None` is the record's `unknown`; for a missing architecture nothing is stated.
    Each(BTreeMap<Arch, Option<T>>),
}

impl<T> PerArch<T> {
    /// Returns the value for one architecture.
    pub fn get(&self, arch: Arch) -> Option<&T> {
        match self {
            PerArch::All(value) => Some(value),
            PerArch::Each(map) => map.get(&arch)?.as_ref(),
        }
    }

    /// Whether anything is stated for one architecture, be it `unknown`.
    pub fn states(&self, arch: Arch) -> bool {
        match self {
            PerArch::All(_) => true,
            PerArch::Each(map) => map.contains_key(&arch),
        }
    }

    /// Returns all values.
    pub fn values(&self) -> Vec<&T> {
        match self {
            PerArch::All(value) => vec![value],
            PerArch::Each(map) => map.values().flatten().collect(),
        }
    }
}
