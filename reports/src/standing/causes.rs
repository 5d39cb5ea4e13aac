//! What is unsupported, as recorded: whether by the same causes.
//!
//! A failure that the record does not have is a new one, though the capability was lost before: be it of another test or
//! of the same one, and be the capability optional or not ([`unrecorded`]).
//! Under another set of tests it is called that, and is no excuse, as for any verdict.

use super::{Change, Effect};
use crate::verdict::{Cause, unrecorded};
use model::verified::VerifiedCause;

/// How what is unsupported compares with what is recorded as unsupported; of tests in `excused` it is known that they fail.
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
