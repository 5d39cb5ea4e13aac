use super::*;
use crate::installed::InstalledPackage;
use crate::journal::{Event, Phase};
use crate::matrix::Matrix;
use crate::sample::{
    BLK, BOOT, Maker, RENAME, TDX, VSOCK, compared_with_record, fail, judged, recorded, run, standings,
};
use crate::standing::Recorded;
use model::known_issues::KnownIssuesFile;
use model::package::PackageVersion;
use model::package_manager::PackageManager;
use model::verified::{VerifiedCapability, VerifiedCause, VerifiedEntry};
use std::path::Path;
use suites::outcome::{Component, Outcome};

impl Difference {
    fn is_worse(&self) -> bool {
        self.effect == Effect::Worse
    }

    fn is_unjudged(&self) -> bool {
        self.effect == Effect::Unjudged
    }
}

fn between(before: &Maker, after: &Maker) -> Difference {
    Difference::between(&Side::of_run("a", &judged(before)), &Side::of_run("b", &judged(after)))
}

fn states(difference: &Difference) -> Vec<(SignatureState, &str)> {
    difference.signatures.iter().map(|turn| (turn.state, turn.signature.as_str())).collect()
}

const TDX_IS_MISSING: (SignatureState, &str) = (SignatureState::Known, "qemu: no tdx-guest");

#[test]
fn a_run_does_not_differ_from_itself() {
    let difference = between(&run(|_| None), &run(|_| None));
    assert_eq!((difference.verdicts.as_slice(), difference.packages.as_slice()), (&[][..], &[][..]));
    assert_eq!(states(&difference), [TDX_IS_MISSING]);
    assert_eq!(difference.effect(), Effect::None);
}

#[test]
fn causes_are_new_known_fixed_or_not_seen_again() {
    let broken = run(|test| (test == BLK).then(|| fail(Component::Kernel, "no disk")));
    let sound = run(|_| None);
    let worse = between(&sound, &broken);
    assert_eq!(states(&worse), [(SignatureState::New, "kernel: no disk"), TDX_IS_MISSING]);
    assert!(worse.is_worse() && worse.verdicts[0].worse);
    let text = worse.text();
    for words in ["a → b", "fs.virtio-blk: supported → unsupported [go-3.29]", "new: kernel: no disk"] {
        assert!(text.contains(words), "{text}");
    }
    let better = between(&broken, &sound);
    assert_eq!(states(&better), [(SignatureState::Fixed, "kernel: no disk"), TDX_IS_MISSING]);
    assert!(!better.is_worse());
    // A blocked test has shown nothing.
    let blocked = run(|test| (test == BLK).then(|| crate::sample::blocked(BOOT)));
    let unseen = (SignatureState::Unseen, "kernel: no disk");
    assert_eq!(states(&between(&broken, &blocked)), [unseen, TDX_IS_MISSING]);
}

/// A mirror that does not answer does not give a green comparison.
#[test]
fn lost_verdicts_make_a_comparison_unjudged() {
    let lost = run(|test| (test == BLK).then(|| crate::sample::error("no mirror answers")));
    let difference = between(&run(|_| None), &lost);
    let turn = &difference.verdicts[0];
    assert_eq!((turn.capability, turn.is), (Capability::FsVirtioBlk, Some(Verdict::Inconclusive)));
    assert!(turn.unjudged && !turn.worse && difference.is_unjudged() && !difference.is_worse());
    assert!(
        difference.text().contains("  unjudged debian:13/x86_64/container fs.virtio-blk: supported → inconclusive")
    );
    assert!(!between(&lost, &lost).is_unjudged(), "nothing has changed");
    assert!(!between(&lost, &run(|_| None)).is_unjudged());
    let skipped = |test: &'static str| run(move |one| (one == test).then(|| crate::sample::skip("no room")));
    assert!(between(&run(|_| None), &skipped(BLK)).is_unjudged(), "it was supported");
    assert!(!between(&run(|_| None), &skipped(TDX)).is_unjudged(), "it was unsupported, and stays so");
}

/// If the earlier side could not judge a test, it is unknown whether its failure is new or better.
#[test]
fn failures_without_an_earlier_verdict_are_not_compared() {
    let broken = run(|test| (test == BLK).then(|| fail(Component::Kernel, "no disk")));
    let error = run(|test| (test == BLK).then(|| crate::sample::error("the line ended")));
    let difference = between(&error, &broken);
    assert_eq!(states(&difference)[0], (SignatureState::NotCompared, "kernel: no disk"));
    assert!(difference.is_unjudged() && !difference.is_worse() && difference.verdicts.is_empty(), "{difference:?}");
    let text = difference.text();
    for words in [
        "Not compared, because a has no verdict:\n  debian:13/x86_64/container fs.virtio-blk [go-3.29]: a test of it",
        "  not compared: kernel: no disk (",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let mut lost = Maker::default();
    lost.start(&["go-3.29"], &["13"]);
    let cell = crate::sample::cell("13");
    lost.push(Event::CellStarted { cell: cell.clone() });
    lost.push(Event::CellError { cell, phase: Phase::Image, message: "no mirror answers".to_owned() });
    let difference = between(&lost, &broken);
    assert!(states(&difference).iter().all(|(state, _)| *state == SignatureState::NotCompared), "{difference:?}");
    assert!(difference.is_unjudged() && !difference.is_worse(), "{difference:?}");
    assert!(difference.verdicts.is_empty() && difference.packages.is_empty(), "{difference:?}");
    assert!(difference.text().contains("no mirror answers"), "{}", difference.text());
}

#[test]
fn a_cell_that_only_the_first_side_has_is_unjudged() {
    let (whole, mut none) = (judged(&run(|_| None)), judged(&run(|_| None)));
    none.cells[0].cell.release = "12".parse().unwrap();
    none.cells.push(whole.cells[0].clone());
    let (one, two) = (Side::of_run("a", &whole), Side::of_run("b", &none));
    assert!(Difference::between(&two, &one).is_unjudged());
    assert!(!Difference::between(&one, &two).is_unjudged(), "what is new is not lost");
}

/// Only tests of both sides are compared: a run of some tests says nothing about the others.
#[test]
fn tests_excluded_by_a_filter_are_not_compared() {
    let mut few = judged(&run(|test| (test == BLK).then(|| crate::sample::skip("no room"))));
    for matrix_is_filtered in [false, true] {
        if matrix_is_filtered {
            crate::sample::filtered(&mut few, "smoke::");
            few.cells[0].judgements.get_mut("go-3.29").unwrap().get_mut(&Capability::FsVirtioBlk).unwrap().unrun = 1;
        }
        let whole = judged(&run(|_| None));
        let difference = Difference::between(&Side::of_run("a", &whole), &Side::of_run("b", &few));
        assert_eq!(difference.is_unjudged(), !matrix_is_filtered, "{difference:?}");
        assert_eq!(difference.verdicts.is_empty(), matrix_is_filtered, "{difference:?}");
    }
}

#[test]
fn a_failure_that_then_passes_is_flaky_and_not_new() {
    let mut flaky = Maker::default();
    flaky.start(&["go-3.29"], &["13"]);
    flaky.attempt("13", &["go-3.29"], RENAME, 1, fail(Component::Virtiofsd, "neither name"));
    flaky.attempt("13", &["go-3.29"], RENAME, 2, Outcome::Pass);
    let difference = between(&run(|_| None), &flaky);
    assert!(states(&difference).contains(&(SignatureState::Flaky, "virtiofsd: neither name")), "{difference:?}");
    assert!(!difference.is_worse(), "what did not run is no worse");
}

#[test]
fn a_run_is_compared_with_the_record() {
    let entries = recorded();
    let matrix = judged(&run(|test| (test == VSOCK).then_some(Outcome::Pass)));
    let difference = Difference::beside_record(&compared_with_record(&matrix, &entries), "b");
    assert_eq!(states(&difference), [TDX_IS_MISSING], "{TDX} failed then, too");
    let turns: Vec<_> = difference.verdicts.iter().map(|turn| (turn.capability, turn.was, turn.is)).collect();
    assert!(turns.contains(&(Capability::VmmVsock, Some(Verdict::Untested), Some(Verdict::Supported))), "{turns:?}");
    assert!(!difference.is_of_nothing());
    assert!(Difference::beside_record(&standings(&matrix), "b").is_of_nothing());
}

/// A run is compared with the record that it has written: its causes are those of the record, however long they are.
#[test]
fn a_cause_shortened_in_the_record_is_known() {
    let long = format!("refused: {}", "a long reason ".repeat(40));
    let matrix = judged(&run(|test| (test == BLK).then(|| fail(Component::Kernel, &long))));
    let entries = crate::views::record::verified_entries(&standings(&matrix)).0;
    let entries: Vec<_> = entries.into_iter().map(|(_, entry)| entry).collect();
    let difference = Difference::beside_record(&compared_with_record(&matrix, &entries), "b");
    let known: Vec<SignatureState> = difference.signatures.iter().map(|turn| turn.state).collect();
    assert_eq!(known, [SignatureState::Known, SignatureState::Known], "{difference:?}");
    assert_eq!(difference.effect(), Effect::None);
    let other = judged(&run(|test| (test == BLK).then(|| fail(Component::Kernel, &long.replace("long", "short")))));
    let difference = Difference::beside_record(&compared_with_record(&other, &entries), "b");
    let states: Vec<SignatureState> = difference.signatures.iter().map(|turn| turn.state).collect();
    assert_eq!(states, [SignatureState::New, SignatureState::Unseen, SignatureState::Known]);
}

/// Older records have the place in Kata's source in the text; runs have it separately.
#[test]
fn a_recorded_cause_with_a_citation_is_known() {
    let mut entries = recorded();
    let tdx = entries[0].capabilities.get_mut(&Capability::VmmTdx).unwrap();
    let cited = "no tdx-guest (src/runtime/virtcontainers/qemu_amd64.go@3.29.0)";
    tdx.causes = vec![VerifiedCause::new(Component::Qemu, cited).shown_by(TDX.parse().unwrap())];
    let matrix = judged(&run(|_| None));
    assert_eq!(states(&Difference::beside_record(&compared_with_record(&matrix, &entries), "b")), [TDX_IS_MISSING]);
}

#[test]
fn differing_packages_are_listed() {
    let mut matrix = judged(&run(|_| None));
    let before = Side::of_run("a", &matrix);
    let facts = matrix.cells[0].facts.as_mut().unwrap();
    facts.versions.insert("virtiofsd".parse().unwrap(), "1.14.0-1".parse().unwrap());
    let difference = Difference::between(&before, &Side::of_run("b", &matrix));
    assert!(difference.text().contains("virtiofsd: 1.13.2-1 → 1.14.0-1"), "{}", difference.text());
    assert_eq!(difference.packages.len(), 1);
}

/// Packages that only one side lists are not compared, because the other side does not know whether they are installed.
#[test]
fn without_both_manifests_only_component_packages_are_compared() {
    let mut matrix = judged(&run(|_| None));
    let without = Side::of_run("a", &matrix);
    let installed = |name: &str, version: &str| InstalledPackage {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        source: name.parse().unwrap(),
    };
    matrix.cells[0].packages = vec![
        installed("libc6", "2.41-1"),
        installed("qemu-system-x86", "1:10.0.2+ds-2"),
        installed("virtiofsd", "1.14-1"),
    ];
    let with = Side::of_run("b", &matrix);
    let turns = |before: &Side, after: &Side| {
        let packages = Difference::between(before, after).packages;
        let word = |version: Option<PackageVersion>| version.map_or("none".to_owned(), |version| version.to_string());
        packages
            .into_iter()
            .map(|turn| format!("{} {} {}", turn.name, word(turn.was), word(turn.is)))
            .collect::<Vec<_>>()
    };
    assert_eq!(turns(&without, &with), ["virtiofsd 1.13.2-1 1.14-1"]);
    assert_eq!(turns(&with, &without), ["virtiofsd 1.14-1 1.13.2-1"]);
    matrix.cells[0].packages.remove(0);
    assert_eq!(turns(&with, &Side::of_run("c", &matrix)), ["libc6 2.41-1 none"], "both list all that is installed");
}

fn without_disk() -> Matrix {
    judged(&run(|test| (test == BLK).then(|| fail(Component::Kernel, "no disk"))))
}

/// Returns the change of a capability, if it is reported.
fn turn(difference: &Difference, capability: Capability) -> Option<&VerdictTurn> {
    difference.verdicts.iter().find(|turn| turn.capability == capability)
}

/// A known issue is expected here, too.
#[test]
fn a_known_issue_is_known_in_a_comparison_with_the_record() {
    let text = format!(
        "distro: debian\nknown-issues:\n  - {{id: no-disk, test: '{BLK}', package: virtiofsd, versions: all, \
         url: 'https://bugs.example/1', owner: somebody, expires: 2027-01-31}}\n"
    );
    let issues = KnownIssuesFile::parse(Path::new("known-issues/debian.yaml"), &text).unwrap().issues;
    let (matrix, entries) = (without_disk(), recorded());
    let plain = Difference::beside_record(&compared_with_record(&matrix, &entries), "b");
    assert!(plain.is_worse(), "{plain:?}");
    assert_eq!(states(&plain)[0], (SignatureState::New, "kernel: no disk"));
    let of_debian = Recorded::of_distro(&crate::sample::DEBIAN, &entries).knowing(
        &crate::sample::DEBIAN,
        PackageManager::Apt,
        &issues,
    );
    let excused = Difference::beside_record(&Standings::new(&matrix, of_debian, false), "b");
    assert_eq!(excused.effect(), Effect::None, "{excused:?}");
    assert_eq!(states(&excused), [(SignatureState::Known, "kernel: no disk"), TDX_IS_MISSING]);
    let text = excused.text();
    for words in [
        "  known debian:13/x86_64/container fs.virtio-blk: supported → unsupported [go-3.29]",
        "\nKnown issues:\n  known issue no-disk of virtiofsd, https://bugs.example/1",
    ] {
        assert!(text.contains(words), "{text}");
    }
    // A known issue whose test passes is at fault, as in every report.
    let passing = judged(&run(|_| None));
    let of_debian = Recorded::of_distro(&crate::sample::DEBIAN, &entries).knowing(
        &crate::sample::DEBIAN,
        PackageManager::Apt,
        &issues,
    );
    let at_fault = Difference::beside_record(&Standings::new(&passing, of_debian, false), "b");
    assert!(at_fault.is_worse() && at_fault.text().contains("its test passes"), "{at_fault:?}");
}

/// A result with a brought component says nothing about the distro's own.
#[test]
fn results_with_a_brought_along_component_are_not_worse() {
    let mut maker = run(|_| None);
    for entry in &mut maker.journal.entries {
        if let Event::CellFacts { facts, .. } = &mut entry.event {
            facts.candidates.insert(Component::Virtiofsd, "mine (sha256 0123)".to_owned().into());
        }
    }
    let (matrix, entries) = (judged(&maker), recorded());
    for difference in
        [Difference::beside_record(&compared_with_record(&matrix, &entries), "b"), between(&run(|_| None), &maker)]
    {
        assert_eq!(difference.effect(), Effect::None, "{difference:?}");
        let turn = turn(&difference, Capability::FsVirtioFs).unwrap();
        assert_eq!((turn.is, turn.worse), (Some(Verdict::Partial), false));
    }
}

/// The record decided nothing, so that nothing is worse: the change is a new verdict, as in the reports, and nothing
/// else.
#[test]
fn a_failure_undecided_in_the_record_is_a_new_verdict() {
    let matrix = without_disk();
    for before in [Some(Verdict::Untested), Some(Verdict::Inconclusive), None] {
        let mut entries = recorded();
        let capabilities = &mut entries[0].capabilities;
        capabilities.remove(&Capability::FsVirtioBlk);
        capabilities.extend(before.map(|verdict| (Capability::FsVirtioBlk, VerifiedCapability::plain(verdict))));
        let difference = Difference::beside_record(&compared_with_record(&matrix, &entries), "b");
        assert_eq!(difference.effect(), Effect::None, "{before:?}: {difference:?}");
        assert_eq!(states(&difference)[0], (SignatureState::NewVerdict, "kernel: no disk"), "{before:?}");
        let turn = turn(&difference, Capability::FsVirtioBlk).unwrap();
        assert_eq!((turn.was, turn.change), (before, Change::NewVerdict));
        assert!(difference.not_compared.is_empty(), "{difference:?}");
    }
}

/// A capability that is recorded as supported, and that this environment cannot show, was not judged.
#[test]
fn a_supported_capability_that_no_longer_applies_is_unjudged() {
    let mut entries = recorded();
    let supported = VerifiedCapability::plain(Verdict::Supported);
    entries[0].capabilities.insert(Capability::FsVirtio9p, supported);
    let matrix = judged(&run(|_| None));
    let difference = Difference::beside_record(&compared_with_record(&matrix, &entries), "b");
    assert!(difference.is_unjudged(), "{difference:?}");
    let turn = turn(&difference, Capability::FsVirtio9p).unwrap();
    assert_eq!((turn.is, turn.unjudged), (Some(Verdict::NotApplicable), true));
}

/// Returns a run that was asked for only some tests of the catalogue.
fn filtered(keep: impl Fn(&str) -> bool) -> Maker {
    let mut maker = run(|_| None);
    maker.journal.entries.retain(|entry| match &entry.event {
        Event::TestStarted { test, .. } | Event::TestFinished { test, .. } => keep(test),
        _ => true,
    });
    if let Event::RunStarted { filter, .. } = &mut maker.journal.entries[0].event {
        *filter = Some("what was kept".to_owned());
    }
    maker
}

/// A test that an earlier run was not asked for did not pass in it.
#[test]
fn causes_in_tests_that_the_other_run_excluded_are_left_out() {
    let whole = run(|test| (test == BLK).then(|| fail(Component::Kernel, "no disk")));
    let few = filtered(|test| test == TDX);
    for difference in [between(&few, &whole), between(&whole, &few)] {
        assert_eq!(states(&difference), [TDX_IS_MISSING]);
        assert_eq!((difference.effect(), difference.verdicts.len()), (Effect::None, 0), "{difference:?}");
    }
    let both = filtered(|test| test == TDX || test == BLK);
    assert_eq!(states(&between(&both, &whole))[0], (SignatureState::New, "kernel: no disk"));
    // Without a filter, a test that never ran was asked for.
    let mut lacking = run(|_| None);
    lacking.journal.entries.retain(|entry| match &entry.event {
        Event::TestStarted { test, .. } | Event::TestFinished { test, .. } => test != BLK,
        _ => true,
    });
    assert!(between(&lacking, &whole).is_worse());
}

/// Tests that a killed run did not reach were asked for.
#[test]
fn killed_runs_and_unknown_profiles_are_listed_as_unjudged() {
    let mut killed = filtered(|test| test == TDX);
    killed.journal.entries.truncate(killed.journal.entries.len() - 2);
    let mut strange = run(|_| None);
    if let Event::RunStarted { profiles, .. } = &mut strange.journal.entries[0].event {
        profiles.push("go-9.9".parse().unwrap());
    }
    let entries = recorded();
    for (maker, why) in [(&killed, "the run has no end"), (&strange, "profile go-9.9 is unknown to this version")] {
        let matrix = judged(maker);
        let compared = compared_with_record(&matrix, &entries);
        for difference in [between(&run(|_| None), maker), Difference::beside_record(&compared, "b")] {
            assert!(difference.is_unjudged(), "{difference:?}");
            assert!(difference.text().contains(&format!("\nNot judged:\n  {why}")), "{}", difference.text());
        }
        assert_eq!(compared.effect(), Effect::Unjudged);
    }
    let lost = between(&run(|_| None), &killed);
    let turn = turn(&lost, Capability::FsVirtioBlk).unwrap();
    assert_eq!((turn.is, turn.unjudged), (Some(Verdict::Untested), true));
}

/// `diff` and every report agree, for any recorded verdict and any outcome of a test.
#[test]
fn a_comparison_with_the_record_has_the_same_effect_as_reports() {
    let outcomes: [fn() -> Option<Outcome>; 6] = [
        || None,
        || Some(fail(Component::Kernel, "no disk")),
        || Some(fail(Component::Kernel, "another cause")),
        || Some(crate::sample::error("the line ended")),
        || Some(crate::sample::skip("no room")),
        || Some(crate::sample::blocked(TDX)),
    ];
    let unsupported = |causes| VerifiedCapability { causes, ..VerifiedCapability::plain(Verdict::Unsupported) };
    let cause = VerifiedCause::new(Component::Kernel, "no disk").shown_by(BLK.parse().unwrap());
    let plain =
        [Verdict::Supported, Verdict::Partial, Verdict::Untested, Verdict::NotApplicable, Verdict::Inconclusive];
    let mut records: Vec<Option<VerifiedCapability>> =
        plain.into_iter().map(VerifiedCapability::plain).map(Some).collect();
    records.extend([None, Some(unsupported(vec![cause])), Some(unsupported(Vec::new()))]);
    for outcome in outcomes {
        let matrix = judged(&run(|test| if test == BLK { outcome() } else { None }));
        for recorded_capability in &records {
            let mut entries: Vec<VerifiedEntry> = recorded();
            entries[0].capabilities.remove(&Capability::FsVirtioBlk);
            entries[0].capabilities.extend(
                recorded_capability.clone().map(|recorded_capability| (Capability::FsVirtioBlk, recorded_capability)),
            );
            for strict in [false, true] {
                let standings = Standings::new(&matrix, Recorded::of_distro(&crate::sample::DEBIAN, &entries), strict);
                let difference = Difference::beside_record(&standings, "b");
                let case = format!("{recorded_capability:?}, {:?}, strict: {strict}", outcome());
                assert_eq!(difference.effect(), standings.effect(), "{case}");
                let has_new = difference.signatures.iter().any(|turn| turn.state == SignatureState::New);
                let is_worse = has_new || difference.verdicts.iter().any(|turn| turn.worse);
                assert_eq!(is_worse, standings.effect() == Effect::Worse, "{case}: {difference:?}");
                let is_open = difference.verdicts.iter().any(|turn| turn.unjudged) || !difference.not_judged.is_empty();
                assert!(is_open || standings.effect() != Effect::Unjudged, "{case}: {difference:?}");
            }
        }
    }
}
