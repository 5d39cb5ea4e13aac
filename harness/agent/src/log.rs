//! Logs of untrusted programs, of which the end matters, while an [`operator::process::CollectedOutput`] keeps the
//! beginning: they are kept on disk up to a cap, and their end in memory for searches.

use model::sync::{locked, waited};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Limit of a log on disk, in bytes; excess output is counted, but not kept.
pub const DISK_CAP: u64 = 8 << 20;
/// Size of a log's end that is kept in memory, in bytes.
const MEMORY_CAP: usize = 256 << 10;
/// Time for the collector to see the end of a program that has ended.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct LogContents {
    tail: Vec<u8>,
    total: u64,
    closed: bool,
}

/// A log that is collected by a thread of its own.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<LogContents>,
    /// Notified when the log is closed.
    end: Condvar,
}

impl Log {
    /// Collects `from` until it ends, into `path`.
    pub fn collect(mut from: impl Read + Send + 'static, path: &Path) -> std::io::Result<Log> {
        let log = Log { path: path.to_owned(), shared: Arc::default() };
        let mut file = File::create(path)?;
        let shared = Arc::clone(&log.shared);
        std::thread::spawn(move || {
            let mut chunk = vec![0; 16 << 10];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                let mut state = locked(&shared.state);
                let room = DISK_CAP.saturating_sub(state.total).min(count as u64) as usize;
                // A full disk must not stop the collection: the program would block on its pipe.
                let _ = file.write_all(&chunk[..room]);
                state.total += count as u64;
                state.tail.extend_from_slice(&chunk[..count]);
                let excess = state.tail.len().saturating_sub(MEMORY_CAP);
                state.tail.drain(..excess);
            }
            let mut state = locked(&shared.state);
            if state.total > DISK_CAP {
                let _ = writeln!(file, "\n[{} bytes more were not kept]", state.total - DISK_CAP);
            }
            state.closed = true;
            shared.end.notify_all();
        });
        Ok(log)
    }

    /// Returns the path of the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the end of the log as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&locked(&self.shared.state).tail).into_owned()
    }

    /// Returns the number of bytes received so far, including those that were not kept.
    pub fn total(&self) -> u64 {
        locked(&self.shared.state).total
    }

    /// Returns whether the writer has closed the log, so that nothing more will come.
    pub fn closed(&self) -> bool {
        locked(&self.shared.state).closed
    }

    /// Waits a moment for the collector to see the end of a program that has ended.
    pub fn settle(&self) {
        let until = Instant::now() + SETTLED;
        let mut state = locked(&self.shared.state);
        while !state.closed && Instant::now() < until {
            let remaining = until.saturating_duration_since(Instant::now());
            state = waited(&self.shared.end, state, remaining);
        }
    }

    /// Returns the last `count` non-empty lines, joined by ` | `.
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_100_mb_is_cut_on_disk_and_its_end_kept_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let flood = std::io::repeat(b'x').take(100 << 20).chain(&b"\nthe end\n"[..]);
        let log = Log::collect(flood, &dir.path().join("log")).unwrap();
        while !log.closed() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(log.last_lines(1), "the end");
        assert!(std::fs::metadata(log.path()).unwrap().len() < DISK_CAP + 100);
    }
}
