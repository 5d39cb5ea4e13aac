//! Files that records and verdicts are read from: their text, places in it, and why it cannot be used.

use crate::diagnostic::{Diagnostic, UNREADABLE};
use root::{Root, RootError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A file that a record was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file; for an embedded record its name in the repository.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// File and line of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file; for an embedded record its name in the repository.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// Reads a record's text without trusting its size, its encoding or that it is a file.
///
/// # Errors
///
/// One finding; [`Diagnostic::is_unreadable`] where there is no text to check.
pub fn read_text(path: &Path) -> Result<String, Box<Diagnostic>> {
    // Without waiting: opening a pipe waits until somebody writes to it.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let opened = opened.map_err(std::io::Error::from).and_then(|f| {
        let f = std::fs::File::from(f);
        if f.metadata()?.is_file() { Ok(f) } else { Err(std::io::Error::other("not a regular file")) }
    });
    text_of(path, opened)
}

/// [`read_text`] of a file of a root, by its path on the inside.
pub(crate) fn read_text_in(root: &Root, inside: &Path) -> Result<String, Box<Diagnostic>> {
    let opened = root.file(inside).map_err(|e| match e {
        RootError::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    });
    text_of(&root.shown(inside), opened)
}

/// The text of a record's file, capped.
fn text_of<E: std::fmt::Display>(path: &Path, opened: Result<std::fs::File, E>) -> Result<String, Box<Diagnostic>> {
    use std::io::Read;
    let file = path.display().to_string();
    let failed = |message: String| {
        Box::new(Diagnostic { file: file.clone(), ..Diagnostic::error(UNREADABLE, "", 0..0, message) })
    };
    let mut bytes = Vec::new();
    let opened = opened
        .map_err(|e| e.to_string())
        .and_then(|f| f.take(crate::syntax::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string()));
    opened.map_err(|e| failed(format!("the record cannot be read: {e}")))?;
    if bytes.len() > crate::syntax::MAX_BYTES {
        return Err(failed(format!(
            "the file has more than {} bytes, the most a record may have",
            crate::syntax::MAX_BYTES
        )));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&e.as_bytes()[..at]).into_owned();
        let found = Diagnostic::error("syntax", &valid, at..at, "expected UTF-8 text");
        let (line, column) = crate::diagnostic::line_column(&valid, at);
        Box::new(Diagnostic { file: file.clone(), line, column, ..found.hint("save the file as UTF-8") })
    })
}

/// Why a record cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.summary())]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// Its text, empty where it could not be read.
    pub text: String,
    /// What is wrong, never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl RecordError {
    /// The error that there is no text.
    pub(crate) fn unread(path: &Path, found: Diagnostic) -> RecordError {
        RecordError { path: path.to_owned(), text: String::new(), diagnostics: vec![found] }
    }

    /// The first finding on one line, and how many more there are.
    fn summary(&self) -> String {
        match self.diagnostics.as_slice() {
            [] => format!("{}: not a usable record", self.path.display()),
            [one] => one.one_line(),
            [first, rest @ ..] => format!("{} (and {} more)", first.one_line(), rest.len()),
        }
    }

    /// All findings as rustc would show them.
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
    fn what_is_no_text_has_been_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("d.yaml");
        assert!(read_text(&file).unwrap_err().is_unreadable());
        std::fs::write(&file, [0xff]).unwrap();
        assert!(!read_text(&file).unwrap_err().is_unreadable());
    }
}
