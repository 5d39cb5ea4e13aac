use super::*;
use crate::installed::InstalledPackage;
use crate::journal::{Event, Phase};
use crate::sample::{BLK, BOOT, Maker, RENAME, TDX, VSOCK, fail, judged, recorded, run};
use crate::standing::Recorded;
use model::verified::VerifiedCause;
use suites::outcome::{Component, Outcome};

fn between(before: &Maker, after: &Maker) -> Difference {
    Difference::between(&Side::of_run("a", &judged(before)), &Side::of_run("b", &judged(after)))
}

fn states(difference: &Difference) -> Vec<(SignatureState, &str)> {
    difference.signatures.iter().map(|turn| (turn.state, turn.signature.as_str())).collect()
}

const TDX_IS_MISSING: (SignatureState, &str) = (SignatureState::Known, "qemu: no tdx-guest");

#[test]
fn a_run_is_no_different_from_itself() {
    let difference = between(&run(|_| None), &run(|_| None));
    assert_eq!((difference.verdicts.as_slice(), difference.packages.as_slice()), (&[][..], &[][..]));
    assert_eq!(states(&difference), [TDX_IS_MISSING]);
    assert!(!difference.is_worse());
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
    // Blocked, it has shown nothing.
    let blocked = run(|test| (test == BLK).then(|| crate::sample::blocked(BOOT)));
    let unseen = (SignatureState::Unseen, "kernel: no disk");
    assert_eq!(states(&between(&broken, &blocked)), [unseen, TDX_IS_MISSING]);
}

/// A mirror that did not answer is no green comparison.
#[test]
fn what_was_lost_is_unjudged_and_not_green() {
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

/// Of what the earlier side could not judge nobody knows whether it is new or better.
#[test]
fn what_was_lost_before_is_not_compared() {
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
    none.cells[0].cell.release = "12".to_owned();
    none.cells.push(whole.cells[0].clone());
    let (one, two) = (Side::of_run("a", &whole), Side::of_run("b", &none));
    assert!(Difference::between(&two, &one).is_unjudged());
    assert!(!Difference::between(&one, &two).is_unjudged(), "what is new is not lost");
}

/// Of what both know: a run of some tests says nothing of the others.
#[test]
fn what_a_run_was_not_asked_for_is_not_compared() {
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
fn what_then_passed_is_flaky_and_not_new() {
    let mut flaky = Maker::default();
    flaky.start(&["go-3.29"], &["13"]);
    flaky.attempt("13", &["go-3.29"], RENAME, 1, fail(Component::Virtiofsd, "neither name"));
    flaky.attempt("13", &["go-3.29"], RENAME, 2, Outcome::Pass);
    let difference = between(&run(|_| None), &flaky);
    assert!(states(&difference).contains(&(SignatureState::Flaky, "virtiofsd: neither name")), "{difference:?}");
    assert!(!difference.is_worse(), "what did not run is no worse");
}

#[test]
fn a_run_is_held_against_the_record() {
    let entries = recorded();
    let matrix = judged(&run(|test| (test == VSOCK).then_some(Outcome::Pass)));
    let after = Side::of_run("b", &matrix);
    let recorded = Recorded::of_distro("debian", &entries);
    let difference = Difference::between(&Side::of_record(&matrix, &recorded), &after);
    assert_eq!(states(&difference), [TDX_IS_MISSING], "{TDX} failed then, too");
    let turns: Vec<_> = difference.verdicts.iter().map(|turn| (turn.capability, turn.was, turn.is)).collect();
    assert!(turns.contains(&(Capability::VmmVsock, Some(Verdict::Untested), Some(Verdict::Supported))), "{turns:?}");
    assert!(!difference.is_of_nothing(&after));
    let nothing = Recorded::default();
    assert!(Difference::between(&Side::of_record(&matrix, &nothing), &after).is_of_nothing(&after));
}

/// A run beside the record that it has written: however long its causes are, they are those of the record.
#[test]
fn a_cause_that_the_record_has_cut_is_known() {
    let long = format!("refused: {}", "a long reason ".repeat(40));
    let matrix = judged(&run(|test| (test == BLK).then(|| fail(Component::Kernel, &long))));
    let entries = crate::views::record::verified_entries(&crate::sample::standings(&matrix)).0;
    let entries: Vec<_> = entries.into_iter().map(|(_, entry)| entry).collect();
    let recorded = Recorded::of_distro("debian", &entries);
    let before = Side::of_record(&matrix, &recorded);
    let difference = Difference::between(&before, &Side::of_run("b", &matrix));
    let known: Vec<SignatureState> = difference.signatures.iter().map(|turn| turn.state).collect();
    assert_eq!(known, [SignatureState::Known, SignatureState::Known], "{difference:?}");
    assert!(!difference.is_worse());
    let other = judged(&run(|test| (test == BLK).then(|| fail(Component::Kernel, &long.replace("long", "short")))));
    let difference = Difference::between(&before, &Side::of_run("b", &other));
    let states: Vec<SignatureState> = difference.signatures.iter().map(|turn| turn.state).collect();
    assert_eq!(states, [SignatureState::New, SignatureState::Unseen, SignatureState::Known]);
}

/// Older records say where Kata's source asks for it; runs have that apart.
#[test]
fn a_cause_that_the_record_has_with_a_citation_is_known() {
    let mut entries = recorded();
    let tdx = entries[0].capabilities.get_mut(&Capability::VmmTdx).unwrap();
    let cited = "no tdx-guest (src/runtime/virtcontainers/qemu_amd64.go@3.29.0)";
    tdx.causes = vec![VerifiedCause::new(Component::Qemu, cited).shown_by(TDX)];
    let matrix = judged(&run(|_| None));
    let before = Side::of_record(&matrix, &Recorded::of_distro("debian", &entries));
    assert_eq!(states(&Difference::between(&before, &Side::of_run("b", &matrix))), [TDX_IS_MISSING]);
}

#[test]
fn packages_that_differ_are_told() {
    let mut matrix = judged(&run(|_| None));
    let before = Side::of_run("a", &matrix);
    let facts = matrix.cells[0].facts.as_mut().unwrap();
    facts.versions.insert("virtiofsd".parse().unwrap(), "1.14.0-1".parse().unwrap());
    let difference = Difference::between(&before, &Side::of_run("b", &matrix));
    assert!(difference.text().contains("virtiofsd: 1.13.2-1 → 1.14.0-1"), "{}", difference.text());
    assert_eq!(difference.packages.len(), 1);
}

/// However many packages an image has: of those that only one side lists, the other does not know whether they are there.
#[test]
fn beside_a_manifest_only_the_packages_of_components_are_compared() {
    let mut matrix = judged(&run(|_| None));
    let without = Side::of_run("a", &matrix);
    let installed = |name: &str, version: &str| InstalledPackage {
        name: name.to_owned(),
        version: version.parse().unwrap(),
        source: name.to_owned(),
    };
    matrix.cells[0].packages = vec![
        installed("libc6", "2.41-1"),
        installed("qemu-system-x86", "1:10.0.2+ds-2"),
        installed("virtiofsd", "1.14-1"),
    ];
    let with = Side::of_run("b", &matrix);
    let turns = |before: &Side, after: &Side| {
        let packages = Difference::between(before, after).packages;
        packages.into_iter().map(|turn| (turn.name, turn.was, turn.is)).collect::<Vec<_>>()
    };
    let (old, new) = (Some("1.13.2-1".to_owned()), Some("1.14-1".to_owned()));
    assert_eq!(turns(&without, &with), [("virtiofsd".to_owned(), old.clone(), new.clone())]);
    assert_eq!(turns(&with, &without), [("virtiofsd".to_owned(), new, old)]);
    matrix.cells[0].packages.remove(0);
    let turn = ("libc6".to_owned(), Some("2.41-1".to_owned()), None);
    assert_eq!(turns(&with, &Side::of_run("c", &matrix)), [turn], "both list all that is installed");
}
