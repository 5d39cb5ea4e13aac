//! Files of records and verdicts: their text, places in it, and errors about them.

use crate::diagnostic::{Diagnostic, UNREADABLE};
use crate::syntax::MAX_BYTES;
use root::{Root, RootError};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most bytes that are read: one more than [`MAX_BYTES`] proves that a file is too large.
const CAP: u64 = MAX_BYTES as u64 + 1;

/// A file that a record was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file; for an embedded record, its name in the repository.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
}

/// File and line of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceLocation {
    /// The file; for an embedded record, its name in the repository.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// Reads a record's text without trusting its size, its encoding, or that it is a regular file.
///
/// # Errors
///
/// One finding; [`Diagnostic::is_unreadable`] if there is no text to check.
pub fn read_text(path: &Path) -> Result<String, Box<Diagnostic>> {
    text(path, bytes(path))
}

/// Returns the bytes of a record's file, at most one more than a record may have.
///
/// # Errors
///
/// [`RootError::Read`], also for anything but a regular file.
pub fn bytes(path: &Path) -> Result<Vec<u8>, RootError> {
    let failed = |source: io::Error| RootError::Read { path: path.to_owned(), source };
    // Non-blocking: opening a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(CAP).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Like [`bytes`], for a file of a root, by its path inside the root.
pub(crate) fn bytes_in(root: &Root, inside: &Path) -> Result<Vec<u8>, RootError> {
    root.head(inside, CAP)
}

/// Returns the text of a record's file with these bytes.
///
/// # Errors
///
/// The errors of [`read_text`].
pub fn text(path: &Path, bytes: Result<Vec<u8>, RootError>) -> Result<String, Box<Diagnostic>> {
    let file = path.display().to_string();
    let failed = |message: String| {
        Box::new(Diagnostic { file: file.clone(), ..Diagnostic::error(UNREADABLE, "", 0..0, message) })
    };
    let bytes = bytes.map_err(|error| {
        let why = match error {
            RootError::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        failed(format!("the record cannot be read: {why}"))
    })?;
    if bytes.len() > MAX_BYTES {
        return Err(failed(format!("the file has more than {MAX_BYTES} bytes, the most a record may have")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&e.as_bytes()[..at]).into_owned();
        let found = Diagnostic::error("syntax", &valid, at..at, "expected UTF-8 text");
        let (line, column) = crate::diagnostic::line_column(&valid, at);
        Box::new(Diagnostic { file: file.clone(), line, column, ..found.hint("save the file as UTF-8") })
    })
}

/// Error for a record that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.summary())]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// The file's text, empty if it could not be read.
    pub text: String,
    /// The findings, never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl RecordError {
    /// Creates the error for a file without text.
    pub(crate) fn unread(path: &Path, found: Diagnostic) -> RecordError {
        RecordError { path: path.to_owned(), text: String::new(), diagnostics: vec![found] }
    }

    /// Returns the first finding on one line, and the number of others.
    fn summary(&self) -> String {
        match self.diagnostics.as_slice() {
            [] => format!("{}: not a usable record", self.path.display()),
            [one] => one.one_line(),
            [first, rest @ ..] => format!("{} (and {} more)", first.one_line(), rest.len()),
        }
    }

    /// Formats all findings like rustc.
    #[cfg(feature = "excerpts")]
    pub fn human(&self, colour: bool) -> String {
        let shown: Vec<String> = self.diagnostics.iter().map(|d| d.human(&self.text, colour)).collect();
        shown.join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_utf8_is_invalid_but_not_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("d.yaml");
        assert!(read_text(&file).unwrap_err().is_unreadable());
        std::fs::write(&file, [0xff]).unwrap();
        assert!(!read_text(&file).unwrap_err().is_unreadable());
    }
}
