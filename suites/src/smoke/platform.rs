//! What the arguments of every guest ask QEMU for, and a boot alone does not show: the accelerator, the interrupt
//! controller, the processor, the generation of the virtio devices, and no other devices.
//!
//! Without KVM the harness asks for QEMU's own emulation, a recorded deviation; the same tests then say that QEMU does
//! that, and show nothing of KVM.

use super::BOOTS;
use super::guest_files::{list, read};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::Machine;
use crate::row::{Row, row};
use crate::test::{ExcludedArchitectures, Need};
use crate::under;
use model::procfs;
use model::profile::Runtime;
use serde_json::{Value, json};

const SOURCE: &str = include_str!("platform.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Machine(guest_runs_under_the_accelerator_asked_for), &[Capability::VmmBoot], Qemu).blocked_by(BOOTS),
    row!(Machine(interrupt_controller_is_where_it_was_asked_for), &[Capability::VmmBoot], Qemu)
        .blocked_by(&["smoke::guest_runs_under_the_accelerator_asked_for"])
        .excluding(ExcludedArchitectures::Elsewhere)
        .under(&under::RS),
    row!(Machine(guest_has_the_hosts_processor_without_its_counters), &[Capability::VmmBoot], Qemu)
        .blocked_by(BOOTS)
        .excluding(ExcludedArchitectures::Elsewhere),
    row!(Machine(guest_has_no_devices_of_qemus_own_choice), &[Capability::VmmBoot], Qemu)
        .blocked_by(BOOTS)
        .excluding(ExcludedArchitectures::Elsewhere),
    row!(Machine(virtio_device_is_of_the_generation_asked_for), &[Capability::VmmBoot], Qemu)
        .blocked_by(BOOTS)
        .excluding(ExcludedArchitectures::Elsewhere),
    row!(Machine(guest_can_keep_time_by_kvm), &[Capability::KernelClock], Kernel)
        .blocked_by(BOOTS)
        .needs(&[Need::Kvm])
        .excluding(ExcludedArchitectures::Elsewhere),
];

/// The guest runs under the accelerator that QEMU's arguments name: KVM, or QEMU's own emulation where the environment
/// has no KVM.
///
/// Both runtimes pass `accel=kvm` (`newQemuArch` in src/runtime/virtcontainers/qemu_amd64.go@4.1.0). A QEMU that falls
/// back to its emulation would run pods at a fraction of their speed.
fn guest_runs_under_the_accelerator_asked_for(machine: &mut dyn Machine) -> Check {
    let reply = machine.qmp("query-kvm", json!({}))?;
    let wanted = machine.has_kvm();
    let how = if wanted { "under" } else { "without" };
    ensure!(
        reply.get("enabled").and_then(Value::as_bool) == Some(wanted),
        "the guest was to run {how} KVM, QMP says {reply}"
    );
    Ok(())
}

/// The place of a q35 machine's devices in QEMU's tree of objects.
const Q35: &str = "/machine/q35";

/// The guest's interrupt controller is KVM's; without KVM it is QEMU's own.
///
/// runtime-rs passes `kernel_irqchip=on` (src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0): with
/// QEMU's own controller, every interrupt would wake QEMU.
fn interrupt_controller_is_where_it_was_asked_for(machine: &mut dyn Machine) -> Check {
    let wanted = if machine.has_kvm() { "child<kvm-ioapic>" } else { "child<ioapic>" };
    let children = machine.qmp("qom-list", json!({ "path": Q35 }))?;
    let named = |child: &&Value| child.get("name").and_then(Value::as_str) == Some("ioapic");
    let controller = children.as_array().into_iter().flatten().find(named);
    let Some(kind) = controller.and_then(|child| child.get("type")).and_then(Value::as_str) else {
        return Err(Stop::error(format!("QEMU's {Q35} has no object ioapic")));
    };
    ensure!(kind == wanted, "the guest's interrupt controller was to be a {wanted}, it is a {kind}");
    Ok(())
}

/// Under KVM the guest's processor is of the host's vendor, family and model; under any accelerator it has no
/// performance counters if `pmu=off` is asked for.
///
/// Both runtimes pass `-cpu host,pmu=off` (src/runtime/config/configuration-qemu.toml.in@4.1.0). Only the counters of
/// Intel's processors are looked at: QEMU cannot switch AMD's off. Under emulation, where no processor has such
/// counters, the test says little.
fn guest_has_the_hosts_processor_without_its_counters(machine: &mut dyn Machine) -> Check {
    let guest = read(machine, "/proc/cpuinfo")?;
    if machine.has_kvm() {
        let host = std::fs::read_to_string("/proc/cpuinfo").map_err(|e| Stop::error(format!("/proc/cpuinfo: {e}")))?;
        is_same_processor(&guest, &host)?;
    }
    has_no_counters(&guest, &machine.profile().qemu.cpu_features)
}

fn is_same_processor(guest: &str, host: &str) -> Check {
    for key in ["vendor_id", "cpu family", "model"] {
        let (seen, wanted) = (procfs::cpu(guest, key), procfs::cpu(host, key));
        ensure!(seen == wanted, "the guest was to have the host's processor, of {key} {wanted:?}: it is {seen:?}");
    }
    Ok(())
}

fn has_no_counters(guest: &str, features: &str) -> Check {
    let counts = procfs::cpu_flags(guest).is_some_and(|flags| flags.contains(&"arch_perfmon"));
    ensure!(
        !counts || !features.contains("pmu=off"),
        "the guest was to have no performance counters ({features}), and has arch_perfmon"
    );
    Ok(())
}

/// The guest has no display, no drive for disks that people insert, and nothing else that QEMU adds by itself.
///
/// Both runtimes pass `-nodefaults` and `-vga none` (src/runtime/pkg/govmm/qemu/qemu.go@4.1.0): each device more takes
/// time at boot, and is one more way out of the guest.
fn guest_has_no_devices_of_qemus_own_choice(machine: &mut dyn Machine) -> Check {
    /// The base class of displays: the upper byte of a PCI device's class.
    const DISPLAY: u64 = 0x03;
    let buses = machine.qmp("query-pci", json!({}))?;
    let devices = buses.as_array().into_iter().flatten().filter_map(|bus| bus.get("devices")?.as_array()).flatten();
    let is_display = |device: &&Value| {
        let class = device.pointer("/class_info/class").and_then(Value::as_u64);
        class.is_some_and(|class| class >> 8 == DISPLAY)
    };
    let displays: Vec<&Value> = devices.filter(is_display).collect();
    ensure!(displays.is_empty(), "the guest was to have no display (`-vga none`), QMP lists {displays:?}");
    let drives = machine.qmp("query-block", json!({}))?;
    let removable: Vec<&Value> = drives
        .as_array()
        .into_iter()
        .flatten()
        .filter(|drive| drive.get("removable") == Some(&json!(true)))
        .filter_map(|drive| drive.get("device"))
        .collect();
    ensure!(removable.is_empty(), "the guest was to have no drives (`-nodefaults`), QMP lists {removable:?}");
    Ok(())
}

/// virtio's number of a serial device, as the guest's kernel prints it.
const SERIAL: &str = "0x0003";
/// The feature bit that only devices since version 1 of virtio have (VIRTIO_F_VERSION_1).
const VERSION_1: usize = 32;

/// The guest uses its virtio-serial device by version 1 of virtio, or by the older one if QEMU's arguments ask for that
/// (`disable-modern=true`); under KVM they do so if the runtime is Go's and its host is a virtual machine.
///
/// On such a host both runtimes ask for older devices (`disableModern` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0,
/// `appendConsole` in src/runtime/virtcontainers/qemu_arch_base.go@4.1.0), but runtime-rs does not for this one
/// (src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn virtio_device_is_of_the_generation_asked_for(machine: &mut dyn Machine) -> Check {
    let property = json!({ "path": "/machine/peripheral/serial0", "property": "disable-modern" });
    let is_old = machine.qmp("qom-get", property)? == json!(true);
    if machine.has_kvm() {
        let wanted = machine.is_emulated() && machine.profile().runtime == Runtime::Go;
        ensure!(
            is_old == wanted,
            "QEMU was asked for a virtio-serial device with disable-modern={wanted}, and has one with {is_old}"
        );
    }
    let Some(features) = features_of(machine, SERIAL)? else {
        return Err(Stop::fail("the guest has no virtio-serial device"));
    };
    let is_new = features.as_bytes().get(VERSION_1) == Some(&b'1');
    ensure!(
        is_new != is_old,
        "QEMU's virtio-serial device has disable-modern={is_old}, and the guest uses the features {features}"
    );
    Ok(())
}

/// Returns the features that the guest uses of its first virtio device of a kind, one digit for each.
fn features_of(machine: &mut dyn Machine, kind: &str) -> Result<Option<String>, Stop> {
    const DEVICES: &str = "/sys/bus/virtio/devices";
    for name in list(machine, DEVICES)? {
        if read(machine, &format!("{DEVICES}/{name}/device"))?.trim() == kind {
            return Ok(Some(read(machine, &format!("{DEVICES}/{name}/features"))?.trim().to_owned()));
        }
    }
    Ok(None)
}

/// Under KVM the guest's kernel finds KVM's clock among those it can keep time by.
///
/// A guest that finds it has found KVM below it, which both runtimes ask for (`accel=kvm`, `newQemuArch` in
/// src/runtime/virtcontainers/qemu_amd64.go@4.1.0). Whether the kernel prefers the processor's own counter is up to the
/// processor.
fn guest_can_keep_time_by_kvm(machine: &mut dyn Machine) -> Check {
    if !machine.has_kvm() {
        return Err(Stop::skip("the environment runs guests without KVM, whose clock it is"));
    }
    let sources = read(machine, "/sys/devices/system/clocksource/clocksource0/available_clocksource")?;
    ensure!(
        sources.split_whitespace().any(|source| source == "kvm-clock"),
        "the guest was to find kvm-clock, its kernel can keep time by: {}",
        sources.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::message;
    use crate::smoke::fake_machine::FakeMachine;

    /// Returns a guest under KVM whose QMP answers everything like this.
    fn answering(profile: &str, answer: Value) -> FakeMachine {
        let mut machine = FakeMachine::of(profile);
        machine.qmp = Box::new(move |_, _| Ok(answer.clone()));
        machine
    }

    #[test]
    fn an_emulation_in_kvms_place_is_found() {
        let judged = |enabled: bool| {
            let answer = json!({ "enabled": enabled, "present": true });
            guest_runs_under_the_accelerator_asked_for(&mut answering("go-3.32", answer))
        };
        assert_eq!(judged(true), Ok(()));
        assert!(message(judged(false)).starts_with("the guest was to run under KVM"));
        let judged = |kind: &str| {
            let answer = json!([{ "name": "type", "type": "string" }, { "name": "ioapic", "type": kind }]);
            interrupt_controller_is_where_it_was_asked_for(&mut answering("rs-4.1", answer))
        };
        assert_eq!(judged("child<kvm-ioapic>"), Ok(()));
        assert!(message(judged("child<ioapic>")).contains("it is a child<ioapic>"));
        let other = interrupt_controller_is_where_it_was_asked_for(&mut answering("rs-4.1", json!([])));
        assert!(matches!(other, Err(Stop::Error { .. })), "{other:?}");
    }

    #[test]
    fn another_processor_and_counters_are_found() {
        let host = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: X\n";
        assert_eq!(is_same_processor(host, host), Ok(()));
        let other = host.replace("85", "6");
        assert!(message(is_same_processor(&other, host)).contains("of model Some(\"85\"): it is Some(\"6\")"));
        let flags = "flags\t\t: fpu arch_perfmon\n";
        assert!(message(has_no_counters(flags, "pmu=off")).contains("arch_perfmon"));
        assert_eq!(has_no_counters(flags, ""), Ok(()));
        assert_eq!(has_no_counters("flags\t\t: fpu\n", "pmu=off"), Ok(()));
    }

    #[test]
    fn devices_that_nobody_asked_for_are_found() {
        let judged = |class: u64, removable: bool| {
            let mut machine = FakeMachine::of("go-3.32");
            machine.qmp = Box::new(move |command, _| {
                Ok(match command {
                    "query-pci" => json!([{ "bus": 0, "devices": [{ "class_info": { "class": class } }] }]),
                    _ => json!([{ "device": "ide2-cd0", "removable": removable }]),
                })
            });
            guest_has_no_devices_of_qemus_own_choice(&mut machine)
        };
        assert_eq!(judged(0x0600, false), Ok(()));
        assert!(message(judged(0x0300, false)).contains("no display"));
        assert!(message(judged(0x0600, true)).contains("ide2-cd0"));
    }

    #[test]
    fn a_device_of_the_other_generation_is_found() {
        let judged = |profile: &str, emulated: bool, is_old: bool, version_1: bool| {
            let mut machine = answering(profile, json!(is_old));
            machine.emulated = emulated;
            let features = format!("{}{}{}\n", "0".repeat(32), u8::from(version_1), "0".repeat(31));
            let files = [("", "virtio0\n"), ("/virtio0/device", "0x0003\n"), ("/virtio0/features", features.as_str())];
            for (path, text) in files {
                machine.files.insert(format!("/sys/bus/virtio/devices{path}"), text.to_owned());
            }
            virtio_device_is_of_the_generation_asked_for(&mut machine)
        };
        assert_eq!(judged("go-3.32", false, false, true), Ok(()));
        assert_eq!(judged("go-3.32", true, true, false), Ok(()));
        assert_eq!(judged("rs-4.1", true, false, true), Ok(()));
        assert!(message(judged("go-3.32", true, false, true)).contains("disable-modern=true, and has one with false"));
        assert!(message(judged("rs-4.1", true, true, false)).contains("disable-modern=false, and has one with true"));
        assert!(message(judged("go-3.32", false, false, false)).contains("uses the features"));
    }

    #[test]
    fn a_kernel_that_does_not_find_kvm_is_found() {
        let judged = |sources: &str| {
            let mut machine = FakeMachine::of("go-3.32");
            let path = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
            machine.files.insert(path.to_owned(), sources.to_owned());
            guest_can_keep_time_by_kvm(&mut machine)
        };
        assert_eq!(judged("tsc kvm-clock acpi_pm \n"), Ok(()));
        assert!(message(judged("tsc acpi_pm \n")).ends_with("tsc acpi_pm"));
    }
}
