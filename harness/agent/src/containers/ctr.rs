//! Parsing of `ctr`'s output in containerd 1.4 to 2.3; no other module does this.

use operator::configure::ContainerdVersion;
use serde_json::Value;
use suites::containers::{ContainerOutput, ContainerUsage};

/// Returns the client's version from the output of `ctr version`, which lists the server's after it, if that version
/// drops unread output of a task when the task ends.
///
/// When deleting a task, these versions close their ends of its streams first and wait for the copying afterwards
/// (`task.Delete` in containerd's `task.go`, 1.6.0 to 1.6.21 and 1.7.0 to 1.7.2): data still in the pipes is lost, and
/// the shim waits two seconds for a reader.
pub(super) fn version_that_drops_last_words(output: &str) -> Option<String> {
    let version = output.lines().find_map(|line| line.trim().strip_prefix("Version:")).unwrap_or_default().trim();
    let drops = match version.parse::<ContainerdVersion>() {
        Ok(ContainerdVersion { major: 1, minor: 6, patch: Some(patch) }) => patch <= 21,
        Ok(ContainerdVersion { major: 1, minor: 7, patch: Some(patch) }) => patch <= 2,
        Ok(ContainerdVersion { patch: Some(_), .. }) => false,
        // With an unknown version, lingering does no harm.
        _ => true,
    };
    drops.then(|| version.to_owned())
}

/// Returns the process of a container from the output of `ctr tasks list`: a row per task, with id and process first.
pub(super) fn process_of(listed: &str, id: &str) -> Option<u32> {
    let mut rows = listed.lines().map(str::split_whitespace);
    rows.find_map(|mut row| if row.next()? == id { row.next() } else { None })?.parse().ok()
}

/// Returns the ids that begin with `prefix` in a list of containers, tasks or snapshots: the first word of each line.
pub(super) fn ids<'a>(listed: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    listed.lines().filter_map(|line| line.split_whitespace().next()).filter(move |id| id.starts_with(prefix))
}

/// Returns the topic in a line of `ctr events`: time, namespace, topic, and the event as JSON.
pub(super) fn topic(line: &str) -> &str {
    line.split_whitespace().find(|word| word.starts_with('/')).unwrap_or_default()
}

/// Returns a container's usage from the output of `ctr tasks metrics --format json`, in the form of cgroup v2 or v1.
pub(super) fn usage(metrics: &str) -> Option<ContainerUsage> {
    let all: Value = serde_json::from_str(metrics).ok()?;
    let number = |paths: [&str; 2]| paths.into_iter().find_map(|path| all.pointer(path)?.as_u64());
    Some(ContainerUsage {
        cpu: number(["/cpu/usage_usec", "/cpu/usage/total"])?,
        memory: number(["/memory/usage", "/memory/usage/usage"])?,
    })
}

/// Returns whether `ctr run --help` offers `--annotation`, which 1.4 lacks.
pub(super) fn takes_annotations(help: &str) -> bool {
    help.contains("--annotation")
}

/// Returns an error of `ctr` itself, as opposed to a failure of the container.
pub(super) fn complaint(finished: &ContainerOutput) -> Option<String> {
    let text = String::from_utf8_lossy(&finished.stderr);
    let complaint = text.lines().find(|line| line.starts_with("ctr: "))?;
    (finished.code == 1).then(|| complaint.chars().take(2000).collect())
}

/// Returns whether an error is about an option that this `ctr` does not know.
pub(super) fn knows_no_option(complaint: &str) -> bool {
    complaint.starts_with("ctr: flag provided but not defined")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerd_versions_that_drop_output_are_recognised() {
        let of = |version: &str| {
            let output = format!("Client:\n  Version:  {version}\n  Revision: 1\n\nServer:\n  Version:  9.9.9\n");
            version_that_drops_last_words(&output)
        };
        for version in ["1.6.0", "1.6.20~ds1", "v1.6.21", "1.7.2", "", "unknown"] {
            assert_eq!(of(version).as_deref(), Some(version));
        }
        for version in ["1.4.13~ds1", "1.5.18", "1.6.22", "1.7.3", "1.7.24~ds1", "v2.1.9", "2.3.4+unknown"] {
            assert_eq!(of(version), None, "{version}");
        }
    }

    #[test]
    fn a_task_is_found_by_its_whole_id() {
        let listed = "TASK       PID    STATUS\nkq1r-12    44     RUNNING\nkq1r-1     43     RUNNING\n";
        assert_eq!(process_of(listed, "kq1r-1"), Some(43));
        assert_eq!(process_of(listed, "kq1r-2"), None);
    }

    #[test]
    fn an_events_topic_is_read_from_its_line() {
        let line = "2026-11-28 19:00:00.1 +0000 UTC kq1 /tasks/oom {\"container_id\":\"kq1k-5\"}";
        assert_eq!(topic(line), "/tasks/oom");
        assert_eq!(topic(""), "");
    }

    #[test]
    fn usage_is_read_from_cgroup_v1_and_v2_metrics() {
        let two = r#"{"pids":{"current":3},"cpu":{"usage_usec":1200},"memory":{"usage":4096,"usage_limit":9}}"#;
        assert_eq!(usage(two), Some(ContainerUsage { cpu: 1200, memory: 4096 }));
        let one = r#"{"cpu":{"usage":{"total":7,"user":1}},"memory":{"cache":5,"usage":{"limit":1,"usage":8192}}}"#;
        assert_eq!(usage(one), Some(ContainerUsage { cpu: 7, memory: 8192 }));
        for none in ["", "{}", r#"{"cpu":{"usage_usec":1}}"#, r#"{"memory":{"usage":1}}"#] {
            assert_eq!(usage(none), None, "{none}");
        }
    }

    #[test]
    fn only_errors_of_ctr_itself_are_refusals() {
        let ended =
            |code, stderr: &str| ContainerOutput { code, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() };
        assert_eq!(complaint(&ended(1, "warning\nctr: no such runtime\n")).as_deref(), Some("ctr: no such runtime"));
        assert_eq!(complaint(&ended(1, "the program's own words")), None);
        assert_eq!(complaint(&ended(7, "ctr: said the program")), None);
    }
}
