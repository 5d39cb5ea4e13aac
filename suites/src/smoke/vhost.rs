//! What needs the host's vhost drivers: vsock and the network. An environment without them skips these.

use super::guest_files::list;
use super::hotplug::waits::{Wait, within};
use super::peer::Peer;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Traffic};
use crate::row::{Row, row};
use crate::test::{Need, Place};
use crate::vsock;
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
    row!(Environment(guest_has_a_network_interface), &[Capability::VmmNet], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&[
            "smoke::kernel_boots_to_userspace",
            "smoke::qemu_has_virtio_net",
            "smoke::kernel_has_the_modules_of_containers",
        ])
        .needs(&[Need::VhostNet])
        .seconds(120),
    row!(Environment(packets_cross_the_network), &[Capability::VmmNet], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&[
            "smoke::kernel_boots_to_userspace",
            "smoke::qemu_has_virtio_net",
            "smoke::kernel_has_the_modules_of_containers",
        ])
        .seconds(120),
];

/// A guest with Kata's vhost-vsock device binds it to its vsock transport.
///
/// It is the only channel to Kata's guest agent under QEMU; without a bound device the runtime times out dialling port
/// 1024.
fn guest_has_a_vsock_transport(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_vsock()?;
    let drivers = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport";
    let is_device = |name: &str| name.starts_with("virtio");
    let what = "a virtio device bound to the vsock transport";
    appears(env, machine.as_mut(), drivers, is_device, what, &["VIRTIO_VSOCKETS"])
}

/// 1 MiB goes from the host to the guest and back over vsock on port 1024, and as much from the guest to the host and
/// back.
///
/// Port 1024 is where Kata's agent listens (`vsock://-1:1024`); a guest that is told to (`agent.log_vport`) dials its host
/// with its logs (src/runtime/virtcontainers/kata_agent.go@3.29.0).
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
    // The host's side is the machine's: a port that somebody else listens on is taken in another run.
    let port = vsock::TEST_PORTS.start + cid % (vsock::TEST_PORTS.end - vsock::TEST_PORTS.start);
    let listener = env.listen(port).map_err(|e| Stop::error(format!("listening on vsock on the host: {e}")))?;
    vsock::echo(listener);
    let guest = machine.ask(Question::VsockDial { port, bytes })?.count("dialling the host over vsock")?;
    ensure!(guest == bytes, "of {bytes} bytes to the host, {guest} came back unchanged");
    Ok(())
}

/// Runs something that may block for ever in a thread of its own, which is then left behind.
fn in_a_thread<T: Send + 'static>(
    deadline: Duration,
    doing: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Stop> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(work()));
    match told.recv_timeout(deadline) {
        Ok(result) => result.map_err(|e| Stop::fail(format!("{doing}: {e}"))),
        Err(_) => Err(Stop::fail(format!("{doing}: not finished within {deadline:?}"))),
    }
}

/// A guest with Kata's vhost-net interface sees a network device besides its loopback.
///
/// Kata moves the pod's interface onto a tap and attaches it this way; the agent then configures the guest's side.
fn guest_has_a_network_interface(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_network()?;
    has_an_interface(env, machine.as_mut())
}

/// Packets cross the guest's network interface both ways, unchanged.
///
/// An interface that is listed and carries nothing leaves a pod without a network. Where the environment has no taps, the
/// other end is a socket of the harness's, which shows the guest's driver and QEMU's device, and leaves vhost-net and the
/// capability to environments that have them.
fn packets_cross_the_network(env: &dyn EnvironmentSide) -> Check {
    let peer = Peer::listen()?;
    let mut machine = env.boot_with_peer(peer.address())?;
    let interface = interface(env, machine.as_mut())?;
    let packets = 16;
    let back = machine
        .ask(Question::Packets { interface, traffic: Traffic::Frames, count: packets })?
        .count("sending packets from the guest")?;
    ensure!(back == packets, "of {packets} packets that the guest sent, {back} came back unchanged");
    Ok(())
}

/// Waits for a network interface besides the loopback, and gives its name.
pub(super) fn interface(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Result<String, Stop> {
    has_an_interface(env, machine)?;
    Ok(list(machine, "/sys/class/net")?.into_iter().find(|name| name != "lo").unwrap_or_default())
}

fn has_an_interface(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
    appears(env, machine, "/sys/class/net", |name| name != "lo", "a network interface besides lo", &["VIRTIO_NET"])
}

/// How long a driver may take to bind a device that it has from the beginning; Kata has no deadline of its own for it.
const APPEARS: Duration = Duration::from_secs(10);

/// Waits until a folder of the guest has such a name, longer where the guest is slower; at that deadline a folder
/// that has changed meanwhile is no failure.
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

/// What has changed in a folder, if anything has.
fn change(folder: &str, before: &[String], now: &[String]) -> Option<String> {
    (before != now).then(|| format!("{folder} had [{}], and has [{}] now", before.join(", "), now.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::change;

    #[test]
    fn a_folder_that_stays_as_it_was_is_no_progress() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(change("/sys/class/net", &names(&["lo"]), &names(&["lo"])), None);
        let changed = change("/sys/class/net", &[], &names(&["lo"])).unwrap();
        assert_eq!(changed, "/sys/class/net had [], and has [lo] now");
    }
}
