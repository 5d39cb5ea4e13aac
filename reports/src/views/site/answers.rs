//! Answers by release and profile to the question whether Kata can run.

use super::address::{self, Page};
use super::filters::filters;
use super::page::{Here, class, kata, scroll};
use super::{Put, SiteRelease, Website, parts};
use crate::matrix::ProfileHead;
use crate::standing::ReleaseAnswer;
use maud::{Markup, html};
use model::verified::Basis;
use std::io;

/// Returns the profiles of the first and of the second table: the second has those that upstream has ended, unless
/// there are no others.
pub(super) fn profiles<'s>(site: &'s Website<'_>) -> (Vec<&'s ProfileHead>, Vec<&'s ProfileHead>) {
    let (maintained, ended): (Vec<_>, Vec<_>) = site.profiles.iter().partition(|profile| profile.maintained);
    if maintained.is_empty() { (ended, maintained) } else { (maintained, ended) }
}

/// Returns the rows of a table, one for each release; those of the first table on a page have anchors.
pub(super) fn rows(here: &Here<'_>, profiles: &[&ProfileHead], is_first: bool) -> Vec<Markup> {
    here.site.releases.iter().filter_map(|release| row(here, release, profiles, is_first)).collect()
}

fn row(here: &Here<'_>, release: &SiteRelease, profiles: &[&ProfileHead], is_first: bool) -> Option<Markup> {
    let id = here.site.id(release)?;
    let place = is_first.then(|| address::release(id));
    let (to, label) = (here.to(Page::Release(id)), here.site.labels.of_release(id));
    Some(html! {
        tr id=[place] data-arch=(id.arch) {
            th scope="row" { a href=(to) { (label) } }
            @for profile in profiles {
                @if let Some(answer) = release.answers.get(&profile.name) {
                    td { (link(&format!("{to}#{}", profile.name), answer)) }
                } @else { td {} }
            }
        }
    })
}

/// Returns an answer as a link to its reasons.
fn link(to: &str, answer: &ReleaseAnswer) -> Markup {
    html! { a class=(marked(answer)) href=(to) {
        (answer.words()) @if answer.basis == Some(Basis::Emulated) { span.hidden { ", emulated" } }
    } }
}

/// Returns the classes of an answer's mark; every answer that rests on emulation is marked as such.
pub(super) fn marked(answer: &ReleaseAnswer) -> &'static str {
    class(answer.verdict(), answer.basis.filter(|basis| *basis == Basis::Emulated))
}

/// Puts rows into a table.
pub(super) fn table(here: &Here<'_>, id: &str, profiles: &[&ProfileHead], rows: &Markup) -> Markup {
    let table = html! { table.sortable.answers id=(id) {
        thead { tr {
            th scope="col" { "release" }
            @for profile in profiles {
                th scope="col" data-profile=(profile.name) {
                    a href=(here.to(Page::Profile(&profile.name))) { (profile.name) } " " span.muted { (kata(profile)) }
                }
            }
        } }
        tbody { (rows) }
    } };
    scroll("Answers", &table)
}

/// Writes the answers to pages of their own, for an index without room for them.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    let all: Vec<&ProfileHead> = site.profiles.iter().collect();
    parts::put(
        site,
        put,
        Page::Answers,
        "Can Kata run here?",
        |_| html! { p { "By release and profile; " b { "yes" } " means that all that Kata needs is supported." } (filters(site, true)) },
        |here| rows(here, &all, true),
        |here, rows| table(here, "answers", &all, &rows),
    )
}
