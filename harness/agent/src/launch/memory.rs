//! Checks whether QEMU and virtiofsd share a guest's memory, and whether virtiofsd has woken up: two facts for
//! [`crate::launch::late`], which decides which component is at fault when the share does not answer.
//!
//! Over vhost-user the daemon reads its requests from the guest's memory, which QEMU maps from a file whose descriptor
//! it sends to the daemon.
//! If QEMU's own mapping is private, the guest's writes stay in QEMU: the daemon waits for requests in a file full of
//! zeros, and cannot do anything about it.
//! The kernel's list of mappings (`/proc/PID/maps`) shows this for every QEMU; QMP's answer (`query-memdev`) is used if
//! the list cannot be read.

use crate::process;
use model::procfs;
use serde_json::Value;

/// Known facts about the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// QEMU and the daemon map the same file, and share it.
    Shared,
    /// QEMU maps the guest's memory privately.
    PrivateInVmm,
    /// QEMU shares the memory, but the daemon has not mapped it.
    NotInDaemon,
    /// Not observable.
    Unknown,
}

/// A mapping of a file: device and inode, and whether writes go to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    file: (String, String),
    shared: bool,
    bytes: u64,
}

/// Minimum size of guest memory, which has hundreds of MiB; firmware and shared libraries have less.
const AT_LEAST: u64 = 64 << 20;

/// Returns the known facts about the memory between two programs; `memdev` is QMP's answer about the guest's memory.
pub(crate) fn between(vmm: u32, daemon: u32, memdev: Option<&Value>) -> Memory {
    judge(&Maps::of(vmm), &Maps::of(daemon), memdev)
}

/// Mappings of a program and all its child processes: a wrapper waits for the real program, and a daemon in a sandbox
/// serves from a child.
struct Maps {
    mappings: Vec<Mapping>,
    /// Whether some of these processes could not be inspected, which may happen if a process has changed its user.
    unseen: bool,
}

impl Maps {
    fn of(pid: u32) -> Maps {
        let family = process::family(pid).into_iter();
        Maps::read(family.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default()))
    }

    /// Reads `/proc/PID/maps` of each process; a text is empty if it could not be read.
    fn read(texts: impl IntoIterator<Item = String>) -> Maps {
        let mut maps = Maps { mappings: Vec::new(), unseen: false };
        for text in texts {
            maps.unseen |= text.is_empty();
            maps.mappings.extend(mappings(&text));
        }
        maps
    }
}

fn judge(vmm: &Maps, daemon: &Maps, memdev: Option<&Value>) -> Memory {
    let guests = &vmm.mappings;
    if guests.is_empty() {
        let private = memdev.and_then(Value::as_array).is_some_and(|all| {
            !all.is_empty() && all.iter().all(|back_end| back_end.get("share") == Some(&Value::Bool(false)))
        });
        return if private { Memory::PrivateInVmm } else { Memory::Unknown };
    }
    if !guests.iter().any(|mapping| mapping.shared) {
        return Memory::PrivateInVmm;
    }
    let common = |theirs: &Mapping| guests.iter().any(|ours| ours.shared && ours.file == theirs.file);
    match daemon.mappings.iter().any(|mapping| mapping.shared && common(mapping)) {
        true => Memory::Shared,
        false if daemon.unseen => Memory::Unknown,
        false => Memory::NotInDaemon,
    }
}

/// Returns the large writable mappings of files in `/proc/PID/maps`; anonymous memory has inode 0.
fn mappings(maps: &str) -> Vec<Mapping> {
    let parsed = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (begin, end) = fields.next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        let (mode, device, inode) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let bytes = address(end)?.checked_sub(address(begin)?)?;
        let file = (device.to_owned(), inode.to_owned());
        (inode != "0" && mode.contains('w')).then_some(Mapping { file, shared: mode.ends_with('s'), bytes })
    });
    parsed.filter(|mapping| mapping.bytes >= AT_LEAST).collect()
}

/// Returns how often the threads of these processes have gone to sleep voluntarily, in total: each request that a
/// daemon handles and each message of its VMM adds one.
pub(crate) fn wakes(pids: &[u32]) -> Option<u64> {
    let mut sum = 0;
    for pid in pids {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
            sum += procfs::status(&status, "voluntary_ctxt_switches")?.parse::<u64>().ok()?;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHARED: &str =
        "7f0000000000-7f0080000000 rw-s 00000000 00:1b 42 /dev/shm/qemu_back_mem.dimm1.abc (deleted)\n";
    const PRIVATE: &str =
        "7f0000000000-7f0080000000 rw-p 00000000 00:1b 42 /dev/shm/qemu_back_mem.dimm1.abc (deleted)\n";
    const LIBRARY: &str = "7f1000000000-7f1000100000 rw-p 00000000 08:01 7 /usr/lib/libc.so.6\n";
    const ANONYMOUS: &str = "7f2000000000-7f2080000000 rw-p 00000000 00:00 0 \n";

    #[test]
    fn wakes_increase_only_for_a_process_that_works() {
        let started = |script: &str| std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (mut sleeps, mut works) = (started("exec sleep 60"), started("while :; do sleep 0.02; done"));
        let wait = || std::thread::sleep(std::time::Duration::from_millis(600));
        wait();
        let pids = [[sleeps.id()], [works.id()]];
        let before = pids.map(|pid| wakes(&pid).unwrap());
        wait();
        let after = pids.map(|pid| wakes(&pid).unwrap());
        for child in [&mut sleeps, &mut works] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(before[0], after[0]);
        assert!(after[1] > before[1], "{before:?} {after:?}");
        assert_eq!(wakes(&[u32::MAX]), None, "nothing is known of who is not there");
    }

    /// Returns the known facts about a QEMU and a virtiofsd from the mappings of their processes.
    fn known(vmm: &[&str], daemon: &[&str], memdev: Option<&Value>) -> Memory {
        let read = |texts: &[&str]| Maps::read(texts.iter().map(|text| (*text).to_owned()));
        judge(&read(vmm), &read(daemon), memdev)
    }

    #[test]
    fn a_private_mapping_of_qemu_counts_whatever_the_daemon_maps() {
        for daemon in [SHARED, LIBRARY, ""] {
            assert_eq!(known(&[LIBRARY, PRIVATE], &[daemon], None), Memory::PrivateInVmm, "{daemon}");
        }
    }

    #[test]
    fn shared_memory_must_also_be_mapped_by_the_daemon() {
        assert_eq!(known(&[SHARED], &[SHARED], None), Memory::Shared);
        assert_eq!(known(&[SHARED], &[LIBRARY], None), Memory::NotInDaemon);
        let another = SHARED.replace(" 42 ", " 43 ");
        assert_eq!(known(&[SHARED], &[&another], None), Memory::NotInDaemon);
        assert_eq!(known(&[SHARED], &[""], None), Memory::Unknown);
    }

    #[test]
    fn mappings_of_wrappers_and_child_processes_are_found() {
        assert_eq!(known(&[LIBRARY, SHARED], &[LIBRARY, SHARED], None), Memory::Shared);
        assert_eq!(known(&[LIBRARY, PRIVATE], &[LIBRARY, SHARED], None), Memory::PrivateInVmm);
        assert_eq!(known(&[SHARED], &[LIBRARY, LIBRARY], None), Memory::NotInDaemon);
        assert_eq!(known(&[SHARED], &[LIBRARY, ""], None), Memory::Unknown, "a child that may not be looked into");
        assert!(Maps::of(u32::MAX).unseen, "nothing is known of who is not there");
    }

    #[test]
    fn without_a_visible_mapping_qmps_answer_counts() {
        let unseen = [LIBRARY, ANONYMOUS];
        assert_eq!(known(&unseen, &[SHARED], Some(&json!([{"id": "dimm1", "share": false}]))), Memory::PrivateInVmm);
        assert_eq!(known(&unseen, &[SHARED], Some(&json!([{"id": "dimm1", "share": true}]))), Memory::Unknown);
        // QEMU before 6.1 does not report it.
        assert_eq!(known(&unseen, &[SHARED], Some(&json!([{"id": "dimm1"}]))), Memory::Unknown);
        assert_eq!(known(&[""], &[""], None), Memory::Unknown);
    }
}
