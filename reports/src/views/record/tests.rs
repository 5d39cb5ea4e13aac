use super::*;
use crate::journal::Event;
use crate::sample::{self, BLK, BOOT, RENAME, cell, fail, judged, recorded, run, skip};
use model::verified::{Basis, VerifiedCapability};
use suites::capability::Capability;
use suites::outcome::Component;

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
    let (_, entry) = verified_entries(&sample::standings(&skipped)).0.remove(0);
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
    let standings = sample::standings(&matrix);
    let (entries, withheld) = verified_entries(&standings);
    assert_eq!(withheld, []);
    assert!(!entries.is_empty() && entries.iter().all(|(_, entry)| entry.shaped));
    assert!(recorded().iter().all(|entry| !entry.shaped));
    let (tests, line) = (sample::catalogue(), "The run is shaped: ");
    assert!(crate::views::markdown::render(&standings).contains(line));
    assert!(crate::views::html::render(&standings, &tests).contains(line));
    assert!(crate::views::json::render(&standings).unwrap().contains("\"shaped\":true"));
    let left = crate::views::junit::Left { folder: std::path::Path::new("out"), tail: &|_: &str| None };
    let junit = crate::views::junit::render(&standings, &tests, left).unwrap();
    assert!(junit[0].1.contains("<property name=\"shaped\" value=\"true\"/>"), "{junit:?}");
}

#[test]
fn the_same_journal_gives_the_same_entries() {
    let entries = recorded();
    let matrix = judged(&run(|_| None));
    let again = verified_entries(&sample::beside(&matrix, &entries)).0;
    assert_eq!(again.into_iter().map(|(_, e)| e).collect::<Vec<_>>(), entries);
}

/// A verdict of another day and of other versions is no verdict of this run.
#[test]
fn what_could_not_be_judged_keeps_the_old_entry_and_never_its_word_under_a_new_date() {
    let entries = recorded();
    let error = judged(&run(|t| (t == RENAME).then(|| sample::error("ours"))));
    let (new, withheld) = verified_entries(&sample::beside(&error, &entries));
    assert!(new.iter().all(|(_, e)| !e.capabilities.contains_key(&Capability::FsVirtioFs)), "{new:?}");
    let told: Vec<&str> = withheld.iter().map(|w| w.reason.as_str()).collect();
    assert!(
        !told.is_empty() && told.iter().all(|t| t.contains("fs.virtio-fs could not be judged, as on ")),
        "{told:?}"
    );
    assert_eq!(new.len() + told.len(), entries.len());
    // Nothing was known of it before.
    let (first, withheld) = verified_entries(&sample::standings(&error));
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
    let (new, _) = verified_entries(&sample::beside(&fails, &better));
    let worse = new.iter().find(|(_, e)| e.capabilities.values().any(|c| c.verdict == Verdict::Unsupported));
    assert!(worse.is_some_and(|(_, e)| !e.capabilities.contains_key(&Capability::FsVirtioFs)), "{new:?}");
}

#[test]
fn filtered_candidate_unfinished_and_broken_runs_write_nothing() {
    let change = |f: &dyn Fn(&mut Event)| {
        let mut maker = run(|_| None);
        maker.journal.entries.iter_mut().for_each(|e| f(&mut e.event));
        verified_entries(&sample::standings(&judged(&maker)))
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
