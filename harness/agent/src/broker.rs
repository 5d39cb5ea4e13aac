//! Requests of a container's agent to the harness: the host's vhost and tap drivers, opened as Kata's runtimes open
//! them for QEMU, and the host's end of a vsock.
//!
//! A container may neither make a tap nor use vsock, because both need more than a container has: a capability, a
//! network namespace, or an address family that has no namespaces. So the container has none of these devices, and no
//! seccomp filter is relaxed: the harness, outside, does the few things that tests need, each limited to this
//! container's guests, and passes the descriptors in.
//!
//! Each connection to a Unix socket is one request: a line of JSON, answered by a line with the descriptors or the
//! reason.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Directory of a container that has the broker's socket.
pub const FOLDER: &str = "/run/kata-qualify";
/// Name of the socket in it.
pub const SOCKET: &str = "broker";
/// Environment variable that tells an agent that there is a broker: the first context id of its guests.
pub const FIRST_CID: &str = "KATA_QUALIFY_FIRST_CID";
/// Number of context ids of a container: more than the guests that it ever starts.
pub const CIDS: u32 = 1 << 12;
/// Maximum number of queues of a tap: that many descriptors are passed at once.
pub const QUEUES: usize = 8;
/// Size limit of a line, in bytes.
pub const LINE: usize = 512;
/// Prefix of an answer from the kernel; the errno follows.
pub const ERRNO: &str = "errno ";
/// Time limit for a line, for either side; opening, connecting and making a tap take milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Request of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// `/dev/vhost-vsock` for the guest of this context id.
    VhostVsock {
        /// The context id.
        cid: u32,
    },
    /// `/dev/vhost-net`.
    VhostNet,
    /// A tap, with a descriptor for each queue.
    Tap {
        /// Number of queues, at most [`QUEUES`].
        queues: usize,
    },
    /// A vsock connection to a guest.
    Dial {
        /// The guest's context id.
        cid: u32,
        /// The port.
        port: u32,
    },
    /// A vsock listener.
    Listen {
        /// The port.
        port: u32,
    },
}

/// Returns the first context id of a container, computed from its name, so that two containers of a machine hardly ever
/// share an id; 0 to 2 are reserved.
pub fn first_cid(name: &str) -> u32 {
    // FNV-1a is a sufficient hash here.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // Below 2^31, and never the first range.
    ((hash >> 1) / CIDS).max(1) * CIDS
}

/// Returns the client of this container's broker; `None` if the agent opens devices itself.
pub(crate) fn here() -> Option<Client> {
    let first_cid = std::env::var(FIRST_CID).ok()?.parse().ok()?;
    Some(Client { first_cid })
}

/// The agent's side of the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// The first context id of the container's guests.
    pub(crate) first_cid: u32,
}

impl Client {
    /// Requests one descriptor.
    ///
    /// # Errors
    /// The broker's reason, or if there is no broker.
    pub(crate) fn ask(self, wish: Wish) -> io::Result<OwnedFd> {
        ask(&Path::new(FOLDER).join(SOCKET), wish)
    }

    /// Requests several descriptors.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn ask_for_all(self, wish: Wish) -> io::Result<Vec<OwnedFd>> {
        ask_for_all(&Path::new(FOLDER).join(SOCKET), wish)
    }
}

/// Requests one descriptor from the broker at a socket.
///
/// # Errors
/// The kernel's error with its errno; an error without an errno if the broker refuses or does not respond.
pub fn ask(socket: &Path, wish: Wish) -> io::Result<OwnedFd> {
    ask_for_all(socket, wish)?.pop().ok_or_else(|| unanswered(wish, io::ErrorKind::UnexpectedEof.into()))
}

/// Requests all descriptors of a wish from the broker at a socket, in order.
///
/// # Errors
/// As [`ask`].
pub fn ask_for_all(socket: &Path, wish: Wish) -> io::Result<Vec<OwnedFd>> {
    let (reply, descriptors) = exchange(socket, wish).map_err(|e| unanswered(wish, e))?;
    if !descriptors.is_empty() {
        return Ok(descriptors);
    }
    match reply.strip_prefix(ERRNO).map(str::parse) {
        Some(Ok(errno)) => Err(io::Error::from_raw_os_error(errno)),
        _ if reply.is_empty() => Err(unanswered(wish, io::ErrorKind::UnexpectedEof.into())),
        _ => Err(io::Error::other(reply)),
    }
}

fn unanswered(wish: Wish, e: io::Error) -> io::Error {
    io::Error::other(format!("asking the harness for {wish:?}: {e}"))
}

/// Returns the broker's answer to a wish, with its descriptors.
fn exchange(socket: &Path, wish: Wish) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&wish)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = [0; LINE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(QUEUES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(&stream, &mut [IoSliceMut::new(&mut reply)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(handed_over) = message {
            descriptors.extend(handed_over);
        }
    }
    let reply = String::from_utf8_lossy(reply.get(..got).unwrap_or_default());
    Ok((reply.trim().to_owned(), descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_container_gets_its_own_aligned_cid_range() {
        let names = ["", "a", "b", "0f3a", "0f3b", "a volume with a long name"];
        let mut firsts = names.map(first_cid).to_vec();
        for first in &firsts {
            assert!(*first >= CIDS && first.is_multiple_of(CIDS) && *first < 1 << 31, "{first}");
        }
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), names.len());
    }

    #[test]
    fn a_missing_broker_is_not_reported_as_a_kernel_error() {
        let nowhere = ask(Path::new("/nonexistent/broker"), Wish::VhostNet).unwrap_err();
        assert!(nowhere.raw_os_error().is_none() && nowhere.to_string().contains("VhostNet"), "{nowhere}");
    }
}
