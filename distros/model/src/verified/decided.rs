//! Choice of the evidence that counts if several environments judged a capability.
//!
//! For the same packages, results of the current tests take precedence over those of older tests, which were fewer or
//! did less.
//! A failure, however, stands regardless of the tests that showed it.
//!
//! The environment that shows most decides, but its pass does not outlive a later failure of another environment with
//! the same packages: only the packages of components are compared, and a library below them may have changed since.
//! Cells of one run are of one time.

use super::{Verdict, decisive};
use crate::environment::Environment;
use jiff::civil::Date;

/// One environment's evidence on a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceSummary {
    /// The environment.
    pub environment: Environment,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the verdict is about the newest packages that were measured ([`Measured`](super::Measured)).
    pub is_newest: bool,
    /// Whether the verdict is from other tests than those required now.
    pub is_by_older_tests: bool,
    /// The day of the verdict, to find the later one of two environments; `None` if it is unknown.
    pub day: Option<Date>,
    /// Whether it is the current run's, which is later than what the record has of the same day.
    pub is_of_the_run: bool,
}

impl EvidenceSummary {
    /// Checks whether this is a failure that stands against a pass of another environment: it is later.
    fn stands_against(&self, pass: &EvidenceSummary) -> bool {
        let is_later = self
            .day
            .zip(pass.day)
            .is_some_and(|(day, before)| day > before || (day == before && self.is_of_the_run && !pass.is_of_the_run));
        self.verdict == Verdict::Unsupported && self.environment != pass.environment && is_later
    }
}

/// Returns the evidence that counts, among that with the newest packages or among the rest.
pub fn decided<E>(evidence: &[E], describe: impl Fn(&E) -> EvidenceSummary, is_newest: bool) -> Option<&E> {
    let describe = &describe;
    let candidates = || evidence.iter().filter(move |&one| describe(one).is_newest == is_newest);
    let best = most_decisive(candidates(), describe)?;
    if describe(best).verdict.is_against() {
        return Some(best);
    }
    let best = most_decisive(candidates().filter(|&one| !describe(one).is_by_older_tests), describe).unwrap_or(best);
    let later = candidates().filter(|&one| describe(one).stands_against(&describe(best)));
    later.max_by_key(|&one| describe(one).day).or(Some(best))
}

/// Returns the evidence with the decisive verdict.
fn most_decisive<'e, E: 'e>(
    evidence: impl Iterator<Item = &'e E> + Clone,
    describe: &impl Fn(&E) -> EvidenceSummary,
) -> Option<&'e E> {
    let of = |one: &E| (describe(one).environment, describe(one).verdict);
    let mut all = evidence.clone();
    let counts = decisive(evidence.map(of))?;
    all.find(|&one| of(one) == counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Environment::{Container, Vm};
    use Verdict::{Inconclusive, Supported, Unsupported, Untested};
    use jiff::civil::date;

    fn evidence(environment: Environment, verdict: Verdict, is_by_older_tests: bool) -> EvidenceSummary {
        EvidenceSummary {
            environment,
            verdict,
            is_newest: true,
            is_by_older_tests,
            day: Some(date(2026, 11, 18)),
            is_of_the_run: false,
        }
    }

    #[test]
    fn a_vm_outranks_a_container_and_current_tests_outrank_older_ones() {
        let which = |all: &[EvidenceSummary], is_newest| decided(all, |one| *one, is_newest).map(|one| one.environment);
        let (container, machine) = (evidence(Container, Supported, false), evidence(Vm, Unsupported, false));
        assert_eq!(which(&[container, machine], true), Some(Vm));
        assert_eq!(which(&[container, evidence(Vm, Untested, false)], true), Some(Container), "it has not decided");
        assert_eq!(which(&[container, evidence(Vm, Supported, true)], true), Some(Container), "by older tests");
        assert_eq!(which(&[container, evidence(Vm, Unsupported, true)], true), Some(Vm), "a failure stands");
        assert_eq!(
            which(&[evidence(Container, Unsupported, false), evidence(Vm, Supported, true)], true),
            Some(Container)
        );
        let other = EvidenceSummary { is_newest: false, ..machine };
        assert_eq!((which(&[container, other], true), which(&[container, other], false)), (Some(Container), Some(Vm)));
        assert_eq!(which(&[], true), None);
    }
    /// Prevents a false yes: the machine passed, and since then a container fails with the same packages.
    #[test]
    fn a_later_failure_of_another_environment_stands_against_a_pass() {
        let counts = |all: &[EvidenceSummary]| decided(all, |one| *one, true).map(|one| (one.environment, one.verdict));
        let passed = evidence(Vm, Supported, false);
        let failed = |day, is_of_the_run| EvidenceSummary {
            day: Some(date(2026, 11, day)),
            is_of_the_run,
            ..evidence(Container, Unsupported, false)
        };
        assert_eq!(counts(&[passed, failed(19, false)]), Some((Container, Unsupported)));
        assert_eq!(counts(&[failed(19, true), passed]), Some((Container, Unsupported)));
        assert_eq!(counts(&[passed, failed(17, false)]), Some((Vm, Supported)), "it works since then");
        assert_eq!(counts(&[passed, failed(17, true)]), Some((Vm, Supported)), "an old run that is reported again");
        assert_eq!(counts(&[passed, failed(18, false)]), Some((Vm, Supported)), "of one day the machine counts");
        assert_eq!(counts(&[passed, failed(18, true)]), Some((Container, Unsupported)), "the run is later");
        let of_the_run = EvidenceSummary { is_of_the_run: true, ..passed };
        assert_eq!(counts(&[of_the_run, failed(18, true)]), Some((Vm, Supported)), "of one run the machine counts");
        let by_older = EvidenceSummary { is_by_older_tests: true, ..failed(19, false) };
        assert_eq!(counts(&[passed, by_older]), Some((Container, Unsupported)), "whatever tests show it");
        let undecided = |verdict| EvidenceSummary { verdict, ..failed(19, true) };
        for verdict in [Untested, Inconclusive, Supported] {
            assert_eq!(counts(&[passed, undecided(verdict)]), Some((Vm, Supported)), "{verdict} is no failure");
        }
        let of_older_packages = EvidenceSummary { is_newest: false, ..failed(19, false) };
        assert_eq!(counts(&[passed, of_older_packages]), Some((Vm, Supported)));
        let unknown = EvidenceSummary { day: None, ..failed(19, true) };
        assert_eq!(counts(&[passed, unknown]), Some((Vm, Supported)));
    }
}
