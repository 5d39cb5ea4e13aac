//! Pages of cells: verdicts, their reasons and evidence, tests and guests.

use super::address::{self, Page};
use super::evidence;
use super::known::Why;
use super::page::{Here, MOST, document, fitting, left_out, legend, mark, message, scroll, time};
use super::results;
use super::{Put, SiteCell, Website};
use crate::matrix::{CellReport, Matrix, ProfileHead};
use crate::redact::one_line;
use crate::standing::{CellStanding, is_main};
use crate::views::marks::Marks;
use crate::views::rates::Rate;
use crate::views::record::withheld_cell;
use crate::views::{causes, wording};
use maud::{Markup, PreEscaped, html};
use model::verified::Verdict;
use model::words::duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use suites::capability::Capability;
use suites::outcome::Component;

/// Maximum of other runs that are named.
const OTHERS: usize = 10;
/// Maximum size of the reason why a run's tests are not shown, in bytes.
const MAX_WHY_NOT: usize = 300;

/// Writes the page of a cell.
pub(super) fn put(site: &Website<'_>, cell: &SiteCell<'_>, put: &mut Put<'_>) -> io::Result<()> {
    let here = Here::new(site, Page::Cell(&cell.id));
    let title = format!("{} {} ({}, {})", cell.id.distro, cell.id.release, cell.id.arch, cell.id.environment);
    // The verdicts, which all links lead to, are always complete; messages get the remaining room.
    let verdicts = verdicts(&here, cell);
    let mut room = MOST.saturating_sub(verdicts.0.len());
    // The rows of the tests have priority over messages, too.
    let mut for_tests = room / 4 * 3;
    let tests = cell.report.map(|report| results::tests(&here, report, &mut for_tests));
    room /= 4;
    let body = html! {
        h1 { (title) }
        p { a href=(here.to(Page::Release(&cell.id))) { "Can Kata run on " (cell.id.distro) " " (cell.id.release) "?" } }
        (by_run(&here, cell))
        (others(&here, cell))
        (why(&here, cell, &mut room))
        h2 #verdicts { "Verdicts" }
        (legend())
        (verdicts)
        h2 #evidence { "Evidence" }
        (evidence::of(&here, cell, &mut room))
        @if let Some(tests) = tests { (tests) }
        @if let Some(report) = cell.report { (evidence::guests(report, &mut room)) }
    };
    put(here.path(), &document(&here, &title, &body))
}

/// Names the run that the tests belong to.
fn by_run(here: &Here<'_>, cell: &SiteCell<'_>) -> Markup {
    let site = here.site;
    let run = cell.run.and_then(|run| site.runs.get(run)).filter(|_| !site.is_run);
    let brought = cell.report.map(CellReport::supplied_components).unwrap_or_default();
    html! {
        p.muted {
            @if let Some(report) = cell.report {
                (cell.id) " · " (wording::basis(report.basis()))
                @if let Some(millis) = report.millis { " · " (duration(millis)) }
            } @else { (cell.id) " · by the record alone: no run of it was given, so that there is nothing on single tests" }
            @if let Some(run) = run {
                " · tests of run " (run.standings.matrix.run) @if let Some(day) = run.day() { ", " (time(day)) }
                @if !brought.is_empty() { ", with " (brought.join(", ")) }
            }
        }
    }
}

/// Names the cell's other runs, and why their tests are not on the page.
fn others(here: &Here<'_>, cell: &SiteCell<'_>) -> Markup {
    let run = |place: usize| here.site.runs.get(place);
    let runs = cell.others.iter().take(OTHERS).filter_map(|(place, report)| Some((run(*place)?, *report)));
    let more = cell.others.len().saturating_sub(OTHERS);
    html! {
        @if !cell.others.is_empty() {
            p.muted { "The tests of these runs are not shown here:" }
            ul #others { @for (run, report) in runs { li {
                a href=(here.to(Page::Runs)) { (run.standings.matrix.run) }
                @if let Some(day) = run.day() { ", " (time(day)) }
                ": " (why_not(report))
            } } }
            @if more > 0 { p.muted { "and " (more) " more" } }
        }
    }
}

/// Says why the tests of a run are not those behind the verdicts on a release's own components.
fn why_not(report: &CellReport) -> String {
    let brought = report.supplied_components();
    if !brought.is_empty() {
        return format!("with {}", brought.join(", "));
    }
    match withheld_cell(report) {
        Some(why) => one_line(&why, MAX_WHY_NOT),
        None => "it decided nothing".to_owned(),
    }
}

/// Returns the table of profiles × capabilities, which all other tables link to.
fn verdicts(here: &Here<'_>, cell: &SiteCell<'_>) -> PreEscaped<String> {
    let profiles: Vec<&ProfileHead> =
        here.site.profiles.iter().filter(|profile| cell.rows.contains_key(&profile.name)).collect();
    let has_results = |capability: &Capability| cell.rows.values().any(|row| row.capabilities.contains_key(capability));
    let (main, more): (Vec<Capability>, Vec<Capability>) =
        Capability::ALL.iter().copied().filter(has_results).partition(|capability| is_main(*capability));
    let table = html! { table {
        thead { tr {
            th scope="col" { "capability" }
            @for profile in &profiles { th scope="col" { a href=(here.to(Page::Profile(&profile.name))) { (profile.name) } } }
        } }
        @for (head, capabilities) in [("Overview", main), ("Optional", more)] {
            @if !capabilities.is_empty() { tbody {
                tr { th.group scope="rowgroup" colspan=(profiles.len() + 1) { (head) } }
                @for capability in capabilities { tr {
                    th scope="row" { (here.capability(capability)) }
                    @for profile in &profiles { (one(here, cell, &profile.name, capability)) }
                } }
            } }
        }
    } };
    if profiles.is_empty() {
        return html! { p { "None: nothing was judged, or nothing of it counts." } };
    }
    scroll("Verdicts", &table)
}

fn one(here: &Here<'_>, cell: &SiteCell<'_>, profile: &str, capability: Capability) -> Markup {
    let Some(known) = cell.rows.get(profile).and_then(|row| row.capabilities.get(&capability)) else {
        return html! { td {} };
    };
    let id = address::anchor(profile, capability.name());
    let label = format!("{} {} {}", cell.id.distro, cell.id.release, profile);
    // The mark links to the capability, because this is already the cell's page.
    let to = here.to(Page::Capability(capability));
    html! { td id=(id) {
        @if known.verdict == Verdict::NotApplicable { span.n { (Marks::of(known.verdict).word) } } @else { (mark(&to, &label, capability, known)) }
        @if let Some((passed, required)) = known.passed {
            " " span.muted title="required tests that passed" { (passed) "/" (required) }
        }
    } }
}

/// Explains why capabilities are not supported: first by the run behind the tests, then by other results.
fn why(here: &Here<'_>, cell: &SiteCell<'_>, room: &mut usize) -> Markup {
    let mut for_causes = *room / 2;
    let run = cell.run.and_then(|run| here.site.runs.get(run));
    let standing = run.and_then(|run| run.standings.cells.iter().find(|one| one.report.cell == cell.id));
    let items = run.zip(standing).map(|(run, standing)| of_run(here, run.standings.matrix, standing));
    let items = items.unwrap_or_default();
    let (shown, omitted) = fitting(items.into_iter(), &mut for_causes, |item| item);
    // On a run's own pages, all results are from the run.
    let recorded = if here.site.is_run { Vec::new() } else { recorded(here, cell) };
    let (known, more) = fitting(recorded.into_iter(), &mut for_causes, |item| item);
    *room -= (*room / 2).saturating_sub(for_causes);
    html! {
        @if !shown.0.is_empty() || !known.0.is_empty() {
            h2 #why { "Why" }
            @if !shown.0.is_empty() {
                @if !here.site.is_run { h3 { "What the tests on this page showed" } }
                ul.causes { (shown) } (left_out(omitted))
            }
            @if !known.0.is_empty() {
                @if cell.report.is_some() { h3 { "What the verdicts rest on" } }
                ul.causes { (known) } (left_out(more))
            }
        }
    }
}

fn of_run(here: &Here<'_>, matrix: &Matrix, standing: &CellStanding<'_>) -> Vec<Markup> {
    let report = standing.report;
    let errors = report.errors.iter().map(|failure| {
        html! { li.error { b { "The cell could not go on" } " (" (failure.phase) ")" (message(&failure.message)) } }
    });
    let causes = causes::explanations(standing);
    let causes = causes.iter().map(|why| {
        html! { li class=(if why.blame.is_some() { "fail" } else { "gap" }) {
            @if let Some(blame) = why.blame { b { (blame.component.name()) } " " (here.test(blame.test)) " " }
            span.muted { (why.place()) }
            (message(&why.text))
        } }
    });
    let flaky = causes::flaky(report);
    let flaky = flaky.iter().map(|test| {
        html! { li.gap { b { "flaky" } " " (here.test(&test.test)) " passed " (test.passed) " of " (test.attempts) " times" } }
    });
    let rates = report.instances.iter().filter_map(|one| Some((one, Rate::of(matrix, one)?)));
    let rates = rates.filter(|(_, rate)| !rate.is_whole()).map(|(one, rate)| {
        html! { li.gap { b { "repeated" } " " (here.test(&one.test)) " passed " (rate.words()) } }
    });
    let not_chosen = wording::not_chosen([report]).map(|words| html! { li.gap { (words) } });
    errors.chain(causes).chain(flaky).chain(rates).chain(not_chosen).collect()
}

/// A reason, with everything that it applies to.
struct Recorded<'k> {
    component: Option<Component>,
    test: Option<&'k str>,
    /// The text under the first profile.
    text: &'k str,
    /// The places in Kata's source that require it, under any profile.
    sources: BTreeSet<&'k str>,
    profiles: BTreeSet<&'k str>,
    capabilities: BTreeSet<Capability>,
}

impl<'k> Recorded<'k> {
    fn of(why: &'k Why) -> Recorded<'k> {
        let (component, test) = (why.component, why.test.as_deref());
        let (text, _) = causes::without_sources(&why.text);
        let (sources, profiles, capabilities) = Default::default();
        Recorded { component, test, text, sources, profiles, capabilities }
    }
}

/// Lists each reason once: profiles differ in the citation of Kata's source, and in paths.
fn recorded(here: &Here<'_>, cell: &SiteCell<'_>) -> Vec<Markup> {
    let mut all: BTreeMap<(bool, String, Option<&str>), Recorded<'_>> = BTreeMap::new();
    for (profile, row) in &cell.rows {
        for (capability, known) in &row.capabilities {
            for why in &known.why {
                let key = (why.component.is_none(), causes::key(why.component, &why.text), why.test.as_deref());
                let one = all.entry(key).or_insert_with(|| Recorded::of(why));
                one.sources.extend(causes::without_sources(&why.text).1);
                one.profiles.insert(profile);
                one.capabilities.insert(*capability);
            }
        }
    }
    let item = |one: &Recorded<'_>| {
        html! { li class=(if one.component.is_some() { "fail" } else { "gap" }) {
            @if let Some(component) = one.component { b { (component) } " " }
            @if let Some(test) = one.test { (here.test(test)) " " }
            span.muted { (causes::words(&one.profiles)) ": " (causes::names(&one.capabilities)) }
            (message(&causes::with_sources(one.text, &one.sources, &BTreeSet::new())))
        } }
    };
    all.values().map(item).collect()
}
