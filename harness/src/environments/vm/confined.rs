//! What QEMU may do to this machine: read its own release's files and use the descriptors that it is handed.
//!
//! It runs as a user that nobody else has, without capabilities and without a way to get any, without a network and
//! without keys. Its root is the tree that it comes from, which it cannot write to and which has only the devices that it
//! needs.
#![expect(unsafe_code, reason = "what must be done between fork and exec has no safe interface")]

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The device of hardware virtualization.
pub const KVM_DEVICE: &str = "/dev/kvm";
/// The folder in which QEMU sees the files that it is given by name.
pub(super) const FILES: &str = "/mnt";
/// The device that it opens by name.
const RANDOM: &str = "/dev/urandom";
/// Users from here on belong to nobody: systemd's list (docs/UIDS-GIDS.md) leaves them free, and the ranges of containers
/// and user namespaces end before.
const USERS: u32 = 1_900_000_000;

/// What a QEMU is confined to.
pub(super) struct Confined {
    tree: CString,
    /// What is mounted over the tree's files: a file or a device of this machine's, and where.
    binds: Vec<(CString, CString)>,
    folders: [CString; 2],
    user: Uid,
    group: Gid,
    /// `/dev/kvm`, opened: a machine's own may be root's alone.
    kvm: Option<OwnedFd>,
}

impl Confined {
    /// Confines a program of this tree's to it; `files` it sees below [`FILES`] by the names beside them.
    ///
    /// # Errors
    /// When a file is not there, or with `kvm` `/dev/kvm` cannot be opened.
    pub(super) fn to(tree: &Path, files: &[(&Path, &str)], kvm: bool) -> io::Result<Confined> {
        let inside = |path: &str| c_string(&tree.join(path.trim_start_matches('/')));
        let mut binds = Vec::new();
        for (file, name) in files {
            let mode = std::fs::metadata(file)?.permissions().mode();
            // The image's copy; some distros keep their kernels from all but root.
            if mode & 0o444 != 0o444 {
                std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode | 0o444))?;
            }
            binds.push((c_string(file)?, inside(&format!("{FILES}/{name}"))?));
        }
        binds.push((c_string(Path::new(RANDOM))?, inside(RANDOM)?));
        // Out of the way of the numbers that QEMU is given.
        let high = |file: File| rustix::io::fcntl_dupfd_cloexec(file, 64).map_err(io::Error::from);
        let kvm = kvm.then(|| File::options().read(true).write(true).open(KVM_DEVICE).and_then(high)).transpose()?;
        let number = USERS + std::process::id() % 0x40_0000;
        Ok(Confined {
            tree: c_string(tree)?,
            binds,
            folders: [inside("/dev")?, inside(FILES)?],
            user: Uid::from_raw(number),
            group: Gid::from_raw(number),
            kvm,
        })
    }

    /// The number under which QEMU inherits `/dev/kvm`.
    pub(super) fn kvm(&self) -> Option<RawFd> {
        self.kvm.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Makes `command` start its program confined; this needs root.
    pub(super) fn around(self, command: &mut Command) {
        // SAFETY: between fork and exec `enter` makes system calls only and allocates nothing.
        unsafe { command.pre_exec(move || self.enter()) };
    }

    fn enter(&self) -> io::Result<()> {
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        let bare = MountFlags::NOSUID | MountFlags::NOEXEC;
        // What it is handed is made inheritable after this: below, and by `agent::process::prepare`.
        operator::process::close_on_exec()?;
        operator::process::leave_session_keyring()?;
        // SAFETY: the table of descriptors is not among what is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC) }?;
        mount_change(c"/", private)?;
        mount_bind(&*self.tree, &*self.tree)?;
        for folder in &self.folders {
            mount(c"tmpfs", &**folder, c"tmpfs", bare, c"mode=0755,size=64k")?;
        }
        for (from, to) in &self.binds {
            drop(rustix::fs::open(&**to, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR)?);
            mount_bind(&**from, &**to)?;
        }
        let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        mount_remount(&*self.tree, read_only, c"")?;
        for folder in &self.folders {
            mount_remount(&**folder, MountFlags::RDONLY | bare, c"")?;
        }
        rustix::process::chroot(&*self.tree)?;
        rustix::process::chdir(c"/")?;
        set_no_new_privs(true)?;
        for capability in 0..64 {
            // Those that the kernel does not know are refused.
            let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << capability));
        }
        if let Some(kvm) = &self.kvm {
            rustix::io::fcntl_setfd(kvm, rustix::io::FdFlags::empty())?;
        }
        set_thread_groups(&[])?;
        set_thread_res_gid(self.group, self.group, self.group)?;
        set_thread_res_uid(self.user, self.user, self.user)?;
        // A change of the user clears it.
        Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
