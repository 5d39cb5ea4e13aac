//! Pages of releases: the answer for each profile, and its reasons.

use super::address::Page;
use super::answers::marked;
use super::page::{Here, badge, document, kata, legend, scroll, time, verdict};
use super::{Put, SiteCell, SiteRelease, Website};
use crate::journal::CellId;
use crate::matrix::ProfileHead;
use crate::standing::is_main;
use maud::{Markup, html};
use std::io;
use suites::capability::Capability;

/// Maximum of runs whose answers are shown; the latest are kept.
const RUNS: usize = 30;

/// Writes the page of a release.
pub(super) fn put(site: &Website<'_>, release: &SiteRelease, put: &mut Put<'_>) -> io::Result<()> {
    let Some(id) = site.id(release) else { return Ok(()) };
    let here = Here::new(site, Page::Release(id));
    let cells: Vec<&SiteCell<'_>> = release.cells.iter().filter_map(|place| site.cells.get(*place)).collect();
    let title = format!("{} {} ({})", id.distro, id.release, id.arch);
    let body = html! {
        h1 { (title) }
        p { "Brought up as " @for (place, cell) in cells.iter().enumerate() {
            @if place > 0 { ", " } a href=(here.to(Page::Cell(&cell.id))) { (cell.id.environment) }
        } "." }
        (legend())
        @for profile in &site.profiles { (of_profile(&here, id, release, &cells, profile)) }
    };
    put(here.path(), &document(&here, &title, &body))
}

fn of_profile(
    here: &Here<'_>,
    id: &CellId,
    release: &SiteRelease,
    cells: &[&SiteCell<'_>],
    profile: &ProfileHead,
) -> Markup {
    let answer = release.answers.get(&profile.name);
    let cells: Vec<&SiteCell<'_>> =
        cells.iter().copied().filter(|cell| cell.rows.contains_key(&profile.name)).collect();
    let has_results = |capability: &Capability| {
        cells
            .iter()
            .any(|cell| cell.rows.get(&profile.name).is_some_and(|row| row.capabilities.contains_key(capability)))
    };
    let (main, more): (Vec<Capability>, Vec<Capability>) =
        Capability::ALL.iter().copied().filter(has_results).partition(|capability| is_main(*capability));
    html! {
        section id=(profile.name) {
            h2 { a href=(here.to(Page::Profile(&profile.name))) { (profile.name) } " " span.muted { (kata(profile)) } }
            @if let Some(answer) = answer {
                p { span class=(marked(answer)) { (answer.words()) }
                    @if let Some(basis) = answer.basis { " " span.muted { (basis) } } }
            } @else { p { "Nothing is known." } }
            @if !main.is_empty() { (table(here, id, profile, &cells, &main)) }
            @if !more.is_empty() { details { summary { "Optional capabilities (" (more.len()) ")" } (table(here, id, profile, &cells, &more)) } }
            (trend(here, release, profile))
        }
    }
}

fn table(
    here: &Here<'_>,
    id: &CellId,
    profile: &ProfileHead,
    cells: &[&SiteCell<'_>],
    capabilities: &[Capability],
) -> Markup {
    let table = html! { table.why {
        thead { tr {
            th scope="col" { "capability" }
            @for cell in cells { th scope="col" { (cell.id.environment) } }
            th scope="col" { "why" }
        } }
        tbody { @for capability in capabilities { tr {
            th scope="row" { (here.capability(*capability)) }
            @for cell in cells {
                @if let Some(known) = cell.rows.get(&profile.name).and_then(|row| row.capabilities.get(capability)) {
                    @let label = format!("{} {} {}", id.distro, id.release, cell.id.environment);
                    (verdict(&here.to_verdict(cell, &profile.name, *capability), &label, *capability, known))
                } @else { td {} }
            }
            td { (reasons(here, cells, &profile.name, *capability)) }
        } } }
    } };
    scroll(&format!("Capabilities under {}", profile.name), &table)
}

/// Lists the reasons for a capability's verdicts, each once.
fn reasons(here: &Here<'_>, cells: &[&SiteCell<'_>], profile: &str, capability: Capability) -> Markup {
    let known = cells.iter().filter_map(|cell| cell.rows.get(profile)?.capabilities.get(&capability));
    let mut seen = Vec::new();
    for known in known {
        for why in known.why.iter().take(3).filter(|why| !seen.contains(why)).collect::<Vec<_>>() {
            seen.push(why);
        }
    }
    html! {
        @for why in seen { p.detail {
            @if let Some(component) = why.component { b { (component) } ": " }
            (why.text)
            @if let Some(test) = &why.test { " (" (here.test(test)) ")" }
        } }
    }
}

/// Returns the answers of each single run.
fn trend(here: &Here<'_>, release: &SiteRelease, profile: &ProfileHead) -> Markup {
    let Some(trend) = release.trend.get(&profile.name).filter(|trend| trend.len() > 1) else { return html! {} };
    let table = html! { table {
        thead { tr { th scope="col" { "run" } th scope="col" { "answer of this run alone" } th scope="col" { "supported" } } }
        tbody { @for (run, answer) in trend.iter().take(RUNS) { tr {
            th scope="row" { @if let Some(run) = here.site.runs.get(*run) {
                @if let Some(day) = run.day() { (time(day)) " " } span.muted { (run.standings.matrix.run) }
            } }
            td { (badge(answer.verdict(), answer.basis, &answer.words())) }
            @let (supported, needed) = (answer.answer.supported, answer.answer.needed);
            td { (supported) " of " (needed) " " meter aria-label="supported" min="0" max=(needed) value=(supported) {} }
        } } }
    } };
    html! {
        details { summary { "Over the runs (" (trend.len()) ")" }
            @if trend.len() > RUNS { p.muted { "The latest " (RUNS) " of them." } }
            (scroll(&format!("Runs under {}", profile.name), &table))
        }
    }
}
