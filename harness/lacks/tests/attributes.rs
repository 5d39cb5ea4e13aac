//! Checks that the repository's tests name their needs in the one way that `.ci/run` and cargo understand.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use std::path::{Path, PathBuf};

/// Reads every source file of the repository; leaves out this crate, whose comments contain such attributes.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders: Vec<PathBuf> =
        ["distros", "suites", "images", "reports", "harness"].iter().map(|name| root.join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.ends_with("harness/lacks") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("read");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 100, "only {} files", found.len());
    found
}

/// Returns the attributes in a text that begin with `start`, up to their `]`.
fn attributes<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).filter_map(move |(at, _)| text[at..].split(")]").next())
}

#[test]
fn each_ignore_for_a_lack_gives_a_reason_with_a_known_prefix() {
    let mut seen = 0;
    for (path, text) in sources() {
        for attribute in attributes(&text, "#[cfg_attr(").filter(|attribute| attribute.contains("lacks = ")) {
            let reason = attribute.split("ignore = \"").nth(1).unwrap_or_default();
            let right = reason.starts_with("needs ") || reason.starts_with("elsewhere: ");
            assert!(right, "{}: expected `needs …` or `elsewhere: …`: {attribute}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} attributes");
}

#[test]
fn plain_ignores_give_reasons_without_those_prefixes() {
    for (path, text) in sources() {
        let path = path.display();
        assert!(!text.contains("#[ignore]"), "{path}: a test is ignored without a reason");
        for word in ["needs ", "elsewhere: "] {
            assert!(!text.contains(&format!("#[ignore = \"{word}")), "{path}: `{word}` is for cfg_attr(lacks = …)");
        }
    }
}
