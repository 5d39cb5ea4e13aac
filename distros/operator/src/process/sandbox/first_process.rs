//! The keeper and PID 1 of a sandbox: they wait, and end with the program or when a process outside is gone.
#![expect(unsafe_code, reason = "signals, signalfd and _exit in a forked process have no safe interface")]

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// PID 1's exit code for a program ended by signal n is this plus n, as in a shell.
const SIGNALLED: c_int = 128;

/// Runs the keeper: it ignores SIGHUP, SIGINT, SIGQUIT and SIGTERM, dies by SIGKILL together with PID 1, and ends with
/// PID 1's exit code.
pub(super) fn keep(first: Pid, writer: &OwnedFd) -> ! {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: no handler is installed; the processes that a signal is meant for get it, too.
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

/// Waits for the end of the program or of a process outside; meanwhile reaps orphans.
pub(super) fn watch(program: Pid, children: &OwnedFd, outside: [&OwnedFd; 2]) -> ! {
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
        let mut buffer = [0; 1024];
        let _ = rustix::io::read(children, &mut buffer);
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

/// Closes all descriptors except the standard ones and `fds`: copies of other pipes' ends must not stay open here.
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

/// Returns a descriptor that is readable when a child has ended.
pub(super) fn children() -> io::Result<OwnedFd> {
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

/// Restores for the program the signal mask that [`children`] changed for PID 1.
pub(super) fn unblock_child_signal() -> io::Result<()> {
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
