//! What a test comes to: whether its last word makes the exit code.

use super::known::reason;
use super::{CapabilityStanding, CellStanding, Change, Effect, ProfileStanding};
use crate::matrix::Matrix;
use crate::run::by_profile;
use crate::verdict::FinalOutcome;
use model::verified::Verdict;
use std::collections::BTreeMap;
use suites::capability::Capability;
use suites::outcome::Outcome;

/// What a test that ran does to the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weight {
    /// It passed, or showed nothing.
    Nothing,
    /// It makes a capability worse than it may be: exit code 1.
    Failure,
    /// It is in error, or its failure cannot be believed or put down to anybody; why. Exit code 3.
    Error(String),
    /// It failed, and that changes nothing; why.
    Excused(String),
}

impl CellStanding<'_> {
    /// What the last word on a test does to the exit code under a profile.
    pub fn weight(&self, profile: &str, test: &str, last: &FinalOutcome) -> Weight {
        match &last.outcome {
            Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => Weight::Nothing,
            Outcome::Error { message } => Weight::Error(message.clone()),
            Outcome::Fail(failure) => match self.report.doubted(profile, test) {
                Some(doubt) => Weight::Error(doubt.to_owned()),
                None => self.failed(profile, test, &failure.observed),
            },
        }
    }

    /// What a failure that is believed comes to; `observed` is what was seen.
    fn failed(&self, profile: &str, test: &str, observed: &str) -> Weight {
        let Some(ProfileStanding { capabilities, known, .. }) = self.profiles.get(profile) else {
            return Weight::Excused("no capability is judged by it".to_owned());
        };
        if let Some(issue) = known.get(test) {
            return Weight::Excused(reason(issue));
        }
        let taken: BTreeMap<Capability, &CapabilityStanding<'_>> = capabilities
            .iter()
            .filter(|(_, c)| c.judgement.causes.iter().any(|cause| cause.test == test))
            .map(|(capability, c)| (*capability, c))
            .collect();
        // Of what was recorded as unsupported, its other causes are no news.
        let is_telling = |c: &CapabilityStanding<'_>| c.telling_causes().iter().any(|cause| cause.test == test);
        if taken.values().any(|c| c.effect == Effect::Worse && is_telling(c)) {
            return Weight::Failure;
        }
        if taken.is_empty() {
            return Weight::Excused("no capability of this profile is judged by it".to_owned());
        }
        let names = |some: &[(&Capability, &&CapabilityStanding<'_>)]| {
            some.iter().map(|(capability, _)| capability.name()).collect::<Vec<_>>().join(", ")
        };
        // A verdict that is decided is unjudged beside a base run alone, which did not decide it.
        let unjudged: Vec<_> = taken.iter().filter(|(_, c)| c.change == Change::Unjudged).collect();
        if !unjudged.is_empty() {
            let unjudged = names(&unjudged);
            let why = "so whether this failure is the candidates' is not known";
            return Weight::Error(format!("the base run could not judge {unjudged}, {why}: {observed}"));
        }
        let (known, new): (Vec<_>, Vec<_>) =
            taken.iter().partition(|(_, c)| c.change == Change::Known || !is_telling(c));
        let entry = known.iter().find_map(|(_, c)| c.entry);
        let (known, new) = (names(&known), names(&new));
        let mut why = Vec::new();
        if let Some(entry) = entry {
            why.push(format!("known: {known} recorded as {} on {}", Verdict::Unsupported, entry.tested));
        }
        if !new.is_empty() {
            why.push(format!("{new} judged for the first time"));
        }
        if taken.values().all(|c| c.optional) {
            why.push("optional".to_owned());
        }
        Weight::Excused(why.join("; "))
    }

    /// Whether the last word on any test is an error.
    pub(super) fn has_a_test_in_error(&self, matrix: &Matrix) -> bool {
        self.in_error(matrix).next().is_some()
    }

    /// Whether that is so of a test that something rests on which is not optional, or of which nobody knows what rests on
    /// it.
    pub(super) fn has_an_error_in_what_is_needed(&self, matrix: &Matrix) -> bool {
        self.in_error(matrix).any(|(profile, test, _)| {
            let capabilities =
                self.profiles.get(profile).into_iter().flat_map(|standing| standing.capabilities.values());
            let mut resting = capabilities.filter(|one| rests_on(one, test)).peekable();
            resting.peek().is_none() || resting.any(|one| !one.optional)
        })
    }

    /// The tests whose last word is an error, each with a profile that it is so under, and why.
    pub(super) fn in_error<'s>(&'s self, matrix: &'s Matrix) -> impl Iterator<Item = (&'s str, &'s str, String)> {
        let of = by_profile(&self.report.instances);
        let tests = matrix.profiles.iter().flat_map(move |profile| {
            let all = of.get(profile.name.as_str()).cloned().unwrap_or_default();
            all.into_iter().map(move |instance| (profile.name.as_str(), instance))
        });
        tests.filter_map(move |(profile, instance)| {
            let last = instance.final_outcome()?;
            match self.weight(profile, &instance.test, &last) {
                Weight::Error(why) => Some((profile, instance.test.as_str(), why)),
                Weight::Nothing | Weight::Failure | Weight::Excused(_) => None,
            }
        })
    }
}

/// Whether a test is among what a verdict is said to rest on: what failed, or what could not be shown.
fn rests_on(one: &CapabilityStanding<'_>, test: &str) -> bool {
    let mut causes = one.judgement.causes.iter();
    let mut reasons = one.judgement.reasons.iter().flat_map(|reason| &reason.tests);
    causes.any(|cause| cause.test == test) || reasons.any(|named| named == test)
}
