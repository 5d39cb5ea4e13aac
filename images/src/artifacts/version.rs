//! The version of Kata's files.

use super::folder::{Folder, OpenedFile};
use super::{ArtifactsError, go};
use model::kata_version::KataVersion;
use std::path::Path;

/// Size limit of a VERSION file, in bytes.
const MAX_VERSION: u64 = 256;
/// Beginnings of an archive's name, before the version: `kata-static-4.1.0-amd64.tar.zst`. `kata-ctl` is in an archive
/// of its own since 4.0.0, the Go runtime since 4.1.0.
const NAMES: [&str; 4] = ["kata-static-", "kata-tools-static-", "kata-go-static-", "kata-containers-"];

/// Returns the version from the release's `VERSION` file; without the file from the Go shim's bytes, or else from the
/// name of the archive or directory.
///
/// No program of the archive is run. A file and a shim that disagree are an error, because either version would decide
/// by whose arguments the distro is judged.
pub(super) fn of(
    folder: &Folder,
    prefix: &Path,
    name: &str,
    shims: &[(OpenedFile, Vec<u8>)],
) -> Result<KataVersion, ArtifactsError> {
    let file = folder.file(&prefix.join("VERSION"), MAX_VERSION)?;
    let bytes = file.map_or(Ok(Vec::new()), |file| file.content())?;
    let text = String::from_utf8_lossy(&bytes);
    let embedded = || shims.iter().find_map(|(_, bytes)| go::version(bytes));
    let named = || NAMES.iter().find_map(|start| name.strip_prefix(start)).map(|rest| of_name(rest).to_owned());
    let found = match text.trim() {
        "" => embedded().or_else(named).unwrap_or_default(),
        version => version.to_owned(),
    };
    let version: KataVersion = found.parse().map_err(|_| ArtifactsError::Missing {
        what: "version",
        place: folder.shown(prefix).display().to_string(),
        expected: format!(
            "a file VERSION such as 3.30.0, a Go shim that was not stripped, or a name such as \
             kata-static-3.30.0-amd64.tar.zst; found {:?}",
            found.chars().take(40).collect::<String>()
        ),
    })?;
    let other = shims.iter().find_map(|(shim, bytes)| {
        let program_version = go::version(bytes)?;
        (program_version.parse::<KataVersion>() != Ok(version)).then_some((shim, program_version))
    });
    match other {
        Some((shim, program_version)) if !text.trim().is_empty() => Err(ArtifactsError::TwoVersions {
            file: folder.shown(&prefix.join("VERSION")).display().to_string(),
            version,
            program: shim.path().display().to_string(),
            program_version,
        }),
        _ => Ok(version),
    }
}

/// Returns `3.30.0-rc0` for `3.30.0-rc0-amd64.tar.xz`.
pub(super) fn of_name(rest: &str) -> &str {
    let first = rest.find('-').unwrap_or(rest.len());
    let candidate = rest[first..].strip_prefix("-rc").or_else(|| rest[first..].strip_prefix("-alpha"));
    let end = match candidate {
        Some(after) => after.find('-').map_or(rest.len(), |at| rest.len() - after.len() + at),
        None => first,
    };
    // Without an architecture the suffix follows at once.
    let word = &rest[..end];
    word.find(".tar").map_or(word, |at| &word[..at])
}
