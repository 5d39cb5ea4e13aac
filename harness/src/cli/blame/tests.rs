use super::*;
use crate::fixtures;
use reports::journal::{Event, Journal, JournalEntry};
use reports::matrix::Matrix;
use suites::outcome::{Failure, Outcome};

const RENAME: &str = "filesystem::virtio_fs::rename_is_atomic";
const LINKS: &str = "filesystem::virtio_fs::hard_links_share_one_file";

fn cell(release: &str) -> CellId {
    format!("debian:{release}/x86_64/container").parse().unwrap()
}

fn case() -> Case {
    Case {
        cell: cell("12"),
        profile: "go-3.32".parse().unwrap(),
        test: RENAME.parse().unwrap(),
        signature: "virtiofsd: a reader saw neither name".to_owned(),
        blames: Component::Virtiofsd,
    }
}

fn run_arguments(more: &[&str]) -> RunArguments {
    let words = [&["kata-qualify", "run", "debian"], more].concat();
    let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
    *arguments
}

fn blame_arguments(test: &str, more: &[&str]) -> BlameArguments {
    let words = [&["kata-qualify", "blame", "out", test], more].concat();
    let Command::Blame(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
    *arguments
}

/// Builds a run in which these tests failed.
fn matrix(failed: &[(&str, &str)]) -> Matrix {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let mut journal = Journal::default();
    let mut push = |event: Event| journal.entries.push(JournalEntry { at, event });
    let cells: Vec<CellId> = failed.iter().map(|(release, _)| cell(release)).collect();
    push(fixtures::begins("x", &cells, 0, None));
    for (release, test) in failed {
        push(Event::TestFinished {
            cell: cell(release),
            profiles: vec!["go-3.32".parse().unwrap(), "rs-4.1".parse().unwrap()],
            test: test.parse().unwrap(),
            attempt: 1,
            machine: 0,
            guests: Vec::new(),
            outcome: Outcome::Fail(Failure::new(Component::Virtiofsd, "a reader saw neither name")),
            millis: 1,
            notes: Vec::new(),
            artifacts: Vec::new(),
        });
    }
    reports::matrix::matrix(&journal, catalogue::tests(), Profile::all())
}

#[test]
fn a_failed_test_is_chosen_by_a_unique_part_of_its_name() {
    let one = matrix(&[("12", RENAME), ("12", LINKS)]);
    let found = chosen(&one, &blame_arguments("rename", &[]).failed).unwrap();
    assert_eq!((found.test.as_str(), found.profile.as_str(), found.cell), (RENAME, "go-3.32", cell("12")));
    let other = chosen(&one, &blame_arguments(RENAME, &["--profile", "rs-4.1"]).failed).unwrap();
    assert_eq!(other.profile, "rs-4.1");
    let two = matrix(&[("12", RENAME), ("13", RENAME)]);
    let in_13 = chosen(&two, &blame_arguments("rename", &["--cell", "debian:13/x86_64/container"]).failed).unwrap();
    assert_eq!(in_13.cell, cell("13"));
    for (matrix, test, expected) in [
        (&one, "virtio_fs", "matches several failed tests"),
        (&one, "boots", "no failed test there has `boots` in its name; tests that failed: filesystem"),
        (&two, "rename", "failed in several cells: name one by --cell debian:12"),
    ] {
        let error = chosen(matrix, &blame_arguments(test, &[]).failed).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_step_runs_one_test_with_the_swapped_components() {
    let like = run_arguments(&["--component", "qemu@debian:11", "--overlay", "/my tree", "--write-back", "--blame"]);
    let control = step(&like, &case(), &[], "debian:13", "/out/control".into());
    assert_eq!(control.components, ["qemu@debian:11"]);
    let one = step(&like, &case(), &[Component::Qemu, Component::Kernel], "debian:13", "/out/x".into());
    assert!(!one.write_back && !one.blame && one.no_base);
    assert_eq!(one.out, Some("/out/x".into()));
    assert_eq!(
        command(&one),
        "kata-qualify run debian:12 --in container --profile go-3.32 --test filesystem::virtio_fs::rename_is_atomic \
         --repeat 2 --component qemu@debian:13 --component kernel@debian:13 --overlay '/my tree'"
    );
}

#[test]
fn a_step_has_kata_in_a_virtual_machine_only() {
    let like = run_arguments(&["--kata", "kata-static.tar.xz", "--in", "container,vm"]);
    assert!(step(&like, &case(), &[], "debian:13", "/out/x".into()).kata.is_empty());
    let in_vm = Case { cell: CellId { environment: Environment::Vm, ..cell("12") }, ..case() };
    assert_eq!(step(&like, &in_vm, &[], "debian:13", "/out/x".into()).kata, like.kata);
}

#[test]
fn the_donor_is_the_own_release_for_candidates_or_a_recorded_one() {
    let (database, test) = (Database::embedded(), catalogue::find(RENAME).unwrap());
    let of = |like: &RunArguments, from: Option<&str>| {
        donor(&case(), like, from, test, &database).map_err(|e| e.to_string())
    };
    let named = |like: &RunArguments, from: Option<&str>| of(like, from).unwrap().unwrap().to_string();
    assert_eq!(named(&run_arguments(&["--install", "strace"]), None), "debian:12");
    assert_eq!(named(&run_arguments(&["--install", "strace"]), Some("debian:trixie")), "debian:13");
    assert_ne!(named(&run_arguments(&[]), None), "debian:12");
    assert!(of(&run_arguments(&[]), Some("debian")).unwrap_err().contains("expected one release"));
}

#[test]
fn findings_are_reported_with_the_commands() {
    let fails = || Seen::Failed { signature: "s".to_owned() };
    let seen = [
        (vec![], "kata-qualify run a".to_owned(), fails()),
        (vec![Component::Virtiofsd], "kata-qualify run b".to_owned(), Seen::Passed),
    ];
    let green = Finding::Green(vec![Component::Virtiofsd]);
    assert_eq!(
        report_text(&case(), "debian:13", &seen, &green),
        "filesystem::virtio_fs::rename_is_atomic in debian:12/x86_64/container under go-3.32\n\
         it failed, presumably because of virtiofsd: virtiofsd: a reader saw neither name\n\
         \x20 with nothing swapped: fails (s)\n    kata-qualify run a\n\
         \x20 with virtiofsd of debian:13: passes\n    kata-qualify run b\n\
         it passes with virtiofsd of debian:13: this is the smallest swap that fixes it\n"
    );
    let (both, qemu) = (vec![Component::Virtiofsd, Component::Qemu], vec![vec![Component::Qemu]]);
    for (finding, expected) in [
        (Finding::Green(both.clone()), "virtiofsd and qemu of debian:13, and fails with only some of them"),
        (
            Finding::MayBeLess { green: both, parts: qemu },
            "no verdict: it passes with virtiofsd and qemu of debian:13; a smaller swap may be enough, but could not \
             be judged reliably: qemu of debian:13",
        ),
        (Finding::None, "swapping in components of debian:13 does not fix it"),
        (Finding::Control(Seen::Passed), "no verdict: without any swap it now passes"),
        (Finding::OtherFailure("t".to_owned()), "it now fails differently: t"),
        (
            Finding::NoDonor,
            "no verdict: the records know no release where it passes under go-3.32: name one with `kata-qualify",
        ),
        (Finding::NothingToSwap, "no verdict: no component that this test uses"),
        (
            Finding::NoneCertain(vec![(vec![Component::Qemu], Seen::Sometimes { passed: 1, of: 2 })]),
            "no verdict: no swap fixed it reliably: with qemu of debian:13 it passes 1 of 2 times",
        ),
    ] {
        let text = report_text(&case(), "debian:13", &[], &finding);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_case_has_a_folder_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join(FOLDER);
    let names: Vec<PathBuf> = (0..2).map(|_| free_folder(&below, &case()).unwrap()).collect();
    assert_eq!(names, ["001-rename_is_atomic", "002-rename_is_atomic"].map(|name| below.join(name)));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(free_folder(&dir.path().join("file"), &case()).is_err());
}

/// A case without a donor is over, and does not hide the other cases.
#[test]
fn a_case_without_a_donor_has_no_verdict_and_the_next_one_follows() {
    let database = Database::embedded();
    let dir = tempfile::tempdir().unwrap();
    // No record has a profile of this name.
    let case = Case { profile: "go-none".parse().unwrap(), ..case() };
    let below = dir.path().join(FOLDER);
    let cases: Vec<(Case, PathBuf)> = (0..2).map(|_| (case.clone(), free_folder(&below, &case).unwrap())).collect();
    let all = examine_cases(&cases, &run_arguments(&["--format", "json"]), None, &database).unwrap();
    assert!(matches!(all[..], [Ended::Found(Finding::NoDonor), Ended::Found(Finding::NoDonor)]));
    for (_, folder) in &cases {
        let report = std::fs::read_to_string(folder.join(FILE)).unwrap();
        assert!(report.contains("no verdict: the records know no release where it passes under go-none"), "{report}");
    }
}

/// Standard output stays parseable: no text follows a JSON document or stands among events.
#[test]
fn findings_are_printed_only_in_the_human_format() {
    let of = |words: &[&str]| is_for_people(run_arguments(words).format);
    assert_eq!([of(&[]), of(&["--format", "json"]), of(&["--format", "ndjson"])], [true, false, false]);
}

#[test]
fn an_interrupted_step_interrupts_the_whole_run() {
    let found = || Ended::Found(Finding::None);
    assert_eq!(end_of(&[]), RunEnd::Finished);
    assert_eq!(end_of(&[found(), found()]), RunEnd::Finished);
    assert_eq!(end_of(&[found(), Ended::Interrupted]), RunEnd::Interrupted);
}
