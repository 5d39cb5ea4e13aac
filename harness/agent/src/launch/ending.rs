//! How a guest ended: one table over all observations, in which the first matching row applies.
//!
//! Nothing is judged by the first sign alone: the end of a line, the end of a daemon and a kernel's last message may
//! all result from the same crash, so [`crate::launch::running`] waits for the processes first and then passes all
//! signs at once.
//!
//! # The table
//!
//! | ending | recognized by | blames |
//! |---|---|---|
//! | KVM gave up | QEMU's line on standard error, in any combination: on a broken KVM, a guest's behaviour proves nothing | no component: `error` |
//! | panicked and crashed | the kernel's line on the serial log or `hvc0`, and a crash signal that ended QEMU: a QEMU that breaks its guest may crash, too | no component: `error`; if a test made the guest panic, qemu |
//! | panicked | the kernel's line, in any other combination | kernel |
//! | VMM crashed | SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, or 128 and that number from a wrapper | qemu |
//! | both crashed | the same for QEMU and for virtiofsd | no component: `error` |
//! | VMM killed | a signal other than a crash signal; exit code 0 after "terminating on signal", because QEMU exits so on SIGTERM | no component: `error` |
//! | VMM exited | any other exit code | qemu, with its last lines; virtiofsd, if a crash or a panic (exit code 101) ended it; no component: `error`, if another signal ended it |
//! | powered off, unasked | QEMU's exit code 0 otherwise, and virtiofsd ended neither by a signal nor by a panic | kernel; otherwise as for a daemon that died or was killed |
//! | daemon died | virtiofsd's crash or exit with an error while QEMU runs | virtiofsd |
//! | daemon left | virtiofsd's exit code 0 while QEMU runs, as when QEMU closes the connection | no component: `error` |
//! | daemon killed, daemon stopped | a signal other than a crash signal; process state `T` | no component: `error` |
//! | VMM stopped | process state `T`, or QMP reports that it is paused | no component: `error` |
//! | oopsed | the kernel's line, while the guest goes on | kernel |
//! | line closed | QEMU runs and has closed the guest's port | no component: `error` |
//! | hung | no heartbeat for 20 s (nested: 60 s), QEMU runs, QMP reports `running` | kernel |
//! | VMM mute | the same, and QMP does not answer | qemu |
//!
//! A line ends a moment before the process that held it can be reaped, so QEMU's end is awaited before anything is
//! judged.
//! A guest that answers but does not finish within a test's deadline fails that test, and the test's component is
//! blamed; with a share by virtiofsd, [`crate::launch::late`] decides.
//! Guests of other VMMs are judged by the same table, with their VMM's name and its API in place of QMP
//! ([`crate::launch::api`]).
//! A guest that panicked, oopsed, went silent or lost its VMM serves no further test; the remaining tests run in a new
//! guest.

use crate::process;
use model::foreign::qemu::ends_on_signal;
use suites::ending::{Ending, is_crash};

/// Observations of a guest that gave no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuestSigns {
    /// The kernel's line about its panic.
    pub(crate) panic: Option<String>,
    /// The kernel's line about an oops.
    pub(crate) oops: Option<String>,
    /// QEMU's line if KVM gave up on the guest.
    pub(crate) gave_up: Option<String>,
    /// State of QEMU.
    pub(crate) vmm: ProcessState,
    /// State of virtiofsd, if the guest has one.
    pub(crate) daemon: Option<ProcessState>,
    /// Whether QEMU has closed the line to the guest's agent.
    pub(crate) line_ended: bool,
    /// Seconds for which the guest has been silent, if that is too long.
    pub(crate) silent: Option<u64>,
    /// QMP's answer about a silent guest; only asked for such a guest.
    pub(crate) qmp: Option<QmpAnswer>,
}

/// A program under test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// The program runs.
    #[default]
    Runs,
    /// A signal stopped it (process state `T`).
    Stopped,
    /// The program has ended.
    Ended {
        /// How it ended.
        end: ProcessEnd,
        /// Its last lines.
        words: String,
    },
}

impl ProcessState {
    /// Returns the state of a process that has not been reaped: stopped, or else running.
    pub(crate) fn of_running(pid: u32) -> ProcessState {
        if process::state(pid) == Some('T') { ProcessState::Stopped } else { ProcessState::Runs }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessEnd {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// QMP's answer to `query-status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QmpAnswer {
    /// The guest runs.
    Running,
    /// Another status.
    Other(String),
    /// No answer.
    Nothing,
}

impl ProcessEnd {
    /// Returns the end of a process; a shell that waits for the real program repeats its fatal signal as 128 and the
    /// number.
    pub(crate) fn of(status: std::process::ExitStatus) -> ProcessEnd {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code @ 129..=192), _) => ProcessEnd::Signal(code - 128),
            (Some(code), _) => ProcessEnd::Code(code),
            (None, signal) => ProcessEnd::Signal(signal.unwrap_or(0)),
        }
    }

    /// Returns the end of QEMU, as [`ProcessEnd::of`]. QEMU exits with 0 on SIGTERM, SIGINT and SIGHUP, as it does
    /// after its guest has powered off; its message distinguishes the cases.
    pub(crate) fn of_qemu(status: std::process::ExitStatus, stderr: &str) -> ProcessEnd {
        match (ProcessEnd::of(status), ends_on_signal(stderr)) {
            (ProcessEnd::Code(0), Some(signal)) => ProcessEnd::Signal(signal),
            (end, _) => end,
        }
    }

    fn is_crash(self) -> bool {
        match self {
            ProcessEnd::Signal(signal) => is_crash(signal),
            ProcessEnd::Code(code) => code == RUST_PANIC,
        }
    }

    /// Returns whether a signal or a panic ended it.
    fn is_by_signal_or_panic(self) -> bool {
        matches!(self, ProcessEnd::Signal(_) | ProcessEnd::Code(RUST_PANIC))
    }
}

/// Exit code of a Rust program whose main thread panicked.
const RUST_PANIC: i32 = 101;

impl std::fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProcessEnd::Code(code) => write!(f, "exit code {code}"),
            ProcessEnd::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Returns the ending by the first matching row of the table; `None` if nothing is wrong.
pub(crate) fn judge(signs: &GuestSigns) -> Option<Ending> {
    use ProcessState::{Ended, Stopped};
    if let Some(line) = &signs.gave_up {
        return Some(Ending::KvmGaveUp { line: line.clone() });
    }
    let daemon = signs.daemon.as_ref();
    Some(match (&signs.panic, &signs.vmm, daemon) {
        // No guest may crash QEMU, whatever it does; such a QEMU may have broken the guest before.
        (Some(line), Ended { end: ProcessEnd::Signal(signal), .. }, _) if is_crash(*signal) => {
            Ending::PanickedAndCrashed { line: line.clone(), signal: *signal }
        }
        // The kernel's last message has precedence over other effects of its death.
        (Some(line), _, _) => Ending::Panicked { line: line.clone() },
        // Two crashes at once: their order is unknown.
        (_, Ended { end: ProcessEnd::Signal(signal), .. }, Some(Ended { end, words }))
            if is_crash(*signal) && end.is_crash() =>
        {
            Ending::BothCrashed { vmm: *signal, daemon: format!("{end}: {words}") }
        }
        // A QEMU that exits after its daemon has crashed, or was killed, is not at fault.
        (_, Ended { end: ProcessEnd::Code(1..), .. }, Some(Ended { end, words })) if end.is_by_signal_or_panic() => {
            daemon_ended(*end, words)
        }
        (_, Ended { end: ProcessEnd::Code(0), .. }, daemon) => match (&signs.oops, daemon) {
            (Some(line), _) => Ending::Oopsed { line: line.clone() },
            // A guest may well power off if its files are gone.
            (None, Some(Ended { end, words })) if end.is_by_signal_or_panic() => daemon_ended(*end, words),
            (None, _) => Ending::PoweredOff,
        },
        (_, Ended { end, words }, _) => vmm_ended(*end, words),
        (_, _, Some(Ended { end, words })) => daemon_ended(*end, words),
        (_, Stopped, _) => Ending::VmmStopped { state: "its process is in state T".to_owned() },
        (_, _, Some(Stopped)) => Ending::DaemonStopped,
        _ => return judge_running(signs),
    })
}

/// The rows with all processes running.
fn judge_running(signs: &GuestSigns) -> Option<Ending> {
    if let Some(line) = &signs.oops {
        return Some(Ending::Oopsed { line: line.clone() });
    }
    if signs.line_ended {
        return Some(Ending::LineClosed);
    }
    let silent = signs.silent?;
    match signs.qmp.as_ref()? {
        QmpAnswer::Running => Some(Ending::Hung { silent }),
        QmpAnswer::Other(status) => Some(Ending::VmmStopped { state: format!("QMP says {status}") }),
        QmpAnswer::Nothing => Some(Ending::VmmMute),
    }
}

/// Returns the ending of a guest whose QEMU has ended, by itself or by a signal.
pub(crate) fn vmm_ended(end: ProcessEnd, words: &str) -> Ending {
    match end {
        ProcessEnd::Signal(signal) => Ending::VmmKilled { signal },
        ProcessEnd::Code(0) => Ending::PoweredOff,
        ProcessEnd::Code(code) => Ending::VmmExited { code, stderr: words.to_owned() },
    }
}

/// Returns the ending of a guest whose daemon has ended.
pub(crate) fn daemon_ended(end: ProcessEnd, words: &str) -> Ending {
    match end {
        ProcessEnd::Signal(signal) if !is_crash(signal) => Ending::DaemonKilled { signal },
        ProcessEnd::Code(0) => Ending::DaemonLeft { words: words.to_owned() },
        end => Ending::DaemonDied { how: format!("{end}: {words}") },
    }
}

#[cfg(test)]
mod tests;
