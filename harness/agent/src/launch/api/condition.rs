//! The condition of a guest of another VMM, judged from all observations by the table for QEMU's guests, in its VMM's
//! name.

use super::ApiGuest;
use crate::launch::ending::{GuestSigns, ProcessEnd, ProcessState, QmpAnswer, judge};
use crate::process::wait;
use model::foreign::linux::{oops_line, panic_line, says_its_end};
use protocol::client::{Client, ClientError};
use rustix::process::Signal;
use std::process::ExitStatus;
use std::time::Duration;
use suites::check::Stop;
use suites::ending::is_crash;
use suites::environment::{Daemon as _, Ending};
use suites::outcome::Component;
use vmms::http::HttpError;
use vmms::vmm::{Kind, ping};

impl ApiGuest {
    /// Returns whether the VMM has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.ended = self.ended.or(wait(&mut self.process, Duration::ZERO).ok().flatten());
        self.ended.is_some()
    }

    /// Returns how the guest ended, or the problem that it has; waits at most `within` for the end of the VMM's
    /// process.
    pub(super) fn ending(&mut self, within: Duration) -> Option<Ending> {
        self.ended = self.ended.or(wait(&mut self.process, within).ok().flatten());
        let signs = self.signs();
        judge(&signs)
    }

    /// Returns the stop for an unexpected end, if the guest has ended.
    pub(super) fn unexpected_end(&mut self, within: Duration, doing: &str) -> Option<Stop> {
        let ending = self.ending(within)?;
        Some(stop_of(&ending, self.vmm, doing, &self.serial.text()))
    }

    /// Returns the stop for an unexpected end, after waiting for it; if there is none, `otherwise` is blamed for what
    /// was seen.
    pub(super) fn why(&mut self, doing: &str, observed: &str, otherwise: Component) -> Stop {
        self.unexpected_end(self.deadlines.end, doing).unwrap_or_else(|| {
            let last = self.serial.last_lines(3);
            Stop::blame(otherwise, format!("{doing}: {observed}; last on the serial console: {last}"))
        })
    }

    /// Returns the stop for a guest whose agent does not answer.
    pub(super) fn lost(&mut self, doing: &str, error: &ClientError) -> Stop {
        match error {
            ClientError::Version(_) | ClientError::Encode(_) => Stop::error(format!("{doing}: {error}")),
            ClientError::Ended | ClientError::Late(_) | ClientError::Write(_) => {
                self.why(doing, &error.to_string(), Component::Kernel)
            }
        }
    }

    fn signs(&mut self) -> GuestSigns {
        if self.ended.is_some() {
            self.serial.settle();
            self.words.settle();
        }
        let serial = self.serial.text();
        let daemon_has = if self.ended.is_some() { self.deadlines.daemon_end } else { Duration::ZERO };
        let mut signs = GuestSigns {
            panic: panic_line(&serial),
            oops: oops_line(&serial),
            // Only QEMU gives up in this way.
            gave_up: None,
            vmm: match self.ended {
                Some(status) => ProcessState::Ended { end: end_of(self.kind, status), words: self.words.last_lines(4) },
                None => ProcessState::of_running(self.process.id()),
            },
            daemon: self.daemon.as_mut().map(|daemon| match daemon.end(daemon_has) {
                Some(end) => ProcessState::Ended { end, words: daemon.last_lines() },
                None => ProcessState::of_running(daemon.pid()),
            }),
            line_ended: self.agent.as_ref().is_some_and(Client::ended),
            silent: None,
            qmp: None,
        };
        let silent = self.agent.as_ref().map_or(Duration::ZERO, Client::silent_for);
        if silent >= self.deadlines.silence && signs.vmm == ProcessState::Runs {
            signs.silent = Some(silent.as_secs());
            signs.qmp = Some(match ping(self.kind).send(&self.api(), self.deadlines.qmp) {
                Ok(_) | Err(HttpError::Refused { .. }) => QmpAnswer::Running,
                Err(HttpError::Line { .. } | HttpError::Answer { .. }) => QmpAnswer::Nothing,
            });
        }
        signs
    }
}

/// Returns how the VMM's process ended. Firecracker has exit codes of its own for the signal that ended it, and for
/// refused arguments (153) and a refused file (152): `FcExitCode` in src/vmm/src/lib.rs of its version 1.12.1. They
/// look like a shell's codes, but have other meanings.
fn end_of(kind: Kind, status: ExitStatus) -> ProcessEnd {
    let signal = match (kind, status.code()) {
        (Kind::Firecracker, Some(148)) => Signal::SYS,
        (Kind::Firecracker, Some(149)) => Signal::BUS,
        (Kind::Firecracker, Some(150)) => Signal::SEGV,
        (Kind::Firecracker, Some(151)) => Signal::XFSZ,
        (Kind::Firecracker, Some(154)) => Signal::XCPU,
        (Kind::Firecracker, Some(155)) => Signal::PIPE,
        (Kind::Firecracker, Some(156)) => Signal::HUP,
        (Kind::Firecracker, Some(157)) => Signal::ILL,
        (Kind::Firecracker, Some(code @ (152 | 153))) => return ProcessEnd::Code(code),
        (Kind::Firecracker | Kind::CloudHypervisor, _) => return ProcessEnd::of(status),
    };
    ProcessEnd::Signal(signal.as_raw())
}

/// Returns the stop for an unexpected end: as [`Ending::stop`], but with the VMM's name; `serial` is the output of its
/// guest's kernel.
fn stop_of(ending: &Ending, vmm: Component, doing: &str, serial: &str) -> Stop {
    let blame = |what: String| Stop::blame(vmm, format!("{doing}: {what}"));
    let nobody = |what: String| Stop::error(format!("{doing}: {what}"));
    match ending {
        // Cloud Hypervisor exits with 0 on SIGTERM, as it does after its guest has powered off.
        Ending::PoweredOff if !says_its_end(serial) => {
            nobody(format!("{vmm} exited with 0, and its guest said nothing of powering off"))
        }
        Ending::Hung { silent } => {
            let what =
                format!("{doing}: the guest hangs: {vmm} runs and answers, and nothing was heard for {silent} s");
            Stop::blame(Component::Kernel, what)
        }
        Ending::VmmStopped { state } => nobody(format!("{vmm} was stopped from outside ({state})")),
        Ending::VmmKilled { signal } if is_crash(*signal) => blame(format!("{vmm} crashed with signal {signal}")),
        Ending::VmmKilled { signal } => nobody(format!("{vmm} was killed from outside with signal {signal}")),
        Ending::VmmMute => blame(format!("{vmm} runs and does not answer its API")),
        Ending::LineClosed => nobody(format!("{vmm} closed the line to the guest's agent, and runs")),
        Ending::VmmExited { code, stderr } => blame(format!("{vmm} exited with {code}: {stderr}")),
        Ending::DaemonLeft { words } => nobody(format!(
            "virtiofsd exited with 0 while {vmm} runs, as when that hangs up; which of them began is not known: {words}"
        )),
        Ending::PanickedAndCrashed { line, signal } => {
            nobody(format!("{vmm} crashed with signal {signal}, and the guest's kernel panicked: {line}"))
        }
        Ending::BothCrashed { vmm: signal, daemon } => {
            nobody(format!("{vmm} crashed with signal {signal} and virtiofsd, too, with {daemon}"))
        }
        Ending::PoweredOff
        | Ending::Panicked { .. }
        | Ending::Oopsed { .. }
        | Ending::KvmGaveUp { .. }
        | Ending::DaemonDied { .. }
        | Ending::DaemonKilled { .. }
        | Ending::DaemonStopped => ending.stop(doing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn blamed(ending: &Ending, serial: &str) -> Option<Component> {
        match stop_of(ending, Component::CloudHypervisor, "asking the guest", serial) {
            Stop::Fail { message, blames, .. } => {
                assert!(!message.contains("QEMU"), "{message}");
                blames
            }
            Stop::Error { message } => {
                assert!(!message.contains("QEMU"), "{message}");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_ending_blames_its_component_or_nobody() {
        let (vmm, kernel) = (Some(Component::CloudHypervisor), Some(Component::Kernel));
        let text = str::to_owned;
        for (ending, expected) in [
            (Ending::VmmKilled { signal: 11 }, vmm),
            (Ending::VmmKilled { signal: 9 }, None),
            (Ending::VmmExited { code: 1, stderr: text("no kernel") }, vmm),
            (Ending::VmmMute, vmm),
            (Ending::VmmStopped { state: text("T") }, None),
            (Ending::LineClosed, None),
            (Ending::Hung { silent: 60 }, kernel),
            (Ending::Panicked { line: text("panic") }, kernel),
            (Ending::PanickedAndCrashed { line: text("panic"), signal: 11 }, None),
            (Ending::DaemonDied { how: text("exit code 1") }, Some(Component::Virtiofsd)),
            (Ending::DaemonLeft { words: text("bye") }, None),
            (Ending::BothCrashed { vmm: 11, daemon: text("signal 11") }, None),
        ] {
            assert_eq!(blamed(&ending, ""), expected, "{ending:?}");
        }
        assert_eq!(blamed(&Ending::PoweredOff, "reboot: Power down"), kernel);
        assert_eq!(blamed(&Ending::PoweredOff, ""), None, "somebody may have asked it to end");
    }

    #[test]
    fn firecrackers_exit_codes_differ_from_a_shells() {
        let exited = |kind, code: i32| end_of(kind, ExitStatus::from_raw(code << 8));
        assert_eq!(exited(Kind::Firecracker, 152), ProcessEnd::Code(152));
        assert_eq!(exited(Kind::Firecracker, 148), ProcessEnd::Signal(31));
        assert_eq!(exited(Kind::Firecracker, 137), ProcessEnd::Signal(9), "a wrapper's");
        assert_eq!(exited(Kind::Firecracker, 1), ProcessEnd::Code(1));
        assert_eq!(exited(Kind::CloudHypervisor, 150), ProcessEnd::Signal(22));
    }
}
