//! The tests of one cell in one environment: requests to its agent, and entries in the journal.

use super::TestOptions;
use crate::line::{Line, LineError, ask};
use crate::output::CellOutput;
use crate::plan::{Cell, PlannedTest, Unit};
use crate::schedule::{AfterAttempt, Schedule};
use agent::environment::probe::lacking;
use agent::launch::deadlines::{Deadlines, patience};
use model::profile::ProfileName;
use model::sync::locked;
use model::test_id::TestId;
use protocol::facts::{self, Facts};
use protocol::message::{EnvironmentReply, EnvironmentRequest, Launched};
use reports::journal::Event;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use suites::check::Stop;
use suites::elsewhere;
use suites::environment::Environment;
use suites::outcome::{Component, Failure, Outcome};

/// The tests of one cell while they run.
pub(super) struct Testing {
    pub(super) options: Arc<TestOptions>,
    pub(super) output: Arc<CellOutput>,
    pub(super) cell: Arc<Cell>,
    pub(super) line: Line,
    pub(super) facts: Facts,
    pub(super) schedule: Mutex<Schedule>,
}

/// A shared guest of a unit, while there is one.
struct Guest(Option<Started>);

/// A shared guest that is running.
#[derive(Clone, Copy)]
struct Started {
    /// The agent's handle for the guest.
    handle: u64,
    /// The guest's number in the journal.
    number: u32,
}

/// An attempt, as far as it is known before it runs.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    unit: &'a Unit,
    planned: &'a PlannedTest,
    profiles: &'a [ProfileName],
    number: u32,
}

/// Result of an attempt.
#[derive(Default)]
struct Attempted {
    /// Why the attempt stopped; `None` if it passed.
    stop: Option<Stop>,
    /// The guests in which the attempt ran, or which it started.
    guests: Vec<u32>,
    notes: Vec<String>,
    artifacts: Vec<String>,
}

/// An attempt that is over.
pub(super) struct FinishedAttempt<'a> {
    pub(super) profiles: &'a [ProfileName],
    pub(super) test: &'a TestId,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    /// Whether one of Kata's sandboxes did not answer.
    pub(super) unanswered: bool,
    pub(super) began: Instant,
    /// The guests in which the attempt ran, or which it started, by their numbers in the cell.
    pub(super) guests: Vec<u32>,
    pub(super) notes: Vec<String>,
    pub(super) artifacts: Vec<String>,
}

/// Writes the end of an attempt into the journal.
pub(super) fn write_attempt(output: &CellOutput, cell: &Cell, machine: u32, one: FinishedAttempt<'_>) {
    let FinishedAttempt { profiles, test, attempt, outcome, unanswered: _, began, guests, notes, artifacts } = one;
    let (cell, profiles, test) = (cell.id.clone(), profiles.to_vec(), test.clone());
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.write(Event::TestFinished {
        cell,
        profiles,
        test,
        attempt,
        machine,
        guests,
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
            if result.is_err() || locked(&self.schedule).is_to_be_replaced() {
                break;
            }
        }
        self.stop(&mut guest).await;
        self.fetch_artifacts().await;
        result
    }

    /// Copies the logs out of the environment, so that an interrupted run keeps the logs of finished units.
    pub(super) async fn fetch_artifacts(&self) {
        self.output.fetch_artifacts(&self.line).await;
    }

    /// Runs one test, and again in a fresh guest while it fails and retries are left.
    async fn planned(&self, unit: &Unit, planned: &PlannedTest, guest: &mut Guest) -> Result<(), LineError> {
        let test = planned.test;
        let profiles = self.not_blocked(planned);
        if profiles.is_empty() {
            return Ok(());
        }
        let find_lacking =
            || test.all_needs().into_iter().find_map(|need| lacking(need, self.options.effort, &self.facts));
        if let Some(reason) = elsewhere::inapplicable_reason(test, self.cell.id.arch).or_else(find_lacking) {
            self.finish_without_running(&profiles, &test.id, Outcome::Skip { reason });
            return Ok(());
        }
        let first = locked(&self.schedule).first_attempt(&profiles, &test.id);
        for attempt in first.. {
            self.started(&profiles, &test.id, attempt);
            let began = Instant::now();
            let one = Attempt { unit, planned, profiles: &profiles, number: attempt };
            let Attempted { stop, guests, notes, artifacts } = self.attempt(one, guest).await?;
            let unanswered = matches!(stop, Some(Stop::Unanswered { .. }));
            let outcome = self.judged(planned, stop);
            let after = self.finished(FinishedAttempt {
                profiles: &profiles,
                test: &test.id,
                attempt,
                outcome,
                unanswered,
                began,
                guests,
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

    /// Returns the outcome of an attempt that stopped for `stop`, or ran to its end.
    fn judged(&self, planned: &PlannedTest, stop: Option<Stop>) -> Outcome {
        match stop {
            None => Outcome::Pass,
            Some(Stop::Fail { message, blames, record, asked_for, grounds, detail }) => {
                let failure = Failure {
                    component: blames.unwrap_or(planned.test.blames),
                    expected: planned.test.property(),
                    observed: message,
                    asked_for: match asked_for.is_empty() {
                        true => planned.test.cited().iter().map(ToString::to_string).collect(),
                        false => asked_for,
                    },
                    grounds,
                    detail: *detail,
                    signature: String::new(),
                };
                match failure.component {
                    Component::Record => {
                        self.options.record_places.judge(&self.cell.release.target(), failure, &record)
                    }
                    _ => Outcome::Fail(failure),
                }
            }
            Some(Stop::Skip { reason }) => Outcome::Skip { reason },
            Some(Stop::Error { message } | Stop::Unanswered { message }) => Outcome::Error { message },
        }
    }

    async fn attempt(&self, one: Attempt<'_>, guest: &mut Guest) -> Result<Attempted, LineError> {
        let Attempt { unit, planned, .. } = one;
        let test = planned.test;
        let wants_guest = test.shares_a_guest();
        if wants_guest && guest.0.is_none() {
            let request = EnvironmentRequest::StartGuest {
                profile: Box::new(unit.profile.clone()),
                configuration: unit.configuration,
            };
            match ask(&self.line, request, start_deadline(self.is_nested())).await? {
                EnvironmentReply::Started { guest: handle, launched } => {
                    guest.0 = Some(Started { handle, number: self.launched(one, launched) });
                }
                EnvironmentReply::Failed { stop, artifacts, launched } => {
                    let guests = launched.map(|launched| self.launched(one, launched)).into_iter().collect();
                    let (stop, artifacts) = (Some(stop), self.relative(artifacts));
                    return Ok(Attempted { stop, guests, artifacts, ..Attempted::default() });
                }
                other => return Err(LineError::Unexpected(format!("{other:?}"))),
            }
        }
        let shared = guest.0.filter(|_| wants_guest);
        let mut guests: Vec<u32> = shared.iter().map(|shared| shared.number).collect();
        let request = EnvironmentRequest::RunTest {
            test: test.id.clone(),
            profile: Box::new(unit.profile.clone()),
            guest: guest.0.map(|shared| shared.handle),
        };
        // The test runs natively and in the guest, and may boot machines itself; the body's own deadlines are shorter.
        let kind = if self.is_nested() { Environment::Vm } else { self.cell.id.environment };
        let deadline = u64::from(test.seconds_with(self.options.effort)) * 2 * patience(kind) + 800;
        match ask(&self.line, request, deadline).await? {
            EnvironmentReply::Tested { stop, notes, artifacts, launched, guest_alive } => {
                guests.extend(launched.into_iter().map(|launched| self.launched(one, launched)));
                if wants_guest && !guest_alive {
                    self.stop(guest).await;
                }
                Ok(Attempted { stop, guests, notes, artifacts: self.relative(artifacts) })
            }
            EnvironmentReply::Failed { stop, artifacts, .. } => {
                let (stop, artifacts) = (Some(stop), self.relative(artifacts));
                Ok(Attempted { stop, guests, artifacts, ..Attempted::default() })
            }
            other => Err(LineError::Unexpected(format!("{other:?}"))),
        }
    }

    async fn stop(&self, guest: &mut Guest) {
        if let Some(Started { handle, .. }) = guest.0.take() {
            // A guest that cannot be stopped ends with its environment.
            let _ = ask(&self.line, EnvironmentRequest::StopGuest { guest: handle }, 60).await;
        }
    }

    /// Returns the profiles under which no finished test blocks this one; under the others, records the test as
    /// blocked.
    fn not_blocked(&self, planned: &PlannedTest) -> Vec<ProfileName> {
        let mut free = Vec::new();
        let blockers = locked(&self.schedule).blockers(planned);
        for (profile, blocker) in blockers {
            match blocker {
                None => free.push(profile),
                Some(by) => self.finish_without_running(&[profile], &planned.test.id, Outcome::Blocked { by }),
            }
        }
        free
    }

    fn started(&self, profiles: &[ProfileName], test: &TestId, attempt: u32) {
        locked(&self.schedule).started(profiles, test, attempt, Instant::now());
        let (cell, profiles, test) = (self.cell.id.clone(), profiles.to_vec(), test.clone());
        self.output.write(Event::TestStarted { cell, profiles, test, attempt });
    }

    /// Records an outcome without an attempt.
    fn finish_without_running(&self, profiles: &[ProfileName], test: &TestId, outcome: Outcome) {
        let attempt = locked(&self.schedule).first_attempt(profiles, test);
        self.started(profiles, test, attempt);
        let (guests, notes, artifacts) = (Vec::new(), Vec::new(), Vec::new());
        let (unanswered, began) = (false, Instant::now());
        self.finished(FinishedAttempt {
            profiles,
            test,
            attempt,
            outcome,
            unanswered,
            began,
            guests,
            notes,
            artifacts,
        });
    }

    fn finished(&self, one: FinishedAttempt<'_>) -> AfterAttempt {
        let mut schedule = locked(&self.schedule);
        let after = schedule.finished(one.profiles, one.test, one.attempt, &one.outcome, one.unanswered);
        let machine = schedule.machine();
        drop(schedule);
        write_attempt(&self.output, &self.cell, machine, one);
        after
    }

    /// Writes into the journal that an attempt started a guest, and gives the guest its number.
    fn launched(&self, one: Attempt<'_>, launched: Launched) -> u32 {
        let Launched { argv, daemon, deviations } = launched;
        let guest = locked(&self.schedule).new_guest();
        self.output.write(Event::GuestStarted {
            cell: self.cell.id.clone(),
            guest,
            test: Some(one.planned.test.id.clone()),
            attempt: one.number,
            profiles: one.profiles.to_vec(),
            configuration: one.unit.configuration.name().to_owned(),
            argv,
            daemon,
            deviations,
        });
        guest
    }

    /// Checks whether guests may be nested: if they have KVM and the machine is a virtual one. For the harness's own
    /// machines and the host, this is assumed.
    fn is_nested(&self) -> bool {
        let by_facts = self.facts.has(facts::KVM) && self.facts.has(facts::HYPERVISOR);
        self.cell.id.environment != Environment::Container || by_facts
    }

    /// Returns the paths of the environment's artifacts below the output directory.
    fn relative(&self, artifacts: Vec<String>) -> Vec<String> {
        artifacts.iter().map(|path| self.output.artifact(path)).collect()
    }
}

/// Returns how many seconds an agent may take to start a guest: longer than all waits of the agent itself, so that the
/// agent reports what was slow, and not the line a missing answer.
pub(super) fn start_deadline(nested: bool) -> u64 {
    Deadlines::of(nested).up().as_secs() + 110
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_deadline_exceeds_the_agents_own_deadlines() {
        assert_eq!(start_deadline(false), 400);
        for nested in [false, true] {
            let Deadlines { boot, modules, mount, .. } = Deadlines::of(nested);
            let itself = (boot + modules + mount).as_secs();
            assert!(start_deadline(nested) > itself + 60, "{nested}: {itself} s");
        }
    }
}
