//! The agent's side of a line: hello, heartbeats, and a thread for each request.

use model::sync::locked;
use protocol::frame::{self, Decoder};
use protocol::message::{self, HEARTBEAT, Message, NumberedRequest, VERSION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Serves requests until the line ends; each request runs in a thread of its own, replies come as they are ready.
///
/// Malformed requests are dropped, so their sender gets no reply.
pub fn serve<Q, R>(
    mut input: impl Read,
    output: impl Write + Send + 'static,
    role: &str,
    handle: impl Fn(Q) -> R + Send + Sync + 'static,
) -> std::io::Result<()>
where
    Q: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    let output = Arc::new(Mutex::new(output));
    let ended = Arc::new(AtomicBool::new(false));
    send(&output, &Message::<R>::Hello { version: VERSION, role: role.to_owned() })?;
    // The thread is not joined: it may be blocked on a line that is no longer read.
    std::thread::spawn({
        let (output, ended) = (Arc::clone(&output), Arc::clone(&ended));
        move || {
            while !ended.load(Ordering::Relaxed) && send(&output, &Message::<R>::Heartbeat).is_ok() {
                std::thread::sleep(HEARTBEAT);
            }
        }
    });
    let handle = Arc::new(handle);
    let mut decoder = Decoder::default();
    let result = loop {
        match frame::read(&mut input, &mut decoder) {
            Ok(Some(payload)) => {
                let Ok(NumberedRequest { id, request }) = serde_json::from_slice::<NumberedRequest<Q>>(&payload) else {
                    continue;
                };
                let (handle, output) = (Arc::clone(&handle), Arc::clone(&output));
                std::thread::spawn(move || {
                    let reply = handle(request);
                    // The line may have ended meanwhile; then there is no receiver.
                    let _ = send(&output, &Message::Reply { id, reply });
                });
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    ended.store(true, Ordering::Relaxed);
    result
}

fn send<R: Serialize>(output: &Mutex<impl Write>, outgoing: &Message<R>) -> std::io::Result<()> {
    let bytes = message::encode(outgoing).map_err(std::io::Error::other)?;
    let mut output = locked(output);
    output.write_all(&bytes)?;
    output.flush()
}
