//! Seeded faults: every fault must be caught, take away the right capabilities, and blame the right component.
//!
//! `cargo test -p harness --test faults -- --ignored --nocapture` tries the whole corpus, which takes hours without
//! hardware virtualization. `FAULTS=virtiofsd` tries those with this word in their name, and `FAULTS=untried` those
//! that were not yet tried in their present form. The results are kept in `seeded/tried.json`, from which
//! `docs/faults.md` is made: at once, or with `UPDATE_TESTS_DOC=1` if the corpus was changed.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod bench;
mod command;
mod seeded;

use bench::Bench;
use command::{SmallDisk, cell, kata_qualify, results, run_to_end};
use model::arch::Arch;
use model::capability::Capability;
use model::component::Component;
use model::database::Database;
use model::environment::Environment;
use model::profile::Profile;
use model::verified::Verdict;
use seeded::corpus::{Fault, FaultGroup, Means, MirrorFault, corpus};
use seeded::infrastructure;
use seeded::overlay::{Overlay, Subject, replace_bytes};
use seeded::supplied;
use seeded::table::{AllTried, FaultReport, FaultRun, Judged, Tried, markdown, only_unchanged, percent};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Instant;
use suites::catalogue;
use suites::check::Stop;

/// Minimum number of faults in the corpus, of quick faults, and of faults of the infrastructure.
const FAULTS: usize = 60;
const QUICK: usize = 10;
const INFRASTRUCTURE: usize = 8;
/// Minimum percentage of faults with the right component.
const BLAMED_RIGHT: usize = 95;

/// The variable with parts of the names of the faults to try, separated by commas, and its value for all that were not
/// tried in their present form.
const CHOSEN: &str = "FAULTS";
const UNTRIED: &str = "untried";

/// The shipped records.
static DATABASE: LazyLock<Database> = LazyLock::new(Database::embedded);

#[test]
fn the_corpus_names_only_existing_tests_profiles_and_releases() {
    let all = corpus();
    assert!(all.len() >= FAULTS, "{} faults", all.len());
    assert!(all.iter().filter(|(_, fault)| fault.quick).count() >= QUICK);
    assert!(all.iter().filter(|(group, _)| *group == FaultGroup::Infrastructure).count() >= INFRASTRUCTURE);
    let mut ids = BTreeSet::new();
    for (group, fault) in &all {
        let id = &fault.id;
        assert!(ids.insert(id.as_str()), "two faults are called {id}");
        let test = catalogue::find(&fault.test).unwrap_or_else(|| panic!("{id}: there is no test {}", fault.test));
        assert!(!fault.profiles.is_empty(), "{id} is tried under no profile");
        for profile in &fault.profiles {
            assert!(Profile::find(profile).is_ok(), "{id}: there is no profile {profile}");
            assert!(test.applies_to(profile), "{id}: {} does not apply under {profile}", test.id);
        }
        assert!(test.applies_in(fault.environment), "{id}: {} does not run there", test.id);
        assert_eq!(fault.turns.is_empty(), fault.blames.is_none(), "{id}: what is lost is somebody's fault");
        assert!(*group != FaultGroup::Infrastructure || fault.blames.is_none(), "{id} counts against a release");
        let (distro, version) = fault.release.split_once(':').unwrap();
        assert!(DATABASE.record(distro).unwrap().release(version, Arch::X86_64).is_ok(), "{id}: {}", fault.release);
        for capability in &fault.turns {
            let lost = fault.profiles.iter().all(|profile| !was_unsupported(fault, profile, *capability));
            assert!(lost, "{id}: {capability} is unsupported without it");
        }
    }
}

#[test]
fn the_faults_document_is_current() {
    let current = markdown(&corpus(), &stored_results());
    if std::env::var_os("UPDATE_TESTS_DOC").is_some() {
        std::fs::write(document(), &current).unwrap();
    }
    assert!(
        std::fs::read_to_string(document()).unwrap() == current,
        "docs/faults.md is old: run the test with UPDATE_TESTS_DOC=1"
    );
}

#[test]
fn a_fault_that_was_changed_counts_as_not_tried() {
    let mut all = corpus();
    let (group, fault) = all.remove(0);
    let row = FaultRun { group, fault: fault.clone(), report: Ok(FaultReport::default()), seconds: 1 };
    let changed = FaultRun {
        fault: Fault { says: "another".to_owned(), ..fault.clone() },
        group,
        report: Ok(FaultReport::default()),
        seconds: 1,
    };
    let valid_results = |row: &FaultRun| only_unchanged(AllTried::from([(fault.id.clone(), Tried::today(row))]));
    assert_eq!((valid_results(&row).len(), valid_results(&changed).len()), (1, 0));
}

#[test]
fn a_run_is_judged_by_what_the_fault_should_break() {
    let (_, mut fault) = corpus().into_iter().find(|(_, fault)| fault.blames == Some(Component::Virtiofsd)).unwrap();
    fault.turns = vec![Capability::FsVirtioFs];
    fault.says = "rename".to_owned();
    fault.profiles = vec!["go-3.29".to_owned()];
    let judgement = |component: &str| {
        let cause = json!({"component": component, "message": "rename did nothing"});
        json!({"verdict": "unsupported", "causes": [cause]})
    };
    let cell = |lost: &[(&str, &str)]| {
        let verdicts: BTreeMap<&str, _> = lost.iter().map(|(name, component)| (*name, judgement(component))).collect();
        json!({"errors": [], "tests": [], "verdicts": {"go-3.29": verdicts}})
    };
    let judged = |fault: &Fault, cell| {
        let report = FaultReport::of(&cell, fault, |_, capability| capability == Capability::VmmTdx);
        let Judged { caught, capability, component } = Judged::of(fault, &report);
        (caught, capability, component)
    };
    let (fs, known) = (("fs.virtio-fs", "virtiofsd"), ("vmm.tdx", "qemu"));
    assert_eq!(judged(&fault, cell(&[fs, known])), (true, true, true));
    assert_eq!(judged(&fault, cell(&[known])), (false, false, false), "nothing was noticed");
    assert_eq!(judged(&fault, cell(&[fs, ("vmm.boot", "virtiofsd")])), (true, false, true));
    assert_eq!(judged(&fault, cell(&[("fs.virtio-fs", "qemu")])), (true, true, false));
    fault.says = "unlink".to_owned();
    assert_eq!(judged(&fault, cell(&[fs])), (false, true, true), "it speaks of something else");
    // Only on an emulated machine: the capability is inconclusive, and the failed tests name the component.
    let inconclusive = |component: &str, basis: &str| {
        let failed = json!({"outcome": "fail", "component": component, "observed": "unlink did nothing"});
        let verdicts = json!({"go-3.29": {"fs.virtio-fs": {"verdict": "inconclusive", "basis": basis}}});
        json!({"errors": [], "tests": [{"attempts": [{"outcome": failed}]}], "verdicts": verdicts})
    };
    assert_eq!(judged(&fault, inconclusive("virtiofsd", "emulated")), (false, false, false), "a container decides");
    fault.environment = Environment::Vm;
    assert_eq!(judged(&fault, inconclusive("virtiofsd", "emulated")), (true, true, true));
    assert_eq!(judged(&fault, inconclusive("qemu", "emulated")), (true, true, false));
    assert_eq!(judged(&fault, inconclusive("virtiofsd", "hardware")), (false, false, false), "hardware decides");
    // A fault of the infrastructure: an error that blames no component.
    let mut fault = Fault { turns: Vec::new(), blames: None, says: String::new(), ..fault };
    let error = json!({"errors": [{"phase": "image", "message": "the disk is full"}], "tests": [], "verdicts": {}});
    assert_eq!(judged(&fault, error), (true, true, true));
    assert_eq!(judged(&fault, cell(&[])), (false, true, true));
    assert_eq!(judged(&fault, cell(&[fs])), (false, false, false));
    fault.may_pass = true;
    assert_eq!(judged(&fault, cell(&[])), (true, true, true));
    let failed = json!({"outcome": "fail", "component": "qemu", "observed": "slow"});
    let failed = json!({"errors": [], "tests": [{"attempts": [{"outcome": failed}]}], "verdicts": {}});
    assert_eq!(judged(&fault, failed), (true, true, false));
}

#[test]
fn a_program_packed_with_a_library_preloads_it_and_keeps_its_arguments() {
    let library = seeded::library("int lent(void) { return 1; }");
    let dir = tempfile::tempdir().unwrap();
    let whole = supplied::with_library(&std::fs::read("/usr/bin/env").unwrap(), &library);
    component_option(dir.path(), Component::CloudHypervisor, &whole);
    // Started by a shell, because a file that was just written may still be open in a process that another test has
    // started.
    let mut run = Command::new("sh");
    run.env("TMPDIR", dir.path()).arg(dir.path().join(Component::CloudHypervisor.name()));
    let output = run_to_end(run.args(["sh", "-c", "cat /proc/$$/maps && echo $1", "sh", "a word"]));
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.contains("/functions.so") && output.stdout.ends_with("a word\n"), "{}", output.stdout);
}

#[test]
fn only_the_intended_bytes_and_mirror_answers_are_changed() {
    assert_eq!(
        replace_bytes(b"a thread-id, thread-id".to_vec(), b"thread-id", b"thread-ix"),
        b"a thread-ix, thread-ix"
    );
    let answered = |path: &str, fault| infrastructure::faulty_answer(path, fault, || Some(b"abc".to_vec()));
    let same = Some(b"abc".to_vec());
    let package = "/pool/main/q/qemu/qemu-system-x86_1_amd64.deb";
    assert_eq!(answered(package, MirrorFault::NoPackages), None);
    assert_ne!(answered(package, MirrorFault::OtherPackages), same);
    assert_eq!(answered(package, MirrorFault::OtherIndex), same);
    assert_ne!(answered("/dists/trixie/InRelease", MirrorFault::OtherIndex), same);
    assert_eq!(answered("/dists/trixie/InRelease", MirrorFault::OtherLists), same);
    assert_ne!(answered("/dists/trixie/main/binary-amd64/Packages.xz", MirrorFault::OtherLists), same);
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn quick_faults_of_releases_and_infrastructure_are_caught() {
    assert_all_right(&try_faults(|group, fault| fault.quick && group != FaultGroup::Containers, |_| ()));
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn quick_faults_of_containers_are_caught() {
    assert_all_right(&try_faults(|group, fault| fault.quick && group == FaultGroup::Containers, |_| ()));
}

#[test]
#[ignore = "hours; .ci/nightly faults runs it"]
fn every_fault_is_caught() {
    let chosen = std::env::var(CHOSEN).unwrap_or_default();
    let before = stored_results();
    let is_chosen = |fault: &Fault| match chosen.as_str() {
        UNTRIED => !before.contains_key(&fault.id),
        parts => parts.split(',').any(|part| fault.id.contains(part)),
    };
    // Results are kept after each fault, so that an interruption does not lose hours. They are read anew, because
    // another call may try other faults meanwhile.
    let store = |row: &FaultRun| {
        let mut all = stored_results();
        all.insert(row.fault.id.clone(), Tried::today(row));
        std::fs::write(stored_results_file(), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        std::fs::write(document(), markdown(&corpus(), &all)).unwrap();
    };
    let rows = try_faults(|_, fault| is_chosen(fault) && supplied::is_available(&fault.by), store);
    assert!(!rows.is_empty(), "{CHOSEN}={chosen} chooses no fault");
    println!("{}", page(&rows));
    let judged: Vec<Judged> = rows.iter().map(FaultRun::judged).collect();
    let caught = percent(&judged, |judged| judged.caught);
    let blamed = percent(&judged, |judged| judged.component);
    assert_eq!(caught, 100, "not every fault was caught");
    assert!(blamed >= BLAMED_RIGHT, "{blamed} % were blamed right, expected {BLAMED_RIGHT} % or more");
    let misjudged = rows.iter().filter(|row| row.group == FaultGroup::Infrastructure && !row.judged().is_right());
    let misjudged: Vec<&str> = misjudged.map(|row| row.fault.id.as_str()).collect();
    assert!(misjudged.is_empty(), "trouble of the infrastructure is not told as that: {misjudged:?}");
}

/// Tries the chosen faults one after the other, because a measurement under one fault must not be delayed by another.
fn try_faults(is_chosen: impl Fn(FaultGroup, &Fault) -> bool, mut store: impl FnMut(&FaultRun)) -> Vec<FaultRun> {
    let chosen: Vec<(FaultGroup, Fault)> =
        corpus().into_iter().filter(|(group, fault)| is_chosen(*group, fault)).collect();
    let count = chosen.len();
    let one = |(at, (group, fault)): (usize, (FaultGroup, Fault))| {
        let began = Instant::now();
        let report = catch_unwind(AssertUnwindSafe(|| run_fault(&fault))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        });
        let row = FaultRun { group, fault, report, seconds: began.elapsed().as_secs() };
        let word = if row.judged().is_right() { "right" } else { "WRONG" };
        eprintln!("{}/{count} {}: {word}, {} s", at + 1, row.fault.id, row.seconds);
        store(&row);
        row
    };
    chosen.into_iter().enumerate().map(one).collect()
}

/// Returns a document with these faults only.
fn page(rows: &[FaultRun]) -> String {
    let faults: Vec<(FaultGroup, Fault)> = rows.iter().map(|row| (row.group, row.fault.clone())).collect();
    markdown(&faults, &rows.iter().map(|row| (row.fault.id.clone(), Tried::today(row))).collect())
}

/// Asserts that every fault was caught and its report was right.
fn assert_all_right(rows: &[FaultRun]) {
    assert!(!rows.is_empty(), "no fault was tried");
    assert!(rows.iter().all(|row| row.judged().is_right()), "{}", page(rows));
}

/// Applies the fault, runs its test, and returns the report.
fn run_fault(fault: &Fault) -> FaultReport {
    match &fault.by {
        Means::Bundle { run } => run_container_fault(&Bench::with_runc_script(run), fault),
        Means::Process { run } => run_container_fault(&Bench::with_runc_exec_script(run), fault),
        Means::Containerd { text } => {
            let mut bench = Bench::new();
            let folder = bench.folder.path().to_owned();
            bench.settings.containerd = folder.join("containerd");
            std::fs::write(&bench.settings.containerd, text).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&bench.settings.containerd, mode).unwrap();
            std::fs::copy("/usr/bin/ctr", folder.join("ctr")).unwrap();
            run_container_fault(&bench, fault)
        }
        _ => run_release_fault(fault),
    }
}

/// Runs a container test on this machine and returns its report.
fn run_container_fault(bench: &Bench, fault: &Fault) -> FaultReport {
    let test = catalogue::find(&fault.test).unwrap();
    let mut report = FaultReport::default();
    match bench.run_test(test) {
        Ok(()) => {}
        Err(Stop::Fail { message, blames, .. }) => {
            let blamed = BTreeSet::from([blames.unwrap_or(test.blames)]);
            report.turned = test.proves.iter().map(|capability| (*capability, blamed.clone())).collect();
            report.blamed = blamed;
            report.messages = message;
        }
        Err(Stop::Skip { reason }) => report.messages = reason,
        Err(Stop::Error { message } | Stop::Unanswered { message }) => {
            report.errors = true;
            report.messages = message;
        }
    }
    bench.engine.stop();
    report
}

/// Runs `kata-qualify run` and returns its report.
fn run_release_fault(fault: &Fault) -> FaultReport {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments: Vec<String> = vec!["run".to_owned(), fault.release.clone()];
    let mut add_arguments = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add_arguments(&["--profile", &fault.profiles.join(","), "--in", fault.environment.name()]);
    add_arguments(&["--test", &fault.test, "--retries", "0", "--accept-expired", "--out", "out"]);
    // A separate, empty cache.
    let cache = dir.path().join("cache");
    let cache_options = ["--cache", cache.to_str().unwrap()];
    let overlay = needs_a_tree(&fault.by).then(|| Overlay::of(&fault.by, &Subject::new(&fault.release)).unwrap());
    let mut disk = None;
    match &fault.by {
        Means::AddedComponent { component, text } => {
            add_arguments(&["--component", &component_option(dir.path(), *component, text.as_bytes())]);
        }
        Means::Lent { component, functions } => {
            let program = supplied::program(*component).unwrap_or_else(|| panic!("no {component} was lent"));
            let packed = supplied::with_library(&std::fs::read(program).unwrap(), &seeded::library(functions));
            add_arguments(&["--component", &component_option(dir.path(), *component, &packed)]);
        }
        Means::NoMirror => {
            add_arguments(&[cache_options.as_slice(), &["--mirror", infrastructure::NO_MIRROR]].concat())
        }
        Means::SmallDisk => {
            disk = Some(SmallDisk::mount(cache.clone(), "64m").unwrap());
            add_arguments(&cache_options);
        }
        Means::Mirror { answer } => {
            let mirrors = infrastructure::mirrors(*answer);
            add_arguments(&cache_options);
            arguments.extend(mirrors);
        }
        _ => arguments.extend(overlay.iter().flat_map(Overlay::options)),
    }
    match &fault.by {
        Means::During { event } => infrastructure::run_during(dir.path(), &arguments, *event),
        by => {
            let mut run = kata_qualify(dir.path());
            // Servers on the loopback interface must not be reached through this machine's proxy.
            run.env("no_proxy", "127.0.0.1").args(&arguments);
            if let Means::Clock { seconds } = by {
                run.env("LD_PRELOAD", infrastructure::clock_library(dir.path(), *seconds));
            }
            let output = run_to_end(&mut run);
            assert_ne!(output.code, Some(2), "{}", output.stderr);
        }
    }
    drop(disk);
    let results = results(&dir.path().join("out"));
    let cell = cell(&results, &format!("{}/", fault.release));
    FaultReport::of(cell, fault, |profile, capability| was_unsupported(fault, profile, capability))
}

/// Writes a program to the directory and returns its value for the command line.
fn component_option(folder: &Path, component: Component, program: &[u8]) -> String {
    let path = folder.join(component.name());
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{component}={}", path.display())
}

/// Returns whether the release itself is changed.
fn needs_a_tree(by: &Means) -> bool {
    !matches!(
        by,
        Means::AddedComponent { .. }
            | Means::Lent { .. }
            | Means::NoMirror
            | Means::Mirror { .. }
            | Means::SmallDisk
            | Means::During { .. }
            | Means::Clock { .. }
    )
}

/// Returns whether the record has the capability as unsupported for the unmodified release.
fn was_unsupported(fault: &Fault, profile: &str, capability: Capability) -> bool {
    let (distro, version) = fault.release.split_once(':').unwrap();
    let mut entries = DATABASE.record(distro).unwrap().verified.iter().filter(|entry| {
        let is_it = entry.release == version && entry.profile == profile && entry.kata.is_none();
        is_it && entry.environment == fault.environment
    });
    entries.any(|entry| entry.capabilities.get(&capability).is_some_and(|c| c.verdict == Verdict::Unsupported))
}

/// Returns the kept results of unchanged faults.
fn stored_results() -> AllTried {
    only_unchanged(serde_json::from_str(&std::fs::read_to_string(stored_results_file()).unwrap()).unwrap())
}

/// Returns the path of the kept results.
fn stored_results_file() -> PathBuf {
    repository().join("harness/tests/seeded/tried.json")
}

fn document() -> PathBuf {
    repository().join("docs/faults.md")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
