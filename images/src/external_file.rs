//! A file from outside the archives: a path or an address, and the checksum that it must have.

use crate::digest;
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::runner::{has_program, tied};
use model::redact::Redactor;
use operator::process;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Size limit of a fetched file, in bytes.
const MAX_FETCHED: u64 = 16 << 30;

/// A file by its path or address, and the checksum that it must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExternalFile {
    /// A path, or an `https://` address.
    pub place: String,
    /// Expected checksum.
    pub checksum: Option<Checksum>,
}

/// Expected checksum of a file, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// SHA-256, 64 digits.
    Sha256(String),
    /// SHA-512, 128 digits.
    Sha512(String),
}

/// Reasons why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalFileError {
    /// The text after `#` is no checksum.
    #[error("`{text}` is not a checksum: expected 64 hexadecimal digits (sha-256) or 128 (sha-512) after the #")]
    Checksum {
        /// The text that was given.
        text: String,
    },
    /// The file's checksum differs.
    #[error("{name} has the checksum {found}, expected {expected}: it is a different file, or was damaged")]
    Mismatch {
        /// Last part of the file's path or address.
        name: String,
        /// Computed checksum.
        found: Checksum,
        /// Expected checksum.
        expected: Checksum,
    },
    /// An address has no checksum: an attacker on the network could substitute another file.
    #[error("{address} has no checksum: append #SHA256, with the checksum that its publisher gives")]
    Unpinned {
        /// Redacted address.
        address: String,
    },
    /// The download failed.
    #[error("fetching {address}: {detail}")]
    Fetch {
        /// Redacted address.
        address: String,
        /// Message of curl.
        detail: String,
    },
    /// A file cannot be read.
    #[error("{detail}")]
    Unreadable {
        /// The file, and the system's reason.
        detail: String,
    },
}

impl Checksum {
    /// Reads `sha256:HEX`, `sha512:HEX`, or the digits alone, whose number determines the kind.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn parse(text: &str) -> Result<Checksum, ExternalFileError> {
        let lower = text.to_ascii_lowercase();
        let (kind, digits) = match lower.split_once([':', '=']) {
            Some((kind, digits)) => (Some(kind), digits),
            None => (None, lower.as_str()),
        };
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        match (kind, digits.len()) {
            (None | Some("sha256"), 64) if hexadecimal => Ok(Checksum::Sha256(digits.to_owned())),
            (None | Some("sha512"), 128) if hexadecimal => Ok(Checksum::Sha512(digits.to_owned())),
            _ => Err(ExternalFileError::Checksum { text: text.to_owned() }),
        }
    }

    /// Computes the checksum of the same kind of a file, from its current position.
    fn recomputed(&self, file: &File, path: &Path, cancel: &AtomicBool) -> Result<Checksum, ExternalFileError> {
        let computed = match self {
            Checksum::Sha256(_) => digest::sha256_of_opened(file, path, cancel).map(Checksum::Sha256),
            Checksum::Sha512(_) => digest::sha512_of_opened(file, path, cancel).map(Checksum::Sha512),
        };
        computed.map_err(unreadable)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(digits) => write!(f, "sha256:{digits}"),
            Checksum::Sha512(digits) => write!(f, "sha512:{digits}"),
        }
    }
}

impl ExternalFile {
    /// Reads `PATH|URL[#CHECKSUM]`.
    ///
    /// # Errors
    /// If the text after `#` is no checksum.
    pub fn parse(text: &str) -> Result<ExternalFile, ExternalFileError> {
        let Some((place, sum)) = text.rsplit_once('#') else {
            return Ok(ExternalFile { place: text.to_owned(), checksum: None });
        };
        Ok(ExternalFile { place: place.to_owned(), checksum: Some(Checksum::parse(sum)?) })
    }

    /// Returns the name for messages, which must show neither hosts nor this machine's directories: the last part of
    /// the place, without an address's query, which may contain credentials.
    pub fn name(&self) -> &str {
        let path = match self.is_address() {
            true => {
                let place = self.place.split(['?', '#']).next().unwrap_or_default();
                let behind_host = place.split_once("://").and_then(|(_, place)| place.split_once('/'));
                behind_host.map_or("", |(_, path)| path)
            }
            false => &self.place,
        };
        path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// Returns whether the file has to be fetched.
    pub fn is_address(&self) -> bool {
        self.place.starts_with("https://") || self.place.starts_with("http://")
    }

    /// Checks that an address has a checksum.
    ///
    /// # Errors
    /// If it has none.
    pub fn is_pinned(&self) -> Result<(), ExternalFileError> {
        match self.is_address() && self.checksum.is_none() {
            true => {
                Err(ExternalFileError::Unpinned { address: Redactor::knowing([self.place.as_str()]).text(&self.place) })
            }
            false => Ok(()),
        }
    }

    /// Brings the file to `to`, a new file in a folder of the caller's own, and verifies it there; returns its SHA-256.
    ///
    /// A local file is copied too, because its owner could change it between the verification and the use.
    ///
    /// # Errors
    /// If the file cannot be fetched or read, has another checksum, or `cancel` was set.
    pub fn bring(&self, to: &Path, cancel: &AtomicBool) -> Result<String, ExternalFileError> {
        self.is_pinned()?;
        match self.is_address() {
            true => fetch(&self.place, to, MAX_FETCHED, cancel)?,
            false => copy(&opened(Path::new(&self.place)).map_err(unreadable)?, to, cancel).map_err(unreadable)?,
        }
        self.sha256_of(&File::open(to).context("opening", to).map_err(unreadable)?, to, cancel)
    }

    /// Verifies a local file in place, and returns its SHA-256; what the file is later, [`ExternalFile::bring`] has to
    /// verify again.
    ///
    /// # Errors
    /// If the file cannot be read, has another checksum, or `cancel` was set.
    pub fn sha256_in_place(&self, cancel: &AtomicBool) -> Result<String, ExternalFileError> {
        let path = Path::new(&self.place);
        self.sha256_of(&opened(path).map_err(unreadable)?, path, cancel)
    }

    /// Verifies an open file, and returns its SHA-256.
    fn sha256_of(&self, mut file: &File, path: &Path, cancel: &AtomicBool) -> Result<String, ExternalFileError> {
        self.check(file, path, cancel)?;
        match &self.checksum {
            Some(Checksum::Sha256(digits)) => Ok(digits.clone()),
            Some(Checksum::Sha512(_)) | None => {
                file.rewind().context("reading", path).map_err(unreadable)?;
                digest::sha256_of_opened(file, path, cancel).map_err(unreadable)
            }
        }
    }

    /// Checks the content of an open file against the checksum, if there is one; `path` is for messages.
    ///
    /// # Errors
    /// If the file has another checksum, cannot be read, or `cancel` was set.
    pub(crate) fn check(&self, file: &File, path: &Path, cancel: &AtomicBool) -> Result<(), ExternalFileError> {
        let Some(expected) = &self.checksum else { return Ok(()) };
        let found = expected.recomputed(file, path, cancel)?;
        match found == *expected {
            true => Ok(()),
            false => {
                let (name, expected) = (self.name().to_owned(), expected.clone());
                Err(ExternalFileError::Mismatch { name, found, expected })
            }
        }
    }
}

fn unreadable(failure: Failure) -> ExternalFileError {
    ExternalFileError::Unreadable { detail: failure.cause.to_string() }
}

/// Opens a regular file of anybody; a FIFO in its place is not waited for.
fn opened(path: &Path) -> Result<File, Failure> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).context("opening", path)?;
    match file.metadata().context("reading", path)?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")).context("reading", path),
    }
}

/// Copies an open file, up to its present length, to a file that must not exist yet.
fn copy(from: &File, to: &Path, cancel: &AtomicBool) -> Result<(), Failure> {
    /// Bytes after which a cancellation is noticed.
    const PART: u64 = 64 << 20;
    let mut remaining = from.metadata().context("copying to", to)?.len();
    let mut copy = File::options().write(true).create_new(true).open(to).context("creating", to)?;
    while remaining > 0 {
        if cancel.load(Ordering::Relaxed) {
            return Err(ImageErrorKind::Cancelled.into());
        }
        // By the kernel, which shares the blocks where the filesystem can.
        match io::copy(&mut from.take(PART.min(remaining)), &mut copy).context("copying to", to)? {
            0 => break,
            copied => remaining -= copied,
        }
    }
    Ok(())
}

/// Returns an address as a line of curl's configuration.
fn configuration(address: &str) -> String {
    let quoted: String = address
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    format!("url = \"{quoted}\"\n")
}

/// Downloads with curl, which handles proxies and certificates, and dies with this process.
///
/// The address may contain a password, so it is passed through a pipe, because all users can read arguments.
/// For this reason neither an [`operator::process::Invocation`], whose input is a file, nor a job's `Runner`, which has
/// no input, runs curl; and neither checks the size of the file while the program runs.
/// curl has its own deadline, and starts nothing, so it needs no process group.
fn fetch(address: &str, to: &Path, limit: u64, cancel: &AtomicBool) -> Result<(), ExternalFileError> {
    const MINUTES: u64 = 30;
    let deadline = Duration::from_secs(MINUTES * 60).as_secs().to_string();
    let redactor = Redactor::knowing([address]);
    let failed =
        |detail: String| ExternalFileError::Fetch { address: redactor.text(address), detail: redactor.text(&detail) };
    if !has_program("curl") {
        return Err(failed("program `curl` is not installed".to_owned()));
    }
    let spawned = tied("curl")
        .args(["--fail", "--silent", "--show-error", "--location", "--proto", "=https,http", "--max-time", &deadline])
        .arg("--output")
        .arg(to)
        .args(["--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(e) => return Err(failed(e.to_string())),
    };
    // A pipe buffers the configuration without a reader; if curl has ended, its exit status says why.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(configuration(address).as_bytes()));
    let status = loop {
        match process::wait(&mut child, Duration::from_millis(50)) {
            Ok(Some(status)) => break status,
            Ok(None) if !cancel.load(Ordering::Relaxed) && !is_larger(to, limit) => {}
            ended => {
                let _ = child.kill();
                let _ = child.wait();
                let why = if is_larger(to, limit) { too_large(limit) } else { "cancelled".to_owned() };
                return Err(failed(ended.err().map_or(why, |e| e.to_string())));
            }
        }
    };
    if is_larger(to, limit) {
        return Err(failed(too_large(limit)));
    }
    if status.success() {
        return Ok(());
    }
    // A line or two: with its progress output off, curl prints nothing else.
    let mut message = String::new();
    let _ = child.stderr.take().map(|stderr| stderr.take(4096).read_to_string(&mut message));
    Err(failed(message.trim().to_owned()))
}

/// Returns whether the file exceeds the limit: a server that never stops sending would fill the disk, and curl's own
/// limit only checks the announced size.
fn is_larger(file: &Path, limit: u64) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.len() > limit)
}

fn too_large(limit: u64) -> String {
    format!("it is too large, more than {limit} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_for_messages_has_neither_host_nor_query() {
        for (place, name) in [
            ("https://u:p@h.example/a/kata.tar.gz?X-Signature=SECRET#sha256:x", "kata.tar.gz"),
            ("https://h.example/a/kata.tar.gz?to=/x/SECRET", "kata.tar.gz"),
            ("https://h.example?SECRET", ""),
            ("http://h.example", ""),
            ("/a/what?.tar", "what?.tar"),
        ] {
            let file = ExternalFile { place: place.to_owned(), checksum: None };
            assert_eq!(file.name(), name, "{place}");
        }
    }

    #[test]
    fn an_address_is_quoted_in_curls_configuration() {
        assert_eq!(configuration("https://u:p\"\\@h/x\ny"), "url = \"https://u:p\\\"\\\\@h/xy\"\n");
    }

    #[test]
    fn a_checksums_algorithm_follows_from_its_prefix_or_length() {
        let (short, long) = ("AB".repeat(32), "cd".repeat(64));
        let sha256 = Checksum::Sha256("ab".repeat(32));
        let sha512 = Checksum::Sha512(long.clone());
        for text in [short.clone(), format!("sha256:{short}"), format!("sha256={short}"), format!("SHA256:{short}")] {
            assert_eq!(Checksum::parse(&text).unwrap(), sha256, "{text}");
        }
        for text in [long.clone(), format!("sha512:{long}")] {
            assert_eq!(Checksum::parse(&text).unwrap(), sha512, "{text}");
        }
        for text in [
            "",
            "12",
            "sha256:",
            &format!("sha256:{long}"),
            &format!("sha512:{short}"),
            &format!("md5:{short}"),
            &"g".repeat(64),
        ] {
            assert!(matches!(Checksum::parse(text), Err(ExternalFileError::Checksum { .. })), "{text}");
        }
    }

    #[test]
    #[cfg_attr(lacks = "curl", ignore = "needs curl")]
    fn an_endless_download_is_aborted_at_the_size_limit() {
        use std::io::Write as _;
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/endless", server.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut line, _) = server.accept().unwrap();
            let _ = line.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            while line.write_all(&[0; 65536]).is_ok() {}
        });
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("fetched");
        let error = fetch(&address, &to, 1 << 20, &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn a_file_is_verified_by_sha256_or_sha512() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        // The example of FIPS 180-2.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        let source = |sum: &str| ExternalFile::parse(&format!("{}{sum}", path.display())).unwrap();
        let never = AtomicBool::new(false);
        for (number, sum) in [String::new(), format!("#{sha256}"), format!("#sha512:{sha512}")].iter().enumerate() {
            let to = dir.path().join(number.to_string());
            assert_eq!(source(sum).bring(&to, &never).unwrap(), sha256, "{sum}");
            assert_eq!(source(sum).sha256_in_place(&never).unwrap(), sha256, "{sum}");
            assert_eq!(std::fs::read(&to).unwrap(), b"abc");
        }
        for (number, wrong) in ["0".repeat(64), "0".repeat(128)].iter().enumerate() {
            let source = source(&format!("#{wrong}"));
            let brought = source.bring(&dir.path().join(format!("wrong{number}")), &never);
            for error in [brought, source.sha256_in_place(&never)].map(|result| result.unwrap_err().to_string()) {
                assert!(error.contains(wrong) && (error.contains(sha256) || error.contains(sha512)), "{error}");
            }
        }
    }

    /// What was verified is what is used, whatever becomes of the file that was named.
    #[test]
    fn a_local_file_that_is_changed_or_replaced_later_is_not_what_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let [theirs, other, to] = ["theirs", "other", "to"].map(|name| dir.path().join(name));
        std::fs::write(&theirs, "abc").unwrap();
        let source = ExternalFile::parse(&theirs.to_string_lossy()).unwrap();
        let sum = source.bring(&to, &AtomicBool::new(false)).unwrap();
        std::fs::write(&theirs, "changed").unwrap();
        std::fs::write(&other, "replaced").unwrap();
        std::fs::rename(&other, &theirs).unwrap();
        assert_eq!(digest::of_bytes(&std::fs::read(&to).unwrap()), sum);
        // Nothing that lies in the way is written to.
        assert!(source.bring(&to, &AtomicBool::new(false)).is_err());
        assert_eq!(std::fs::read(&to).unwrap(), b"abc");
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let source = ExternalFile::parse(&fifo.to_string_lossy()).unwrap();
            sender.send(source.bring(&dir.path().join("to"), &AtomicBool::new(false)).unwrap_err().to_string())
        });
        let error = receiver.recv_timeout(Duration::from_secs(20)).expect("a FIFO is waited for");
        assert!(error.contains("not a regular file"), "{error}");
    }
}
