//! Lists that may be longer than a page.

use super::address::{Page, part};
use super::page::{Here, MOST, document};
use super::{Put, Website};
use maud::{Markup, PreEscaped, html};
use std::io;

/// Splits rows into parts that fit on a page.
pub(super) fn split(rows: impl IntoIterator<Item = Markup>) -> Vec<String> {
    let mut parts = vec![String::new()];
    for row in rows {
        let row = row.into_string();
        match parts.last_mut() {
            Some(last) if last.is_empty() || last.len() + row.len() <= MOST => last.push_str(&row),
            _ => parts.push(row),
        }
    }
    parts
}

/// Writes a page that ends with a list: rows that do not fit continue on further pages, which the first page links to.
///
/// `head` is on the first page only; `list` puts rows into their table.
pub(super) fn put(
    site: &Website<'_>,
    put: &mut Put<'_>,
    page: Page<'_>,
    title: &str,
    head: impl Fn(&Here<'_>) -> Markup,
    rows: impl Fn(&Here<'_>) -> Vec<Markup>,
    list: impl Fn(&Here<'_>, Markup) -> Markup,
) -> io::Result<()> {
    let first = Here::new(site, page);
    let parts = split(rows(&first));
    let count = parts.len();
    for (number, rows) in parts.into_iter().enumerate() {
        let here = first.part(number);
        let ways = html! {
            @if count > 1 {
                nav aria-label="Parts" { p {
                    "This list is too long for one page; this is part " (number + 1) " of " (count) ": "
                    @for other in 0..count {
                        @if other == number { b { (other + 1) } } @else { a href=(here.to_path(&part(first.path(), other))) { (other + 1) } }
                        " "
                    }
                } }
            }
        };
        let is_empty = rows.is_empty();
        let body = html! {
            h1 { (title) }
            @if number == 0 { (head(&here)) }
            (ways)
            @if !is_empty { (list(&here, PreEscaped(rows))) }
        };
        put(here.path(), &document(&here, title, &body))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_where_a_page_is_full() {
        let row = |length: usize| PreEscaped("x".repeat(length));
        assert_eq!(split([]), [""]);
        assert_eq!(split([row(3), row(4)]), ["xxxxxxx"]);
        // A row that is longer than a page gets its own.
        let lengths: Vec<usize> =
            split([row(MOST / 2), row(MOST / 2), row(1), row(MOST + 1), row(2)]).iter().map(String::len).collect();
        assert_eq!(lengths, [MOST / 2 * 2, 1, MOST + 1, 2]);
    }
}
