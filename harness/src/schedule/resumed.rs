//! Resumption of a cell whose run was killed: finished tests are not run again, and attempts continue their numbers.
//!
//! A test is finished if it passed, if it is skipped, or if it failed in all tries that `--retries` allows; with
//! `--repeat`, if it ran that often. A blocked test is finished only if the test that blocks it is. A failure in a
//! nested guest is still repeated in a fresh machine, unless it already was.

use super::units::needs_cpus;
use super::{Attempts, Key, Schedule, key};
use crate::plan::{Unit, remaining};
use model::profile::ProfileName;
use model::test_id::TestId;
use reports::resume::{CellProgress, EndedAttempt};
use std::collections::BTreeSet;
use suites::outcome::Outcome;

/// Number of machines in which a test must fail to confirm the failure; the second confirms the first.
const CONFIRMED: usize = 2;
/// Number of machines in which a test failed or was in error before no other one is tried.
const TRIED_ENOUGH: usize = 3;

impl Schedule {
    /// Makes the schedule of a cell that ran some of its tests before.
    pub fn resumed(units: Vec<Unit>, is_vm: bool, attempts: Attempts, before: &CellProgress) -> Schedule {
        let mut schedule = Schedule::new(units, is_vm, attempts);
        schedule.machine = before.machines;
        schedule.guests = before.guests;
        let planned = schedule.units.iter().flat_map(|unit| &unit.tests);
        let keys: Vec<Key> =
            planned.flat_map(|one| one.profiles.iter().map(move |profile| key(one, profile))).collect();
        for key in keys {
            let tried = before.tests.get(&key).map(Vec::as_slice).unwrap_or_default();
            let Some(last) = tried.last() else { continue };
            if is_confirmed(tried) {
                schedule.confirmed.insert(key.clone());
            }
            if attempts.has_another(last.attempt, &last.outcome) {
                schedule.next_attempts.insert(key, last.attempt + 1);
            } else {
                schedule.outcomes.insert(key, last.outcome.clone());
            }
        }
        schedule.unblock_tests();
        let outcomes = &schedule.outcomes;
        schedule.remaining = remaining(&schedule.units, |one, profile| !outcomes.contains_key(&key(one, profile)));
        // A machine with one CPU would have nothing to run.
        schedule.is_wide =
            !schedule.remaining.is_empty() && schedule.remaining.iter().flat_map(|unit| &unit.tests).all(needs_cpus);
        schedule
    }

    /// Returns the number of the next attempt at a test in this environment.
    pub fn first_attempt(&self, profiles: &[ProfileName], test: &TestId) -> u32 {
        let next = |profile: &ProfileName| self.next_attempts.get(&(profile.clone(), test.clone())).copied();
        profiles.iter().filter_map(next).max().unwrap_or(1)
    }

    /// Checks whether nothing is left to run, so that no environment has to be brought up.
    ///
    /// A test that failed in a machine may have to be repeated in a fresh one, which is known only when a machine is
    /// up.
    pub fn is_over(&self) -> bool {
        let failed = |(key, outcome): (&Key, &Outcome)| {
            matches!(outcome, Outcome::Fail(_) | Outcome::Error { .. }) && !self.confirmed.contains(key)
        };
        self.remaining.is_empty() && !(self.is_vm && self.outcomes.iter().any(failed))
    }

    /// Forgets that a test was blocked if the test that blocked it will run again.
    fn unblock_tests(&mut self) {
        loop {
            let known: BTreeSet<Key> = self.outcomes.keys().cloned().collect();
            self.outcomes.retain(|(profile, _), outcome| match outcome {
                Outcome::Blocked { by } => known.contains(&(profile.clone(), by.clone())),
                _ => true,
            });
            if self.outcomes.len() == known.len() {
                return;
            }
        }
    }
}

/// Checks whether a test failed in so many machines that another one would show nothing new.
fn is_confirmed(tried: &[EndedAttempt]) -> bool {
    let machines = |counts: &dyn Fn(&Outcome) -> bool| {
        tried.iter().filter(|one| counts(&one.outcome)).map(|one| one.machine).collect::<BTreeSet<u32>>().len()
    };
    machines(&|outcome| matches!(outcome, Outcome::Fail(_))) >= CONFIRMED
        || machines(&|outcome| matches!(outcome, Outcome::Fail(_) | Outcome::Error { .. })) >= TRIED_ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::schedule::{AfterAttempt, AfterEnvironment, EnvironmentEnd};
    use model::profile::Profile;
    use std::time::Instant;
    use suites::catalogue::Configuration;
    use suites::environment::Environment;
    use suites::outcome::{Component, Failure};

    const PROFILE: &str = "go-3.29";
    /// Attempts that ended: (machine, attempt, outcome).
    type Before<'a> = &'a [(u32, u32, &'a str)];

    fn outcome(word: &str) -> Outcome {
        match word {
            "pass" => Outcome::Pass,
            "fail" => Outcome::Fail(Failure::new(Component::Qemu, "refused")),
            "error" => Outcome::Error { message: "lost".to_owned() },
            "skip" => Outcome::Skip { reason: "no device".to_owned() },
            by => Outcome::Blocked { by: by.parse().unwrap() },
        }
    }

    fn units(environment: Environment) -> Vec<Unit> {
        let profile = Profile::find(PROFILE).unwrap();
        let mut units = plan::units(std::slice::from_ref(profile), environment, |_| true, |p, _| p.name.to_string());
        units.retain(|unit| matches!(unit.configuration, Configuration::Static | Configuration::Plain));
        units
    }

    /// Builds the progress of a cell from tests and their attempts.
    fn progress(tests: &[(&str, Before<'_>)]) -> CellProgress {
        let tried = |(machine, attempt, word): &(u32, u32, &str)| EndedAttempt {
            machine: *machine,
            attempt: *attempt,
            outcome: outcome(word),
        };
        let tests = tests.iter().map(|(test, before)| {
            ((PROFILE.parse().unwrap(), test.parse().unwrap()), before.iter().map(tried).collect::<Vec<EndedAttempt>>())
        });
        CellProgress { ended: false, machines: 2, guests: 7, tests: tests.collect() }
    }

    fn guests_test(units: &[Unit]) -> TestId {
        let plain = units.iter().find(|unit| unit.configuration == Configuration::Plain).unwrap();
        plain.tests.iter().find(|one| is_nested(one)).unwrap().test.id.clone()
    }

    fn is_nested(one: &plan::PlannedTest) -> bool {
        reports::verdict::agreement::is_nested(one.test)
    }

    #[test]
    fn earlier_attempts_decide_whether_a_test_runs_again() {
        let units = units(Environment::Vm);
        let test = guests_test(&units);
        let profiles = [PROFILE.parse().unwrap()];
        // Columns: the earlier attempts; the number of the next attempt, if the test runs again; whether its failure is
        // confirmed.
        let table: [(Before<'_>, Option<u32>, bool); 8] = [
            (&[], Some(1), false),
            (&[(1, 1, "pass")], None, false),
            (&[(1, 1, "skip")], None, false),
            (&[(1, 1, "fail")], Some(2), false),
            (&[(1, 1, "fail"), (1, 2, "pass")], None, false),
            (&[(1, 1, "fail"), (1, 2, "fail")], None, false),
            (&[(1, 1, "fail"), (1, 2, "fail"), (2, 1, "fail"), (2, 2, "fail")], None, true),
            (&[(1, 1, "error"), (1, 2, "error"), (2, 1, "fail"), (2, 2, "fail")], None, false),
        ];
        for (before, next, is_certain) in table {
            let schedule = Schedule::resumed(units.clone(), true, Attempts::retrying(1), &progress(&[(&test, before)]));
            let is_left = schedule.remaining.iter().flat_map(|unit| &unit.tests).any(|one| one.test.id == test);
            let actual = is_left.then(|| schedule.first_attempt(&profiles, &test));
            assert_eq!(actual, next, "{before:?}");
            assert_eq!(
                schedule.confirmed.contains(&(PROFILE.parse::<ProfileName>().unwrap(), test.clone())),
                is_certain,
                "{before:?}"
            );
        }
    }

    #[test]
    fn a_repeated_test_is_resumed_until_it_ran_often_enough() {
        let units = units(Environment::Vm);
        let test = guests_test(&units);
        let attempts = Attempts { retries: 1, repeat: 2 };
        for (before, is_left) in [(&[(1, 1, "pass")][..], true), (&[(1, 1, "pass"), (1, 2, "fail")], false)] {
            let schedule = Schedule::resumed(units.clone(), true, attempts, &progress(&[(&test, before)]));
            let actual = schedule.remaining.iter().flat_map(|unit| &unit.tests).any(|one| one.test.id == test);
            assert_eq!(actual, is_left, "{before:?}");
        }
    }

    #[test]
    fn the_machine_has_several_cpus_if_only_such_tests_remain() {
        let profile = Profile::find(PROFILE).unwrap();
        let units = plan::units(std::slice::from_ref(profile), Environment::Vm, |_| true, |p, _| p.name.to_string());
        let pass: Before<'_> = &[(1, 1, "pass")];
        let others = units.iter().flat_map(|unit| &unit.tests).filter(|one| !needs_cpus(one));
        let done: Vec<(&str, Before<'_>)> = others.map(|one| (one.test.id.as_str(), pass)).collect();
        let is_wide = |done: &[(&str, Before<'_>)]| {
            Schedule::resumed(units.clone(), true, Attempts::retrying(1), &progress(done)).needs_cpus()
        };
        assert!(is_wide(&done));
        assert!(!is_wide(&done[1..]) && !is_wide(&[]), "the others run first");
    }

    #[test]
    fn machine_and_guest_numbers_continue_after_a_resume() {
        let mut schedule = Schedule::resumed(units(Environment::Vm), true, Attempts::retrying(1), &progress(&[]));
        assert_eq!((schedule.new_machine(), schedule.new_guest()), (3, 8));
    }

    #[test]
    fn a_blocked_test_runs_again_if_its_blocker_does() {
        let units = units(Environment::Container);
        let all = || units.iter().flat_map(|unit| &unit.tests);
        let blocked = all().find(|one| one.test.blocked_by.iter().any(|by| all().any(|other| other.test.id == *by)));
        let blocked = blocked.unwrap().test;
        let by = blocked.blocked_by.iter().find(|by| all().any(|other| other.test.id == **by)).unwrap();
        for (before, is_left) in [(&[(0, 1, "fail")][..], true), (&[(0, 1, "fail"), (0, 2, "fail")], false)] {
            let done = progress(&[(by.as_str(), before), (blocked.id.as_str(), &[(0, 1, by.as_str())])]);
            let schedule = Schedule::resumed(units.clone(), false, Attempts::retrying(1), &done);
            let actual = schedule.remaining.iter().flat_map(|unit| &unit.tests).any(|one| one.test.id == blocked.id);
            assert_eq!(actual, is_left, "{before:?}");
        }
    }

    #[test]
    fn a_cell_without_remaining_tests_needs_no_environment() {
        for (environment, word, is_over) in [
            (Environment::Container, "pass", true),
            (Environment::Vm, "pass", true),
            // All attempts in a container are used up; a virtual machine may be emulated, and the failure is repeated.
            (Environment::Container, "fail", true),
            (Environment::Vm, "fail", false),
        ] {
            let units = units(environment);
            let attempts = [(1, 1, word), (1, 2, word)];
            let ids: Vec<&str> = units.iter().flat_map(|u| &u.tests).map(|one| one.test.id.as_str()).collect();
            let all: Vec<(&str, Before<'_>)> = ids.iter().map(|id| (*id, &attempts[..])).collect();
            let is_vm = environment == Environment::Vm;
            assert_eq!(
                Schedule::resumed(units.clone(), is_vm, Attempts::retrying(1), &progress(&all)).is_over(),
                is_over,
                "{word}"
            );
            assert!(
                !Schedule::resumed(units.clone(), is_vm, Attempts::retrying(1), &progress(&all[1..])).is_over(),
                "one is left"
            );
        }
    }

    /// A failure that was seen in one machine before the resumption is repeated in a fresh machine; one that was seen
    /// in two is not.
    #[test]
    fn a_nested_failure_is_repeated_once_across_resumes() {
        let units = units(Environment::Vm);
        let test = guests_test(&units);
        let ids: Vec<TestId> = units.iter().flat_map(|u| &u.tests).map(|one| one.test.id.clone()).collect();
        let twice: Before<'_> = &[(1, 1, "fail"), (1, 2, "fail"), (2, 1, "fail"), (2, 2, "fail")];
        for (before, is_repeated) in [(&twice[..2], true), (twice, false)] {
            let pass: Before<'_> = &[(1, 1, "pass")];
            let of = |id: &TestId| if *id == test { before } else { pass };
            let all: Vec<(&str, Before<'_>)> = ids.iter().map(|id| (id.as_str(), of(id))).collect();
            let mut schedule = Schedule::resumed(units.clone(), true, Attempts::retrying(1), &progress(&all));
            schedule.new_machine();
            assert!(schedule.begin(true).into_iter().flatten().next().is_none(), "nothing else is left");
            let (next, _) = schedule.ended(EnvironmentEnd::Whole);
            assert_eq!(matches!(next, AfterEnvironment::Machine(_)), is_repeated, "{before:?}");
            if is_repeated {
                schedule.new_machine();
                let (profiles, now) = ([PROFILE.parse().unwrap()], Instant::now());
                assert_eq!(schedule.first_attempt(&profiles, &test), 1, "attempts of a fresh machine");
                schedule.started(&profiles, &test, 1, now);
                let after = schedule.finished(&profiles, &test, 1, &Outcome::Pass, false);
                assert_eq!(after, AfterAttempt::Next);
            }
        }
    }
}
