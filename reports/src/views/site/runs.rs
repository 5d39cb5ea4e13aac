//! The runs that the site is made of, and how the answers have turned over them.

use super::address::Page;
use super::page::{Here, scroll, time};
use super::{Put, Site, SiteRelease, SiteRun, parts};
use crate::standing::ReleaseAnswer;
use crate::views::wording;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::io;

/// Reasons for which a run does not count that are shown of each.
const REASONS: usize = 10;

/// Puts the page of the runs.
pub(super) fn put(site: &Site<'_>, put: &mut Put<'_>) -> io::Result<()> {
    parts::put(
        site,
        put,
        Page::Runs,
        "Runs",
        |here| {
            html! {
                @if site.runs.is_empty() { p { "None was given: all pages show what the records say." } }
                @else { (turns(here)) h2 { "All runs" } }
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
        td { (wording::duration(millis)) }
        td {
            @for why in run.withheld.iter().take(REASONS) { p.detail { (why) } }
            @if run.withheld.len() > REASONS { p.muted { "and " (run.withheld.len() - REASONS) " more" } }
        }
    } }
}

/// Where the answer of a run alone differs from that of the run before it.
fn turns(here: &Here<'_>) -> Markup {
    let site = here.site;
    let all: Vec<Markup> = site
        .releases
        .iter()
        .flat_map(|release| release.trend.iter().map(move |(profile, trend)| (release, profile, trend)))
        .flat_map(|(release, profile, trend)| {
            let pairs = trend.iter().zip(trend.iter().skip(1));
            let differing = pairs.filter(|((_, now), (_, then))| now.verdict() != then.verdict());
            differing.filter_map(|(now, then)| turn(here, release, profile, now, then)).take(3).collect::<Vec<_>>()
        })
        .take(100)
        .collect();
    html! {
        h2 { "Answers that have turned" }
        @if all.is_empty() { p { "None: each run alone gives the answer of the run before it, or there is none before it." } }
        @else {
            p.muted { "Of what a run alone showed, up to three turns of a release and profile, 100 in all." }
            ul.causes { @for turn in all { (turn) } }
        }
    }
}

fn turn(
    here: &Here<'_>,
    release: &SiteRelease,
    profile: &str,
    (run, now): &(usize, ReleaseAnswer),
    (_, then): &(usize, ReleaseAnswer),
) -> Option<Markup> {
    let id = here.site.id(release)?;
    let day = here.site.runs.get(*run)?.day();
    Some(html! { li.gap {
        @if let Some(day) = day { (time(day)) " " }
        a href={(here.to(Page::Release(id))) "#" (profile)} { (here.site.labels.of_release(id)) ", " (profile) } ": "
        (then.words()) " → " b { (now.words()) }
    } })
}
