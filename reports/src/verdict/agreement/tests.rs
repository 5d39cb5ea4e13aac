use super::*;
use crate::verdict::{FinalOutcome, Judgement, Requirements};
use model::profile::Profile;
use model::verified::VerifiedCapability;
use suites::capability::Capability;
use suites::catalogue;
use suites::outcome::{Component, Failure};

const NESTED: &str = "smoke::kernel_boots_to_userspace";
const STATIC: &str = "smoke::qemu_has_the_machine_type";

fn fail() -> Outcome {
    Outcome::Fail(Failure::new(Component::Kernel, "broken"))
}

/// Everything that boots a guest passes, except for what is given.
fn evidence(environment: Environment, differs: &[(&str, Outcome)]) -> Evidence {
    let outcome = |id: &str| differs.iter().find(|(test, _)| *test == id).map_or(Outcome::Pass, |(_, o)| o.clone());
    let standings = catalogue::tests()
        .iter()
        .filter(|test| test.applies_in(environment))
        .map(|test| (test.id.clone(), FinalOutcome { outcome: outcome(&test.id), passed: 0, decided: 1 }))
        .collect();
    let environment = Some(environment);
    Evidence { standings, basis: Some(Basis::Emulated), environment, ..Evidence::default() }
}

fn judge(evidence: &Evidence) -> BTreeMap<Capability, Judgement> {
    let profile = Profile::find("go-3.29").unwrap();
    crate::verdict::judge(&Requirements::new(catalogue::tests(), profile), evidence)
}

fn boot(evidence: &Evidence) -> Verdict {
    judge(evidence)[&Capability::VmmBoot].verdict
}

fn weighed(vm: Evidence, repeated: &[&str], container: Option<&Evidence>) -> Verdict {
    let repeated = repeated.iter().map(|id| (*id).to_owned()).collect();
    boot(&weigh(catalogue::tests(), vm, &repeated, container, &BTreeSet::new()))
}

#[test]
fn a_nested_failure_blames_only_when_it_repeats_and_shows_in_a_container() {
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
fn a_container_of_the_record_agrees_by_test_and_cause() {
    let verdict = |repeated: &[&str], container: Option<&Evidence>, known: (&str, &str)| {
        let repeated = repeated.iter().map(|id| (*id).to_owned()).collect();
        let known = BTreeSet::from([(known.0.to_owned(), known.1.to_owned())]);
        let vm = evidence(Environment::Vm, &[(NESTED, fail())]);
        boot(&weigh(catalogue::tests(), vm, &repeated, container, &known))
    };
    let known = (NESTED, "kernel: broken");
    let (good, skipped) = (
        evidence(Environment::Container, &[]),
        evidence(Environment::Container, &[(NESTED, Outcome::Skip { reason: "no vhost".to_owned() })]),
    );
    assert_eq!(verdict(&[NESTED], None, known), Verdict::Unsupported);
    assert_eq!(verdict(&[NESTED], Some(&skipped), known), Verdict::Unsupported);
    assert_eq!(verdict(&[], None, known), Verdict::Inconclusive, "it did not repeat");
    assert_eq!(verdict(&[NESTED], Some(&good), known), Verdict::Inconclusive, "today's container counts more");
    assert_eq!(verdict(&[NESTED], None, (NESTED, "kernel: it hangs")), Verdict::Inconclusive, "another cause");
    assert_eq!(verdict(&[NESTED], None, (STATIC, "kernel: broken")), Verdict::Inconclusive, "another test");
}

#[test]
fn the_record_is_of_the_same_packages_in_a_container() {
    let mut entry = crate::sample::recorded().remove(0);
    let cause = format!("kernel: broken ({NESTED})");
    let known =
        VerifiedCapability { causes: vec![cause.as_str().into()], ..VerifiedCapability::plain(Verdict::Unsupported) };
    entry.capabilities = [(Capability::VmmBoot, known)].into();
    let mut versions = entry.versions.clone();
    versions.insert("containerd".parse().unwrap(), "1.7-1".parse().unwrap());
    let failed = |entry: &VerifiedEntry| recorded([entry].into_iter(), &versions);
    assert_eq!(failed(&entry), BTreeSet::from([(NESTED.to_owned(), "kernel: broken".to_owned())]));
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
fn what_needs_no_nested_guest_is_believed_at_once() {
    assert_eq!(weighed(evidence(Environment::Vm, &[(STATIC, fail())]), &[], None), Verdict::Unsupported);
}

#[test]
fn kata_is_weighed_by_its_control_and_the_control_by_nothing() {
    let kata = |evidence: Evidence, repeated: &[&str]| {
        let repeated = repeated.iter().map(|id| (*id).to_owned()).collect();
        let weighed = weigh(catalogue::tests(), evidence, &repeated, None, &BTreeSet::new());
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
fn hardware_and_containers_are_not_weighed() {
    let mut hardware = evidence(Environment::Vm, &[(NESTED, fail())]);
    hardware.basis = Some(Basis::Hardware);
    assert_eq!(weighed(hardware, &[], None), Verdict::Unsupported);
    assert_eq!(weighed(evidence(Environment::Container, &[(NESTED, fail())]), &[], None), Verdict::Unsupported);
}

#[test]
fn a_pass_stays_a_pass_and_outranks_the_container() {
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
