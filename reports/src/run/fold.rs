//! Folding of a journal into the outcome of its run.

use super::clean::{clean_facts, clean_filter, clean_outcome, redactor};
use super::contradicted::{Stated, hardware_contradicted, is_emulated_guest};
use super::facts::{MAX_ITEMS, add_facts, extend, take_out_candidates};
use super::{
    Attempt, CellFailure, CellRun, Conflict, GuestLaunch, MERGED, Provenance, Run, RunEnding, TestRun, between,
};
use crate::digest;
use crate::journal::{CellId, Event, Journal, Phase, RunFacts, RunFilter};
use crate::redact::Redactor;
use jiff::Timestamp;
use model::profile::ProfileName;
use model::test_id::TestId;
use model::verified::Basis;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// Maximum of guests of one cell whose arguments a report shows.
const MAX_LAUNCHES: usize = 200;

/// Folds a journal into the outcome of its run.
///
/// A journal may hold several starts, for instance if another journal was appended to it: in this case the later work
/// on a cell counts, and a test that was under way at a kill and was run again is not held against the cell.
pub fn fold(journal: &Journal) -> Run {
    let redactor = redactor(journal);
    let mut run = Run {
        id: String::new(),
        harness: String::new(),
        provenance: Provenance::default(),
        profiles: Vec::new(),
        filter: None,
        candidate: false,
        shaped: false,
        strict: false,
        options: Vec::new(),
        repeat: None,
        started: None,
        finished: None,
        ending: RunEnding::Killed,
        cells: BTreeMap::new(),
        order: Vec::new(),
        conflicts: Vec::new(),
        unasked: Vec::new(),
    };
    let mut folding: BTreeMap<CellId, Folding> = BTreeMap::new();
    // The journal is of the oldest schema until it states one.
    let mut written_as = 1;
    let mut listed: BTreeSet<CellId> = BTreeSet::new();
    // Each run's ending, by its id; there is only one, unless the journal was merged.
    let mut endings: BTreeMap<String, RunEnding> = BTreeMap::new();
    let mut current = String::new();
    let mut stated = Stated::default();
    for entry in &journal.entries {
        run.started.get_or_insert(entry.at);
        // Of merged runs, one that began earlier may have ended later.
        run.finished = run.finished.max(Some(entry.at));
        match &entry.event {
            Event::RunStarted {
                schema,
                run: id,
                harness,
                commit,
                argv,
                records,
                catalogue,
                profiles,
                cells,
                planned,
                filter,
                candidate,
                shaped,
                options,
                facts,
            } => {
                written_as = *schema;
                current.clone_from(id);
                run.id = redactor.line(id);
                run.harness = redactor.line(harness);
                run.provenance = Provenance {
                    commit: redactor.line(commit),
                    argv: argv.iter().take(MAX_ITEMS).map(|word| redactor.line(word)).collect(),
                    records: redactor.line(records),
                    catalogue: redactor.line(catalogue),
                    planned: most(run.provenance.planned, planned),
                };
                extend(&mut run.profiles, profiles.iter().cloned());
                extend(&mut run.options, options.iter().map(|o| redactor.line(o)));
                run.strict |= RunFacts::was_strict(facts.as_ref(), argv);
                let facts = RunFacts::of_run_start(facts.as_ref(), filter.as_deref(), options);
                let filter = facts.filter.as_ref().map(|filter| clean_filter(filter, &redactor));
                // A rerun that is merged with its run has the filter of this run.
                let is_of_another = matches!(&facts.filter, Some(RunFilter::RerunOf(run)) if endings.contains_key(run));
                if !is_of_another {
                    run.filter = filter.clone().or(run.filter);
                }
                run.repeat = run.repeat.max(facts.repeat);
                extend(&mut run.unasked, facts.unasked.iter().map(|words| redactor.line(words)));
                // The statements count even if somebody removed a flag.
                stated = Stated::of(options, argv, cells);
                run.candidate |= *candidate || stated.candidate;
                run.shaped |= *shaped || facts.is_shaped() || stated.shaped;
                endings.insert(id.clone(), RunEnding::Killed);
                for cell in cells {
                    let folding = folding.entry(cell.clone()).or_default();
                    if !is_of_another {
                        folding.note_filter(filter.clone());
                    }
                    if listed.insert(cell.clone()) {
                        run.order.push(cell.clone());
                    }
                }
            }
            Event::RunFinished { interrupted } => {
                let ending = if *interrupted { RunEnding::Interrupted } else { RunEnding::Finished };
                endings.insert(current.clone(), ending);
            }
            Event::Conflict { cell, what, refused } => {
                let conflict = Conflict { cell: cell.clone(), what: redactor.line(what), refused: *refused };
                if run.conflicts.len() < MAX_ITEMS && !run.conflicts.contains(&conflict) {
                    run.conflicts.push(conflict);
                }
            }
            event => {
                for cell in event.cells() {
                    let folding = folding.entry(cell.clone()).or_default();
                    folding.of_run(&current);
                    folding.event(entry.at, event, written_as, &stated, &redactor);
                }
            }
        }
    }
    // Of several merged runs, the worst ending counts.
    run.ending = endings.values().copied().max_by_key(|ending| *ending as u8).unwrap_or(RunEnding::Killed);
    if endings.len() > 1 {
        let ids = endings.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
        run.id = format!("{MERGED}{}", digest::short(&ids));
        extend(&mut run.options, std::iter::once(redactor.line(&format!("merged from the runs {ids}"))));
    }
    for (id, cell) in folding {
        if listed.insert(id.clone()) {
            run.order.push(id.clone());
        }
        let mut cell = cell.finish(run.ending);
        cell.instances.iter_mut().for_each(|instance| instance.is_repeated = run.repeat.is_some());
        run.cells.insert(id, cell);
    }
    if run.cells.values().any(|cell| cell.filter.is_none()) {
        run.filter = None;
    }
    run
}

/// Returns the number of planned tests of each cell: of a run and its rerun, those of the run.
fn most(mut known: BTreeMap<CellId, u64>, more: &BTreeMap<CellId, u64>) -> BTreeMap<CellId, u64> {
    for (cell, tests) in more {
        let most = known.entry(cell.clone()).or_default();
        *most = (*most).max(*tests);
    }
    known
}

/// A test, and the profiles that its result counts for.
type Key = (TestId, Vec<ProfileName>);

/// A cell while its events are folded.
#[derive(Default)]
struct Folding {
    cell: CellRun,
    /// The run that the current events belong to, in a merged journal.
    run: Option<String>,
    /// How many machines and guests the cell had in earlier runs, each of which counts from 1.
    before: (u32, u32),
    /// How many machines and guests it has had so far.
    had: (u32, u32),
    /// Test and profiles → index among the cell's instances.
    places: BTreeMap<Key, usize>,
    /// Tests that began and have not ended.
    open: BTreeSet<Key>,
    phase: Option<(Phase, Timestamp)>,
    /// Whether a guest of the cell was started without KVM.
    emulated_guest: bool,
    /// Whether a run asked for all tests of the cell.
    is_of_all: bool,
}

impl Folding {
    /// Notes that a run asks for some tests of the cell, or for all: once all were asked for, that stays.
    fn note_filter(&mut self, filter: Option<RunFilter>) {
        self.is_of_all |= filter.is_none();
        self.cell.filter = filter.filter(|_| !self.is_of_all);
    }

    /// Notes that the next events belong to this run.
    fn of_run(&mut self, run: &str) {
        if self.run.as_deref() != Some(run) {
            self.run = Some(run.to_owned());
            self.before = self.had;
        }
    }

    /// Returns a machine's number over all runs; 0 means none.
    fn machine(&mut self, number: u32) -> u32 {
        let whole = if number == 0 { 0 } else { number.saturating_add(self.before.0) };
        self.had.0 = self.had.0.max(whole);
        whole
    }

    /// Returns a guest's number over all runs; 0 means none.
    fn guest(&mut self, number: u32) -> u32 {
        let whole = if number == 0 { 0 } else { number.saturating_add(self.before.1) };
        self.had.1 = self.had.1.max(whole);
        whole
    }

    /// Downgrades a claim of hardware that anything else in the journal contradicts.
    fn weigh_basis(&mut self) {
        let Some(facts) = self.cell.facts.as_mut().filter(|facts| facts.basis == Basis::Hardware) else { return };
        if let Some(why) = hardware_contradicted(facts, self.emulated_guest) {
            facts.basis = Basis::Emulated;
            facts.notes.push(format!("it counts as emulated: {why}"));
            self.cell.contradicted = Some(why);
        }
    }

    fn event(&mut self, at: Timestamp, event: &Event, schema: u32, stated: &Stated, redactor: &Redactor) {
        if let (Event::CellStarted { .. }, Some(last)) = (event, self.cell.last) {
            // Nobody worked on the cell since then.
            self.end_phase(last);
            self.cell.away += between(last, at);
        }
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
            Event::CellFacts { facts, .. } => {
                let mut facts = clean_facts(facts, redactor);
                if schema < 2 {
                    take_out_candidates(&mut facts);
                }
                for (component, what) in &stated.candidates {
                    facts.candidates.entry(*component).or_insert_with(|| redactor.line(&what.to_string()).into());
                }
                add_facts(&mut self.cell.facts, facts);
                self.weigh_basis();
            }
            Event::GuestStarted { guest, profiles, configuration, argv, daemon, deviations, .. } => {
                self.emulated_guest |= is_emulated_guest(argv);
                let lines = |items: &[String]| items.iter().map(|i| redactor.line(i)).collect::<Vec<_>>();
                let guest = self.guest(*guest);
                self.launched(GuestLaunch {
                    profiles: sorted(profiles),
                    configuration: redactor.line(configuration),
                    argv: lines(argv),
                    daemon: lines(daemon),
                    deviations: lines(deviations),
                    times: 1,
                    guests: Some(guest).filter(|guest| *guest > 0).into_iter().collect(),
                });
            }
            Event::TestStarted { profiles, test, .. } => {
                self.open.insert(key(test, profiles));
            }
            Event::TestFinished { profiles, test, machine, guests, outcome, millis, notes, artifacts, .. } => {
                let key = key(test, profiles);
                self.open.remove(&key);
                let attempt = Attempt {
                    machine: self.machine(*machine),
                    guests: guests.iter().take(MAX_ITEMS).map(|guest| self.guest(*guest)).collect(),
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
            Event::RunStarted { .. } | Event::RunFinished { .. } | Event::Conflict { .. } => {}
        }
    }

    fn end_phase(&mut self, at: Timestamp) {
        if let Some((phase, since)) = self.phase.take() {
            *self.cell.phases.entry(phase).or_default() += between(since, at);
        }
    }

    fn launched(&mut self, launch: GuestLaunch) {
        let launches = &mut self.cell.launches;
        let room = launches.len() < MAX_LAUNCHES;
        let same = launches.iter_mut().find(|l| {
            l.profiles == launch.profiles
                && l.configuration == launch.configuration
                && l.argv == launch.argv
                && l.daemon == launch.daemon
        });
        match same {
            Some(same) => {
                same.times = same.times.saturating_add(1);
                let room = MAX_ITEMS.saturating_sub(same.guests.len());
                same.guests.extend(launch.guests.into_iter().take(room));
            }
            None if room => launches.push(launch),
            None => {}
        }
    }

    fn attempt(&mut self, key: Key, attempt: Attempt) {
        let instances = &mut self.cell.instances;
        let place = *self.places.entry(key.clone()).or_insert_with(|| {
            instances.push(TestRun { profiles: key.1, test: key.0, attempts: Vec::new(), is_repeated: false });
            instances.len() - 1
        });
        if let Some(instance) = instances.get_mut(place) {
            instance.attempts.push(attempt);
        }
    }

    fn finish(mut self, ending: RunEnding) -> CellRun {
        if let (Some(at), false) = (self.cell.last, self.cell.complete) {
            self.end_phase(at);
        }
        self.weigh_basis();
        let message = match (self.cell.errors.first(), ending) {
            (Some(_), _) => "the cell could not go on during this test",
            (None, RunEnding::Killed) => "the run was killed during this test",
            (None, RunEnding::Interrupted) => "the run was interrupted during this test",
            (None, RunEnding::Finished) => "the journal has no end of this test",
        };
        for key in std::mem::take(&mut self.open) {
            let outcome = Outcome::Error { message: message.to_owned() };
            let (notes, artifacts) = (Vec::new(), Vec::new());
            self.attempt(key, Attempt { machine: 0, guests: Vec::new(), outcome, millis: 0, notes, artifacts });
        }
        self.cell
    }
}

/// Returns the key of the tests that share a result.
fn key(test: &TestId, profiles: &[ProfileName]) -> Key {
    (test.clone(), sorted(profiles))
}

fn sorted(profiles: &[ProfileName]) -> Vec<ProfileName> {
    let mut profiles = profiles.to_vec();
    profiles.sort();
    profiles.dedup();
    profiles
}
