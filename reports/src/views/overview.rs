//! What a cell comes to under a profile, for a reader in a hurry.

use crate::matrix::{CellReport, Matrix};
use crate::views::compare::is_optional;
use model::verified::Verdict;
use suites::capability::{Capability, Tier};

/// The required capabilities of a cell, by what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// Required capabilities that are supported.
    pub(crate) supported: Vec<Capability>,
    /// Required capabilities that are not.
    pub(crate) lacking: Vec<Capability>,
    /// Required capabilities that nobody knows of.
    pub(crate) unknown: Vec<Capability>,
    /// Columns of the overview that this environment cannot test; they decide nothing, and a reader must see them.
    pub(crate) untested: Vec<Capability>,
}

impl Overview {
    /// The one verdict for all: the worst that was shown, or `untested` if nothing was.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.lacking.is_empty(), self.unknown.is_empty(), self.supported.is_empty()) {
            (false, _, _) => Verdict::Unsupported,
            (true, true, false) => Verdict::Supported,
            (true, false, _) => Verdict::Inconclusive,
            (true, true, true) => Verdict::Untested,
        }
    }

    /// In words: `all 6`, `all 6 tested; not tested: vsock, net`, `not virtio-fs; unknown: blk`.
    pub(crate) fn words(&self) -> String {
        let judged = self.judged();
        if self.untested.is_empty() || self.verdict() == Verdict::Untested {
            return judged;
        }
        let names: Vec<&str> = self.untested.iter().map(|c| c.short()).collect();
        let tested = if self.verdict() == Verdict::Supported { " tested" } else { "" };
        format!("{judged}{tested}; not tested: {}", names.join(", "))
    }

    fn judged(&self) -> String {
        let names = |all: &[Capability]| all.iter().map(|c| c.short()).collect::<Vec<_>>().join(", ");
        match (self.lacking.is_empty(), self.unknown.is_empty()) {
            (true, true) if self.supported.is_empty() => "nothing tested".to_owned(),
            (true, true) => format!("all {}", self.supported.len()),
            (false, true) => format!("not {}", names(&self.lacking)),
            (true, false) => format!("unknown: {}", names(&self.unknown)),
            (false, false) => format!("not {}; unknown: {}", names(&self.lacking), names(&self.unknown)),
        }
    }
}

/// Sums a cell up under a profile by what `--strict` asks for.
pub(crate) fn overview(cell: &CellReport, profile: &str) -> Overview {
    let mut overview = Overview::default();
    for (capability, judgement) in cell.judgements.get(profile).into_iter().flatten() {
        if judgement.verdict == Verdict::NotApplicable {
            continue;
        }
        if is_optional(*capability, judgement) {
            if judgement.verdict == Verdict::Untested && is_main(*capability) && judgement.required > 0 {
                overview.untested.push(*capability);
            }
            continue;
        }
        match judgement.verdict {
            Verdict::Supported => overview.supported.push(*capability),
            Verdict::Unsupported | Verdict::Partial => overview.lacking.push(*capability),
            Verdict::Offered | Verdict::Untested | Verdict::Inconclusive | Verdict::NotApplicable => {
                overview.unknown.push(*capability);
            }
        }
    }
    overview
}

/// The capabilities that the overview shows; the rest has a table of its own.
pub(crate) fn is_main(capability: Capability) -> bool {
    !matches!(capability.tier(), Tier::Detail | Tier::Listed)
}

/// The capabilities that anything is said of under a profile: those of the overview, and the rest.
pub(crate) fn columns(matrix: &Matrix, profile: &str) -> (Vec<Capability>, Vec<Capability>) {
    matrix.capabilities(profile).into_iter().partition(|capability| is_main(*capability))
}
