//! What a run writes back into the records.

use crate::matrix::{CellReport, Matrix};
use crate::redact;
use crate::run::RunEnding;
use crate::standing::{Effect, ProfileStanding, Standings};
use crate::verdict::{Cause, Judgement, Reason};
use model::verified::{Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry};
use std::collections::BTreeMap;

/// Longest cause in a record, in bytes: people read a record, and the evidence is in the reports.
const MAX_CAUSE: usize = 240;

/// Why a run, or a cell of it, is not written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The cell; `None` for the whole run.
    pub cell: Option<crate::journal::CellId>,
    /// Why, in words.
    pub reason: String,
}

/// The entries that a run may write, each with its distro, and what is withheld.
///
/// A capability that was inconclusive is left out: what an older run saw of it is not of this one's day and versions.
/// So where the old entry judges what this run could not, the old one stays, unless this run found something worse.
/// A capability that no test exists for is left out; `not-applicable` is written, so that a reader tells it from what nobody looked at.
/// Runs that are filtered, unfinished, or about candidates write nothing, nor do cells in error.
pub fn verified_entries(standings: &Standings<'_>) -> (Vec<(String, VerifiedEntry)>, Vec<Withheld>) {
    let matrix = standings.matrix;
    if let Some(reason) = withheld_run(matrix) {
        return (Vec::new(), vec![Withheld { cell: None, reason }]);
    }
    let (mut entries, mut withheld) = (Vec::new(), Vec::new());
    for standing in &standings.cells {
        let cell = standing.report;
        match withheld_cell(cell) {
            Some(reason) => withheld.push(Withheld { cell: Some(cell.cell.clone()), reason }),
            None => {
                for (profile, standing) in &standing.profiles {
                    if let Some(reason) = withheld_entry(profile, standing) {
                        withheld.push(Withheld { cell: Some(cell.cell.clone()), reason });
                    } else if let Some(entry) = entry(matrix, cell, profile) {
                        entries.push((cell.cell.distro.clone(), entry));
                    }
                }
            }
        }
    }
    (entries, withheld)
}

fn withheld_run(matrix: &Matrix) -> Option<String> {
    match (matrix.candidate, &matrix.filter, matrix.ending) {
        (true, _, _) => Some("the run was about candidates or another record".to_owned()),
        (_, Some(filter), _) => Some(format!("the run was filtered: {filter}")),
        (_, _, RunEnding::Interrupted) => Some("the run was interrupted".to_owned()),
        (_, _, RunEnding::Killed) => Some("the run has no end".to_owned()),
        (false, None, RunEnding::Finished) => None,
    }
}

fn withheld_cell(cell: &CellReport) -> Option<String> {
    if let Some(error) = cell.errors.first() {
        return Some(format!("{}: {}", error.phase, error.message));
    }
    if cell.facts.is_none() {
        return Some("nothing is known of what it ran on".to_owned());
    }
    (!cell.complete).then(|| "it has no end".to_owned())
}

/// Why an old entry stays.
fn withheld_entry(profile: &str, standing: &ProfileStanding<'_>) -> Option<String> {
    let tested = standing.entry?.tested;
    if standing.capabilities.values().any(|c| c.effect == Effect::Worse) {
        return None;
    }
    let lost = standing.capabilities.iter();
    let lost = lost.filter(|(_, c)| c.recorded.is_some() && c.verdict() == Verdict::Inconclusive);
    let lost: Vec<&str> = lost.map(|(capability, _)| capability.name()).collect();
    let what = lost.join(", ");
    (!lost.is_empty()).then(|| format!("{profile}: {what} could not be judged, as on {tested}: that entry stays"))
}

fn entry(matrix: &Matrix, cell: &CellReport, profile: &str) -> Option<VerifiedEntry> {
    let facts = cell.facts.as_ref()?;
    let mut capabilities = BTreeMap::new();
    for (capability, judgement) in cell.judgements.get(profile)? {
        match judgement.verdict {
            Verdict::Inconclusive => {}
            Verdict::Untested if judgement.required == 0 => {}
            _ => {
                capabilities.insert(*capability, capability_of(judgement));
            }
        }
    }
    if capabilities.is_empty() {
        return None;
    }
    Some(VerifiedEntry {
        release: cell.cell.release.clone(),
        arch: cell.cell.arch,
        profile: profile.to_owned(),
        environment: cell.cell.environment,
        basis: facts.basis,
        tested: cell.finished?.to_zoned(jiff::tz::TimeZone::UTC).date(),
        harness: matrix.harness.clone(),
        test_set: matrix.test_set.clone(),
        shaped: matrix.shaped,
        versions: facts.versions.clone(),
        capabilities,
    })
}

fn capability_of(judgement: &Judgement) -> VerifiedCapability {
    let line = |text: String| redact::one_line(&text, MAX_CAUSE);
    // Cut with the component's name, as it is written.
    let blaming = |c: &Cause| VerifiedCause::from(line(format!("{}: {} ({})", c.component, c.message, c.test)));
    let of_nobody = |r: &Reason| VerifiedCause::of_nobody(line(r.to_string()));
    VerifiedCapability {
        verdict: judgement.verdict,
        causes: match judgement.verdict {
            Verdict::Unsupported | Verdict::Partial => judgement.causes.iter().map(blaming).collect(),
            Verdict::Untested => judgement.reasons.iter().map(of_nobody).collect(),
            Verdict::Supported | Verdict::Offered | Verdict::NotApplicable | Verdict::Inconclusive => Vec::new(),
        },
        workaround: judgement.workaround.clone(),
    }
}

#[cfg(test)]
mod tests;
