//! Virtual interfaces, made as `ip link` makes them (rtnetlink(7), linux/if_link.h).

use crate::netlink::{Attributes, CREATE, Message, Netlink};
use crate::packets;
use rustix::process::Pid;
use std::io;
use std::net::Ipv4Addr;

const NEW_LINK: u16 = 16;
const REMOVE_LINK: u16 = 17;

// Attributes of a link.
const NAME: u16 = 3;
const MASTER: u16 = 10;
const INFO: u16 = 18;
const NAMESPACE_OF: u16 = 19;
// Those of its kind.
const KIND: u16 = 1;
const DATA: u16 = 2;
const PEER: u16 = 1;
const VXLAN_ID: u16 = 1;
const VXLAN_REMOTE: u16 = 2;
const VXLAN_LOCAL: u16 = 4;
const VXLAN_PORT: u16 = 15;

/// The port of VXLAN (RFC 7348).
const PORT: u16 = 4789;

/// The interfaces of this thread's network namespace.
pub(super) struct Links(Netlink);

impl Links {
    pub(super) fn open() -> io::Result<Links> {
        Netlink::open(None).map(Links)
    }

    /// Two interfaces that are each other's end, the second one perhaps in the namespace of a thread.
    pub(super) fn pair(&mut self, name: &str, peer: &str, peers_thread: Option<Pid>) -> io::Result<()> {
        let mut far = link(0).text(NAME, peer);
        if let Some(thread) = peers_thread {
            far = far.put(NAMESPACE_OF, &thread.as_raw_nonzero().get().to_ne_bytes());
        }
        self.make(name, "veth", Attributes::default().nest(PEER, far))
    }

    /// A bridge without ports.
    pub(super) fn bridge(&mut self, name: &str) -> io::Result<()> {
        self.make(name, "bridge", Attributes::default())
    }

    /// Makes an interface a port of a bridge.
    pub(super) fn join(&mut self, name: &str, bridge: &str) -> io::Result<()> {
        let master = packets::index(bridge)?;
        let body = link(packets::index(name)?).put(MASTER, &master.to_ne_bytes()).bytes();
        self.0.ask(&[Message { kind: NEW_LINK, flags: 0, body }], None)
    }

    /// A VXLAN with one other end.
    pub(super) fn tunnel(&mut self, name: &str, number: u32, own: Ipv4Addr, other: Ipv4Addr) -> io::Result<()> {
        let data = Attributes::default()
            .put(VXLAN_ID, &number.to_ne_bytes())
            .put(VXLAN_REMOTE, &other.octets())
            .put(VXLAN_LOCAL, &own.octets())
            .put(VXLAN_PORT, &PORT.to_be_bytes());
        self.make(name, "vxlan", data)
    }

    /// Removes an interface.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let body = link(packets::index(name)?).bytes();
        self.0.ask(&[Message { kind: REMOVE_LINK, flags: 0, body }], None)
    }

    fn make(&mut self, name: &str, kind: &str, data: Attributes) -> io::Result<()> {
        let info = Attributes::default().text(KIND, kind).nest(DATA, data);
        let body = link(0).text(NAME, name).nest(INFO, info).bytes();
        self.0.ask(&[Message { kind: NEW_LINK, flags: CREATE, body }], None)
    }
}

/// `struct ifinfomsg`, of which the index alone is told.
fn link(index: i32) -> Attributes {
    Attributes::behind(&[&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat())
}
