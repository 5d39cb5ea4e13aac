//! Each test's device for a QEMU without a guest, as a bug report's script can plug it.

use super::{Disk, interface, netdev, node_name, pci_disk, port_disk, scsi_disk, typed};
use crate::reproducer::Plug;
use model::profile::Profile;
use serde_json::Value;
use std::path::Path;

/// Returns the disk for Kata's SCSI controller.
pub(crate) fn scsi_disk_alone(profile: &Profile) -> Plug {
    plug(scsi_disk(profile, &Disk::first(Path::new(""))), &disk(["-device", "virtio-scsi-pci,id=scsi0"]))
}

/// Returns the disk for Kata's PCI bridge.
pub(crate) fn pci_disk_alone(profile: &Profile) -> Plug {
    plug(pci_disk(profile), &disk(bridge(profile).each_ref().map(String::as_str)))
}

/// Returns the disk for a PCIe root port, into which Kata plugs only VFIO devices.
pub(crate) fn root_port_disk_alone(profile: &Profile) -> Plug {
    let into = disk(["-device", "pcie-root-port,id=rp0,bus=pcie.0,chassis=0,slot=0"]);
    let instead = Some("a disk in the place of the VFIO device");
    Plug { instead, ..plug(port_disk(profile, "rp0"), &into) }
}

/// Returns the interface for Kata's PCI bridge; its other end is not connected.
pub(crate) fn interface_alone(profile: &Profile) -> Plug {
    let mut arguments = bridge(profile).to_vec();
    arguments.extend(["-netdev".to_owned(), format!("hubport,id={},hubid=0", netdev(1))]);
    plug(interface(profile, 1), &arguments)
}

fn plug(device: Value, arguments: &[String]) -> Plug {
    Plug { arguments: arguments.to_vec(), typed: typed(device.clone()), device, instead: None }
}

/// Returns the beginning of the arguments for Kata's PCI bridge, which both runtimes share.
fn bridge(profile: &Profile) -> [String; 2] {
    let bridge = format!("pci-bridge,bus=pcie.0,id=pci-bridge-0,chassis_nr=1,{}", profile.qemu.bridge);
    ["-device".to_owned(), bridge]
}

/// Returns the arguments for a bus, and for a disk without a file.
fn disk(into: [&str; 2]) -> Vec<String> {
    let node = format!("null-co,node-name={},read-zeroes=on", node_name(0));
    [into[0], into[1], "-blockdev", &node].map(str::to_owned).to_vec()
}
