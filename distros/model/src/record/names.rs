//! Names of packages that the record's package manager cannot have.

use super::{ComponentEntry, Fact, Parts, Record};
use crate::diagnostic::Diagnostic;
use std::collections::BTreeSet;

/// A package's name that is none for the record's package manager: where it stands, and what is wrong.
///
/// Only the whole record knows its package manager, so each comes with the number of its source.
pub(crate) fn misnamed(record: &Record) -> Vec<(usize, Diagnostic)> {
    let releases = record.releases.iter().map(|r| &r.parts);
    let components = std::iter::once(&record.defaults).chain(releases).flat_map(components);
    let facts = components.filter_map(|c| Some((c, c.packages.as_ref()?)));
    let mut found: Vec<(usize, Diagnostic)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (component, fact) in facts {
        let text = record.sources.get(fact.source).map_or("", |s| s.text.as_str());
        let names = fact.value.iter().flat_map(|p| p.values()).flatten();
        for name in names.filter(|n| !n.is_for(record.package_manager)) {
            // A layer's defaults are in every release.
            if !seen.insert((fact.source, fact.span.start, name)) {
                continue;
            }
            let message = format!("{}: no package can be called `{name}` there", component.name);
            let one = Diagnostic::error("bad-package", text, fact.span.clone(), message);
            found.push((fact.source, one.hint("write the package's plain name, without its place")));
        }
    }
    found
}

fn components(parts: &Parts) -> impl Iterator<Item = &ComponentEntry> {
    fn known<T>(fact: &Option<Fact<T>>) -> Option<&T> {
        fact.as_ref()?.value.as_ref()
    }
    let lists = [&parts.vmms, &parts.filesystems].into_iter().filter_map(known).flatten();
    lists.chain([&parts.kernel, &parts.container_manager].into_iter().filter_map(known))
}
