//! Progress of a run according to its journal: to resume a killed run, or to rerun tests without a result.
//!
//! Pure: takes a journal, returns the state of each test.
//! A test with a start and no end is not done; an attempt that is in the journal twice counts once.

use crate::journal::{CellId, Event, Journal, RunFacts, RunFilter};
use model::profile::ProfileName;
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};
use suites::outcome::Outcome;

/// A run as described by its journal, to be resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedRun {
    /// The run's id.
    pub run: String,
    /// The ids of other runs that were merged into it.
    pub others: BTreeSet<String>,
    /// The run's first event, which holds the parameters.
    pub first: Event,
    /// The profiles asked for.
    pub profiles: Vec<ProfileName>,
    /// The cells asked for, in that order.
    pub cells: Vec<CellId>,
    /// The test filter, if not all tests were asked for.
    pub filter: Option<RunFilter>,
    /// How often the run was started: once, and once more for each time it was resumed.
    pub starts: u32,
    /// Whether the run came to its end; an interrupted run did not.
    pub is_finished: bool,
    /// How far each cell got.
    pub progress: BTreeMap<CellId, CellProgress>,
}

/// How far a cell got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellProgress {
    /// Whether the cell came to its end, even if in an error.
    pub ended: bool,
    /// How many virtual machines the cell had.
    pub machines: u32,
    /// How many guests the cell started.
    pub guests: u32,
    /// The attempts that ended, in order, by profile and test.
    pub tests: BTreeMap<(ProfileName, TestId), Vec<EndedAttempt>>,
}

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    /// Number of the virtual machine in the cell; 0 if no machine is involved.
    pub machine: u32,
    /// The attempt's number, counted from 1.
    pub attempt: u32,
    /// The outcome of the attempt.
    pub outcome: Outcome,
}

/// Why a journal cannot be resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// No line holds the parameters of a run.
    #[error("its journal does not say what to run")]
    Empty,
    /// The journal was merged from several runs.
    #[error("its journal was merged from several runs ({0} and {1})")]
    Merged(String, String),
}

/// Reads a run's parameters and progress from its journal; of a merged journal, those of all its runs.
///
/// # Errors
/// If the journal has no start of a run.
pub fn started_run(journal: &Journal) -> Result<StartedRun, NotStarted> {
    let mut start: Option<StartedRun> = None;
    let mut progress: BTreeMap<CellId, CellProgress> = BTreeMap::new();
    let mut is_finished = false;
    for entry in &journal.entries {
        match &entry.event {
            first @ Event::RunStarted { run, profiles, cells, filter, options, facts, .. } => {
                is_finished = false;
                match &mut start {
                    Some(known) if known.run == *run => known.starts += 1,
                    Some(known) => {
                        known.others.insert(run.clone());
                        add(&mut known.profiles, profiles);
                        add(&mut known.cells, cells);
                    }
                    None => {
                        start = Some(StartedRun {
                            run: run.clone(),
                            others: BTreeSet::new(),
                            first: first.clone(),
                            profiles: profiles.clone(),
                            cells: cells.clone(),
                            filter: RunFacts::of_run_start(facts.as_ref(), filter.as_deref(), options).filter,
                            starts: 1,
                            is_finished,
                            progress: BTreeMap::new(),
                        });
                    }
                }
            }
            Event::RunFinished { interrupted } => is_finished = !interrupted,
            event => {
                for cell in event.cells() {
                    progress.entry(cell.clone()).or_default().add(event);
                }
            }
        }
    }
    start.map(|start| StartedRun { is_finished, progress, ..start }).ok_or(NotStarted::Empty)
}

fn add<T: Clone + PartialEq>(known: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !known.contains(one) {
            known.push(one.clone());
        }
    }
}

impl StartedRun {
    /// Returns the run unchanged if it is a single one.
    ///
    /// # Errors
    /// [`NotStarted::Merged`].
    pub fn of_one_run(self) -> Result<StartedRun, NotStarted> {
        match self.others.first() {
            Some(other) => Err(NotStarted::Merged(self.run, other.clone())),
            None => Ok(self),
        }
    }
}

impl CellProgress {
    fn add(&mut self, event: &Event) {
        match event {
            Event::CellStarted { .. } => self.ended = false,
            Event::CellFinished { .. } => self.ended = true,
            Event::GuestStarted { guest, .. } => self.guests = self.guests.max(*guest),
            Event::TestFinished { profiles, test, machine, attempt, outcome, .. } => {
                self.machines = self.machines.max(*machine);
                for profile in profiles {
                    let tried = self.tests.entry((profile.clone(), test.clone())).or_default();
                    if !tried.iter().any(|known| (known.machine, known.attempt) == (*machine, *attempt)) {
                        tried.push(EndedAttempt { machine: *machine, attempt: *attempt, outcome: outcome.clone() });
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns those of the `planned` tests that did not pass or have no result, to be tried again.
    pub fn not_passed<'p>(
        &self,
        planned: impl IntoIterator<Item = (&'p ProfileName, &'p TestId)>,
    ) -> BTreeSet<(ProfileName, TestId)> {
        let keys = planned.into_iter().map(|(profile, test)| (profile.clone(), test.clone()));
        let passed = |key: &(ProfileName, TestId)| {
            self.tests.get(key).and_then(|tried| tried.last()).is_some_and(|last| last.outcome == Outcome::Pass)
        };
        keys.filter(|key| !passed(key)).collect()
    }
}

/// Describes the differences between a run as resumed and as started; both are the event that begins a run.
///
/// Everything that the verdicts rest on must be the same, or the journal would hold two different runs.
pub fn differences(first: &Event, now: &Event) -> Vec<String> {
    let (Some(first), Some(now)) = (RunParameters::of(first), RunParameters::of(now)) else {
        return vec!["the event does not start a run".to_owned()];
    };
    let mut all = Vec::new();
    let mut unlike = |what: &str, first: &str, now: &str| {
        if first != now {
            all.push(format!("{what}: started with {}, now {}", shown(first), shown(now)));
        }
    };
    unlike("kata-qualify", &first.program, &now.program);
    unlike("the records of the releases", first.records, now.records);
    unlike("the tests' requirements", first.catalogue, now.catalogue);
    unlike("profiles", &first.profiles.join(", "), &now.profiles.join(", "));
    unlike("cells", &listed(first.cells), &listed(now.cells));
    unlike("--test", &first.tests(), &now.tests());
    unlike("options", &first.options_beside(&now), &now.options_beside(&first));
    unlike("candidates", word(first.candidate), word(now.candidate));
    unlike("a caller's keys, image or records", word(first.shaped), word(now.shaped));
    all
}

/// The parameters of a run, and the data that it rests on.
struct RunParameters<'e> {
    program: String,
    records: &'e str,
    catalogue: &'e str,
    profiles: &'e [ProfileName],
    cells: &'e [CellId],
    options: &'e [String],
    facts: RunFacts,
    candidate: bool,
    shaped: bool,
}

impl<'e> RunParameters<'e> {
    fn of(event: &'e Event) -> Option<RunParameters<'e>> {
        let Event::RunStarted {
            harness,
            commit,
            records,
            catalogue,
            profiles,
            cells,
            filter,
            candidate,
            shaped,
            options,
            facts,
            ..
        } = event
        else {
            return None;
        };
        Some(RunParameters {
            program: format!("{harness} ({commit})"),
            records,
            catalogue,
            profiles,
            cells,
            options,
            facts: RunFacts::of_run_start(facts.as_ref(), filter.as_deref(), options),
            candidate: *candidate,
            shaped: *shaped,
        })
    }

    /// Describes the tests that were asked for; empty if all were.
    fn tests(&self) -> String {
        self.facts.filter.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Returns the options, sorted. The machines' memory counts only if both runs name it: it is only named if machines
    /// were asked for by name.
    fn options_beside(&self, other: &RunParameters<'_>) -> String {
        let memory = self.facts.vm_memory_option().filter(|_| other.facts.vm_memory_mib.is_none());
        let all: BTreeSet<&str> = self.options.iter().map(String::as_str).collect();
        let counted: Vec<&str> = all.into_iter().filter(|option| memory.as_deref() != Some(*option)).collect();
        counted.join(" ")
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn word(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

fn listed(cells: &[CellId]) -> String {
    cells.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, BOOT, INSTALL, Maker, RENAME, cell, fail};
    use suites::outcome::Component;

    fn key(test: &str) -> (ProfileName, TestId) {
        ("a".parse().unwrap(), test.parse().unwrap())
    }

    fn started(maker: &mut Maker, release: &str, test: &str, attempt: u32) {
        let (profiles, test) = (sample::profile_names(&["a"]), test.parse().unwrap());
        maker.push(Event::TestStarted { cell: cell(release), profiles, test, attempt });
    }

    /// A run of two cells: one at its end, one killed in the second attempt at its second test.
    fn killed() -> Maker {
        let mut maker = Maker::default();
        maker.start(&["a"], &["13", "12"]);
        maker.push(Event::CellStarted { cell: cell("13") });
        maker.push(Event::CellStarted { cell: cell("12") });
        maker.done("12", &["a"], INSTALL, Outcome::Pass);
        maker.done("13", &["a"], INSTALL, Outcome::Pass);
        maker.push(Event::CellFinished { cell: cell("13") });
        maker.done("12", &["a"], BOOT, fail(Component::Qemu, "x"));
        started(&mut maker, "12", BOOT, 2);
        maker
    }

    #[test]
    fn finished_attempts_are_done_and_unfinished_ones_are_not() {
        let start = started_run(&killed().journal).unwrap();
        assert_eq!((start.starts, start.is_finished), (1, false));
        assert_eq!(start.cells, [cell("13"), cell("12")]);
        assert!(start.progress[&cell("13")].ended && !start.progress[&cell("12")].ended);
        let tests = &start.progress[&cell("12")].tests;
        let outcomes = |test: &str| tests[&key(test)].iter().map(|t| (t.attempt, t.outcome.name())).collect::<Vec<_>>();
        assert_eq!(outcomes(INSTALL), [(1, "pass")]);
        assert_eq!(outcomes(BOOT), [(1, "fail")], "the second attempt has no end");
    }

    #[test]
    fn an_attempt_recorded_twice_counts_once() {
        let mut maker = killed();
        let again = maker.journal.entries.clone();
        maker.journal.entries.extend(again);
        let start = started_run(&maker.journal).unwrap();
        assert_eq!(start.progress[&cell("12")].tests[&key(BOOT)].len(), 1);
        assert_eq!(start.starts, 2);
    }

    #[test]
    fn an_interrupted_run_does_not_count_as_finished() {
        for (interrupted, is_finished) in [(true, false), (false, true)] {
            let mut maker = killed();
            maker.push(Event::RunFinished { interrupted });
            assert_eq!(started_run(&maker.journal).unwrap().is_finished, is_finished);
        }
    }

    #[test]
    fn an_empty_or_merged_journal_cannot_be_resumed() {
        assert_eq!(started_run(&Journal::default()), Err(NotStarted::Empty));
        let mut maker = killed();
        maker.start(&["a"], &["13"]);
        if let Some(Event::RunStarted { run, .. }) = maker.journal.entries.last_mut().map(|e| &mut e.event) {
            *run = "other".to_owned();
        }
        let merged = started_run(&maker.journal).unwrap();
        assert_eq!(merged.cells, [cell("13"), cell("12")]);
        let refused = NotStarted::Merged("20260725-172000".to_owned(), "other".to_owned());
        assert_eq!(merged.of_one_run(), Err(refused));
    }

    #[test]
    fn failed_and_never_run_tests_are_repeated() {
        let start = started_run(&killed().journal).unwrap();
        let [a, b] = ["a", "b"].map(|name| name.parse::<ProfileName>().unwrap());
        let [install, boot, rename] = [INSTALL, BOOT, RENAME].map(|test| test.parse::<TestId>().unwrap());
        let planned = [(&a, &install), (&a, &boot), (&a, &rename), (&b, &install)];
        let again = start.progress[&cell("12")].not_passed(planned);
        assert_eq!(again, [key(BOOT), key(RENAME), (b.clone(), install.clone())].into());
    }

    #[test]
    fn differences_that_affect_verdicts_are_listed() {
        let mut maker = Maker::default();
        maker.start(&["a"], &["13"]);
        let first = maker.journal.entries[0].event.clone();
        assert_eq!(differences(&first, &first), Vec::<String>::new());
        let changed = |change: &dyn Fn(&mut Event)| {
            let mut now = first.clone();
            change(&mut now);
            differences(&first, &now)
        };
        type Change = fn(&mut Event);
        let table: [(Change, &str); 8] = [
            (
                |e| {
                    if let Event::RunStarted { commit, .. } = e {
                        *commit = "f".into()
                    }
                },
                "kata-qualify: ",
            ),
            (
                |e| {
                    if let Event::RunStarted { records, .. } = e {
                        *records = "f".into()
                    }
                },
                "the records of the releases",
            ),
            (
                |e| {
                    if let Event::RunStarted { catalogue, .. } = e {
                        *catalogue = "f".into()
                    }
                },
                "the tests' requirements",
            ),
            (
                |e| {
                    if let Event::RunStarted { profiles, .. } = e {
                        profiles.push("b".parse().unwrap())
                    }
                },
                "profiles: ",
            ),
            (
                |e| {
                    if let Event::RunStarted { cells, .. } = e {
                        cells.clear()
                    }
                },
                "cells: ",
            ),
            (
                |e| {
                    if let Event::RunStarted { filter, .. } = e {
                        *filter = Some("x".into())
                    }
                },
                "--test: ",
            ),
            (
                |e| {
                    if let Event::RunStarted { options, .. } = e {
                        options.push("--mirror-key".into())
                    }
                },
                "options: ",
            ),
            (
                |e| {
                    if let Event::RunStarted { shaped, .. } = e {
                        *shaped = true
                    }
                },
                "a caller's keys",
            ),
        ];
        for (change, expected) in table {
            let all = changed(&change);
            assert!(all.len() == 1 && all[0].starts_with(expected), "{expected}: {all:?}");
        }
        // The command line differs anyway, and machines may have become the default; the same holds for an older
        // journal.
        for own_facts in [Some(RunFacts { vm_memory_mib: Some(4096), ..RunFacts::default() }), None] {
            let all = changed(&|e| {
                if let Event::RunStarted { argv, options, facts, .. } = e {
                    argv.push("--resume".into());
                    options.push("--vm-memory 4096".into());
                    facts.clone_from(&own_facts);
                }
            });
            assert_eq!(all, Vec::<String>::new());
        }
    }

    #[test]
    fn a_different_machine_memory_is_a_difference() {
        let of = |mib: u32| {
            let mut maker = Maker::default();
            maker.start(&["a"], &["13"]);
            let mut event = maker.journal.entries[0].event.clone();
            if let Event::RunStarted { options, facts, .. } = &mut event {
                let own = RunFacts { vm_memory_mib: Some(mib), ..RunFacts::default() };
                options.extend(own.vm_memory_option());
                *facts = Some(own);
            }
            event
        };
        assert_eq!(differences(&of(4096), &of(4096)), Vec::<String>::new());
        let expected = "options: started with --vm-memory 4096, now --vm-memory 2048";
        assert_eq!(differences(&of(4096), &of(2048)), [expected]);
    }

    #[test]
    fn a_rerun_is_distinguished_from_a_filter_with_the_same_text() {
        let of = |run_filter: RunFilter| {
            let mut maker = killed();
            if let Event::RunStarted { filter, facts, .. } = &mut maker.journal.entries[0].event {
                *filter = Some(run_filter.to_string());
                *facts = Some(RunFacts { filter: Some(run_filter), ..RunFacts::default() });
            }
            started_run(&maker.journal).unwrap().filter
        };
        for filter in [RunFilter::Matching("rerun of r1".to_owned()), RunFilter::RerunOf("r1".to_owned())] {
            assert_eq!(of(filter.clone()), Some(filter));
        }
    }
}
