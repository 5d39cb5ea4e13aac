//! Effect of single tests on the exit code.

use super::known::reason;
use super::{CapabilityStanding, CellStanding, Change, Effect, ProfileStanding};
use crate::matrix::Matrix;
use crate::run::by_profile;
use crate::verdict::FinalOutcome;
use model::verified::Verdict;
use std::collections::BTreeMap;
use suites::capability::Capability;
use suites::outcome::Outcome;

/// The effect of a test that ran on the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestWeight {
    /// The test passed, or showed nothing.
    Nothing,
    /// The test makes a capability worse than allowed: exit code 1.
    Failure,
    /// The test is in error, or its failure is not credible or blames no component, for this reason: exit code 3.
    Error(String),
    /// The test failed without an effect, for this reason.
    Excused(String),
}

impl CellStanding<'_> {
    /// Returns the effect of a test's final outcome on the exit code under a profile.
    pub fn weight(&self, profile: &str, test: &str, last: &FinalOutcome) -> TestWeight {
        match &last.outcome {
            Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => TestWeight::Nothing,
            Outcome::Error { message } => TestWeight::Error(message.clone()),
            Outcome::Fail(failure) => match self.report.doubted(profile, test) {
                Some(doubt) => TestWeight::Error(doubt.to_owned()),
                None => self.failed(profile, test, &failure.observed),
            },
        }
    }

    /// Returns the effect of a credible failure; `observed` is the observation.
    fn failed(&self, profile: &str, test: &str, observed: &str) -> TestWeight {
        let Some(ProfileStanding { capabilities, known, .. }) = self.profile(profile) else {
            return TestWeight::Excused("it decides no capability".to_owned());
        };
        if let Some(issue) = known.get(test) {
            return TestWeight::Excused(reason(issue));
        }
        let affected: BTreeMap<Capability, &CapabilityStanding<'_>> = capabilities
            .iter()
            .filter(|(_, c)| c.judgement.causes.iter().any(|cause| cause.test == test))
            .map(|(capability, c)| (*capability, c))
            .collect();
        // If a capability was recorded as unsupported, only its unrecorded causes are news.
        let is_behind_change = |c: &CapabilityStanding<'_>| c.telling_causes().iter().any(|cause| cause.test == test);
        if affected.values().any(|c| c.effect == Effect::Worse && is_behind_change(c)) {
            return TestWeight::Failure;
        }
        if affected.is_empty() {
            return TestWeight::Excused("it decides no capability of this profile".to_owned());
        }
        let names = |some: &[(&Capability, &&CapabilityStanding<'_>)]| {
            some.iter().map(|(capability, _)| capability.name()).collect::<Vec<_>>().join(", ")
        };
        // A verdict that is decided is unjudged only against a base run that did not decide it.
        let unjudged: Vec<_> = affected.iter().filter(|(_, c)| c.change == Change::Unjudged).collect();
        if !unjudged.is_empty() {
            let unjudged = names(&unjudged);
            let why = "so it is not known whether the candidates caused this failure";
            return TestWeight::Error(format!("the base run could not judge {unjudged}, {why}: {observed}"));
        }
        let (known, new): (Vec<_>, Vec<_>) =
            affected.iter().partition(|(_, c)| c.change == Change::Known || !is_behind_change(c));
        let entry = known.iter().find_map(|(_, c)| c.entry);
        let (known, new) = (names(&known), names(&new));
        let mut why = Vec::new();
        if let Some(entry) = entry {
            why.push(format!("known: {known} recorded as {} on {}", Verdict::Unsupported, entry.tested));
        }
        if !new.is_empty() {
            why.push(format!("{new} judged for the first time"));
        }
        if affected.values().all(|c| c.optional) {
            why.push("optional".to_owned());
        }
        TestWeight::Excused(why.join("; "))
    }

    /// Checks whether the final outcome of any test is an error.
    pub(super) fn has_a_test_in_error(&self, matrix: &Matrix) -> bool {
        self.in_error(matrix).next().is_some()
    }

    /// Checks whether any test in error supports a capability that is not optional, or supports no known capability.
    pub(super) fn has_an_error_in_what_is_needed(&self, matrix: &Matrix) -> bool {
        self.in_error(matrix).any(|(profile, test, _)| {
            let capabilities = self.profile(profile).into_iter().flat_map(|standing| standing.capabilities.values());
            let mut resting = capabilities.filter(|one| rests_on(one, test)).peekable();
            resting.peek().is_none() || resting.any(|one| !one.optional)
        })
    }

    /// Returns the tests whose final outcome is an error, each with the profile and the reason.
    pub(super) fn in_error<'s>(&'s self, matrix: &'s Matrix) -> impl Iterator<Item = (&'s str, &'s str, String)> {
        let of = by_profile(&self.report.instances);
        let tests = matrix.profiles.iter().flat_map(move |profile| {
            let all = of.get(profile.name.as_str()).cloned().unwrap_or_default();
            all.into_iter().map(move |instance| (profile.name.as_str(), instance))
        });
        tests.filter_map(move |(profile, instance)| {
            let last = instance.final_outcome()?;
            match self.weight(profile, &instance.test, &last) {
                TestWeight::Error(why) => Some((profile, instance.test.as_str(), why)),
                TestWeight::Nothing | TestWeight::Failure | TestWeight::Excused(_) => None,
            }
        })
    }
}

/// Checks whether a verdict names a test as a cause or as a reason.
fn rests_on(one: &CapabilityStanding<'_>, test: &str) -> bool {
    let mut causes = one.judgement.causes.iter();
    let mut reasons = one.judgement.reasons.iter().flat_map(|reason| &reason.tests);
    causes.any(|cause| cause.test == test) || reasons.any(|named| named == test)
}
