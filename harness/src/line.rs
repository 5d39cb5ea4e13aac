//! The harness's end of a line to an environment's agent.

use futures_util::{Stream, StreamExt as _};
use model::sync::locked;
use protocol::frame::Decoder;
use protocol::message::{self, EnvironmentReply, EnvironmentRequest, Message, NumberedRequest, VERSION};
use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// An agent that has sent nothing, not even a heartbeat, for this long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Interval at which a pending request checks whether anything arrives at all.
const LOOK: Duration = Duration::from_millis(500);
/// Number of messages that may wait to be written; a sender of one more waits, too.
const QUEUE: usize = 64;

/// Reason why an environment's agent did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LineError {
    /// The line ended.
    #[error("talking to the environment's agent: the connection was closed: {0}")]
    Ended(String),
    /// The deadline passed.
    #[error("talking to the environment's agent: no answer within {0:?}")]
    Late(Duration),
    /// The agent has become silent.
    #[error("talking to the environment's agent: no heartbeat for {} s", .0.as_secs())]
    Silent(Duration),
    /// The agent speaks another version of the protocol.
    #[error("talking to the environment's agent: it uses protocol version {0}, expected {VERSION}")]
    Version(u32),
    /// The request does not fit a frame.
    #[error("asking the environment's agent: {0}")]
    Unsent(String),
    /// The answer does not match the request.
    #[error("talking to the environment's agent: unexpected answer {0}")]
    Unexpected(String),
}

/// Output of the agent.
pub enum AgentOutput {
    /// Bytes of its standard output: frames.
    Frames(Vec<u8>),
    /// Bytes of its standard error: text for people.
    Words(Vec<u8>),
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<EnvironmentReply>>>>;

/// A line to an agent; clones share it.
#[derive(Clone)]
pub struct Line {
    next: Arc<AtomicU64>,
    pending: Pending,
    outgoing: mpsc::Sender<Vec<u8>>,
    close: Arc<Notify>,
    heard: Arc<Mutex<Instant>>,
    lost_after: Arc<OnceLock<Duration>>,
    ended: watch::Receiver<Option<String>>,
}

impl Line {
    /// Takes over both directions and waits for the agent's hello.
    pub async fn open(
        mut output: impl Stream<Item = io::Result<AgentOutput>> + Send + Unpin + 'static,
        mut input: impl AsyncWrite + Send + Unpin + 'static,
        deadline: Duration,
    ) -> Result<Line, LineError> {
        let (outgoing, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (say_ended, ended) = watch::channel(None);
        let (say_hello, hello) = oneshot::channel();
        let pending: Pending = Arc::default();
        let heard = Arc::new(Mutex::new(Instant::now()));
        let close = Arc::new(Notify::new());
        let closed = Arc::clone(&close);
        tokio::spawn(async move {
            let write = async {
                while let Some(bytes) = queue.recv().await {
                    if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
                        return;
                    }
                }
            };
            // Closing also ends a blocked write, because an agent may never read.
            tokio::select! {
                () = write => {}
                () = closed.notified() => {}
            }
        });
        let (waiting, last) = (Arc::clone(&pending), Arc::clone(&heard));
        tokio::spawn(async move {
            let mut decoder = Decoder::default();
            let mut say_hello = Some(say_hello);
            let mut words = String::new();
            while let Some(item) = output.next().await {
                match item {
                    Ok(AgentOutput::Frames(bytes)) => decoder.push(&bytes),
                    Ok(AgentOutput::Words(bytes)) => {
                        words.push_str(&String::from_utf8_lossy(&bytes));
                        let excess = words.len().saturating_sub(2000);
                        let cut = (excess..=words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(0);
                        words.drain(..cut);
                    }
                    Err(e) => {
                        words.push_str(&e.to_string());
                        break;
                    }
                }
                while let Some(payload) = decoder.next_payload() {
                    *locked(&last) = Instant::now();
                    match serde_json::from_slice(&payload) {
                        Ok(Message::Hello { version, .. }) => {
                            if let Some(sender) = say_hello.take() {
                                let _ = sender.send(version);
                            }
                        }
                        Ok(Message::Reply { id, reply }) => {
                            if let Some(asker) = locked(&waiting).remove(&id) {
                                let _ = asker.send(reply);
                            }
                        }
                        Ok(Message::<EnvironmentReply>::Heartbeat) | Err(_) => {}
                    }
                }
            }
            let why = words.trim();
            let _ = say_ended.send(Some(if why.is_empty() { "it closed".to_owned() } else { why.to_owned() }));
            locked(&waiting).clear();
        });
        let line = Line {
            next: Arc::new(AtomicU64::new(1)),
            pending,
            outgoing,
            close,
            heard,
            lost_after: Arc::default(),
            ended,
        };
        match tokio::time::timeout(deadline, hello).await {
            Err(_) => Err(LineError::Late(deadline)),
            Ok(Err(_)) => Err(LineError::Ended(line.why_ended())),
            Ok(Ok(VERSION)) => Ok(line),
            Ok(Ok(other)) => Err(LineError::Version(other)),
        }
    }

    /// Closes the harness's direction of the line, even if it is still shared.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Sends a request and waits for the answer, as long as the agent shows signs of life; sending counts towards the
    /// deadline.
    pub async fn ask(&self, request: EnvironmentRequest, deadline: Duration) -> Result<EnvironmentReply, LineError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = message::encode(&NumberedRequest { id, request }).map_err(|e| LineError::Unsent(e.to_string()))?;
        let (answer, wait) = oneshot::channel();
        locked(&self.pending).insert(id, answer);
        let reply = self.exchange(bytes, wait, deadline).await;
        if reply.is_err() {
            locked(&self.pending).remove(&id);
        }
        reply
    }

    async fn exchange(
        &self,
        bytes: Vec<u8>,
        wait: oneshot::Receiver<EnvironmentReply>,
        deadline: Duration,
    ) -> Result<EnvironmentReply, LineError> {
        let end = Instant::now() + deadline;
        let mut exchange = pin!(async {
            if self.ended.borrow().is_some() || self.outgoing.send(bytes).await.is_err() {
                return Err(LineError::Ended(self.why_ended()));
            }
            wait.await.map_err(|_| LineError::Ended(self.why_ended()))
        });
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            if let Ok(reply) = tokio::time::timeout(LOOK.min(remaining), &mut exchange).await {
                return reply;
            }
            if let Some(silent) = self.silent() {
                return Err(LineError::Silent(silent));
            }
            if Instant::now() >= end {
                return Err(LineError::Late(deadline));
            }
        }
    }

    /// Returns how long the agent had been silent when it began to count as gone. It stays gone even if it is heard
    /// again, because callers have already been told.
    pub fn silent(&self) -> Option<Duration> {
        if self.lost_after.get().is_none() {
            let silent = locked(&self.heard).elapsed();
            if silent > SILENCE {
                return Some(*self.lost_after.get_or_init(|| silent));
            }
        }
        self.lost_after.get().copied()
    }

    fn why_ended(&self) -> String {
        self.ended.borrow().clone().unwrap_or_else(|| "unknown reason".to_owned())
    }
}

/// Sends a request with a deadline in seconds.
///
/// # Errors
/// Those of [`Line::ask`].
pub async fn ask(line: &Line, request: EnvironmentRequest, seconds: u64) -> Result<EnvironmentReply, LineError> {
    line.ask(request, Duration::from_secs(seconds)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use protocol::message::Base64Bytes;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio_util::io::ReaderStream;

    /// More bytes than fit into the buffers on the way to an agent.
    const LARGE: usize = 64 << 10;

    /// Returns a line to an agent that has said hello and reads nothing, and the agent's two ends of the line.
    async fn line_to_an_agent_that_does_not_read() -> (Line, DuplexStream, DuplexStream) {
        let (from_agent, mut agent_writer) = duplex(1024);
        let (to_agent, agent_reader) = duplex(1024);
        let hello = Message::<EnvironmentReply>::Hello { version: VERSION, role: "test".to_owned() };
        agent_writer.write_all(&message::encode(&hello).unwrap()).await.unwrap();
        let from_agent =
            ReaderStream::new(from_agent).map(|read| read.map(|bytes| AgentOutput::Frames(bytes.to_vec())));
        let line = Line::open(Box::pin(from_agent), to_agent, Duration::from_secs(20)).await.unwrap();
        (line, agent_writer, agent_reader)
    }

    fn large() -> EnvironmentRequest {
        EnvironmentRequest::PutFile {
            path: "/file".to_owned(),
            mode: 0o644,
            offset: 0,
            bytes: Base64Bytes(vec![0; LARGE]),
        }
    }

    #[test]
    fn silence_is_reported_in_whole_seconds() {
        let message = LineError::Silent(Duration::from_millis(30_199)).to_string();
        assert!(message.ends_with("no heartbeat for 30 s"), "{message}");
    }

    #[tokio::test]
    async fn an_agent_that_was_silent_for_too_long_remains_lost() {
        let (line, _agent_writer, _unread) = line_to_an_agent_that_does_not_read().await;
        assert_eq!(line.silent(), None);
        *locked(&line.heard) = Instant::now().checked_sub(SILENCE + LOOK).unwrap();
        let reply = line.ask(large(), Duration::from_secs(20)).await;
        assert!(matches!(reply, Err(LineError::Silent(_))), "{reply:?}");
        *locked(&line.heard) = Instant::now();
        assert!(line.silent().is_some(), "the caller was told that it is gone");
    }

    #[tokio::test]
    async fn requests_to_an_agent_that_does_not_read_time_out() {
        let (line, _agent_writer, _unread) = line_to_an_agent_that_does_not_read().await;
        let requests = (0..QUEUE + 8).map(|_| line.ask(large(), Duration::from_millis(200)));
        let answers = tokio::time::timeout(Duration::from_secs(20), join_all(requests)).await.expect("deadlines hold");
        assert!(answers.iter().all(|answer| matches!(answer, Err(LineError::Late(_)))), "{answers:?}");
        assert!(locked(&line.pending).is_empty());
    }

    #[tokio::test]
    async fn closing_a_line_ends_a_write_in_progress() {
        let (line, _agent_writer, mut unread) = line_to_an_agent_that_does_not_read().await;
        line.ask(large(), Duration::from_millis(50)).await.unwrap_err();
        line.close();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), unread.read_to_end(&mut rest)).await;
        end.expect("the line ends").unwrap();
        assert!(rest.len() < LARGE, "all of it was written: {} bytes", rest.len());
    }
}
