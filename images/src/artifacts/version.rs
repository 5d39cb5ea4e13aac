//! The version of Kata's files.

use super::{ArtifactsError, doing, go};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of a file VERSION.
const MAX_VERSION: u64 = 256;
/// How an archive's name begins, before its version: `kata-static-4.1.0-amd64.tar.zst`. From 4.0.0 on `kata-ctl` is in an
/// archive of its own, from 4.1.0 on the Go runtime is, too.
const NAMES: [&str; 4] = ["kata-static-", "kata-tools-static-", "kata-go-static-", "kata-containers-"];

/// The release's `VERSION`; without it what the Go shim's bytes say, or the archive's or folder's name.
///
/// No program of the archive is run for it.
pub(super) fn of(prefix: &Path, name: &str, shims: &[(PathBuf, Vec<u8>)]) -> Result<String, ArtifactsError> {
    let mut text = String::new();
    if let Ok(file) = File::open(prefix.join("VERSION")) {
        doing(file.take(MAX_VERSION).read_to_string(&mut text), "reading", &prefix.join("VERSION"))?;
    }
    let said = || shims.iter().find_map(|(_, bytes)| go::version(bytes));
    let named = || NAMES.iter().find_map(|start| name.strip_prefix(start)).map(|rest| of_name(rest).to_owned());
    let found = match text.trim() {
        "" => said().or_else(named).unwrap_or_default(),
        version => version.to_owned(),
    };
    let word = found.starts_with(|c: char| c.is_ascii_digit())
        && found.chars().all(|c| c.is_ascii_alphanumeric() || ".-+~".contains(c));
    match word {
        true => Ok(found),
        false => Err(ArtifactsError::Missing {
            what: "version",
            place: prefix.display().to_string(),
            expected: "a file VERSION such as 3.30.0, a Go shim that was not stripped, or a name such as \
                       kata-static-3.30.0-amd64.tar.zst"
                .to_owned(),
        }),
    }
}

/// `3.30.0-rc0` of `3.30.0-rc0-amd64.tar.xz`.
pub(super) fn of_name(rest: &str) -> &str {
    let first = rest.find('-').unwrap_or(rest.len());
    let candidate = rest[first..].strip_prefix("-rc").or_else(|| rest[first..].strip_prefix("-alpha"));
    let end = match candidate {
        Some(after) => after.find('-').map_or(rest.len(), |at| rest.len() - after.len() + at),
        None => first,
    };
    // Without an architecture the suffix comes at once.
    let word = &rest[..end];
    word.find(".tar").map_or(word, |at| &word[..at])
}
