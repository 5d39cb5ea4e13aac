//! Tables of cells × capabilities under a profile.

use super::address::{self, Page};
use super::filters::filters;
use super::page::{Here, document, kata, legend, scroll, time, verdict};
use super::{Put, SiteCell, SiteRow, Website, parts};
use crate::matrix::ProfileHead;
use crate::standing::is_main;
use maud::{Markup, html};
use std::io;
use suites::capability::Capability;

/// The choice of a table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// The columns of the overview.
    Main,
    /// All capabilities with any result.
    All,
}

/// Returns the capabilities of a table.
pub(super) fn columns(site: &Website<'_>, profile: &str, columns: Columns) -> Vec<Capability> {
    let mut all = site.columns(profile);
    all.retain(|capability| columns == Columns::All || is_main(*capability));
    all
}

/// Returns the rows of a profile's table, one for each cell.
pub(super) fn rows(here: &Here<'_>, profile: &str, columns: &[Capability]) -> Vec<Markup> {
    let cells = here.site.cells.iter();
    cells.filter_map(|cell| Some(row(here, cell, profile, cell.rows.get(profile)?, columns))).collect()
}

fn row(here: &Here<'_>, cell: &SiteCell<'_>, profile: &str, row: &SiteRow, columns: &[Capability]) -> Markup {
    let label = here.site.labels.of_id(&cell.id);
    html! {
        tr id=(address::anchor(&address::cell(&cell.id), profile)) data-arch=(cell.id.arch) data-in=(cell.id.environment) {
            th scope="row" { a href=(here.to(Page::Cell(&cell.id))) { (label) } }
            td { (measured(row)) }
            @for column in columns {
                @if let Some(known) = row.capabilities.get(column) {
                    (verdict(&here.to_verdict(cell, profile, *column), &label, *column, known))
                } @else { td {} }
            }
        }
    }
}

/// Returns when a row was measured: on one day, or up to a day.
pub(super) fn measured(row: &SiteRow) -> Markup {
    html! {
        @if let Some((first, last)) = row.days() {
            (time(last)) @if first < last { " and before" }
        }
    }
}

/// Puts rows into a table.
pub(super) fn table(here: &Here<'_>, profile: &str, columns: &[Capability], rows: &Markup) -> Markup {
    let table = html! { table.sortable id={"matrix-" (address::name(profile))} {
        thead { tr {
            th scope="col" { "release" }
            th scope="col" { "measured" }
            @for column in columns {
                th scope="col" { a href=(here.to(Page::Capability(*column))) title={(column.name()) ": " (column.meaning())} { (column.short()) } }
            }
        } }
        tbody { (rows) }
    } };
    scroll(&format!("Matrix of {profile}"), &table)
}

/// Writes the page of a profile, with its whole matrix.
pub(super) fn put(site: &Website<'_>, profile: &ProfileHead, put: &mut Put<'_>) -> io::Result<()> {
    let columns = columns(site, &profile.name, Columns::All);
    let title = format!("{}: {}", profile.name, kata(profile));
    if columns.is_empty() {
        let here = Here::new(site, Page::Profile(&profile.name));
        let body = html! { h1 { (title) } p { "Nothing was judged under this profile." } };
        return put(here.path(), &document(&here, &title, &body));
    }
    parts::put(
        site,
        put,
        Page::Profile(&profile.name),
        &title,
        |_| {
            html! {
                p.muted { "A profile is a range of Kata versions that pass the same arguments." }
                (legend())
                (filters(site, false))
            }
        },
        |here| rows(here, &profile.name, &columns),
        |here, rows| table(here, &profile.name, &columns, &rows),
    )
}
