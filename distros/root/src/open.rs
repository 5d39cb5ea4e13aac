//! `openat2` below a directory's descriptor: the kernel follows links and confines them to the directory.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Maximum number of retries for a path with `..` while other processes rename files.
const TRIES: u32 = 10_000;

/// Follows links as if the directory were `/`, except for the magic links of `/proc`.
pub(super) const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Opens one name in a directory, and never a link.
pub(super) const ITSELF: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Follows links literally, and refuses any that lead out of the directory.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Opens a directory below `top`, which is taken as `/`, following links inside.
///
/// Usable between fork and exec: for a path of fewer than 256 bytes it only makes system calls and does not allocate.
///
/// # Errors
///
/// Fails if there is no such directory.
pub fn folder_below(top: impl AsFd, inside: &Path) -> Result<OwnedFd, Errno> {
    open_with_retries(top, inside, OFlags::PATH | OFlags::DIRECTORY, IN_ROOT)
}

/// Opens a path below a directory.
pub(super) fn open(folder: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
    open_with_retries(folder, path, flags, how).map_err(io_error)
}

fn open_with_retries(folder: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut tries = 0;
    loop {
        match openat2(folder.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            // A rename or a mount anywhere makes the kernel give up on a `..`.
            Err(Errno::AGAIN) if tries < TRIES => {
                tries += 1;
                std::thread::yield_now();
            }
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Opens the directory that is taken as `/`; fails if the kernel has no `openat2`.
pub(super) fn top(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty())?;
    match openat2(&top, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), IN_ROOT) {
        // The seccomp filters of older container runtimes refuse unknown system calls with EPERM.
        Err(Errno::NOSYS | Errno::PERM) => Err(Errno::NOSYS),
        _ => Ok(top),
    }
}

/// Explains a missing `openat2`, because the kernel only says `Function not implemented`.
pub(super) fn io_error(errno: Errno) -> io::Error {
    if errno != Errno::NOSYS {
        return errno.into();
    }
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the system call openat2 is not available, and without it a link could lead out of the root: it needs Linux 5.6 or newer, and a sandbox that allows it",
    )
}
