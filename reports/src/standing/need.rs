//! Capabilities that running Kata needs, and optional ones.

use crate::verdict::Judgement;
use model::verified::Verdict;
use suites::capability::{Capability, Tier};

/// Checks whether the overview shows a capability; the others have tables of their own.
pub fn is_main(capability: Capability) -> bool {
    !matches!(capability.tier(), Tier::Detail | Tier::Listed)
}

/// Checks whether a capability is optional under `--strict`: running Kata does not need it, or this environment cannot
/// show it.
pub fn is_optional(capability: Capability, judgement: &Judgement) -> bool {
    match capability.tier() {
        Tier::Required => false,
        // The environment took the capability away; a test that never ran is another matter.
        Tier::IfProvided => judgement.verdict == Verdict::Untested && judgement.unrun == 0,
        Tier::Shown | Tier::Detail | Tier::Listed => true,
    }
}

/// Checks whether `--strict` objects to a capability: it is required and not supported.
pub fn is_lacking(capability: Capability, judgement: &Judgement) -> bool {
    !matches!(judgement.verdict, Verdict::Supported | Verdict::NotApplicable) && !is_optional(capability, judgement)
}
