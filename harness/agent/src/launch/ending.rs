//! How a guest came to an end: one table from all that is known of it, the first row that fits.
//!
//! Nothing is judged by the first sign alone: a line that ends, a daemon that goes and a kernel's last words may all come
//! of the same crash, so [`crate::launch`] awaits the processes first and then hands over every fact at once.

use suites::ending::{Ending, is_crash};

/// What is known of a guest that gave no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's line about its panic.
    pub panic: Option<String>,
    /// The kernel's line about an oops.
    pub oops: Option<String>,
    /// QEMU.
    pub vmm: Process,
    /// virtiofsd, if the guest has one.
    pub daemon: Option<Process>,
    /// Whether QEMU has closed the line to the guest's agent.
    pub line_ended: bool,
    /// For how many seconds the guest has been silent, if that is too long.
    pub silent: Option<u64>,
    /// What QMP says of a silent guest; nobody else is asked about.
    pub qmp: Option<Qmp>,
}

/// A program under test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Process {
    /// It runs.
    #[default]
    Runs,
    /// A signal stopped it (process state `T`).
    Stopped,
    /// It has ended.
    Ended {
        /// How.
        end: End,
        /// Its last words.
        words: String,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What QMP answered to `query-status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qmp {
    /// That the guest runs.
    Running,
    /// Something else.
    Other(String),
    /// Nothing.
    Nothing,
}

impl End {
    /// By `status`; a shell that waits for the real program repeats the signal that ended it as 128 and its number.
    pub fn of(status: std::process::ExitStatus) -> End {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code @ 129..=192), _) => End::Signal(code - 128),
            (Some(code), _) => End::Code(code),
            (None, signal) => End::Signal(signal.unwrap_or(0)),
        }
    }

    /// As [`End::of`], for QEMU, which obeys SIGTERM, SIGINT and SIGHUP by exiting with 0, as it does after its guest has
    /// powered off; what it says then tells the two apart (QEMU 0.11 and later, `qemu_kill_report`).
    pub fn of_qemu(status: std::process::ExitStatus, said: &str) -> End {
        let signal = said.lines().find_map(|line| {
            let rest = line.split_once("terminating on signal ")?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        match (End::of(status), signal) {
            (End::Code(0), Some(signal)) => End::Signal(signal),
            (end, _) => end,
        }
    }

    fn is_crash(self) -> bool {
        match self {
            End::Signal(signal) => is_crash(signal),
            End::Code(code) => code == RUST_PANIC,
        }
    }
}

/// With what a Rust program ends whose main thread panicked.
const RUST_PANIC: i32 = 101;

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Code(code) => write!(f, "exit code {code}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The table: the first row that fits is the ending; `None` if nothing is wrong.
pub fn judge(facts: &Facts) -> Option<Ending> {
    use Process::{Ended, Stopped};
    let daemon = facts.daemon.as_ref();
    Some(match (&facts.panic, &facts.vmm, daemon) {
        // The kernel's last words come before whatever its death brings about.
        (Some(line), _, _) => Ending::Panicked { line: line.clone() },
        // Two crashes at once: which of them led to the other is not known.
        (_, Ended { end: End::Signal(signal), .. }, Some(Ended { end, words }))
            if is_crash(*signal) && end.is_crash() =>
        {
            Ending::BothCrashed { vmm: *signal, daemon: format!("{end}: {words}") }
        }
        (_, Ended { end: End::Signal(signal), .. }, _) => Ending::VmmKilled { signal: *signal },
        // A QEMU that gives up after its daemon has crashed, or was killed, is not at fault.
        (_, Ended { end: End::Code(1..), .. }, Some(Ended { end, words }))
            if end.is_crash() || matches!(end, End::Signal(_)) =>
        {
            daemon_ended(*end, words)
        }
        (_, Ended { end: End::Code(0), .. }, daemon) => match (&facts.oops, daemon) {
            (Some(line), _) => Ending::Oopsed { line: line.clone() },
            // A guest may well give up when its files are gone.
            (None, Some(Ended { end, words })) if end.is_crash() || matches!(end, End::Signal(_)) => {
                daemon_ended(*end, words)
            }
            (None, _) => Ending::PoweredOff,
        },
        (_, Ended { end: End::Code(code), words }, _) => Ending::VmmExited { code: *code, stderr: words.clone() },
        (_, _, Some(Ended { end, words })) => daemon_ended(*end, words),
        (_, Stopped, _) => Ending::VmmStopped { state: "its process is in state T".to_owned() },
        (_, _, Some(Stopped)) => Ending::DaemonStopped,
        _ => return judge_the_living(facts),
    })
}

/// The rows where every process runs.
fn judge_the_living(facts: &Facts) -> Option<Ending> {
    if let Some(line) = &facts.oops {
        return Some(Ending::Oopsed { line: line.clone() });
    }
    if facts.line_ended {
        return Some(Ending::LineClosed);
    }
    let silent = facts.silent?;
    match facts.qmp.as_ref()? {
        Qmp::Running => Some(Ending::Hung { silent }),
        Qmp::Other(status) => Some(Ending::VmmStopped { state: format!("QMP says {status}") }),
        Qmp::Nothing => Some(Ending::VmmMute),
    }
}

/// The ending of a guest whose QEMU was not there any more.
pub fn vmm_ended(end: End, words: &str) -> Ending {
    match end {
        End::Signal(signal) => Ending::VmmKilled { signal },
        End::Code(0) => Ending::PoweredOff,
        End::Code(code) => Ending::VmmExited { code, stderr: words.to_owned() },
    }
}

/// The ending of a guest whose daemon went away.
pub fn daemon_ended(end: End, words: &str) -> Ending {
    match end {
        End::Signal(signal) if !is_crash(signal) => Ending::DaemonKilled { signal },
        End::Code(0) => Ending::DaemonLeft { words: words.to_owned() },
        end => Ending::DaemonDied { how: format!("{end}: {words}") },
    }
}

/// Beginnings of the lines by which a Linux kernel reports its own death.
const PANIC: &[&str] = &["Kernel panic - not syncing"];
/// What a Linux kernel that stumbles and goes on prints.
const OOPS: &[&str] =
    &["Oops:", "BUG: unable to handle", "kernel BUG at", "general protection fault", "invalid opcode:"];

/// The line with which the kernel reported a panic.
pub fn panic_line(log: &str) -> Option<String> {
    find(log, PANIC)
}

/// The line with which the kernel reported an oops.
pub fn oops_line(log: &str) -> Option<String> {
    find(log, OOPS)
}

fn find(log: &str, patterns: &[&str]) -> Option<String> {
    let line = log.lines().find(|line| patterns.iter().any(|p| line.contains(p)))?;
    Some(line.trim().chars().take(200).collect())
}

/// The process state letter in `/proc/PID/stat`; `T` is stopped.
pub fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may contain anything, also `)`; the state follows the last one.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests;
