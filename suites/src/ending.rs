//! The ways in which a guest can end, and the component that each of them blames.

use crate::check::Stop;
use crate::outcome::{Component, FailureDetail};
use serde::{Deserialize, Serialize};

/// How a guest, its VMM or its filesystem daemon came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ending")]
pub enum Ending {
    /// The guest powered itself off and QEMU exited with 0.
    PoweredOff,
    /// The guest's kernel panicked.
    Panicked {
        /// The kernel's line.
        line: String,
    },
    /// The guest's kernel panicked, and QEMU crashed; whether QEMU damaged the guest first is not known.
    PanickedAndCrashed {
        /// The kernel's line.
        line: String,
        /// The signal that ended QEMU.
        signal: i32,
    },
    /// The guest's kernel oopsed and went on.
    Oopsed {
        /// The kernel's line.
        line: String,
    },
    /// QEMU runs and answers, the guest does not: its CPU spins or is stuck.
    Hung {
        /// How long nothing was heard of the guest, in seconds.
        silent: u64,
    },
    /// The QEMU process is stopped, or QEMU says that the guest is paused.
    VmmStopped {
        /// The source of this information.
        state: String,
    },
    /// KVM gave up on the guest: QEMU has paused it and keeps running.
    KvmGaveUp {
        /// QEMU's line.
        line: String,
    },
    /// A signal ended QEMU.
    VmmKilled {
        /// Its number.
        signal: i32,
    },
    /// QEMU runs and does not answer QMP.
    VmmMute,
    /// QEMU runs and has closed the serial line to the guest's agent.
    LineClosed,
    /// QEMU exited by itself before the guest powered off.
    VmmExited {
        /// Its exit code.
        code: i32,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// virtiofsd ended or crashed while the guest was running.
    DaemonDied {
        /// How virtiofsd ended, and the last lines of its standard error.
        how: String,
    },
    /// virtiofsd exited with 0 while the guest was running, as it does when QEMU disconnects or somebody asks it to
    /// exit.
    DaemonLeft {
        /// The last lines of its standard error.
        words: String,
    },
    /// A signal other than a crash's ended virtiofsd.
    DaemonKilled {
        /// Its number.
        signal: i32,
    },
    /// The virtiofsd process is stopped.
    DaemonStopped,
    /// QEMU and virtiofsd have both crashed; which of them first is not known.
    BothCrashed {
        /// The signal that ended QEMU.
        vmm: i32,
        /// How virtiofsd ended, and its last lines of output.
        daemon: String,
    },
}

/// Checks whether a signal is a program's own crash: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, or SIGSYS by
/// its own filter.
pub fn is_crash(signal: i32) -> bool {
    matches!(signal, 4..=8 | 11 | 31)
}

impl Ending {
    /// Turns an unexpected end into a stop, with `doing` in the message.
    ///
    /// A crash blames the component that crashed; a kill or a stop from outside blames nobody.
    pub fn stop(&self, doing: &str) -> Stop {
        let blame = |component, what: String| Stop::blame(component, format!("{doing}: {what}"));
        let nobody = |what: String| Stop::error(format!("{doing}: {what}"));
        match self {
            Ending::PoweredOff => blame(Component::Kernel, "the guest powered off by itself".to_owned()),
            Ending::Panicked { line } => blame(Component::Kernel, format!("the guest's kernel panicked: {line}")),
            Ending::PanickedAndCrashed { line, signal } => {
                nobody(format!("QEMU crashed with signal {signal}, and the guest's kernel panicked: {line}"))
            }
            Ending::Oopsed { line } => blame(Component::Kernel, format!("the guest's kernel oopsed: {line}")),
            Ending::Hung { silent } => blame(
                Component::Kernel,
                format!("the guest hangs: QEMU runs, its vCPU is busy, and nothing was heard for {silent} s"),
            ),
            Ending::VmmStopped { state } => nobody(format!("QEMU was stopped from outside ({state})")),
            Ending::KvmGaveUp { line } => nobody(format!("KVM gave up on the guest: {line}")),
            Ending::VmmKilled { signal } if is_crash(*signal) => {
                blame(Component::Qemu, format!("QEMU crashed with signal {signal}"))
            }
            Ending::VmmKilled { signal } => nobody(format!("QEMU was killed from outside with signal {signal}")),
            Ending::VmmExited { code, stderr } => {
                let detail = FailureDetail::of_qemu(stderr).unwrap_or(FailureDetail::Other);
                blame(Component::Qemu, format!("QEMU exited with {code}: {stderr}")).showing(detail)
            }
            Ending::VmmMute => blame(Component::Qemu, "QEMU runs and does not answer QMP".to_owned()),
            Ending::LineClosed => nobody("QEMU closed the guest's port, and runs".to_owned()),
            Ending::DaemonDied { how } => {
                let detail = FailureDetail::of_daemon(how).unwrap_or(FailureDetail::Other);
                blame(Component::Virtiofsd, format!("virtiofsd ended: {how}")).showing(detail)
            }
            Ending::DaemonLeft { words } => nobody(format!(
                "virtiofsd exited with 0 while QEMU runs, as when QEMU hangs up; which of them began is not known: {words}"
            )),
            Ending::DaemonKilled { signal } => {
                nobody(format!("virtiofsd was killed from outside with signal {signal}"))
            }
            Ending::DaemonStopped => nobody("virtiofsd was stopped from outside".to_owned()),
            Ending::BothCrashed { vmm, daemon } => {
                nobody(format!("QEMU crashed with signal {vmm} and virtiofsd, too, with {daemon}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_blames_the_component_in_the_table() {
        let line = || "line".to_owned();
        let rows = [
            (Ending::PoweredOff, Some(Component::Kernel)),
            (Ending::Panicked { line: line() }, Some(Component::Kernel)),
            (Ending::PanickedAndCrashed { line: line(), signal: 11 }, None),
            (Ending::Oopsed { line: line() }, Some(Component::Kernel)),
            (Ending::Hung { silent: 20 }, Some(Component::Kernel)),
            (Ending::VmmStopped { state: line() }, None),
            (Ending::KvmGaveUp { line: line() }, None),
            (Ending::VmmKilled { signal: 9 }, None),
            (Ending::VmmKilled { signal: 11 }, Some(Component::Qemu)),
            (Ending::VmmExited { code: 1, stderr: line() }, Some(Component::Qemu)),
            (Ending::VmmMute, Some(Component::Qemu)),
            (Ending::LineClosed, None),
            (Ending::DaemonDied { how: line() }, Some(Component::Virtiofsd)),
            (Ending::DaemonLeft { words: line() }, None),
            (Ending::DaemonKilled { signal: 9 }, None),
            (Ending::DaemonStopped, None),
            (Ending::BothCrashed { vmm: 11, daemon: line() }, None),
        ];
        for (ending, expected) in rows {
            match (ending.stop("doing it"), expected) {
                (Stop::Fail { blames, message, .. }, Some(expected)) => {
                    assert_eq!(blames, Some(expected), "{ending:?}");
                    assert!(message.starts_with("doing it: "), "{message}");
                }
                (Stop::Error { message }, None) => assert!(message.starts_with("doing it: "), "{message}"),
                (stop, _) => panic!("{ending:?}: {stop:?}"),
            }
        }
    }

    #[test]
    fn a_refused_argument_is_in_the_detail() {
        let shown = |ending: Ending| match ending.stop("starting it") {
            Stop::Fail { detail, .. } => *detail,
            stop => panic!("{stop:?}"),
        };
        let exited = |stderr: &str| shown(Ending::VmmExited { code: 1, stderr: stderr.to_owned() });
        let [flag, value, words] = ["-m", "x", "no number"].map(str::to_owned);
        assert_eq!(exited("qemu: -m x: no number"), FailureDetail::QemuRefusal { flag, value, words });
        assert_eq!(exited("qemu: no memory"), FailureDetail::Other);
        let died = |how: &str| shown(Ending::DaemonDied { how: how.to_owned() });
        let said = "fuse: unknown option(s): `-x'".to_owned();
        assert_eq!(died(&format!("exit code 1: {said}")), FailureDetail::DaemonLacksFlag { said });
        assert_eq!(died("signal 11: "), FailureDetail::Other);
    }
}
