//! The streams of a process, and of a port: a WebSocket at the address that CRI names.
//!
//! kubelet's streaming server, which containerd has in itself, takes SPDY and WebSockets; in the latter every message
//! begins with its channel's number (`v4.channel.k8s.io`, in `pkg/cri/streaming/remotecommand/websocket.go` of
//! Kubernetes, and `portforward/websocket.go` beside it). Its end of input cannot be told in that version: what reads
//! it counts.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use suites::containers::ContainerOutput;
use tungstenite::{ClientRequestBuilder, Error, Message, WebSocket};

/// The subprotocol.
const PROTOCOL: &str = "v4.channel.k8s.io";
/// How long the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// How often somebody looks at the clock.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of a message: the server's buffer is small.
const PIECE: usize = 16 << 10;
/// Bytes kept of a channel.
const CAP: usize = 16 << 20;

/// The channels of a process.
pub(super) mod channel {
    /// Standard input.
    pub(in super::super) const INPUT: u8 = 0;
    /// Standard output.
    pub(in super::super) const OUTPUT: u8 = 1;
    /// Standard error.
    pub(in super::super) const ERRORS: u8 = 2;
    /// How the process has ended, as a Kubernetes status.
    pub(in super::super) const END: u8 = 3;
    /// The size of the terminal, from the client.
    pub(in super::super) const SIZE: u8 = 4;
}

/// An open connection.
pub(super) struct Streams {
    socket: WebSocket<TcpStream>,
    /// What has come so far, by channel.
    came: [Vec<u8>; 4],
    closed: bool,
}

impl Streams {
    /// Connects to an address as CRI gives it, `http://127.0.0.1:40000/exec/TOKEN`.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn connect(url: &str) -> Result<Streams, String> {
        let place = url.strip_prefix("http://").ok_or_else(|| format!("{url} is no plain HTTP address"))?;
        let host = place.split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(host).map_err(|e| format!("connecting to {host}: {e}"))?;
        let timed = stream.set_read_timeout(Some(HANDSHAKE)).and_then(|()| stream.set_write_timeout(Some(HANDSHAKE)));
        timed.map_err(|e| e.to_string())?;
        let uri = format!("ws://{place}").parse::<tungstenite::http::Uri>().map_err(|e| format!("{url}: {e}"))?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(PROTOCOL);
        let (socket, _) = tungstenite::client(request, stream).map_err(|e| format!("upgrading {url}: {e}"))?;
        socket.get_ref().set_read_timeout(Some(LOOK)).map_err(|e| e.to_string())?;
        Ok(Streams { socket, came: Default::default(), closed: false })
    }

    /// Sends bytes on a channel.
    ///
    /// # Errors
    /// When the other side has closed.
    pub(super) fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), String> {
        for piece in bytes.chunks(PIECE) {
            let mut message = Vec::with_capacity(piece.len() + 1);
            message.push(channel);
            message.extend_from_slice(piece);
            self.socket.send(Message::binary(message)).map_err(|e| format!("sending: {e}"))?;
        }
        Ok(())
    }

    /// Listens until `enough` holds, the other side closes, or the time is over; whether it held.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) fn listen(&mut self, until: Instant, enough: impl Fn(&Streams) -> bool) -> Result<bool, String> {
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
                Err(e) => return Err(format!("listening: {e}")),
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

    /// Whether the other side has closed.
    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }

    /// What has come on a channel.
    pub(super) fn came(&self, channel: u8) -> &[u8] {
        self.came.get(usize::from(channel)).map(Vec::as_slice).unwrap_or_default()
    }

    /// How the process has ended, once that is told.
    ///
    /// # Errors
    /// What the server says instead of an exit code.
    pub(super) fn output(&self) -> Result<ContainerOutput, String> {
        let code = exit_code(self.came(channel::END))?;
        let kept = |channel| self.came(channel).to_vec();
        Ok(ContainerOutput { code, stdout: kept(channel::OUTPUT), stderr: kept(channel::ERRORS) })
    }
}

/// The exit code in a Kubernetes status.
fn exit_code(status: &[u8]) -> Result<i32, String> {
    let text = || String::from_utf8_lossy(status).into_owned();
    let said: serde_json::Value = serde_json::from_slice(status).map_err(|e| format!("no status ({e}): {}", text()))?;
    if said["status"] == "Success" {
        return Ok(0);
    }
    let causes = said["details"]["causes"].as_array().cloned().unwrap_or_default();
    let code = causes.iter().find(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str());
    code.and_then(|code| code.parse().ok()).ok_or_else(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_an_exit_code_or_why_there_is_none() {
        assert_eq!(exit_code(br#"{"metadata":{},"status":"Success"}"#), Ok(0));
        let failure = br#"{"status":"Failure","reason":"NonZeroExitCode",
            "details":{"causes":[{"reason":"ExitCode","message":"42"}]}}"#;
        assert_eq!(exit_code(failure), Ok(42));
        let refused = br#"{"status":"Failure","message":"container not running"}"#;
        assert!(exit_code(refused).unwrap_err().contains("container not running"));
        assert!(exit_code(b"").unwrap_err().starts_with("no status"));
    }

    #[test]
    fn an_address_that_is_none_is_told() {
        assert!(Streams::connect("https://x/exec/1").err().unwrap().contains("no plain HTTP"));
    }
}
