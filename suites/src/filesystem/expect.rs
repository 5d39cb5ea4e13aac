//! Checks whose messages state the expected and the seen values.

use crate::check::{Check, Stop};
use crate::ensure;
use model::words::list_or;
use rustix::io::Errno;
use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

/// Returns the short name of an errno, `ENOENT`, or its number.
pub(super) fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(raw) => match nix::errno::Errno::from_raw(raw) {
            nix::errno::Errno::UnknownErrno => format!("errno {raw}"),
            known => format!("{known:?}"),
        },
        None => error.to_string(),
    }
}

/// Checks that `what` is refused with one of `expected`.
pub(super) fn refused<T, E: Into<io::Error>>(result: Result<T, E>, expected: &[Errno], what: impl Display) -> Check {
    let names = || list_or(expected.iter().map(|e| errno_name(&io::Error::from(*e))));
    match result {
        Ok(_) => Err(Stop::fail(format!("{what}: expected {}, but it succeeded", names()))),
        Err(e) => {
            let e = e.into();
            let known = expected.iter().any(|x| e.raw_os_error() == Some(x.raw_os_error()));
            ensure!(known, "{what}: expected {}, got {}", names(), errno_name(&e));
            Ok(())
        }
    }
}

/// Checks that both hold the same bytes; the message names the first difference.
pub(super) fn same_bytes(seen: &[u8], expected: &[u8], what: impl Display) -> Check {
    if seen == expected {
        return Ok(());
    }
    let at = seen.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(seen.len().min(expected.len()));
    let around =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 24)]).escape_debug().to_string();
    Err(Stop::fail(format!(
        "{what}: expected {} bytes, saw {}; they differ from byte {at} on: expected \"{}\", saw \"{}\"",
        expected.len(),
        seen.len(),
        around(expected),
        around(seen),
    )))
}

/// Returns bytes without a pattern that a filesystem could produce by accident; the same seed gives the same bytes.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Tries until `attempt` returns `Ok(Ok(value))`; at the deadline fails with its last message.
pub(super) fn until<T>(
    deadline: Duration,
    what: impl Display,
    mut attempt: impl FnMut() -> Result<Result<T, String>, Stop>,
) -> Result<T, Stop> {
    let start = Instant::now();
    loop {
        match attempt()? {
            Ok(value) => return Ok(value),
            Err(seen) if start.elapsed() >= deadline => {
                return Err(Stop::fail(format!(
                    "{what}: not within {:.1} s; last seen: {seen}",
                    deadline.as_secs_f64()
                )));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
