//! Connection of this terminal, or these pipes, to a program at the other end of a line.
//!
//! On a terminal, keys go to the program as they are typed, including Ctrl-C, and the program's output controls the
//! terminal, as for any shell. The output of a command is made printable first if it goes to a terminal.

use super::reason;
use crate::line::{Line, LineError, ask};
use model::redact::without_controls;
use protocol::message::{Base64Bytes, EnvironmentReply, EnvironmentRequest};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _, Write};
use suites::environment::TerminalSize;
use tokio::sync::mpsc::{Receiver, channel};

/// Bytes that are read from standard input at once.
const PART: usize = 4 << 10;
/// Number of parts of standard input that may wait for the line.
const WAITING: usize = 16;
/// Seconds that a program may take to read its input: as long as the visitor stays.
const TYPED: u64 = 7 * 86_400;
/// Seconds that an answer may take; the agent waits half a second for output before it answers.
const HEARD: u64 = 60;

/// Runs a command, or a shell if there is none, and returns its exit code.
///
/// # Errors
/// If it was not started, or the line ended.
pub(super) async fn attach(line: &Line, command: &[String]) -> Result<i32, LineError> {
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let is_shown = output.is_terminal();
    let is_interactive = command.is_empty() && input.is_terminal() && is_shown;
    let size = is_interactive.then(size).flatten();
    let (argv, variables) = (argv(command, size.is_some()), variables(size.is_some()));
    let opened = ask(line, EnvironmentRequest::OpenShell { argv, variables, terminal: size }, HEARD).await?;
    if let EnvironmentReply::Failed { stop, .. } = &opened {
        return Err(LineError::Unexpected(reason(stop).to_owned()));
    }
    // The terminal is restored on return, also after a signal that ends the surrounding run.
    let _raw = size.map(|_| Raw::enter());
    let typed = typed();
    tokio::select! {
        ended = hear(line, size, is_shown) => ended,
        failed = forward_input(line, typed) => Err(failed),
    }
}

/// Returns the command line to start.
fn argv(command: &[String], is_on_a_terminal: bool) -> Vec<String> {
    let words: &[&str] = match (command.is_empty(), is_on_a_terminal) {
        (false, _) => return command.to_vec(),
        (true, true) => &["/bin/sh", "-i"],
        (true, false) => &["/bin/sh", "-s"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Returns the environment variables that a shell expects and an agent does not have.
fn variables(is_on_a_terminal: bool) -> BTreeMap<String, String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all = BTreeMap::from([("PATH", path.to_owned()), ("HOME", "/root".to_owned())]);
    if is_on_a_terminal {
        all.insert("TERM", std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()));
    }
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Writes the program's output until the program has ended.
async fn hear(line: &Line, mut size: Option<TerminalSize>, is_shown: bool) -> Result<i32, LineError> {
    loop {
        let (output, errors, ended) = match ask(line, EnvironmentRequest::Hear, HEARD).await? {
            EnvironmentReply::Heard { output, errors, ended } => (output.0, errors.0, ended),
            EnvironmentReply::Failed { stop, .. } => return Err(LineError::Unexpected(reason(&stop).to_owned())),
            other => return Err(LineError::Unexpected(format!("{other:?}"))),
        };
        // A closed output is no reason to end the visit, which must wait for the program.
        let _ = write(std::io::stdout(), &output, is_shown && size.is_none());
        let _ = write(std::io::stderr(), &errors, std::io::stderr().is_terminal());
        if let Some(code) = ended {
            return Ok(code);
        }
        let now = size.and_then(|_| self::size());
        if now.is_some() && now != size {
            size = now;
            let bytes = Base64Bytes(Vec::new());
            ask(line, EnvironmentRequest::Type { bytes, is_end: false, terminal: now }, HEARD).await?;
        }
    }
}

fn write(mut to: impl Write, bytes: &[u8], is_cleaned: bool) -> std::io::Result<()> {
    match is_cleaned {
        true => {
            let text = String::from_utf8_lossy(bytes);
            // The limit is the text's own length, so nothing is cut.
            to.write_all(without_controls(&text, text.len()).as_bytes())?;
        }
        false => to.write_all(bytes)?,
    }
    to.flush()
}

/// Forwards the input; returns only when the line ends.
async fn forward_input(line: &Line, mut typed: Receiver<Vec<u8>>) -> LineError {
    loop {
        let part = typed.recv().await;
        let is_end = part.is_none();
        let bytes = Base64Bytes(part.unwrap_or_default());
        if let Err(e) = ask(line, EnvironmentRequest::Type { bytes, is_end, terminal: None }, TYPED).await {
            return e;
        }
        if is_end {
            return std::future::pending().await;
        }
    }
}

/// Reads standard input in a thread. The thread may still wait for input when nobody listens any more, and ends with
/// the process.
fn typed() -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel(WAITING);
    std::thread::spawn(move || {
        let mut part = vec![0; PART];
        loop {
            match std::io::stdin().lock().read(&mut part) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(part.get(..count).unwrap_or_default().to_vec()).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// Returns the size of the terminal on standard output.
fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// A terminal in raw mode, which is restored when the value is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Raw {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(mut raw) = before.clone() {
            raw.make_raw();
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &raw);
        }
        Raw(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_command_a_shell_is_started() {
        let command = ["uname".to_owned(), "-r".to_owned()];
        for is_on_a_terminal in [false, true] {
            assert_eq!(argv(&command, is_on_a_terminal), command);
        }
        assert_eq!(argv(&[], true), ["/bin/sh", "-i"]);
        assert_eq!(argv(&[], false), ["/bin/sh", "-s"], "it reads its commands");
        assert_eq!(variables(false).get("TERM"), None);
    }

    #[test]
    fn output_on_a_terminal_has_no_control_characters() {
        let printed = |is_cleaned: bool| {
            let mut out = Vec::new();
            write(&mut out, b"a\x1b[2Jb\n", is_cleaned).unwrap();
            out
        };
        assert_eq!(printed(true), b"ab\n");
        assert_eq!(printed(false), b"a\x1b[2Jb\n");
    }

    #[test]
    fn long_output_on_a_terminal_is_written_whole() {
        let (long, mut out) = ("a line\n".repeat(20_000), Vec::new());
        write(&mut out, long.as_bytes(), true).unwrap();
        assert!(out == long.as_bytes(), "{} of {} bytes", out.len(), long.len());
    }
}
