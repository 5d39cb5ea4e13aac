use super::*;
use crate::journal::{Candidate, Event, RunFacts, RunFilter};
use crate::sample::{BOOT, INSTALL, Maker, POSIX, cell, error, fail, journal, profile_names, strings};
use model::package::{PackageName, PackageVersion};
use model::verified::Basis;
use suites::outcome::Component;

fn attempts<'a>(run: &'a Run, release: &str, test: &str) -> Vec<&'a Outcome> {
    let cell = &run.cells[&cell(release)];
    cell.instances.iter().filter(|i| i.test == test).flat_map(|i| &i.attempts).map(|a| &a.outcome).collect()
}

#[test]
fn a_test_without_an_end_counts_as_killed() {
    let run = fold(&journal());
    assert_eq!(run.ending, RunEnding::Killed);
    assert_eq!(attempts(&run, "sid", BOOT), [&error("the run was killed during this test")]);
    assert!(!run.cells[&cell("sid")].complete);
    assert!(run.cells[&cell("13")].complete);
}

#[test]
fn results_after_a_resume_replace_those_that_were_killed() {
    let mut maker = Maker { journal: journal() };
    maker.start(&["go-3.2", "go-3.29", "rs-4.0"], &["sid", "testing"]);
    maker.push(Event::CellStarted { cell: cell("sid") });
    maker.done("sid", &["go-3.2", "go-3.29", "rs-4.0"], BOOT, Outcome::Pass);
    maker.push(Event::CellFinished { cell: cell("sid") });
    maker.push(Event::CellStarted { cell: cell("testing") });
    maker.push(Event::CellFinished { cell: cell("testing") });
    maker.push(Event::RunFinished { interrupted: false });
    let run = fold(&maker.journal);
    assert_eq!(run.ending, RunEnding::Finished);
    assert_eq!(attempts(&run, "sid", BOOT), [&Outcome::Pass]);
    assert_eq!(attempts(&run, "sid", INSTALL), [&Outcome::Pass], "from before the kill");
    assert!(run.cells[&cell("testing")].errors.is_empty());
}

#[test]
fn a_shared_result_is_one_instance_whatever_the_order_of_its_profiles() {
    let mut maker = Maker::default();
    maker.start(&["a", "b"], &["13"]);
    maker.attempt("13", &["a", "b"], BOOT, 1, fail(Component::Qemu, "x"));
    maker.attempt("13", &["b", "a"], BOOT, 2, Outcome::Pass);
    let run = fold(&maker.journal);
    let instances = &run.cells[&cell("13")].instances;
    assert_eq!(instances.len(), 1);
    assert_eq!(instances[0].profiles, profile_names(&["a", "b"]));
    assert_eq!(instances[0].attempts.len(), 2);
}

#[test]
fn mirrors_and_terminal_escapes_are_removed() {
    let run = format!("{:?}", fold(&journal()));
    assert!(!run.contains("mirror.example"), "{run}");
    assert!(!run.contains("user:pass"), "{run}");
    assert!(!run.contains("\\u{1b}") && !run.contains("\\0"), "{run}");
    assert!(run.contains("http://<mirror>/debian") && run.contains("Could not resolve '<mirror>'"), "{run}");
}

#[test]
fn mirrors_and_terminal_escapes_are_removed_from_candidates() {
    let mut facts = crate::sample::facts(Basis::Hardware);
    facts.candidates.insert(Component::Qemu, "http://user:pass@mirror.example/qemu \u{1b}[1m".to_owned().into());
    let mut maker = Maker::default();
    maker.push(Event::CellFacts { cell: cell("13"), facts });
    let run = fold(&maker.journal);
    let candidates = format!("{:?}", run.cells[&cell("13")].facts.as_ref().unwrap().candidates);
    for secret in ["mirror.example", "pass", "\\u{1b}"] {
        assert!(!candidates.contains(secret), "{candidates}");
    }
    assert!(candidates.contains("<mirror>/qemu"), "{candidates}");
}

#[test]
fn signatures_are_computed_and_never_taken_from_the_journal() {
    let old = r#"{"outcome":"fail","message":"no q35 for 3 guests","blames":"qemu"}"#;
    let mut false_failure = suites::outcome::Failure::new(Component::Qemu, "no q35 for 4 guests");
    false_failure.signature = "qemu: all is well".to_owned();
    for outcome in [serde_json::from_str(old).unwrap(), Outcome::Fail(false_failure)] {
        let mut maker = Maker::default();
        maker.done("13", &["go-3.29"], BOOT, outcome);
        let run = fold(&maker.journal);
        let found = attempts(&run, "13", BOOT);
        let [Outcome::Fail(failure)] = found[..] else { panic!("{run:?}") };
        assert_eq!(failure.signature, "qemu: no q35 for N guests");
    }
}

#[test]
fn versions_are_not_altered_by_redaction() {
    let mut maker = Maker::default();
    let mut facts = crate::sample::facts(Basis::Hardware);
    facts.notes.push("http://10.0.2+ds/".to_owned());
    facts.notes.push("see http://10.0.2/ and http://6.12.41/".to_owned());
    maker.push(Event::CellFacts { cell: cell("13"), facts: facts.clone() });
    let run = fold(&maker.journal);
    let found = run.cells[&cell("13")].facts.as_ref().unwrap();
    assert_eq!(found.versions, facts.versions);
    assert_eq!(found.kernel, facts.kernel);
}

#[test]
fn later_facts_add_to_earlier_ones_and_emulation_sticks() {
    let mut maker = Maker::default();
    let mut more = crate::sample::facts(Basis::Hardware);
    let (package, version) = ("linux-image".parse::<PackageName>(), "6.12".parse::<PackageVersion>());
    more.versions = [(package.unwrap(), version.unwrap())].into();
    more.kernel = None;
    maker.push(Event::CellFacts { cell: cell("13"), facts: crate::sample::facts(Basis::Emulated) });
    maker.push(Event::CellFacts { cell: cell("13"), facts: more });
    let run = fold(&maker.journal);
    let facts = run.cells[&cell("13")].facts.as_ref().unwrap();
    assert_eq!(facts.basis, Basis::Emulated);
    assert_eq!(facts.versions.len(), 3);
    assert!(facts.kernel.is_some());
}

/// A journal that claims hardware and contradicts itself anywhere counts as emulated.
#[test]
fn a_cell_whose_journal_contradicts_hardware_is_emulated() {
    type Change = fn(&mut Maker);
    let table: [(Change, Basis); 4] = [
        (
            |maker| {
                maker.push(facts_claiming_hardware("kvm"));
            },
            Basis::Hardware,
        ),
        (
            |maker| {
                maker.push(facts_claiming_hardware("tcg"));
            },
            Basis::Emulated,
        ),
        (
            |maker| {
                maker.push(facts_claiming_hardware("tcg"));
                // A contradiction stays, even if it occurs only once.
                maker.push(facts_claiming_hardware("kvm"));
            },
            Basis::Emulated,
        ),
        (
            |maker| {
                maker.push(Event::GuestStarted {
                    cell: cell("13"),
                    guest: 1,
                    test: Some(BOOT.parse().unwrap()),
                    attempt: 1,
                    profiles: profile_names(&["go-3.29"]),
                    configuration: "plain".to_owned(),
                    argv: strings(&["qemu-system-x86_64", "-machine", "q35,accel=tcg"]),
                    daemon: Vec::new(),
                    deviations: Vec::new(),
                });
                maker.push(facts_claiming_hardware("kvm"));
            },
            Basis::Emulated,
        ),
    ];
    for (number, (change, basis)) in table.into_iter().enumerate() {
        let mut maker = Maker::default();
        change(&mut maker);
        let cell = &fold(&maker.journal).cells[&cell("13")];
        let facts = cell.facts.as_ref().unwrap();
        assert_eq!((facts.basis, cell.contradicted.is_none()), (basis, basis == Basis::Hardware), "{number}");
        assert_eq!(facts.notes.len(), usize::from(basis == Basis::Emulated), "{number}: {:?}", facts.notes);
    }
}

fn facts_claiming_hardware(accelerator: &str) -> Event {
    let facts = crate::sample::facts(Basis::Hardware);
    Event::CellFacts { cell: cell("13"), facts: CellFacts { accelerator: accelerator.to_owned().into(), ..facts } }
}

#[test]
fn options_reveal_candidates_if_the_flags_are_missing() {
    let mut maker = Maker::default();
    maker.start(&["go-3.29"], &["13"]);
    if let Event::RunStarted { options, .. } = &mut maker.journal.entries[0].event {
        options.extend(strings(&["--install hello", "--component qemu mine (sha256 0123)"]));
    }
    maker.push(facts_claiming_hardware("kvm"));
    let run = fold(&maker.journal);
    assert!(run.candidate && !run.shaped);
    let candidates = &run.cells[&cell("13")].facts.as_ref().unwrap().candidates;
    assert_eq!(*candidates, [(Component::Qemu, Candidate::File("mine (sha256 0123)".to_owned()))].into());
}

#[test]
fn results_are_indexed_by_every_profile_they_count_for() {
    let run = fold(&journal());
    let instances = &run.cells[&cell("13")].instances;
    let all = by_profile(instances);
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), ["go-3.2", "go-3.29", "rs-4.0"]);
    for (profile, found) in all {
        let counted: Vec<&TestRun> = instances.iter().filter(|i| i.counts_for(profile)).collect();
        assert_eq!(found, counted, "{profile}");
    }
}

#[test]
fn a_shared_test_is_one_instance_with_all_its_profiles() {
    let run = fold(&journal());
    let posix: Vec<_> = run.cells[&cell("13")].instances.iter().filter(|i| i.test == POSIX).collect();
    assert_eq!(posix.len(), 1);
    assert_eq!(posix[0].profiles.len(), 3);
    assert_eq!(posix[0].attempts[0].notes, strings(&["chflags::eperm", "utimensat::birth_time"]));
}

/// A night between a kill and the resumption does not count as the run's duration.
#[test]
fn the_time_before_a_resume_does_not_count_as_duration() {
    let mut maker = Maker::default();
    maker.start(&["a"], &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::PhaseStarted { cell: cell("13"), phase: Phase::Tests });
    maker.done("13", &["a"], BOOT, Outcome::Pass);
    let killed = maker.journal.entries.len();
    maker.start(&["a"], &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::PhaseStarted { cell: cell("13"), phase: Phase::Tests });
    maker.done("13", &["a"], INSTALL, Outcome::Pass);
    maker.push(Event::CellFinished { cell: cell("13") });
    let night = jiff::SignedDuration::from_hours(9);
    for entry in &mut maker.journal.entries[killed..] {
        entry.at += night;
    }
    let cell = &fold(&maker.journal).cells[&cell("13")];
    // Each event takes a second, except for the gap between the last one before the kill and the first one after the
    // second start.
    assert_eq!(cell.millis(), Some(3000 + 4000));
    assert_eq!(cell.phases[&Phase::Tests], 2000 + 3000);
}

/// Returns the run of a journal whose start is changed like this.
fn run_started_with(change: impl Fn(&mut Event)) -> Run {
    let mut maker = Maker::default();
    maker.start(&["a"], &["13"]);
    maker.journal.entries.iter_mut().for_each(|entry| change(&mut entry.event));
    fold(&maker.journal)
}

#[test]
fn run_facts_are_read_as_data_or_from_an_older_journals_options() {
    let words = strings(&["--repeat 5", "--oci-image x.tar"]);
    let requested = RunFacts {
        filter: Some(RunFilter::Matching("http://mirror.example/x \u{1b}[1m".to_owned())),
        repeat: Some(5),
        has_callers_image: true,
        ..RunFacts::default()
    };
    for own in [None, Some(&requested)] {
        let run = run_started_with(|event| {
            if let Event::RunStarted { filter, options, facts, .. } = event {
                *filter = requested.filter.as_ref().map(ToString::to_string);
                // If there is data, the words may be anything.
                *options = if own.is_some() { strings(&["reworded"]) } else { words.clone() };
                *facts = own.cloned();
            }
        });
        assert!(run.shaped && run.repeat == Some(5), "{run:?}");
        let Some(RunFilter::Matching(text)) = &run.filter else { panic!("{run:?}") };
        assert!(text.contains("http://") && !text.contains('\u{1b}'), "{text:?}");
    }
    let nothing = run_started_with(|event| {
        if let Event::RunStarted { options, facts, .. } = event {
            options.clone_from(&words);
            *facts = Some(RunFacts::default());
        }
    });
    // An image in the words is the lesser claim, and counts.
    assert_eq!((nothing.shaped, nothing.repeat, nothing.filter), (true, None, None), "it is told that there is none");
}
