//! Documents that are generated from the catalogue and related data, and one that is checked against the records.
//!
//! `UPDATE_TESTS_DOC=1 cargo test --package harness --test catalogue` writes `docs/tests.md` and `docs/demands.md`.
//! `docs/findings.md` is written by hand.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod catalogued;
#[path = "seeded/corpus.rs"]
#[allow(dead_code, reason = "the documents read what a fault breaks, and not how")]
mod corpus;
#[path = "seeded/table.rs"]
#[allow(dead_code, reason = "the documents read which faults were seen, and try none")]
mod table;

use catalogued::demands::{self, ProofExtent, SeededFaults};
use catalogued::{findings, tests_page};
use corpus::Fault;
use model::database::Database;
use model::profile::Profile;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::catalogue::{self, Test};
use suites::citation::Citation;
use upstream::{Checkout, Report};

/// Number of demands.
const DEMANDS: usize = 224;
/// Minimum number of findings, so that a document that could not be parsed does not pass as complete.
const FINDINGS: usize = 8;

#[test]
fn the_page_of_tests_is_current() {
    is_current("docs/tests.md", &tests_page::markdown(catalogue::tests(), &faults().kept));
}

#[test]
fn the_page_of_demands_is_current() {
    is_current("docs/demands.md", &demands::markdown(&demands::groups(), &faults()));
}

#[test]
fn every_demand_names_its_tests_or_gives_a_reason() {
    let groups = demands::groups();
    let all: Vec<_> = groups.iter().flat_map(|group| &group.demands).collect();
    assert_eq!(all.len(), DEMANDS);
    let ids: BTreeSet<&str> = all.iter().map(|demand| demand.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "two demands have the same id");
    for demand in all {
        let id = &demand.id;
        let source = demand.source.parse::<Citation>();
        assert!(source.is_ok(), "{id}: {}", source.unwrap_err());
        assert_ne!(demand.tests.is_empty(), demand.left.is_none(), "{id} is to have tests, or to say why it has none");
        assert_eq!(demand.left.is_some(), demand.why.is_some(), "{id}: `left` and `why` go together");
        assert_eq!(demand.only_under_kata.is_some(), demand.is_mixed(), "{id}: `only-under-kata` is for mixed tests");
        assert!(demand.but.is_none() || demand.left.is_none(), "{id}: what no test proves is not proved in part");
        let named: BTreeSet<&String> = demand.tests.iter().chain(&demand.listed).collect();
        assert_eq!(named.len(), demand.tests.len() + demand.listed.len(), "{id} names a test twice");
        for test in named {
            assert!(catalogue::find(test).is_some(), "{id}: there is no test {test}");
        }
        assert!(!demand.tests.iter().any(|test| reads_a_list(test)), "{id}: a test that reads a list proves nothing");
        assert!(demand.listed.iter().all(|test| reads_a_list(test)), "{id}: what uses it stands below `tests`");
        let applies = |test: &String| {
            let test = catalogue::find(test).unwrap();
            Profile::maintained().any(|profile| test.applies_to(&profile.name))
        };
        let is_met = !demand.default_path || demand.tests.is_empty() || demand.tests.iter().any(applies);
        assert!(is_met, "{id} is on the default path, and its tests are of no maintained profile");
    }
}

/// A fault that nobody has tried is not counted as evidence, and a fault of another test with the same capability
/// neither.
#[test]
fn tests_are_matched_with_the_strongest_evidence_of_their_own_faults() {
    let match_name = |tests: &[&str], seen_red: &[&str]| {
        let tests: Vec<String> = tests.iter().map(|test| (*test).to_owned()).collect();
        let seen_red = seen_red.iter().map(|fault| (*fault).to_owned()).collect();
        demands::fault_match(&tests, &SeededFaults { seen_red, ..faults() }).name()
    };
    let (of_test, of_body) = (["smoke::cpu_is_hotplugged"], ["containers::kata::exit_codes_are_told"]);
    assert_eq!(match_name(&of_test, &[]), "kept");
    assert_eq!(match_name(&of_test, &["runc-exit-codes"]), "kept");
    assert_eq!(match_name(&of_test, &["qemu-without-cpu-slots"]), "seen red");
    assert_eq!(match_name(&of_body, &[]), "kept, same body");
    assert_eq!(match_name(&of_body, &["runc-exit-codes"]), "seen red, same body");
    let own_and_other = ["smoke::cpu_is_hotplugged", "containers::kata::exit_codes_are_told"];
    assert_eq!(match_name(&own_and_other, &["runc-exit-codes"]), "seen red, same body");
    assert_eq!(match_name(&["smoke::qemu_has_tdx"], &["qemu-without-q35"]), "–");
}

/// The files that tests and demands cite exist at their tags: `KATA_CHECKOUT` names a repository with Kata's tags and
/// `main`.
#[test]
#[ignore = "by hand: KATA_CHECKOUT names a checkout of Kata's source"]
fn the_cited_files_are_in_katas_source() {
    let dir = std::env::var_os("KATA_CHECKOUT").unwrap();
    let checkout = Checkout::open(Path::new(&dir), Duration::from_secs(900)).unwrap();
    let groups = demands::groups();
    let sources: Vec<Citation> = groups
        .iter()
        .flat_map(|group| &group.demands)
        .map(|demand| demand.source.parse::<Citation>().unwrap_or_else(|e| panic!("{}: {e}", demand.id)))
        .collect();
    let cited = catalogue::tests().iter().flat_map(Test::cited).chain(&sources);
    let mut report = Report::default();
    upstream::look_up_citations(&checkout, cited.map(|place| (place.tag(), place.file())), &mut report).unwrap();
    let differences: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert_eq!(differences, [""; 0]);
    assert!(report.citations > 100, "{} files", report.citations);
}

#[test]
fn the_proof_extent_of_a_demand_follows_from_its_tests() {
    let state = |id: &str| {
        let groups = demands::groups();
        let demand = groups.iter().flat_map(|group| &group.demands).find(|demand| demand.id == id).cloned();
        demand.unwrap().state()
    };
    assert_eq!(state("machine-q35"), ProofExtent::ByUse);
    assert_eq!(state("pod"), ProofExtent::UnderKata);
    assert_eq!(state("ephemeral-volumes"), ProofExtent::InPart, "under Kata, too, what is left out is told first");
    assert_eq!(state("cri"), ProofExtent::UnderKata, "what runs without Kata is its control");
    assert_eq!(state("many-sandboxes"), ProofExtent::UnderKata);
    assert_eq!(state("image-boot"), ProofExtent::ByUse, "Kata's own image is one more");
    assert_eq!(state("runtime-class"), ProofExtent::UnderKata);
    assert!(matches!(state("nerdctl"), ProofExtent::Unproved(_)));
}

/// Everything that is unsupported under a maintained profile has a finding, which names those responsible.
#[test]
fn every_failure_in_the_records_has_a_finding() {
    let text = std::fs::read_to_string(repository().join("docs/findings.md")).unwrap();
    let findings = findings::findings(&text);
    assert!(findings.len() >= FINDINGS, "docs/findings.md has {} findings", findings.len());
    for finding in &findings {
        assert!(finding.is_whole(), "docs/findings.md: {:?} lacks one of {:?}", finding.title, findings::KEYS);
    }
    let missing: Vec<String> = findings::failures(&Database::embedded())
        .into_iter()
        .filter(|failure| !findings.iter().any(|finding| finding.is_about(failure)))
        .map(|failure| failure.to_string())
        .collect();
    assert!(missing.is_empty(), "docs/findings.md says nothing of these, each in one finding:\n{}", missing.join("\n"));
}

#[test]
fn a_finding_matches_the_failures_that_its_lines_name() {
    let text = "# Findings\n\nx\n\n## Theirs\n\n### A bridge\n\ny\n\n- Whose: the distro's\n- Releases: debian:11, debian:12\n\
        - Profiles: `go-3.32`\n- Capabilities: `vmm.hotplug.net`\n- Recorded as: `does not support`, `no bridge`\n\
        - Versions: x\n- Since: x\n- Evidence: x\n- To do: x\n";
    let findings = findings::findings(text);
    assert_eq!((findings.len(), findings[0].title), (1, "A bridge"));
    assert!(findings[0].is_whole());
    let about = |release: &str, profile: &str, capability: &str, cause: &str| {
        let [release, profile, capability, cause] = [release, profile, capability, cause].map(str::to_owned);
        findings[0].is_about(&findings::Failure { release, profile, capability, cause })
    };
    assert!(about("debian:11", "go-3.32", "vmm.hotplug.net", "qemu: the bus does not support it"));
    assert!(about("debian:12", "go-3.32", "vmm.hotplug.net", "qemu: no bridge"));
    assert!(!about("debian:1", "go-3.32", "vmm.hotplug.net", "qemu: no bridge"));
    assert!(!about("debian:11", "go-3.3", "vmm.hotplug.net", "qemu: no bridge"));
    assert!(!about("debian:11", "go-3.32", "vmm.hotplug", "qemu: no bridge"));
    assert!(!about("debian:11", "go-3.32", "vmm.hotplug.net", "qemu: no disk"));
}

/// Returns whether the test's name says that it reads a list; tests of the catalogue enforce such names.
fn reads_a_list(id: &str) -> bool {
    let name = id.rsplit("::").next().unwrap_or_default();
    name.starts_with("qemu_has_") || name.starts_with("kernel_has_")
}

/// Returns the faults that must make a test fail.
fn faults() -> SeededFaults {
    let kept: Vec<Fault> =
        corpus::corpus().into_iter().map(|(_, fault)| fault).filter(|fault| !fault.turns.is_empty()).collect();
    let tried = std::fs::read_to_string(repository().join("harness/tests/seeded/tried.json")).unwrap();
    SeededFaults { kept, seen_red: table::seen_red(serde_json::from_str(&tried).unwrap()) }
}

/// Compares a document with its expected text, or writes it.
fn is_current(name: &str, current: &str) {
    let file = repository().join(name);
    if std::env::var_os("UPDATE_TESTS_DOC").is_some() {
        std::fs::write(&file, current).unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == current, "{name} is old: run the test with UPDATE_TESTS_DOC=1");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
