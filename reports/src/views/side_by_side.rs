//! Comparison of a base run and the run of candidates, for people: packages and verdicts that differ, and the number of
//! those that do not.

use crate::package_change::{VersionChange, differing};
use crate::standing::{CellStanding, Effect, Standings};
use crate::views::wording::Labels;
use model::package::PackageVersion;
use model::verified::Verdict;
use std::collections::BTreeMap;

/// The headings of the two runs' columns.
const HEADS: [&str; 2] = ["base", "candidates"];

/// A line of the table: subject, both runs, and a remark.
type Line = [String; 4];

/// Returns both runs side by side; `None` if there was no base run.
pub fn side_by_side(standings: &Standings<'_>) -> Option<String> {
    let base = standings.recorded.base()?;
    let (labels, none) = (Labels::new(standings.matrix), BTreeMap::new());
    let mut out = String::new();
    for cell in &standings.cells {
        let before = base.cells.iter().find(|report| report.cell == cell.report.cell);
        let facts = [before.and_then(|cell| cell.facts.as_ref()), cell.report.facts.as_ref()];
        let [then, now] = facts.map(|facts| facts.map_or(&none, |facts| &facts.versions));
        let mut lines: Vec<Line> =
            vec![[labels.of(cell.report), HEADS[0].to_owned(), HEADS[1].to_owned(), String::new()]];
        for VersionChange { name, then, now } in differing(then, now) {
            let shown = |version: Option<&PackageVersion>| version.map_or("-", PackageVersion::as_str).to_owned();
            lines.push([format!("  {name}"), shown(then), shown(now), String::new()]);
        }
        if lines.len() == 1 {
            lines.push(["  the packages".to_owned(), "the same".to_owned(), "the same".to_owned(), String::new()]);
        }
        let same = verdicts(cell, &mut lines);
        out.push_str(&table(&lines));
        out.push_str(&format!("  the same in both runs: {same}\n"));
    }
    Some(out)
}

/// Collects the verdicts that differ or affect the exit code; returns the number of the others of each kind.
fn verdicts(cell: &CellStanding<'_>, lines: &mut Vec<Line>) -> String {
    let mut same: BTreeMap<Verdict, usize> = BTreeMap::new();
    for (profile, standing) in &cell.profiles {
        for (capability, one) in &standing.capabilities {
            let before = one.recorded;
            if before == Some(one.verdict()) && one.effect == Effect::None {
                *same.entry(one.verdict()).or_default() += 1;
                continue;
            }
            let before = before.map_or("-", Verdict::name).to_owned();
            let what = format!("  {profile} {capability}");
            lines.push([what, before, one.verdict().name().to_owned(), one.change.name().to_owned()]);
        }
    }
    let words: Vec<String> = same.into_iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Aligns lines in columns.
fn table(lines: &[Line]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    let mut out = String::new();
    for [what, base, candidates, word] in lines {
        let [first, second, third] = widths;
        let line = format!("{what:first$}  {base:second$}  {candidates:third$}  {word}");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Event;
    use crate::sample::{QMP, fail, judged, run};
    use crate::standing::BaseRun;
    use suites::outcome::Component;

    #[test]
    fn differing_rows_are_shown_and_equal_ones_are_counted() {
        let base = BaseRun::new(judged(&run(|_| None)));
        let mut maker = run(|test| (test == QMP).then(|| fail(Component::Qemu, "no reply")));
        for entry in &mut maker.journal.entries {
            if let Event::CellFacts { facts, .. } = &mut entry.event {
                facts.versions.insert("virtiofsd".parse().unwrap(), "1.14.0-1".parse().unwrap());
            }
        }
        let matrix = judged(&maker);
        let standings = Standings::new(&matrix, base.recorded(), false);
        let text = side_by_side(&standings).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "debian 13          base       candidates");
        assert_eq!(lines[1], "  virtiofsd        1.13.2-1   1.14.0-1");
        assert_eq!(lines[2], "  go-3.29 vmm.qmp  supported  unsupported  new failure");
        assert!(lines[3].starts_with("  the same in both runs: "), "{text}");
        assert_eq!(lines.len(), 4, "{text}");
        let alone = Standings::new(&matrix, crate::standing::Recorded::default(), false);
        assert_eq!(side_by_side(&alone), None);
    }
}
