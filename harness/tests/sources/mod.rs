//! The source files of the workspace's crates, without their tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file of a crate.
pub(crate) struct Source {
    /// Path relative to `src`.
    pub(crate) path: PathBuf,
    /// The text, of which [`sources`] leaves out the tests.
    pub(crate) text: String,
}

/// Returns the directories of the workspace's crates.
pub(crate) fn members() -> Vec<String> {
    let manifest = read(&repository().join("Cargo.toml"));
    let lines = manifest.lines().skip_while(|line| *line != "members = [").skip(1).take_while(|line| *line != "]");
    let all: Vec<String> = lines.map(|line| line.trim_matches([' ', ',', '"']).to_owned()).collect();
    assert!(!all.is_empty(), "the workspace's Cargo.toml has no list that begins with a line `members = [`");
    all
}

/// Returns the files of a crate without its integration tests.
pub(crate) fn sources(member: &str) -> Vec<Source> {
    let src = repository().join(member).join("src");
    let mut folders = vec![src.clone()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("listing {}: {e}", folder.display())) {
            let path = entry.unwrap_or_else(|e| panic!("listing {}: {e}", folder.display())).path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&src).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                all.push(Source { path: below.to_owned(), text: read(&path) });
            }
        }
    }
    outside_tests(all)
}

/// Removes files that are compiled only for tests, and the test module at the end of each other file.
pub(crate) fn outside_tests(mut files: Vec<Source>) -> Vec<Source> {
    let tests: Vec<PathBuf> = files.iter().flat_map(test_files).collect();
    files.retain(|file| !tests.iter().any(|test| file.path.with_extension("").starts_with(test)));
    for file in &mut files {
        file.text = before_tests(&file.text).to_owned();
    }
    files
}

/// Returns the test-only modules that a file declares in separate files, as paths without `.rs`.
fn test_files(file: &Source) -> Vec<PathBuf> {
    let folder = module(&file.path);
    let names = test_modules(&file.text).filter_map(|(_, line)| line.strip_suffix(';')?.rsplit(' ').next());
    names.map(|name| folder.join(name)).collect()
}

/// Returns the text before the test module at its end.
pub(crate) fn before_tests(text: &str) -> &str {
    let inline = test_modules(text).find(|(_, line)| line.ends_with('{'));
    inline.map_or(text, |(at, _)| &text[..at])
}

/// Returns the test-only modules: the position of their attributes, and the line that declares them.
fn test_modules(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("#[cfg(").filter_map(move |(at, _)| {
        let rest = &text[at..];
        let is_for_tests = rest.starts_with("#[cfg(test)]") || rest.starts_with("#[cfg(all(test,");
        let begins_line = at == 0 || text[..at].ends_with('\n');
        let line = rest.lines().find(|line| !line.starts_with("#["))?;
        (is_for_tests && begins_line && line.contains("mod ")).then_some((at, line))
    })
}

/// Returns the module of a file.
pub(crate) fn module(path: &Path) -> PathBuf {
    let mut module = path.with_extension("");
    if ["lib", "main", "mod"].iter().any(|root| module.ends_with(root)) {
        module.pop();
    }
    module
}

/// Returns the folder of the workspace.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads a file of the workspace.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("reading {}: {e}", path.display()))
}
