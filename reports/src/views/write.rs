//! All reports of a run, made again from its journal.

use crate::journal::Journal;
use crate::matrix::{Matrix, matrix};
use crate::standing::Standings;
use crate::views::{html, json, junit, markdown};
use model::profile::Profile;
use std::io::Write;
use std::path::{Path, PathBuf};
use suites::catalogue::Test;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder cannot be written.
    #[error("writing {path}", path = .0.display())]
    Write(PathBuf, #[source] std::io::Error),
    /// The XML could not be made.
    #[error("encoding junit.xml")]
    Junit(#[from] quick_junit::SerializeError),
    /// The JSON could not be made.
    #[error("encoding results.json")]
    Json(#[from] serde_json::Error),
}

/// The reports' file names.
pub const FILES: &[&str] = &["junit.xml", "results.json", "matrix.md", "index.html"];

/// What a run showed, with the files that its tests left in `dir`.
///
/// Those are listed that lie there: what was empty or too large was never copied, and a folder may have been thinned out
/// since.
pub fn matrix_in(journal: &Journal, catalogue: &[Test], profiles: &[Profile], dir: &Path) -> Matrix {
    let mut matrix = matrix(journal, catalogue, profiles);
    // Nothing but a file: a link could lead anywhere.
    let is_there = |file: &str| std::fs::symlink_metadata(dir.join(file)).is_ok_and(|m| m.is_file());
    matrix.keep_files(|file| is_inside(file) && is_there(file));
    matrix
}

/// Makes every report of a run in `out_dir`.
///
/// Each file appears whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_all(standings: &Standings<'_>, catalogue: &[Test], out_dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(out_dir).map_err(|e| Error::Write(out_dir.to_owned(), e))?;
    write_atomically(&out_dir.join("junit.xml"), junit::render(standings, catalogue)?.as_bytes())?;
    write_atomically(&out_dir.join("results.json"), json::render(standings)?.as_bytes())?;
    write_atomically(&out_dir.join("matrix.md"), markdown::render(standings).as_bytes())?;
    write_atomically(&out_dir.join("index.html"), html::render(standings, catalogue).as_bytes())
}

/// Whether a path of the journal, which is not to be trusted, stays below the output folder.
fn is_inside(file: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !file.starts_with('/') && file.chars().all(plain) && file.split('/').all(|part| part != "..")
}

/// Writes a file so that a reader sees the old bytes or the new ones, even after a crash.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.prefix(".report").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|e| Error::Write(path.to_owned(), e))
}

#[cfg(test)]
mod tests;
