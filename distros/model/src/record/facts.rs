//! A record's statements about a release, one fact at a time and with its confidence, for people.

use super::resolve::{listed, preferred_first, stated_for};
use super::{ComponentEntry, ComponentKind, Confidence, Fact, Record, ReleaseEntry, SourceLocation, known};
use crate::arch::Arch;
use crate::component::ComponentName;
use serde::{Serialize, Serializer};
use std::fmt;

/// One statement of a record about a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedFact {
    /// The subject.
    pub subject: FactSubject,
    /// The values, one or several; `None` is the record's `unknown`.
    #[serde(rename = "value", serialize_with = "on_one_line")]
    pub values: Option<Vec<String>>,
    /// The confidence.
    pub confidence: Confidence,
    /// File and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<SourceLocation>,
}

impl StatedFact {
    /// Returns the values on one line.
    pub fn value(&self) -> Option<String> {
        self.values.as_ref().map(|values| values.join(" "))
    }
}

fn on_one_line<S: Serializer>(values: &Option<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    values.as_ref().map(|values| values.join(" ")).serialize(serializer)
}

/// Subject of a fact, in the words of `show` and of the files of sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactSubject {
    /// The day of the release.
    Released,
    /// The last day of the distro's own support.
    Eol,
    /// The last day of long-term support.
    Lts,
    /// The OCI image.
    Image,
    /// Packages that are in none of the repositories that the OCI image configures.
    ImageLacks,
    /// The origin of Kata's parts if they are not packages.
    PartsFrom,
    /// The package suites.
    Suites,
    /// Repositories to enable.
    Repositories,
    /// Modules of the package manager to enable.
    Modules,
    /// All components of a kind.
    Kind(ComponentKind),
    /// The packages of the component of that name.
    Packages(ComponentKind, ComponentName),
    /// The path of the component of that name; for a kernel, the pattern of its image.
    Path(ComponentKind, ComponentName),
}

impl fmt::Display for FactSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, what) = match self {
            FactSubject::Released => return f.pad("released"),
            FactSubject::Eol => return f.pad("eol"),
            FactSubject::Lts => return f.pad("lts"),
            FactSubject::Image => return f.pad("image"),
            FactSubject::ImageLacks => return f.pad("image lacks"),
            FactSubject::PartsFrom => return f.pad("parts from"),
            FactSubject::Suites => return f.pad("suites"),
            FactSubject::Repositories => return f.pad("repositories"),
            FactSubject::Modules => return f.pad("modules"),
            FactSubject::Kind(kind) => return f.pad(kind.name()),
            FactSubject::Packages(kind, name) => (kind, name, "packages"),
            FactSubject::Path(kind @ ComponentKind::Kernel, name) => (kind, name, "image"),
            FactSubject::Path(kind, name) => (kind, name, "path"),
        };
        f.pad(&format!("{} {name} {what}", kind.name()))
    }
}

impl Serialize for FactSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Record {
    /// Returns all statements about a release, including explicit unknowns, in a fixed order.
    pub fn facts(&self, release: &ReleaseEntry, arch: Arch) -> Vec<StatedFact> {
        let mut facts = Vec::new();
        let dates = [
            (FactSubject::Released, &release.released),
            (FactSubject::Eol, &release.eol),
            (FactSubject::Lts, &release.lts),
        ];
        for (subject, date) in dates {
            self.state(&mut facts, subject, date, |d| Some(vec![d.to_string()]));
        }
        let parts = self.parts(release);
        self.state(&mut facts, FactSubject::Image, &parts.image, |image| Some(vec![image.clone()]));
        self.state(&mut facts, FactSubject::ImageLacks, &parts.image_lacks, |what| Some(vec![what.clone()]));
        self.state(&mut facts, FactSubject::PartsFrom, &parts.parts_from, |from| Some(vec![from.clone()]));
        self.state(&mut facts, FactSubject::Suites, &parts.suites, |suites| {
            Some(suites.iter().map(|suite| suite.name.clone()).collect())
        });
        let lists = [(FactSubject::Repositories, &parts.repositories), (FactSubject::Modules, &parts.modules)];
        for (subject, list) in lists {
            self.state(&mut facts, subject, list, |l| Some(l.clone()));
        }
        let unknown = [
            (ComponentKind::Vmm, whole_unknown(&parts.vmms)),
            (ComponentKind::Fs, whole_unknown(&parts.filesystems)),
            (ComponentKind::Kernel, whole_unknown(&parts.kernel)),
        ];
        let listed_unknown = parts.listed.iter().map(|(kind, fact)| (*kind, whole_unknown(&Some(fact.clone()))));
        for (kind, fact) in unknown.into_iter().chain(listed_unknown) {
            self.state(&mut facts, FactSubject::Kind(kind), &fact, |()| None);
        }
        let mut component = |kind: ComponentKind, c: &ComponentEntry| {
            let packages = stated_for(&c.packages, arch);
            self.state(&mut facts, FactSubject::Packages(kind, c.name.clone()), &packages, |p| {
                Some(p.get(arch)?.iter().map(ToString::to_string).collect())
            });
            let path = stated_for(&c.path, arch);
            self.state(&mut facts, FactSubject::Path(kind, c.name.clone()), &path, |p| {
                Some(vec![p.get(arch)?.to_string()])
            });
        };
        let filesystems = known(&parts.filesystems).cloned().unwrap_or_default();
        let filesystems = preferred_first(filesystems, &parts.preferred_filesystem);
        known(&parts.vmms).into_iter().flatten().for_each(|c| component(ComponentKind::Vmm, c));
        filesystems.iter().for_each(|c| component(ComponentKind::Fs, c));
        known(&parts.kernel).into_iter().for_each(|c| component(ComponentKind::Kernel, c));
        for kind in ComponentKind::LISTED {
            listed(&parts, kind).iter().for_each(|c| component(kind, c));
        }
        facts
    }

    fn state<T>(
        &self,
        facts: &mut Vec<StatedFact>,
        subject: FactSubject,
        fact: &Option<Fact<T>>,
        show: impl Fn(&T) -> Option<Vec<String>>,
    ) {
        if let Some(fact) = fact {
            facts.push(StatedFact {
                subject,
                values: fact.value.as_ref().and_then(show),
                confidence: fact.confidence,
                origin: self.origin(fact.source, &fact.span),
            });
        }
    }
}

/// Returns the fact that a whole list or component is unknown, if the record says that.
fn whole_unknown<T>(fact: &Option<Fact<T>>) -> Option<Fact<()>> {
    let fact = fact.as_ref().filter(|f| f.value.is_none())?;
    Some(Fact { value: None, confidence: fact.confidence, span: fact.span.clone(), source: fact.source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_fact_has_values_and_serializes_to_one_line() {
        let text = "distro: d\npackage-manager: dnf\narch: x86_64\nvmm: {name: qemu, packages: [a, b], path: /q}\n\
                    kernel: unknown\nversion: 1\n";
        let record = Record::parse(Path::new("d.yaml"), text).unwrap();
        let facts = record.facts(record.find_release("1").unwrap(), Arch::X86_64);
        let of = |subject: FactSubject| facts.iter().find(|fact| fact.subject == subject).unwrap();
        assert_eq!(of(FactSubject::Kind(ComponentKind::Kernel)).values, None);
        let packages = of(FactSubject::Packages(ComponentKind::Vmm, "qemu".into()));
        assert_eq!(packages.values.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
        let json = serde_json::to_value(packages).unwrap();
        assert_eq!(json["subject"], "vmm qemu packages");
        assert_eq!(json["value"], "a b");
        let image = FactSubject::Path(ComponentKind::Kernel, "linux".into());
        assert_eq!(format!("{image:20}|"), "kernel linux image  |");
    }
}
