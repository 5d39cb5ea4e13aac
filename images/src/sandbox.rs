//! A program and all that it starts, in namespaces of their own, under a PID 1 of ours.
//!
//! ```text
//! this process ── keeper ── PID 1 ── the program ── whatever it starts
//! ```
//!
//! The kernel's death signal alone does not reach a program that changes its user for a moment, as apt does: that clears
//! it.
//! PID 1 never executes anything and changes its user only before there is a program, so its own stays, and with PID 1 the
//! kernel ends all of its process namespace.
//! It also ends when this process or the keeper closes a pipe, which is how their deaths show, whatever became of
//! signals.
//! No control group is needed.
//!
//! What is inside is root of a user namespace of its own: by ids that are nobody's on this machine ([`ids`]), and with
//! capabilities over what belongs to that namespace only.
//! It has no key of the caller's, and a filter keeps it from the system calls that reach past namespaces ([`Filter`]).
//! The keeper makes the mounts while it is still this machine's root; the copies of them inside cannot be changed back,
//! neither to be written to where they are read-only, nor to have devices.
//!
//! Keeper and PID 1 are this process forked, between fork and exec of the program: they make system calls and nothing
//! else, for another thread may have held any lock at the fork.
#![expect(unsafe_code, reason = "fork, and what must be done between it and exec, have no safe interface")]

use crate::ids;
use kata_osinfo::process::{Filter, leave_session_keyring};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, mkdir, symlink};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsmount, fsopen, mount, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{
    DumpableBehavior, Gid, Pid, Signal, Uid, WaitOptions, WaitStatus, getppid, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// What a program in a cage sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// The machine's.
    Machine,
    /// Nothing: what is offline cannot reach out by mistake.
    None,
}

/// Where the end of a program by a signal begins in PID 1's exit codes, as in a shell's.
const SIGNALLED: c_int = 128;

/// Where a cage's own folder or tree is mounted at first; there is one on every machine.
const PLACE: &CStr = c"/tmp";

/// The machine's devices that a tree's programs have: none that holds anything, and no terminal, into which they could type.
const DEVICES: [(&CStr, &CStr); 5] = [
    (c"/dev/null", c"/dev/null"),
    (c"/dev/zero", c"/dev/zero"),
    (c"/dev/full", c"/dev/full"),
    (c"/dev/random", c"/dev/random"),
    (c"/dev/urandom", c"/dev/urandom"),
];

/// What is around a program.
#[derive(Debug)]
pub(crate) struct Cage {
    files: Files,
    network: Network,
    users: BorrowedFd<'static>,
}

/// The files that it sees.
#[derive(Debug)]
enum Files {
    /// The machine's, not to be written to, with this folder in the place of `/tmp`.
    Desk(OwnedFd),
    /// A tree's.
    Tree {
        root: OwnedFd,
        devices: Vec<OwnedFd>,
        /// Folders of the machine in the place of the tree's.
        laid: Vec<(OwnedFd, &'static CStr)>,
    },
}

/// A folder of the machine that lies over one of a tree's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Laid<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) over: &'static CStr,
    pub(crate) writable: bool,
}

impl Cage {
    /// For programs of the machine: its files as somebody sees them who owns nothing, and `desk` as `/tmp`, where they are
    /// root.
    ///
    /// # Errors
    /// When the desk's ids cannot be mapped.
    pub(crate) fn desk(desk: &Path, network: Network) -> io::Result<Cage> {
        Ok(Cage { files: Files::Desk(ids::mapped(desk, ids::NO_DEVICES)?), network, users: ids::namespace()? })
    }

    /// For a tree's programs: its files and nothing of the machine's but a few devices, for its root is exchanged for the
    /// tree; and no network.
    ///
    /// # Errors
    /// When the tree's ids cannot be mapped.
    pub(crate) fn tree(tree: &Path, laid: &[Laid<'_>]) -> io::Result<Cage> {
        let lay = |l: &Laid<'_>| {
            let flags = if l.writable { ids::NO_DEVICES } else { ids::NO_DEVICES | ids::READ_ONLY };
            Ok((ids::mapped(l.folder, flags)?, l.over))
        };
        let device = |(of, _): &(&CStr, &CStr)| Ok(open_tree(CWD, *of, clone())?);
        let files = Files::Tree {
            root: ids::mapped(tree, ids::NO_DEVICES)?,
            devices: DEVICES.iter().map(device).collect::<io::Result<_>>()?,
            laid: laid.iter().map(lay).collect::<io::Result<_>>()?,
        };
        Ok(Cage { files, network: Network::None, users: ids::namespace()? })
    }

    /// Has `command` start its program in this cage; the process that `spawn` gives is the keeper, whose end is the
    /// program's.
    ///
    /// The cage ends with the value, too, however that is dropped.
    ///
    /// # Errors
    /// When there are no descriptors for its pipe.
    pub(crate) fn close_around(self, command: &mut Command) -> io::Result<()> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let inside = Inside {
            cage: self,
            parent: rustix::process::getpid(),
            arguments: arguments()?,
            filter: Filter::of_strangers()?,
            reader,
            _writer: writer,
        };
        // SAFETY: between fork and exec `enter` makes system calls only and allocates nothing.
        unsafe { command.pre_exec(move || inside.enter()) };
        Ok(())
    }
}

fn clone() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC
}

/// What the forked processes work with.
struct Inside {
    cage: Cage,
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

impl Inside {
    /// Becomes the keeper, which never returns, as PID 1 does not; the third process returns and executes the program.
    fn enter(&self) -> io::Result<()> {
        // By this machine's root, who may have many keyrings.
        leave_session_keyring()?;
        self.lay_out()?;
        // Its user stays this machine's root, whom nobody inside can touch; the process namespace is to belong inside.
        rustix::thread::move_into_link_name_space(self.cage.users, Some(LinkNameSpaceType::User))?;
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

    /// Makes the mounts, as the machine's root: copies inside have these flags for ever.
    fn lay_out(&self) -> io::Result<()> {
        unshare(UnshareFlags::NEWNS)?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        match &self.cage.files {
            Files::Desk(desk) => {
                ids::change(CWD, c"/", libc::AT_RECURSIVE, ids::READ_ONLY, 0)?;
                put(desk, PLACE)
            }
            Files::Tree { root, laid, .. } => {
                put(root, PLACE)?;
                // Below the tree, whose links lead nowhere yet: looked for inside, where they lead where they should.
                laid.iter().try_for_each(|(folder, over)| {
                    let at = inside(root, over)?;
                    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                    Ok(move_mount(folder, c"", &at, c"", flags)?)
                })
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
        if self.cage.network == Network::None {
            flags |= UnshareFlags::NEWNET;
        }
        unshare(flags)?;
        match &self.cage.files {
            // What can write to processes' files could write to the machine's.
            Files::Desk(_) => put(&processes(MountAttrFlags::MOUNT_ATTR_RDONLY)?, c"/proc")?,
            Files::Tree { devices, .. } => {
                // Made while the machine's is still in sight, as the kernel wants it.
                let processes = processes(MountAttrFlags::empty())?;
                exchange_root()?;
                put(&processes, c"/proc")?;
                make_devices(devices)?;
            }
        }
        rustix::process::chdir(c"/")?;
        let children = children()?;
        let Some(program) = fork()? else {
            hear_children()?;
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
            // SAFETY: the kernel says that the arguments lie there; this copy of them is read by nobody.
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

/// The keeper: stays in the way of no signal but SIGKILL, which ends PID 1 with it, and ends as PID 1 ends.
fn keep(first: Pid, writer: &OwnedFd) -> ! {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: no handler of ours is installed; those that it is meant for have the signal, too.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    leave_open(&[writer]);
    loop {
        match rustix::process::waitpid(Some(first), WaitOptions::empty()) {
            Ok(Some((_, status))) => exit(code(status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => exit(SIGNALLED),
        }
    }
}

/// Waits for the program's end or for that of a process outside; meanwhile reaps what lost its parent.
fn watch(program: Pid, children: &OwnedFd, outside: [&OwnedFd; 2]) -> ! {
    leave_open(&[children, outside[0], outside[1]]);
    loop {
        let mut wait = [
            PollFd::new(children, PollFlags::IN),
            PollFd::new(outside[0], PollFlags::IN),
            PollFd::new(outside[1], PollFlags::IN),
        ];
        let _ = poll(&mut wait, None);
        if wait[1..].iter().any(|fd| !fd.revents().is_empty()) {
            exit(SIGNALLED + libc::SIGKILL);
        }
        let mut told = [0; 1024];
        let _ = rustix::io::read(children, &mut told);
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == program {
                exit(code(status));
            }
        }
    }
}

fn code(status: WaitStatus) -> c_int {
    status.exit_status().unwrap_or_else(|| SIGNALLED + status.terminating_signal().unwrap_or(0))
}

fn exit(code: c_int) -> ! {
    // SAFETY: ends this process at once, without running what belongs to the process that it was forked from.
    unsafe { libc::_exit(code) }
}

/// Closes all descriptors but standard ones and these: others' ends of pipes must not stay open here.
fn leave_open(fds: &[&OwnedFd]) {
    let mut numbers = [0; 4];
    let numbers = &mut numbers[..fds.len()];
    for (number, fd) in numbers.iter_mut().zip(fds) {
        *number = fd.as_raw_fd();
    }
    numbers.sort_unstable();
    let mut from = 3;
    for number in numbers.iter().chain(&[c_int::MAX]) {
        if *number > from {
            // SAFETY: nobody uses what is closed: this process never returns to the program that it was forked from.
            unsafe { libc::syscall(libc::SYS_close_range, from, number - 1, 0) };
        }
        from = number.saturating_add(1);
    }
}

/// A folder of the tree: links are followed as inside it.
fn inside(root: &OwnedFd, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Mounts what is a mount already, but has no place yet.
fn put(mount: &OwnedFd, place: &CStr) -> io::Result<()> {
    Ok(move_mount(mount, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// The processes of this namespace as a filesystem.
fn processes(flags: MountAttrFlags) -> io::Result<OwnedFd> {
    let made = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(made.as_fd())?;
    let never =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(made.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags | never)?)
}

/// Makes the tree the root and lets go of the old one.
fn exchange_root() -> io::Result<()> {
    // What came with the namespace stays where it is; a copy with all that lies below it does not have to.
    let root = open_tree(CWD, PLACE, clone() | OpenTreeFlags::AT_RECURSIVE)?;
    put(&root, PLACE)?;
    rustix::process::fchdir(&root)?;
    rustix::process::pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// A `/dev` of its own: a namespace of users cannot make devices, so the machine's lie on empty files.
fn make_devices(devices: &[OwnedFd]) -> io::Result<()> {
    mount(c"tmpfs", c"/dev", c"tmpfs", MountFlags::NOSUID, Some(c"mode=755,size=1m"))?;
    for (device, (_, place)) in devices.iter().zip(DEVICES) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        drop(rustix::fs::open(place, flags, Mode::from_raw_mode(0o666))?);
        put(device, place)?;
    }
    for folder in [c"/dev/pts", c"/dev/shm"] {
        mkdir(folder, Mode::from_raw_mode(0o755))?;
    }
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

/// A descriptor that is readable when a child has ended.
fn children() -> io::Result<OwnedFd> {
    let set = child_signal();
    // SAFETY: `set` is initialised, and what signalfd gives is a descriptor that nobody else has.
    unsafe {
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Takes back for the program what [`children`] did to PID 1's signals.
fn hear_children() -> io::Result<()> {
    // SAFETY: the set is initialised.
    match unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &child_signal(), std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn child_signal() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises all of the set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        set
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
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    /// Whether cages can be made; says why not.
    fn able(test: &str) -> bool {
        let able = rustix::process::geteuid().is_root();
        if !able {
            let _ = writeln!(io::stderr(), "SKIPPED {test}: needs root");
        }
        able
    }

    /// Programs that need no desk share the tests' own, which is not written to.
    fn machine() -> Cage {
        Cage::desk(Path::new(env!("CARGO_MANIFEST_DIR")), Network::None).unwrap()
    }

    fn caged(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(Stdio::null());
        machine().close_around(&mut command).unwrap();
        command
    }

    #[test]
    fn the_programs_end_is_the_keepers() {
        if !able("the_programs_end_is_the_keepers") {
            return;
        }
        let code = |script: &str| caged(script).status().unwrap().code();
        assert_eq!(code("exit 7"), Some(7));
        assert_eq!(code("kill -9 $$"), Some(137));
        // What a program leaves behind ends with it, and keeps nobody waiting.
        let started = Instant::now();
        let output = caged("setsid sleep 300 & echo $$ $PPID").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "2 1\n");
        assert!(started.elapsed() < Duration::from_secs(60));
        let mut command = Command::new("/no/such/program");
        machine().close_around(&mut command).unwrap();
        assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nobody_inside_reads_the_arguments_of_this_process() {
        if !able("nobody_inside_reads_the_arguments_of_this_process") {
            return;
        }
        let output = caged("tr -d '\\0' < /proc/1/cmdline; cat /proc/[0-9]*/comm").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let own = std::env::args().next().unwrap();
        assert!(!text.contains(&own), "{text}");
        assert!(text.ends_with("\nsh\n"), "{text}");
    }

    #[test]
    fn a_signal_lets_the_program_end_in_order() {
        if !able("a_signal_lets_the_program_end_in_order") {
            return;
        }
        let script = "trap 'echo in order; exit 3' TERM; echo up; while :; do sleep 0.1; done";
        let mut command = caged(script);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 3]).unwrap();
        let group = Pid::from_child(&child);
        rustix::process::kill_process_group(group, Signal::TERM).unwrap();
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), child.wait().unwrap().code()), ("in order\n", Some(3)));
    }

    const HOLDER: &str = "KATA_QUALIFY_TEST_HOLDER";

    /// Not a test of its own: the process that the next ones kill. It runs a program that changes its user and back.
    #[test]
    fn holder() {
        let Some(desk) = std::env::var_os(HOLDER) else { return };
        let script = "exec 9>/tmp/pipe; echo up >&9; setsid sleep 600 & perl -e '$> = 65534; $> = 0; sleep 600'";
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        Cage::desk(Path::new(&desk), Network::None).unwrap().close_around(&mut command).unwrap();
        let _ = command.status();
    }

    /// A holder whose program runs, the folder of its pipe, and the pipe, which ends when nobody inside is left.
    fn held() -> (Child, tempfile::TempDir, std::fs::File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let holder = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cage::tests::holder"])
            .env(HOLDER, dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = std::fs::File::open(&path).unwrap();
        pipe.read_exact(&mut [0; 3]).unwrap();
        (holder, dir, pipe)
    }

    fn ends(mut pipe: std::fs::File, what: &str) {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(pipe.read_to_end(&mut Vec::new()).is_ok()));
        let ended = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Ok(true), "the program lives on after the death of {what}");
    }

    fn end_of(child: &mut Child, time: Duration) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        None
    }

    /// The keeper: the holder's only child.
    fn keeper(holder: &Child) -> Pid {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let children = format!("/proc/{0}/task", holder.id());
            let tasks = std::fs::read_dir(children).unwrap().flatten();
            let of =
                |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let found: String = tasks.map(of).collect();
            if let Some(pid) = found.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().unwrap())) {
                return pid;
            }
            assert!(Instant::now() < until, "the holder has no child");
        }
    }

    #[test]
    fn a_killed_holder_takes_a_program_along_that_changed_its_user() {
        let test = "a_killed_holder_takes_a_program_along_that_changed_its_user";
        if !able(test) {
            return;
        }
        let (mut holder, _dir, pipe) = held();
        holder.kill().unwrap();
        holder.wait().unwrap();
        ends(pipe, "the process that holds it");
        let (mut holder, _dir, pipe) = held();
        rustix::process::kill_process(keeper(&holder), Signal::KILL).unwrap();
        ends(pipe, "its keeper");
        assert!(holder.wait().unwrap().signal().is_none());
        // Where signals fail the pipe does not.
        let mut command = caged("sleep 600");
        let mut child = command.spawn().unwrap();
        drop(command);
        let status = end_of(&mut child, Duration::from_secs(20)).expect("the program outlives the pipe");
        assert_eq!(status.code(), Some(137));
    }
}
