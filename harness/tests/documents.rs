//! Checks of the documents against the code: each word that ARCHITECTURE.md explains is used, and each path exists.

mod sources;

use sources::{members, read, repository, sources};
use std::path::Path;

/// Documents whose paths are checked. CHANGELOG.md is not, because its history names paths that are gone.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "distros/README.md",
    "docs/ci.md",
    "docs/findings.md",
    "docs/guides.md",
    "docs/not-exercised.md",
    "docs/packaging.md",
    "docs/results.md",
    "docs/running.md",
    "docs/security.md",
    "suites/demands/README.md",
];

/// Directories with which a path in a document begins.
const FOLDERS: [&str; 10] =
    [".ci/", ".github/", "debian/", "distros/", "docs/", "harness/", "images/", "packaging/", "reports/", "suites/"];

/// Minimum number of words in the tables, so that a table that is not found does not pass.
const WORDS: usize = 60;

#[test]
fn the_threat_model_has_a_row_for_every_source_of_input() {
    let text = read(&repository().join("docs/security.md"));
    let rows: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for source in [
        "records",
        "a root",
        "packages",
        "archives",
        "images",
        "guests",
        "journals",
        "bundles",
        "mirrors",
        "a checkout",
    ] {
        let named = rows.iter().any(|row| row.contains(&format!("**{source}")));
        assert!(named, "docs/security.md has no row about {source}: say what they may do at worst, and what limits it");
    }
}

#[test]
fn every_word_of_the_glossary_is_in_the_code() {
    let words = glossary(&read(&repository().join("ARCHITECTURE.md")));
    assert!(words.len() >= WORDS, "ARCHITECTURE.md explains {} words, expected {WORDS} or more", words.len());
    let missing = unused(&words, &code());
    assert!(
        missing.is_empty(),
        "no code outside tests has these words of ARCHITECTURE.md: {}; take over the new name, or remove the row",
        missing.join(", ")
    );
}

#[test]
fn glossary_words_missing_from_the_code_are_reported() {
    let text = "## Words\n\n| word | in the code | meaning |\n|---|---|---|\n| cell | `CellId` | x |\n\
        | root port, snark | | x |\n| profile | `Profil` | x |\n\n## Invariants\n\n| boojum | | x |\n";
    let code = "struct CellId; // A cell, its profiles and the root_ports. ProfileSnarks";
    assert_eq!(unused(&glossary(text), code), ["root port", "snark", "`Profil`"]);
}

#[test]
fn every_path_in_the_documents_exists() {
    let root = repository();
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = read(&root.join(document));
        let folder = root.join(document).parent().map(Path::to_owned).unwrap_or_default();
        missing.extend(paths(&text).filter(|path| !root.join(path).exists()).map(|path| format!("{document}: {path}")));
        missing
            .extend(links(&text).filter(|link| !folder.join(link).exists()).map(|link| format!("{document}: {link}")));
    }
    assert!(missing.is_empty(), "these paths of the documents do not exist:\n{}", missing.join("\n"));
}

#[test]
fn paths_are_distinguished_from_patterns_and_links_from_urls() {
    let text = "`harness/src/cell.rs`, `suites/src/smoke/THEME.rs`, `distros/records/*.yaml`, `run --in vm`, \
        [a](docs/running.md#top) [b](https://example.org/x) `distros/README.md`";
    assert_eq!(paths(text).collect::<Vec<_>>(), ["harness/src/cell.rs", "distros/README.md"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["docs/running.md"]);
}

/// Returns the words and names in the tables below the heading "Words", in their order; names are in backticks.
fn glossary(architecture: &str) -> Vec<String> {
    let section = architecture.lines().skip_while(|line| *line != "## Words").skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| "));
    rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.get(1) != Some(&"word"))
        .flat_map(|cells| cells.into_iter().skip(1).take(2))
        .flat_map(|cell| cell.split(", "))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the words that the code does not have: a name must occur exactly, any other word in any case and also in the
/// plural.
fn unused(words: &[String], code: &str) -> Vec<String> {
    let lower = code.to_lowercase();
    let is_used = |word: &str| match word.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(name) => has(code, name),
        None => has(&lower, &word.to_lowercase()) || has(&lower, &format!("{}s", word.to_lowercase())),
    };
    words.iter().filter(|word| !is_used(word.as_str())).cloned().collect()
}

/// Returns whether the text has the word, and not only as a part of a longer one.
fn has(text: &str, word: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(continues) && !text[at + word.len()..].starts_with(continues))
}

/// Returns the paths of this repository in a document's code spans, without those that have a placeholder or a pattern.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|span| {
        FOLDERS.iter().any(|folder| span.starts_with(folder))
            && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
            && !span.split('/').any(is_placeholder)
    })
}

/// Returns whether a part of a path stands for many files, like `DISTRO.yaml` and `THEME.rs`.
fn is_placeholder(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default();
    part != "README.md" && stem.len() > 1 && stem.chars().all(|c| c.is_ascii_uppercase())
}

/// Returns the targets of a document's links that are files.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](").filter_map(move |(at, open)| {
        let target = text[at + open.len()..].split(')').next()?;
        let file = target.split('#').next()?;
        (!file.is_empty() && !file.contains("://")).then_some(file)
    })
}

/// Returns the text of all crates without their tests.
fn code() -> String {
    members().iter().flat_map(|member| sources(member)).map(|source| source.text).collect()
}
