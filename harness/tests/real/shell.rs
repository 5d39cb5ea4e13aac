//! `kata-qualify shell` after a failed test: in the kept container, and in a new one if that is gone.

use crate::command::{CommandOutput, kata_qualify, run_to_end};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A test that fails on Debian 13 and boots no guest.
const TEST: &str = "smoke::qemu_has_tdx";

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn shell_uses_and_removes_a_kept_container_or_starts_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = ["run", "debian:13", "--in", "container", "--profile", "go-3.32", "--test", TEST, "--retries", "0"];
    let failed_run = run_to_end(kata_qualify(dir.path()).args(run).args(["--keep-failed", "--out", "out"]));
    assert!(failed_run.stderr.contains("kept container "), "{}", failed_run.stderr);
    assert_eq!(kept_containers(dir.path()).len(), 1, "{}", failed_run.stderr);
    // The next run leaves the kept container and reports it.
    let passes = ["run", "debian:13", "--in", "container", "--profile", "go-3.32", "--test", "packages_are_installed"];
    let next = run_to_end(kata_qualify(dir.path()).args(passes).args(["--keep-failed", "--out", "next"]));
    assert!(next.stderr.contains("was kept for `kata-qualify shell`"), "{}", next.stderr);
    assert_eq!(kept_containers(dir.path()).len(), 1, "nothing failed in the next one: {}", next.stderr);
    let script = "cat /etc/os-release; echo said >&2; exit 7";
    let visited = run_to_end(kata_qualify(dir.path()).args(["shell", "out", TEST, "--", "/bin/sh", "-c", script]));
    assert_eq!(visited.code, Some(7), "{}", visited.stderr);
    assert!(visited.stdout.contains("VERSION_CODENAME=trixie"), "{}", visited.stdout);
    for words in ["the container that was kept: smoke::qemu_has_tdx failed under go-3.32", "said\n", "  again:   "] {
        assert!(visited.stderr.contains(words), "{words}: {}", visited.stderr);
    }
    assert_eq!(kept_containers(dir.path()), Vec::<String>::new(), "{}", visited.stderr);
    let again = shell_with_script(dir.path(), "uname -s; exit 5\n");
    assert_eq!(again.code, Some(5), "{}", again.stderr);
    assert_eq!(again.stdout, "Linux\n");
    assert!(again.stderr.contains("brought up again: smoke::qemu_has_tdx failed"), "{}", again.stderr);
    let passed = run_to_end(kata_qualify(dir.path()).args(["shell", "next", "packages_are_installed"]));
    assert_eq!(passed.code, Some(2), "{}", passed.stderr);
    assert!(passed.stderr.contains("passed there: there is nothing to look into"), "{}", passed.stderr);
}

/// Runs a shell with this script as its input.
fn shell_with_script(dir: &Path, script: &str) -> CommandOutput {
    let mut command = kata_qualify(dir);
    command.args(["shell", "out", TEST]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    CommandOutput {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns Docker's kept containers of the run in `out`.
fn kept_containers(dir: &Path) -> Vec<String> {
    let journal = reports::journal::read(&dir.join("out").join(reports::journal::FILE)).unwrap();
    let run = reports::run::fold(&journal).id;
    let label = harness::environments::container::KEPT_LABEL;
    let filter = format!("label={label}={run}/debian:13/x86_64/container");
    let containers = run_to_end(Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &filter]));
    let volumes = run_to_end(Command::new("docker").args(["volume", "ls", "--quiet", "--filter", &filter]));
    let all: Vec<String> = containers.stdout.lines().map(str::to_owned).collect();
    assert_eq!(volumes.stdout.lines().count(), all.len(), "a volume for each container: {}", volumes.stdout);
    all
}
