//! Where an entry belongs, and which of several runs has the word there.

use super::{Verdict, VerifiedCapability, VerifiedEntry};
use crate::arch::Arch;
use crate::capability::Capability;
use crate::component::Component;
use crate::distro::ReleaseVersion;
use crate::environment::Environment;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// Where an entry belongs.
///
/// What a caller vouched for, or brought along, says nothing of the distro's own packages, so that it takes no place of
/// theirs. Of what was brought along the component counts and not its version, as the distro's versions do not count either.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifiedKey<'e> {
    release: &'e ReleaseVersion,
    arch: Arch,
    profile: &'e str,
    environment: Environment,
    shaped: bool,
    brought: BTreeSet<Component>,
}

impl VerifiedEntry {
    /// Where it belongs: a new entry with the same key takes its capabilities over.
    pub fn key(&self) -> VerifiedKey<'_> {
        VerifiedKey {
            release: &self.release,
            arch: self.arch,
            profile: &self.profile,
            environment: self.environment,
            shaped: self.shaped,
            brought: self.brought(),
        }
    }

    /// The components whose place something took that was brought along.
    pub fn brought(&self) -> BTreeSet<Component> {
        self.kata.iter().flat_map(|kata| kata.brought.keys().copied()).collect()
    }
}

/// What stays as a later run judged it, out of one entry of an older run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// The release's version.
    pub release: ReleaseVersion,
    /// The architecture.
    pub arch: Arch,
    /// The profile.
    pub profile: String,
    /// Where the release was brought up.
    pub environment: Environment,
    /// The day of the later run.
    pub day: Date,
    /// What it judged; never empty.
    pub capabilities: Vec<Capability>,
}

/// Takes out of new entries what known ones say of a later day, and says what that is: an older run takes no verdict of a
/// newer one away. A run of the same day does, so that one that is made again replaces the first.
///
/// What the later run could not show is a gap that the older one fills. What is not applicable is no verdict, and is left
/// without a word.
pub fn leave_newer(known: &[VerifiedEntry], new: &mut Vec<VerifiedEntry>) -> Vec<Outdated> {
    let mut later: BTreeMap<(VerifiedKey<'_>, Capability), (Date, Verdict)> = BTreeMap::new();
    for entry in known {
        let said = entry.capabilities.iter();
        later.extend(said.map(|(capability, said)| ((entry.key(), *capability), (entry.tested, said.verdict))));
    }
    let judged_later = |entry: &VerifiedEntry, capability: Capability, said: &VerifiedCapability| {
        let (day, verdict) = later.get(&(entry.key(), capability)).copied()?;
        let fills_a_gap = verdict == Verdict::Untested && said.verdict.is_decided();
        (day > entry.tested && !fills_a_gap).then_some(day)
    };
    let mut left = Vec::new();
    for entry in new.iter() {
        let mut by_day: BTreeMap<Date, Vec<Capability>> = BTreeMap::new();
        for (capability, said) in &entry.capabilities {
            if let Some(day) = judged_later(entry, *capability, said).filter(|_| said.verdict != Verdict::NotApplicable)
            {
                by_day.entry(day).or_default().push(*capability);
            }
        }
        left.extend(by_day.into_iter().map(|(day, capabilities)| Outdated {
            release: entry.release.clone(),
            arch: entry.arch,
            profile: entry.profile.clone(),
            environment: entry.environment,
            day,
            capabilities,
        }));
    }
    retain(new, |entry, capability, said| judged_later(entry, capability, said).is_none());
    left
}

/// Takes capabilities out of entries; an entry that loses its last one goes along.
pub(super) fn retain(
    entries: &mut Vec<VerifiedEntry>,
    stays: impl Fn(&VerifiedEntry, Capability, &VerifiedCapability) -> bool,
) {
    entries.retain_mut(|entry| {
        let goes = entry.capabilities.iter().filter(|(capability, said)| !stays(entry, **capability, said));
        let goes: Vec<Capability> = goes.map(|(capability, _)| *capability).collect();
        for capability in &goes {
            entry.capabilities.remove(capability);
        }
        goes.is_empty() || !entry.capabilities.is_empty()
    });
}

/// What entries have, each with where it belongs.
pub(super) fn places(entries: &[VerifiedEntry]) -> BTreeSet<(VerifiedKey<'_>, Capability)> {
    let mut all = BTreeSet::new();
    for entry in entries {
        all.extend(entry.capabilities.keys().map(|capability| (entry.key(), *capability)));
    }
    all
}
