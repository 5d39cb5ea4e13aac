//! Comparison of the causes behind a capability that is unsupported, as recorded.
//!
//! An unrecorded failure is new although the capability was lost before: whether it is in another test or the same one,
//! and whether or not the capability is optional ([`unrecorded`]).
//! If the set of tests has changed, the change gets that name, but this is no excuse, as for any verdict.

use super::{Change, Effect};
use crate::verdict::{Cause, unrecorded};
use model::verified::VerifiedCause;

/// Compares the causes of an unsupported capability with the recorded ones; the tests in `excused` are known to fail.
pub(super) fn compare(
    recorded: &[VerifiedCause],
    same_tests: bool,
    found: &[Cause],
    excused: impl Fn(&str) -> bool,
) -> (Change, Effect) {
    let is_new = unrecorded(recorded, found).iter().any(|cause| !excused(&cause.test));
    match (is_new, same_tests) {
        (false, _) => (Change::Known, Effect::None),
        (true, true) => (Change::NewFailure, Effect::Worse),
        (true, false) => (Change::TestSetChanged, Effect::Worse),
    }
}
