//! A pipeline's view of a merged run: planned cells that are not judged, reasons to turn red, and messages for people.
//!
//! A release whose mirror does not answer one night is no news, and must not hide the other results: a cell that could
//! not be judged is a warning, and its recorded results stay; if everything that was not judged is optional, it is a
//! note.
//! The pipeline is red if a result is worse than recorded, if Kata needs a capability that is unsupported and was never
//! recorded, if a planned cell is in no run, if a given run cannot be read or is left out for another reason, or if
//! nothing at all could be judged.

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

/// Maximum of annotations of one level that GitHub shows for a step.
const MOST_ANNOTATIONS: usize = 10;
/// Maximum size of an annotation, in bytes.
const ANNOTATION: usize = 500;
/// Maximum size of the summary, in bytes: GitHub takes 1 MiB from a step, and `matrix.md`, which is at most
/// [`MAX`](crate::views::markdown::MAX), follows in the same step.
const SUMMARY: usize = 40_000;
/// Maximum of issues of one run, so that the file remains acceptable; its reader decides how many are opened.
const MOST_ISSUES: usize = 400;
/// Maximum size of a signature in an issue's title, in bytes.
const TITLE: usize = 120;
/// Maximum size of an observation in an issue, in bytes.
const OBSERVED: usize = 4 << 10;

/// A merged run compared with the planned cells.
pub struct Pipeline<'s, 'm> {
    standings: &'s Standings<'m>,
    planned: BTreeSet<CellId>,
    gaps: BTreeMap<CellId, Gap>,
    unread: Vec<String>,
}

/// A gap in a planned cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// No run has the cell, or none completed it.
    Missing,
    /// Part of the cell could not be judged, for this reason.
    Unjudged(String),
    /// Only optional capabilities, which running Kata does not need, could not be judged; which and why.
    Optional(String),
}

impl Gap {
    /// Checks whether the cell counts as judged despite the gap.
    fn is_optional(&self) -> bool {
        matches!(self, Gap::Optional(_))
    }
}

/// An issue to be opened, or to be updated if one with this signature exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Issue {
    /// A digest of the signature, in the title, by which the issue is found again.
    pub signature: String,
    /// The title, on one line.
    pub title: String,
    /// The body in Markdown; output of guests and packages is in blocks that it cannot close.
    pub body: String,
}

impl<'s, 'm> Pipeline<'s, 'm> {
    /// Compares a merged run with the planned cells.
    pub fn new(standings: &'s Standings<'m>, planned: &[CellId]) -> Pipeline<'s, 'm> {
        let planned: BTreeSet<CellId> = planned.iter().cloned().collect();
        let of = |id: &CellId| match standings.cells.iter().find(|one| one.report.cell == *id) {
            None => Some(Gap::Missing),
            Some(one) if !one.report.complete => Some(Gap::Missing),
            Some(one) if one.effect(standings.matrix) != Effect::Unjudged => None,
            Some(one) if one.lacks_only_what_is_optional(standings.matrix) => {
                Some(Gap::Optional(optional_gaps_text(standings, one)))
            }
            Some(one) => Some(Gap::Unjudged(why(standings, one))),
        };
        let gaps = planned.iter().filter_map(|id| Some((id.clone(), of(id)?))).collect();
        Pipeline { standings, planned, gaps, unread: Vec::new() }
    }

    /// Adds runs that were given but do not count as a whole, each with its name and the reason.
    pub fn without(self, unread: Vec<String>) -> Pipeline<'s, 'm> {
        Pipeline { unread, ..self }
    }

    /// Returns the effect on the exit code.
    pub fn effect(&self) -> Effect {
        let is_worse = self.standings.effect() == Effect::Worse || self.changes().any(|row| row.needs_a_person());
        let is_missing = !self.unread.is_empty() || self.gaps.values().any(|gap| *gap == Gap::Missing);
        match (is_worse, is_missing || self.is_nothing_judged()) {
            (true, _) => Effect::Worse,
            (false, true) => Effect::Unjudged,
            (false, false) => Effect::None,
        }
    }

    /// Returns the pipeline's judgement for the run's reports ([`Standings::held`]).
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

    /// Returns how many of the planned cells do not count as judged.
    fn unjudged(&self) -> usize {
        self.gaps.values().filter(|gap| !gap.is_optional()).count()
    }

    /// Returns the planned cells with a gap.
    pub fn gaps(&self) -> &BTreeMap<CellId, Gap> {
        &self.gaps
    }

    /// Returns the changes and the gaps as GitHub workflow commands, and nothing else of the run.
    ///
    /// Their texts are escaped; everything else that a step prints about a run must be behind `::stop-commands::`.
    pub fn annotations(&self) -> String {
        let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut add = |level, title: &str, text: &str| {
            let (title, text) = (property(title), data(&one_line(text, ANNOTATION)));
            all.entry(level).or_default().push(format!("::{level} title={title}::{text}\n"));
        };
        for row in self.changes() {
            let level = if row.needs_a_person() { "error" } else { "notice" };
            add(level, &format!("{}: {}", row.cell, row.title()), &row_text(&row));
        }
        for issue in self.standings.issues.iter().filter(|issue| issue.is_at_fault()) {
            add("error", "a known issue must be corrected", &issue.words().unwrap_or_default());
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

    /// Returns the gaps as Markdown; `matrix.md`, which follows it, has the changes and everything else.
    ///
    /// Of a summary that would be too long, the last gaps are left out and counted; those that turn the pipeline red
    /// come first.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let (all, lacking) = (self.planned.len(), self.unjudged());
        let _ = writeln!(out, "**{} of {all} planned cells were judged.**\n", all - lacking);
        let short = |text: &str| escape(&one_line(text, ANNOTATION));
        let unread = self.unread.iter().map(|unread| format!("- ✗ {UNREAD}: {}\n", short(unread)));
        let (missing, others): (Vec<_>, Vec<_>) = self.gaps.iter().partition(|(_, gap)| **gap == Gap::Missing);
        let gaps = missing.into_iter().chain(others).map(|(cell, gap)| {
            let cell = escape(&cell.to_string());
            match gap {
                Gap::Missing => format!("- ✗ {cell}: {MISSING}\n"),
                Gap::Unjudged(why) => format!("- ? {cell}: {}; {STAYS}\n", short(why)),
                Gap::Optional(what) => format!("- – {cell}: {OPTIONAL}: {}; {STAYS}\n", short(what)),
            }
        });
        let lines: Vec<String> = unread.chain(gaps).collect();
        let mut left_out = 0;
        for line in &lines {
            if left_out > 0 || out.len() + line.len() > SUMMARY {
                left_out += 1;
            } else {
                out.push_str(line);
            }
        }
        if left_out > 0 {
            let _ = writeln!(out, "- ! {left_out} more are left out here: the reports of the cells have them");
        }
        let signatures = self.new_causes().len();
        if signatures > MOST_ISSUES {
            let _ = writeln!(out, "- ! {signatures} signatures are new: {MOST_ISSUES} of them are in `issues.json`");
        }
        out.push('\n');
        out
    }

    /// Returns one issue for each signature of a result that is worse than recorded, or of an unrecorded failure of
    /// a capability that Kata needs.
    ///
    /// The summary says how many issues are left out, if any.
    pub fn issues(&self) -> Vec<Issue> {
        let matrix = self.standings.matrix;
        let day = matrix.finished.map_or_else(|| "no day".to_owned(), |at| at.strftime("%F").to_string());
        let by = format!("run {} of {day}", one_line(&matrix.run, ANNOTATION));
        self.new_causes().iter().take(MOST_ISSUES).map(|(signature, cause)| cause.issue(signature, &by)).collect()
    }

    /// Returns the causes that need an issue, by signature.
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

    /// Returns the changes, whether worse, new or better, except for those that could not be judged.
    fn changes(&self) -> impl Iterator<Item = ChangeRow<'m>> {
        self.standings.changes().into_iter().filter(|row| row.effect != Effect::Unjudged)
    }
}

const STAYS: &str = "its entry in the record stays";
const OPTIONAL: &str = "not judged, and optional";
/// Reason for a cell that was not judged if no verdict names one.
const IN_ERROR: &str = "a test of it ended in an error";

/// Checks whether a capability's result needs an issue.
fn is_for_an_issue(one: &CapabilityStanding<'_>) -> bool {
    match one.change {
        Change::NewFailure | Change::TestSetChanged => one.effect == Effect::Worse,
        Change::NewVerdict => !one.optional,
        Change::Unjudged | Change::Fixed | Change::Known | Change::Same => false,
    }
}

/// Returns the changes of a cell that could not be judged.
fn unjudged<'m>(standings: &Standings<'m>, cell: &CellStanding<'_>) -> Vec<ChangeRow<'m>> {
    let mut rows = standings.changes();
    rows.retain(|row| *row.cell == cell.report.cell && row.effect == Effect::Unjudged);
    rows
}

/// Describes the gaps of a cell whose gaps are all optional.
fn optional_gaps_text(standings: &Standings<'_>, cell: &CellStanding<'_>) -> String {
    let all: Vec<String> = unjudged(standings, cell).iter().map(row_text).collect();
    if all.is_empty() { IN_ERROR.to_owned() } else { all.join("; ") }
}

/// Returns why a cell was not judged.
fn why(standings: &Standings<'_>, cell: &CellStanding<'_>) -> String {
    if let Some((place, message)) = cell.problems().into_iter().next() {
        return format!("{place}: {message}");
    }
    let rows = unjudged(standings, cell);
    // A needed capability is the reason for the gap; optional ones come second.
    let is_needed = |row: &&ChangeRow<'_>| row.capabilities.iter().any(|capability| capability.is_needed());
    rows.iter().find(is_needed).or(rows.first()).map_or_else(|| IN_ERROR.to_owned(), row_text)
}

fn row_text(row: &ChangeRow<'_>) -> String {
    let names: Vec<&str> = row.capabilities.iter().map(|c| c.name()).collect();
    let mut text = format!("{} {} ({})", names.join(", "), row.turn(), row.profiles.join(", "));
    for more in row.why.iter().take(1).chain(Some(&row.packages()).filter(|packages| !packages.is_empty())) {
        let _ = write!(text, "; {more}");
    }
    text
}

/// A new failure, with all places where it was observed.
struct NewCause<'m> {
    cause: &'m Cause,
    /// Whether any record has the capability as supported.
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
        let Cause { component, message, expected, asked_for, by_share, .. } = self.cause;
        let places = self.places.iter().map(|(cell, profiles)| format!("  {cell} under {}\n", words(profiles)));
        let mut details = format!(
            "signature: {signature}\ncomponent: {component}\ntests: {}\nseen in:\n{}",
            words(&self.tests),
            places.collect::<String>()
        );
        let (asked_for, by_share) = (asked_for.join(", "), by_share.join(", "));
        for (what, text) in [
            ("expected", expected),
            ("observed", message),
            ("asked for", &asked_for),
            ("files by this share", &by_share),
        ] {
            if !text.is_empty() {
                let _ = writeln!(details, "{what}: {}", one_line(text, OBSERVED));
            }
        }
        let what = match self.was_supported {
            true => "Something that was supported fails",
            false => "Something that Kata needs fails, and it was never recorded",
        };
        Issue {
            title: format!("[{digest}] {}", one_line(signature, TITLE)),
            body: format!("{what}, in {by}.\n\n{}", fenced(&details)),
            signature: digest,
        }
    }
}

/// Returns a Markdown block that shows the text literally: no name or number becomes a mention.
fn fenced(text: &str) -> String {
    let fence = fence(text);
    format!("{fence}text\n{text}{fence}\n")
}

/// Escapes the text of a workflow command (`@actions/core`: `escapeData`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command (`escapeProperty`).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests;
