//! One file's part of a record, and the merging of such layers.
//!
//! The shipped records are the lowest layer, the admin's the highest; what a higher one states wins, key by key.
//! A higher layer's defaults override a lower layer's releases, too, so that the admin states `vmm: {name: qemu, path:
//! /opt/qemu}` only once.

use super::inherited::parts;
use super::resolve::merged;
use super::{
    CommonFields, ComponentEntry, Fact, PerArch, Record, RecordError, ReleaseEntry, Source, invalid_package_names,
};
use crate::arch::Arch;
use crate::diagnostic::{Diagnostic, finish};
use crate::distro::{DistroId, ReleaseVersion, Target};
use crate::package::PackageName;
use crate::package_manager::PackageManager;
use crate::syntax::Node;
use root::InsidePath;
use std::collections::BTreeMap;
use std::ops::Range;

/// Place of a value that is not a [`Fact`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    span: Range<usize>,
    source: usize,
}

impl Position {
    pub(crate) fn of(node: &Node) -> Position {
        Position { span: node.span.clone(), source: 0 }
    }
}

/// A record that may lack keys, which a lower layer, or the distro that it derives from, supplies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) sources: Vec<Source>,
    pub(crate) distro: DistroId,
    pub(crate) ids: Vec<String>,
    pub(crate) derives_from: Option<DistroId>,
    pub(crate) package_manager: Option<(PackageManager, Position)>,
    pub(crate) arches: Option<(Vec<Arch>, Position)>,
    pub(crate) defaults: CommonFields,
    pub(crate) releases: Option<Vec<ReleaseEntry>>,
    /// Start of the record in its last file.
    pub(crate) start: usize,
}

impl Draft {
    /// Returns findings for required keys that no layer has supplied.
    pub(crate) fn missing(&self) -> Vec<Diagnostic> {
        let Some(source) = self.sources.last() else { return Vec::new() };
        let at = self.start..self.start;
        let lacks = |key: &str| {
            Diagnostic::error("missing-key", &source.text, at.clone(), format!("the key `{key}` is missing"))
        };
        let mut found = Vec::new();
        if self.package_manager.is_none() {
            found.push(lacks("package-manager"));
        }
        if self.arches.is_none() {
            found.push(lacks("arch"));
        }
        if self.releases.is_none() {
            found.push(lacks("releases").hint("list the versions: `releases: [{version: 13}]`"));
        }
        found
    }

    /// Returns the record if no key is missing and every package name is valid for its package manager.
    pub(crate) fn complete(self) -> Result<Record, RecordError> {
        let record = self.whole()?;
        let found = invalid_package_names(&record);
        let Some((number, source)) = found.first().and_then(|(n, _)| Some((*n, record.sources.get(*n)?))) else {
            return Ok(record);
        };
        // Only the findings of one file, because an error has one text.
        let own_findings = found.into_iter().filter(|(n, _)| *n == number).map(|(_, one)| one).collect();
        let diagnostics = finish(own_findings, &source.text, &source.path.display().to_string());
        Err(RecordError { path: source.path.clone(), text: source.text.clone(), diagnostics })
    }

    fn whole(self) -> Result<Record, RecordError> {
        let missing = self.missing();
        let (path, text) = self.sources.last().map(|s| (s.path.clone(), s.text.clone())).unwrap_or_default();
        let (Some((package_manager, _)), Some((arches, _)), Some(releases)) =
            (self.package_manager, self.arches, self.releases)
        else {
            let diagnostics = finish(missing, &text, &path.display().to_string());
            return Err(RecordError { path, text, diagnostics });
        };
        Ok(Record {
            path,
            text,
            sources: self.sources,
            distro: self.distro,
            ids: self.ids,
            derives_from: self.derives_from,
            package_manager,
            arches,
            defaults: self.defaults,
            releases,
            verified: Vec::new(),
            known_issues: Vec::new(),
        })
    }

    /// Returns the record with defaults for missing keys, for rules that check the rest.
    pub(crate) fn for_rules(mut self) -> Option<Record> {
        let position = Position { span: 0..0, source: 0 };
        self.package_manager.get_or_insert((PackageManager::Apt, position.clone()));
        self.arches.get_or_insert((Arch::ALL.to_vec(), position));
        self.releases.get_or_insert_default();
        self.whole().ok()
    }

    /// Lays `upper` over `self`.
    pub(crate) fn under(mut self, mut upper: Draft) -> Draft {
        upper.renumber(self.sources.len());
        self.sources.append(&mut upper.sources);
        self.start = upper.start;
        self.distro = upper.distro;
        if !upper.ids.is_empty() {
            self.ids = upper.ids;
        }
        self.derives_from = upper.derives_from.or(self.derives_from);
        self.package_manager = upper.package_manager.or(self.package_manager);
        self.arches = upper.arches.or(self.arches);
        self.defaults = merged(&self.defaults, &upper.defaults);
        for release in self.releases.iter_mut().flatten() {
            release.parts = merged(&release.parts, &upper.defaults);
        }
        if let Some(over) = upper.releases {
            let mut releases = self.releases.unwrap_or_default();
            let mut places: BTreeMap<ReleaseVersion, usize> = BTreeMap::new();
            for (index, release) in releases.iter().enumerate() {
                places.entry(release.version.clone()).or_insert(index);
            }
            for release in over {
                let index = *places.entry(release.version.clone()).or_insert(releases.len());
                match releases.get_mut(index) {
                    Some(below) => *below = release_over(below, release),
                    None => releases.push(release),
                }
            }
            self.releases = Some(releases);
        }
        self
    }

    /// Builds the record of a distro that derives from this one.
    ///
    /// The child inherits everything but verdicts, which are about other packages.
    /// If it states releases, they replace the parent's; each has the packages of the parent's release that it names as
    /// `derives-from`. Dates and image are not inherited, because they belong to the parent's release.
    pub(crate) fn parent_of(mut self, child: Draft) -> Draft {
        self.ids.clear();
        let distro = self.distro.clone();
        let lineage = |parent: &ReleaseEntry| -> Vec<Target> {
            let nearest = Target { distro: distro.clone(), version: parent.version.clone() };
            std::iter::once(nearest).chain(parent.based_on.iter().cloned()).collect()
        };
        for release in self.releases.iter_mut().flatten() {
            release.based_on = lineage(release);
        }
        if let Some(own) = &child.releases {
            let parents = self.releases.take().unwrap_or_default();
            let from_parent = |release: &ReleaseEntry| {
                let name = release.derives_from.as_deref()?;
                let parent = parents.iter().find(|p| p.names().contains(&name))?.clone();
                Some(ReleaseEntry {
                    version: release.version.clone(),
                    codename: None,
                    aliases: Vec::new(),
                    released: None,
                    eol: None,
                    lts: None,
                    // The parent's limit is already applied to its facts; the child states its own.
                    parts: CommonFields { image: None, image_lacks: None, ..parts(&self.defaults, &parent) },
                    confidence: None,
                    is_added: release.is_added,
                    ..parent
                })
            };
            self.releases = Some(own.iter().filter_map(from_parent).collect());
            self.defaults.image = None;
            self.defaults.image_lacks = None;
        }
        self.under(child)
    }

    fn renumber(&mut self, by: usize) {
        self.package_manager.iter_mut().for_each(|(_, position)| position.source += by);
        self.arches.iter_mut().for_each(|(_, position)| position.source += by);
        renumber(&mut self.defaults, by);
        for release in self.releases.iter_mut().flatten() {
            release.source += by;
            for date in [&mut release.released, &mut release.eol, &mut release.lts].into_iter().flatten() {
                date.source += by;
            }
            release.confidence.iter_mut().for_each(|confidence| confidence.source += by);
            renumber(&mut release.parts, by);
        }
    }

    /// Marks the draft's releases as added by an admin's layer, which vouches only for its own statements.
    pub(crate) fn of_an_admin(mut self) -> Draft {
        self.releases.iter_mut().flatten().for_each(|release| release.is_added = true);
        self
    }
}

fn release_over(below: &ReleaseEntry, over: ReleaseEntry) -> ReleaseEntry {
    let mut aliases = below.aliases.clone();
    aliases.extend(over.aliases.iter().filter(|a| !below.aliases.contains(a)).cloned());
    ReleaseEntry {
        version: over.version,
        codename: over.codename.or_else(|| below.codename.clone()),
        aliases,
        released: over.released.or_else(|| below.released.clone()),
        eol: over.eol.or_else(|| below.eol.clone()),
        lts: over.lts.or_else(|| below.lts.clone()),
        arches: over.arches.or_else(|| below.arches.clone()),
        derives_from: over.derives_from.or_else(|| below.derives_from.clone()),
        based_on: if over.based_on.is_empty() { below.based_on.clone() } else { over.based_on },
        package_manager: over.package_manager.or(below.package_manager),
        module_platform: over.module_platform.or_else(|| below.module_platform.clone()),
        confidence: over.confidence.or_else(|| below.confidence.clone()),
        is_added: below.is_added,
        parts: merged(&below.parts, &over.parts),
        span: over.span,
        source: over.source,
    }
}

/// Raises every fact's source index by the number of sources that now lie below.
fn renumber(parts: &mut CommonFields, by: usize) {
    fn fact<T>(fact: &mut Option<Fact<T>>, by: usize) -> Option<&mut T> {
        let fact = fact.as_mut()?;
        fact.source += by;
        fact.value.as_mut()
    }
    fn component(component: &mut ComponentEntry, by: usize) {
        fact::<PerArch<Vec<PackageName>>>(&mut component.packages, by);
        fact::<PerArch<InsidePath>>(&mut component.path, by);
    }
    fact(&mut parts.suites, by);
    fact(&mut parts.repositories, by);
    fact(&mut parts.modules, by);
    fact(&mut parts.image, by);
    fact(&mut parts.image_lacks, by);
    fact(&mut parts.parts_from, by);
    for list in [&mut parts.vmms, &mut parts.filesystems] {
        fact(list, by).into_iter().flatten().for_each(|c| component(c, by));
    }
    for list in parts.listed.values_mut() {
        list.source += by;
        list.value.iter_mut().flatten().for_each(|c| component(c, by));
    }
    fact(&mut parts.kernel, by).into_iter().for_each(|c| component(c, by));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FactSubject;
    use std::path::Path;

    fn draft(path: &str, text: &str) -> Draft {
        Draft::parse(Path::new(path), text).unwrap()
    }

    const LOW: &str = "distro: d
package-manager: dnf
arch: x86_64
confidence: packaging
vmm: {name: qemu, packages: q, path: /q}
releases:
  - {version: 1, codename: one, aliases: [old]}
  - version: 2
    vmm: {name: qemu, path: /q2}
";

    #[test]
    fn the_higher_layer_wins_key_by_key_and_keeps_origins() {
        let high = "distro: d
vmm:
  - {name: qemu, path: /opt/q}
  - {name: clh, path: /opt/clh, packages: none}
releases:
  - version: 2
    eol: 2030-01-01
  - version: 3
";
        let record = draft("low", LOW).under(draft("high", high)).complete().unwrap();
        let versions: Vec<&str> = record.releases.iter().map(|r| r.version.as_str()).collect();
        assert_eq!(versions, ["1", "2", "3"]);
        for version in versions {
            let release = record.release(version, Arch::X86_64).unwrap();
            assert_eq!(release.vmms[0].path, "/opt/q", "{version}");
            assert_eq!(release.vmms[0].packages, ["q"]);
            assert_eq!(release.vmms[1].name, "clh");
        }
        let facts = record.facts(record.find_release("2").unwrap(), Arch::X86_64);
        let origin = |subject: &str| {
            let origin =
                facts.iter().find(|f| f.subject.to_string() == subject).and_then(|f| f.origin.clone()).unwrap();
            (origin.file, origin.line)
        };
        assert_eq!(origin("vmm qemu path"), ("high".into(), 3));
        assert_eq!(origin("vmm qemu packages"), ("low".into(), 5));
        assert_eq!(origin("eol"), ("high".into(), 7));
        assert_eq!(record.find_release("one").unwrap().aliases, ["old"]);
    }

    #[test]
    fn a_release_can_have_its_own_package_manager_and_parts_from_elsewhere() {
        let low = format!("{LOW}    package-manager: none\n    parts-from: an extension\n");
        let high = "distro: d\nreleases:\n  - {version: 2, eol: 2030-01-01}\n";
        // Packages of the defaults are an error for a release without a package manager.
        assert!(draft("low", &low).complete().is_err());
        let low = low.replace("path: /q2", "path: /q2, packages: none");
        let record = draft("low", &low).under(draft("high", high)).complete().unwrap();
        let manager = |version: &str| record.manager_of(record.find_release(version).unwrap());
        assert_eq!((manager("1"), manager("2")), (PackageManager::Dnf, PackageManager::ImageBased));
        assert_eq!(record.release("2", Arch::X86_64).unwrap().package_manager, PackageManager::ImageBased);
        let from = |version: &str| record.parts_from(record.find_release(version).unwrap());
        assert_eq!((from("1"), from("2").as_deref()), (None, Some("an extension")));
        let facts = record.facts(record.find_release("2").unwrap(), Arch::X86_64);
        let fact = facts.iter().find(|f| f.subject == FactSubject::PartsFrom).unwrap();
        assert_eq!(fact.origin.as_ref().map(|o| (o.file.as_str(), o.line)), Some(("low", 11)));
    }

    #[test]
    fn the_module_platform_is_inherited_unless_the_release_has_its_own() {
        let low = format!("{LOW}    module-platform: x2\n");
        let platform = |record: &Record, version: &str| record.release(version, Arch::X86_64).unwrap().module_platform;
        let record = draft("low", &low).under(draft("high", "distro: d\nreleases: [{version: 2}]\n"));
        let record = record.complete().unwrap();
        assert_eq!((platform(&record, "1"), platform(&record, "2").as_deref()), (None, Some("x2")));
        let child = "distro: child\nderives-from: d\nconfidence: packaging\nreleases:\n\
                     - {version: 7, derives-from: 2}\n- {version: 8, derives-from: 2, module-platform: own8}\n";
        let record = draft("low", &low).parent_of(draft("child", child)).complete().unwrap();
        assert_eq!(platform(&record, "7").as_deref(), Some("x2"), "they are the parent's packages");
        assert_eq!(platform(&record, "8").as_deref(), Some("own8"));
    }

    /// A layer need not state the package manager that its names are checked against.
    #[test]
    fn a_package_name_with_special_meaning_is_refused_at_its_line() {
        let part = |name: &str| format!("distro: d\nvmm: {{name: qemu, packages: [fine, \"{name}\"]}}\n");
        for (manager, name) in [("apt", "foo-"), ("apt", "foo:amd64-"), ("apt", "qemu/sid"), ("dnf", "a/b")] {
            let low = LOW.replace("dnf", manager);
            let error = draft("low", &low).under(draft("high", &part(name))).complete().unwrap_err();
            assert_eq!(error.diagnostics.len(), 1, "in every release, and told once");
            let message = error.to_string();
            assert!(message.starts_with("high:2:") && message.contains(&format!("`{name}`")), "{message}");
            assert!(draft("low", &low.replace("packages: q", &format!("packages: {name}"))).complete().is_err());
        }
        assert!(draft("low", LOW).under(draft("high", &part("libX11"))).complete().is_ok());
    }

    #[test]
    fn an_incomplete_record_reports_its_missing_keys() {
        let error = draft("high", "distro: d\nvmm: {name: qemu}\n").complete().unwrap_err();
        let rules: Vec<&str> = error.diagnostics.iter().map(|d| d.rule).collect();
        assert_eq!(rules, ["missing-key"; 3]);
    }
}
