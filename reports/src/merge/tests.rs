use super::*;
use crate::journal::{Accelerator, RunFacts, RunFilter};
use crate::run::{Run, RunEnding};
use crate::sample::{BOOT, INSTALL, Maker, QMP, answers_of_hardware, cell, facts, fail};
use suites::outcome::Outcome;

/// Returns a run of one cell that began this many hours after the others, with these outcomes.
fn run(id: &str, hour: i64, release: &str, tests: &[(&str, u32, Outcome)]) -> Journal {
    let mut maker = Maker::default();
    maker.start(&["a"], &[release]);
    maker.push(Event::CellStarted { cell: cell(release) });
    maker.push(Event::CellFacts { cell: cell(release), facts: facts(Basis::Emulated) });
    for (test, attempt, outcome) in tests {
        maker.attempt(release, &["a"], test, *attempt, outcome.clone());
    }
    maker.push(Event::CellFinished { cell: cell(release) });
    maker.push(Event::RunFinished { interrupted: false });
    let mut journal = maker.journal;
    changed(&mut journal, |event| {
        if let Event::RunStarted { run, .. } = event {
            *run = id.to_owned();
        }
    });
    for entry in &mut journal.entries {
        entry.at += jiff::SignedDuration::from_hours(hour);
    }
    journal
}

fn changed(journal: &mut Journal, mut change: impl FnMut(&mut Event)) {
    journal.entries.iter_mut().for_each(|entry| change(&mut entry.event));
}

fn cut(journal: &Journal, entries: usize) -> Journal {
    Journal { entries: journal.entries[..entries].to_vec(), cut: true }
}

fn outcomes(run: &Run, release: &str, test: &str) -> Vec<&'static str> {
    let instances = &run.cells[&cell(release)].instances;
    instances.iter().filter(|i| i.test == test).flat_map(|i| &i.attempts).map(|a| a.outcome.name()).collect()
}

#[test]
fn shards_merge_into_the_same_run_in_any_order_and_repeatedly() {
    let a = run("a", 1, "13", &[(BOOT, 1, Outcome::Pass)]);
    let b = run("b", 0, "12", &[(BOOT, 1, fail(Component::Qemu, "x"))]);
    let merged = merge(&[a.clone(), b.clone()]);
    assert_eq!(merged.conflicts, Vec::<String>::new());
    assert_eq!(runs(&merged.journal), ["b", "a"], "the earlier first");
    for again in [
        merge(&[b.clone(), a.clone()]),
        merge(&[a.clone(), b.clone(), a.clone()]),
        merge(std::slice::from_ref(&merged.journal)),
        merge(&[merged.journal.clone(), a, b]),
    ] {
        assert_eq!(again, merged);
    }
    let run = fold(&merged.journal);
    assert_eq!(run.ending, RunEnding::Finished);
    assert_eq!(run.order, [cell("12"), cell("13")]);
    assert_eq!((outcomes(&run, "13", BOOT), outcomes(&run, "12", BOOT)), (vec!["pass"], vec!["fail"]));
    assert!(run.id.starts_with("merged-"), "{}", run.id);
}

#[test]
fn a_killed_shard_is_kept_and_the_merged_run_counts_as_killed() {
    let a = run("a", 1, "13", &[(BOOT, 1, Outcome::Pass)]);
    let b = run("b", 0, "12", &[(INSTALL, 1, Outcome::Pass), (BOOT, 1, Outcome::Pass)]);
    // The cut is in the second test.
    let killed = cut(&b, 6);
    let merged = fold(&merge(&[a.clone(), killed.clone()]).journal);
    assert_eq!(merged.ending, RunEnding::Killed, "whichever comes last");
    assert_eq!((outcomes(&merged, "12", INSTALL), outcomes(&merged, "12", BOOT)), (vec!["pass"], vec!["error"]));
    // A copy that got further replaces it, and no attempt counts twice.
    let whole = merge(&[killed, a.clone(), b.clone()]);
    assert_eq!(whole, merge(&[a, b]));
    assert_eq!(outcomes(&fold(&whole.journal), "12", INSTALL), ["pass"]);
}

#[test]
fn attempts_of_a_rerun_follow_those_of_its_run() {
    let tests =
        [(BOOT, 1, fail(Component::Qemu, "x")), (BOOT, 2, fail(Component::Qemu, "x")), (INSTALL, 1, Outcome::Pass)];
    let first = run("a", 0, "13", &tests);
    let mut rerun = run("b", 5, "13", &[(BOOT, 1, Outcome::Pass)]);
    changed(&mut rerun, |event| {
        if let Event::RunStarted { filter, planned, .. } = event {
            *filter = Some("rerun of a".to_owned());
            planned.values_mut().for_each(|tests| *tests = 1);
        }
    });
    let merged = merge(&[rerun.clone(), first.clone()]);
    assert_eq!(merged.conflicts, Vec::<String>::new());
    let run = fold(&merged.journal);
    assert_eq!(outcomes(&run, "13", BOOT), ["fail", "fail", "pass"]);
    assert_eq!(outcomes(&run, "13", INSTALL), ["pass"]);
    assert_eq!(run.filter, None, "both together are of all tests");
    assert_eq!(run.provenance.planned[&cell("13")], 11);
    assert_eq!(fold(&rerun).filter, Some(RunFilter::RerunOf("a".to_owned())));
    // A run of tests whose names contain this text is no rerun.
    changed(&mut rerun, |event| {
        if let Event::RunStarted { facts, .. } = event {
            let filter = Some(RunFilter::Matching("rerun of a".to_owned()));
            *facts = Some(RunFacts { filter, ..RunFacts::default() });
        }
    });
    assert_eq!(fold(&rerun).filter, Some(RunFilter::Matching("rerun of a".to_owned())));
    // Each run numbers its guests from 1; in the merged run each guest has a unique number.
    let guests: Vec<Vec<u32>> =
        run.cells[&cell("13")].instances.iter().flat_map(|i| &i.attempts).map(|a| a.guests.clone()).collect();
    assert_eq!(guests, [vec![1], vec![1], vec![2], vec![1]]);
}

/// Returns the journal of a run that asked for tests with a text in their ids.
fn asking(mut journal: Journal, text: &str) -> Journal {
    changed(&mut journal, |event| {
        if let Event::RunStarted { filter, .. } = event {
            *filter = Some(text.to_owned());
        }
    });
    journal
}

/// Tests that the complete run did not run are missing, whatever else another run asked for.
#[test]
fn a_filtered_run_does_not_make_the_merged_run_filtered() {
    let matching = |text: &str| Some(RunFilter::Matching(text.to_owned()));
    let whole = run("a", 0, "13", &[(BOOT, 1, Outcome::Pass)]);
    let few = |release: &str| asking(run("b", 5, release, &[(INSTALL, 1, Outcome::Pass)]), "install");
    let folded = |journals: &[Journal]| fold(&merge(journals).journal);
    // All tests of the same cell were asked for; of another cell, those of its own run.
    let same = folded(&[whole.clone(), few("13")]);
    assert_eq!((&same.filter, &same.cells[&cell("13")].filter), (&None, &None));
    let apart = folded(&[whole, few("12")]);
    assert_eq!((&apart.filter, &apart.cells[&cell("13")].filter), (&None, &None));
    assert_eq!(apart.cells[&cell("12")].filter, matching("install"));
    // A rerun has the filter of its run.
    let some = asking(run("c", 0, "13", &[(BOOT, 1, Outcome::Pass)]), "smoke::");
    let again = asking(run("d", 5, "13", &[(BOOT, 1, Outcome::Pass)]), "rerun of c");
    let both = folded(&[some, again]);
    assert_eq!((&both.filter, &both.cells[&cell("13")].filter), (&matching("smoke::"), &matching("smoke::")));
}

#[test]
fn of_two_runs_with_different_packages_the_later_counts() {
    let old = run("a", 0, "13", &[(BOOT, 1, fail(Component::Qemu, "x")), (QMP, 1, Outcome::Pass)]);
    let mut new = run("b", 5, "13", &[(BOOT, 1, Outcome::Pass)]);
    changed(&mut new, |event| {
        if let Event::CellFacts { facts, .. } = event {
            facts.versions.insert("virtiofsd".parse().unwrap(), "2.0-1".parse().unwrap());
        }
    });
    let merged = merge(&[old.clone(), new.clone()]);
    assert_eq!(
        merged.conflicts,
        ["debian:13/x86_64/container: run a does not count, because run b ended later and differs: \
          virtiofsd 1.13.2-1 and 2.0-1"]
    );
    let run = fold(&merged.journal);
    assert_eq!((outcomes(&run, "13", BOOT), outcomes(&run, "13", QMP)), (vec!["pass"], vec![]));
    assert_eq!(merge(&[merged.journal.clone(), old, new]), merged);
}

/// What was planned and judged by other tests does not add up, whichever commit it is of.
#[test]
fn runs_of_different_tests_are_not_mixed_and_those_of_different_commits_are() {
    let of = |id: &str, hour, tests: &str, built_from: &str| {
        let mut run = run(id, hour, "13", &[(BOOT, 1, Outcome::Pass)]);
        changed(&mut run, |event| {
            if let Event::RunStarted { catalogue, commit, .. } = event {
                (*catalogue, *commit) = (tests.to_owned(), built_from.to_owned());
            }
        });
        run
    };
    let old = of("a", 0, "0123", "c0");
    let conflicts = |other: Journal| merge(&[old.clone(), other]).conflicts;
    assert_eq!(conflicts(of("b", 5, "0123", "c1")), Vec::<String>::new());
    let why = "debian:13/x86_64/container: run a does not count, because run b ended later and differs: ";
    let named = |words: &str| vec![format!("{why}{words}")];
    assert_eq!(conflicts(of("b", 5, "4567", "c0")), named("sets of tests 0123 and 4567"));
    assert_eq!(conflicts(of("b", 5, "", "c1")), named("sets of tests 0123 and unknown, commits c0 and c1"));
    let merged = merge(&[old.clone(), of("b", 5, "4567", "c1")]);
    assert_eq!(outcomes(&fold(&merged.journal), "13", BOOT), ["pass"]);
}

/// Hardware is not mixed with emulation, nor packages under a caller's keys with the distro's own.
#[test]
fn incompatible_runs_are_not_mixed_and_a_shaped_run_stays_shaped() {
    type Change = fn(&mut Event);
    let table: [(Change, &str); 3] = [
        (
            |event| {
                if let Event::CellFacts { facts, .. } = event {
                    (facts.basis, facts.accelerator) = (Basis::Hardware, Accelerator::Kvm);
                    facts.environment.extend(answers_of_hardware());
                }
            },
            "emulated and hardware",
        ),
        (
            |event| {
                if let Event::RunStarted { shaped, .. } = event {
                    *shaped = true;
                }
            },
            "who vouches for packages",
        ),
        (
            |event| {
                if let Event::RunStarted { candidate, .. } = event {
                    *candidate = true;
                }
            },
            "candidates",
        ),
    ];
    for (change, why) in table {
        let one = run("a", 0, "13", &[(BOOT, 1, Outcome::Pass)]);
        let mut other = run("b", 5, "13", &[(BOOT, 1, Outcome::Pass)]);
        changed(&mut other, change);
        let merged = merge(&[one.clone(), other.clone()]);
        assert!(merged.conflicts.len() == 1 && merged.conflicts[0].ends_with(why), "{:?}", merged.conflicts);
        let run = fold(&merged.journal);
        assert_eq!(outcomes(&run, "13", BOOT), ["pass"]);
        let (one, other) = (fold(&one), fold(&other));
        assert_eq!((run.shaped, run.candidate), (one.shaped || other.shaped, one.candidate || other.candidate));
    }
    // Hardware that is only claimed does not count, and is no conflict.
    let one = run("a", 0, "13", &[(BOOT, 1, Outcome::Pass)]);
    let mut other = run("b", 5, "13", &[(BOOT, 1, Outcome::Pass)]);
    changed(&mut other, |event| {
        if let Event::CellFacts { facts, .. } = event {
            facts.basis = Basis::Hardware;
        }
    });
    assert_eq!(merge(&[one, other]).conflicts, Vec::<String>::new());
    // A shaped run of another cell also marks the merged run: it must not pass for the distro's own.
    let plain = run("a", 0, "12", &[(BOOT, 1, Outcome::Pass)]);
    let mut shaped = run("b", 5, "13", &[(BOOT, 1, Outcome::Pass)]);
    changed(&mut shaped, table[1].0);
    assert!(fold(&merge(&[shaped, plain]).journal).shaped);
}

#[test]
fn a_cell_that_one_run_could_not_start_has_the_other_runs_results() {
    let good = run("a", 0, "13", &[(BOOT, 1, Outcome::Pass)]);
    let mut maker = Maker::default();
    maker.start(&["a"], &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    let (phase, message) = (crate::journal::Phase::Image, "no mirror answers".to_owned());
    maker.push(Event::CellError { cell: cell("13"), phase, message });
    maker.push(Event::CellFinished { cell: cell("13") });
    let mut bad = maker.journal;
    for entry in &mut bad.entries {
        entry.at += jiff::SignedDuration::from_hours(9);
    }
    let merged = merge(&[good, bad]);
    assert_eq!(merged.conflicts, Vec::<String>::new());
    let run = fold(&merged.journal);
    assert!(run.cells[&cell("13")].errors.is_empty());
    assert_eq!(outcomes(&run, "13", BOOT), ["pass"]);
}

/// A shard that was resumed on two nodes from the same copy gives a conflict.
#[test]
fn copies_of_a_run_that_differ_in_an_attempt_are_a_conflict() {
    let one = run("a", 0, "13", &[(INSTALL, 1, Outcome::Pass), (BOOT, 1, Outcome::Pass)]);
    let mut other = one.clone();
    changed(&mut other, |event| {
        if let Event::TestFinished { test, outcome, .. } = event
            && test == BOOT
        {
            *outcome = fail(Component::Qemu, "x");
        }
    });
    other.entries.truncate(other.entries.len() - 1);
    let merged = merge(&[other.clone(), one.clone()]);
    assert_eq!(merged.conflicts.len(), 1);
    assert!(merged.conflicts[0].contains("two copies of run a differ in attempt 1"), "{:?}", merged.conflicts);
    let run = fold(&merged.journal);
    assert_eq!((outcomes(&run, "13", BOOT), outcomes(&run, "13", INSTALL)), (vec!["pass"], vec!["pass"]));
    assert_eq!(merge(&[one, other]), merged);
}

#[test]
fn each_file_has_its_run_in_its_path_once() {
    for (run, file, placed) in [
        ("19a-7", "artifacts/x/g1/serial.log", "runs/19a-7/artifacts/x/g1/serial.log"),
        ("19a-7", "runs/19a-7/images/x.json", "runs/19a-7/images/x.json"),
        ("19a-7", "runsome/x", "runs/19a-7/runsome/x"),
    ] {
        assert_eq!(place(run, file), placed);
    }
    for odd in ["", "..", "../../etc", "a/b", "a b", &"x".repeat(65)] {
        let folder = folder_of(odd);
        assert!(folder.starts_with("run-") && !folder.contains(['/', '.']), "{odd}: {folder}");
    }
    let merged = merge(&[run("a", 0, "13", &[(BOOT, 1, Outcome::Pass)])]);
    let files = merged.journal.entries.iter().find_map(|entry| match &entry.event {
        Event::TestFinished { artifacts, .. } => Some(artifacts.clone()),
        _ => None,
    });
    assert_eq!(files, Some(vec!["runs/a/13/1/serial.log".to_owned()]));
    let manifest = merged.journal.entries.iter().find_map(|entry| match &entry.event {
        Event::CellFacts { facts, .. } => facts.image_manifest.clone(),
        _ => None,
    });
    assert_eq!(manifest.as_deref(), Some("runs/a/images/debian-13.json"));
}

#[test]
fn a_journal_without_some_cells_has_no_trace_of_them() {
    let both = merge(&[run("a", 0, "12", &[(BOOT, 1, Outcome::Pass)]), run("b", 5, "13", &[(BOOT, 1, Outcome::Pass)])]);
    let less = without_cells(&both.journal, &[cell("12")].into());
    let folded = fold(&less);
    assert_eq!(folded.order, [cell("13")]);
    assert_eq!(folded.cells.keys().collect::<Vec<_>>(), [&cell("13")]);
    assert!(!folded.provenance.planned.contains_key(&cell("12")));
    assert_eq!(outcomes(&folded, "13", BOOT), ["pass"]);
    assert_eq!(folded.ending, RunEnding::Finished);
}

#[test]
fn merging_without_any_run_gives_an_empty_result() {
    assert_eq!(merge(&[]), Merged::default());
    // Events before the first run belong to none.
    let mut maker = Maker::default();
    maker.push(Event::CellStarted { cell: cell("13") });
    assert_eq!(merge(&[maker.journal]), Merged::default());
}
