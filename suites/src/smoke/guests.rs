//! Guests that a test boots and ends itself: the ways in which they end, and behaviour that only several CPUs or
//! several guests show.

use super::BOOTS;
use super::boot::cpus_work;
use super::guest_files::read;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Ending, EnvironmentSide, Question, Setting};
use crate::row::{Row, row};
use crate::test::Place;
use std::time::Duration;

const SOURCE: &str = include_str!("guests.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(guest_powers_off), &[Capability::VmmBoot], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(120),
    row!(Environment(guest_panic_is_reported), &[Capability::VmmBoot, Capability::KernelGuest], Kernel)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(120),
    row!(Environment(two_cpus_both_work), &[Capability::VmmBoot], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(120),
    row!(Environment(groups_bind_to_one_of_two_cpus), &[Capability::KernelGuest], Kernel)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::two_cpus_both_work", "smoke::guest_has_cgroup_v2_and_its_controllers"])
        .seconds(120),
    row!(Environment(two_guests_run_at_once), &[Capability::VmmBoot], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(240),
    row!(Environment(virtiofsd_ends_when_the_vmm_is_killed), &[Capability::FsVirtioFs], Virtiofsd)
        .places(&[Place::OwnGuest])
        .blocked_by(&[
            "smoke::kernel_boots_to_userspace",
            "smoke::virtiofsd_accepts_the_profiles_flags",
            "smoke::qemu_accepts_the_arguments_of_virtio_fs",
            "smoke::kernel_has_the_modules_of_virtio_fs",
        ])
        .seconds(120),
];

/// When a guest powers itself off, QEMU soon exits with code 0.
///
/// The agent powers the guest off when it ends as process 1 (`main` in src/agent/src/main.rs@4.1.0), and with tracing
/// the Go runtime waits for QEMU to go; otherwise it kills QEMU (`StopVM` in src/runtime/virtcontainers/qemu.go@4.1.0).
fn guest_powers_off(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    machine.ask(Question::PowerOff)?;
    match machine.wait_for_end(Duration::from_secs(30))? {
        Ending::PoweredOff => Ok(()),
        other => Err(other.stop("the guest was told to power off")),
    }
}

/// A guest whose kernel panics reports the panic on its console and ends QEMU, because of Kata's `panic=1` and
/// `-no-reboot`.
///
/// Kata notices a crashed guest by QEMU's exit; a guest that hangs in its panic leaves a pod that never fails. The Go
/// runtime polls for it (`watchHypervisor` in src/runtime/virtcontainers/monitor.go@4.1.0); `panic=1` is among its
/// parameters of the kernel (src/runtime/virtcontainers/qemu.go@4.1.0), `-no-reboot` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0 and src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn guest_panic_is_reported(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    machine.ask(Question::Write { path: "/proc/sysrq-trigger".into(), text: "c".into() })?;
    let line = reported(machine.wait_for_end(Duration::from_secs(40))?)?;
    env.note(format!("reported as: {line}"));
    Ok(())
}

/// Returns the kernel's line of a guest that was made to panic.
fn reported(ending: Ending) -> Result<String, Stop> {
    const DOING: &str = "the guest was made to panic";
    match ending {
        Ending::Panicked { line } => Ok(line),
        // The panic is this test's doing, so only QEMU's crash needs an explanation.
        Ending::PanickedAndCrashed { signal, .. } => Err(Ending::VmmKilled { signal }.stop(DOING)),
        other => Err(other.stop(DOING)),
    }
}

/// A guest that is started with two CPUs has both online, and both do work.
///
/// `default_vcpus`, and with static sizing every pod with a limit, starts a guest with more than one. Kata's own test
/// is tests/integration/kubernetes/k8s-sandbox-vcpus-allocation.bats@4.1.0.
fn two_cpus_both_work(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::Vcpus(2))?;
    cpus_work(machine.as_mut(), 2)
}

/// In a guest with two CPUs, a process in a control group that is bound to one of them runs on that one, and cannot
/// move to the other by asking for it.
///
/// A container's `cpuset.cpus` is set in the guest's groups (`set_cpu_resources` in
/// src/agent/rustjail/src/cgroups/fs/mod.rs@4.1.0).
fn groups_bind_to_one_of_two_cpus(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::Vcpus(2))?;
    for cpu in [1, 0] {
        machine.ask(Question::BindToCpu { cpu })?.text("binding a control group of the guest's to a CPU")?;
    }
    Ok(())
}

/// Two guests of the same profile run side by side, each with its own console, and both power off.
///
/// A node runs many pods; this test detects a fixed path, a lock or a port that VMMs share. Kata's own test starts many
/// containers on one node (tests/stability/scability_test.sh@4.1.0).
fn two_guests_run_at_once(env: &dyn EnvironmentSide) -> Check {
    let mut first = env.boot()?;
    let mut second = env.boot()?;
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let (one, two) = (read(first.as_mut(), boot_id)?, read(second.as_mut(), boot_id)?);
    ensure!(one != two, "two guests have the same boot id {}", one.trim());
    ensure!(first.heard(first.silence()), "the first guest fell silent when the second one ran");
    for machine in [&mut first, &mut second] {
        machine.ask(Question::PowerOff)?;
        match machine.wait_for_end(Duration::from_secs(30))? {
            Ending::PoweredOff => {}
            other => return Err(other.stop("one of two guests was told to power off")),
        }
    }
    Ok(())
}

/// virtiofsd exits by itself once its VMM has been killed.
///
/// Kata's clean-up after a crashed VMM relies on this (`TestKilledVmmCleanup` in
/// tests/integration/cri-containerd/integration-tests.sh@4.1.0): a daemon that stays behind holds the share's mounts
/// for ever.
fn virtiofsd_ends_when_the_vmm_is_killed(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with_virtio_fs()?;
    machine.kill_vmm()?;
    let ended = machine.wait_for_daemon(Duration::from_secs(10));
    ensure!(ended.is_ok(), "virtiofsd still runs long after QEMU was killed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Component;

    #[test]
    fn a_qemu_that_crashes_on_a_guest_panic_is_blamed() {
        let line = || "Kernel panic - not syncing: sysrq triggered crash".to_owned();
        assert_eq!(reported(Ending::Panicked { line: line() }), Ok(line()));
        let crashed = reported(Ending::PanickedAndCrashed { line: line(), signal: 11 });
        assert_eq!(
            crashed,
            Err(Stop::blame(Component::Qemu, "the guest was made to panic: QEMU crashed with signal 11"))
        );
        let quiet = reported(Ending::PoweredOff).unwrap_err();
        assert!(matches!(quiet, Stop::Fail { blames: Some(Component::Kernel), .. }), "{quiet:?}");
    }
}
