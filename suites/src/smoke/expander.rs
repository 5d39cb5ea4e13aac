//! A device in a NUMA node of the guest: behind a root bus of its own, which an expander bridge creates.

use super::guest_files::{list, load, read};
use super::hotplug::scratch_disk::ScratchDisk;
use super::hotplug::waits::{Wait, blame_kernel_if_lacking, within};
use super::hotplug::{behind, thing_of};
use super::memory::FOR_NODES;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Setting};
use crate::row::{Row, row};
use crate::test::{Need, Place};
use crate::under;
use model::profile::ModuleUse;
use std::time::Duration;

const SOURCE: &str = include_str!("expander.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Environment(device_behind_an_expander_is_in_its_numa_node), &[Capability::VmmNumaDevice], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&[
            "smoke::kernel_boots_to_userspace",
            "smoke::kernel_has_the_modules_of_virtio_blk",
            "smoke::guest_has_numa_nodes_with_bound_memory",
        ])
        .needs(&[Need::MemoryPolicy])
        .under(&under::NUMA)
        .seconds(180)];

/// The name of the root bus of the guest's second node: bus 64.
const BUS: &str = "0000:40";
/// The guest's second node.
const NODE: &str = "1";

/// A device behind a root bus of the guest's second NUMA node is found there, belongs to that node, and works.
///
/// A VFIO device is put behind a `pxb-pcie` of the node that it is on (`createNUMAPCIeTopology` in
/// src/runtime/virtcontainers/qemu.go@4.1.0), so that its users run near it. A disk stands in for the host's device,
/// which a test cannot have.
fn device_behind_an_expander_is_in_its_numa_node(env: &dyn EnvironmentSide) -> Check {
    let disk = ScratchDisk::new()?;
    let mut machine = env.boot_with(Setting::NumaDevice(disk.0.clone()))?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let wait = Wait::of_test(machine, Duration::from_secs(10), &format!("the guest had a disk behind its bus {BUS}"));
    let found = |machine: &mut dyn Machine| {
        let Some(device) = device(machine)? else { return Ok(None) };
        Ok(thing_of(machine, &device, "block")?.map(|name| (device, name)))
    };
    let progress = |machine: &mut dyn Machine| device(machine).map(|path| path.map(|path| format!("{path} is there")));
    let (device, name) = within(env, machine, &wait, &["VIRTIO_BLK", "PCIEPORTBUS"], found, progress)?;
    is_in_the_node(machine, &device).map_err(|stop| blame_kernel_if_lacking(env, FOR_NODES, stop))?;
    disk.is_used(machine, &name)
}

/// Returns the directory of the device behind the port on the node's root bus, if the guest has one.
fn device(machine: &mut dyn Machine) -> Result<Option<String>, Stop> {
    let bus = format!("/sys/devices/pci{BUS}");
    let port = list(machine, &bus)?.into_iter().find(|name| name.starts_with(&format!("{BUS}:")));
    match port {
        Some(port) => behind(machine, &format!("{bus}/{port}")),
        None => Ok(None),
    }
}

fn is_in_the_node(machine: &mut dyn Machine, device: &str) -> Check {
    let node = read(machine, &format!("{device}/numa_node"))?;
    ensure!(node.trim() == NODE, "a device was put into node {NODE} of the guest's, and is in {:?}", node.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;

    #[test]
    fn a_device_is_found_behind_the_port_of_its_nodes_bus() {
        let mut machine = FakeMachine::of("go-3.32");
        assert_eq!(device(&mut machine), Ok(None));
        let bus = "/sys/devices/pci0000:40";
        machine.files.insert(bus.to_owned(), "0000:40:00.0\nfirmware_node\n".to_owned());
        assert_eq!(device(&mut machine), Ok(None));
        machine.files.insert(format!("{bus}/0000:40:00.0"), "0000:41:00.0\nnuma_node\n".to_owned());
        let path = format!("{bus}/0000:40:00.0/0000:41:00.0");
        assert_eq!(device(&mut machine), Ok(Some(path.clone())));
        machine.files.insert(format!("{path}/numa_node"), "1\n".to_owned());
        assert_eq!(is_in_the_node(&mut machine, &path), Ok(()));
        machine.files.insert(format!("{path}/numa_node"), "-1\n".to_owned());
        let message = "a device was put into node 1 of the guest's, and is in \"-1\"";
        assert_eq!(is_in_the_node(&mut machine, &path), Err(Stop::fail(message)));
    }
}
