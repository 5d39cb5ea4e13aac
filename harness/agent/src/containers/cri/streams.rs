//! Streams of a process, and of a port: a WebSocket at the address that CRI returns.
//!
//! kubelet's streaming server, which is part of containerd, supports SPDY and WebSockets; with WebSockets every message
//! begins with its channel's number (`v4.channel.k8s.io`, in `pkg/cri/streaming/remotecommand/websocket.go` of
//! Kubernetes, and `portforward/websocket.go` next to it). That version cannot signal the end of the input, so the
//! program that reads the input counts bytes.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use suites::containers::ContainerOutput;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::http::Uri;
use tungstenite::http::uri::InvalidUri;
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

/// The subprotocol.
const PROTOCOL: &str = "v4.channel.k8s.io";
/// Time limit of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// Interval for checking the deadline.
const LOOK: Duration = Duration::from_millis(200);
/// Size of a message in bytes: the server's buffer is small.
const PIECE: usize = 16 << 10;
/// Limit of kept data per channel, in bytes.
const CAP: usize = 16 << 20;

/// The channels of a process.
pub(super) mod channel {
    /// Standard input.
    pub(in super::super) const INPUT: u8 = 0;
    /// Standard output.
    pub(in super::super) const OUTPUT: u8 = 1;
    /// Standard error.
    pub(in super::super) const ERRORS: u8 = 2;
    /// Result of the process, as a Kubernetes status.
    pub(in super::super) const END: u8 = 3;
    /// Size of the terminal, from the client.
    pub(in super::super) const SIZE: u8 = 4;
}

/// An open connection.
pub(super) struct Streams {
    socket: WebSocket<TcpStream>,
    /// Data received so far, by channel.
    came: [Vec<u8>; 4],
    closed: bool,
}

/// Reasons why a stream cannot be used, or does not report the end of its process.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamsError {
    /// The address is no HTTP address.
    #[error("{0} is no plain HTTP address")]
    NotHttp(String),
    /// The connection is refused.
    #[error("connecting to {host}: {source}")]
    Unreachable {
        /// The server.
        host: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The timeouts of the connection cannot be set.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The address is malformed.
    #[error("{url}: {source}")]
    BadAddress {
        /// The address.
        url: String,
        /// Reason.
        source: InvalidUri,
    },
    /// The server does not upgrade the connection to a WebSocket.
    #[error("upgrading {url}: {source}")]
    NotUpgraded {
        /// The address.
        url: String,
        /// Error of the handshake.
        source: Box<HandshakeError<ClientHandshake<TcpStream>>>,
    },
    /// The connection broke while something was sent.
    #[error("sending: {0}")]
    NotSent(Box<Error>),
    /// The connection broke while something was awaited.
    #[error("listening: {0}")]
    Broken(Box<Error>),
    /// The data on the end channel is no status.
    #[error("no status ({source}): {text}")]
    NoStatus {
        /// Reason.
        source: serde_json::Error,
        /// The data.
        text: String,
    },
    /// The status has no exit code.
    #[error("{0}")]
    NoExitCode(String),
}

impl Streams {
    /// Connects to an address from CRI, `http://127.0.0.1:40000/exec/TOKEN`.
    ///
    /// # Errors
    /// If the connection or the handshake fails.
    pub(super) fn connect(url: &str) -> Result<Streams, StreamsError> {
        let place = url.strip_prefix("http://").ok_or_else(|| StreamsError::NotHttp(url.to_owned()))?;
        let host = place.split('/').next().unwrap_or_default();
        let unreachable = |source| StreamsError::Unreachable { host: host.to_owned(), source };
        let stream = TcpStream::connect(host).map_err(unreachable)?;
        stream.set_read_timeout(Some(HANDSHAKE))?;
        stream.set_write_timeout(Some(HANDSHAKE))?;
        let bad_address = |source| StreamsError::BadAddress { url: url.to_owned(), source };
        let uri = format!("ws://{place}").parse::<Uri>().map_err(bad_address)?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(PROTOCOL);
        let not_upgraded = |e| StreamsError::NotUpgraded { url: url.to_owned(), source: Box::new(e) };
        let (socket, _) = tungstenite::client(request, stream).map_err(not_upgraded)?;
        socket.get_ref().set_read_timeout(Some(LOOK))?;
        Ok(Streams { socket, came: Default::default(), closed: false })
    }

    /// Sends bytes on a channel.
    ///
    /// # Errors
    /// If the other side has closed.
    pub(super) fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), StreamsError> {
        for piece in bytes.chunks(PIECE) {
            let mut message = Vec::with_capacity(piece.len() + 1);
            message.push(channel);
            message.extend_from_slice(piece);
            self.socket.send(Message::binary(message)).map_err(|e| StreamsError::NotSent(Box::new(e)))?;
        }
        Ok(())
    }

    /// Listens until `enough` holds, the other side closes, or the deadline passes; returns whether `enough` held.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(super) fn listen(&mut self, until: Instant, enough: impl Fn(&Streams) -> bool) -> Result<bool, StreamsError> {
        while !enough(self) {
            if self.closed || Instant::now() >= until {
                return Ok(false);
            }
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.keep(&bytes),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.closed = true,
                Ok(_) => {}
                Err(Error::Io(e)) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(Error::Protocol(_)) => self.closed = true,
                Err(e) => return Err(StreamsError::Broken(Box::new(e))),
            }
        }
        Ok(true)
    }

    fn keep(&mut self, message: &[u8]) {
        if let Some((channel, bytes)) = message.split_first()
            && let Some(came) = self.came.get_mut(usize::from(*channel))
        {
            let room = CAP.saturating_sub(came.len()).min(bytes.len());
            came.extend_from_slice(&bytes[..room]);
        }
    }

    /// Returns whether the other side has closed.
    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }

    /// Returns the data received on a channel.
    pub(super) fn received(&self, channel: u8) -> &[u8] {
        self.came.get(usize::from(channel)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the process's exit code and output, once its end was reported.
    ///
    /// # Errors
    /// The server's message in place of an exit code.
    pub(super) fn output(&self) -> Result<ContainerOutput, StreamsError> {
        let code = exit_code(self.received(channel::END))?;
        let kept = |channel| self.received(channel).to_vec();
        Ok(ContainerOutput { code, stdout: kept(channel::OUTPUT), stderr: kept(channel::ERRORS) })
    }
}

/// Returns the exit code in a Kubernetes status.
fn exit_code(status: &[u8]) -> Result<i32, StreamsError> {
    let text = || String::from_utf8_lossy(status).into_owned();
    let no_status = |source| StreamsError::NoStatus { source, text: text() };
    let reply: serde_json::Value = serde_json::from_slice(status).map_err(no_status)?;
    if reply["status"] == "Success" {
        return Ok(0);
    }
    let causes = reply["details"]["causes"].as_array().cloned().unwrap_or_default();
    let code = causes.iter().find(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str());
    code.and_then(|code| code.parse().ok()).ok_or_else(|| StreamsError::NoExitCode(text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_an_exit_code_or_the_reason_why_not() {
        assert_eq!(exit_code(br#"{"metadata":{},"status":"Success"}"#).unwrap(), 0);
        let failure = br#"{"status":"Failure","reason":"NonZeroExitCode",
            "details":{"causes":[{"reason":"ExitCode","message":"42"}]}}"#;
        assert_eq!(exit_code(failure).unwrap(), 42);
        let refused = br#"{"status":"Failure","message":"container not running"}"#;
        let error = exit_code(refused).unwrap_err();
        assert!(matches!(&error, StreamsError::NoExitCode(text) if text.contains("container not running")), "{error}");
        let error = exit_code(b"").unwrap_err();
        assert!(
            matches!(error, StreamsError::NoStatus { .. }) && error.to_string().starts_with("no status ("),
            "{error}"
        );
    }

    #[test]
    fn an_address_that_is_not_http_is_refused() {
        let error = Streams::connect("https://x/exec/1").err().unwrap();
        assert!(matches!(error, StreamsError::NotHttp(_)), "{error}");
    }
}
