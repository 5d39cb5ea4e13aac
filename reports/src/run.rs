//! A journal folded into what became of each cell and each test.
//!
//! Every text passes the redaction here, once; nothing downstream needs to think of it.

use crate::journal::{CellId, Event, Facts, Journal, Phase};
use crate::redact::{self, Redactor};
use jiff::Timestamp;
use kata_osinfo::verified::Basis;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The harness's version.
    pub harness: String,
    /// The profiles asked for, in that order.
    pub profiles: Vec<String>,
    /// The test filter, if not all tests were asked for.
    pub filter: Option<String>,
    /// Whether something was laid over the distro or the records.
    pub candidate: bool,
    /// Options that the results depend on.
    pub options: Vec<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When its last event was.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub ending: Ending,
    /// Its cells.
    pub cells: BTreeMap<CellId, Cell>,
    /// The cells in the order asked for, which is the record's order of releases.
    pub order: Vec<CellId>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// In order.
    Finished,
    /// Somebody stopped it.
    Interrupted,
    /// It has no end: it was killed, or still runs.
    Killed,
}

/// What became of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// What its verdicts rest on; `None` if it never came that far.
    pub facts: Option<Facts>,
    /// The guests that it started.
    pub launches: Vec<Launch>,
    /// Why it could not go on.
    pub errors: Vec<CellFailure>,
    /// When work on it began.
    pub started: Option<Timestamp>,
    /// When its last event was.
    pub last: Option<Timestamp>,
    /// Whether work on it ended in order.
    pub complete: bool,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<Phase, u64>,
    /// Its tests, each for the profiles that share the configuration.
    pub instances: Vec<Instance>,
}

impl Cell {
    /// How long it took, in milliseconds.
    pub fn millis(&self) -> Option<u64> {
        Some(between(self.started?, self.last?))
    }
}

/// A guest that was started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Launch {
    /// The profiles whose configuration it is.
    pub profiles: Vec<String>,
    /// The configuration's name.
    pub configuration: String,
    /// QEMU's arguments.
    pub argv: Vec<String>,
    /// The filesystem daemon's arguments.
    pub daemon: Vec<String>,
    /// Where they deviate from Kata's.
    pub deviations: Vec<String>,
    /// How many guests were started like this.
    pub times: u32,
}

/// Why a cell could not go on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CellFailure {
    /// Where.
    pub phase: Phase,
    /// What happened.
    pub message: String,
}

/// A test in one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The profiles that the result counts for.
    pub profiles: Vec<String>,
    /// The test's id.
    pub test: String,
    /// At least one, in order.
    pub attempts: Vec<Attempt>,
}

/// One attempt at a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// In which virtual machine of the cell; 0 where there is none to speak of.
    pub machine: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took.
    pub millis: u64,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Files beside the journal.
    pub artifacts: Vec<String>,
}

/// Most guests of one cell whose arguments a report shows.
const MAX_LAUNCHES: usize = 200;

/// Most notes, options or errors of one cell, and notes and files of one attempt, that a report shows.
const MAX_ITEMS: usize = 1000;

/// Folds a journal into what became of its run.
///
/// A journal may hold several beginnings, when a killed run was resumed: what was done again then counts, and a test that was under way at the kill and was run again is not held against the cell.
pub fn fold(journal: &Journal) -> Run {
    let redactor = redactor(journal);
    let mut run = Run {
        id: String::new(),
        harness: String::new(),
        profiles: Vec::new(),
        filter: None,
        candidate: false,
        options: Vec::new(),
        started: None,
        finished: None,
        ending: Ending::Killed,
        cells: BTreeMap::new(),
        order: Vec::new(),
    };
    let mut folding: BTreeMap<CellId, Folding> = BTreeMap::new();
    let mut listed: BTreeSet<CellId> = BTreeSet::new();
    for entry in &journal.entries {
        run.started.get_or_insert(entry.at);
        run.finished = Some(entry.at);
        match &entry.event {
            Event::RunStarted { schema: _, run: id, harness, profiles, cells, filter, candidate, options } => {
                run.id = redactor.line(id);
                run.harness = redactor.line(harness);
                extend(&mut run.profiles, profiles.iter().map(|p| redactor.line(p)));
                extend(&mut run.options, options.iter().map(|o| redactor.line(o)));
                run.filter = filter.as_ref().map(|f| redactor.line(f)).or(run.filter);
                run.candidate |= *candidate;
                run.ending = Ending::Killed;
                for cell in cells {
                    folding.entry(cell.clone()).or_default();
                    if listed.insert(cell.clone()) {
                        run.order.push(cell.clone());
                    }
                }
            }
            Event::RunFinished { interrupted } => {
                run.ending = if *interrupted { Ending::Interrupted } else { Ending::Finished };
            }
            event => {
                for cell in event.cells() {
                    folding.entry(cell.clone()).or_default().event(entry.at, event, &redactor);
                }
            }
        }
    }
    for (id, cell) in folding {
        if listed.insert(id.clone()) {
            run.order.push(id.clone());
        }
        run.cells.insert(id, cell.finish(run.ending));
    }
    run
}

/// A cell while its events are gone through.
#[derive(Default)]
struct Folding {
    cell: Cell,
    /// Test and profiles → its place in the cell's instances.
    places: BTreeMap<(String, Vec<String>), usize>,
    /// Tests that began and have not ended.
    open: BTreeSet<(String, Vec<String>)>,
    phase: Option<(Phase, Timestamp)>,
}

impl Folding {
    fn event(&mut self, at: Timestamp, event: &Event, redactor: &Redactor) {
        self.cell.started.get_or_insert(at);
        self.cell.last = Some(at);
        match event {
            Event::CellStarted { .. } => {
                self.end_phase(at);
                self.cell.errors.clear();
                self.cell.complete = false;
            }
            Event::PhaseStarted { phase, .. } => {
                self.end_phase(at);
                self.phase = Some((*phase, at));
            }
            Event::CellFacts { facts, .. } => add_facts(&mut self.cell.facts, clean_facts(facts, redactor)),
            Event::Launched { profiles, configuration, argv, daemon, deviations, .. } => {
                let lines = |items: &[String]| items.iter().map(|i| redactor.line(i)).collect::<Vec<_>>();
                self.launched(Launch {
                    profiles: sorted(lines(profiles)),
                    configuration: redactor.line(configuration),
                    argv: lines(argv),
                    daemon: lines(daemon),
                    deviations: lines(deviations),
                    times: 1,
                });
            }
            Event::TestStarted { profiles, test, .. } => {
                self.open.insert(key(test, profiles, redactor));
            }
            Event::TestFinished { profiles, test, attempt: _, machine, outcome, millis, notes, artifacts, .. } => {
                let key = key(test, profiles, redactor);
                self.open.remove(&key);
                let attempt = Attempt {
                    machine: *machine,
                    outcome: clean_outcome(outcome, redactor),
                    millis: *millis,
                    notes: notes.iter().take(MAX_ITEMS).map(|n| redactor.line(n)).collect(),
                    artifacts: artifacts.iter().take(MAX_ITEMS).map(|a| redactor.line(a)).collect(),
                };
                self.attempt(key, attempt);
            }
            Event::CellError { phase, message, .. } => {
                let failure = CellFailure { phase: *phase, message: redactor.text(message) };
                if self.cell.errors.len() < MAX_ITEMS && !self.cell.errors.contains(&failure) {
                    self.cell.errors.push(failure);
                }
            }
            Event::CellFinished { .. } => {
                self.end_phase(at);
                self.cell.complete = true;
            }
            Event::RunStarted { .. } | Event::RunFinished { .. } => {}
        }
    }

    fn end_phase(&mut self, at: Timestamp) {
        if let Some((phase, since)) = self.phase.take() {
            *self.cell.phases.entry(phase).or_default() += between(since, at);
        }
    }

    fn launched(&mut self, launch: Launch) {
        let launches = &mut self.cell.launches;
        let room = launches.len() < MAX_LAUNCHES;
        let same = launches.iter_mut().find(|l| {
            l.profiles == launch.profiles
                && l.configuration == launch.configuration
                && l.argv == launch.argv
                && l.daemon == launch.daemon
        });
        match same {
            Some(same) => same.times = same.times.saturating_add(1),
            None if room => launches.push(launch),
            None => {}
        }
    }

    fn attempt(&mut self, key: (String, Vec<String>), attempt: Attempt) {
        let instances = &mut self.cell.instances;
        let place = *self.places.entry(key.clone()).or_insert_with(|| {
            instances.push(Instance { profiles: key.1, test: key.0, attempts: Vec::new() });
            instances.len() - 1
        });
        if let Some(instance) = instances.get_mut(place) {
            instance.attempts.push(attempt);
        }
    }

    fn finish(mut self, ending: Ending) -> Cell {
        if let (Some(at), false) = (self.cell.last, self.cell.complete) {
            self.end_phase(at);
        }
        let message = match (self.cell.errors.first(), ending) {
            (Some(_), _) => "the cell could not go on during this test",
            (None, Ending::Killed) => "the run was killed during this test",
            (None, Ending::Interrupted) => "the run was interrupted during this test",
            (None, Ending::Finished) => "the journal has no end of this test",
        };
        for key in std::mem::take(&mut self.open) {
            let outcome = Outcome::Error { message: message.to_owned() };
            self.attempt(key, Attempt { machine: 0, outcome, millis: 0, notes: Vec::new(), artifacts: Vec::new() });
        }
        self.cell
    }
}

fn key(test: &str, profiles: &[String], redactor: &Redactor) -> (String, Vec<String>) {
    let profiles = profiles.iter().map(|p| redactor.line(p)).collect();
    (redactor.line(test), sorted(profiles))
}

fn sorted(mut items: Vec<String>) -> Vec<String> {
    items.sort();
    items.dedup();
    items
}

fn extend(list: &mut Vec<String>, items: impl Iterator<Item = String>) {
    for item in items {
        if list.len() < MAX_ITEMS && !list.contains(&item) {
            list.push(item);
        }
    }
}

fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0)
}

fn clean_outcome(outcome: &Outcome, redactor: &Redactor) -> Outcome {
    match outcome {
        Outcome::Pass => Outcome::Pass,
        Outcome::Fail { message, blames } => Outcome::Fail { message: redactor.text(message), blames: *blames },
        Outcome::Skip { reason } => Outcome::Skip { reason: redactor.text(reason) },
        Outcome::Blocked { by } => Outcome::Blocked { by: redactor.line(by) },
        Outcome::Error { message } => Outcome::Error { message: redactor.text(message) },
    }
}

fn clean_facts(facts: &Facts, redactor: &Redactor) -> Facts {
    // Versions are the evidence itself: no host learnt elsewhere may change a digit of them.
    let own = Redactor::default();
    let map = |items: &BTreeMap<String, String>, redactor: &Redactor| {
        items.iter().map(|(k, v)| (own.line(k), redactor.line(v))).collect()
    };
    let list = |items: &[String]| items.iter().map(|i| redactor.line(i)).collect();
    Facts {
        basis: facts.basis,
        accelerator: redactor.line(&facts.accelerator),
        versions: map(&facts.versions, &own),
        suites: map(&facts.suites, redactor),
        kernel: facts.kernel.as_ref().map(|k| own.line(k)),
        image: redactor.line(&facts.image),
        image_made: facts.image_made,
        image_cached: facts.image_cached,
        image_options: list(&facts.image_options),
        environment: map(&facts.environment, redactor),
        notes: list(&facts.notes),
    }
}

/// Later facts add to earlier ones; a cell that was once emulated is emulated.
fn add_facts(known: &mut Option<Facts>, new: Facts) {
    let Some(known) = known else {
        *known = Some(new);
        return;
    };
    if new.basis == Basis::Emulated {
        known.basis = Basis::Emulated;
    }
    for (old, new) in [(&mut known.accelerator, new.accelerator), (&mut known.image, new.image)] {
        if !new.is_empty() {
            *old = new;
        }
    }
    known.versions.extend(new.versions);
    known.suites.extend(new.suites);
    known.environment.extend(new.environment);
    known.kernel = new.kernel.or(known.kernel.take());
    known.image_made = new.image_made.or(known.image_made);
    known.image_cached = new.image_cached;
    extend(&mut known.image_options, new.image_options.into_iter());
    extend(&mut known.notes, new.notes.into_iter());
}

/// Knows every host that anything in the journal gives away.
fn redactor(journal: &Journal) -> Redactor {
    // Cut before searching: a report shows no more of a text than this anyway.
    let mut texts: BTreeSet<String> = BTreeSet::new();
    let mut add = |text: &str| {
        if text.contains("://") || text.contains(' ') {
            texts.insert(redact::printable(text, redact::MAX_TEXT));
        }
    };
    for entry in &journal.entries {
        match &entry.event {
            Event::RunStarted { options, .. } => options.iter().for_each(|t| add(t)),
            Event::CellFacts { facts, .. } => {
                facts.notes.iter().chain(&facts.image_options).for_each(|t| add(t));
                facts.environment.values().chain(facts.suites.values()).for_each(|t| add(t));
                add(&facts.image);
            }
            Event::CellError { message, .. } => add(message),
            Event::TestFinished { outcome, notes, .. } => {
                match outcome {
                    Outcome::Fail { message, .. } | Outcome::Error { message } => add(message),
                    Outcome::Skip { reason } => add(reason),
                    Outcome::Pass | Outcome::Blocked { .. } => {}
                }
                notes.iter().for_each(|t| add(t));
            }
            _ => {}
        }
    }
    Redactor::new(texts.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
