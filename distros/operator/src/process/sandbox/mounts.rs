//! The mounts of a sandbox: a tree as the root, `/proc`, and a few devices.

use rustix::fs::{CWD, Mode, OFlags, chmod, mkdir, symlink};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsmount, fsopen, mount, move_mount, open_tree, unmount,
};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// The first mount point of a sandbox's directory or tree: every machine has this directory.
pub(super) const PLACE: &CStr = c"/tmp";

/// The machine's devices for a tree's programs: none that stores data, and no terminal to type into.
const DEVICES: [(&CStr, &CStr); 5] = [
    (c"/dev/null", c"/dev/null"),
    (c"/dev/zero", c"/dev/zero"),
    (c"/dev/full", c"/dev/full"),
    (c"/dev/random", c"/dev/random"),
    (c"/dev/urandom", c"/dev/urandom"),
];

/// Clones the devices of this machine that a tree's programs get.
pub(super) fn devices() -> io::Result<Vec<OwnedFd>> {
    DEVICES.iter().map(|(of, _)| Ok(open_tree(CWD, *of, copied())?)).collect()
}

fn copied() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC
}

/// Attaches a detached mount at `place`.
pub(super) fn attach(mount: &OwnedFd, place: &CStr) -> io::Result<()> {
    Ok(move_mount(mount, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Does the same as [`attach`], for a `place` that may be a symbolic link.
pub(super) fn attach_followed(mount: &OwnedFd, place: &CStr) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    Ok(move_mount(mount, c"", CWD, place, flags)?)
}

/// Attaches a mount to a directory below an open one, resolving links as if the latter were the root.
pub(super) fn attach_below(mount: &OwnedFd, top: &OwnedFd, place: &Path) -> io::Result<()> {
    let folder = root::folder_below(top, place)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", &folder, c"", flags)?)
}

/// Makes a `/proc` filesystem of this process namespace.
pub(super) fn processes(flags: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let never =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags | never)?)
}

/// Makes the tree the root and unmounts the old root.
pub(super) fn exchange_root() -> io::Result<()> {
    // Mounts inherited with the namespace cannot be moved; a copy of them, with all submounts, can.
    let root = open_tree(CWD, PLACE, copied() | OpenTreeFlags::AT_RECURSIVE)?;
    attach(&root, PLACE)?;
    rustix::process::fchdir(&root)?;
    rustix::process::pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Makes a new `/dev`: a user namespace cannot make device nodes, so the machine's are mounted over empty files.
pub(super) fn make_devices(devices: &[OwnedFd]) -> io::Result<()> {
    mount(c"tmpfs", c"/dev", c"tmpfs", MountFlags::NOSUID, Some(c"mode=755,size=1m"))?;
    for (device, (_, place)) in devices.iter().zip(DEVICES) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        drop(rustix::fs::open(place, flags, Mode::from_raw_mode(0o666))?);
        attach(device, place)?;
    }
    for folder in [c"/dev/pts", c"/dev/shm"] {
        mkdir(folder, Mode::from_raw_mode(0o755))?;
    }
    // The mode must not depend on this process's umask.
    chmod(c"/dev/shm", Mode::from_raw_mode(0o1777))?;
    let links = [
        (c"/proc/self/fd", c"/dev/fd"),
        (c"/proc/self/fd/0", c"/dev/stdin"),
        (c"/proc/self/fd/1", c"/dev/stdout"),
        (c"/proc/self/fd/2", c"/dev/stderr"),
    ];
    for (to, name) in links {
        symlink(to, name)?;
    }
    Ok(())
}

/// Mounts the sandbox's `/dev` into a root, because the root's own device nodes do not work there.
///
/// A root without a `/dev` directory gets no devices.
pub(super) fn lend_devices(root: &OwnedFd) -> io::Result<()> {
    let devices = open_tree(CWD, c"/dev", copied() | OpenTreeFlags::AT_RECURSIVE)?;
    match attach_below(&devices, root, Path::new("dev")) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => Ok(()),
        attached => attached,
    }
}

/// Mounts an empty directory over `/run`.
pub(super) fn hide_services() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount(c"tmpfs", c"/run", c"tmpfs", flags, Some(c"mode=755,size=1m")) {
        Err(Errno::NOENT) => Ok(()),
        mounted => Ok(mounted?),
    }
}

/// Mounts a `/tmp` in memory, if the directory exists.
pub(super) fn make_temporary() -> io::Result<()> {
    match mount(c"tmpfs", c"/tmp", c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=1777")) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        mounted => Ok(mounted?),
    }
}
