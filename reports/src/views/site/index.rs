//! The first page: the changes, the answers, and the matrix.

use super::address::Page;
use super::filters::filters;
use super::matrix::Columns;
use super::page::{Here, MOST, document, kata, legend};
use super::{Put, SiteChange, Website, answers, changes, matrix};
use crate::matrix::ProfileHead;
use crate::standing::Effect;
use maud::{Markup, PreEscaped, html};
use std::io;

/// Maximum of changes on the index, and of changes that could not be judged; the others are on the changes' page.
const CHANGES: usize = 20;

/// Writes the index.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    let here = Here::new(site, Page::Index);
    let mut room = MOST;
    let title = "What Kata Containers finds in distros";
    let body = html! {
        h1 { (title) }
        p.muted { (site.head) }
        @for caveat in &site.caveats { p.caveat { (caveat) } }
        (first_changes(&here, &mut room))
        (legend())
        (filters(site, true))
        (all_answers(&here, &mut room))
        h2 #matrix { "Matrix" }
        @for profile in &site.profiles { (of_profile(&here, profile, &mut room)) }
        (unrun(site))
    };
    put(here.path(), &document(&here, title, &body))
}

fn first_changes(here: &Here<'_>, room: &mut usize) -> Markup {
    let rows = &here.site.changes;
    // Results that could not be judged are no news, and may be many: they come last, folded up below the changes.
    let (unjudged, judged): (Vec<_>, Vec<_>) = rows.iter().partition(|change| change.row.effect == Effect::Unjudged);
    let items = |all: &[&SiteChange<'_>]| {
        join(all.iter().take(CHANGES).map(|change| changes::item(here, change)).collect::<Vec<Markup>>())
    };
    let (judged_list, unjudged_list) = (items(&judged), items(&unjudged));
    // Half of the page is reserved for the answers, however long a run's failures are.
    let length = judged_list.0.len() + unjudged_list.0.len();
    let fits = length <= *room / 2;
    *room -= if fits { length } else { 0 };
    html! {
        h2 #changes { "Changes" }
        @if rows.is_empty() { p { (here.site.no_changes) } }
        @else if fits {
            @if judged.is_empty() { p { "None is known; what could not be judged:" } ul.causes { (unjudged_list) } }
            @else { ul.causes { (judged_list) } }
            @if judged.len() > CHANGES || unjudged.len() > CHANGES {
                p { a href=(here.to(Page::Changes)) { "All " (rows.len()) " changes" } }
            }
            @if !unjudged.is_empty() && !judged.is_empty() {
                details { summary { "What could not be judged (" (unjudged.len()) ")" } ul.causes { (unjudged_list) } }
            }
        } @else { p { a href=(here.to(Page::Changes)) { (rows.len()) " changes" } ", on a page of their own." } }
        @if let Some(exit_code) = here.site.exit_code.as_ref().filter(|_| !rows.is_empty()) { p { (exit_code) } }
    }
}

fn join(parts: Vec<Markup>) -> PreEscaped<String> {
    PreEscaped(parts.into_iter().map(PreEscaped::into_string).collect())
}

/// Returns the answers, as far as there is room on this page.
fn all_answers(here: &Here<'_>, room: &mut usize) -> Markup {
    let (first, more) = answers::profiles(here.site);
    let first = some_answers(here, "answers", &first, room);
    let ended = more.len();
    let more = some_answers(here, "answers-ended", &more, room);
    html! {
        h2 #can-kata-run-here { "Can Kata run here?" }
        (first)
        @if ended > 0 { details.ended { summary { "Kata versions at their end of life (" (ended) ")" } (more) } }
    }
}

fn some_answers(here: &Here<'_>, id: &str, profiles: &[&ProfileHead], room: &mut usize) -> Markup {
    let table = answers::table(here, id, profiles, &join(answers::rows(here, profiles, id == "answers")));
    if table.0.len() > *room {
        let to = here.to(Page::Answers);
        return html! { p.caveat { a href=(to) { "The answers" } " are on pages of their own: they are too many for this one." } };
    }
    *room -= table.0.len();
    table
}

/// Returns the matrix of a profile, or a link to its own page if it does not fit.
fn of_profile(here: &Here<'_>, profile: &ProfileHead, room: &mut usize) -> Markup {
    let columns = matrix::columns(here.site, &profile.name, Columns::Main);
    let rows = join(matrix::rows(here, &profile.name, &columns));
    let to = here.to(Page::Profile(&profile.name));
    let heading = html! { h3 id=(profile.name) { (profile.name) " " span.muted { (kata(profile)) } } };
    let table = html! {
        @if columns.is_empty() { p { "Nothing was judged under this profile." } }
        @else if rows.0.len() <= *room {
            (matrix::table(here, &profile.name, &columns, &rows))
            p { a href=(to) { "All capabilities under " (profile.name) } }
        } @else { p.caveat { "It is too long for this page: " a href=(to) { "the matrix of " (profile.name) } "." } }
    };
    *room = room.saturating_sub(table.0.len());
    html! {
        @if profile.maintained || here.site.is_run { section data-profile=(profile.name) { (heading) (table) } }
        @else { details.ended data-profile=(profile.name) { summary { (heading) } (table) } }
    }
}

/// Lists the releases in the records that nobody has run.
fn unrun(site: &Website<'_>) -> Markup {
    html! {
        @if !site.unrun.is_empty() {
            h2 #not-run { "Not run yet" }
            p { "The records know what these releases package; nothing of it was tried, so that nothing is known of them." }
            ul.names { @for (distro, releases) in &site.unrun { li data-text=(distro) {
                b { (distro) } " " (releases.join(", "))
            } } }
        }
    }
}
