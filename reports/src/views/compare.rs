//! A run against the record, for exit codes.

use crate::matrix::{CellReport, Matrix};
use crate::verdict::Judgement;
use model::verified::{Verdict, VerifiedEntry};
use suites::capability::{Capability, Tier};

/// How a new verdict compares with the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictChange {
    /// Better than recorded.
    Better,
    /// As recorded, or recorded for the first time.
    Same,
    /// It could not be judged, so nothing is known to be better or worse.
    Unjudged,
    /// Worse than recorded.
    Worse,
}

/// One capability against the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Which.
    pub capability: Capability,
    /// What the record says; `None` if nothing.
    pub recorded: Option<Verdict>,
    /// What the run says.
    pub found: Verdict,
    /// How they compare.
    pub change: VerdictChange,
}

/// Compares a recorded verdict with what a run says.
///
/// A first record is never worse, but what is inconclusive was not judged.
/// What the record calls unsupported and the run did not test stays as it was.
/// In a filtered run, what was not asked for is not held against it.
pub fn change(recorded: Option<Verdict>, found: &Judgement, filtered: bool) -> VerdictChange {
    let rank = |v: Verdict| match v {
        Verdict::Supported => Some(4),
        Verdict::Partial => Some(3),
        Verdict::Offered => Some(2),
        Verdict::Unsupported => Some(1),
        Verdict::NotApplicable | Verdict::Untested | Verdict::Inconclusive => None,
    };
    match (recorded.and_then(rank), rank(found.verdict)) {
        _ if filtered && found.unrun > 0 && found.verdict == Verdict::Untested => VerdictChange::Same,
        (_, None) if found.verdict == Verdict::Inconclusive => VerdictChange::Unjudged,
        (Some(old), None) if old > 1 => VerdictChange::Unjudged,
        (_, None) => VerdictChange::Same,
        (Some(old), Some(new)) if new > old => VerdictChange::Better,
        (Some(old), Some(new)) if new < old => VerdictChange::Worse,
        (Some(_), Some(_)) => VerdictChange::Same,
        // It was recorded as not shown, and now it is.
        (None, Some(4)) if recorded.is_some() => VerdictChange::Better,
        (None, Some(_)) => VerdictChange::Same,
    }
}

/// Compares a cell under a profile with its recorded entry, capability by capability.
pub fn against(recorded: Option<&VerifiedEntry>, cell: &CellReport, profile: &str, filtered: bool) -> Vec<Comparison> {
    let judgements = cell.judgements.get(profile).into_iter().flatten();
    judgements
        .map(|(capability, judgement)| {
            let recorded = recorded.and_then(|r| r.capabilities.get(capability)).map(|c| c.verdict);
            let change = change(recorded, judgement, filtered);
            Comparison { capability: *capability, recorded, found: judgement.verdict, change }
        })
        .collect()
}

/// Whether `--strict` does without a capability: nobody needs it for running Kata, or this environment cannot show it.
pub fn is_optional(capability: Capability, judgement: &Judgement) -> bool {
    match capability.tier() {
        Tier::Required => false,
        // The environment took it away; a test that never ran is another matter.
        Tier::IfProvided => judgement.verdict == Verdict::Untested && judgement.unrun == 0,
        Tier::Shown | Tier::Detail | Tier::Listed => true,
    }
}

/// Whether `--strict` objects: a capability that is required and not supported.
pub fn is_lacking(capability: Capability, judgement: &Judgement) -> bool {
    !matches!(judgement.verdict, Verdict::Supported | Verdict::NotApplicable) && !is_optional(capability, judgement)
}

/// What a whole run comes to, beside the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Summary {
    /// As recorded or better: exit code 0.
    AsRecorded,
    /// Something could not be judged: exit code 3.
    Unjudged,
    /// Something is worse than recorded, or lacking under `--strict`: exit code 1.
    Worse,
}

impl Summary {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Summary::AsRecorded => 0,
            Summary::Worse => 1,
            Summary::Unjudged => 3,
        }
    }
}

/// Compares a whole run with what `recorded` finds for a distro, release, architecture, profile and environment.
///
/// What is worse counts before what could not be judged: the first is a finding, the second a gap.
pub fn summary<'a>(
    matrix: &Matrix,
    strict: bool,
    recorded: impl Fn(&CellReport, &str) -> Option<&'a VerifiedEntry>,
) -> Summary {
    let filtered = matrix.filter.is_some();
    let mut all = Summary::AsRecorded;
    if matrix.ending != crate::run::RunEnding::Finished || !matrix.unknown_profiles.is_empty() {
        all = Summary::Unjudged;
    }
    for cell in &matrix.cells {
        if !cell.errors.is_empty() || !cell.complete {
            all = all.max(Summary::Unjudged);
        }
        for (profile, judgements) in &cell.judgements {
            for comparison in against(recorded(cell, profile), cell, profile, filtered) {
                let found = judgements.get(&comparison.capability);
                let lacking =
                    strict && found.is_some_and(|j| is_lacking(comparison.capability, j) && !(filtered && j.unrun > 0));
                all = all.max(match comparison.change {
                    VerdictChange::Worse => Summary::Worse,
                    VerdictChange::Unjudged => Summary::Unjudged,
                    // Under `--strict` a gap is a gap: what is required must be supported.
                    VerdictChange::Better | VerdictChange::Same if lacking => Summary::Worse,
                    VerdictChange::Better | VerdictChange::Same => Summary::AsRecorded,
                });
            }
        }
    }
    all
}

/// The entry of a record that a cell under a profile replaces.
pub fn entry_of<'a>(entries: &'a [VerifiedEntry], cell: &CellReport, profile: &str) -> Option<&'a VerifiedEntry> {
    let id = &cell.cell;
    entries.iter().find(|e| {
        e.release == id.release && e.arch == id.arch && e.profile == profile && e.environment == id.environment
    })
}

#[cfg(test)]
mod tests;
