use super::*;
use crate::journal::Event;
use crate::sample::{self, BLK, RENAME, TDX, cell, fail, judged, recorded, run};
use crate::standing::{Change, Effect, Standings, TestWeight};
use model::known_issues::KnownIssuesFile;
use model::package_manager::PackageManager;
use model::verified::VerifiedEntry;
use std::path::Path;
use suites::capability::Capability;
use suites::outcome::Component;

/// Returns an issue about the sample's virtiofsd, with some of its text replaced.
fn issues(change: &[(&str, &str)]) -> Vec<KnownIssue> {
    let mut text = "distro: debian
known-issues:
  - id: neither-name
    test: filesystem::virtio_fs::rename_is_atomic
    package: virtiofsd
    versions: {from: 1.13.0-1, before: 1.14.0-1}
    url: https://bugs.example/1
    owner: somebody
    expires: 2027-01-31
"
    .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    KnownIssuesFile::parse(Path::new("known-issues/debian.yaml"), &text).unwrap().issues
}

fn compared_with_issues<'m>(
    matrix: &'m Matrix,
    entries: &'m [VerifiedEntry],
    issues: &'m [KnownIssue],
) -> Standings<'m> {
    let recorded = Recorded::of_distro(&sample::DEBIAN, entries).knowing(&sample::DEBIAN, PackageManager::Apt, issues);
    Standings::new(matrix, recorded, false)
}

fn failing() -> Matrix {
    judged(&run(|test| (test == RENAME).then(|| fail(Component::Virtiofsd, "a reader saw neither name"))))
}

fn state(matrix: &Matrix, issues: &[KnownIssue]) -> (Option<IssueState>, Effect) {
    let entries = recorded();
    let compared = compared_with_issues(matrix, &entries, issues);
    (compared.issues.first().map(|one| one.state), compared.effect())
}

#[test]
fn an_expected_failure_is_excused_by_its_known_issue() {
    let (matrix, entries) = (failing(), recorded());
    assert_eq!(
        sample::compared_with_record(&matrix, &entries).effect(),
        Effect::Worse,
        "without the entry it is a new failure"
    );
    for change in [
        &[][..],
        &[("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: a reader saw neither name\"")],
    ] {
        let issues = issues(change);
        let compared = compared_with_issues(&matrix, &entries, &issues);
        assert_eq!((compared.effect(), compared.issues[0].state), (Effect::None, IssueState::Expected));
        let standing = compared.of(0, "go-3.29", Capability::FsVirtioFs).unwrap();
        assert_eq!((standing.change, standing.effect), (Change::Known, Effect::None));
        let last = FinalOutcome::of([&fail(Component::Virtiofsd, "a reader saw neither name")]).unwrap();
        let why = "known issue neither-name of virtiofsd, https://bugs.example/1 (owner somebody, until 2027-01-31)";
        assert_eq!(compared.cells[0].weight("go-3.29", RENAME, &last), TestWeight::Excused(why.to_owned()));
        let words = format!("{why}: expected failure of {RENAME} in {}", cell("13"));
        assert_eq!(compared.issues[0].words(), Some(words));
    }
}

/// `--strict` demands everything that is required, regardless of known issues.
#[test]
fn strict_objects_to_known_issues_too() {
    let (matrix, issues) = (failing(), issues(&[]));
    let recorded = Recorded::default().knowing(&sample::DEBIAN, PackageManager::Apt, &issues);
    assert_eq!(Standings::new(&matrix, recorded, true).effect(), Effect::Worse);
}

#[test]
fn a_known_issue_excuses_only_the_failures_it_matches() {
    let both = |test: &str| match test {
        RENAME => Some(fail(Component::Virtiofsd, "a reader saw neither name")),
        BLK => Some(fail(Component::Kernel, "no disk")),
        _ => None,
    };
    assert_eq!(state(&judged(&run(both)), &issues(&[])), (Some(IssueState::Expected), Effect::Worse));
    let matrix = failing();
    for other in [
        ("before: 1.14.0-1", "before: 1.13.2-1"),
        ("from: 1.13.0-1", "from: 1.13.2-2"),
        ("package: virtiofsd", "package: qemu"),
        ("url:", "profiles: [go-3.2]\n    url:"),
        ("url:", "environments: vm\n    url:"),
    ] {
        assert_eq!(state(&matrix, &issues(&[other])), (None, Effect::Worse), "{other:?}");
    }
}

#[test]
fn a_stale_known_issue_is_named_and_fails_the_run() {
    let passing = judged(&run(|_| None));
    assert_eq!(state(&passing, &issues(&[])), (Some(IssueState::UnexpectedPass), Effect::Worse));
    let unmatched = ("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: something else\"");
    assert_eq!(state(&passing, &issues(&[unmatched])), (Some(IssueState::Unmatched), Effect::Worse));
    // The sample's run was in July 2026.
    let expired = ("2027-01-31", "2026-07-01");
    assert_eq!(state(&failing(), &issues(&[expired])), (Some(IssueState::Expired), Effect::Worse));
    let (entries, issues) = (recorded(), issues(&[]));
    let words = compared_with_issues(&passing, &entries, &issues).issues[0].words().unwrap();
    assert!(words.contains("its test passes in debian:13/x86_64/container"), "{words}");
    assert!(words.ends_with("known-issues/debian.yaml:3"), "{words}");
}

/// The verdict and the answer change: a known issue must not be reported as recorded.
#[test]
fn an_unrecorded_known_issue_is_listed_as_a_change() {
    let (matrix, entries, issues) = (failing(), recorded(), issues(&[]));
    let changes = |entries: &[VerifiedEntry]| -> Vec<String> {
        let compared = compared_with_issues(&matrix, entries, &issues);
        assert_eq!(compared.effect(), Effect::None);
        for row in compared.changes() {
            assert_eq!(
                (row.change, row.issues.as_slice(), row.needs_a_person()),
                (Change::Known, &["neither-name"][..], false)
            );
            assert!(row.why.iter().any(|why| why.contains("https://bugs.example/1")), "{row:?}");
        }
        compared.changes().iter().map(|row| row.words()).collect()
    };
    let day = entries[0].tested;
    let turn = format!("was supported ({day}), is unsupported");
    assert_eq!(changes(&entries), [format!("known issue neither-name: fs.virtio-fs {turn}")]);
    // Once recorded, it is no change; with an unrecorded cause it is.
    let written = crate::views::record::verified_entries(&compared_with_issues(&matrix, &entries, &issues)).0;
    let mut written: Vec<VerifiedEntry> = written.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(changes(&written), Vec::<String>::new());
    for cause in &mut written[0].capabilities.get_mut(&Capability::FsVirtioFs).unwrap().causes {
        cause.message = "something else".to_owned();
    }
    let turn = format!("was unsupported ({day}), is unsupported");
    assert_eq!(changes(&written), [format!("known issue neither-name: fs.virtio-fs {turn}")]);
}

/// Returns a run with these outcomes of the test under two profiles, each with its attempts.
fn under_two_profiles(outcomes: [(&str, &[Outcome]); 2]) -> Matrix {
    let mut maker = run(|_| None);
    let text = serde_json::to_string(&maker.journal.entries).unwrap();
    maker.journal.entries = serde_json::from_str(&text.replace(r#"["go-3.29"]"#, r#"["go-3.29","rs-4.0"]"#)).unwrap();
    let is_rename = |event: &Event| match event {
        Event::TestStarted { test, .. } | Event::TestFinished { test, .. } => test == RENAME,
        _ => false,
    };
    maker.journal.entries.retain(|entry| !is_rename(&entry.event));
    // The new entries go before the ends of the cell and of the run.
    let ends = maker.journal.entries.split_off(maker.journal.entries.len() - 2);
    for (profile, attempts) in outcomes {
        for (attempt, outcome) in (1..).zip(attempts) {
            maker.attempt("13", &[profile], RENAME, attempt, outcome.clone());
        }
    }
    for end in ends {
        maker.push(end.event);
    }
    judged(&maker)
}

/// A test that passed in a second guest had failed: the issue exists, and excuses nothing.
#[test]
fn a_test_that_passed_on_retry_matches_its_known_issue() {
    let fails = fail(Component::Virtiofsd, "a reader saw neither name");
    let then = [fails.clone(), Outcome::Pass];
    let matrix = under_two_profiles([("go-3.29", &then), ("rs-4.0", &then)]);
    let signature = "signature: \"virtiofsd: a reader saw neither name\"";
    for change in [&[][..], &[("test: filesystem::virtio_fs::rename_is_atomic", signature)]] {
        assert_eq!(state(&matrix, &issues(change)), (Some(IssueState::Expected), Effect::None), "{change:?}");
    }
    let other = ("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: something else\"");
    assert_eq!(state(&matrix, &issues(&[other])).0, Some(IssueState::Unmatched));
}

#[test]
fn a_known_issue_that_passes_under_one_profile_names_both_profiles() {
    let fails = fail(Component::Virtiofsd, "a reader saw neither name");
    let matrix = under_two_profiles([("go-3.29", &[Outcome::Pass]), ("rs-4.0", &[fails.clone(), fails])]);
    let (entries, issues) = (recorded(), issues(&[]));
    let compared = compared_with_issues(&matrix, &entries, &issues);
    assert_eq!(compared.issues[0].state, IssueState::UnexpectedPass);
    let words = compared.issues[0].words().unwrap();
    let expected =
        format!("its test passes in {0} (go-3.29), and fails in {0} (rs-4.0): narrow its profiles", cell("13"));
    assert!(words.contains(&expected), "{words}");
    let rows: Vec<_> = compared.changes().into_iter().filter(|row| !row.issues.is_empty()).collect();
    assert!(rows.len() == 1 && rows[0].profiles == ["rs-4.0"], "{rows:?}");
}

/// Tests that a filtered or broken run did not reach, or that were skipped, say nothing against an issue.
#[test]
fn an_incomplete_run_does_not_judge_known_issues() {
    let unmatched = ("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: something else\"");
    let mut filtered = judged(&run(|_| None));
    sample::filtered(&mut filtered, "tdx");
    assert_eq!(state(&filtered, &issues(&[unmatched])).0, Some(IssueState::Unjudged));
    let skipped = judged(&run(|test| (test == RENAME).then(|| sample::skip("no room"))));
    assert_eq!(state(&skipped, &issues(&[])).0, Some(IssueState::Unjudged));
    // The test runs in machines only, and the issue does not say so: a container cannot match it.
    let elsewhere = ("test: filesystem::virtio_fs::rename_is_atomic", "test: host::vhost_modules_load");
    let passing = judged(&run(|_| None));
    assert_eq!(state(&passing, &issues(&[elsewhere])), (Some(IssueState::Unjudged), Effect::None));
    let blocked = judged(&run(|test| (test == RENAME).then(|| sample::blocked(TDX))));
    assert_eq!(state(&blocked, &issues(&[unmatched])).0, Some(IssueState::Unjudged));
}
