//! Writing of all reports of a run from its journal.

use crate::installed;
use crate::journal::Journal;
use crate::matrix::{Matrix, matrix_beside};
use crate::standing::Standings;
use crate::views::{json, junit, markdown, site};
use model::profile::Profile;
use model::record::Record;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use suites::catalogue::Test;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or the directory cannot be written.
    #[error("writing {path}", path = .0.display())]
    Write(PathBuf, #[source] std::io::Error),
    /// The XML could not be made.
    #[error("encoding JUnit XML")]
    Junit(#[from] quick_junit::SerializeError),
    /// The JSON could not be made.
    #[error("encoding results.json")]
    Json(#[from] serde_json::Error),
}

/// The reports' file names; those of [`JUNIT`] and of [`site::PAGES`] come in addition.
pub const FILES: &[&str] = &["results.json", "matrix.md", "index.html"];

/// The directory of the JUnit XML, with a file for each cell.
pub const JUNIT: &str = "junit";

/// How much of a log's end is read to find its last lines, in bytes.
const TAIL: usize = 8 << 10;
/// Maximum of last lines of a log that a report shows.
const TAIL_LINES: usize = 30;

/// Judges a run, with the files that its tests left in `dir`; recorded results of containers may confirm its failures.
///
/// Only files that exist are listed: empty or too large files were never copied, and some may have been removed since.
pub fn matrix_in(
    journal: &Journal,
    catalogue: &[Test],
    profiles: &[Profile],
    records: &[&Record],
    dir: &Path,
) -> Matrix {
    let mut matrix = matrix_beside(journal, catalogue, profiles, records);
    let is_there = |file: &str| is_inside(file) && is_file_below(dir, file);
    matrix.keep_files(is_there);
    for cell in &mut matrix.cells {
        let manifest = cell.facts.as_ref().and_then(|facts| facts.image_manifest.as_deref());
        let manifest = manifest.filter(|file| is_there(file));
        cell.packages = manifest.map(|file| installed::read(&dir.join(file))).unwrap_or_default();
    }
    matrix
}

/// Writes every report of a run to `out_dir`, which readers of the JUnit XML find as `named`.
///
/// Each file is written completely or not at all; `records` map packages to components.
///
/// # Errors
/// If the directory cannot be written.
pub fn write_all(
    standings: &Standings<'_>,
    records: &[&Record],
    catalogue: &[Test],
    out_dir: &Path,
    named: &Path,
) -> Result<(), ReportError> {
    let folder = out_dir.join(JUNIT);
    std::fs::create_dir_all(&folder).map_err(|e| ReportError::Write(folder.clone(), e))?;
    let run_files = junit::RunFiles { folder: named, tail: &|file: &str| tail(&out_dir.join(file)) };
    let rendered = junit::render(standings, catalogue, run_files)?;
    if rendered.iter().all(|(name, _)| name != junit::OF_THE_RUN) {
        // The problems of a killed run are gone once it was resumed.
        let old = folder.join(junit::OF_THE_RUN);
        match std::fs::remove_file(&old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(ReportError::Write(old, e)),
            Ok(()) | Err(_) => {}
        }
    }
    for (name, text) in rendered {
        let path = folder.join(name);
        put(&path, text.as_bytes()).map_err(|e| ReportError::Write(path, e))?;
    }
    sync(&folder).map_err(|e| ReportError::Write(folder, e))?;
    write_atomically(&out_dir.join("results.json"), json::render(standings)?.as_bytes())?;
    write_atomically(&out_dir.join("matrix.md"), markdown::render(standings).as_bytes())?;
    pages(standings, records, catalogue, out_dir)
}

/// Writes the run's pages: all but the index into a directory that replaces the previous one atomically.
fn pages(
    standings: &Standings<'_>,
    records: &[&Record],
    catalogue: &[Test],
    out_dir: &Path,
) -> Result<(), ReportError> {
    let dir = out_dir.join(site::PAGES);
    let failed = |e| ReportError::Write(dir.clone(), e);
    let new = site::temporary_sibling(&dir).map_err(failed)?;
    let mut folder = site::Folder::new(new.path());
    let mut index = String::new();
    let mut put = |path: &str, text: &str| match path.strip_prefix(site::PAGES).and_then(|rest| rest.strip_prefix('/'))
    {
        Some(path) => folder.put(path, text),
        None => {
            text.clone_into(&mut index);
            Ok(())
        }
    };
    site::of_run(standings, records, catalogue).render(&mut put).map_err(failed)?;
    site::replace(new, &dir).map_err(failed)?;
    write_atomically(&out_dir.join("index.html"), index.as_bytes())
}

/// Returns the last bytes of a file, starting at a line, printable and redacted; `None` if there is nothing to read.
pub fn end(path: &Path, most: usize) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let skipped = length.saturating_sub(most as u64);
    file.seek(SeekFrom::Start(skipped)).ok()?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes).ok()?;
    // The rest of a cut line is dropped if others follow: the redactor does not recognise half an address.
    let cut = bytes.iter().position(|byte| *byte == b'\n').filter(|at| skipped > 0 && at + 1 < bytes.len());
    let whole = bytes.get(cut.map_or(0, |at| at + 1)..).unwrap_or_default();
    // Replacement of invalid bytes makes the text longer.
    let text = crate::redact::without_controls(&String::from_utf8_lossy(whole), 3 * most);
    Some(crate::redact::Redactor::default().mirrors(&text))
}

/// Returns the last lines of a file, printable; `None` if there is nothing to read.
pub fn tail(path: &Path) -> Option<String> {
    let text = end(path, TAIL)?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..)?.join("\n");
    (!last.is_empty()).then_some(last)
}

/// Checks whether an untrusted path from the journal stays below the output directory.
fn is_inside(file: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !file.starts_with('/') && file.chars().all(plain) && file.split('/').all(|part| part != "..")
}

/// Checks for a regular file without symbolic links on the way: these could lead anywhere.
fn is_file_below(dir: &Path, file: &str) -> bool {
    let mut at = dir.to_owned();
    let mut parts = Path::new(file).components().peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        let is_last = parts.peek().is_none();
        let fits = |meta: std::fs::Metadata| if is_last { meta.is_file() } else { meta.is_dir() };
        if !std::fs::symlink_metadata(&at).is_ok_and(fits) {
            return false;
        }
    }
    true
}

/// Writes a file so that a reader sees either the old bytes or the new ones, even after a crash.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    put(path, bytes).and_then(|()| sync(folder)).map_err(|e| ReportError::Write(path.to_owned(), e))
}

/// Replaces a file atomically; the caller must sync the directory afterwards.
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.prefix(".report").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

/// Syncs a directory, so that its entries survive a crash.
fn sync(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
