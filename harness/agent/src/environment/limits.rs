//! Limits of an environment, set by its engine, its control groups and its kernel.
//!
//! A container's limits are its engine's defaults unless others are requested, and an engine may refuse a request. A
//! component that exceeds a limit is not at fault, so each limit is determined before the tests, by its name.

use crate::system::has_capability;
use protocol::facts::{self, Limit};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::{Path, PathBuf};

/// Limits that belong to a process.
struct ProcessLimits {
    open_files: Option<u64>,
    processes: Option<u64>,
    locked_memory: Option<u64>,
    address_space: Option<u64>,
    file_size: Option<u64>,
}

impl ProcessLimits {
    /// Returns this process's limits, as far as they bind it and daemons that raise theirs to the maximum.
    fn of_this_process(status: &str) -> ProcessLimits {
        let may = |capability: u32| has_capability(status, capability);
        let hard = |resource| getrlimit(resource).maximum;
        // capabilities(7): CAP_SYS_RESOURCE is 24, CAP_IPC_LOCK is 14.
        let (resource, lock) = (may(24), may(14));
        ProcessLimits {
            open_files: hard(Resource::Nofile).filter(|_| !resource),
            // setrlimit(2): the limit does not apply to the real user root.
            processes: hard(Resource::Nproc).filter(|_| !resource && !rustix::process::getuid().is_root()),
            locked_memory: hard(Resource::Memlock).filter(|_| !lock),
            address_space: hard(Resource::As),
            file_size: hard(Resource::Fsize),
        }
    }
}

/// Returns all limits, by name, for the evidence and for [`super::probe::lacking`].
pub fn all() -> Vec<(&'static str, Limit)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    below(Path::new("/"), &ProcessLimits::of_this_process(&status))
}

fn below(root: &Path, own: &ProcessLimits) -> Vec<(&'static str, Limit)> {
    let sysctl = |name: &str| number(&root.join("proc/sys").join(name));
    let group = |controller: &str, file: &str| control_group(root, controller, file);
    let pids = group("pids", "pids.max");
    let memory = group("", "memory.max").into_iter().chain(group("memory", "memory.limit_in_bytes")).min();
    vec![
        (
            facts::OPEN_FILES,
            Limit::NONE
                .or(own.open_files, "RLIMIT_NOFILE")
                .or(sysctl("fs/nr_open"), "fs.nr_open")
                .or(sysctl("fs/file-max"), "fs.file-max"),
        ),
        (
            facts::PROCESSES,
            Limit::NONE
                .or(own.processes, "RLIMIT_NPROC")
                .or(pids, "pids.max of the control group")
                .or(sysctl("kernel/threads-max"), "kernel.threads-max")
                .or(sysctl("kernel/pid_max"), "kernel.pid_max"),
        ),
        (
            facts::MEMORY,
            Limit::NONE
                .or(memory, "the control group's limit of memory")
                .or(own.address_space, "RLIMIT_AS")
                .in_units_of(1 << 20),
        ),
        (facts::CPUS, Limit::NONE.or(cpus(), "the CPUs that this process may run on")),
        ("limit-locked-memory-kib", Limit::NONE.or(own.locked_memory, "RLIMIT_MEMLOCK").in_units_of(1 << 10)),
        ("limit-file-size-mib", Limit::NONE.or(own.file_size, "RLIMIT_FSIZE").in_units_of(1 << 20)),
        ("limit-memory-maps", Limit::NONE.or(sysctl("vm/max_map_count"), "vm.max_map_count")),
        ("limit-inotify-watches", Limit::NONE.or(sysctl("fs/inotify/max_user_watches"), "fs.inotify.max_user_watches")),
        (
            "limit-inotify-instances",
            Limit::NONE.or(sysctl("fs/inotify/max_user_instances"), "fs.inotify.max_user_instances"),
        ),
        ("limit-aio-requests", Limit::NONE.or(sysctl("fs/aio-max-nr"), "fs.aio-max-nr")),
    ]
}

fn cpus() -> Option<u64> {
    std::thread::available_parallelism().ok().and_then(|cpus| u64::try_from(cpus.get()).ok())
}

/// Returns the smallest value of a file in this process's control group and its ancestors, for both versions of control
/// groups.
///
/// `controller` is the directory of version 1, which has one hierarchy per controller.
/// A container may see its own group as the root of the mount, independent of its path, so the root is read, too.
fn control_group(root: &Path, controller: &str, file: &str) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let paths = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        match controllers {
            "" => Some((mounted.clone(), path)),
            named if named.split(',').any(|name| name == controller) => Some((mounted.join(controller), path)),
            _ => None,
        }
    });
    let levels = paths.flat_map(|(top, path)| {
        let deepest = top.join(path);
        let above = deepest.ancestors().map(Path::to_owned).collect::<Vec<PathBuf>>();
        above.into_iter().filter(move |level| level.starts_with(&top))
    });
    levels.filter_map(|level| number(&level.join(file))).min()
}

/// Returns the number in a file; `max`, and the huge number of version 1 with the same meaning, give `None`.
fn number(path: &Path) -> Option<u64> {
    let value = fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()?;
    (value < 1 << 60).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const FREE: ProcessLimits =
        ProcessLimits { open_files: None, processes: None, locked_memory: None, address_space: None, file_size: None };

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn found(files: &[(&str, &str)], own: &ProcessLimits) -> BTreeMap<&'static str, String> {
        below(root(files).path(), own).into_iter().map(|(name, limit)| (name, limit.to_string())).collect()
    }

    #[test]
    fn the_lowest_limit_counts_and_is_named() {
        let files = [("proc/sys/fs/nr_open", "1048576\n"), ("proc/sys/fs/file-max", "9223372036854775807\n")];
        let own = ProcessLimits { open_files: Some(4096), locked_memory: Some(65536), ..FREE };
        let limits = found(&files, &own);
        assert_eq!(limits["limit-open-files"], "4096 (RLIMIT_NOFILE)");
        assert_eq!(limits["limit-locked-memory-kib"], "64 (RLIMIT_MEMLOCK)");
        assert_eq!(limits["limit-processes"], "unlimited");
        assert_eq!(found(&files, &FREE)["limit-open-files"], "1048576 (fs.nr_open)");
    }

    #[test]
    fn a_cgroup_v2_group_is_limited_by_its_ancestors() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/docker.scope\n"),
            ("sys/fs/cgroup/system.slice/docker.scope/pids.max", "max\n"),
            ("sys/fs/cgroup/system.slice/pids.max", "50\n"),
            ("sys/fs/cgroup/system.slice/docker.scope/memory.max", "536870912\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        let limits = found(&files, &FREE);
        assert_eq!(limits["limit-processes"], "50 (pids.max of the control group)");
        assert_eq!(limits["limit-memory-mib"], "512 (the control group's limit of memory)");
    }

    #[test]
    fn limits_of_a_control_group_mounted_as_the_root_apply() {
        let files = [
            ("proc/self/cgroup", "5:pids:/docker/0123\n4:cpu,memory:/docker/0123\n0::/\n"),
            ("sys/fs/cgroup/pids/pids.max", "100\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let limits = found(&files, &FREE);
        assert_eq!(limits["limit-processes"], "100 (pids.max of the control group)");
        assert_eq!(limits["limit-memory-mib"], "unlimited");
    }
}
