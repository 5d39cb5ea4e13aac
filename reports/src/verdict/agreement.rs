//! Disagreement between environments: whether a failure in a virtual machine counts, and which of two verdicts does.
//!
//! Here a release's machine runs on emulated hardware, and its guests run on hardware that this emulation emulates.
//! This nesting is not perfectly stable: a nested guest may fail through no fault of the distro.
//! So a failure of such a guest blames a component only if it repeats in a fresh machine *and* also appears in a
//! container, under plain emulation, be it in an earlier run with the same packages; otherwise the cause is unknown,
//! and the verdict is `inconclusive`.
//! Failures that no container can ever show would stay `inconclusive` for ever; such a failure also counts if it was
//! measured rather than waited for, with the same result each time.
//! The harness runs Kata in no container; a control takes the container's place: the same body under runc, in the same
//! machine.
//! A pass needs no such care: nothing passes by accident of emulation, so a pass in a machine outranks a container's
//! verdict, which has less evidence.
//!
//! # The whole rule
//!
//! In a virtual machine on emulated hardware, the failure of a nested guest blames a component only if both hold:
//!
//! 1. it repeats in a fresh machine (`crate::matrix` finds the tests that did; the schedule of `harness` asks for that
//!    machine),
//! 2. and a container of the same run fails the same test under the same profile.
//!    If the run's own container shows nothing either way, or there is none, a recorded one counts: with the same
//!    release, profile and package versions, and with the same test and signature among its verdict's causes.
//!    If no container can show the failure, on any machine ([`Test::is_beyond_containers`]), it counts without one if
//!    it was measured ([`Repetition::Measured`]): every attempt that passed or failed, in each machine and in each
//!    configuration, is a failure by an observed value ([`Grounds`]), all have one signature, and the guest survived.
//!    The harness runs Kata in no container: Kata's tests need only meet the first condition.
//!    Tests with a control under runc fail only if the control passed in the same machine; otherwise the agent makes
//!    the failure an error (`harness/agent/src/containers/engine.rs`).
//!
//! If a test waited for an event, repetition alone decides nothing: a wrong answer looks the same as a guest that hung
//! or crashed twice because of emulation. This holds for every failure unless the test's body says otherwise, and for
//! all failures in older journals.
//!
//! A container or a host whose guests have KVM on an emulated processor counts as such a machine, too: it has no fresh
//! machine for repetition, so that its guests' failures alone blame no component.
//!
//! Otherwise the failure becomes an error, which blames no component and makes the verdict `inconclusive`.
//! A failure without a guest is believed at once.
//! If both environments decided, and decided differently, the reports say so and name the one that counts.

use super::Evidence;
use crate::signature;
use model::environment::Environment;
use model::package::{PackageName, PackageVersion};
use model::test_id::TestId;
use model::verified::{Basis, Verdict, VerifiedCause, VerifiedEntry, decisive};
use std::collections::{BTreeMap, BTreeSet};
use suites::catalogue::{Place, Test};
use suites::outcome::{Failure, Grounds, Outcome};

/// A failure, identified by its test and its signature.
pub type FailureId = (TestId, String);

/// The repetition of a test's failure in more than one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// The test failed in at most one machine.
    Absent,
    /// The test failed in several machines, in any way.
    Failed,
    /// The test failed in several machines, always by the same measurement.
    Measured,
}

/// Returns how a failure repeats in a test's attempts, each given with its machine; `None` if the test was tried in
/// only one machine.
///
/// Attempts in error count neither way, and attempts that were skipped or blocked do not count as tried.
pub fn repetition(attempts: &[(u32, &Outcome)]) -> Option<Repetition> {
    let failed: Vec<(u32, &Failure)> = attempts
        .iter()
        .filter_map(|(machine, outcome)| match outcome {
            Outcome::Fail(failure) => Some((*machine, failure)),
            Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } | Outcome::Error { .. } => None,
        })
        .collect();
    let machines: BTreeSet<u32> = failed.iter().map(|(machine, _)| *machine).collect();
    let signatures: BTreeSet<&str> = failed.iter().map(|(_, failure)| failure.signature.as_str()).collect();
    if machines.len() < 2 {
        let tried = attempts.iter().filter(|(_, o)| !matches!(**o, Outcome::Skip { .. } | Outcome::Blocked { .. }));
        let tried: BTreeSet<u32> = tried.map(|(machine, _)| *machine).collect();
        return (tried.len() > 1).then_some(Repetition::Absent);
    }
    let is_measured = failed.iter().all(|(_, failure)| failure.grounds == Grounds::Measured)
        && signatures.len() == 1
        && !attempts.iter().any(|(_, outcome)| **outcome == Outcome::Pass);
    Some(if is_measured { Repetition::Measured } else { Repetition::Failed })
}

/// Returns the failures in containers, from a record's entries for one release and profile with these package versions.
///
/// A machine has more packages than a container; those that the container's verdicts rest on must be the same.
pub fn recorded<'e>(
    entries: impl Iterator<Item = &'e VerifiedEntry>,
    versions: &BTreeMap<PackageName, PackageVersion>,
) -> BTreeSet<FailureId> {
    let is_the_same = |entry: &&VerifiedEntry| {
        entry.environment == Environment::Container
            && !entry.versions.is_empty()
            && entry.versions.iter().all(|(package, version)| versions.get(package) == Some(version))
    };
    let judged = entries.filter(is_the_same).flat_map(|entry| entry.capabilities.values());
    let against = judged.filter(|known| known.verdict == Verdict::Unsupported);
    against.flat_map(|known| &known.causes).filter_map(recorded_failure).collect()
}

/// Returns a recorded failure; `None` if the record names no component or no test.
pub(crate) fn recorded_failure(cause: &VerifiedCause) -> Option<FailureId> {
    Some((cause.test.clone()?, signature::of_recorded(cause)?))
}

/// Turns failures of nested guests that do not count into errors with the reason.
///
/// `repeated` are the tests that were tried in more than one machine ([`repetition`]); `container` are the results of a
/// container of the same release under the same profile, if there was one; `recorded` are the failures of earlier
/// containers. Evidence on hardware, and evidence that is neither a machine's nor from KVM, stays unchanged.
pub fn weigh(
    catalogue: &[Test],
    mut evidence: Evidence,
    repeated: &BTreeMap<TestId, Repetition>,
    container: Option<&Evidence>,
    recorded: &BTreeSet<FailureId>,
) -> Evidence {
    // KVM on an emulated processor counts as a nested machine in any environment.
    let is_nested_in_one = evidence.environment == Some(Environment::Vm) || evidence.runs_kvm;
    if !is_nested_in_one || evidence.basis != Some(Basis::Emulated) {
        return evidence;
    }
    for test in catalogue.iter().filter(|test| is_nested(test)) {
        let Some(last) = evidence.outcomes.get_mut(&test.id) else { continue };
        let Outcome::Fail(failure) = &last.outcome else { continue };
        let repetition = repeated.get(&test.id);
        let has_failed_again = matches!(repetition, Some(Repetition::Failed | Repetition::Measured));
        // No container runs Kata. If its control failed in this machine, the agent has already made the failure an
        // error.
        if test.place == Place::Kata && has_failed_again {
            continue;
        }
        let failed = (test.id.clone(), failure.signature.clone());
        // A record cuts long causes: a cause is the same if this one would be cut to the same text.
        let cut = signature::once_recorded(failure.component, &failure.observed, &test.id);
        let is_recorded = recorded.contains(&failed) || recorded.contains(&(test.id.clone(), cut));
        let elsewhere = container.and_then(|c| c.outcomes.get(&test.id)).map(|last| &last.outcome);
        let doubt = match (repetition, elsewhere) {
            (None, _) => "it was not tried in a fresh virtual machine",
            (Some(Repetition::Absent), _) => "it did not repeat in a fresh virtual machine",
            (Some(_), Some(Outcome::Fail { .. })) => continue,
            (Some(_), Some(Outcome::Pass)) => "it passes in a container",
            (Some(_), _) if is_recorded => continue,
            (Some(Repetition::Measured), _) if test.is_beyond_containers() => continue,
            (Some(_), _) => "no container shows it, too",
        };
        let observed = &failure.observed;
        let message = format!("a guest inside an emulated virtual machine failed, and {doubt}: {observed}");
        last.outcome = Outcome::Error { message };
    }
    evidence
}

/// Checks whether a test's outcome rests on a guest inside the machine.
pub fn is_nested(test: &Test) -> bool {
    !matches!(test.place, Place::Environment | Place::Runc)
}

/// Returns the verdict that counts, of a virtual machine's and a container's on one capability.
pub fn settle(vm: Verdict, container: Verdict) -> Verdict {
    match decisive([(Environment::Vm, vm), (Environment::Container, container)]) {
        Some((_, verdict)) => verdict,
        None if vm == Verdict::NotApplicable => container,
        None => vm,
    }
}

#[cfg(test)]
mod tests;
