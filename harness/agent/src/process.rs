//! Starting and ending the programs under test.
#![expect(unsafe_code, reason = "a child's descriptors, file handles and what io_uring answers have no safe interface")]

use crate::log::Log;
use operator::process::{Invocation, ProcessError, ProcessOutput};
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use suites::check::Stop;
use suites::environment::CommandOutput;

pub use operator::process::{kill_group, wait};

/// Makes `command` the leader of a process group of its own and passes it `fds` with the given numbers.
///
/// This is for programs under test that run in the background, which [`operator::process::Invocation`] would wait for.
/// No death signal is set: it is sent when the *thread* that started the child ends, and here each request has a thread
/// of its own, which a daemon may outlive. When the agent's line ends, [`kill_children`] ends them all.
///
/// The descriptors must stay open until the child has been spawned; the closure owns them, so they do.
pub fn prepare(command: &mut Command, fds: Vec<(OwnedFd, i32)>) -> &mut Command {
    command.process_group(0);
    // Moved above the wanted numbers, so that none is overwritten before it has been copied.
    let fds: Vec<(OwnedFd, i32)> =
        fds.into_iter().map(|(fd, number)| (rustix::io::fcntl_dupfd_cloexec(&fd, 64).unwrap_or(fd), number)).collect();
    // SAFETY: between fork and exec only async-signal-safe calls may be made; dup2 and fcntl are, and nothing
    // allocates.
    unsafe {
        command.pre_exec(move || {
            for (fd, number) in &fds {
                let raw = fd.as_raw_fd();
                let ok = if raw == *number { libc::fcntl(raw, libc::F_SETFD, 0) } else { libc::dup2(raw, *number) };
                if ok < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        })
    }
}

/// A user other than root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user's number.
    pub(crate) uid: Uid,
    /// The user's own group.
    pub(crate) gid: Gid,
    /// The user's further groups.
    pub(crate) groups: Vec<Gid>,
}

/// Makes `command` start its program as another user, which takes all capabilities from it; this needs root.
pub(crate) fn as_user(command: &mut Command, user: User) -> &mut Command {
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            set_thread_groups(&user.groups)?;
            set_thread_res_gid(user.gid, user.gid, user.gid)?;
            Ok(set_thread_res_uid(user.uid, user.uid, user.uid)?)
        })
    }
}

/// Kills the process groups of all children of this process, even those that other threads wait for.
pub fn kill_children() {
    let me = std::process::id();
    for pid in pids() {
        if parent(pid) == Some(me)
            && let Some(group) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw)
        {
            // Each child leads a group of its own; see `prepare`.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Returns a process and all its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let all = pids();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(of) = family.get(at).copied() {
        family.extend(all.iter().copied().filter(|child| parent(*child) == Some(of)));
        at += 1;
    }
    family
}

/// Returns the ids of all visible processes.
pub fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Returns the letter of a process's state; `T` is stopped.
pub fn state(pid: u32) -> Option<char> {
    stat(pid, 0)?.chars().next()
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid, 1)?.parse().ok()
}

/// Returns the start time of a process, in clock ticks since boot: together with its id it identifies the process
/// uniquely.
pub fn started(pid: u32) -> Option<u64> {
    stat(pid, 19)?.parse().ok()
}

/// Returns a field of `/proc/PID/stat`, counted from 0 after the name, which is in parentheses and may contain
/// anything.
fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(field).map(str::to_owned)
}

/// Sends a signal to a process of the agent that has not been reaped.
pub fn signal(pid: u32, signal: rustix::process::Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Returns "exit code 1" or "signal 9".
pub fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

/// Returns the error number of an io_uring_setup(2) that cannot succeed: it tells whether the call exists and is
/// permitted.
pub fn io_uring_setup_errno() -> i32 {
    // SAFETY: with a null pointer the kernel writes nothing and answers EFAULT.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::null_mut::<u8>()) };
    if result < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
}

/// Binds no memory to no node, which succeeds wherever mbind(2) exists and is permitted.
///
/// # Errors
/// The error of the kernel, or of a seccomp filter.
pub fn bind_no_memory() -> io::Result<()> {
    // SAFETY: a length of 0 is no memory, and a null mask names no node.
    match unsafe {
        libc::syscall(libc::SYS_mbind, 0_usize, 0_usize, 0_usize, std::ptr::null::<u64>(), 0_usize, 0_usize)
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens a directory by its file handle, which requires CAP_DAC_READ_SEARCH and a seccomp filter that permits it.
///
/// # Errors
/// The error of name_to_handle_at(2) or open_by_handle_at(2).
pub fn open_by_handle(folder: &Path) -> io::Result<()> {
    /// `struct file_handle` with room for the largest (MAX_HANDLE_SZ).
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        data: [u8; 128],
    }
    let anchor = std::fs::File::open(folder)?;
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount = 0_i32;
    let fd = anchor.as_raw_fd();
    let handle_pointer = std::ptr::from_mut(&mut handle);
    // SAFETY: the empty path ends with its NUL; the kernel writes a header, at most `bytes` bytes after it, and one
    // int.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd,
            c"".as_ptr(),
            handle_pointer,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is the one that the kernel has just filled in.
    let opened =
        unsafe { libc::syscall(libc::SYS_open_by_handle_at, fd, handle_pointer, libc::O_PATH | libc::O_CLOEXEC) };
    let opened = i32::try_from(opened).unwrap_or(-1);
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(opened) });
    Ok(())
}

/// Runs a program to its end, for a test's body, because bodies start no programs themselves.
///
/// # Errors
/// If it outlived the deadline and was killed, or could not be waited for.
pub fn run(argv: &[&str], variables: &[(&str, &str)], deadline: Duration) -> Result<CommandOutput, Stop> {
    let Some((program, arguments)) = argv.split_first() else { return Err(Stop::error("no program to run")) };
    let mut invocation = Invocation::new(Path::new(program), arguments);
    invocation.env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match invocation.run(deadline, None) {
        Ok(ProcessOutput { code, stdout, stderr }) => Ok(CommandOutput { code, stdout, stderr }),
        // A missing path of the record is a finding, not an error of the harness.
        Err(ProcessError::Start { source, .. }) => {
            Ok(CommandOutput { code: None, stdout: String::new(), stderr: format!("{program}: {source}") })
        }
        Err(ProcessError::Deadline { last, .. }) => {
            Err(Stop::fail(format!("{} did not end within {deadline:?}; it said last: {last:?}", argv.join(" "))))
        }
        Err(error @ (ProcessError::Sandbox { .. } | ProcessError::Wait { .. })) => Err(Stop::error(error.to_string())),
    }
}

/// Starts a program with no input and a pipe for its standard error, in this folder if one is given.
pub(crate) fn spawn(argv: &[String], fds: Vec<(OwnedFd, i32)>, folder: Option<&Path>) -> io::Result<Child> {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    prepare(&mut command, fds).spawn()
}

/// Starts a program as [`spawn`], as another user.
pub(crate) fn spawn_as(argv: &[String], fds: Vec<(OwnedFd, i32)>, user: &User) -> io::Result<Child> {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    as_user(prepare(&mut command, fds), user.clone()).spawn()
}

/// Starts a program as [`spawn`], with a pipe for its standard output, too.
pub(crate) fn spawn_printing(argv: &[String]) -> io::Result<Child> {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command, Vec::new()).spawn()
}

/// Collects a program's standard error.
pub(crate) fn stderr_log(child: &mut Child, path: &Path) -> io::Result<Log> {
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe for standard error"))?;
    Log::collect(stderr, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_program_is_run_to_its_end_or_its_deadline() {
        let script = "echo $WORD; echo said >&2; exit 3";
        let ran = run(&["/bin/sh", "-c", script], &[("WORD", "heard")], Duration::from_secs(20)).unwrap();
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(3), "heard\n", "said\n"));
        let late = run(&["/bin/sh", "-c", "echo waiting; sleep 1000"], &[], Duration::from_millis(500)).unwrap_err();
        let Stop::Fail { message, .. } = &late else { panic!("{late:?}") };
        assert!(message.ends_with("it said last: \"waiting\""), "{message}");
        assert_eq!(run(&["/no/such/program"], &[], Duration::from_secs(20)).unwrap().code, None);
    }

    #[test]
    fn the_state_of_a_running_process_is_read() {
        let pid = std::process::id();
        assert!(matches!(state(pid), Some('R' | 'S')));
        assert!(started(pid).is_some());
        assert_eq!(state(u32::MAX), None);
    }

    #[test]
    fn the_process_groups_of_all_children_are_killed() {
        const IS_ALONE: &str = "KATA_QUALIFY_TEST_IS_ALONE";
        if std::env::var_os(IS_ALONE).is_none() {
            // In a process of its own, because here other tests have children.
            let (_, module) = module_path!().split_once("::").unwrap();
            let name = format!("{module}::the_process_groups_of_all_children_are_killed");
            let mut alone = Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", &name, "--nocapture"]).env(IS_ALONE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
            return;
        }
        let mut children = [with_a_child(), with_a_child()];
        for (child, grandchild) in &children {
            assert_eq!(parent(*grandchild), Some(child.id()));
            assert_eq!(family(child.id()), [child.id(), *grandchild]);
        }
        kill_children();
        for (child, grandchild) in &mut children {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            let end = Instant::now() + Duration::from_secs(20);
            // Nobody may reap it.
            while !matches!(state(*grandchild), None | Some('Z')) {
                assert!(Instant::now() < end, "process {grandchild} lives");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Starts a program that has started another one, and returns it with the other one's id.
    fn with_a_child() -> (Child, u32) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut child = prepare(&mut command, Vec::new()).spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        let grandchild = line.trim().parse().unwrap();
        (child, grandchild)
    }
}
