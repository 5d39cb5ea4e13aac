//! The changes as an Atom feed (RFC 4287).
//!
//! Addresses are relative, because the site's final location is unknown here; ids are digests of the contents, so that
//! a change has the same id whenever the site is made.

use super::address::Page;
use super::{SiteChange, SiteRow, Website};
use crate::redact::one_line;
use crate::standing::{Change, ChangeRow};
use maud::{PreEscaped, html};
use model::sha256;

/// Maximum of changes in a feed; the latest are kept.
const MOST: usize = 100;
/// Maximum size of an entry's text, in bytes.
const MAX_TEXT: usize = 600;

/// Returns the feed of a site.
pub(super) fn render(site: &Website<'_>) -> String {
    let entries: Vec<&SiteChange<'_>> = site.changes.iter().filter(|change| is_news(&change.row)).take(MOST).collect();
    let page = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"))
        feed xmlns="http://www.w3.org/2005/Atom" {
            id { (uuid("changes")) }
            title { "Kata Containers on distros: changes" }
            updated { (updated(site)) }
            author { name { "kata-qualify" } }
            generator uri="https://github.com/kata-containers/kata-qualify" { "kata-qualify" }
            link rel="self" type="application/atom+xml" href=(Page::Feed.path()) {}
            link rel="alternate" type="text/html" href=(Page::Changes.path()) {}
            @for change in entries { (entry(site, change)) }
        }
    };
    page.into_string() + "\n"
}

/// Checks whether a change is news; a result that could not be judged is not.
fn is_news(row: &ChangeRow<'_>) -> bool {
    match row.change {
        Change::NewFailure | Change::NewVerdict | Change::Fixed | Change::TestSetChanged => true,
        Change::Known => !row.issues.is_empty(),
        Change::Unjudged | Change::Same => false,
    }
}

fn entry(site: &Website<'_>, change: &SiteChange<'_>) -> PreEscaped<String> {
    let row = &change.row;
    let label = site.labels.of_id(row.cell);
    let run = site.runs.get(change.run);
    let at = run.and_then(|run| run.at()).map_or_else(|| updated(site), |at| at.to_string());
    let what = format!(
        "{} {label}: {}, {}",
        run.map_or("", |run| &run.standings.matrix.run),
        row.words(),
        row.profiles.join(", ")
    );
    let text = [row.why.join("; "), row.packages()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    html! { entry {
        id { (uuid(&format!("{what} {}", row.cell))) }
        title { (one_line(&format!("{label}: {} ({})", row.words(), row.profiles.join(", ")), MAX_TEXT)) }
        updated { (at) }
        link rel="alternate" type="text/html" href=(Page::Cell(row.cell).path()) {}
        summary { (one_line(&text.join("; "), MAX_TEXT)) }
    } }
}

/// Returns the time when the newest run ended, or else the latest day of any result.
fn updated(site: &Website<'_>) -> String {
    if let Some(at) = site.runs.iter().filter(|run| run.is_shown()).filter_map(|run| run.at()).max() {
        return at.to_string();
    }
    let days = site.cells.iter().flat_map(|cell| cell.rows.values()).filter_map(SiteRow::days);
    let day = days.map(|(_, last)| last).max().unwrap_or(jiff::civil::date(1970, 1, 1));
    format!("{day}T00:00:00Z")
}

/// Returns a UUID (version 8 of RFC 9562) from the digest of a text, as its id.
fn uuid(text: &str) -> String {
    let hex = sha256::of_bytes(format!("kata-qualify {text}").as_bytes());
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("urn:uuid:{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}
