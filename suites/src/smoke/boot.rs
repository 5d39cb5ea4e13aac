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
    ensure!(!running.trim().is_empty(), "the guest has no kernel release");
    ensure!(cmdline.contains("panic=1"), "the guest's command line is not Kata's: {}", cmdline.trim());
    Ok(())
}

/// The guest sees the number of CPUs and about the memory that QEMU was told to give it.
///
/// Kata sizes the VM by the pod's limits; a guest that sees less runs out of memory early.
pub(super) fn guest_has_the_cpus_and_memory_asked_for(machine: &mut dyn Machine) -> Check {
    let cpus = read(machine, "/sys/devices/system/cpu/online")?;
    ensure!(cpus.trim() == "0", "one CPU was asked for, online are {:?}", cpus.trim());
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

/// The guest's hardware random number generator is virtio-rng and gives bytes.
///
/// Kata always attaches it (`rng-random` with /dev/urandom): a guest short of entropy stalls at its first TLS handshake.
pub(super) fn guest_has_entropy_from_virtio_rng(machine: &mut dyn Machine) -> Check {
    let current = read(machine, "/sys/class/misc/hw_random/rng_current")?;
    ensure!(current.trim().starts_with("virtio_rng"), "the guest's random number generator is {:?}", current.trim());
    let available = read(machine, "/sys/class/misc/hw_random/rng_available")?;
    ensure!(available.contains("virtio_rng"), "available are only {:?}", available.trim());
    Ok(())
}

/// The guest mounts cgroup v2 and has the controllers that container limits need.
///
/// Kata's agent options ask for the unified hierarchy (`systemd.unified_cgroup_hierarchy=1`); limits inside the guest are
/// set through these controllers.
pub(super) fn guest_has_cgroup_v2_and_its_controllers(machine: &mut dyn Machine) -> Check {
    let controllers = read(machine, "/sys/fs/cgroup/cgroup.controllers")?;
    let missing: Vec<&str> = ["cpu", "cpuset", "io", "memory", "pids"]
        .into_iter()
        .filter(|c| !controllers.split_whitespace().any(|x| x == *c))
        .collect();
    ensure!(missing.is_empty(), "cgroup v2 lacks {}; it has {:?}", missing.join(", "), controllers.trim());
    Ok(())
}

/// The guest's kernel offers every namespace that a container is made of.
///
/// The agent creates mount, pid, net, ipc and uts namespaces for each container (and user and cgroup ones on request).
pub(super) fn guest_has_all_namespaces(machine: &mut dyn Machine) -> Check {
    let folder = "/proc/self/ns";
    let names = machine.ask(Question::List { path: folder.into() })?.text("listing the guest's namespaces")?;
    let missing: Vec<&str> = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
        .into_iter()
        .filter(|wanted| !names.lines().any(|name| name == *wanted))
        .collect();
    ensure!(
        missing.is_empty(),
        "the guest's kernel lacks the namespaces {}; it has {}",
        missing.join(", "),
        names.replace('\n', ", ")
    );
    Ok(())
}

/// The guest's kernel filters system calls (seccomp mode 2).
///
/// Kata's agent applies the container's seccomp profile inside the guest and reports support for it to the runtime.
pub(super) fn guest_has_seccomp_filters(machine: &mut dyn Machine) -> Check {
    let actions = read(machine, "/proc/sys/kernel/seccomp/actions_avail")?;
    for action in ["kill_process", "errno", "allow"] {
        ensure!(
            actions.split_whitespace().any(|a| a == action),
            "seccomp has no action {action}; it has {:?}",
            actions.trim()
        );
    }
    Ok(())
}

/// The guest's kernel loads its modules: overlayfs comes up and is listed.
///
/// The agent stacks image layers with overlayfs; a module that was built for another kernel would fail here.
pub(super) fn guest_loads_overlayfs(machine: &mut dyn Machine) -> Check {
    let known = read(machine, "/proc/filesystems")?;
    ensure!(known.split_whitespace().any(|f| f == "overlay"), "overlay is not among the guest's filesystems");
    Ok(())
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
