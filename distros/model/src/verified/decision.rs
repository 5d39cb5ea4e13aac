//! Decision of the answer to a reader's first question: can Kata run here?
//!
//! For each capability that Kata needs, the evidence with the newest packages counts, and among several environments
//! that of the one that shows most, unless another one failed later ([`decided`]).
//! If nothing is known with the newest packages, an older failure stands, because nobody has seen it fixed; an older
//! pass proves nothing.

use super::{Evidence, RunAnswer, RunEvidence, Verdict, WITH_CANDIDATES, decided};

/// Name of a workaround that a partial verdict does not state.
const UNNAMED: &str = "a workaround";

/// Answer, and the evidence that it rests on.
#[derive(Debug, Clone)]
pub struct Decision<'e, S> {
    /// The answer.
    pub answer: RunAnswer,
    /// The evidence that counts: one for each capability that is needed and not missing, in order.
    pub counting: Vec<&'e Evidence<S>>,
    /// The evidence on the missing capabilities, which decides nothing.
    pub undecided: Vec<&'e Evidence<S>>,
}

impl<'e, S> Decision<'e, S> {
    /// Returns the evidence that the answer rests on: of a no the failures, else what shows support.
    pub fn rests_on(&self) -> impl Iterator<Item = &'e Evidence<S>> {
        let is_no = !self.answer.against.is_empty();
        self.counting.iter().copied().filter(move |one| one.summary.verdict.is_against() == is_no)
    }
}

impl<S> RunEvidence<S> {
    /// Decides whether Kata can run.
    pub fn decide(&self) -> Decision<'_, S> {
        let mut answer = RunAnswer { needed: self.needed.len(), ..RunAnswer::default() };
        let (mut counts, mut undecided): (Vec<&Evidence<S>>, Vec<&Evidence<S>>) = (Vec::new(), Vec::new());
        for (capability, evidence) in &self.needed {
            let Some(one) = counting(evidence) else {
                answer.missing.push(*capability);
                answer.outdated.extend(decided(evidence, |one| one.summary, false).map(|_| *capability));
                undecided.extend(evidence);
                continue;
            };
            counts.push(one);
            if one.summary.verdict.is_against() {
                answer.against.push((*capability, one.blames.clone()));
            } else {
                answer.supported += 1;
                answer.with.extend(workaround(one));
                answer.older_tests.extend(one.summary.is_by_older_tests.then_some(*capability));
            }
        }
        for (capability, evidence) in &self.beside {
            let is_lost = counting(evidence).is_some_and(|one| one.summary.verdict == Verdict::Unsupported);
            answer.optional.extend(is_lost.then_some(*capability));
        }
        Decision { answer, counting: counts, undecided }
    }
}

/// Returns the evidence that counts: that with the newest packages, or an older failure that was not seen to be fixed.
fn counting<S>(evidence: &[Evidence<S>]) -> Option<&Evidence<S>> {
    let of = |is_newest: bool| decided(evidence, |one| one.summary, is_newest);
    of(true).or_else(|| of(false).filter(|older| older.summary.verdict.is_against()))
}

/// Returns what a capability works with, without the prefix that is only needed if it stands alone. A partial verdict
/// is never a plain yes, even if it does not say what it works with; neither is one that names a workaround.
fn workaround<S>(evidence: &Evidence<S>) -> Option<String> {
    let unnamed = (evidence.summary.verdict == Verdict::Partial).then_some(UNNAMED);
    let named = evidence.workaround.as_deref().or(unnamed)?;
    Some(named.strip_prefix(WITH_CANDIDATES).unwrap_or(named).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;
    use crate::component::Component;
    use crate::environment::Environment;
    use crate::verified::{CanRun, CapabilityNames, EvidenceSummary};
    use jiff::civil::date;
    use std::collections::BTreeSet;

    const VSOCK: Capability = Capability::VmmVsock;
    const NET: Capability = Capability::VmmNet;

    /// Evidence of a container with the newest packages; its source is a number.
    fn evidence(verdict: Verdict, source: u8) -> Evidence<u8> {
        let summary = EvidenceSummary {
            environment: Environment::Container,
            verdict,
            is_newest: true,
            is_by_older_tests: false,
            day: Some(date(2026, 11, 18)),
            is_of_the_run: false,
        };
        Evidence { summary, blames: BTreeSet::from([Component::Qemu]), workaround: None, source }
    }

    fn older(verdict: Verdict, source: u8) -> Evidence<u8> {
        let made = evidence(verdict, source);
        Evidence { summary: EvidenceSummary { is_newest: false, ..made.summary }, ..made }
    }

    /// Asks about two capabilities that Kata needs, and an optional one.
    fn gathered(vsock: &[Evidence<u8>], net: &[Evidence<u8>], nvdimm: Verdict) -> RunEvidence<u8> {
        let asked = [VSOCK, NET, Capability::VmmImageNvdimm];
        RunEvidence::gather(
            |one| asked.contains(&one),
            |one| match one {
                VSOCK => vsock.to_vec(),
                NET => net.to_vec(),
                _ => vec![evidence(nvdimm, 9)],
            },
        )
    }

    /// Returns the answer with the sources of what it rests on, and of what decides nothing.
    fn answer(vsock: &[Evidence<u8>], net: &[Evidence<u8>]) -> (CanRun, String, Vec<u8>, Vec<u8>) {
        let gathered = gathered(vsock, net, Verdict::Supported);
        let decision = gathered.decide();
        let undecided = decision.undecided.iter().map(|one| one.source).collect();
        let words = decision.answer.words(CapabilityNames::Short);
        (decision.answer.can_run(), words, decision.rests_on().map(|one| one.source).collect(), undecided)
    }

    fn expected(can_run: CanRun, words: &str, rests_on: &[u8], undecided: &[u8]) -> (CanRun, String, Vec<u8>, Vec<u8>) {
        (can_run, words.to_owned(), rests_on.to_vec(), undecided.to_vec())
    }

    #[test]
    fn all_that_is_needed_has_to_be_supported() {
        use Verdict::{Inconclusive, Offered, Supported, Unsupported, Untested};
        let works = [evidence(Supported, 1)];
        assert_eq!(answer(&works, &[evidence(Supported, 2)]), expected(CanRun::Yes, "yes, all 2", &[1, 2], &[]));
        for verdict in [Unsupported, Offered] {
            let no = expected(CanRun::No, "no: net (qemu)", &[2], &[]);
            assert_eq!(answer(&works, &[evidence(verdict, 2)]), no, "{verdict}");
        }
        let incomplete =
            |undecided: &[u8]| expected(CanRun::NotKnown, "not known yet: incomplete, 1 of 2 (net)", &[1], undecided);
        assert_eq!(answer(&works, &[]), incomplete(&[]));
        for verdict in [Inconclusive, Untested, Verdict::NotApplicable] {
            assert_eq!(answer(&works, &[evidence(verdict, 2)]), incomplete(&[2]), "{verdict}");
        }
        let nothing: RunEvidence<u8> = RunEvidence::gather(|_| false, |_| Vec::new());
        assert_eq!(nothing.decide().answer.words(CapabilityNames::Short), "not known yet: nothing was tested");
    }

    /// Prevents a false yes: an older pass proves nothing about the newest packages.
    #[test]
    fn an_older_failure_stands_and_an_older_pass_proves_nothing() {
        use Verdict::{Supported, Unsupported};
        let works = [evidence(Supported, 1)];
        let words = "not known yet with these packages: incomplete, 1 of 2 (net)";
        assert_eq!(answer(&works, &[older(Supported, 2)]), expected(CanRun::NotKnown, words, &[1], &[2]));
        assert_eq!(answer(&works, &[older(Unsupported, 2)]), expected(CanRun::No, "no: net (qemu)", &[2], &[]));
        let fixed = [older(Unsupported, 2), evidence(Supported, 3)];
        assert_eq!(answer(&works, &fixed), expected(CanRun::Yes, "yes, all 2", &[1, 3], &[]));
    }

    /// Prevents a false yes: a partial verdict without the name of its workaround, or a supported one with it.
    #[test]
    fn what_works_with_a_workaround_only_is_no_plain_yes() {
        let words = |verdict, workaround: Option<&str>| {
            let net = Evidence { workaround: workaround.map(str::to_owned), ..evidence(verdict, 2) };
            let (can_run, words, ..) = answer(&[evidence(Verdict::Supported, 1)], &[net]);
            assert_eq!(can_run, CanRun::With, "{words}");
            words
        };
        assert_eq!(words(Verdict::Partial, None), "yes with a workaround");
        assert_eq!(words(Verdict::Partial, Some("with candidates: qemu mine")), "yes with qemu mine");
        assert_eq!(words(Verdict::Supported, Some("with candidates: qemu mine")), "yes with qemu mine");
        assert_eq!(words(Verdict::Partial, Some("boot with acpi=off")), "yes with boot with acpi=off");
    }

    #[test]
    fn what_kata_does_not_need_is_named_only_if_it_is_unsupported() {
        let works = [evidence(Verdict::Supported, 1)];
        for (verdict, words) in [
            (Verdict::Unsupported, "yes, all 2; optional: no image.nvdimm"),
            (Verdict::Untested, "yes, all 2"),
            (Verdict::Supported, "yes, all 2"),
        ] {
            let gathered = gathered(&works, &works, verdict);
            assert_eq!(gathered.decide().answer.words(CapabilityNames::Short), words, "{verdict}");
            assert_eq!(gathered.on_needed().count(), 2);
        }
    }
}
