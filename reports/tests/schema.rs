//! The checked-in JSON Schemas are current.

use std::path::Path;

#[test]
fn the_schemas_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let all = [
        ("journal", reports::schema::journal()),
        ("results", reports::schema::results()),
        ("site", reports::schema::site()),
    ];
    for (name, current) in all {
        let current = current.expect("the schema");
        let file = folder.join(format!("{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(&folder).expect("the folder");
            std::fs::write(&file, &current).expect("written");
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(checked_in == current, "{} is old: run the test with UPDATE_SCHEMA=1", file.display());
    }
}
