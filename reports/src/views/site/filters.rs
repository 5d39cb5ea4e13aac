//! Form with the filters that the script applies to rows.

use super::Website;
use super::page::{class, kata};
use maud::{Markup, html};
use model::verified::Verdict;
use std::collections::BTreeSet;

/// A field of the filters: its name, its label, and its values with their words.
type Select<'s> = (&'s str, &'s str, Vec<(String, String)>);

/// Returns the fields for filtering a page's rows; without the script they are hidden.
pub(super) fn filters(site: &Website<'_>, of_profiles: bool) -> Markup {
    let words = |all: BTreeSet<&'static str>| all.into_iter().map(|word| (word.to_owned(), word.to_owned())).collect();
    let arches: Vec<(String, String)> = words(site.cells.iter().map(|cell| cell.id.arch.name()).collect());
    let environments = words(site.cells.iter().map(|cell| cell.id.environment.name()).collect());
    let profiles = site.profiles.iter().map(|p| (p.name.to_string(), format!("{} ({})", kata(p), p.name))).collect();
    let state = |verdict: Verdict| (class(verdict, None).to_owned(), verdict.name().to_owned());
    let selects: [Select<'_>; 4] = [
        ("profile", "Kata", profiles),
        ("arch", "Architecture", arches),
        ("in", "Environment", environments),
        ("state", "State", Verdict::applicable().map(state).collect()),
    ];
    html! {
        form #filters hidden {
            @for (name, label, options) in selects.iter().filter(|(name, _, options)| options.len() > 1 && (of_profiles || *name != "profile")) {
                label { (label) " " select name=(name) {
                    option value="" { "all" }
                    @for (value, words) in options { option value=(value) { (words) } }
                } }
            }
            label { "Text " input type="search" name="text" placeholder="debian 13" autocomplete="off"; }
            button type="reset" { "Show all" }
            p role="status" {}
        }
    }
}
