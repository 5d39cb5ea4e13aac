//! Where a plugged device is, asked of QEMU object by object, as the Go runtime does for the host's devices.

use super::scratch_disk::{SMALL, ScratchDisk};
use super::waits::{Wait, within};
use super::{DEVICE, FOR_ROOT_PORT, behind, forms};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine};
use crate::row::{Row, row};
use crate::smoke::BOOTS;
use crate::test::Place;
use crate::under;
use serde_json::{Value, json};

const SOURCE: &str = include_str!("addresses.rs");

pub(in crate::smoke) static ROWS: &[Row] =
    &[row!(Environment(qom_get_tells_where_a_device_is), &[Capability::VmmHotplugRootPort], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .under(&under::GO_ROOT_PORTS)
        .seconds(180)];

/// The number of buses above a device at most (`maxPCIeTopoDepth` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0).
const DEEPEST: usize = 10;

/// `qom-get` tells the slot of a device in a PCIe root port and of the port, in the form that the Go runtime parses,
/// and the guest has the device there.
///
/// The Go runtime tells its agent by this where a VFIO device is (`qomGetPciPath` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, `hotplugVFIODevice` in
/// src/runtime/virtcontainers/qemu.go@4.1.0). A disk stands in for the host's device, which a test cannot have.
fn qom_get_tells_where_a_device_is(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_a_root_port()?;
    let machine = machine.as_mut();
    env.note("a virtio-blk disk is plugged into the root port, in the place of a VFIO device".to_owned());
    let disk = ScratchDisk::of(b'q', SMALL)?;
    let id = forms::plug_root_port_disk(machine, &disk.0)?;
    let slots = slots_to(machine, &id)?;
    let [port, 0] = slots[..] else {
        return Err(Stop::fail(format!("{id} was plugged into a root port as device 0, its slots are {slots:?}")));
    };
    let folder = format!("/sys/devices/pci0000:00/0000:00:{port:02x}.0");
    let wait = Wait::new(machine, DEVICE, &format!("the guest had a device behind slot {port}, where qom-get has it"));
    let found = |machine: &mut dyn Machine| behind(machine, &folder);
    within(env, machine, &wait, FOR_ROOT_PORT, found, |_: &mut dyn Machine| Ok(None)).map(drop)
}

/// Returns the slots on the way from the root bus to a device.
fn slots_to(machine: &mut dyn Machine, id: &str) -> Result<Vec<u64>, Stop> {
    let mut at = id.to_owned();
    let mut slots = vec![slot(machine, &at)?];
    for _ in 0..DEEPEST {
        let bus = get(machine, &at, "parent_bus")?;
        let Some(bus) = bus.as_str() else {
            return Err(Stop::fail(format!("qom-get of {at}: parent_bus is {bus}, which is no string")));
        };
        if is_root_bus(bus) {
            slots.reverse();
            return Ok(slots);
        }
        // The last part is the bus itself; what is before it is the bridge or port that has the bus.
        let Some((above, _)) = bus.rsplit_once('/') else {
            return Err(Stop::fail(format!("qom-get of {at}: parent_bus is {bus:?}, which is no path")));
        };
        at = above.to_owned();
        slots.push(slot(machine, &at)?);
    }
    Err(Stop::fail(format!("qom-get finds no root bus within {DEEPEST} buses above {id}")))
}

/// Returns a device's slot; the device must be function 0.
fn slot(machine: &mut dyn Machine, path: &str) -> Result<u64, Stop> {
    let address = get(machine, path, "addr")?;
    let Some(number) = address.as_u64() else {
        return Err(Stop::fail(format!("qom-get of {path}: addr is {address}, which is no slot's number")));
    };
    let (slot, function) = (number >> 3, number & 7);
    ensure!(function == 0 && slot < 32, "qom-get of {path}: addr is {number}: slot {slot}, function {function}");
    Ok(slot)
}

fn get(machine: &mut dyn Machine, path: &str, property: &str) -> Result<Value, Stop> {
    machine.qmp("qom-get", json!({ "path": path, "property": property }))
}

/// Checks whether the runtime takes a bus for the root bus: `/machine/q35/pcie.0`.
fn is_root_bus(path: &str) -> bool {
    path.strip_prefix("/machine/").is_some_and(|rest| rest.contains("/pcie.0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;

    /// Returns the slots above `vfio-0` in a QEMU whose objects have these properties.
    fn slots(objects: &[(&str, &str, Value)]) -> Result<Vec<u64>, Stop> {
        let mut machine = FakeMachine::of("go-3.32");
        let objects: Vec<(String, String, Value)> =
            objects.iter().map(|(path, property, value)| ((*path).into(), (*property).into(), value.clone())).collect();
        machine.qmp = Box::new(move |command, arguments| {
            assert_eq!(command, "qom-get");
            let is_it = |(path, property, _): &&(String, String, Value)| {
                arguments["path"] == path.as_str() && arguments["property"] == property.as_str()
            };
            objects.iter().find(is_it).map(|found| found.2.clone()).ok_or_else(|| Stop::fail("not found"))
        });
        slots_to(&mut machine, "vfio-0")
    }

    #[test]
    fn slots_are_read_up_to_the_root_bus() {
        let port = "/machine/peripheral/rp0";
        let objects = |address: Value, bus: Value| {
            [
                ("vfio-0", "addr", address),
                ("vfio-0", "parent_bus", bus),
                (port, "addr", json!(32)),
                (port, "parent_bus", json!("/machine/q35/pcie.0")),
            ]
        };
        let bus = json!("/machine/peripheral/rp0/rp0");
        assert_eq!(slots(&objects(json!(0), bus.clone())), Ok(vec![4, 0]));
        assert_eq!(slots(&objects(json!(0), json!("/machine/q35/pcie.0"))), Ok(vec![0]));
        for address in [json!("0"), json!(1), json!(-1), json!(256)] {
            assert!(matches!(slots(&objects(address, bus.clone())), Err(Stop::Fail { .. })));
        }
        for bus in [json!(null), json!("pcie"), json!("/machine/peripheral/other/other")] {
            assert!(matches!(slots(&objects(json!(0), bus)), Err(Stop::Fail { .. })));
        }
        // A bus that leads back to itself has an end.
        let round = [("vfio-0", "addr", json!(0)), ("vfio-0", "parent_bus", json!("vfio-0/bus"))];
        assert!(matches!(slots(&round), Err(Stop::Fail { .. })));
    }
}
