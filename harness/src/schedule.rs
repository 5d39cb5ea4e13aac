//! The work that a cell still has to do: a state machine whose inputs are the ends of tests and machines.
//!
//! It runs nothing and reads no clock; [`crate::cell`] does both.
//!
//! ```text
//! new_machine ──► begin ──► blockers, started, finished of each test ──► ended ──► new_machine, or the cell's end
//! ```
//!
//! Emulation loses machines now and then, and makes sandboxes of Kata's hang. Neither is a finding about the distro. So
//! the tests that were running get another machine, and a test that fails in a guest of an emulated machine must fail
//! in a fresh machine, too, before anything is blamed.
//!
//! A machine that is emulated can be lost: by a panic, by a reset that no log explains, or because it stands still. The
//! running tests then end in an error that names the loss and are rerun, once, in a fresh machine, where the rest of
//! the cell goes on. With `--retries 0`, or at the fifth loss, the cell is given up instead. If a sandbox of Kata's
//! gives no answer in an emulated machine, the machine is replaced by a fresh one, up to eight times unless
//! `--retries 0` forbids it: once one sandbox hangs, the next ones often do, each until its deadline.
//!
//! An emulated machine has one CPU, because the emulation of several breaks the guests of guests: see
//! [`crate::environments::vm::outer`]. Its units run one after the other, and the tests that need more CPUs run last,
//! in a machine that has them.
//!
//! A test that fails or is in error is rerun in a fresh guest, `--retries` times; with `--repeat` every test is run
//! that often. The last attempt that passed or failed counts; a pass after a failure is `flaky` and is shown with its
//! rate. Units of static checks run first, because they block many of the others; then the units with guests, the
//! longest first, as many at a time over all cells as `--jobs` permits. A unit starts its guest when its first test
//! needs one and keeps it for the next tests, until the guest is no longer usable or a failing test must be repeated in
//! a fresh one. A cell whose run was killed continues with its remaining tests: see [`Schedule::resumed`].

pub use attempts::Attempts;

use crate::plan::{PlannedTest, Unit, remaining};
use model::profile::ProfileName;
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use suites::outcome::Outcome;
use units::{in_turn, needs_cpus};

/// Number of machines that a cell may lose before it is given up.
const LOSSES_OF_A_CELL: u32 = 4;
/// Number of outcomes for which a cell may lose one more machine: emulation loses some machines per number of nested
/// guests, whatever the distro, and a cell that makes progress is not given up for it.
const OUTCOMES_FOR_ONE_MORE: usize = 100;
/// Number of machines that a cell may replace by fresh ones; after that, tests are repeated in the same machine.
const REPLACEMENTS_OF_A_CELL: u32 = 8;
/// Number of machine losses after which the loss is the test's outcome.
const LOSSES_OF_A_TEST: u32 = 2;

/// The outcome of a test during which machines were lost until no further one is tried.
const LOST_TWICE: &str = "the machine was lost, or gave no answer, during this test";

fn lost_outcome() -> Outcome {
    Outcome::Error { message: LOST_TWICE.to_owned() }
}

/// A test under one profile: the profile's name, the test's id.
type Key = (ProfileName, TestId);

fn key(planned: &PlannedTest, profile: &ProfileName) -> Key {
    (profile.clone(), planned.test.id.clone())
}

/// The tests of a cell, across its environments.
pub struct Schedule {
    /// All units of the cell.
    units: Vec<Unit>,
    /// The units of the current environment, or of the next one.
    remaining: Vec<Unit>,
    /// The units that wait for a machine with several CPUs.
    later: Vec<Unit>,
    /// Whether the current machine, or the next one, needs several CPUs.
    is_wide: bool,
    is_vm: bool,
    /// Whether virtual machines run without hardware virtualization.
    is_emulated: bool,
    /// How often a test is tried.
    attempts: Attempts,
    /// The outcome of each finished test.
    outcomes: BTreeMap<Key, Outcome>,
    /// The running tests: by profiles and id, the number and the start of the attempt.
    under_way: BTreeMap<(Vec<ProfileName>, TestId), (u32, Instant)>,
    /// Number of guests that were started.
    guests: u32,
    /// Number of machines that were lost during each test.
    lost_by_test: BTreeMap<Key, u32>,
    /// Tests that could not be judged in the current machine, because of which it will be replaced by a fresh one.
    unjudged: Vec<Key>,
    /// The number of the environment, from 1.
    machine: u32,
    lost: u32,
    replacements: u32,
    repeated: bool,
    /// Tests that failed in several machines before the run was resumed: they do not have to fail in another one.
    confirmed: BTreeSet<Key>,
    /// The next attempt's number for tests that were tried before the run was resumed.
    next_attempts: BTreeMap<Key, u32>,
    /// Number of tests that this environment has to run, and of those that have finished.
    progress: (usize, usize),
    /// Number of attempts by outcome.
    counts: BTreeMap<&'static str, usize>,
}

/// The way in which an environment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentEnd {
    /// The environment ran everything that it was given, or will be replaced by a fresh one.
    Whole,
    /// The environment ended by itself, or does not answer any more.
    Lost,
    /// Another failure.
    Broken,
}

/// The next step after an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterEnvironment {
    /// Another machine is started.
    Machine(RestartReason),
    /// Nothing is left to run.
    Finished,
    /// The cell is given up.
    GivenUp,
}

/// Reason for another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartReason {
    /// The previous machine was lost.
    Lost,
    /// One of Kata's sandboxes did not answer.
    Unanswered,
    /// The remaining tests need several CPUs.
    Cpus,
    /// Tests that failed in nested guests are run again.
    Repeat,
}

/// A test that the loss of a machine interrupted, which is an error of this attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The profiles that it was run for.
    pub profiles: Vec<ProfileName>,
    /// The id of the test.
    pub test: TestId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The start of the attempt.
    pub began: Instant,
}

/// The next step after an attempt of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAttempt {
    /// Another attempt, in a fresh guest.
    Again,
    /// The next test.
    Next,
}

impl Schedule {
    /// Makes the schedule of a cell that has run nothing yet.
    pub fn new(units: Vec<Unit>, is_vm: bool, attempts: Attempts) -> Schedule {
        Schedule {
            remaining: units.clone(),
            later: Vec::new(),
            is_wide: false,
            units,
            is_vm,
            is_emulated: false,
            attempts,
            outcomes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            guests: 0,
            lost_by_test: BTreeMap::new(),
            unjudged: Vec::new(),
            machine: 0,
            lost: 0,
            replacements: 0,
            repeated: false,
            confirmed: BTreeSet::new(),
            next_attempts: BTreeMap::new(),
            progress: (0, 0),
            counts: BTreeMap::new(),
        }
    }

    /// Counts the environment that is about to be brought up; returns its number, from 1.
    pub fn new_machine(&mut self) -> u32 {
        self.machine += 1;
        self.machine
    }

    /// Checks whether the next environment must have several CPUs, even if it is emulated.
    pub fn needs_cpus(&self) -> bool {
        self.is_wide
    }

    /// Starts an environment that is up. Returns its units in groups: the groups run one after the other, the units of
    /// a group in parallel.
    pub fn begin(&mut self, is_emulated: bool) -> Vec<Vec<Unit>> {
        self.is_emulated = self.is_vm && is_emulated;
        if self.is_emulated && !self.is_wide {
            self.later.extend(remaining(&self.remaining, |planned, _| needs_cpus(planned)));
            self.remaining = remaining(&self.remaining, |planned, _| !needs_cpus(planned));
        }
        self.progress = (self.remaining.iter().map(|unit| unit.tests.len()).sum(), 0);
        in_turn(self.remaining.clone(), self.is_emulated)
    }

    /// Returns how many tests this environment has to run, and how many of them have finished.
    pub fn progress(&self) -> (usize, usize) {
        self.progress
    }

    /// Returns the number of the cell's current virtual machine; 0 in other environments.
    pub fn machine(&self) -> u32 {
        if self.is_vm { self.machine } else { 0 }
    }

    /// Counts a guest that was started; returns its number in the cell, from 1.
    pub fn new_guest(&mut self) -> u32 {
        self.guests += 1;
        self.guests
    }

    /// Records the start of an attempt.
    pub fn started(&mut self, profiles: &[ProfileName], test: &TestId, attempt: u32, now: Instant) {
        self.under_way.insert((profiles.to_vec(), test.clone()), (attempt, now));
    }

    /// Records the end of an attempt; `unanswered` is true if one of Kata's sandboxes did not answer.
    pub fn finished(
        &mut self,
        profiles: &[ProfileName],
        test: &TestId,
        attempt: u32,
        outcome: &Outcome,
        unanswered: bool,
    ) -> AfterAttempt {
        let keys: Vec<Key> = profiles.iter().map(|profile| (profile.clone(), test.clone())).collect();
        self.progress.1 += usize::from(attempt == self.first_attempt(profiles, test));
        for key in &keys {
            self.outcomes.insert(key.clone(), outcome.clone());
        }
        self.under_way.remove(&(profiles.to_vec(), test.clone()));
        *self.counts.entry(outcome.name()).or_default() += 1;
        // Once emulation has made one sandbox hang, the next ones often hang, too, each until its deadline.
        if unanswered && self.may_replace() {
            self.unjudged.extend(keys);
            return AfterAttempt::Next;
        }
        if self.attempts.has_another(attempt, outcome) { AfterAttempt::Again } else { AfterAttempt::Next }
    }

    /// Returns, for each profile, the finished test that blocks this one because it did not pass, if any.
    pub fn blockers(&self, planned: &PlannedTest) -> Vec<(ProfileName, Option<TestId>)> {
        let of = |profile: &ProfileName| {
            let stands = |id: &&TestId| {
                let outcome = self.outcomes.get(&(profile.clone(), (*id).clone()));
                outcome.is_some_and(|outcome| *outcome != Outcome::Pass)
            };
            (profile.clone(), planned.test.blocked_by.iter().find(stands).cloned())
        };
        planned.profiles.iter().map(of).collect()
    }

    /// Checks whether no more tests may run in this machine.
    pub fn is_to_be_replaced(&self) -> bool {
        !self.unjudged.is_empty()
    }

    /// Records the end of the environment; returns the next step, and the tests that its loss interrupted.
    pub fn ended(&mut self, end: EnvironmentEnd) -> (AfterEnvironment, Vec<Interrupted>) {
        // In a fresh machine attempts are counted from 1.
        self.next_attempts.clear();
        let more = self.outcomes.len() / OUTCOMES_FOR_ONE_MORE;
        let may_lose = u32::try_from(more).unwrap_or(u32::MAX).saturating_add(LOSSES_OF_A_CELL);
        let replaced = self.is_vm && self.attempts.retries > 0 && self.lost < may_lose;
        let (why, interrupted) = match end {
            EnvironmentEnd::Lost if replaced => {
                self.lost += 1;
                self.repeat_unjudged();
                (Some(RestartReason::Lost), self.interrupt())
            }
            EnvironmentEnd::Lost | EnvironmentEnd::Broken => return (AfterEnvironment::GivenUp, Vec::new()),
            EnvironmentEnd::Whole if self.repeat_unjudged() => {
                self.replacements += 1;
                (Some(RestartReason::Unanswered), Vec::new())
            }
            EnvironmentEnd::Whole => (None, Vec::new()),
        };
        if let Some(why) = why {
            let outcomes = &self.outcomes;
            self.remaining =
                remaining(&self.remaining, |planned, profile| !outcomes.contains_key(&key(planned, profile)));
            if !self.remaining.is_empty() {
                return (AfterEnvironment::Machine(why), interrupted);
            }
        }
        self.remaining = std::mem::take(&mut self.later);
        if !self.remaining.is_empty() {
            self.is_wide = true;
            return (AfterEnvironment::Machine(RestartReason::Cpus), interrupted);
        }
        (self.repeat(), interrupted)
    }

    /// Checks whether a test has failed, or could not be judged.
    pub fn has_failed(&self) -> bool {
        self.outcomes.values().any(|outcome| matches!(outcome, Outcome::Fail(_) | Outcome::Error { .. }))
    }

    /// Describes the number of attempts by outcome.
    pub fn summary(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        counts.join(", ")
    }

    fn may_replace(&self) -> bool {
        self.is_emulated && self.attempts.retries > 0 && self.replacements < REPLACEMENTS_OF_A_CELL
    }

    /// Ends the tests that were running in a lost machine.
    fn interrupt(&mut self) -> Vec<Interrupted> {
        let under_way = std::mem::take(&mut self.under_way);
        let ended: Vec<Interrupted> = under_way
            .into_iter()
            .map(|((profiles, test), (attempt, began))| Interrupted { profiles, test, attempt, began })
            .collect();
        for one in &ended {
            *self.counts.entry(lost_outcome().name()).or_default() += 1;
            for profile in &one.profiles {
                self.lose_machine((profile.clone(), one.test.clone()));
            }
        }
        ended
    }

    /// Counts a machine that was lost or given up during a test. The test runs again after the first loss.
    fn lose_machine(&mut self, key: Key) {
        let lost = self.lost_by_test.entry(key.clone()).or_default();
        *lost += 1;
        if *lost < LOSSES_OF_A_TEST {
            self.outcomes.remove(&key);
        } else {
            self.outcomes.insert(key, lost_outcome());
        }
    }

    /// Schedules the tests again because of which the machine is given up; returns whether there are any.
    fn repeat_unjudged(&mut self) -> bool {
        let unjudged = std::mem::take(&mut self.unjudged);
        let any = !unjudged.is_empty();
        unjudged.into_iter().for_each(|key| self.lose_machine(key));
        any
    }
}

mod attempts;
mod repeated;
mod resumed;
mod units;

#[cfg(test)]
mod tests;
