//! Choice of capabilities for the tables.

use crate::matrix::Matrix;
use crate::standing::is_main;
use suites::capability::Capability;

/// Returns the capabilities that are judged under a profile: those of the overview, and the others.
///
/// A capability of which a filter left out all tests in every cell has no column.
pub(crate) fn columns(matrix: &Matrix, profile: &str) -> (Vec<Capability>, Vec<Capability>) {
    let is_shown = |capability: &Capability| {
        let mut judged = matrix.cells.iter().filter_map(|cell| Some((cell, cell.judgement(profile, *capability)?)));
        judged.any(|(cell, judgement)| judgement.required > 0 && !cell.is_unchosen(judgement))
    };
    matrix.capabilities(profile).into_iter().filter(is_shown).partition(|capability| is_main(*capability))
}
