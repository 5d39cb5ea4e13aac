use super::*;
use crate::fixtures;
use reports::journal::{CellId, JournalEntry};
use suites::outcome::{Component, Failure};

const RENAME: &str = "filesystem::virtio_fs::rename_is_atomic";
const LINKS: &str = "filesystem::virtio_fs::hard_links_share_one_file";
const PROFILE: &str = "go-3.32";

fn cell() -> CellId {
    "debian:12/x86_64/container".parse().unwrap()
}

/// Builds a run in which tests ended with these outcomes, in guest 2.
fn journal(ended: &[(&str, Outcome)]) -> Journal {
    let mut journal = Journal::default();
    let at = jiff::Timestamp::UNIX_EPOCH;
    let mut push = |event: Event| journal.entries.push(JournalEntry { at, event });
    push(fixtures::begins("r1", &[cell()], 0, None));
    for guest in [1, 2] {
        push(Event::GuestStarted {
            cell: cell(),
            guest,
            test: Some(RENAME.parse().unwrap()),
            attempt: guest,
            profiles: vec![PROFILE.parse().unwrap()],
            configuration: "virtio-fs".to_owned(),
            argv: vec!["qemu".to_owned(), format!("-g{guest}")],
            daemon: vec!["virtiofsd".to_owned()],
            deviations: Vec::new(),
        });
    }
    for (test, outcome) in ended {
        push(Event::TestFinished {
            cell: cell(),
            profiles: vec![PROFILE.parse().unwrap()],
            test: test.parse().unwrap(),
            attempt: 1,
            machine: 0,
            guests: vec![2],
            outcome: outcome.clone(),
            millis: 1,
            notes: Vec::new(),
            artifacts: vec!["artifacts/g2/serial.log".to_owned()],
        });
    }
    journal
}

fn fails() -> Outcome {
    Outcome::Fail(Failure::new(Component::Virtiofsd, "a reader saw neither name"))
}

fn parsed(more: &[&str]) -> ShellArguments {
    let words = [&["kata-qualify", "shell", "out", "rename_is_atomic"], more].concat();
    let Command::Shell(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
    *arguments
}

fn refused(ended: &[(&str, Outcome)], query: &str) -> Option<String> {
    let matrix = report::matrix_in(&journal(ended), Profile::all(), None, Path::new("nowhere"));
    why_not(&matrix, query)
}

#[test]
fn a_test_that_did_not_fail_or_is_unknown_is_refused() {
    let skipped = Outcome::Skip { reason: "no device".to_owned() };
    let ended = [(RENAME, Outcome::Pass), (LINKS, fails())];
    assert_eq!(refused(&ended, LINKS), None);
    assert_eq!(refused(&ended, "hard_links"), None);
    let passed = refused(&ended, "rename_is_atomic").unwrap();
    assert_eq!(passed, format!("{RENAME} passed there: there is nothing to look into"));
    let other = refused(&[(RENAME, skipped)], RENAME).unwrap();
    assert_eq!(other, format!("{RENAME} did not fail there: its outcome is `skip`"));
    let unknown = refused(&ended, "rename_is_atmic").unwrap();
    let expected = "no test with `rename_is_atmic` in its name ran there; similar names: ";
    let near = unknown.strip_prefix(expected).unwrap_or_else(|| panic!("{unknown}"));
    assert_eq!(near.split(", ").count(), NEAREST, "{near}");
    assert!(near.contains("::rename_is_atomic"), "{near}");
}

#[test]
fn similar_names_are_compared_by_last_part_and_listed_once() {
    let names = ["a::boots", "a::boots", "b::boot", "c::halts_and_is_gone"];
    assert_eq!(nearest(names.into_iter(), "boots"), ["a::boots", "b::boot", "c::halts_and_is_gone"]);
}

fn case() -> Case {
    Case {
        cell: cell(),
        profile: PROFILE.parse().unwrap(),
        test: RENAME.parse().unwrap(),
        signature: String::new(),
        blames: Component::Virtiofsd,
    }
}

#[test]
fn the_greeting_has_the_failures_own_guest_and_logs() {
    let greeting = greeting(&journal(&[(RENAME, fails()), (LINKS, Outcome::Pass)]), &case(), Path::new("out"));
    assert_eq!(greeting.observed, "a reader saw neither name");
    let argv = vec!["qemu".to_owned(), "-g2".to_owned()];
    assert_eq!(greeting.guests, [LaunchedGuest { argv, daemon: vec!["virtiofsd".to_owned()] }]);
    assert_eq!(greeting.logs, ["out/artifacts/g2/serial.log"]);
    let again = format!("kata-qualify run debian:12 --in container --profile go-3.32 --test {RENAME}");
    assert_eq!(greeting.again, again);
}

#[test]
fn the_shell_requests_the_same_environment_and_nothing_else() {
    let arguments = parsed(&["--overlay", "tree", "--kata", "kata.tar.xz", "--", "uname", "-r"]);
    assert_eq!(arguments.command, ["uname", "-r"]);
    let run = like(&arguments, &case(), PathBuf::from("scratch")).unwrap();
    assert_eq!((run.targets, run.environments), (vec!["debian:12".to_owned()], vec![In::Container]));
    assert_eq!((run.profiles, run.filters), (vec![PROFILE.to_owned()], vec![RENAME.to_owned()]));
    assert_eq!((run.out, run.images.overlay), (Some(PathBuf::from("scratch")), Some(PathBuf::from("tree"))));
    assert!(run.offline && !run.keep && !run.keep_failed && !run.write_back);
    assert!(run.kata.is_empty(), "it runs in virtual machines only");
}

#[test]
fn options_that_the_shell_lacks_are_named() {
    let strings = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let of_run = strings(&["--mirror", "--overlay", "--install strace", "--install gdb", "--repeat 3"]);
    assert_eq!(lacking(&of_run, &strings(&["--offline", "--install gdb"])), ["--overlay", "--install strace"]);
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    for (code, expected) in [(0, 0), (7, 7), (255, 255), (300, 255), (-1, 255)] {
        assert_eq!(exit_code(code), ExitCode::from(expected));
    }
}
