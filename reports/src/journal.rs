//! The append-only journal of a run: one event a line, JSON.
//!
//! Every event is here, in the order in which it happened, and nothing else is kept about a run.
//! A run that was killed has a test with a start and no end.
//!
//! Output of guests and package managers is untrusted: the agent and the journal cap it, and one redactor cleans it
//! (control characters, mirrors' hosts, credentials) when images are made, when the journal is written, and once more
//! when it is folded, so that every report is safe from there on.
//! Logs are redacted at the end of a run; the redactor is given the machine's mirrors and their passwords beforehand.
//! A killed run's journal is read as far as it goes, and `run --resume` goes on with it in the same file.

mod event;
mod evidence;
mod reader;
mod run_facts;
mod writer;

pub use event::{CellFacts, CellId, CellIdError, Environment, Event, JournalEntry, Phase};
pub use evidence::{Accelerator, Candidate, ProbeAnswer};
pub use reader::{Journal, read};
pub use run_facts::{RunFacts, RunFilter};
pub use writer::{Writer, is_unbegun};

use std::path::PathBuf;

/// The journal's file name inside a run's directory.
pub const FILE: &str = "journal.jsonl";

/// The version of the journal's format that this crate writes, and the newest it reads; it reads the older ones, too.
///
/// It rises with every word that an older program cannot read, because that program would call the line damaged: told
/// a higher version, it says that the journal is newer.
/// In version 3 a failure's detail had fewer kinds: none for a refused argument, a failed system call or a missing
/// file.
/// In version 2 a failure was a message, and guests had no numbers; fields that 3 added are empty for an older journal,
/// and none of its failures counts as measured.
/// In version 1 candidates were among the facts of the environment: a program that looks for them there must not take
/// them for the distro's own components.
pub const SCHEMA: u32 = 4;

/// The longest line that is written or read, in bytes: the differences of a whole pjdfstest run fit, endless output of
/// a guest does not.
pub const MAX_LINE: usize = 4 << 20;

/// The largest journal that is read, in bytes: a run of all releases in all environments has some tens of MiB.
pub const MAX_JOURNAL: u64 = 1 << 30;
/// The maximum of cells that are read from a journal: all distros' releases in every environment are fewer.
pub const MAX_CELLS: usize = 1000;

/// Why a journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be used.
    #[error("{doing} {path}", path = path.display())]
    Io {
        /// A gerund: "reading".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The directory holds another run's journal.
    #[error("{path}: already contains a run; choose another folder", path = .0.display())]
    Exists(PathBuf),
    /// Another process is writing this journal.
    #[error("{path}: in use by another run; wait for it or choose another folder", path = .0.display())]
    Busy(PathBuf),
    /// A line is no event.
    #[error("{path}:{line}: expected an event of the journal: {problem}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// The problem with the line.
        problem: String,
    },
    /// The journal was written by a newer version.
    #[error("{path}:{line}: journal schema {found} is newer than {SCHEMA}, the newest that this version reads; use the version that wrote it", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// The schema that the line states.
        found: u64,
    },
    /// An event is too long for a line even after its texts were cut.
    #[error("{path}: an event of {bytes} bytes is longer than the {MAX_LINE} that a line may have", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The event's length.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests;
