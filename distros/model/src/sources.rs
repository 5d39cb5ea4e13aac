//! Origins of a record's facts: a file `sources/DISTRO.yaml` next to the records.
//!
//! An entry names facts by their subjects, or a component by its kind and name: `vmm qemu` covers everything stated
//! about QEMU.
//! An entry applies to the record's statements about all releases. It covers a release's own statements only if it
//! names that release, so that an added release does not pass as read just because similar facts were.

use crate::decode::{Decoder, file_about_distro};
use crate::diagnostic::{Diagnostic, Severity, finish, line_column};
use crate::distro::{DistroId, ReleaseVersion};
use crate::record::{Confidence, Draft, Record, RecordError, ReleaseEntry, StatedFact};
use crate::syntax::{Node, NodeKind};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

/// Directory of the files, inside one of records.
pub const FOLDER: &str = "sources";

/// Origins of the facts of one distro's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// `debian`.
    pub distro: DistroId,
    entries: Vec<SourcedFacts>,
}

/// Some facts and their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SourcedFacts {
    facts: Vec<String>,
    /// The releases whose own facts it is of, besides what the record says of all.
    releases: Vec<ReleaseVersion>,
    from: String,
    span: Range<usize>,
}

impl SourcedFacts {
    /// Whether it is of a subject, as `release` states it, or the record of all releases.
    fn is_of(&self, subject: &str, release: Option<&ReleaseVersion>) -> bool {
        self.facts.iter().any(|fact| names(fact, subject))
            && release.is_none_or(|release| self.releases.contains(release))
    }
}

impl Sources {
    /// Parses a file's text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// All mistakes of form, with places.
    pub fn parse(path: &Path, text: &str) -> Result<Sources, RecordError> {
        let (file, diagnostics) = file_about_distro(path, text, "a file of sources", &["distro", "sources"], entries);
        match file {
            Some((distro, entries)) if diagnostics.iter().all(|found| found.severity != Severity::Error) => {
                Ok(Sources { distro, entries })
            }
            _ => Err(RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics }),
        }
    }

    /// Returns the origin of a fact, by its subject and the release that states it; `None` for the record's statements
    /// about all releases.
    pub fn of(&self, subject: &str, release: Option<&ReleaseVersion>) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.is_of(subject, release));
        entry.map(|entry| entry.from.as_str())
    }

    /// Returns the subjects that `record` itself marks as documented or read from packages and that have no source
    /// here, with the version in front if a release states them.
    pub fn lacking(&self, record: &Record) -> Vec<String> {
        let lacking = sourced(record).into_iter().filter(|(release, subject)| self.of(subject, *release).is_none());
        let label = |(release, subject): (Option<&ReleaseVersion>, String)| match release {
            Some(release) => format!("{release}: {subject}"),
            None => subject,
        };
        lacking.map(label).collect()
    }

    /// Returns the entries' words that match nothing: no fact of `record` that needs a source, or no release that
    /// states one.
    pub fn idle(&self, record: &Record) -> Vec<&str> {
        self.unused(record).into_iter().map(|(_, word)| word).collect()
    }

    fn unused(&self, record: &Record) -> Vec<(&SourcedFacts, &str)> {
        let sourced = sourced(record);
        let mut unused = Vec::new();
        for entry in &self.entries {
            let is_of = |(release, subject): &&(Option<&ReleaseVersion>, String)| entry.is_of(subject, *release);
            let matching: Vec<&(Option<&ReleaseVersion>, String)> = sourced.iter().filter(is_of).collect();
            let facts = entry.facts.iter().filter(|fact| !matching.iter().any(|(_, subject)| names(fact, subject)));
            let states = |version: &ReleaseVersion| matching.iter().any(|(release, _)| *release == Some(version));
            let releases = entry.releases.iter().filter(|release| !states(release));
            let words = facts.map(String::as_str).chain(releases.map(ReleaseVersion::as_str));
            unused.extend(words.map(|word| (entry, word)));
        }
        unused
    }
}

/// Returns the findings about a file of sources: its form, and names of facts that `record`, if known, does not state.
pub fn lint(path: &Path, text: &str, record: Option<&Record>) -> Vec<Diagnostic> {
    let sources = match Sources::parse(path, text) {
        Ok(sources) => sources,
        Err(error) => return error.diagnostics,
    };
    let Some(record) = record else { return Vec::new() };
    let mut found = Vec::new();
    if sources.distro != record.distro {
        let message = format!("the record next to this folder is of {}, not of {}", record.distro, sources.distro);
        found.push(Diagnostic::error("wrong-distro", text, 0..0, message));
    }
    for (entry, word) in sources.unused(record) {
        let (message, hint) = if entry.facts.iter().any(|fact| fact == word) {
            let hint =
                "`kata-osinfo show` lists the subjects of facts; a component's kind and name are enough: `vmm qemu`";
            (format!("the record states no `{word}` with the confidence `documented` or `packaging`"), hint)
        } else {
            let hint = "name only releases whose own entry in the record states one of these facts";
            (
                format!(
                    "the release `{word}` states none of these facts with the confidence `documented` or `packaging`"
                ),
                hint,
            )
        };
        found.push(Diagnostic::error("idle-source", text, entry.span.clone(), message).hint(hint));
    }
    finish(found, text, &path.display().to_string())
}

/// Returns findings for facts in a record's text that were read somewhere but have no entry in `sources`, each at its
/// first place.
///
/// `sources` is `None` if there is no usable file of sources; a record without such facts needs none. A text that is
/// not a record has no facts yet.
pub fn lint_record(path: &Path, text: &str, sources: Option<&Sources>) -> Vec<Diagnostic> {
    // The record alone: facts inherited from a parent distro have their sources in the parent's file.
    let Some(record) = Draft::parse(path, text).ok().and_then(Draft::for_rules) else { return Vec::new() };
    let file = path.display().to_string();
    let Some(sources) = sources else {
        if read(&record).next().is_none() {
            return Vec::new();
        }
        let hint = format!("write {FOLDER}/{}.yaml, or run `kata-osinfo lint` on it if it exists", record.distro);
        let none = Diagnostic::error("no-source", text, 0..0, "no file states where the facts were read").hint(hint);
        return finish(vec![none], text, &file);
    };
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for ReadFact { fact, release } in read(&record) {
        let subject = fact.subject.to_string();
        let Some(origin) = fact.origin.filter(|_| sources.of(&subject, release).is_none()) else { continue };
        if !seen.insert((release, subject.clone())) {
            continue;
        }
        let message = format!("{subject}: {}, but no source is stated", fact.confidence.name());
        let with = release.map(|release| format!(", with `releases: [{release}]`")).unwrap_or_default();
        let hint = format!("add it to {FOLDER}/{}.yaml{with}, or set `confidence: assumed`", record.distro);
        found.push(Diagnostic::error("no-source", text, line(text, origin.line), message).hint(hint));
    }
    finish(found, text, &file)
}

/// Returns the span of a line, counted from 1, without its indentation.
fn line(text: &str, number: usize) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(number.saturating_sub(1)).map(str::len).sum();
    let line = text[start..].lines().next().unwrap_or_default();
    start + line.len() - line.trim_start().len()..start + line.len()
}

/// Whether `fact` of an entry names a subject: by all of its words, or by the component's kind and name.
fn names(fact: &str, subject: &str) -> bool {
    let is_component = || fact.contains(' ') && subject.strip_prefix(fact).is_some_and(|rest| rest.starts_with(' '));
    fact == subject || is_component()
}

/// A fact that somebody has read somewhere.
struct ReadFact<'r> {
    fact: StatedFact,
    /// The release that states the fact; `None` for the record's statements about all releases.
    release: Option<&'r ReleaseVersion>,
}

/// Returns a record's facts that somebody has read somewhere, over all releases and architectures. Facts of a parent
/// distro are in another file, which has sources of its own.
fn read(record: &Record) -> impl Iterator<Item = ReadFact<'_>> {
    let file = record.path.display().to_string();
    let line_of = move |fact: &StatedFact| {
        let is_read = matches!(fact.confidence, Confidence::Documented | Confidence::Packaging);
        let origin = fact.origin.as_ref().filter(|origin| is_read && fact.values.is_some() && origin.file == file);
        origin.map(|origin| origin.line)
    };
    record.releases.iter().flat_map(move |entry| {
        // Computed lazily: counting lines takes time, and few releases of a long record have such a fact.
        let own = OnceCell::new();
        let facts = record.release_arches(entry).iter().flat_map(|arch| record.facts(entry, *arch));
        let read = facts.filter_map(|fact| {
            let line = line_of(&fact)?;
            let own = own.get_or_init(|| lines_of(record, entry));
            let is_its_own = own.as_ref().is_some_and(|lines| lines.contains(&line));
            Some(ReadFact { fact, release: is_its_own.then_some(&entry.version) })
        });
        read.collect::<Vec<_>>()
    })
}

/// Returns the lines of a release's own entry, if that is in the record's own file.
fn lines_of(record: &Record, entry: &ReleaseEntry) -> Option<RangeInclusive<usize>> {
    let source = record.sources.get(entry.source).filter(|source| source.path == record.path)?;
    // White space and comments after the last entry of a list do not belong to it.
    let end = source.text.get(..entry.span.end)?.trim_end().len();
    let line = |at: usize| line_column(&source.text, at).0;
    Some(line(entry.span.start)..=line(end))
}

/// The releases that state them, and their subjects, in words.
fn sourced(record: &Record) -> BTreeSet<(Option<&ReleaseVersion>, String)> {
    read(record).map(|read| (read.release, read.fact.subject.to_string())).collect()
}

fn entries(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<SourcedFacts>> {
    let NodeKind::List(items) = &node.kind else {
        return d.wrong(node, "sources", "a list of maps with `facts` and `from`");
    };
    d.all(items, |d, item| {
        d.fields(item, "a source", &["facts", "releases", "from"])?;
        let facts = d.required(item, "facts").and_then(|n| d.strings(n, "facts"));
        let releases = match item.get("releases") {
            Some(node) => d.versions(node, "releases"),
            None => Some(Vec::new()),
        };
        let from = d.required(item, "from").and_then(|n| d.string(n, "from"));
        Some(SourcedFacts { facts: facts?, releases: releases?, from: from?, span: item.span.clone() })
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
    fn facts_need_a_source_unless_they_are_unknown_or_assumed() {
        let record = Record::parse(Path::new("d.yaml"), RECORD).unwrap();
        let all = ["kernel linux image", "vmm qemu packages", "vmm qemu path", "1: eol"];
        assert_eq!(sources(" []").lacking(&record), all);
        let site = "\n  - {facts: eol, releases: 1, from: the site}";
        let some = sources(&format!("\n  - {{facts: [vmm qemu, fs virtio-fs], from: the spec}}{site}"));
        assert_eq!(some.lacking(&record), ["kernel linux image"]);
        assert_eq!(some.idle(&record), ["fs virtio-fs"], "it is assumed");
        let of = |subject: &str| some.of(subject, None);
        assert_eq!((of("vmm qemu path"), of("vmm qemu-kvm path")), (Some("the spec"), None));
        let of_release = |version: &str| some.of("eol", Some(&version.parse().unwrap()));
        assert_eq!((of_release("1"), of_release("2")), (Some("the site"), None));
    }

    /// A component or release that is added needs a source of its own, even if others have one.
    #[test]
    fn an_added_component_or_release_needs_its_own_source() {
        let entries = "\n  - {facts: [vmm qemu, kernel linux], from: the spec}\n  \
                       - {facts: [eol, vmm qemu], releases: [1], from: the site}";
        let lacking = |text: &str| {
            let found = lint_record(Path::new("d.yaml"), text, Some(&sources(entries)));
            found.iter().map(|one| (one.line, one.message.clone())).collect::<Vec<_>>()
        };
        assert!(lacking(RECORD).is_empty(), "{:?}", lacking(RECORD));
        let vmm = "vmm:\n  - {name: qemu, packages: q, path: /q}\n  - {name: made-up, packages: m, path: /m}\n";
        let made_up = RECORD.replace("vmm: {name: qemu, packages: q, path: /q}\n", vmm);
        let no_source_message = |subject: &str| format!("{subject}: packaging, but no source is stated");
        let both = [no_source_message("vmm made-up packages"), no_source_message("vmm made-up path")];
        assert_eq!(lacking(&made_up), both.map(|message| (7, message)));
        let newer = format!("{RECORD}  - version: 2\n    eol: 2099-01-01\n    vmm: {{name: qemu, path: /q2}}\n");
        assert_eq!(lacking(&newer), [(11, no_source_message("eol")), (12, no_source_message("vmm qemu path"))]);
        // Statements about all releases belong to no release, even after the last one.
        let after = format!("{RECORD}firmware: {{name: ovmf, packages: o}}\n");
        assert_eq!(lacking(&after), [(10, no_source_message("firmware ovmf packages"))]);
        // An entry that names a kind of component, or a release without own statements, is unused.
        let record = Record::parse(Path::new("d.yaml"), RECORD).unwrap();
        let wide = sources("\n  - {facts: [vmm, kernel linux], releases: [1, 2], from: the spec}");
        assert_eq!(wide.idle(&record), ["vmm", "1", "2"]);
        assert_eq!(wide.lacking(&record), ["vmm qemu packages", "vmm qemu path", "1: eol"]);
        let text = "distro: d\nsources:\n  - {facts: eol, releases: [1, 2], from: the site}\n";
        let found = lint(Path::new("sources/d.yaml"), text, Some(&record));
        assert!(found[0].one_line().contains("the release `2` states none of these facts"), "{found:?}");
    }

    #[test]
    fn lint_reports_missing_and_unused_sources_at_their_place() {
        let record = Record::parse(Path::new("d.yaml"), RECORD).unwrap();
        let some = sources("\n  - {facts: [vmm qemu, kernel linux], from: the spec}");
        let only = |found: Vec<Diagnostic>| {
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].one_line()
        };
        let path = Path::new("d.yaml");
        let one = only(lint_record(path, RECORD, Some(&some)));
        assert!(one.starts_with("d.yaml:9:3: eol: packaging, but no source is stated"), "{one}");
        assert!(one.contains("sources/d.yaml, with `releases: [1]`, or set"), "{one}");
        let none = only(lint_record(path, RECORD, None));
        assert!(none.starts_with("d.yaml:1:1: no file states"), "{none}");
        let (file, text) =
            (Path::new("sources/d.yaml"), "distro: d\nsources:\n  - {facts: [vmm qemu, fs virtio-fs], from: x}\n");
        let idle = only(lint(file, text, Some(&record)));
        assert!(
            idle.starts_with("sources/d.yaml:3:") && idle.contains("the record states no `fs virtio-fs`"),
            "{idle}"
        );
        assert!(lint(file, text, None).is_empty());
        let other = text.replace("distro: d", "distro: e").replace(", fs virtio-fs", "");
        assert!(only(lint(file, &other, Some(&record))).contains("is of d, not of e"));
    }

    #[test]
    fn inherited_facts_need_no_source_in_the_derived_distro() {
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
        assert_eq!(of("documented"), (vec!["6: released".to_owned()], vec![1]));
    }

    #[test]
    fn a_sources_file_with_missing_or_unknown_keys_is_refused() {
        let wrong = |text: &str| Sources::parse(Path::new("sources/d.yaml"), text).unwrap_err().to_string();
        assert!(wrong("distro: d\n").contains("`sources` is missing"));
        let error = wrong("distro: d\nsources:\n  - {facts: eol}\n");
        assert!(error.starts_with("sources/d.yaml:3:") && error.contains("`from` is missing"), "{error}");
        assert!(wrong("distro: d\nsources:\n  - {facts: eol, from: x, form: x}\n").contains("`form`"));
        assert!(wrong("distro: d\nsources: eol\n").contains("a list of maps"));
    }
}
