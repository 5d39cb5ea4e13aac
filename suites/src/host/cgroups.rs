//! The host's cgroups.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::row::{Row, row};

const SOURCE: &str = include_str!("cgroups.rs");

pub(super) static ROWS: &[Row] = &[row!(
    Environment(cgroups_have_the_controllers_of_sandboxes),
    &[Capability::HostCgroups, Capability::KernelHost],
    Kernel
)];

/// The controllers that Kata puts a sandbox under (src/runtime/pkg/resourcecontrol/cgroups.go@3.29.0), by version 2's
/// names; `io` is `blkio` in version 1.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The host's cgroups, version 1 or 2, have the controllers that limit a sandbox; the version is noted.
///
/// Kata handles both versions on the host and puts VMM, daemon and helpers of a pod under one cgroup.
fn cgroups_have_the_controllers_of_sandboxes(env: &dyn EnvironmentSide) -> Check {
    if let Ok(unified) = env.read("/sys/fs/cgroup/cgroup.controllers") {
        env.note("cgroup version 2".to_owned());
        return lacking(2, unified.split_whitespace(), |name| name);
    }
    let known = env.read("/proc/cgroups").map_err(|_| Stop::fail("the kernel has no cgroups (/proc/cgroups)"))?;
    let mounts = env.read("/proc/self/mounts")?;
    ensure!(
        mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup")),
        "cgroups are not mounted, neither version 1 nor 2"
    );
    env.note("cgroup version 1".to_owned());
    lacking(1, enabled(&known).into_iter(), |name| if name == "io" { "blkio" } else { name })
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

/// Of /proc/cgroups, the controllers whose last column says that they are enabled.
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
    fn what_is_lacking_is_named_by_its_version() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t0\t1\t0\nblkio\t3\t1\t1\n";
        assert_eq!(enabled(table), ["cpu", "blkio"]);
        let one = lacking(1, enabled(table).into_iter(), |name| if name == "io" { "blkio" } else { name });
        assert!(format!("{one:?}").contains("lacks cpuset, memory, pids"), "{one:?}");
        assert!(lacking(2, "cpuset cpu io memory hugetlb pids".split(' '), |name| name).is_ok());
    }
}
