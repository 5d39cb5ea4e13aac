//! Which names a package can have: a record's reach package managers' command lines.

use super::{ComponentEntry, Fact, Parts, Record};
use crate::diagnostic::Diagnostic;
use crate::package_manager::PackageManager;
use std::collections::BTreeSet;

/// Whether `name` can be given to some package manager: it is no option, no path, no address, no shell's word.
pub fn is_package_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:@/".contains(c);
    name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && !name.contains("..")
        && !name.contains("//")
        && !name.contains(":/")
}

/// Whether `manager` can have a package of that name.
///
/// What is left out of a family's names means something else to its tools: a path, an address, a file, an option.
pub fn is_name_for(manager: PackageManager, name: &str) -> bool {
    let all = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || (c == '_' && more.contains('_')))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let lower = !name.contains(|c: char| c.is_ascii_uppercase());
    is_package_name(name)
        && match manager {
            // Debian Policy 5.6.7, and the architecture behind it.
            PackageManager::Apt => {
                let whole = name;
                let (name, arch) = name.split_once(':').unwrap_or((name, "any"));
                // apt takes a last `-` for "remove it".
                lower && !whole.ends_with('-') && all(name, "+-.") && all(arch, "-") && !name.ends_with(".deb")
            }
            // Names, with an epoch and a version or an architecture behind it; zypper takes `pattern:x` for no package.
            PackageManager::Dnf | PackageManager::Yum | PackageManager::Zypper => {
                let epoch_only = name.split_once(':').is_none_or(|(before, _)| {
                    before.rsplit('-').next().is_some_and(|e| !e.is_empty() && e.chars().all(|c| c.is_ascii_digit()))
                });
                all(name, "+-._:") && epoch_only && !name.ends_with(".rpm")
            }
            PackageManager::Pacman => lower && all(name, "+-._@") && !name.contains(".pkg.tar"),
            PackageManager::Apk => all(name, "+-._") && !name.ends_with(".apk"),
            PackageManager::Emerge => {
                let (category, package) = name.split_once('/').unwrap_or(("x", name));
                all(category, "+-._") && all(package, "+-._:") && !name.ends_with(".ebuild")
            }
            PackageManager::Nix => all(name, "-._"),
        }
}

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
        // What is no name at all has been told where it was read.
        for name in names.filter(|n| is_package_name(n) && !is_name_for(record.package_manager, n)) {
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
