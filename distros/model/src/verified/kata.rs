//! The Kata that was run, and the merging of entries of one key.

use super::key::{capability_keys, retain};
use super::{Verdict, VerifiedCapability, VerifiedEntry};
use crate::capability::Capability;
use crate::component::Component;
use crate::kata_version::KataVersion;
use crate::profile::Runtime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The Kata that an entry's results are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VerifiedKata {
    /// Its version.
    pub version: KataVersion,
    /// Its runtime.
    pub runtime: Runtime,
    /// Replacements of the distro's own components, in words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub brought: BTreeMap<Component, String>,
}

/// Merges entries of one key that rest on the same basis and versions: a run that judges only some capabilities leaves
/// the rest to the entry of an older run.
///
/// The merged entry has the oldest day, and the harness and the set of tests of that day.
pub fn joined<'e>(entries: impl IntoIterator<Item = &'e VerifiedEntry>) -> Vec<VerifiedEntry> {
    let mut all: Vec<VerifiedEntry> = Vec::new();
    for entry in entries {
        let has_same_basis = |known: &&mut VerifiedEntry| {
            (known.key(), known.basis) == (entry.key(), entry.basis) && known.versions == entry.versions
        };
        match all.iter_mut().find(has_same_basis) {
            Some(known) => {
                if entry.tested < known.tested {
                    known.tested = entry.tested;
                    known.harness.clone_from(&entry.harness);
                    known.test_set.clone_from(&entry.test_set);
                }
                known.kata = known.kata.take().or_else(|| entry.kata.clone());
                for (capability, result) in &entry.capabilities {
                    known.capabilities.entry(*capability).or_insert_with(|| result.clone());
                }
            }
            None => all.push(entry.clone()),
        }
    }
    all
}

/// Removes from entries the capabilities that higher entries with the same key have; the rest stays.
pub fn remove_overridden(below: &mut Vec<VerifiedEntry>, above: &[VerifiedEntry]) {
    let replaced = capability_keys(above);
    retain(below, |entry, capability, _| !replaced.contains(&(entry.key(), capability)));
}

/// Removes "not applicable" rows from new entries if an older entry keeps them: they are not verdicts and do not depend
/// on the packages of a later run. They move to the new entry if the older one has no verdict left.
pub fn remove_repeated_inapplicable(old: &[VerifiedEntry], new: &mut Vec<VerifiedEntry>) {
    let judged_by_new = capability_keys(new);
    let mut kept_by_old = BTreeSet::new();
    for entry in old {
        let is_verdict = |(_, result): &(&Capability, &VerifiedCapability)| result.verdict != Verdict::NotApplicable;
        let mut verdicts = entry.capabilities.iter().filter(is_verdict);
        if verdicts.any(|(capability, _)| !judged_by_new.contains(&(entry.key(), *capability))) {
            let rows = entry.capabilities.iter().filter(|row| !is_verdict(row));
            kept_by_old.extend(rows.map(|(capability, _)| (entry.key(), *capability)));
        }
    }
    retain(new, |entry, capability, result| {
        result.verdict != Verdict::NotApplicable || !kept_by_old.contains(&(entry.key(), capability))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    #[test]
    fn entries_about_the_same_packages_are_joined() {
        let database = Database::embedded();
        let older = database.records().flat_map(|record| &record.verified).next().unwrap().clone();
        let boot = |verdict| BTreeMap::from([(Capability::VmmBoot, VerifiedCapability::plain(verdict))]);
        let older = VerifiedEntry { capabilities: boot(Verdict::Supported), ..older };
        let vsock = BTreeMap::from([(Capability::VmmVsock, VerifiedCapability::plain(Verdict::Supported))]);
        let newer = VerifiedEntry { tested: older.tested.tomorrow().unwrap(), capabilities: vsock, ..older.clone() };
        let older = VerifiedEntry { harness: "0.0.1".to_owned(), test_set: "older".to_owned(), ..older };
        for both in [[&newer, &older], [&older, &newer]] {
            let one = joined(both);
            assert_eq!((one.len(), one[0].capabilities.len(), one[0].tested), (1, 2, older.tested));
            assert_eq!((one[0].harness.as_str(), one[0].test_set.as_str()), ("0.0.1", "older"));
            assert!(one[0].is_by_older_tests());
        }
        let mut other = newer.clone();
        other.versions.clear();
        assert_eq!(joined([&other, &older]).len(), 2, "they are of other packages");
    }

    /// "Not applicable" rows depend neither on the hardware nor on the packages of a later run.
    #[test]
    fn an_unchanged_not_applicable_verdict_stays_in_the_older_entry() {
        use Verdict::{NotApplicable, Supported, Unsupported};
        let database = Database::embedded();
        let shipped = database.records().flat_map(|record| &record.verified).next().unwrap();
        let of = |verdicts: &[(Capability, Verdict)]| VerifiedEntry {
            capabilities: verdicts.iter().map(|(c, verdict)| (*c, VerifiedCapability::plain(*verdict))).collect(),
            ..shipped.clone()
        };
        let (boot, vsock, runc) = (Capability::VmmBoot, Capability::VmmVsock, Capability::ContainersRunc);
        let old = [of(&[(boot, Supported), (vsock, Supported), (runc, NotApplicable)])];
        let remaining = |new: &VerifiedEntry| {
            let mut new = vec![new.clone()];
            remove_repeated_inapplicable(&old, &mut new);
            new
        };
        assert_eq!(remaining(&of(&[(boot, Unsupported), (runc, NotApplicable)])), [of(&[(boot, Unsupported)])]);
        assert_eq!(remaining(&of(&[(runc, NotApplicable)])), []);
        // A row that changed from a verdict to "not applicable" is reported, and so is one that would otherwise be left
        // alone.
        let now = of(&[(boot, NotApplicable)]);
        assert_eq!(remaining(&now), std::slice::from_ref(&now));
        let whole = of(&[(boot, Supported), (vsock, Unsupported), (runc, NotApplicable)]);
        assert_eq!(remaining(&whole), std::slice::from_ref(&whole));
        let elsewhere = VerifiedEntry { profile: "another".parse().unwrap(), ..of(&[(runc, NotApplicable)]) };
        assert_eq!(remaining(&elsewhere), std::slice::from_ref(&elsewhere));
    }

    /// A layer, or a run, with a part of the capabilities hides no more than that part.
    #[test]
    fn a_higher_entry_replaces_only_its_own_capabilities() {
        let database = Database::embedded();
        let shipped = database.records().flat_map(|record| &record.verified).next().unwrap();
        let boot = VerifiedCapability::plain(Verdict::Unsupported);
        let part = |profile: &str| VerifiedEntry {
            profile: profile.parse().unwrap(),
            capabilities: BTreeMap::from([(Capability::VmmBoot, boot.clone())]),
            ..shipped.clone()
        };
        let mut below = vec![shipped.clone()];
        remove_overridden(&mut below, &[part("another")]);
        assert_eq!(below, std::slice::from_ref(shipped));
        remove_overridden(&mut below, &[part(&shipped.profile)]);
        assert_eq!(below[0].capabilities.len(), shipped.capabilities.len() - 1);
        assert!(!below[0].capabilities.contains_key(&Capability::VmmBoot));
        let mut whole = vec![part(&shipped.profile)];
        remove_overridden(&mut whole, std::slice::from_ref(shipped));
        assert_eq!(whole, []);
    }
}
