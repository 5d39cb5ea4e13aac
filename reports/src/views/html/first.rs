//! What a reader of the page sees first: what has changed, and whether Kata can run.

use super::{PageCell, badge, message};
use crate::journal::CellId;
use crate::standing::{Effect, Standings};
use crate::views::wording::{self, Labels};
use maud::{Markup, html};

/// What has changed against the record, or makes the exit code.
pub(super) fn changes(standings: &Standings<'_>) -> Markup {
    let rows = standings.changes();
    let labels = Labels::new(standings.matrix);
    html! {
        h2 { "Changes" }
        @if rows.is_empty() { p { (wording::no_changes(standings)) } } @else { ul.causes { @for row in &rows {
            li class=(match row.effect { Effect::Worse => "fail", Effect::Unjudged => "error", Effect::None => "gap" }) {
                b { (row.title()) } " " (labels.of_id(row.cell)) ": "
                @for capability in &row.capabilities { code { (capability.name()) } " " }
                (row.turn()) " " span.muted { (row.profiles.join(", ")) }
                @for why in &row.why { (message(why)) }
                @let packages = row.packages();
                @if !packages.is_empty() { p.muted { (packages) } }
            }
        } } }
    }
}

/// Can Kata run here? By release and profile.
pub(super) fn summary(standings: &Standings<'_>, cells: &[PageCell<'_>]) -> Markup {
    let matrix = standings.matrix;
    let labels = Labels::new(matrix);
    // A release leads to its first cell.
    let first = |id: &CellId| {
        let cell = cells.iter().find(|one| {
            let other = &one.cell.cell;
            other.distro == id.distro && other.release == id.release && other.arch == id.arch
        });
        cell.map_or("", |one| one.anchor.as_str())
    };
    html! {
        h2 { "Can Kata run here?" }
        div.scroll { table {
            thead { tr {
                th { "release" }
                @for profile in &matrix.profiles {
                    th { (profile.name) br; span.muted { "Kata " (profile.range) @if !profile.maintained { ", end of life" } } }
                }
            } }
            tbody { @for release in standings.releases() { tr {
                th scope="row" { a href={"#" (first(release))} { (labels.of_release(release)) } }
                @for profile in &matrix.profiles {
                    @let answer = standings.answer(release, &profile.name);
                    td { (badge(answer.verdict(), answer.basis, false)) " " span.muted { (answer.words()) } }
                }
            } } }
        } }
    }
}
