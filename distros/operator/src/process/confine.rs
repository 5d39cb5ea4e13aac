//! Takes away from a program the means to do harm.
//!
//! A program of another root gets nothing from the caller: no privileges, keys, network or open files by this module,
//! and no environment by its parent.

use super::{Confinement, Filter, NOBODY, leave_session_keyring};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::UnshareFlags;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Address space limit of a confined program, in bytes: far more than any database or version needs.
const MEMORY: u64 = 4 << 30;

/// The first user of readers: after those of packages' scripts ([`super::sandbox`]), and before those that old programs
/// take for negative numbers.
pub(super) const READERS: u32 = 2_000_065_536;
/// Number of readers of a process that have different users.
const OF_A_PROCESS: u32 = 16;
/// Highest number of process ids that Linux can have.
const PROCESSES: u32 = 0x40_0000;

/// Returns a user, and group, that nothing else on the machine uses: another process of the reader's user could change
/// what it reads, or its answer.
///
/// It is nobody in a user namespace that has no such user, as in a rootless container.
pub(crate) fn new_reader() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % OF_A_PROCESS;
    let reader = READERS + std::process::id() % PROCESSES * OF_A_PROCESS + number;
    let has = |map| std::fs::read_to_string(map).is_ok_and(|map| is_mapped(&map, reader));
    if ["/proc/self/uid_map", "/proc/self/gid_map"].into_iter().all(has) { reader } else { NOBODY }
}

/// Checks whether a user namespace has an id, by its map: lines of the first id, the outer one, and their number.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first.saturating_add(count)).contains(&u64::from(id)))
    })
}

/// Puts all later children of this thread into a new process namespace.
pub(super) fn processes(confinement: Confinement) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() && confinement == Confinement::Reader {
        return Ok(());
    }
    Ok(ignore_missing_permission(confinement, unshare(UnshareFlags::NEWPID))?)
}

/// Applies the other restrictions to this process, which becomes this user. Runs between fork and exec, so it only
/// makes system calls.
pub(super) fn this_process(confinement: Confinement, user: u32, filter: &Filter) -> io::Result<()> {
    if confinement == Confinement::Free {
        return Ok(());
    }
    match close_on_exec() {
        // The kernel is older than Linux 5.11; the machine's own programs run anyway.
        Err(Errno::NOSYS | Errno::INVAL) if confinement == Confinement::Reader => {}
        closed => closed?,
    }
    leave_session_keyring()?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    rustix::process::setrlimit(Resource::As, limit(MEMORY))?;
    if confinement == Confinement::Stranger || rustix::process::geteuid().is_root() {
        let apart = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
        ignore_missing_permission(confinement, unshare(apart))?;
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
        ignore_missing_permission(confinement, rustix::thread::set_thread_groups(&[]))?;
        // A caller who may not make namespaces, as in a container, can still change the user: root never parses foreign
        // input.
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
    }
    match filter.apply() {
        // The kernel has no filters; the machine's own programs run anyway.
        Err(_) if confinement == Confinement::Reader => Ok(rustix::thread::set_no_new_privs(true)?),
        applied => applied,
    }
}

/// Gives an open file or directory to the user that a [`Confinement::Reader`] runs as, so that only this user can read
/// it.
///
/// By its descriptor, because a path in a directory of that user may be a link by now. If the file may not be given
/// away, the reader does not run as that user either.
///
/// # Errors
///
/// The error of the operating system.
pub(crate) fn give_to_reader(file: &File, reader: u32) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match std::os::unix::fs::fchown(file, Some(reader), Some(reader)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

fn limit(value: u64) -> Rlimit {
    Rlimit { current: Some(value), maximum: Some(value) }
}

#[expect(unsafe_code, reason = "unshare is unsafe where threads share what is taken apart; no file table is, here")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: CLONE_FILES is not among the flags, so no other thread's descriptors change their meaning.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Marks all descriptors except the standard ones close-on-exec: an open directory among them would be a way out of the
/// root.
///
/// Makes a single system call; descriptors opened or made inheritable afterwards are not affected.
///
/// # Errors
///
/// Fails on kernels before Linux 5.11.
#[expect(unsafe_code, reason = "no library here has close_range with flags")]
pub fn close_on_exec() -> Result<(), Errno> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes numbers only, and closes nothing now.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Ignores missing permissions for a reader, which only gets the restrictions that the caller is able to set.
fn ignore_missing_permission(confinement: Confinement, result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM) if confinement == Confinement::Reader => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_have_users_of_their_own_where_the_namespace_has_them() {
        let whole = "         0          0 4294967295\n";
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        for (map, id, expected) in [
            (whole, READERS, true),
            (whole, NOBODY, true),
            (rootless, READERS, false),
            (rootless, NOBODY, true),
            ("", 0, false),
        ] {
            assert_eq!(is_mapped(map, id), expected, "{map} {id}");
        }
        // systemd's list has another range there, the last before 2^31.
        const { assert!(READERS + PROCESSES * OF_A_PROCESS <= 2_147_352_576) }
        if is_mapped(&std::fs::read_to_string("/proc/self/uid_map").unwrap(), READERS) {
            assert_ne!(new_reader(), new_reader());
            assert!(new_reader() >= READERS);
        }
    }
}
