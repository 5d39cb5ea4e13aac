//! Local stand-ins for bug trackers' servers: each serves one client and returns what the client sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// A server that returns the received data when it is done.
pub(crate) struct Tracker {
    pub(crate) address: String,
    received: JoinHandle<String>,
}

impl Tracker {
    fn serving(serve: fn(&TcpListener) -> std::io::Result<String>) -> Tracker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Tracker { address, received: std::thread::spawn(move || serve(&listener).unwrap()) }
    }

    /// Starts a server that takes one mail and keeps its headers and body.
    pub(crate) fn of_mail() -> Tracker {
        Tracker::serving(|listener| mail(&mut accept_client(listener)?))
    }

    /// Starts a server with Bugzilla's REST interface that keeps the fields of one new bug.
    pub(crate) fn of_bugs() -> Tracker {
        Tracker::serving(|listener| {
            loop {
                if let Some(fields) = request(&mut accept_client(listener)?)? {
                    return Ok(fields);
                }
            }
        })
    }

    pub(crate) fn received(self) -> String {
        self.received.join().unwrap()
    }
}

fn accept_client(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Serves RFC 5321, as far as one mail needs it.
fn mail(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut lines = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 tracker\r\n")?;
    let (mut mail, mut line) = (String::new(), String::new());
    while lines.read_line(&mut line)? > 0 {
        let word = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                line.clear();
                while lines.read_line(&mut line)? > 0 && line.trim_end() != "." {
                    // The protocol doubles a full stop at the beginning of a line.
                    mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                    line.clear();
                }
                stream.write_all(b"250 taken\r\n")?;
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n")?;
                break;
            }
            _ => stream.write_all(b"250 go on\r\n")?,
        }
        line.clear();
    }
    Ok(mail.replace("\r\n", "\n"))
}

/// Answers one request; returns its body if the request creates a bug.
fn request(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    lines.read_line(&mut first)?;
    while lines.read_line(&mut line)? > 0 && line.trim_end() != "" {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    let is_new = first.starts_with("POST /rest/bug?");
    let answer = if is_new { r#"{"id": 7}"# } else { r#"{"version": "5.0.4"}"# };
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close", answer.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{answer}").as_bytes())?;
    Ok(is_new.then(|| String::from_utf8_lossy(&body).into_owned()))
}
