//! Reading a journal.

use super::{JournalEntry, JournalError, MAX_CELLS, MAX_JOURNAL, MAX_LINE, SCHEMA};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// The contents of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// The events in order.
    pub entries: Vec<JournalEntry>,
    /// Whether the last line was cut off, as by a kill or a full disk; such a line is left out.
    pub cut: bool,
}

/// A line, or the beginning of a line that is too long.
struct Line {
    bytes: Vec<u8>,
    /// The line's whole length in the file, with the line feed.
    length: u64,
    /// Whether a line feed ended it.
    ended: bool,
}

/// Reads the journal `path`, or the journal in the directory `path`.
///
/// # Errors
/// If a line is no event, is longer than [`MAX_LINE`] or belongs to a newer schema, with the file and the line.
pub fn read(path: &Path) -> Result<Journal, JournalError> {
    Ok(read_to_end(path)?.0)
}

/// The end of a journal's file.
pub(super) struct End {
    /// Bytes up to the end of the last line that was kept, without its line feed if it has none.
    pub(super) valid_length: u64,
    /// Whether a line feed ended that line.
    pub(super) ended: bool,
}

/// Reads a journal like [`read`], and returns the end of its file.
pub(super) fn read_to_end(path: &Path) -> Result<(Journal, End), JournalError> {
    let path: PathBuf = if path.is_dir() { path.join(super::FILE) } else { path.to_owned() };
    let failed = |source| JournalError::Io { doing: "reading", path: path.clone(), source };
    // Reading a FIFO would block, and a device has no end.
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let file = File::open(&path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > MAX_JOURNAL {
        return Err(failed(io::Error::other(format!("the journal is too large, more than {MAX_JOURNAL} bytes"))));
    }
    let mut reader = BufReader::new(file.take(MAX_JOURNAL));
    let mut journal = Journal::default();
    let mut number = 0;
    let mut cells = BTreeSet::new();
    let mut end = End { valid_length: 0, ended: true };
    while let Some(line) = next_line(&mut reader).map_err(failed)? {
        number += 1;
        if line.bytes.trim_ascii().is_empty() && line.ended {
            end.valid_length += line.length;
            continue;
        }
        if line.length > MAX_LINE as u64 {
            let problem = format!("the line has {} bytes, at most {MAX_LINE} are allowed", line.length);
            return Err(JournalError::Line { path, line: number, problem });
        }
        match serde_json::from_slice::<JournalEntry>(&line.bytes) {
            Ok(entry) => {
                if let super::Event::RunStarted { schema, .. } = entry.event
                    && schema > SCHEMA
                {
                    return Err(JournalError::Schema { path, line: number, found: schema.into() });
                }
                cells.extend(entry.event.cells().iter().cloned());
                if cells.len() > MAX_CELLS {
                    let problem = format!("the journal has too many cells, more than {MAX_CELLS}");
                    return Err(JournalError::Line { path, line: number, problem });
                }
                journal.entries.push(entry);
                end = End { valid_length: end.valid_length + line.length, ended: line.ended };
            }
            Err(_) if !line.ended => journal.cut = true,
            // A newer schema may also have another shape: report the schema rather than a missing field.
            Err(e) => {
                return Err(match stated_schema(&line.bytes) {
                    Some(found) if found > SCHEMA.into() => JournalError::Schema { path, line: number, found },
                    _ => JournalError::Line { path, line: number, problem: e.to_string() },
                });
            }
        }
    }
    Ok((journal, end))
}

fn stated_schema(line: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.pointer("/event/schema")?.as_u64()
}

/// Returns the next line without its line feed; of a line that is too long, only the part that shows this.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Line { bytes: Vec::new(), length: 0, ended: false };
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((line.length > 0).then_some(line));
        }
        let end = buffer.iter().position(|b| *b == b'\n');
        let taken = end.unwrap_or(buffer.len());
        if line.bytes.len() <= MAX_LINE {
            line.bytes.extend_from_slice(&buffer[..taken]);
        }
        let used = taken + usize::from(end.is_some());
        line.length += used as u64;
        reader.consume(used);
        if end.is_some() {
            line.ended = true;
            return Ok(Some(line));
        }
    }
}
