//! Choice of capabilities for the tables.

use crate::matrix::Matrix;
use crate::standing::is_main;
use suites::capability::Capability;

/// Returns the capabilities that are judged under a profile: those of the overview, and the others.
pub(crate) fn columns(matrix: &Matrix, profile: &str) -> (Vec<Capability>, Vec<Capability>) {
    matrix.capabilities(profile).into_iter().partition(|capability| is_main(*capability))
}
