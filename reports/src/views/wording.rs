//! How the reports for people word what they have in common.

use crate::journal::{CellFacts, CellId, RunFilter};
use crate::matrix::{CellReport, Matrix};
use crate::run::RunEnding;
use crate::standing::Standings;
use crate::views::disagreement::disagreements;
use model::package::PackageVersion;
use model::verified::{Basis, Verdict};
use std::collections::BTreeSet;
use suites::outcome::{Component, Outcome};

/// The word for a basis; a cell that never got far enough to know has none.
pub(crate) fn basis(basis: Option<Basis>) -> &'static str {
    basis.map_or("unknown", Basis::name)
}

/// Whether a verdict was shown, so that a reader must see on which basis.
pub(crate) fn is_shown_on_a_basis(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Supported | Verdict::Partial | Verdict::Unsupported)
}

/// What distinguishes the cells of a matrix: `debian 13`, and what else differs between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    has_arch: bool,
    has_environment: bool,
}

impl Labels {
    /// Those of a matrix.
    pub(crate) fn new(matrix: &Matrix) -> Labels {
        Labels::among(matrix.cells.iter().map(|cell| &cell.cell))
    }

    /// Those of cells that are shown together.
    pub(crate) fn among<'c>(mut cells: impl Iterator<Item = &'c CellId>) -> Labels {
        let mut labels = Labels { has_arch: false, has_environment: false };
        let Some(first) = cells.next() else { return labels };
        for cell in cells {
            labels.has_arch |= cell.arch != first.arch;
            labels.has_environment |= cell.environment != first.environment;
        }
        labels
    }

    /// That of a cell.
    pub(crate) fn of(self, cell: &CellReport) -> String {
        self.of_id(&cell.cell)
    }

    /// That of a cell by its id.
    pub(crate) fn of_id(self, id: &CellId) -> String {
        let mut label = self.of_release(id);
        if self.has_environment {
            label.push_str(&format!(" {}", id.environment));
        }
        label
    }

    /// That of a cell's release, whatever its environment.
    pub(crate) fn of_release(self, id: &CellId) -> String {
        let mut label = format!("{} {}", id.distro, id.release);
        if self.has_arch {
            label.push_str(&format!(" {}", id.arch));
        }
        label
    }
}

/// What all cells have in common and their labels therefore leave out: `x86_64, container`.
pub(crate) fn common(matrix: &Matrix) -> String {
    let Some(first) = matrix.cells.first().map(|c| &c.cell) else { return "no cell".to_owned() };
    let labels = Labels::new(matrix);
    let mut words = Vec::new();
    if !labels.has_arch {
        words.push(first.arch.name());
    }
    if !labels.has_environment {
        words.push(first.environment.name());
    }
    words.join(", ")
}

/// What a reader must know of a run before believing it.
pub(crate) fn caveats(standings: &Standings<'_>) -> Vec<String> {
    let matrix = standings.matrix;
    let mut out = Vec::new();
    match matrix.ending {
        RunEnding::Finished => {}
        RunEnding::Interrupted => out.push("The run was interrupted: what it did not reach is untested.".to_owned()),
        RunEnding::Killed => out.push("The run has no end: it was killed, or still runs.".to_owned()),
    }
    if let Some(filter) = &matrix.filter {
        let asked = match filter {
            RunFilter::RerunOf(run) => {
                format!("Only what did not pass in the run {run} was asked for; of what that does")
            }
            RunFilter::Matching(text) => format!("Only tests matching `{text}` were asked for; of what they do"),
        };
        out.push(format!("{asked} not prove, nothing is said or written back."));
    }
    if standings.recorded.is_of_a_base_run() {
        out.push(
            "Compared with the base run, not with the record: what is called recorded is what the release showed \
             without the candidates."
                .to_owned(),
        );
    }
    if matrix.candidate {
        out.push("Candidate packages or another record were laid over; nothing is written back.".to_owned());
    }
    let mut brought: Vec<String> = Vec::new();
    for (component, what) in matrix.cells.iter().filter_map(|c| c.facts.as_ref()).flat_map(|f| &f.candidates) {
        let words = format!("{component} {what}");
        if !brought.contains(&words) {
            brought.push(words);
        }
    }
    if !brought.is_empty() {
        let what = brought.join(", ");
        out.push(format!("Brought along: {what}; nothing but Kata's own results is written back."));
    }
    if matrix.shaped {
        let why = "keys that --mirror-key names, or an image without its checksum, vouch for the packages, so that \
                   nothing is said of the distro's own";
        out.push(format!("The run is shaped: {why}."));
    }
    out.extend(
        matrix.conflicts.iter().map(|conflict| {
            format!("Runs that were merged do not go together in {}: {}.", conflict.cell, conflict.what)
        }),
    );
    out.extend(disagreements(matrix));
    out.extend(standings.notes());
    out.extend(standings.issues.iter().filter_map(|issue| sentence(&issue.words()?)));
    for profile in &matrix.unknown_profiles {
        out.push(format!("Profile {profile} is in the journal but is not known here: it is not judged."));
    }
    out
}

/// A text with a capital at its beginning and a full stop at its end.
fn sentence(words: &str) -> Option<String> {
    let first = words.chars().next()?;
    Some(format!("{}{}.", first.to_uppercase(), &words[first.len_utf8()..]))
}

/// What a run is compared with.
pub(crate) fn compared_with(standings: &Standings<'_>) -> &'static str {
    if standings.recorded.is_of_a_base_run() { "the base run" } else { "the record" }
}

/// What the section of changes says where there are none.
pub(crate) fn no_changes(standings: &Standings<'_>) -> &'static str {
    let is_recorded = standings.cells.iter().flat_map(|cell| cell.profiles.values()).any(|p| !p.entries.is_empty());
    if standings.recorded.is_of_a_base_run() {
        return "None: all is as in the base run.";
    }
    if is_recorded { "None: all is as recorded." } else { "None: nothing was recorded of these cells before." }
}

/// Whether the Kata versions of each profile can run on a release: each answer once, with the profiles it is for.
pub(crate) fn answers<'m>(standings: &Standings<'m>, release: &CellId) -> Vec<(Vec<&'m str>, String)> {
    let mut all: Vec<(Vec<&str>, String)> = Vec::new();
    for profile in &standings.matrix.profiles {
        let words = standings.answer(release, &profile.name).words();
        match all.iter_mut().find(|(_, known)| *known == words) {
            Some((profiles, _)) => profiles.push(&profile.name),
            None => all.push((vec![&profile.name], words)),
        }
    }
    all
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
        Outcome::Fail(failure) => format!("{}: {}", failure.component, failure.observed),
        Outcome::Skip { reason } => reason.clone(),
        Outcome::Blocked { by } => format!("blocked by {by}"),
        Outcome::Error { message } => message.clone(),
    }
}

/// The log that tells most of a failure that blames a component.
pub(crate) fn relevant<'f>(files: &BTreeSet<&'f str>, blamed: Option<Component>) -> Option<&'f str> {
    let wanted = match blamed {
        Some(Component::Virtiofsd) => "virtiofsd",
        Some(Component::Qemu) => "qemu",
        Some(Component::CloudHypervisor | Component::Firecracker) => "vmm",
        _ => "serial",
    };
    let is_wanted = |file: &&&str| file.rsplit('/').next().is_some_and(|name| name.contains(wanted));
    files.iter().rfind(is_wanted).or_else(|| files.last()).copied()
}

/// What the packages were and where they came from: `1:7.2 (bookworm-security)`.
pub(crate) fn version(facts: &CellFacts, package: &str) -> String {
    let version = facts.versions.get(package).map_or("?", PackageVersion::as_str);
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
