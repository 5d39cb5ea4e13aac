//! Page of the runs behind the site, and of the verdicts that have turned.

use super::address::Page;
use super::page::{Here, scroll, time};
use super::turns::{Turn, turns};
use super::{Put, SiteRun, Website, parts};
use maud::{Markup, html};
use model::verified::Verdict;
use model::words::duration;
use std::collections::BTreeMap;
use std::io;

/// Maximum of reasons shown for a run that does not count.
const REASONS: usize = 10;
/// Maximum of turns that are shown.
const TURNS: usize = 100;

/// Writes the page of the runs.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    parts::put(
        site,
        put,
        Page::Runs,
        "Runs",
        |here| {
            html! {
                @if site.runs.is_empty() { p { "None was given: all pages show what the records say." } }
                @else { (turned(here)) h2 { "All runs" } }
            }
        },
        |_| site.runs.iter().map(row).collect(),
        |_, rows| {
            scroll(
                "Runs",
                &html! { table.sortable id="runs" {
                    thead { tr {
                        @for head in ["run", "ended", "harness", "cells", "pass", "fail", "error", "skip", "took", "what does not count"] {
                            th scope="col" { (head) }
                        }
                    } }
                    tbody { (rows) }
                } },
            )
        },
    )
}

fn row(run: &SiteRun<'_>) -> Markup {
    let matrix = run.standings.matrix;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut millis = 0u64;
    for cell in &matrix.cells {
        millis = millis.saturating_add(cell.millis.unwrap_or(0));
        for last in cell.instances.iter().filter_map(|instance| instance.final_outcome()) {
            *counts.entry(last.outcome.name()).or_default() += 1;
        }
    }
    let count = |names: &[&str]| names.iter().filter_map(|name| counts.get(name)).sum::<usize>();
    html! { tr {
        th scope="row" { (matrix.run) }
        td { @if let Some(day) = run.day() { (time(day)) } }
        td { (matrix.harness) }
        td { (matrix.cells.len()) }
        td { (count(&["pass"])) }
        td { (count(&["fail"])) }
        td { (count(&["error"])) }
        td { (count(&["skip", "blocked"])) }
        td { (duration(millis)) }
        td {
            @for why in run.withheld.iter().take(REASONS) { p.detail { (why) } }
            @if run.withheld.len() > REASONS { p.muted { "and " (run.withheld.len() - REASONS) " more" } }
        }
    } }
}

/// Lists the verdicts that differ from an earlier run's.
fn turned(here: &Here<'_>) -> Markup {
    let all = turns(here.site);
    let more = all.len().saturating_sub(TURNS);
    html! {
        h2 { "Verdicts that have turned" }
        @if all.is_empty() { p { "None: no run decided anything otherwise than a run before it." } }
        @else {
            p.muted { "What one run decided and a later one decided otherwise, of the same release, architecture, environment, profile and capability." }
            ul.causes { @for turn in all.iter().take(TURNS) { (item(here, turn)) } }
            @if more > 0 { p.muted { "and " (more) " more, of older runs" } }
        }
    }
}

fn item(here: &Here<'_>, turn: &Turn<'_>) -> Markup {
    let site = here.site;
    let class = if turn.is == Verdict::Unsupported { "fail" } else { "gap" };
    html! { li class=(class) {
        a href=(here.to(Page::Cell(turn.cell))) { (site.labels.of_id(turn.cell)) } ": "
        @for capability in &turn.capabilities { (here.capability(*capability)) " " }
        "was " (turn.was) " in " (named(site, turn.before)) ", is " b { (turn.is) } " in " (named(site, turn.run)) " "
        span.muted { (turn.profiles.join(", ")) }
        p.muted { @if turn.differs.is_empty() { "nothing else is known to differ" } @else { "besides: " (turn.differs.join(", ")) } }
    } }
}

/// Returns a run's name and day.
fn named(site: &Website<'_>, run: usize) -> Markup {
    let run = site.runs.get(run);
    html! { @if let Some(run) = run { "run " (run.standings.matrix.run) @if let Some(day) = run.day() { " of " (time(day)) } } }
}
