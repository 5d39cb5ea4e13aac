//! Hybrid vsock: the VMM offers a guest's vsock as a Unix socket, without a vhost driver on the host.
//!
//! To dial the guest, the host connects to the socket and names the port in one line; the VMM answers with `OK` and a
//! number. When the guest dials port P of its host, the VMM connects to the socket's path with `_P` appended.

use model::profile::Runtime;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Maximum bytes of a VMM's answer, e.g. `OK 1073741824`.
const MAX_LINE: usize = 64;
/// Read timeout while waiting for an answer; after each, `goes_on` is asked.
const LOOK: Duration = Duration::from_millis(200);

/// Returns the line with which a runtime asks for a port: `HybridVSockDialer` in
/// src/runtime/virtcontainers/pkg/agent/protocols/client/client.go@3.32.0, `connect_helper` in
/// src/runtime-rs/crates/agent/src/sock/hybrid_vsock.rs@4.1.0.
pub fn request(runtime: Runtime, port: u32) -> String {
    match runtime {
        Runtime::Go => format!("CONNECT {port}\n"),
        Runtime::Rs => format!("connect {port}\n"),
    }
}

/// Connects to a port of the guest. While the VMM is silent, `goes_on` is asked now and then whether to keep waiting.
///
/// Dials once and waits instead of dialling again: a connection that was given up may still reach the guest, whose
/// agent accepts the first one that arrives.
///
/// # Errors
/// When the VMM does not listen, hangs up (nothing listens in the guest), answers anything else, or `goes_on` ends the
/// waiting.
pub fn dial(socket: &Path, runtime: Runtime, port: u32, mut goes_on: impl FnMut() -> bool) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.write_all(request(runtime, port).as_bytes())?;
    // Read byte by byte, because everything after the line comes from the guest.
    let (mut line, mut byte): (Vec<u8>, [u8; 1]) = (Vec::new(), [0]);
    while line.last() != Some(&b'\n') {
        match stream.read(&mut byte) {
            Ok(1..) if line.len() < MAX_LINE => line.push(byte[0]),
            Ok(_) => {
                let seen = String::from_utf8_lossy(&line).into_owned();
                return Err(io::Error::other(format!("instead of OK the VMM said {seen:?} and hung up")));
            }
            Err(e) if is_silence(&e) && goes_on() => {}
            Err(e) if is_silence(&e) => return Err(io::Error::other("the VMM has not said OK")),
            Err(e) => return Err(e),
        }
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    // Both runtimes check no more than this.
    if !line.contains("OK") {
        return Err(io::Error::other(format!("instead of OK the VMM said {line:?}")));
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// Returns whether a read timed out without data.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Listens for the guest's connections to a port of its host.
///
/// # Errors
/// When the system cannot bind the socket.
pub fn listen(socket: &Path, port: u32) -> io::Result<UnixListener> {
    let mut path = socket.as_os_str().to_owned();
    path.push(format!("_{port}"));
    UnixListener::bind(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(answer: &'static [u8]) -> (io::Result<UnixStream>, String) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("vsock");
        let listener = UnixListener::bind(&socket).unwrap();
        let vmm = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = [0; 32];
            let count = stream.read(&mut received).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8(received[..count].to_vec()).unwrap()
        });
        let stream = dial(&socket, Runtime::Rs, 1024, || true);
        (stream, vmm.join().unwrap())
    }

    #[test]
    fn bytes_after_the_ok_line_come_from_the_guest() {
        let (stream, received) = dialled(b"OK 1073741824\nhello");
        assert_eq!(received, "connect 1024\n");
        let mut data = String::new();
        stream.unwrap().read_to_string(&mut data).unwrap();
        assert_eq!(data, "hello");
        assert_eq!(request(Runtime::Go, 1024), "CONNECT 1024\n");
    }

    #[test]
    fn a_vmm_that_hangs_up_or_does_not_reply_ok_is_reported() {
        let error = |answer: &'static [u8]| dialled(answer).0.unwrap_err().to_string();
        assert!(error(b"").contains("hung up"));
        assert!(error(b"NO\n").contains("\"NO\\n\""));
        assert!(error(&[b'x'; 200]).contains("xxx"));
    }

    #[test]
    fn a_silent_vmm_is_awaited_as_long_as_the_caller_wants() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("vsock");
        let _mute = UnixListener::bind(&socket).unwrap();
        let mut looks = 0;
        let dialled = dial(&socket, Runtime::Go, 1024, || {
            looks += 1;
            looks < 3
        });
        assert!(dialled.unwrap_err().to_string().contains("has not said OK"));
        assert_eq!(looks, 3);
    }

    #[test]
    fn the_host_listens_on_a_socket_named_by_the_port() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("vsock");
        let _listener = listen(&socket, 1025).unwrap();
        assert!(dir.path().join("vsock_1025").exists());
    }
}
