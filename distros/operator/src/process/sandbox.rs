//! Safe execution of foreign programs: a program and all its descendants run in their own namespaces, under a PID 1 of
//! this crate.
//!
//! ```text
//! this process ── keeper ── PID 1 ── the program ── whatever it starts
//! ```
//!
//! The kernel's death signal alone does not reach a program that temporarily changes its user, as apt does, because
//! that clears the signal. PID 1 never executes another program and changes its user only before the program exists, so
//! its own death signal stays; when PID 1 dies, the kernel kills its whole process namespace. PID 1 also ends when this
//! process or the keeper closes a pipe, which reveals their deaths even if signals fail. No control group is needed.
//!
//! Programs inside are root of a user namespace whose ids no user of this machine has (`ids`), with capabilities only
//! over that namespace's resources. They have no keys and no open files of the caller, and a filter refuses the system
//! calls that reach past namespaces ([`Filter`]). The keeper makes the mounts while it is still this machine's root;
//! programs inside cannot change their copies back, neither to make read-only mounts writable nor to allow devices.
//!
//! Keeper and PID 1 are forks of this process, between fork and exec of the program: they only make system calls,
//! because another thread may have held any lock at the fork.
//!
//! There are four sandboxes, of two kinds. Programs of the machine see its files, with one directory replaced by the
//! one to work on: a directory of an image that is being made ([`ProgramSandbox::of_machine`]), or another root and
//! settings in memory ([`SandboxedRoot::Target`]). Programs of a tree have it as their root: an image's tree
//! ([`ProgramSandbox::of_tree`]), or another root ([`SandboxedRoot::Itself`]).
#![expect(unsafe_code, reason = "fork, and what must be done between it and exec, have no safe interface")]

mod first_process;
mod ids;
mod mounts;
mod scratch; // files in memory, which end with the sandbox
mod submounts; // the mounts in a root that belong to it
mod wanted; // another root, and the changes permitted there

pub use scratch::{SETTINGS, ScratchFiles, TARGET, TEMPORARY};
pub use wanted::{SandboxedRoot, WantedSandbox};

use super::{Filter, close_on_exec, leave_session_keyring};
use first_process::{children, keep, unblock_child_signal, watch};
use mounts::{PLACE, attach, attach_below};
use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, mount_change};
use rustix::process::{
    DumpableBehavior, Gid, Pid, Signal, Uid, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The error that package scripts cannot be confined to a tree on a directory's filesystem.
#[derive(Debug, thiserror::Error)]
#[error("ids cannot be mapped on the filesystem of {}: {source}", .folder.display())]
pub struct NotConfined {
    folder: PathBuf,
    source: io::Error,
}

/// Checks whether package scripts can be confined to a tree on the filesystem of this directory.
///
/// # Errors
///
/// The reason why they cannot.
pub fn confines(folder: &Path) -> Result<(), NotConfined> {
    ids::mapped(folder, 0).map(drop).map_err(|source| NotConfined { folder: folder.to_owned(), source })
}

/// A sandbox's access to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The machine's network.
    Machine,
    /// No network: an offline program cannot reach out by mistake.
    None,
}

/// The surroundings of a program.
#[derive(Debug)]
pub struct ProgramSandbox {
    files: Files,
    network: Network,
    users: BorrowedFd<'static>,
}

/// The files that the program sees.
#[derive(Debug)]
enum Files {
    /// The machine's files, read-only, with this directory as `/tmp`.
    Machine { folder: OwnedFd },
    /// The machine's files, read-only, with files in memory as root's home, and another root among them.
    Target {
        scratch: OwnedFd,
        /// The root, and the mounts in it.
        root: Option<(OwnedFd, Vec<(OwnedFd, PathBuf)>)>,
        devices: Vec<OwnedFd>,
        /// Whether `/tmp` is in memory, too.
        own_temporary: bool,
        /// Whether `/run` is empty, so that the sockets of the machine's services are out of reach.
        without_services: bool,
    },
    /// The files of a tree.
    Tree {
        root: OwnedFd,
        devices: Vec<OwnedFd>,
        /// Directories of the machine, or the tree's own submounts, and the directories that they cover.
        mounts: Vec<(OwnedFd, PathBuf)>,
        /// Whether `/tmp` is in memory, because the tree is read-only.
        temporary: bool,
    },
}

/// A directory of the machine that is mounted over one in a tree.
#[derive(Debug, Clone, Copy)]
pub struct BindMount<'a> {
    /// The directory.
    pub folder: &'a Path,
    /// The directory in the tree that it covers.
    pub over: &'static str,
    /// Whether it may be written to.
    pub writable: bool,
}

impl ProgramSandbox {
    /// Makes a sandbox for programs of the machine: they see its files as a user who owns none of them, and `folder` as
    /// `/tmp`, where they are root.
    ///
    /// # Errors
    ///
    /// Fails if the directory's ids cannot be mapped.
    pub fn of_machine(folder: &Path, network: Network) -> io::Result<ProgramSandbox> {
        let files = Files::Machine { folder: ids::mapped(folder, ids::NO_DEVICES)? };
        Ok(ProgramSandbox { files, network, users: ids::namespace()? })
    }

    /// Makes a sandbox for a tree's programs: they see its files and only a few devices of the machine, because the
    /// tree becomes the root; they have no network.
    ///
    /// # Errors
    ///
    /// Fails if the tree's ids cannot be mapped.
    pub fn of_tree(tree: &Path, mounts: &[BindMount<'_>]) -> io::Result<ProgramSandbox> {
        let mapped = |mount: &BindMount<'_>| {
            let flags = if mount.writable { ids::NO_DEVICES } else { ids::NO_DEVICES | ids::READ_ONLY };
            Ok((ids::mapped(mount.folder, flags)?, PathBuf::from(mount.over)))
        };
        let files = Files::Tree {
            root: ids::mapped(tree, ids::NO_DEVICES)?,
            devices: mounts::devices()?,
            mounts: mounts.iter().map(mapped).collect::<io::Result<_>>()?,
            temporary: false,
        };
        Ok(ProgramSandbox { files, network: Network::None, users: ids::namespace()? })
    }

    /// Makes `command` start its program in this sandbox. The process returned by `spawn` is the keeper, which ends
    /// with the program and its exit code.
    ///
    /// The sandbox also ends when `command` is dropped.
    ///
    /// # Errors
    ///
    /// Fails if no descriptors are left for the pipe.
    pub fn confine(self, command: &mut Command) -> io::Result<()> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let forked = Forked {
            sandbox: self,
            parent: rustix::process::getpid(),
            arguments: arguments()?,
            filter: Filter::of_strangers()?,
            reader,
            _writer: writer,
        };
        // SAFETY: between fork and exec `enter` makes system calls only and allocates nothing.
        unsafe { command.pre_exec(move || forked.enter()) };
        Ok(())
    }
}

/// The data that the forked processes need.
struct Forked {
    sandbox: ProgramSandbox,
    /// This process, which must be the keeper's parent.
    parent: Pid,
    /// Address range of this process's arguments.
    arguments: (usize, usize),
    /// The filter of system calls for the program.
    filter: Filter,
    /// Read by PID 1, which ends when no process holds the writing end.
    reader: OwnedFd,
    /// Held only by this process.
    _writer: OwnedFd,
}

impl Forked {
    /// Turns this process into the keeper, which never returns; nor does PID 1. The third process returns and executes
    /// the program.
    fn enter(&self) -> io::Result<()> {
        // As the machine's root, whose limit on keyrings is high.
        leave_session_keyring()?;
        self.make_mounts()?;
        // The keeper's user stays this machine's root, which no process inside can signal; the process namespace must
        // belong to the inner user namespace.
        rustix::thread::move_into_link_name_space(self.sandbox.users, Some(LinkNameSpaceType::User))?;
        tie()?;
        if getppid() != Some(self.parent) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        unshare(UnshareFlags::NEWPID)?;
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        match fork()? {
            None => {
                drop(writer);
                self.first(&reader)
            }
            Some(first) => keep(first, &writer),
        }
    }

    /// Makes the mounts, as the machine's root: the copies inside keep these flags.
    fn make_mounts(&self) -> io::Result<()> {
        unshare(UnshareFlags::NEWNS)?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        match &self.sandbox.files {
            Files::Machine { folder } => {
                ids::change(CWD, c"/", libc::AT_RECURSIVE, ids::READ_ONLY, 0)?;
                attach(folder, PLACE)
            }
            Files::Target { scratch, root, devices, own_temporary, without_services } => {
                ids::change(CWD, c"/", libc::AT_RECURSIVE, ids::READ_ONLY, 0)?;
                mounts::attach_followed(scratch, scratch::PLACE)?;
                // Made here, because root inside could unmount devices that are mounted inside.
                mounts::make_devices(devices)?;
                if let Some((root, submounts)) = root {
                    attach_below(root, scratch, Path::new(scratch::TARGET_NAME))?;
                    submounts.iter().try_for_each(|(mount, over)| attach_below(mount, root, over))?;
                    mounts::lend_devices(root)?;
                }
                if *own_temporary {
                    mounts::make_temporary()?;
                }
                if *without_services { mounts::hide_services() } else { Ok(()) }
            }
            Files::Tree { root, mounts, .. } => {
                attach(root, PLACE)?;
                // Resolved below the tree: links are looked up as inside, where they have the right targets.
                mounts.iter().try_for_each(|(folder, over)| attach_below(folder, root, over))
            }
        }
    }

    /// Runs PID 1: makes the namespaces, starts the program, reaps, and ends with the program or with this process or
    /// the keeper.
    fn first(&self, keeper: &OwnedFd) -> io::Result<()> {
        self.become_root_inside()?;
        tie()?;
        // PID 1's memory is a copy of this process's, including passwords: no process may read it.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        self.forget_arguments();
        let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
        if self.sandbox.network == Network::None {
            flags |= UnshareFlags::NEWNET;
        }
        unshare(flags)?;
        match &self.sandbox.files {
            // A writable `/proc` could change settings of the machine.
            Files::Machine { .. } | Files::Target { .. } => {
                attach(&mounts::processes(MountAttrFlags::MOUNT_ATTR_RDONLY)?, c"/proc")?;
            }
            Files::Tree { devices, temporary, .. } => {
                // Made while the machine's `/proc` is still visible, as the kernel requires.
                let processes = mounts::processes(MountAttrFlags::empty())?;
                mounts::exchange_root()?;
                attach(&processes, c"/proc")?;
                mounts::make_devices(devices)?;
                if *temporary {
                    mounts::make_temporary()?;
                }
            }
        }
        rustix::process::chdir(c"/")?;
        let children = children()?;
        let Some(program) = fork()? else {
            close_on_exec()?;
            unblock_child_signal()?;
            return self.filter.apply();
        };
        watch(program, &children, [&self.reader, keeper])
    }

    fn become_root_inside(&self) -> io::Result<()> {
        let (group, user) = (Gid::ROOT, Uid::ROOT);
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
    }

    /// All processes inside may read PID 1's command line, which is a copy of this process's, with mirrors and their
    /// passwords.
    fn forget_arguments(&self) {
        let (start, end) = self.arguments;
        if start < end {
            // SAFETY: the kernel says that the arguments are there; nobody reads this copy of them.
            unsafe { std::ptr::write_bytes(start as *mut u8, 0, end - start) };
        }
    }
}

/// Makes the kernel kill this process when its parent dies. A change of credentials clears this.
fn tie() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the table of descriptors is not among the flags.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Forks; returns the child's id, or `None` in the child.
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: only called where there is one thread, between a fork and an exec.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        id => Ok(Pid::from_raw(id)),
    }
}

/// Returns the address range of this process's arguments (proc_pid_stat(5), fields 48 and 49).
fn arguments() -> io::Result<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may contain any characters.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse().ok());
    match (field(48), field(49)) {
        (Some(start), Some(end)) if start != 0 && start <= end => Ok((start, end)),
        // A kernel that hides them here hides them inside, too.
        _ => Ok((0, 0)),
    }
}

#[cfg(test)]
mod tests;
