//! `openat2` below a directory's descriptor: the kernel follows links, and cannot be led out.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How often a path with `..` is tried again while somebody renames on the same machine.
const TRIES: u32 = 10_000;

/// Links are followed as if the directory were `/`; those of `/proc` that lead anywhere are not.
pub(super) const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// One name in a directory, itself, never a link.
pub(super) const ITSELF: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Links are followed as they are written; what leads out of the directory is refused.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// A folder below one that is held open and taken as `/`, links followed inside.
///
/// For between fork and exec: with a path of fewer than 256 bytes it makes system calls and allocates nothing.
///
/// # Errors
///
/// That there is none.
pub fn folder_below(top: impl AsFd, inside: &Path) -> Result<OwnedFd, Errno> {
    opened(top, inside, OFlags::PATH | OFlags::DIRECTORY, IN_ROOT)
}

/// Opens a path below a directory.
pub(super) fn open(at: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
    opened(at, path, flags, how).map_err(said)
}

fn opened(at: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut tries = 0;
    loop {
        match openat2(at.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            // A rename or a mount anywhere made the kernel unsure of a `..`.
            Err(Errno::AGAIN) if tries < TRIES => {
                tries += 1;
                std::thread::yield_now();
            }
            Err(Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// The directory that is taken as `/`; fails where the kernel has no `openat2`.
pub(super) fn top(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty())?;
    match openat2(&top, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), IN_ROOT) {
        // Older containers' filters refuse what they do not know.
        Err(Errno::NOSYS | Errno::PERM) => Err(Errno::NOSYS),
        _ => Ok(top),
    }
}

/// The reason in words, because the kernel's own are `Function not implemented`.
pub(super) fn said(errno: Errno) -> io::Error {
    if errno != Errno::NOSYS {
        return errno.into();
    }
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the system call openat2 is not there, without which a link could lead out of the root: Linux 5.6 or newer is needed, and a sandbox that lets it through",
    )
}
