//! What a cell still has to do: a state machine that is told how tests and machines end.
//!
//! It runs nothing and reads no clock; [`crate::cell`] does both.
//!
//! ```text
//! new_machine ──► begin ──► blockers, started, finished of each test ──► ended ──► new_machine, or the cell's end
//! ```
//!
//! Emulation loses machines now and then, and makes sandboxes of Kata's hang.
//! Neither is a finding about the distro. So the tests that were running get another machine, and a test that fails in a
//! guest of an emulated machine must fail in a fresh machine, too, before it blames anybody.
//!
//! A machine that is emulated can be lost: by a panic, by a reset that no log explains, or because it stands still.
//! The tests under way then end in an error that names the loss and are rerun, once, in a fresh machine, where the rest
//! of the cell goes on.
//! `--retries 0` gives the cell up instead, and so does the fifth loss.
//! An emulated machine in which a sandbox of Kata's gave no answer is traded for a fresh one, up to eight times unless
//! `--retries 0` forbids it: where one sandbox hangs, the next ones often do, each until its deadline.
//!
//! An emulated machine has one CPU, because the emulation of several breaks the guests of guests: see
//! [`crate::environments::vm::outer`]. In it units run one after the other, and what needs more CPUs runs last, in a
//! machine that has them.
//!
//! A test that fails or is in error is rerun in a fresh guest, `--retries` times; with `--repeat` every test is run
//! so often. The last attempt that passed or failed counts; a pass after a failure is `flaky` and is shown with its
//! rate. Units of static checks run first, because they block much of the rest; then the units with guests, the
//! longest first, as many at a time over all cells as `--jobs` permits. A unit starts its guest when its first test
//! wants one and keeps it for the next, until the guest is no longer usable or a failing test is to be repeated in a
//! fresh one. A cell whose run was killed goes on with what is left of it: see [`Schedule::resumed`].

pub use attempts::Attempts;

use crate::plan::{PlannedTest, Unit, remaining};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use suites::outcome::Outcome;
use units::{in_turn, needs_cpus};

/// How many machines a cell may lose before it is given up.
const LOSSES_OF_A_CELL: u32 = 4;
/// After how many outcomes a cell may lose one more: emulation loses some machines for every so many nested guests,
/// whatever the distro, and a cell that gets on is not given up for it.
const OUTCOMES_FOR_ONE_MORE: usize = 100;
/// How many machines a cell may trade for fresh ones; after that tests are repeated in the same machine.
const TRADES_OF_A_CELL: u32 = 8;
/// How many machines a test may lose before that is its outcome.
const LOSSES_OF_A_TEST: u32 = 2;

/// The outcome of a test during which machines were lost until none is tried any more.
const LOST_TWICE: &str = "the machine was lost, or gave no answer, during this test";

fn lost_outcome() -> Outcome {
    Outcome::Error { message: LOST_TWICE.to_owned() }
}

/// A test under one profile: the profile's name, the test's id.
type Key = (String, String);

fn key(planned: &PlannedTest, profile: &str) -> Key {
    (profile.to_owned(), planned.test.id.clone())
}

/// The tests of a cell, across its environments.
pub struct Schedule {
    /// All of them.
    units: Vec<Unit>,
    /// The units of the current environment, or of the next one.
    left: Vec<Unit>,
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
    /// The running tests: by profiles and id, which attempt since when.
    under_way: BTreeMap<(Vec<String>, String), (u32, Instant)>,
    /// How many guests were started.
    guests: u32,
    /// How many machines were lost during a test.
    lost_by_test: BTreeMap<Key, u32>,
    /// The tests that could not be judged in the current machine, which is to be traded for a fresh one.
    unjudged: Vec<Key>,
    /// Which environment it is, counted from 1.
    machine: u32,
    lost: u32,
    traded: u32,
    repeated: bool,
    /// What failed in several machines before the run was resumed: it need not fail in one more.
    confirmed: BTreeSet<Key>,
    /// The next attempt at a test that is not to begin with the first: it was tried before the run was resumed.
    next_attempts: BTreeMap<Key, u32>,
    /// How many tests this environment has before it, and how many of them have finished.
    progress: (usize, usize),
    /// How many attempts ended how.
    counts: BTreeMap<&'static str, usize>,
}

/// How an environment came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentEnd {
    /// It ran everything that it was given, or it is to be traded for a fresh one.
    Whole,
    /// It ended by itself, or does not answer any more.
    Lost,
    /// Something else went wrong.
    Broken,
}

/// The next step after an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterEnvironment {
    /// Another one.
    Machine(RestartReason),
    /// Nothing is left.
    Finished,
    /// The cell is given up.
    GivenUp,
}

/// Why there is another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartReason {
    /// One was lost.
    Lost,
    /// One of Kata's sandboxes did not answer.
    Unanswered,
    /// What is left needs several CPUs.
    Cpus,
    /// What failed in nested guests is run again.
    Repeat,
}

/// A test that a lost machine interrupted, which is an error of this attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The profiles that it was run for.
    pub profiles: Vec<String>,
    /// Its id.
    pub test: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When it began.
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
    /// A cell that has run nothing yet.
    pub fn new(units: Vec<Unit>, is_vm: bool, attempts: Attempts) -> Schedule {
        Schedule {
            left: units.clone(),
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
            traded: 0,
            repeated: false,
            confirmed: BTreeSet::new(),
            next_attempts: BTreeMap::new(),
            progress: (0, 0),
            counts: BTreeMap::new(),
        }
    }

    /// An environment is to be brought up: its number, from 1.
    pub fn new_machine(&mut self) -> u32 {
        self.machine += 1;
        self.machine
    }

    /// Whether the environment that is to be brought up must have several CPUs, even if it is emulated.
    pub fn needs_cpus(&self) -> bool {
        self.is_wide
    }

    /// It is up: its units in groups, one after the other; those of a group run side by side.
    pub fn begin(&mut self, is_emulated: bool) -> Vec<Vec<Unit>> {
        self.is_emulated = self.is_vm && is_emulated;
        if self.is_emulated && !self.is_wide {
            self.later.extend(remaining(&self.left, |planned, _| needs_cpus(planned)));
            self.left = remaining(&self.left, |planned, _| !needs_cpus(planned));
        }
        self.progress = (self.left.iter().map(|unit| unit.tests.len()).sum(), 0);
        in_turn(self.left.clone(), self.is_emulated)
    }

    /// How many tests this environment has before it, and how many of them have finished.
    pub fn progress(&self) -> (usize, usize) {
        self.progress
    }

    /// Which virtual machine of the cell this is; 0 where there is none.
    pub fn machine(&self) -> u32 {
        if self.is_vm { self.machine } else { 0 }
    }

    /// A guest was started: its number in the cell, from 1.
    pub fn new_guest(&mut self) -> u32 {
        self.guests += 1;
        self.guests
    }

    /// An attempt begins.
    pub fn started(&mut self, profiles: &[String], test: &str, attempt: u32, now: Instant) {
        self.under_way.insert((profiles.to_vec(), test.to_owned()), (attempt, now));
    }

    /// An attempt is over; `unanswered` is whether one of Kata's sandboxes did not answer.
    pub fn finished(
        &mut self,
        profiles: &[String],
        test: &str,
        attempt: u32,
        outcome: &Outcome,
        unanswered: bool,
    ) -> AfterAttempt {
        let keys: Vec<Key> = profiles.iter().map(|profile| (profile.clone(), test.to_owned())).collect();
        self.progress.1 += usize::from(attempt == self.first_attempt(profiles, test));
        for key in &keys {
            self.outcomes.insert(key.clone(), outcome.clone());
        }
        self.under_way.remove(&(profiles.to_vec(), test.to_owned()));
        *self.counts.entry(outcome.name()).or_default() += 1;
        // Once emulation has made one sandbox hang, the next ones often hang, too, each until its deadline.
        if unanswered && self.may_trade() {
            self.unjudged.extend(keys);
            return AfterAttempt::Next;
        }
        if self.attempts.has_another(attempt, outcome) { AfterAttempt::Again } else { AfterAttempt::Next }
    }

    /// For each profile the finished test that blocks this one because it did not pass, if there is one.
    pub fn blockers(&self, planned: &PlannedTest) -> Vec<(String, Option<String>)> {
        let of = |profile: &String| {
            let stands = |id: &&String| {
                let outcome = self.outcomes.get(&(profile.clone(), (*id).clone()));
                outcome.is_some_and(|outcome| *outcome != Outcome::Pass)
            };
            (profile.clone(), planned.test.blocked_by.iter().find(stands).cloned())
        };
        planned.profiles.iter().map(of).collect()
    }

    /// Whether nothing more is to run in this machine.
    pub fn is_to_be_traded(&self) -> bool {
        !self.unjudged.is_empty()
    }

    /// The environment is gone: what comes next, and which tests its loss interrupted.
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
                self.traded += 1;
                (Some(RestartReason::Unanswered), Vec::new())
            }
            EnvironmentEnd::Whole => (None, Vec::new()),
        };
        if let Some(why) = why {
            let outcomes = &self.outcomes;
            self.left = remaining(&self.left, |planned, profile| !outcomes.contains_key(&key(planned, profile)));
            if !self.left.is_empty() {
                return (AfterEnvironment::Machine(why), interrupted);
            }
        }
        self.left = std::mem::take(&mut self.later);
        if !self.left.is_empty() {
            self.is_wide = true;
            return (AfterEnvironment::Machine(RestartReason::Cpus), interrupted);
        }
        (self.repeat(), interrupted)
    }

    /// Whether a test has failed, or could not be judged.
    pub fn has_failed(&self) -> bool {
        self.outcomes.values().any(|outcome| matches!(outcome, Outcome::Fail(_) | Outcome::Error { .. }))
    }

    /// How many attempts ended how.
    pub fn summary(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        counts.join(", ")
    }

    fn may_trade(&self) -> bool {
        self.is_emulated && self.attempts.retries > 0 && self.traded < TRADES_OF_A_CELL
    }

    /// Ends the tests that were running in a machine that is lost.
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

    /// Counts a machine that was lost or given up during a test. The test runs again if that was the first one.
    fn lose_machine(&mut self, key: Key) {
        let lost = self.lost_by_test.entry(key.clone()).or_default();
        *lost += 1;
        if *lost < LOSSES_OF_A_TEST {
            self.outcomes.remove(&key);
        } else {
            self.outcomes.insert(key, lost_outcome());
        }
    }

    /// Repeats the tests because of which the machine is given up; returns whether there are any.
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
