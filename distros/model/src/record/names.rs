//! Package names that are invalid for the record's package manager.

use super::resolve::merged;
use super::{CommonFields, ComponentEntry, Record, known};
use crate::diagnostic::Diagnostic;
use crate::package_manager::PackageManager;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Finds package names that are invalid for the package manager, with their places.
///
/// Only the merged record knows its package manager, so each finding comes with the index of its source.
pub(crate) fn invalid_package_names(record: &Record) -> Vec<(usize, Diagnostic)> {
    let releases = record.releases.iter().map(|r| match r.package_manager {
        // Such a release inherits the defaults' packages, but not their package manager.
        Some(manager) => (manager, Cow::Owned(merged(&record.defaults, &r.parts))),
        None => (record.package_manager, Cow::Borrowed(&r.parts)),
    });
    let defaults = (record.package_manager, Cow::Borrowed(&record.defaults));
    let all: Vec<(PackageManager, Cow<'_, CommonFields>)> = std::iter::once(defaults).chain(releases).collect();
    let components = all.iter().flat_map(|(manager, parts)| components(parts).map(move |c| (*manager, c)));
    let facts = components.filter_map(|(manager, c)| Some((manager, c, c.packages.as_ref()?)));
    let mut found: Vec<(usize, Diagnostic)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (manager, component, fact) in facts {
        let text = record.sources.get(fact.source).map_or("", |s| s.text.as_str());
        let names = fact.value.iter().flat_map(|p| p.values()).flatten();
        for name in names.filter(|n| !n.is_for(manager)) {
            // Defaults occur in every release, but are reported once.
            if !seen.insert((fact.source, fact.span.start, name)) {
                continue;
            }
            let message = format!("{}: `{name}` is not a package name of this package manager", component.name);
            let one = Diagnostic::error("bad-package", text, fact.span.clone(), message);
            let hint = match manager {
                PackageManager::ImageBased => "there is no package manager: write `packages: none`",
                _ => "write the package's plain name, without the repository",
            };
            found.push((fact.source, one.hint(hint)));
        }
    }
    found
}

fn components(parts: &CommonFields) -> impl Iterator<Item = &ComponentEntry> {
    let lists = [&parts.vmms, &parts.filesystems].into_iter().filter_map(known).flatten();
    let listed = parts.listed.values().filter_map(|fact| fact.value.as_ref()).flatten();
    lists.chain(listed).chain(known(&parts.kernel))
}
