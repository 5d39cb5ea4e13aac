//! Hotplug with Kata's own commands: memory, CPUs, disks and network interfaces are found where Kata looks for them,
//! used, and unplugged.

pub(super) mod addresses;
pub(super) mod cpus;
pub(super) mod disks;
pub(super) mod forms;
pub(super) mod interfaces;
mod online;
pub(super) mod options;
pub(super) mod scratch_disk;
mod unplug;
pub(super) mod vhost_user;
pub(super) mod virtio_mem;
pub(super) mod waits;

use super::BOOTS;
use super::guest_files::{list, memory_kib, read};
use super::peer::Peer;
use super::qmp::go;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Traffic};
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::test::Place;
use crate::under;
use forms::{Bridge, Disk};
use model::profile::{ModuleUse, fixed};
use online::Online;
use qapi_qmp as qapi;
use scratch_disk::ScratchDisk;
use serde_json::{Value, json};
use std::time::Duration;
use unplug::{By, delete, stays};
use waits::{Wait, within};

const SOURCE: &str = include_str!("hotplug.rs");

/// The tests that must pass before a SCSI disk or an interface can be found.
pub(super) const CONTAINERS: &[&str] =
    &["smoke::kernel_boots_to_userspace", "smoke::kernel_has_the_modules_of_containers"];
/// The tests that must pass before a virtio-blk disk can be found.
pub(super) const VIRTIO_BLK: &[&str] =
    &["smoke::kernel_boots_to_userspace", "smoke::kernel_has_the_modules_of_virtio_blk"];

pub(super) static ROWS: &[Row] = &[
    row!(Environment(memory_is_hotplugged), &[Capability::VmmHotplugMemory], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(180),
    row!(Environment(refused_memory_can_be_plugged_again), &[Capability::VmmHotplugMemory], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::memory_is_hotplugged"])
        .under(&under::GO)
        .seconds(180),
    row!(Environment(query_memory_devices_is_parsed), &[Capability::VmmQmp], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::memory_is_hotplugged"])
        .seconds(180),
    row!(Environment(scsi_disk_is_hotplugged), &[Capability::VmmHotplugBlk], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(180)
        .reproduced(Reproducer::Plugs(forms::scsi_disk_alone)),
    row!(Environment(pci_disk_is_hotplugged), &[Capability::VmmHotplugPciDisk], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .seconds(180)
        .reproduced(Reproducer::Plugs(forms::pci_disk_alone)),
    row!(Environment(pci_disk_is_hotplugged_into_a_root_port), &[Capability::VmmHotplugRootPort], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::ROOT_PORTS)
        // An emulated guest gets ten times its boot time to release the disk, and that twice.
        .seconds(420)
        .reproduced(Reproducer::Plugs(forms::root_port_disk_alone)),
    row!(Environment(network_interface_is_hotplugged), &[Capability::VmmHotplugNet], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(180)
        .reproduced(Reproducer::Plugs(forms::interface_alone)),
];

/// How long Kata's agent waits for an announced device (`hotplug_timeout`, src/agent/src/config.rs@4.1.0).
const DEVICE: Duration = fixed::DEVICE_APPEARS;
/// How long the agent tries to bring CPUs online: 100 times, 50 ms apart (`online_cpus`,
/// src/agent/src/sandbox.rs@4.1.0); it brings memory online in the same request.
const ONLINE: Duration = fixed::ONLINE_PAUSE.saturating_mul(fixed::ONLINE_TRIES);

/// The guest's kernel options for plugged memory.
const FOR_MEMORY: &[&str] = &["MEMORY_HOTPLUG", "ACPI_HOTPLUG_MEMORY"];
/// The guest's kernel options for devices plugged into the PCI bridge.
const FOR_PCI: &[&str] = &["HOTPLUG_PCI", "HOTPLUG_PCI_ACPI"];
/// The guest's kernel options for devices plugged into a PCIe root port, by ACPI or natively.
const FOR_ROOT_PORT: &[&str] = &["HOTPLUG_PCI", "HOTPLUG_PCI_ACPI or HOTPLUG_PCI_PCIE"];

/// A DIMM that is plugged as the runtime does enlarges the guest's memory by its size.
///
/// Without static sizing Kata plugs the memory that a pod's containers ask for into the default guest
/// (`hotplugAddMemory` in src/runtime/virtcontainers/qemu.go@3.30.0, `hotplug_pc_dimm` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0); the agent then brings the new blocks online. With a QEMU
/// without memory slots every container has only the default memory.
fn memory_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let before = memory_kib(machine)?;
    let size = plug_memory(machine)?;
    let wait = Wait::new(machine, ONLINE, "the guest's memory grew by that of a DIMM");
    // The kernel keeps a little of each block for its own tables.
    let has_it =
        |machine: &mut dyn Machine| memory_kib(machine).map(|now| now.saturating_sub(before) * 1024 >= size / 10 * 9);
    let mut online = Online::default();
    let grown = |machine: &mut dyn Machine| {
        if has_it(machine)? {
            return Ok(Some(()));
        }
        online.bring(machine, "/sys/devices/system/memory", "memory")?;
        has_it(machine).map(|has| has.then_some(()))
    };
    let progress = |machine: &mut dyn Machine| {
        let more = memory_kib(machine)?.saturating_sub(before);
        Ok((more > 0).then(|| format!("the guest has {more} KiB more, of {}", size / 1024)))
    };
    let waited = within(env, machine, &wait, FOR_MEMORY, grown, progress);
    if let Some(why) = online.refused {
        env.note(why);
    }
    waited?;
    env.note(match online.count {
        0 => "the guest's kernel brought the new memory online by itself".to_owned(),
        blocks => format!("{blocks} blocks of the new memory were brought online as Kata's agent does it"),
    });
    is_counted(machine, size)
}

/// Checks that QEMU counts a DIMM of this size, and no other.
fn is_counted(machine: &mut dyn Machine, size: u64) -> Check {
    let summary = machine.qmp("query-memory-size-summary", json!({}))?;
    let plugged = summary.get("plugged-memory").and_then(Value::as_u64);
    ensure!(plugged == Some(size), "a DIMM of {size} bytes was plugged, QEMU counts {plugged:?}");
    Ok(())
}

/// If QEMU refuses a DIMM, the memory that was added for it can be removed, and memory can then be plugged under the
/// same names.
///
/// The Go runtime removes it with `object-del` (`ExecMemdevAdd` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0), because
/// its next attempt has the same names, which come from the DIMM's slot (`hotplugAddMemory` in
/// src/runtime/virtcontainers/qemu.go@4.1.0). Here QEMU refuses the DIMM because its slot does not exist.
fn refused_memory_can_be_plugged_again(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let size = dimm_size(machine);
    let refusal = forms::refused_memory(machine, size)?;
    env.note(format!("the DIMM that was to be refused: {refusal}"));
    forms::plug_memory(machine, size)?;
    is_counted(machine, size)
}

/// `query-memory-devices` describes a plugged DIMM in the form that the runtime parses.
///
/// Both runtimes read it before they plug memory: Go for the next free slot, Rust for the memory already plugged. That
/// is `ExecQueryMemoryDevices` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0, and `query_memory_devices` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0.
fn query_memory_devices_is_parsed(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let size = plug_memory(machine)?;
    let reply =
        super::qmp::reply::<Vec<qapi::MemoryDeviceInfo>, Vec<go::MemoryDevice>>(machine, "query-memory-devices")?;
    let devices = reply.as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(devices.len() == 1, "one DIMM was plugged, QMP lists {}: {reply}", devices.len());
    let data = devices[0].get("data").cloned().unwrap_or_default();
    for field in ["id", "addr", "slot", "node", "memdev", "size", "hotpluggable", "hotplugged"] {
        ensure!(data.get(field).is_some(), "the DIMM in query-memory-devices has no {field:?}: {reply}");
    }
    ensure!(data["size"] == json!(size), "a DIMM of {size} bytes was plugged, QMP says {}", data["size"]);
    ensure!(data["hotplugged"] == json!(true), "a DIMM was hot-plugged, QMP says it was not: {reply}");
    Ok(())
}

/// A disk that is plugged into Kata's SCSI controller is found at the address that Kata predicts, holds the data
/// written to it, and can be unplugged.
///
/// virtio-scsi is the shipped `block_device_driver` of both runtimes; the guest's kernel is told not to scan by itself
/// (`scsi_mod.scan=none`), and the agent requests a scan of the address. The scan is `scan_scsi_bus` in
/// src/agent/src/device/scsi_device_handler.rs@4.1.0, and the address `hotplugAddBlockDevice` in
/// src/runtime/virtcontainers/qemu.go@4.1.0.
fn scsi_disk_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let disk = ScratchDisk::new()?;
    let id = forms::plug_scsi_disk(machine, &Disk::first(&disk.0))?;
    let name = disks::found(env, machine, 0)?;
    disk.is_used(machine, &name)?;
    delete(machine, &id, By::Qemu)?;
    forms::remove_node(machine)
}

/// A disk that is plugged into Kata's PCI bridge is found at the address that Kata predicts, holds the data written to
/// it, and can be unplugged.
///
/// With `block_device_driver = "virtio-blk"` (containers' devices and root filesystems of block snapshotters) each disk
/// goes to the first free slot of `pci-bridge-0`, and the agent waits for it at that bridge and slot. Neither runtime
/// ships this for QEMU on x86_64 (`DEFBLOCKSTORAGEDRIVER_QEMU` in src/runtime/Makefile@4.1.0 and
/// src/runtime-rs/Makefile@4.1.0).
fn pci_disk_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    machine.load_modules(ModuleUse::VirtioBlk)?;
    let disk = ScratchDisk::new()?;
    let id = forms::plug_pci_disk(machine, &disk.0)?;
    let name = on_the_bridge(env, machine, Bridge::Plain, 1, "block")?;
    disk.is_used(machine, &name)?;
    delete(machine, &id, By::Kernel(&mut on_the_bridge_still))?;
    forms::remove_node(machine)
}

/// A disk that is plugged into a PCIe root port, as the runtime plugs a VFIO device there, is found behind that port,
/// holds the data written to it, stays, and can be unplugged.
///
/// With `pcie_root_port`, and for the Go runtime `hot_plug_vfio = "root-port"`, a device with a large window goes there
/// (`hotplugVFIODeviceRootPort` in src/runtime/virtcontainers/qemu.go@3.32.0, `hotplug_vfio_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0). Neither runtime plugs disks into root ports; a disk stands
/// in for the host's device, which a test cannot have.
fn pci_disk_is_hotplugged_into_a_root_port(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_a_root_port()?;
    let machine = machine.as_mut();
    env.note("a virtio-blk disk is plugged into the root port, in the place of a VFIO device".to_owned());
    machine.load_modules(ModuleUse::VirtioBlk)?;
    let disk = ScratchDisk::new()?;
    let before = unplug::before_plug(env, machine);
    let id = forms::plug_root_port_disk(machine, &disk.0)?;
    let Some(port) = forms::slot_of(machine, "rp0")? else {
        return Err(Stop::fail("query-pci lists no device rp0, though QEMU was started with a root port of that id"));
    };
    let wait = Wait::new(machine, DEVICE, "the guest had a disk behind its PCIe root port");
    let folder = format!("/sys/devices/pci0000:00/0000:00:{port:02x}.0");
    let found = |machine: &mut dyn Machine| {
        let Some(device) = behind(machine, &folder)? else { return Ok(None) };
        thing_of(machine, &device, "block")
    };
    let progress = |machine: &mut dyn Machine| {
        behind(machine, &folder).map(|device| device.map(|path| format!("{path} is there")))
    };
    let name = within(env, machine, &wait, FOR_ROOT_PORT, found, progress)?;
    disk.is_used(machine, &name)?;
    let mut has = |machine: &mut dyn Machine| behind(machine, &folder).map(|device| device.is_some());
    stays(machine, &id, &before, &mut has)?;
    delete(machine, &id, By::Button(&mut has))?.into_iter().for_each(|note| env.note(note));
    forms::remove_node(machine)
}

/// A network interface that is plugged into Kata's PCI bridge is found at the address that Kata predicts, carries
/// packets both ways, and can be unplugged.
///
/// Kata plugs the interfaces of a pod's network that appear after the sandbox has started (`hotplugNetDevice` in
/// src/runtime/virtcontainers/qemu.go@3.30.0, `hotplug_network_device` in runtime-rs 4.1). Here the interface's other
/// end is a socket of the harness's, not a tap.
fn network_interface_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let peer = Peer::listen()?;
    env.note("the plugged interface's other end is a socket of the harness's, not a tap".to_owned());
    let id = forms::plug_interface(machine, 1, &peer.address().to_string())?;
    let name = on_the_bridge(env, machine, Bridge::Plain, 1, "net")?;
    let packets = 16;
    let sent = Question::Packets { interface: name, traffic: Traffic::Frames, count: packets };
    let back = machine.ask(sent)?.count("sending packets from the guest")?;
    ensure!(
        back == packets,
        "of {packets} packets that the guest sent, {} reached the other end and {back} came back unchanged",
        peer.seen()
    );
    delete(machine, &id, By::Kernel(&mut on_the_bridge_still))?;
    machine.qmp("netdev_del", json!({ "id": forms::netdev(1) })).map(drop)
}

/// Waits for a virtio device in a slot of the bridge that has a child of `class`; returns the child's name.
fn on_the_bridge(
    env: &dyn EnvironmentSide,
    machine: &mut dyn Machine,
    bridge: Bridge,
    slot: u32,
    class: &str,
) -> Result<String, Stop> {
    let wait = Wait::new(machine, DEVICE, &format!("the guest had a {class} device in slot {slot} of pci-bridge-0"));
    let found = |machine: &mut dyn Machine| {
        let Some(device) = bridge.slot(machine, slot)? else { return Ok(None) };
        thing_of(machine, &device, class)
    };
    let progress = |machine: &mut dyn Machine| {
        bridge.slot(machine, slot).map(|there| there.map(|path| format!("{path} is there")))
    };
    within(env, machine, &wait, FOR_PCI, found, progress)
}

/// Checks whether the guest has a device in the first slot of the bridge.
fn on_the_bridge_still(machine: &mut dyn Machine) -> Result<bool, Stop> {
    Bridge::Plain.slot(machine, 1).map(|slot| slot.is_some())
}

/// Returns the directory of device 0 behind a port, if the guest has one.
pub(super) fn behind(machine: &mut dyn Machine, port: &str) -> Result<Option<String>, Stop> {
    let device = list(machine, port)?.into_iter().find(|name| name.starts_with("0000:") && name.ends_with(":00.0"));
    Ok(device.map(|device| format!("{port}/{device}")))
}

/// Returns the name of a virtio device's child of a class: `vdb` of the class `block`.
pub(super) fn thing_of(machine: &mut dyn Machine, device: &str, class: &str) -> Result<Option<String>, Stop> {
    let virtio = list(machine, device)?.into_iter().find(|name| is_numbered(name, "virtio"));
    let Some(virtio) = virtio else { return Ok(None) };
    Ok(list(machine, &format!("{device}/{virtio}/{class}"))?.into_iter().next())
}

/// Plugs a DIMM; returns its size in bytes.
fn plug_memory(machine: &mut dyn Machine) -> Result<u64, Stop> {
    let size = dimm_size(machine);
    forms::plug_memory(machine, size)?;
    Ok(size)
}

/// Returns the size of a DIMM, bytes: at least one of the guest's memory blocks.
fn dimm_size(machine: &mut dyn Machine) -> u64 {
    let block = read(machine, "/sys/devices/system/memory/block_size_bytes");
    // A kernel without this file has no memory hotplug, which the later wait reports.
    let block = block.ok().and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(128 << 20);
    block.max(256 << 20)
}

/// Checks whether a name consists of the prefix and a number.
fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the configuration that both runtimes ship, a disk goes to the SCSI controller; a setting chooses the
    /// bridge.
    #[test]
    fn a_pci_disk_is_not_needed_by_katas_shipped_configuration() {
        let proves = |capability: Capability| -> Vec<&str> {
            ROWS.iter().chain(disks::ROWS).filter(|row| row.proves.contains(&capability)).map(|row| row.name).collect()
        };
        assert_eq!(proves(Capability::VmmHotplugBlk), ["scsi_disk_is_hotplugged"]);
        assert_eq!(proves(Capability::VmmHotplugPciDisk), ["pci_disk_is_hotplugged"]);
        assert!(Capability::VmmHotplugBlk.is_needed() && !Capability::VmmHotplugPciDisk.is_needed());
    }

    #[test]
    fn a_numbered_name_is_the_prefix_and_a_number() {
        assert!(is_numbered("memory40", "memory") && is_numbered("cpu0", "cpu"));
        assert!(!is_numbered("cpufreq", "cpu") && !is_numbered("cpu", "cpu") && !is_numbered("virtio0x", "virtio"));
    }
}
