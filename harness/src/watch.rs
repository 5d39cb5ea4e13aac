//! Reading of a run's journal as it grows, for a viewer in another terminal, or on another day.
//!
//! [`Follower`] reads the lines that have been added; [`crate::progress`] shows them.

use reports::journal::{FILE, JournalEntry, MAX_LINE};
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Bytes of a journal that are read at once.
const PART: u64 = 16 << 20;

/// Reads the events that were added to a journal since the last read.
#[derive(Debug)]
pub struct Follower {
    file: File,
    /// The offset of the next line. A line without its end is read again, because a resumed run may remove it.
    at: u64,
}

impl Follower {
    /// Follows the journal in a directory from its beginning.
    ///
    /// # Errors
    /// If there is no journal.
    pub fn open(folder: &Path) -> io::Result<Follower> {
        let path = folder.join(FILE);
        // Opening a FIFO would block.
        if !std::fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Follower { file: File::open(path)?, at: 0 })
    }

    /// Returns the events that were added, up to the limit of one read.
    ///
    /// # Errors
    /// If the journal cannot be read, or a line is not an event.
    pub fn read(&mut self) -> io::Result<Vec<JournalEntry>> {
        if self.file.metadata()?.len() < self.at {
            return Err(io::Error::other("the journal was truncated"));
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(PART).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole == 0 && bytes.len() > MAX_LINE {
            return Err(io::Error::other(format!("a line is longer than {MAX_LINE} bytes")));
        }
        self.at += whole as u64;
        let lines = bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.trim_ascii().is_empty());
        lines.map(serde_json::from_slice).collect::<Result<Vec<JournalEntry>, _>>().map_err(io::Error::from)
    }

    /// Checks whether no process writes the journal any more.
    pub fn is_over(&self) -> bool {
        match self.file.try_lock_shared() {
            Ok(()) => {
                let _ = self.file.unlock();
                true
            }
            Err(TryLockError::WouldBlock) => false,
            // If the lock cannot be examined, the run may still go on.
            Err(TryLockError::Error(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use reports::journal::{CellId, Event, Writer};
    use std::io::Write as _;

    fn cell() -> CellId {
        "debian:13/x86_64/vm".parse().unwrap()
    }

    fn begins(tests: u64) -> Event {
        fixtures::begins("r1", &[cell()], tests, None)
    }

    fn started(test: &str, attempt: u32) -> Event {
        Event::TestStarted {
            cell: cell(),
            profiles: vec!["a".parse().unwrap(), "b".parse().unwrap()],
            test: test.parse().unwrap(),
            attempt,
        }
    }

    fn read(follower: &mut Follower) -> Vec<Event> {
        follower.read().unwrap().into_iter().map(|entry| entry.event).collect()
    }

    #[test]
    fn a_journal_is_followed_as_it_grows_and_when_it_is_resumed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Follower::open(dir.path()).is_err());
        let mut writer = Writer::create(dir.path()).unwrap();
        writer.append(begins(1)).unwrap();
        let mut follower = Follower::open(dir.path()).unwrap();
        assert_eq!(read(&mut follower), [begins(1)]);
        assert_eq!(read(&mut follower), []);
        assert!(!follower.is_over());
        writer.append(started("x", 1)).unwrap();
        drop(writer);
        let mut file = File::options().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"{\"at\":\"2026-0").unwrap();
        assert_eq!(read(&mut follower), [started("x", 1)]);
        assert_eq!(read(&mut follower), [], "it has no end yet");
        assert!(follower.is_over());
        let (mut writer, _) = Writer::resume(dir.path()).unwrap();
        writer.append(begins(1)).unwrap();
        assert_eq!(read(&mut follower), [begins(1)]);
        file.write_all(b"nothing\n").unwrap();
        assert!(follower.read().is_err());
    }
}
