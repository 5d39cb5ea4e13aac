//! Keys of entries, and the precedence among runs with the same key.

use super::{Verdict, VerifiedCapability, VerifiedEntry};
use crate::arch::Arch;
use crate::capability::Capability;
use crate::component::Component;
use crate::distro::ReleaseVersion;
use crate::environment::Environment;
use crate::profile::ProfileName;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// Key of an entry.
///
/// Results with packages or components that the caller supplied do not replace results with the distro's own. For
/// supplied components, the component belongs to the key but its version does not, just as the versions of the distro's
/// packages do not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifiedKey<'e> {
    release: &'e ReleaseVersion,
    arch: Arch,
    profile: &'e ProfileName,
    environment: Environment,
    shaped: bool,
    supplied: BTreeSet<Component>,
}

impl VerifiedEntry {
    /// Returns the entry's key: a new entry with the same key takes over its capabilities.
    pub fn key(&self) -> VerifiedKey<'_> {
        VerifiedKey {
            release: &self.release,
            arch: self.arch,
            profile: &self.profile,
            environment: self.environment,
            shaped: self.shaped,
            supplied: self.supplied_components(),
        }
    }

    /// Returns the components that were replaced by supplied ones.
    pub fn supplied_components(&self) -> BTreeSet<Component> {
        self.kata.iter().flat_map(|kata| kata.brought.keys().copied()).collect()
    }
}

/// Results of an older run that a later run's verdicts supersede.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// The release's version.
    pub release: ReleaseVersion,
    /// The architecture.
    pub arch: Arch,
    /// The profile.
    pub profile: ProfileName,
    /// The environment of the runs.
    pub environment: Environment,
    /// The day of the later run.
    pub day: Date,
    /// The capabilities that the later run judged; never empty.
    pub capabilities: Vec<Capability>,
}

/// Removes from new entries the capabilities that known entries judged on a later day, and returns them: an older run
/// does not replace verdicts of a newer one. A run of the same day does, so that a repeated run replaces the first.
///
/// A capability that the later run could not show is a gap that the older run fills. "Not applicable" is not a verdict,
/// and is removed silently.
pub fn remove_outdated(known: &[VerifiedEntry], new: &mut Vec<VerifiedEntry>) -> Vec<Outdated> {
    let mut later: BTreeMap<(VerifiedKey<'_>, Capability), (Date, Verdict)> = BTreeMap::new();
    for entry in known {
        let capabilities = entry.capabilities.iter();
        later.extend(
            capabilities.map(|(capability, result)| ((entry.key(), *capability), (entry.tested, result.verdict))),
        );
    }
    let judged_later = |entry: &VerifiedEntry, capability: Capability, result: &VerifiedCapability| {
        let (day, verdict) = later.get(&(entry.key(), capability)).copied()?;
        let fills_a_gap = verdict == Verdict::Untested && result.verdict.is_decided();
        (day > entry.tested && !fills_a_gap).then_some(day)
    };
    let mut outdated = Vec::new();
    for entry in new.iter() {
        let mut by_day: BTreeMap<Date, Vec<Capability>> = BTreeMap::new();
        for (capability, result) in &entry.capabilities {
            if let Some(day) =
                judged_later(entry, *capability, result).filter(|_| result.verdict != Verdict::NotApplicable)
            {
                by_day.entry(day).or_default().push(*capability);
            }
        }
        outdated.extend(by_day.into_iter().map(|(day, capabilities)| Outdated {
            release: entry.release.clone(),
            arch: entry.arch,
            profile: entry.profile.clone(),
            environment: entry.environment,
            day,
            capabilities,
        }));
    }
    retain(new, |entry, capability, result| judged_later(entry, capability, result).is_none());
    outdated
}

/// Removes capabilities from entries; an entry that loses its last one is removed, too.
pub(super) fn retain(
    entries: &mut Vec<VerifiedEntry>,
    keep: impl Fn(&VerifiedEntry, Capability, &VerifiedCapability) -> bool,
) {
    entries.retain_mut(|entry| {
        let removed = entry.capabilities.iter().filter(|(capability, result)| !keep(entry, **capability, result));
        let removed: Vec<Capability> = removed.map(|(capability, _)| *capability).collect();
        for capability in &removed {
            entry.capabilities.remove(capability);
        }
        removed.is_empty() || !entry.capabilities.is_empty()
    });
}

/// Returns the capabilities of entries, each with its key.
pub(super) fn capability_keys(entries: &[VerifiedEntry]) -> BTreeSet<(VerifiedKey<'_>, Capability)> {
    let mut all = BTreeSet::new();
    for entry in entries {
        all.extend(entry.capabilities.keys().map(|capability| (entry.key(), *capability)));
    }
    all
}
