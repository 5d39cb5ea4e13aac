//! Steps of a body between host and guest: actions on one side, and waiting for their effects on the other.

use super::expect::until;
use crate::check::{Check, Doing, Stop};
use crate::environment::{Action, Bytes, Pair, Reply, Status};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

impl Pair<'_> {
    /// Returns the host's path of `name`.
    pub(super) fn on_host(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.host.join(name.as_ref())
    }

    /// Returns the guest's path of `name`.
    pub(super) fn in_guest(&self, name: impl AsRef<OsStr>) -> Bytes {
        Bytes::from(&self.relative.join(name.as_ref()))
    }

    /// Makes the guest perform the action; a refusal is a failure.
    pub(super) fn done(&mut self, what: &str, action: Action) -> Result<Reply, Stop> {
        match self.guest.act(action)? {
            Reply::Refused { errno } => Err(Stop::fail(format!("the guest, {what}: {errno}"))),
            reply => Ok(reply),
        }
    }

    /// Makes the guest write a file.
    pub(super) fn guest_writes(&mut self, name: &str, data: &[u8], sync: bool) -> Check {
        let action = Action::Write { path: self.in_guest(name), data: Bytes(data.to_vec()), append: false, sync };
        self.done(&format!("writing {name}"), action).map(drop)
    }

    /// Returns what the guest reads from the file now, or the errno.
    pub(super) fn guest_reads(&mut self, name: &str) -> Result<Result<Vec<u8>, String>, Stop> {
        match self.guest.act(Action::Read { path: self.in_guest(name) })? {
            Reply::Data { data } => Ok(Ok(data.0)),
            Reply::Refused { errno } => Ok(Err(errno)),
            other => Err(Stop::error(format!("asked the guest to read {name}, it replied {other:?}"))),
        }
    }

    /// Returns the guest's lstat of the name, or the errno.
    pub(super) fn guest_stats(&mut self, name: &str) -> Result<Result<Status, String>, Stop> {
        match self.guest.act(Action::Stat { path: self.in_guest(name) })? {
            Reply::Status { status } => Ok(Ok(status)),
            Reply::Refused { errno } => Ok(Err(errno)),
            other => Err(Stop::error(format!("asked the guest to stat {name}, it replied {other:?}"))),
        }
    }

    /// Waits until the guest reads exactly these bytes.
    pub(super) fn guest_comes_to_read(&mut self, name: &str, expected: &[u8], what: &str) -> Check {
        until(self.deadline, format_args!("{what}: expected the guest to read {}", brief(expected)), || {
            Ok(match self.guest_reads(name)? {
                Ok(seen) if seen == expected => Ok(()),
                Ok(seen) => Err(brief(&seen)),
                Err(errno) => Err(errno),
            })
        })
    }

    /// Waits until the host reads exactly these bytes.
    pub(super) fn host_comes_to_read(&self, name: &str, expected: &[u8], what: &str) -> Check {
        let path = self.on_host(name);
        until(self.deadline, format_args!("{what}: expected the host to read {}", brief(expected)), || {
            Ok(match fs::read(&path) {
                Ok(seen) if seen == expected => Ok(()),
                Ok(seen) => Err(brief(&seen)),
                Err(e) => Err(e.to_string()),
            })
        })
    }

    /// Waits until the name is gone for the guest.
    pub(super) fn guest_comes_to_miss(&mut self, name: &str, what: &str) -> Check {
        until(self.deadline, format_args!("{what}: expected ENOENT for {name} in the guest"), || {
            Ok(match self.guest_stats(name)? {
                Err(errno) if errno == "ENOENT" => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
    }

    /// Waits until the name is gone for the host.
    pub(super) fn host_comes_to_miss(&self, name: &str, what: &str) -> Check {
        let path = self.on_host(name);
        until(self.deadline, format_args!("{what}: expected {name} to be gone on the host"), || {
            Ok(match fs::symlink_metadata(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
    }

    /// Writes a file on the host.
    pub(super) fn host_writes(&self, name: &str, data: &[u8]) -> Check {
        fs::write(self.on_host(name), data).doing(format_args!("the host, writing {name}"))
    }
}

/// Returns the length and the first bytes, for a message.
pub(super) fn brief(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).escape_debug().to_string();
    format!("{} bytes beginning \"{head}\"", bytes.len())
}
