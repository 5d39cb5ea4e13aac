//! A guest of the distro's kernel under the distro's QEMU, with the profile's arguments.

use super::BOOTS;
use super::guest_files::{memory_kib, read};
use super::hotplug::waits::Wait;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Machine, Question};
use crate::reproducer::{GuestCommands, Reproducer};
use crate::row::{Row, row};
use crate::test::ExcludedArchitectures;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("boot.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Machine(kernel_boots_to_userspace), &[Capability::VmmBoot, Capability::KernelGuest], Kernel)
        .blocked_by(&[
            "smoke::qemu_has_the_machine_type",
            "smoke::qemu_has_the_devices_of_the_default_path",
            "smoke::qemu_has_the_objects_of_the_default_path",
            "smoke::kernel_has_the_modules_of_boot",
        ])
        .seconds(120)
        .reproduced(Reproducer::Guest(GuestCommands {
            arguments: &[],
            modules: &[],
            commands: "true",
            is_about_booting: true,
        })),
    row!(Machine(guest_has_the_cpus_and_memory_asked_for), &[Capability::VmmBoot], Qemu).blocked_by(BOOTS),
    row!(Machine(guest_console_reaches_the_host), &[Capability::VmmBoot], Qemu)
        .blocked_by(BOOTS)
        .excluding(ExcludedArchitectures::OnPower),
];

/// The kernel boots under the profile's QEMU arguments to userspace, and it is the kernel of the record's package.
///
/// This is Kata's minimum requirement for a VMM and a guest kernel; every other guest test builds on it. Both runtimes
/// start it with `-kernel` (src/runtime/pkg/govmm/qemu/qemu.go@4.1.0,
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn kernel_boots_to_userspace(machine: &mut dyn Machine) -> Check {
    let running = read(machine, "/proc/sys/kernel/osrelease")?;
    let cmdline = read(machine, "/proc/cmdline")?;
    ensure!(
        machine.kernel() == running.trim(),
        "the guest was given the kernel {}, and runs {:?}",
        machine.kernel(),
        running.trim()
    );
    ensure!(cmdline.contains("panic=1"), "the guest's command line is not Kata's: {}", cmdline.trim());
    Ok(())
}

/// The guest sees the number of CPUs and about the memory that QEMU's arguments ask for, and each CPU works.
///
/// Kata sizes the VM by the pod's limits; a guest that sees less runs out of memory early. The expected values come
/// from the arguments of the profile: QEMU's own report would show what it gave, not what was asked for. They are
/// `-smp` and `-m` in src/runtime/pkg/govmm/qemu/qemu.go@4.1.0 and
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0; Kata's own test is
/// tests/integration/kubernetes/k8s-number-cpus.bats@4.1.0.
fn guest_has_the_cpus_and_memory_asked_for(machine: &mut dyn Machine) -> Check {
    let requested = &machine.profile().qemu;
    let (vcpus, requested_mib) = (requested.vcpus, requested.memory_mib);
    cpus_work(machine, vcpus)?;
    let total_kib = memory_kib(machine)?;
    let share = total_kib as f64 / 1024.0 / f64::from(requested_mib);
    ensure!(
        (0.80..=1.0).contains(&share),
        "{requested_mib} MiB were asked for, the guest sees {} MiB",
        total_kib / 1024
    );
    Ok(())
}

/// Checks that as many CPUs as requested are online, and that a thread bound to each ran on it.
pub(super) fn cpus_work(machine: &mut dyn Machine, requested: u32) -> Check {
    let online = read(machine, "/sys/devices/system/cpu/online")?;
    let worked = machine.ask(Question::WorkOnEachCpu)?.cpus("working on each CPU of the guest")?;
    ensure!(
        worked.iter().copied().eq(0..requested as usize),
        "{requested} CPUs were asked for, online are {:?}, and those that did work are {worked:?}",
        online.trim()
    );
    Ok(())
}

/// Text that the guest writes to `hvc0` comes out of the console socket on the host.
///
/// Kata reads the guest's console from this socket, for its logs and for the agent's own output. That is `GetVMConsole`
/// in src/runtime/virtcontainers/qemu.go@4.1.0, and
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn guest_console_reaches_the_host(machine: &mut dyn Machine) -> Check {
    line_reaches_the_host(machine, "/dev/hvc0")
}

/// Checks that a line that the guest writes to this console device comes out of the console socket on the host.
pub(super) fn line_reaches_the_host(machine: &mut dyn Machine, device: &str) -> Check {
    let line = format!("kata-qualify: this line goes through {device}");
    // Write the line twice: a message of the kernel may interrupt one copy.
    machine
        .ask(Question::Write { path: device.to_owned(), text: format!("{line}\n{line}\n") })?
        .text(&format!("writing to {device}"))?;
    let before = machine.console();
    let wait = Wait::of_test(machine, Duration::from_secs(10), "the line came out of the console socket").scaled();
    let deadline = Instant::now() + wait;
    loop {
        let seen = machine.console();
        if seen.contains(&line) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(missing_line(device, wait, seen != before && machine.is_emulated()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the stop for a line that did not arrive: if other lines arrived meanwhile, the guest is slow and does not
/// hang.
fn missing_line(device: &str, wait: Duration, moves: bool) -> Stop {
    let late =
        format!("a line written to {device} did not reach the console socket within {:.0} s", wait.as_secs_f64());
    if moves { Stop::error(format!("{late}; others did: the guest is slow")) } else { Stop::fail(late) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;
    use serde_json::json;

    /// If QEMU gives half of what its arguments ask for, and reports that as the whole, the test still fails.
    #[test]
    fn cpus_and_memory_are_compared_with_the_arguments_not_with_qmp() {
        let mut machine = FakeMachine::of("go-3.32");
        machine.files.insert("/sys/devices/system/cpu/online".to_owned(), "0\n".to_owned());
        let check = |machine: &mut FakeMachine, actual_mib: u64| {
            // The kernel keeps about a twentieth for itself.
            let meminfo = format!("MemTotal:       {} kB\n", actual_mib * 1024 / 20 * 19);
            machine.files.insert("/proc/meminfo".to_owned(), meminfo);
            machine.qmp = Box::new(move |_, _| Ok(json!({ "base-memory": actual_mib << 20 })));
            guest_has_the_cpus_and_memory_asked_for(machine)
        };
        assert_eq!(check(&mut machine, 2048), Ok(()));
        let half = Stop::fail("2048 MiB were asked for, the guest sees 972 MiB");
        assert_eq!(check(&mut machine, 1024), Err(half));
        machine.cpus = vec![];
        assert!(check(&mut machine, 2048).is_err(), "the one CPU that was asked for did no work");
    }

    #[test]
    fn a_partly_heard_console_is_an_error_and_a_silent_one_a_failure() {
        let late = "a line written to /dev/hvc0 did not reach the console socket within 30 s";
        let wait = Duration::from_secs(30);
        assert_eq!(missing_line("/dev/hvc0", wait, false), Stop::fail(late));
        assert_eq!(
            missing_line("/dev/hvc0", wait, true),
            Stop::error(format!("{late}; others did: the guest is slow"))
        );
    }
}
