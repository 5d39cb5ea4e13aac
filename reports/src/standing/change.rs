//! Comparison of one verdict with the recorded one.

use crate::verdict::Judgement;
use model::verified::Verdict;

/// How a verdict compares with the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Worse than recorded, or unsupported by an unrecorded cause.
    NewFailure,
    /// Unsupported, and no record decides either way: nobody has seen it before.
    NewVerdict,
    /// It could not be judged, so nothing is known to be better or worse.
    Unjudged,
    /// The verdict differs, and so do the tests behind it: the distro need not have changed.
    TestSetChanged,
    /// Better than recorded.
    Fixed,
    /// Unsupported by recorded causes, or by a known issue.
    Known,
    /// As recorded, or recorded for the first time.
    Same,
}

impl Change {
    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            Change::NewFailure => "new failure",
            Change::NewVerdict => "new verdict",
            Change::Unjudged => "unjudged",
            Change::TestSetChanged => "test set changed",
            Change::Fixed => "fixed",
            Change::Known => "known",
            Change::Same => "same",
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The effect of a result on the exit code; later variants outrank earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// As recorded or better: exit code 0.
    None,
    /// Something could not be judged: exit code 3.
    Unjudged,
    /// Something is worse than recorded, or lacking under `--strict`: exit code 1.
    Worse,
}

impl Effect {
    /// Returns the process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Effect::None => 0,
            Effect::Worse => 1,
            Effect::Unjudged => 3,
        }
    }
}

/// Ranks a verdict by how good it is; `None` if it decides nothing.
fn rank(verdict: Verdict) -> Option<u8> {
    match verdict {
        Verdict::Supported => Some(4),
        Verdict::Partial => Some(3),
        Verdict::Offered => Some(2),
        Verdict::Unsupported => Some(1),
        Verdict::NotApplicable | Verdict::Untested | Verdict::Inconclusive => None,
    }
}

/// Compares a recorded verdict with the run's.
///
/// A first record is never worse; a first `unsupported` is reported, and an inconclusive capability was not judged, so
/// that a test in error is never as recorded.
/// A capability that is recorded as unsupported and was not tested stays as recorded.
/// An untested capability that was not asked for (`not_requested`) is not held against a run.
/// A capability that works with a component that was brought along is no worse than recorded: it says nothing about the
/// distro's own.
/// For a capability that is unsupported, as recorded, `causes.rs` then compares the causes.
/// A changed set of tests is no excuse: a worse verdict counts, and the reader is informed that the tests differ.
pub fn compare(
    recorded: Option<Verdict>,
    same_tests: bool,
    found: &Judgement,
    not_requested: bool,
) -> (Change, Effect) {
    let (change, effect) = match (recorded.and_then(rank), rank(found.verdict)) {
        _ if not_requested && found.verdict == Verdict::Untested => (Change::Same, Effect::None),
        (_, None) if found.verdict == Verdict::Inconclusive => (Change::Unjudged, Effect::Unjudged),
        (Some(old), None) if old > 1 => (Change::Unjudged, Effect::Unjudged),
        (_, None) => (Change::Same, Effect::None),
        (Some(4), Some(3)) => (Change::Same, Effect::None),
        (Some(old), Some(new)) if new > old => (Change::Fixed, Effect::None),
        (Some(old), Some(new)) if new < old => (Change::NewFailure, Effect::Worse),
        (Some(1), Some(_)) => (Change::Known, Effect::None),
        (Some(_), Some(_)) => (Change::Same, Effect::None),
        // Nothing decided it before, so that it is no worse; but it is not known yet either.
        (None, Some(1)) => (Change::NewVerdict, Effect::None),
        // The record has it as not shown, and now it is supported.
        (None, Some(4)) if recorded.is_some() => (Change::Fixed, Effect::None),
        (None, Some(_)) => (Change::Same, Effect::None),
    };
    match change {
        Change::NewFailure | Change::Fixed if !same_tests => (Change::TestSetChanged, effect),
        change => (change, effect),
    }
}
