//! Replacement of a guest's first agent by another one.

use super::RunningGuest;
use crate::process::wait;
use model::foreign::linux::panic_line;
use model::foreign::qemu::kvm_error;
use protocol::client::ClientError;
use protocol::message::{GuestReply, GuestRequest};
use std::time::Duration;
use suites::check::Stop;
use suites::environment::{Answer, Machine as _, Question};
use suites::outcome::Component;

impl RunningGuest {
    /// Sends the agent a request that replaces it by another agent, and waits for the new agent's hello as long as for
    /// the first one.
    pub(super) fn ask_for_another(&mut self, question: Question) -> Result<Answer, Stop> {
        const DOING: &str = "waiting for another agent in the guest";
        let (serial, stderr) = (self.serial.clone(), self.stderr.clone());
        let (Some(agent), mut ended) = (&self.agent, self.qemu_ended) else {
            return Err(Stop::error(format!("{DOING}: the guest has no agent")));
        };
        let qemu = &mut self.qemu;
        let came = agent.ask_for_another(GuestRequest::Ask { question }, self.deadlines.boot, || {
            ended = ended.or(wait(qemu, Duration::ZERO).ok().flatten());
            let panicked = || serial.as_ref().is_some_and(|log| panic_line(&log.text()).is_some());
            ended.is_none() && kvm_error(&stderr.text()).is_none() && !panicked()
        });
        self.qemu_ended = ended;
        match came {
            Ok(None) => Ok(Answer::Done),
            Ok(Some(GuestReply::Answered { answer })) => Ok(answer),
            Ok(Some(other)) => Err(Stop::error(format!("{DOING}: unexpected reply {other:?}"))),
            // Nothing is heard from the new agent before its hello, so a slow one cannot be distinguished from a hung
            // one.
            Err(e @ ClientError::Late(_)) if self.is_emulated() && !self.ended() => {
                Err(Stop::error(format!("{DOING}: {e}")))
            }
            Err(e) => Err(self.why(DOING, &e.to_string(), Component::Kernel)),
        }
    }
}
