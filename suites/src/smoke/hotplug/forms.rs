//! The QMP commands with which each runtime plugs a device, argument by argument.
//!
//! Go: src/runtime/pkg/govmm/qemu/qmp.go and src/runtime/virtcontainers/qemu.go@3.30.0; the profile (`qmp:`) has the
//! differences of older releases.
//! Rust: src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0; `hotplug_block_device` of main passes descriptors.

use super::behind;
use crate::check::{Check, Doing as _, Stop};
use crate::environment::{Machine, Tap};
use crate::outcome::{Component, FailureDetail};
use crate::smoke::guest_files::list;
use model::foreign::qemu::Complaint;
use model::profile::{BlkSource, JsonStyle, Profile, Runtime};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::path::Path;

mod alone;
mod memory;
mod optional;
#[cfg(test)]
mod tests;
mod vhost_user;

pub(super) use alone::{interface_alone, pci_disk_alone, root_port_disk_alone, scsi_disk_alone};
pub(super) use memory::{plug_memory, plug_virtio_mem, refused_memory, resize_virtio_mem};
pub(super) use optional::{IO_THREAD, Options, plug_pci_disk_with};
pub(super) use vhost_user::{plug_vhost_user_disk, remove_socket};

/// A disk's file, and the options with which it is plugged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk<'a> {
    /// The file, raw.
    pub(super) file: &'a Path,
    /// The number of disks that were plugged before it.
    pub(super) index: u32,
    /// Whether the guest may only read it.
    pub(super) read_only: bool,
    /// `block_device_aio`.
    pub(super) aio: &'static str,
}

impl Disk<'_> {
    /// Returns the first disk, which the guest may write.
    pub(super) fn first(file: &Path) -> Disk<'_> {
        Disk { file, index: 0, read_only: false, aio: "threads" }
    }
}

/// Returns the node name of a plugged disk: Go's derives from the device's id, Rust's from its index.
fn node_name(index: u32) -> String {
    format!("drive-{index}")
}

/// Returns the runtime's label for the descriptor of a plugged disk, by which it finds the descriptor again
/// (`block_fd_opaque` in src/runtime-rs/crates/hypervisor/src/qemu/block_source.rs, main).
fn opaque(index: u32) -> String {
    format!("kata-block:{}:block-source", node_name(index))
}

/// Returns the id of the back end of an interface plugged into this slot.
pub(super) fn netdev(slot: u32) -> String {
    format!("tap{slot}_kata")
}

/// Plugs a CPU into a slot of `query-hotpluggable-cpus`; returns the CPU's id.
pub(super) fn plug_cpu(machine: &mut dyn Machine, slot: &Value) -> Result<String, Stop> {
    let cpu = cpu(machine.profile(), slot);
    device_add(machine, cpu)
}

/// Checks whether the runtime fills a free slot: Rust skips one without a core, a socket or a thread.
pub(super) fn fills_slot(profile: &Profile, slot: &Value) -> bool {
    let has = |key: &&str| slot.pointer(&format!("/props/{key}")).is_some();
    is_go(profile) || ["core-id", "socket-id", "thread-id"].iter().all(has)
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

/// Plugs a disk into Kata's SCSI controller, whose first target holds 256 (`GetSCSIIdLun`); returns the disk's id.
pub(super) fn plug_scsi_disk(machine: &mut dyn Machine, disk: &Disk<'_>) -> Result<String, Stop> {
    add_node(machine, disk)?;
    let disk = scsi_disk(machine.profile(), disk);
    device_add(machine, disk)
}

fn scsi_disk(profile: &Profile, disk: &Disk<'_>) -> Value {
    let mut device = json!({
        "driver": "scsi-hd", "id": disk_id(profile, disk.index), "drive": node_name(disk.index), "bus": "scsi0.0",
        "scsi-id": disk.index / 256, "lun": disk.index % 256,
    });
    // Rust sets share-rw only for writable disks.
    if is_go(profile) || !disk.read_only {
        device["share-rw"] = on(profile);
    }
    device
}

/// Plugs a virtio-blk disk into the first slot of Kata's PCI bridge; returns its id.
pub(super) fn plug_pci_disk(machine: &mut dyn Machine, file: &Path) -> Result<String, Stop> {
    add_node(machine, &Disk::first(file))?;
    let disk = pci_disk(machine.profile());
    device_add(machine, disk)
}

fn pci_disk(profile: &Profile) -> Value {
    let mut disk = json!({
        "driver": "virtio-blk-pci", "id": disk_id(profile, 0), "drive": node_name(0), "bus": "pci-bridge-0",
        "addr": "01", "share-rw": on(profile),
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

/// Plugs a virtio-blk disk into the first PCIe root port, with the runtime's arguments for a VFIO device; returns its
/// id.
pub(super) fn plug_root_port_disk(machine: &mut dyn Machine, file: &Path) -> Result<String, Stop> {
    plug_port_disk(machine, file, "rp0")
}

/// Plugs a virtio-blk disk into the first port of a PCIe switch; returns its id.
pub(super) fn plug_switch_port_disk(machine: &mut dyn Machine, file: &Path) -> Result<String, Stop> {
    plug_port_disk(machine, file, "swdp0")
}

fn plug_port_disk(machine: &mut dyn Machine, file: &Path, port: &str) -> Result<String, Stop> {
    add_node(machine, &Disk::first(file))?;
    let disk = port_disk(machine.profile(), port);
    device_add(machine, disk)
}

fn port_disk(profile: &Profile, port: &str) -> Value {
    let go = is_go(profile);
    let id = if go { "vfio-0" } else { "hostdev-0" };
    let mut disk =
        json!({ "driver": "virtio-blk-pci", "id": id, "drive": node_name(0), "bus": port, "share-rw": true });
    if go {
        disk["romfile"] = json!("");
    } else {
        // A switch as text: QEMU 7.2 accepts it as on its command line, 10.0 insists on true or false.
        disk["addr"] = json!("0x0");
        disk["multifunction"] = json!("off");
    }
    disk
}

/// Returns the slot on the root bus of the device with this id.
pub(super) fn slot_of(machine: &mut dyn Machine, id: &str) -> Result<Option<u64>, Stop> {
    let buses = machine.qmp("query-pci", json!({}))?;
    let mut devices = buses.as_array().into_iter().flatten().filter_map(|bus| bus.get("devices")?.as_array()).flatten();
    let device = devices.find(|device| device.get("qdev_id").and_then(Value::as_str) == Some(id));
    Ok(device.and_then(|device| device.get("slot")?.as_u64()))
}

/// Opens a disk's file in QEMU.
fn add_node(machine: &mut dyn Machine, disk: &Disk<'_>) -> Check {
    let node = described(machine, disk)?;
    machine.qmp("blockdev-add", node).map(drop)
}

/// Describes how QEMU opens a disk's file; if the runtime passes descriptors, the file's is passed first.
fn described(machine: &mut dyn Machine, disk: &Disk<'_>) -> Result<Value, Stop> {
    match machine.profile().qemu.blk_source {
        BlkSource::Path => Ok(node(machine.profile(), disk, &disk.file.display().to_string())),
        BlkSource::Fdset => {
            let opened = OpenOptions::new().read(true).write(!disk.read_only).open(disk.file);
            let file = opened.doing("opening a disk's file")?;
            let added = machine.qmp_with("add-fd", json!({ "opaque": opaque(disk.index) }), &file)?;
            Ok(node(machine.profile(), disk, &format!("/dev/fdset/{}", added["fdset-id"])))
        }
    }
}

fn node(profile: &Profile, disk: &Disk<'_>, file: &str) -> Value {
    let mut node = json!({
        "driver": "raw", "node-name": node_name(disk.index), "read-only": disk.read_only,
        "file": { "driver": "file", "filename": file, "aio": disk.aio },
    });
    if !is_go(profile) {
        node["file"]["read-only"] = json!(disk.read_only);
        if disk.read_only {
            node["force-share"] = json!(true);
        }
    }
    node
}

/// Closes the file of the first disk, which has been unplugged.
pub(super) fn remove_node(machine: &mut dyn Machine) -> Check {
    remove_node_of(machine, 0)
}

/// Closes the file of a disk that has been unplugged, and the descriptors that were passed for it.
pub(super) fn remove_node_of(machine: &mut dyn Machine, index: u32) -> Check {
    machine.qmp("blockdev-del", json!({ "node-name": node_name(index) }))?;
    if machine.profile().qemu.blk_source == BlkSource::Path {
        return Ok(());
    }
    let sets = machine.qmp("query-fdsets", json!({}))?;
    let opaque = opaque(index);
    let is_its =
        |set: &&Value| set["fds"].as_array().is_some_and(|fds| fds.iter().any(|fd| fd["opaque"] == opaque.as_str()));
    for set in sets.as_array().into_iter().flatten().filter(is_its) {
        machine.qmp("remove-fd", json!({ "fdset-id": set["fdset-id"] }))?;
    }
    Ok(())
}

/// Plugs an interface into a slot of Kata's PCI bridge, its other end at `address`; returns its id.
pub(super) fn plug_interface(machine: &mut dyn Machine, slot: u32, address: &str) -> Result<String, Stop> {
    machine.qmp("netdev_add", json!({ "type": "socket", "id": netdev(slot), "connect": address }))?;
    let interface = interface(machine.profile(), slot);
    device_add(machine, interface)
}

/// Plugs a tap, passed as descriptors, into the first slot of Kata's PCI bridge, with vhost-net or without it; returns
/// its id (`hotAddNetDevice` in src/runtime/virtcontainers/qemu.go@4.1.0, `hotplug_network_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0).
pub(super) fn plug_tap(machine: &mut dyn Machine, tap: &Tap, by_vhost: bool) -> Result<String, Stop> {
    machine.qmp_with("getfd", json!({ "fdname": "fd0" }), &tap.tap)?;
    let mut back_end = json!({ "type": "tap", "id": netdev(1), "fds": "fd0" });
    if by_vhost {
        machine.qmp_with("getfd", json!({ "fdname": "vhostfd0" }), &tap.vhost)?;
        back_end["vhost"] = json!(true);
        back_end["vhostfds"] = json!("vhostfd0");
    }
    machine.qmp("netdev_add", back_end)?;
    let interface = interface(machine.profile(), 1);
    device_add(machine, interface)
}

fn interface(profile: &Profile, slot: u32) -> Value {
    let go = is_go(profile);
    let back_end = netdev(slot);
    let id = if go { format!("virtio-network-{slot}") } else { format!("frontend-{back_end}") };
    let vectors = 2 * profile.qemu.vcpus + 2;
    // Go formats numbers in hexadecimal, Rust in decimal; for the slots that tests use both are the same.
    let mut interface = json!({
        "driver": "virtio-net-pci", "id": id, "netdev": back_end, "mac": format!("02:00:ca:fe:00:{:02x}", slot + 1),
        "bus": "pci-bridge-0", "addr": format!("{slot:02}"), "mq": on(profile), "vectors": vectors,
    });
    if go {
        interface["romfile"] = json!("");
    }
    interface
}

/// Returns a disk's device id: Go puts the driver's kind before the drive's id.
fn disk_id(profile: &Profile, index: u32) -> String {
    let node = node_name(index);
    if is_go(profile) { format!("virtio-{node}") } else { node }
}

/// Returns the runtime's value for a switch that is on.
fn on(profile: &Profile) -> Value {
    match profile.qmp.switches {
        JsonStyle::AsText => json!("on"),
        JsonStyle::Typed => json!(true),
    }
}

fn is_go(profile: &Profile) -> bool {
    profile.runtime == Runtime::Go
}

/// The properties that are switches or numbers, and that a runtime may write as text.
const SWITCHES_AND_NUMBERS: &[&str] =
    &["share-rw", "mq", "multifunction", "num-queues", "core-id", "socket-id", "thread-id", "die-id"];

/// Plugs a device; returns its id.
pub(super) fn device_add(machine: &mut dyn Machine, arguments: Value) -> Result<String, Stop> {
    let id = arguments.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match machine.qmp("device_add", arguments.clone()) {
        Ok(_) => Ok(id),
        Err(stop) => Err(refused(machine, &arguments, stop)),
    }
}

/// Returns the stop for a refusal: it blames Kata if QEMU refuses an argument's type and accepts the right types.
fn refused(machine: &mut dyn Machine, arguments: &Value, stop: Stop) -> Stop {
    let Stop::Fail { message, detail, .. } = &stop else { return stop };
    let typed = typed(arguments.clone());
    if detail.complaint() != Complaint::WrongType || typed == *arguments {
        return stop;
    }
    match machine.qmp("device_add", typed) {
        Ok(_) => Stop::blame(
            Component::Kata,
            format!("{message}; Kata sends it as text, and this QEMU takes the same device with the right types"),
        )
        .showing(FailureDetail::clone(detail)),
        Err(Stop::Fail { .. }) => stop,
        Err(other) => other,
    }
}

/// Converts switches and numbers to JSON types.
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

/// Kata's PCI bridge as the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke) enum Bridge {
    /// Device 2 of bus 0, by `addr=2` of its argument.
    Plain,
    /// Behind a PCIe port that is device 2 of bus 0, where runtime-rs puts the bridge if there is a firmware.
    BehindAPort,
}

impl Bridge {
    /// Returns the directory of the device in a slot, if the guest has one.
    pub(super) fn slot(self, machine: &mut dyn Machine, slot: u32) -> Result<Option<String>, Stop> {
        let first = "/sys/devices/pci0000:00/0000:00:02.0";
        let bridge = match self {
            Bridge::Plain => Some(first.to_owned()),
            Bridge::BehindAPort => behind(machine, first)?,
        };
        let Some(bridge) = bridge else { return Ok(None) };
        // The guest's firmware assigned the number of the bus behind the bridge.
        let Some(bus) = list(machine, &format!("{bridge}/pci_bus"))?.into_iter().next() else { return Ok(None) };
        let device = format!("{bus}:{slot:02x}.0");
        let there = list(machine, &bridge)?.contains(&device);
        Ok(there.then(|| format!("{bridge}/{device}")))
    }
}
