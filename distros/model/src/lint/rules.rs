//! Rules for a record that could be parsed.

use crate::diagnostic::Diagnostic;
use crate::record::{ComponentEntry, Fact, Record, ReleaseEntry};
use std::collections::{BTreeMap, BTreeSet};

/// Applies all rules.
pub(super) fn check(record: &Record) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    names(record, &mut found);
    reachable(record, &mut found);
    order(record, &mut found);
    for release in &record.releases {
        dates(record, release, &mut found);
    }
    let parts = record.releases.iter().map(|r| &r.parts);
    for parts in std::iter::once(&record.defaults).chain(parts) {
        let lists = [&parts.vmms, &parts.filesystems].into_iter().flatten().chain(parts.listed.values());
        let mut components: Vec<&ComponentEntry> = Vec::new();
        for list in lists {
            components.extend(list.value.iter().flatten());
            duplicate_components(record, list, &mut found);
        }
        components.extend(parts.kernel.iter().filter_map(|f| f.value.as_ref()));
        for component in components {
            packages(record, component, &mut found);
        }
    }
    found
}

/// Checks that no two releases share a name.
fn names(record: &Record, found: &mut Vec<Diagnostic>) {
    let mut owner: BTreeMap<&str, &ReleaseEntry> = BTreeMap::new();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for release in &record.releases {
        *versions.entry(release.version.as_str()).or_default() += 1;
    }
    for release in &record.releases {
        let mut own: Vec<&str> = release.names();
        own.sort_unstable();
        own.dedup();
        // A version that stands twice is its own finding.
        own.retain(|name| release.version != *name || versions.get(name) == Some(&1));
        for name in own {
            match owner.get(name) {
                Some(other) => found.push(
                    error(
                        record,
                        "alias-clash",
                        release,
                        format!("the name `{name}` already belongs to release {}", other.version),
                    )
                    .hint("a version, codename or alias must belong to one release only"),
                ),
                None => {
                    owner.insert(name, release);
                }
            }
        }
    }
}

/// Checks that every release can be selected: by a version of its own, on an architecture of the record.
fn reachable(record: &Record, found: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for release in &record.releases {
        if !seen.insert(release.version.as_str()) {
            let message =
                format!("release {} cannot be selected: an earlier release has the same version", release.version);
            found.push(
                error(record, "unreachable", release, message).hint("give it a version of its own, or remove it"),
            );
        }
        let foreign_arch = release.arches.iter().flatten().find(|a| !record.arches.contains(a));
        if let Some(arch) = foreign_arch {
            let message =
                format!("release {} is for {arch}, which is not among the record's architectures", release.version);
            found.push(error(record, "unreachable", release, message).hint("add it to the record's `arch`"));
        }
    }
    if record.derives_from.as_ref() == Some(&record.distro) {
        let at = record.text.find("derives-from").unwrap_or_default();
        let message = format!("`{}` derives from itself", record.distro);
        found.push(Diagnostic::error("derives-from", &record.text, at..at + "derives-from".len(), message));
    }
}

/// Checks that numbered releases ascend and named ones come after them.
fn order(record: &Record, found: &mut Vec<Diagnostic>) {
    for pair in record.releases.windows(2) {
        let [before, after] = pair else { continue };
        let wrong = match (number(before.version.as_str()), number(after.version.as_str())) {
            (Some(before), Some(after)) => before > after,
            (None, Some(_)) => true,
            _ => false,
        };
        if wrong {
            let message = format!("release {} must come before release {}", after.version, before.version);
            found.push(
                error(record, "unsorted", after, message)
                    .warning()
                    .hint("numbered releases come first, ascending; then testing, unstable, rawhide"),
            );
        }
    }
}

/// Parses `8.10` into numbers, which compare greater than those of `8.9`.
fn number(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Checks that a release precedes its end of support, and long-term support ends after that.
fn dates(record: &Record, release: &ReleaseEntry, found: &mut Vec<Diagnostic>) {
    let stated = [("released", &release.released), ("eol", &release.eol), ("lts", &release.lts)];
    let known: Vec<(&str, &Fact<jiff::civil::Date>, jiff::civil::Date)> = stated
        .into_iter()
        .filter_map(|(name, fact)| {
            let fact = fact.as_ref()?;
            Some((name, fact, fact.value?))
        })
        .collect();
    for pair in known.windows(2) {
        let [(first, _, earlier), (second, fact, later)] = pair else {
            continue;
        };
        if later < earlier {
            let message = format!("`{second}` ({later}) is before `{first}` ({earlier})");
            found.push(Diagnostic::error("dates-out-of-order", &record.text, fact.span.clone(), message));
        }
    }
}

/// Checks that a component's `packages:` is not empty; leaving the key out means that no package is needed.
///
/// An empty list together with a path is valid: it removes the packages that the record below names for another binary.
fn packages(record: &Record, component: &ComponentEntry, found: &mut Vec<Diagnostic>) {
    let Some(fact) = &component.packages else {
        return;
    };
    // `none` is deliberate.
    if record.text.get(fact.span.clone()) == Some("none") {
        return;
    }
    let empty =
        fact.value.as_ref().is_some_and(|p| p.values().is_empty() || p.values().iter().any(|names| names.is_empty()));
    if empty && component.path.is_none() {
        let message = format!("{}: `packages` is empty", component.name);
        found.push(
            Diagnostic::error("empty-packages", &record.text, fact.span.clone(), message)
                .hint("omit the key if no package is needed; write `unknown` if the packages are not known"),
        );
    }
}

/// Checks that a list names each component once.
fn duplicate_components(record: &Record, list: &Fact<Vec<ComponentEntry>>, found: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for component in list.value.iter().flatten() {
        if !seen.insert(component.name.as_str()) {
            let message = format!("`{}` occurs twice in one list", component.name);
            let span = list.span.clone();
            found.push(Diagnostic::error("named-twice", &record.text, span, message));
        }
    }
}

fn error(record: &Record, rule: &'static str, release: &ReleaseEntry, message: String) -> Diagnostic {
    Diagnostic::error(rule, &record.text, release.span.clone(), message)
}
