//! Requests over a Unix socket: the part of HTTP/1.1 that these APIs use.
//!
//! Both are served by micro_http, which answers with a status line, headers and a body of `Content-Length` bytes, and
//! does not use chunks. Answers are not trusted: their length is capped, and each read has a deadline.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Maximum bytes of an answer; `vm.info` has a few thousand.
const MAX_ANSWER: usize = 1 << 20;

/// A request to a VMM's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method: `PUT`.
    pub method: &'static str,
    /// The path: `/api/v1/vm.boot`.
    pub path: String,
    /// The JSON body.
    pub body: Option<Value>,
    /// The state that the VMM must report afterwards, if Kata's runtime checks it.
    pub then: Option<&'static str>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code: 204.
    pub status: u16,
    /// The body as text, with invalid UTF-8 replaced.
    pub body: String,
}

/// Reasons why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing listens, or the connection broke or fell silent.
    #[error("{request}: {source}")]
    Line {
        /// The request: `PUT /api/v1/vm.boot`.
        request: String,
        /// The system's error.
        source: io::Error,
    },
    /// The reply is no HTTP answer.
    #[error("{request}: the answer is no HTTP: {seen:?}")]
    Answer {
        /// The request.
        request: String,
        /// The beginning of the reply.
        seen: String,
    },
    /// The VMM refused the request.
    #[error("{request}: {} {}", .answer.status, .answer.body)]
    Refused {
        /// The request.
        request: String,
        /// The VMM's answer.
        answer: Response,
    },
}

impl Request {
    /// Creates a request that changes nothing.
    pub fn get(path: &str) -> Request {
        Request { method: "GET", path: path.to_owned(), body: None, then: None }
    }

    /// Creates a request that changes the machine.
    pub fn put(path: &str, body: Option<Value>) -> Request {
        Request { method: "PUT", path: path.to_owned(), body, then: None }
    }

    /// Adds the state that the VMM must report after the request.
    #[must_use]
    pub fn then(self, state: &'static str) -> Request {
        Request { then: Some(state), ..self }
    }

    /// Returns the method and the path: `PUT /api/v1/vm.boot`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Sends the request on its own connection and waits for the answer.
    ///
    /// # Errors
    /// When no answer arrives by the deadline, or its status is not 200 to 299.
    pub fn send(&self, socket: &Path, within: Duration) -> Result<Response, HttpError> {
        let line = |source| HttpError::Line { request: self.name(), source };
        let end = Instant::now() + within;
        let mut stream = UnixStream::connect(socket).map_err(line)?;
        stream.set_write_timeout(Some(within)).map_err(line)?;
        stream.write_all(&self.bytes()).map_err(line)?;
        let answer = self.answer(&mut stream, |stream| {
            let remaining = end.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(remaining))
        })?;
        match answer.status {
            200..=299 => Ok(answer),
            _ => Err(HttpError::Refused { request: self.name(), answer }),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n", self.method, self.path);
        if !body.is_empty() {
            head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        format!("{head}\r\n{body}").into_bytes()
    }

    /// Reads an answer; `before` is called before each read.
    fn answer<S: Read>(
        &self,
        stream: &mut S,
        mut before: impl FnMut(&mut S) -> io::Result<()>,
    ) -> Result<Response, HttpError> {
        let mut seen: Vec<u8> = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some(answer) = parse_response(&seen) {
                return Ok(answer);
            }
            let read = before(stream).and_then(|()| stream.read(&mut chunk));
            let count = read.map_err(|source| HttpError::Line { request: self.name(), source })?;
            seen.extend_from_slice(&chunk[..count]);
            if count == 0 || seen.len() > MAX_ANSWER {
                let begin = String::from_utf8_lossy(&seen[..seen.len().min(200)]).into_owned();
                return Err(HttpError::Answer { request: self.name(), seen: begin });
            }
        }
    }
}

/// Parses an answer that has arrived completely.
fn parse_response(seen: &[u8]) -> Option<Response> {
    let head_ends = seen.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&seen[..head_ends]).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.transpose().ok()?.unwrap_or(0);
    let body = seen.get(head_ends + 4..)?.get(..length)?;
    Some(Response { status, body: String::from_utf8_lossy(body).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::net::UnixListener;

    /// Sends a request to a server that answers in these pieces; returns the result and the bytes that the server
    /// received.
    fn sent(request: &Request, pieces: &[&str]) -> (Result<Response, HttpError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api");
        let listener = UnixListener::bind(&socket).unwrap();
        let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = vec![0; 4096];
            let count = stream.read(&mut received).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            String::from_utf8(received[..count].to_vec()).unwrap()
        });
        let answer = request.send(&socket, Duration::from_secs(20));
        (answer, server.join().unwrap())
    }

    #[test]
    fn a_request_is_sent_and_its_whole_response_is_read() {
        let request = Request::put("/api/v1/vm.create", Some(json!({"cpus": 1})));
        let pieces = ["HTTP/1.1 200 \r\nServer: x\r\nContent-", "Length: 5\r\n\r\nhe", "llo and more"];
        let (answer, received) = sent(&request, &pieces);
        assert_eq!(answer.unwrap(), Response { status: 200, body: "hello".to_owned() });
        assert!(received.starts_with("PUT /api/v1/vm.create HTTP/1.1\r\n"), "{received}");
        assert!(received.ends_with("Content-Length: 10\r\n\r\n{\"cpus\":1}"), "{received}");
        let (nothing, received) = sent(&Request::put("/api/v1/vm.boot", None), &["HTTP/1.1 204 No Content\r\n\r\n"]);
        assert_eq!(nothing.unwrap().status, 204);
        assert!(!received.contains("Content-Length"), "{received}");
    }

    #[test]
    fn failed_requests_report_the_vmms_message_or_the_cause() {
        let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 12\r\n\r\nno such file";
        let error = sent(&Request::put("/boot-source", None), &[refusal]).0.unwrap_err();
        assert_eq!(error.to_string(), "PUT /boot-source: 400 no such file");
        let error = sent(&Request::get("/"), &["SSH-2.0-OpenSSH\r\n"]).0.unwrap_err();
        assert!(error.to_string().contains("no HTTP"), "{error}");
        let missing = Request::get("/").send(Path::new("/nonexistent/socket"), Duration::from_secs(1)).unwrap_err();
        assert!(matches!(missing, HttpError::Line { .. }), "{missing}");
    }

    #[test]
    fn an_endless_or_malformed_response_is_not_accepted() {
        let flood = Request::get("/").answer(&mut io::repeat(b'x'), |_| Ok(()));
        assert!(matches!(flood, Err(HttpError::Answer { .. })));
        let lie = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello";
        assert_eq!(parse_response(lie.as_bytes()), None);
    }
}
