//! Memory that a virtio-mem device makes larger and smaller.

use super::online::Online;
use super::waits::{Wait, within};
use super::{ONLINE, forms};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine};
use crate::row::{Row, row};
use crate::smoke::BOOTS;
use crate::smoke::guest_files::{has_module, load, memory_kib};
use crate::smoke::qmp::{go, reply};
use crate::test::Place;
use crate::under;
use model::profile::ModuleUse;
use qapi_qmp as qapi;
use serde_json::Value;

const SOURCE: &str = include_str!("virtio_mem.rs");

pub(in crate::smoke) static ROWS: &[Row] =
    &[row!(Environment(memory_is_resized_by_virtio_mem), &[Capability::VmmVirtioMem], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .under(&under::GO)
        .seconds(240)];

/// The device's maximum size, and the size that is requested, bytes.
const MOST: u64 = 1 << 30;
const ASKED: u64 = 512 << 20;
/// The guest's kernel options.
const OPTIONS: &[&str] = &["VIRTIO_MEM", "MEMORY_HOTPLUG"];

/// A virtio-mem device that is plugged as the Go runtime does enlarges the guest's memory by the requested size, and
/// shrinks it again by what the guest gives back.
///
/// With `enable_virtio_mem` pods are resized this way, up and down (`setupVirtioMem` and `resizeVirtioMem` in
/// src/runtime/virtcontainers/qemu.go@4.1.0); runtime-rs does so only on s390x (`setup_virtio_mem` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0). A guest need not give back memory that it uses, which is
/// noted.
fn memory_is_resized_by_virtio_mem(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::Settings)?;
    forms::plug_virtio_mem(machine, MOST)?;
    let before = memory_kib(machine)?;
    forms::resize_virtio_mem(machine, ASKED)?;
    grows(env, machine, before)?;
    forms::resize_virtio_mem(machine, 0)?;
    let kept = shrinks(machine)?;
    if kept > 0 {
        env.note(format!("the guest was asked to give {} MiB back, and kept {} MiB", ASKED >> 20, kept >> 20));
    }
    agrees(memory_kib(machine)?.saturating_sub(before) * 1024, kept)
}

/// Waits until the guest has taken the requested size.
fn grows(env: &dyn EnvironmentSide, machine: &mut dyn Machine, before: u64) -> Check {
    has_module(env, ModuleUse::Settings, "virtio_mem")?;
    let wait = Wait::new(machine, ONLINE, "the guest's memory grew by that of virtio-mem");
    let mut online = Online::default();
    let more = |machine: &mut dyn Machine| memory_kib(machine).map(|now| now.saturating_sub(before) * 1024);
    let grown = |machine: &mut dyn Machine| {
        online.bring(machine, "/sys/devices/system/memory", "memory")?;
        // The kernel keeps a little of each block for its own tables.
        Ok((size(machine)? == ASKED && more(machine)? >= ASKED / 10 * 9).then_some(()))
    };
    let progress = |machine: &mut dyn Machine| {
        let (taken, more) = (size(machine)?, more(machine)?);
        let seen = format!("the guest has taken {} MiB, and counts {} MiB more", taken >> 20, more >> 20);
        Ok((taken > 0).then_some(seen))
    };
    let waited = within(env, machine, &wait, OPTIONS, grown, progress);
    if let Some(why) = online.refused {
        env.note(why);
    }
    waited
}

/// Waits until the guest has given everything back, or stops giving back; returns the bytes that it has kept.
fn shrinks(machine: &mut dyn Machine) -> Result<u64, Stop> {
    let patience = Wait::new(machine, ONLINE, "").scaled();
    let (mut kept, mut since) = (size(machine)?, std::time::Instant::now());
    while kept > 0 && since.elapsed() < patience {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let now = size(machine)?;
        if now < kept {
            (kept, since) = (now, std::time::Instant::now());
        }
    }
    Ok(kept)
}

/// Checks that the guest's additional memory is about the size that the guest has kept according to QEMU.
fn agrees(more: u64, kept: u64) -> Check {
    let near = more.abs_diff(kept) <= ASKED / 10;
    ensure!(near, "QEMU says that the guest has kept {} MiB, and the guest counts {} MiB", kept >> 20, more >> 20);
    Ok(())
}

/// Returns the guest's size of the device according to QEMU, bytes.
fn size(machine: &mut dyn Machine) -> Result<u64, Stop> {
    let reply = reply::<Vec<qapi::MemoryDeviceInfo>, Vec<go::MemoryDevice>>(machine, "query-memory-devices")?;
    let mut devices = reply.as_array().into_iter().flatten();
    let device = devices.find(|device| device.get("type").and_then(Value::as_str) == Some("virtio-mem"));
    let size = device.and_then(|device| device.pointer("/data/size")?.as_u64());
    size.ok_or_else(|| Stop::fail(format!("query-memory-devices has no virtio-mem device with a size: {reply}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Component;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};
    use serde_json::json;

    /// Returns the answer of QEMU 7.2 for a device of which the guest uses this many bytes.
    fn devices(size: u64) -> Value {
        let data = json!({
            "memdev": "/objects/virtiomem", "memaddr": 4_294_967_296_u64, "block-size": 2_097_152, "size": size,
            "node": 0, "max-size": MOST, "requested-size": 0, "id": "virtiomem0",
        });
        json!([{ "type": "virtio-mem", "data": data }])
    }

    #[test]
    fn memory_kept_by_the_guest_is_accepted_if_both_counts_agree() {
        assert_eq!(agrees(0, 0), Ok(()));
        assert_eq!(agrees(130 << 20, 128 << 20), Ok(()));
        let message = "QEMU says that the guest has kept 0 MiB, and the guest counts 512 MiB";
        assert_eq!(agrees(512 << 20, 0), Err(Stop::fail(message)));
    }

    #[test]
    fn shrinking_ends_once_the_guest_has_returned_all_memory() {
        let mut machine = FakeMachine::of("go-3.32");
        let mut sizes = vec![0, 128 << 20, ASKED];
        machine.qmp = Box::new(move |_, _| Ok(devices(sizes.pop().unwrap_or(0))));
        assert_eq!(shrinks(&mut machine), Ok(0));
    }

    #[test]
    fn a_kernel_without_the_module_is_blamed_and_not_qemu() {
        let config = ["CONFIG_VIRTIO_MEM=m\nCONFIG_MEMORY_HOTPLUG=y\n"];
        let env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &config);
        let env = env.without(ModuleUse::Settings, "virtio_mem");
        let lacks = "kernel 6.12 has neither a module nor built-in code for virtio_mem";
        assert_eq!(grows(&env, &mut FakeMachine::of("go-3.32"), 0), Err(Stop::blame(Component::Kernel, lacks)));
    }

    #[test]
    fn a_device_that_qemu_does_not_report_is_a_failure() {
        let mut machine = FakeMachine::of("go-3.32");
        machine.qmp = Box::new(|_, _| Ok(json!([])));
        assert!(matches!(size(&mut machine), Err(Stop::Fail { blames: None, .. })));
        machine.qmp = Box::new(|_, _| Ok(devices(ASKED)));
        assert_eq!(size(&mut machine), Ok(ASKED));
    }
}
