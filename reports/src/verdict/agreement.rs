//! When environments disagree: whether a failure in a virtual machine counts, and which of two verdicts does.
//!
//! A release's machine runs on emulated hardware here, and its guests run on hardware that this emulation emulates.
//! That is not perfectly stable: a guest of a guest may fail for no fault of the distro's.
//! So a failure of such a guest blames somebody only when it repeats in a fresh machine *and* shows in a container, under
//! plain emulation, too, be it one of an earlier run with the same packages; otherwise the cause is unknown, and the
//! verdict is `inconclusive`.
//! What no container can ever show would stay so for ever; there a failure also counts that was measured, and not waited
//! for, each time with the same result.
//! Kata runs in no container of ours; there the control takes its place: the same body under runc, in the same machine.
//! A pass needs no such care: nothing passes by accident of emulation, so a pass in a machine outranks a container's
//! verdict, which knows less.
//!
//! # The whole rule
//!
//! In a virtual machine on emulated hardware, the failure of a nested guest blames a component only if both hold:
//!
//! 1. it repeats in a fresh machine (`crate::matrix` says which tests did; the schedule of `harness` asks for that
//!    machine),
//! 2. and a container of the same run fails the same test under the same profile.
//!    Where the run's own container shows nothing either way, or there is none, the record's counts: one of the same
//!    release, profile and package versions, whose verdict has the same test and signature among its causes.
//!    Where no container can show it, on whatever machine ([`Test::is_beyond_containers`]), it counts without one if it
//!    was measured ([`Repetition::Measured`]): every attempt that passed or failed, in each machine and in each
//!    configuration, is a failure by a value that was seen ([`Grounds`]), all have one signature, and the guest lived on.
//!    Kata runs in no container of ours: of its tests only the first is asked.
//!    Those that have a control under runc fail only where it passed in the same machine; else the agent makes the
//!    failure an error (`harness/agent/src/containers/engine.rs`).
//!
//! Where it was waited for, repeating alone decides nothing: nothing tells a wrong answer from a guest that emulation
//! made hang, or crash, twice. That is so of every failure of which its body does not say otherwise, and of all in older
//! journals.
//!
//! A container or a host whose guests have KVM on an emulated processor is such a machine, too: nothing repeats there in a
//! fresh one, so that its guests' failures alone blame nobody.
//!
//! Else the failure becomes an error, which blames nobody and makes the verdict `inconclusive`.
//! A failure without a guest is believed at once.
//! Where both environments decided, and decided differently, the reports say so and say which of them counts.

use super::Evidence;
use crate::signature;
use model::environment::Environment;
use model::package::{PackageName, PackageVersion};
use model::verified::{Basis, Verdict, VerifiedCause, VerifiedEntry, decisive};
use std::collections::{BTreeMap, BTreeSet};
use suites::catalogue::{Place, Test};
use suites::outcome::{Failure, Grounds, Outcome};

/// A failure, by its test and its signature.
pub type Failed = (String, String);

/// What more than one machine showed of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// It failed in one of them at most.
    Absent,
    /// It failed in several, somehow.
    Failed,
    /// It failed in several by the same measurement each time, and never otherwise.
    Measured,
}

/// How a test's attempts repeat a failure, each with the machine that it was made in; `None` if it was tried in one
/// machine alone.
///
/// What is in error counts neither way, and what was skipped or blocked was not tried.
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

/// What containers showed to fail, by a record's entries of one release and profile: those of these package versions.
///
/// A machine has more packages than a container; those that the container's verdicts rest on must be the same.
pub fn recorded<'e>(
    entries: impl Iterator<Item = &'e VerifiedEntry>,
    versions: &BTreeMap<PackageName, PackageVersion>,
) -> BTreeSet<Failed> {
    let is_the_same = |entry: &&VerifiedEntry| {
        entry.environment == Environment::Container
            && !entry.versions.is_empty()
            && entry.versions.iter().all(|(package, version)| versions.get(package) == Some(version))
    };
    let judged = entries.filter(is_the_same).flat_map(|entry| entry.capabilities.values());
    let against = judged.filter(|known| known.verdict == Verdict::Unsupported);
    against.flat_map(|known| &known.causes).filter_map(recorded_failure).collect()
}

/// A failure as a record has it; none where it names no component or no test.
pub(crate) fn recorded_failure(cause: &VerifiedCause) -> Option<Failed> {
    Some((cause.test.clone()?, signature::of_recorded(cause)?))
}

/// Takes the failures of nested guests that do not count out of a machine's evidence: they become errors that say why.
///
/// `repeated` are the tests that were tried in more than one machine ([`repetition`]); `container` is what a container of
/// the same release showed under the same profile, if there was one; `recorded` is what one showed before. What rests on
/// hardware, and what is neither a machine's nor seen under KVM, stays as it is.
pub fn weigh(
    catalogue: &[Test],
    mut evidence: Evidence,
    repeated: &BTreeMap<String, Repetition>,
    container: Option<&Evidence>,
    recorded: &BTreeSet<Failed>,
) -> Evidence {
    // KVM on an emulated processor is a machine in a machine, wherever the cell was brought up.
    let is_nested_in_one = evidence.environment == Some(Environment::Vm) || evidence.runs_kvm;
    if !is_nested_in_one || evidence.basis != Some(Basis::Emulated) {
        return evidence;
    }
    for test in catalogue.iter().filter(|test| is_nested(test)) {
        let Some(last) = evidence.outcomes.get_mut(&test.id) else { continue };
        let Outcome::Fail(failure) = &last.outcome else { continue };
        let repetition = repeated.get(&test.id);
        let has_failed_again = matches!(repetition, Some(Repetition::Failed | Repetition::Measured));
        // No container runs Kata. Where its control failed in this machine, the agent has already made an error of it.
        if test.place == Place::Kata && has_failed_again {
            continue;
        }
        let failed = (test.id.clone(), failure.signature.clone());
        // A long cause is cut where it is recorded: it is the same if this one would be cut to the same.
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

/// Whether a test's outcome rests on a guest inside the machine.
pub fn is_nested(test: &Test) -> bool {
    !matches!(test.place, Place::Environment | Place::Runc)
}

/// Of the verdicts of a virtual machine and of a container on one capability, the one that counts.
pub fn settle(vm: Verdict, container: Verdict) -> Verdict {
    match decisive([(Environment::Vm, vm), (Environment::Container, container)]) {
        Some((_, verdict)) => verdict,
        None if vm == Verdict::NotApplicable => container,
        None => vm,
    }
}

#[cfg(test)]
mod tests;
