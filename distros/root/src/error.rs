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

    /// Whether a link leads out of the root, as [`Root::stay_inside`](crate::Root::stay_inside) finds.
    pub fn leads_out(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        source.raw_os_error() == Some(Errno::XDEV.raw_os_error())
    }

    /// Whether nobody can tell what is there, because rights are missing, a device fails, or there is more of it than is
    /// read.
    ///
    /// Something else than what was looked for, as a folder or a FIFO in the place of a file, is an answer.
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

/// Whether a path leads nowhere, for everybody: links in a circle, a name that is too long or has a zero byte.
pub(crate) fn leads_nowhere(error: &io::Error) -> bool {
    [Errno::LOOP, Errno::NAMETOOLONG, Errno::INVAL].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}
