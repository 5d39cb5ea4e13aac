//! Virtual interfaces, made as `ip link` makes them (rtnetlink(7), linux/if_link.h).

mod rate;
mod redirection;

use crate::netlink::{Attributes, CREATE, Message, Netlink};
use crate::packets;
use rustix::process::Pid;
use std::io;
use std::net::Ipv4Addr;

const NEW_LINK: u16 = 16;
const REMOVE_LINK: u16 = 17;

// Attributes of a link.
const NAME: u16 = 3;
const LOWER: u16 = 5;
const MASTER: u16 = 10;
const INFO: u16 = 18;
const NAMESPACE_OF: u16 = 19;
// Attributes of a link's kind.
const KIND: u16 = 1;
const DATA: u16 = 2;
const PEER: u16 = 1;
const VXLAN_ID: u16 = 1;
const VXLAN_REMOTE: u16 = 2;
const VXLAN_LOCAL: u16 = 4;
const VXLAN_PORT: u16 = 15;
const MACVLAN_MODE: u16 = 1;
const IPVLAN_MODE: u16 = 1;

/// The port of VXLAN (RFC 7348).
const PORT: u16 = 4789;

/// How a macvlan reaches other macvlans on the same interface (`MACVLAN_MODE_*` of linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacvlanMode {
    /// It reaches none of them.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test shows by it what a kernel that bridges nothing does"))]
    Private = 1,
    /// It reaches those that are also in bridge mode.
    Bridge = 4,
}

/// The interfaces of this thread's network namespace.
pub(crate) struct Links(Netlink);

impl Links {
    pub(crate) fn open() -> io::Result<Links> {
        Netlink::open(None).map(Links)
    }

    /// Creates a veth pair, optionally with the second interface in the namespace of a thread.
    pub(crate) fn pair(&mut self, name: &str, peer: &str, peers_thread: Option<Pid>) -> io::Result<()> {
        let mut far = link(0).text(NAME, peer);
        if let Some(thread) = peers_thread {
            far = far.put(NAMESPACE_OF, &thread.as_raw_nonzero().get().to_ne_bytes());
        }
        self.make(name, "veth", Attributes::default().nest(PEER, far))
    }

    /// Creates a bridge without ports.
    pub(crate) fn bridge(&mut self, name: &str) -> io::Result<()> {
        self.make(name, "bridge", Attributes::default())
    }

    /// Makes an interface a port of a bridge.
    pub(crate) fn join(&mut self, name: &str, bridge: &str) -> io::Result<()> {
        let master = packets::index(bridge)?;
        let body = link(packets::index(name)?).put(MASTER, &master.to_ne_bytes()).bytes();
        self.0.ask(&[Message { kind: NEW_LINK, flags: 0, body }], None)
    }

    /// Creates a VXLAN with one remote end.
    pub(crate) fn tunnel(&mut self, name: &str, number: u32, own: Ipv4Addr, other: Ipv4Addr) -> io::Result<()> {
        let data = Attributes::default()
            .put(VXLAN_ID, &number.to_ne_bytes())
            .put(VXLAN_REMOTE, &other.octets())
            .put(VXLAN_LOCAL, &own.octets())
            .put(VXLAN_PORT, &PORT.to_be_bytes());
        self.make(name, "vxlan", data)
    }

    /// Creates a macvlan, which has an address of its own, on an existing interface.
    pub(crate) fn macvlan(&mut self, name: &str, lower: &str, mode: MacvlanMode) -> io::Result<()> {
        self.upon(name, "macvlan", 0, lower, macvlan(mode))
    }

    /// Creates a macvtap with this interface number, whose packets are read and written through a device in /dev.
    pub(crate) fn macvtap(&mut self, name: &str, number: i32, lower: &str) -> io::Result<()> {
        self.upon(name, "macvtap", number, lower, macvlan(MacvlanMode::Bridge))
    }

    /// Creates an ipvlan on an existing interface: it has the same hardware address and IP addresses of its own, and
    /// receives frames by these (`IPVLAN_MODE_L2`).
    pub(crate) fn ipvlan(&mut self, name: &str, lower: &str) -> io::Result<()> {
        self.upon(name, "ipvlan", 0, lower, Attributes::default().put(IPVLAN_MODE, &0_u16.to_ne_bytes()))
    }

    fn upon(&mut self, name: &str, kind: &str, number: i32, lower: &str, data: Attributes) -> io::Result<()> {
        let lower = packets::index(lower)?.to_ne_bytes();
        self.create(link(number).text(NAME, name).put(LOWER, &lower), kind, data)
    }

    /// Removes an interface.
    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        let body = link(packets::index(name)?).bytes();
        self.0.ask(&[Message { kind: REMOVE_LINK, flags: 0, body }], None)
    }

    fn make(&mut self, name: &str, kind: &str, data: Attributes) -> io::Result<()> {
        self.create(link(0).text(NAME, name), kind, data)
    }

    fn create(&mut self, made: Attributes, kind: &str, data: Attributes) -> io::Result<()> {
        let body = made.nest(INFO, Attributes::default().text(KIND, kind).nest(DATA, data)).bytes();
        self.0.ask(&[Message { kind: NEW_LINK, flags: CREATE, body }], None)
    }
}

/// Returns the attributes of a macvlan.
fn macvlan(mode: MacvlanMode) -> Attributes {
    Attributes::default().put(MACVLAN_MODE, &(mode as u32).to_ne_bytes())
}

/// Returns a `struct ifinfomsg` with only the index set.
fn link(index: i32) -> Attributes {
    Attributes::behind(&[&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat())
}
