//! A disk that is plugged into the PCI bridge with settings other than the shipped ones.
//!
//! Go: `hotplugAddBlockDevice` in src/runtime/virtcontainers/qemu.go@4.1.0, `blockdevAddBaseArgs` and
//! `executePCIDeviceAdd` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0. Rust: `hotplug_block_device` in
//! src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0.

use super::{Disk, described, device_add, is_go, pci_disk};
use crate::check::Stop;
use crate::environment::Machine;
use model::profile::Profile;
use serde_json::{Value, json};

/// The first I/O thread for disks (`indep_iothreads`), which serves all of them.
pub(in crate::smoke::hotplug) const IO_THREAD: &str = "indep_iothread_0";

/// Options of a disk other than the shipped ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::smoke::hotplug) struct Options {
    /// Whether the I/O thread serves the disk.
    pub(in crate::smoke::hotplug) io_thread: bool,
    /// The number of queues, if the runtime passes one: as many as the guest has CPUs.
    pub(in crate::smoke::hotplug) queues: Option<u32>,
    /// `block_device_logical_sector_size` and `block_device_physical_sector_size`.
    pub(in crate::smoke::hotplug) sectors: Option<[u32; 2]>,
    /// Whether the guest's discarded bytes are freed on the host.
    pub(in crate::smoke::hotplug) discard: bool,
    /// `block_device_cache_direct = true`.
    pub(in crate::smoke::hotplug) direct: bool,
    /// Whether the file is a VMDK descriptor that lists other files.
    pub(in crate::smoke::hotplug) vmdk: bool,
}

impl Options {
    fn of_node(&self, mut node: Value) -> Value {
        if self.discard {
            node["discard"] = json!("unmap");
            node["file"]["discard"] = json!("unmap");
        }
        if self.direct {
            node["file"]["cache"] = json!({ "direct": true });
        }
        if self.vmdk {
            node["driver"] = json!("vmdk");
            node["force-share"] = json!(true);
        }
        node
    }

    fn of_device(&self, profile: &Profile, disk: &Disk<'_>) -> Value {
        let mut device = pci_disk(profile);
        if let (Some(queues), Some(value)) = (self.queues, device.get_mut("num-queues")) {
            *value = if value.is_string() { json!(queues.to_string()) } else { json!(queues) };
        }
        if let Some([logical, physical]) = self.sectors {
            device["logical_block_size"] = json!(logical);
            device["physical_block_size"] = json!(physical);
        }
        if self.discard {
            device["discard"] = json!(true);
        }
        if self.io_thread {
            device["iothread"] = json!(IO_THREAD);
        }
        // Rust sets share-rw only for writable disks.
        if let (true, false, Some(value)) = (disk.read_only, is_go(profile), device.as_object_mut()) {
            value.remove("share-rw");
        }
        device
    }
}

/// Plugs a virtio-blk disk with these options into the first slot of Kata's PCI bridge; returns its id.
pub(in crate::smoke::hotplug) fn plug_pci_disk_with(
    machine: &mut dyn Machine,
    disk: &Disk<'_>,
    options: Options,
) -> Result<String, Stop> {
    let node = options.of_node(described(machine, disk)?);
    machine.qmp("blockdev-add", node)?;
    let device = options.of_device(machine.profile(), disk);
    device_add(machine, device)
}

#[cfg(test)]
mod tests {
    use super::super::node;
    use super::*;
    use std::path::Path;

    fn profile(name: &str) -> &'static Profile {
        Profile::find(name).unwrap()
    }

    #[test]
    fn a_device_has_exactly_the_requested_options() {
        let disk = Disk::first(Path::new("/d.img"));
        let of = |name: &str, options: Options| options.of_device(profile(name), &disk);
        for name in ["go-3.8", "go-3.32", "rs-4.1"] {
            assert_eq!(of(name, Options::default()), pci_disk(profile(name)), "{name}");
        }
        let all = Options {
            io_thread: true,
            queues: Some(2),
            sectors: Some([4096, 8192]),
            discard: true,
            ..Options::default()
        };
        let rust = json!({
            "driver": "virtio-blk-pci", "id": "drive-0", "drive": "drive-0", "bus": "pci-bridge-0", "addr": "01",
            "share-rw": true, "logical_block_size": 4096, "physical_block_size": 8192, "discard": true,
            "iothread": "indep_iothread_0",
        });
        assert_eq!(of("rs-4.1", all), rust);
        assert_eq!(of("go-3.8", all)["num-queues"], json!("2"));
        assert_eq!(of("go-3.32", all)["num-queues"], json!(2));
    }

    #[test]
    fn a_node_has_exactly_the_requested_options() {
        let disk = Disk { read_only: true, aio: "native", ..Disk::first(Path::new("/d.vmdk")) };
        let plain = node(profile("rs-4.1"), &disk, "/d.vmdk");
        assert_eq!(Options::default().of_node(plain.clone()), plain);
        let all = Options { discard: true, direct: true, vmdk: true, ..Options::default() };
        let expected = json!({
            "driver": "vmdk", "node-name": "drive-0", "read-only": true, "force-share": true, "discard": "unmap",
            "file": {
                "driver": "file", "filename": "/d.vmdk", "aio": "native", "read-only": true, "discard": "unmap",
                "cache": { "direct": true },
            },
        });
        assert_eq!(all.of_node(plain), expected);
        assert_eq!(all.of_device(profile("rs-4.1"), &disk).get("share-rw"), None);
        assert!(all.of_device(profile("go-3.32"), &disk).get("share-rw").is_some());
    }
}
