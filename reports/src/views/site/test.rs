//! Pages of tests: what they prove, why Kata needs it, and all results.

use super::address::Page;
use super::page::{Here, scroll};
use super::{Put, SiteCell, Website, parts, results};
use crate::redact::one_line;
use crate::run::TestRun;
use crate::views::{explain, wording};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use suites::catalogue::Test;
use suites::outcome::Outcome;

/// Maximum size of a message in a table, in bytes.
const MAX_SEEN: usize = 240;

/// The cells where a test ran, or is recorded to have failed.
#[derive(Default)]
struct Seen<'s> {
    runs: Vec<(&'s SiteCell<'s>, Vec<&'s TestRun>)>,
    /// Cells without runs, with the recorded failures.
    recorded: Vec<(&'s SiteCell<'s>, BTreeSet<&'s str>)>,
}

/// The number of results of each kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    errors: usize,
    /// Skipped or blocked.
    unrun: usize,
}

/// Writes a page for each test, and the list of all.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    let mut seen = seen(site);
    let mut counts = BTreeMap::new();
    for id in site.tests.keys() {
        let seen = seen.remove(id).unwrap_or_default();
        counts.insert(*id, seen.counts());
        if let Some(test) = site.test(id) {
            one(site, test, &seen, put)?;
        }
    }
    let tests: Vec<&Test> = site.catalogue.iter().filter(|test| counts.contains_key(test.id.as_str())).collect();
    parts::put(
        site,
        put,
        Page::Tests,
        "Tests",
        |_| html! { p { "What each test proves, and of how many cells and configurations it was seen." } },
        |here| tests.iter().map(|test| listed(here, test, counts.get(test.id.as_str()).copied())).collect(),
        |_, rows| {
            scroll(
                "Tests",
                &html! { table.sortable id="tests" {
                    thead { tr {
                        th scope="col" { "test" } th scope="col" { "passed" } th scope="col" { "failed" }
                        th scope="col" { "in error" } th scope="col" { "skipped" }
                    } }
                    tbody { (rows) }
                } },
            )
        },
    )
}

fn listed(here: &Here<'_>, test: &Test, counts: Option<Counts>) -> Markup {
    let counts = counts.unwrap_or_default();
    html! { tr {
        th scope="row" { (here.test(&test.id)) p.detail { (test.property()) } }
        @for (count, class) in [(counts.passed, "s"), (counts.failed, "u"), (counts.errors, "i"), (counts.unrun, "t")] {
            td { @if count > 0 { span class=(class) { (count) } } @else { "0" } }
        }
    } }
}

/// Collects the results of each test.
fn seen<'s>(site: &'s Website<'_>) -> BTreeMap<&'s str, Seen<'s>> {
    let mut all: BTreeMap<&str, Seen<'s>> = BTreeMap::new();
    for cell in &site.cells {
        let Some(report) = cell.report else {
            for why in cell.rows.values().flat_map(|row| row.capabilities.values()).flat_map(|known| &known.why) {
                let Some(test) = why.test.as_deref() else { continue };
                let recorded = &mut all.entry(test).or_default().recorded;
                match recorded.last_mut() {
                    Some((last, texts)) if std::ptr::eq(*last, cell) => {
                        texts.insert(&why.text);
                    }
                    _ => recorded.push((cell, BTreeSet::from([why.text.as_str()]))),
                }
            }
            continue;
        };
        for run in &report.instances {
            let runs = &mut all.entry(&run.test).or_default().runs;
            match runs.last_mut() {
                Some((last, instances)) if std::ptr::eq(*last, cell) => instances.push(run),
                _ => runs.push((cell, vec![run])),
            }
        }
    }
    all
}

impl Seen<'_> {
    fn counts(&self) -> Counts {
        let mut counts = Counts { failed: self.recorded.len(), ..Counts::default() };
        for run in self.runs.iter().flat_map(|(_, runs)| runs) {
            let Some(last) = run.final_outcome() else { continue };
            match last.outcome {
                Outcome::Pass => counts.passed += 1,
                Outcome::Fail { .. } => counts.failed += 1,
                Outcome::Error { .. } => counts.errors += 1,
                Outcome::Skip { .. } | Outcome::Blocked { .. } => counts.unrun += 1,
            }
        }
        counts
    }
}

fn one(site: &Website<'_>, test: &Test, seen: &Seen<'_>, put: &mut Put<'_>) -> io::Result<()> {
    let mut runs = seen.runs.clone();
    put_failures_first(&mut runs);
    parts::put(
        site,
        put,
        Page::Test(&test.id),
        &test.id,
        |here| {
            html! {
                (explained(here, test))
                h2 { "Where it ran" }
                @if runs.is_empty() && seen.recorded.is_empty() { p { "It is in no run of this site, and no record blames anybody by it." } }
            }
        },
        |here| {
            let ran = runs.iter().map(|(cell, runs)| ran(here, cell, &test.id, runs));
            ran.chain(seen.recorded.iter().map(|(cell, texts)| recorded(here, cell, texts))).collect()
        },
        |_, rows| {
            scroll(
                "Results",
                &html! { table.sortable id="results" {
                    thead { tr { th scope="col" { "release" } th scope="col" { "result" } th scope="col" { "what was seen" } } }
                    tbody { (rows) }
                } },
            )
        },
    )
}

/// Sorts cells by their worst result, because readers look for failures.
fn put_failures_first(runs: &mut [(&SiteCell<'_>, Vec<&TestRun>)]) {
    runs.sort_by_key(|(_, runs)| runs.iter().map(|run| rank(run)).min());
}

/// Ranks results: failures first, then errors; passes come last.
fn rank(run: &TestRun) -> u8 {
    match run.final_outcome().map(|last| last.outcome) {
        Some(Outcome::Fail { .. }) => 0,
        Some(Outcome::Error { .. }) => 1,
        Some(Outcome::Blocked { .. }) => 2,
        Some(Outcome::Skip { .. }) => 3,
        Some(Outcome::Pass) => 4,
        None => 5,
    }
}

fn explained(here: &Here<'_>, test: &Test) -> Markup {
    html! {
        @for paragraph in test.doc.split("\n\n") { p { (paragraph) } }
        (scroll("About the test", &html! { table.facts { tbody {
            tr { th scope="row" { "proves" } td { @for capability in &test.proves { (here.capability(*capability)) " " } } }
            tr { th scope="row" { "blames" } td { (test.blames) } }
            @if !test.blocked_by.is_empty() {
                tr { th scope="row" { "blocked by" } td { @for other in &test.blocked_by { (here.test(other)) " " } } }
            }
            @for (name, value) in explain::facts(test) { tr { th scope="row" { (name) } td { (value) } } }
        } } }))
    }
}

fn ran(here: &Here<'_>, cell: &SiteCell<'_>, test: &str, runs: &[&TestRun]) -> Markup {
    let seen: BTreeSet<String> = runs
        .iter()
        .flat_map(|run| &run.attempts)
        .map(|attempt| one_line(&wording::detail(&attempt.outcome), MAX_SEEN))
        .filter(|detail| !detail.is_empty())
        .collect();
    html! { tr data-arch=(cell.id.arch) data-in=(cell.id.environment) {
        th scope="row" { a href=(results::to(here, &cell.id, test)) { (here.site.labels.of_id(&cell.id)) } }
        td { @for run in runs { (results::result(run)) span.muted { (run.profiles.join(", ")) } " " } }
        td { @for detail in seen.iter().take(3) { p.detail { (detail) } } }
    } }
}

fn recorded(here: &Here<'_>, cell: &SiteCell<'_>, texts: &BTreeSet<&str>) -> Markup {
    html! { tr data-arch=(cell.id.arch) data-in=(cell.id.environment) {
        th scope="row" { a href=(here.to(Page::Cell(&cell.id))) { (here.site.labels.of_id(&cell.id)) } }
        td { span.u { "fail" } " " span.muted { "recorded" } }
        td { @for text in texts.iter().take(3) { p.detail { (text) } } }
    } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn results_are_counted_and_failures_come_first() {
        let matrix = sample::matrix();
        let standings = sample::standings(&matrix);
        let catalogue = sample::catalogue();
        let site = super::super::of_run(&standings, &[], &catalogue);
        let seen = seen(&site);
        let counts = seen[sample::VSOCK].counts();
        assert_eq!((counts.passed, counts.unrun), (0, 2));
        assert_eq!(seen[sample::TDX].counts().failed, 2);
        // It failed on Debian 12 and passed on Debian 13.
        let mut runs = seen[sample::QMP].runs.clone();
        for _ in 0..2 {
            runs.reverse();
            put_failures_first(&mut runs);
            let releases: Vec<&str> = runs.iter().map(|(cell, _)| cell.id.release.as_str()).collect();
            assert_eq!(releases, ["12", "13"]);
        }
    }
}
