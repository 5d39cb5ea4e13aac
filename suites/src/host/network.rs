//! A pod's interface that traffic control connects to a tap, and a rate limit on the traffic to a tap.

use super::as_root;
use super::modules::load;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Traffic};
use crate::links::{Links, MacvlanMode};
use crate::namespace::Namespace;
use crate::packets::{self, TapHeader};
use crate::row::{Row, row};
use crate::under;
use model::procfs::Mount;
use rustix::process::Pid;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("network.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(a_pods_interface_is_tied_to_a_tap), &[Capability::HostNetwork, Capability::KernelHost], Kernel)
        .blocked_by(&["host::tun_node_is_there", "host::traffic_control_modules_load"]),
    row!(Environment(what_goes_to_a_tap_is_limited), &[Capability::HostRate], Kernel)
        .blocked_by(&["host::tun_node_is_there"])
        .under(&under::GO),
    row!(Environment(a_pods_macvlan_is_tied_to_a_tap), &[Capability::HostNetworkModels], Kernel)
        .blocked_by(&["host::a_pods_interface_is_tied_to_a_tap"]),
    row!(Environment(a_pods_ipvlan_is_tied_to_a_tap), &[Capability::HostNetworkModels], Kernel)
        .blocked_by(&["host::a_pods_interface_is_tied_to_a_tap"]),
    row!(Environment(a_macvtap_carries_a_pods_packets), &[Capability::HostNetworkModels], Kernel),
];

/// The interface that a network plugin creates for a pod, and its peer.
const POD: &str = "eth0";
const OUTSIDE: &str = "veth0";
/// The lower interface of a pod's macvlan or ipvlan.
const LOWER: &str = "lower0";
/// Kata's name for a tap.
const TAP: &str = "tap0_kata";
/// Pairs of interfaces between which packets are redirected: source and target.
type Redirections = &'static [(&'static str, &'static str)];
/// The number of packets that are sent.
const PACKETS: u32 = 16;

/// Packets sent to a pod's interface come out of a tap, and packets sent into the tap leave by the pod's interface,
/// both unchanged.
///
/// This is Kata's default network model, `tcfilter`, which gives a guest the interface that a network plugin has
/// created for its pod. Interface and tap each have an ingress discipline with a u32 filter that matches everything,
/// whose mirred action redirects to the other interface (`setupTCFiltering` in
/// src/runtime/virtcontainers/network_linux.go@4.1.0, `TcFilterModel` in
/// src/runtime-rs/crates/resource/src/network/network_model/tc_filter_model.rs@4.1.0, which leaves the match at its
/// default). The test itself reads the tap, in place of the guest.
fn a_pods_interface_is_tied_to_a_tap(_: &dyn EnvironmentSide) -> Check {
    as_root()?;
    ties(Traffic::Frames, &[(TAP, POD), (POD, TAP)], pair)
}

/// Creates the pod's interface as one end of a veth pair.
fn pair(links: &mut Links, thread: Pid) -> Check {
    links.pair(POD, OUTSIDE, Some(thread)).doing("making a pod's interface")
}

/// Creates one end of a veth pair as the lower interface of the pod's interface.
fn lower(links: &mut Links, thread: Pid) -> Check {
    links.pair(LOWER, OUTSIDE, Some(thread)).doing("making a pair of interfaces")?;
    packets::bring_up(LOWER).doing(format!("bringing {LOWER} up"))
}

/// Packets pass between a tap and a macvlan that the network plugin has created for the pod.
///
/// Kata recognises such an interface by its kind and connects it like any other one
/// (src/runtime-rs/crates/resource/src/network/endpoint/macvlan_endpoint.rs@4.1.0).
fn a_pods_macvlan_is_tied_to_a_tap(env: &dyn EnvironmentSide) -> Check {
    as_root()?;
    load(env, &["macvlan"])?;
    ties(Traffic::Frames, &[(TAP, POD), (POD, TAP)], |links, thread| {
        lower(links, thread)?;
        links.macvlan(POD, LOWER, MacvlanMode::Bridge).doing("making a pod's macvlan")
    })
}

/// Packets pass between a tap and an ipvlan that the network plugin has created for the pod; the ipvlan receives
/// packets for its IP address.
///
/// Kata recognises such an interface by its kind
/// (src/runtime-rs/crates/resource/src/network/endpoint/ipvlan_endpoint.rs@4.1.0).
fn a_pods_ipvlan_is_tied_to_a_tap(env: &dyn EnvironmentSide) -> Check {
    as_root()?;
    load(env, &["ipvlan"])?;
    ties(Traffic::Ipv4, &[(TAP, POD), (POD, TAP)], |links, thread| {
        lower(links, thread)?;
        links.ipvlan(POD, LOWER).doing("making a pod's ipvlan")?;
        packets::give(POD, packets::ANSWERED.into(), 24).doing("giving a pod's ipvlan an address")
    })
}

/// Packets sent to a pod's interface come out of the device of a macvtap on it, and packets sent into the device leave
/// by the pod's interface, both unchanged.
///
/// With `internetworking_model = "macvtap"` Kata creates a macvtap and passes its device, /dev/tap with the interface's
/// number, to QEMU (`createMacvtapFds` in src/runtime/virtcontainers/network_linux.go@4.1.0). The test itself reads the
/// device, in place of QEMU.
fn a_macvtap_carries_a_pods_packets(env: &dyn EnvironmentSide) -> Check {
    as_root()?;
    load(env, &["macvtap"])?;
    let mounts = env.read("/proc/self/mountinfo")?;
    let makes_nodes =
        Mount::all(mounts.as_bytes()).any(|mount| mount.at == Path::new("/dev") && mount.kind == "devtmpfs");
    if !makes_nodes {
        return Err(Stop::skip("the environment's /dev is no devtmpfs, in which the kernel puts a macvtap's device"));
    }
    // As in Kata, the number is above all numbers of the host; it also differs between concurrent runs.
    let number = NUMBERS + i32::try_from(std::process::id() % 4096).unwrap_or(0);
    carries(Traffic::Frames, move |links, thread| {
        pair(links, thread)?;
        links.macvtap(TAP, number, POD).doing("making a macvtap")?;
        packets::macvtap(number.unsigned_abs()).doing("opening a macvtap's device")
    })
}

/// Above the numbers of a host's interfaces.
const NUMBERS: i32 = 8192;

/// Connects a pod's interface to a tap; the interface's peer is in the namespace of a thread.
fn ties(traffic: Traffic, redirections: Redirections, make: fn(&mut Links, Pid) -> Check) -> Check {
    carries(traffic, move |links, thread| {
        make(links, thread)?;
        let tap = packets::tap(TAP, TapHeader::None).doing("making a tap interface")?;
        for (from, to) in redirections {
            links.redirect(from, to).doing(format!("redirecting what comes into {from} to {to}"))?;
        }
        Ok(tap)
    })
}

/// Sends packets to a pod's interface, and answers them on the descriptor that `make` returns.
fn carries(traffic: Traffic, make: impl FnOnce(&mut Links, Pid) -> Result<OwnedFd, Stop> + Send + 'static) -> Check {
    let (pod, outside) = (Namespace::new()?, Namespace::new()?);
    let thread = outside.thread();
    let (hand_out, handed_out) = channel();
    pod.run(move || {
        let mut links = Links::open().doing("opening the kernel's netlink of routes")?;
        let tap = make(&mut links, thread)?;
        for name in [POD, TAP] {
            packets::bring_up(name).doing(format!("bringing {name} up"))?;
        }
        hand_out.send(tap).map_err(|_| Stop::error("nobody takes the tap"))
    })?;
    let tap = handed_out.recv().map_err(|_| Stop::error("no tap was handed out"))?;
    let crossed = packets::with_answers_from(tap, || {
        outside.run(move || {
            let back = packets::exchange(OUTSIDE, traffic, PACKETS).doing("sending packets")?;
            ensure!(
                back == PACKETS,
                "of {PACKETS} packets that were sent to a pod's interface, {back} came back unchanged from the tap that \
                 it is tied to"
            );
            Ok(())
        })
    });
    crossed.doing("reading and writing a tap interface")?
}

/// The rate limit of the tap, bytes per second.
const RATE: u32 = 10_000;
/// The number of packets that are sent, of more than 600 bytes each.
const MANY: u32 = 64;
/// The least time that these packets must take after an initial burst: nearly three quarters of the nominal time.
const LEAST: Duration = Duration::from_millis(2500);

/// A rate limit on a tap holds: packets that otherwise pass at once are delayed, and none is lost.
///
/// QEMU is given no limit. With `rx_rate_limiter_max_rate` and `tx_rate_limiter_max_rate` the Go runtime has the host's
/// kernel set the limit, by the discipline HTB (`addHTBQdisc` in src/runtime/virtcontainers/network_linux.go@4.1.0).
/// The test itself reads the tap, in place of the guest.
fn what_goes_to_a_tap_is_limited(_: &dyn EnvironmentSide) -> Check {
    as_root()?;
    Namespace::new()?.run(|| {
        let tap = packets::tap(TAP, TapHeader::None).doing("making a tap interface")?;
        packets::bring_up(TAP).doing(format!("bringing {TAP} up"))?;
        let took = packets::with_answers_from(tap, || {
            let free = sent()?;
            let mut links = Links::open().doing("opening the kernel's netlink of routes")?;
            links.limit(TAP, RATE).doing(format!("limiting what goes to {TAP} by the discipline HTB"))?;
            Ok::<_, Stop>([free, sent()?])
        });
        let [free, limited] = took.doing("reading and writing a tap interface")??;
        is_limited(free, limited)
    })
}

/// Measures how long packets take to the tap and back.
fn sent() -> Result<Duration, Stop> {
    let began = Instant::now();
    let back = packets::exchange(TAP, Traffic::Frames, MANY).doing("sending packets")?;
    ensure!(back == MANY, "of {MANY} packets that were sent to a tap, {back} came back unchanged");
    Ok(began.elapsed())
}

fn is_limited(free: Duration, limited: Duration) -> Check {
    if free >= LEAST / 2 {
        return Err(Stop::error(format!("{MANY} packets take {free:.1?} without a limit: no limit can be seen")));
    }
    ensure!(
        limited >= LEAST,
        "{MANY} packets of more than 600 bytes went to a tap within {limited:.1?}, which is limited to {RATE} bytes a \
         second; they took {free:.1?} before"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::message;

    #[test]
    fn a_rate_limit_is_detected_by_how_long_packets_take() {
        let (soon, late) = (Duration::from_millis(40), Duration::from_secs(4));
        assert_eq!(is_limited(soon, late), Ok(()));
        assert!(matches!(is_limited(soon, soon), Err(Stop::Fail { .. })));
        assert!(matches!(is_limited(late, late), Err(Stop::Error { .. })));
    }

    /// Runs natively: needs root, and a kernel with traffic control.
    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
    fn an_interface_redirected_one_way_only_is_found() {
        assert_eq!(ties(Traffic::Frames, &[(TAP, POD), (POD, TAP)], pair), Ok(()));
        let lost =
            "of 16 packets that were sent to a pod's interface, 0 came back unchanged from the tap that it is tied to";
        let halves: [Redirections; 2] = [&[(TAP, POD)], &[(POD, TAP)]];
        for half in halves {
            assert_eq!(message(ties(Traffic::Frames, half, pair)), lost, "{half:?}");
        }
        let twice = message(ties(Traffic::Frames, &[(TAP, POD), (TAP, POD)], pair));
        assert_eq!(twice, "redirecting what comes into tap0_kata to eth0: File exists (os error 17)");
    }
}
