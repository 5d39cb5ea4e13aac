//! Whether Kata can run on a release according to its whole record, in one line per profile.
//!
//! The decision is that of the reports ([`RunEvidence::decide`]).

use jiff::civil::Date;
use model::environment::Environment;
use model::package_manager::PackageManager;
use model::profile::Profile;
use model::verified::{CanRun, CapabilityNames, RunEvidence, VerifiedEntry};
use std::collections::BTreeMap;

/// Answer to whether Kata can run, as far as the record knows.
pub(super) struct Answer<'e> {
    /// For example `yes, all 12 (emulated, container 2026-11-30, vm 2026-11-29)`, or
    /// `not known yet: incomplete, 7 of 12 (vmm.vsock, vmm.net, vmm.hotplug.cpu and 2 more)`.
    pub(super) words: String,
    /// The entries that support the answer.
    pub(super) rests_on: Vec<&'e VerifiedEntry>,
}

/// Answers for a profile from the entries of a release. Shaped entries are ignored, because the origin of their
/// packages is unknown.
pub(super) fn answer<'e>(entries: &'e [VerifiedEntry], profile: &Profile, manager: PackageManager) -> Answer<'e> {
    let own: Vec<&'e VerifiedEntry> = entries.iter().filter(|entry| !entry.shaped).collect();
    let evidence = RunEvidence::of_record(&own, profile, Some(manager));
    let decision = evidence.decide();
    let rests_on: Vec<&'e VerifiedEntry> = decision.rests_on().map(|one| one.source).collect();
    // A yes is as old as the oldest run behind it; a no has the day of the latest failure.
    let day: fn(Date, Date) -> Date = if decision.answer.can_run() == CanRun::No { Ord::max } else { Ord::min };
    let words = decision.answer.words(CapabilityNames::Full);
    Answer { words: format!("{words}{}", evidence_text(&rests_on, day)), rests_on }
}

/// Formats ` (emulated, container 2026-11-30, vm 2026-11-29)`: the weaker basis, and each environment with the day that
/// `which` selects.
fn evidence_text(entries: &[&VerifiedEntry], which: fn(Date, Date) -> Date) -> String {
    let Some(basis) = entries.iter().map(|entry| entry.basis).max() else { return String::new() };
    let mut days: BTreeMap<Environment, Date> = BTreeMap::new();
    for entry in entries {
        days.entry(entry.environment).and_modify(|day| *day = which(*day, entry.tested)).or_insert(entry.tested);
    }
    let days: Vec<String> = days.iter().map(|(environment, day)| format!("{environment} {day}")).collect();
    format!(" ({basis}, {})", days.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::recorded::tests::entry;
    use super::*;
    use jiff::civil::date;
    use model::capability::Capability;
    use model::verified::{Verdict, VerifiedCapability};

    const VSOCK: Capability = Capability::VmmVsock;
    const NET: Capability = Capability::VmmNet;

    fn words(entries: &[VerifiedEntry]) -> String {
        answer(entries, Profile::find("go-3.32").unwrap(), PackageManager::Apt).words
    }

    /// Returns an entry of a virtual machine, from the day before the container's, with this verdict on the
    /// capabilities that the container lacks.
    fn machine(verdict: Verdict, version: &str) -> VerifiedEntry {
        let both = [VSOCK, NET].map(|capability| (capability, VerifiedCapability::plain(verdict)));
        VerifiedEntry {
            environment: Environment::Vm,
            tested: date(2026, 11, 18),
            versions: [("qemu".parse().unwrap(), version.parse().unwrap())].into(),
            capabilities: both.into(),
            ..entry(&[])
        }
    }

    /// The line answers first whether Kata can run, instead of only counting capabilities.
    #[test]
    fn a_profile_has_one_answer() {
        let count = Profile::find("go-3.32").unwrap().needs().count();
        let by = "(emulated, container 2026-11-19)";
        assert_eq!(words(&[entry(&[])]), format!("yes, all {count} {by}"));
        let part = (NET, Some(Verdict::Partial));
        assert_eq!(words(&[entry(&[part])]), format!("yes with a workaround {by}"));
        let mut named = entry(&[part]);
        let net = named.capabilities.get_mut(&NET).unwrap();
        net.workaround = Some("with candidates: qemu mine (sha256 0123)".to_owned());
        assert_eq!(words(&[named]), format!("yes with qemu mine (sha256 0123) {by}"));
        let nvdimm = (Capability::VmmImageNvdimm, Some(Verdict::Unsupported));
        assert_eq!(words(&[entry(&[nvdimm])]), format!("yes, all {count}; optional: no vmm.image.nvdimm {by}"));
        let (no, unknown) = ((Capability::VmmQmp, Some(Verdict::Unsupported)), (VSOCK, None));
        assert_eq!(words(&[entry(&[no, unknown])]), format!("no: vmm.qmp (qemu); not known: vmm.vsock {by}"));
        let less = format!("not known yet: incomplete, {} of {count} (vmm.vsock, vmm.net) {by}", count - 2);
        assert_eq!(words(&[entry(&[unknown, (NET, Some(Verdict::Untested))])]), less);
        let nothing = words(&[]);
        assert!(
            nothing.starts_with(&format!("not known yet: incomplete, 0 of {count} (packages.install, ")),
            "{nothing}"
        );
        assert!(nothing.ends_with(" more)"), "{nothing}");
        assert_eq!(words(&[VerifiedEntry { shaped: true, ..entry(&[]) }]), nothing, "of nobody knows whose packages");
        let older = VerifiedEntry { test_set: String::new(), ..entry(&[]) };
        assert!(words(&[older]).starts_with(&format!("yes, all {count}; by older tests: all {count}")));
    }

    /// A container shows most capabilities, and a machine those that a container cannot show.
    #[test]
    fn results_of_several_environments_are_combined() {
        let count = Profile::find("go-3.32").unwrap().needs().count();
        let container = entry(&[(VSOCK, None), (NET, None)]);
        let both = [container.clone(), machine(Verdict::Supported, "1-1")];
        let yes = format!("yes, all {count} (emulated, container 2026-11-19, vm 2026-11-18)");
        assert_eq!(words(&both), yes);
        assert_eq!(answer(&both, Profile::find("go-3.32").unwrap(), PackageManager::Apt).rests_on.len(), count);
        let no = words(&[container.clone(), machine(Verdict::Unsupported, "1-1")]);
        assert_eq!(no, "no: vmm.vsock, vmm.net (emulated, vm 2026-11-18)");
        // A later failure of the container stands against the machine's pass.
        let failing = entry(&[(VSOCK, Some(Verdict::Unsupported))]);
        let no = words(&[failing.clone(), machine(Verdict::Supported, "1-1")]);
        assert_eq!(no, "no: vmm.vsock (qemu) (emulated, container 2026-11-19)");
        let later = VerifiedEntry { tested: date(2026, 11, 20), ..machine(Verdict::Supported, "1-1") };
        assert!(words(&[failing, later]).starts_with(&format!("yes, all {count} ")));
        // A pass with older packages proves nothing, and a failure with them stands.
        let outdated = words(&[container.clone(), machine(Verdict::Supported, "1-0")]);
        let expected =
            format!("not known yet with these packages: incomplete, {} of {count} (vmm.vsock, vmm.net)", count - 2);
        assert_eq!(outdated, format!("{expected} (emulated, container 2026-11-19)"));
        assert!(words(&[container, machine(Verdict::Unsupported, "1-0")]).starts_with("no: vmm.vsock, vmm.net "));
        assert_eq!(
            words(&[entry(&[]), machine(Verdict::Unsupported, "1-0")]),
            format!("yes, all {count} (emulated, container 2026-11-19)")
        );
    }
}
