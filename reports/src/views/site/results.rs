//! Table of a cell's tests, with their results under each profile.

use super::address::Page;
use super::page::{Here, left_out, message, scroll};
use crate::matrix::CellReport;
use crate::run::{Attempt, TestRun};
use crate::views::wording;
use maud::{Markup, PreEscaped, html};
use model::words::duration;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// Maximum of messages, and of files, shown for one test.
const LINES: usize = 8;
/// Maximum size of the notes shown for one test, in bytes.
const MAX_NOTES: usize = 2000;

/// Returns the anchor of a test on the page of a cell.
pub(super) fn anchor(id: &str) -> String {
    format!("test-{id}")
}

/// Returns the tests of a cell. If there is not enough room, messages are left out before results; tests that are not
/// in the catalogue come last, and are left out first.
pub(super) fn tests(here: &Here<'_>, report: &CellReport, room: &mut usize) -> Markup {
    let all = by_test(report);
    let profiles: Vec<&str> = here.site.profiles.iter().map(|profile| profile.name.as_str()).collect();
    let count = all.len();
    let plain: Vec<String> = all.iter().map(|(id, runs)| row(here, id, runs, &profiles, false).into_string()).collect();
    let mut remaining: usize = plain.iter().map(String::len).sum();
    let (mut out, mut silent, mut lost) = (String::new(), 0, 0);
    for ((id, runs), plain) in all.iter().zip(plain) {
        remaining -= plain.len();
        let whole = row(here, id, runs, &profiles, true).into_string();
        // Room is reserved for the results of later tests.
        let is_whole = whole.len() + remaining <= *room;
        silent += usize::from(!is_whole && runs.iter().any(|run| has_more(run)));
        let chosen = if is_whole { whole } else { plain };
        match room.checked_sub(chosen.len()) {
            Some(rest) => {
                *room = rest;
                out.push_str(&chosen);
            }
            None => lost += 1,
        }
    }
    let table = html! { table.tests {
        thead { tr { th scope="col" { "test" } @for profile in &profiles { th scope="col" { (profile) } } } }
        tbody { (PreEscaped(out)) }
    } };
    html! {
        h2 #tests { "Tests (" (count) ")" }
        @if silent > 0 { p.caveat { "What " (silent) " of these tests said is left out: this page would be too long. The journal has all of it." } }
        (left_out(lost))
        @if count > 0 { (scroll("Tests", &table)) }
    }
}

/// Returns the tests that ran, in the catalogue's order.
fn by_test(report: &CellReport) -> Vec<(&str, Vec<&TestRun>)> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all: Vec<(&str, Vec<&TestRun>)> = Vec::new();
    for run in &report.instances {
        let place = *places.entry(&run.test).or_insert_with(|| {
            all.push((&run.test, Vec::new()));
            all.len() - 1
        });
        if let Some((_, runs)) = all.get_mut(place) {
            runs.push(run);
        }
    }
    all
}

/// Checks whether a test has details beyond its result.
fn has_more(run: &TestRun) -> bool {
    run.attempts.iter().any(|a| a.outcome != Outcome::Pass || !a.notes.is_empty() || !a.artifacts.is_empty())
}

fn row(here: &Here<'_>, id: &str, runs: &[&TestRun], profiles: &[&str], whole: bool) -> Markup {
    html! { tr id=(anchor(id)) {
        th scope="row" { (here.test(id)) @if whole { (messages(here, runs)) } }
        @for (width, shown) in columns(profiles, runs) {
            td colspan=[(width > 1).then_some(width)] { @for run in shown { (result(run)) } }
        }
    } }
}

/// Returns the results of a test by profile, equal neighbours together: the number of columns, and their content.
fn columns<'i>(profiles: &[&str], runs: &[&'i TestRun]) -> Vec<(usize, Vec<&'i TestRun>)> {
    let mut columns: Vec<(usize, Vec<&TestRun>)> = Vec::new();
    for profile in profiles {
        let shown: Vec<&TestRun> = runs.iter().copied().filter(|i| i.counts_for(profile)).collect();
        let same = |last: &[&TestRun]| {
            last.len() == shown.len() && last.iter().zip(&shown).all(|(one, other)| std::ptr::eq(*one, *other))
        };
        match columns.last_mut() {
            Some((width, last)) if same(last.as_slice()) => *width += 1,
            _ => columns.push((1, shown)),
        }
    }
    columns
}

/// Returns the messages of all configurations of a test, each once.
fn messages(here: &Here<'_>, runs: &[&TestRun]) -> Markup {
    let mut lines: Vec<String> = Vec::new();
    let (mut notes, mut artifacts): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut seen: [BTreeSet<String>; 3] = Default::default();
    for Attempt { outcome, notes: n, artifacts: a, .. } in runs.iter().flat_map(|i| &i.attempts) {
        let detail = wording::detail(outcome);
        if !detail.is_empty() && seen[0].insert(detail.clone()) {
            lines.push(detail);
        }
        notes.extend(n.iter().filter(|item| seen[1].insert((*item).clone())).map(String::as_str));
        artifacts.extend(a.iter().filter(|item| seen[2].insert((*item).clone())).map(String::as_str));
    }
    // A site of many runs does not contain their files.
    artifacts.retain(|_| here.site.is_run);
    let more = |count: usize| html! { @if count > LINES { p.muted { "and " (count - LINES) " more" } } };
    html! {
        @for line in lines.iter().take(LINES) { div.detail { (message(line)) } }
        (more(lines.len()))
        @if !notes.is_empty() {
            details { summary { "notes (" (notes.len()) ")" } pre tabindex="0" { (crate::redact::without_controls(&notes.join("\n"), MAX_NOTES)) } }
        }
        @if !artifacts.is_empty() {
            div.muted.files { "files: " @for file in artifacts.iter().take(LINES) { a href=(here.to_path(file)) { code { (file) } } " " }
                (more(artifacts.len())) }
        }
    }
}

/// Returns the outcome of a test, as a mark.
pub(super) fn result(run: &TestRun) -> Markup {
    let Some(last) = run.final_outcome() else { return html! {} };
    let millis = run.attempts.iter().fold(0u64, |sum, a| sum.saturating_add(a.millis));
    html! {
        span class=(class(&last.outcome)) title=(duration(millis)) {
            (last.outcome.name())
            @if last.is_flaky() { " " (last.passed) "/" (last.decided) }
        }
        " "
    }
}

/// Returns the class of an outcome's mark.
fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "s",
        Outcome::Fail { .. } => "u",
        Outcome::Error { .. } => "i",
        Outcome::Skip { .. } | Outcome::Blocked { .. } => "t",
    }
}

/// Returns the relative path to a test on the page of a cell.
pub(super) fn to(here: &Here<'_>, cell: &crate::journal::CellId, id: &str) -> String {
    format!("{}#{}", here.to(Page::Cell(cell)), anchor(id))
}
