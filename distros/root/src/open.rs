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

/// One name in a directory; a link is opened as what it is.
pub(super) const ONE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Opens a path below a directory.
pub(super) fn open(at: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
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
            Err(Errno::NOSYS) => return Err(without_openat2()),
            opened => return Ok(opened?),
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
    if errno == Errno::NOSYS { without_openat2() } else { errno.into() }
}

fn without_openat2() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the system call openat2 is not there, without which a link could lead out of the root: Linux 5.6 or newer is needed, and a sandbox that lets it through",
    )
}
