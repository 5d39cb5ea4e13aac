//! Choice of the evidence that counts if several environments judged a capability.
//!
//! For the same packages, results of the current tests take precedence over those of older tests, which were fewer or
//! did less.
//! A failure, however, stands regardless of the tests that showed it.

use super::{Verdict, decisive};
use crate::environment::Environment;

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
}

/// Returns the evidence that counts, among that with the newest packages or among the rest.
pub fn decided<E>(evidence: &[E], describe: impl Fn(&E) -> EvidenceSummary, is_newest: bool) -> Option<&E> {
    let describe = &describe;
    let candidates = || evidence.iter().filter(move |&one| describe(one).is_newest == is_newest);
    let best = most_decisive(candidates(), describe)?;
    if describe(best).verdict.is_against() {
        return Some(best);
    }
    most_decisive(candidates().filter(|&one| !describe(one).is_by_older_tests), describe).or(Some(best))
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
    use Verdict::{Supported, Unsupported, Untested};

    fn evidence(environment: Environment, verdict: Verdict, is_by_older_tests: bool) -> EvidenceSummary {
        EvidenceSummary { environment, verdict, is_newest: true, is_by_older_tests }
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
}
