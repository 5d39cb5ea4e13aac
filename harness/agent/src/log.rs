//! Logs of untrusted programs: kept on disk up to a cap, and in memory for searching.

use model::sync::locked;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes kept on disk of one log; a flood beyond it is counted, not kept.
pub const DISK_CAP: u64 = 8 << 20;
/// Bytes of a log's end kept in memory.
const MEMORY_CAP: usize = 256 << 10;

#[derive(Debug, Default)]
struct LogContents {
    tail: Vec<u8>,
    total: u64,
    closed: bool,
}

/// A log that a thread of its own collects.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    state: Arc<Mutex<LogContents>>,
}

impl Log {
    /// Collects `from` until it ends, into `path`.
    pub fn collect(mut from: impl Read + Send + 'static, path: &Path) -> std::io::Result<Log> {
        let log = Log { path: path.to_owned(), state: Arc::default() };
        let mut file = File::create(path)?;
        let state = Arc::clone(&log.state);
        std::thread::spawn(move || {
            let mut chunk = vec![0; 16 << 10];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                let mut state = locked(&state);
                let room = DISK_CAP.saturating_sub(state.total).min(count as u64) as usize;
                // A full disk must not stop the collecting: the program would block on its pipe.
                let _ = file.write_all(&chunk[..room]);
                state.total += count as u64;
                state.tail.extend_from_slice(&chunk[..count]);
                let excess = state.tail.len().saturating_sub(MEMORY_CAP);
                state.tail.drain(..excess);
            }
            let mut state = locked(&state);
            if state.total > DISK_CAP {
                let _ = writeln!(file, "\n[{} bytes more were not kept]", state.total - DISK_CAP);
            }
            state.closed = true;
        });
        Ok(log)
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The end of it as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&locked(&self.state).tail).into_owned()
    }

    /// How many bytes it has got so far, those that were not kept included.
    pub fn total(&self) -> u64 {
        locked(&self.state).total
    }

    /// Whether its writer has closed it, so that nothing more will come.
    pub fn closed(&self) -> bool {
        locked(&self.state).closed
    }

    /// Gives the collector a moment to see the end of a program that has ended.
    pub fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(2);
        while !self.closed() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last `count` lines that are not empty, joined by ` | `.
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
