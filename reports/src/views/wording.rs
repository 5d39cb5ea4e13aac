//! Common wording of the reports for people.

use crate::journal::{CellFacts, CellId, RunFilter};
use crate::matrix::{CellReport, Matrix};
use crate::redact::one_line;
use crate::run::RunEnding;
use crate::standing::{Effect, Held, IssueStanding, MISSING, Standings, UNREAD};
use crate::views::disagreement::disagreements;
use crate::views::record::future_end_reason;
use model::package::PackageVersion;
use model::verified::{Basis, Verdict};
use model::words::{duration, form, list_or};
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::{Component, Outcome};

/// Maximum of reasons of one kind that are named for an exit code.
const MOST_REASONS: usize = 3;
/// Maximum size of a reason, in bytes.
const MAX_REASON: usize = 400;

/// Returns the name of a basis; `unknown` if the cell never got far enough to know.
pub(crate) fn basis(basis: Option<Basis>) -> &'static str {
    basis.map_or("unknown", Basis::name)
}

/// Checks whether a verdict was shown by use, so that a reader must see its basis.
pub(crate) fn is_shown_on_a_basis(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Supported | Verdict::Partial | Verdict::Unsupported)
}

/// Labels that distinguish the cells of a matrix: `debian 13`, and other parts of the id that differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    has_arch: bool,
    has_environment: bool,
}

impl Labels {
    /// Makes the labels of a matrix.
    pub(crate) fn new(matrix: &Matrix) -> Labels {
        Labels::among(matrix.cells.iter().map(|cell| &cell.cell))
    }

    /// Makes the labels of cells that are shown together.
    pub(crate) fn among<'c>(mut cells: impl Iterator<Item = &'c CellId>) -> Labels {
        let mut labels = Labels { has_arch: false, has_environment: false };
        let Some(first) = cells.next() else { return labels };
        for cell in cells {
            labels.has_arch |= cell.arch != first.arch;
            labels.has_environment |= cell.environment != first.environment;
        }
        labels
    }

    /// Returns the label of a cell.
    pub(crate) fn of(self, cell: &CellReport) -> String {
        self.of_id(&cell.cell)
    }

    /// Returns the label of a cell by its id.
    pub(crate) fn of_id(self, id: &CellId) -> String {
        let mut label = self.of_release(id);
        if self.has_environment {
            label.push_str(&format!(" {}", id.environment));
        }
        label
    }

    /// Returns the label of a cell's release, in any environment.
    pub(crate) fn of_release(self, id: &CellId) -> String {
        let mut label = format!("{} {}", id.distro, id.release);
        if self.has_arch {
            label.push_str(&format!(" {}", id.arch));
        }
        label
    }
}

/// Returns the parts that all cells have in common, and that their labels therefore leave out: `x86_64, container`.
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

/// Returns warnings that a reader of a run needs before believing it.
pub(crate) fn caveats(standings: &Standings<'_>) -> Vec<String> {
    let matrix = standings.matrix;
    let mut out = Vec::new();
    match matrix.ending {
        RunEnding::Finished => {}
        RunEnding::Interrupted => out.push("The run was interrupted: what it did not reach is untested.".to_owned()),
        RunEnding::Killed => out.push("The run has no end: it was killed, or still runs.".to_owned()),
    }
    let to_come =
        future_end_reason(matrix.finished).map(|why| format!("{why}; it is not written back, and no site shows it"));
    out.extend(to_come.and_then(|why| sentence(&why)));
    out.extend(filters(matrix));
    if standings.recorded.is_of_a_base_run() {
        out.push(
            "Compared with the base run, not with the record: \"recorded\" means what the release showed without the \
             candidates."
                .to_owned(),
        );
    }
    if matrix.candidate {
        out.push("The run tested candidate packages or used another record; nothing is written back.".to_owned());
    }
    let mut components: Vec<String> = Vec::new();
    for words in matrix.cells.iter().flat_map(CellReport::supplied_components) {
        if !components.contains(&words) {
            components.push(words);
        }
    }
    if !components.is_empty() {
        let what = components.join(", ");
        out.push(format!("Replaced or added components: {what}; only Kata's own results are written back."));
    }
    if matrix.shaped {
        let why = "the packages are vouched for only by keys given with --mirror-key, or by the caller's image or \
                   records, so that the results may not be about the distro's own packages";
        out.push(format!("The run is shaped: {why}."));
    }
    out.extend(matrix.conflicts.iter().map(|conflict| match conflict.refused {
        true => format!("Some merged results do not count in {}: {}.", conflict.cell, conflict.what),
        false => format!("Merged runs are not comparable in {}: {}.", conflict.cell, conflict.what),
    }));
    out.extend(disagreements(matrix));
    out.extend(standings.notes());
    out.extend(standings.issues.iter().filter_map(|issue| sentence(&issue.words()?)));
    for profile in &matrix.unknown_profiles {
        out.push(format!("The journal's profile {profile} is unknown to this version: it is not judged."));
    }
    out
}

/// Describes the filters: once for all cells, or by cell if runs with different filters were merged.
fn filters(matrix: &Matrix) -> Vec<String> {
    let mut by_filter: Vec<(&RunFilter, Vec<String>)> = Vec::new();
    for cell in &matrix.cells {
        let Some(filter) = &cell.filter else { continue };
        match by_filter.iter_mut().find(|(known, _)| *known == filter) {
            Some((_, cells)) => cells.push(cell.cell.to_string()),
            None => by_filter.push((filter, vec![cell.cell.to_string()])),
        }
    }
    let describe = |filter: &RunFilter| {
        let beginning = match filter {
            RunFilter::RerunOf(run) => {
                format!("only tests that did not pass in the run {run} were requested; capabilities that they do")
            }
            RunFilter::Matching(_) => {
                let texts = list_or(filter.filters().iter().map(|text| format!("`{text}`")));
                format!("only tests matching {texts} were requested; capabilities that they do")
            }
        };
        format!("{beginning} not prove are neither judged nor written back")
    };
    match &matrix.filter {
        Some(filter) if by_filter.iter().all(|(one, _)| *one == filter) => {
            sentence(&describe(filter)).into_iter().collect()
        }
        _ => {
            let of_cells = |(filter, cells): &(&RunFilter, Vec<String>)| {
                sentence(&format!("in {} {}", cells.join(", "), describe(filter)))
            };
            by_filter.iter().filter_map(of_cells).collect()
        }
    }
}

/// Says how many capabilities the filters left out of these cells, in whole or in part; `None` if they left out none.
pub(crate) fn not_chosen<'m>(cells: impl IntoIterator<Item = &'m CellReport>) -> Option<String> {
    let (mut lacking, mut chosen) = (BTreeSet::new(), BTreeSet::new());
    let mut option = "rerun";
    for cell in cells {
        if matches!(cell.filter, Some(RunFilter::Matching(_))) {
            option = "--test";
        }
        for (capability, judgement) in cell.judgements.values().flatten().filter(|(_, one)| one.required > 0) {
            if cell.lacks_tests(judgement) {
                lacking.insert(*capability);
            }
            if !cell.is_unchosen(judgement) {
                chosen.insert(*capability);
            }
        }
    }
    let whole = lacking.difference(&chosen).count();
    let part = lacking.len() - whole;
    let words = |count: usize| format!("{count} {}", form(count, "capability was", "capabilities were"));
    match (whole, part) {
        (0, 0) => None,
        (0, part) => Some(format!("{} chosen only in part ({option})", words(part))),
        (whole, 0) => Some(format!("{} not chosen ({option})", words(whole))),
        (whole, part) => Some(format!("{} not chosen ({option}), {part} only in part", words(whole))),
    }
}

/// Returns a text with a capital at its start and a full stop at its end.
fn sentence(words: &str) -> Option<String> {
    let first = words.chars().next()?;
    Some(format!("{}{}.", first.to_uppercase(), &words[first.len_utf8()..]))
}

/// Names the reference that a run is compared with.
pub(crate) fn compared_with(standings: &Standings<'_>) -> &'static str {
    if standings.recorded.is_of_a_base_run() { "the base run" } else { "the record" }
}

/// Returns the text for a report without changes, untrusted; with the exit code, and everything that was not judged.
pub(crate) fn no_changes(standings: &Standings<'_>) -> String {
    if standings.exit_code() != 0 || !standings.not_judged().is_empty() {
        return format!("None is known. {}", exit_code(standings));
    }
    let is_recorded = standings.cells.iter().flat_map(|cell| cell.profiles.values()).any(|p| !p.entries.is_empty());
    let is_filtered = standings.matrix.cells.iter().any(|cell| cell.filter.is_some());
    let words = match (standings.recorded.is_of_a_base_run(), is_recorded, is_filtered) {
        (true, _, _) => "None: all is as in the base run.",
        (false, true, false) => "None: all is as recorded.",
        (false, true, true) => "None: all that was requested is as recorded.",
        (false, false, _) => "None: nothing was recorded for these cells before.",
    };
    format!("{words} {}", exit_code(standings))
}

/// Returns the reason for the exit code, and everything that was not judged, untrusted: the last words of the section
/// of changes.
pub(crate) fn exit_code(standings: &Standings<'_>) -> String {
    let mut words = vec![few(&exit_reasons(standings))];
    let not_judged = standings.not_judged();
    if !not_judged.is_empty() {
        words.push(format!("not judged: {}", few(&not_judged)));
    }
    format!("Exit code {}: {}.", standings.exit_code(), words.join("; "))
}

/// Returns the reasons for the exit code: changes by their titles, known issues at fault, planned results that a
/// pipeline is missing.
pub(crate) fn exit_reasons(standings: &Standings<'_>) -> Vec<String> {
    let effect = standings.effect();
    let mut all = Vec::new();
    if standings.held.is_none() && standings.matrix.ending == RunEnding::Interrupted {
        all.push("the run was stopped by a signal".to_owned());
    }
    let rows = standings.changes();
    let mut titles: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| effect != Effect::None && standings.effect_of(row) == effect) {
        *titles.entry(row.title()).or_default() += 1;
    }
    all.extend(titles.into_iter().map(|(title, count)| format!("{title} ({count})")));
    if effect == Effect::Worse {
        all.extend(standings.issues.iter().filter(|issue| issue.is_at_fault()).filter_map(IssueStanding::words));
    }
    if let Some(held) = standings.held.as_ref().filter(|_| effect == Effect::Unjudged) {
        all.extend(lacking(held));
    }
    let has_gaps = || rows.iter().any(|row| row.effect == Effect::Unjudged) || !standings.not_judged().is_empty();
    match effect {
        Effect::None if standings.held.is_some() && has_gaps() => {
            all.push("nothing is worse, and a pipeline continues with what could not be judged".to_owned());
        }
        Effect::None if all.is_empty() => all.push(format!("nothing is worse than {}", compared_with(standings))),
        Effect::Unjudged if all.is_empty() => all.push("not everything was judged".to_owned()),
        Effect::None | Effect::Unjudged | Effect::Worse => {}
    }
    all
}

/// Returns the planned results that a pipeline is missing.
fn lacking(held: &Held) -> impl Iterator<Item = String> {
    let missing = held.missing.iter().map(|cell| format!("{cell}: {MISSING}"));
    let unread = held.unread.iter().map(|unread| format!("{UNREAD}: {unread}"));
    let nothing = held.nothing_judged.then(|| "no planned cell could be judged".to_owned());
    missing.chain(unread).chain(nothing)
}

/// Joins the first reasons, and the number of the others.
fn few(all: &[String]) -> String {
    let mut words: Vec<String> = all.iter().take(MOST_REASONS).map(|why| one_line(why, MAX_REASON)).collect();
    if all.len() > MOST_REASONS {
        words.push(format!("and {} more", all.len() - MOST_REASONS));
    }
    words.join("; ")
}

/// Answers whether the Kata versions of each profile can run on a release: each answer once, with its profiles.
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

/// Returns an outcome's details beyond its name.
pub(crate) fn detail(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => String::new(),
        Outcome::Fail(failure) => format!("{}: {}", failure.component, failure.observed),
        Outcome::Skip { reason } => reason.clone(),
        Outcome::Blocked { by } => format!("blocked by {by}"),
        Outcome::Error { message } => message.clone(),
    }
}

/// Returns the most informative log for a failure that blames a component.
pub(crate) fn relevant<'f>(files: &BTreeSet<&'f str>, blamed: Option<Component>) -> Option<&'f str> {
    let name_part = match blamed {
        Some(Component::Virtiofsd) => "virtiofsd",
        Some(Component::Qemu) => "qemu",
        Some(Component::CloudHypervisor | Component::Firecracker) => "vmm",
        Some(Component::Kernel | Component::Containerd | Component::Packages | Component::Record | Component::Kata)
        | None => "serial",
    };
    let is_relevant = |file: &&&str| file.rsplit('/').next().is_some_and(|name| name.contains(name_part));
    files.iter().rfind(is_relevant).or_else(|| files.last()).copied()
}

/// Formats a package's version and suite: `1:7.2 (bookworm-security)`.
pub(crate) fn version(facts: &CellFacts, package: &str) -> String {
    let version = facts.versions.get(package).map_or("?", PackageVersion::as_str);
    match facts.suites.get(package) {
        Some(suite) => format!("{version} ({suite})"),
        None => version.to_owned(),
    }
}

/// Describes a run in one line: id, harness, time, duration.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;
    use crate::sample::{self, BLK, DAEMON, RENAME, compared_with_record, judged, recorded, run};
    use crate::standing::Recorded;
    use model::capability::Capability;
    use model::known_issues::KnownIssuesFile;
    use model::package_manager::PackageManager;
    use std::path::Path;

    /// A test in error proves no capability directly, and a known issue is no verdict: both affect the exit code.
    #[test]
    fn the_exit_code_is_explained_if_there_are_no_changes() {
        let entries = recorded();
        let as_recorded = judged(&run(|_| None));
        let words = "None: all is as recorded. Exit code 0: nothing is worse than the record.";
        assert_eq!(no_changes(&compared_with_record(&as_recorded, &entries)), words);
        let matrix = judged(&run(|test| (test == DAEMON).then(|| sample::error("the line ended"))));
        let standings = compared_with_record(&matrix, &entries);
        assert_eq!((standings.changes(), standings.effect().exit_code()), (Vec::new(), 3));
        let error = format!("not judged: {DAEMON} in debian:13/x86_64/container is in error: the line ended.");
        let expected = format!("None is known. Exit code 3: not everything was judged; {error}");
        assert_eq!(no_changes(&standings), expected);
        // A pipeline goes on, but must not say that all is as recorded.
        let pipeline = Pipeline::new(&standings, &[standings.cells[0].report.cell.clone()]);
        let held = standings.clone().held(Held { nothing_judged: false, effect: Effect::None, ..pipeline.held() });
        let goes_on = "nothing is worse, and a pipeline continues with what could not be judged";
        assert_eq!(no_changes(&held), format!("None is known. Exit code 0: {goes_on}; {error}"));
        let missing = Held { unread: vec!["r2: cut off".to_owned()], effect: Effect::Unjudged, ..pipeline.held() };
        let held = standings.clone().held(Held { nothing_judged: false, ..missing });
        let words = no_changes(&held);
        assert!(
            words.starts_with(
                "None is known. Exit code 3: a bundle was left out in whole or in part: r2: cut off; not judged: "
            ),
            "{words}"
        );
        let issues = format!(
            "distro: debian\nknown-issues:\n  - {{id: neither-name, test: '{RENAME}', package: virtiofsd, versions: all, \
             url: 'https://bugs.example/1', owner: somebody, expires: 2027-01-31}}\n"
        );
        let issues = KnownIssuesFile::parse(Path::new("known-issues/debian.yaml"), &issues).unwrap().issues;
        let known =
            Recorded::of_distro(&sample::DEBIAN, &entries).knowing(&sample::DEBIAN, PackageManager::Apt, &issues);
        let standings = Standings::new(&as_recorded, known, false);
        let words = no_changes(&standings);
        assert!(words.starts_with("None is known. Exit code 1: known issue neither-name of "), "{words}");
    }

    /// Two runs were merged, one with all tests and the other with a filter.
    #[test]
    fn a_filter_is_mentioned_only_for_the_cells_it_applies_to() {
        let mut matrix = judged(&run(|_| None));
        assert_eq!(filters(&matrix), Vec::<String>::new());
        sample::filtered(&mut matrix, "smoke::");
        let rest = "only tests matching `smoke::` were requested; capabilities that they do not prove are neither judged \
                    nor written back.";
        assert_eq!(filters(&matrix), [format!("O{}", &rest[1..])]);
        let mut other = matrix.cells[0].clone();
        (other.cell.release, other.filter) = ("12".parse().unwrap(), None);
        matrix.cells.push(other);
        matrix.filter = None;
        assert_eq!(filters(&matrix), [format!("In debian:13/x86_64/container {rest}")]);
        sample::filtered(&mut matrix, "smoke::,vmm.vsock");
        let several = rest.replace("`smoke::`", "`smoke::` or `vmm.vsock`");
        assert_eq!(filters(&matrix), [format!("O{}", &several[1..])]);
    }

    /// The results are only in the run's own report, and its readers learn why.
    #[test]
    fn a_run_dated_in_the_future_has_a_caveat() {
        let mut matrix = judged(&run(|_| None));
        let has_caveat =
            |matrix: &Matrix| caveats(&sample::standings(matrix)).iter().any(|one| one.contains("in the future"));
        assert!(!has_caveat(&matrix));
        matrix.finished = Some(jiff::Timestamp::MAX);
        assert!(has_caveat(&matrix));
        let first = caveats(&sample::standings(&matrix)).remove(0);
        let ends =
            "which is in the future: its clock or its journal is wrong; it is not written back, and no site shows it.";
        assert!(first.starts_with("It ended on 9999-12-") && first.ends_with(ends), "{first}");
    }

    /// A test that never ran has no verdict either, regardless of other changes.
    #[test]
    fn the_exit_code_is_explained_beside_changes() {
        let entries = recorded();
        let broken = judged(&run(|test| match test {
            BLK => Some(sample::fail(Component::Kernel, "no disk")),
            DAEMON => Some(sample::error("the line ended")),
            _ => None,
        }));
        let words = exit_code(&compared_with_record(&broken, &entries));
        assert!(words.starts_with("Exit code 1: new failure (1); not judged: "), "{words}");
        assert!(
            words.contains(&format!("{DAEMON} in debian:13/x86_64/container is in error: the line ended")),
            "{words}"
        );
        let mut unrun = judged(&run(|_| None));
        unrun.cells[0].judgements.get_mut("go-3.29").unwrap().get_mut(&Capability::VmmVsock).unwrap().unrun = 1;
        let words = no_changes(&compared_with_record(&unrun, &entries));
        let never = "not judged: not all required tests ran in debian:13/x86_64/container for vmm.vsock.";
        assert_eq!(words, format!("None is known. Exit code 0: nothing is worse than the record; {never}"));
        let mut interrupted = judged(&run(|_| None));
        interrupted.ending = RunEnding::Interrupted;
        let standings = compared_with_record(&interrupted, &entries);
        assert_eq!(standings.exit_code(), 130);
        let words = exit_code(&standings);
        let expected = "Exit code 130: the run was stopped by a signal; not judged: the run was interrupted.";
        assert_eq!(words, expected);
    }

    #[test]
    fn the_relevant_log_is_that_of_the_blamed_component() {
        let files = BTreeSet::from(["a/qemu.log", "a/serial.log", "a/virtiofsd.log", "a/vmm.log"]);
        for component in Component::ALL {
            let shown = relevant(&files, Some(*component)).unwrap();
            if Capability::of_other_vmm(*component).is_some() {
                assert_eq!(shown, "a/vmm.log", "{component}");
            } else if *component != Component::Qemu && *component != Component::Virtiofsd {
                assert_eq!(shown, "a/serial.log", "{component}");
            }
        }
        assert_eq!(relevant(&files, Some(Component::Qemu)), Some("a/qemu.log"));
        assert_eq!(relevant(&files, None), Some("a/serial.log"));
    }
}
