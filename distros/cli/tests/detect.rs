//! Systems by their os-release, and the records and releases that they match.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use model::arch::Arch;
use model::database::Database;
use model::lint::{FileForm, lint_as};
use model::record::Confidence;
use operator::detect::{Detection, detect, own_record};
use root::Root;
use std::path::Path;

struct Section {
    name: String,
    expected: String,
    /// Paths in the root and their text.
    files: Vec<(String, String)>,
    /// Facts of the release's record: subject and value.
    facts: Vec<(String, String)>,
}

impl Section {
    /// Creates the system's root.
    fn root(&self) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a root");
        for (path, text) in &self.files {
            let file = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        let root = Root::new(dir.path()).expect("a root");
        (dir, root)
    }
}

/// Parses the sections of a fixture; the head of `fixtures/os-release.txt` describes the format.
fn sections(fixture: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in fixture.lines().filter(|l| !l.starts_with('#')) {
        if let Some(head) = line.strip_prefix("== ") {
            let parts: Vec<&str> = head.split(" | ").collect();
            let [name, source, expected] = parts[..] else { panic!("{head}") };
            assert!(!source.is_empty());
            let files = vec![("/etc/os-release".to_owned(), String::new())];
            sections.push(Section { name: name.into(), expected: expected.into(), files, facts: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(fact) = line.strip_prefix("? ") {
            let (subject, value) = fact.split_once(" = ").expect("a subject and a value");
            section.facts.push((subject.to_owned(), value.to_owned()));
            continue;
        }
        let (path, text) = match line.strip_prefix('@') {
            Some(rest) => rest.split_once(' ').expect("a path and a text"),
            None => ("/etc/os-release", line),
        };
        match section.files.iter_mut().find(|(p, _)| p == path) {
            Some((_, all)) => *all += &format!("{text}\n"),
            None => section.files.push((path.into(), format!("{text}\n"))),
        }
    }
    sections
}

fn answer(detection: &Detection) -> String {
    let Some(distro) = &detection.distro else { return "- -".to_owned() };
    let word = |value: Option<serde_json::Value>| value.and_then(|v| v.as_str().map(str::to_owned));
    let by = word(detection.by.map(|b| serde_json::to_value(b).expect("JSON"))).expect("found somehow");
    let Some(fit) = word(detection.fit.map(|f| serde_json::to_value(f).expect("JSON"))) else {
        return format!("{distro} - {by}");
    };
    let versions: Vec<&str> = detection.releases.iter().map(|r| r.version.as_str()).collect();
    format!("{distro}:{} {fit} {by}", versions.join(","))
}

#[test]
fn each_os_release_fixture_matches_its_expected_release() {
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let database = Database::only(&[records]).expect("the fixtures' records");
    assert!(database.problems().is_empty(), "{:?}", database.problems());
    let sections = sections(include_str!("fixtures/os-release.txt"));
    assert!(sections.len() >= 40, "{}", sections.len());
    let mut wrong = Vec::new();
    for section in &sections {
        let (_dir, root) = section.root();
        let answer = answer(&detect(&root, &database).expect("readable"));
        if answer != section.expected {
            wrong.push(format!("{}: expected {}, got {answer}", section.name, section.expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns the value of a fact in the record of a detected system, if the record states it.
fn fact_value(database: &Database, found: &Detection, subject: &str) -> Option<String> {
    let target = found.releases.first()?;
    let record = database.record(&target.distro).expect("the record");
    let entry = record.require_release(&target.version).expect("the release");
    if subject == "package manager" {
        return Some(record.manager_of(entry).to_string());
    }
    let facts = record.facts(entry, Arch::X86_64);
    let fact = facts.into_iter().find(|fact| fact.subject.to_string() == subject)?;
    Some(fact.value().unwrap_or_else(|| "unknown".to_owned()))
}

/// With the shipped records: a borrowed record is named, and a system unlike its relative is refused with the reason.
#[test]
fn each_system_fixture_gets_its_expected_answer_from_shipped_records() {
    let database = Database::embedded();
    let mut wrong = Vec::new();
    let mut facts = 0;
    for section in sections(include_str!("fixtures/systems.txt")) {
        let (_dir, root) = section.root();
        let found = detect(&root, &database).expect("readable");
        let answer = match (&found.refused, &found.borrowed) {
            (Some(why), _) => why.clone(),
            (None, Some(borrowed)) => format!("{}, {borrowed}", answer(&found)),
            (None, None) => answer(&found),
        };
        if answer != section.expected {
            wrong.push(format!("{}: expected {}, got {answer}", section.name, section.expected));
        }
        for (subject, expected) in &section.facts {
            let value = fact_value(&database, &found, subject);
            if value.as_ref() != Some(expected) {
                wrong.push(format!("{}: {subject}: expected {expected}, got {value:?}", section.name));
            }
        }
        facts += section.facts.len();
        let json = serde_json::to_value(&found).expect("JSON");
        assert_eq!(json["borrowed"].as_str(), found.borrowed.as_deref(), "{}", section.name);
        assert_eq!(json["derivative"]["name"].is_string(), found.derivative.is_some(), "{}", section.name);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(facts > 20, "{facts} facts were asked for");
}

/// Writing the record that the hint suggests makes the system known.
#[test]
fn the_record_suggested_by_a_hint_makes_the_system_known() {
    let embedded = Database::embedded();
    let mut followed = Vec::new();
    let fixtures = [include_str!("fixtures/os-release.txt"), include_str!("fixtures/systems.txt")];
    for section in fixtures.iter().flat_map(|fixture| sections(fixture)) {
        let (dir, root) = section.root();
        let found = detect(&root, &embedded).expect("readable");
        if !found.releases.is_empty() || found.refused.is_some() {
            continue;
        }
        let own = own_record(&root, &embedded, &found).expect(&section.name);
        let folder = dir.path().join("etc/kata-osinfo");
        std::fs::create_dir(&folder).expect("made");
        let text = own.lines.join("\n") + "\n";
        std::fs::write(folder.join(&own.file), &text).expect("written");
        let findings = lint_as(Path::new(&own.file), &text, FileForm::Layer);
        assert!(findings.is_empty(), "{}: {findings:?}", section.name);
        let database = Database::of_system(&root, &[]).expect("records");
        assert!(database.problems().is_empty(), "{}: {:?}", section.name, database.problems());
        let found = detect(&root, &database).expect("readable");
        assert_eq!(found.releases.len(), 1, "{}: {text}", section.name);
        // Inherited facts are only assumed.
        let target = &found.releases[0];
        let record = database.record(&target.distro).expect("the record");
        let entry = record.require_release(&target.version).expect("the release");
        for fact in Arch::ALL.iter().flat_map(|arch| record.facts(entry, *arch)) {
            assert_eq!(fact.confidence, Confidence::Assumed, "{}: {}", section.name, fact.subject);
        }
        if section.name == "alinux-3" {
            assert_eq!(entry.derives_from.as_deref(), Some("8"), "{text}");
        }
        followed.push(section.name);
    }
    // Releases of a known distro, of a distro with the same packages, of a relative, and of nothing that is known; and
    // names that YAML reads as something else.
    for kind in ["sles-12.5", "bazzite-40", "kali-2019.4", "void", "alinux-3", "null", "4mlinux"] {
        assert!(followed.iter().any(|name| name == kind), "{kind} is known by now: {followed:?}");
    }
}

#[test]
fn hostile_roots_are_answered_or_refused_without_hanging() {
    let database = Database::embedded();
    let with = |make: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().expect("a root");
        std::fs::create_dir_all(dir.path().join("etc/apt/sources.list.d")).expect("made");
        std::fs::create_dir_all(dir.path().join("usr/lib")).expect("made");
        make(dir.path());
        let root = Root::new(dir.path()).expect("a root");
        detect(&root, &database).map(|d| answer(&d)).map_err(|e| e.to_string())
    };
    let fifo = |path: &Path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    };
    let error = with(&|root| fifo(&root.join("etc/os-release"))).expect_err("a pipe");
    assert!(error.contains("not a regular file"), "{error}");
    let error = with(&|root| {
        let file = std::fs::File::create(root.join("etc/os-release")).expect("made");
        file.set_len(100 << 20).expect("100 MiB");
    })
    .expect_err("100 MiB");
    assert!(error.contains("more than 65536 bytes"), "{error}");
    let error = with(&|root| std::os::unix::fs::symlink("os-release", root.join("etc/os-release")).expect("a loop"))
        .expect_err("a loop");
    assert!(error.contains("symbolic links"), "{error}");
    assert!(with(&|_| ()).expect_err("nothing there").contains("os-release"));
    // An absolute link is resolved inside the root, and the machine's own file is not read.
    let absolute = with(&|root| {
        std::os::unix::fs::symlink("/usr/lib/os-release", root.join("etc/os-release")).expect("a link");
        std::fs::write(root.join("usr/lib/os-release"), "ID=debian\nVERSION_ID=11\n").expect("written");
    });
    assert_eq!(absolute.as_deref(), Ok("debian:11 exact id"));
    let junk = with(&|root| std::fs::write(root.join("etc/os-release"), [0xff, 0, b'=', 1, 0xfe]).expect("written"));
    assert_eq!(junk.as_deref(), Ok("- -"));
    let rolling = "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nID=debian\n";
    let error = with(&|root| {
        std::fs::write(root.join("etc/os-release"), rolling).expect("written");
        fifo(&root.join("etc/apt/sources.list.d/x.list"));
    })
    .expect_err("a pipe among the sources");
    assert!(error.contains("x.list"), "{error}");
}
