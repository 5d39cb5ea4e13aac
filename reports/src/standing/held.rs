//! A merged run as a pipeline holds it: what it comes to beside what was planned.
//!
//! The module `pipeline` decides that. What it decides takes the place of what the run alone would come to, so that each
//! face and the exit code say the same.

use super::{Change, ChangeRow, Effect, Standings};
use crate::journal::CellId;
use std::collections::BTreeSet;

/// Why a run that was given says nothing.
pub(crate) const UNREAD: &str = "a bundle cannot be read";
/// Why a planned cell says nothing.
pub(crate) const MISSING: &str = "no bundle has it to its end";

/// What a pipeline makes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it does to the exit code.
    pub effect: Effect,
    /// Whether nothing of what was planned was judged: then no gap is a warning.
    pub nothing_judged: bool,
    /// The planned cells that no run has to its end.
    pub missing: BTreeSet<CellId>,
    /// Runs that were given and cannot be read, each by its name and why.
    pub unread: Vec<String>,
}

impl<'m> Standings<'m> {
    /// The same as a pipeline holds it: what Kata needs, is unsupported and no record decides is worse.
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

    /// What a change does to the exit code of the whole: in a pipeline a gap may do nothing.
    pub fn effect_of(&self, row: &ChangeRow<'_>) -> Effect {
        match row.effect {
            Effect::Unjudged if self.tolerates_gaps(Some(row.cell)) => Effect::None,
            effect => effect,
        }
    }

    /// Whether what could not be judged makes no exit code: of a cell, or of the whole run.
    pub fn tolerates_gaps(&self, cell: Option<&CellId>) -> bool {
        let is_missing = |held: &Held| cell.is_some_and(|cell| held.missing.contains(cell));
        self.held.as_ref().is_some_and(|held| !held.nothing_judged && !is_missing(held))
    }
}
