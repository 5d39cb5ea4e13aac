//! Rules of nftables, loaded as `nft` loads them (linux/netfilter/nf_tables.h).

use crate::netlink::{APPEND, Attributes, CREATE, Message, Netlink, attribute, attributes};
use std::io;

/// The subsystem of nftables in netfilter's netlink.
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const BATCH_BEGINS: u16 = 0x10;
const BATCH_ENDS: u16 = 0x11;
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `IPPROTO_UDP`.
const UDP: u8 = 17;
const TABLE: &str = "kata-qualify";
const CHAIN: &str = "own";

/// The hook of a chain.
enum Hook {
    /// Packets on their way to a socket.
    Input,
    /// Packets on their way from a socket, where addresses are translated.
    Output,
}

/// The rules of this thread's network namespace.
pub(super) struct Rules(Netlink);

impl Rules {
    pub(super) fn open() -> io::Result<Rules> {
        Netlink::open(Some(rustix::net::netlink::NETFILTER)).map(Rules)
    }

    /// Counts and drops packets to a port.
    pub(super) fn drop_to(&mut self, port: u16) -> io::Result<()> {
        // The verdict NF_DROP, which is 0, for the verdict register.
        let verdict = Attributes::default().nest(2, Attributes::default().big(1, 0));
        let drop = Attributes::default().big(1, 0).nest(2, verdict);
        self.load(&Hook::Input, port, &[("counter", Attributes::default()), ("immediate", drop)])
    }

    /// Redirects packets for one port of this host to another one.
    pub(super) fn send_on(&mut self, port: u16, other: u16) -> io::Result<()> {
        let address = value_in(1, &[127, 0, 0, 1]);
        let to = value_in(2, &other.to_be_bytes());
        // Translates the destination, IPv4: address and port come from the two registers.
        let translation =
            Attributes::default().big(1, 1).big(2, u32::from(IPV4)).big(3, 1).big(4, 1).big(5, 2).big(6, 2);
        self.load(&Hook::Output, port, &[("immediate", address), ("immediate", to), ("nat", translation)])
    }

    /// Returns how many packets the rule has counted; `None` without a counter.
    pub(super) fn counted(&mut self) -> io::Result<Option<u64>> {
        let body = head().text(1, TABLE).text(2, CHAIN).bytes();
        let rules = self.0.list(&Message { kind: SUBSYSTEM << 8 | GET_RULE, flags: 0, body })?;
        Ok(rules.iter().find_map(|rule| packets_of(rule.get(4..)?)))
    }

    /// Loads a table with one chain and one rule, which applies these expressions to UDP packets to a port.
    fn load(&mut self, hook: &Hook, port: u16, doing: &[(&str, Attributes)]) -> io::Result<()> {
        let (kind, number, priority): (&str, u32, i32) = match hook {
            Hook::Input => ("filter", 1, 0),
            Hook::Output => ("nat", 3, -100),
        };
        let place = Attributes::default().big(1, number).put(2, &priority.to_be_bytes());
        let is_udp = [field(1, 9, 1), equals(&[UDP])];
        let is_to_port = [field(2, 2, 2), equals(&port.to_be_bytes())];
        let conditions = is_udp.into_iter().chain(is_to_port);
        let mut expressions = Attributes::default();
        for (name, data) in conditions.chain(doing.iter().cloned()) {
            expressions = expressions.nest(1, Attributes::default().text(1, name).nest(2, data));
        }
        let message = |kind: u16, flags: u16, body: Attributes| Message {
            kind: SUBSYSTEM << 8 | kind,
            flags: CREATE | flags,
            body: body.bytes(),
        };
        let messages = [
            message(NEW_TABLE, 0, head().text(1, TABLE)),
            message(NEW_CHAIN, 0, head().text(1, TABLE).text(3, CHAIN).nest(4, place).text(7, kind)),
            message(NEW_RULE, APPEND, head().text(1, TABLE).text(2, CHAIN).nest(4, expressions)),
        ];
        let batch = |kind| Message { kind, flags: 0, body: [&[0, 0][..], &SUBSYSTEM.to_be_bytes()].concat() };
        self.0.ask(&messages, Some([batch(BATCH_BEGINS), batch(BATCH_ENDS)]))
    }
}

/// Returns a `struct nfgenmsg`: the family, a version, a number.
fn head() -> Attributes {
    Attributes::behind(&[IPV4, 0, 0, 0])
}

/// Loads bytes of the network (1) or transport (2) header into the first register.
fn field(header: u32, offset: u32, length: u32) -> (&'static str, Attributes) {
    ("payload", Attributes::default().big(1, 1).big(2, header).big(3, offset).big(4, length))
}

/// Continues only if the first register has these bytes.
fn equals(bytes: &[u8]) -> (&'static str, Attributes) {
    ("cmp", Attributes::default().big(1, 1).big(2, 0).nest(3, Attributes::default().put(1, bytes)))
}

/// Returns attributes that load bytes into a register.
fn value_in(register: u32, bytes: &[u8]) -> Attributes {
    Attributes::default().big(1, register).nest(2, Attributes::default().put(1, bytes))
}

/// Returns the number of packets that a rule's counter has counted.
fn packets_of(rule: &[u8]) -> Option<u64> {
    let expressions = attributes(attribute(rule, 4)?);
    let counter = expressions.into_iter().find(|(_, one)| attribute(one, 1) == Some(b"counter\0"))?.1;
    attribute(attribute(counter, 2)?, 2)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
