//! A program attached to pipes: its input is fed, its output kept up to a cap, its end awaited by a deadline.

use crate::process::{kill_group, prepare};
use crate::server::locked;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use suites::containers::Finished;

/// Bytes kept of each stream; what comes beyond is read and dropped, so that the program does not block.
const CAP: usize = 16 << 20;

/// A running program.
pub struct Attached {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

impl Attached {
    /// Starts it in a process group of its own, with `input` on its standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, input: &[u8]) -> io::Result<Attached> {
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = prepare(command, Vec::new()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // A program that ends without reading everything breaks the pipe, which is its own business.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let stdout = Stream::read(child.stdout.take());
        let stderr = Stream::read(child.stderr.take());
        Ok(Attached { child, stdout, stderr })
    }

    /// Waits for its end; `None` if it outlives the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<Finished> {
        let end = Instant::now() + deadline;
        let status = loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                break status;
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        // The pipes close with the program, unless a child of its still holds them.
        let settled = Instant::now() + Duration::from_secs(5);
        while !(self.stdout.closed() && self.stderr.closed()) && Instant::now() < settled {
            std::thread::sleep(Duration::from_millis(5));
        }
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        Some(Finished { code, stdout: self.stdout.bytes(), stderr: self.stderr.bytes() })
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.stderr.bytes()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // A group that has been reaped may have given its number to another.
        if !self.ended() {
            kill_group(&mut self.child);
        }
    }
}

#[derive(Clone, Default)]
struct Stream(Arc<Mutex<(Vec<u8>, bool)>>);

impl Stream {
    fn read(from: Option<impl Read + Send + 'static>) -> Stream {
        let stream = Stream::default();
        let state = stream.clone();
        std::thread::spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            if let Some(mut from) = from {
                while let Ok(count @ 1..) = from.read(&mut chunk) {
                    let mut state = locked(&state.0);
                    let room = CAP.saturating_sub(state.0.len()).min(count);
                    state.0.extend_from_slice(&chunk[..room]);
                }
            }
            locked(&state.0).1 = true;
        });
        stream
    }

    fn bytes(&self) -> Vec<u8> {
        locked(&self.0).0.clone()
    }

    fn closed(&self) -> bool {
        locked(&self.0).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_fed_and_both_streams_are_kept_apart() {
        let input = vec![b'x'; 3 << 20];
        let script = "cat; echo problem >&2; exit 9";
        let mut attached = Attached::start(Command::new("sh").args(["-c", script]), &input).unwrap();
        let finished = attached.wait(Duration::from_secs(20)).unwrap();
        assert_eq!((finished.code, finished.stdout.len()), (9, input.len()));
        assert_eq!(finished.stderr, b"problem\n");
    }

    #[test]
    fn what_outlives_the_deadline_is_killed_with_its_children() {
        let mut attached = Attached::start(Command::new("sh").args(["-c", "sleep 1000 & wait"]), &[]).unwrap();
        assert!(attached.wait(Duration::from_millis(200)).is_none());
        let began = Instant::now();
        drop(attached);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
