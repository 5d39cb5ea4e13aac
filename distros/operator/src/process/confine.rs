//! Taking from a program what it could do harm with.

use super::{Confinement, Filter, NOBODY, leave_session_keyring};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::UnshareFlags;
use std::io;
use std::path::Path;

/// Address space of a confined program, in bytes: far more than any database or version needs.
const MEMORY: u64 = 4 << 30;

/// What this thread starts from now on has a process namespace of its own.
pub(super) fn processes(confinement: Confinement) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() && confinement == Confinement::Reader {
        return Ok(());
    }
    Ok(bearable(confinement, unshare(UnshareFlags::NEWPID))?)
}

/// The same for everything else; between fork and exec, so only system calls are made.
pub(super) fn this_process(confinement: Confinement, filter: &Filter) -> io::Result<()> {
    if confinement == Confinement::Free {
        return Ok(());
    }
    match close_on_exec() {
        // Before Linux 5.11; the machine's own programs still read.
        Err(Errno::NOSYS | Errno::INVAL) if confinement == Confinement::Reader => {}
        closed => closed?,
    }
    leave_session_keyring()?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    rustix::process::setrlimit(Resource::As, limit(MEMORY))?;
    if confinement == Confinement::Stranger || rustix::process::geteuid().is_root() {
        let apart = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
        bearable(confinement, unshare(apart))?;
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        bearable(confinement, rustix::thread::set_thread_groups(&[]))?;
        // Who may make no namespaces, as in a container, can still be another user: never is it root that reads.
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
    }
    match filter.apply() {
        // Where the kernel has no filters, the machine's own programs still read.
        Err(_) if confinement == Confinement::Reader => Ok(rustix::thread::set_no_new_privs(true)?),
        applied => applied,
    }
}

/// Gives a file to whom a [`Confinement::Reader`] runs as, so that it can be read there and by no other user.
///
/// Where it may not be given away, it is not read as nobody either.
///
/// # Errors
///
/// What the operating system refused.
pub(crate) fn give_to_reader(path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)) {
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

/// Whatever the caller left open ends with the program's start: a folder among it would be a way out of its root.
///
/// A system call and nothing else; what is opened or made inheritable after it is not closed.
///
/// # Errors
///
/// That the kernel cannot, before Linux 5.11.
#[expect(unsafe_code, reason = "no library here has close_range with flags")]
pub fn close_on_exec() -> Result<(), Errno> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes numbers only, and closes nothing now.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// A reader is content with what the caller may do.
fn bearable(confinement: Confinement, result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM) if confinement == Confinement::Reader => Ok(()),
        result => result,
    }
}
