//! Plugged SCSI disks: their place in the guest, many of them, and disks with settings of their own.

use super::forms::{self, Disk};
use super::scratch_disk::{SMALL, ScratchDisk};
use super::unplug::{By, delete};
use super::waits::{Wait, within};
use super::{CONTAINERS, DEVICE, FOR_ROOT_PORT, VIRTIO_BLK, behind, thing_of};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Setting};
use crate::row::{Row, row};
use crate::smoke::guest_files::{list, load, read};
use crate::test::{Need, Place, Untold};
use crate::under;
use model::profile::{ModuleUse, Runtime};

const SOURCE: &str = include_str!("disks.rs");

pub(in crate::smoke) static ROWS: &[Row] = &[
    row!(Environment(many_disks_are_hotplugged), &[Capability::VmmHotplugMany], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(300),
    row!(Environment(pci_disk_is_hotplugged_into_a_switch), &[Capability::VmmHotplugSwitchPort], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::ROOT_PORTS)
        .seconds(240),
    row!(Environment(read_only_disk_is_hotplugged), &[Capability::VmmHotplugReadOnly], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(180),
    row!(Environment(disk_is_hotplugged_by_io_uring), &[Capability::HostIoUring], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .needs(&[Need::IoUring])
        .untold(Untold::Elsewhere)
        .seconds(180),
];

/// The guest's kernel options for SCSI disks.
const FOR_SCSI: &[&str] = &["SCSI_VIRTIO", "BLK_DEV_SD"];
const FOLDER: &str = "/sys/bus/scsi/devices";
/// The number of disks that are plugged into one guest; the first target of the controller has room for 256.
const MANY: u8 = 64;

/// 64 disks that are plugged into Kata's SCSI controller one after the other are each found at the address that Kata
/// predicts, hold the data written to them, and can be unplugged.
///
/// A pod has a block device for each volume, and with a block snapshotter one more for each container; both runtimes
/// count them as LUNs of one target (`GetSCSIIdLun` in src/runtime/virtcontainers/utils/utils.go@4.1.0,
/// `hotplug_block_device` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0).
fn many_disks_are_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let mut plugged = Vec::new();
    for (index, number) in (0..u32::from(MANY)).zip(0_u8..) {
        // Each disk is filled with a different byte.
        let disk = ScratchDisk::of(b'!' + number, SMALL)?;
        let id = forms::plug_scsi_disk(machine, &Disk { index, ..Disk::first(&disk.0) })?;
        // Find each disk before plugging the next, as Kata does: a container starts only when its disks are there.
        let name = found(env, machine, index)?;
        plugged.push((index, disk, id, name));
    }
    for (_, disk, _, name) in &plugged {
        disk.is_used(machine, name)?;
    }
    for (index, _, id, _) in &plugged {
        delete(machine, id, By::Qemu)?;
        forms::remove_node_of(machine, *index)?;
    }
    Ok(())
}

/// A disk that is plugged into a PCIe switch, as the runtime plugs a VFIO device there, is found behind the switch's
/// port and holds the data written to it.
///
/// With `pcie_switch_port`, and for the Go runtime `hot_plug_vfio = "switch-port"`, several devices share one root port
/// (`genericAppendPCIeSwitchPort` in src/runtime/virtcontainers/qemu.go@4.1.0, `add_pcie_switch_ports` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0). A disk stands in for the host's device, which
/// a test cannot have.
fn pci_disk_is_hotplugged_into_a_switch(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::SwitchPort)?;
    let machine = machine.as_mut();
    env.note("a virtio-blk disk is plugged into the switch, in the place of a VFIO device".to_owned());
    load(machine, ModuleUse::VirtioBlk)?;
    let disk = ScratchDisk::new()?;
    forms::plug_switch_port_disk(machine, &disk.0)?;
    let port = if machine.profile().runtime == Runtime::Go { "swrp0" } else { "rp0" };
    let Some(slot) = forms::slot_of(machine, port)? else {
        return Err(Stop::fail(format!("query-pci lists no device {port}, though QEMU was started with such a port")));
    };
    let root = format!("/sys/devices/pci0000:00/0000:00:{slot:02x}.0");
    let wait = Wait::new(machine, DEVICE, "the guest had a disk behind the port of a PCIe switch");
    let looked = |machine: &mut dyn Machine| {
        let Some(device) = deepest(machine, &root)? else { return Ok(None) };
        thing_of(machine, &device, "block")
    };
    let progress =
        |machine: &mut dyn Machine| deepest(machine, &root).map(|device| device.map(|path| format!("{path} is there")));
    let name = within(env, machine, &wait, FOR_ROOT_PORT, looked, progress)?;
    disk.is_used(machine, &name)
}

/// Returns the directory of the device behind a root port, a switch and the switch's port, if the guest has one.
fn deepest(machine: &mut dyn Machine, root: &str) -> Result<Option<String>, Stop> {
    let mut folder = root.to_owned();
    for _ in ["the switch", "its port", "the device"] {
        let Some(next) = behind(machine, &folder)? else { return Ok(None) };
        folder = next;
    }
    Ok(Some(folder))
}

/// A disk that is plugged read-only is read-only in the guest, can be read there, and its file does not change.
///
/// A pod's read-only volume is a disk whose file the runtime may have permission only to read (`ReadOnly` in
/// `hotplugAddBlockDevice` of src/runtime/virtcontainers/qemu.go@4.1.0, `is_readonly` in `hotplug_block_device` of
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0).
fn read_only_disk_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let disk = ScratchDisk::of(b'r', SMALL)?;
    let id = forms::plug_scsi_disk(machine, &Disk { read_only: true, ..Disk::first(&disk.0) })?;
    let name = found(env, machine, 0)?;
    is_read_only(machine, &name, 'r')?;
    disk.is_untouched()?;
    delete(machine, &id, By::Qemu)?;
    forms::remove_node(machine)
}

/// Checks that the guest reads a disk filled with this character, sees that it is read-only, and cannot write to it.
fn is_read_only(machine: &mut dyn Machine, name: &str, full_of: char) -> Check {
    let device = format!("/dev/{name}");
    let content = read(machine, &device)?;
    ensure!(
        content.len() == SMALL && content.chars().all(|c| c == full_of),
        "a disk of {SMALL} bytes, full of {full_of:?}, reads in the guest as {} bytes that begin with {:?}",
        content.len(),
        content.chars().take(16).collect::<String>()
    );
    let flag = read(machine, &format!("/sys/class/block/{name}/ro"))?;
    ensure!(flag.trim() == "1", "{device} was plugged read-only, and the guest takes it for one that can be written");
    let written = machine.ask(Question::Write { path: device.clone(), text: "scribble".into() })?.text("").is_ok();
    ensure!(!written, "the guest has written to {device}, which was plugged read-only");
    Ok(())
}

/// A disk that QEMU reads and writes by io_uring can be plugged, holds the data written to it, and can be unplugged.
///
/// Both runtimes ship this as `block_device_aio` for every disk that they plug (src/runtime/Makefile@4.1.0,
/// src/runtime-rs/Makefile@4.1.0). If a kernel or a filter forbids io_uring, QEMU refuses the disk.
fn disk_is_hotplugged_by_io_uring(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    let disk = ScratchDisk::new()?;
    let id = forms::plug_scsi_disk(machine, &Disk { aio: "io_uring", ..Disk::first(&disk.0) })?;
    let name = found(env, machine, 0)?;
    disk.is_used(machine, &name)?;
    delete(machine, &id, By::Qemu)?;
    forms::remove_node(machine)
}

/// Checks that a disk can be plugged into Kata's SCSI controller and holds the data written to it.
pub(in crate::smoke) fn is_plugged_and_used(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
    let disk = ScratchDisk::new()?;
    forms::plug_scsi_disk(machine, &Disk::first(&disk.0))?;
    let name = found(env, machine, 0)?;
    disk.is_used(machine, &name)
}

/// Asks the guest to scan for a disk, as the agent does, because its kernel is told not to scan by itself
/// (`scsi_mod.scan=none`), and waits for the disk; returns its name.
pub(super) fn found(env: &dyn EnvironmentSide, machine: &mut dyn Machine, index: u32) -> Result<String, Stop> {
    let (target, lun) = (index / 256, index % 256);
    for host in list(machine, "/sys/class/scsi_host")? {
        let path = format!("/sys/class/scsi_host/{host}/scan");
        let question = Question::Write { path, text: format!("0 {target} {lun}") };
        machine.ask(question)?.text("asking the guest to look for a SCSI disk")?;
    }
    let wait = Wait::new(machine, DEVICE, &format!("the guest had the SCSI disk 0:0:{target}:{lun}"));
    let address = format!(":0:{target}:{lun}");
    let looked = |machine: &mut dyn Machine| {
        let Some(device) = list(machine, FOLDER)?.into_iter().find(|name| name.ends_with(&address)) else {
            return Ok(None);
        };
        Ok(list(machine, &format!("{FOLDER}/{device}/block"))?.into_iter().next())
    };
    let progress = |machine: &mut dyn Machine| {
        let devices = list(machine, FOLDER)?;
        Ok(devices.iter().any(|name| name.ends_with(&address)).then(|| format!("{FOLDER} has {}", devices.join(", "))))
    };
    within(env, machine, &wait, FOR_SCSI, looked, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Answer;
    use crate::smoke::fake_machine::FakeMachine;

    /// Returns a guest that has a disk with this content and this `ro` attribute, and that allows writing to it or not.
    fn guest(content: &str, ro: &str, writes: bool) -> FakeMachine {
        let mut machine = FakeMachine::of("go-3.32");
        machine.files.insert("/dev/sda".to_owned(), content.to_owned());
        machine.files.insert("/sys/class/block/sda/ro".to_owned(), format!("{ro}\n"));
        machine.answers = Box::new(move |question| match question {
            Question::Write { .. } if !writes => {
                Some(Answer::Failed { message: "Operation not permitted (os error 1)".to_owned() })
            }
            _ => None,
        });
        machine
    }

    #[test]
    fn a_read_only_disk_is_readable_marked_so_and_not_writable() {
        let full = "r".repeat(SMALL);
        let judged = |mut machine: FakeMachine| is_read_only(&mut machine, "sda", 'r');
        assert_eq!(judged(guest(&full, "1", false)), Ok(()));
        let marked_writable =
            Stop::fail("/dev/sda was plugged read-only, and the guest takes it for one that can be written");
        assert_eq!(judged(guest(&full, "0", false)), Err(marked_writable));
        let written = Stop::fail("the guest has written to /dev/sda, which was plugged read-only");
        assert_eq!(judged(guest(&full, "1", true)), Err(written));
        assert!(judged(guest(&full.replace('r', "x"), "1", false)).is_err());
    }

    #[test]
    fn a_device_is_found_only_behind_the_port_of_a_switch() {
        let mut machine = FakeMachine::of("go-3.32");
        let folder = |machine: &mut FakeMachine, path: &str, names: &str| {
            machine.files.insert(path.to_owned(), names.to_owned());
        };
        folder(&mut machine, "/pci/04.0", "0000:02:00.0\npower\n");
        folder(&mut machine, "/pci/04.0/0000:02:00.0", "0000:03:00.0\n");
        assert_eq!(deepest(&mut machine, "/pci/04.0"), Ok(None));
        folder(&mut machine, "/pci/04.0/0000:02:00.0/0000:03:00.0", "0000:04:00.0\n");
        let path = "/pci/04.0/0000:02:00.0/0000:03:00.0/0000:04:00.0";
        assert_eq!(deepest(&mut machine, "/pci/04.0"), Ok(Some(path.to_owned())));
    }

    #[test]
    fn a_changed_file_of_a_read_only_disk_is_found() {
        let disk = ScratchDisk::of(b'r', SMALL).unwrap();
        assert_eq!(disk.is_untouched(), Ok(()));
        std::fs::write(&disk.0, "scribble").unwrap();
        assert_eq!(disk.is_untouched(), Err(Stop::fail("the file of a disk that is read-only has changed")));
    }
}
