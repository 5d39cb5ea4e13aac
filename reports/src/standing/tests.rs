use super::*;
use crate::matrix::matrix;
use crate::sample::{
    self, BLK, BOOT, QMP, RENAME, TDX, VSOCK, cell, compared_with_record, fail, judged, recorded, run, standings,
};
use crate::verdict::Requirements;
use model::environment::Environment;
use model::package_manager::PackageManager;
use model::profile::Profile;
use std::collections::BTreeSet;
use suites::outcome::{Component, Outcome};

fn judgement(verdict: Verdict, unrun: usize) -> Judgement {
    Judgement {
        verdict,
        causes: vec![],
        reasons: vec![],
        workaround: None,
        flaky: vec![],
        basis: None,
        required: 2,
        passed: 0,
        unrun,
    }
}

#[test]
fn each_pair_of_verdicts_gives_its_change() {
    use Change::{Fixed, Known, NewFailure, NewVerdict, Same, Unjudged};
    use Verdict::{Inconclusive, NotApplicable, Offered, Partial, Supported, Unsupported, Untested};
    let effect = |change| match change {
        NewFailure => Effect::Worse,
        Unjudged => Effect::Unjudged,
        _ => Effect::None,
    };
    let of = |old, new| {
        let (change, does) = compare(old, true, &judgement(new, 0), false);
        assert_eq!(does, effect(change), "{old:?} → {new}");
        change
    };
    for new in [Supported, Partial, Offered, NotApplicable, Untested] {
        assert_eq!(of(None, new), Same, "a first record is never worse: {new}");
    }
    assert_eq!(of(None, Unsupported), NewVerdict, "nor is this one, and it is told");
    assert_eq!(of(Some(Inconclusive), Unsupported), NewVerdict);
    assert_eq!(of(None, Inconclusive), Unjudged);
    let rows = [
        (Supported, [Same, Same, NewFailure, Unjudged, Unjudged]),
        (Partial, [Fixed, Same, NewFailure, Unjudged, Unjudged]),
        (Unsupported, [Fixed, Fixed, Known, Same, Unjudged]),
        (Untested, [Fixed, Same, NewVerdict, Same, Unjudged]),
        (NotApplicable, [Fixed, Same, NewVerdict, Same, Unjudged]),
    ];
    for (old, changes) in rows {
        for (new, expected) in [Supported, Partial, Unsupported, Untested, Inconclusive].into_iter().zip(changes) {
            assert_eq!(of(Some(old), new), expected, "{old} → {new}");
        }
    }
    assert_eq!(of(Some(Offered), Supported), Fixed);
    assert_eq!(of(Some(Offered), Unsupported), NewFailure);
    assert_eq!(of(Some(Unsupported), Offered), Fixed);
    assert_eq!(of(Some(Supported), Offered), NewFailure);
    assert_eq!(of(Some(Offered), Offered), Same);
    assert_eq!(of(Some(Offered), Untested), Unjudged);
    let not_requested = |new| compare(Some(Supported), true, &judgement(new, 1), true);
    assert_eq!(not_requested(Untested), (Same, Effect::None), "not asked for");
    assert_eq!(not_requested(Unsupported), (NewFailure, Effect::Worse), "and yet it failed");
}

#[test]
fn a_changed_test_set_is_noted_and_excuses_nothing() {
    let of = |old, new| compare(Some(old), false, &judgement(new, 0), false);
    let changed = Change::TestSetChanged;
    assert_eq!(of(Verdict::Supported, Verdict::Unsupported), (changed, Effect::Worse));
    assert_eq!(of(Verdict::Unsupported, Verdict::Supported), (changed, Effect::None));
    assert_eq!(of(Verdict::Supported, Verdict::Supported), (Change::Same, Effect::None));
    let mut entries = recorded();
    entries[0].test_set = "0123456789ab".to_owned();
    let matrix = judged(&run(|_| None));
    let notes = compared_with_record(&matrix, &entries).notes();
    assert!(notes.len() == 1 && notes[0].contains("(0123456789ab, now "), "{notes:?}");
}

#[test]
fn a_run_compared_with_its_own_record_has_no_changes() {
    let entries = recorded();
    let matrix = judged(&run(|_| None));
    let compared = compared_with_record(&matrix, &entries);
    assert_eq!(compared.effect().exit_code(), 0);
    assert_eq!(compared.changes(), []);
    assert_eq!(compared.notes(), Vec::<String>::new());
    let strict = Standings::new(&matrix, Recorded::of_distro(&sample::DEBIAN, &entries), true);
    assert_eq!(strict.effect().exit_code(), 0, "what is lacking is optional");
    assert_eq!(standings(&matrix).effect().exit_code(), 0);
    let tdx = compared.of(0, "go-3.29", Capability::VmmTdx).unwrap();
    assert_eq!((tdx.change, tdx.optional, tdx.recorded), (Change::Known, true, Some(Verdict::Unsupported)));
    assert_eq!(tdx.since, Some(entries[0].tested));
}

/// A failure without a record must not count as recorded.
#[test]
fn an_unrecorded_failure_is_listed_as_a_new_verdict() {
    let matrix = judged(&run(|t| (t == QMP).then(|| fail(Component::Qemu, "no reply"))));
    let mut entries = recorded();
    entries[0].capabilities.remove(&Capability::VmmQmp);
    let changes = |entries: &[VerifiedEntry]| {
        let compared = compared_with_record(&matrix, entries);
        assert_eq!(compared.effect().exit_code(), 0, "a first record is never worse");
        let rows = compared.changes();
        rows.iter().map(|row| (row.words(), row.needs_a_person())).collect::<Vec<_>>()
    };
    let qmp = ("new verdict: vmm.qmp had no record, is unsupported".to_owned(), true);
    assert_eq!(changes(&entries), std::slice::from_ref(&qmp));
    let day = entries[0].tested;
    entries[0].capabilities.insert(Capability::VmmQmp, plain(Verdict::Untested));
    assert_eq!(changes(&entries), [(format!("new verdict: vmm.qmp was untested ({day}), is unsupported"), true)]);
    // A release without a record; failures of optional capabilities are reported, too.
    let tdx = ("new verdict: vmm.tdx had no record, is unsupported".to_owned(), false);
    assert_eq!(changes(&[]), [qmp, tdx]);
}

#[test]
fn a_new_failure_exits_with_1_and_an_error_with_3() {
    let entries = recorded();
    let code = |matrix: &Matrix, entries: &[VerifiedEntry], strict: bool| {
        Standings::new(matrix, Recorded::of_distro(&sample::DEBIAN, entries), strict).effect().exit_code()
    };
    let worse = judged(&run(|t| (t == RENAME).then(|| fail(Component::Virtiofsd, "x"))));
    assert_eq!(code(&worse, &entries, false), 1);
    assert_eq!(code(&worse, &[], false), 0, "a first record is never worse");
    assert_eq!(code(&worse, &[], true), 1, "but strict asks for more");
    let error = judged(&run(|t| (t == RENAME).then(|| sample::error("ours"))));
    assert_eq!(code(&error, &entries, false), 3);
    assert_eq!(code(&error, &[], false), 3);
    let both = judged(&run(|t| match t {
        RENAME => Some(sample::error("ours")),
        BOOT => Some(fail(Component::Qemu, "x")),
        _ => None,
    }));
    assert_eq!(code(&both, &entries, false), 1);
}

/// The daemon's own test proves no capability directly.
#[test]
fn a_test_in_error_makes_the_run_unjudged() {
    let matrix = judged(&run(|t| match t {
        sample::DAEMON => Some(sample::error("ours")),
        RENAME | sample::POSIX => Some(fail(Component::Virtiofsd, "x")),
        _ => None,
    }));
    let known = crate::views::record::verified_entries(&standings(&matrix)).0;
    let known: Vec<VerifiedEntry> = known.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(compared_with_record(&matrix, &known).effect(), Effect::Unjudged);
}

#[test]
fn a_run_without_an_end_is_unjudged() {
    let mut maker = run(|_| None);
    maker.journal.entries.pop();
    assert_eq!(standings(&judged(&maker)).effect().exit_code(), 3);
}

/// The process ends with 3, and every report has to say the same.
#[test]
fn a_mirror_that_could_not_be_asked_makes_the_run_unjudged() {
    let mut maker = run(|_| None);
    let why = "debian:12: the mirror could not be checked: no answer";
    if let crate::journal::Event::RunStarted { facts, .. } = &mut maker.journal.entries[0].event {
        *facts = Some(crate::journal::RunFacts { unasked: vec![why.to_owned()], ..Default::default() });
    }
    let (matrix, entries) = (judged(&maker), recorded());
    let compared = compared_with_record(&matrix, &entries);
    assert_eq!((compared.exit_code(), compared.not_judged()), (3, vec![why.to_owned()]));
    assert!(crate::views::markdown::render(&compared).contains(why));
}

#[test]
fn vsock_is_optional_only_where_the_environment_lacks_it() {
    let skipped = judgement(Verdict::Untested, 0);
    let never_ran = judgement(Verdict::Untested, 1);
    assert!(is_optional(Capability::VmmVsock, &skipped));
    assert!(!is_optional(Capability::VmmVsock, &never_ran));
    assert!(!is_optional(Capability::VmmVsock, &judgement(Verdict::Unsupported, 0)));
    assert!(is_lacking(Capability::FsVirtioFs, &skipped));
    assert!(!is_lacking(Capability::FsVirtio9p, &judgement(Verdict::NotApplicable, 0)));
}

fn answer(matrix: &Matrix, entries: &[VerifiedEntry]) -> ReleaseAnswer {
    let compared = compared_with_record(matrix, entries);
    compared.answer(compared.releases()[0], "go-3.29")
}

#[test]
fn the_answer_is_yes_only_if_every_needed_capability_is_supported() {
    let container = judged(&run(|_| None));
    let known = answer(&container, &[]);
    assert_eq!(known.words(), "not known yet: incomplete, 9 of 10 (vsock)");
    assert_eq!(known.verdict(), Verdict::Untested);
    let whole = judged(&run(|t| (t == VSOCK).then_some(Outcome::Pass)));
    let known = answer(&whole, &[]);
    assert_eq!((known.words().as_str(), known.verdict()), ("yes, all 10", Verdict::Supported));
    assert_eq!(known.basis, Some(Basis::Emulated));
    let broken = judged(&run(|t| match t {
        BLK => Some(fail(Component::Kernel, "no")),
        BOOT => Some(sample::error("ours")),
        _ => None,
    }));
    let known = answer(&broken, &[]);
    assert_eq!(known.words(), "no: blk (kernel); not known: boot, vsock, kernel");
    assert_eq!(known.verdict(), Verdict::Unsupported);
}

/// Capabilities that the record does not mention are unknown.
#[test]
fn the_record_alone_gives_an_answer() {
    let profiles = sample::profiles();
    let profile = profiles.iter().find(|profile| profile.name == "go-3.29").unwrap();
    let mut entries = vec![of_today()];
    let words = |entries: &[VerifiedEntry]| {
        let entries: Vec<&VerifiedEntry> = entries.iter().collect();
        recorded_answer(&entries, profile, Some(PackageManager::Apt)).words()
    };
    assert_eq!(words(&entries), "not known yet: incomplete, 9 of 12 (vsock, net, hot cpu)");
    for capability in [Capability::VmmVsock, Capability::VmmNet, Capability::VmmHotplugCpu] {
        entries[0].capabilities.insert(capability, VerifiedCapability::plain(Verdict::Supported));
    }
    assert_eq!(words(&entries), "yes, all 12");
    // What Kata does not need has a column in the overview, and a ✗ there is told.
    for (verdict, expected) in
        [(Verdict::Unsupported, "yes, all 12; optional: no image.nvdimm"), (Verdict::Supported, "yes, all 12")]
    {
        entries[0].capabilities.insert(Capability::VmmImageNvdimm, VerifiedCapability::plain(verdict));
        assert_eq!(words(&entries), expected);
    }
    let daemon = VerifiedCause::new(Component::Virtiofsd, "it ends");
    let daemon = VerifiedCapability { causes: vec![daemon], ..plain(Verdict::Unsupported) };
    entries[0].capabilities.insert(Capability::FsVirtioFs, daemon);
    assert_eq!(words(&entries), "no: virtio-fs (virtiofsd)");
}

/// Answers from the record and from a run need the same capabilities: those that the catalogue's tests show under the
/// profile.
#[test]
fn the_record_and_a_run_need_the_same_capabilities() {
    for profile in Profile::all() {
        let requirements = Requirements::new(suites::catalogue::tests(), profile);
        let tested = Capability::ALL.iter().copied().filter(|c| c.is_needed() && !requirements.of(*c).is_empty());
        let (needed, tested): (Vec<_>, Vec<_>) = (profile.needs().collect(), tested.collect());
        assert_eq!(needed, tested, "{}", profile.name);
    }
    let rs = Profile::find("rs-4.1").unwrap();
    let mut entry = of_today();
    entry.profile.clone_from(&rs.name);
    entry.capabilities = rs.needs().map(|capability| (capability, plain(Verdict::Supported))).collect();
    assert_eq!(recorded_answer(&[&entry], rs, None).words(), "yes, all 12");
    // A capability that the runtime does not support is not needed.
    entry.capabilities.insert(Capability::FsVirtio9p, plain(Verdict::NotApplicable));
    assert_eq!(recorded_answer(&[&entry], rs, None).words(), "yes, all 12");
}

/// The entry that the sample's run writes, as if judged by the current tests.
fn of_today() -> VerifiedEntry {
    VerifiedEntry { test_set: model::verified::test_set_of_today().to_owned(), ..recorded().remove(0) }
}

/// A machine's yes by older tests says nothing about newer requirements, but a container's result may.
#[test]
fn results_of_current_tests_outrank_older_ones() {
    let profiles = sample::profiles();
    let profile = profiles.iter().find(|profile| profile.name == "go-3.29").unwrap();
    let today = of_today();
    let older = |capability, verdict| {
        let mut entry = machine(&today, profile);
        entry.test_set = "d3dcb968b1d5".to_owned();
        entry.capabilities.insert(capability, plain(verdict));
        entry
    };
    let qmp = |verdict| {
        let mut entry = today.clone();
        entry.capabilities.insert(Capability::VmmQmp, plain(verdict));
        entry
    };
    let words = |entries: &[&VerifiedEntry]| recorded_answer(entries, profile, None).words();
    let supported = older(Capability::VmmQmp, Verdict::Supported);
    // A container's result by the current tests is not marked as older.
    assert_eq!(words(&[&today, &supported]), "yes, all 12; by older tests: vsock, net, hot cpu");
    assert_eq!(words(&[&qmp(Verdict::Unsupported), &supported]), "no: qmp", "a test that the machine never ran");
    assert_eq!(words(&[&today, &older(Capability::VmmQmp, Verdict::Unsupported)]), "no: qmp", "a failure stands");
    let alone = words(&[&qmp(Verdict::Untested), &supported]);
    assert_eq!(alone, "yes, all 12; by older tests: qmp, vsock, net, hot cpu");
}

fn plain(verdict: Verdict) -> VerifiedCapability {
    VerifiedCapability::plain(verdict)
}

/// A machine may have shown earlier what a container cannot show.
#[test]
fn the_record_of_another_environment_counts() {
    let container = judged(&run(|_| None));
    let mut entries = recorded();
    entries[0].environment = Environment::Vm;
    entries[0].capabilities.insert(Capability::VmmVsock, VerifiedCapability::plain(Verdict::Supported));
    let day = entries[0].tested;
    assert_eq!(answer(&container, &entries).words(), format!("yes, all 10 [record: vm {day}]"));
    // The record holds nothing about candidates.
    let mut candidate = container.clone();
    candidate.candidate = true;
    assert!(!answer(&candidate, &entries).words().contains("record"));
    // The environment that shows more counts, for or against.
    entries[0].capabilities.insert(Capability::VmmBoot, VerifiedCapability::plain(Verdict::Unsupported));
    assert_eq!(answer(&container, &entries).verdict(), Verdict::Unsupported);
    // A record of the same environment is replaced by the new results.
    entries[0].environment = Environment::Container;
    assert_eq!(answer(&container, &entries).words(), "not known yet: incomplete, 9 of 10 (vsock)");
}

/// Prevents a false yes and a silent regression: the record's machine passed, and today's container fails with the same
/// packages.
#[test]
fn a_failure_stands_against_an_earlier_pass_of_another_environment() {
    let broken = judged(&run(|t| (t == QMP).then(|| fail(Component::Qemu, "no reply"))));
    let mut entries = recorded();
    entries[0].environment = Environment::Vm;
    entries[0].capabilities.insert(Capability::VmmVsock, plain(Verdict::Supported));
    let day = entries[0].tested;
    let known = answer(&broken, &entries);
    assert_eq!(known.words(), format!("no: qmp (qemu) [record: vm {day}]"));
    let standing = |entries: &[VerifiedEntry]| {
        let compared = compared_with_record(&broken, entries);
        let qmp = compared.of(0, "go-3.29", Capability::VmmQmp).unwrap();
        (qmp.change, qmp.recorded, compared.exit_code())
    };
    let new_failure = (Change::NewFailure, Some(Verdict::Supported), 1);
    assert_eq!(standing(&entries), new_failure);
    let compared = compared_with_record(&broken, &entries);
    let row = compared.changes().remove(0);
    assert_eq!(row.words(), format!("new failure: vmm.qmp was supported ({day}), is unsupported"));
    assert_eq!(row.packages(), "recorded in vm, else the same packages");
    // An update may be the reason.
    assert_eq!(standing(&[with_qemu(&entries[0], "1:10.0.1+ds-1", day)]), new_failure);
    // A container that decided nothing is no excuse, and one that failed before is.
    let container = |verdict| {
        let capabilities = [(Capability::VmmQmp, plain(verdict))].into();
        VerifiedEntry { environment: Environment::Container, capabilities, ..entries[0].clone() }
    };
    assert_eq!(standing(&[entries[0].clone(), container(Verdict::Untested)]), new_failure);
    let both = [entries[0].clone(), container(Verdict::Unsupported)];
    assert_eq!(standing(&both), (Change::Known, Some(Verdict::Unsupported), 0));
    // The machine passed later than this run, or does not say that it works.
    let later = VerifiedEntry { tested: day.tomorrow().unwrap(), ..entries[0].clone() };
    assert_eq!(standing(&[later]), (Change::NewVerdict, None, 0));
    for verdict in [Verdict::Unsupported, Verdict::Inconclusive, Verdict::Untested] {
        let mut silent = entries[0].clone();
        silent.capabilities.insert(Capability::VmmQmp, plain(verdict));
        assert_eq!(standing(&[silent]), (Change::NewVerdict, None, 0), "{verdict}");
    }
}

const QEMU: &str = "qemu-system-x86";

/// The entry with another version of QEMU and another day.
fn with_qemu(entry: &VerifiedEntry, version: &str, day: Date) -> VerifiedEntry {
    let mut entry = VerifiedEntry { tested: day, ..entry.clone() };
    entry.versions.insert(QEMU.parse().unwrap(), version.parse().unwrap());
    entry
}

/// A machine's entry in which everything that is needed works.
fn machine(entry: &VerifiedEntry, profile: &Profile) -> VerifiedEntry {
    let mut entry = VerifiedEntry { environment: Environment::Vm, ..entry.clone() };
    entry.versions.insert("containerd".parse().unwrap(), "1.7-1".parse().unwrap());
    entry.capabilities = profile.needs().map(|capability| (capability, plain(Verdict::Supported))).collect();
    entry
}

/// Prevents a false yes: QEMU was updated, QMP and virtio-fs fail with the new version, and the machine has only seen
/// the old one.
#[test]
fn results_with_older_packages_do_not_count_for_newer_ones() {
    let failing = |t: &str| match t {
        QMP => Some(fail(Component::Qemu, "no reply")),
        RENAME => Some(fail(Component::Virtiofsd, "lost both names")),
        _ => None,
    };
    let profiles = sample::profiles();
    let profile = profiles.iter().find(|profile| profile.name == "go-3.29").unwrap();
    let same = recorded().remove(0);
    let older = [machine(&with_qemu(&same, "1:10.0.1+ds-1", same.tested), profile)];
    let broken = judged(&run(failing));
    assert_eq!(
        answer(&broken, &older).words(),
        "no: qmp (qemu), virtio-fs (virtiofsd); not known with these packages: vsock"
    );
    let whole = judged(&run(|_| None));
    let known = answer(&whole, &older);
    assert_eq!(known.words(), "not known yet with these packages: incomplete, 9 of 10 (vsock)");
    assert_eq!((known.verdict(), known.answer.outdated), (Verdict::Untested, vec![Capability::VmmVsock]));
    // Neither does a machine with newer packages, or with unknown ones.
    let newer = [machine(&with_qemu(&same, "1:10.0.3+ds-1", same.tested), profile)];
    assert_eq!(answer(&whole, &newer).answer.outdated, [Capability::VmmVsock]);
    let mut unknown_packages = [machine(&same, profile)];
    unknown_packages[0].versions.clear();
    assert_eq!(answer(&whole, &unknown_packages).answer.outdated, [Capability::VmmVsock]);
    // A machine with the same packages does.
    assert_eq!(answer(&whole, &[machine(&same, profile)]).verdict(), Verdict::Supported);
    // A failure stands until it is seen to be fixed.
    let mut against = older;
    against[0].capabilities.insert(Capability::VmmVsock, plain(Verdict::Unsupported));
    let day = same.tested;
    assert_eq!(answer(&whole, &against).words(), format!("no: vsock [record: vm {day}]"));
}

/// The record alone gives the same answer: in `docs/matrix.md`, on the site and in `history`.
#[test]
fn the_answer_uses_the_newest_recorded_packages() {
    let profiles = sample::profiles();
    let profile = profiles.iter().find(|profile| profile.name == "go-3.29").unwrap();
    let container = of_today();
    let (before, day) = (container.tested.yesterday().unwrap(), container.tested);
    let words = |entries: &[&VerifiedEntry]| recorded_answer(entries, profile, Some(PackageManager::Apt)).words();
    let (old, new) = ("1:10.0.9+ds-1", "1:10.0.13+ds-1");
    let machine_with = |qemu, day| machine(&with_qemu(&container, qemu, day), profile);
    let container_with = |qemu, day| with_qemu(&container, qemu, day);
    let incomplete = "not known yet with these packages: incomplete, 9 of 12 (vsock, net, hot cpu)";
    // The same packages.
    assert_eq!(words(&[&container_with(new, day), &machine_with(new, before)]), "yes, all 12");
    // The container is newer.
    assert_eq!(words(&[&container_with(new, day), &machine_with(old, before)]), incomplete);
    // The machine is newer, and has judged all capabilities; then only some.
    assert_eq!(words(&[&container_with(old, before), &machine_with(new, day)]), "yes, all 12");
    let mut part = machine_with(new, day);
    part.capabilities.retain(|capability, _| *capability != Capability::VmmQmp);
    let lacks_qmp = "not known yet with these packages: incomplete, 11 of 12 (qmp)";
    assert_eq!(words(&[&container_with(old, before), &part]), lacks_qmp);
    // An image with old packages that was run later is not the newest.
    assert_eq!(words(&[&container_with(old, day), &part]), lacks_qmp);
    // The packages of an entry are unknown.
    let mut unknown_packages = machine_with(new, day);
    unknown_packages.versions.clear();
    assert_eq!(words(&[&container_with(new, before), &unknown_packages]), incomplete);
    // Packages that were measured with another profile can be the newest, too.
    let mut other = container_with(new, day);
    other.profile = "rs-4.0".parse().unwrap();
    let none = words(&[&container_with(old, before), &machine_with(old, before), &other]);
    assert!(none.starts_with("not known yet with these packages: incomplete, 0 of 12 "), "{none}");
    // The day is that of the deciding evidence, not of other attempts.
    let answer = |entries: &[&VerifiedEntry]| recorded_answer(entries, profile, Some(PackageManager::Apt));
    assert_eq!(answer(&[&container_with(new, day), &machine_with(new, before)]).day, Some(before));
    let mut against = machine_with(new, before);
    against.capabilities.insert(Capability::VmmVsock, plain(Verdict::Unsupported));
    assert_eq!(answer(&[&container_with(new, day), &against]).day, Some(before), "the day of the failure");
    assert_eq!(answer(&[&container_with(new, day), &machine_with(old, before)]).day, Some(day));
    // A failure stands until it is seen to be fixed.
    let mut failing = container_with(old, before);
    failing.capabilities.insert(Capability::VmmQmp, plain(Verdict::Unsupported));
    assert_eq!(words(&[&failing, &part]), "no: qmp");
    assert_eq!(words(&[&failing, &machine_with(new, day)]), "yes, all 12");
    let mut failing = container_with(new, day);
    failing.capabilities.insert(Capability::VmmQmp, plain(Verdict::Unsupported));
    let no = words(&[&failing, &machine_with(old, before)]);
    assert_eq!(no, "no: qmp; not known with these packages: vsock, net, hot cpu");
}

#[test]
fn an_answer_names_the_brought_along_components_it_relies_on() {
    let mut maker = run(|t| (t == VSOCK).then_some(Outcome::Pass));
    for entry in &mut maker.journal.entries {
        if let crate::journal::Event::CellFacts { facts, .. } = &mut entry.event {
            facts.candidates.insert(Component::Virtiofsd, "mine (sha256 0123)".to_owned().into());
        }
    }
    let (matrix, entries) = (judged(&maker), recorded());
    let known = answer(&matrix, &entries);
    assert_eq!(known.words(), "yes with virtiofsd mine (sha256 0123)");
    assert_eq!(known.verdict(), Verdict::Partial);
    assert_eq!(compared_with_record(&matrix, &entries).effect(), Effect::None, "it is no worse than recorded");
}

/// Results that are shaped or rest on brought components are not about the distro's own packages, and vice versa.
#[test]
fn shaped_and_brought_along_results_are_compared_with_their_kind() {
    let own = recorded().remove(0);
    let lost = VerifiedCapability::plain(Verdict::Unsupported);
    let lost = VerifiedEntry { capabilities: [(Capability::VmmBoot, lost)].into(), ..own.clone() };
    let shaped = VerifiedEntry { shaped: true, ..lost.clone() };
    let kata = model::verified::VerifiedKata {
        version: "3.30.0".parse().unwrap(),
        runtime: model::profile::Runtime::Go,
        brought: [(Component::Virtiofsd, "mine".to_owned())].into(),
    };
    let with = VerifiedEntry { kata: Some(kata), ..lost };
    let all = [shaped.clone(), with.clone(), own.clone()];
    let plain = judged(&run(|_| None));
    let known = |matrix: &Matrix| -> Vec<VerifiedEntry> {
        let record = Recorded::of_distro(&sample::DEBIAN, &all);
        record.entries(matrix, &matrix.cells[0], "go-3.29").into_iter().cloned().collect()
    };
    assert_eq!(known(&plain), std::slice::from_ref(&own));
    assert_eq!(compared_with_record(&plain, &all).changes(), []);
    let difference = |entries: &[VerifiedEntry]| {
        format!("{:?}", crate::difference::Difference::beside_record(&compared_with_record(&plain, entries), "a run"))
    };
    assert_eq!(difference(&all), difference(&all[2..]));
    let as_shaped = Matrix { shaped: true, ..plain.clone() };
    assert_eq!(known(&as_shaped), [shaped]);
    let mut maker = run(|_| None);
    for entry in &mut maker.journal.entries {
        if let crate::journal::Event::CellFacts { facts, .. } = &mut entry.event {
            facts.candidates.insert(Component::Virtiofsd, "mine (sha256 0123)".to_owned().into());
        }
    }
    assert_eq!(known(&judged(&maker)), [with, own], "what the same was brought to comes first");
}

/// An unrecorded cause is new, although the capability was lost before.
#[test]
fn a_lost_capability_with_another_cause_is_worse() {
    let flags = judged(&run(|t| match t {
        sample::DAEMON => Some(fail(Component::Virtiofsd, "unknown option")),
        RENAME => Some(sample::blocked(sample::DAEMON)),
        sample::POSIX => Some(sample::blocked(RENAME)),
        _ => None,
    }));
    let known = crate::views::record::verified_entries(&standings(&flags)).0;
    let known: Vec<VerifiedEntry> = known.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(compared_with_record(&flags, &known).changes(), [], "the same cause");
    let lost = || fail(Component::Virtiofsd, "lost both names");
    let matrix = judged(&run(|t| match t {
        RENAME => Some(lost()),
        sample::POSIX => Some(sample::blocked(RENAME)),
        _ => None,
    }));
    let compared = compared_with_record(&matrix, &known);
    let (day, rows) = (known[0].tested, compared.changes());
    assert_eq!(compared.effect(), Effect::Worse);
    let words = format!("new failure: fs.virtio-fs, fs.virtio-fs.posix was unsupported ({day}), is unsupported");
    assert_eq!(rows.iter().map(ChangeRow::words).collect::<Vec<_>>(), [words]);
    assert_eq!(rows[0].why, [format!("virtiofsd: lost both names ({RENAME})")]);
    let last = crate::verdict::FinalOutcome::of([&lost()]).unwrap();
    assert_eq!(compared.cells[0].weight("go-3.29", RENAME, &last), TestWeight::Failure);
}

/// Reports and `diff` agree about a test that fails as recorded, and about one that fails by another cause.
#[test]
fn a_test_failing_by_another_cause_is_new_in_reports_and_diff() {
    let lost = |why: &'static str| judged(&run(move |t| (t == QMP).then(|| fail(Component::Qemu, why))));
    let (old, new) = (lost("no reply"), lost("it ends at once"));
    let known = crate::views::record::verified_entries(&standings(&old)).0;
    let known: Vec<VerifiedEntry> = known.into_iter().map(|(_, entry)| entry).collect();
    let standing = |matrix: &Matrix, known: &[VerifiedEntry]| {
        let standings = compared_with_record(matrix, known);
        let one = standings.of(0, "go-3.29", Capability::VmmQmp).unwrap();
        let difference = crate::difference::Difference::beside_record(&standings, "b");
        (one.change, one.effect, difference.effect() == Effect::Worse)
    };
    assert_eq!(standing(&old, &known), (Change::Known, Effect::None, false));
    assert_eq!(standing(&new, &known), (Change::NewFailure, Effect::Worse, true));
    let mut of_other_tests = known.clone();
    of_other_tests[0].test_set = "0123456789ab".to_owned();
    assert_eq!(standing(&new, &of_other_tests), (Change::TestSetChanged, Effect::Worse, true));
    // A record without causes has nothing to compare with.
    let mut without = known.clone();
    without[0].capabilities.insert(Capability::VmmQmp, plain(Verdict::Unsupported));
    assert_eq!(standing(&new, &without), (Change::Known, Effect::None, false));
    // An untested capability has not failed: its reason is no cause.
    let lacking = VerifiedCause::new(Component::Qemu, "it ends at once").shown_by(QMP.parse().unwrap());
    let untested = VerifiedCapability { causes: vec![lacking], ..plain(Verdict::Untested) };
    without[0].capabilities.insert(Capability::VmmQmp, untested);
    assert_eq!(standing(&new, &without), (Change::NewVerdict, Effect::None, false));
}

/// A known issue also excuses an unrecorded cause; if there are several causes, one that it does not cover is enough to
/// be worse.
#[test]
fn an_excused_cause_is_not_new() {
    let cause = |test: &str, why: &str| Cause {
        test: test.parse().unwrap(),
        component: Component::Qemu,
        message: why.to_owned(),
        signature: format!("qemu: {why}"),
        expected: String::new(),
        asked_for: Vec::new(),
        by_share: Vec::new(),
    };
    let recorded = [VerifiedCause::new(Component::Qemu, "no reply").shown_by(QMP.parse().unwrap())];
    let found = [cause(BOOT, "it ends at once"), cause(BLK, "no disk")];
    let of = |excused: &[&str]| causes::compare(&recorded, true, &found, |test| excused.contains(&test));
    assert_eq!(of(&[BOOT, BLK]), (Change::Known, Effect::None));
    assert_eq!(of(&[BOOT]), (Change::NewFailure, Effect::Worse));
}

/// A recorded failure fails again, together with a test that must have passed then.
#[test]
fn a_newly_failing_test_is_worse_even_in_a_lost_capability() {
    let mut matrix = judged(&run(|t| (t == RENAME).then(|| fail(Component::Virtiofsd, "lost both names"))));
    let judgements = matrix.cells[0].judgements.get_mut("go-3.29").unwrap();
    let causes = &mut judgements.get_mut(&Capability::FsVirtioFs).unwrap().causes;
    let flags = Cause {
        test: sample::DAEMON.parse().unwrap(),
        message: "unknown option".to_owned(),
        signature: "virtiofsd: unknown option".to_owned(),
        ..causes[0].clone()
    };
    causes.insert(0, flags);
    let mut entries = recorded();
    let cause = VerifiedCause::new(Component::Virtiofsd, "unknown option").shown_by(sample::DAEMON.parse().unwrap());
    let before = VerifiedCapability { causes: vec![cause], ..plain(Verdict::Unsupported) };
    entries[0].capabilities.insert(Capability::FsVirtioFs, before);
    let compared = compared_with_record(&matrix, &entries);
    assert_eq!(compared.effect(), Effect::Worse);
    let rows = compared.changes();
    assert_eq!(
        rows.iter().map(|row| (row.title().to_string(), &row.why[..])).collect::<Vec<_>>(),
        [("new failure".to_owned(), &[format!("virtiofsd: lost both names ({RENAME})")][..])]
    );
    let weight = |test: &str, observed: &str| {
        let last = crate::verdict::FinalOutcome::of([&fail(Component::Virtiofsd, observed)]).unwrap();
        compared.cells[0].weight("go-3.29", test, &last)
    };
    assert_eq!(weight(RENAME, "lost both names"), TestWeight::Failure);
    let why = format!("known: fs.virtio-fs recorded as unsupported on {}", entries[0].tested);
    assert_eq!(weight(sample::DAEMON, "unknown option"), TestWeight::Excused(why));
}

#[test]
fn a_change_lists_its_test_and_the_packages_before_and_after() {
    let mut entries = recorded();
    let entry = &mut entries[0];
    entry.capabilities.insert(Capability::VmmTdx, VerifiedCapability::plain(Verdict::Offered));
    entry.versions.insert("virtiofsd".parse().unwrap(), "1.0-1".parse().unwrap());
    let day = entry.tested;
    let matrix = judged(&run(|_| None));
    let compared = compared_with_record(&matrix, &entries);
    assert_eq!(compared.effect(), Effect::Worse);
    let changes = compared.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let row = &changes[0];
    assert_eq!(row.words(), format!("new failure: vmm.tdx was offered ({day}), is unsupported"));
    assert_eq!(row.why, [format!("qemu: no tdx-guest ({TDX})")]);
    assert_eq!(row.packages(), "virtiofsd 1.0-1 → 1.13.2-1");
    assert_eq!(row.profiles, ["go-3.29"]);
}

/// How many other tests never ran depends on the profile, but the failure is the same.
#[test]
fn a_cause_is_listed_once_for_all_its_profiles() {
    use crate::journal::Event;
    let profiles = ["go-3.29", "rs-4.0"];
    let mut maker = sample::Maker::default();
    maker.start(&profiles, &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::CellFacts { cell: cell("13"), facts: sample::facts(Basis::Emulated) });
    maker.done("13", &profiles, RENAME, fail(Component::Virtiofsd, "lost both names"));
    maker.push(Event::CellFinished { cell: cell("13") });
    maker.push(Event::RunFinished { interrupted: false });
    let mut catalogue = sample::catalogue();
    let more = ("filesystem::virtio_fs::more", &[Capability::FsVirtioFs]);
    catalogue.push(sample::test(more.0, more.1, Component::Virtiofsd, &[], &["rs-4.0"]));
    let mut matrix = matrix(&maker.journal, &catalogue, &sample::profiles());
    sample::filtered(&mut matrix, "rename_is_atomic");
    let entry = |profile: &&str| VerifiedEntry {
        profile: profile.parse().unwrap(),
        test_set: matrix.test_set.clone(),
        ..recorded().remove(0)
    };
    let entries: Vec<VerifiedEntry> = profiles.iter().map(entry).collect();
    let rows = compared_with_record(&matrix, &entries).changes();
    let listed: Vec<_> = rows.iter().map(|row| (row.title(), row.profiles.as_slice(), row.why.join("; "))).collect();
    let why = format!("virtiofsd: lost both names ({RENAME})");
    assert_eq!(listed, [("new failure".to_owned(), &profiles[..], why)]);
}

/// For Kata's own results, Kata's version counts as much as any package; brought components are no packages of the
/// distro.
#[test]
fn a_change_names_another_kata_and_brought_along_components() {
    use crate::matrix::RunKata;
    const KATA: &str = "containers::kata::exit_codes_come_back";
    let mut maker = run(|_| None);
    let end = maker.journal.entries.split_off(maker.journal.entries.len() - 2);
    maker.done("13", &["go-3.29"], KATA, fail(Component::Kata, "no exit code"));
    maker.journal.entries.extend(end);
    let mut catalogue = sample::catalogue();
    catalogue.push(sample::test(KATA, &[Capability::KataSmoke], Component::Kata, &[], &[]));
    let mut matrix = matrix(&maker.journal, &catalogue, &sample::profiles());
    let with = |version: &str| RunKata { version: version.parse().ok(), words: version.to_owned() };
    let kata = model::verified::VerifiedKata {
        version: "3.29.0".parse().unwrap(),
        runtime: model::profile::Runtime::Go,
        brought: BTreeMap::new(),
    };
    let entries = [VerifiedEntry {
        kata: Some(kata),
        test_set: matrix.test_set.clone(),
        capabilities: [(Capability::KataSmoke, VerifiedCapability::plain(Verdict::Supported))].into(),
        ..recorded().remove(0)
    }];
    let packages = |matrix: &Matrix| {
        let rows = compared_with_record(matrix, &entries).changes();
        let row = rows.iter().find(|row| row.capabilities == [Capability::KataSmoke]).unwrap();
        assert_eq!(row.title(), "new failure");
        row.packages()
    };
    matrix.cells[0].katas.insert("go-3.29".parse().unwrap(), with("3.29.0"));
    assert_eq!(packages(&matrix), "the same packages");
    matrix.cells[0].katas.insert("go-3.29".parse().unwrap(), with("3.30.0"));
    assert_eq!(packages(&matrix), "kata 3.29.0 → 3.30.0, else the same packages");
    let facts = matrix.cells[0].facts.as_mut().unwrap();
    facts.candidates.insert(Component::Virtiofsd, "mine".to_owned().into());
    facts.versions.insert("virtiofsd".parse().unwrap(), "1.14-1".parse().unwrap());
    let expected = "kata 3.29.0 → 3.30.0, virtiofsd mine brought along, virtiofsd 1.13.2-1 → 1.14-1";
    assert_eq!(packages(&matrix), expected);
}

/// The versions are unknown if a cell was lost before its image was there.
#[test]
fn unknown_packages_are_not_described() {
    let entries = recorded();
    let mut matrix = judged(&run(|t| (t == QMP).then(|| fail(Component::Qemu, "no reply"))));
    let packages = |matrix: &Matrix| compared_with_record(matrix, &entries).changes()[0].packages();
    assert_eq!(packages(&matrix), "the same packages");
    matrix.cells[0].facts.as_mut().unwrap().versions.clear();
    assert_eq!(packages(&matrix), "");
    matrix.cells[0].facts = None;
    assert_eq!(packages(&matrix), "");
}

/// The result is as recorded, but that is not enough under `--strict`.
#[test]
fn strict_lists_recorded_failures_as_lacking() {
    let matrix = judged(&run(|t| (t == BLK).then(|| fail(Component::Kernel, "no"))));
    let known = crate::views::record::verified_entries(&standings(&matrix)).0;
    let known: Vec<VerifiedEntry> = known.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(compared_with_record(&matrix, &known).changes(), []);
    let strict = Standings::new(&matrix, Recorded::of_distro(&sample::DEBIAN, &known), true);
    let changes: Vec<String> = strict.changes().iter().map(ChangeRow::words).collect();
    let day = known[0].tested;
    assert_eq!(changes, [format!("lacking: fs.virtio-blk was unsupported ({day}), is unsupported")]);
}

/// A run with a filter that selects some tests of a capability and leaves out others.
#[test]
fn a_requested_test_that_was_skipped_is_unjudged() {
    let entries = recorded();
    let of = |outcome: Outcome| {
        let mut matrix = judged(&run(|t| (t == BLK).then(|| outcome.clone())));
        sample::filtered(&mut matrix, "virtio_blk::");
        let blk = matrix.cells[0].judgements.get_mut("go-3.29").unwrap().get_mut(&Capability::FsVirtioBlk).unwrap();
        (blk.required, blk.unrun) = (2, 1);
        if blk.passed == 1 {
            blk.verdict = Verdict::Untested;
        }
        let compared = compared_with_record(&matrix, &entries);
        let answers_by_the_record = compared.answer(compared.releases()[0], "go-3.29").words().contains("[record: ");
        let blk = compared.of(0, "go-3.29", Capability::FsVirtioBlk).unwrap();
        (blk.change, compared.effect().exit_code(), answers_by_the_record)
    };
    assert_eq!(of(Outcome::Pass), (Change::Same, 0, true), "what it was asked for passed");
    assert_eq!(of(sample::skip("no room")), (Change::Unjudged, 3, false));
    assert_eq!(of(sample::blocked(VSOCK)), (Change::Unjudged, 3, false));
}

/// A test that the filter left out, or that an interrupted run did not reach, does not excuse other tests.
#[test]
fn strict_objects_to_failures_beside_tests_that_never_ran() {
    let code = |fails: bool| {
        let mut matrix = judged(&run(|t| (fails && t == RENAME).then(|| fail(Component::Virtiofsd, "x"))));
        sample::filtered(&mut matrix, "filesystem::");
        let judgements = matrix.cells.iter_mut().flat_map(|cell| cell.judgements.values_mut());
        for judgement in judgements.flat_map(|of| of.values_mut()) {
            judgement.unrun = 1;
        }
        Standings::new(&matrix, Recorded::of_distro(&sample::DEBIAN, &[]), true).effect().exit_code()
    };
    assert_eq!((code(true), code(false)), (1, 0));
}

#[test]
fn a_failure_is_excused_unless_it_affects_the_exit_code() {
    let matrix = judged(&run(|t| (t == BLK).then(|| fail(Component::Kernel, "no"))));
    let weight = |entries: &[VerifiedEntry], test: &str| {
        let compared = compared_with_record(&matrix, entries);
        let instance = matrix.cells[0].instances.iter().find(|i| i.test == test).unwrap();
        let last = crate::verdict::FinalOutcome::of(instance.attempts.iter().map(|a| &a.outcome)).unwrap();
        compared.cells[0].weight("go-3.29", test, &last)
    };
    let entries = recorded();
    let day = entries[0].tested;
    assert_eq!(weight(&entries, BLK), TestWeight::Failure);
    let excused = |why: String| TestWeight::Excused(why);
    assert_eq!(weight(&[], BLK), excused("fs.virtio-blk judged for the first time".to_owned()));
    let known = format!("known: vmm.tdx recorded as unsupported on {day}; optional");
    assert_eq!(weight(&entries, TDX), excused(known));
    assert_eq!(weight(&entries, VSOCK), TestWeight::Nothing);
}

/// A nested failure that was not tried again blames no component, and counts as an error in every output.
#[test]
fn an_unrepeated_nested_failure_counts_as_an_error() {
    let mut catalogue = sample::catalogue();
    for test in catalogue.iter_mut().filter(|t| t.id == BOOT) {
        test.place = suites::catalogue::Place::OwnGuest;
    }
    let mut maker = run(|t| (t == BOOT).then(|| fail(Component::Qemu, "it hangs")));
    let text = serde_json::to_string(&maker.journal.entries).unwrap().replace("/container", "/vm");
    maker.journal.entries = serde_json::from_str(&text).unwrap();
    let matrix = matrix(&maker.journal, &catalogue, &sample::profiles());
    let result = standings(&matrix);
    assert_eq!(result.matrix.cells[0].cell.environment, Environment::Vm);
    let last = crate::verdict::FinalOutcome::of([&fail(Component::Qemu, "it hangs")]).unwrap();
    let TestWeight::Error(why) = result.cells[0].weight("go-3.29", BOOT, &last) else { panic!("it is no error") };
    assert!(why.contains("it was not tried in a fresh virtual machine"), "{why}");
    assert_eq!(result.effect(), Effect::Unjudged);
}

#[test]
fn a_release_is_listed_once_for_all_its_environments() {
    let mut matrix = judged(&run(|_| None));
    let mut other = matrix.cells[0].clone();
    other.cell.environment = Environment::Vm;
    matrix.cells.push(other);
    let standings = standings(&matrix);
    let releases: BTreeSet<String> = standings.releases().into_iter().map(ToString::to_string).collect();
    assert_eq!(releases, BTreeSet::from([cell("13").to_string()]));
}
