//! What is known of a run while it goes on: its cells, how far each has come, and what it is doing.
//!
//! It is made of the events of the journal, as they are written or read, and of what cells say in finer words. It reads no
//! clock and writes nothing.

use super::fit::clean;
use jiff::Timestamp;
use reports::journal::{CellId, Event};
use reports::redact;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// Something that people are told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// A failure: a line that stays.
    Line(String),
    /// The work that a cell has started; live lines show it.
    Doing(String),
    /// How a cell ended: a line that stays.
    Done(String),
}

/// A run, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct RunProgress {
    cells: BTreeMap<CellId, Cell>,
    /// The cells in the order asked for.
    order: Vec<CellId>,
    /// How many minutes each cell took in earlier runs.
    expected: BTreeMap<CellId, u64>,
    /// Something else has the terminal.
    pub(super) is_hidden: bool,
    /// Somebody is let in, and no test runs.
    pub(super) is_visit: bool,
}

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// It has not started, or waits for its turn.
    #[default]
    Waiting,
    /// It does something.
    AtWork,
    /// It has ended.
    Over,
}

/// The tests that share a result: their id, and the profiles that it counts for.
type Shared = (String, Vec<String>);

/// A cell, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// What people know it by.
    pub(super) name: String,
    pub(super) stage: Stage,
    /// How many tests it has.
    pub(super) planned: u64,
    /// How many machines it has lost.
    pub(super) lost: u32,
    /// What it does besides tests, in words, and since when.
    pub(super) doing: Option<(String, Timestamp)>,
    /// The text that this work has reported last.
    pub(super) detail: String,
    began: Option<Timestamp>,
    minutes: Option<u64>,
    running: BTreeMap<Shared, Running>,
    /// How the last attempt at each test ended that did not pass.
    bad: BTreeMap<Shared, Bad>,
    ended: BTreeSet<Shared>,
    open: Option<Open>,
    /// How many attempts ended how.
    counts: BTreeMap<&'static str, usize>,
}

/// A test that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    attempt: u32,
    since: Timestamp,
}

/// The running test that people are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown<'s> {
    pub(super) test: &'s str,
    /// The profiles that it counts for: `go-3.32+rs-4.1`.
    pub(super) profiles: String,
    pub(super) attempt: u32,
    pub(super) seconds: u64,
    /// How many others run beside it.
    pub(super) others: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Failed,
    InError,
}

/// The tests that have not ended, where the plan is known: one may end for one profile before another.
#[derive(Debug, Default)]
struct Open {
    /// Of each profile and test its place in the plan.
    places: BTreeMap<(String, String), usize>,
    /// How many profiles each place still waits for.
    waits_for: Vec<usize>,
}

impl RunProgress {
    /// How many minutes cells took in earlier runs, for runs that begin from now on.
    pub(super) fn expect(&mut self, minutes: BTreeMap<CellId, u64>) {
        self.expected = minutes;
    }

    /// Something stands in the journal.
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
                cell.running.insert((clean(test), profiles.clone()), Running { attempt: *attempt, since: at });
                Vec::new()
            }
            Event::TestFinished { cell, profiles, test, attempt, outcome, .. } => {
                self.cell(cell).finished(&(clean(test), profiles.clone()), outcome);
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

    /// A cell has started something; the same words say nothing new.
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

    /// Something small changed in what a cell does.
    pub(super) fn detail(&mut self, id: &CellId, what: &str) {
        self.cell(id).detail = clean(what);
    }

    /// A cell waits for its turn.
    pub(super) fn waits(&mut self, id: &CellId) {
        self.cell(id).stage = Stage::Waiting;
    }

    /// A cell has lost its machine; another one is brought up.
    pub(super) fn lost(&mut self, id: &CellId) {
        let cell = self.cell(id);
        cell.lost += 1;
        cell.running.clear();
    }

    /// The tests of a cell, each with its profiles, and those that had ended before the run went on.
    pub(super) fn plan(&mut self, id: &CellId, tests: &[(&str, &[String])], before: &BTreeSet<(String, String)>) {
        let cell = self.cell(id);
        let mut open =
            Open { waits_for: tests.iter().map(|(_, profiles)| profiles.len()).collect(), ..Open::default() };
        for (place, (test, profiles)) in tests.iter().enumerate() {
            for profile in *profiles {
                open.places.insert((profile.clone(), clean(test)), place);
            }
        }
        before.iter().for_each(|(profile, test)| open.ended(profile, test));
        cell.planned = tests.len() as u64;
        cell.open = Some(open);
    }

    /// The cells in the order asked for.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.order.iter().filter_map(|id| self.cells.get(id))
    }

    fn begin(&mut self, cells: &[CellId], planned: &BTreeMap<CellId, u64>, all_tests: bool) {
        for id in cells {
            let minutes = self.expected.get(id).copied().filter(|_| all_tests);
            let planned = planned.get(id).copied().unwrap_or_default();
            // A cell of that name is known from the run before: from the base run, say.
            if self.cells.insert(id.clone(), Cell { planned, minutes, ..Cell::default() }).is_none() {
                self.order.push(id.clone());
            }
        }
        self.name_all();
    }

    /// The cell of that name; one that the run's beginning did not name is added.
    fn cell(&mut self, id: &CellId) -> &mut Cell {
        if !self.cells.contains_key(id) {
            self.order.push(id.clone());
            self.cells.insert(id.clone(), Cell::default());
            self.name_all();
        }
        self.cells.entry(id.clone()).or_default()
    }

    /// Names cells by what distinguishes them.
    fn name_all(&mut self) {
        let arches: BTreeSet<&str> = self.order.iter().map(|id| id.arch.name()).collect();
        let environments: BTreeSet<&str> = self.order.iter().map(|id| id.environment.name()).collect();
        let (has_arch, has_environment) = (arches.len() > 1, environments.len() > 1);
        for (id, cell) in &mut self.cells {
            cell.name = format!("{}:{}", id.distro, id.release);
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

    /// How many tests have ended.
    pub(super) fn done(&self) -> u64 {
        let ended = match &self.open {
            Some(open) => open.waits_for.iter().filter(|left| **left == 0).count(),
            // A blocked test ends for each profile by itself.
            None => self.ended.len(),
        };
        (ended as u64).min(self.planned)
    }

    /// How many tests failed last.
    pub(super) fn failed(&self) -> usize {
        self.bad.values().filter(|bad| **bad == Bad::Failed).count()
    }

    /// How many tests were in error last.
    pub(super) fn in_error(&self) -> usize {
        self.bad.values().filter(|bad| **bad == Bad::InError).count()
    }

    /// The test that has run longest.
    pub(super) fn test(&self, now: Timestamp) -> Option<Shown<'_>> {
        let ((test, profiles), running) = self.running.iter().min_by_key(|(_, running)| running.since)?;
        let (seconds, others) = (seconds(running.since, now), self.running.len() - 1);
        // A journal that comes from somewhere else may have any text there.
        let profiles = clean(&profiles.join("+"));
        Some(Shown { test, profiles, attempt: running.attempt, seconds, others })
    }

    /// How many minutes are left, by earlier runs; nothing where none is known.
    ///
    /// As soon as tests end, their share says more than the clock: an image may have been in the cache.
    pub(super) fn minutes_left(&self, now: Timestamp) -> Option<u64> {
        let (expected, done) = (self.minutes?, self.done());
        let left = match done {
            0 => expected.saturating_sub(self.began.map_or(0, |began| seconds(began, now) / 60)),
            done => (expected * (self.planned - done)).div_ceil(self.planned.max(1)),
        };
        Some(left.max(1))
    }

    /// How many attempts ended how, in words.
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
    fn ended(&mut self, profile: &str, test: &str) {
        let place = self.places.remove(&(profile.to_owned(), test.to_owned()));
        if let Some(left) = place.and_then(|place| self.waits_for.get_mut(place)) {
            *left = left.saturating_sub(1);
        }
    }
}

/// Whole seconds between two times; none where a clock was put back.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second().saturating_sub(from.as_second())).unwrap_or(0)
}

#[cfg(test)]
mod tests;
