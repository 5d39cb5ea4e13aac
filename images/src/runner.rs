//! Runs other programs with cancellation, and keeps their last lines: an [`operator::process::Invocation`] cannot be
//! cancelled, reports no lines as progress, and keeps the beginning of the output, but a failure's cause is at the end.
//!
//! Both wait for a child, collect its standard output and end it in the same way. Only the flag with which a user
//! cancels is looked at again and again, because a flag cannot be waited for.
//! [`of_machine`], [`of_tree`] and [`tied`] prepare the command so that it dies with this process.

use crate::error::{CommandFailure, Failure, ImageErrorKind};
use crate::progress::{ImagePhase, ProgressMessage};
use model::distro::Target;
use model::redact::Redactor;
use model::shell::quoted;
use operator::process::sandbox::{BindMount, Network, ProgramSandbox};
use operator::process::{self, CollectedOutput};
use root::Root;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Number of output lines kept for an error.
const TAIL: usize = 15;
/// Number of lines kept for finding the cause of a failure, which may precede a long epilogue.
const KEPT: usize = 400;
/// Maximum length of a line; longer ones are cut, because output is not trusted.
const LINE: usize = 4096;
/// Size limit of captured output, in bytes, because the output of a tree's program is not trusted.
const OUTPUT: usize = 64 << 20;
/// Interval for checking whether a job was cancelled or is late.
const LOOK: Duration = Duration::from_millis(20);

/// Parameters common to all commands of one job.
pub(crate) struct Runner<'a> {
    pub(crate) release: Target,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) until: Instant,
    pub(crate) limit: Duration,
    pub(crate) redact: Redactor,
    pub(crate) progress: &'a (dyn Fn(ProgressMessage) + Sync),
    /// Finds the cause of a failure in a program's output; it comes from the family of the tools.
    pub(crate) read_cause: fn(&[String]) -> ImageErrorKind,
}

/// A command, and how to treat its output.
pub(crate) struct Call<'c> {
    pub(crate) phase: ImagePhase,
    pub(crate) command: &'c mut Command,
    /// Whether to collect stdout apart from stderr, instead of one stream of lines.
    pub(crate) capture: bool,
}

impl Runner<'_> {
    /// Reports the start of a phase, or a message within it.
    pub(crate) fn report(&self, phase: ImagePhase, detail: Option<&str>) {
        (self.progress)(ProgressMessage {
            release: self.release.clone(),
            phase,
            detail: detail.map(|d| self.redact.text(d)),
        });
    }

    /// Fails if the caller has cancelled or the deadline has passed.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ImageErrorKind::Cancelled.into());
        }
        if Instant::now() >= self.until {
            return Err(ImageErrorKind::DeadlineExceeded { seconds: self.limit.as_secs() }.into());
        }
        Ok(())
    }

    /// Waits for the given time, unless the caller cancels.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Runs a command to its end; its output is reported as progress, and kept as evidence of a failure.
    pub(crate) fn run(&self, phase: ImagePhase, command: &mut Command) -> Result<(), Failure> {
        self.call(Call { phase, command, capture: false }).map(drop)
    }

    /// Runs a command and returns its standard output.
    pub(crate) fn output(&self, phase: ImagePhase, command: &mut Command) -> Result<String, Failure> {
        self.call(Call { phase, command, capture: true })
    }

    fn call(&self, call: Call<'_>) -> Result<String, Failure> {
        self.check()?;
        let words = self.words(call.command);
        tracing::debug!(release = %self.release, command = words, "running");
        let spawn_error = |source: std::io::Error| -> Failure {
            let program = call_program(&words);
            if source.kind() == std::io::ErrorKind::NotFound {
                ImageErrorKind::ToolMissing { program }.into()
            } else {
                ImageErrorKind::Io { context: format!("starting {program}"), source }.into()
            }
        };
        let (reader, writer) = std::io::pipe().map_err(spawn_error)?;
        let (out_reader, out_writer) = match call.capture {
            true => std::io::pipe().map(|(r, w)| (Some(r), Stdio::from(w))).map_err(spawn_error)?,
            false => (None, Stdio::from(writer.try_clone().map_err(spawn_error)?)),
        };
        call.command.stdin(Stdio::null()).stdout(out_writer).stderr(writer).process_group(0);
        let mut child = call.command.spawn().map_err(spawn_error)?;
        // The command holds the writing ends of the pipes, which must be closed for the readers to see the end.
        call.command.stdout(Stdio::null()).stderr(Stdio::null());
        let ended = std::thread::scope(|scope| {
            let lines = scope.spawn(|| self.keep_lines(call.phase, reader));
            let output = CollectedOutput::of(out_reader, OUTPUT, None);
            let status = self.wait(&mut child);
            let lines = lines.join().unwrap_or_default();
            // Another process may still hold the stream.
            output.wait(self.until);
            status.map(|s| (s, lines, output.text()))
        });
        let (status, lines, text) = ended?;
        if status.success() {
            if call.capture {
                // At the deadline, the output may be incomplete.
                self.check()?;
            }
            return Ok(text);
        }
        let raw: Vec<String> = lines.into_iter().collect();
        let cause = (self.read_cause)(&raw);
        let tail = raw.iter().rev().take(TAIL).rev().map(|l| self.redact.text(l)).collect();
        let command = CommandFailure { command: words, status: status.to_string(), tail };
        Err(Failure { cause: self.redact_cause(cause), command: Some(Box::new(command)) })
    }

    /// Returns the cause without mirror hosts.
    pub(crate) fn redact_cause(&self, cause: ImageErrorKind) -> ImageErrorKind {
        match cause {
            ImageErrorKind::MirrorUnreachable { detail, cached_age } => {
                ImageErrorKind::MirrorUnreachable { detail: self.redact.text(&detail), cached_age }
            }
            ImageErrorKind::RegistryUnreachable { detail, cached_age } => {
                ImageErrorKind::RegistryUnreachable { detail: self.redact.text(&detail), cached_age }
            }
            ImageErrorKind::NoSuchImage { reference } => {
                ImageErrorKind::NoSuchImage { reference: self.redact.text(&reference) }
            }
            ImageErrorKind::Docker { detail } => ImageErrorKind::Docker { detail: self.redact.text(&detail) },
            ImageErrorKind::Untrusted { detail } => ImageErrorKind::Untrusted { detail: self.redact.text(&detail) },
            ImageErrorKind::NoSuchRelease { what } => ImageErrorKind::NoSuchRelease { what: self.redact.text(&what) },
            ImageErrorKind::Expired { suite } => ImageErrorKind::Expired { suite: self.redact.text(&suite) },
            other => other,
        }
    }

    /// Returns the command line for people.
    fn words(&self, command: &Command) -> String {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        self.redact.text(&words.join(" "))
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, Failure> {
        loop {
            match process::wait(child, LOOK) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(source) => {
                    // The process group is killed, because its output is read until it ends.
                    process::kill_group(child);
                    return Err(ImageErrorKind::Io { context: "waiting for a child".to_owned(), source }.into());
                }
            }
            if let Err(stop) = self.check() {
                process::end_group(child);
                return Err(stop);
            }
        }
    }

    fn keep_lines(&self, phase: ImagePhase, reader: impl Read) -> VecDeque<String> {
        let mut last_lines = VecDeque::new();
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        let mut last = Instant::now() - Duration::from_secs(1);
        loop {
            line.clear();
            match (&mut reader).take(LINE as u64).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return last_lines,
                Ok(_) => {}
            }
            let text: String = String::from_utf8_lossy(&line)
                .trim_end()
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            if text.is_empty() {
                continue;
            }
            if last.elapsed() >= Duration::from_millis(200) {
                self.report(phase, Some(&text));
                last = Instant::now();
            }
            last_lines.push_back(text);
            if last_lines.len() > KEPT {
                last_lines.pop_front();
            }
        }
    }
}

fn call_program(words: &str) -> String {
    words.split(' ').next().unwrap_or_default().to_owned()
}

/// Returns a command for a program of this machine in a sandbox, with all its children: it may write only to `folder`,
/// which is its `/tmp`.
///
/// Even if this process is killed, nothing stays mounted or running.
pub(crate) fn of_machine(folder: &Path, network: Network, program: &str) -> Result<Command, Failure> {
    let mut command = confined(ProgramSandbox::of_machine(folder, network).map_err(|e| unmapped(folder, e))?, program)?;
    command.env("LC_ALL", "C").env("TMPDIR", "/tmp");
    Ok(command)
}

/// Returns a command for a program of a tree in a sandbox, with all its children: it has the tree's files, the mounts
/// over them, and no network.
pub(crate) fn of_tree(tree: &Path, mounts: &[BindMount<'_>], program: &str) -> Result<Command, Failure> {
    confined(ProgramSandbox::of_tree(tree, mounts).map_err(|e| unmapped(tree, e))?, program)
}

fn confined(sandbox: ProgramSandbox, program: &str) -> Result<Command, Failure> {
    let mut command = Command::new(program);
    let confined = sandbox.confine(&mut command);
    confined.map_err(|source| ImageErrorKind::Io { context: format!("making namespaces for {program}"), source })?;
    Ok(command)
}

fn unmapped(folder: &Path, source: std::io::Error) -> Failure {
    ImageErrorKind::Unmapped { folder: folder.to_owned(), source }.into()
}

/// Returns a command that dies with this process, as long as it keeps its user.
pub(crate) fn tied(program: &str) -> Command {
    let mut command = Command::new(program);
    process::tie(&mut command);
    command
}

/// Returns whether this machine has a program, in the directories that the whole project searches, independent of
/// `PATH`.
pub(crate) fn has_program(program: &str) -> bool {
    // A program that cannot be accessed cannot be run, either.
    Root::default().which(program).is_ok_and(|found| found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::runner;

    #[test]
    fn a_failed_command_reports_its_status_and_last_lines() {
        let cancel = AtomicBool::new(false);
        let script = "seq 1 100; echo gone from mirror.example; exit 7";
        let failure =
            runner(&cancel, 20).run(ImagePhase::Install, Command::new("sh").args(["-c", script])).unwrap_err();
        let command = failure.command.unwrap();
        assert_eq!(command.command, "sh -c 'seq 1 100; echo gone from <mirror>; exit 7'");
        assert_eq!(command.status, "exit status: 7");
        assert_eq!(command.tail.len(), TAIL);
        assert_eq!(command.tail.last().unwrap(), "gone from <mirror>");
        assert!(matches!(failure.cause, ImageErrorKind::CommandFailed));
    }

    #[test]
    fn output_returns_only_stdout() {
        let cancel = AtomicBool::new(false);
        let text = runner(&cancel, 20)
            .output(ImagePhase::Record, Command::new("sh").args(["-c", "echo out; echo err >&2"]))
            .unwrap();
        assert_eq!(text, "out\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let cancel = AtomicBool::new(false);
        let failure = runner(&cancel, 20).run(ImagePhase::Resolve, &mut Command::new("no-such-program")).unwrap_err();
        assert!(matches!(failure.cause, ImageErrorKind::ToolMissing { program } if program == "no-such-program"));
    }

    #[test]
    fn the_deadline_kills_the_whole_process_group() {
        let cancel = AtomicBool::new(false);
        let started = Instant::now();
        let failure = runner(&cancel, 1)
            .run(ImagePhase::Bootstrap, Command::new("sh").args(["-c", "sleep 60 & sleep 60"]))
            .unwrap_err();
        assert!(matches!(failure.cause, ImageErrorKind::DeadlineExceeded { seconds: 1 }));
        // The pipe closes only when the background child is gone too.
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_process_group_is_killed_if_waiting_fails() {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & exit 0"]).process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
        let cancel = AtomicBool::new(false);
        assert!(matches!(runner(&cancel, 20).wait(&mut child).unwrap_err().cause, ImageErrorKind::Io { .. }));
        // The pipe closes only when the background child is gone too.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn cancelling_ends_a_running_command() {
        let cancel = AtomicBool::new(false);
        let failure = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(200));
                cancel.store(true, Ordering::Relaxed);
            });
            runner(&cancel, 60).run(ImagePhase::Bootstrap, Command::new("sleep").arg("50")).unwrap_err()
        });
        assert!(matches!(failure.cause, ImageErrorKind::Cancelled));
    }
}
