//! Comparison of Cargo.lock with the dated list of advisories in `.ci/advisories.toml`.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use semver::{Version, VersionReq};
use toml_edit::{DocumentMut, Value};

fn document(text: &str) -> DocumentMut {
    text.parse().expect("TOML")
}

fn list() -> DocumentMut {
    document(include_str!("../../../.ci/advisories.toml"))
}

/// Returns the packages of a lock file that the list reports as unsound: `tar 0.4.44: RUSTSEC-2026-0067`.
fn unsound(lock: &str, list: &DocumentMut) -> Vec<String> {
    let lock = document(lock);
    let packages = lock["package"].as_array_of_tables().expect("packages");
    let advisories = list["advisories"].as_array().expect("a list");
    let mut found = Vec::new();
    for advisory in advisories.iter().filter_map(Value::as_inline_table) {
        let text = |key: &str| advisory.get(key).and_then(Value::as_str).expect("text");
        let sound: Vec<VersionReq> = ["patched", "unaffected"]
            .iter()
            .filter_map(|key| advisory.get(key)?.as_array())
            .flatten()
            .map(|v| VersionReq::parse(v.as_str().expect("text")).expect("a range"))
            .collect();
        assert!(text("id").starts_with("RUSTSEC-"), "{advisory}");
        for package in packages.iter().filter(|p| p["name"].as_str() == Some(text("crate"))) {
            let version = Version::parse(package["version"].as_str().expect("a version")).expect("a version");
            if !sound.iter().any(|range| range.matches(&version)) {
                found.push(format!("{} {version}: {}", text("crate"), text("id")));
            }
        }
    }
    found
}

#[test]
fn no_crate_of_the_lock_file_has_a_known_advisory() {
    let list = list();
    let dated: jiff::civil::Date = list["dated"].as_str().expect("a day").parse().expect("a day");
    let age = dated.until(jiff::Zoned::now().date()).expect("a span").get_days();
    eprintln!("the list of advisories is of {dated}, {age} days old");
    assert!(list["advisories"].as_array().expect("a list").len() >= 90);
    let found = unsound(include_str!("../../../Cargo.lock"), &list);
    assert!(found.is_empty(), "update what is vulnerable: {found:?}");
}

#[test]
fn vulnerable_crate_versions_are_reported() {
    let list = list();
    let lock =
        |name: &str, version: &str| format!("version = 4\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
    assert_eq!(
        unsound(&lock("tar", "0.4.44"), &list),
        ["tar 0.4.44: RUSTSEC-2026-0067", "tar 0.4.44: RUSTSEC-2026-0068"]
    );
    assert_eq!(unsound(&lock("tokio", "1.43.0"), &list), ["tokio 1.43.0: RUSTSEC-2025-0023"]);
    assert_eq!(unsound(&lock("idna", "0.5.0"), &list), ["idna 0.5.0: RUSTSEC-2024-0421"]);
    // Versions between the patched ranges, in one of them, and before the fault was introduced.
    assert!(unsound(&lock("tokio", "1.42.1"), &list).is_empty());
    assert!(unsound(&lock("hashbrown", "0.14.5"), &list).is_empty());
    assert!(unsound(&lock("tar", "0.4.46"), &list).is_empty());
}
