//! The safe execution of foreign programs: a program and all that it starts, in namespaces of their own, under a PID 1 of
//! this crate.
//!
//! ```text
//! this process ── keeper ── PID 1 ── the program ── whatever it starts
//! ```
//!
//! The kernel's death signal alone does not reach a program that changes its user for a moment, as apt does: that clears
//! it.
//! PID 1 never executes anything and changes its user only before there is a program, so its own stays, and with PID 1 the
//! kernel ends all of its process namespace.
//! It also ends when this process or the keeper closes a pipe, which is how their deaths show even where signals fail.
//! No control group is needed.
//!
//! Programs inside are root of a user namespace of their own: by ids that are nobody's on this machine (`ids`), and with
//! capabilities over what belongs to that namespace only.
//! They have no key and no open file of the caller's, and a filter keeps them from the system calls that reach past
//! namespaces ([`Filter`]).
//! The keeper makes the mounts while it is still this machine's root; the copies of them inside cannot be changed back,
//! neither to be written to where they are read-only, nor to have devices.
//!
//! Keeper and PID 1 are this process forked, between fork and exec of the program: they make system calls and nothing
//! else, because another thread may have held any lock at the fork.
//!
//! There are four of them, of two kinds.
//! Programs of the machine see its files, and in the place of one folder something to work on: a folder of an image that is
//! made ([`ProgramSandbox::of_machine`]), or another root and settings that lie in memory ([`SandboxedRoot::Target`]).
//! Programs of a tree have it as their root: one of an image ([`ProgramSandbox::of_tree`]), or another root
//! ([`SandboxedRoot::Itself`]).
#![expect(unsafe_code, reason = "fork, and what must be done between it and exec, have no safe interface")]

mod first_process;
mod ids;
mod mounts;
mod scratch; // files in memory, which end with the sandbox
mod submounts; // the mounts in a root that belong to it
mod wanted; // another root, and what may be done to it

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

/// Packages' scripts cannot be kept to a tree on the filesystem of a folder.
#[derive(Debug, thiserror::Error)]
#[error("ids cannot be mapped on the filesystem of {}: {source}", .folder.display())]
pub struct NotConfined {
    folder: PathBuf,
    source: io::Error,
}

/// Whether packages' scripts can be kept to a tree on the filesystem of this folder.
///
/// # Errors
///
/// Why not.
pub fn confines(folder: &Path) -> Result<(), NotConfined> {
    ids::mapped(folder, 0).map(drop).map_err(|source| NotConfined { folder: folder.to_owned(), source })
}

/// What a program in a sandbox sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The machine's.
    Machine,
    /// Nothing: what is offline cannot reach out by mistake.
    None,
}

/// What surrounds a program.
#[derive(Debug)]
pub struct ProgramSandbox {
    files: Files,
    network: Network,
    users: BorrowedFd<'static>,
}

/// The files that it sees.
#[derive(Debug)]
enum Files {
    /// The machine's, read-only, with this folder in the place of `/tmp`.
    Machine { folder: OwnedFd },
    /// The machine's, read-only, with files in memory in the place of root's home, and a root among them.
    Target {
        scratch: OwnedFd,
        /// The root, and the mounts in it.
        root: Option<(OwnedFd, Vec<(OwnedFd, PathBuf)>)>,
        devices: Vec<OwnedFd>,
        /// Whether `/tmp` is in memory, too.
        own_temporary: bool,
        /// Whether `/run` is empty, and with it the sockets of the machine's services out of reach.
        without_services: bool,
    },
    /// A tree's.
    Tree {
        root: OwnedFd,
        devices: Vec<OwnedFd>,
        /// In the place of the tree's: folders of the machine, or mounts of its own.
        mounts: Vec<(OwnedFd, PathBuf)>,
        /// Whether `/tmp` is in memory, because the tree is read-only.
        temporary: bool,
    },
}

/// A folder of the machine that is mounted over one of a tree's.
#[derive(Debug, Clone, Copy)]
pub struct BindMount<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// What it takes the place of.
    pub over: &'static str,
    /// Whether it may be written to.
    pub writable: bool,
}

impl ProgramSandbox {
    /// For programs of the machine: they see its files as a user who owns none of them, and `folder` as `/tmp`, where they
    /// are root.
    ///
    /// # Errors
    ///
    /// When the folder's ids cannot be mapped.
    pub fn of_machine(folder: &Path, network: Network) -> io::Result<ProgramSandbox> {
        let files = Files::Machine { folder: ids::mapped(folder, ids::NO_DEVICES)? };
        Ok(ProgramSandbox { files, network, users: ids::namespace()? })
    }

    /// For a tree's programs: its files, and of the machine a few devices only, because the tree takes the root's place;
    /// and no network.
    ///
    /// # Errors
    ///
    /// When the tree's ids cannot be mapped.
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

    /// Has `command` start its program in this sandbox; the process that `spawn` gives is the keeper, which ends as the
    /// program ends.
    ///
    /// The sandbox also ends when `command` is dropped.
    ///
    /// # Errors
    ///
    /// When there are no descriptors for its pipe.
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

/// What the forked processes work with.
struct Forked {
    sandbox: ProgramSandbox,
    /// This process, as the keeper's parent must be.
    parent: Pid,
    /// Where this process keeps its arguments.
    arguments: (usize, usize),
    /// What the program may not ask of the kernel.
    filter: Filter,
    /// Read by PID 1: it ends when nobody holds the other end.
    reader: OwnedFd,
    /// Held by this process, and by nobody else.
    _writer: OwnedFd,
}

impl Forked {
    /// Becomes the keeper, which never returns, as PID 1 does not; the third process returns and executes the program.
    fn enter(&self) -> io::Result<()> {
        // By this machine's root, who may have many keyrings.
        leave_session_keyring()?;
        self.make_mounts()?;
        // Its user stays this machine's root, whom nobody inside can touch; the process namespace is to belong inside.
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

    /// Makes the mounts, as the machine's root: copies inside keep these flags.
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
                // Made here and not inside, where whoever is root could take them away again.
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
                // Below the tree, whose links lead nowhere yet: looked for inside, where they lead where they should.
                mounts.iter().try_for_each(|(folder, over)| attach_below(folder, root, over))
            }
        }
    }

    /// PID 1: makes the namespaces, starts the program, reaps, and ends with it or with either process outside.
    fn first(&self, keeper: &OwnedFd) -> io::Result<()> {
        self.become_root_inside()?;
        tie()?;
        // It is a copy of this process, passwords and all: not to be looked into.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        self.forget_arguments();
        let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
        if self.sandbox.network == Network::None {
            flags |= UnshareFlags::NEWNET;
        }
        unshare(flags)?;
        match &self.sandbox.files {
            // What can write to processes' files could write to the machine's.
            Files::Machine { .. } | Files::Target { .. } => {
                attach(&mounts::processes(MountAttrFlags::MOUNT_ATTR_RDONLY)?, c"/proc")?;
            }
            Files::Tree { devices, temporary, .. } => {
                // Made while the machine's is still in sight, as the kernel wants it.
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

    /// Everybody inside may read PID 1's command line, which is this process's: mirrors and their passwords.
    fn forget_arguments(&self) {
        let (start, end) = self.arguments;
        if start < end {
            // SAFETY: the kernel says that the arguments are there; nobody reads this copy of them.
            unsafe { std::ptr::write_bytes(start as *mut u8, 0, end - start) };
        }
    }
}

/// Has the kernel kill this process when its parent dies. Whatever changes credentials clears this.
fn tie() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the table of descriptors is not among the flags.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The child's id, or nothing in the child.
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: only called where there is one thread, between a fork and an exec.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        id => Ok(Pid::from_raw(id)),
    }
}

/// Where this process's arguments begin and end in its memory (proc_pid_stat(5), fields 48 and 49).
fn arguments() -> io::Result<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse().ok());
    match (field(48), field(49)) {
        (Some(start), Some(end)) if start != 0 && start <= end => Ok((start, end)),
        // A kernel that hides them hides them inside, too.
        _ => Ok((0, 0)),
    }
}

#[cfg(test)]
mod tests;
