use super::requirements::test_set_line;
use super::*;
use crate::sample::{blocked, error, fail, profile, skip, test};
use model::profile::Profile;
use proptest::prelude::*;
use suites::outcome::Component::{Packages, Qemu, Virtiofsd};

const A: &str = "a";
const B: &str = "b";
const ROOT: &str = "root";
const FS: Capability = Capability::FsVirtioFs;

fn go() -> Profile {
    profile("go-3.29", "3.29 on", true, &[Share::VirtioFs])
}

fn catalogue() -> Vec<Test> {
    vec![test(ROOT, &[], Virtiofsd, &[], &[]), test(A, &[FS], Virtiofsd, &[ROOT], &[]), test(B, &[FS], Qemu, &[], &[])]
}

fn evidence(outcomes: &[(&str, &[Outcome])]) -> Evidence {
    let outcomes = outcomes.iter().filter_map(|(id, o)| Some((id.parse().unwrap(), FinalOutcome::of(o.iter())?)));
    Evidence { outcomes: outcomes.collect(), error: None, basis: Some(Basis::Emulated), ..Evidence::default() }
}

fn judge(catalogue: &[Test], profile: &Profile, evidence: &Evidence) -> BTreeMap<Capability, Judgement> {
    super::judge(&Requirements::new(catalogue, profile), evidence)
}

fn judged(outcomes: &[(&str, &[Outcome])]) -> Judgement {
    judge(&catalogue(), &go(), &evidence(outcomes)).remove(&FS).unwrap()
}

#[test]
fn a_capability_is_supported_if_every_required_test_passed() {
    let judgement = judged(&[(A, &[Outcome::Pass]), (B, &[Outcome::Pass])]);
    assert_eq!(judgement.verdict, Verdict::Supported);
    assert_eq!((judgement.required, judgement.passed, judgement.unrun), (2, 2, 0));
    assert_eq!(judgement.basis, Some(Basis::Emulated));
}

#[test]
fn a_required_test_that_never_ran_makes_the_verdict_untested() {
    let judgement = judged(&[(A, &[Outcome::Pass])]);
    assert_eq!(judgement.verdict, Verdict::Untested);
    assert_eq!(judgement.reasons[0].to_string(), "never ran (b)");
    assert_eq!(judgement.unrun, 1);
}

#[test]
fn independent_causes_are_listed_and_blocked_tests_name_their_root() {
    let judgement = judged(&[
        (ROOT, &[fail(Packages, "no such flag")]),
        (A, &[blocked(ROOT)]),
        (B, &[fail(Qemu, "no such device"), fail(Qemu, "no such device, again")]),
    ]);
    assert_eq!(judgement.verdict, Verdict::Unsupported);
    let causes: Vec<_> = judgement.causes.iter().map(|c| (c.test.as_str(), c.component, c.message.as_str())).collect();
    assert_eq!(causes, [(B, Qemu, "no such device, again"), (ROOT, Packages, "no such flag")]);
}

#[test]
fn one_root_that_blocks_two_tests_is_one_cause() {
    let judgement = judged(&[(ROOT, &[fail(Virtiofsd, "x")]), (A, &[blocked(ROOT)]), (B, &[blocked(A)])]);
    assert_eq!(judgement.causes.len(), 1);
    assert_eq!(judgement.causes[0].test, ROOT);
}

/// The same missing resource in two guests is one reason, and a recorded cause is the same after the next run.
#[test]
fn guest_numbers_do_not_multiply_reasons_or_causes() {
    let no_space = |number| error(&format!("making /var/tmp/kata-qualify-image-{number}-0: no space left"));
    let judgement = judged(&[(A, &[no_space(17)]), (B, &[no_space(18)])]);
    let reasons: Vec<String> = judgement.reasons.iter().map(Reason::to_string).collect();
    assert_eq!(reasons, ["making /var/tmp/kata-qualify-image-N-N: no space left (a, b)"]);
    let refused = |slot| fail(Virtiofsd, &format!("unknown option --shared-dir=/kata-qualify/slot{slot}"));
    let causes = |slot| judged(&[(A, &[refused(slot)]), (B, &[Outcome::Pass])]).causes;
    assert_eq!(causes(0), causes(1));
}

#[test]
fn the_blocking_test_decides_the_verdict_of_a_blocked_one() {
    let verdict = |root: Option<Outcome>| {
        let mut all = vec![(A, vec![blocked(ROOT)]), (B, vec![Outcome::Pass])];
        all.extend(root.map(|o| (ROOT, vec![o])));
        let all: Vec<(&str, &[Outcome])> = all.iter().map(|(id, o)| (*id, o.as_slice())).collect();
        judged(&all).verdict
    };
    assert_eq!(verdict(Some(error("x"))), Verdict::Inconclusive);
    assert_eq!(verdict(Some(skip("x"))), Verdict::Untested);
    assert_eq!(verdict(None), Verdict::Untested);
    assert_eq!(verdict(Some(fail(Qemu, "x"))), Verdict::Unsupported);
    // The root passed in the end, but the test that it blocked has not run.
    assert_eq!(verdict(Some(Outcome::Pass)), Verdict::Inconclusive);
    assert_eq!(verdict(Some(blocked(A))), Verdict::Inconclusive, "a cycle");
    assert_eq!(verdict(Some(blocked("nobody"))), Verdict::Inconclusive, "an unknown id");
}

#[test]
fn a_failure_outweighs_an_error_and_an_error_a_skip() {
    assert_eq!(judged(&[(A, &[fail(Qemu, "x")]), (B, &[error("y")])]).verdict, Verdict::Unsupported);
    assert_eq!(judged(&[(A, &[skip("x")]), (B, &[error("y")])]).verdict, Verdict::Inconclusive);
    assert_eq!(judged(&[(A, &[skip("x")]), (B, &[Outcome::Pass])]).verdict, Verdict::Untested);
}

#[test]
fn fail_then_pass_is_flaky_and_counts_with_its_rate() {
    let judgement = judged(&[(A, &[fail(Qemu, "x"), error("y"), Outcome::Pass]), (B, &[Outcome::Pass])]);
    assert_eq!(judgement.verdict, Verdict::Supported);
    assert_eq!(judgement.flaky, [Flaky { test: A.parse().unwrap(), passed: 1, attempts: 2 }]);
}

#[test]
fn the_last_decisive_attempt_is_the_final_outcome() {
    let last = |attempts: &[Outcome]| FinalOutcome::of(attempts).unwrap().outcome.name();
    assert_eq!(last(&[fail(Qemu, "x"), error("y")]), "fail");
    assert_eq!(last(&[Outcome::Pass, fail(Qemu, "x")]), "fail");
    assert_eq!(last(&[error("y"), Outcome::Pass]), "pass");
    assert_eq!(last(&[error("y"), skip("z")]), "skip");
    for (later, expected) in [(error("y"), "error"), (blocked(B), "blocked"), (skip("z"), "skip")] {
        assert_eq!(last(&[Outcome::Pass, later.clone()]), expected, "a pass does not vouch for what came later");
        assert_eq!(last(&[fail(Qemu, "x"), Outcome::Pass, later.clone()]), expected);
        assert_eq!(last(&[fail(Qemu, "x"), later.clone()]), "fail", "a failure stays");
        assert_eq!(last(&[Outcome::Pass, later.clone(), fail(Qemu, "x"), later.clone()]), "fail");
        assert_eq!(last(&[later, Outcome::Pass]), "pass", "it was tried again");
    }
    let one_of_ten: Vec<Outcome> = std::iter::once(Outcome::Pass).chain((0..9).map(|_| error("lost"))).collect();
    assert_eq!(last(&one_of_ten), "error");
    assert_eq!(judged(&[(A, &one_of_ten), (B, &[Outcome::Pass])]).verdict, Verdict::Inconclusive);
    assert!(!FinalOutcome::of(&[error("y"), Outcome::Pass]).unwrap().is_flaky());
    assert!(FinalOutcome::of(&[]).is_none());
}

/// An attempt in error shows nothing, so that a minority of the repetitions decides nothing, in whatever order they are.
#[test]
fn a_repeated_test_is_decided_only_if_most_attempts_are() {
    let last = |attempts: &[Outcome]| FinalOutcome::of_repeated(attempts).unwrap();
    let with_errors = |decided: Outcome, of: usize, errors: usize| {
        let errors = (0..errors).map(|number| error(&format!("lost {number}")));
        errors.chain(std::iter::repeat_n(decided, of)).collect::<Vec<Outcome>>()
    };
    for decided in [Outcome::Pass, fail(Qemu, "x")] {
        for (of, errors, stands) in [(1, 0, true), (6, 4, true), (2, 1, true), (5, 5, false), (1, 9, false)] {
            let outcome = last(&with_errors(decided.clone(), of, errors)).outcome;
            assert_eq!(outcome == decided, stands, "{of} decided, {errors} in error: {outcome:?}");
            assert!(stands || outcome.name() == "error", "{outcome:?}");
        }
    }
    let Outcome::Error { message } = last(&with_errors(Outcome::Pass, 1, 9)).outcome else { panic!() };
    assert_eq!(message, "too few of the repetitions say anything: 9 of 10 were in error: lost 8");
    assert_eq!(last(&[Outcome::Pass, Outcome::Pass, error("x")]).outcome, error("x"), "a pass that something followed");
    assert_eq!(last(&[error("x"), skip("y")]).outcome, skip("y"));
    assert!(FinalOutcome::of_repeated(&[]).is_none());
}

#[test]
fn the_worse_of_two_configurations_counts() {
    let of = |o: Outcome| FinalOutcome::of([&o]).unwrap();
    assert_eq!(of(Outcome::Pass).worse(of(fail(Qemu, "x"))).outcome.name(), "fail");
    assert_eq!(of(fail(Qemu, "x")).worse(of(Outcome::Pass)).outcome.name(), "fail");
    assert_eq!(of(skip("x")).worse(of(error("y"))).outcome.name(), "error");
}

#[test]
fn capabilities_required_only_by_other_profiles_do_not_apply() {
    let tests = vec![
        test("nine", &[Capability::FsVirtio9p], Qemu, &[], &["go-3.2"]),
        test("net", &[Capability::VmmNet], Qemu, &[], &["rs-4.0"]),
        test("nine_always", &[Capability::FsVirtio9pXattr], Qemu, &[], &[]),
    ];
    let judgements = judge(&tests, &go(), &Evidence::default());
    let of = |c| judgements.get(&c).unwrap().verdict;
    assert_eq!(of(Capability::FsVirtio9p), Verdict::NotApplicable);
    assert_eq!(of(Capability::VmmNet), Verdict::NotApplicable);
    assert_eq!(of(Capability::FsVirtio9pXattr), Verdict::NotApplicable, "the profile has no 9p");
    assert_eq!(of(Capability::KataSmoke), Verdict::Untested);
    let old = profile("go-3.2", "3.2", false, &[Share::VirtioFs, Share::Virtio9p]);
    assert_eq!(judge(&tests, &old, &Evidence::default())[&Capability::FsVirtio9pXattr].verdict, Verdict::Untested);
}

#[test]
fn a_cell_error_makes_undecided_capabilities_inconclusive() {
    let mut evidence = evidence(&[(A, &[Outcome::Pass])]);
    evidence.error = Some("image: no mirror".to_owned());
    let judgements = judge(&catalogue(), &go(), &evidence);
    assert_eq!(judgements[&FS].verdict, Verdict::Inconclusive);
    assert_eq!(judgements[&FS].reasons[0].to_string(), "image: no mirror (b)");
    assert_eq!(judgements[&Capability::KataSmoke].verdict, Verdict::Untested, "nobody tests it anyway");
    evidence.outcomes.insert(B.parse().unwrap(), FinalOutcome::of([&fail(Qemu, "x")]).unwrap());
    assert_eq!(judge(&catalogue(), &go(), &evidence)[&FS].verdict, Verdict::Unsupported);
}

#[test]
fn the_test_set_changes_only_with_the_requirements() {
    let one = test_set(&catalogue());
    let mut other = catalogue();
    other.reverse();
    other[0].doc = "changed".to_owned();
    assert_eq!(one, test_set(&other));
    other[0].proves.push(Capability::VmmBoot);
    assert_ne!(one, test_set(&other));
}

#[test]
fn a_new_test_changes_only_the_digest_of_its_capability() {
    let of = |catalogue: &[Test]| -> Vec<String> {
        test_set_line(catalogue).split(' ').skip(1).map(str::to_owned).collect()
    };
    let mut other = catalogue();
    other.push(test("c", &[Capability::VmmVfio], Qemu, &[], &[]));
    let (one, other) = (of(&catalogue()), of(&other));
    let changed: Vec<&str> =
        one.iter().zip(&other).filter(|(a, b)| a != b).filter_map(|(a, _)| a.split('=').next()).collect();
    assert_eq!(changed, ["vmm.vfio"]);
}

fn any_outcome(ids: usize) -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Pass),
        1 => Just(fail(Qemu, "broken")),
        1 => Just(skip("lacking")),
        1 => (0..ids + 1).prop_map(|by| blocked(&format!("t{by}"))),
        1 => Just(error("ours")),
    ]
}

const TESTS: usize = 5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Compares the policy with the rule in its simplest form, over any catalogue, evidence, and cell error.
    #[test]
    fn supported_exactly_when_every_required_test_has_passed(
        proves in proptest::collection::vec((any::<bool>(), 0..3usize), TESTS),
        attempts in proptest::collection::vec(proptest::collection::vec(any_outcome(TESTS), 0..4), TESTS),
        broken in any::<bool>(),
    ) {
        let profiles: [&'static [&'static str]; 3] = [&[], &["go-3.29"], &["rs-4.0"]];
        let tests: Vec<Test> = proves
            .iter()
            .enumerate()
            .map(|(i, (proves, only))| {
                let proves: &[Capability] = if *proves { &[FS] } else { &[] };
                test(&format!("t{i}"), proves, Qemu, &[], profiles[*only])
            })
            .collect();
        let id = |i: usize| -> TestId { format!("t{i}").parse().unwrap() };
        let outcomes = attempts.iter().enumerate();
        let outcomes = outcomes.filter_map(|(i, o)| Some((id(i), FinalOutcome::of(o)?))).collect();
        let evidence = Evidence {
            environment: None,
            outcomes,
            error: broken.then(|| "image: none".to_owned()),
            basis: None,
            runs_kvm: false,
            candidates: BTreeMap::new(),
        };
        let passed = |i: usize| attempts[i].last() == Some(&Outcome::Pass);
        let required: Vec<usize> = (0..TESTS).filter(|i| proves[*i].0 && proves[*i].1 != 2).collect();
        let judgement = judge(&tests, &go(), &evidence).remove(&FS).unwrap();
        let all = !required.is_empty() && required.iter().all(|i| passed(*i));
        prop_assert_eq!(judgement.verdict == Verdict::Supported, all, "{:?}", judgement);
        prop_assert_eq!(judgement.verdict == Verdict::Unsupported, !judgement.causes.is_empty());
        prop_assert_eq!(judgement.required, required.len());
        prop_assert_eq!(judgement.passed, required.iter().filter(|i| passed(**i)).count());
        let undecided = matches!(judgement.verdict, Verdict::Untested | Verdict::Inconclusive);
        prop_assert!(!undecided || !judgement.reasons.is_empty());
        let last = |i: &usize| evidence.outcomes.get(&id(*i)).map(|last| &last.outcome);
        let failed = |i: &usize| matches!(last(i), Some(Outcome::Fail { .. }));
        prop_assert!(!required.iter().any(failed) || judgement.verdict == Verdict::Unsupported);
    }
}

#[test]
fn a_reason_names_a_few_tests_and_counts_the_rest() {
    let reason = |n: usize| Reason {
        why: "never ran".to_owned(),
        tests: (0..n).map(|i| format!("t{i}").parse().unwrap()).collect(),
        source: ReasonSource::Test,
    };
    assert_eq!(reason(0).to_string(), "never ran");
    assert_eq!(reason(3).to_string(), "never ran (t0, t1, t2)");
    assert_eq!(reason(5).to_string(), "never ran (t0, t1, t2 and 2 more)");
}

#[test]
fn a_release_kernel_affects_all_guests_and_a_kernel_file_only_katas() {
    let own = |capability, what: &str| !rests_on(capability, Component::Kernel, &what.to_owned().into());
    for (capability, is_own) in [
        (Capability::VmmBoot, false),
        (Capability::FsVirtioFs, false),
        (Capability::KernelGuest, false),
        (Capability::KernelHost, true),
        (Capability::PackagesInstall, true),
    ] {
        assert_eq!(own(capability, "of debian:13 (linux-image-amd64 6.12)"), is_own, "{capability}");
        assert!(own(capability, "vmlinuz (sha256 0123)"), "{capability}");
    }
    assert!(!own(Capability::KataSmoke, "vmlinuz (sha256 0123)"));
}

#[test]
fn a_brought_along_vmm_affects_only_its_own_guests() {
    let mine = Candidate::File("mine".to_owned());
    let with = |component| -> Vec<Capability> {
        Capability::ALL.iter().copied().filter(|capability| rests_on(*capability, component, &mine)).collect()
    };
    for component in Component::ALL {
        if let Some(own) = Capability::of_other_vmm(*component) {
            assert_eq!(with(*component), [own]);
        }
    }
    let of_qemu = with(Qemu);
    assert!(of_qemu.contains(&Capability::VmmBoot) && of_qemu.contains(&Capability::HostIoUring));
    assert!(!of_qemu.contains(&Capability::VmmCloudHypervisor) && !of_qemu.contains(&Capability::VmmFirecracker));
    let of_virtiofsd = with(Virtiofsd);
    assert!(of_virtiofsd.contains(&Capability::VmmCloudHypervisor) && of_virtiofsd.contains(&Capability::KataFs));
    assert!(!of_virtiofsd.contains(&Capability::VmmFirecracker) && !of_virtiofsd.contains(&Capability::VmmBoot));
}

#[test]
fn candidates_make_only_dependent_verdicts_partial() {
    let ids = suites::catalogue::tests().iter().map(|t| t.id.as_str());
    let pass = [Outcome::Pass];
    let all: Vec<(&str, &[Outcome])> = ids.map(|id| (id, &pass[..])).collect();
    let mut evidence = evidence(&all);
    evidence.environment = Some(Environment::Vm);
    evidence.candidates = [(Virtiofsd, Candidate::File("mine (sha256 0123)".to_owned()))].into();
    let profile = Profile::find("go-3.29").unwrap();
    let judged = judge(suites::catalogue::tests(), profile, &evidence);
    assert_eq!(judged[&Capability::KataFs].verdict, Verdict::Partial);
    let workaround = judged[&Capability::KataFs].workaround.clone().unwrap();
    assert!(workaround.contains("virtiofsd mine"), "{workaround}");
    assert_eq!(judged[&Capability::FsVirtioFs].verdict, Verdict::Partial);
    assert_eq!(judged[&Capability::VmmBoot].verdict, Verdict::Supported);
    assert_eq!(judged[&Capability::ContainersRunc].verdict, Verdict::Supported);
    evidence.candidates = [(Qemu, Candidate::File("mine (sha256 4567)".to_owned()))].into();
    let judged = judge(suites::catalogue::tests(), profile, &evidence);
    for (capability, expected) in [
        (Capability::VmmBoot, Verdict::Partial),
        (Capability::FsVirtioBlk, Verdict::Partial),
        (Capability::KataSmoke, Verdict::Partial),
        (Capability::PackagesInstall, Verdict::Supported),
        (Capability::ContainersRunc, Verdict::Supported),
    ] {
        assert_eq!(judged[&capability].verdict, expected, "{capability:?}");
    }
}

/// `kata-osinfo lint` calls entries of any other test set forged.
#[test]
fn the_linter_knows_the_test_set_of_this_catalogue() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../distros/test-sets.txt");
    let current = test_set_line(suites::catalogue::tests());
    let mut known = std::fs::read_to_string(&file).unwrap();
    // The last line is this version's; verdicts by another set of tests are marked.
    let is_known = |known: &str| known.lines().next_back() == Some(current.as_str());
    if std::env::var_os("UPDATE_TEST_SETS").is_some() && !is_known(&known) {
        known += &format!("{current}\n");
        std::fs::write(&file, &known).unwrap();
    }
    assert!(
        is_known(&known),
        "the catalogue has changed: append {current} to distros/test-sets.txt, or run the test with UPDATE_TEST_SETS=1"
    );
}

#[test]
fn capabilities_shown_only_by_lists_are_offered_not_supported() {
    for capability in Capability::ALL {
        let catalogue = vec![test(A, &[*capability], Qemu, &[], &[])];
        let mut profile = go();
        profile.shares = vec![Share::VirtioFs, Share::Virtio9p];
        let judge = |outcome: Outcome| {
            judge(&catalogue, &profile, &evidence(&[(A, &[outcome])])).remove(capability).unwrap().verdict
        };
        let best = if capability.is_only_listed() { Verdict::Offered } else { Verdict::Supported };
        assert_eq!(judge(Outcome::Pass), best, "{capability}");
        assert_eq!(judge(fail(Qemu, "no such device")), Verdict::Unsupported, "{capability}");
    }
    // A candidate does not change the verdict, but is named.
    let catalogue = vec![test(A, &[Capability::VmmVfio], Qemu, &[], &[])];
    let evidence = Evidence {
        candidates: [(Qemu, Candidate::File("mine (sha256 1)".to_owned()))].into(),
        ..evidence(&[(A, &[Outcome::Pass])])
    };
    let judgement = judge(&catalogue, &go(), &evidence).remove(&Capability::VmmVfio).unwrap();
    assert_eq!(judgement.verdict, Verdict::Offered);
    assert!(judgement.workaround.unwrap().contains("qemu mine"));
}
