//! Pages of capabilities: meaning, requirements, and judgements.

use super::address::Page;
use super::page::{Here, document, legend, scroll, verdict};
use super::{Put, SiteCell, Website, parts};
use crate::standing::is_main;
use maud::{Markup, html};
use model::verified::Verdict;
use std::io;
use suites::capability::{Capability, Tier};
use suites::catalogue::Test;

/// Writes a page for each capability, and the list of all.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    for capability in Capability::ALL {
        one(site, *capability, put)?;
    }
    let here = Here::new(site, Page::Capabilities);
    let rows = |main: bool| {
        let all = Capability::ALL.iter().filter(move |capability| is_main(**capability) == main);
        html! { @for capability in all { tr {
            th scope="row" { a href=(here.to(Page::Capability(*capability))) { (capability.name()) } }
            td { (capability.meaning()) }
            td { (weight(*capability)) }
        } } }
    };
    let table = |rows: Markup| {
        html! { table {
            thead { tr { th scope="col" { "capability" } th scope="col" { "meaning" } th scope="col" { "weight" } } }
            tbody { (rows) }
        } }
    };
    let body = html! {
        h1 { "Capabilities" }
        p { "Each is a column of the matrix: something that a distro can do for a Kata version." }
        h2 { "Overview" } (scroll("Capabilities of the overview", &table(rows(true))))
        h2 { "Optional" } (scroll("Optional capabilities", &table(rows(false))))
    };
    put(here.path(), &document(&here, "Capabilities", &body))
}

/// Describes how much a capability matters.
fn weight(capability: Capability) -> &'static str {
    match capability.tier() {
        Tier::Required => "Kata does not run without it",
        Tier::IfProvided => "Kata does not run without it, and not every environment can show it",
        Tier::Shown | Tier::Detail => "nobody needs it for running Kata",
        Tier::Listed => "a list is all that is looked at, so that it is offered at best",
    }
}

fn one(site: &Website<'_>, capability: Capability, put: &mut Put<'_>) -> io::Result<()> {
    let is_said = |cell: &&SiteCell<'_>| {
        let known = cell.rows.values().filter_map(|row| row.capabilities.get(&capability));
        known.into_iter().any(|known| known.verdict != Verdict::NotApplicable)
    };
    let cells: Vec<&SiteCell<'_>> = site.cells.iter().filter(is_said).collect();
    parts::put(
        site,
        put,
        Page::Capability(capability),
        capability.name(),
        |here| {
            html! {
                p { (capability.meaning()) ". " span.muted { (weight(capability)) "." } }
                (proofs(here, capability))
                h2 { "Where it was judged" }
                @if cells.is_empty() { p { "Nowhere: nothing is known of it." } } @else { (legend()) }
            }
        },
        |here| cells.iter().map(|cell| row(here, cell, capability)).collect(),
        |here, rows| {
            let table = html! { table.sortable id="cells" {
                thead { tr { th scope="col" { "release" } @for profile in &site.profiles {
                    th scope="col" { a href=(here.to(Page::Profile(&profile.name))) { (profile.name) } }
                } } }
                tbody { (rows) }
            } };
            scroll(capability.name(), &table)
        },
    )
}

/// Lists the tests that must pass for the capability.
fn proofs(here: &Here<'_>, capability: Capability) -> Markup {
    let tests: Vec<&Test> = here.site.catalogue.iter().filter(|test| test.proves.contains(&capability)).collect();
    html! {
        h2 { "What is required" }
        @if tests.is_empty() { p { "No test exists for it yet." } } @else {
            p { "Every one of these tests must have passed that applies to the profile and the environment." }
            ul { @for test in tests { li { (here.test(&test.id)) " " (test.property()) } } }
        }
    }
}

fn row(here: &Here<'_>, cell: &SiteCell<'_>, capability: Capability) -> Markup {
    let label = here.site.labels.of_id(&cell.id);
    html! { tr data-arch=(cell.id.arch) data-in=(cell.id.environment) {
        th scope="row" { a href=(here.to(Page::Cell(&cell.id))) { (label) } }
        @for profile in &here.site.profiles {
            @if let Some(known) = cell.rows.get(&profile.name).and_then(|row| row.capabilities.get(&capability)) {
                @let to = here.to_verdict(cell, &profile.name, capability);
                (verdict(&to, &format!("{label}, {}", profile.name), capability, known))
            } @else { td {} }
        }
    } }
}
