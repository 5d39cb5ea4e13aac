//! The output of the command and the files of a run are valid against the checked-in JSON Schemas.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail loudly")]

mod cached;

use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn the_plan_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let output = stdout_of(dir.path(), &["plan", "--in", "vm", "--cache", "cache", "--format", "json"]);
    let plan: Value = serde_json::from_slice(&output).unwrap();
    assert!(plan["releases"].as_array().unwrap().len() > 10, "{plan}");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/plan.schema.json");
    let validator = validator(&read(&schema));
    assert_valid(&validator, &plan);
    let mut other = plan;
    other["releases"][0]["in"] = "cloud".into();
    assert!(!validator.is_valid(&other));
}

/// The image is empty, so that the run is short.
#[test]
fn the_journal_and_results_of_a_run_are_valid() {
    let dir = tempfile::tempdir().unwrap();
    cached::empty_images(&dir.path().join("cache"), &["debian:13"]).unwrap();
    let run = ["run", "debian:13", "--in", "vm", "--offline", "--cache", "cache", "--out", "out", "--format", "ndjson"];
    let output = String::from_utf8(stdout_of(dir.path(), &run)).unwrap();
    let lines = validator(&serde_json::from_str(&reports::schema::journal().unwrap()).unwrap());
    assert!(output.lines().count() > 3, "{output}");
    for line in output.lines() {
        assert_valid(&lines, &serde_json::from_str(line).unwrap());
    }
    let results = validator(&serde_json::from_str(&reports::schema::results().unwrap()).unwrap());
    assert_valid(&results, &read(&dir.path().join("out/results.json")));
}

/// Returns the command's standard output.
fn stdout_of(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args(arguments).current_dir(folder).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    command.output().unwrap().stdout
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).unwrap()
}

fn assert_valid(validator: &jsonschema::Validator, value: &Value) {
    let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}
