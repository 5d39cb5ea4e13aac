use super::*;
use crate::journal::{Candidate, Event, ProbeAnswer, RunFacts};
use crate::sample::{self, BOOT, QMP, RENAME, cell, fail, judged, recorded, run, skip};
use model::verified::{Basis, VerifiedCapability};
use suites::capability::Capability;
use suites::outcome::{Component, Outcome};

#[test]
fn results_are_written_back_with_their_causes() {
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
    assert_eq!(
        causes[0],
        VerifiedCause::new(Component::Qemu, "no tdx-guest").shown_by("smoke::tdx_guest_exists".parse().unwrap())
    );
    let lacking = &entry.capabilities[&Capability::VmmVsock].causes[0];
    assert_eq!((lacking.component, lacking.test.as_deref()), (None, Some(sample::VSOCK)));
}

/// The reason of a skip may start with the name of a component, which must not be read as blame.
#[test]
fn a_written_skip_blames_no_component_when_read_back() {
    let skipped = judged(&run(|t| (t == BOOT).then(|| skip("kernel: too old"))));
    let (_, entry) = verified_entries(&sample::standings(&skipped)).0.remove(0);
    let text = serde_json::to_string(&entry.capabilities[&Capability::VmmBoot]).unwrap();
    let read: VerifiedCapability = serde_json::from_str(&text).unwrap();
    assert_eq!(read.verdict, Verdict::Untested, "{text}");
    assert!(!read.causes.is_empty() && read.causes.iter().all(|cause| cause.component.is_none()), "{text}");
}

#[test]
fn a_shaped_run_is_marked_in_its_entries_and_in_every_report() {
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
    let pages = crate::views::site::pages(&crate::views::site::of_run(&standings, &[], &tests));
    assert!(pages["index.html"].contains(line));
    assert!(crate::views::json::render(&standings).unwrap().contains("\"shaped\":true"));
    let run_files = crate::views::junit::RunFiles { folder: std::path::Path::new("out"), tail: &|_: &str| None };
    let junit = crate::views::junit::render(&standings, &tests, run_files).unwrap();
    assert!(junit[0].1.contains("<property name=\"shaped\" value=\"true\"/>"), "{junit:?}");
}

#[test]
fn the_same_journal_gives_the_same_entries() {
    let entries = recorded();
    let matrix = judged(&run(|_| None));
    let again = verified_entries(&sample::compared_with_record(&matrix, &entries)).0;
    assert_eq!(again.into_iter().map(|(_, e)| e).collect::<Vec<_>>(), entries);
}

/// A verdict with another day and other versions is not this run's verdict.
#[test]
fn an_unjudged_capability_is_not_written_back() {
    let entries = recorded();
    let error = judged(&run(|t| (t == RENAME).then(|| sample::error("ours"))));
    let (new, withheld) = verified_entries(&sample::compared_with_record(&error, &entries));
    assert_eq!(new.len(), 1, "the rest was judged: {new:?}");
    assert!(!new[0].1.capabilities.contains_key(&Capability::FsVirtioFs), "{new:?}");
    assert!(new[0].1.capabilities.contains_key(&Capability::VmmBoot), "{new:?}");
    let reasons: Vec<&str> = withheld.iter().map(|w| w.reason.as_str()).collect();
    let day = entries[0].tested;
    let expected = format!("go-3.29: fs.virtio-fs could not be judged: the results of {day} stay");
    assert_eq!(reasons, [expected]);
    // Nothing was known about the capability before.
    let (first, withheld) = verified_entries(&sample::standings(&error));
    assert!(!first[0].1.capabilities.contains_key(&Capability::FsVirtioFs));
    assert!(withheld.is_empty(), "{withheld:?}");
}

/// A pass that needed a retry is not written as if it were steady.
#[test]
fn a_pass_after_a_failure_is_written_as_flaky() {
    let written = |first: Outcome| {
        let mut maker = run(|test| (test == QMP).then(|| first.clone()));
        let (end, cell_end) = (maker.journal.entries.pop().unwrap(), maker.journal.entries.pop().unwrap());
        maker.attempt("13", &["go-3.29"], QMP, 2, Outcome::Pass);
        maker.journal.entries.extend([cell_end, end]);
        let matrix = judged(&maker);
        let (entries, _) = verified_entries(&sample::standings(&matrix));
        let is_flaky = |(_, known): &(&Capability, &VerifiedCapability)| known.flaky;
        let flaky = entries[0].1.capabilities.iter().filter(is_flaky);
        flaky.map(|(capability, known)| format!("{capability}: {}", known.words())).collect::<Vec<String>>()
    };
    assert_eq!(written(fail(Component::Qemu, "no reply")), ["vmm.qmp: supported, flaky"]);
    assert!(written(sample::error("the line ended")).is_empty(), "an error shows nothing");
    assert!(recorded().iter().flat_map(|entry| entry.capabilities.values()).all(|known| !known.flaky));
}

/// Prevents a false verdict from the last of several repetitions.
#[test]
fn a_repeated_test_that_did_not_end_alike_each_time_writes_nothing() {
    let fails = || fail(Component::Qemu, "no reply");
    let repeated = |outcomes: &[Outcome], repeat: Option<u32>| {
        let mut maker = run(|test| (test == QMP).then(|| outcomes[0].clone()));
        let (end, cell_end) = (maker.journal.entries.pop().unwrap(), maker.journal.entries.pop().unwrap());
        for (number, outcome) in (2..).zip(&outcomes[1..]) {
            maker.attempt("13", &["go-3.29"], QMP, number, outcome.clone());
        }
        maker.journal.entries.extend([cell_end, end]);
        if let Event::RunStarted { facts, .. } = &mut maker.journal.entries[0].event {
            *facts = Some(RunFacts { repeat, ..RunFacts::default() });
        }
        let matrix = judged(&maker);
        let (entries, withheld) = verified_entries(&sample::standings(&matrix));
        let verdict = entries[0].1.capabilities.get(&Capability::VmmQmp).map(|known| known.verdict);
        (verdict, withheld.into_iter().map(|held| held.reason).collect::<Vec<String>>())
    };
    let minority: Vec<Outcome> = (0..9).map(|_| fails()).chain([Outcome::Pass]).collect();
    let reason = "go-3.29: vmm.qmp not written, because not every time ended alike: smoke::qmp_replies_parse passed";
    assert_eq!(repeated(&minority, Some(10)), (None, vec![format!("{reason} 1 of 10")]));
    let last_failed = [Outcome::Pass, Outcome::Pass, fails()];
    assert_eq!(repeated(&last_failed, Some(3)), (None, vec![format!("{reason} 2 of 3")]), "nor a failure");
    assert_eq!(repeated(&[fails(), fails()], Some(2)), (Some(Verdict::Unsupported), vec![]));
    assert_eq!(repeated(&[Outcome::Pass, Outcome::Pass], Some(2)), (Some(Verdict::Supported), vec![]));
    assert_eq!(repeated(&[fails(), Outcome::Pass], None), (Some(Verdict::Supported), vec![]), "a retry");
    // An attempt in error shows nothing: it does not count as another end, but a few of many are not enough.
    let errors = |count: usize| (0..count).map(|_| sample::error("the line ended"));
    let after = |count, rest: &[Outcome]| errors(count).chain(rest.iter().cloned()).collect::<Vec<Outcome>>();
    for outcome in [Outcome::Pass, fails()] {
        assert_eq!(repeated(&after(9, std::slice::from_ref(&outcome)), Some(10)), (None, vec![]), "{outcome:?}");
    }
    let most = after(1, &[Outcome::Pass, Outcome::Pass]);
    assert_eq!(repeated(&most, Some(3)), (Some(Verdict::Supported), vec![]));
    assert_eq!(
        repeated(&after(1, &[Outcome::Pass]), None),
        (Some(Verdict::Supported), vec![]),
        "a retry after an error"
    );
}

fn filtered(maker: &mut sample::Maker) {
    for entry in &mut maker.journal.entries {
        if let Event::RunStarted { filter, .. } = &mut entry.event {
            *filter = Some("some".to_owned());
        }
    }
}

/// The capabilities that a run writes down, by name.
fn written(entries: &[(DistroId, VerifiedEntry)]) -> Vec<&'static str> {
    entries.iter().flat_map(|(_, entry)| entry.capabilities.keys()).map(|c| c.name()).collect()
}

#[test]
fn a_filtered_run_writes_only_completely_tested_capabilities() {
    let mut maker = sample::Maker::default();
    maker.start(&["go-3.29"], &["13"]);
    filtered(&mut maker);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::CellFacts { cell: cell("13"), facts: sample::facts(Basis::Emulated) });
    maker.done("13", &["go-3.29"], BOOT, Outcome::Pass);
    maker.done("13", &["go-3.29"], sample::VSOCK, skip("the environment has no /dev/vhost-vsock"));
    maker.push(Event::CellFinished { cell: cell("13") });
    maker.push(Event::RunFinished { interrupted: false });
    let matrix = judged(&maker);
    let (entries, withheld) = verified_entries(&sample::standings(&matrix));
    assert_eq!(withheld, []);
    assert_eq!(written(&entries), ["vmm.boot", "vmm.vsock", "kernel.guest"]);
    // A skip does not replace an earlier decision.
    let mut known = recorded();
    known[0].capabilities.insert(Capability::VmmVsock, VerifiedCapability::plain(Verdict::Supported));
    let (entries, _) = verified_entries(&sample::compared_with_record(&matrix, &known));
    assert_eq!(written(&entries), ["vmm.boot", "kernel.guest"]);
}

const KATA: &str = "containers::kata::exit_codes_come_back";

/// A run whose catalogue has a test under Kata, with the Kata of the evidence and what took the place of virtiofsd.
fn under_kata(kata: Option<&str>, brought: Option<&str>) -> Vec<(DistroId, VerifiedEntry)> {
    let outcome = if kata.is_some() { Outcome::Pass } else { skip("no Kata was given") };
    verified_entries(&sample::standings(&matrix_under_kata(kata, brought, outcome))).0
}

/// Returns the matrix of such a run in which the test under Kata has this outcome.
fn matrix_under_kata(kata: Option<&str>, brought: Option<&str>, outcome: Outcome) -> Matrix {
    let mut maker = run(|_| None);
    for entry in &mut maker.journal.entries {
        if let Event::CellFacts { facts, .. } = &mut entry.event {
            facts.environment.extend(kata.map(|kata| ("kata-go-3.29".to_owned(), ProbeAnswer::Words(kata.to_owned()))));
            facts.candidates.extend(brought.map(|what| (Component::Virtiofsd, Candidate::File(what.to_owned()))));
        }
    }
    let end = maker.journal.entries.split_off(maker.journal.entries.len() - 2);
    maker.done("13", &["go-3.29"], KATA, outcome);
    maker.journal.entries.extend(end);
    let mut catalogue = sample::catalogue();
    catalogue.push(sample::test(KATA, &[Capability::KataSmoke], Component::Qemu, &[], &[]));
    crate::matrix::matrix(&maker.journal, &catalogue, &sample::profiles())
}

#[test]
fn kata_results_have_an_entry_with_version_and_brought_components() {
    let own = under_kata(Some("3.30.0 (Go, sha256 0123)"), None);
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own[0].1.kata.is_none() && !own[0].1.capabilities.contains_key(&Capability::KataSmoke));
    let kata = own[1].1.kata.as_ref().unwrap();
    assert_eq!((kata.version.to_string().as_str(), kata.runtime), ("3.30.0", Runtime::Go));
    assert_eq!(own[1].1.capabilities, [(Capability::KataSmoke, VerifiedCapability::plain(Verdict::Supported))].into());
    // Results with a brought component are not about the distro.
    let with = under_kata(Some("3.30.0 (Go)"), Some("1.13.3"));
    assert_eq!(written(&with), ["kata.smoke"]);
    let entry = &with[0].1;
    assert_eq!(entry.kata.as_ref().unwrap().brought, [(Component::Virtiofsd, "1.13.3".to_owned())].into());
    assert_eq!(entry.capabilities[&Capability::KataSmoke].verdict, Verdict::Partial);
    assert!(under_kata(None, Some("1.13.3")).is_empty());
    let without = under_kata(None, None);
    assert_eq!(without.len(), 1);
    assert_eq!(without[0].1.capabilities[&Capability::KataSmoke].verdict, Verdict::Untested);
}

/// A run without Kata does not ask for Kata's own results.
#[test]
fn a_run_without_kata_is_not_worse_than_recorded_kata_results() {
    let mut known = recorded();
    known[0].capabilities.insert(Capability::KataSmoke, VerifiedCapability::plain(Verdict::Supported));
    let effect = |kata: Option<&str>| {
        let matrix = matrix_under_kata(kata, None, skip("it could not run"));
        sample::compared_with_record(&matrix, &known).effect().exit_code()
    };
    assert_eq!(effect(None), 0);
    // A run with Kata that skips the test has lost the result.
    assert_eq!(effect(Some("3.30.0 (Go)")), 3);
}

#[test]
fn candidate_unfinished_and_broken_runs_write_nothing() {
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
        "not finished",
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
