//! Appending to a journal.

use super::reader::{Journal, read_to_end};
use super::{Candidate, Event, FILE, JournalEntry, JournalError, MAX_LINE, ProbeAnswer};
use crate::redact::{self, Redactor};
use crate::signature;
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The longest text of an event, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// The maximum of texts in one list of an event.
const MAX_ITEMS: usize = 20_000;

/// Appends events to a run's journal, each completely and immediately.
///
/// The file is locked for the lifetime of the writer, so that two runs never share a journal.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    redactor: Redactor,
    /// Callback for each line that is in the file.
    listener: Option<fn(&[u8])>,
}

impl Writer {
    /// Creates the journal of a new run in `dir`, and `dir` if it does not exist.
    ///
    /// A run that was killed before its first event was complete has left nothing: its journal is begun anew.
    ///
    /// # Errors
    /// If the directory already holds a run, or cannot be written.
    pub fn create(dir: &Path) -> Result<Writer, JournalError> {
        std::fs::create_dir_all(dir).map_err(|source| JournalError::Io {
            doing: "creating",
            path: dir.to_owned(),
            source,
        })?;
        let writer = Writer::open(dir)?;
        let length = writer.file.metadata().map_err(|e| writer.failed("reading", e))?.len();
        if length > 0 {
            if !is_unbegun(&writer.path).map_err(|e| writer.failed("reading", e))? {
                return Err(JournalError::Exists(writer.path));
            }
            writer.file.set_len(0).map_err(|e| writer.failed("writing", e))?;
        }
        Ok(writer)
    }

    /// Resumes the journal in `dir`, and returns its contents so far.
    ///
    /// Removes a last line that was cut off by a kill or a full disk; adds the line feed if only that is missing.
    ///
    /// # Errors
    /// If there is no journal, another process is writing it, or it cannot be read.
    pub fn resume(dir: &Path) -> Result<(Writer, Journal), JournalError> {
        let writer = Writer::opened(dir, false)?;
        // The journal is read under the lock, so that nobody appends to it meanwhile.
        let (journal, end) = read_to_end(&writer.path)?;
        writer.file.set_len(end.valid_length).map_err(|e| writer.failed("writing", e))?;
        if !end.ended {
            (&writer.file).write_all(b"\n").map_err(|e| writer.failed("writing", e))?;
        }
        Ok((writer, journal))
    }

    fn open(dir: &Path) -> Result<Writer, JournalError> {
        Writer::opened(dir, true)
    }

    fn opened(dir: &Path, create: bool) -> Result<Writer, JournalError> {
        let path = dir.join(FILE);
        let opened = OpenOptions::new().append(true).create(create).open(&path);
        let file = opened.map_err(|source| JournalError::Io { doing: "opening", path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Writer { file, path, redactor: Redactor::default(), listener: None }),
            Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::Busy(path)),
            Err(std::fs::TryLockError::Error(source)) => Err(JournalError::Io { doing: "locking", path, source }),
        }
    }

    /// Keeps this redactor's secrets out of the journal, in addition to those that the texts themselves reveal.
    #[must_use]
    pub fn hiding(self, redactor: Redactor) -> Writer {
        Writer { redactor, ..self }
    }

    /// Calls this function with each line, including its line feed, once the line is in the file.
    #[must_use]
    pub fn with_listener(self, listener: fn(&[u8])) -> Writer {
        Writer { listener: Some(listener), ..self }
    }

    /// Returns the path of the journal.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `event` with the current time.
    ///
    /// Control characters, mirrors' hosts and credentials are removed from its texts, and overlong texts and lists are
    /// cut; the line reaches the file completely or, if the disk is full, not at all.
    ///
    /// # Errors
    /// If the line cannot be written, or is still longer than [`MAX_LINE`].
    pub fn append(&mut self, event: Event) -> Result<(), JournalError> {
        self.append_entry(JournalEntry { at: Timestamp::now(), event })
    }

    /// Appends `entry`, for instance one of another journal.
    ///
    /// # Errors
    /// As [`append`](Writer::append).
    pub fn append_entry(&mut self, mut entry: JournalEntry) -> Result<(), JournalError> {
        bound(&mut entry.event, &mut self.redactor);
        self.append_as_it_is(&entry)
    }

    /// Appends `entry` without cleaning its texts: it was read from a journal, and is cleaned when it is folded.
    ///
    /// # Errors
    /// As [`append`](Writer::append).
    pub fn append_as_it_is(&mut self, entry: &JournalEntry) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(entry).map_err(|e| self.failed("encoding an event for", e.into()))?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(JournalError::TooLong { path: self.path.clone(), bytes: line.len() });
        }
        let before = self.file.metadata().map_err(|e| self.failed("reading", e))?.len();
        if let Err(e) = self.file.write_all(&line) {
            // Half a line would corrupt the next one.
            let _ = self.file.set_len(before);
            return Err(self.failed("writing", e));
        }
        if let Some(listener) = self.listener {
            listener(&line);
        }
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> JournalError {
        JournalError::Io { doing, path: self.path.clone(), source }
    }
}

/// The beginning of every line of a journal.
const BEGINNING: &[u8] = b"{\"at\":\"";

/// Checks whether a journal has no whole line, because its run was killed before the first event was in it.
///
/// # Errors
/// If it cannot be read.
pub fn is_unbegun(journal: &Path) -> std::io::Result<bool> {
    if !std::fs::symlink_metadata(journal)?.is_file() {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    File::open(journal)?.take(MAX_LINE as u64 + 1).read_to_end(&mut bytes)?;
    let is_of_a_journal = bytes.starts_with(BEGINNING) || BEGINNING.starts_with(&bytes);
    Ok(is_of_a_journal && bytes.len() <= MAX_LINE && !bytes.contains(&b'\n'))
}

/// Cleans and cuts texts from guests and package managers.
fn bound(event: &mut Event, redactor: &mut Redactor) {
    use suites::outcome::Outcome;
    // A test's message may refer to a web page; in other events, an address shows where the machine downloads from.
    let is_a_tests = matches!(event, Event::TestFinished { .. });
    let mut text = |s: &mut String| {
        match is_a_tests {
            true => redactor.learn(s),
            false => redactor.learn_all(s),
        }
        // Mirrors go before control characters, which may be part of a password.
        *s = redactor.mirrors(s);
        if s.len() > MAX_TEXT || s.chars().any(redact::is_unprintable) {
            *s = redact::without_controls(s, MAX_TEXT);
        }
    };
    let list = |items: &mut Vec<String>, text: &mut dyn FnMut(&mut String)| {
        if items.len() > MAX_ITEMS {
            // The list with this note has the maximum length, so that it stays unchanged if it is written again.
            let cut = items.len() + 1 - MAX_ITEMS;
            items.truncate(MAX_ITEMS - 1);
            items.push(format!("[{cut} more left out]"));
        }
        items.iter_mut().for_each(text);
    };
    match event {
        Event::RunStarted { options, argv, facts, .. } => {
            list(options, &mut text);
            list(argv, &mut text);
            if let Some(facts) = facts {
                list(&mut facts.unasked, &mut text);
            }
        }
        Event::CellFacts { facts, .. } => {
            facts.suites.values_mut().for_each(&mut text);
            facts.environment.values_mut().filter_map(ProbeAnswer::words_mut).for_each(&mut text);
            facts.candidates.values_mut().map(Candidate::text_mut).for_each(&mut text);
            if let Some(kernel) = &facts.kernel {
                let mut words = kernel.to_string();
                text(&mut words);
                facts.kernel = words.parse().ok();
            }
            list(&mut facts.image_options, &mut text);
            list(&mut facts.notes, &mut text);
        }
        Event::GuestStarted { argv, daemon, deviations, .. } => {
            list(argv, &mut text);
            list(daemon, &mut text);
            list(deviations, &mut text);
        }
        Event::TestFinished { outcome, notes, artifacts, .. } => {
            match outcome {
                Outcome::Fail(failure) => {
                    text(&mut failure.expected);
                    text(&mut failure.observed);
                    list(&mut failure.asked_for, &mut text);
                    failure.detail.texts_mut().into_iter().for_each(&mut text);
                    failure.signature = signature::of(failure.component, &failure.observed);
                }
                Outcome::Error { message } => text(message),
                Outcome::Skip { reason } => text(reason),
                Outcome::Pass | Outcome::Blocked { .. } => {}
            }
            list(notes, &mut text);
            list(artifacts, &mut text);
        }
        Event::CellError { message, .. } => text(message),
        Event::Conflict { what, .. } => text(what),
        Event::CellStarted { .. }
        | Event::PhaseStarted { .. }
        | Event::TestStarted { .. }
        | Event::CellFinished { .. }
        | Event::RunFinished { .. } => {}
    }
}
