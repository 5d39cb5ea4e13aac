//! A registry for one image: the part of the distribution specification (1.0) that is needed for a pull.
//!
//! All versions of containerd use plain HTTP for a registry on the loopback without any configuration (`IsLocalhost` in
//! its `remotes/docker/registry.go`), some of them after a try with TLS.

use crate::containers::image::ContainerImage;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Name of the image in the registry.
const REPOSITORY: &str = "kata-qualify/probe";
/// Tag of the image.
const TAG: &str = "1";
/// Size limit of a request's head, in bytes.
const MAX_HEAD: u64 = 64 << 10;

/// A registry on a free port of the loopback; it ends when this value is dropped.
pub(super) struct Registry {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    /// Serves the image.
    ///
    /// # Errors
    /// If no port can be listened on.
    pub(super) fn start(image: ContainerImage) -> io::Result<Registry> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let must_end = Arc::clone(&ends);
        let image = Arc::new(image);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if must_end.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), image) = (stream, Arc::clone(&image)) else { continue };
                // A client that closes the connection early asks again.
                std::thread::spawn(move || drop(serve(&stream, &image)));
            }
        });
        Ok(Registry { address, ends, thread: Some(thread) })
    }

    /// Returns the image's name for a pull.
    pub(super) fn image(&self) -> String {
        format!("{}/{REPOSITORY}:{TAG}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the thread, which waits for a connection.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(5));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Answers one request, and closes.
fn serve(stream: &TcpStream, image: &ContainerImage) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut first = [0_u8];
    stream.peek(&mut first)?;
    if first[0].is_ascii_uppercase() {
        answer(stream, image)?
    } else {
        refuse(stream)?
    }
    // Closing a socket with unread data resets the connection, and the client may lose the answer.
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut io::Read::take(stream, MAX_HEAD), &mut io::sink()).map(drop)
}

/// Answers a client that begins with TLS in plain HTTP: later versions of containerd try TLS first on the loopback, and
/// fall back to plain HTTP after such an answer (`NewHTTPFallback` in its `remotes/docker/resolver.go`).
fn refuse(mut stream: &TcpStream) -> io::Result<()> {
    write!(stream, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    stream.flush()
}

fn answer(mut stream: &TcpStream, image: &ContainerImage) -> io::Result<()> {
    let mut head = BufReader::new(io::Read::take(stream, MAX_HEAD));
    let mut first = String::new();
    head.read_line(&mut first)?;
    // The request's headers do not affect the answer.
    let mut line = String::new();
    while head.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match found(path, image) {
        Some(Found { kind, digest, bytes }) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\n\
                 Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n",
                bytes.len()
            )?;
            if method != "HEAD" {
                stream.write_all(bytes)?;
            }
        }
        None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
    }
    stream.flush()
}

/// The content at a path.
struct Found<'a> {
    kind: &'static str,
    digest: String,
    bytes: &'a [u8],
}

fn found<'a>(path: &str, image: &'a ContainerImage) -> Option<Found<'a>> {
    let path = path.split('?').next().unwrap_or_default();
    let rest = path.strip_prefix("/v2/")?;
    if rest.is_empty() {
        return Some(Found { kind: "application/json", digest: String::new(), bytes: b"{}" });
    }
    let rest = rest.strip_prefix(REPOSITORY)?.strip_prefix('/')?;
    let (what, reference) = rest.split_once('/')?;
    match what {
        "manifests" => {
            let digest = image.manifest_digest();
            let same = reference == TAG || reference == digest;
            same.then_some(Found { kind: ContainerImage::MANIFEST, digest, bytes: &image.manifest })
        }
        "blobs" => {
            let bytes = image.blob(reference)?;
            Some(Found { kind: "application/octet-stream", digest: reference.to_owned(), bytes })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn manifest_and_blobs_are_found_by_name_and_digest() {
        let image = ContainerImage::of(b"the probe").unwrap();
        let digest = image.manifest_digest();
        let registry = Registry::start(image).unwrap();
        let get = |method: &str, path: &str| {
            let mut stream = TcpStream::connect(registry.address).unwrap();
            write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut text = Vec::new();
            stream.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        };
        assert!(get("GET", "/v2/").starts_with("HTTP/1.1 200"));
        let head = get("HEAD", "/v2/kata-qualify/probe/manifests/1");
        assert!(head.contains(&digest) && head.ends_with("\r\n\r\n"), "{head}");
        let manifest = get("GET", &format!("/v2/kata-qualify/probe/manifests/{digest}"));
        let body = manifest.split("\r\n\r\n").nth(1).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(body).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        assert!(get("GET", &format!("/v2/kata-qualify/probe/blobs/{layer}?x=y")).starts_with("HTTP/1.1 200"));
        for missing in ["/v2/other/manifests/1", "/v2/kata-qualify/probe/manifests/2", "/"] {
            assert!(get("GET", missing).starts_with("HTTP/1.1 404"), "{missing}");
        }
    }

    #[test]
    fn a_tls_client_is_answered_in_plain_http_at_once() {
        let registry = Registry::start(ContainerImage::of(b"the probe").unwrap()).unwrap();
        let mut stream = TcpStream::connect(registry.address).unwrap();
        // The beginning of a TLS handshake, without a newline.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        assert!(text.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&text));
    }
}
