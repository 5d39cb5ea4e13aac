//! A child process: tied to this process, waited for without polling, and ended with its process group.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal};
use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// The signals that end a program with time to clean up, and the wait after each.
pub(super) const POLITELY: [(Signal, Duration); 2] =
    [(Signal::TERM, Duration::from_secs(5)), (Signal::KILL, Duration::from_secs(5))];

/// Polling interval if the kernel provides no descriptor for the child.
const LOOK: Duration = Duration::from_millis(10);

/// Makes the kernel kill the command's process when the thread that starts it ends for any reason, as long as the
/// process does not change its user.
pub fn tie(command: &mut Command) -> &mut Command {
    let tied = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    #[expect(unsafe_code, reason = "std has no safe way to run anything between fork and exec")]
    // SAFETY: one system call, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(tied);
    }
    command
}

/// Waits for a child's end, without polling; `None` at the end of the time limit.
///
/// # Errors
///
/// Fails if it is not a child of this process, or was already waited for.
pub fn wait(child: &mut Child, within: Duration) -> io::Result<Option<ExitStatus>> {
    wait_for_either(child, Some(Instant::now() + within), None)
}

/// Waits for a child's end, without polling and without a time limit; `None` if before it something is written to this
/// pipe, or all its writers are gone.
///
/// # Errors
///
/// As [`wait`].
pub fn wait_or_stop(child: &mut Child, stop: &PipeReader) -> io::Result<Option<ExitStatus>> {
    wait_for_either(child, None, Some(stop))
}

fn wait_for_either(
    child: &mut Child,
    until: Option<Instant>,
    stop: Option<&PipeReader>,
) -> io::Result<Option<ExitStatus>> {
    let mut pidfd = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let mut remaining = until.map(|until| until.saturating_duration_since(Instant::now()));
        if remaining.is_some_and(|remaining| remaining.is_zero()) {
            return Ok(None);
        }
        if pidfd.is_none() {
            pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
        }
        if pidfd.is_none() {
            // The kernel is older than Linux 5.3, or a seccomp filter refuses the call.
            remaining = Some(remaining.map_or(LOOK, |remaining| remaining.min(LOOK)));
        }
        let remaining = remaining.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut polled: Vec<PollFd<'_>> = stop.iter().map(|stop| PollFd::new(*stop, PollFlags::IN)).collect();
        polled.extend(pidfd.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        match poll(&mut polled, remaining.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if stop.is_some() && polled.first().is_some_and(|stop| !stop.revents().is_empty()) {
            return child.try_wait();
        }
    }
}

/// Kills the process group that a child leads, and reaps the child.
pub fn kill_group(child: &mut Child) {
    // The group may be gone already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// Ends the process group that a child leads: first with SIGTERM, then with SIGKILL after five seconds.
pub fn end_group(child: &mut Child) {
    end_group_by(child, &POLITELY);
}

pub(super) fn end_group_by(child: &mut Child, signals: &[(Signal, Duration)]) {
    let group = Pid::from_child(child);
    for (signal, grace) in signals.iter().copied() {
        // The group may have ended meanwhile.
        let _ = kill_process_group(group, signal);
        if matches!(wait(child, grace), Ok(Some(_))) {
            break;
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn a_tied_child_ends_with_the_thread_that_started_it() {
        let start = || tie(Command::new("sleep").arg("1000")).spawn().unwrap();
        let mut child = std::thread::spawn(start).join().unwrap();
        assert_eq!(wait(&mut child, Duration::from_secs(20)).unwrap().unwrap().signal(), Some(9));
    }

    #[test]
    fn waiting_without_a_deadline_ends_with_the_child_or_with_the_pipe() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        assert!(wait_or_stop(&mut child, &reader).unwrap().is_some());
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let stop = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            writer.write_all(b".").map(|()| writer)
        });
        assert_eq!(wait_or_stop(&mut child, &reader).unwrap(), None);
        drop(stop.join().unwrap().unwrap());
        let (reader, _) = io::pipe().unwrap();
        assert_eq!(wait_or_stop(&mut child, &reader).unwrap(), None, "the writer is gone");
        kill_group(&mut child);
    }

    #[test]
    fn a_process_group_ends_when_it_is_ended_or_killed() {
        for end in [kill_group, end_group] {
            let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
            assert_eq!(wait(&mut child, Duration::from_millis(50)).unwrap(), None);
            end(&mut child);
            assert!(wait(&mut child, Duration::ZERO).unwrap().is_some());
        }
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_killed() {
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        // As politely as ever, but with less time.
        let signals = POLITELY.map(|(signal, grace)| (signal, grace / 10));
        let began = Instant::now();
        end_group_by(&mut child, &signals);
        assert!(began.elapsed() >= signals[0].1, "it had time to clean up");
        assert_eq!(wait(&mut child, Duration::from_secs(20)).unwrap().unwrap().signal(), Some(9));
    }
}
