//! Facts that a release inherits, and their confidence.
//!
//! Facts read for a distro's known releases say little about a release that the admin adds, or about a future one. A
//! release may therefore state a `confidence` that limits its inherited facts. In a release that an admin's layer adds,
//! they are `assumed` unless the release states a confidence.

use super::resolve::merged;
use super::{CommonFields, ComponentEntry, Confidence, Fact, PerArch, Record, ReleaseEntry};
use crate::package::PackageName;
use root::InsidePath;
use std::ops::Range;

impl Record {
    /// Returns the statements about a release, with the record's defaults applied.
    pub(super) fn parts(&self, release: &ReleaseEntry) -> CommonFields {
        parts(&self.defaults, release)
    }
}

/// Merges a release with the defaults, and limits the confidence of inherited facts to what is known for that release.
pub(super) fn parts(defaults: &CommonFields, release: &ReleaseEntry) -> CommonFields {
    let mut parts = merged(defaults, &release.parts);
    let at_most = |source: usize, span: &Range<usize>| match &release.confidence {
        // Facts in the release's own map and facts of a higher layer keep their own confidence.
        Some(own) => {
            let is_inside = source == own.source && own.span.contains(&span.start);
            own.value.filter(|_| source <= own.source && !is_inside)
        }
        None => (release.is_added && source < release.source).then_some(Confidence::Assumed),
    };
    bound(&mut parts, &at_most);
    parts
}

/// Returns the upper limit of a fact's confidence, given its source and its place there.
type AtMost<'a> = dyn Fn(usize, &Range<usize>) -> Option<Confidence> + 'a;

/// Lowers the confidence of every fact that exceeds its limit.
fn bound(parts: &mut CommonFields, at_most: &AtMost<'_>) {
    fn fact<'f, T>(fact: &'f mut Option<Fact<T>>, at_most: &AtMost<'_>) -> Option<&'f mut T> {
        let fact = fact.as_mut()?;
        lower(fact, at_most);
        fact.value.as_mut()
    }
    fn lower<T>(fact: &mut Fact<T>, at_most: &AtMost<'_>) {
        if let Some(most) = at_most(fact.source, &fact.span) {
            fact.confidence = fact.confidence.min(most);
        }
    }
    let component = |component: &mut ComponentEntry| {
        fact::<PerArch<Vec<PackageName>>>(&mut component.packages, at_most);
        fact::<PerArch<InsidePath>>(&mut component.path, at_most);
    };
    fact(&mut parts.suites, at_most);
    fact(&mut parts.repositories, at_most);
    fact(&mut parts.modules, at_most);
    fact(&mut parts.image, at_most);
    fact(&mut parts.image_lacks, at_most);
    fact(&mut parts.parts_from, at_most);
    for list in [&mut parts.vmms, &mut parts.filesystems] {
        fact(list, at_most).into_iter().flatten().for_each(component);
    }
    for list in parts.listed.values_mut() {
        lower(list, at_most);
        list.value.iter_mut().flatten().for_each(component);
    }
    fact(&mut parts.kernel, at_most).into_iter().for_each(component);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::record::{Draft, FactSubject};
    use std::path::Path;

    const LOW: &str = "distro: d
package-manager: dnf
arch: x86_64
confidence: packaging
repositories: [crb]
vmm: {name: qemu, packages: q, path: /q}
releases:
  - version: 1
  - version: 2
    confidence: assumed
    vmm: {name: qemu, path: /q2, confidence: measured}
";

    fn draft(path: &str, text: &str) -> Draft {
        Draft::parse(Path::new(path), text).unwrap()
    }

    /// Returns subject and confidence of the facts about a release's VMM, and of the repositories and modules to
    /// enable.
    fn known(record: &Record, version: &str) -> Vec<(String, Confidence)> {
        let entry = record.find_release(version).unwrap();
        let facts = record.facts(entry, Arch::X86_64).into_iter().filter(|fact| fact.subject != FactSubject::Eol);
        let mut all: Vec<(String, Confidence)> =
            facts.map(|fact| (fact.subject.to_string(), fact.confidence)).collect();
        all.push(("enables".to_owned(), record.enables(entry).2));
        all.sort();
        all
    }

    fn expected(repositories: Confidence, packages: Confidence, path: Confidence) -> Vec<(String, Confidence)> {
        let all = [
            ("enables", repositories),
            ("repositories", repositories),
            ("vmm qemu packages", packages),
            ("vmm qemu path", path),
        ];
        all.map(|(subject, confidence)| (subject.to_owned(), confidence)).to_vec()
    }

    #[test]
    fn a_release_can_lower_the_confidence_of_inherited_facts() {
        use Confidence::{Assumed, Documented, Measured, Packaging};
        let record = draft("low", LOW).complete().unwrap();
        assert_eq!(known(&record, "1"), expected(Packaging, Packaging, Packaging));
        assert_eq!(known(&record, "2"), expected(Assumed, Assumed, Measured), "its own is as it says");
        // Facts of a higher layer keep their confidence, also in a release of a lower layer.
        let high = "distro: d\nvmm: {name: qemu, packages: r, confidence: documented}\n";
        let record = draft("low", LOW).under(draft("high", high)).complete().unwrap();
        assert_eq!(known(&record, "2"), expected(Assumed, Documented, Measured));
    }

    #[test]
    fn an_added_release_inherits_facts_as_assumed_unless_it_states_confidence() {
        use Confidence::{Assumed, Documented, Measured, Packaging};
        let over = |release: &str| {
            let high = format!("distro: d\nreleases:\n  - {{{release}}}\n");
            let record = draft("low", LOW).under(draft("high", &high).of_an_admin()).complete().unwrap();
            known(&record, record.releases.last().map(|last| last.version.as_str()).unwrap())
        };
        assert_eq!(over("version: 3"), expected(Assumed, Assumed, Assumed));
        let own = "vmm: {name: qemu, path: /opt/q, confidence: measured}";
        assert_eq!(over(&format!("version: 3, {own}")), expected(Assumed, Assumed, Measured));
        assert_eq!(over("version: 3, confidence: documented"), expected(Documented, Documented, Documented));
        assert_eq!(over("version: 3, confidence: measured"), expected(Packaging, Packaging, Packaging));
        // A release that exists in the layer below does not count as added.
        assert_eq!(over("version: 2, eol: unknown"), expected(Assumed, Assumed, Measured));
    }

    #[test]
    fn a_derived_release_has_no_more_confidence_than_its_parent() {
        use Confidence::{Assumed, Measured, Packaging};
        let child = |parent: &str, more: &str| {
            let text =
                format!("distro: e\nderives-from: d\nreleases:\n  - {{version: 9, derives-from: {parent}{more}}}\n");
            draft("child", &text)
        };
        let of = |child: Draft| known(&draft("low", LOW).parent_of(child).complete().unwrap(), "9");
        assert_eq!(of(child("1", "")), expected(Packaging, Packaging, Packaging), "a shipped record was read");
        assert_eq!(of(child("1", "").of_an_admin()), expected(Assumed, Assumed, Assumed));
        assert_eq!(of(child("1", ", confidence: assumed")), expected(Assumed, Assumed, Assumed));
        assert_eq!(of(child("2", ", confidence: packaging")), expected(Assumed, Assumed, Packaging));
        assert_eq!(of(child("2", "")), expected(Assumed, Assumed, Measured));
    }
}
