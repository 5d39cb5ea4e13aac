//! QEMU's machine type `microvm`: no PCI, virtio devices on MMIO.

use super::BOOTS;
use super::boot::line_reaches_the_host;
use super::guest_files::{has_module, list};
use crate::capability::Capability;
use crate::check::Check;
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Setting};
use crate::row::{Row, row};
use crate::test::Place;
use crate::under;
use model::profile::ModuleUse;

const SOURCE: &str = include_str!("microvm.rs");

pub(super) static ROWS: &[Row] = &[row!(Environment(guest_boots_on_a_microvm), &[Capability::VmmMicrovm], Qemu)
    .places(&[Place::OwnGuest])
    .blocked_by(BOOTS)
    .under(&under::MICROVM)
    .seconds(240)];

/// A guest boots on the machine type `microvm`, all its virtio devices are on MMIO, and its console reaches the host.
///
/// The Go runtime knows two machine types on x86_64, and this one has no PCI: every device has another driver in QEMU,
/// and the guest's kernel needs virtio_mmio (`supportedQemuMachines` in
/// src/runtime/virtcontainers/qemu_amd64.go@4.1.0, `defaultTransport` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0; the
/// same at 3.32.0).
/// No profile uses it by default, and a distro may build QEMU without it.
fn guest_boots_on_a_microvm(env: &dyn EnvironmentSide) -> Check {
    has_module(env, ModuleUse::VirtioMmio, "virtio_mmio")?;
    let set = env.claims().modules.get(&ModuleUse::VirtioMmio);
    let drivers = set.map(|set| set.load.clone()).unwrap_or_default();
    let mut machine = env.boot_with(Setting::Microvm { drivers })?;
    let machine = machine.as_mut();
    devices_are_on_mmio(machine)?;
    line_reaches_the_host(machine, "/dev/hvc0")
}

/// Checks that the driver of MMIO has as many devices as there are virtio devices.
///
/// The driver exists once for each device with something behind it; the machine's other places stay without one.
fn devices_are_on_mmio(machine: &mut dyn Machine) -> Check {
    let virtio = list(machine, "/sys/bus/virtio/devices")?;
    let driver = "/sys/bus/platform/drivers/virtio-mmio";
    let files = ["bind", "unbind", "uevent", "module"];
    let mmio: Vec<String> = list(machine, driver)?.into_iter().filter(|name| !files.contains(&name.as_str())).collect();
    ensure!(
        !virtio.is_empty() && virtio.len() == mmio.len(),
        "the guest was given a machine without PCI, and has the virtio devices [{}] and on MMIO [{}]",
        virtio.join(", "),
        mmio.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Stop;
    use crate::smoke::fake_machine::FakeMachine;

    #[test]
    fn each_virtio_device_must_be_on_mmio() {
        let judged = |virtio: &str, mmio: &str| {
            let mut machine = FakeMachine::of("go-3.32");
            machine.files.insert("/sys/bus/virtio/devices".to_owned(), virtio.to_owned());
            machine.files.insert("/sys/bus/platform/drivers/virtio-mmio".to_owned(), mmio.to_owned());
            devices_are_on_mmio(&mut machine)
        };
        assert_eq!(judged("virtio0\nvirtio1\n", "LNRO0005:00\nLNRO0005:01\nbind\nmodule\nuevent\nunbind\n"), Ok(()));
        for (virtio, mmio) in [("virtio0\nvirtio1\n", "LNRO0005:00\nbind\n"), ("", "bind\n"), ("virtio0\n", "")] {
            assert!(matches!(judged(virtio, mmio), Err(Stop::Fail { blames: None, .. })), "{virtio:?} {mmio:?}");
        }
    }
}
