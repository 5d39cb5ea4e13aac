//! The host's cgroups.

use super::as_root;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{Ending, EnvironmentSide, Question};
use crate::group::{Group, ROOT};
use crate::outcome::Grounds;
use crate::row::{Row, row};
use crate::test::Place;
use model::procfs::Mount;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const SOURCE: &str = include_str!("cgroups.rs");

pub(super) static ROWS: &[Row] = &[
    row!(
        Environment(cgroups_have_the_controllers_of_sandboxes),
        &[Capability::HostCgroups, Capability::KernelHost],
        Kernel
    ),
    row!(Environment(limits_of_a_sandboxs_cgroup_hold), &[Capability::HostCgroups, Capability::KernelHost], Kernel)
        .blocked_by(&["host::cgroups_have_the_controllers_of_sandboxes"]),
    row!(Environment(limits_of_a_sandboxs_cgroup_hold_for_its_vmm), &[Capability::HostCgroups], Kernel)
        .places(&[Place::OwnGuest])
        .blocked_by(&["host::limits_of_a_sandboxs_cgroup_hold", "smoke::kernel_boots_to_userspace"])
        .seconds(240),
];

/// The controllers in which Kata places a sandbox (src/runtime/pkg/resourcecontrol/cgroups.go@3.29.0), by version 2's
/// names; `io` is `blkio` in version 1.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The host's cgroups, version 1 or 2, have the controllers that limit a sandbox; the version is noted.
///
/// Kata handles both versions on the host and puts VMM, daemon and helpers of a pod under one cgroup. That is
/// `NewSandboxResourceController` in src/runtime/pkg/resourcecontrol/cgroups.go@4.1.0.
fn cgroups_have_the_controllers_of_sandboxes(env: &dyn EnvironmentSide) -> Check {
    if let Ok(unified) = env.read("/sys/fs/cgroup/cgroup.controllers") {
        env.note("cgroup version 2".to_owned());
        return lacking(2, unified.split_whitespace(), |name| name);
    }
    let known = env.read("/proc/cgroups").map_err(|_| Stop::fail("the kernel has no cgroups (/proc/cgroups)"))?;
    let mounts = env.read("/proc/self/mountinfo")?;
    ensure!(
        Mount::all(mounts.as_bytes()).any(|mount| mount.kind == "cgroup"),
        "cgroups are not mounted, neither version 1 nor 2"
    );
    env.note("cgroup version 1".to_owned());
    lacking(1, enabled(&known).into_iter(), |name| if name == "io" { "blkio" } else { name })
}

/// In a cgroup below the root, of version 1 or 2, the limits on processes, memory and CPU time hold, and a process that
/// is bound to a CPU runs on no other.
///
/// Both runtimes create a cgroup for a pod's VMM, daemon and helpers where the container manager says, enable the
/// controllers in the parent groups, and set the pod's limits in it (`NewSandboxResourceController` in
/// src/runtime/pkg/resourcecontrol/cgroups.go@3.29.0, src/runtime-rs/crates/resource/src/cgroups/mod.rs@4.1.0). For
/// `io` only the controller is looked up: a limit applies to one disk, and a host has no disk for tests.
fn limits_of_a_sandboxs_cgroup_hold(env: &dyn EnvironmentSide) -> Check {
    as_root()?;
    let cpus = rustix::thread::sched_getaffinity(None).doing("asking for the CPUs")?;
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|number| cpus.is_set(*number)).collect();
    let group = group(env, &format!("kata-qualify-{}", std::process::id()))?;
    group.limits_processes()?;
    group.limits_memory()?;
    group.limits_cpu_time()?;
    if let [only] = cpus.as_slice() {
        env.note(format!("the environment has CPU {only} alone, which every process is on"));
    }
    cpus.last().map_or(Ok(()), |last| group.binds_to(*last))
}

/// All threads of a VMM that is put into a cgroup are there; its guest's memory is counted there, its guest's work is
/// throttled there, and a guest that takes more memory than the cgroup allows ends together with its VMM.
///
/// Kata moves a sandbox's VMM into the cgroup that the pod was given (`sandbox_cgroup_only`; `constrainHypervisor` in
/// src/runtime/virtcontainers/sandbox.go@4.1.0, src/runtime-rs/crates/resource/src/cgroups/mod.rs@4.1.0), so that the
/// pod's limits apply to its guest, too. A guest's memory is shared memory, which is charged to the process that first
/// writes to it.
fn limits_of_a_sandboxs_cgroup_hold_for_its_vmm(env: &dyn EnvironmentSide) -> Check {
    as_root()?;
    let name = format!("kata-qualify-vmm-{}", std::process::id());
    let group = group(env, &name)?;
    let mut machine = env.boot()?;
    let pid = machine.vmm_pid();
    group.take(pid)?;
    let threads = fs::read_dir(format!("/proc/{pid}/task")).doing("listing QEMU's threads")?;
    for thread in threads.flatten() {
        let path = thread.path().join("cgroup");
        // A thread that has ended meanwhile has no such file.
        let Ok(of_it) = fs::read_to_string(&path) else { continue };
        if !of_it.contains(&name) {
            return Err(measured(format!("QEMU was put into the cgroup {name}, and {} is {of_it:?}", path.display())));
        }
    }
    group.may_work(Some(FIFTH))?;
    machine.ask(Question::TouchMemory { mib: TOUCHED })?.text("taking memory in the guest")?;
    group.may_work(None)?;
    let (taken, throttled) = (group.taken()? >> 20, group.throttled()?);
    // Some of the guest's memory was charged before, so half is enough.
    if taken < u64::from(TOUCHED / 2) {
        return Err(measured(format!("a guest wrote to {TOUCHED} MiB, and its VMM's cgroup has {taken} MiB")));
    }
    ensure!(throttled > 0, "a guest wrote to {TOUCHED} MiB on a fifth of a CPU, and its VMM was never throttled");
    group.may_take(Some((taken + SPARE) << 20))?;
    // If the limit holds, the guest is killed and does not answer.
    let answer = machine.ask(Question::TouchMemory { mib: 2 * TOUCHED });
    if group.kills()? == 0 {
        answer?.text("taking memory in the guest")?;
        let more = 2 * TOUCHED;
        return Err(measured(format!(
            "a guest whose VMM's cgroup may have {SPARE} MiB more wrote to {more} MiB, and nothing was killed"
        )));
    }
    match machine.wait_for_end(Duration::from_secs(30))? {
        Ending::VmmKilled { signal: 9 } => Ok(()),
        other => Err(other.stop("its cgroup's memory was at an end, and a process in it was killed")),
    }
}

/// Returns a failure that rests on the kernel's counters.
fn measured(message: String) -> Stop {
    Stop::fail(message).resting_on(Grounds::Measured)
}

/// A fifth of a CPU: microseconds of each period.
const FIFTH: (&str, &str) = ("20000", "100000");
/// The memory that the guest takes the first time, and the memory that its VMM's cgroup may then take in addition, MiB.
const TOUCHED: u32 = 128;
const SPARE: u64 = 16;

/// Creates a cgroup for the test, of the host's version.
fn group(env: &dyn EnvironmentSide, name: &str) -> Result<Group, Stop> {
    match env.read(&format!("{ROOT}/cgroup.controllers")) {
        Ok(_) => {
            is_writable(ROOT)?;
            Group::named(name, &CONTROLLERS)
        }
        Err(_) => {
            let roots = roots(&env.read("/proc/self/mountinfo")?, &LIMITED)?;
            roots.iter().try_for_each(|(_, root)| is_writable(&root.to_string_lossy()))?;
            Group::of_version_1(name, &roots)
        }
    }
}

/// The controllers whose limits are tested.
const LIMITED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

fn is_writable(folder: &str) -> Check {
    let access = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK);
    access.map_err(|e| Stop::skip(format!("the environment's cgroups cannot be written to: {folder}: {e}")))
}

/// Returns the mount points of these version 1 controllers, alone or together with others.
fn roots(mountinfo: &str, controllers: &[&'static str]) -> Result<Vec<(&'static str, PathBuf)>, Stop> {
    let of = |controller: &'static str| -> Result<(&'static str, PathBuf), Stop> {
        let mounted = Mount::all(mountinfo.as_bytes()).find(|mount| mount.kind == "cgroup" && mount.has(controller));
        let mounted = mounted.ok_or_else(|| Stop::fail(format!("cgroup version 1 of {controller} is not mounted")))?;
        Ok((controller, mounted.at))
    };
    controllers.iter().copied().map(of).collect()
}

fn lacking<'a>(
    version: u8,
    has: impl Iterator<Item = &'a str>,
    called: impl Fn(&'static str) -> &'static str,
) -> Check {
    let has: Vec<&str> = has.collect();
    let missing: Vec<&str> = CONTROLLERS.into_iter().map(called).filter(|c| !has.contains(c)).collect();
    ensure!(missing.is_empty(), "cgroup version {version} lacks {}; it has {}", missing.join(", "), has.join(", "));
    Ok(())
}

/// Returns the controllers in /proc/cgroups whose last column marks them as enabled.
fn enabled(table: &str) -> Vec<&str> {
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.filter(|line| line.split_whitespace().nth(3) == Some("1"))
        .filter_map(|l| l.split_whitespace().next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_version_1_are_found_where_they_are_mounted() {
        let mounts = "30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
                      32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct\n\
                      33 30 0:29 / /sys/fs/cgroup/pids rw,relatime shared:11 - cgroup cgroup rw,pids\n";
        let found = roots(mounts, &["cpu", "pids"]).unwrap();
        let expected = [("cpu", "/sys/fs/cgroup/cpu,cpuacct"), ("pids", "/sys/fs/cgroup/pids")]
            .map(|(c, p)| (c, PathBuf::from(p)));
        assert_eq!(found, expected);
        let none = roots(mounts, &["memory"]).unwrap_err();
        assert_eq!(none, Stop::fail("cgroup version 1 of memory is not mounted"));
    }

    #[test]
    fn missing_cgroup_controllers_are_named() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t0\t1\t0\nblkio\t3\t1\t1\n";
        assert_eq!(enabled(table), ["cpu", "blkio"]);
        let one = lacking(1, enabled(table).into_iter(), |name| if name == "io" { "blkio" } else { name });
        assert!(format!("{one:?}").contains("lacks cpuset, memory, pids"), "{one:?}");
        assert!(lacking(2, "cpuset cpu io memory hugetlb pids".split(' '), |name| name).is_ok());
    }
}
