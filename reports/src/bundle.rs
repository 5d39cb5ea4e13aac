//! Bundles of a run that others can check: which files they hold, and whether the files are the packed ones.
//!
//! Nothing here reads or writes; the sums show damage, not who made the bundle.

use crate::journal::{Event, Journal};
use model::sha256;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// The file of checksums, in the format of `sha256sum --check`.
pub const SUMS: &str = "SHA256SUMS";

/// Returns the files of tests that failed or were in error, as the journal names them.
pub fn logs(journal: &Journal) -> BTreeSet<String> {
    let of = |event: &Event| match event {
        Event::TestFinished { outcome: Outcome::Fail(_) | Outcome::Error { .. }, artifacts, .. } => artifacts.clone(),
        _ => Vec::new(),
    };
    journal.entries.iter().flat_map(|entry| of(&entry.event)).collect()
}

/// Returns the manifests of the images, as the journal names them.
pub fn manifests(journal: &Journal) -> BTreeSet<String> {
    let of = |event: &Event| match event {
        Event::CellFacts { facts, .. } => facts.image_manifest.clone(),
        _ => None,
    };
    journal.entries.iter().filter_map(|entry| of(&entry.event)).collect()
}

/// Returns the contents of the checksum file for these files.
pub fn sums(files: &BTreeMap<String, Vec<u8>>) -> String {
    let summed = files.iter().filter(|(name, _)| *name != SUMS);
    summed.map(|(name, bytes)| format!("{}  {name}\n", sha256::of_bytes(bytes))).collect()
}

/// Why files are not the packed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SumsError {
    /// There is no file of checksums.
    #[error("{} is missing", SUMS)]
    Missing,
    /// The checksum file cannot be read.
    #[error("{} is not a text file", SUMS)]
    NotText,
    /// A line of the checksum file is malformed.
    #[error("{}:{line}: expected a checksum and a name", SUMS)]
    BadLine {
        /// The line's number, from 1.
        line: usize,
    },
    /// A file is missing.
    #[error("{}:{line}: names a file that does not exist", SUMS)]
    Absent {
        /// The line that names the file.
        line: usize,
    },
    /// A file does not match its checksum.
    #[error("{name} was changed or damaged")]
    Changed {
        /// The file.
        name: String,
    },
    /// A file is listed twice.
    #[error("{}:{line}: names {name} twice", SUMS)]
    Again {
        /// The second line.
        line: usize,
        /// The file.
        name: String,
    },
    /// A file has no checksum.
    #[error("{} does not list {name}", SUMS)]
    Unnamed {
        /// The file.
        name: String,
    },
}

/// Checks that the files are exactly those that their checksum file lists.
///
/// # Errors
/// The first deviation.
pub fn check(files: &BTreeMap<String, Vec<u8>>) -> Result<(), SumsError> {
    let listed = files.get(SUMS).ok_or(SumsError::Missing)?;
    let listed = std::str::from_utf8(listed).map_err(|_| SumsError::NotText)?;
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for (number, text) in listed.lines().enumerate() {
        let line = number + 1;
        let (sum, name) = text.split_once("  ").ok_or(SumsError::BadLine { line })?;
        let bytes = files.get(name).ok_or(SumsError::Absent { line })?;
        if sha256::of_bytes(bytes) != sum {
            return Err(SumsError::Changed { name: name.to_owned() });
        }
        if !named.insert(name) {
            return Err(SumsError::Again { line, name: name.to_owned() });
        }
    }
    match files.keys().find(|name| *name != SUMS && !named.contains(name.as_str())) {
        Some(other) => Err(SumsError::Unnamed { name: other.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{BOOT, INSTALL, Maker, RENAME, error, facts, fail};
    use model::verified::Basis;
    use suites::outcome::Component;

    fn made(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    /// Checks files that were changed after their checksums were computed.
    fn changed(change: impl Fn(&mut BTreeMap<String, Vec<u8>>)) -> Result<(), SumsError> {
        let mut files = made(&[("a/b", "x"), ("c", "")]);
        files.insert(SUMS.to_owned(), sums(&files).into_bytes());
        change(&mut files);
        check(&files)
    }

    #[test]
    fn changed_missing_or_extra_files_are_refused() {
        assert_eq!(changed(|_| {}), Ok(()));
        type Change = fn(&mut BTreeMap<String, Vec<u8>>);
        let table: [(Change, &str); 7] = [
            (|files| drop(files.remove(SUMS)), "SHA256SUMS is missing"),
            (|files| drop(files.insert(SUMS.into(), b"\xff".to_vec())), "SHA256SUMS is not a text file"),
            (|files| drop(files.insert(SUMS.into(), b"x".to_vec())), "SHA256SUMS:1: expected a checksum and a name"),
            (|files| drop(files.insert("c".into(), b"y".to_vec())), "c was changed or damaged"),
            (|files| drop(files.remove("c")), "SHA256SUMS:2: names a file that does not exist"),
            (|files| drop(files.insert("d".into(), Vec::new())), "SHA256SUMS does not list d"),
            (
                |files| {
                    let twice = files[SUMS].repeat(2);
                    files.insert(SUMS.into(), twice);
                },
                "SHA256SUMS:3: names a/b twice",
            ),
        ];
        for (change, why) in table {
            assert_eq!(changed(change).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn checksums_are_in_the_format_of_sha256sum() {
        let sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_eq!(sums(&made(&[("a", "x"), (SUMS, "old")])), format!("{sum}  a\n"));
    }

    #[test]
    fn only_logs_of_attempts_that_did_not_pass_are_selected() {
        let mut maker = Maker::default();
        maker.start(&["a"], &["13"]);
        maker.push(Event::CellFacts { cell: crate::sample::cell("13"), facts: facts(Basis::Emulated) });
        maker.attempt("13", &["a"], INSTALL, 1, Outcome::Pass);
        maker.attempt("13", &["a"], BOOT, 2, fail(Component::Qemu, "x"));
        maker.attempt("13", &["a"], RENAME, 3, error("x"));
        let names = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
        assert_eq!(names(logs(&maker.journal)), ["13/2/serial.log", "13/3/serial.log"]);
        assert_eq!(names(manifests(&maker.journal)), ["images/debian-13.json"]);
    }
}
