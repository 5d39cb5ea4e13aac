use super::*;
use crate::signature::signed;
use crate::verdict::{FinalOutcome, Judgement, Requirements};
use model::profile::Profile;
use model::verified::VerifiedCapability;
use suites::capability::Capability;
use suites::catalogue;
use suites::outcome::Component;

const NESTED: &str = "smoke::kernel_boots_to_userspace";
const STATIC: &str = "smoke::qemu_has_the_machine_type";
/// A test whose failure no container can show.
const HANDLES: &str = "filesystem::virtio_fs::files_that_the_guest_knows_hold_no_descriptors";

fn fail() -> Outcome {
    Outcome::Fail(signed(Failure::new(Component::Kernel, "broken")))
}

/// Returns evidence in which everything passes except for the given outcomes.
fn evidence(environment: Environment, differs: &[(&str, Outcome)]) -> Evidence {
    let outcome = |id: &str| differs.iter().find(|(test, _)| *test == id).map_or(Outcome::Pass, |(_, o)| o.clone());
    let outcomes = catalogue::tests()
        .iter()
        .filter(|test| test.applies_in(environment))
        .map(|test| (test.id.clone(), FinalOutcome { outcome: outcome(&test.id), passed: 0, decided: 1 }))
        .collect();
    let environment = Some(environment);
    Evidence { outcomes, basis: Some(Basis::Emulated), environment, ..Evidence::default() }
}

fn judge(evidence: &Evidence) -> BTreeMap<Capability, Judgement> {
    let profile = Profile::find("go-3.29").unwrap();
    crate::verdict::judge(&Requirements::new(catalogue::tests(), profile), evidence)
}

fn boot(evidence: &Evidence) -> Verdict {
    judge(evidence)[&Capability::VmmBoot].verdict
}

/// Marks tests as having failed again, in any way.
fn again(tests: &[&str]) -> BTreeMap<TestId, Repetition> {
    tests.iter().map(|id| (id.parse().unwrap(), Repetition::Failed)).collect()
}

fn weighed(vm: Evidence, repeated: &[&str], container: Option<&Evidence>) -> Verdict {
    boot(&weigh(catalogue::tests(), vm, &again(repeated), container, &BTreeSet::new()))
}

#[test]
fn a_nested_failure_counts_only_if_repeated_and_seen_in_a_container() {
    let vm = || evidence(Environment::Vm, &[(NESTED, fail())]);
    let (bad, good) = (evidence(Environment::Container, &[(NESTED, fail())]), evidence(Environment::Container, &[]));
    let skipped = evidence(Environment::Container, &[(NESTED, Outcome::Skip { reason: "no vhost".to_owned() })]);
    for (repeated, container, expected) in [
        (&[NESTED][..], Some(&bad), Verdict::Unsupported),
        (&[], Some(&bad), Verdict::Inconclusive),
        (&[NESTED], Some(&good), Verdict::Inconclusive),
        (&[NESTED], Some(&skipped), Verdict::Inconclusive),
        (&[NESTED], None, Verdict::Inconclusive),
        (&[], None, Verdict::Inconclusive),
    ] {
        assert_eq!(weighed(vm(), repeated, container), expected, "{repeated:?} {}", container.is_some());
    }
}

#[test]
fn a_recorded_container_confirms_only_the_same_test_and_cause() {
    let verdict = |repeated: &[&str], container: Option<&Evidence>, known: (&str, &str)| {
        let known = BTreeSet::from([(known.0.parse().unwrap(), known.1.to_owned())]);
        let vm = evidence(Environment::Vm, &[(NESTED, fail())]);
        boot(&weigh(catalogue::tests(), vm, &again(repeated), container, &known))
    };
    let known = (NESTED, "kernel: broken");
    let (good, skipped) = (
        evidence(Environment::Container, &[]),
        evidence(Environment::Container, &[(NESTED, Outcome::Skip { reason: "no vhost".to_owned() })]),
    );
    assert_eq!(verdict(&[NESTED], None, known), Verdict::Unsupported);
    assert_eq!(verdict(&[NESTED], Some(&skipped), known), Verdict::Unsupported);
    assert_eq!(verdict(&[], None, known), Verdict::Inconclusive, "it was not tried again");
    assert_eq!(verdict(&[NESTED], Some(&good), known), Verdict::Inconclusive, "today's container counts more");
    assert_eq!(verdict(&[NESTED], None, (NESTED, "kernel: it hangs")), Verdict::Inconclusive, "another cause");
    assert_eq!(verdict(&[NESTED], None, (STATIC, "kernel: broken")), Verdict::Inconclusive, "another test");
}

#[test]
fn only_container_records_of_the_same_packages_confirm() {
    let mut entry = crate::sample::recorded().remove(0);
    let cause = VerifiedCause::new(Component::Kernel, "broken").shown_by(NESTED.parse().unwrap());
    let known = VerifiedCapability { causes: vec![cause], ..VerifiedCapability::plain(Verdict::Unsupported) };
    entry.capabilities = [(Capability::VmmBoot, known)].into();
    let mut versions = entry.versions.clone();
    versions.insert("containerd".parse().unwrap(), "1.7-1".parse().unwrap());
    let failed = |entry: &VerifiedEntry| recorded([entry].into_iter(), &versions);
    assert_eq!(failed(&entry), BTreeSet::from([(NESTED.parse().unwrap(), "kernel: broken".to_owned())]));
    let none = BTreeSet::new();
    let other = |change: fn(&mut VerifiedEntry)| {
        let mut entry = entry.clone();
        change(&mut entry);
        failed(&entry)
    };
    assert_eq!(other(|entry| entry.environment = Environment::Vm), none);
    assert_eq!(other(|entry| entry.versions.clear()), none);
    assert_eq!(other(|entry| drop(entry.versions.insert("virtiofsd".parse().unwrap(), "0".parse().unwrap()))), none);
    let supported = |entry: &mut VerifiedEntry| {
        entry.capabilities.insert(Capability::VmmBoot, VerifiedCapability::plain(Verdict::Supported));
    };
    assert_eq!(other(supported), none);
}

#[test]
fn a_cause_shortened_in_the_record_matches_the_full_one() {
    let observed = format!("refused: {}", "a long reason ".repeat(40));
    let cause = signature::recorded_cause(Component::Kernel, &observed, &NESTED.parse().unwrap());
    let recorded: BTreeSet<FailureId> = recorded_failure(&cause).into_iter().collect();
    let counts = |observed: &str| {
        let failure = Outcome::Fail(signed(Failure::new(Component::Kernel, observed)));
        let repeated = [(NESTED.parse().unwrap(), Repetition::Failed)].into();
        let weighed =
            weigh(catalogue::tests(), evidence(Environment::Vm, &[(NESTED, failure)]), &repeated, None, &recorded);
        matches!(weighed.outcomes[NESTED].outcome, Outcome::Fail(_))
    };
    assert!(counts(&observed));
    assert!(!counts(&observed.replace("long", "short")), "another cause");
}

#[test]
fn a_repeated_measurement_counts_if_no_container_can_show_it() {
    let judged = |test: &str, capability: Capability, how: Option<Repetition>, container: Option<&Evidence>| {
        let repeated = how.map(|how| (test.parse().unwrap(), how)).into_iter().collect();
        let vm = evidence(Environment::Vm, &[(test, fail())]);
        let weighed = weigh(catalogue::tests(), vm, &repeated, container, &BTreeSet::new());
        let judgement = judge(&weighed).remove(&capability).unwrap();
        assert_eq!(judgement.basis, Some(Basis::Emulated));
        judgement.verdict
    };
    let skips = |test| evidence(Environment::Container, &[(test, Outcome::Skip { reason: "no handles".to_owned() })]);
    let (skips, passes) = (skips(HANDLES), evidence(Environment::Container, &[]));
    let (measured, failed) = (Some(Repetition::Measured), Some(Repetition::Failed));
    for (how, container, expected) in [
        (measured, None, Verdict::Unsupported),
        (measured, Some(&skips), Verdict::Unsupported),
        (measured, Some(&passes), Verdict::Inconclusive),
        (failed, None, Verdict::Inconclusive),
        (failed, Some(&skips), Verdict::Inconclusive),
        (None, None, Verdict::Inconclusive),
    ] {
        let verdict = judged(HANDLES, Capability::FsVirtioFsHandles, how, container);
        assert_eq!(verdict, expected, "{how:?} {}", container.is_some());
    }
    // A failure that a container can show needs a container, however often it was measured.
    assert_eq!(judged(NESTED, Capability::VmmBoot, measured, None), Verdict::Inconclusive);
}

#[test]
fn tests_beyond_containers_are_exactly_the_listed_ones() {
    let nested = catalogue::tests().iter().filter(|test| is_nested(test) && test.place != Place::Kata);
    let beyond: Vec<&str> = nested.filter(|test| test.is_beyond_containers()).map(|test| test.id.as_str()).collect();
    let expected = [
        "smoke::disk_is_hotplugged_by_io_uring",
        "smoke::guest_memory_is_of_huge_pages",
        "smoke::guest_has_numa_nodes_with_bound_memory",
        "smoke::device_behind_an_expander_is_in_its_numa_node",
        "smoke::cloud_hypervisor_boots_to_userspace",
        "smoke::cloud_hypervisor_carries_vsock_both_ways",
        "smoke::cloud_hypervisor_plugs_a_disk",
        "smoke::cloud_hypervisor_shares_files_by_virtiofsd",
        "smoke::firecracker_boots_to_userspace",
        "smoke::firecracker_carries_vsock_both_ways",
        "smoke::firecracker_fills_a_drive_that_waits",
        "host::a_vcpu_runs",
        "host::limits_of_a_sandboxs_cgroup_hold_for_its_vmm",
        "host::qemu_reads_a_disk_by_io_uring",
        "filesystem::virtio_fs::selinux_labels_are_kept",
        HANDLES,
    ];
    assert_eq!(beyond, expected);
}

/// Attempts, each with its machine.
type Attempts<'a> = &'a [(u32, &'a Outcome)];

#[test]
fn only_an_equal_measurement_in_another_machine_counts_as_measured() {
    let failure = |grounds, observed: &str| {
        Outcome::Fail(signed(Failure { grounds, ..Failure::new(Component::Virtiofsd, observed) }))
    };
    let measured = |observed: &str| failure(Grounds::Measured, observed);
    let (seen, waited) = (measured("200 descriptors"), failure(Grounds::Waited, "200 descriptors"));
    let (other, of_another) = (measured("no descriptors"), measured("198 descriptors"));
    let error = Outcome::Error { message: "the guest is slow".to_owned() };
    let (skip, blocked) =
        (Outcome::Skip { reason: "no vhost".to_owned() }, Outcome::Blocked { by: NESTED.parse().unwrap() });
    let (same, failed) = (Some(Repetition::Measured), Some(Repetition::Failed));
    let absent = Some(Repetition::Absent);
    let table: [(Attempts<'_>, Option<Repetition>); 14] = [
        (&[], None),
        (&[(1, &seen)], None),
        (&[(1, &seen), (1, &seen)], None),
        (&[(1, &seen), (2, &skip)], None),
        (&[(1, &seen), (2, &blocked)], None),
        (&[(1, &seen), (2, &error)], absent),
        (&[(1, &seen), (2, &Outcome::Pass)], absent),
        (&[(1, &seen), (2, &seen)], same),
        (&[(1, &seen), (1, &of_another), (3, &seen)], same),
        (&[(1, &seen), (2, &error), (2, &seen)], same),
        (&[(1, &seen), (2, &other)], failed),
        (&[(1, &seen), (2, &waited)], failed),
        (&[(1, &waited), (2, &seen), (2, &seen)], failed),
        (&[(1, &seen), (1, &Outcome::Pass), (2, &seen)], failed),
    ];
    for (attempts, expected) in table {
        assert_eq!(repetition(attempts), expected, "{attempts:?}");
    }
}

#[test]
fn untried_and_unrepeated_failures_have_different_messages() {
    let bad = evidence(Environment::Container, &[(NESTED, fail())]);
    for (repeated, why) in [
        (BTreeMap::new(), "it was not tried in a fresh virtual machine"),
        (
            BTreeMap::from([(NESTED.parse().unwrap(), Repetition::Absent)]),
            "it did not repeat in a fresh virtual machine",
        ),
    ] {
        let vm = evidence(Environment::Vm, &[(NESTED, fail())]);
        let weighed = weigh(catalogue::tests(), vm, &repeated, Some(&bad), &BTreeSet::new());
        let Outcome::Error { message } = &weighed.outcomes[NESTED].outcome else { panic!("it counts") };
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_failure_without_a_nested_guest_is_believed_at_once() {
    assert_eq!(weighed(evidence(Environment::Vm, &[(STATIC, fail())]), &[], None), Verdict::Unsupported);
}

#[test]
fn kata_failures_need_repetition_and_control_failures_do_not() {
    let kata = |evidence: Evidence, repeated: &[&str]| {
        let weighed = weigh(catalogue::tests(), evidence, &again(repeated), None, &BTreeSet::new());
        let judged = judge(&weighed);
        (judged[&Capability::KataSmoke].verdict, judged[&Capability::ContainersRunc].verdict)
    };
    const TWIN: &str = "containers::kata::exit_codes_are_told";
    const CONTROL: &str = "containers::runc::exit_codes_are_told";
    let vm = || evidence(Environment::Vm, &[(TWIN, fail())]);
    assert_eq!(kata(vm(), &[TWIN]), (Verdict::Unsupported, Verdict::Supported));
    assert_eq!(kata(vm(), &[]), (Verdict::Inconclusive, Verdict::Supported));
    let control = evidence(Environment::Vm, &[(CONTROL, fail())]);
    assert_eq!(kata(control, &[]).1, Verdict::Unsupported);
}

#[test]
fn hardware_and_container_failures_need_no_repetition() {
    let mut hardware = evidence(Environment::Vm, &[(NESTED, fail())]);
    hardware.basis = Some(Basis::Hardware);
    assert_eq!(weighed(hardware, &[], None), Verdict::Unsupported);
    assert_eq!(weighed(evidence(Environment::Container, &[(NESTED, fail())]), &[], None), Verdict::Unsupported);
}

#[test]
fn kvm_guest_failures_on_emulated_processors_are_inconclusive() {
    for environment in [Environment::Container, Environment::Host] {
        let failed = |basis| Evidence {
            basis: Some(basis),
            runs_kvm: true,
            ..evidence(environment, &[(NESTED, fail()), (STATIC, Outcome::Pass)])
        };
        assert_eq!(weighed(failed(Basis::Emulated), &[], None), Verdict::Inconclusive, "{environment}");
        assert_eq!(weighed(failed(Basis::Hardware), &[], None), Verdict::Unsupported, "{environment}");
        let without_a_guest = Evidence { runs_kvm: true, ..evidence(environment, &[(STATIC, fail())]) };
        assert_eq!(weighed(without_a_guest, &[], None), Verdict::Unsupported, "{environment}");
    }
}

#[test]
fn a_decided_vm_verdict_outranks_the_container() {
    let bad = evidence(Environment::Container, &[(NESTED, fail())]);
    assert_eq!(weighed(evidence(Environment::Vm, &[]), &[], Some(&bad)), Verdict::Supported);
    for (vm, container, counts) in [
        (Verdict::Supported, Verdict::Unsupported, Verdict::Supported),
        (Verdict::Inconclusive, Verdict::Unsupported, Verdict::Unsupported),
        (Verdict::Inconclusive, Verdict::Supported, Verdict::Supported),
        (Verdict::Unsupported, Verdict::Supported, Verdict::Unsupported),
        (Verdict::Untested, Verdict::Untested, Verdict::Untested),
        (Verdict::NotApplicable, Verdict::Untested, Verdict::Untested),
        (Verdict::Inconclusive, Verdict::NotApplicable, Verdict::Inconclusive),
    ] {
        assert_eq!(settle(vm, container), counts, "{vm:?} {container:?}");
    }
}
