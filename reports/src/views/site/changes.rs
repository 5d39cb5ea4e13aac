//! List of changes, as every report shows it first.

use super::address::Page;
use super::page::{Here, message, time};
use super::{Put, SiteChange, Website, parts};
use crate::standing::Effect;
use maud::{Markup, html};
use std::io;

/// Maximum of reasons shown for one change; the cell's page has all of them.
const REASONS: usize = 10;

/// Returns one item of the list.
pub(super) fn item(here: &Here<'_>, change: &SiteChange<'_>) -> Markup {
    let site = here.site;
    let row = &change.row;
    let class = match row.effect {
        Effect::Worse => "fail",
        Effect::Unjudged => "error",
        Effect::None => "gap",
    };
    let packages = row.packages();
    let more = row.why.len().saturating_sub(REASONS);
    html! {
        li class=(class) {
            b { (row.title()) } " " a href=(here.to(Page::Cell(row.cell))) { (site.labels.of_id(row.cell)) } ": "
            @for capability in &row.capabilities { (here.capability(*capability)) " " }
            (row.turn()) " " span.muted { (row.profiles.join(", ")) }
            @if !site.is_run {
                @if let Some(run) = site.runs.get(change.run) { span.muted {
                    ", found " @if let Some(day) = run.day() { (time(day)) " " } "by run " (run.standings.matrix.run)
                } }
            }
            @for why in row.why.iter().take(REASONS) { (message(why)) }
            @if more > 0 { p.muted { "and " (more) " more reasons" } }
            @if !packages.is_empty() { p.muted { (packages) } }
        }
    }
}

/// Writes the page of all changes.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    parts::put(
        site,
        put,
        Page::Changes,
        "Changes",
        |here| {
            html! {
                @if site.is_run { p.muted { "Against what was recorded, or against the base run of candidates." } }
                @else {
                    p.muted { "Of each run against the runs before it, and of the first one against the records. "
                        a href=(here.to(Page::Feed)) { "As a feed" } "." }
                }
                @if site.changes.is_empty() { p { (site.no_changes) } }
                @else if let Some(exit_code) = &site.exit_code { p { (exit_code) } }
            }
        },
        |here| site.changes.iter().map(|change| item(here, change)).collect(),
        |_, rows| html! { ul.causes { (rows) } },
    )
}
