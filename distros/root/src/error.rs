//! Why a file of a root cannot be used.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why a file of the root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The root is no directory, or cannot be looked into.
    #[error("the root {path} cannot be used: {source}")]
    Root {
        /// As the user named it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One file or directory.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Seen from outside.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One file or directory.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Seen from outside.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More bytes than anything of its kind has.
    #[error("{path} has more than {limit} bytes, more than a file of its kind can have")]
    TooLarge {
        /// Seen from outside.
        path: PathBuf,
        /// The cap in bytes.
        limit: u64,
    },
    /// More names than any folder of a system has.
    #[error("{path} has more than {limit} names, more than a folder of its kind can have")]
    TooMany {
        /// Seen from outside.
        path: PathBuf,
        /// The cap.
        limit: usize,
    },
    /// A text that cannot be written again as it is.
    #[error("{path}: expected UTF-8 text")]
    NotText {
        /// Seen from outside.
        path: PathBuf,
    },
}

impl RootError {
    /// Whether there is no such file, which is often an answer and not an error.
    pub fn is_missing(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        is_missing(source)
    }
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether links lead in a circle.
pub(crate) fn is_circle(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
