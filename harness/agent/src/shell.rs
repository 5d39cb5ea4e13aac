//! A program for a person who looks into an environment: a shell on a terminal of its own, or a command with pipes.
//!
//! The terminal is a pseudo-terminal of the kernel. This binary starts the program in a role of its own, which starts a
//! session and opens the terminal, so that it becomes the controlling terminal: Ctrl-C and job control work as usual.
//! Output is buffered until the harness asks for it; a program that fills the buffer blocks.

use crate::process::{prepare, wait};
use model::sync::locked;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use suites::environment::TerminalSize;

/// Argument of the process that becomes a program on a terminal; the terminal, the program and its arguments follow.
pub const ROLE: &str = "shell";

/// Size of a read from a program, in bytes.
const PART: usize = 16 << 10;
/// Number of buffered parts.
const WAITING: usize = 16;
/// Size limit of one answer, in bytes; a frame has room for more.
const MOST: usize = 128 << 10;
/// Time that an answer waits for output.
const PATIENCE: Duration = Duration::from_millis(500);

/// The current program, if there is one.
#[derive(Default)]
pub(crate) struct Shells(Mutex<Option<Arc<Shell>>>);

/// A running program.
struct Shell {
    child: Mutex<Child>,
    /// Input of the program, until it is closed.
    input: Mutex<Option<File>>,
    /// The harness's side of the terminal, if there is one.
    terminal: Option<OwnedFd>,
    printed: Mutex<Receiver<Printed>>,
}

enum Printed {
    Output(Vec<u8>),
    Errors(Vec<u8>),
}

/// Output since the last call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
    /// Exit code, once all output was returned.
    pub(crate) ended: Option<i32>,
}

/// Executes a program with this terminal as its controlling terminal.
///
/// # Errors
/// If the arguments do not fit this role, or a system call fails.
pub fn become_program(arguments: &[OsString]) -> io::Result<()> {
    let [terminal, program, rest @ ..] = arguments else {
        return Err(io::Error::other("usage: kata-qualify-agent shell TERMINAL PROGRAM [ARGUMENT]..."));
    };
    become_on(terminal, program, rest).map(|never| match never {})
}

fn become_on(terminal: &OsStr, program: &OsStr, arguments: &[OsString]) -> io::Result<Infallible> {
    rustix::process::setsid()?;
    // The first terminal that a session leader opens becomes its controlling terminal.
    let terminal = OpenOptions::new().read(true).write(true).open(terminal)?;
    rustix::stdio::dup2_stdin(&terminal)?;
    rustix::stdio::dup2_stdout(&terminal)?;
    rustix::stdio::dup2_stderr(&terminal)?;
    drop(terminal);
    Err(Command::new(program).args(arguments).exec())
}

impl Shells {
    /// Starts a program; a program that still runs is ended.
    pub(crate) fn open(
        &self,
        argv: &[String],
        variables: &BTreeMap<String, String>,
        size: Option<TerminalSize>,
    ) -> io::Result<()> {
        let shell = match size {
            Some(size) => on_a_terminal(argv, variables, size)?,
            None => with_pipes(argv, variables)?,
        };
        // Dropped after the lock is released, because dropping waits for its end.
        let before = locked(&self.0).replace(Arc::new(shell));
        drop(before);
        Ok(())
    }

    /// Passes typed input to the program. Input that an ended program does not read is no error.
    pub(crate) fn type_in(&self, bytes: &[u8], is_end: bool, size: Option<TerminalSize>) -> io::Result<()> {
        let shell = self.running()?;
        if let (Some(terminal), Some(size)) = (&shell.terminal, size) {
            tcsetwinsize(terminal, window(size))?;
        }
        if bytes.is_empty() && !is_end {
            // A change of the size must not wait behind input that the program does not read.
            return Ok(());
        }
        let mut input = locked(&shell.input);
        if let Some(file) = input.as_mut() {
            let _ = file.write_all(bytes);
        }
        // A terminal has no end of input, only a character for it, which the person has to type.
        if is_end && shell.terminal.is_none() {
            *input = None;
        }
        Ok(())
    }

    /// Waits a moment for output.
    pub(crate) fn hear(&self) -> io::Result<Heard> {
        let shell = self.running()?;
        let printed = locked(&shell.printed);
        let mut heard = Heard::default();
        let ended = locked(&shell.child).try_wait()?;
        match printed.recv_timeout(PATIENCE) {
            Ok(part) => heard.add(part),
            // The program has closed its output, but may continue.
            Err(RecvTimeoutError::Disconnected) => {
                heard.ended = wait(&mut locked(&shell.child), PATIENCE)?.map(code);
            }
            // Its child processes may keep its output open. If it ended during this wait, the last output is returned
            // by the next call.
            Err(RecvTimeoutError::Timeout) => heard.ended = ended.map(code),
        }
        while heard.output.len() + heard.errors.len() < MOST - PART
            && let Ok(part) = printed.try_recv()
        {
            heard.add(part);
        }
        Ok(heard)
    }

    fn running(&self) -> io::Result<Arc<Shell>> {
        locked(&self.0).clone().ok_or_else(|| io::Error::other("no shell was opened"))
    }
}

impl Heard {
    fn add(&mut self, part: Printed) {
        match part {
            Printed::Output(bytes) => self.output.extend(bytes),
            Printed::Errors(bytes) => self.errors.extend(bytes),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        crate::process::kill_group(&mut locked(&self.child));
    }
}

/// Starts a program with pipes, as the leader of a process group of its own.
fn with_pipes(argv: &[String], variables: &BTreeMap<String, String>) -> io::Result<Shell> {
    let (program, arguments) = split(argv)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(variables);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = prepare(&mut command, Vec::new()).spawn()?;
    let (sender, printed) = sync_channel(WAITING);
    let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
    if let Some(pipe) = child.stdout.take() {
        listen(pipe, sender.clone(), Printed::Output);
    }
    if let Some(pipe) = child.stderr.take() {
        listen(pipe, sender, Printed::Errors);
    }
    Ok(Shell { child: Mutex::new(child), input: Mutex::new(input), terminal: None, printed: Mutex::new(printed) })
}

/// Starts a program with a terminal of its own.
fn on_a_terminal(argv: &[String], variables: &BTreeMap<String, String>, size: TerminalSize) -> io::Result<Shell> {
    split(argv)?;
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    tcsetwinsize(&controller, window(size))?;
    let terminal_path = ptsname(&controller, Vec::<u8>::new())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(ROLE).arg(OsStr::from_bytes(terminal_path.as_bytes())).args(argv).envs(variables);
    // It leads a group of its own because it starts a session.
    let child = command.stdin(Stdio::null()).spawn()?;
    let (sender, printed) = sync_channel(WAITING);
    let (input, output) = (File::from(controller.try_clone()?), File::from(controller.try_clone()?));
    listen(output, sender, Printed::Output);
    let input = Mutex::new(Some(input));
    Ok(Shell { child: Mutex::new(child), input, terminal: Some(controller), printed: Mutex::new(printed) })
}

/// Reads output until all writers have closed it; a terminal then reports an error.
fn listen(mut from: impl Read + Send + 'static, sender: SyncSender<Printed>, of: fn(Vec<u8>) -> Printed) {
    std::thread::spawn(move || {
        let mut part = vec![0; PART];
        loop {
            match from.read(&mut part) {
                Ok(0) => return,
                Ok(count) => {
                    let bytes = part.get(..count).unwrap_or_default().to_vec();
                    if sender.send(of(bytes)).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

fn split(argv: &[String]) -> io::Result<(&String, &[String])> {
    argv.split_first().ok_or_else(|| io::Error::other("no program was named"))
}

fn window(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Returns an exit code as in a shell: 128 and the number for a fatal signal.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    /// Returns all output of a program, to its end.
    fn heard(shells: &Shells) -> Heard {
        let until = Instant::now() + Duration::from_secs(60);
        let mut all = Heard::default();
        while all.ended.is_none() {
            assert!(Instant::now() < until, "it does not end: {all:?}");
            let Heard { output, errors, ended } = shells.hear().unwrap();
            all.output.extend(output);
            all.errors.extend(errors);
            all.ended = ended;
        }
        all
    }

    #[test]
    fn a_shell_command_has_pipes_and_returns_its_exit_code() {
        let shells = Shells::default();
        assert!(shells.hear().is_err(), "none was opened");
        let variables = [("WORD".to_owned(), "said".to_owned())].into();
        shells.open(&shell("cat; echo $WORD >&2; exit 7"), &variables, None).unwrap();
        shells.type_in(b"typed\n", false, None).unwrap();
        shells.type_in(b"", true, None).unwrap();
        let expected = Heard { output: b"typed\n".to_vec(), errors: b"said\n".to_vec(), ended: Some(7) };
        assert_eq!(heard(&shells), expected);
        shells.open(&shell("kill -9 $$"), &BTreeMap::new(), None).unwrap();
        assert_eq!(heard(&shells).ended, Some(137));
        assert!(shells.open(&[], &BTreeMap::new(), None).is_err());
    }

    #[test]
    fn a_background_process_does_not_keep_the_shell_open() {
        let shells = Shells::default();
        shells.open(&shell("sleep 600 & exit 3"), &BTreeMap::new(), None).unwrap();
        assert_eq!(heard(&shells).ended, Some(3));
    }

    #[test]
    fn a_shell_with_closed_output_is_polled_until_it_ends() {
        let shells = Shells::default();
        shells.open(&shell("exec >&- 2>&-; sleep 3; exit 4"), &BTreeMap::new(), None).unwrap();
        assert_eq!(shells.hear().unwrap(), Heard::default(), "it goes on");
        assert_eq!(heard(&shells).ended, Some(4));
    }

    #[test]
    fn a_resize_is_accepted_while_input_is_not_read() {
        let shells = Shells::default();
        shells.open(&shell("exec sleep 5"), &BTreeMap::new(), None).unwrap();
        let running = shells.running().unwrap();
        std::thread::scope(|scope| {
            // More than a pipe holds.
            scope.spawn(|| shells.type_in(&vec![0; 1 << 20], false, None));
            let until = Instant::now() + Duration::from_secs(4);
            while running.input.try_lock().is_ok() {
                assert!(Instant::now() < until, "it is read, or was not typed");
                std::thread::sleep(Duration::from_millis(5));
            }
            shells.type_in(b"", false, Some(TerminalSize { rows: 50, columns: 100 })).unwrap();
            assert!(running.input.try_lock().is_err(), "the typing was waited for");
        });
    }

    #[test]
    fn output_larger_than_one_reply_is_received_whole() {
        let shells = Shells::default();
        shells.open(&shell("head -c 3000000 /dev/zero"), &BTreeMap::new(), None).unwrap();
        let all = heard(&shells);
        assert_eq!((all.output.len(), all.ended), (3_000_000, Some(0)));
    }

    #[test]
    fn a_terminal_role_without_a_program_is_refused() {
        assert!(become_program(&["/dev/pts/0".into()]).is_err());
    }
}
