//! Agreement of all outputs: all of them explain the exit code alike.

use crate::journal::Event;
use crate::matrix::Matrix;
use crate::sample::{self, TDX, compared_with_record, fail, judged, recorded, run};
use crate::standing::{Recorded, Standings};
use crate::views::{json, junit, markdown, site, terminal};
use model::known_issues::KnownIssuesFile;
use model::package_manager::PackageManager;
use model::verified::{Verdict, VerifiedCapability, VerifiedEntry};
use std::path::Path;
use suites::capability::Capability;
use suites::outcome::Component;

/// Returns the text of each output, on one line, without markup and escapes.
fn outputs(standings: &Standings<'_>) -> Vec<(&'static str, String)> {
    let catalogue = sample::catalogue();
    let run_files = junit::RunFiles { folder: Path::new("out"), tail: &|_: &str| None };
    let junit = junit::render(standings, &catalogue, run_files).unwrap();
    let all = [
        ("terminal", terminal::terminal(standings, 60, false)),
        ("coloured terminal", terminal::terminal(standings, 200, true)),
        ("Markdown", markdown::render(standings)),
        ("HTML", pages(standings)),
        ("JUnit", junit.into_iter().map(|(_, text)| text).collect()),
        ("JSON", json::render(standings).unwrap()),
    ];
    all.map(|(output, text)| (output, plain(&text))).into()
}

/// Returns the first page and those of the cells.
fn pages(standings: &Standings<'_>) -> String {
    let mut all = site::pages(&site::of_run(standings, &[], &sample::catalogue()));
    let first = all.remove("index.html").unwrap();
    all.into_iter().filter(|(path, _)| path.starts_with("pages/cell/")).fold(first, |pages, (_, page)| pages + &page)
}

/// Reduces an output to words: brackets of tags, escapes and line breaks are removed. Attributes are kept, because
/// JUnit has many texts in them.
fn plain(text: &str) -> String {
    let text = crate::redact::without_controls(text, usize::MAX / 8).replace('→', "to").replace(['<', '>'], " ");
    let words = text.replace(['\\', '`', '*'], "");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run_and_changed_record() -> (Matrix, Vec<VerifiedEntry>) {
    let mut entries = recorded();
    let tdx = VerifiedCapability::plain(Verdict::Supported);
    entries[0].capabilities.insert(Capability::VmmTdx, tdx);
    entries[0].versions.insert("virtiofsd".parse().unwrap(), "1.0-1".parse().unwrap());
    (judged(&run(|_| None)), entries)
}

/// A record that calls a failing capability supported makes the exit code 1: each output shows what is worse, since
/// when, by which test, and which packages have changed.
#[test]
fn every_output_explains_a_failure_that_is_recorded_as_supported() {
    let (matrix, entries) = run_and_changed_record();
    let standings = compared_with_record(&matrix, &entries);
    assert_eq!(standings.effect().exit_code(), 1);
    let day = entries[0].tested.to_string();
    for (output, text) in outputs(&standings) {
        let has = |words: &str| assert!(text.contains(words), "{output} does not say {words:?}: {text}");
        has("vmm.tdx");
        has(TDX);
        has("no tdx-guest");
        has(&day);
        has("virtiofsd");
        if output == "JSON" {
            has("\"change\":\"new-failure\"");
            has("\"was\":\"supported\"");
            has("\"is\":\"unsupported\"");
            has("\"then\":\"1.0-1\",\"now\":\"1.13.2-1\"");
            has("\"exit-code\":1,\"exit-reasons\":[\"new failure (1)\"]");
        } else {
            if output != "JUnit" {
                has("Exit code 1: new failure (1).");
            }
            has("new failure");
            has("was supported");
            has("is unsupported");
            has("1.0-1 to 1.13.2-1");
        }
    }
}

/// Changes come first: before the answers, the tables and the causes.
#[test]
fn every_output_shows_changes_first() {
    let (matrix, entries) = run_and_changed_record();
    for (output, text) in outputs(&compared_with_record(&matrix, &entries)) {
        let change = text.find("new failure").or_else(|| text.find("new-failure")).unwrap();
        // These words belong to columns, verdicts and causes of other things.
        let later = ["fs.virtio-blk", "virtio-fs", "kernel.guest"].map(|word| text.find(word).unwrap_or(usize::MAX));
        assert!(later.iter().all(|at| change < *at), "{output}: {text}");
    }
}

/// Compared with its own record, a run has no changes, and no output shows any.
#[test]
fn no_output_shows_a_change_in_an_unchanged_run() {
    let entries = recorded();
    let matrix = judged(&run(|_| None));
    for (output, text) in outputs(&compared_with_record(&matrix, &entries)) {
        assert!(!text.contains("new failure") && !text.contains("new-failure"), "{output}: {text}");
    }
}

/// A capability that is unsupported, as recorded, has the recorded day.
#[test]
fn every_output_shows_the_day_of_a_recorded_verdict() {
    let mut entries = recorded();
    entries[0].tested = jiff::civil::date(2026, 1, 31);
    let matrix = judged(&run(|_| None));
    for (output, text) in outputs(&compared_with_record(&matrix, &entries)) {
        let words = match output {
            "JSON" => r#""recorded":"unsupported","since":"2026-01-31""#,
            "JUnit" => r#"name="recorded.vmm.tdx" value="2026-01-31""#,
            _ => "vmm.tdx, as recorded on 2026-01-31",
        };
        assert!(text.contains(words), "{output} does not say {words:?}: {text}");
    }
}

/// An expected failure is shown as such, with the address of its report; so is a known issue that is itself at fault.
#[test]
fn every_output_shows_known_issues() {
    let text = "distro: debian
known-issues:
  - {id: no-disk, test: 'filesystem::virtio_blk::rename_is_atomic', package: virtiofsd, versions: all,
     url: 'https://bugs.example/1', owner: somebody, expires: 2027-01-31}
  - {id: long-mended, test: 'smoke::guest_boots', package: virtiofsd, versions: all,
     url: 'https://bugs.example/2', owner: somebody, expires: 2027-01-31}
";
    let file = KnownIssuesFile::parse(Path::new("debian.yaml"), text).unwrap();
    let matrix = judged(&run(|t| (t == sample::BLK).then(|| fail(Component::Kernel, "no disk"))));
    let recorded = Recorded::default().knowing(&sample::DEBIAN, PackageManager::Apt, &file.issues);
    let standings = Standings::new(&matrix, recorded, false);
    assert_eq!(standings.effect().exit_code(), 1);
    for (output, text) in outputs(&standings) {
        for words in ["no-disk", "https://bugs.example/1", "long-mended", "https://bugs.example/2"] {
            assert!(text.contains(words), "{output} does not say {words:?}: {text}");
        }
        let words = if output == "JSON" { "unexpected-pass" } else { "its test passes in debian:13" };
        assert!(text.contains(words), "{output} does not say {words:?}: {text}");
    }
}

/// Every reader of a report, and not only the person who merged, sees the results that a merge left out of a cell.
#[test]
fn every_output_shows_merge_conflicts() {
    let of = |id: &str, hour: i64, virtiofsd: &str| {
        let mut maker = run(|_| None);
        for entry in &mut maker.journal.entries {
            entry.at += jiff::SignedDuration::from_hours(hour);
            match &mut entry.event {
                Event::RunStarted { run, .. } => *run = id.to_owned(),
                Event::CellFacts { facts, .. } => {
                    facts.versions.insert("virtiofsd".parse().unwrap(), virtiofsd.parse().unwrap());
                }
                _ => {}
            }
        }
        maker.journal
    };
    let merged = crate::merge::merge(&[of("a", 0, "1.0-1"), of("b", 5, "2.0-1")]);
    assert_eq!(merged.conflicts.len(), 1);
    let again = crate::merge::merge(std::slice::from_ref(&merged.journal));
    assert_eq!(again, merged, "what is merged again has them, too");
    let matrix = crate::matrix::matrix(&again.journal, &sample::catalogue(), &sample::profiles());
    for (output, text) in outputs(&sample::standings(&matrix)) {
        let words = "run a does not count, because run b ended later and differs: virtiofsd 1.0-1 and 2.0-1";
        assert!(text.contains(words), "{output}: {text}");
    }
}

#[test]
fn every_output_answers_whether_kata_can_run() {
    let matrix = judged(&run(|t| (t == sample::BLK).then(|| fail(Component::Kernel, "no disk"))));
    for (output, text) in outputs(&sample::standings(&matrix)) {
        assert!(text.contains("no: blk (kernel); not known: vsock"), "{output}: {text}");
    }
}

/// Only what people read leaves out what the run was not asked for.
#[test]
fn every_page_for_people_counts_what_a_filter_left_out() {
    let outcomes = [(sample::INSTALL, suites::outcome::Outcome::Pass)];
    let matrix = judged(&sample::asked("packages_install", &outcomes));
    for (output, text) in outputs(&sample::standings(&matrix)) {
        let is_counted = text.contains("11 capabilities were not chosen (--test)");
        assert_eq!(is_counted, !["JUnit", "JSON"].contains(&output), "{output}: {text}");
        let lists = text.contains(r#""why":"never ran""#);
        assert_eq!(lists, output == "JSON", "{output}: {text}");
    }
}
