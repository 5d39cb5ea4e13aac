//! Confinement of QEMU: it can only read its own release's files and use the descriptors that it inherits.
//!
//! QEMU runs as a user that nothing else on the machine uses, without capabilities and without a way to get any,
//! without a network and without keys. Its root is the tree that it comes from, which it cannot write to and which has
//! only the devices that QEMU needs. Files are mounted over the tree only after the tree has become the root, so that
//! no link in it leads out.
#![expect(unsafe_code, reason = "what must be done between fork and exec has no safe interface")]

use operator::process::Filter;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_change, mount_remount,
    move_mount, open_tree,
};
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid, unshare_unsafe,
};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The device of hardware virtualization.
pub const KVM_DEVICE: &str = "/dev/kvm";
/// The directory in which QEMU sees the files that it opens by name.
pub(super) const FILES: &str = "/mnt";
/// Directories of the tree that are replaced by empty filesystems.
const FOLDERS: [&CStr; 2] = [c"/dev", c"/mnt"];
/// The device that QEMU opens by name.
const RANDOM: &str = "/dev/urandom";
/// Start of a range of user ids that no one uses: systemd's list (docs/UIDS-GIDS.md) leaves them free, and the ranges
/// of containers and user namespaces end before.
const USERS: u32 = 1_900_000_000;
/// Number of a process's machines that have different users; the range of users of packages' scripts begins where these
/// end for the highest process id.
const OF_A_PROCESS: u32 = 20;
/// Highest number of process ids that Linux can have.
const PROCESSES: u32 = 0x40_0000;

/// The limits of a confined QEMU.
pub(super) struct Confined {
    tree: CString,
    /// Files and devices that are mounted over the tree: the path on this machine, and the path seen from inside.
    binds: [(CString, CString); 3],
    user: Uid,
    group: Gid,
    /// The filter of system calls, besides QEMU's own.
    filter: Filter,
    /// `/dev/kvm`, opened, because the machine's own may be accessible to root only.
    kvm: Option<OwnedFd>,
}

impl Confined {
    /// Confines a program to this tree, from which it comes; it sees `files` below [`FILES`] under the given names.
    ///
    /// # Errors
    /// If a file is missing, or with `kvm` `/dev/kvm` cannot be opened.
    pub(super) fn to(tree: &Path, files: [(&Path, &str); 2], kvm: bool) -> io::Result<Confined> {
        let [first, second] = files.map(|(file, name)| readable_bind(file, name));
        let binds = [first?, second?, (c_string(Path::new(RANDOM))?, c_string(Path::new(RANDOM))?)];
        // High numbers do not collide with those of QEMU's other descriptors.
        let high = |file: File| rustix::io::fcntl_dupfd_cloexec(file, 64).map_err(io::Error::from);
        let kvm = kvm.then(|| File::options().read(true).write(true).open(KVM_DEVICE).and_then(high)).transpose()?;
        let number = new_user();
        Ok(Confined {
            tree: c_string(tree)?,
            binds,
            user: Uid::from_raw(number),
            group: Gid::from_raw(number),
            filter: Filter::of_strangers()?,
            kvm,
        })
    }

    /// Returns the descriptor number under which QEMU inherits `/dev/kvm`.
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
        // The descriptors that QEMU inherits are made inheritable later: below, and by `agent::process::prepare`.
        operator::process::close_on_exec()?;
        operator::process::leave_session_keyring()?;
        // SAFETY: the table of descriptors is not among what is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC) }?;
        mount_change(c"/", private)?;
        mount_bind(&*self.tree, &*self.tree)?;
        // These files cannot be reached by path once the tree is the root.
        let copied = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = |(from, _): &(CString, CString)| open_tree(CWD, from.as_c_str(), copied);
        let [first, second, third] = &self.binds;
        let copies = [copy(first)?, copy(second)?, copy(third)?];
        rustix::process::chroot(&*self.tree)?;
        rustix::process::chdir(c"/")?;
        for folder in FOLDERS {
            mount(c"tmpfs", folder, c"tmpfs", bare, c"mode=0755,size=64k")?;
        }
        for (copy, (_, to)) in copies.iter().zip(&self.binds) {
            drop(rustix::fs::open(to.as_c_str(), OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR)?);
            move_mount(copy, c"", CWD, to.as_c_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        mount_remount(c"/", read_only, c"")?;
        for folder in FOLDERS {
            mount_remount(folder, MountFlags::RDONLY | bare, c"")?;
        }
        // QEMU's own filter permits sockets such as those of vsock, which no namespace confines.
        self.filter.apply()?;
        for capability in 0..64 {
            // The call fails for capabilities that the kernel does not know, which is harmless.
            let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << capability));
        }
        if let Some(kvm) = &self.kvm {
            rustix::io::fcntl_setfd(kvm, rustix::io::FdFlags::empty())?;
        }
        set_thread_groups(&[])?;
        set_thread_res_gid(self.group, self.group, self.group)?;
        set_thread_res_uid(self.user, self.user, self.user)?;
        // A change of the user clears the death signal, so it is set last.
        Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
    }
}

/// Returns a user that no other running QEMU has: code that escapes from one guest could otherwise signal the QEMU of
/// another one, or write to its memory, and so decide another release's tests.
fn new_user() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % OF_A_PROCESS;
    USERS + std::process::id() % PROCESSES * OF_A_PROCESS + number
}

/// Returns a file and the path under which QEMU sees it, and makes the file readable for QEMU.
fn readable_bind(file: &Path, name: &str) -> io::Result<(CString, CString)> {
    let mode = std::fs::metadata(file)?.permissions().mode();
    // The file is the image's copy; some distros make kernels readable for root only.
    if mode & 0o444 != 0o444 {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode | 0o444))?;
    }
    Ok((c_string(file)?, c_string(&Path::new(FILES).join(name))?))
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a tree with this machine's shell and its libraries.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new("ldd").arg("/bin/sh").output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        // Lines of ldd: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`
        for file in output.split_whitespace().filter(|word| word.starts_with('/')).chain(["/bin/sh"]) {
            let place = dir.path().join(file.trim_start_matches('/'));
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::copy(file, place).unwrap();
        }
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    #[test]
    #[cfg_attr(any(lacks = "mounting", lacks = "ldd"), ignore = "needs root that may make namespaces, and ldd")]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), ignore = "there is no filter here")]
    fn a_confined_program_is_filtered_before_it_filters_itself() {
        let (tree, outside) = (tree(), tempfile::tempdir().unwrap());
        let file = outside.path().join("vmlinuz");
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(tree.path().join("mnt")).unwrap();
        let files = ["kernel", "initrd"].map(|name| (file.as_path(), name));
        let confined = Confined::to(tree.path(), files, false).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line"]).env_clear().stdin(std::process::Stdio::piped());
        confined.around(&mut command);
        let mut child = command.spawn().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    }

    #[test]
    fn two_machines_of_a_run_have_different_users() {
        let (one, other) = (new_user(), new_user());
        assert_ne!(one, other);
        assert!(one >= USERS && other >= USERS);
        // Users of packages' scripts follow.
        const { assert!(USERS + (PROCESSES - 1) * OF_A_PROCESS + OF_A_PROCESS - 1 < 2_000_000_000) }
    }

    #[test]
    #[cfg_attr(any(lacks = "mounting", lacks = "ldd"), ignore = "needs root that may make namespaces, and ldd")]
    fn a_link_in_the_tree_does_not_lead_out_of_it() {
        let (tree, outside) = (tree(), tempfile::tempdir().unwrap());
        let inside = tree.path().join(outside.path().strip_prefix("/").unwrap());
        std::fs::create_dir_all(&inside).unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.path().join("mnt")).unwrap();
        let file = outside.path().join("vmlinuz");
        std::fs::write(&file, "given\n").unwrap();
        let files = ["kernel", "initrd"].map(|name| (file.as_path(), name));
        let confined = Confined::to(tree.path(), files, false).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line < /mnt/kernel; echo $line; echo x > /mnt/x || echo unwritten"]).env_clear();
        confined.around(&mut command);
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(stdout, "given\nunwritten\n", "{stderr}");
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0, "it is mounted for the program alone");
    }
}
