//! Mistakes in records, each with its diagnostic.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use model::lint::{self, FileForm};
use std::fmt::Write as _;
use std::path::Path;

#[test]
fn every_mistake_has_its_diagnostic() {
    insta::assert_snapshot!(diagnostics("bad", FileForm::Record));
}

#[test]
fn every_mistake_in_verdicts_has_its_diagnostic() {
    insta::assert_snapshot!(diagnostics("bad-verdicts", FileForm::Verified { releases: &["1".parse().unwrap()] }));
}

fn diagnostics(folder: &str, form: FileForm<'_>) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut names: Vec<String> = std::fs::read_dir(folder.as_path())
        .expect("the fixtures")
        .map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{}", names.len());
    let mut all = String::new();
    for name in names {
        let text = std::fs::read_to_string(folder.join(&name)).expect("read");
        let found = lint::lint_as(Path::new(&name), &text, form);
        assert!(!found.is_empty(), "{name} has no finding");
        for diagnostic in &found {
            let _ = writeln!(all, "{}\n", diagnostic.human(&text, false));
        }
    }
    all
}

#[test]
fn mechanical_mistakes_are_fixed() {
    let fixed = |text: &str| lint::fix(Path::new("demo.yaml"), text).expect("a fix");
    let arches = include_str!("fixtures/bad/debians-arch.yaml");
    assert_eq!(fixed(arches), arches.replace("amd64", "x86_64").replace("arm64", "aarch64"));
    let mark = include_str!("fixtures/bad/byte-order-mark.yaml");
    assert_eq!(fixed(mark), mark.trim_start_matches('\u{feff}'));
    let list = fixed(include_str!("fixtures/bad/lost-list-marks.yaml"));
    assert!(lint::lint(Path::new("demo.yaml"), &list).is_empty(), "{list}");
}
