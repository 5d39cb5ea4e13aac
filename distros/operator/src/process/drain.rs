//! Keeps a program's output flowing after this process has died.
//!
//! A program that outlives this process would otherwise write into pipes that nobody reads: SIGPIPE ends the scripts of
//! packages, and dnf fails in the middle of a transaction. Files in place of pipes would not do, because scripts open
//! `/dev/stderr` by name, which truncates a file.

use super::{ORPHANS, child};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Reads nothing until its standard input ends, and then all of the pipes that it has as standard output and error.
///
/// Only what is built into a shell: the packages may replace all other programs meanwhile.
const SCRIPT: &str = "read -r x; while read -r x; do :; done <&1 & while read -r x; do :; done <&2; wait";

/// A shell that reads a program's output if this process dies; dropped, it ends.
pub(super) struct Drain {
    shell: Child,
}

impl Drain {
    /// Starts the shell for a program whose output is piped and not read yet.
    ///
    /// # Errors
    ///
    /// Fails if the shell cannot be started.
    pub(super) fn of(program: &Child) -> io::Result<Drain> {
        let stream = |stream: Option<BorrowedFd<'_>>| match stream {
            Some(stream) => stream.try_clone_to_owned().map(Stdio::from),
            None => Ok(Stdio::null()),
        };
        let stdout = stream(program.stdout.as_ref().map(AsFd::as_fd))?;
        let stderr = stream(program.stderr.as_ref().map(AsFd::as_fd))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT]).env_clear().current_dir("/").stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        // A group of its own, so that Ctrl-C does not reach it.
        let shell = command.process_group(0).spawn()?;
        Ok(Drain { shell })
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // A daemon that the program has started may hold its output open: the shell then reads on.
        let _ = child::wait(&mut self.shell, ORPHANS);
    }
}
