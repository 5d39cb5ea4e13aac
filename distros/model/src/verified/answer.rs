//! Words of the answer to a reader's first question: can Kata run here?
//!
//! Who answers decides what counts as evidence; the decision ([`RunEvidence::decide`](super::RunEvidence::decide)) and
//! the words are the same for all: a run's reports, the matrix, the site, and `kata-osinfo show`.

use crate::capability::Capability;
use crate::component::Component;
use std::collections::BTreeSet;

/// Most capabilities that are named in full; the others are counted.
const MOST_NAMED: usize = 3;

/// How an answer names capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapabilityNames {
    /// All, by the heads of their columns: `vsock`.
    Short,
    /// The first ones, by the names that commands take: `vmm.vsock`.
    Full,
}

impl CapabilityNames {
    fn of(self, capability: Capability) -> &'static str {
        match self {
            CapabilityNames::Short => capability.short(),
            CapabilityNames::Full => capability.name(),
        }
    }

    fn list<T>(self, all: &[T], name: impl Fn(&T) -> String) -> String {
        let most = match self {
            CapabilityNames::Short => all.len(),
            CapabilityNames::Full => MOST_NAMED,
        };
        let named: Vec<String> = all.iter().take(most).map(name).collect();
        match all.len().saturating_sub(most) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

/// Whether the Kata versions of a profile can run on a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanRun {
    /// Everything that Kata needs is supported.
    Yes,
    /// Everything that Kata needs is supported with components in place of the release's own.
    With,
    /// Something that Kata needs is not supported.
    No,
    /// Nothing is known to fail, but not everything is known.
    NotKnown,
}

/// Answer to whether the Kata versions of a profile can run on a release, with its details.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAnswer {
    /// How many capabilities Kata needs.
    pub needed: usize,
    /// How many of them are supported, be it with a component in place of the release's own.
    pub supported: usize,
    /// Those that are not supported, each with the components that it blames.
    pub against: Vec<(Capability, BTreeSet<Component>)>,
    /// Those of which nothing is known with the newest packages that were measured.
    pub missing: Vec<Capability>,
    /// The missing ones that worked with other packages, which says nothing about these.
    pub outdated: Vec<Capability>,
    /// The components in place of the release's own.
    pub with: BTreeSet<String>,
    /// Those that only older tests showed to be supported.
    pub older_tests: Vec<Capability>,
    /// Capabilities of the overview that Kata does not need, and that are not supported.
    pub optional: Vec<Capability>,
}

impl RunAnswer {
    /// Returns the answer without its details.
    pub fn can_run(&self) -> CanRun {
        match (self.against.is_empty(), self.missing.is_empty() && self.needed > 0, self.with.is_empty()) {
            (false, _, _) => CanRun::No,
            (true, false, _) => CanRun::NotKnown,
            (true, true, false) => CanRun::With,
            (true, true, true) => CanRun::Yes,
        }
    }

    /// Formats the answer: `yes, all 8`, `yes, all 8; optional: no image.nvdimm`, `yes with qemu mine`,
    /// `yes, all 8; by older tests: vsock, net`, or if that is more than half, `yes, all 8; by older tests: 5 of 8`,
    /// `no: virtio-fs (virtiofsd)`, `not known yet: incomplete, 6 of 8 (vsock, net)`, or, if missing capabilities
    /// worked with other packages, `not known yet with these packages: …`.
    pub fn words(&self, names: CapabilityNames) -> String {
        let list = |all: &[Capability]| names.list(all, |capability| names.of(*capability).to_owned());
        let after = |words: &str, all: &[Capability]| match all.is_empty() {
            true => String::new(),
            false => format!("{words}{}", list(all)),
        };
        let with_these = if self.outdated.is_empty() { "" } else { " with these packages" };
        let yes = match self.can_run() {
            CanRun::No => {
                let against = names.list(&self.against, |(capability, blamed)| blaming(names.of(*capability), blamed));
                return format!("no: {against}{}", after(&format!("; not known{with_these}: "), &self.missing));
            }
            CanRun::NotKnown if self.needed == 0 => return format!("not known yet{with_these}: nothing was tested"),
            CanRun::NotKnown => {
                let (supported, needed, missing) = (self.supported, self.needed, list(&self.missing));
                return format!("not known yet{with_these}: incomplete, {supported} of {needed} ({missing})");
            }
            CanRun::With => {
                let with: Vec<&str> = self.with.iter().map(String::as_str).collect();
                format!("yes with {}", with.join("; "))
            }
            CanRun::Yes => format!("yes, all {}", self.needed),
        };
        // If most are shown by older tests, which ones says less than how many.
        let older = match self.older_tests.len() {
            older if older == self.needed => format!("; by older tests: all {older}"),
            older if older > self.needed / 2 => format!("; by older tests: {older} of {}", self.needed),
            _ => after("; by older tests: ", &self.older_tests),
        };
        format!("{yes}{older}{}", after("; optional: no ", &self.optional))
    }
}

/// Formats a capability with the components that it blames: `virtio-fs (virtiofsd)`.
fn blaming(capability: &str, blamed: &BTreeSet<Component>) -> String {
    let names: Vec<&str> = blamed.iter().map(|component| component.name()).collect();
    if names.is_empty() { capability.to_owned() } else { format!("{capability} ({})", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Capability::{VmmBoot, VmmHotplugCpu, VmmImageNvdimm, VmmNet, VmmQmp, VmmVsock};

    #[test]
    fn there_are_four_answers() {
        let yes = RunAnswer { needed: 8, supported: 8, ..RunAnswer::default() };
        let missing = RunAnswer { supported: 6, missing: vec![VmmVsock, VmmNet], ..yes.clone() };
        let blamed = BTreeSet::from([Component::Qemu, Component::Kernel]);
        let against = vec![(VmmVsock, blamed), (VmmNet, BTreeSet::new())];
        let no = RunAnswer { supported: 5, against, missing: vec![VmmQmp], ..yes.clone() };
        let with = RunAnswer { with: ["qemu mine", "virtiofsd 1.13.3"].map(str::to_owned).into(), ..yes.clone() };
        let aside = RunAnswer { older_tests: vec![VmmQmp], optional: vec![VmmImageNvdimm], ..yes.clone() };
        let outdated = |answer: &RunAnswer| RunAnswer { outdated: answer.missing.clone(), ..answer.clone() };
        for (answer, words) in [
            (RunAnswer::default(), "not known yet: nothing was tested"),
            (outdated(&missing), "not known yet with these packages: incomplete, 6 of 8 (vsock, net)"),
            (outdated(&no), "no: vsock (qemu, kernel), net; not known with these packages: qmp"),
            (aside, "yes, all 8; by older tests: qmp; optional: no image.nvdimm"),
            (with, "yes with qemu mine; virtiofsd 1.13.3"),
            (yes, "yes, all 8"),
            (missing, "not known yet: incomplete, 6 of 8 (vsock, net)"),
            (no, "no: vsock (qemu, kernel), net; not known: qmp"),
        ] {
            assert_eq!(answer.words(CapabilityNames::Short), words);
        }
    }

    #[test]
    fn most_capabilities_by_older_tests_are_only_counted() {
        let needed = [VmmBoot, VmmQmp, VmmVsock, VmmNet, VmmHotplugCpu];
        let yes = RunAnswer { needed: 5, supported: 5, ..RunAnswer::default() };
        for (older, words) in [
            (0, "yes, all 5"),
            (2, "yes, all 5; by older tests: boot, qmp"),
            (3, "yes, all 5; by older tests: 3 of 5"),
            (5, "yes, all 5; by older tests: all 5"),
        ] {
            let answer = RunAnswer { older_tests: needed[..older].to_vec(), ..yes.clone() };
            assert_eq!(answer.words(CapabilityNames::Short), words);
        }
        let half = RunAnswer { needed: 4, supported: 4, older_tests: needed[..2].to_vec(), ..yes };
        assert_eq!(half.words(CapabilityNames::Full), "yes, all 4; by older tests: vmm.boot, vmm.qmp");
    }

    #[test]
    fn full_names_are_limited() {
        let missing = vec![VmmBoot, VmmQmp, VmmVsock, VmmNet, VmmHotplugCpu];
        let answer = RunAnswer { needed: 12, supported: 7, missing, ..RunAnswer::default() };
        let words = "not known yet: incomplete, 7 of 12 (vmm.boot, vmm.qmp, vmm.vsock and 2 more)";
        assert_eq!(answer.words(CapabilityNames::Full), words);
        assert!(answer.words(CapabilityNames::Short).ends_with(" (boot, qmp, vsock, net, hot cpu)"));
    }
}
