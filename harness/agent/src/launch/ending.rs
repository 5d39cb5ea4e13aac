//! How a guest came to an end: one table of all that is known of it, the first row that fits.
//!
//! Nothing is judged by the first sign alone: a line that ends, a daemon that goes and a kernel's last words may all come
//! of the same crash, so [`crate::launch::running`] awaits the processes first and then hands over every sign at once.
//!
//! # The table
//!
//! | ending | told by | blames |
//! |---|---|---|
//! | KVM gave up | QEMU's line on standard error, whatever went with it: what a guest does on a broken KVM says nothing of it | nobody: `error` |
//! | panicked and crashed | the kernel's line on the serial log or `hvc0`, and a signal of a crash that ended QEMU: one that breaks its guest may crash, too | nobody: `error`; where a test made the guest panic, qemu |
//! | panicked | the kernel's line, whatever else went with it | kernel |
//! | VMM crashed | SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, or 128 and that number from a wrapper | qemu |
//! | both crashed | the same of QEMU and of virtiofsd | nobody: `error` |
//! | VMM killed | a signal that is none of a crash; exit code 0 after "terminating on signal", because that is how QEMU obeys SIGTERM | nobody: `error` |
//! | VMM exited | any other exit code | qemu, with its last words; where a crash, or a panic (exit code 101), ended virtiofsd, that; where another signal did, nobody: `error` |
//! | powered off, unasked | QEMU's exit code 0 otherwise, and virtiofsd ended neither by a signal nor by a panic | kernel; else as for a daemon that died or was killed |
//! | daemon died | virtiofsd's crash or exit with an error while QEMU runs | virtiofsd |
//! | daemon left | virtiofsd's exit code 0 while QEMU runs, as when QEMU hangs up | nobody: `error` |
//! | daemon killed, daemon stopped | a signal that is none of a crash; process state `T` | nobody: `error` |
//! | VMM stopped | process state `T`, or QMP says that it is paused | nobody: `error` |
//! | oopsed | the kernel's line, while the guest goes on | kernel |
//! | line closed | QEMU runs and has closed the guest's port | nobody: `error` |
//! | hung | no heartbeat for 20 s (nested: 60 s), QEMU runs, QMP says `running` | kernel |
//! | VMM mute | the same, and QMP says nothing | qemu |
//!
//! A line ends a moment before the process that held it can be reaped, so QEMU's end is awaited before anything is
//! judged.
//! A guest that answers and does not finish within a test's deadline fails that test and blames what the test blames;
//! with a share by virtiofsd, [`crate::launch::late`] says whom.
//! Guests of VMMs besides QEMU are judged by the same table, in their VMM's name and by its API in the place of QMP
//! ([`crate::launch::api`]).
//! A guest that panicked, oopsed, went silent or lost its VMM serves no further test; the rest goes on in a new one.

use crate::process;
use suites::ending::{Ending, is_crash};

/// What is known of a guest that gave no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuestSigns {
    /// The kernel's line about its panic.
    pub(crate) panic: Option<String>,
    /// The kernel's line about an oops.
    pub(crate) oops: Option<String>,
    /// QEMU's line about a KVM that gave up on the guest.
    pub(crate) gave_up: Option<String>,
    /// QEMU.
    pub(crate) vmm: ProcessState,
    /// virtiofsd, if the guest has one.
    pub(crate) daemon: Option<ProcessState>,
    /// Whether QEMU has closed the line to the guest's agent.
    pub(crate) line_ended: bool,
    /// For how many seconds the guest has been silent, if that is too long.
    pub(crate) silent: Option<u64>,
    /// What QMP says of a silent guest; nobody else is asked about.
    pub(crate) qmp: Option<QmpAnswer>,
}

/// A program under test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// It runs.
    #[default]
    Runs,
    /// A signal stopped it (process state `T`).
    Stopped,
    /// It has ended.
    Ended {
        /// How.
        end: ProcessEnd,
        /// Its last words.
        words: String,
    },
}

impl ProcessState {
    /// Of a process that has not been reaped: stopped, or else running.
    pub(crate) fn of_the_living(pid: u32) -> ProcessState {
        if process::state(pid) == Some('T') { ProcessState::Stopped } else { ProcessState::Runs }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessEnd {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What QMP answered to `query-status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QmpAnswer {
    /// That the guest runs.
    Running,
    /// Something else.
    Other(String),
    /// Nothing.
    Nothing,
}

impl ProcessEnd {
    /// By `status`; a shell that waits for the real program repeats the signal that ended it as 128 and its number.
    pub(crate) fn of(status: std::process::ExitStatus) -> ProcessEnd {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code @ 129..=192), _) => ProcessEnd::Signal(code - 128),
            (Some(code), _) => ProcessEnd::Code(code),
            (None, signal) => ProcessEnd::Signal(signal.unwrap_or(0)),
        }
    }

    /// As [`ProcessEnd::of`], for QEMU, which obeys SIGTERM, SIGINT and SIGHUP by exiting with 0, as it does after its guest has
    /// powered off; what it says then tells the two apart (QEMU 0.11 and later, `qemu_kill_report`).
    pub(crate) fn of_qemu(status: std::process::ExitStatus, said: &str) -> ProcessEnd {
        let signal = said.lines().find_map(|line| {
            let rest = line.split_once("terminating on signal ")?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        match (ProcessEnd::of(status), signal) {
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

    /// Whether it did not come to its end by itself: any signal ended it, or a panic.
    fn is_by_signal_or_panic(self) -> bool {
        matches!(self, ProcessEnd::Signal(_) | ProcessEnd::Code(RUST_PANIC))
    }
}

/// With what a Rust program ends whose main thread panicked.
const RUST_PANIC: i32 = 101;

impl std::fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProcessEnd::Code(code) => write!(f, "exit code {code}"),
            ProcessEnd::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The table: the first row that fits is the ending; `None` if nothing is wrong.
pub(crate) fn judge(signs: &GuestSigns) -> Option<Ending> {
    use ProcessState::{Ended, Stopped};
    if let Some(line) = &signs.gave_up {
        return Some(Ending::KvmGaveUp { line: line.clone() });
    }
    let daemon = signs.daemon.as_ref();
    Some(match (&signs.panic, &signs.vmm, daemon) {
        // No guest may crash QEMU, whatever it does; a QEMU that does so may have broken the guest before.
        (Some(line), Ended { end: ProcessEnd::Signal(signal), .. }, _) if is_crash(*signal) => {
            Ending::PanickedAndCrashed { line: line.clone(), signal: *signal }
        }
        // The kernel's last words come before whatever else its death causes.
        (Some(line), _, _) => Ending::Panicked { line: line.clone() },
        // Two crashes at once: which of them led to the other is not known.
        (_, Ended { end: ProcessEnd::Signal(signal), .. }, Some(Ended { end, words }))
            if is_crash(*signal) && end.is_crash() =>
        {
            Ending::BothCrashed { vmm: *signal, daemon: format!("{end}: {words}") }
        }
        // A QEMU that gives up after its daemon has crashed, or was killed, is not at fault.
        (_, Ended { end: ProcessEnd::Code(1..), .. }, Some(Ended { end, words })) if end.is_by_signal_or_panic() => {
            daemon_ended(*end, words)
        }
        (_, Ended { end: ProcessEnd::Code(0), .. }, daemon) => match (&signs.oops, daemon) {
            (Some(line), _) => Ending::Oopsed { line: line.clone() },
            // A guest may well give up when its files are gone.
            (None, Some(Ended { end, words })) if end.is_by_signal_or_panic() => daemon_ended(*end, words),
            (None, _) => Ending::PoweredOff,
        },
        (_, Ended { end, words }, _) => vmm_ended(*end, words),
        (_, _, Some(Ended { end, words })) => daemon_ended(*end, words),
        (_, Stopped, _) => Ending::VmmStopped { state: "its process is in state T".to_owned() },
        (_, _, Some(Stopped)) => Ending::DaemonStopped,
        _ => return judge_the_living(signs),
    })
}

/// The rows where every process runs.
fn judge_the_living(signs: &GuestSigns) -> Option<Ending> {
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

/// The ending of a guest whose QEMU has ended, by itself or by a signal.
pub(crate) fn vmm_ended(end: ProcessEnd, words: &str) -> Ending {
    match end {
        ProcessEnd::Signal(signal) => Ending::VmmKilled { signal },
        ProcessEnd::Code(0) => Ending::PoweredOff,
        ProcessEnd::Code(code) => Ending::VmmExited { code, stderr: words.to_owned() },
    }
}

/// The ending of a guest whose daemon went away.
pub(crate) fn daemon_ended(end: ProcessEnd, words: &str) -> Ending {
    match end {
        ProcessEnd::Signal(signal) if !is_crash(signal) => Ending::DaemonKilled { signal },
        ProcessEnd::Code(0) => Ending::DaemonLeft { words: words.to_owned() },
        end => Ending::DaemonDied { how: format!("{end}: {words}") },
    }
}

#[cfg(test)]
mod tests;
