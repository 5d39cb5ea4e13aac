//! A guest of the distro's kernel under the distro's QEMU, with the profile's arguments.

use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Ending, Environment, Machine, Question};
use crate::outcome::Component;
use std::time::{Duration, Instant};

/// The kernel boots under the profile's QEMU arguments to userspace, and it is the kernel of the record's package.
///
/// This is the least that Kata asks of a VMM and a guest kernel; every other guest test stands on it.
pub(super) fn kernel_boots_to_userspace(machine: &mut dyn Machine) -> Check {
    let running = read(machine, "/proc/sys/kernel/osrelease")?;
    let cmdline = read(machine, "/proc/cmdline")?;
    ensure!(
        running.trim() == machine.kernel(),
        "the guest was given the kernel {}, and runs {:?}",
        machine.kernel(),
        running.trim()
    );
    ensure!(cmdline.contains("panic=1"), "the guest's command line is not Kata's: {}", cmdline.trim());
    Ok(())
}

/// The guest sees the number of CPUs and about the memory that QEMU was told to give it, and each CPU works.
///
/// Kata sizes the VM by the pod's limits; a guest that sees less runs out of memory early.
pub(super) fn guest_has_the_cpus_and_memory_asked_for(machine: &mut dyn Machine) -> Check {
    let asked = machine.profile().qemu.vcpus;
    cpus_work(machine, asked)?;
    let meminfo = read(machine, "/proc/meminfo")?;
    let total_kib: u64 = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Stop::fail("/proc/meminfo has no MemTotal"))?;
    let asked_mib = total_asked(machine)?;
    let share = total_kib as f64 / 1024.0 / asked_mib as f64;
    ensure!((0.80..=1.0).contains(&share), "{asked_mib} MiB were asked for, the guest sees {} MiB", total_kib / 1024);
    Ok(())
}

/// A guest that is started with two CPUs has both online, and both do work.
///
/// `default_vcpus`, and with static sizing every pod with a limit, starts a guest with more than one.
pub(super) fn two_cpus_both_work(env: &dyn Environment) -> Check {
    let mut machine = env.boot_with_vcpus(2)?;
    cpus_work(machine.as_mut(), 2)
}

/// As many CPUs as were asked for are online, and a thread bound to each ran on it.
fn cpus_work(machine: &mut dyn Machine, asked: u32) -> Check {
    let online = read(machine, "/sys/devices/system/cpu/online")?;
    let worked = machine.ask(Question::WorkOnEachCpu)?.text("working on each CPU of the guest")?;
    let expected: Vec<String> = (0..asked).map(|number| number.to_string()).collect();
    ensure!(
        worked.split_whitespace().eq(expected.iter().map(String::as_str)),
        "{asked} CPUs were asked for, online are {:?}, and those that did work are {worked:?}",
        online.trim()
    );
    Ok(())
}

/// What the guest writes to `hvc0` comes out of the console socket on the host.
///
/// Kata reads the guest's console there, for its logs and for the agent's own output.
pub(super) fn guest_console_reaches_the_host(machine: &mut dyn Machine) -> Check {
    let line = "kata-qualify: this line goes through hvc0";
    machine
        .ask(Question::Write { path: "/dev/hvc0".into(), text: format!("{line}\n") })?
        .text("writing to /dev/hvc0")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if machine.console().contains(line) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Stop::fail("a line written to /dev/hvc0 did not reach the console socket within 10 s"))
}

/// A guest that powers itself off ends QEMU with exit code 0, soon.
///
/// Kata stops a sandbox by shutting its guest down and waits for QEMU to go.
pub(super) fn guest_powers_off(env: &dyn Environment) -> Check {
    let mut machine = env.boot()?;
    machine.ask(Question::PowerOff)?;
    match machine.wait_for_end(Duration::from_secs(30))? {
        Ending::PoweredOff => Ok(()),
        other => Err(other.stop("the guest was told to power off")),
    }
}

/// A guest whose kernel panics says so on its console and ends QEMU, as Kata's `panic=1` and `-no-reboot` ask.
///
/// Kata learns of a crashed guest by QEMU's exit; a guest that hangs in its panic leaves a pod that never fails.
pub(super) fn guest_panic_is_reported(env: &dyn Environment) -> Check {
    let mut machine = env.boot()?;
    machine.ask(Question::Write { path: "/proc/sysrq-trigger".into(), text: "c".into() })?;
    match machine.wait_for_end(Duration::from_secs(40))? {
        Ending::Panicked { line } => {
            env.note(format!("reported as: {line}"));
            Ok(())
        }
        other => Err(other.stop("the guest was made to panic")),
    }
}

/// Two guests of the same profile run side by side, each with its own console, and both power off.
///
/// A node runs many pods; a fixed path, a lock or a port shared between VMMs shows here.
pub(super) fn two_guests_run_at_once(env: &dyn Environment) -> Check {
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

fn read(machine: &mut dyn Machine, path: &str) -> Result<String, Stop> {
    machine.ask(Question::Read { path: path.into() })?.text(&format!("reading {path} in the guest"))
}

/// The guest's memory by QEMU's own account, MiB.
fn total_asked(machine: &mut dyn Machine) -> Result<u64, Stop> {
    let summary = machine.qmp("query-memory-size-summary", serde_json::json!({}))?;
    let bytes = summary.get("base-memory").and_then(serde_json::Value::as_u64);
    bytes
        .map(|b| b >> 20)
        .ok_or_else(|| Stop::blame(Component::Qemu, format!("query-memory-size-summary has no base-memory: {summary}")))
}
