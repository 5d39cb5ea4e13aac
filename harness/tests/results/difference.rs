//! `diff` against the record gives the same answer as `report`, whatever was recorded and however the run ended.

use crate::generated_run::{GeneratedRun, PROFILE, journal, run_command, write_run};
use reports::journal::{Event, FILE, JournalEntry, Phase, RunFilter};
use std::fs;
use std::path::Path;
use suites::catalogue;
use suites::outcome::{Component, Failure, Outcome};

const CELL: &str = "ubuntu:24.04/x86_64/container";
const RENAME: &str = "filesystem::virtio_fs::rename_is_atomic";
const FAILS: &str = " fs.virtio-fs:\n        verdict: unsupported";
const SHOWN: &str = " fs.virtio-fs: supported";
const DAY: i64 = 24 * 60 * 60;

/// A journal.
struct Events(Vec<JournalEntry>);

/// A run and the record with which it is compared.
struct Case {
    name: &'static str,
    /// Change of the journal of a run in which the whole catalogue passes.
    run: fn(&mut Events),
    /// Whether the record is that of a run in which the test fails.
    is_recorded_as_failing: bool,
    /// Text in the record and its replacement.
    record: (&'static str, &'static str),
    /// Whether the failure is a known issue.
    is_known: bool,
    code: i32,
}

/// A run that agrees with the record.
const SAME: Case =
    Case { name: "same", run: |_| (), is_recorded_as_failing: false, record: ("", ""), is_known: false, code: 0 };

const CASES: &[Case] = &[
    SAME,
    Case { name: "new failure", run: fails_rename, code: 1, ..SAME },
    Case { name: "known issue", run: fails_rename, is_known: true, ..SAME },
    Case { name: "known issue at fault", is_known: true, code: 1, ..SAME },
    Case { name: "as recorded", run: fails_rename, is_recorded_as_failing: true, ..SAME },
    Case { name: "fixed", is_recorded_as_failing: true, ..SAME },
    Case { name: "another cause", run: fails_otherwise, is_recorded_as_failing: true, code: 1, ..SAME },
    Case { name: "brought", run: adds_virtiofsd_component, ..SAME },
    Case { name: "untested before", run: fails_rename, record: (SHOWN, " fs.virtio-fs: untested"), ..SAME },
    Case { name: "inconclusive before", run: fails_rename, record: (SHOWN, " fs.virtio-fs: inconclusive"), ..SAME },
    Case { name: "not recorded", run: fails_rename, record: ("      fs.virtio-fs: supported\n", ""), ..SAME },
    Case { name: "inapplicable", record: ("kata.smoke: not-applicable", "kata.smoke: supported"), code: 3, ..SAME },
    Case { name: "in error", run: ends_in_error, code: 3, ..SAME },
    Case { name: "skipped", run: skips, code: 3, ..SAME },
    Case { name: "filtered", run: |all| filter(all, "rename_is_atomic"), ..SAME },
    Case { name: "filtered and killed", run: filtered_and_killed, code: 3, ..SAME },
    Case { name: "killed", run: is_killed, code: 3, ..SAME },
    Case { name: "interrupted", run: is_interrupted, code: 130, ..SAME },
    Case { name: "lost", run: is_lost, code: 3, ..SAME },
    Case { name: "unknown profile", run: has_a_strange_profile, code: 3, ..SAME },
    Case { name: "strict", run: is_strict_and_fails, is_recorded_as_failing: true, code: 1, ..SAME },
];

#[test]
fn diff_against_the_record_has_the_exit_code_of_report() {
    let dir = tempfile::tempdir().unwrap();
    let today = jiff::Timestamp::now().as_second();
    let recorded = |name: &str, change: fn(&mut Events)| {
        write_whole_run(dir.path(), name, today - 3 * DAY, change);
        let records = format!("records-of-{name}");
        fs::create_dir_all(dir.path().join(&records).join("verified")).unwrap();
        let written = run_command(dir.path(), &["write-back", name, "--records", &records]);
        assert_eq!(written.code, Some(0), "{}", written.stderr);
        fs::read_to_string(dir.path().join(&records).join("verified/ubuntu.yaml")).unwrap()
    };
    let (passing, failing) = (recorded("passing", |_| ()), recorded("failing", fails_rename));
    assert!(passing.contains(SHOWN) && failing.contains(FAILS), "{passing}{failing}");
    for (number, case) in CASES.iter().enumerate() {
        let (run, records) = (format!("run-{number}"), format!("records-{number}"));
        write_whole_run(dir.path(), &run, today - 2 * DAY, case.run);
        let of = |folder: &str| dir.path().join(&records).join(folder);
        fs::create_dir_all(of("verified")).unwrap();
        let text = if case.is_recorded_as_failing { &failing } else { &passing };
        let (from, to) = case.record;
        assert!(text.contains(from), "{}: {text}", case.name);
        let text = if from.is_empty() { text.clone() } else { text.replace(from, to) };
        fs::write(of("verified").join("ubuntu.yaml"), text).unwrap();
        if case.is_known {
            fs::create_dir_all(of("known-issues")).unwrap();
            let issue = format!(
                "distro: ubuntu\nknown-issues:\n  - {{id: lost, test: '{RENAME}', package: virtiofsd, versions: all, \
                 url: 'https://bugs.example/1', owner: somebody, expires: 2100-01-01}}\n"
            );
            fs::write(of("known-issues").join("ubuntu.yaml"), issue).unwrap();
        }
        let report = run_command(dir.path(), &["report", &run, "--records", &records]);
        let diff = run_command(dir.path(), &["diff", &run, "--records", &records]);
        let outputs = format!("{}: {}{}{}{}", case.name, report.stdout, report.stderr, diff.stdout, diff.stderr);
        assert_eq!((report.code, diff.code), (Some(case.code), Some(case.code)), "{outputs}");
        // `diff` prints the reason for the exit code.
        let reasons = ["  worse ", "  lacking ", "  new: ", "  unjudged ", "\nNot judged:", "its test passes"];
        assert_eq!(reasons.iter().any(|words| diff.stdout.contains(words)), case.code != 0, "{outputs}");
    }
}

/// Two runs of a profile that this version does not know have nothing that it could compare, and neither has one with
/// the record.
#[test]
fn an_unknown_profile_is_named_beside_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let today = jiff::Timestamp::now().as_second();
    for run in ["strange", "stranger"] {
        write_whole_run(dir.path(), run, today, has_only_a_strange_profile);
    }
    let said = "profile \"go-3.92\", known are go-2.2, go-2.3, ";
    let hint = "\nhint: compare it with the kata-qualify that made this run, or with a newer one";
    for runs in [&["strange"][..], &["strange", "stranger"]] {
        let refused = run_command(dir.path(), &[&["diff"][..], runs].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
        for run in runs {
            assert!(refused.stderr.contains(&format!("\n{run}: unknown {said}")), "{}", refused.stderr);
        }
        assert!(refused.stderr.contains("; did you mean \"go-3.29\"?"), "{}", refused.stderr);
        assert_eq!(refused.stderr.matches(hint).count(), runs.len(), "{}", refused.stderr);
    }
    // A run whose profiles are known has another reason.
    let cell = GeneratedRun { run: "elsewhere", cell: "debian:13/x86_64/container", ..GeneratedRun::default() };
    write_run(&dir.path().join("elsewhere"), &cell);
    write_whole_run(dir.path(), "here", today, |_| ());
    let refused = run_command(dir.path(), &["diff", "here", "elsewhere"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing to compare") && !refused.stderr.contains("unknown"), "{}", refused.stderr);
}

/// Writes the directory of a run of the whole catalogue in which everything passes, with its journal changed by
/// `change`.
fn write_whole_run(dir: &Path, run: &str, second: i64, change: fn(&mut Events)) {
    let folder = dir.join(run);
    // The clock of generated runs starts at this second.
    write_run(&folder, &GeneratedRun { run, cell: CELL, at: second - 1_790_000_000, ..GeneratedRun::default() });
    let entries = journal(&folder).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut events = Events(entries);
    events.0.retain(|entry| !matches!(entry.event, Event::TestStarted { .. } | Event::TestFinished { .. }));
    let end = events.0.iter().position(|entry| matches!(entry.event, Event::CellFinished { .. })).unwrap();
    let at = events.0[end].at;
    let passed = catalogue::tests().iter().filter(|test| test.applies_to(PROFILE)).map(|test| JournalEntry {
        at,
        event: Event::TestFinished {
            cell: CELL.parse().unwrap(),
            profiles: vec![PROFILE.parse().unwrap()],
            test: test.id.clone(),
            attempt: 1,
            machine: 0,
            guests: Vec::new(),
            outcome: Outcome::Pass,
            millis: 7,
            notes: Vec::new(),
            artifacts: Vec::new(),
        },
    });
    drop(events.0.splice(end..end, passed));
    change(&mut events);
    let lines: String = events.0.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
    fs::write(folder.join(FILE), lines).unwrap();
}

/// Replaces the test's outcome.
fn set_outcome(events: &mut Events, new_outcome: &Outcome) {
    for entry in &mut events.0 {
        if let Event::TestFinished { test, outcome, .. } = &mut entry.event
            && *test == RENAME
        {
            *outcome = new_outcome.clone();
        }
    }
}

fn fails_rename(events: &mut Events) {
    set_outcome(events, &Outcome::Fail(Failure::new(Component::Virtiofsd, "lost both names")));
}

fn fails_otherwise(events: &mut Events) {
    set_outcome(events, &Outcome::Fail(Failure::new(Component::Virtiofsd, "unknown option")));
}

fn ends_in_error(events: &mut Events) {
    set_outcome(events, &Outcome::Error { message: "the line ended".to_owned() });
}

fn skips(events: &mut Events) {
    set_outcome(events, &Outcome::Skip { reason: "no room".to_owned() });
}

fn adds_virtiofsd_component(events: &mut Events) {
    for entry in &mut events.0 {
        if let Event::CellFacts { facts, .. } = &mut entry.event {
            facts.candidates.insert(Component::Virtiofsd, "mine".to_owned().into());
        }
    }
}

fn filter(events: &mut Events, text: &str) {
    events.0.retain(|entry| match &entry.event {
        Event::TestFinished { test, .. } => test.contains(text),
        _ => true,
    });
    if let Event::RunStarted { filter, facts: Some(facts), .. } = &mut events.0[0].event {
        *filter = Some(text.to_owned());
        facts.filter = Some(RunFilter::Matching(text.to_owned()));
    }
}

/// Kills the run before the only selected test.
fn filtered_and_killed(events: &mut Events) {
    filter(events, "rename_is_atomic");
    is_killed(events);
    events.0.retain(|entry| !matches!(entry.event, Event::TestFinished { .. }));
}

fn is_killed(events: &mut Events) {
    events.0.truncate(events.0.len() - 2);
}

fn is_interrupted(events: &mut Events) {
    for entry in &mut events.0 {
        if let Event::RunFinished { interrupted } = &mut entry.event {
            *interrupted = true;
        }
    }
}

fn is_lost(events: &mut Events) {
    events.0.retain(|entry| !matches!(entry.event, Event::CellFacts { .. } | Event::TestFinished { .. }));
    for entry in &mut events.0 {
        if let Event::PhaseStarted { cell, .. } = &entry.event {
            let (cell, message) = (cell.clone(), "no mirror answers".to_owned());
            entry.event = Event::CellError { cell, phase: Phase::Image, message };
        }
    }
}

fn has_a_strange_profile(events: &mut Events) {
    if let Event::RunStarted { profiles, .. } = &mut events.0[0].event {
        profiles.push("go-9.9".parse().unwrap());
    }
}

fn has_only_a_strange_profile(events: &mut Events) {
    for entry in &mut events.0 {
        if let Event::RunStarted { profiles, .. } | Event::TestFinished { profiles, .. } = &mut entry.event {
            *profiles = vec!["go-3.92".parse().unwrap()];
        }
    }
}

fn is_strict_and_fails(events: &mut Events) {
    fails_rename(events);
    if let Event::RunStarted { facts: Some(facts), .. } = &mut events.0[0].event {
        facts.strict = true;
    }
}
