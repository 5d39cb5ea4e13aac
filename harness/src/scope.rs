//! The part of its releases and environments that a run covers: some cells of a plan, the rest of a run that was
//! killed, or the tests that did not pass in another run, or have no result there.

use crate::plan::{Unit, remaining};
use reports::journal::{CellId, RunFilter};
use reports::resume::{CellProgress, StartedRun};
use std::collections::{BTreeMap, BTreeSet};

/// The cells and tests that a run covers, out of all that its releases and environments have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunScope {
    /// The cells; `None` for each release in each environment.
    pub cells: Option<BTreeSet<CellId>>,
    /// Whether the run in the output directory is resumed.
    pub resumes: bool,
    /// The part of an earlier run that is run again, if the run is a rerun.
    pub again: Option<Again>,
}

/// The part of an earlier run that is run again: tests that did not pass, and tests that the run did not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// The earlier run's id.
    pub run: String,
    /// The progress of the earlier run's cells.
    pub progress: BTreeMap<CellId, CellProgress>,
}

impl RunScope {
    /// Checks whether a cell is covered.
    pub fn has(&self, cell: &CellId) -> bool {
        self.cells.as_ref().is_none_or(|cells| cells.contains(cell))
    }

    /// Returns the units of a cell without the tests that are not covered.
    pub fn units(&self, cell: &CellId, units: Vec<Unit>) -> Vec<Unit> {
        match &self.again {
            None => units,
            Some(again) => again.units(cell, &units),
        }
    }

    /// Returns the journal's entry that replaces the filter by tests' names.
    pub fn filter(&self) -> Option<RunFilter> {
        self.again.as_ref().map(|again| RunFilter::RerunOf(again.run.clone()))
    }
}

impl Again {
    /// Returns the part of a run that is run again.
    pub fn of(start: &StartedRun) -> Again {
        Again { run: start.run.clone(), progress: start.progress.clone() }
    }

    fn units(&self, cell: &CellId, units: &[Unit]) -> Vec<Unit> {
        let Some(progress) = self.progress.get(cell) else { return units.to_vec() };
        let planned = units.iter().flat_map(|unit| &unit.tests);
        let keys = planned.flat_map(|one| one.profiles.iter().map(move |profile| (profile, &one.test.id)));
        let again = progress.not_passed(keys);
        remaining(units, |one, profile| again.contains(&(profile.clone(), one.test.id.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use model::profile::Profile;
    use model::test_id::TestId;
    use reports::resume::EndedAttempt;
    use suites::environment::Environment;
    use suites::outcome::Outcome;

    #[test]
    fn a_rerun_leaves_out_passed_tests_and_runs_unseen_ones() {
        let profile = Profile::find("go-3.29").unwrap();
        let profiles = std::slice::from_ref(profile);
        let units = plan::units(profiles, Environment::Container, |_| true, |p, _| p.name.to_string());
        let ids = |units: &[Unit]| -> Vec<TestId> {
            units.iter().flat_map(|unit| &unit.tests).map(|one| one.test.id.clone()).collect()
        };
        let all = ids(&units);
        let outcomes = [
            (&all[0], vec![Outcome::Pass]),
            (&all[1], vec![Outcome::Skip { reason: "no device".to_owned() }]),
            (&all[2], vec![Outcome::Error { message: "lost".to_owned() }, Outcome::Pass]),
            (&all[3], vec![Outcome::Error { message: "lost".to_owned() }]),
        ];
        let tests = outcomes.into_iter().map(|(test, outcomes)| {
            let tried = (1..).zip(outcomes).map(|(attempt, outcome)| EndedAttempt { machine: 0, attempt, outcome });
            ((profile.name.clone(), test.clone()), tried.collect::<Vec<EndedAttempt>>())
        });
        let known: CellId = "debian:13/x86_64/container".parse().unwrap();
        let other: CellId = "debian:12/x86_64/container".parse().unwrap();
        let progress = CellProgress { tests: tests.collect(), ..CellProgress::default() };
        let again = Again { run: "r1".to_owned(), progress: [(known.clone(), progress)].into() };
        let scope = RunScope { again: Some(again), ..RunScope::default() };
        let mut expected = all.clone();
        expected.retain(|test| test != &all[0] && test != &all[2]);
        assert_eq!(ids(&scope.units(&known, units.clone())), expected);
        assert_eq!(ids(&scope.units(&other, units.clone())), all, "it did not get that far");
        assert_eq!(ids(&RunScope::default().units(&known, units)), all);
        assert_eq!(scope.filter(), Some(RunFilter::RerunOf("r1".to_owned())));
    }

    #[test]
    fn cells_that_are_not_named_are_out_of_scope() {
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        assert!(RunScope::default().has(&cell));
        let scope = |cells: &[&CellId]| RunScope {
            cells: Some(cells.iter().map(|cell| (*cell).clone()).collect()),
            ..RunScope::default()
        };
        assert!(scope(&[&cell]).has(&cell) && !scope(&[]).has(&cell));
    }
}
