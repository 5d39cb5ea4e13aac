//! The checked-in JSON Schema is current, and agrees with the decoder.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use model::schema;
use serde_json::Value;
use std::path::{Path, PathBuf};

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
fn the_files_are_current() {
    for (name, current) in [("record", schema::record()), ("verified", schema::verified())] {
        let current = current.expect("the schema");
        let file = here(&format!("../model/schema/{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&file, &current).expect("written");
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(checked_in == current, "{} is old: run the test with UPDATE_SCHEMA=1", file.display());
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

fn validator(schema: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

fn assert_valid(validator: &jsonschema::Validator, file: &Path) {
    let errors: Vec<String> = validator.iter_errors(&yaml(file)).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", file.display());
}
