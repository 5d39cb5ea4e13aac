//! Which capabilities running Kata needs, and which it does without.

use crate::verdict::Judgement;
use model::verified::Verdict;
use suites::capability::{Capability, Tier};

/// Whether the overview shows a capability; the rest has a table of its own.
pub fn is_main(capability: Capability) -> bool {
    !matches!(capability.tier(), Tier::Detail | Tier::Listed)
}

/// Whether `--strict` does without a capability: nobody needs it for running Kata, or this environment cannot show it.
pub fn is_optional(capability: Capability, judgement: &Judgement) -> bool {
    match capability.tier() {
        Tier::Required => false,
        // The environment took it away; a test that never ran is another matter.
        Tier::IfProvided => judgement.verdict == Verdict::Untested && judgement.unrun == 0,
        Tier::Shown | Tier::Detail | Tier::Listed => true,
    }
}

/// Whether `--strict` objects: a capability that is required and not supported.
pub fn is_lacking(capability: Capability, judgement: &Judgement) -> bool {
    !matches!(judgement.verdict, Verdict::Supported | Verdict::NotApplicable) && !is_optional(capability, judgement)
}
