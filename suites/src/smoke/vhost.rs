//! What needs the host's vhost drivers: vsock and the network. An environment without them skips these.

use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Environment, Machine, Question};
use std::time::{Duration, Instant};

/// A guest with Kata's vhost-vsock device binds it to its vsock transport.
///
/// It is the only channel to Kata's guest agent under QEMU; without a bound device the runtime times out dialling port
/// 1024.
pub(super) fn guest_has_a_vsock_transport(env: &dyn Environment) -> Check {
    let mut machine = env.boot_with_vsock()?;
    let drivers = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport";
    appears(
        machine.as_mut(),
        drivers,
        |name| name.starts_with("virtio"),
        "a virtio device bound to the vsock transport",
    )
}

/// A guest with Kata's vhost-net interface sees a network device besides its loopback.
///
/// Kata moves the pod's interface onto a tap and attaches it this way; the agent then configures the guest's side.
pub(super) fn guest_has_a_network_interface(env: &dyn Environment) -> Check {
    let mut machine = env.boot_with_network()?;
    appears(machine.as_mut(), "/sys/class/net", |name| name != "lo", "a network interface besides lo")
}

/// Waits until a folder of the guest has such a name.
fn appears(machine: &mut dyn Machine, folder: &str, wanted: impl Fn(&str) -> bool, what: &str) -> Check {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let names =
            machine.ask(Question::List { path: folder.into() })?.text(&format!("listing {folder} in the guest"));
        if names.as_ref().is_ok_and(|names| names.lines().any(&wanted)) {
            return Ok(());
        }
        if Instant::now() > end {
            let seen = names.unwrap_or_else(|stop| match stop {
                Stop::Fail { message, .. } | Stop::Error { message } => message,
                Stop::Skip { reason } => reason,
            });
            ensure!(false, "expected {what} in {folder} within 10 s, seen: {:?}", seen.trim());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
