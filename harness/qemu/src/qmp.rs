//! A small synchronous QMP client: one connection, one command at a time, a deadline for each command, a transcript of
//! everything.

mod transcript;

pub use transcript::{Direction, Transcript, TranscriptLine};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Maximum length of a line. `query-qmp-schema` of QEMU 11 has about 0.3 MB, and a guest has no influence on any line.
const MAX_LINE: usize = 8 << 20;
/// Maximum number of events that are kept; the oldest are dropped first.
const MAX_EVENTS: usize = 1024;

/// A byte stream whose reads and writes can be given a limit.
pub trait Stream: Read + Write {
    /// Makes reads and writes fail with `WouldBlock` or `TimedOut` when they take longer.
    ///
    /// # Errors
    /// When the stream does not take the limit.
    fn limit(&mut self, limit: Duration) -> std::io::Result<()>;

    /// Writes all bytes; the descriptor, if there is one, is sent with the first byte.
    ///
    /// # Errors
    /// When not all could be written, or the stream hands over no descriptors.
    fn send(&mut self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> std::io::Result<()>;
}

impl Stream for UnixStream {
    fn limit(&mut self, limit: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }

    fn send(&mut self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
        let Some(fd) = fd else { return self.write_all(bytes) };
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let sent = sendmsg(&*self, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        self.write_all(&bytes[sent..])
    }
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// No message arrived in time.
    #[error("no answer to {doing} within {waited:?}")]
    Timeout {
        /// The command, or `the greeting`.
        doing: String,
        /// Time that was waited.
        waited: Duration,
    },
    /// QEMU closed the connection: it ended or was killed.
    #[error("the QMP connection was closed during {doing}")]
    Closed {
        /// The command, or `the greeting`.
        doing: String,
    },
    /// Any other failure of the connection.
    #[error("the QMP connection failed during {doing}")]
    Io {
        /// The command, or `the greeting`.
        doing: String,
        /// The I/O error.
        #[source]
        source: std::io::Error,
    },
    /// The message is not QMP.
    #[error("expected {expected} during {doing}, got {got}")]
    Protocol {
        /// The command, or `the greeting`.
        doing: String,
        /// The expected message.
        expected: &'static str,
        /// The beginning of the received message.
        got: String,
    },
    /// QEMU refused the command.
    #[error("{command} was refused ({class}): {description}")]
    Command {
        /// The command.
        command: String,
        /// QEMU's error class: `GenericError`, `CommandNotFound`.
        class: String,
        /// QEMU's own error text.
        description: String,
    },
}

/// A negotiated QMP connection.
///
/// After any error but [`QmpError::Command`] the answer may still arrive, so the connection refuses further commands.
#[derive(Debug)]
pub struct Qmp<S: Stream> {
    stream: S,
    deadline: Duration,
    buffer: Vec<u8>,
    next_id: u64,
    version: Value,
    events: VecDeque<Value>,
    transcript: Transcript,
    broken: bool,
}

impl<S: Stream> Qmp<S> {
    /// Reads the greeting and negotiates capabilities. `deadline` applies to the greeting and to every command.
    ///
    /// # Errors
    /// When QEMU does not greet or negotiate in time.
    pub fn connect(stream: S, deadline: Duration) -> Result<Qmp<S>, QmpError> {
        let mut qmp = Qmp {
            stream,
            deadline,
            buffer: Vec::new(),
            next_id: 0,
            version: Value::Null,
            events: VecDeque::new(),
            transcript: Transcript::default(),
            broken: false,
        };
        let greeting = qmp.read_message("the greeting", Instant::now(), deadline)?;
        match greeting.pointer("/QMP/version") {
            Some(version) => qmp.version = version.clone(),
            None => return Err(unexpected("the greeting", "a greeting", &greeting)),
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Returns QEMU's version from the greeting: `{"qemu": {"major": …}, "package": …}`.
    pub fn version(&self) -> &Value {
        &self.version
    }

    /// Runs a command and returns its result. `arguments` is an object, or null for none.
    ///
    /// # Errors
    /// When QEMU refuses it, does not answer in time, or the connection is gone.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        self.run(command, arguments, None)
    }

    /// Runs a command that takes a descriptor: `add-fd`, `getfd`.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn execute_with(&mut self, command: &str, arguments: Value, fd: BorrowedFd<'_>) -> Result<Value, QmpError> {
        self.run(command, arguments, Some(fd))
    }

    fn run(&mut self, command: &str, arguments: Value, fd: Option<BorrowedFd<'_>>) -> Result<Value, QmpError> {
        if self.broken {
            return Err(QmpError::Closed { doing: command.to_owned() });
        }
        let result = self.exchange(command, arguments, fd);
        self.broken = !matches!(result, Ok(_) | Err(QmpError::Command { .. }));
        result
    }

    /// Waits for an event with this name and takes it; earlier events are kept.
    ///
    /// # Errors
    /// When it does not come in time, or the connection is gone.
    pub fn wait_event(&mut self, name: &str, deadline: Duration) -> Result<Value, QmpError> {
        let started = Instant::now();
        loop {
            if let Some(at) = self.events.iter().position(|event| event["event"] == name)
                && let Some(event) = self.events.remove(at)
            {
                return Ok(event);
            }
            let message = self.read_message(&format!("waiting for {name}"), started, deadline)?;
            self.keep_event(message);
        }
    }

    /// Returns the bounded transcript of the connection.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    fn exchange(&mut self, command: &str, arguments: Value, fd: Option<BorrowedFd<'_>>) -> Result<Value, QmpError> {
        let started = Instant::now();
        self.next_id += 1;
        let id = self.next_id;
        let mut request = json!({ "execute": command, "id": id });
        if arguments.as_object().is_some_and(|a| !a.is_empty()) {
            request["arguments"] = arguments;
        }
        let line = request.to_string();
        self.transcript.push(Direction::Sent, line.as_bytes());
        let failed = |e| failure(command, self.deadline, e);
        self.stream.limit(self.deadline).map_err(failed)?;
        self.stream.send(format!("{line}\n").as_bytes(), fd).map_err(failed)?;
        loop {
            let mut message = self.read_message(command, started, self.deadline)?;
            if message.get("event").is_some() {
                self.keep_event(message);
                continue;
            }
            // QEMU names no id when it could not parse the request.
            if message.get("id").is_some_and(|got| *got != json!(id)) {
                return Err(unexpected(command, "an answer with the command's id", &message));
            }
            if let Some(error) = message.get("error") {
                let text = |key| error[key].as_str().unwrap_or_default().to_owned();
                let (class, description) = (text("class"), text("desc"));
                return Err(QmpError::Command { command: command.to_owned(), class, description });
            }
            return match message.get_mut("return") {
                Some(value) => Ok(value.take()),
                None => Err(unexpected(command, "an answer", &message)),
            };
        }
    }

    fn keep_event(&mut self, message: Value) {
        if message.get("event").is_some() {
            if self.events.len() == MAX_EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(message);
        }
    }

    /// Reads and parses the next line. The deadline counts from the start of the command, which may be several messages
    /// ago.
    fn read_message(&mut self, doing: &str, started: Instant, deadline: Duration) -> Result<Value, QmpError> {
        // The buffer was searched for a line end up to here.
        let mut seen = 0;
        loop {
            if let Some(end) = self.buffer[seen..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=seen + end).collect();
                let line = line.trim_ascii();
                seen = 0;
                if line.is_empty() {
                    continue;
                }
                self.transcript.push(Direction::Received, line);
                return serde_json::from_slice(line).map_err(|_| QmpError::Protocol {
                    doing: doing.to_owned(),
                    expected: "JSON",
                    got: beginning(&String::from_utf8_lossy(line)),
                });
            }
            seen = self.buffer.len();
            if seen > MAX_LINE {
                return Err(QmpError::Protocol {
                    doing: doing.to_owned(),
                    expected: "a line of at most 8 MiB",
                    got: beginning(&String::from_utf8_lossy(&self.buffer[..256])),
                });
            }
            let waited = started.elapsed();
            let remaining = deadline.saturating_sub(waited);
            if remaining.is_zero() {
                return Err(QmpError::Timeout { doing: doing.to_owned(), waited });
            }
            let mut chunk = [0; 16 << 10];
            self.stream.limit(remaining).map_err(|e| failure(doing, waited, e))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    return Err(QmpError::Closed { doing: doing.to_owned() });
                }
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(failure(doing, started.elapsed(), e)),
            }
        }
    }
}

fn failure(doing: &str, waited: Duration, source: std::io::Error) -> QmpError {
    let doing = doing.to_owned();
    match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => QmpError::Timeout { doing, waited },
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => QmpError::Closed { doing },
        _ => QmpError::Io { doing, source },
    }
}

fn unexpected(doing: &str, expected: &'static str, got: &Value) -> QmpError {
    QmpError::Protocol { doing: doing.to_owned(), expected, got: beginning(&got.to_string()) }
}

/// Returns the first 200 characters, without control characters.
fn beginning(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
