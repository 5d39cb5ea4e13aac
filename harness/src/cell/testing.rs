//! The tests of one cell in one environment: what is asked of its agent, and what is written into the journal.

use crate::artifacts::{Artifacts, artifact_path};
use crate::line::{Line, LineError, ask};
use crate::plan::{Cell, PlannedTest, Unit};
use crate::schedule::{AfterAttempt, Schedule};
use crate::shared::Shared;
use agent::environment::probe::lacking;
use agent::launch::deadlines::{Deadlines, patience};
use model::sync::locked;
use protocol::facts::Facts;
use protocol::message::{EnvironmentReply, EnvironmentRequest, Launched};
use reports::journal::Event;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use suites::check::Stop;
use suites::environment::Environment;
use suites::outcome::{Component, Outcome};

/// The tests of one cell while they run.
pub(super) struct Testing {
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<Cell>,
    pub(super) line: Line,
    pub(super) facts: Facts,
    pub(super) schedule: Mutex<Schedule>,
    pub(super) artifacts: Arc<Artifacts>,
}

/// A shared guest of a unit, while there is one.
struct Guest(Option<u64>);

/// An attempt that is over.
pub(super) struct FinishedAttempt<'a> {
    pub(super) profiles: &'a [String],
    pub(super) test: &'a str,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    /// Whether one of Kata's sandboxes did not answer.
    pub(super) unanswered: bool,
    pub(super) began: Instant,
    pub(super) notes: Vec<String>,
    pub(super) artifacts: Vec<String>,
}

/// Writes the end of an attempt into the journal.
pub(super) fn write_down(shared: &Shared, cell: &Cell, machine: u32, one: FinishedAttempt<'_>) {
    let FinishedAttempt { profiles, test, attempt, outcome, unanswered: _, began, notes, artifacts } = one;
    let (cell, profiles, test) = (cell.id.clone(), profiles.to_vec(), test.to_owned());
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    shared.events.write(Event::TestFinished {
        cell,
        profiles,
        test,
        attempt,
        machine,
        outcome,
        millis,
        notes,
        artifacts,
    });
}

impl Testing {
    /// Runs the tests of one unit, one after the other.
    pub(super) async fn unit(&self, unit: &Unit) -> Result<(), LineError> {
        let mut guest = Guest(None);
        let mut result = Ok(());
        for planned in &unit.tests {
            result = self.planned(unit, planned, &mut guest).await;
            if result.is_err() || locked(&self.schedule).is_to_be_traded() {
                break;
            }
        }
        self.stop(&mut guest).await;
        self.fetch_artifacts().await;
        result
    }

    /// Copies the logs out of the environment, so that an interrupted run keeps those of the units that ended.
    pub(super) async fn fetch_artifacts(&self) {
        self.artifacts.fetch(&self.shared.out, &self.cell.id, &self.line).await;
    }

    /// Runs one test, again in a fresh guest while it fails and retries are left.
    async fn planned(&self, unit: &Unit, planned: &PlannedTest, guest: &mut Guest) -> Result<(), LineError> {
        let test = planned.test;
        let profiles = self.not_blocked(planned);
        if profiles.is_empty() {
            return Ok(());
        }
        if let Some(reason) = test.all_needs().into_iter().find_map(|need| lacking(need, &self.facts)) {
            self.at_once(&profiles, &test.id, Outcome::Skip { reason });
            return Ok(());
        }
        for attempt in 1.. {
            self.started(&profiles, &test.id, attempt);
            let began = Instant::now();
            let (stop, notes, artifacts) = self.attempt(unit, planned, &profiles, guest).await?;
            let unanswered = matches!(stop, Some(Stop::Unanswered { .. }));
            let outcome = self.judged(planned, stop);
            let after = self.finished(FinishedAttempt {
                profiles: &profiles,
                test: &test.id,
                attempt,
                outcome,
                unanswered,
                began,
                notes,
                artifacts,
            });
            if after == AfterAttempt::Next {
                break;
            }
            self.stop(guest).await;
        }
        Ok(())
    }

    /// The outcome of an attempt that stopped so, or came to its end.
    fn judged(&self, planned: &PlannedTest, stop: Option<Stop>) -> Outcome {
        match stop {
            None => Outcome::Pass,
            Some(Stop::Fail { message, blames, record }) => match blames.unwrap_or(planned.test.blames) {
                Component::Record => self.shared.record_places.judge(&self.cell.release.name(), message, &record),
                blames => Outcome::Fail { message, blames },
            },
            Some(Stop::Skip { reason }) => Outcome::Skip { reason },
            Some(Stop::Error { message } | Stop::Unanswered { message }) => Outcome::Error { message },
        }
    }

    async fn attempt(
        &self,
        unit: &Unit,
        planned: &PlannedTest,
        profiles: &[String],
        guest: &mut Guest,
    ) -> Result<(Option<Stop>, Vec<String>, Vec<String>), LineError> {
        let test = planned.test;
        let wants_guest = test.shares_a_guest();
        if wants_guest && guest.0.is_none() {
            let request = EnvironmentRequest::StartGuest {
                profile: Box::new(unit.profile.clone()),
                configuration: unit.configuration,
            };
            match ask(&self.line, request, start_deadline(self.cell.id.environment)).await? {
                EnvironmentReply::Started { guest: handle, launched } => {
                    self.launched(unit, profiles, launched);
                    guest.0 = Some(handle);
                }
                EnvironmentReply::Failed { stop, artifacts, launched } => {
                    if let Some(launched) = launched {
                        self.launched(unit, profiles, launched);
                    }
                    return Ok((Some(stop), Vec::new(), self.relative(artifacts)));
                }
                other => return Err(LineError::Unexpected(format!("{other:?}"))),
            }
        }
        let request = EnvironmentRequest::RunTest {
            test: test.id.clone(),
            profile: Box::new(unit.profile.clone()),
            guest: guest.0,
        };
        // It runs natively and in the guest, and may boot machines itself; the body's own deadlines are shorter.
        let deadline = u64::from(test.seconds) * 2 * patience(self.cell.id.environment) + 800;
        match ask(&self.line, request, deadline).await? {
            EnvironmentReply::Tested { stop, notes, artifacts, launched, guest_alive } => {
                for launched in launched {
                    self.launched(unit, profiles, launched);
                }
                if wants_guest && !guest_alive {
                    self.stop(guest).await;
                }
                Ok((stop, notes, self.relative(artifacts)))
            }
            EnvironmentReply::Failed { stop, artifacts, .. } => Ok((Some(stop), Vec::new(), self.relative(artifacts))),
            other => Err(LineError::Unexpected(format!("{other:?}"))),
        }
    }

    async fn stop(&self, guest: &mut Guest) {
        if let Some(handle) = guest.0.take() {
            // A guest that cannot be stopped ends with its environment.
            let _ = ask(&self.line, EnvironmentRequest::StopGuest { guest: handle }, 60).await;
        }
    }

    /// The profiles under which no finished test blocks this one; under the others it gets its outcome here.
    fn not_blocked(&self, planned: &PlannedTest) -> Vec<String> {
        let mut free = Vec::new();
        let blockers = locked(&self.schedule).blockers(planned);
        for (profile, blocker) in blockers {
            match blocker {
                None => free.push(profile),
                Some(by) => self.at_once(&[profile], &planned.test.id, Outcome::Blocked { by }),
            }
        }
        free
    }

    fn started(&self, profiles: &[String], test: &str, attempt: u32) {
        let mut schedule = locked(&self.schedule);
        let (total, finished) = schedule.progress();
        self.cell.line.detail(&format!("{finished}/{total} tests, {}: {test}", profiles.join("+")));
        schedule.started(profiles, test, attempt, Instant::now());
        drop(schedule);
        let (cell, profiles, test) = (self.cell.id.clone(), profiles.to_vec(), test.to_owned());
        self.shared.events.write(Event::TestStarted { cell, profiles, test, attempt });
    }

    /// An outcome without an attempt.
    fn at_once(&self, profiles: &[String], test: &str, outcome: Outcome) {
        self.started(profiles, test, 1);
        let (notes, artifacts) = (Vec::new(), Vec::new());
        let began = Instant::now();
        self.finished(FinishedAttempt {
            profiles,
            test,
            attempt: 1,
            outcome,
            unanswered: false,
            began,
            notes,
            artifacts,
        });
    }

    fn finished(&self, one: FinishedAttempt<'_>) -> AfterAttempt {
        let mut schedule = locked(&self.schedule);
        let after = schedule.finished(one.profiles, one.test, one.attempt, &one.outcome, one.unanswered);
        let machine = schedule.machine();
        drop(schedule);
        write_down(&self.shared, &self.cell, machine, one);
        after
    }

    fn launched(&self, unit: &Unit, profiles: &[String], launched: Launched) {
        let Launched { argv, daemon, deviations } = launched;
        let (cell, profiles) = (self.cell.id.clone(), profiles.to_vec());
        let configuration = unit.configuration.name().to_owned();
        self.shared.events.write(Event::Launched { cell, profiles, configuration, argv, daemon, deviations });
    }

    /// The paths that the environment's artifacts will have below the output folder.
    fn relative(&self, artifacts: Vec<String>) -> Vec<String> {
        artifacts.iter().map(|path| artifact_path(&self.cell.id, path)).collect()
    }
}

/// How many seconds an agent may take to start a guest: longer than everything that it waits for itself, so that the agent
/// says what was slow, and not the line that nobody answers.
fn start_deadline(environment: Environment) -> u64 {
    // No guest in a container is nested.
    Deadlines::of(environment != Environment::Container).up().as_secs() + 110
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_longer_for_a_guest_than_it_waits_for_it_itself() {
        assert_eq!(start_deadline(Environment::Container), 400);
        for (environment, nested) in
            [(Environment::Container, false), (Environment::Vm, true), (Environment::Host, true)]
        {
            let Deadlines { boot, modules, mount, .. } = Deadlines::of(nested);
            let itself = (boot + modules + mount).as_secs();
            assert!(start_deadline(environment) > itself + 60, "{environment:?}: {itself} s");
        }
    }
}
