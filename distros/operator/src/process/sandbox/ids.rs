//! Ids that no user of this machine has, and directories in which they stand for root and all other users.
//!
//! A tree's programs run with ids that own nothing on this machine. They see the tree through an id-mapped mount, so
//! files that they write have the release's owners on the disk.
#![expect(unsafe_code, reason = "fork and mount_setattr have no safe interface")]

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Pid, WaitOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

/// The first id: above all that systemd assigns, below those that old programs take for negative numbers.
pub(super) const FIRST: u32 = 2_000_000_000;
/// Number of ids: all that a release's packages can use, including `nobody`.
const COUNT: u32 = 65_536;

// The users of readers follow.
const _: () = assert!(FIRST + COUNT <= crate::process::confine::READERS);

/// Flags of a mount, from linux/mount.h.
pub(crate) const READ_ONLY: u64 = 0x01;
pub(crate) const NO_DEVICES: u64 = 0x04;
const MAPPED: u64 = 0x0010_0000;

/// Returns the user namespace that all programs share. It has no process of its own; programs in it see each other only
/// if they also share, for example, a process namespace.
///
/// # Errors
/// Fails if this process may not make a user namespace.
pub(crate) fn namespace() -> io::Result<BorrowedFd<'static>> {
    static NAMESPACE: OnceLock<OwnedFd> = OnceLock::new();
    match NAMESPACE.get() {
        Some(namespace) => Ok(namespace.as_fd()),
        // Two threads may make one each; then one goes unused.
        None => make().map(|namespace| NAMESPACE.get_or_init(|| namespace).as_fd()),
    }
}

/// Clones a directory of this machine as a detached mount on which these ids stand for those on the disk: the first for
/// 0, root, and so on.
///
/// # Errors
/// Fails if the filesystem or the kernel (before Linux 5.12) cannot map ids.
pub(crate) fn mapped(folder: &Path, flags: u64) -> io::Result<OwnedFd> {
    let mount = open_tree(CWD, folder, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    map(mount, flags)
}

/// Does the same as [`mapped`], for an open directory.
///
/// # Errors
/// Those of [`mapped`].
pub(super) fn mapped_open(folder: &OwnedFd, flags: u64) -> io::Result<OwnedFd> {
    let how = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    map(open_tree(folder, c"", how)?, flags)
}

fn map(mount: OwnedFd, flags: u64) -> io::Result<OwnedFd> {
    let namespace = namespace()?;
    let number = u64::try_from(namespace.as_raw_fd()).unwrap_or_default();
    change(mount.as_fd(), c"", libc::AT_EMPTY_PATH, flags | MAPPED, number)?;
    Ok(mount)
}

/// Sets flags of a mount; makes one system call and allocates no memory.
pub(crate) fn change(
    at: BorrowedFd<'_>,
    path: &std::ffi::CStr,
    how: i32,
    flags: u64,
    namespace: u64,
) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: flags, attr_clr: 0, propagation: 0, userns_fd: namespace };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: path and attributes live through the call, and the size is theirs.
    match unsafe {
        libc::syscall(libc::SYS_mount_setattr, at.as_raw_fd(), path.as_ptr(), how, &raw const attributes, size)
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a user namespace. It lives as long as a process or a descriptor: a child makes it, and a descriptor keeps it.
fn make() -> io::Result<OwnedFd> {
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: the child makes system calls only, and never returns.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        // SAFETY: as above; the byte is the child's own.
        0 => unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let is_separate = libc::unshare(libc::CLONE_NEWUSER) == 0;
            let errno: u8 = if is_separate { 0 } else { u8::try_from(*libc::__errno_location()).unwrap_or(u8::MAX) };
            libc::write(writer.as_raw_fd(), (&raw const errno).cast(), 1);
            loop {
                libc::pause();
            }
        },
        child => child,
    };
    drop(writer);
    let mut errno = [u8::MAX];
    let result = reader.read_exact(&mut errno).and_then(|()| match errno[0] {
        0 => describe(child),
        errno => Err(io::Error::from_raw_os_error(errno.into())),
    });
    // SAFETY: nobody has waited for the child yet, so the number is still its own.
    unsafe { libc::kill(child, libc::SIGKILL) };
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Pid::from_raw(child), WaitOptions::empty()) {}
    result
}

fn describe(child: i32) -> io::Result<OwnedFd> {
    for kind in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{child}/{kind}"), format!("0 {FIRST} {COUNT}\n"))?;
    }
    Ok(std::fs::File::open(format!("/proc/{child}/ns/user"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
    fn a_mapped_folder_is_read_only_and_shows_root_as_an_unprivileged_user() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let mount = mapped(dir.path(), READ_ONLY).unwrap();
        let through = format!("/proc/self/fd/{}/file", mount.as_raw_fd());
        assert_eq!(std::fs::metadata(&through).unwrap().uid(), FIRST);
        assert_eq!(std::fs::metadata(dir.path().join("file")).unwrap().uid(), 0);
        let refused = std::fs::write(&through, "y").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
}
