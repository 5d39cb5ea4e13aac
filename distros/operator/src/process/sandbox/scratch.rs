//! Files in memory for a program of the machine, which end with its sandbox even if this process is killed.

use super::ids;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Mount point of these files: root's home, which no user but root reads anyway.
pub(super) const PLACE: &CStr = c"/root";
/// Name in there of the root to work on.
pub(super) const TARGET_NAME: &str = "target";

/// Path at which a program of the machine sees the root to work on.
pub const TARGET: &str = "/root/target";
/// Path at which the program sees the settings made for it.
pub const SETTINGS: &str = "/root/settings";
/// Path for the program's temporary files.
pub const TEMPORARY: &str = "/root/tmp";

/// Settings for a program: paths below [`SETTINGS`], and texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScratchFiles(pub Vec<(PathBuf, String)>);

/// Directories in it: for the root, for settings, and a temporary one for all users inside.
const FOLDERS: [(&str, u32); 3] = [(TARGET_NAME, 0o755), ("settings", 0o755), ("tmp", 0o1777)];

/// Makes a filesystem of these files that is not mounted yet.
pub(super) fn make(files: &ScratchFiles) -> io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let owner = ids::FIRST.to_string();
    for (key, value) in [("mode", "755"), ("uid", owner.as_str()), ("gid", owner.as_str())] {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let scratch = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    for (name, mode) in FOLDERS {
        make_folder(&scratch, Path::new(name), mode)?;
    }
    for (path, text) in &files.0 {
        let path = Path::new("settings").join(path);
        for folder in path.ancestors().skip(1).filter(|folder| folder.components().count() > 1) {
            make_folder(&scratch, folder, 0o755)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        File::from(openat(&scratch, &path, flags, Mode::from_raw_mode(0o600))?).write_all(text.as_bytes())?;
        give_to_root(&scratch, &path, 0o644)?;
    }
    Ok(scratch)
}

fn make_folder(scratch: &OwnedFd, path: &Path, mode: u32) -> io::Result<()> {
    match mkdirat(scratch, path, Mode::from_raw_mode(0o700)) {
        Ok(()) => give_to_root(scratch, path, mode),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a new file or directory to root inside; its mode does not depend on this process's umask.
fn give_to_root(scratch: &OwnedFd, path: &Path, mode: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(ids::FIRST), Gid::from_raw(ids::FIRST));
    chownat(scratch, path, Some(user), Some(group), AtFlags::empty())?;
    Ok(chmodat(scratch, path, Mode::from_raw_mode(mode), AtFlags::empty())?)
}
