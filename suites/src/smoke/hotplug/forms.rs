//! The QMP commands by which each runtime plugs a device, argument by argument.
//!
//! Go: src/runtime/pkg/govmm/qemu/qmp.go and src/runtime/virtcontainers/qemu.go@3.30.0; what older releases write otherwise
//! is the profile's to say (`qmp:`).
//! Rust: src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0; `hotplug_block_device` of main hands descriptors over.

use crate::check::{Check, Doing as _, Stop};
use crate::environment::Machine;
use crate::outcome::Component;
use crate::smoke::guest_files::list;
use model::profile::{BlkSource, JsonStyle, Profile, Runtime};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::path::Path;

mod alone;
#[cfg(test)]
mod tests;

pub(super) use alone::{interface_alone, pci_disk_alone, root_port_disk_alone, scsi_disk_alone};

/// The node name of a plugged disk: Go's are of the device's id, Rust's of its index.
const DISK: &str = "drive-0";
/// What the runtime calls the descriptor of a plugged disk, by which it finds it again (`block_fd_opaque` in
/// src/runtime-rs/crates/hypervisor/src/qemu/block_source.rs, main).
const OPAQUE: &str = "kata-block:drive-0:block-source";
/// The id of the back end of a plugged interface.
pub(super) const NETDEV: &str = "tap1_kata";
/// The guest's address of a plugged interface.
const MAC: &str = "02:00:ca:fe:00:02";

/// Plugs a DIMM of a shared file, as both runtimes do where virtio-fs is the shared filesystem.
pub(super) fn plug_memory(machine: &mut dyn Machine, bytes: u64) -> Check {
    let (backend, dimm) = match is_go(machine.profile()) {
        true => ("mem0", "dimmmem0"),
        false => ("hotplugged-0", "frontend-to-hotplugged-0"),
    };
    let memory = json!({
        "qom-type": "memory-backend-file", "id": backend, "size": bytes, "mem-path": "/dev/shm", "share": true,
    });
    machine.qmp("object-add", memory)?;
    device_add(machine, json!({ "driver": "pc-dimm", "id": dimm, "memdev": backend })).map(drop)
}

/// Plugs a CPU into a slot of `query-hotpluggable-cpus`; gives its id.
pub(super) fn plug_cpu(machine: &mut dyn Machine, slot: &Value) -> Result<String, Stop> {
    let cpu = cpu(machine.profile(), slot);
    device_add(machine, cpu)
}

fn cpu(profile: &Profile, slot: &Value) -> Value {
    let go = is_go(profile);
    let props = slot.get("props").cloned().unwrap_or_default();
    let number = |value: Value| match profile.qmp.cpu_ids {
        JsonStyle::AsText => json!(value.to_string()),
        JsonStyle::Typed => value,
    };
    let core = props.get("core-id").cloned().unwrap_or_else(|| json!(0));
    let id = if go { "cpu-0".to_owned() } else { format!("cpu-{core}") };
    let mut arguments = json!({ "driver": slot.get("type"), "id": id, "core-id": number(core) });
    // Rust passes no die.
    let more: &[&str] = if go { &["socket-id", "thread-id", "die-id"] } else { &["socket-id", "thread-id"] };
    for key in more {
        if let Some(value) = props.get(key) {
            arguments[*key] = number(value.clone());
        }
    }
    arguments
}

/// Plugs the first disk of Kata's SCSI controller; gives its id.
pub(super) fn plug_scsi_disk(machine: &mut dyn Machine, file: &Path) -> Result<String, Stop> {
    add_node(machine, file)?;
    let disk = scsi_disk(machine.profile());
    device_add(machine, disk)
}

fn scsi_disk(profile: &Profile) -> Value {
    json!({
        "driver": "scsi-hd", "id": disk_id(profile), "drive": DISK, "bus": "scsi0.0", "scsi-id": 0, "lun": 0,
        "share-rw": on(profile),
    })
}

/// Plugs a virtio-blk disk into the first slot of Kata's PCI bridge; gives its id.
pub(super) fn plug_pci_disk(machine: &mut dyn Machine, file: &Path) -> Result<String, Stop> {
    add_node(machine, file)?;
    let disk = pci_disk(machine.profile());
    device_add(machine, disk)
}

fn pci_disk(profile: &Profile) -> Value {
    let mut disk = json!({
        "driver": "virtio-blk-pci", "id": disk_id(profile), "drive": DISK, "bus": "pci-bridge-0", "addr": "01",
        "share-rw": on(profile),
    });
    if is_go(profile) {
        disk["romfile"] = json!("");
    }
    let queues = profile.qemu.vcpus;
    match profile.qmp.num_queues {
        None => {}
        Some(JsonStyle::AsText) => disk["num-queues"] = json!(queues.to_string()),
        Some(JsonStyle::Typed) => disk["num-queues"] = json!(queues),
    }
    disk
}

/// Plugs a virtio-blk disk into the first PCIe root port, with what the runtime says there of a VFIO device; gives its id.
pub(super) fn plug_root_port_disk(machine: &mut dyn Machine, file: &Path) -> Result<String, Stop> {
    add_node(machine, file)?;
    let disk = root_port_disk(machine.profile());
    device_add(machine, disk)
}

fn root_port_disk(profile: &Profile) -> Value {
    let go = is_go(profile);
    let id = if go { "vfio-0" } else { "hostdev-0" };
    let mut disk = json!({ "driver": "virtio-blk-pci", "id": id, "drive": DISK, "bus": "rp0", "share-rw": true });
    if go {
        disk["romfile"] = json!("");
    } else {
        // Text for a switch: QEMU 7.2 takes it as on its command line, 10.0 insists on true or false.
        disk["addr"] = json!("0x0");
        disk["multifunction"] = json!("off");
    }
    disk
}

/// The slot on the root bus of the device with this id.
pub(super) fn slot_of(machine: &mut dyn Machine, id: &str) -> Result<Option<u64>, Stop> {
    let buses = machine.qmp("query-pci", json!({}))?;
    let mut devices = buses.as_array().into_iter().flatten().filter_map(|bus| bus.get("devices")?.as_array()).flatten();
    let device = devices.find(|device| device.get("qdev_id").and_then(Value::as_str) == Some(id));
    Ok(device.and_then(|device| device.get("slot")?.as_u64()))
}

/// Opens a disk's file in QEMU, or where the runtime does that hands its descriptor over.
fn add_node(machine: &mut dyn Machine, file: &Path) -> Check {
    let node = match machine.profile().qemu.blk_source {
        BlkSource::Path => node(machine.profile(), &file.display().to_string()),
        BlkSource::Fdset => {
            let file = OpenOptions::new().read(true).write(true).open(file).doing("opening a disk's file")?;
            let added = machine.qmp_with("add-fd", json!({ "opaque": OPAQUE }), &file)?;
            node(machine.profile(), &format!("/dev/fdset/{}", added["fdset-id"]))
        }
    };
    machine.qmp("blockdev-add", node).map(drop)
}

fn node(profile: &Profile, file: &str) -> Value {
    let mut node = json!({
        "driver": "raw", "node-name": DISK, "read-only": false,
        "file": { "driver": "file", "filename": file, "aio": "threads" },
    });
    if !is_go(profile) {
        node["file"]["read-only"] = json!(false);
    }
    node
}

/// Closes the file of a disk that has been unplugged, and the descriptors that were handed over for it.
pub(super) fn remove_node(machine: &mut dyn Machine) -> Check {
    machine.qmp("blockdev-del", json!({ "node-name": DISK }))?;
    if machine.profile().qemu.blk_source == BlkSource::Path {
        return Ok(());
    }
    let sets = machine.qmp("query-fdsets", json!({}))?;
    let is_its = |set: &&Value| set["fds"].as_array().is_some_and(|fds| fds.iter().any(|fd| fd["opaque"] == OPAQUE));
    for set in sets.as_array().into_iter().flatten().filter(is_its) {
        machine.qmp("remove-fd", json!({ "fdset-id": set["fdset-id"] }))?;
    }
    Ok(())
}

/// Plugs an interface into the first slot of Kata's PCI bridge, its other end at `address`; gives its id.
pub(super) fn plug_interface(machine: &mut dyn Machine, address: &str) -> Result<String, Stop> {
    machine.qmp("netdev_add", json!({ "type": "socket", "id": NETDEV, "connect": address }))?;
    let interface = interface(machine.profile());
    device_add(machine, interface)
}

fn interface(profile: &Profile) -> Value {
    let go = is_go(profile);
    let id = if go { "virtio-network-1".to_owned() } else { format!("frontend-{NETDEV}") };
    let vectors = 2 * profile.qemu.vcpus + 2;
    let mut interface = json!({
        "driver": "virtio-net-pci", "id": id, "netdev": NETDEV, "mac": MAC, "bus": "pci-bridge-0", "addr": "01",
        "mq": on(profile), "vectors": vectors,
    });
    if go {
        interface["romfile"] = json!("");
    }
    interface
}

/// Go puts the driver's kind before the drive's id.
fn disk_id(profile: &Profile) -> String {
    if is_go(profile) { format!("virtio-{DISK}") } else { DISK.to_owned() }
}

/// A switch that is on.
fn on(profile: &Profile) -> Value {
    match profile.qmp.switches {
        JsonStyle::AsText => json!("on"),
        JsonStyle::Typed => json!(true),
    }
}

fn is_go(profile: &Profile) -> bool {
    profile.runtime == Runtime::Go
}

/// The switches and numbers of a device that a runtime may write as text.
const SWITCHES_AND_NUMBERS: &[&str] =
    &["share-rw", "mq", "multifunction", "num-queues", "core-id", "socket-id", "thread-id", "die-id"];

/// Plugs a device; gives its id.
pub(super) fn device_add(machine: &mut dyn Machine, arguments: Value) -> Result<String, Stop> {
    let id = arguments.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match machine.qmp("device_add", arguments.clone()) {
        Ok(_) => Ok(id),
        Err(stop) => Err(refused(machine, &arguments, stop)),
    }
}

/// Whom a refusal blames: Kata, where QEMU refuses an argument's type and takes the same device with the right types.
fn refused(machine: &mut dyn Machine, arguments: &Value, stop: Stop) -> Stop {
    let Stop::Fail { message, .. } = &stop else { return stop };
    let typed = typed(arguments.clone());
    if !message.contains("Invalid parameter type") || typed == *arguments {
        return stop;
    }
    match machine.qmp("device_add", typed) {
        Ok(_) => Stop::blame(
            Component::Kata,
            format!("{message}; Kata sends it as text, and this QEMU takes the same device with the right types"),
        ),
        Err(Stop::Fail { .. }) => stop,
        Err(other) => other,
    }
}

/// The same arguments with switches and numbers as JSON has them.
fn typed(mut arguments: Value) -> Value {
    for name in SWITCHES_AND_NUMBERS {
        let Some(value) = arguments.get_mut(name) else { continue };
        let as_it_is = match value.as_str() {
            Some("on") => Some(json!(true)),
            Some("off") => Some(json!(false)),
            Some(text) => text.parse::<u64>().ok().map(|number| json!(number)),
            None => None,
        };
        if let Some(as_it_is) = as_it_is {
            *value = as_it_is;
        }
    }
    arguments
}

/// Kata's PCI bridge as the guest sees it: device 2 of bus 0, by `addr=2` of its argument.
pub(super) struct Bridge;

impl Bridge {
    /// The folder of the device in a slot, if the guest has one.
    pub(super) fn slot(machine: &mut dyn Machine, slot: u32) -> Result<Option<String>, Stop> {
        let bridge = "/sys/devices/pci0000:00/0000:00:02.0";
        // The bus behind the bridge has the number that the guest's firmware gave it.
        let Some(bus) = list(machine, &format!("{bridge}/pci_bus"))?.into_iter().next() else { return Ok(None) };
        let device = format!("{bus}:{slot:02x}.0");
        let there = list(machine, bridge)?.contains(&device);
        Ok(there.then(|| format!("{bridge}/{device}")))
    }
}
