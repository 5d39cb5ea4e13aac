//! Where the facts of a record are from: a file `sources/DISTRO.yaml` beside the records.
//!
//! An entry names facts by their subjects, or by how these begin: `vmm qemu` is all that is said of QEMU.

use crate::decode::Decoder;
use crate::diagnostic::{Severity, finish};
use crate::record::{Confidence, Record, RecordError, StatedFact};
use crate::syntax::{self, Node, NodeKind};
use std::collections::BTreeSet;
use std::path::Path;

/// The folder of such files, within one of records.
pub const FOLDER: &str = "sources";

/// Where the facts of one distro's record are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// `debian`.
    pub distro: String,
    entries: Vec<Entry>,
}

/// Some facts and where they are from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    facts: Vec<String>,
    from: String,
}

impl Sources {
    /// Parses a file's text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its form, with places.
    pub fn parse(path: &Path, text: &str) -> Result<Sources, RecordError> {
        let failed = |diagnostics| RecordError {
            path: path.to_owned(),
            text: text.to_owned(),
            diagnostics: finish(diagnostics, text, &path.display().to_string()),
        };
        let root = syntax::parse(text).map_err(failed)?;
        let mut d = Decoder { text, diagnostics: Vec::new() };
        d.duplicates(&root);
        d.fields(&root, "a file of sources", &["distro", "sources"]);
        let distro = d.distro(&root);
        let entries = d.required(&root, "sources").and_then(|node| entries(&mut d, node));
        match distro.zip(entries) {
            Some((distro, entries)) if d.diagnostics.iter().all(|found| found.severity != Severity::Error) => {
                Ok(Sources { distro, entries })
            }
            _ => Err(failed(d.diagnostics)),
        }
    }

    /// Where a fact is from, by its subject.
    pub fn of(&self, subject: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.facts.iter().any(|fact| is_of(subject, fact)));
        entry.map(|entry| entry.from.as_str())
    }

    /// The subjects of `record` that are said to be documented, or read from packages, and have no source here.
    pub fn lacking(&self, record: &Record) -> Vec<String> {
        sourced(record).into_iter().filter(|subject| self.of(subject).is_none()).collect()
    }

    /// What is named here and is no fact of `record` that needs a source.
    pub fn idle(&self, record: &Record) -> Vec<&str> {
        let subjects = sourced(record);
        let named = self.entries.iter().flat_map(|entry| &entry.facts).map(String::as_str);
        named.filter(|fact| !subjects.iter().any(|subject| is_of(subject, fact))).collect()
    }
}

/// Whether a subject is the one that `fact` names, or begins with its words.
fn is_of(subject: &str, fact: &str) -> bool {
    subject.strip_prefix(fact).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// The subjects of a record's facts that somebody has read somewhere, over all releases and architectures.
fn sourced(record: &Record) -> BTreeSet<String> {
    let is_read = |fact: &StatedFact| matches!(fact.confidence, Confidence::Documented | Confidence::Packaging);
    let releases = record.releases.iter();
    let each = releases.flat_map(|entry| record.release_arches(entry).iter().map(move |arch| (entry, *arch)));
    let facts = each.flat_map(|(entry, arch)| record.facts(entry, arch));
    facts.filter(|fact| fact.value.is_some() && is_read(fact)).map(|fact| fact.subject).collect()
}

fn entries(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Entry>> {
    let NodeKind::List(items) = &node.kind else {
        return d.wrong(node, "sources", "a list of maps with `facts` and `from`");
    };
    d.all(items, |d, item| {
        d.fields(item, "a source", &["facts", "from"])?;
        let facts = d.required(item, "facts").and_then(|n| d.strings(n, "facts"));
        let from = d.required(item, "from").and_then(|n| d.string(n, "from"));
        Some(Entry { facts: facts?, from: from? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "distro: d
package-manager: apt
arch: [x86_64, aarch64]
confidence: packaging
vmm: {name: qemu, packages: q, path: /q}
fs: [{name: virtio-fs, packages: v, path: /v, confidence: assumed}]
kernel: {packages: unknown, image: /k}
releases:
  - {version: 1, eol: 2030-01-01}
";

    fn sources(entries: &str) -> Sources {
        Sources::parse(Path::new("sources/d.yaml"), &format!("distro: d\nsources:{entries}\n")).unwrap()
    }

    #[test]
    fn what_somebody_read_has_a_source_and_what_nobody_knows_needs_none() {
        let record = Record::parse(Path::new("d.yaml"), RECORD).unwrap();
        let all = ["eol", "kernel linux image", "vmm qemu packages", "vmm qemu path"];
        assert_eq!(sources(" []").lacking(&record), all);
        let some = sources("\n  - {facts: [vmm qemu, fs], from: the spec}\n  - {facts: eol, from: the site}");
        assert_eq!(some.lacking(&record), ["kernel linux image"]);
        assert_eq!(some.idle(&record), ["fs"], "it is assumed");
        assert_eq!((some.of("vmm qemu path"), some.of("vmm qemu-kvm path")), (Some("the spec"), None));
    }

    #[test]
    fn a_file_of_sources_has_nothing_else() {
        let wrong = |text: &str| Sources::parse(Path::new("sources/d.yaml"), text).unwrap_err().to_string();
        assert!(wrong("distro: d\n").contains("`sources` is missing"));
        let told = wrong("distro: d\nsources:\n  - {facts: eol, form: x}\n");
        assert!(told.starts_with("sources/d.yaml:3:") && told.contains("`form`"), "{told}");
        assert!(wrong("distro: d\nsources: eol\n").contains("a list of maps"));
    }
}
