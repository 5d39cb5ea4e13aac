//! Netlink, as far as the tests need it: requests with attributes, and the kernel's answers (linux/netlink.h).

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST: u16 = 0x01 | 0x04;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x01 | 0x300;
/// `NLM_F_EXCL`.
pub(crate) const ALONE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub(crate) const APPEND: u16 = 0x800;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
/// How long to wait for the kernel, which normally answers at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// The limit on the size of all answers to one request, bytes.
const MAX_ANSWERS: usize = 1 << 20;

/// A request: its type, its flags in addition to those of every request, and its body after the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
}

/// A connection to one of the kernel's subsystems.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Connects to a subsystem in the network namespace of this thread; `None` means number 0, routes and interfaces.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Netlink> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends requests at once and waits until each is acknowledged. The messages of `around` enclose them, as netfilter
    /// requires for a batch, and are not acknowledged.
    ///
    /// # Errors
    /// The kernel's error for the first refused request.
    pub(crate) fn ask(&mut self, messages: &[Message], around: Option<[Message; 2]>) -> io::Result<()> {
        let [before, after] = around.map_or([None, None], |[before, after]| [Some(before), Some(after)]);
        let mut bytes = Vec::new();
        before.iter().for_each(|message| self.put(message, 0x01, &mut bytes));
        messages.iter().for_each(|message| self.put(message, REQUEST, &mut bytes));
        after.iter().for_each(|message| self.put(message, 0x01, &mut bytes));
        self.send(&bytes)?;
        let mut unanswered = messages.len();
        while unanswered > 0 {
            for (kind, body) in self.answers()? {
                unanswered = unanswered.saturating_sub(usize::from(kind == ERROR && refused(&body)? == 0));
            }
        }
        Ok(())
    }

    /// Requests a list; returns the body of each entry, without its header.
    pub(crate) fn list(&mut self, message: &Message) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.put(message, DUMP, &mut bytes);
        self.send(&bytes)?;
        let (mut all, mut length) = (Vec::new(), 0);
        loop {
            for (kind, body) in self.answers()? {
                length += body.len();
                match kind {
                    DONE => return Ok(all),
                    ERROR => drop(refused(&body)?),
                    _ => all.push(body),
                }
            }
            if length > MAX_ANSWERS {
                return Err(io::Error::other("a list of more than 1 MiB"));
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        sendto(&self.socket, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map(drop).map_err(Into::into)
    }

    /// Appends a request with its header.
    fn put(&mut self, message: &Message, flags: u16, bytes: &mut Vec<u8>) {
        self.sequence += 1;
        let length = (HEADER + message.body.len()) as u32;
        bytes.extend(length.to_ne_bytes());
        bytes.extend(message.kind.to_ne_bytes());
        bytes.extend((message.flags | flags).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(&message.body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }

    /// Receives the next messages of the kernel: the type and body of each.
    fn answers(&self) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut buffer = vec![0; 64 << 10];
        let (count, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        messages(&buffer[..count]).ok_or_else(|| io::Error::other("the kernel's answer is no netlink message"))
    }
}

/// Reads a message of the type of errors: a negative number is the kernel's error, 0 an acknowledgement.
fn refused(body: &[u8]) -> io::Result<i32> {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(code @ ..0) => Err(io::Error::from_raw_os_error(-code)),
        Some(code) => Ok(code),
        None => Err(io::Error::other("an error of the kernel's without its number")),
    }
}

fn messages(mut bytes: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        all.push((kind, bytes.get(HEADER..length)?.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(all)
}

/// The attributes of a request, each preceded by its length and type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// Starts an empty list after the fixed part of a request.
    pub(crate) fn behind(before: &[u8]) -> Attributes {
        Attributes(before.to_vec())
    }

    /// Appends an attribute.
    pub(crate) fn put(mut self, kind: u16, value: &[u8]) -> Attributes {
        let length = (4 + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a text attribute.
    pub(crate) fn text(self, kind: u16, value: &str) -> Attributes {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Appends a number in network byte order, as netfilter requires.
    pub(crate) fn big(self, kind: u16, value: u32) -> Attributes {
        self.put(kind, &value.to_be_bytes())
    }

    /// Appends an attribute that contains others (`NLA_F_NESTED`).
    pub(crate) fn nest(self, kind: u16, inner: Attributes) -> Attributes {
        self.put(kind | 0x8000, &inner.0)
    }

    /// Returns the encoded attributes.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Parses the attributes in a part of an answer, by their types; a truncated attribute ends the list.
pub(crate) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let Some(length) = bytes.first_chunk().map(|length| usize::from(u16::from_ne_bytes(*length))) {
        let (Some(kind), Some(value)) = (bytes.get(2..).and_then(|rest| rest.first_chunk()), bytes.get(4..length))
        else {
            break;
        };
        // The two highest bits are flags for nesting and byte order.
        all.push((u16::from_ne_bytes(*kind) & 0x3fff, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// Returns the value of the first attribute of this type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let inner = Attributes::default().text(1, "counter").big(2, 7);
        let bytes = Attributes::behind(&[9; 4]).put(3, b"abc").nest(4, inner).bytes();
        assert_eq!(bytes.len() % 4, 0);
        let rest = &bytes[4..];
        assert_eq!(attribute(rest, 3), Some(&b"abc"[..]));
        let inner = attribute(rest, 4).unwrap();
        assert_eq!(attributes(inner), [(1, &b"counter\0"[..]), (2, &7_u32.to_be_bytes())]);
        assert_eq!(attribute(rest, 5), None);
    }

    #[test]
    fn truncated_attributes_and_messages_are_not_read_beyond_their_end() {
        assert!(attributes(&[8, 0, 1, 0, 5]).is_empty());
        assert!(attributes(&[0; 64]).is_empty() && attributes(&[3, 0, 1, 0]).is_empty());
        let message = |length: u32| [&length.to_ne_bytes()[..], &[0; 16]].concat();
        assert_eq!(messages(&message(20)).unwrap(), [(0, vec![0; 4])]);
        assert_eq!(messages(&message(8)), None);
        assert_eq!(messages(&message(99)), None);
        assert_eq!(messages(&[1, 2]), None);
    }

    #[test]
    fn a_refusal_is_reported_as_the_kernels_error() {
        let refusal = refused(&(-2_i32).to_ne_bytes()).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::NotFound);
        assert!(refused(&0_i32.to_ne_bytes()).is_ok() && refused(&[]).is_err());
    }
}
