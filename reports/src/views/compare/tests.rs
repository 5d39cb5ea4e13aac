use super::*;
use crate::journal::Event;
use crate::matrix::matrix;
use crate::sample::{self, BLK, BOOT, DAEMON, INSTALL, Maker, QMP, RENAME, TDX, VSOCK, cell, facts, fail, skip};
use crate::views::record::verified_entries;
use model::verified::{Basis, VerifiedCapability};
use suites::outcome::{Component, Outcome};

fn judgement(verdict: Verdict, unrun: usize) -> Judgement {
    Judgement {
        verdict,
        causes: vec![],
        reasons: vec![],
        workaround: None,
        flaky: vec![],
        basis: None,
        required: 2,
        passed: 0,
        unrun,
    }
}

/// A whole run of release 13 under one profile; `change` may alter an outcome.
fn run(change: impl Fn(&str) -> Option<Outcome>) -> Maker {
    let mut maker = Maker::default();
    maker.start(&["go-3.29"], &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Emulated) });
    for test in [INSTALL, BOOT, QMP, sample::HOTPLUG, DAEMON, RENAME, BLK, sample::POSIX] {
        maker.done("13", &["go-3.29"], test, change(test).unwrap_or(Outcome::Pass));
    }
    maker.done("13", &["go-3.29"], VSOCK, skip("the environment has no /dev/vhost-vsock"));
    maker.done("13", &["go-3.29"], TDX, fail(Component::Qemu, "no tdx-guest"));
    maker.push(Event::CellFinished { cell: cell("13") });
    maker.push(Event::RunFinished { interrupted: false });
    maker
}

fn judged(maker: &Maker) -> Matrix {
    matrix(&maker.journal, &sample::catalogue(), &sample::profiles())
}

fn recorded() -> Vec<VerifiedEntry> {
    verified_entries(&judged(&run(|_| None)), |_, _| None).0.into_iter().map(|(_, e)| e).collect()
}

#[test]
fn the_whole_table_of_changes() {
    use Verdict::{Inconclusive, NotApplicable, Offered, Partial, Supported, Unsupported, Untested};
    let of = |old, new| change(old, &judgement(new, 0), false);
    for new in [Supported, Partial, Unsupported, NotApplicable, Untested] {
        assert_eq!(of(None, new), VerdictChange::Same, "a first record is never worse: {new}");
    }
    assert_eq!(of(None, Inconclusive), VerdictChange::Unjudged);
    let rows = [
        (
            Supported,
            [
                VerdictChange::Same,
                VerdictChange::Worse,
                VerdictChange::Worse,
                VerdictChange::Unjudged,
                VerdictChange::Unjudged,
            ],
        ),
        (
            Partial,
            [
                VerdictChange::Better,
                VerdictChange::Same,
                VerdictChange::Worse,
                VerdictChange::Unjudged,
                VerdictChange::Unjudged,
            ],
        ),
        (
            Unsupported,
            [
                VerdictChange::Better,
                VerdictChange::Better,
                VerdictChange::Same,
                VerdictChange::Same,
                VerdictChange::Unjudged,
            ],
        ),
        (
            Untested,
            [
                VerdictChange::Better,
                VerdictChange::Same,
                VerdictChange::Same,
                VerdictChange::Same,
                VerdictChange::Unjudged,
            ],
        ),
        (
            NotApplicable,
            [
                VerdictChange::Better,
                VerdictChange::Same,
                VerdictChange::Same,
                VerdictChange::Same,
                VerdictChange::Unjudged,
            ],
        ),
    ];
    for (old, changes) in rows {
        for (new, expected) in [Supported, Partial, Unsupported, Untested, Inconclusive].into_iter().zip(changes) {
            assert_eq!(of(Some(old), new), expected, "{old} → {new}");
        }
    }
    assert_eq!(of(Some(Offered), Supported), VerdictChange::Better);
    assert_eq!(of(Some(Offered), Unsupported), VerdictChange::Worse);
    assert_eq!(of(Some(Unsupported), Offered), VerdictChange::Better);
    assert_eq!(of(Some(Supported), Offered), VerdictChange::Worse);
    assert_eq!(of(Some(Offered), Offered), VerdictChange::Same);
    assert_eq!(of(Some(Offered), Untested), VerdictChange::Unjudged);
    assert_eq!(change(Some(Supported), &judgement(Untested, 1), true), VerdictChange::Same, "not asked for");
    assert_eq!(change(Some(Supported), &judgement(Unsupported, 1), true), VerdictChange::Worse, "asked for and failed");
}

#[test]
fn a_run_against_its_own_record_is_as_recorded() {
    let entries = recorded();
    let matrix = judged(&run(|_| None));
    assert_eq!(summary(&matrix, false, |c, p| entry_of(&entries, c, p)).exit_code(), 0);
    assert_eq!(summary(&matrix, true, |c, p| entry_of(&entries, c, p)).exit_code(), 0, "what is lacking is optional");
    assert_eq!(summary(&matrix, false, |_, _| None).exit_code(), 0);
}

#[test]
fn a_new_failure_is_worse_and_an_error_could_not_be_judged() {
    let entries = recorded();
    let old = |c: &CellReport, p: &str| entry_of(&entries, c, p);
    let worse = judged(&run(|t| (t == RENAME).then(|| fail(Component::Virtiofsd, "x"))));
    assert_eq!(summary(&worse, false, old).exit_code(), 1);
    assert_eq!(summary(&worse, false, |_, _| None).exit_code(), 0, "a first record is never worse");
    assert_eq!(summary(&worse, true, |_, _| None).exit_code(), 1, "but strict asks for more");
    let error = judged(&run(|t| (t == RENAME).then(|| sample::error("ours"))));
    assert_eq!(summary(&error, false, old).exit_code(), 3);
    assert_eq!(summary(&error, false, |_, _| None).exit_code(), 3);
    let both = judged(&run(|t| match t {
        RENAME => Some(sample::error("ours")),
        BOOT => Some(fail(Component::Qemu, "x")),
        _ => None,
    }));
    assert_eq!(summary(&both, false, old).exit_code(), 1);
}

#[test]
fn a_run_without_an_end_is_never_as_recorded() {
    let mut maker = run(|_| None);
    maker.journal.entries.pop();
    assert_eq!(summary(&judged(&maker), false, |_, _| None).exit_code(), 3);
}

#[test]
fn vsock_is_optional_only_where_the_environment_lacks_it() {
    let skipped = judgement(Verdict::Untested, 0);
    let never_ran = judgement(Verdict::Untested, 1);
    assert!(is_optional(Capability::VmmVsock, &skipped));
    assert!(!is_optional(Capability::VmmVsock, &never_ran));
    assert!(!is_optional(Capability::VmmVsock, &judgement(Verdict::Unsupported, 0)));
    assert!(is_lacking(Capability::FsVirtioFs, &skipped));
    assert!(!is_lacking(Capability::FsVirtio9p, &judgement(Verdict::NotApplicable, 0)));
}

#[test]
fn what_is_written_back() {
    let entries = recorded();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(
        (entry.release.as_str(), entry.profile.as_str(), entry.environment.name()),
        ("13", "go-3.29", "container")
    );
    assert_eq!(entry.basis, Basis::Emulated);
    let verdict = |c: Capability| entry.capabilities.get(&c).map(|c| c.verdict);
    assert_eq!(verdict(Capability::FsVirtioFs), Some(Verdict::Supported));
    assert_eq!(verdict(Capability::VmmVsock), Some(Verdict::Untested));
    assert_eq!(verdict(Capability::FsVirtio9p), Some(Verdict::NotApplicable));
    assert_eq!(verdict(Capability::KataSmoke), None, "nobody tests it");
    let causes = &entry.capabilities[&Capability::VmmTdx].causes;
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].to_string(), "qemu: no tdx-guest (smoke::tdx_guest_exists)");
    assert_eq!(causes[0].blames(), Some(Component::Qemu));
}

/// What a test was skipped for is said in words, which may begin as if somebody was to blame.
#[test]
fn what_was_skipped_blames_nobody_when_it_is_read_again() {
    let skipped = judged(&run(|t| (t == BOOT).then(|| skip("kernel: too old"))));
    let (_, entry) = verified_entries(&skipped, |_, _| None).0.remove(0);
    let text = serde_json::to_string(&entry.capabilities[&Capability::VmmBoot]).unwrap();
    let read: VerifiedCapability = serde_json::from_str(&text).unwrap();
    assert_eq!(read.verdict, Verdict::Untested, "{text}");
    assert!(!read.causes.is_empty() && read.causes.iter().all(|cause| cause.blames().is_none()), "{text}");
}

#[test]
fn what_a_shaped_run_writes_says_so_and_so_does_every_report() {
    let mut maker = run(|_| None);
    for entry in &mut maker.journal.entries {
        if let Event::RunStarted { shaped, .. } = &mut entry.event {
            *shaped = true;
        }
    }
    let matrix = judged(&maker);
    let (entries, withheld) = verified_entries(&matrix, |_, _| None);
    assert_eq!(withheld, []);
    assert!(!entries.is_empty() && entries.iter().all(|(_, entry)| entry.shaped));
    assert!(recorded().iter().all(|entry| !entry.shaped));
    let (tests, line) = (sample::catalogue(), "The run is shaped: ");
    assert!(crate::views::markdown::render(&matrix).contains(line));
    assert!(crate::views::html::render(&matrix, &tests).contains(line));
    assert!(crate::views::json::render(&matrix).unwrap().contains("\"shaped\":true"));
    let junit = crate::views::junit::render(&matrix, &tests).unwrap();
    assert!(junit.contains("<property name=\"shaped\" value=\"true\"/>"), "{junit}");
}

#[test]
fn the_same_journal_gives_the_same_entries() {
    let entries = recorded();
    let again = verified_entries(&judged(&run(|_| None)), |c, p| entry_of(&entries, c, p)).0;
    assert_eq!(again.into_iter().map(|(_, e)| e).collect::<Vec<_>>(), entries);
}

/// A verdict of another day and of other versions is no verdict of this run.
#[test]
fn what_could_not_be_judged_keeps_the_old_entry_and_never_its_word_under_a_new_date() {
    let entries = recorded();
    let error = judged(&run(|t| (t == RENAME).then(|| sample::error("ours"))));
    let (new, withheld) = verified_entries(&error, |c, p| entry_of(&entries, c, p));
    assert!(new.iter().all(|(_, e)| !e.capabilities.contains_key(&Capability::FsVirtioFs)), "{new:?}");
    let told: Vec<&str> = withheld.iter().map(|w| w.reason.as_str()).collect();
    assert!(
        !told.is_empty() && told.iter().all(|t| t.contains("fs.virtio-fs could not be judged, as on ")),
        "{told:?}"
    );
    assert_eq!(new.len() + told.len(), entries.len());
    // Nothing was known of it before.
    let (first, withheld) = verified_entries(&error, |_, _| None);
    assert!(!first[0].1.capabilities.contains_key(&Capability::FsVirtioFs));
    assert!(withheld.is_empty(), "{withheld:?}");
    // What is worse must not wait for it.
    let mut better = recorded();
    for entry in &mut better {
        for capability in entry.capabilities.values_mut().filter(|c| c.verdict == Verdict::Unsupported) {
            *capability = VerifiedCapability::plain(Verdict::Supported);
        }
        if let Some(other) = entry.capabilities.get_mut(&Capability::FsVirtioBlk) {
            *other = VerifiedCapability::plain(Verdict::Supported);
        }
    }
    let fails = judged(&run(|t| match t {
        RENAME => Some(sample::error("ours")),
        BLK => Some(fail(Component::Qemu, "it lies")),
        _ => None,
    }));
    let (new, _) = verified_entries(&fails, |c, p| entry_of(&better, c, p));
    let worse = new.iter().find(|(_, e)| e.capabilities.values().any(|c| c.verdict == Verdict::Unsupported));
    assert!(worse.is_some_and(|(_, e)| !e.capabilities.contains_key(&Capability::FsVirtioFs)), "{new:?}");
}

#[test]
fn filtered_candidate_unfinished_and_broken_runs_write_nothing() {
    let change = |f: &dyn Fn(&mut Event)| {
        let mut maker = run(|_| None);
        maker.journal.entries.iter_mut().for_each(|e| f(&mut e.event));
        verified_entries(&judged(&maker), |_, _| None)
    };
    let nothing = |f: &dyn Fn(&mut Event), why: &str| {
        let (entries, withheld) = change(f);
        assert!(entries.is_empty());
        assert!(withheld[0].reason.contains(why), "{withheld:?}");
    };
    nothing(
        &|e| {
            if let Event::RunStarted { filter, .. } = e {
                *filter = Some("rename".to_owned())
            }
        },
        "filtered: rename",
    );
    nothing(
        &|e| {
            if let Event::RunStarted { candidate, .. } = e {
                *candidate = true
            }
        },
        "candidate",
    );
    nothing(
        &|e| {
            if let Event::RunFinished { interrupted } = e {
                *interrupted = true
            }
        },
        "interrupted",
    );
    nothing(
        &|e| {
            if matches!(e, Event::RunFinished { .. }) {
                *e = Event::CellStarted { cell: cell("12") }
            }
        },
        "no end",
    );
    nothing(
        &|e| {
            if let Event::CellStarted { cell } = e {
                *e = Event::CellError {
                    cell: cell.clone(),
                    phase: crate::journal::Phase::Image,
                    message: "disk full".to_owned(),
                };
            }
        },
        "image: disk full",
    );
    assert_eq!(change(&|_| {}).0.len(), 1, "and the run itself is fine");
}
