//! A merged run as a pipeline sees it: what was planned and is not judged, what makes it red, and what it tells people.
//!
//! A release whose mirror does not answer one night is no news, and does not hide what the others show: a cell that could
//! not be judged is a warning, and what the record says of it stays; where all that was not judged is optional, it is a
//! note. It is red where something is worse than recorded, where Kata needs what is unsupported and was never recorded,
//! where a planned cell is in no run, where a run that was given cannot be read, and where nothing at all could be judged.

use crate::digest;
use crate::journal::CellId;
use crate::redact::one_line;
use crate::standing::{CapabilityStanding, CellStanding, Change, ChangeRow, Effect, Held, MISSING, Standings, UNREAD};
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
/// Issues of one run, so that the file stays one that is taken; how many of them are opened, is for whoever opens them.
const MOST_ISSUES: usize = 400;
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

/// What a planned cell lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// No run has it, or none to its end.
    Missing,
    /// Something of it could not be judged; why.
    Unjudged(String),
    /// Only what nobody needs for running Kata could not be judged; what and why.
    Optional(String),
}

impl Gap {
    /// Whether the cell counts as judged all the same.
    fn is_optional(&self) -> bool {
        matches!(self, Gap::Optional(_))
    }
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
            Some(one) if one.effect(standings.matrix) != Effect::Unjudged => None,
            Some(one) if one.lacks_only_what_is_optional(standings.matrix) => {
                Some(Gap::Optional(what_is_optional(standings, one)))
            }
            Some(one) => Some(Gap::Unjudged(why(standings, one))),
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
        let is_worse = self.standings.effect() == Effect::Worse || self.changes().any(|row| row.needs_a_person());
        let is_missing = !self.unread.is_empty() || self.gaps.values().any(|gap| *gap == Gap::Missing);
        match (is_worse, is_missing || self.is_nothing_judged()) {
            (true, _) => Effect::Worse,
            (false, true) => Effect::Unjudged,
            (false, false) => Effect::None,
        }
    }

    /// The same for the run's reports, by [`Standings::held`].
    pub fn held(&self) -> Held {
        let missing = self.gaps.iter().filter(|(_, gap)| **gap == Gap::Missing);
        Held {
            effect: self.effect(),
            nothing_judged: self.is_nothing_judged(),
            missing: missing.map(|(cell, _)| cell.clone()).collect(),
            unread: self.unread.clone(),
        }
    }

    fn is_nothing_judged(&self) -> bool {
        self.unjudged() == self.planned.len()
    }

    /// How many of the planned cells do not count as judged.
    fn unjudged(&self) -> usize {
        self.gaps.values().filter(|gap| !gap.is_optional()).count()
    }

    /// The planned cells that lack something.
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
            let level = if row.needs_a_person() { "error" } else { "notice" };
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
                Gap::Optional(what) => add("notice", &format!("{cell}: {OPTIONAL}"), &format!("{what}; {STAYS}")),
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
        let (all, lacking) = (self.planned.len(), self.unjudged());
        let _ = writeln!(out, "**{} of {all} planned cells were judged.**\n", all - lacking);
        for unread in &self.unread {
            let _ = writeln!(out, "- ✗ {UNREAD}: {}", escape(&one_line(unread, ANNOTATION)));
        }
        for (cell, gap) in &self.gaps {
            let cell = escape(&cell.to_string());
            let short = |text: &str| escape(&one_line(text, ANNOTATION));
            let _ = match gap {
                Gap::Missing => writeln!(out, "- ✗ {cell}: {MISSING}"),
                Gap::Unjudged(why) => writeln!(out, "- ? {cell}: {}; {STAYS}", short(why)),
                Gap::Optional(what) => writeln!(out, "- – {cell}: {OPTIONAL}: {}; {STAYS}", short(what)),
            };
        }
        let signatures = self.new_causes().len();
        if signatures > MOST_ISSUES {
            let _ = writeln!(out, "- ! {signatures} signatures are new: {MOST_ISSUES} of them are in `issues.json`");
        }
        out.push('\n');
        out
    }

    /// One issue for each signature by which something is worse than recorded, or fails that Kata needs and no record has.
    ///
    /// The summary says how many are left out, if any are.
    pub fn issues(&self) -> Vec<Issue> {
        let matrix = self.standings.matrix;
        let day = matrix.finished.map_or_else(|| "no day".to_owned(), |at| at.strftime("%F").to_string());
        let by = format!("run {} of {day}", one_line(&matrix.run, ANNOTATION));
        self.new_causes().iter().take(MOST_ISSUES).map(|(signature, cause)| cause.issue(signature, &by)).collect()
    }

    /// What an issue is to be of, by its signature.
    fn new_causes(&self) -> BTreeMap<&str, NewCause<'_>> {
        let mut new: BTreeMap<&str, NewCause<'_>> = BTreeMap::new();
        for cell in &self.standings.cells {
            for (profile, standing) in &cell.profiles {
                for one in standing.capabilities.values().filter(|one| is_for_an_issue(one)) {
                    for cause in one.telling_causes() {
                        let known = new.entry(&cause.signature).or_insert_with(|| NewCause::of(cause));
                        known.was_supported |= one.change != Change::NewVerdict;
                        known.tests.insert(&cause.test);
                        known.places.entry(&cell.report.cell).or_default().insert(profile);
                    }
                }
            }
        }
        new
    }

    /// What is worse, what is new, and what is better.
    fn changes(&self) -> impl Iterator<Item = ChangeRow<'m>> {
        self.standings.changes().into_iter().filter(|row| row.effect != Effect::Unjudged)
    }
}

const STAYS: &str = "what the record says of it stays";
const OPTIONAL: &str = "not judged, and optional";
/// Where no verdict tells why a cell was not judged.
const IN_ERROR: &str = "a test of it ended in an error";

/// Whether what a capability comes to is to be reported.
fn is_for_an_issue(one: &CapabilityStanding<'_>) -> bool {
    match one.change {
        Change::NewFailure | Change::TestSetChanged => one.effect == Effect::Worse,
        Change::NewVerdict => !one.optional,
        Change::Unjudged | Change::Fixed | Change::Known | Change::Same => false,
    }
}

/// What of a cell was not judged.
fn unjudged<'m>(standings: &Standings<'m>, cell: &CellStanding<'_>) -> Vec<ChangeRow<'m>> {
    let mut rows = standings.changes();
    rows.retain(|row| *row.cell == cell.report.cell && row.effect == Effect::Unjudged);
    rows
}

/// What of a cell was not judged where all of it is optional.
fn what_is_optional(standings: &Standings<'_>, cell: &CellStanding<'_>) -> String {
    let all: Vec<String> = unjudged(standings, cell).iter().map(told).collect();
    if all.is_empty() { IN_ERROR.to_owned() } else { all.join("; ") }
}

/// Why a cell was not judged.
fn why(standings: &Standings<'_>, cell: &CellStanding<'_>) -> String {
    if let Some((place, message)) = cell.problems().into_iter().next() {
        return format!("{place}: {message}");
    }
    let rows = unjudged(standings, cell);
    // What is needed makes it a gap, whatever is lacking besides.
    let is_needed = |row: &&ChangeRow<'_>| row.capabilities.iter().any(|capability| capability.is_needed());
    rows.iter().find(is_needed).or(rows.first()).map_or_else(|| IN_ERROR.to_owned(), told)
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
    /// Whether a record has it as supported anywhere.
    was_supported: bool,
    tests: BTreeSet<&'m str>,
    places: BTreeMap<&'m CellId, BTreeSet<&'m str>>,
}

impl<'m> NewCause<'m> {
    fn of(cause: &'m Cause) -> NewCause<'m> {
        NewCause { cause, was_supported: false, tests: BTreeSet::new(), places: BTreeMap::new() }
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
        let what = match self.was_supported {
            true => "What was supported fails",
            false => "What Kata needs fails, and no record has it",
        };
        Issue {
            title: format!("[{digest}] {}", one_line(signature, TITLE)),
            body: format!("{what}, in {by}.\n\n{}", fenced(&said)),
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
