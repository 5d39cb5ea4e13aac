//! Where the facts of a record are from: a file `sources/DISTRO.yaml` beside the records.
//!
//! An entry names facts by their subjects, or by how these begin: `vmm qemu` is all that is said of QEMU.

use crate::decode::{Decoder, file_about_distro};
use crate::diagnostic::{Diagnostic, Severity, finish};
use crate::record::{Confidence, Draft, Record, RecordError, StatedFact};
use crate::syntax::{Node, NodeKind};
use std::collections::BTreeSet;
use std::ops::Range;
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
    span: Range<usize>,
}

impl Sources {
    /// Parses a file's text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its form, with places.
    pub fn parse(path: &Path, text: &str) -> Result<Sources, RecordError> {
        let (file, diagnostics) = file_about_distro(path, text, "a file of sources", &["distro", "sources"], entries);
        match file {
            Some((distro, entries)) if diagnostics.iter().all(|found| found.severity != Severity::Error) => {
                Ok(Sources { distro, entries })
            }
            _ => Err(RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics }),
        }
    }

    /// Where a fact is from, by its subject.
    pub fn of(&self, subject: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.facts.iter().any(|fact| is_of(subject, fact)));
        entry.map(|entry| entry.from.as_str())
    }

    /// The subjects of which `record` itself says that they are documented, or read from packages, and that have no source
    /// here.
    pub fn lacking(&self, record: &Record) -> Vec<String> {
        sourced(record).into_iter().filter(|subject| self.of(subject).is_none()).collect()
    }

    /// What is named here and is no fact of `record` that needs a source.
    pub fn idle(&self, record: &Record) -> Vec<&str> {
        self.unused(record).into_iter().map(|(_, fact)| fact).collect()
    }

    fn unused(&self, record: &Record) -> Vec<(&Entry, &str)> {
        let subjects = sourced(record);
        let named = self.entries.iter().flat_map(|entry| entry.facts.iter().map(move |fact| (entry, fact.as_str())));
        named.filter(|(_, fact)| !subjects.iter().any(|subject| is_of(subject, fact))).collect()
    }
}

/// What is wrong with a file of sources: its form, and what it names that `record`, where it is known, does not state.
pub fn lint(path: &Path, text: &str, record: Option<&Record>) -> Vec<Diagnostic> {
    let sources = match Sources::parse(path, text) {
        Ok(sources) => sources,
        Err(error) => return error.diagnostics,
    };
    let Some(record) = record else { return Vec::new() };
    let mut found = Vec::new();
    if sources.distro != record.distro {
        let message = format!("the record beside its folder is of {}, not of {}", record.distro, sources.distro);
        found.push(Diagnostic::error("wrong-distro", text, 0..0, message));
    }
    for (entry, fact) in sources.unused(record) {
        let message = format!("`{fact}` is nothing that the record says to be documented or of packages");
        let hint = "`kata-osinfo show` lists the subjects of facts; the beginning of one is enough";
        found.push(Diagnostic::error("idle-source", text, entry.span.clone(), message).hint(hint));
    }
    finish(found, text, &path.display().to_string())
}

/// The facts of a record's text that somebody has read and no entry of `sources` names, each where it first stands.
///
/// Without `sources` there is no file of them that can be used, and a record that states no such fact needs none.
/// A text that is no record has no facts yet.
pub fn lint_record(path: &Path, text: &str, sources: Option<&Sources>) -> Vec<Diagnostic> {
    // By itself: what a distro that it derives from supplies has its source there.
    let Some(record) = Draft::parse(path, text).ok().and_then(Draft::for_rules) else { return Vec::new() };
    let file = path.display().to_string();
    let Some(sources) = sources else {
        if read_facts(&record).next().is_none() {
            return Vec::new();
        }
        let hint = format!("write {FOLDER}/{}.yaml, or see what lint says of it", record.distro);
        let none = Diagnostic::error("no-source", text, 0..0, "no file says where the facts were read").hint(hint);
        return finish(vec![none], text, &file);
    };
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for fact in read_facts(&record).filter(|fact| sources.of(&fact.subject.to_string()).is_none()) {
        let Some(origin) = fact.origin else { continue };
        if seen.insert(fact.subject.clone()) {
            let message = format!("{}: {}, and nothing says where it was read", fact.subject, fact.confidence.name());
            let hint = format!("name it in {FOLDER}/{}.yaml, or say `confidence: assumed`", record.distro);
            found.push(Diagnostic::error("no-source", text, line(text, origin.line), message).hint(hint));
        }
    }
    finish(found, text, &file)
}

/// A line, from 1, without its indentation.
fn line(text: &str, number: usize) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(number.saturating_sub(1)).map(str::len).sum();
    let line = text[start..].lines().next().unwrap_or_default();
    start + line.len() - line.trim_start().len()..start + line.len()
}

/// Whether a subject is the one that `fact` names, or begins with its words.
fn is_of(subject: &str, fact: &str) -> bool {
    subject.strip_prefix(fact).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A record's facts that somebody has read somewhere, over all releases and architectures; those of a distro that it
/// derives from stand in another file, which has sources of its own.
fn read_facts(record: &Record) -> impl Iterator<Item = StatedFact> {
    let file = record.path.display().to_string();
    let is_read = |fact: &StatedFact| matches!(fact.confidence, Confidence::Documented | Confidence::Packaging);
    let is_own = move |fact: &StatedFact| fact.origin.as_ref().is_some_and(|origin| origin.file == file);
    let releases = record.releases.iter();
    let each = releases.flat_map(move |entry| record.release_arches(entry).iter().map(move |arch| (entry, *arch)));
    let facts = each.flat_map(move |(entry, arch)| record.facts(entry, arch));
    facts.filter(move |fact| fact.values.is_some() && is_read(fact) && is_own(fact))
}

/// Their subjects, in words.
fn sourced(record: &Record) -> BTreeSet<String> {
    read_facts(record).map(|fact| fact.subject.to_string()).collect()
}

fn entries(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Entry>> {
    let NodeKind::List(items) = &node.kind else {
        return d.wrong(node, "sources", "a list of maps with `facts` and `from`");
    };
    d.all(items, |d, item| {
        d.fields(item, "a source", &["facts", "from"])?;
        let facts = d.required(item, "facts").and_then(|n| d.strings(n, "facts"));
        let from = d.required(item, "from").and_then(|n| d.string(n, "from"));
        Some(Entry { facts: facts?, from: from?, span: item.span.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

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
    fn lint_tells_each_where_it_stands() {
        let record = Record::parse(Path::new("d.yaml"), RECORD).unwrap();
        let some = sources("\n  - {facts: [vmm qemu, kernel], from: the spec}");
        let only = |found: Vec<Diagnostic>| {
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].one_line()
        };
        let path = Path::new("d.yaml");
        let one = only(lint_record(path, RECORD, Some(&some)));
        assert!(one.starts_with("d.yaml:9:3: eol: packaging, and nothing says where it was read"), "{one}");
        let none = only(lint_record(path, RECORD, None));
        assert!(none.starts_with("d.yaml:1:1: no file says"), "{none}");
        let (file, text) = (Path::new("sources/d.yaml"), "distro: d\nsources:\n  - {facts: [vmm qemu, fs], from: x}\n");
        let idle = only(lint(file, text, Some(&record)));
        assert!(idle.starts_with("sources/d.yaml:3:") && idle.contains("`fs` is nothing that"), "{idle}");
        assert!(lint(file, text, None).is_empty());
        let other = text.replace("distro: d", "distro: e").replace(", fs", "");
        assert!(only(lint(file, &other, Some(&record))).contains("is of d, not of e"));
    }

    #[test]
    fn what_another_distros_record_supplies_has_its_source_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mint.yaml");
        let of = |confidence: &str| {
            let text = format!(
                "distro: mint\nderives-from: debian\nconfidence: {confidence}\nreleases:\n  \
                 - {{version: 6, derives-from: bookworm, released: 2024-01-01}}\n"
            );
            std::fs::write(&path, &text).unwrap();
            let database = Database::load(&[dir.path().to_owned()]).unwrap();
            let lacking = sources(" []").lacking(database.record("mint").unwrap());
            (lacking, lint_record(&path, &text, None).iter().map(|one| one.line).collect::<Vec<_>>())
        };
        assert_eq!(of("assumed"), (vec![], vec![]), "it needs no file of sources");
        assert_eq!(of("documented"), (vec!["released".to_owned()], vec![1]));
    }

    #[test]
    fn a_file_of_sources_has_nothing_else() {
        let wrong = |text: &str| Sources::parse(Path::new("sources/d.yaml"), text).unwrap_err().to_string();
        assert!(wrong("distro: d\n").contains("`sources` is missing"));
        let told = wrong("distro: d\nsources:\n  - {facts: eol}\n");
        assert!(told.starts_with("sources/d.yaml:3:") && told.contains("`from` is missing"), "{told}");
        assert!(wrong("distro: d\nsources:\n  - {facts: eol, from: x, form: x}\n").contains("`form`"));
        assert!(wrong("distro: d\nsources: eol\n").contains("a list of maps"));
    }
}
