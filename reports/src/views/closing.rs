//! Last lines of a run's output, below its matrix: the answer, the changes, and what to do next.

use crate::journal::CellId;
use crate::redact::one_line;
use crate::run::RunEnding;
use crate::standing::{Change, ChangeRow, Effect, Standings};
use crate::verdict::Cause;
use crate::views::wording::{self, Labels};

/// Maximum of releases and changes that are named; the others are in the reports.
const MOST: usize = 8;
/// Maximum length of a line, in bytes.
const MAX_LINE: usize = 400;

/// Returns the lines; `folder` is the run's directory, as a shell finds it.
pub fn closing(standings: &Standings<'_>, folder: &str) -> Vec<String> {
    let mut lines = answers(standings);
    lines.extend(changes(standings));
    let mut lead = "next: ";
    for command in next(standings, folder) {
        lines.push(format!("{lead}{command}"));
        lead = "      ";
    }
    lines
}

/// Answers for each release whether Kata can run.
fn answers(standings: &Standings<'_>) -> Vec<String> {
    let labels = Labels::new(standings.matrix);
    let mut lines = Vec::new();
    for release in standings.releases() {
        for (profiles, words) in wording::answers(standings, release) {
            let text = format!("can Kata run on {}? {}: {words}", labels.of_release(release), profiles.join(", "));
            lines.push(one_line(&text, MAX_LINE));
        }
    }
    cut(lines, "more answers")
}

/// Describes the changes.
fn changes(standings: &Standings<'_>) -> Vec<String> {
    let labels = Labels::new(standings.matrix);
    let rows = standings.changes();
    if rows.is_empty() && (standings.effect() != Effect::None || !standings.not_judged().is_empty()) {
        return vec![one_line(&format!("changes: {}", wording::no_changes(standings)), MAX_LINE)];
    }
    if rows.is_empty() {
        return vec![format!("changes against {}: none", wording::compared_with(standings))];
    }
    let line =
        |row: &ChangeRow<'_>| one_line(&format!("changed: {}: {}", labels.of_id(row.cell), row.words()), MAX_LINE);
    cut(rows.iter().map(line).collect(), "more changes")
}

/// Returns the first lines, and the number of the others.
fn cut(mut lines: Vec<String>, what: &str) -> Vec<String> {
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("{more} {what}, in the reports"));
    }
    lines
}

/// Returns the commands to run next.
fn next(standings: &Standings<'_>, folder: &str) -> Vec<String> {
    if standings.matrix.ending != RunEnding::Finished {
        return vec![format!("kata-qualify run --resume {folder}")];
    }
    if let Some((cell, profile, cause)) = failure(standings) {
        let cell = if standings.cells.len() > 1 { format!(" --cell {cell}") } else { String::new() };
        let which = format!("{folder} {}{cell} --profile {profile}", cause.test);
        // `bug` writes nothing about results with candidates or a caller's keys: they do not concern the release.
        let is_the_releases = !standings.matrix.candidate && !standings.matrix.shaped;
        let bug = is_the_releases.then(|| format!("kata-qualify bug {which} --reproduce --out bug"));
        return bug.into_iter().chain([format!("kata-qualify shell {which}")]).collect();
    }
    match standings.effect() {
        Effect::Unjudged => vec![format!("kata-qualify rerun {folder}")],
        Effect::None | Effect::Worse => vec![format!("kata-qualify site {folder} --out site")],
    }
}

/// Returns the failure to investigate first: one that is worse than recorded, or else one without a record.
fn failure<'m>(standings: &Standings<'m>) -> Option<(&'m CellId, &'m str, &'m Cause)> {
    let mut first = None;
    for cell in &standings.cells {
        for (profile, standing) in &cell.profiles {
            for one in standing.capabilities.values() {
                let Some(cause) = one.telling_causes().first().copied() else { continue };
                let found = (&cell.report.cell, profile.as_str(), cause);
                if one.effect == Effect::Worse {
                    return Some(found);
                }
                let is_new = one.recorded.is_none() && one.change != Change::Known && !one.optional;
                if first.is_none() && is_new {
                    first = Some(found);
                }
            }
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{QMP, RENAME, compared_with_record, error, fail, judged, matrix, recorded, run, standings};
    use suites::outcome::Component;

    fn refused() -> suites::outcome::Outcome {
        fail(Component::Qemu, "no reply")
    }

    #[test]
    fn an_unchanged_run_suggests_publishing_a_site() {
        let (matrix, record) = (judged(&run(|_| None)), recorded());
        let lines = closing(&compared_with_record(&matrix, &record), "out");
        assert!(lines[0].starts_with("can Kata run on debian 13? go-3.29: "), "{lines:?}");
        assert_eq!(lines[1..], ["changes against the record: none", "next: kata-qualify site out --out site"]);
    }

    #[test]
    fn a_new_failure_suggests_bug_and_shell() {
        let (matrix, record) = (judged(&run(|test| (test == QMP).then(refused))), recorded());
        let lines = closing(&compared_with_record(&matrix, &record), "out");
        assert!(lines[1].starts_with("changed: debian 13: new failure: vmm.qmp was supported "), "{lines:?}");
        let commands = [
            "next: kata-qualify bug out smoke::qmp_replies_parse --profile go-3.29 --reproduce --out bug",
            "      kata-qualify shell out smoke::qmp_replies_parse --profile go-3.29",
        ];
        assert_eq!(lines[2..], commands);
    }

    #[test]
    fn an_unrecorded_failure_suggests_bug() {
        let matrix = judged(&run(|test| (test == RENAME).then(refused)));
        let commands = next(&standings(&matrix), "out");
        assert_eq!(commands[0], format!("kata-qualify bug out {RENAME} --profile go-3.29 --reproduce --out bug"));
    }

    #[test]
    fn a_candidate_or_shaped_failure_suggests_only_shell() {
        for (candidate, shaped) in [(true, false), (false, true)] {
            let mut matrix = judged(&run(|test| (test == RENAME).then(refused)));
            (matrix.candidate, matrix.shaped) = (candidate, shaped);
            let shell = format!("kata-qualify shell out {RENAME} --profile go-3.29");
            assert_eq!(next(&standings(&matrix), "out"), [shell]);
        }
    }

    #[test]
    fn an_unjudged_run_suggests_rerun_and_an_unfinished_one_resume() {
        let (unjudged, record) = (judged(&run(|test| (test == QMP).then(|| error("lost")))), recorded());
        assert_eq!(next(&compared_with_record(&unjudged, &record), "out"), ["kata-qualify rerun out"]);
        assert_eq!(next(&standings(&matrix()), "out"), ["kata-qualify run --resume out"]);
    }

    #[test]
    fn a_long_list_is_cut_and_the_rest_is_counted() {
        let lines = cut((0..20).map(|number| number.to_string()).collect(), "more answers");
        assert_eq!((lines.len(), lines[8].as_str()), (9, "12 more answers, in the reports"));
    }
}
