//! Evidence behind the verdicts of a cell: packages, kernel, environment, guests.

use super::address::Page;
use super::page::{Here, fitting, left_out, scroll, time};
use super::{Basics, SiteCell};
use crate::journal::CellFacts;
use crate::matrix::CellReport;
use crate::run::GuestLaunch;
use crate::views::wording;
use maud::{Markup, html};
use model::distro::DistroId;
use model::shell::quoted;
use model::words::duration;

/// Returns the evidence of a cell.
pub(super) fn of(here: &Here<'_>, cell: &SiteCell<'_>, room: &mut usize) -> Markup {
    let report = cell.report.filter(|report| report.facts.is_some());
    html! {
        @if cell.report.is_some_and(|report| report.facts.is_none()) {
            p { "Nothing is known: the cell did not get that far." }
        }
        @if let Some((report, facts)) = report.and_then(|report| Some((report, report.facts.as_ref()?))) {
            (of_run(here, cell, report, facts, room))
        }
        // A run's own pages have no other evidence.
        @if !here.site.is_run { (recorded(here, cell)) }
    }
}

fn of_run(here: &Here<'_>, cell: &SiteCell<'_>, report: &CellReport, facts: &CellFacts, room: &mut usize) -> Markup {
    let mut all: Vec<(Markup, Markup)> = Vec::new();
    let mut text = |name: &str, value: String| all.push((html! { (name) }, html! { (value) }));
    text("basis", format!("{} ({})", facts.basis, facts.accelerator));
    facts.kernel.iter().for_each(|kernel| text("guest kernel", kernel.to_string()));
    text("image", facts.image.clone());
    if let Some(made) = facts.image_made {
        let cached = if facts.image_cached { ", from the cache" } else { "" };
        text("image made", format!("{}{cached}", made.strftime("%Y-%m-%d %H:%M UTC")));
    }
    facts.image_options.iter().for_each(|option| text("image option", option.clone()));
    facts.candidates.iter().for_each(|(component, what)| text(&format!("candidate {component}"), what.to_string()));
    facts.environment.iter().for_each(|(probe, answer)| text(probe, answer.to_string()));
    facts.notes.iter().for_each(|note| text("note", note.clone()));
    report.phases.iter().for_each(|(phase, millis)| text(&format!("phase {phase}"), duration(*millis)));
    let packages = facts.versions.keys().map(|name| {
        let name = name.as_str();
        (package(here, &cell.id.distro, name), html! { (wording::version(facts, name)) })
    });
    let rows: Vec<(Markup, Markup)> = packages.chain(all).collect();
    let (shown, omitted) =
        fitting(rows.into_iter(), room, |(name, value)| html! { tr { th scope="row" { (name) } td { (value) } } });
    html! { (scroll("Evidence", &html! { table.facts { tbody { (shown) } } })) (left_out(omitted)) }
}

/// A package's name, which leads to the page of its source package.
fn package(here: &Here<'_>, distro: &DistroId, name: &str) -> Markup {
    let source = here.site.packages.source(distro, name);
    html! { a href=(here.to(Page::Package(&source))) { (name) } @if source != name { " (" (source) ")" } }
}

/// Lists the facts that the counting verdicts rest on, each day once with its profiles.
fn recorded(here: &Here<'_>, cell: &SiteCell<'_>) -> Markup {
    let mut all: Vec<(&Basics, Vec<&str>)> = Vec::new();
    for (profile, row) in &cell.rows {
        for basics in &row.basics {
            match all.iter_mut().find(|(known, _)| *known == basics) {
                Some((_, profiles)) => profiles.push(profile),
                None => all.push((basics, vec![profile])),
            }
        }
    }
    all.sort_by_key(|(basics, _)| std::cmp::Reverse(basics.tested));
    html! { @for (basics, profiles) in all {
        div.scroll tabindex="0" role="group" aria-label={"Recorded for " (profiles.join(", "))} { table.facts { tbody {
            tr { th scope="row" { "recorded" } td { @if let Some(day) = basics.tested { (time(day)) " " } (profiles.join(", ")) } }
            @if let Some(basis) = basics.basis { tr { th scope="row" { "basis" } td { (basis) } } }
            @if let Some(kata) = &basics.kata { tr { th scope="row" { "Kata itself" } td { (kata) } } }
            @for (name, version) in &basics.versions {
                tr { th scope="row" { (package(here, &cell.id.distro, name)) } td { (version) } }
            }
            tr { th scope="row" { "harness" } td { (basics.harness) ", test set " (basics.test_set) } }
        } } }
    } }
}

/// Lists the guests that were started, and their arguments.
pub(super) fn guests(report: &CellReport, room: &mut usize) -> Markup {
    if report.launches.is_empty() {
        return html! {};
    }
    let (shown, omitted) = fitting(report.launches.iter(), room, launched);
    html! {
        h2 #guests { "Guests and their arguments" }
        details { summary { (report.launches.len()) " guests" } (shown) (left_out(omitted)) }
    }
}

fn launched(launch: &GuestLaunch) -> Markup {
    html! {
        div.launch {
            p { b { (launch.configuration) } " " span.muted { (launch.profiles.join(", "))
                @if launch.times > 1 { ", " (launch.times) " times" } } }
            pre tabindex="0" { (command(&launch.argv)) }
            @if !launch.daemon.is_empty() { pre tabindex="0" { (command(&launch.daemon)) } }
            @for deviation in &launch.deviations { p.deviation { "deviation: " (deviation) } }
        }
    }
}

/// Formats arguments, each option with its value on a line.
fn command(argv: &[String]) -> String {
    let mut out = String::new();
    for (at, arg) in argv.iter().enumerate() {
        if at > 0 {
            out.push_str(if arg.starts_with('-') { " \\\n    " } else { " " });
        }
        out.push_str(&quoted(arg));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn arguments_can_be_pasted_into_a_shell() {
        let argv = ["qemu", "-append", "a b='c'", ""].map(str::to_owned);
        assert_eq!(command(&argv), "qemu \\\n    -append 'a b='\\''c'\\''' ''");
    }
}
