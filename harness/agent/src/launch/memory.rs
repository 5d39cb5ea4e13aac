//! Whether a guest's memory is common to QEMU and virtiofsd: what decides who is at fault when the share does not answer.
//!
//! Over vhost-user the daemon reads its requests out of the guest's memory, which QEMU maps from a file and whose
//! descriptor it sends to the daemon.
//! Where QEMU's own mapping is private, what the guest writes stays in QEMU: the daemon waits for requests in a file full
//! of zeros, and nothing it could do would help.
//! The kernel's list of mappings says so of every QEMU; QMP's word counts where that cannot be read, as behind a wrapper.
//!
//! With a share, the memory decides before anything else does.
//! A request in memory that QEMU maps for itself alone (`/proc/PID/maps`, or `query-memdev` behind a wrapper) never
//! reaches virtiofsd, and QEMU is blamed.
//! A request in memory that virtiofsd has not mapped is an `error`.
//! So is one during which virtiofsd has not woken up at all (`voluntary_ctxt_switches` of its threads): nothing reached
//! it, and the guest's kernel or QEMU holds it back.

use serde_json::Value;
use suites::check::Stop;
use suites::outcome::Component;

/// What is known of the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// QEMU and the daemon map the same file, and share it.
    Shared,
    /// QEMU keeps what the guest writes to itself.
    PrivateInVmm,
    /// QEMU shares it, and the daemon has not mapped it.
    NotInDaemon,
    /// It could not be seen.
    Unknown,
}

/// A mapping of a file: device and inode, and whether writes go to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    file: (String, String),
    shared: bool,
    bytes: u64,
}

/// Guests have hundreds of MiB; firmware and shared libraries have less.
const AT_LEAST: u64 = 64 << 20;

/// What is known of the memory between two processes; `memdev` is what QMP says of the guest's memory.
pub(crate) fn between(vmm: u32, daemon: u32, memdev: Option<&Value>) -> Memory {
    let maps = |pid| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    judge(&maps(vmm), &maps(daemon), memdev)
}

fn judge(vmm: &str, daemon: &str, memdev: Option<&Value>) -> Memory {
    let guests = mappings(vmm);
    if guests.is_empty() {
        let private = memdev.and_then(Value::as_array).is_some_and(|all| {
            !all.is_empty() && all.iter().all(|back_end| back_end.get("share") == Some(&Value::Bool(false)))
        });
        return if private { Memory::PrivateInVmm } else { Memory::Unknown };
    }
    if !guests.iter().any(|mapping| mapping.shared) {
        return Memory::PrivateInVmm;
    }
    // A daemon that has changed its user once may not be looked into.
    if daemon.is_empty() {
        return Memory::Unknown;
    }
    let common = |theirs: &Mapping| guests.iter().any(|ours| ours.shared && ours.file == theirs.file);
    match mappings(daemon).iter().any(|mapping| mapping.shared && common(mapping)) {
        true => Memory::Shared,
        false => Memory::NotInDaemon,
    }
}

/// The large writable mappings of files in `/proc/PID/maps`; anonymous memory has inode 0.
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

/// The stop for a request that a living guest with a living daemon did not finish; `late` says which.
///
/// A request that cannot have reached the daemon is not the daemon's fault.
pub(crate) fn blame(late: &str, memory: Option<Memory>) -> Stop {
    match memory {
        Some(Memory::PrivateInVmm) => Stop::blame(
            Component::Qemu,
            format!(
                "{late}; QEMU was given share=on and maps the guest's memory for itself alone: no request reaches virtiofsd"
            ),
        ),
        Some(Memory::NotInDaemon) => Stop::error(format!(
            "{late}; QEMU shares the guest's memory and virtiofsd has not mapped it: no request reaches it, and which of \
             the two is at fault is not known"
        )),
        Some(Memory::Shared | Memory::Unknown) | None => Stop::fail(late),
    }
}

/// The stop for the same where virtiofsd has slept all the while: nothing has reached it.
pub(crate) fn unheard(late: &str) -> Stop {
    Stop::error(format!(
        "{late}; virtiofsd has slept since before the request: nothing reached it, and whether the guest's kernel or QEMU \
         holds it back is not known"
    ))
}

/// How often the threads of these processes have gone to sleep by themselves, in all: each request that a daemon takes up
/// and each message of its VMM ends in one more.
pub(crate) fn wakes(pids: &[u32]) -> Option<u64> {
    let mut sum = 0;
    for pid in pids {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            sum += line.trim().parse::<u64>().ok()?;
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
    fn who_sleeps_has_heard_nothing_and_who_works_has() {
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
        assert!(
            matches!(unheard("mounting"), Stop::Error { message } if message.starts_with("mounting; virtiofsd has slept"))
        );
    }

    #[test]
    fn a_private_mapping_is_qemus_whatever_the_daemon_has_mapped() {
        for daemon in [SHARED, LIBRARY, ""] {
            assert_eq!(judge(&format!("{LIBRARY}{PRIVATE}"), daemon, None), Memory::PrivateInVmm, "{daemon}");
        }
        let stop = blame("mounting", Some(Memory::PrivateInVmm));
        assert!(
            matches!(&stop, Stop::Fail { blames: Some(Component::Qemu), message, .. } if message.contains("share=on"))
        );
    }

    #[test]
    fn shared_memory_that_the_daemon_has_not_mapped_blames_nobody() {
        assert_eq!(judge(SHARED, SHARED, None), Memory::Shared);
        assert_eq!(judge(SHARED, LIBRARY, None), Memory::NotInDaemon);
        let another = SHARED.replace(" 42 ", " 43 ");
        assert_eq!(judge(SHARED, &another, None), Memory::NotInDaemon);
        assert!(matches!(blame("mounting", Some(Memory::NotInDaemon)), Stop::Error { .. }));
        assert_eq!(judge(SHARED, "", None), Memory::Unknown);
        for known in [Some(Memory::Shared), Some(Memory::Unknown), None] {
            assert!(matches!(blame("mounting", known), Stop::Fail { blames: None, .. }), "{known:?}");
        }
    }

    #[test]
    fn behind_a_wrapper_qmps_word_counts() {
        let wrapper = format!("{LIBRARY}{ANONYMOUS}");
        assert_eq!(judge(&wrapper, SHARED, Some(&json!([{"id": "dimm1", "share": false}]))), Memory::PrivateInVmm);
        assert_eq!(judge(&wrapper, SHARED, Some(&json!([{"id": "dimm1", "share": true}]))), Memory::Unknown);
        // QEMU before 6.1 says nothing of it.
        assert_eq!(judge(&wrapper, SHARED, Some(&json!([{"id": "dimm1"}]))), Memory::Unknown);
        assert_eq!(judge("", "", None), Memory::Unknown);
    }
}
