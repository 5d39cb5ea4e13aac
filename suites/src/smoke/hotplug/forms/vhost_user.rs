//! A disk that another process serves over vhost-user; only the Go runtime plugs one into QEMU.
//!
//! `hotplugAddVhostUserBlkDevice` and `hotplugVhostUserDevice` in src/runtime/virtcontainers/qemu.go@4.1.0,
//! `ExecuteCharDevUnixSocketAdd` and `ExecutePCIVhostUserDevAdd` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0.

use super::device_add;
use crate::check::{Check, Stop};
use crate::environment::Machine;
use serde_json::json;
use std::path::Path;

/// The id of the socket; the device's has `virtio-` before it.
const SOCKET: &str = "blk-0";

/// Connects QEMU to the socket of a disk's process, and plugs the disk into the first slot of Kata's PCI bridge; returns
/// the disk's id.
pub(in crate::smoke::hotplug) fn plug_vhost_user_disk(
    machine: &mut dyn Machine,
    socket: &Path,
) -> Result<String, Stop> {
    let path = socket.display().to_string();
    let data = json!({ "server": false, "addr": { "type": "unix", "data": { "path": path } } });
    machine.qmp("chardev-add", json!({ "id": SOCKET, "backend": { "type": "socket", "data": data } }))?;
    let disk = json!({
        "driver": "vhost-user-blk-pci", "id": format!("virtio-{SOCKET}"), "chardev": SOCKET, "addr": "01",
        "bus": "pci-bridge-0",
    });
    device_add(machine, disk)
}

/// Removes the socket of the disk, which has been unplugged.
pub(in crate::smoke::hotplug) fn remove_socket(machine: &mut dyn Machine) -> Check {
    machine.qmp("chardev-remove", json!({ "id": SOCKET })).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;

    #[test]
    fn a_socket_is_added_before_the_disk_that_names_it() {
        let mut machine = FakeMachine::of("go-3.32");
        assert_eq!(plug_vhost_user_disk(&mut machine, Path::new("/run/s")), Ok("virtio-blk-0".to_owned()));
        let socket = json!({
            "id": "blk-0",
            "backend": {
                "type": "socket",
                "data": { "server": false, "addr": { "type": "unix", "data": { "path": "/run/s" } } },
            },
        });
        let disk = json!({
            "driver": "vhost-user-blk-pci", "id": "virtio-blk-0", "chardev": "blk-0", "addr": "01",
            "bus": "pci-bridge-0",
        });
        assert_eq!(machine.sent, [("chardev-add".to_owned(), socket), ("device_add".to_owned(), disk)]);
    }
}
