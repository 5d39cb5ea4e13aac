//! The checked-in JSON Schema: current, and of one mind with the decoder.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

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
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn the_file_is_current() {
    let current = kata_osinfo::schema::record().expect("the schema");
    let file = here("schema/record.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &current).expect("written");
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(checked_in == current, "distros/schema/record.schema.json is old: run the test with UPDATE_SCHEMA=1");
}

#[test]
fn sound_records_are_valid_and_broken_ones_are_not() {
    let schema: Value = serde_json::from_str(&kata_osinfo::schema::record().expect("the schema")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let shipped = files("records");
    let sound =
        shipped.into_iter().chain(files("tests/fixtures/records")).chain(files("tests/fixtures/proposal/as-meant"));
    for file in sound {
        let errors: Vec<String> =
            validator.iter_errors(&yaml(&file)).map(|e| format!("{}: {e}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
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
        "verified-unknown-verdict",
        "verified-unknown-capability",
        "verified-unknown-environment",
        "verified-without-basis",
    ] {
        let record = yaml(&here(&format!("tests/fixtures/bad/{name}.yaml")));
        assert!(!validator.is_valid(&record), "{name} is valid to the schema");
    }
}
