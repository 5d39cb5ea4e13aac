//! Traces of containers on the host: processes, mounts, control groups, directories; and their removal.

use crate::process;
use model::procfs::Mount;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use suites::containers::{Process, Trace};

/// Directories of the host in which runtimes keep an entry for each container or sandbox.
const RUNTIMES_FOLDERS: [&str; 7] = [
    "/run/kata-containers/shared/sandboxes",
    "/run/kata-containers",
    "/run/kata",
    "/run/vc/vm",
    "/run/vc/sbs",
    "/run/containerd/s",
    "/run/netns",
];

/// Returns the processes whose arguments, program or control group name `id`.
pub fn processes(id: &str) -> Vec<Process> {
    let mut found = Vec::new();
    for pid in process::pids().into_iter().filter(|pid| *pid != std::process::id()) {
        let folder = Path::new("/proc").join(pid.to_string());
        let argv = arguments(&folder);
        let is_match = argv.iter().any(|argument| names(argument, id)) || {
            names(&fs::read_to_string(folder.join("cgroup")).unwrap_or_default(), id)
        };
        if is_match {
            let program = fs::read_link(folder.join("exe")).unwrap_or_default();
            found.push(Process { pid, program: program.to_string_lossy().into_owned(), argv });
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}

fn arguments(process: &Path) -> Vec<String> {
    let bytes = fs::read(process.join("cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// Returns whether a text has the id, and not only a longer id with the same beginning: `kq1r-1` is not in `kq1r-12`.
///
/// An id that ends in `-` stands for all ids that begin with it.
fn names(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(at, _)| {
        id.ends_with('-') || !text[at + id.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// Returns the targets of the mounts whose line in mountinfo names `id`, the deepest first.
fn mounts(id: &str) -> Vec<PathBuf> {
    named_in(&fs::read("/proc/self/mountinfo").unwrap_or_default(), id)
}

fn named_in(mountinfo: &[u8], id: &str) -> Vec<PathBuf> {
    let named = mountinfo.split(|byte| *byte == b'\n').filter(|line| names(&String::from_utf8_lossy(line), id));
    let mut targets: Vec<PathBuf> = named.filter_map(Mount::read).map(|mount| mount.at).collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.as_os_str().len()));
    targets
}

/// Returns the control groups whose path names `id`, the deepest first.
fn control_groups(id: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, depth: usize, id: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), depth - 1, id, found);
                if names(&entry.path().to_string_lossy(), id) {
                    found.push(entry.path());
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 5, id, &mut found);
    found
}

/// Returns the entries of runtimes' directories that name `id`.
fn folders(id: &str, more: &[PathBuf]) -> Vec<PathBuf> {
    let all = RUNTIMES_FOLDERS.iter().map(PathBuf::from).chain(more.iter().cloned());
    let entries = all.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    entries.map(|entry| entry.path()).filter(|path| names(&path.to_string_lossy(), id)).collect()
}

/// Returns whether a control group and its descendants have no process.
fn is_empty(group: &Path) -> bool {
    let none = |path: PathBuf| fs::read_to_string(path).is_ok_and(|pids| pids.trim().is_empty());
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let mut below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    none(group.join("cgroup.procs")) && below.all(|entry| is_empty(&entry.path()))
}

/// Returns everything that names `id`; `more` are additional directories to search.
pub fn traces(id: &str, more: &[PathBuf]) -> BTreeSet<Trace> {
    let mut all = BTreeSet::new();
    for process in processes(id) {
        let program = process.program.rsplit('/').next().unwrap_or_default().to_owned();
        all.insert(Trace::Process { pid: process.pid, program });
    }
    all.extend(mounts(id).into_iter().map(|target| Trace::Mount(target.to_string_lossy().into_owned())));
    all.extend(control_groups(id).into_iter().map(|path| Trace::ControlGroup { empty: is_empty(&path), path }));
    all.extend(folders(id, more).into_iter().map(Trace::Folder));
    all
}

/// Kills every process that names `id`, and removes its mounts, control groups and directories.
pub fn remove(id: &str, more: &[PathBuf]) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let remaining = processes(id);
        if remaining.is_empty() || Instant::now() > end {
            break;
        }
        for process in remaining {
            kill(process.pid);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for target in mounts(id) {
        // Lazily, because a dying virtiofsd may still use it.
        let _ = unmount(&target, UnmountFlags::DETACH);
    }
    for group in control_groups(id) {
        let _ = fs::remove_dir(group);
    }
    for path in folders(id, more) {
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// Sends SIGKILL to a process; returns whether that was possible, which it is not if the process is gone.
pub fn kill(pid: u32) -> bool {
    process::signal(pid, Signal::KILL).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;

    #[test]
    fn a_control_group_is_empty_if_all_below_it_are() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, pids: &str| {
            let file = dir.path().join(path).join("cgroup.procs");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, pids).unwrap();
        };
        put("", "");
        put("a/b", "");
        put("a", "\n");
        assert!(is_empty(dir.path()));
        put("a/b", "17\n");
        assert!(!is_empty(dir.path()));
        assert!(!is_empty(&dir.path().join("gone")), "what cannot be read is not known to be empty");
    }

    #[test]
    fn a_mount_is_found_by_any_field_of_its_line() {
        let table = b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      21 20 0:3 / /run/kq1r-1/a\\040b rw - tmpfs none rw\n\
                      22 21 0:4 / /run/kq1r-12 rw - tmpfs none rw\n\
                      23 20 0:5 / /x rw - overlay \xff rw,upperdir=/kq1r-1/fs\n";
        assert_eq!(named_in(table, "kq1r-1"), [Path::new("/run/kq1r-1/a b"), Path::new("/x")]);
    }

    #[test]
    fn an_id_does_not_match_a_longer_id() {
        assert!(names("/kq1r/kq1r-1/x", "kq1r-1"));
        assert!(names("-id kq1r-1", "kq1r-1"));
        assert!(!names("/kq1r/kq1r-12", "kq1r-1"));
        assert!(names("kq1r-12 kq1r-1", "kq1r-1"));
        assert!(names("/kq1r/kq1r-12", "kq1r-"));
        assert!(!names("/kq1r", "kq1r-"));
    }

    #[test]
    fn a_process_is_found_by_its_arguments_and_removed() {
        let id = format!("kqtest{}-1", std::process::id());
        let mut child = std::process::Command::new("sleep").arg0(&id).arg("1000").spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while processes(&id).is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = processes(&id);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].pid, child.id());
        assert!(traces(&id, &[]).iter().any(|trace| matches!(trace, Trace::Process { .. })));
        let reaper = std::thread::spawn(move || child.wait());
        remove(&id, &[]);
        reaper.join().unwrap().unwrap();
        assert!(traces(&id, &[]).is_empty());
    }
}
