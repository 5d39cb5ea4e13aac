//! A hybrid vsock: a guest's vsock as a Unix socket of its VMM's. No vhost driver of the host's has a part in it.
//!
//! Who dials the guest connects to the socket and names the port in a line; the VMM answers with `OK` and a number. Whom the
//! guest dials at port P of its host listens at the same path with `_P` behind it.

use model::profile::Runtime;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Bytes of a VMM's answer: `OK 1073741824`.
const MAX_LINE: usize = 64;
/// How long an answer is waited for between two looks at what else there is to see.
const LOOK: Duration = Duration::from_millis(200);

/// How a runtime asks for a port: `HybridVSockDialer` in
/// src/runtime/virtcontainers/pkg/agent/protocols/client/client.go@3.32.0, `connect_helper` in
/// src/runtime-rs/crates/agent/src/sock/hybrid_vsock.rs@4.1.0.
pub fn request(runtime: Runtime, port: u32) -> String {
    match runtime {
        Runtime::Go => format!("CONNECT {port}\n"),
        Runtime::Rs => format!("connect {port}\n"),
    }
}

/// A connection to a port of the guest's. While the VMM says nothing, `goes_on` is asked now and then whether to wait on.
///
/// It is dialled once and waited for, and not again and again: a line that was given up may still reach the guest, whose
/// agent takes the first that comes.
///
/// # Errors
/// When the VMM does not listen, hangs up (nobody in the guest listens) or answers something else, or is waited for no more.
pub fn dial(socket: &Path, runtime: Runtime, port: u32, mut goes_on: impl FnMut() -> bool) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.write_all(request(runtime, port).as_bytes())?;
    // Byte by byte: what comes behind the line is the guest's.
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
    // Both runtimes look no closer.
    if !line.contains("OK") {
        return Err(io::Error::other(format!("instead of OK the VMM said {line:?}")));
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// Whether nothing came within the time that a read has.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Listens where the guest's connections to a port of its host arrive.
///
/// # Errors
/// What the system says.
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
            let mut heard = [0; 32];
            let count = stream.read(&mut heard).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8(heard[..count].to_vec()).unwrap()
        });
        let stream = dial(&socket, Runtime::Rs, 1024, || true);
        (stream, vmm.join().unwrap())
    }

    #[test]
    fn what_comes_behind_the_line_is_the_guests() {
        let (stream, heard) = dialled(b"OK 1073741824\nhello");
        assert_eq!(heard, "connect 1024\n");
        let mut said = String::new();
        stream.unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
        assert_eq!(request(Runtime::Go, 1024), "CONNECT 1024\n");
    }

    #[test]
    fn a_vmm_that_hangs_up_or_says_something_else_is_told() {
        let said = |answer: &'static [u8]| dialled(answer).0.unwrap_err().to_string();
        assert!(said(b"").contains("hung up"));
        assert!(said(b"NO\n").contains("\"NO\\n\""));
        assert!(said(&[b'x'; 200]).contains("xxx"));
    }

    #[test]
    fn a_vmm_that_says_nothing_is_waited_for_as_long_as_the_caller_wants() {
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
    fn the_host_listens_beside_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("vsock");
        let _listener = listen(&socket, 1025).unwrap();
        assert!(dir.path().join("vsock_1025").exists());
    }
}
