use super::*;
use crate::journal::{Event, Journal};
use crate::matrix::matrix;
use crate::sample::{self, BOOT, INSTALL, Maker, RENAME, cell, error, fail, skip};
use model::environment::Environment;
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use suites::outcome::Component;

fn rendered(journal: &Journal) -> String {
    let matrix = matrix(journal, &sample::catalogue(), &sample::profiles());
    render(&sample::standings(&matrix), &sample::catalogue()).unwrap()
}

fn case<'a>(xml: &'a roxmltree::Document, suite: &str, test: &str) -> roxmltree::Node<'a, 'a> {
    let suite = xml.descendants().find(|n| n.has_tag_name("testsuite") && n.attribute("name") == Some(suite)).unwrap();
    suite.children().find(|n| n.has_tag_name("testcase") && n.attribute("name") == Some(test)).unwrap()
}

/// As Jenkins gets it, except for the verdicts on capabilities that no test of the run is required for.
#[test]
fn a_small_run_as_junit() {
    let catalogue = sample::small_catalogue();
    let text = render(&sample::standings(&sample::small_matrix()), &catalogue).unwrap();
    let judged: Vec<String> =
        catalogue.iter().flat_map(|test| &test.proves).map(|c| format!("\"verdict.{c}\"")).collect();
    let kept = |line: &&str| !line.contains("\"verdict.") || judged.iter().any(|name| line.contains(name.as_str()));
    insta::assert_snapshot!(text.lines().filter(kept).collect::<Vec<_>>().join("\n"));
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
    let expected: Vec<String> = matrix
        .cells
        .iter()
        .flat_map(|cell| matrix.profiles.iter().map(|profile| format!("{} {}", cell.cell, profile.name)))
        .collect();
    assert_eq!(suites, expected);
}

#[test]
#[cfg_attr(lacks = "xmllint", ignore = "needs xmllint")]
fn the_schema_allows_it() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/junit.xsd");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("junit.xml");
    std::fs::write(&file, rendered(&sample::journal())).unwrap();
    let output = Command::new("xmllint").args(["--noout", "--schema"]).arg(&schema).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // The schema is strict enough to refuse a rerun without a type.
    let broken = rendered(&sample::journal()).replace("<flakyFailure message", "<flakyFailure x");
    std::fs::write(&file, broken).unwrap();
    let output = Command::new("xmllint").args(["--noout", "--schema"]).arg(&schema).arg(&file).output().unwrap();
    assert!(!output.status.success());
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
    assert_eq!(shape(good, sample::POSIX), ["failure virtiofsd", "system-out "]);
    assert_eq!(shape(bad, RENAME), ["skipped blocked"]);
    assert_eq!(shape(bad, sample::DAEMON), ["failure virtiofsd", "rerunFailure virtiofsd"]);
    assert_eq!(shape("debian:12/x86_64/container go-3.2", sample::NINE), ["error error"]);
    assert_eq!(shape("debian:testing/x86_64/container rs-4.0", "cell::image"), ["error cell"]);
    assert_eq!(shape("debian:testing/x86_64/container rs-4.0", BOOT), ["skipped untested"]);
    assert_eq!(shape("debian:sid/x86_64/container rs-4.0", BOOT), ["error error"], "killed");
    let nine_elsewhere = xml.descendants().filter(|n| n.attribute("name") == Some(sample::NINE)).count();
    assert_eq!(nine_elsewhere, 4, "only where the profile has 9p: once a cell");
}

/// What no container can show is no gap of a container's cell; of a machine's it is one.
#[test]
fn what_the_environment_cannot_show_is_left_out() {
    let id = "host::vhost_modules_load";
    let test = sample::test(id, &[], Component::Kernel, &[], &[]);
    let test = Test { environments: Environment::WITH_A_KERNEL, ..test };
    let mut matrix = sample::small_matrix();
    for (environment, shown) in [(Environment::Container, false), (Environment::Vm, true)] {
        matrix.cells[0].cell.environment = environment;
        let text = render(&sample::standings(&matrix), std::slice::from_ref(&test)).unwrap();
        assert_eq!(text.contains(&format!("name=\"{id}\"")), shown, "{environment}: {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_guest_prints_it_stays_xml(bytes: Vec<u8>, text: String, kind in 0..3) {
        let printed = format!("{text}{}]]>\u{ffff}\u{0}", String::from_utf8_lossy(&bytes));
        let outcome = match kind {
            0 => fail(Component::Qemu, &printed),
            1 => error(&printed),
            _ => skip(&printed),
        };
        let mut facts = sample::facts(model::verified::Basis::Emulated);
        facts.environment.insert(printed.clone(), printed.clone());
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        maker.push(Event::CellFacts { cell: cell("13"), facts });
        maker.attempt("13", &["go-3.29"], BOOT, 1, outcome.clone());
        maker.attempt("13", &["go-3.29"], BOOT, 2, fail(Component::Kernel, &printed));
        maker.done("13", &["go-3.29"], &printed, outcome);
        if let Some(Event::TestFinished { notes, .. }) = maker.journal.entries.last_mut().map(|e| &mut e.event) {
            notes.push(printed);
        }
        maker.done("13", &["go-3.29"], INSTALL, Outcome::Pass);
        let xml = rendered(&maker.journal);
        let parsed = roxmltree::Document::parse(&xml);
        prop_assert!(parsed.is_ok(), "{:?} in {}", parsed.err(), xml);
    }
}
