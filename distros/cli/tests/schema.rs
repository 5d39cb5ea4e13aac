//! The checked-in JSON Schemas are current, and agree with the decoder and with the program's answers.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use model::schema;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("read");
    serde_yaml::from_str(&text).expect("YAML")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(here(folder)).expect("the folder");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

#[test]
fn the_schemas_are_current() {
    for (name, current) in
        [("record", schema::record()), ("verified", schema::verified()), ("known-issues", schema::known_issues())]
    {
        let current = current.expect("the schema");
        let file = here(&format!("../model/schema/{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&file, &current).expect("written");
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(checked_in == current, "{} is old: run the test with UPDATE_SCHEMA=1", file.display());
    }
}

/// The subcommands with answers for programs.
const CALLS: [&str; 13] = [
    "detect",
    "list",
    "show",
    "check",
    "verified",
    "installer",
    "packages",
    "install",
    "configure",
    "unconfigure",
    "fallback",
    "requirements",
    "lint",
];

/// Returns the schema of a subcommand's answer, as the program prints it.
fn answer_schema(call: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo")).args(["schema", &format!("{call}-answer")]).output();
    String::from_utf8(output.expect("it runs").stdout).expect("UTF-8")
}

#[test]
fn the_schemas_of_answers_are_current() {
    for call in CALLS {
        let (current, file) = (answer_schema(call), here(&format!("schema/{call}-answer.schema.json")));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(here("schema")).expect("the folder");
            std::fs::write(&file, &current).expect("written");
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(!current.is_empty() && checked_in == current, "{} is old: set UPDATE_SCHEMA=1", file.display());
    }
}

/// The answers are those that the Go package is tested with.
#[test]
fn recorded_answers_are_valid_and_broken_ones_are_not() {
    let mut seen = 0;
    for file in files("../../packaging/go/testdata") {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let call = match name {
            // An error is a valid answer of every subcommand.
            "error" => "show",
            "build" => "fallback",
            "dry-run" => "install",
            _ => name,
        };
        let validator = validator(&answer_schema(call));
        assert_valid(&validator, &file);
        let mut answer = yaml(&file);
        answer["version"] = 2.into();
        assert!(!validator.is_valid(&answer), "{name} of version 2 is valid");
        answer["version"] = 1.into();
        answer["another-key"] = 1.into();
        assert!(!validator.is_valid(&answer), "{name} with an unknown key is valid");
        seen += 1;
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn answers_of_this_program_are_valid() {
    for call in [
        &["list"][..],
        &["show", "all", "--arch", "x86_64", "--origin"],
        &["show", "nowhere"],
        &["requirements", "--profile", "rs-4.0", "--component", "qemu"],
        &["requirements", "--profile", "go-3.29", "--component", "kernel"],
        &["packages", "--target", "debian:13", "--arch", "x86_64"],
        &["verified", "--target", "debian:13", "--arch", "x86_64"],
        &["fallback", "--target", "debian:13", "--arch", "x86_64", "--profile", "go-3.29", "--build", "qemu"],
    ] {
        let root = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"));
        command.arg("--root").arg(root.path()).args(call).args(["--format", "json"]).env_remove("KATA_OSINFO_PATH");
        let output = command.output().expect("it runs").stdout;
        let answer: Value = serde_json::from_slice(&output).expect("one document");
        let validator = validator(&answer_schema(call[0]));
        let errors: Vec<String> = validator.iter_errors(&answer).map(|e| format!("{}: {e}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{call:?}: {errors:?}");
    }
}

/// A file that cannot be read has a finding, too, and so has every mistake.
#[test]
fn findings_of_lint_are_valid_and_also_reasons() {
    let validator = validator(&answer_schema("lint"));
    for (folder, exit) in [("tests/fixtures/bad", 1), ("../records", 0), ("tests/fixtures/bad/no-such-file.yaml", 2)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"));
        let output = command.arg("lint").arg(here(folder)).args(["--format", "json"]).output().expect("it runs");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(output.status.code(), Some(exit), "{folder}: {answer}");
        let errors: Vec<String> = validator.iter_errors(&answer).map(|e| format!("{}: {e}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{folder}: {errors:?}");
        let count = |key: &str| answer[key].as_array().map(Vec::len);
        assert_eq!(count("problems"), count("diagnostics"), "{folder}");
        assert_eq!(count("problems") == Some(0), exit == 0, "{folder}: a reason for each exit code");
    }
}

#[test]
fn sound_records_are_valid_and_broken_ones_are_not() {
    let validator = validator(&schema::record().expect("the schema"));
    let shipped = files("../records");
    let sound =
        shipped.into_iter().chain(files("tests/fixtures/records")).chain(files("tests/fixtures/proposal/as-meant"));
    for file in sound {
        assert_valid(&validator, &file);
    }
    for name in [
        "unknown-key",
        "unknown-key-in-release",
        "unknown-key-in-component",
        "unknown-arch",
        "unknown-package-manager",
        "unknown-api-version",
        "unknown-confidence",
        "unknown-archive",
        "bad-distro-name",
        "missing-distro",
        "missing-name",
        "wrong-type-vmm",
        "wrong-type-date",
        "wrong-type-path",
        "relative-path",
        "verdicts-in-a-record",
    ] {
        let record = yaml(&here(&format!("tests/fixtures/bad/{name}.yaml")));
        assert!(!validator.is_valid(&record), "{name} is valid to the schema");
    }
}

#[test]
fn sound_verdicts_are_valid_and_broken_ones_are_not() {
    let validator = validator(&schema::verified().expect("the schema"));
    for file in files("../records/verified") {
        assert_valid(&validator, &file);
    }
    for name in ["unknown-verdict", "unknown-capability", "unknown-environment", "without-basis"] {
        let verdicts = yaml(&here(&format!("tests/fixtures/bad-verdicts/{name}.yaml")));
        assert!(!validator.is_valid(&verdicts), "{name} is valid to the schema");
    }
}

#[test]
fn sound_known_issues_are_valid_and_broken_ones_are_not() {
    let validator = validator(&schema::known_issues().expect("the schema"));
    let sound = "distro: d\nknown-issues:\n  - {id: a, test: 'x::y', package: qemu, versions: {from: 1-1}, profiles: go-3.32,\n     \
        environments: [vm], url: 'https://bugs.example/1', owner: o, expires: 2027-01-01}\n";
    let is_valid = |text: &str| validator.is_valid(&serde_yaml::from_str::<Value>(text).expect("YAML"));
    assert!(is_valid(sound) && is_valid(&sound.replace("{from: 1-1}", "all")));
    for (from, to) in [("{from: 1-1}", "any"), ("https:", "http:"), ("vm", "moon"), ("owner: o, ", ""), ("id:", "ib:")]
    {
        assert!(!is_valid(&sound.replacen(from, to, 1)), "{to} is valid");
    }
}

fn validator(schema: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

fn assert_valid(validator: &jsonschema::Validator, file: &Path) {
    let errors: Vec<String> = validator.iter_errors(&yaml(file)).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", file.display());
}
