//! Reading of a kernel's configuration: a regular file or standard input, plain or gzip-compressed, of limited size.

use super::display_name;
use crate::commands::{Exit, Failed};
use flate2::read::MultiGzDecoder;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, ErrorKind, Read, stdin};
use std::path::Path;

/// Largest configuration, uncompressed, in bytes; a distro's has 300 KB.
const MAX_TEXT: u64 = 4 << 20;

/// Reads the configuration.
pub(super) fn read(file: &Path) -> Result<String, Failed> {
    let failed =
        |kind, message: String| Failed::new(Exit::BadInput, kind, format!("{}: {message}", display_name(file)));
    let unreadable = |e: io::Error| {
        let exit = if e.kind() == ErrorKind::PermissionDenied { Exit::Unknown } else { Exit::BadInput };
        Failed { exit, ..failed("unreadable", format!("the configuration cannot be read: {e}")) }
    };
    let packed = match file == Path::new("-") {
        true => capped(stdin().lock()),
        false => open(file).and_then(capped),
    };
    let packed = packed.map_err(unreadable)?;
    let bytes = match packed.starts_with(&[0x1f, 0x8b]) {
        true => capped(MultiGzDecoder::new(packed.as_slice()))
            .map_err(|e| failed("bad-configuration", format!("it cannot be unpacked: {e}")))?,
        false => packed,
    };
    if bytes.len() as u64 > MAX_TEXT {
        return Err(failed(
            "bad-configuration",
            format!("it has more than {MAX_TEXT} bytes, more than any configuration"),
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        failed("bad-configuration", format!("line {line}: expected UTF-8 text"))
    })
}

/// Reads everything, up to one byte more than the limit.
fn capped(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file without blocking: opening a pipe would wait for a writer.
fn open(file: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(file, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}
