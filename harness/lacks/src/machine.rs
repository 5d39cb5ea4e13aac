//! Checks of conditions on this machine.

use crate::{Condition, Need, docker};
use std::env;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Directories of administrators' programs, which are not in every user's `PATH`; tests then call the programs by path.
const ADMINISTRATORS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Directories into which package managers install programs. Other directories may contain files that change all the
/// time, and cargo looks at everything below a watched directory.
const INSTALLED: [&str; 2] = ["/usr/bin", "/usr/sbin"];

/// Returns the conditions that do not hold.
pub(crate) fn lacking(needs: &[Need]) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = needs.iter().flat_map(|need| need.conditions).copied().collect();
    conditions.sort_unstable();
    conditions.dedup();
    conditions.retain(|condition| !holds(*condition));
    conditions
}

/// Returns the existing paths that cargo must watch to notice the end of a lack.
pub(crate) fn watched(lacking: &[Condition]) -> Vec<String> {
    let mut paths = Vec::new();
    for condition in lacking {
        match condition {
            Condition::Program(_) => paths.extend(INSTALLED.map(PathBuf::from)),
            Condition::File(files) => {
                paths.extend(files.iter().filter_map(|f| Path::new(f).parent()).map(PathBuf::from))
            }
            // No file's timestamp shows how a filesystem is mounted.
            Condition::Writable(_) => {}
            Condition::DockerEngine => paths.extend(docker::socket(&docker::address())),
            Condition::Root | Condition::LinuxCapability(_) | Condition::Architecture(_) => {}
        }
    }
    paths.sort();
    paths.dedup();
    paths.retain(|path| path.exists());
    paths.iter().map(|path| format!("cargo::rerun-if-changed={}", path.display())).collect()
}

fn holds(condition: Condition) -> bool {
    let status = || std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match condition {
        Condition::Root => effective_user(&status()) == Some(0),
        Condition::LinuxCapability(number) => (capabilities(&status()) >> number) & 1 == 1,
        Condition::Architecture(name) => env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == name),
        Condition::Program(name) => is_program(name),
        Condition::File(paths) => paths.iter().any(|path| Path::new(path).exists()),
        Condition::Writable(path) => OpenOptions::new().write(true).open(path).is_ok(),
        Condition::DockerEngine => docker::answers(docker::address()),
    }
}

/// Returns a field of `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Returns the effective user: the second of real, effective, saved and filesystem user.
fn effective_user(status: &str) -> Option<u32> {
    field(status, "Uid")?.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the effective set as a bit mask; empty if the status has none.
fn capabilities(status: &str) -> u64 {
    field(status, "CapEff").and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
}

fn is_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(ADMINISTRATORS.map(PathBuf::from));
    folders.any(|folder| {
        let meta = std::fs::metadata(folder.join(name));
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t1000\t0\t1000\t1000\nCapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\n";

    #[test]
    fn user_and_capabilities_are_read_from_a_process_status() {
        assert_eq!(effective_user(STATUS), Some(0));
        assert_eq!(effective_user(""), None);
        // Docker leaves root the right to make device nodes, but not to mount.
        let has = |number: u32| (capabilities(STATUS) >> number) & 1 == 1;
        assert!(has(27) && !has(21));
        assert_eq!(capabilities("CapEff:\tx\n"), 0);
    }

    #[test]
    fn programs_and_files_are_found_only_where_they_exist() {
        assert!(holds(Condition::Program("sh")));
        assert!(!holds(Condition::Program("no-such-program")));
        // `..` exists as a directory in each directory of PATH, but is no program.
        assert!(!is_program(".."));
        assert!(holds(Condition::File(&["/no/such/file", "/proc/self/status"])));
        assert!(!holds(Condition::File(&["/no/such/file"])));
    }

    #[test]
    fn only_a_file_that_can_be_opened_for_writing_is_writable() {
        assert!(holds(Condition::Writable("/dev/null")));
        // No user may open a directory for writing, not even root.
        assert!(!holds(Condition::Writable("/proc")));
        assert!(!holds(Condition::Writable("/no/such/file")));
        assert_eq!(watched(&[Condition::Writable("/dev/null")]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_file_is_watched_by_an_existing_folder() {
        assert_eq!(watched(&[]), Vec::<String>::new());
        assert_eq!(watched(&[Condition::File(&["/proc/no-such-file"])]), ["cargo::rerun-if-changed=/proc"]);
        let lacking = [Condition::Program("x"), Condition::DockerEngine, Condition::File(&["/no/such/file"])];
        for line in watched(&lacking) {
            let path = line.strip_prefix("cargo::rerun-if-changed=").unwrap();
            assert!(Path::new(path).exists(), "{path}");
        }
    }
}
