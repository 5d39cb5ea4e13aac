//! The limits that a container asks for, and the fallback if its engine does not grant one.
//!
//! Only here are the errors of the engine's runtime parsed, which the engine passes on: those of runc 1
//! (`error setting rlimit type 7: …`, from `setupRlimits` in libcontainer/init_linux.go) and crun 1 (setrlimit and
//! `RLIMIT_NOFILE`, from `libcrun_set_rlimits` in src/libcrun/linux.c).

use model::procfs;
use model::words::list_and;

/// A limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// Docker's name of the limit.
    pub(super) name: &'static str,
    /// The value that is asked for.
    pub(super) value: i64,
    /// Linux's number of the limit (`asm-generic/resource.h`), which runc's error contains.
    number: u32,
    /// The name of the limit in `/proc/PID/limits`.
    line: &'static str,
}

/// Largest number of processes and threads in a container, so that a fork bomb of a package does not take this
/// machine's process ids, of which there may be only 32,768.
///
/// Two guests with virtiofsd in each of 8 slots have at most some 6,000 threads: 64 of QEMU's pool for disks, 64 of
/// virtiofsd's, and one for each of 256 CPUs. What was measured is far less, 32 for two emulated guests.
pub(crate) const PROCESSES: i64 = 8_192;

/// No limit.
pub(super) const UNLIMITED: i64 = -1;

/// Limits that a container asks for, instead of its engine's defaults: those under which Kata's own daemons run.
/// `virtiofsd` raises its limit of open files to a million (`--rlimit-nofile`), but has no capability for this in the
/// container; root's daemons have no limit of processes and may lock any amount of memory.
pub(super) const LIMITS: [Limit; 3] = [
    Limit { name: "nofile", value: 1_000_000, number: 7, line: "Max open files" },
    Limit { name: "nproc", value: UNLIMITED, number: 6, line: "Max processes" },
    Limit { name: "memlock", value: UNLIMITED, number: 8, line: "Max locked memory" },
];

/// Returns the limits that are left to ask for after the engine's error; `None` if the error is about something else.
///
/// The container gets its engine's own limit instead of a refused one. If the error names no limit that was asked for,
/// it may be about any of them.
pub(super) fn without_refused(requested: &[Limit], complaint: &str) -> Option<Vec<Limit>> {
    if requested.is_empty() || !complaint.to_ascii_lowercase().contains("rlimit") {
        return None;
    }
    let granted: Vec<Limit> = requested.iter().copied().filter(|limit| !limit.is_named_in(complaint)).collect();
    Some(if granted.len() < requested.len() { granted } else { Vec::new() })
}

/// Checks whether an error is about the limit of processes: runc names the file `pids.max`, crun the controller `pids`.
/// Docker itself only warns if the kernel has no such controller.
pub(crate) fn is_about_processes(complaint: &str) -> bool {
    complaint.contains("pids")
}

/// Describes the limits that were not granted in one line; `has` is `/proc/PID/limits` of a process of the container.
pub(super) fn refusal_note(granted: &[Limit], has: &str) -> String {
    let refused = LIMITS.iter().filter(|limit| !granted.contains(limit));
    let each = refused.map(|limit| format!("{} (it has {})", limit.requested(), limit.found(has)));
    format!("the Docker engine did not grant the container {}", list_and(each))
}

impl Limit {
    /// Checks whether the error of runc (`error setting rlimit type 7`) or crun (`setrlimit RLIMIT_NOFILE`) names the
    /// limit.
    fn is_named_in(&self, complaint: &str) -> bool {
        let number =
            |after: &str| after.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse::<u32>().ok());
        complaint.split("rlimit type ").skip(1).any(|after| number(after) == Some(self.number))
            || complaint.contains(&format!("RLIMIT_{}", self.name.to_ascii_uppercase()))
    }

    /// Formats the requested limit: `nofile=1000000`.
    fn requested(&self) -> String {
        match self.value {
            UNLIMITED => format!("{}=unlimited", self.name),
            value => format!("{}={value}", self.name),
        }
    }

    /// Formats the actual limit: `1024, 524288 at most`, the soft limit and how far a process may raise it.
    fn found(&self, has: &str) -> String {
        match procfs::limit(has, self.line) {
            Some((soft, hard)) if soft == hard => soft.to_owned(),
            Some((soft, hard)) => format!("{soft}, {hard} at most"),
            None => "the engine's own".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(limits: &[Limit]) -> Vec<&str> {
        limits.iter().map(|limit| limit.name).collect()
    }

    const RUNC: &str = "failed to start a container: OCI runtime create failed: runc create failed: unable to start container \
                        process: error during container init: error setting rlimits for ready process: error setting \
                        rlimit type 7: operation not permitted";

    #[test]
    fn an_engine_that_cannot_limit_processes_is_recognized() {
        // Control groups of version 1 (runc 1.1) and 2 (runc 1.1, crun 1).
        for complaint in [
            "runc create failed: unable to start container process: error setting cgroup config for procHooks process: \
             failed to write \"8192\": write /sys/fs/cgroup/pids/docker/0123/pids.max: permission denied",
            "runc create failed: unable to start container process: unable to apply cgroup configuration: cannot set \
             pids limit: container could not join or create cgroup",
            "crun: the requested cgroup controller `pids` is not available: OCI runtime error",
        ] {
            assert!(is_about_processes(complaint), "{complaint}");
        }
        assert!(!is_about_processes(RUNC) && !is_about_processes("no such image"));
    }

    #[test]
    fn limits_that_the_engine_refuses_are_not_requested_again() {
        let without =
            |complaint: &str| without_refused(&LIMITS, complaint).map(|remaining| names(&remaining).join(" "));
        assert_eq!(without(RUNC).as_deref(), Some("nproc memlock"));
        assert_eq!(without(&RUNC.replace("type 7", "type 6")).as_deref(), Some("nofile memlock"));
        assert_eq!(without(&RUNC.replace("type 7", "type 8")).as_deref(), Some("nofile nproc"));
        assert_eq!(
            without("crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted").as_deref(),
            Some("nproc memlock")
        );
        // An error about a limit that was not asked for, an error that names no limit, and an error about something
        // else.
        assert_eq!(without(&RUNC.replace("type 7", "type 70")).as_deref(), Some(""));
        assert_eq!(without("could not set rlimits").as_deref(), Some(""));
        assert_eq!(without("no such image"), None);
    }

    #[test]
    fn retries_end_when_the_engine_keeps_refusing() {
        let mut requested = LIMITS.to_vec();
        let mut tries = Vec::new();
        while let Some(fewer) = without_refused(&requested, RUNC) {
            tries.push(names(&fewer).join(" "));
            requested = fewer;
        }
        assert_eq!(tries, ["nproc memlock", ""], "the second complaint is of what was not asked for");
    }

    #[test]
    fn the_message_names_refused_limits_and_the_actual_ones() {
        let has = "Limit                     Soft Limit           Hard Limit           Units     \n\
                   Max processes             unlimited            unlimited            processes \n\
                   Max open files            1024                 524288               files     \n\
                   Max locked memory         8388608              8388608              bytes     \n";
        let refused = |granted: &[Limit]| {
            let note = refusal_note(granted, has);
            note.strip_prefix("the Docker engine did not grant the container ").unwrap().to_owned()
        };
        assert_eq!(refused(&LIMITS[1..]), "nofile=1000000 (it has 1024, 524288 at most)");
        let both = "nproc=unlimited (it has unlimited) and memlock=unlimited (it has 8388608)";
        assert_eq!(refused(&LIMITS[..1]), both);
        assert!(refusal_note(&LIMITS[1..], "").ends_with("nofile=1000000 (it has the engine's own)"));
    }
}
