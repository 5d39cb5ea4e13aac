//! Probe for a Docker engine, at the address that the harness would use.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Tests would have to wait for a slower engine, too, so it counts as missing.
const DEADLINE: Duration = Duration::from_secs(5);

/// Returns the address of the engine.
pub(crate) fn address() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// Returns the socket's path if the address is a socket on this machine.
pub(crate) fn socket(address: &str) -> Option<PathBuf> {
    address.strip_prefix("unix://").map(PathBuf::from)
}

/// Checks whether an engine answers within the deadline.
pub(crate) fn answers(address: String) -> bool {
    let (sender, receiver) = mpsc::channel();
    // Connecting has no deadline; a thread that still waits ends with the build script.
    thread::spawn(move || sender.send(ping(&address).unwrap_or(false)));
    receiver.recv_timeout(DEADLINE).unwrap_or(false)
}

fn ping(address: &str) -> io::Result<bool> {
    if let Some(path) = socket(address) {
        return ask(UnixStream::connect(path)?);
    }
    let host = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("http://"));
    match host {
        Some(host) => ask(TcpStream::connect(host.trim_end_matches('/'))?),
        None => Ok(false),
    }
}

fn ask(mut stream: impl Read + Write) -> io::Result<bool> {
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(start.starts_with(b"HTTP/1.") && start.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Starts a server that sends `response` to the first client and does not hang up; returns its address.
    fn server(response: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            thread::sleep(Duration::from_secs(60));
        });
        address
    }

    #[test]
    fn an_engine_counts_only_if_it_answers_ok() {
        assert!(answers(server("HTTP/1.1 200 OK\r\n\r\nOK")));
        assert!(!answers(server("HTTP/1.1 500 Internal Server Error\r\n\r\n")));
        assert!(!answers(server("")), "it says nothing, and is not waited for");
        for address in ["unix:///no/such/socket", "ssh://engine.example", "", "tcp://"] {
            assert!(!answers(address.to_owned()), "{address}");
        }
    }
}
