//! The condition of a guest, judged from all observations at once.

use super::RunningGuest;
use crate::launch::ending::{GuestSigns, ProcessEnd, ProcessState, QmpAnswer, judge};
use crate::launch::late::{Heard, ShareFacts};
use crate::launch::{memory, virtio_fs};
use crate::process::wait;
use model::foreign::linux::{oops_line, panic_line};
use model::foreign::qemu::kvm_error;
use protocol::client::Client;
use qemu::qmp::QmpError;
use serde_json::{Value, json};
use std::time::Duration;
use suites::check::Stop;
use suites::environment::{Daemon as _, Ending};
use suites::outcome::{Component, FailureDetail};

impl RunningGuest {
    /// Returns the observable facts about the share after a request, given how often virtiofsd had gone to sleep before
    /// it; `None` without a daemon.
    pub(super) fn facts(&mut self, woken_before: Option<u64>) -> Option<ShareFacts> {
        let daemon = self.daemon.as_ref()?.pid();
        let now = self.daemon_wakes();
        let heard = Heard::of(self.woken_at_mount, woken_before, now);
        let memdev = self.query("query-memdev", json!({}));
        let memory = memory::between(self.qemu.id(), daemon, memdev.as_ref());
        let device = virtio_fs::device(&mut |command: &str, arguments: Value| self.query(command, arguments));
        Some(ShareFacts { memory, heard, device })
    }

    /// Returns the answer to a QMP command, if there is one.
    fn query(&mut self, command: &str, arguments: Value) -> Option<Value> {
        self.qmp.as_mut()?.execute(command, arguments).ok()
    }

    fn kernel_line(&self, find: fn(&str) -> Option<String>) -> Option<String> {
        [&self.serial, &self.console].into_iter().flatten().find_map(|log| find(&log.text()))
    }

    /// Returns the stop for an unexpected end, after waiting for it; if there is none, `otherwise` is blamed for what
    /// was seen.
    pub(super) fn why(&mut self, doing: &str, observed: &str, otherwise: Component) -> Stop {
        self.await_the_vmms_end();
        match self.current_ending() {
            Some(ending) => ending.stop(doing),
            None => {
                let last = self.serial.as_ref().map(|log| log.last_lines(3)).unwrap_or_default();
                Stop::blame(otherwise, format!("{doing}: {observed}; last on the serial console: {last}"))
            }
        }
    }

    /// Waits for QEMU's end: lines and daemons end a moment before the crashed process can be reaped.
    fn await_the_vmms_end(&mut self) {
        // A QEMU whose KVM gave up does not end.
        if self.qemu_ended.is_none() && kvm_error(&self.stderr.text()).is_none() {
            self.qemu_ended = wait(&mut self.qemu, self.deadlines.end).ok().flatten();
        }
    }

    /// Returns how the guest ended, or the problem that it has; `None` if nothing is wrong.
    pub(crate) fn current_ending(&mut self) -> Option<Ending> {
        let signs = self.signs();
        judge(&signs)
    }

    fn signs(&mut self) -> GuestSigns {
        let line_ended = self.agent.as_ref().is_some_and(Client::ended);
        let daemon_ended = self.daemon.as_mut().is_some_and(|daemon| daemon.end(Duration::ZERO).is_some());
        if line_ended || daemon_ended {
            self.await_the_vmms_end();
        }
        let ended = self.ended();
        if ended {
            // The kernel's last message and the exit arrive by different sockets, in any order.
            for log in [&self.serial, &self.console, &Some(self.stderr.clone())].into_iter().flatten() {
                log.settle();
            }
        }
        let daemon_has = if ended { self.deadlines.daemon_end } else { Duration::ZERO };
        let mut signs = GuestSigns {
            panic: self.kernel_line(panic_line),
            oops: self.kernel_line(oops_line),
            gave_up: kvm_error(&self.stderr.text()),
            vmm: match self.qemu_ended {
                Some(status) => ProcessState::Ended {
                    end: ProcessEnd::of_qemu(status, &self.stderr.text()),
                    words: self.stderr.last_lines(4),
                },
                None => ProcessState::of_running(self.qemu.id()),
            },
            daemon: self.daemon.as_mut().map(|daemon| match daemon.end(daemon_has) {
                Some(end) => ProcessState::Ended { end, words: daemon.last_lines() },
                None => ProcessState::of_running(daemon.pid()),
            }),
            line_ended,
            silent: None,
            qmp: None,
        };
        let silent = self.agent.as_ref().map_or(Duration::ZERO, Client::silent_for);
        if silent >= self.deadlines.silence && signs.vmm == ProcessState::Runs {
            signs.silent = Some(silent.as_secs());
            signs.qmp = Some(self.status());
        }
        signs
    }

    fn status(&mut self) -> QmpAnswer {
        let Some(qmp) = &mut self.qmp else { return QmpAnswer::Nothing };
        match qmp.execute("query-status", json!({})) {
            Ok(status) if status.get("status") == Some(&"running".into()) => QmpAnswer::Running,
            Ok(status) => QmpAnswer::Other(status.to_string()),
            Err(QmpError::Command { description, .. }) => QmpAnswer::Other(description),
            Err(_) => QmpAnswer::Nothing,
        }
    }

    /// Returns the stop for a QMP command without an answer.
    pub(super) fn refused(&mut self, command: &str, error: &QmpError) -> Stop {
        // The connection is lost or silent: QEMU's end tells which component is at fault.
        answered(command, error)
            .unwrap_or_else(|| self.why(&format!("QMP {command}"), &error.to_string(), Component::Qemu))
    }
}

/// Returns the stop for a QMP command that QEMU has answered, but not with the expected result.
fn answered(request: &str, error: &QmpError) -> Option<Stop> {
    let detail = match error {
        QmpError::Command { command, class, description } => FailureDetail::QmpRefusal {
            command: command.clone(),
            class: class.clone(),
            description: description.clone(),
        },
        QmpError::Protocol { .. } => FailureDetail::Other,
        QmpError::Timeout { .. } | QmpError::Closed { .. } | QmpError::Io { .. } => return None,
    };
    Some(Stop::blame(Component::Qemu, format!("QMP {request}: {error}")).showing(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qmp_refusal_is_reported_as_text_and_as_data() {
        let [command, class, description] = ["device_add", "GenericError", "no such bus"].map(str::to_owned);
        let error =
            QmpError::Command { command: command.clone(), class: class.clone(), description: description.clone() };
        let expected =
            Stop::blame(Component::Qemu, "QMP device_add: device_add was refused (GenericError): no such bus");
        let detail = FailureDetail::QmpRefusal { command, class, description };
        assert_eq!(answered("device_add", &error), Some(expected.showing(detail)));
        assert_eq!(answered("device_add", &QmpError::Closed { doing: "device_add".to_owned() }), None);
    }
}
