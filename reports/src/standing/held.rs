//! A merged run as a pipeline judges it, compared with the planned cells.
//!
//! The module `pipeline` makes the judgement. It replaces the effect that the run alone would have, so that all outputs
//! and the exit code agree.

use super::{Change, ChangeRow, Effect, Standings};
use crate::journal::CellId;
use std::collections::BTreeSet;

/// What is said of a run that was given and does not count as a whole.
pub(crate) const UNREAD: &str = "a bundle was left out in whole or in part";
/// Why a planned cell says nothing.
pub(crate) const MISSING: &str = "no bundle has finished it";

/// A pipeline's judgement of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The effect on the exit code.
    pub effect: Effect,
    /// Whether no planned cell was judged: in this case no gap is a mere warning.
    pub nothing_judged: bool,
    /// The planned cells that no run completed.
    pub missing: BTreeSet<CellId>,
    /// Runs that were given but do not count as a whole, each with its name and the reason.
    pub unread: Vec<String>,
}

impl<'m> Standings<'m> {
    /// Applies a pipeline's judgement: an unsupported capability that Kata needs and no record decides is worse.
    #[must_use]
    pub fn held(mut self, held: Held) -> Standings<'m> {
        let profiles = self.cells.iter_mut().flat_map(|cell| cell.profiles.values_mut());
        for (capability, one) in profiles.flat_map(|profile| &mut profile.capabilities) {
            if one.change == Change::NewVerdict && capability.is_needed() {
                one.effect = Effect::Worse;
            }
        }
        self.held = Some(held);
        self
    }

    /// Returns the effect of a change on the whole run's exit code: in a pipeline a gap may have none.
    pub fn effect_of(&self, row: &ChangeRow<'_>) -> Effect {
        match row.effect {
            Effect::Unjudged if self.tolerates_gaps(Some(row.cell)) => Effect::None,
            effect => effect,
        }
    }

    /// Checks whether results that could not be judged leave the exit code alone: those of a cell, or of the whole run.
    pub fn tolerates_gaps(&self, cell: Option<&CellId>) -> bool {
        let is_missing = |held: &Held| cell.is_some_and(|cell| held.missing.contains(cell));
        self.held.as_ref().is_some_and(|held| !held.nothing_judged && !is_missing(held))
    }
}
