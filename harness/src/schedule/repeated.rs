//! Repetition, in a fresh machine, of tests that failed in guests of an emulated machine.

use super::units::needs_cpus;
use super::{AfterEnvironment, Key, RestartReason, Schedule, key};
use crate::plan::{PlannedTest, Unit, remaining};
use model::profile::ProfileName;
use reports::verdict::agreement::is_nested;
use std::collections::BTreeSet;
use suites::outcome::Outcome;

impl Schedule {
    /// Repeats the tests that failed in nested guests of an emulated machine, once.
    pub(super) fn repeat(&mut self) -> AfterEnvironment {
        if self.repeated || !self.is_emulated || self.attempts.retries == 0 {
            return AfterEnvironment::Finished;
        }
        self.repeated = true;
        self.remaining = self.nested_failures();
        self.is_wide = self.remaining.iter().flat_map(|unit| &unit.tests).all(needs_cpus);
        if self.remaining.is_empty() {
            AfterEnvironment::Finished
        } else {
            AfterEnvironment::Machine(RestartReason::Repeat)
        }
    }

    /// Returns the tests in nested guests that failed or could not be judged, and those that they blocked. Their
    /// outcomes are forgotten, so that they do not block each other.
    fn nested_failures(&mut self) -> Vec<Unit> {
        let mut again: BTreeSet<Key> = BTreeSet::new();
        let tests: Vec<(&PlannedTest, &ProfileName)> = self
            .units
            .iter()
            .flat_map(|unit| &unit.tests)
            .flat_map(|planned| planned.profiles.iter().map(move |profile| (planned, profile)))
            .collect();
        loop {
            let before = again.len();
            for (planned, profile) in &tests {
                let key = key(planned, profile);
                let chosen = match self.outcomes.get(&key) {
                    Some(Outcome::Fail { .. } | Outcome::Error { .. }) => {
                        is_nested(planned.test) && !self.confirmed.contains(&key)
                    }
                    Some(Outcome::Blocked { .. }) => {
                        planned.test.blocked_by.iter().any(|by| again.contains(&((*profile).clone(), by.clone())))
                    }
                    _ => false,
                };
                if chosen {
                    again.insert(key);
                }
            }
            if again.len() == before {
                break;
            }
        }
        let repeated = remaining(&self.units, |planned, profile| again.contains(&key(planned, profile)));
        self.outcomes.retain(|key, _| !again.contains(key));
        repeated
    }
}
