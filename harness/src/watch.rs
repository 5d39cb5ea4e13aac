//! A run as its journal grows, for whoever looks on: in another terminal, or another day.
//!
//! What is shown of an event is pure; [`Follower`] reads the lines that have come since.

use reports::journal::{CellId, Event, FILE, JournalEntry, MAX_LINE};
use reports::redact;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use suites::outcome::Outcome;

/// Bytes of a journal that are read at once.
const PART: u64 = 16 << 20;

/// Something to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The run has this cell.
    Cell(CellId),
    /// A cell has begun something.
    Doing(CellId, String),
    /// Something small changed in a cell.
    Detail(CellId, String),
    /// A cell has come to its end.
    Done(CellId, String),
    /// A line that stays.
    Line(String),
    /// The run has come to its end; whether somebody stopped it.
    End {
        /// Ctrl-C or SIGTERM.
        interrupted: bool,
    },
}

/// What has been seen of a run.
#[derive(Debug, Default)]
pub struct Watched {
    cells: BTreeMap<CellId, Seen>,
}

/// What has been seen of a cell.
#[derive(Debug, Default)]
struct Seen {
    planned: u64,
    /// Tests that have ended, with their profiles.
    ended: BTreeSet<(String, Vec<String>)>,
    /// How many attempts ended how.
    counts: BTreeMap<&'static str, usize>,
}

impl Watched {
    /// What is to be shown of the next event.
    pub fn next(&mut self, event: &Event) -> Vec<Shown> {
        match event {
            Event::RunStarted { run, cells, planned, .. } => {
                let mut all = vec![Shown::Line(format!("run {}", redact::text(run)))];
                for cell in cells {
                    if !self.cells.contains_key(cell) {
                        all.push(Shown::Cell(cell.clone()));
                    }
                    self.seen(cell).planned = planned.get(cell).copied().unwrap_or_default();
                }
                all
            }
            Event::PhaseStarted { cell, phase } => vec![Shown::Doing(cell.clone(), phase.name().to_owned())],
            Event::TestStarted { cell, profiles, test, attempt } => {
                let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                let Seen { planned, ended, .. } = self.seen(cell);
                let text = format!("{}/{planned} tests, {}: {test}{again}", ended.len(), profiles.join("+"));
                vec![Shown::Detail(cell.clone(), redact::text(&text))]
            }
            Event::TestFinished { cell, profiles, test, outcome, .. } => {
                let seen = self.seen(cell);
                seen.ended.insert((test.clone(), profiles.clone()));
                *seen.counts.entry(outcome.name()).or_default() += 1;
                let why = match outcome {
                    Outcome::Fail(failure) => &failure.observed,
                    Outcome::Error { message } => message,
                    Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => return Vec::new(),
                };
                let why = why.lines().next().unwrap_or_default();
                let text = format!("{cell}: {}: {test} ({}): {why}", outcome.name(), profiles.join("+"));
                vec![Shown::Line(redact::text(&text))]
            }
            Event::CellError { cell, phase, message } => {
                let first = message.lines().next().unwrap_or_default();
                vec![Shown::Line(redact::text(&format!("{cell}: error ({phase}): {first}")))]
            }
            Event::CellFinished { cell } => {
                let counts = &self.seen(cell).counts;
                let words: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
                let words = if words.is_empty() { "no test has run".to_owned() } else { words.join(", ") };
                vec![Shown::Done(cell.clone(), words)]
            }
            Event::RunFinished { interrupted } => vec![Shown::End { interrupted: *interrupted }],
            Event::CellStarted { .. } | Event::CellFacts { .. } | Event::GuestStarted { .. } => Vec::new(),
        }
    }

    fn seen(&mut self, cell: &CellId) -> &mut Seen {
        self.cells.entry(cell.clone()).or_default()
    }
}

/// Reads what a journal has more since it was read last.
#[derive(Debug)]
pub struct Follower {
    file: File,
    /// Where the next line begins. A line without its end is read again, because a run that goes on may take it away.
    at: u64,
}

impl Follower {
    /// Follows the journal in a folder from its beginning.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> io::Result<Follower> {
        let path = folder.join(FILE);
        // A FIFO would be waited for.
        if !std::fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Follower { file: File::open(path)?, at: 0 })
    }

    /// The events that have come since, as many as are read at once.
    ///
    /// # Errors
    /// When the journal cannot be read, or a line is no event.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        if self.file.metadata()?.len() < self.at {
            return Err(io::Error::other("the journal was cut"));
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
        let event = |line| serde_json::from_slice::<JournalEntry>(line).map(|entry| entry.event);
        lines.map(event).collect::<Result<Vec<Event>, _>>().map_err(io::Error::from)
    }

    /// Whether no process writes the journal any more.
    pub fn is_over(&self) -> bool {
        match self.file.try_lock_shared() {
            Ok(()) => {
                let _ = self.file.unlock();
                true
            }
            Err(TryLockError::WouldBlock) => false,
            // Where nothing is known of locks, it may go on.
            Err(TryLockError::Error(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::journal::{Phase, SCHEMA, Writer};
    use std::io::Write as _;
    use suites::outcome::{Component, Failure};

    fn cell() -> CellId {
        "debian:13/x86_64/vm".parse().unwrap()
    }

    fn begins(tests: u64) -> Event {
        Event::RunStarted {
            schema: SCHEMA,
            run: "r1".to_owned(),
            harness: String::new(),
            commit: String::new(),
            argv: Vec::new(),
            records: String::new(),
            catalogue: String::new(),
            profiles: Vec::new(),
            cells: vec![cell()],
            planned: [(cell(), tests)].into(),
            filter: None,
            candidate: false,
            shaped: false,
            options: Vec::new(),
        }
    }

    fn started(test: &str, attempt: u32) -> Event {
        Event::TestStarted {
            cell: cell(),
            profiles: vec!["a".to_owned(), "b".to_owned()],
            test: test.to_owned(),
            attempt,
        }
    }

    fn finished(test: &str, attempt: u32, outcome: Outcome) -> Event {
        Event::TestFinished {
            cell: cell(),
            profiles: vec!["a".to_owned(), "b".to_owned()],
            test: test.to_owned(),
            attempt,
            machine: 1,
            guests: Vec::new(),
            outcome,
            millis: 1,
            notes: Vec::new(),
            artifacts: Vec::new(),
        }
    }

    #[test]
    fn what_is_shown_of_a_run() {
        let fails = Outcome::Fail(Failure::new(Component::Qemu, "no \u{1b}[1mq35\nand more"));
        let table = [
            (begins(2), vec![Shown::Line("run r1".to_owned()), Shown::Cell(cell())]),
            (Event::CellStarted { cell: cell() }, vec![]),
            (Event::PhaseStarted { cell: cell(), phase: Phase::Tests }, vec![Shown::Doing(cell(), "tests".to_owned())]),
            (started("x", 1), vec![Shown::Detail(cell(), "0/2 tests, a+b: x".to_owned())]),
            (finished("x", 1, fails), vec![Shown::Line("debian:13/x86_64/vm: fail: x (a+b): no q35".to_owned())]),
            (started("x", 2), vec![Shown::Detail(cell(), "1/2 tests, a+b: x (attempt 2)".to_owned())]),
            (finished("x", 2, Outcome::Pass), vec![]),
            (started("y", 1), vec![Shown::Detail(cell(), "1/2 tests, a+b: y".to_owned())]),
            (
                Event::CellError { cell: cell(), phase: Phase::Tests, message: "lost\nlater".to_owned() },
                vec![Shown::Line("debian:13/x86_64/vm: error (tests): lost".to_owned())],
            ),
            (Event::CellFinished { cell: cell() }, vec![Shown::Done(cell(), "1 fail, 1 pass".to_owned())]),
            (Event::RunFinished { interrupted: false }, vec![Shown::End { interrupted: false }]),
            // It goes on: the cell has its line already.
            (begins(2), vec![Shown::Line("run r1".to_owned())]),
        ];
        let mut watched = Watched::default();
        for (event, shown) in table {
            assert_eq!(watched.next(&event), shown, "{event:?}");
        }
    }

    #[test]
    fn a_journal_is_followed_as_it_grows_and_when_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Follower::open(dir.path()).is_err());
        let mut writer = Writer::create(dir.path()).unwrap();
        writer.append(begins(1)).unwrap();
        let mut follower = Follower::open(dir.path()).unwrap();
        assert_eq!(follower.read().unwrap(), [begins(1)]);
        assert_eq!(follower.read().unwrap(), []);
        assert!(!follower.is_over());
        writer.append(started("x", 1)).unwrap();
        drop(writer);
        let mut file = File::options().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"{\"at\":\"2026-0").unwrap();
        assert_eq!(follower.read().unwrap(), [started("x", 1)]);
        assert_eq!(follower.read().unwrap(), [], "it has no end yet");
        assert!(follower.is_over());
        let (mut writer, _) = Writer::resume(dir.path()).unwrap();
        writer.append(begins(1)).unwrap();
        assert_eq!(follower.read().unwrap(), [begins(1)]);
        file.write_all(b"nothing\n").unwrap();
        assert!(follower.read().is_err());
    }
}
