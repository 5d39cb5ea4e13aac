//! A guest's network interface: IPv4 and IPv6 traffic, a queue for each CPU, its address, its MTU.

use super::guest_files::{list, load, read};
use super::peer::Peer;
use super::vhost::interface;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, HARDWARE_ADDRESS, Machine, Question, Setting, Traffic};
use crate::packets::LARGEST_MTU;
use crate::row::{Row, row};
use crate::test::{Need, Place};
use model::profile::ModuleUse;
use std::collections::BTreeSet;

const SOURCE: &str = include_str!("network.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(both_internet_protocols_cross_the_network), &[Capability::VmmNetIp], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::kernel_has_the_options_that_the_agent_needs", "smoke::packets_cross_the_network"])
        .seconds(120),
    row!(Environment(interface_has_the_address_and_the_mtu_asked_for), &[Capability::VmmNetLink], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::packets_cross_the_network"])
        .seconds(120),
    row!(Environment(packets_cross_a_queue_for_each_cpu), &[Capability::VmmNetQueues], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::two_cpus_both_work", "smoke::packets_cross_a_tap_by_vhost_net"])
        .needs(&[Need::VhostNet, Need::Cpus])
        .seconds(120),
];

/// The number of packets of each kind.
const PACKETS: u32 = 16;
/// The number of CPUs, and of queues, of a guest with several.
const QUEUES: u32 = 2;

/// UDP over IPv4 and over IPv6 crosses the guest's network interface both ways, unchanged.
///
/// Kata's agent gives the interface the pod's addresses of both families (`update_interface` in
/// src/agent/src/netlink.rs@4.1.0). If the environment has taps, checksums are left to the device; if not, the other
/// end is a socket of the harness's.
fn both_internet_protocols_cross_the_network(env: &dyn EnvironmentSide) -> Check {
    let peer = Peer::listen()?;
    let mut machine = env.boot_with_peer(peer.address())?;
    let machine = machine.as_mut();
    let name = interface(env, machine)?;
    carries(machine, &name, &[(Traffic::Ipv4, "datagrams over IPv4"), (Traffic::Ipv6, "datagrams over IPv6")])?;
    peer.note(env);
    Ok(())
}

fn carries(machine: &mut dyn Machine, name: &str, kinds: &[(Traffic, &str)]) -> Check {
    for (traffic, what) in kinds {
        let sent = Question::Packets { interface: name.to_owned(), traffic: *traffic, count: PACKETS };
        let back = machine.ask(sent)?.count(&format!("sending {what} from the guest"))?;
        ensure!(back == PACKETS, "of {PACKETS} {what} that the guest sent, {back} came back unchanged");
    }
    Ok(())
}

/// MTUs of pod networks other than the usual one: that of an overlay network, and that of a fast network.
const MTUS: [u16; 2] = [1400, LARGEST_MTU];

/// The guest's network interface has the requested hardware address, and with a smaller MTU and with a larger one
/// frames of that size cross it both ways, unchanged.
///
/// Kata's agent finds the interface by its address and gives it the pod's MTU (`update_interface` in
/// src/agent/src/netlink.rs@4.1.0); QEMU gets the address as an argument (`genericNetwork` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, `get_network_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0) and no MTU.
fn interface_has_the_address_and_the_mtu_asked_for(env: &dyn EnvironmentSide) -> Check {
    let peer = Peer::listen()?;
    let mut machine = env.boot_with_peer(peer.address())?;
    let machine = machine.as_mut();
    let name = interface(env, machine)?;
    has_the_address(machine, &name)?;
    for mtu in MTUS {
        let question = Question::Write { path: format!("/sys/class/net/{name}/mtu"), text: mtu.to_string() };
        machine.ask(question)?.text(&format!("giving {name} the MTU {mtu} in the guest"))?;
        let what = format!("frames of {mtu} bytes");
        carries(machine, &name, &[(Traffic::LargestFrames, what.as_str())])?;
    }
    peer.note(env);
    Ok(())
}

fn has_the_address(machine: &mut dyn Machine, name: &str) -> Check {
    let address = read(machine, &format!("/sys/class/net/{name}/address"))?;
    ensure!(
        address.trim() == HARDWARE_ADDRESS,
        "{name} was to have the hardware address {HARDWARE_ADDRESS}, and has {:?} in the guest",
        address.trim()
    );
    Ok(())
}

/// The network interface of a guest with two CPUs has two queues, each with a descriptor of the tap and of vhost-net:
/// each CPU sends by a queue of its own, and what it sends comes back unchanged.
///
/// The Go runtime opens as many queues as the guest has CPUs (`xConnectVMNetwork` in
/// src/runtime/virtcontainers/network_linux.go@4.1.0), runtime-rs `network_queues` of them
/// (src/runtime-rs/config/configuration-qemu-runtime-rs.toml.in@4.1.0).
fn packets_cross_a_queue_for_each_cpu(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::NetworkQueues(QUEUES))?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::Other)?;
    let name = interface(env, machine)?;
    let queues = list(machine, &format!("/sys/class/net/{name}/queues"))?;
    let sending = queues.iter().filter(|queue| queue.starts_with("tx-")).count();
    ensure!(
        u32::try_from(sending) == Ok(QUEUES),
        "{name} was given {QUEUES} queues, and has {sending} to send with in the guest"
    );
    let mut used = BTreeSet::new();
    for cpu in 0..QUEUES {
        used.insert(queue_of(machine, &name, &queues, cpu)?);
    }
    ensure!(used.len() == sending, "{name} has {sending} queues, and the guest's CPUs send only by {used:?}");
    for cpu in 0..QUEUES {
        let sent = Question::PacketsFrom { cpu, interface: name.clone(), traffic: Traffic::Frames, count: PACKETS };
        let back = machine.ask(sent)?.count(&format!("sending packets from CPU {cpu} of the guest"))?;
        ensure!(back == PACKETS, "of {PACKETS} packets that the guest's CPU {cpu} sent, {back} came back unchanged");
    }
    Ok(())
}

/// Returns the queue by which a CPU sends, `tx-1`.
///
/// The driver states it for the kernel (`virtnet_set_affinity` in Linux's drivers/net/virtio_net.c, XPS); a kernel
/// without that would choose by itself.
fn queue_of(machine: &mut dyn Machine, name: &str, queues: &[String], cpu: u32) -> Result<String, Stop> {
    for queue in queues.iter().filter(|queue| queue.starts_with("tx-")) {
        let path = format!("/sys/class/net/{name}/queues/{queue}/xps_cpus");
        let Ok(mask) = machine.ask(Question::Read { path })?.text("") else {
            return Err(Stop::skip("the guest's kernel does not say which CPU sends by which queue"));
        };
        if has_cpu(&mask, cpu) {
            return Ok(queue.clone());
        }
    }
    Err(Stop::fail(format!("{name} has no queue by which the guest's CPU {cpu} sends")))
}

/// Checks whether a mask of CPUs has one of the first 32: `00000000,00000002` has CPU 1.
fn has_cpu(mask: &str, cpu: u32) -> bool {
    let lowest = mask.trim().rsplit(',').next().unwrap_or_default();
    u32::from_str_radix(lowest, 16).is_ok_and(|bits| bits.checked_shr(cpu).is_some_and(|bits| bits & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Answer;
    use crate::smoke::fake_machine::FakeMachine;

    #[test]
    fn an_interface_without_the_requested_mac_address_fails() {
        let judged = |address: &str| {
            let mut machine = FakeMachine::of("rs-4.1");
            machine.files.insert("/sys/class/net/eth0/address".to_owned(), format!("{address}\n"));
            has_the_address(&mut machine, "eth0")
        };
        assert_eq!(judged(HARDWARE_ADDRESS), Ok(()));
        let message =
            "eth0 was to have the hardware address 02:00:ca:fe:00:01, and has \"52:54:00:12:34:56\" in the guest";
        assert_eq!(judged("52:54:00:12:34:56"), Err(Stop::fail(message)));
    }

    #[test]
    fn the_queue_of_a_cpu_is_read_from_its_mask() {
        let queues = ["rx-0", "rx-1", "tx-0", "tx-1"].map(str::to_owned);
        let mut machine = FakeMachine::of("go-3.32");
        assert!(matches!(queue_of(&mut machine, "eth0", &queues, 1), Err(Stop::Skip { .. })));
        for (queue, mask) in [("tx-0", "1\n"), ("tx-1", "00000000,00000002\n")] {
            machine.files.insert(format!("/sys/class/net/eth0/queues/{queue}/xps_cpus"), mask.to_owned());
        }
        assert_eq!(queue_of(&mut machine, "eth0", &queues, 0), Ok("tx-0".to_owned()));
        assert_eq!(queue_of(&mut machine, "eth0", &queues, 1), Ok("tx-1".to_owned()));
        assert!(queue_of(&mut machine, "eth0", &queues, 2).is_err());
    }

    #[test]
    fn a_protocol_whose_packets_are_lost_is_named() {
        let mut machine = FakeMachine::of("rs-4.1");
        machine.answers = Box::new(|question| match question {
            Question::Packets { traffic: Traffic::Ipv6, .. } => Some(Answer::Count { count: 0 }),
            Question::Packets { .. } => Some(Answer::Count { count: PACKETS }),
            _ => None,
        });
        let kinds = [(Traffic::Ipv4, "datagrams over IPv4"), (Traffic::Ipv6, "datagrams over IPv6")];
        assert_eq!(carries(&mut machine, "eth0", &kinds[..1]), Ok(()));
        let lost = "of 16 datagrams over IPv6 that the guest sent, 0 came back unchanged";
        assert_eq!(carries(&mut machine, "eth0", &kinds), Err(Stop::fail(lost)));
    }
}
