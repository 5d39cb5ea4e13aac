//! The requesting side of a connection to a guest's agent: blocking, with deadlines.

use crate::frame::{self, Decoder};
use crate::message::{self, EncodeError, Message, NumberedRequest, VERSION};
use model::sync::{locked, waited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Reasons why no reply came.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The line ended.
    #[error("hearing from the guest's agent: the line ended")]
    Ended,
    /// The deadline passed.
    #[error("hearing from the guest's agent: no reply within {0:?}")]
    Late(Duration),
    /// The agent speaks another version of the protocol.
    #[error("talking to the guest's agent: it speaks protocol version {0}, this is {VERSION}")]
    Version(u32),
    /// The request does not fit a frame.
    #[error("asking the guest's agent: {0}")]
    Encode(EncodeError),
    /// The request could not be written.
    #[error("asking the guest's agent: {0}")]
    Write(std::io::Error),
}

struct InboxContents<R> {
    hello: Option<u32>,
    heard: Instant,
    replies: BTreeMap<u64, R>,
    ended: bool,
}

/// State shared by the listening thread and the waiting threads.
struct Inbox<R> {
    state: Mutex<InboxContents<R>>,
    changed: Condvar,
}

/// A connection to an agent.
pub struct Client<R> {
    inbox: Arc<Inbox<R>>,
    output: Mutex<UnixStream>,
    next: AtomicU64,
}

impl<R: DeserializeOwned + Send + 'static> Client<R> {
    /// Takes over a connected socket and starts to listen.
    pub fn new(stream: UnixStream) -> std::io::Result<Client<R>> {
        let mut input = stream.try_clone()?;
        let state = InboxContents { hello: None, heard: Instant::now(), replies: BTreeMap::new(), ended: false };
        let inbox = Arc::new(Inbox { state: Mutex::new(state), changed: Condvar::new() });
        let listener = Arc::clone(&inbox);
        std::thread::spawn(move || {
            let mut decoder = Decoder::default();
            while let Ok(Some(payload)) = frame::read(&mut input, &mut decoder) {
                // A payload that does not parse is ignored, like foreign bytes between frames.
                let message = serde_json::from_slice::<Message<R>>(&payload);
                let mut state = locked(&listener.state);
                state.heard = Instant::now();
                match message {
                    Ok(Message::Hello { version, .. }) => state.hello = Some(version),
                    Ok(Message::Reply { id, reply }) => drop(state.replies.insert(id, reply)),
                    Ok(Message::Heartbeat) | Err(_) => {}
                }
                drop(state);
                listener.changed.notify_all();
            }
            locked(&listener.state).ended = true;
            listener.changed.notify_all();
        });
        Ok(Client { inbox, output: Mutex::new(stream), next: AtomicU64::new(1) })
    }

    /// Waits for the agent's hello while `alive` returns true.
    pub fn wait_for_hello(&self, deadline: Duration, alive: impl FnMut() -> bool) -> Result<(), ClientError> {
        match self.wait(deadline, alive, |state| state.hello)? {
            VERSION => Ok(()),
            other => Err(ClientError::Version(other)),
        }
    }

    /// Sends a request and waits for its reply while `alive` returns true.
    pub fn ask<Q: Serialize>(
        &self,
        request: Q,
        deadline: Duration,
        alive: impl FnMut() -> bool,
    ) -> Result<R, ClientError> {
        let id = self.send(request)?;
        self.wait(deadline, alive, |state| state.replies.remove(&id))
    }

    /// Sends a request after which another agent takes this agent's place on the line, and waits for the hello of the
    /// new agent. A reply means that the request was not carried out.
    ///
    /// # Errors
    /// As for [`Client::ask`], and when the new agent speaks another version.
    pub fn ask_for_another<Q: Serialize>(
        &self,
        request: Q,
        deadline: Duration,
        alive: impl FnMut() -> bool,
    ) -> Result<Option<R>, ClientError> {
        locked(&self.inbox.state).hello = None;
        let id = self.send(request)?;
        let came = self.wait(deadline, alive, |state| match state.replies.remove(&id) {
            Some(reply) => Some(Ok(reply)),
            None => state.hello.map(Err),
        })?;
        match came {
            Ok(reply) => Ok(Some(reply)),
            Err(VERSION) => Ok(None),
            Err(other) => Err(ClientError::Version(other)),
        }
    }

    /// Sends without waiting for a reply.
    pub fn send<Q: Serialize>(&self, request: Q) -> Result<u64, ClientError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = message::encode(&NumberedRequest { id, request }).map_err(ClientError::Encode)?;
        locked(&self.output).write_all(&bytes).map_err(ClientError::Write)?;
        Ok(id)
    }

    /// Returns the time since anything was received.
    pub fn silent_for(&self) -> Duration {
        locked(&self.inbox.state).heard.elapsed()
    }

    /// Returns whether the other side has closed the connection.
    pub fn ended(&self) -> bool {
        locked(&self.inbox.state).ended
    }

    /// Waits until `take` returns a value; `alive` is asked ten times a second.
    fn wait<T>(
        &self,
        deadline: Duration,
        mut alive: impl FnMut() -> bool,
        mut take: impl FnMut(&mut InboxContents<R>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let end = Instant::now() + deadline;
        let mut state = locked(&self.inbox.state);
        loop {
            if let Some(found) = take(&mut state) {
                return Ok(found);
            }
            if state.ended {
                return Err(ClientError::Ended);
            }
            if Instant::now() >= end {
                return Err(ClientError::Late(deadline));
            }
            drop(state);
            if !alive() {
                return Err(ClientError::Ended);
            }
            state = locked(&self.inbox.state);
            if let Some(found) = take(&mut state) {
                return Ok(found);
            }
            let wait = Duration::from_millis(100).min(end.saturating_duration_since(Instant::now()));
            state = waited(&self.inbox.changed, state, wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// Sends a request to a peer that then sends these messages, and returns the result.
    fn answered(messages: Vec<Message<String>>) -> Result<Option<String>, ClientError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let client = Client::<String>::new(ours).unwrap();
        let other = std::thread::spawn(move || {
            let mut request = [0; 64];
            assert!(theirs.read(&mut request).unwrap() > 0);
            for one in messages {
                theirs.write_all(&message::encode(&one).unwrap()).unwrap();
            }
            theirs
        });
        let result = client.ask_for_another("switch", Duration::from_secs(20), || true);
        drop(other.join());
        result
    }

    #[test]
    fn the_hello_is_awaited_unless_a_reply_comes_first() {
        let hello = |version| Message::Hello { version, role: "guest".to_owned() };
        assert!(matches!(answered(vec![Message::Heartbeat, hello(VERSION)]), Ok(None)));
        let reply = Message::Reply { id: 1, reply: "no".to_owned() };
        assert!(matches!(answered(vec![reply]), Ok(Some(reply)) if reply == "no"));
        assert!(matches!(answered(vec![hello(VERSION + 1)]), Err(ClientError::Version(_))));
    }
}
