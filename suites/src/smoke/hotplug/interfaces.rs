//! Plugged network interfaces: many of them, taps with vhost-net and without, and behind a firmware's bridge.

use super::forms::{self, Bridge};
use super::unplug::{By, delete};
use super::{CONTAINERS, on_the_bridge, on_the_bridge_still};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Traffic};
use crate::row::{Row, row};
use crate::smoke::peer::Peer;
use crate::test::{Need, Place};
use model::profile::Runtime;
use serde_json::json;

const SOURCE: &str = include_str!("interfaces.rs");

pub(in crate::smoke) static ROWS: &[Row] = &[
    row!(Environment(many_interfaces_are_hotplugged), &[Capability::VmmHotplugMany], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(240),
    row!(Environment(tap_is_hotplugged_with_vhost_and_without), &[Capability::VmmHotplugTap], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .needs(&[Need::VhostNet])
        .seconds(240),
];

/// The number of interfaces that are plugged into one guest.
const MANY: u32 = 8;
/// The number of packets that each interface carries.
const PACKETS: u32 = 8;

/// 8 network interfaces that are plugged into Kata's PCI bridge one after the other are each found at the address that
/// Kata predicts, and carry packets both ways.
///
/// A pod has one for each network that it is attached to; the bridge's slots are counted from 1 (`addDeviceToBridge` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, `find_free_slot` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0), and the bridge's windows have a fixed size.
fn many_interfaces_are_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    env.note("the plugged interfaces' other ends are sockets of the harness's, not taps".to_owned());
    let mut peers = Vec::new();
    for slot in 1..=MANY {
        let peer = Peer::listen()?;
        forms::plug_interface(machine, slot, &peer.address().to_string())?;
        peers.push((slot, peer));
    }
    for (slot, peer) in &peers {
        let name = on_the_bridge(env, machine, Bridge::Plain, *slot, "net")?;
        carries_packets(machine, &name)?;
        let seen = peer.seen();
        ensure!(seen >= u64::from(PACKETS), "packets of {name}, in slot {slot}, reached another interface's end");
    }
    Ok(())
}

/// A tap that is passed to a running QEMU as a descriptor becomes an interface of the guest, carries packets both ways
/// and can be unplugged: with vhost-net, and without it if the runtime supports that.
///
/// Both runtimes plug an interface this way (`hotAddNetDevice` in src/runtime/virtcontainers/qemu.go@3.32.0,
/// `hotplug_network_device` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0). With `disable_vhost_net` the Go
/// runtime lets QEMU move the packets; runtime-rs respects that only at the start of a guest, and passes vhost-net with
/// every interface that it plugs.
fn tap_is_hotplugged_with_vhost_and_without(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    for by_vhost in ways(machine.profile().runtime) {
        let tap = env.tap()?;
        let id = forms::plug_tap(machine, &tap, *by_vhost)?;
        // QEMU has its own copies of the descriptors by now.
        drop(tap);
        let name = on_the_bridge(env, machine, Bridge::Plain, 1, "net")?;
        carries_packets(machine, &name).map_err(|stop| with(stop, *by_vhost))?;
        delete(machine, &id, By::Kernel(&mut on_the_bridge_still))?;
        machine.qmp("netdev_del", json!({ "id": forms::netdev(1) }))?;
    }
    Ok(())
}

/// Returns the ways in which a runtime can plug an interface: with vhost-net (true), and without.
fn ways(runtime: Runtime) -> &'static [bool] {
    match runtime {
        Runtime::Go => &[true, false],
        Runtime::Rs => &[true],
    }
}

/// Adds to a failure's message whether vhost-net was used.
fn with(stop: Stop, by_vhost: bool) -> Stop {
    let how = if by_vhost { "with vhost-net" } else { "without vhost-net" };
    match stop {
        Stop::Fail { message, blames, record, asked_for, grounds, detail } => {
            Stop::Fail { message: format!("{how}: {message}"), blames, record, asked_for, grounds, detail }
        }
        other => other,
    }
}

/// Checks that an interface plugged into the bridge behind a PCIe port carries packets, if the runtime puts the bridge
/// there.
pub(in crate::smoke) fn is_plugged_behind_a_port(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
    let peer = Peer::listen()?;
    forms::plug_interface(machine, 1, &peer.address().to_string())?;
    let name = on_the_bridge(env, machine, Bridge::BehindAPort, 1, "net")?;
    carries_packets(machine, &name)
}

fn carries_packets(machine: &mut dyn Machine, name: &str) -> Check {
    let sent = Question::Packets { interface: name.to_owned(), traffic: Traffic::Frames, count: PACKETS };
    let back = machine.ask(sent)?.count("sending packets from the guest")?;
    ensure!(back == PACKETS, "of {PACKETS} packets that the guest sent over {name}, {back} came back unchanged");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Answer;
    use crate::outcome::Component;
    use crate::smoke::fake_machine::FakeMachine;

    #[test]
    fn lost_packets_are_reported_with_or_without_vhost_net() {
        let mut machine = FakeMachine::of("go-3.32");
        let count = |count| move |_: &Question| Some(Answer::Count { count });
        machine.answers = Box::new(count(PACKETS));
        assert_eq!(carries_packets(&mut machine, "eth0"), Ok(()));
        machine.answers = Box::new(count(3));
        let lost = carries_packets(&mut machine, "eth0").unwrap_err();
        let message = "of 8 packets that the guest sent over eth0, 3 came back unchanged";
        assert_eq!(lost, Stop::fail(message));
        assert_eq!(with(lost, false), Stop::fail(format!("without vhost-net: {message}")));
        let qemus = Stop::blame(Component::Qemu, "refused");
        assert_eq!(with(qemus, true), Stop::blame(Component::Qemu, "with vhost-net: refused"));
        assert_eq!(with(Stop::error("lost"), true), Stop::error("lost"));
    }
}
