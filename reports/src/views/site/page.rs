//! The template of all pages, and common elements: marks, messages, scrolling tables.

use super::address::{self, Page};
use super::known::Known;
use super::{SiteCell, Website};
use crate::matrix::ProfileHead;
use crate::redact::without_controls;
use crate::views::marks::Marks;
use jiff::civil::Date;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::verified::{Basis, Verdict};
use suites::capability::Capability;

/// The style sheet of all pages.
pub(super) const CSS: &str = include_str!("site.css");
/// The script for filters, sorting and ages; every page works without it.
pub(super) const JS: &str = include_str!("site.js");

/// Maximum size of the lists on one page, in bytes. With everything else, a page has less than 1 MB.
pub(super) const MOST: usize = 920_000;
/// Maximum size of a message, in bytes; the journal has the full text.
const MAX_MESSAGE: usize = 3000;

/// The content security policy: a page may load only files of the site. Files on a disk match `file:`, but not
/// `'self'`.
const POLICY: &str =
    "default-src 'none'; style-src 'self' file:; script-src 'self' file:; base-uri 'none'; form-action 'none'";

/// The current page, which links are relative to.
pub(super) struct Here<'s> {
    pub(super) site: &'s Website<'s>,
    path: String,
}

impl<'s> Here<'s> {
    pub(super) fn new(site: &'s Website<'s>, page: Page<'_>) -> Here<'s> {
        Here { site, path: site.path(page) }
    }

    /// Returns a further part of the page.
    pub(super) fn part(&self, number: usize) -> Here<'s> {
        Here { site: self.site, path: address::part(&self.path, number) }
    }

    /// Returns the path of the page, below the site's directory.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the relative path to a page.
    pub(super) fn to(&self, page: Page<'_>) -> String {
        self.to_path(&self.site.path(page))
    }

    /// Returns the relative path to a file below the site's directory.
    pub(super) fn to_path(&self, path: &str) -> String {
        address::relative(&self.path, path)
    }

    /// Returns the relative path to a capability's verdict on a cell's page.
    pub(super) fn to_verdict(&self, cell: &SiteCell<'_>, profile: &str, capability: Capability) -> String {
        format!("{}#{}", self.to(Page::Cell(&cell.id)), address::anchor(profile, capability.name()))
    }

    /// Returns a test's name, with a link to its page if there is one.
    pub(super) fn test(&self, id: &str) -> Markup {
        html! {
            @if self.site.test(id).is_some() { a href=(self.to(Page::Test(id))) { code { (id) } } } @else { code { (id) } }
        }
    }

    /// Returns a capability's name, with a link to its page.
    pub(super) fn capability(&self, capability: Capability) -> Markup {
        html! { a href=(self.to(Page::Capability(capability))) title=(capability.meaning()) { (capability.name()) } }
    }
}

/// Returns the complete page around its main content.
pub(super) fn document(here: &Here<'_>, title: &str, main: &Markup) -> String {
    let site = here.site;
    let ways = [
        (Page::Index, "Answers and matrix"),
        (Page::Changes, "Changes"),
        (Page::Packages, "Packages"),
        (Page::Capabilities, "Capabilities"),
        (Page::Tests, "Tests"),
        (Page::Runs, "Runs"),
    ];
    // A run's own pages have no list of runs.
    let ways = ways.into_iter().filter(|(page, _)| !site.is_run || *page != Page::Runs);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="kata-qualify";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) " – Kata Containers on distros" }
                link rel="stylesheet" href=(here.to(Page::Style));
                @if !site.is_run {
                    link rel="alternate" type="application/atom+xml" title="Changes" href=(here.to(Page::Feed));
                }
                script src=(here.to(Page::Script)) defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header { nav aria-label="Pages" { ul {
                    @for (page, words) in ways { li {
                        @let to = site.path(page);
                        @if to == here.path() { a href=(here.to_path(&to)) aria-current="page" { (words) } }
                        @else { a href=(here.to_path(&to)) { (words) } }
                    } }
                } } }
                main id="main" tabindex="-1" { (main) }
                footer { p.muted { "Made by " a href="https://github.com/kata-containers/kata-qualify" { "kata-qualify" } ". " (site.head) "." } }
            }
        }
    };
    page.into_string()
}

/// Formats the range: `Kata 3.32.0–4.1.0`, and whether it is at its end of life.
pub(super) fn kata(profile: &ProfileHead) -> String {
    format!("Kata {}{}", profile.range, if profile.maintained { "" } else { ", end of life" })
}

/// Returns the classes of a verdict's mark; tables have thousands of marks, so that each class is a letter.
pub(super) fn class(verdict: Verdict, basis: Option<Basis>) -> &'static str {
    match (verdict, basis) {
        (Verdict::Supported, Some(Basis::Emulated)) => "s e",
        (Verdict::Supported, _) => "s",
        (Verdict::Partial, Some(Basis::Emulated)) => "p e",
        (Verdict::Partial, _) => "p",
        (Verdict::Unsupported, Some(Basis::Emulated)) => "u e",
        (Verdict::Unsupported, _) => "u",
        (Verdict::Offered, _) => "o",
        (Verdict::NotApplicable, _) => "n",
        (Verdict::Untested, _) => "t",
        (Verdict::Inconclusive, _) => "i",
    }
}

/// Returns a verdict's mark without a link.
pub(super) fn badge(verdict: Verdict, basis: Option<Basis>, words: &str) -> Markup {
    html! { span class=(class(verdict, basis)) { (words) @if class(verdict, basis).ends_with('e') { span.hidden { " (emulated)" } } } }
}

/// Returns a table cell with a result, as a link to its reasons.
pub(super) fn verdict(to: &str, label: &str, capability: Capability, known: &Known) -> Markup {
    html! {
        @if known.verdict == Verdict::NotApplicable { td.n { (Marks::of(known.verdict).word) } } @else { td { (mark(to, label, capability, known)) } }
    }
}

/// Returns a result as a link whose accessible name describes it completely.
pub(super) fn mark(to: &str, label: &str, capability: Capability, known: &Known) -> Markup {
    html! {
        a class=(class(known.verdict, known.shown_basis())) href=(to) aria-label=(known.words(label, capability)) {
            (Marks::of(known.verdict).word) @if known.is_flaky { "~" } @if known.is_older { "†" } @if known.change.is_some() { "!" }
        }
    }
}

/// Explains the marks.
pub(super) fn legend() -> Markup {
    let of = |verdict: Verdict| (verdict, None, Marks::of(verdict).full);
    let all = [
        of(Verdict::Supported),
        (Verdict::Supported, Some(Basis::Emulated), "emulated: shown without hardware virtualization"),
        of(Verdict::Partial),
        of(Verdict::Offered),
        of(Verdict::Unsupported),
        of(Verdict::Untested),
        of(Verdict::Inconclusive),
        of(Verdict::NotApplicable),
    ];
    html! {
        details.legend { summary { "How to read a mark" } ul {
            @for (verdict, basis, words) in all { li { (badge(verdict, basis, Marks::of(verdict).word)) " " (words) } }
            li { b { "~" } " flaky: a test failed, and passed when it was repeated" }
            li { b { "†" } " judged by an older set of tests" }
            li { b { "!" } " not as it was recorded" }
            li { "an empty cell: nothing is known" }
        } }
    }
}

/// Returns a day, to which the script adds its age.
pub(super) fn time(day: Date) -> Markup {
    html! { time datetime=(day) { (day) } }
}

/// Puts a table into a scrolling box, so that no page is wider than its screen. The box is a group and not a landmark,
/// because a page has many of them.
pub(super) fn scroll(name: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label=(name) { (table) } }
}

/// Formats untrusted text: short text as a paragraph, long text in a scrolling box.
pub(super) fn message(text: &str) -> Markup {
    let text = without_controls(text.trim(), MAX_MESSAGE);
    html! {
        @if text.contains('\n') || text.len() > 300 { pre tabindex="0" { (text) } } @else { p { (text) } }
    }
}

/// Renders parts of a page, as many as there is room for, and returns the number of the others.
pub(super) fn fitting<T>(
    parts: impl ExactSizeIterator<Item = T>,
    room: &mut usize,
    render: impl Fn(T) -> Markup,
) -> (Markup, usize) {
    let count = parts.len();
    let mut out = String::new();
    for (done, one) in parts.enumerate() {
        let one = render(one).into_string();
        if one.len() > *room {
            return (PreEscaped(out), count - done);
        }
        *room -= one.len();
        out.push_str(&one);
    }
    (PreEscaped(out), 0)
}

/// Returns a note that parts are left out, if there are any.
pub(super) fn left_out(count: usize) -> Markup {
    html! { @if count > 0 { p.caveat { (count) " more left out: this page would be too long. The journal has all of it." } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_do_not_fit_on_a_page_are_counted() {
        let show = |room: usize| {
            let mut room = room;
            let (shown, omitted) = fitting(["one", "two", "six"].iter(), &mut room, |word| html! { b { (word) } });
            (shown.into_string(), omitted)
        };
        assert_eq!(show(100), ("<b>one</b><b>two</b><b>six</b>".to_owned(), 0));
        assert_eq!(show(20), ("<b>one</b><b>two</b>".to_owned(), 1));
        assert!(left_out(0).into_string().is_empty() && left_out(7).into_string().contains("7 more left out"));
    }

    /// Returns the colours of a block of the style sheet, for light or dark screens.
    fn colours(block: &str) -> std::collections::BTreeMap<String, [f64; 3]> {
        let of = |hex: &str| [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0);
        let lines =
            block.split(';').filter_map(|line| line.trim().trim_start_matches([':', '{', ' ']).split_once(": #"));
        lines.map(|(name, hex)| (name.rsplit("--").next().unwrap().to_owned(), of(hex.trim()))).collect()
    }

    /// Computes the contrast ratio of WCAG 2.2.
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        let luminance = |[r, g, b]: [f64; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_colours_have_sufficient_contrast() {
        let blocks: Vec<&str> = CSS.split(":root {").skip(1).map(|block| block.split('}').next().unwrap()).collect();
        assert_eq!(blocks.len(), 2, "light and dark");
        for block in blocks {
            let colours = colours(block);
            let of = |name: &str| *colours.get(name).unwrap_or_else(|| panic!("{name} in {colours:?}"));
            let grounds = ["bg", "panel"];
            let texts = ["fg", "muted", "link", "none", "unk", "part", "no", "yes"];
            let plain = texts.iter().flat_map(|text| grounds.map(|ground| (*text, ground)));
            let marks = [("yes", "yes-bg"), ("no", "no-bg"), ("part", "part-bg"), ("unk", "unk-bg"), ("fg", "part-bg")];
            for (text, ground) in plain.chain(marks) {
                let ratio = contrast(of(text), of(ground));
                assert!(ratio >= 4.5, "{text} on {ground}: {ratio:.2}");
            }
        }
        assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn a_message_is_escaped(text in "[<>&\"'a-z]{0,40}") {
            let shown = message(&text).into_string();
            let inner = shown.trim_start_matches("<p>").trim_end_matches("</p>");
            proptest::prop_assert!(!inner.contains('<'));
        }
    }
}
