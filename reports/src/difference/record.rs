//! Comparison of a run with the record: it has no rules of its own, but uses [`Standings`], so that `diff` agrees with
//! every report.

use super::{Side, SignatureState, Turn, VerdictTurn};
use crate::journal::CellId;
use crate::standing::{Change, Effect, ProfileStanding, Standings};
use crate::verdict::Cause;
use model::profile::ProfileName;
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the standing of a cell under a profile.
pub(super) fn standing<'s>(
    standings: &'s Standings<'s>,
    cell: &CellId,
    profile: &str,
) -> Option<&'s ProfileStanding<'s>> {
    standings.cells.iter().find(|one| one.report.cell == *cell)?.profile(profile)
}

/// Returns the verdicts that differ from the record's, or affect the exit code; `after` is the run's side.
pub(super) fn verdicts(standings: &Standings<'_>, after: &Side) -> Vec<VerdictTurn> {
    let mut all: BTreeMap<Turn<'_>, Vec<ProfileName>> = BTreeMap::new();
    for cell in &standings.cells {
        let id = &cell.report.cell;
        for (profile, standing) in &cell.profiles {
            let known = after.known.get(&(id.clone(), (*profile).clone()));
            for (capability, one) in &standing.capabilities {
                let (was, is) = (one.recorded, Some(one.verdict()));
                let is_requested = known.is_none_or(|known| !known.not_requested.contains(capability));
                let is_compared = is_requested && !standing.entries.is_empty() && one.judgement.required > 0;
                // A capability that is unsupported as before, but by a new cause, is reported with the causes.
                let is_of_a_cause = was == is && matches!(one.change, Change::NewFailure | Change::TestSetChanged);
                if (is_compared && was != is) || (one.effect != Effect::None && !is_of_a_cause) {
                    let (change, effect) = (one.change, one.effect);
                    let turn = Turn { cell: id, capability: *capability, was, is, change, effect };
                    all.entry(turn).or_default().push((*profile).clone());
                }
            }
        }
    }
    all.into_iter().map(|(turn, profiles)| turn.of(profiles)).collect()
}

/// Returns how a failure of these tests compares: by the capability with the most telling state.
pub(super) fn state(standing: &ProfileStanding<'_>, signature: &str, tests: &BTreeSet<TestId>) -> SignatureState {
    let is_it = |cause: &Cause| cause.signature == signature;
    let is_known = |test: &str| standing.known.contains_key(test);
    let blamed = standing.capabilities.values().filter(|one| one.judgement.causes.iter().any(is_it));
    let states = blamed.map(|one| {
        let mut changing = one.telling_causes().into_iter();
        let is_behind_change = changing.any(|cause| is_it(cause) && !is_known(&cause.test));
        match one.change {
            Change::NewFailure | Change::TestSetChanged if is_behind_change => SignatureState::New,
            Change::NewVerdict if is_behind_change => SignatureState::NewVerdict,
            Change::Unjudged => SignatureState::NotCompared,
            Change::NewFailure
            | Change::TestSetChanged
            | Change::NewVerdict
            | Change::Fixed
            | Change::Known
            | Change::Same => SignatureState::Known,
        }
    });
    // A failure that supports no capability's verdict is not covered by the record.
    let of_nothing = || match tests.iter().all(|test| is_known(test)) {
        true => SignatureState::Known,
        false => SignatureState::NotCompared,
    };
    states.min().unwrap_or_else(of_nothing)
}

/// Describes the state of the known issues.
pub(super) fn known_issues(standings: &Standings<'_>) -> Vec<String> {
    standings.issues.iter().filter_map(|issue| issue.words()).collect()
}
