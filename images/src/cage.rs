//! A program and all that it starts, in namespaces of their own, under a PID 1 of ours.
//!
//! ```text
//! this process ── keeper ── PID 1 ── the program ── whatever it starts
//! ```
//!
//! The kernel's death signal alone does not reach a program that changes its user for a moment, as apt does: that clears
//! it.
//! PID 1 never changes its user and never executes anything, so its own stays, and with PID 1 the kernel ends all of its
//! process namespace.
//! It also ends when this process or the keeper closes a pipe, which is how their deaths show, whatever became of
//! signals.
//! No control group is needed.
//!
//! Keeper and PID 1 are this process forked, between fork and exec of the program: they make system calls and nothing
//! else, for another thread may have held any lock at the fork.
#![expect(unsafe_code, reason = "fork, and what must be done between it and exec, have no safe interface")]

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, move_mount,
    open_tree, unmount,
};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getppid, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
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

/// What is around a program.
#[derive(Debug)]
pub(crate) struct Cage {
    /// A mount that becomes the root; the machine's root where there is none.
    root: Option<OwnedFd>,
    network: Network,
}

impl Cage {
    /// The machine's files, with mounts, processes and IPC apart from the machine's.
    pub(crate) fn machine(network: Network) -> Cage {
        Cage { root: None, network }
    }

    /// A tree's files and nothing of the machine's: its root is exchanged for the tree, so that no way leads back.
    ///
    /// # Errors
    /// When the tree cannot be taken for a mount.
    pub(crate) fn tree(tree: &Path, network: Network) -> io::Result<Cage> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(Cage { root: Some(open_tree(CWD, tree, flags)?), network })
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
        let inside =
            Inside { cage: self, parent: rustix::process::getpid(), arguments: arguments()?, reader, _writer: writer };
        // SAFETY: between fork and exec `enter` makes system calls only and allocates nothing.
        unsafe { command.pre_exec(move || inside.enter()) };
        Ok(())
    }
}

/// What the forked processes work with.
struct Inside {
    cage: Cage,
    /// This process, as the keeper's parent must be.
    parent: Pid,
    /// Where this process keeps its arguments.
    arguments: (usize, usize),
    /// Read by PID 1: it ends when nobody holds the other end.
    reader: OwnedFd,
    /// Held by this process, and by nobody else.
    _writer: OwnedFd,
}

impl Inside {
    /// Becomes the keeper, which never returns, as PID 1 does not; the third process returns and executes the program.
    fn enter(&self) -> io::Result<()> {
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

    /// PID 1: makes the namespaces, starts the program, reaps, and ends with it or with either process outside.
    fn first(&self, keeper: &OwnedFd) -> io::Result<()> {
        tie()?;
        self.forget_arguments();
        let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
        if self.cage.network == Network::None {
            flags |= UnshareFlags::NEWNET;
        }
        unshare(flags)?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        if let Some(root) = &self.cage.root {
            exchange_root(root)?;
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"proc", c"/proc", c"proc", flags, None)?;
        let children = children()?;
        let Some(program) = fork()? else {
            hear_children()?;
            return Ok(());
        };
        watch(program, &children, [&self.reader, keeper])
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

/// Makes a mount the root and lets go of the old one.
fn exchange_root(root: &OwnedFd) -> io::Result<()> {
    // Any folder does: the machine's /proc is nobody's here.
    move_mount(root, c"", CWD, c"/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
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

    fn caged(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(Stdio::null());
        Cage::machine(Network::None).close_around(&mut command).unwrap();
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
        Cage::machine(Network::None).close_around(&mut command).unwrap();
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
        let Some(pipe) = std::env::var_os(HOLDER) else { return };
        let script = "exec 9>\"$0\"; echo up >&9; setsid sleep 600 & perl -e '$> = 65534; $> = 0; sleep 600'";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(pipe).process_group(0);
        Cage::machine(Network::None).close_around(&mut command).unwrap();
        let _ = command.status();
    }

    /// A holder whose program runs, the folder of its pipe, and the pipe, which ends when nobody inside is left.
    fn held() -> (Child, tempfile::TempDir, std::fs::File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let holder = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cage::tests::holder"])
            .env(HOLDER, &path)
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
