//! Kernel features for the networks of containers: rules, bridges, tunnels, taps.
//!
//! Kata's default path needs none of them. Its own kernel has all of them, because Kubernetes' proxies, CNI plugins,
//! VPNs and containers in containers need them. Each test works in network namespaces of its own.

mod rules;

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::Traffic;
use crate::links::{Links, MacvlanMode};
use crate::namespace::Namespace;
use crate::packets;
use crate::row::{Row, row};
use model::profile::ModuleUse;
use rules::Rules;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("networks.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Inside(guest_filters_packets_by_nftables), &[Capability::KernelGuestNet], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Filters),
    row!(Inside(guest_translates_addresses_by_nftables), &[Capability::KernelGuestNet], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Translation),
    row!(Inside(guest_bridges_pairs_of_interfaces), &[Capability::KernelGuestNet], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Bridges),
    row!(Inside(guest_has_tap_interfaces), &[Capability::KernelGuestNet], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Taps),
    row!(Inside(guest_tunnels_by_vxlan), &[Capability::KernelGuestNet], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Tunnels),
    row!(Inside(guest_shares_an_interface_by_macvlan), &[Capability::KernelGuestNet], Kernel)
        .blocked_by(BOOTS)
        .loads(ModuleUse::Macvlans),
];

/// The number of packets.
const PACKETS: u32 = 8;
/// Ports on the loopback of a namespace.
const FIRST: u16 = 7001;
const SECOND: u16 = 7002;
/// How long to wait for a packet on the loopback, which arrives at once. The guest does not know where it runs: this is
/// more than a stall of one that is emulated twice over, and less than the time that its test has anywhere.
const PATIENCE: Duration = Duration::from_secs(45);

/// A rule of nftables that drops packets to one port drops and counts them, and lets everything else through.
///
/// Kata's kernel has NF_TABLES (tools/packaging/kernel/configs/fragments/common/network.conf@4.1.0) for programs in
/// containers: kube-proxy, CNI plugins, and iptables, which distros build upon nftables.
fn guest_filters_packets_by_nftables() -> Check {
    Namespace::new()?.run(|| filters(|rules| rules.drop_to(FIRST)))
}

fn filters(load: impl FnOnce(&mut Rules) -> std::io::Result<()>) -> Check {
    packets::bring_up("lo").doing("bringing the loopback up")?;
    let (first, second) = (listening(FIRST)?, listening(SECOND)?);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).doing("binding a socket")?;
    send(&sender, FIRST, 1)?;
    received(&first, "a packet before any rule")?;
    let mut rules = Rules::open().doing("opening netfilter's netlink")?;
    load(&mut rules).doing("loading a rule of nftables")?;
    send(&sender, FIRST, PACKETS)?;
    // Packets arrive in order: once this one has arrived, the rule has seen all earlier ones.
    send(&sender, SECOND, 1)?;
    received(&second, "a packet that no rule is about")?;
    let passed = std::iter::from_fn(|| waiting_packet(&first)).count();
    ensure!(passed == 0, "a rule drops what goes to port {FIRST}, and {passed} packets of {PACKETS} came through");
    let end = Instant::now() + PATIENCE;
    let counted = loop {
        let counted = rules.counted().doing("asking for the rule's counter")?;
        // Another CPU may still be counting the last packet.
        if counted >= Some(u64::from(PACKETS)) || Instant::now() > end {
            break counted;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(counted == Some(u64::from(PACKETS)), "{PACKETS} packets were dropped, the rule counted {counted:?}");
    Ok(())
}

/// A rule of nftables redirects packets for one port to another one, and the answers come from the original port.
///
/// Services of Kubernetes, published ports and service meshes are implemented by connection tracking and address
/// translation; Kata's kernel has NF_CONNTRACK, NF_NAT and NFT_NAT
/// (tools/packaging/kernel/configs/fragments/common/netfilter.conf@4.1.0).
fn guest_translates_addresses_by_nftables() -> Check {
    Namespace::new()?.run(|| translates(|rules| rules.send_on(FIRST, SECOND)))
}

fn translates(load: impl FnOnce(&mut Rules) -> std::io::Result<()>) -> Check {
    packets::bring_up("lo").doing("bringing the loopback up")?;
    let second = listening(SECOND)?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).doing("binding a socket")?;
    sender.set_read_timeout(Some(PATIENCE)).doing("setting a deadline")?;
    let mut rules = Rules::open().doing("opening netfilter's netlink")?;
    load(&mut rules).doing("loading a rule of nftables that translates")?;
    // A connected socket accepts answers only from that port.
    sender.connect((Ipv4Addr::LOCALHOST, FIRST)).doing("connecting a socket")?;
    sender.send(b"there").doing("sending a packet")?;
    let mut buffer = [0; 16];
    let (count, from) = second.recv_from(&mut buffer).map_err(|e| {
        Stop::fail(format!("a rule sends on what goes to port {FIRST}, and nothing came to port {SECOND}: {e}"))
    })?;
    ensure!(&buffer[..count] == b"there", "a packet of other bytes came to port {SECOND}");
    second.send_to(b"back", from).doing("answering")?;
    let count = sender.recv(&mut buffer).map_err(|e| {
        Stop::fail(format!("the answer of port {SECOND} does not come back as one of port {FIRST}: {e}"))
    })?;
    ensure!(&buffer[..count] == b"back", "an answer of other bytes came back");
    Ok(())
}

/// Packets cross a bridge that joins two pairs of virtual interfaces, both ways and unchanged.
///
/// Containers in a container get their network this way; Kata's kernel has VETH and BRIDGE
/// (tools/packaging/kernel/configs/fragments/common/network.conf@4.1.0).
fn guest_bridges_pairs_of_interfaces() -> Check {
    Namespace::new()?.run(|| bridges(&["q1", "q3"]))
}

/// Sends packets from `q0`, whose peer is `q1`, to `q2`, whose peer is `q3`, over a bridge with these `ports`.
fn bridges(ports: &[&str]) -> Check {
    let mut links = Links::open().doing("opening the kernel's netlink of routes")?;
    links.pair("q0", "q1", None).doing("making a pair of interfaces")?;
    links.pair("q2", "q3", None).doing("making a pair of interfaces")?;
    links.bridge("bridge0").doing("making a bridge")?;
    for port in ports {
        links.join(port, "bridge0").doing(format!("making {port} a port of the bridge"))?;
    }
    for name in ["bridge0", "q1", "q3"] {
        packets::bring_up(name).doing(format!("bringing {name} up"))?;
    }
    packets::echo_on("q2", ()).doing("answering on the far end")?;
    let back = packets::exchange("q0", Traffic::Frames, PACKETS).doing("sending packets")?;
    links.remove("q2").doing("removing an interface")?;
    ensure!(back == PACKETS, "of {PACKETS} packets that were sent over a bridge, {back} came back unchanged");
    Ok(())
}

/// A program with a tap interface receives the packets that leave by it, and the packets that it writes arrive there.
///
/// VPNs and virtual machines in containers have taps; Kata's kernel has TUN
/// (tools/packaging/kernel/configs/fragments/common/network.conf@4.1.0).
fn guest_has_tap_interfaces() -> Check {
    Namespace::new()?.run(|| {
        let tap = packets::tap("tap0", packets::TapHeader::None).doing("making a tap interface")?;
        let sent = packets::with_answers_from(tap, || packets::exchange("tap0", Traffic::Frames, PACKETS));
        let back =
            sent.doing("reading and writing a tap interface")?.doing("sending packets through a tap interface")?;
        ensure!(back == PACKETS, "of {PACKETS} packets that went out of a tap interface, {back} came back unchanged");
        Ok(())
    })
}

/// Packets cross a VXLAN between two namespaces, both ways and unchanged.
///
/// Overlay networks of clusters use VXLAN, also when programs in containers set them up; Kata's kernel has VXLAN
/// (tools/packaging/kernel/configs/fragments/common/network.conf@4.1.0).
fn guest_tunnels_by_vxlan() -> Check {
    tunnels(42, 42)
}

/// Sends packets between two namespaces through tunnels with these numbers; they cross only if the numbers are the
/// same.
fn tunnels(near_number: u32, far_number: u32) -> Check {
    let (near, far) = (Namespace::new()?, Namespace::new()?);
    let [here, there] = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
    let far_thread = far.thread();
    near.run(move || {
        let mut links = Links::open().doing("opening the kernel's netlink of routes")?;
        links.pair("q0", "q1", Some(far_thread)).doing("making a pair of interfaces")
    })?;
    let end = |interface: &'static str, own: Ipv4Addr, other: Ipv4Addr, number: u32| {
        move || {
            let mut links = Links::open().doing("opening the kernel's netlink of routes")?;
            packets::give(interface, own.into(), 30).doing(format!("giving {interface} an address"))?;
            packets::bring_up(interface).doing(format!("bringing {interface} up"))?;
            links.tunnel("vxlan0", number, own, other).doing("making a VXLAN")
        }
    };
    near.run(end("q0", here, there, near_number))?;
    far.run(end("q1", there, here, far_number))?;
    far.run(|| packets::echo_on("vxlan0", ()).doing("answering on the far end"))?;
    let crossed = near.run(|| {
        let back = packets::exchange("vxlan0", Traffic::Frames, PACKETS).doing("sending packets")?;
        ensure!(back == PACKETS, "of {PACKETS} packets that were sent through a VXLAN, {back} came back unchanged");
        Ok(())
    });
    far.run(|| Links::open().and_then(|mut links| links.remove("vxlan0")).doing("removing a VXLAN"))?;
    crossed
}

/// Packets cross between two macvlans on one interface, and between one of them and the interface's peer, both ways and
/// unchanged.
///
/// Containers in a container get addresses in their network this way; Kata's kernel has MACVLAN
/// (tools/packaging/kernel/configs/fragments/common/network.conf@4.1.0).
fn guest_shares_an_interface_by_macvlan() -> Check {
    Namespace::new()?.run(|| macvlans(MacvlanMode::Bridge))
}

fn macvlans(mode: MacvlanMode) -> Check {
    let mut links = Links::open().doing("opening the kernel's netlink of routes")?;
    links.pair("q0", "q1", None).doing("making a pair of interfaces")?;
    for name in ["m0", "m1"] {
        links.macvlan(name, "q1", mode).doing("making a macvlan")?;
    }
    for name in ["q0", "q1"] {
        packets::bring_up(name).doing(format!("bringing {name} up"))?;
    }
    packets::echo_on("m0", ()).doing("answering on a macvlan")?;
    let crossed = ["q0", "m1"].into_iter().try_for_each(|from| {
        let back = packets::exchange(from, Traffic::Frames, PACKETS).doing(format!("sending packets from {from}"))?;
        ensure!(back == PACKETS, "of {PACKETS} packets that {from} sent to a macvlan, {back} came back unchanged");
        Ok(())
    });
    links.remove("m0").doing("removing a macvlan")?;
    crossed
}

fn listening(port: u16) -> Result<UdpSocket, Stop> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).doing(format!("binding port {port}"))?;
    socket.set_read_timeout(Some(PATIENCE)).doing("setting a deadline")?;
    Ok(socket)
}

fn send(sender: &UdpSocket, port: u16, count: u32) -> Check {
    (0..count)
        .try_for_each(|_| sender.send_to(b"packet", (Ipv4Addr::LOCALHOST, port)).map(drop))
        .doing("sending packets")
}

fn received(socket: &UdpSocket, what: &str) -> Check {
    socket.recv(&mut [0; 16]).map(drop).map_err(|e| Stop::fail(format!("{what} did not arrive: {e}")))
}

/// Receives a packet that has already arrived, if there is one.
fn waiting_packet(socket: &UdpSocket) -> Option<()> {
    socket.set_nonblocking(true).ok()?;
    loop {
        match socket.recv(&mut [0; 16]) {
            Ok(_) => return Some(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests;
