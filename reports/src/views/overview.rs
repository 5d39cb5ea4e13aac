//! Which capabilities the tables show, and where.

use crate::matrix::Matrix;
use crate::standing::is_main;
use suites::capability::Capability;

/// The capabilities that anything is said of under a profile: those of the overview, and the rest.
pub(crate) fn columns(matrix: &Matrix, profile: &str) -> (Vec<Capability>, Vec<Capability>) {
    matrix.capabilities(profile).into_iter().partition(|capability| is_main(*capability))
}
