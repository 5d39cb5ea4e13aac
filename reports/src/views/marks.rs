//! Small words and shared sentences of the reports.

use crate::matrix::{CellReport, Matrix};
use crate::run::Ending;
use crate::verdict::Judgement;
use kata_osinfo::verified::{Basis, Verdict};
use suites::capability::{Capability, Tier};
use suites::outcome::Outcome;

/// The word for a basis; a cell that never came so far as to know has none.
pub(crate) fn basis(basis: Option<Basis>) -> &'static str {
    basis.map_or("unknown", Basis::name)
}

/// Whether a verdict rests on the basis, so that a reader must see which.
pub(crate) fn rests(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Supported | Verdict::Partial | Verdict::Unsupported)
}

/// The capabilities that the overview shows; the rest has a table of its own.
pub(crate) fn is_main(capability: Capability) -> bool {
    !matches!(capability.tier(), Tier::Detail | Tier::Listed)
}

/// `debian 13`, and what else tells the cell from the others of the matrix.
pub(crate) fn row(matrix: &Matrix, cell: &CellReport) -> String {
    let id = &cell.cell;
    let mut row = format!("{} {}", id.distro, id.release);
    if matrix.cells.iter().any(|c| c.cell.arch != id.arch) {
        row.push_str(&format!(" {}", id.arch));
    }
    if matrix.cells.iter().any(|c| c.cell.environment != id.environment) {
        row.push_str(&format!(" {}", id.environment));
    }
    row
}

/// What all cells have in common and the rows therefore leave out: `x86_64, container`.
pub(crate) fn common(matrix: &Matrix) -> String {
    let Some(first) = matrix.cells.first().map(|c| &c.cell) else { return "no cell".to_owned() };
    let mut words = Vec::new();
    if matrix.cells.iter().all(|c| c.cell.arch == first.arch) {
        words.push(first.arch.name());
    }
    if matrix.cells.iter().all(|c| c.cell.environment == first.environment) {
        words.push(first.environment.name());
    }
    words.join(", ")
}

/// What a reader must know of a run before believing it.
pub(crate) fn caveats(matrix: &Matrix) -> Vec<String> {
    let mut out = Vec::new();
    match matrix.ending {
        Ending::Finished => {}
        Ending::Interrupted => out.push("The run was interrupted: what it did not reach is untested.".to_owned()),
        Ending::Killed => out.push("The run has no end: it was killed, or still runs.".to_owned()),
    }
    if let Some(filter) = &matrix.filter {
        out.push(format!("Only tests matching `{filter}` were asked for; nothing is written back."));
    }
    if matrix.candidate {
        out.push(
            "Candidate packages, components or another record were laid over; nothing is written back.".to_owned(),
        );
    }
    out.extend(crate::views::disagreements::disagreements(matrix));
    for profile in &matrix.unknown_profiles {
        out.push(format!("Profile {profile} is in the journal but is not known here: it is not judged."));
    }
    out
}

/// `1 min 05 s`, `4.2 s`.
pub(crate) fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// What an outcome has to say beyond its word.
pub(crate) fn detail(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => String::new(),
        Outcome::Fail { message, blames } => format!("{blames}: {message}"),
        Outcome::Skip { reason } => reason.clone(),
        Outcome::Blocked { by } => format!("blocked by {by}"),
        Outcome::Error { message } => message.clone(),
    }
}

/// `37 of 41 tests passed`, where tests are required.
pub(crate) fn tally(judgement: &Judgement) -> Option<String> {
    (judgement.required > 0).then(|| format!("{} of {} tests passed", judgement.passed, judgement.required))
}

/// What a cell comes to under a profile, for a reader in a hurry.
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
        if crate::views::compare::is_optional(*capability, judgement) {
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

/// What the packages were and where they came from: `1:7.2 (bookworm-security)`.
pub(crate) fn version(facts: &crate::journal::CellFacts, package: &str) -> String {
    let version = facts.versions.get(package).map_or("?", String::as_str);
    match facts.suites.get(package) {
        Some(suite) => format!("{version} ({suite})"),
        None => version.to_owned(),
    }
}

/// What a run was, in one line: id, harness, when, how long.
pub(crate) fn head(matrix: &Matrix) -> String {
    let mut words = vec![format!("run {}", matrix.run), format!("harness {}", matrix.harness)];
    if let Some(started) = matrix.started {
        words.push(started.strftime("%Y-%m-%d %H:%M UTC").to_string());
        if let Some(finished) = matrix.finished {
            let millis = finished.as_millisecond().saturating_sub(started.as_millisecond());
            words.push(duration(u64::try_from(millis).unwrap_or(0)));
        }
    }
    words.join(" · ")
}
