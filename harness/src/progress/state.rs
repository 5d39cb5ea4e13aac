//! State of a run while it goes on: its cells, their progress and their current work.
//!
//! It is derived from the events of the journal, as they are written or read, and from cells' more detailed reports.
//! This module reads no clock and writes nothing.

use super::fit::clean;
use jiff::Timestamp;
use model::profile::ProfileName;
use model::test_id::TestId;
use reports::journal::{CellId, Event};
use reports::redact;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// Something that is reported to people at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// A failure: a line that stays.
    Line(String),
    /// The work that a cell has started; on a terminal the live lines show it.
    Doing(String),
    /// The end of a cell: a line that stays.
    Done(String),
}

/// The progress of a run.
#[derive(Debug, Default)]
pub(super) struct RunProgress {
    cells: BTreeMap<CellId, Cell>,
    /// The cells in the requested order.
    order: Vec<CellId>,
    /// The minutes that each cell took in earlier runs.
    expected: BTreeMap<CellId, u64>,
    /// Another program uses the terminal.
    pub(super) is_hidden: bool,
    /// A visitor is let in, and no test runs.
    pub(super) is_visit: bool,
}

/// The stage of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// The cell has not started, or waits for its turn.
    #[default]
    Waiting,
    /// The cell is active.
    AtWork,
    /// The cell has ended.
    Over,
}

/// The key of tests that share a result: their id, and the profiles that it counts for.
type Shared = (TestId, Vec<ProfileName>);

/// The progress of a cell.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// The name that is shown to people.
    pub(super) name: String,
    pub(super) stage: Stage,
    /// Number of planned tests.
    pub(super) planned: u64,
    /// Number of machines that the cell has lost.
    pub(super) lost: u32,
    /// The current work other than tests, and its start.
    pub(super) doing: Option<(String, Timestamp)>,
    /// The latest detail of this work.
    pub(super) detail: String,
    began: Option<Timestamp>,
    minutes: Option<u64>,
    running: BTreeMap<Shared, Running>,
    /// The outcome of the last attempt at each test that did not pass.
    bad: BTreeMap<Shared, Bad>,
    ended: BTreeSet<Shared>,
    open: Option<Open>,
    /// Number of attempts by outcome.
    counts: BTreeMap<&'static str, usize>,
}

/// A test that is running.
#[derive(Debug, Clone, Copy)]
struct Running {
    attempt: u32,
    since: Timestamp,
}

/// The running test that is shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown<'s> {
    pub(super) test: &'s str,
    /// The profiles that the test counts for: `go-3.32+rs-4.1`.
    pub(super) profiles: String,
    pub(super) attempt: u32,
    pub(super) seconds: u64,
    /// Number of other tests that are running.
    pub(super) others: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Failed,
    InError,
}

/// The tests that have not ended, if the plan is known: a test may end for one profile before another.
#[derive(Debug, Default)]
struct Open {
    /// The place in the plan of each profile and test.
    places: BTreeMap<(ProfileName, TestId), usize>,
    /// Number of profiles for which each place still waits.
    waits_for: Vec<usize>,
}

impl RunProgress {
    /// Sets how many minutes cells took in earlier runs, for runs that start from now on.
    pub(super) fn expect(&mut self, minutes: BTreeMap<CellId, u64>) {
        self.expected = minutes;
    }

    /// Applies an event of the journal.
    pub(super) fn saw(&mut self, event: &Event, at: Timestamp) -> Vec<News> {
        match event {
            Event::RunStarted { cells, planned, filter, .. } => {
                self.begin(cells, planned, filter.is_none());
                Vec::new()
            }
            Event::CellStarted { cell } => {
                let cell = self.cell(cell);
                (cell.stage, cell.began) = (Stage::AtWork, Some(at));
                Vec::new()
            }
            Event::PhaseStarted { cell, phase } => self.doing(cell, phase.name(), at),
            Event::TestStarted { cell, profiles, test, attempt } => {
                let cell = self.cell(cell);
                cell.stage = Stage::AtWork;
                cell.running.insert((test.clone(), profiles.clone()), Running { attempt: *attempt, since: at });
                Vec::new()
            }
            Event::TestFinished { cell, profiles, test, attempt, outcome, .. } => {
                self.cell(cell).finished(&(test.clone(), profiles.clone()), outcome);
                let why = match outcome {
                    Outcome::Fail(failure) => &failure.observed,
                    Outcome::Error { message } => message,
                    Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => return Vec::new(),
                };
                let why = why.lines().next().unwrap_or_default();
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                let text = format!("{cell}: {}: {test} ({}{again}): {why}", outcome.name(), profiles.join("+"));
                vec![News::Line(redact::text(&text))]
            }
            Event::CellError { cell, phase, message } => {
                let first = message.lines().next().unwrap_or_default();
                vec![News::Line(redact::text(&format!("{cell}: error ({phase}): {first}")))]
            }
            Event::CellFinished { cell } => {
                let is_visit = self.is_visit;
                let cell = self.cell(cell);
                cell.stage = Stage::Over;
                cell.running.clear();
                let done = (!is_visit).then(|| News::Done(format!("{}: {}", cell.name, cell.summary())));
                done.into_iter().collect()
            }
            Event::RunFinished { .. } => {
                self.cells.values_mut().for_each(|cell| cell.stage = Stage::Over);
                Vec::new()
            }
            Event::CellFacts { .. } | Event::GuestStarted { .. } | Event::Conflict { .. } => Vec::new(),
        }
    }

    /// Sets a cell's current work; repeating the same work is no news.
    pub(super) fn doing(&mut self, id: &CellId, what: &str, at: Timestamp) -> Vec<News> {
        let (cell, what) = (self.cell(id), clean(what));
        cell.stage = Stage::AtWork;
        cell.running.clear();
        cell.detail.clear();
        if cell.doing.as_ref().is_some_and(|(known, _)| *known == what) {
            return Vec::new();
        }
        let news = News::Doing(format!("{}: {what}", cell.name));
        cell.doing = Some((what, at));
        vec![news]
    }

    /// Sets a detail of a cell's current work.
    pub(super) fn detail(&mut self, id: &CellId, what: &str) {
        self.cell(id).detail = clean(what);
    }

    /// Marks a cell as waiting for its turn.
    pub(super) fn waits(&mut self, id: &CellId) {
        self.cell(id).stage = Stage::Waiting;
    }

    /// Counts a lost machine of a cell, which gets another one.
    pub(super) fn lost(&mut self, id: &CellId) {
        let cell = self.cell(id);
        cell.lost += 1;
        cell.running.clear();
    }

    /// Sets the tests of a cell, each with its profiles, and those that had ended before the run was resumed.
    pub(super) fn plan(
        &mut self,
        id: &CellId,
        tests: &[(&TestId, &[ProfileName])],
        before: &BTreeSet<(ProfileName, TestId)>,
    ) {
        let cell = self.cell(id);
        let mut open =
            Open { waits_for: tests.iter().map(|(_, profiles)| profiles.len()).collect(), ..Open::default() };
        for (place, (test, profiles)) in tests.iter().enumerate() {
            for profile in *profiles {
                open.places.insert((profile.clone(), (*test).clone()), place);
            }
        }
        before.iter().for_each(|(profile, test)| open.ended(profile, test));
        cell.planned = tests.len() as u64;
        cell.open = Some(open);
    }

    /// Returns the cells in the requested order.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.order.iter().filter_map(|id| self.cells.get(id))
    }

    fn begin(&mut self, cells: &[CellId], planned: &BTreeMap<CellId, u64>, all_tests: bool) {
        for id in cells {
            let minutes = self.expected.get(id).copied().filter(|_| all_tests);
            let planned = planned.get(id).copied().unwrap_or_default();
            // The cell may be known from the run before, such as the base run.
            if self.cells.insert(id.clone(), Cell { planned, minutes, ..Cell::default() }).is_none() {
                self.order.push(id.clone());
            }
        }
        self.name_all();
    }

    /// Returns the cell of this id; adds it if the run's start did not name it.
    fn cell(&mut self, id: &CellId) -> &mut Cell {
        if !self.cells.contains_key(id) {
            self.order.push(id.clone());
            self.cells.insert(id.clone(), Cell::default());
            self.name_all();
        }
        self.cells.entry(id.clone()).or_default()
    }

    /// Names cells by the parts of their ids that differ.
    fn name_all(&mut self) {
        let arches: BTreeSet<&str> = self.order.iter().map(|id| id.arch.name()).collect();
        let environments: BTreeSet<&str> = self.order.iter().map(|id| id.environment.name()).collect();
        let (has_arch, has_environment) = (arches.len() > 1, environments.len() > 1);
        for (id, cell) in &mut self.cells {
            cell.name = id.target().to_string();
            if has_arch {
                cell.name.push_str(&format!(" {}", id.arch));
            }
            if has_environment {
                cell.name.push_str(&format!(" {}", id.environment));
            }
        }
    }
}

impl Cell {
    fn finished(&mut self, key: &Shared, outcome: &Outcome) {
        self.running.remove(key);
        *self.counts.entry(outcome.name()).or_default() += 1;
        let bad = match outcome {
            Outcome::Fail(_) => Some(Bad::Failed),
            Outcome::Error { .. } => Some(Bad::InError),
            Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => None,
        };
        match bad {
            Some(bad) => {
                self.bad.insert(key.clone(), bad);
            }
            None => {
                self.bad.remove(key);
            }
        }
        if let Some(open) = &mut self.open {
            let (test, profiles) = key;
            profiles.iter().for_each(|profile| open.ended(profile, test));
        }
        self.ended.insert(key.clone());
    }

    /// Returns how many tests have ended.
    pub(super) fn done(&self) -> u64 {
        let ended = match &self.open {
            Some(open) => open.waits_for.iter().filter(|remaining| **remaining == 0).count(),
            // A blocked test ends for each profile separately.
            None => self.ended.len(),
        };
        (ended as u64).min(self.planned)
    }

    /// Returns how many tests failed in their last attempt.
    pub(super) fn failed(&self) -> usize {
        self.bad.values().filter(|bad| **bad == Bad::Failed).count()
    }

    /// Returns how many tests were in error in their last attempt.
    pub(super) fn in_error(&self) -> usize {
        self.bad.values().filter(|bad| **bad == Bad::InError).count()
    }

    /// Returns the test that has run longest.
    pub(super) fn test(&self, now: Timestamp) -> Option<Shown<'_>> {
        let ((test, profiles), running) = self.running.iter().min_by_key(|(_, running)| running.since)?;
        let (seconds, others) = (seconds(running.since, now), self.running.len() - 1);
        let profiles = profiles.join("+");
        Some(Shown { test, profiles, attempt: running.attempt, seconds, others })
    }

    /// Estimates the minutes left from earlier runs; `None` if there are none.
    ///
    /// As soon as tests end, their share is more reliable than the clock, because the image may have been in the cache.
    pub(super) fn minutes_left(&self, now: Timestamp) -> Option<u64> {
        let (expected, done) = (self.minutes?, self.done());
        let minutes = match done {
            0 => expected.saturating_sub(self.began.map_or(0, |began| seconds(began, now) / 60)),
            done => (expected * (self.planned - done)).div_ceil(self.planned.max(1)),
        };
        Some(minutes.max(1))
    }

    /// Describes the number of attempts by outcome.
    fn summary(&self) -> String {
        let words: Vec<String> = self.counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        match (words.is_empty(), self.done()) {
            (false, _) => words.join(", "),
            (true, 0) => "no test has run".to_owned(),
            (true, _) => "no tests were left to run".to_owned(),
        }
    }
}

impl Open {
    fn ended(&mut self, profile: &ProfileName, test: &TestId) {
        let place = self.places.remove(&(profile.clone(), test.clone()));
        if let Some(remaining) = place.and_then(|place| self.waits_for.get_mut(place)) {
            *remaining = remaining.saturating_sub(1);
        }
    }
}

/// Returns the whole seconds between two times; 0 if a clock was put back.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second().saturating_sub(from.as_second())).unwrap_or(0)
}

#[cfg(test)]
mod tests;
