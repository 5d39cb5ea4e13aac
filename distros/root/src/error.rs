//! The error of operations on files of a root.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// The reason why a file of the root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The root is not a readable directory, or the kernel cannot confine paths to it.
    #[error("the root {path} cannot be used: {source}")]
    Root {
        /// The path as the user gave it.
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
    /// The file exceeds the cap in bytes.
    #[error("{path} has more than {limit} bytes, more than a file of its kind can have")]
    TooLarge {
        /// Seen from outside.
        path: PathBuf,
        /// The cap in bytes.
        limit: u64,
    },
    /// The directory exceeds the cap in names.
    #[error("{path} has more than {limit} names, more than a folder of its kind can have")]
    TooMany {
        /// Seen from outside.
        path: PathBuf,
        /// The cap.
        limit: usize,
    },
    /// The file is not UTF-8, so it cannot be written back unchanged.
    #[error("{path}: expected UTF-8 text")]
    NotText {
        /// Seen from outside.
        path: PathBuf,
    },
}

impl RootError {
    /// Checks whether there is no such file, which is often an answer and not an error.
    pub fn is_missing(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        is_missing(source)
    }

    /// Checks whether a link leads out of the root, as found by [`Root::stay_inside`](crate::Root::stay_inside).
    pub fn leads_out(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        source.raw_os_error() == Some(Errno::XDEV.raw_os_error())
    }

    /// Checks whether the content remains unknown: missing rights, a failing device, or a file or directory above the
    /// cap.
    ///
    /// A different kind of file than expected, such as a directory or a FIFO, is an answer and not unreadable.
    pub fn is_unreadable(&self) -> bool {
        match self {
            RootError::Read { source, .. } => {
                let is_something_else = matches!(source.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::Other);
                !is_something_else && !is_missing(source) && !leads_nowhere(source)
            }
            RootError::TooLarge { .. } | RootError::TooMany { .. } => true,
            RootError::Root { .. } | RootError::Write { .. } | RootError::NotText { .. } => false,
        }
    }
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Checks whether a path is invalid for every user: links in a circle, a name that is too long or has a zero byte.
pub(crate) fn leads_nowhere(error: &io::Error) -> bool {
    [Errno::LOOP, Errno::NAMETOOLONG, Errno::INVAL].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}
