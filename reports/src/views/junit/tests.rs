use super::*;
use crate::journal::{Event, Journal};
use crate::matrix::matrix;
use crate::sample::{self, BOOT, INSTALL, Maker, RENAME, cell, error, fail, skip};
use model::environment::Environment;
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use suites::outcome::{Component, Outcome};

/// Renders a run with these log files, each with its last lines.
fn files(standings: &Standings<'_>, catalogue: &[Test], logs: &[(&str, &str)]) -> Vec<(String, String)> {
    let tail = |file: &str| logs.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned());
    render(standings, catalogue, RunFiles { folder: Path::new("out"), tail: &tail }).unwrap()
}

/// Returns all files of a run as one document.
fn whole(standings: &Standings<'_>, catalogue: &[Test]) -> String {
    let bodies = files(standings, catalogue, &[]).into_iter().map(|(_, text)| {
        let (_, body) = text.split_once("?>").unwrap();
        body.to_owned()
    });
    format!("<all>{}</all>", bodies.collect::<String>())
}

fn rendered(journal: &Journal) -> String {
    let matrix = matrix(journal, &sample::catalogue(), &sample::profiles());
    whole(&sample::standings(&matrix), &sample::catalogue())
}

fn case<'a>(xml: &'a roxmltree::Document, suite: &str, test: &str) -> roxmltree::Node<'a, 'a> {
    let suite = xml.descendants().find(|n| n.has_tag_name("testsuite") && n.attribute("name") == Some(suite)).unwrap();
    suite.children().find(|n| n.has_tag_name("testcase") && n.attribute("name") == Some(test)).unwrap()
}

/// The file as Jenkins gets it, without the verdicts on capabilities that no test of the run is required for.
#[test]
fn a_small_run_as_junit() {
    let catalogue = sample::small_catalogue();
    let matrix = sample::small_matrix();
    let (name, text) = files(&sample::standings(&matrix), &catalogue, &[]).remove(0);
    assert_eq!(name, "debian-13-x86_64-container.xml");
    let judged: Vec<String> =
        catalogue.iter().flat_map(|test| &test.proves).map(|c| format!("\"verdict.{c}\"")).collect();
    let kept = |line: &&str| !line.contains("\"verdict.") || judged.iter().any(|name| line.contains(name.as_str()));
    insta::assert_snapshot!(text.lines().filter(kept).collect::<Vec<_>>().join("\n"));
}

#[test]
fn tests_that_cannot_apply_on_the_architecture_are_no_cases() {
    let (test, catalogue) = ("smoke::scsi_disk_is_hotplugged", suites::catalogue::tests());
    let on = |arch: &str, has_run: bool| {
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        maker.push(Event::CellStarted { cell: cell("13") });
        if has_run {
            maker.done("13", &["go-3.29"], test, skip("what it expects was read of Kata on x86_64"));
        }
        maker.push(Event::CellFinished { cell: cell("13") });
        maker.push(Event::RunFinished { interrupted: false });
        let text = serde_json::to_string(&maker.journal.entries).unwrap().replace("/x86_64/", &format!("/{arch}/"));
        maker.journal.entries = serde_json::from_str(&text).unwrap();
        let matrix = matrix(&maker.journal, catalogue, &sample::profiles());
        whole(&sample::standings(&matrix), catalogue).contains(&format!("name=\"{test}\""))
    };
    for has_run in [true, false] {
        assert!(on("x86_64", has_run), "{has_run}");
        assert!(!on("aarch64", has_run), "{has_run}");
    }
}

#[test]
fn there_is_a_suite_for_each_cell_and_profile() {
    let matrix = sample::matrix();
    let text = rendered(&sample::journal());
    let xml = roxmltree::Document::parse(&text).unwrap();
    let suites: Vec<&str> = xml
        .descendants()
        .filter(|node| node.has_tag_name("testsuite"))
        .map(|node| node.attribute("name").unwrap())
        .collect();
    let mut expected: Vec<String> = Vec::new();
    for cell in &matrix.cells {
        // Problems of the cell itself have a suite.
        expected.extend((cell.cell.release != "13" && cell.cell.release != "12").then(|| cell.cell.to_string()));
        expected.extend(matrix.profiles.iter().map(|profile| format!("{} {}", cell.cell, profile.name)));
    }
    expected.push("run".to_owned());
    assert_eq!(suites, expected);
}

#[test]
#[cfg_attr(lacks = "xmllint", ignore = "needs xmllint")]
fn junit_files_match_the_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/junit.xsd");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("junit.xml");
    let validate = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new("xmllint").args(["--noout", "--schema"]).arg(&schema).arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let matrix = sample::matrix();
    let entries = sample::recorded();
    let mut broken = 0;
    for standings in [sample::standings(&matrix), sample::compared_with_record(&matrix, &entries)] {
        for (name, text) in files(&standings, &sample::catalogue(), &[]) {
            let (allowed, why) = validate(&text);
            assert!(allowed, "{name}: {why}");
            // The schema is strict enough to refuse a rerun without a type, and a root that counts skipped tests.
            let root = text.replacen("<testsuites ", "<testsuites skipped=\"1\" ", 1);
            assert!(!validate(&root).0, "{name}");
            let untyped = text.replace("<flakyFailure message", "<flakyFailure x");
            if untyped != text {
                assert!(!validate(&untyped).0, "{name}");
                broken += 1;
            }
        }
    }
    assert!(broken > 0, "no rerun was seen");
}

/// Prints how many cases, failures, errors and skipped tests junitparser counts in a file.
const COUNT: &str = "
import sys
from junitparser import Error, Failure, JUnitXml, Skipped
cases = [case for suite in JUnitXml.fromfile(sys.argv[1]) for case in suite]
counts = [sum(isinstance(result, kind) for case in cases for result in case.result) for kind in (Failure, Error, Skipped)]
print(len(cases), *counts)
";

/// Two common readers accept the files; `JUNIT_READERS` is the directory of their programs.
#[test]
#[ignore = "takes programs of PyPI: .ci/run"]
fn junitparser_and_junit2html_read_the_files() {
    let readers = std::env::var_os("JUNIT_READERS").expect("JUNIT_READERS names the folder of the readers' programs");
    let dir = tempfile::tempdir().unwrap();
    let run_reader = |program: &str, arguments: &[&str]| {
        let output = Command::new(Path::new(&readers).join(program)).args(arguments).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {why}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let matrix = sample::matrix();
    let entries = sample::recorded();
    let mut seen = [0; 4];
    for standings in [sample::standings(&matrix), sample::compared_with_record(&matrix, &entries)] {
        for (name, text) in files(&standings, &sample::catalogue(), &[]) {
            let (file, page) = (dir.path().join(&name), dir.path().join("page.html"));
            std::fs::write(&file, &text).unwrap();
            let (file, page) = (file.to_str().unwrap(), page.to_str().unwrap());
            let xml = roxmltree::Document::parse(&text).unwrap();
            let cases: Vec<_> = xml.descendants().filter(|node| node.has_tag_name("testcase")).collect();
            let of = |tag: &str| cases.iter().flat_map(|c| c.children()).filter(|n| n.has_tag_name(tag)).count();
            let counts = [cases.len(), of("failure"), of("error"), of("skipped")];
            assert_eq!(run_reader("python3", &["-c", COUNT, file]), counts.map(|n| n.to_string()).join(" "), "{name}");
            seen.iter_mut().zip(counts).for_each(|(seen, count)| *seen += count);
            run_reader("junit2html", &[file, page]);
            let page = std::fs::read_to_string(page).unwrap();
            let left_out = cases.iter().find(|case| !page.contains(case.attribute("name").unwrap()));
            assert_eq!(left_out, None, "{name}");
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "the sample has something of each: {seen:?}");
}

/// A configuration that passes does not hide the one that blocks other tests.
#[test]
fn a_blocked_test_cites_the_worse_configuration_of_its_blocker() {
    let mut maker = Maker::default();
    maker.start(&["go-3.29", "rs-4.0"], &["13"]);
    maker.push(Event::CellFacts { cell: cell("13"), facts: sample::facts(model::verified::Basis::Hardware) });
    maker.done("13", &["go-3.29"], BOOT, fail(Component::Qemu, "no machine"));
    maker.done("13", &["go-3.29", "rs-4.0"], BOOT, Outcome::Pass);
    maker.done("13", &["go-3.29"], RENAME, sample::blocked(BOOT));
    let text = rendered(&maker.journal);
    let xml = roxmltree::Document::parse(&text).unwrap();
    let skipped = case(&xml, "debian:13/x86_64/container go-3.29", RENAME).first_element_child().unwrap();
    let why = skipped.attribute("message").unwrap();
    assert!(why.starts_with("blocked by smoke::guest_boots: ") && why.ends_with("no machine"), "{why}");
}

/// If the base run judged nothing, a failure is one error: for its test, and not again for its capability.
#[test]
fn a_failure_that_the_base_run_did_not_judge_is_one_error() {
    let matrix = sample::judged(&sample::run(|test| (test == sample::QMP).then(|| fail(Component::Qemu, "no reply"))));
    let base = sample::judged(&sample::run(|test| (test == sample::QMP).then(|| error("the line ended"))));
    let base = crate::standing::BaseRun::new(base);
    let standings = Standings::new(&matrix, base.recorded(), false);
    assert_eq!(standings.effect().exit_code(), 3);
    let (_, text) = files(&standings, &sample::catalogue(), &[]).remove(0);
    let xml = roxmltree::Document::parse(&text).unwrap();
    let errors: Vec<_> = xml.descendants().filter(|node| node.has_tag_name("error")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert_eq!(errors[0].parent().unwrap().attribute("name"), Some(sample::QMP));
    assert!(errors[0].attribute("message").unwrap().starts_with("the base run could not judge vmm.qmp, "), "{text}");
}

#[test]
fn each_outcome_has_its_element() {
    let text = rendered(&sample::journal());
    let xml = roxmltree::Document::parse(&text).unwrap();
    let shape = |suite: &str, test: &str| {
        let nodes = case(&xml, suite, test).children().filter(roxmltree::Node::is_element);
        nodes.map(|n| format!("{} {}", n.tag_name().name(), n.attribute("type").unwrap_or(""))).collect::<Vec<_>>()
    };
    let (good, bad) = ("debian:13/x86_64/container go-3.29", "debian:12/x86_64/container go-3.29");
    assert!(shape(good, BOOT).is_empty());
    assert_eq!(shape(good, RENAME), ["flakyFailure virtiofsd"]);
    assert_eq!(shape(good, sample::VSOCK), ["skipped skip"]);
    // Nothing is recorded, so that nothing is worse.
    assert_eq!(shape(good, sample::POSIX), ["skipped excused", "system-out "]);
    assert_eq!(shape(bad, RENAME), ["skipped blocked"]);
    assert_eq!(shape(bad, sample::DAEMON), ["skipped excused"]);
    assert_eq!(shape("debian:12/x86_64/container go-3.2", sample::NINE), ["error error", "system-out "]);
    assert_eq!(shape("debian:testing/x86_64/container", "cell::image"), ["error cell"]);
    assert_eq!(shape("debian:testing/x86_64/container rs-4.0", BOOT), ["skipped untested"]);
    assert_eq!(shape("debian:sid/x86_64/container", "cell::end"), ["error cell"]);
    assert_eq!(shape("debian:sid/x86_64/container rs-4.0", BOOT), ["error error"], "killed");
    assert_eq!(shape("run", "run::ending"), ["error run"]);
    let lost = case(&xml, "debian:testing/x86_64/container rs-4.0", BOOT).first_element_child().unwrap();
    let why = "never ran: image: bootstrapping debian testing: Could not resolve '<mirror>'";
    assert_eq!(lost.attribute("message"), Some(why));
    let nine_elsewhere = xml.descendants().filter(|n| n.attribute("name") == Some(sample::NINE)).count();
    assert_eq!(nine_elsewhere, 4, "only where the profile has 9p: once a cell");
}

/// A test that no container can run is no gap in a container's cell, but it is one in a machine's.
#[test]
fn tests_that_an_environment_cannot_run_are_left_out() {
    let id = "host::vhost_modules_load";
    let test = sample::test(id, &[], Component::Kernel, &[], &[]);
    let test = Test { environments: Environment::WITH_A_KERNEL, ..test };
    let mut matrix = sample::small_matrix();
    for (environment, shown) in [(Environment::Container, false), (Environment::Vm, true)] {
        matrix.cells[0].cell.environment = environment;
        let text = whole(&sample::standings(&matrix), std::slice::from_ref(&test));
        assert_eq!(text.contains(&format!("name=\"{id}\"")), shown, "{environment}: {text}");
    }
}

/// A result that is worse than recorded is a failure that says so, with the end of the most informative log, and its
/// files.
#[test]
fn a_failing_case_has_its_change_its_log_tail_and_its_files() {
    let entries = sample::recorded();
    let mut maker = sample::run(|t| match t {
        sample::DAEMON => Some(fail(Component::Virtiofsd, "it ended: exit code 1\nusage")),
        RENAME => Some(sample::blocked(sample::DAEMON)),
        _ => None,
    });
    let logs = ["g1/qemu.log", "g1/serial.log", "g1/virtiofsd.log"];
    for entry in &mut maker.journal.entries {
        if let Event::TestFinished { test, artifacts, .. } = &mut entry.event
            && *test == sample::DAEMON
        {
            *artifacts = sample::strings(&logs);
        }
    }
    let matrix = sample::judged(&maker);
    let standings = sample::compared_with_record(&matrix, &entries);
    let rendered_files = files(&standings, &sample::catalogue(), &[("g1/virtiofsd.log", "the last words")]);
    let xml = roxmltree::Document::parse(&rendered_files[0].1).unwrap();
    let suite = "debian:13/x86_64/container go-3.29";
    let failing = case(&xml, suite, sample::DAEMON);
    let failure = failing.children().find(|n| n.has_tag_name("failure")).unwrap();
    assert_eq!(failure.attribute("message"), Some("it ended: exit code 1"));
    let day = entries[0].tested;
    let turn = format!("new failure: fs.virtio-fs was supported ({day}), is unsupported");
    assert!(failure.text().unwrap().contains(&turn), "{:?}", failure.text());
    let out = failing.children().find(|n| n.has_tag_name("system-out")).and_then(|n| n.text()).unwrap();
    assert!(out.starts_with("the end of g1/virtiofsd.log:\nthe last words\n"), "{out}");
    let attached: Vec<&str> = out.lines().filter(|line| line.starts_with("[[ATTACHMENT|")).collect();
    assert_eq!(attached, logs.map(|log| format!("[[ATTACHMENT|out/{log}]]")));
    let blocked = case(&xml, suite, RENAME).children().find(|n| n.has_tag_name("skipped")).unwrap();
    let by = format!("blocked by {}: virtiofsd: it ended: exit code 1", sample::DAEMON);
    assert_eq!(blocked.attribute("message"), Some(by.as_str()));
    let suite = xml.descendants().find(|n| n.has_tag_name("testsuite")).unwrap();
    assert_eq!(suite.attribute("timestamp"), Some("2026-07-25T17:20:01"));
}

#[test]
fn each_cell_has_its_own_file_name() {
    let mut taken = BTreeSet::new();
    let id = |distro: &str, release: &str| CellId { distro: distro.parse().unwrap(), ..cell(release) };
    assert_eq!(file_name(&id("a-b", "c"), &mut taken), "a-b-c-x86_64-container.xml");
    assert_eq!(file_name(&id("a", "b-c"), &mut taken), "a-b-c-x86_64-container-2.xml");
}

/// A generated run: the outcome of each test under two profiles, problems of cell and run, and the results that it is
/// compared with.
#[derive(Debug, Clone)]
struct Made {
    outcomes: Vec<u8>,
    /// The outcomes of a base run, if there is one: in this case neither record nor known issues count.
    base: Option<Vec<u8>>,
    /// The index of the known issue in [`ISSUES`]; none if beyond the end.
    issue: usize,
    /// The cells that a pipeline planned, if the run belongs to one.
    planned: Option<Vec<&'static str>>,
    brought: bool,
    candidate: bool,
    /// The index of the recorded verdict of each capability; none if beyond the end.
    recorded: Vec<usize>,
    is_recorded: bool,
    same_tests: bool,
    strict: bool,
    filtered: bool,
    ended: bool,
    lost: bool,
    unknown_profile: bool,
    in_a_machine: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let tests = 2 * sample::catalogue().len();
    let capabilities = suites::capability::Capability::ALL.len();
    let flags = prop::collection::vec(prop::bool::weighted(0.3), 11);
    let outcomes = || prop::collection::vec(prop::sample::select(vec![0, 0, 0, 0, 1, 1, 2, 3, 4, 5]), tests);
    let recorded = prop::collection::vec(0..9usize, capabilities);
    let planned = prop::sample::select(vec![vec!["13"], vec!["13", "12"], vec!["12"], vec![]]);
    let context = (0..2 * ISSUES.len(), prop::option::weighted(0.4, planned));
    (outcomes(), outcomes(), recorded, flags, context).prop_map(|(outcomes, base, recorded, flags, context)| Made {
        outcomes,
        base: flags[8].then_some(base),
        issue: context.0,
        planned: context.1,
        brought: flags[9],
        candidate: flags[10],
        recorded,
        is_recorded: !flags[0],
        same_tests: !flags[1],
        strict: flags[2],
        filtered: flags[3],
        ended: !flags[4],
        lost: flags[5],
        unknown_profile: flags[6],
        in_a_machine: flags[7],
    })
}

/// Possible known issues of the sample's virtiofsd: a test, a signature, one that matches nothing, and an expired one.
const ISSUES: &[&str] = &[
    "test: 'filesystem::virtio_fs::rename_is_atomic', expires: 2027-01-31",
    "test: 'filesystem::virtio_fs::rename_is_atomic', expires: 2026-07-01",
    "test: 'smoke::qmp_replies_parse', environments: vm, expires: 2027-01-31",
    "signature: 'virtiofsd: it fails', expires: 2027-01-31",
    "signature: 'virtiofsd: something else', expires: 2027-01-31",
];

/// Returns the known issue with this index, if any.
fn known(number: usize) -> Vec<model::known_issues::KnownIssue> {
    let Some(entry) = ISSUES.get(number) else { return Vec::new() };
    let text = format!(
        "distro: debian\nknown-issues:\n  - {{id: one, package: virtiofsd, versions: all, url: 'https://bugs.example/1', \
         owner: somebody, {entry}}}\n"
    );
    model::known_issues::KnownIssuesFile::parse(Path::new("debian.yaml"), &text).unwrap().issues
}

/// Returns the run's exit code, and the number of failures and errors in its files.
fn counted(made: &Made) -> (u8, usize, usize) {
    let catalogue: Vec<Test> = sample::catalogue()
        .into_iter()
        .map(|test| Test { place: suites::catalogue::Place::OwnGuest, ..test })
        .collect();
    let matrix = matrix(&journal(made, &made.outcomes, &catalogue), &catalogue, &sample::profiles());
    let capabilities =
        suites::capability::Capability::ALL.iter().zip(&made.recorded).filter_map(|(capability, number)| {
            let verdict = Verdict::ALL.get(*number)?;
            Some((*capability, model::verified::VerifiedCapability::plain(*verdict)))
        });
    let entry = model::verified::VerifiedEntry {
        environment: matrix.cells[0].cell.environment,
        profile: "go-3.2".parse().unwrap(),
        test_set: if made.same_tests { matrix.test_set.clone() } else { "0123456789ab".to_owned() },
        capabilities: capabilities.collect(),
        ..sample::recorded().remove(0)
    };
    let (entries, issues) = (if made.is_recorded { vec![entry] } else { Vec::new() }, known(made.issue));
    let base = made.base.as_ref().map(|outcomes| {
        let journal = journal(made, outcomes, &catalogue);
        crate::standing::BaseRun::new(crate::matrix::matrix(&journal, &catalogue, &sample::profiles()))
    });
    let recorded = match &base {
        Some(base) => base.recorded(),
        None => {
            let recorded = crate::standing::Recorded::of_distro(&sample::DEBIAN, &entries);
            recorded.knowing(&sample::DEBIAN, model::package_manager::PackageManager::Apt, &issues)
        }
    };
    let mut standings = Standings::new(&matrix, recorded, made.strict);
    if let Some(releases) = &made.planned {
        let environment = matrix.cells[0].cell.environment;
        let planned = releases.iter().map(|release| CellId { environment, ..cell(release) });
        let planned: Vec<CellId> = planned.collect();
        let held = crate::pipeline::Pipeline::new(&standings, &planned).held();
        standings = standings.clone().held(held);
    }
    let files = files(&standings, &catalogue, &[]);
    let sum = |name: &str| -> usize {
        let of = |text: &String| {
            let xml = roxmltree::Document::parse(text).unwrap();
            xml.root_element().attribute(name).unwrap().parse::<usize>().unwrap()
        };
        files.iter().map(|(_, text)| of(text)).sum()
    };
    (standings.effect().exit_code(), sum("failures"), sum("errors"))
}

/// Returns the journal of a run with these outcomes.
fn journal(made: &Made, outcomes: &[u8], catalogue: &[Test]) -> Journal {
    let profiles: &[&str] = if made.unknown_profile { &["go-3.2", "go-0.1"] } else { &["go-3.2", "rs-4.0"] };
    let mut maker = Maker::default();
    maker.start(profiles, &["13"]);
    if let Some(Event::RunStarted { filter, candidate, .. }) = maker.journal.entries.last_mut().map(|e| &mut e.event) {
        *filter = made.filtered.then(|| "some".to_owned());
        *candidate = made.candidate;
    }
    maker.push(Event::CellStarted { cell: cell("13") });
    let mut facts = sample::facts(model::verified::Basis::Emulated);
    let mine = (Component::Virtiofsd, crate::journal::Candidate::File("mine (sha256 0123)".to_owned()));
    facts.candidates.extend(made.brought.then_some(mine));
    maker.push(Event::CellFacts { cell: cell("13"), facts });
    for (number, kind) in outcomes.iter().enumerate() {
        let (test, profile) = (&catalogue[number / 2], profiles[number % 2]);
        let outcome = match kind {
            0 => Outcome::Pass,
            1 => fail(test.blames, "it fails"),
            2 => skip("it lacks something"),
            3 => sample::blocked(BOOT),
            4 => error("ours"),
            _ => continue,
        };
        maker.done("13", &[profile], &test.id, outcome);
    }
    if made.lost {
        let message = "disk full".to_owned();
        maker.push(Event::CellError { cell: cell("13"), phase: crate::journal::Phase::Tests, message });
    }
    maker.push(Event::CellFinished { cell: cell("13") });
    if made.ended {
        maker.push(Event::RunFinished { interrupted: false });
    }
    if made.in_a_machine {
        let text = serde_json::to_string(&maker.journal.entries).unwrap().replace("/container", "/vm");
        maker.journal.entries = serde_json::from_str(&text).unwrap();
    }
    maker.journal
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A CI system is red exactly if the exit code is, and for the same reason.
    #[test]
    fn failures_and_errors_match_the_exit_code(one in made()) {
        let (code, failures, errors) = counted(&one);
        match code {
            0 => prop_assert_eq!((failures, errors), (0, 0)),
            1 => prop_assert!(failures > 0),
            _ => prop_assert!(failures == 0 && errors > 0, "{} failures, {} errors", failures, errors),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn guest_output_never_breaks_the_xml(bytes: Vec<u8>, text: String, kind in 0..3) {
        let printed = format!("{text}{}]]>\u{ffff}\u{0}", String::from_utf8_lossy(&bytes));
        let outcome = match kind {
            0 => fail(Component::Qemu, &printed),
            1 => error(&printed),
            _ => skip(&printed),
        };
        let mut facts = sample::facts(model::verified::Basis::Emulated);
        facts.environment.insert(printed.clone(), printed.clone().into());
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        maker.push(Event::CellFacts { cell: cell("13"), facts });
        maker.attempt("13", &["go-3.29"], BOOT, 1, outcome.clone());
        maker.attempt("13", &["go-3.29"], BOOT, 2, fail(Component::Kernel, &printed));
        maker.done("13", &["go-3.29"], RENAME, outcome);
        if let Some(Event::TestFinished { notes, .. }) = maker.journal.entries.last_mut().map(|e| &mut e.event) {
            notes.push(printed);
        }
        maker.done("13", &["go-3.29"], INSTALL, Outcome::Pass);
        let xml = rendered(&maker.journal);
        let parsed = roxmltree::Document::parse(&xml);
        prop_assert!(parsed.is_ok(), "{:?} in {}", parsed.err(), xml);
    }
}
