//! A program attached to pipes: it is given input, and its output can be read before its end, which an
//! [`operator::process::Invocation`] cannot do; output and deadline are those of that module.

use crate::process::{kill_group, prepare, wait};
use operator::process::{CollectedOutput, wait_for_ends};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use suites::containers::ContainerOutput;

/// Limit of kept output per stream, in bytes; the rest is read and dropped, so that the program does not block.
const CAP: usize = 16 << 20;

/// A running program.
pub struct Attached {
    child: Child,
    /// Keeps standard input open while the program runs, see [`Attached::start`].
    _input: Option<JoinHandle<ChildStdin>>,
    stdout: CollectedOutput,
    stderr: CollectedOutput,
}

impl Attached {
    /// Starts the program in a process group of its own, with `input` on its standard input, which then stays open.
    ///
    /// At the end of its input `ctr` requests closing the container's input *before* it closes its own end of the
    /// stream. Kata's Go shim answers this only after that end is closed, and holds its only lock meanwhile (`CloseIO`
    /// in `src/runtime/pkg/containerd-shim-v2/service.go@3.30.0`): from then on it answers no request. CRI closes its
    /// end first.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command, input: &[u8]) -> io::Result<Attached> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = prepare(command, Vec::new()).spawn()?;
        let input = child.stdin.take().map(|mut stdin| {
            let input = input.to_vec();
            std::thread::spawn(move || {
                // A program that ends without reading everything breaks the pipe, which is no error here.
                let _ = stdin.write_all(&input);
                stdin
            })
        });
        let stdout = CollectedOutput::of(child.stdout.take(), CAP, None);
        let stderr = CollectedOutput::of(child.stderr.take(), CAP, None);
        Ok(Attached { child, _input: input, stdout, stderr })
    }

    /// Waits for the program's end; `None` if it outlives the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ContainerOutput> {
        let status = wait(&mut self.child, deadline).ok().flatten()?;
        // The pipes close with the program, unless a child process still holds them.
        wait_for_ends([&self.stdout, &self.stderr], Duration::from_secs(5));
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        Some(ContainerOutput { code, stdout: self.stdout.bytes(), stderr: self.stderr.bytes() })
    }

    /// Returns whether the program has ended.
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Returns the standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Returns the standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.stderr.bytes()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // The number of a reaped process group may have been reused.
        if !self.ended() {
            kill_group(&mut self.child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::state;
    use std::time::Instant;

    #[test]
    fn input_is_fed_and_both_streams_are_kept_apart() {
        let input = vec![b'x'; 3 << 20];
        let script = "head -c 3145728; echo problem >&2; exit 9";
        let mut attached = Attached::start(Command::new("sh").args(["-c", script]), &input).unwrap();
        let finished = attached.wait(Duration::from_secs(20)).unwrap();
        assert_eq!((finished.code, finished.stdout.len()), (9, input.len()));
        assert_eq!(finished.stderr, b"problem\n");
    }

    #[test]
    fn dropping_a_process_past_its_deadline_ends_it_and_its_children_promptly() {
        let mut command = Command::new("sh");
        let mut attached = Attached::start(command.args(["-c", "sleep 1000 & echo $!; wait"]), &[]).unwrap();
        assert!(attached.wait(Duration::from_millis(200)).is_none());
        let began = Instant::now();
        while !attached.stdout().ends_with(b"\n") {
            assert!(began.elapsed() < Duration::from_secs(20), "it says nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        let child = attached.child.id();
        let grandchild: u32 = String::from_utf8(attached.stdout()).unwrap().trim().parse().unwrap();
        assert!(state(grandchild).is_some());
        let began = Instant::now();
        drop(attached);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(state(child), None);
        // Nobody may reap the child's own child.
        while !matches!(state(grandchild), None | Some('Z')) {
            assert!(began.elapsed() < Duration::from_secs(20), "process {grandchild} lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
