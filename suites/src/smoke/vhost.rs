//! Tests of vsock and the network that need the host's vhost drivers; without these they are skipped.

use super::guest_files::{list, load};
use super::hotplug::waits::{Wait, within};
use super::peer::Peer;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Setting, Traffic};
use crate::row::{Row, row};
use crate::test::{Need, Place};
use crate::vsock;
use model::profile::ModuleUse;
use std::time::Duration;

const SOURCE: &str = include_str!("vhost.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(guest_has_a_vsock_transport), &[Capability::VmmVsock], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&[
            "smoke::kernel_boots_to_userspace",
            "smoke::qemu_has_vhost_vsock",
            "smoke::kernel_has_the_modules_of_vsock",
        ])
        .needs(&[Need::VhostVsock])
        .seconds(120),
    row!(Environment(vsock_carries_bytes_both_ways), &[Capability::VmmVsock], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::guest_has_a_vsock_transport"])
        .needs(&[Need::VhostVsock])
        .seconds(120),
    row!(Environment(packets_cross_a_tap_by_vhost_net), &[Capability::VmmNet], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(NETWORK)
        .needs(&[Need::VhostNet])
        .seconds(120),
    row!(Environment(packets_cross_a_tap_without_vhost_net), &[Capability::VmmNet], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(NETWORK)
        .needs(&[Need::VhostNet])
        .seconds(120),
    row!(Environment(packets_cross_the_network), &[Capability::VmmNet], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(NETWORK)
        .seconds(120),
];

/// The tests that must pass before anything can cross an interface.
const NETWORK: &[&str] =
    &["smoke::kernel_boots_to_userspace", "smoke::qemu_has_virtio_net", "smoke::kernel_has_the_modules_of_containers"];

/// A guest with Kata's vhost-vsock device binds it to the guest's vsock transport.
///
/// This is the only channel to Kata's guest agent under QEMU; without a bound device the runtime times out dialling
/// port 1024. The agent listens on it (`DEFAULT_AGENT_VSOCK_PORT` in src/libs/kata-types/src/config/default.rs@4.1.0),
/// and the runtime adds the device in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0 or as
/// `VHostVSockPCI` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0.
fn guest_has_a_vsock_transport(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_vsock()?;
    let drivers = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport";
    let is_device = |name: &str| name.starts_with("virtio");
    let what = "a virtio device bound to the vsock transport";
    appears(env, machine.as_mut(), drivers, is_device, what, &["VIRTIO_VSOCKETS"])
}

/// 1 MiB is sent from the host to the guest and back over vsock on port 1024, and as much from the guest to the host
/// and back.
///
/// Kata's agent listens on port 1024 (`vsock://-1:1024`); with `agent.log_vport` a guest connects to its host to send
/// logs (src/runtime/virtcontainers/kata_agent.go@3.29.0).
fn vsock_carries_bytes_both_ways(env: &dyn EnvironmentSide) -> Check {
    let bytes = 1 << 20;
    let mut machine = env.boot_with_vsock()?;
    let cid = machine.guest_cid().ok_or_else(|| Stop::error("the guest was given no vsock device"))?;
    machine.ask(Question::VsockEcho { port: vsock::AGENT_PORT })?.text("listening on vsock in the guest")?;
    let dialling = "dialling the guest over vsock";
    let stream = env.dial(cid, vsock::AGENT_PORT).map_err(|e| match e.raw_os_error() {
        Some(_) => Stop::fail(format!("{dialling}: {e}")),
        None => Stop::error(format!("{dialling}: {e}")),
    })?;
    let host = in_a_thread(Duration::from_secs(60), dialling, move || vsock::exchange(stream, bytes))?;
    ensure!(host == bytes, "of {bytes} bytes to the guest, {host} came back unchanged");
    // The host's ports belong to the whole machine: choose one by the guest's context id, so that concurrent runs do
    // not clash.
    let port = vsock::TEST_PORTS.start + cid % (vsock::TEST_PORTS.end - vsock::TEST_PORTS.start);
    let listener = env.listen(port).map_err(|e| Stop::error(format!("listening on vsock on the host: {e}")))?;
    vsock::echo(listener);
    let guest = machine.ask(Question::VsockDial { port, bytes })?.count("dialling the host over vsock")?;
    ensure!(guest == bytes, "of {bytes} bytes to the host, {guest} came back unchanged");
    Ok(())
}

/// Runs something that may block for ever in a separate thread, which is then left behind.
pub(super) fn in_a_thread<T: Send + 'static>(
    deadline: Duration,
    doing: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Stop> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(deadline) {
        Ok(result) => result.map_err(|e| Stop::fail(format!("{doing}: {e}"))),
        Err(_) => Err(Stop::fail(format!("{doing}: not finished within {deadline:?}"))),
    }
}

/// Packets cross a tap both ways, unchanged, moved by vhost-net: the network interface that both runtimes ship.
///
/// Kata connects the pod's interface to a tap and passes QEMU descriptors of the tap and of /dev/vhost-net
/// (`genericNetwork` in src/runtime/virtcontainers/qemu_arch_base.go@3.32.0, `Netdev` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0). An interface that exists in the guest and
/// carries nothing leaves a pod without a network.
fn packets_cross_a_tap_by_vhost_net(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_network()?;
    cross(env, machine.as_mut(), "over a tap with vhost-net")
}

/// Packets cross a tap both ways, unchanged, moved by QEMU itself.
///
/// With `disable_vhost_net` neither runtime passes vhost-net to QEMU (the same functions): the setting is for users who
/// prefer less involvement of the host's kernel to a fast network
/// (src/runtime/config/configuration-qemu.toml.in@3.32.0), and it is shipped for confidential guests
/// (src/runtime-rs/config/configuration-qemu-se-runtime-rs.toml.in@4.1.0).
fn packets_cross_a_tap_without_vhost_net(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::NoVhostNet)?;
    load(machine.as_mut(), ModuleUse::Other)?;
    cross(env, machine.as_mut(), "over a tap without vhost-net")
}

/// Packets cross the guest's network interface both ways, unchanged, whatever its other end is.
///
/// If the environment has no taps, the other end is a socket of the harness's. Then the test shows the guest's driver
/// and QEMU's device, but not taps and vhost-net, with which Kata connects every interface: that capability is left to
/// environments with taps. The device is `VirtioNetPCI` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0, and in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0; Kata's own test of a pod's network is
/// tests/integration/kubernetes/k8s-nginx-connectivity.bats@4.1.0.
fn packets_cross_the_network(env: &dyn EnvironmentSide) -> Check {
    let peer = Peer::listen()?;
    let mut machine = env.boot_with_peer(peer.address())?;
    cross(env, machine.as_mut(), "over its interface")?;
    peer.note(env);
    Ok(())
}

/// Sends packets over the guest's interface and checks that they come back; `how` describes the connection.
fn cross(env: &dyn EnvironmentSide, machine: &mut dyn Machine, how: &str) -> Check {
    let interface = interface(env, machine)?;
    let packets = 16;
    let sent = Question::Packets { interface, traffic: Traffic::Frames, count: packets };
    let back = machine.ask(sent)?.count("sending packets from the guest")?;
    ensure!(back == packets, "of {packets} packets that the guest sent {how}, {back} came back unchanged");
    Ok(())
}

/// Waits for a network interface other than the loopback, and returns its name.
pub(super) fn interface(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Result<String, Stop> {
    has_an_interface(env, machine)?;
    Ok(list(machine, "/sys/class/net")?.into_iter().find(|name| name != "lo").unwrap_or_default())
}

fn has_an_interface(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
    appears(env, machine, "/sys/class/net", |name| name != "lo", "a network interface besides lo", &["VIRTIO_NET"])
}

/// How long a driver may take to bind a device that exists from the start; Kata has no deadline of its own for this.
const APPEARS: Duration = Duration::from_secs(10);

/// Waits until a directory of the guest has a wanted name, longer for a slower guest; a directory that has changed by
/// the deadline counts as progress.
fn appears(
    env: &dyn EnvironmentSide,
    machine: &mut dyn Machine,
    folder: &str,
    wanted: impl Fn(&str) -> bool,
    what: &str,
    options: &[&str],
) -> Check {
    let wait = Wait::of_test(machine, APPEARS, &format!("{folder} had {what}"));
    let before = list(machine, folder)?;
    let found = |machine: &mut dyn Machine| Ok(list(machine, folder)?.iter().any(|name| wanted(name)).then_some(()));
    let progress = |machine: &mut dyn Machine| Ok(change(folder, &before, &list(machine, folder)?));
    within(env, machine, &wait, options, found, progress)
}

/// Describes how a directory has changed, if it has.
fn change(folder: &str, before: &[String], now: &[String]) -> Option<String> {
    (before != now).then(|| format!("{folder} had [{}], and has [{}] now", before.join(", "), now.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::change;

    #[test]
    fn an_unchanged_folder_is_no_progress() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(change("/sys/class/net", &names(&["lo"]), &names(&["lo"])), None);
        let changed = change("/sys/class/net", &[], &names(&["lo"])).unwrap();
        assert_eq!(changed, "/sys/class/net had [], and has [lo] now");
    }
}
