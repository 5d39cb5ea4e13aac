//! Results for a capability, from a run or from the record.

use super::{Basics, SiteRow};
use crate::redact::one_line;
use crate::standing::{CapabilityStanding, Change, Effect, ProfileStanding};
use crate::views::wording;
use jiff::civil::Date;
use model::test_id::TestId;
use model::verified::{Basis, Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry};
use suites::capability::Capability;
use suites::outcome::Component;

/// Maximum size of a reason, in bytes; the cell's page has the full text if its run is part of the site.
const MAX_WHY: usize = 300;

/// The result for a capability of a cell under a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) verdict: Verdict,
    pub(super) basis: Option<Basis>,
    /// The day of the measurement.
    pub(super) tested: Option<Date>,
    /// The reasons for the verdict.
    pub(super) why: Vec<Why>,
    /// The components that make the capability usable.
    pub(super) workaround: Option<String>,
    /// How many required tests passed, and how many there are.
    pub(super) passed: Option<(usize, usize)>,
    /// Whether a test passed only when repeated.
    pub(super) is_flaky: bool,
    /// Whether the set of tests behind the verdict differs from the current one.
    pub(super) is_older: bool,
    /// The title of the change against the record, if it is shown.
    pub(super) change: Option<&'static str>,
}

/// A reason why a capability is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why {
    /// The blamed component; `None` if nothing could be shown.
    pub(super) component: Option<Component>,
    /// The test that failed.
    pub(super) test: Option<TestId>,
    /// The observation, on one line.
    pub(super) text: String,
}

impl Why {
    /// Formats the reason like records do: `qemu: no q35 (smoke::guest_boots)`.
    pub(super) fn words(&self) -> String {
        let component = self.component.map(|component| format!("{component}: ")).unwrap_or_default();
        let test = self.test.as_ref().map(|test| format!(" ({test})")).unwrap_or_default();
        format!("{component}{}{test}", self.text)
    }
}

impl Known {
    /// Takes the result from a run.
    fn of_run(one: &CapabilityStanding<'_>, day: Option<Date>) -> Known {
        let judgement = one.judgement;
        let causes = judgement.causes.iter().map(|cause| Why {
            component: Some(cause.component),
            test: Some(cause.test.clone()),
            text: one_line(&cause.message, MAX_WHY),
        });
        let reasons = judgement.reasons.iter().map(|reason| Why {
            component: None,
            test: None,
            text: one_line(&reason.to_string(), MAX_WHY),
        });
        // A capability that was never recorded does not differ from the record; the list of changes has it.
        let is_news = one.is_listed() && (one.effect != Effect::None || one.change != Change::NewVerdict);
        Known {
            verdict: one.verdict(),
            basis: one.basis(),
            tested: day,
            why: causes.chain(reasons).collect(),
            workaround: judgement.workaround.clone(),
            passed: Some((judgement.passed, judgement.required)).filter(|(_, required)| *required > 0),
            is_flaky: !judgement.flaky.is_empty(),
            is_older: false,
            change: is_news.then(|| one.title()),
        }
    }

    /// Takes the result from the record.
    fn of_record(entry: &VerifiedEntry, recorded: &VerifiedCapability) -> Known {
        let why = recorded.causes.iter().map(|cause| {
            let VerifiedCause { component, test, message } = cause;
            match component {
                Some(_) => Why { component: *component, test: test.clone(), text: one_line(message, MAX_WHY) },
                // As in a run, the text of such a reason already contains its tests.
                None => Why { component: None, test: None, text: one_line(&cause.to_string(), MAX_WHY) },
            }
        });
        Known {
            verdict: recorded.verdict,
            basis: Some(entry.basis),
            tested: Some(entry.tested),
            why: why.collect(),
            workaround: recorded.workaround.clone(),
            passed: None,
            is_flaky: recorded.flaky,
            is_older: entry.is_by_older_tests(),
            change: None,
        }
    }

    /// Describes the result completely: `debian 13, vsock, supported, emulated, measured 2026-11-24`.
    pub(super) fn words(&self, label: &str, capability: Capability) -> String {
        let mut words = format!("{label}, {}, {}", capability.short(), self.verdict.name().replace('-', " "));
        if let Some(basis) = self.shown_basis() {
            words.push_str(&format!(", {basis}"));
        }
        for (holds, word) in [(self.is_flaky, "flaky"), (self.is_older, "by older tests")] {
            if holds {
                words.push_str(&format!(", {word}"));
            }
        }
        if let Some(change) = self.change {
            words.push_str(&format!(", {change}"));
        }
        if let Some(day) = self.tested {
            words.push_str(&format!(", measured {day}"));
        }
        words
    }

    /// Returns the basis, if a reader must see it.
    pub(super) fn shown_basis(&self) -> Option<Basis> {
        self.basis.filter(|_| wording::is_shown_on_a_basis(self.verdict))
    }
}

impl SiteRow {
    /// Takes a run's results for a cell under a profile; capabilities without any test are left out.
    pub(super) fn of_run(standing: &ProfileStanding<'_>, basics: Option<Basics>, day: Option<Date>) -> SiteRow {
        let is_said =
            |one: &CapabilityStanding<'_>| one.judgement.required > 0 || one.verdict() == Verdict::NotApplicable;
        let capabilities = standing.capabilities.iter().filter(|(_, one)| is_said(one));
        SiteRow {
            capabilities: capabilities.map(|(c, one)| (*c, Known::of_run(one, day))).collect(),
            basics: basics.into_iter().collect(),
        }
    }

    /// Adds the results of an entry. Results with brought components count only for capabilities without any result for
    /// the distro's own.
    pub(super) fn add(&mut self, entry: &VerifiedEntry) {
        let is_own = entry.supplied_components().is_empty();
        for (capability, recorded) in &entry.capabilities {
            if is_own || !self.capabilities.contains_key(capability) {
                self.capabilities.insert(*capability, Known::of_record(entry, recorded));
            }
        }
        self.basics.push(Basics::of_entry(entry));
        self.basics.sort_by_key(|basics| std::cmp::Reverse(basics.tested));
    }

    /// Returns the first and the last day of the row's measurements.
    pub(super) fn days(&self) -> Option<(Date, Date)> {
        let days = || self.capabilities.values().filter_map(|known| known.tested);
        Some((days().min()?, days().max()?))
    }
}

impl Basics {
    fn of_entry(entry: &VerifiedEntry) -> Basics {
        let kata = entry.kata.as_ref().map(|kata| {
            let components: String =
                kata.brought.iter().map(|(component, what)| format!(", {component} {what}")).collect();
            format!("{}{components}", kata.version)
        });
        Basics {
            tested: Some(entry.tested),
            basis: Some(entry.basis),
            harness: entry.harness.clone(),
            test_set: entry.test_set.clone(),
            kata,
            versions: entry.versions.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect(),
        }
    }
}
