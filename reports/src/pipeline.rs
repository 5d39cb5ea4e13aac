//! A merged run as a pipeline sees it: what was planned and is not judged, what makes it red, and what it tells people.
//!
//! A release whose mirror does not answer one night is no news, and does not hide what the others show: a cell that could
//! not be judged is a warning, and what the record says of it stays. It is red where something is worse than recorded,
//! where a planned cell is in no run, where a run that was given cannot be read, and where nothing at all could be judged.

use crate::digest;
use crate::journal::CellId;
use crate::redact::one_line;
use crate::standing::{CellStanding, Change, ChangeRow, Effect, Standings};
use crate::verdict::Cause;
use crate::views::causes::words;
use crate::views::markdown::{escape, fence};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Annotations of one level that GitHub shows of a step.
const MOST_ANNOTATIONS: usize = 10;
/// Bytes of one.
const ANNOTATION: usize = 500;
/// Issues of one run: with more signatures at once something else has happened.
const MOST_ISSUES: usize = 20;
/// Bytes of a signature in an issue's title.
const TITLE: usize = 120;
/// Bytes of what was seen, in an issue.
const OBSERVED: usize = 4 << 10;

/// A merged run beside what was planned.
pub struct Pipeline<'s, 'm> {
    standings: &'s Standings<'m>,
    planned: BTreeSet<CellId>,
    gaps: BTreeMap<CellId, Gap>,
    unread: Vec<String>,
}

/// Why a planned cell has no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// No run has it, or none to its end.
    Missing,
    /// Something of it could not be judged.
    Unjudged(String),
}

/// An issue to be opened, or to be updated if there is one of this signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Issue {
    /// A digest of the signature, by which the issue is found again; it stands in the title.
    pub signature: String,
    /// On one line.
    pub title: String,
    /// Markdown; what guests and packages said is in blocks that nothing in it can end.
    pub body: String,
}

impl<'s, 'm> Pipeline<'s, 'm> {
    /// A merged run beside the cells that were planned.
    pub fn new(standings: &'s Standings<'m>, planned: &[CellId]) -> Pipeline<'s, 'm> {
        let planned: BTreeSet<CellId> = planned.iter().cloned().collect();
        let of = |id: &CellId| match standings.cells.iter().find(|one| one.report.cell == *id) {
            None => Some(Gap::Missing),
            Some(one) if !one.report.complete => Some(Gap::Missing),
            Some(one) if one.effect(standings.matrix) == Effect::Unjudged => Some(Gap::Unjudged(why(standings, one))),
            Some(_) => None,
        };
        let gaps = planned.iter().filter_map(|id| Some((id.clone(), of(id)?))).collect();
        Pipeline { standings, planned, gaps, unread: Vec::new() }
    }

    /// The same, where runs were given that cannot be read: each by its name and why. Nobody knows what was in them.
    pub fn without(self, unread: Vec<String>) -> Pipeline<'s, 'm> {
        Pipeline { unread, ..self }
    }

    /// What it does to the exit code.
    pub fn effect(&self) -> Effect {
        let is_worse = self.standings.effect() == Effect::Worse;
        let is_missing = !self.unread.is_empty() || self.gaps.values().any(|gap| *gap == Gap::Missing);
        match (is_worse, is_missing || self.gaps.len() == self.planned.len()) {
            (true, _) => Effect::Worse,
            (false, true) => Effect::Unjudged,
            (false, false) => Effect::None,
        }
    }

    /// The planned cells without a verdict.
    pub fn gaps(&self) -> &BTreeMap<CellId, Gap> {
        &self.gaps
    }

    /// What has changed, and what was not judged, as commands of GitHub's workflows: nothing else of a run.
    ///
    /// What is in them is escaped; whatever else a step prints of a run must be behind `::stop-commands::`.
    pub fn annotations(&self) -> String {
        let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut add = |level, title: &str, text: &str| {
            let (title, text) = (property(title), data(&one_line(text, ANNOTATION)));
            all.entry(level).or_default().push(format!("::{level} title={title}::{text}\n"));
        };
        for row in self.changes() {
            let level = if row.effect == Effect::Worse { "error" } else { "notice" };
            add(level, &format!("{}: {}", row.cell, row.title()), &told(&row));
        }
        for issue in self.standings.issues.iter().filter(|issue| issue.is_at_fault()) {
            add("error", "a known issue is at fault", &issue.words().unwrap_or_default());
        }
        for unread in &self.unread {
            add("error", UNREAD, unread);
        }
        for (cell, gap) in &self.gaps {
            match gap {
                Gap::Missing => add("error", &format!("{cell}: missing"), MISSING),
                Gap::Unjudged(why) => add("warning", &format!("{cell}: not judged"), &format!("{why}; {STAYS}")),
            }
        }
        let mut out = String::new();
        for (level, lines) in all {
            let shown = if lines.len() > MOST_ANNOTATIONS { MOST_ANNOTATIONS - 1 } else { lines.len() };
            lines.iter().take(shown).for_each(|line| out.push_str(line));
            if shown < lines.len() {
                let _ = writeln!(out, "::{level}::{} more of this kind: see the summary", lines.len() - shown);
            }
        }
        out
    }

    /// What was not judged, as Markdown; `matrix.md`, which goes below it, has the changes and all else.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let (all, lacking) = (self.planned.len(), self.gaps.len());
        let _ = writeln!(out, "**{} of {all} planned cells were judged.**\n", all - lacking);
        for unread in &self.unread {
            let _ = writeln!(out, "- ✗ {UNREAD}: {}", escape(&one_line(unread, ANNOTATION)));
        }
        for (cell, gap) in &self.gaps {
            let _ = match gap {
                Gap::Missing => writeln!(out, "- ✗ {}: {MISSING}", escape(&cell.to_string())),
                Gap::Unjudged(why) => {
                    writeln!(out, "- ? {}: {}; {STAYS}", escape(&cell.to_string()), escape(&one_line(why, ANNOTATION)))
                }
            };
        }
        out.push('\n');
        out
    }

    /// One issue for each signature by which something is worse than recorded.
    pub fn issues(&self) -> Vec<Issue> {
        let mut new: BTreeMap<&str, NewCause<'_>> = BTreeMap::new();
        for cell in &self.standings.cells {
            for (profile, standing) in &cell.profiles {
                let worse = standing.capabilities.values().filter(|one| {
                    one.effect == Effect::Worse && matches!(one.change, Change::NewFailure | Change::TestSetChanged)
                });
                for cause in worse.flat_map(|one| &one.judgement.causes) {
                    let known = new.entry(&cause.signature).or_insert_with(|| NewCause::of(cause));
                    known.tests.insert(&cause.test);
                    known.places.entry(&cell.report.cell).or_default().insert(profile);
                }
            }
        }
        let matrix = self.standings.matrix;
        let day = matrix.finished.map_or_else(|| "no day".to_owned(), |at| at.strftime("%F").to_string());
        let by = format!("run {} of {day}", one_line(&matrix.run, ANNOTATION));
        new.iter().take(MOST_ISSUES).map(|(signature, cause)| cause.issue(signature, &by)).collect()
    }

    /// What is worse, and what is better.
    fn changes(&self) -> impl Iterator<Item = ChangeRow<'m>> {
        self.standings.changes().into_iter().filter(|row| row.effect != Effect::Unjudged)
    }
}

const UNREAD: &str = "a bundle cannot be read";
const MISSING: &str = "no bundle has it to its end";
const STAYS: &str = "what the record says of it stays";

/// Why a cell was not judged.
fn why(standings: &Standings<'_>, cell: &CellStanding<'_>) -> String {
    if let Some((place, message)) = cell.problems().into_iter().next() {
        return format!("{place}: {message}");
    }
    let rows = standings.changes();
    let unjudged = rows.iter().find(|row| row.cell == &cell.report.cell && row.effect == Effect::Unjudged);
    unjudged.map_or_else(|| "a test of it ended in an error".to_owned(), told)
}

fn told(row: &ChangeRow<'_>) -> String {
    let names: Vec<&str> = row.capabilities.iter().map(|c| c.name()).collect();
    let mut text = format!("{} {} ({})", names.join(", "), row.turn(), row.profiles.join(", "));
    for more in row.why.iter().take(1).chain(Some(&row.packages()).filter(|packages| !packages.is_empty())) {
        let _ = write!(text, "; {more}");
    }
    text
}

/// A failure that was not there before, with all places that it is seen at.
struct NewCause<'m> {
    cause: &'m Cause,
    tests: BTreeSet<&'m str>,
    places: BTreeMap<&'m CellId, BTreeSet<&'m str>>,
}

impl<'m> NewCause<'m> {
    fn of(cause: &'m Cause) -> NewCause<'m> {
        NewCause { cause, tests: BTreeSet::new(), places: BTreeMap::new() }
    }

    fn issue(&self, signature: &str, by: &str) -> Issue {
        let digest = digest::short(signature);
        let Cause { component, message, expected, asked_for, .. } = self.cause;
        let places = self.places.iter().map(|(cell, profiles)| format!("  {cell} under {}\n", words(profiles)));
        let mut said = format!(
            "signature: {signature}\ncomponent: {component}\ntests: {}\nseen in:\n{}",
            words(&self.tests),
            places.collect::<String>()
        );
        let asked_for = asked_for.join(", ");
        for (what, text) in [("expected", expected), ("observed", message), ("asked for", &asked_for)] {
            if !text.is_empty() {
                let _ = writeln!(said, "{what}: {}", one_line(text, OBSERVED));
            }
        }
        Issue {
            title: format!("[{digest}] {}", one_line(signature, TITLE)),
            body: format!("What was supported fails, in {by}.\n\n{}", fenced(&said)),
            signature: digest,
        }
    }
}

/// A block of Markdown in which everything is shown as it is: neither a name nor a number becomes a mention.
fn fenced(text: &str) -> String {
    let fence = fence(text);
    format!("{fence}text\n{text}{fence}\n")
}

/// The text of a workflow command (`@actions/core`: `escapeData`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of one (`escapeProperty`).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests;
