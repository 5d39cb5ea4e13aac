use super::*;
use crate::journal::RunFilter;
use crate::sample::{self, BLK, RENAME, TDX, cell, fail, judged, recorded, run};
use crate::standing::{Change, Effect, Standings, Weight};
use model::known_issues::KnownIssuesFile;
use model::package_manager::PackageManager;
use model::verified::VerifiedEntry;
use std::path::Path;
use suites::capability::Capability;
use suites::outcome::Component;

/// An entry about the sample's virtiofsd, with what is changed of it.
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

fn beside<'m>(matrix: &'m Matrix, entries: &'m [VerifiedEntry], issues: &'m [KnownIssue]) -> Standings<'m> {
    let recorded = Recorded::of_distro("debian", entries).knowing("debian", PackageManager::Apt, issues);
    Standings::new(matrix, recorded, false)
}

fn failing() -> Matrix {
    judged(&run(|test| (test == RENAME).then(|| fail(Component::Virtiofsd, "a reader saw neither name"))))
}

fn state(matrix: &Matrix, issues: &[KnownIssue]) -> (Option<IssueState>, Effect) {
    let entries = recorded();
    let beside = beside(matrix, &entries, issues);
    (beside.issues.first().map(|one| one.state), beside.effect())
}

#[test]
fn an_expected_failure_makes_no_exit_code_and_says_why() {
    let (matrix, entries) = (failing(), recorded());
    assert_eq!(sample::beside(&matrix, &entries).effect(), Effect::Worse, "without the entry it is a new failure");
    for change in [
        &[][..],
        &[("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: a reader saw neither name\"")],
    ] {
        let issues = issues(change);
        let beside = beside(&matrix, &entries, &issues);
        assert_eq!((beside.effect(), beside.issues[0].state), (Effect::None, IssueState::Expected));
        let standing = beside.of(0, "go-3.29", Capability::FsVirtioFs).unwrap();
        assert_eq!((standing.change, standing.effect), (Change::Known, Effect::None));
        let last = FinalOutcome::of([&fail(Component::Virtiofsd, "a reader saw neither name")]).unwrap();
        let why = "known issue neither-name of virtiofsd, https://bugs.example/1 (owner somebody, until 2027-01-31)";
        assert_eq!(beside.cells[0].weight("go-3.29", RENAME, &last), Weight::Excused(why.to_owned()));
        let words = format!("{why}: expected failure of {RENAME} in {}", cell("13"));
        assert_eq!(beside.issues[0].words(), Some(words));
    }
}

/// `--strict` asks for all that is required, whatever is known.
#[test]
fn what_is_known_is_lacking_all_the_same() {
    let (matrix, issues) = (failing(), issues(&[]));
    let recorded = Recorded::default().knowing("debian", PackageManager::Apt, &issues);
    assert_eq!(Standings::new(&matrix, recorded, true).effect(), Effect::Worse);
}

#[test]
fn an_entry_excuses_nothing_but_what_it_is_about() {
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
fn an_entry_at_fault_is_named_and_makes_the_exit_code() {
    let passing = judged(&run(|_| None));
    assert_eq!(state(&passing, &issues(&[])), (Some(IssueState::UnexpectedPass), Effect::Worse));
    let unmatched = ("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: something else\"");
    assert_eq!(state(&passing, &issues(&[unmatched])), (Some(IssueState::Unmatched), Effect::Worse));
    // The sample's run was in July 2026.
    let expired = ("2027-01-31", "2026-07-01");
    assert_eq!(state(&failing(), &issues(&[expired])), (Some(IssueState::Expired), Effect::Worse));
    let (entries, issues) = (recorded(), issues(&[]));
    let words = beside(&passing, &entries, &issues).issues[0].words().unwrap();
    assert!(words.contains("its test passes in debian:13/x86_64/container"), "{words}");
    assert!(words.ends_with("known-issues/debian.yaml:3"), "{words}");
}

/// What a filtered or broken run did not reach, or a test that lacks something, says nothing against an entry.
#[test]
fn a_run_that_is_not_whole_leaves_entries_alone() {
    let unmatched = ("test: filesystem::virtio_fs::rename_is_atomic", "signature: \"virtiofsd: something else\"");
    let mut filtered = judged(&run(|_| None));
    filtered.filter = Some(RunFilter::Matching("tdx".to_owned()));
    assert_eq!(state(&filtered, &issues(&[unmatched])).0, Some(IssueState::Unjudged));
    let skipped = judged(&run(|test| (test == RENAME).then(|| sample::skip("no room"))));
    assert_eq!(state(&skipped, &issues(&[])).0, Some(IssueState::Unjudged));
    // It runs in machines only, and the entry does not say so: a container cannot match it.
    let elsewhere = ("test: filesystem::virtio_fs::rename_is_atomic", "test: host::vhost_modules_load");
    let passing = judged(&run(|_| None));
    assert_eq!(state(&passing, &issues(&[elsewhere])), (Some(IssueState::Unjudged), Effect::None));
    let blocked = judged(&run(|test| (test == RENAME).then(|| sample::blocked(TDX))));
    assert_eq!(state(&blocked, &issues(&[unmatched])).0, Some(IssueState::Unjudged));
}
