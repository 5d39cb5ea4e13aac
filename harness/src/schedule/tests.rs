use super::*;
use crate::plan;
use model::profile::Profile;
use suites::catalogue::Configuration;
use suites::environment::Environment;
use suites::outcome::{Component, Failure};
use suites::test::Need;

/// The fake line's answer to an attempt.
enum Answer {
    Outcome(Outcome),
    /// A sandbox of Kata's does not answer.
    Silence,
    /// The machine is lost.
    Loss,
}

/// An attempt as the fake line sees it: machine, profile, test, number.
type Attempt<'a> = (u32, &'a str, &'a str, u32);

/// Runs a cell with this fake line; returns the steps between machines.
///
/// Units run one after the other, as with one permit; each test is handled as by [`crate::cell`].
fn drive(
    schedule: &mut Schedule,
    is_emulated: bool,
    mut line: impl FnMut(Attempt<'_>) -> Answer,
) -> Vec<AfterEnvironment> {
    let mut decisions = Vec::new();
    loop {
        let end = machine(schedule, is_emulated, &mut line);
        let (next, _) = schedule.ended(end);
        decisions.push(next);
        if !matches!(next, AfterEnvironment::Machine(_)) {
            return decisions;
        }
        assert!(decisions.len() < 50, "it never ends");
    }
}

fn machine(schedule: &mut Schedule, is_emulated: bool, line: &mut impl FnMut(Attempt<'_>) -> Answer) -> EnvironmentEnd {
    schedule.new_machine();
    for unit in schedule.begin(is_emulated).into_iter().flatten() {
        for planned in &unit.tests {
            if schedule.is_to_be_replaced() {
                return EnvironmentEnd::Whole;
            }
            for (profile, blocker) in schedule.blockers(planned) {
                let profiles = [profile.clone()];
                let test = &planned.test.id;
                if let Some(by) = blocker {
                    schedule.started(&profiles, test, 1, Instant::now());
                    schedule.finished(&profiles, test, 1, &Outcome::Blocked { by }, false);
                    continue;
                }
                for attempt in 1.. {
                    schedule.started(&profiles, test, attempt, Instant::now());
                    let (outcome, unanswered) = match line((schedule.machine(), &profile, test, attempt)) {
                        Answer::Outcome(outcome) => (outcome, false),
                        Answer::Silence => (Outcome::Error { message: "no answer".to_owned() }, true),
                        Answer::Loss => return EnvironmentEnd::Lost,
                    };
                    if schedule.finished(&profiles, test, attempt, &outcome, unanswered) == AfterAttempt::Next {
                        break;
                    }
                }
            }
        }
    }
    EnvironmentEnd::Whole
}

fn pass() -> Answer {
    Answer::Outcome(Outcome::Pass)
}

fn fail() -> Answer {
    Answer::Outcome(Outcome::Fail(Failure::new(Component::Qemu, "refused")))
}

/// Returns the tests of one profile in virtual machines, only those of these configurations.
fn units(configurations: &[Configuration]) -> Vec<Unit> {
    let profile = Profile::find("go-3.29").unwrap();
    let mut units = plan::units(std::slice::from_ref(profile), Environment::Vm, |_| true, |p, _| p.name.to_string());
    units.retain(|unit| configurations.contains(&unit.configuration));
    units
}

fn vm(configurations: &[Configuration]) -> Schedule {
    Schedule::new(units(configurations), true, Attempts::retrying(1))
}

fn outcome_of<'s>(schedule: &'s Schedule, test: &str) -> Option<&'s Outcome> {
    schedule.outcomes.get(&("go-3.29".parse::<ProfileName>().unwrap(), test.parse::<TestId>().unwrap()))
}

fn ids(units: &[Unit]) -> Vec<String> {
    units.iter().flat_map(|unit| &unit.tests).map(|planned| planned.test.id.to_string()).collect()
}

const BLK: &[Configuration] = &[Configuration::Static, Configuration::Plain, Configuration::VirtioBlk];

const CPU: &str = "smoke::cpu_is_hotplugged";

#[test]
fn under_emulation_tests_needing_cpus_run_last_in_their_own_machine() {
    let configurations = &[Configuration::Static, Configuration::Own];
    for (is_emulated, machines) in [(true, 2), (false, 1)] {
        let mut schedule = vm(configurations);
        let mut ran = Vec::new();
        let decisions = drive(&mut schedule, is_emulated, |(machine, _, test, _)| {
            ran.push((machine, test.to_owned()));
            pass()
        });
        let more = AfterEnvironment::Machine(RestartReason::Cpus);
        assert_eq!(
            decisions,
            if is_emulated { vec![more, AfterEnvironment::Finished] } else { vec![AfterEnvironment::Finished] }
        );
        let all = units(configurations);
        let wide: Vec<&str> = all
            .iter()
            .flat_map(|unit| &unit.tests)
            .filter(|planned| planned.test.needs.contains(&Need::Cpus))
            .map(|planned| planned.test.id.as_str())
            .collect();
        assert!(wide.contains(&CPU), "{wide:?}");
        for (machine, test) in &ran {
            assert_eq!(*machine, if wide.contains(&test.as_str()) { machines } else { 1 }, "{test}");
        }
        assert_eq!(ran.len(), ids(&units(configurations)).len());
        assert_eq!(schedule.needs_cpus(), is_emulated);
    }
}

#[test]
fn a_lost_machine_with_several_cpus_is_replaced_by_another_such() {
    let mut schedule = vm(&[Configuration::Static, Configuration::Own]);
    let mut wide = Vec::new();
    let decisions = drive(&mut schedule, true, |(machine, _, test, _)| match (machine, test) {
        (2, CPU) => Answer::Loss,
        (_, CPU) => {
            wide.push(machine);
            fail()
        }
        _ => pass(),
    });
    let next = [RestartReason::Cpus, RestartReason::Lost, RestartReason::Repeat].map(AfterEnvironment::Machine);
    assert_eq!(decisions, [&next[..], &[AfterEnvironment::Finished]].concat());
    // Each failure is tried again in the same machine.
    assert_eq!(wide, [3, 3, 4, 4]);
    assert!(schedule.needs_cpus());
    assert!(matches!(outcome_of(&schedule, CPU), Some(Outcome::Fail { .. })));
}

#[test]
fn if_all_tests_pass_one_machine_runs_each_of_them_once() {
    let mut schedule = vm(BLK);
    let mut ran = Vec::new();
    let decisions = drive(&mut schedule, true, |(_, _, test, attempt)| {
        ran.push((test.to_owned(), attempt));
        pass()
    });
    assert_eq!(decisions, [AfterEnvironment::Finished]);
    let expected: Vec<(String, u32)> = ids(&units(BLK)).into_iter().map(|id| (id, 1)).collect();
    assert_eq!(ran, expected);
    assert_eq!(schedule.progress(), (expected.len(), expected.len()));
    assert_eq!(schedule.summary(), format!("{} pass", expected.len()));
}

#[test]
fn a_machine_lost_during_a_test_costs_only_that_test_an_attempt() {
    let mut schedule = vm(BLK);
    let all = ids(&units(BLK));
    let lost = all[all.len() / 2].clone();
    let mut ran = Vec::new();
    let decisions = drive(&mut schedule, true, |(machine, _, test, _)| {
        ran.push((machine, test.to_owned()));
        if machine == 1 && test == lost { Answer::Loss } else { pass() }
    });
    assert_eq!(decisions, [AfterEnvironment::Machine(RestartReason::Lost), AfterEnvironment::Finished]);
    let second: Vec<String> = ran.iter().filter(|(machine, _)| *machine == 2).map(|(_, test)| test.clone()).collect();
    assert_eq!(second, all[all.len() / 2..], "it and those after it");
    assert_eq!(outcome_of(&schedule, &lost), Some(&Outcome::Pass));
    assert!(schedule.summary().contains("1 error"), "the attempt is told: {}", schedule.summary());
}

#[test]
fn a_test_that_loses_two_machines_is_an_error() {
    let mut schedule = vm(BLK);
    let lost = ids(&units(BLK)).pop().unwrap();
    let decisions = drive(&mut schedule, true, |(_, _, test, _)| if test == lost { Answer::Loss } else { pass() });
    // Every test has an outcome then; that of a nested guest is repeated once more, and the test loses another machine.
    assert_eq!(
        decisions[..2],
        [AfterEnvironment::Machine(RestartReason::Lost), AfterEnvironment::Machine(RestartReason::Repeat)]
    );
    assert_eq!(decisions.last(), Some(&AfterEnvironment::Finished));
    assert_eq!(outcome_of(&schedule, &lost), Some(&Outcome::Error { message: LOST_TWICE.to_owned() }));
}

#[test]
fn a_cell_that_makes_progress_may_lose_more_machines() {
    let mut schedule = vm(BLK);
    let done = |i: usize| -> Key { ("done".parse().unwrap(), format!("test_{i}").parse().unwrap()) };
    schedule.outcomes.extend((0..3 * OUTCOMES_FOR_ONE_MORE).map(|i| (done(i), Outcome::Pass)));
    let mut machines = 0;
    drive(&mut schedule, true, |(machine, ..)| {
        machines = machine;
        Answer::Loss
    });
    assert_eq!(machines, LOSSES_OF_A_CELL + 3 + 1);
}

#[test]
fn a_cell_is_given_up_when_its_budget_of_losses_is_used_up() {
    let mut schedule = vm(BLK);
    let mut machines = 0;
    let decisions = drive(&mut schedule, true, |(machine, ..)| {
        machines = machine;
        Answer::Loss
    });
    assert_eq!((machines, decisions.last()), (LOSSES_OF_A_CELL + 1, Some(&AfterEnvironment::GivenUp)));
    // A lost environment is not replaced if tests have no second attempt, nor if it is a container.
    for mut schedule in [
        Schedule::new(units(BLK), true, Attempts::retrying(0)),
        Schedule::new(units(BLK), false, Attempts::retrying(1)),
    ] {
        assert_eq!(drive(&mut schedule, true, |_| Answer::Loss), [AfterEnvironment::GivenUp]);
    }
    let mut broken = vm(BLK);
    broken.new_machine();
    assert_eq!(broken.ended(EnvironmentEnd::Broken), (AfterEnvironment::GivenUp, Vec::new()));
}

#[test]
fn an_interrupted_test_is_reported_with_its_attempt() {
    let mut schedule = vm(BLK);
    schedule.new_machine();
    schedule.begin(true);
    let now = Instant::now();
    let profiles = ["go-3.29".parse().unwrap()];
    let test: TestId = "smoke::boots".parse().unwrap();
    schedule.started(&profiles, &test, 2, now);
    let (next, interrupted) = schedule.ended(EnvironmentEnd::Lost);
    let expected = Interrupted { profiles: profiles.to_vec(), test, attempt: 2, began: now };
    assert_eq!((next, interrupted), (AfterEnvironment::Machine(RestartReason::Lost), vec![expected]));
}

#[test]
fn an_unanswered_last_test_runs_again_in_a_new_machine() {
    let mut units = units(&[Configuration::Static, Configuration::Kata]);
    for unit in &mut units {
        // Tests that need several CPUs run in another machine after that.
        unit.tests.retain(|planned| !planned.test.needs.contains(&Need::Cpus));
    }
    let all = ids(&units);
    let mut schedule = Schedule::new(units, true, Attempts::retrying(1));
    let last = all.last().unwrap().clone();
    let mut ran = Vec::new();
    let decisions = drive(&mut schedule, true, |(machine, _, test, _)| {
        ran.push((machine, test.to_owned()));
        if machine == 1 && test == last { Answer::Silence } else { pass() }
    });
    assert_eq!(decisions, [AfterEnvironment::Machine(RestartReason::Unanswered), AfterEnvironment::Finished]);
    assert_eq!(ran.last(), Some(&(2, last.clone())));
    assert_eq!(ran.iter().filter(|(machine, _)| *machine == 2).count(), 1, "nothing else runs again");
    assert_eq!(outcome_of(&schedule, &last), Some(&Outcome::Pass));
}

#[test]
fn without_emulation_an_unanswered_test_is_retried_in_place() {
    let mut schedule = vm(&[Configuration::Kata]);
    let first = ids(&units(&[Configuration::Kata])).remove(0);
    let mut attempts = 0;
    let decisions = drive(&mut schedule, false, |(_, _, test, attempt)| {
        attempts = if test == first { attempt } else { attempts };
        if test == first && attempt == 1 { Answer::Silence } else { pass() }
    });
    assert_eq!((decisions, attempts), (vec![AfterEnvironment::Finished], 2));
}

#[test]
fn the_number_of_replaced_machines_is_limited() {
    let mut schedule = vm(&[Configuration::Kata]);
    // Tests that block others pass here, because the others would not be tried otherwise.
    let all = units(&[Configuration::Kata]);
    let tests = all.iter().flat_map(|unit| &unit.tests);
    let blockers: BTreeSet<TestId> = tests.flat_map(|planned| planned.test.blocked_by.iter().cloned()).collect();
    let decisions =
        drive(&mut schedule, true, |(_, _, test, _)| if blockers.contains(test) { pass() } else { Answer::Silence });
    let replacements =
        decisions.iter().filter(|next| **next == AfterEnvironment::Machine(RestartReason::Unanswered)).count();
    assert_eq!(replacements, usize::try_from(REPLACEMENTS_OF_A_CELL).unwrap(), "{decisions:?}");
    assert_eq!(decisions.last(), Some(&AfterEnvironment::Finished));
}

#[test]
fn failures_block_others_until_they_pass_in_a_fresh_machine() {
    let mounts = "filesystem::virtio_blk::mounts_in_the_guest";
    let behind = "filesystem::virtio_blk::rename_is_atomic";
    let mut schedule = vm(BLK);
    let decisions = drive(
        &mut schedule,
        true,
        |(machine, _, test, _)| {
            if machine == 1 && test == mounts { fail() } else { pass() }
        },
    );
    assert_eq!(decisions, [AfterEnvironment::Machine(RestartReason::Repeat), AfterEnvironment::Finished]);
    assert_eq!(
        (outcome_of(&schedule, mounts), outcome_of(&schedule, behind)),
        (Some(&Outcome::Pass), Some(&Outcome::Pass))
    );

    let mut schedule = vm(BLK);
    let mut attempts = Vec::new();
    let decisions = drive(&mut schedule, true, |(machine, _, test, attempt)| {
        if test == mounts {
            attempts.push((machine, attempt));
            return fail();
        }
        pass()
    });
    assert_eq!(
        decisions,
        [AfterEnvironment::Machine(RestartReason::Repeat), AfterEnvironment::Finished],
        "a fresh machine, and no more than one"
    );
    assert_eq!(attempts, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    assert!(matches!(outcome_of(&schedule, behind), Some(Outcome::Blocked { by }) if by == mounts));

    // Without emulation the failure stands.
    let mut schedule = vm(BLK);
    let decisions = drive(&mut schedule, false, |(_, _, test, _)| if test == mounts { fail() } else { pass() });
    assert_eq!(decisions, [AfterEnvironment::Finished]);
}

#[test]
fn outcomes_of_tests_to_be_repeated_are_cleared_first() {
    let mounts = "filesystem::virtio_blk::mounts_in_the_guest";
    let behind = "filesystem::virtio_blk::rename_is_atomic";
    let mut schedule = vm(BLK);
    let end = machine(&mut schedule, true, &mut |(_, _, test, _)| if test == mounts { fail() } else { pass() });
    assert!(matches!(outcome_of(&schedule, behind), Some(Outcome::Blocked { .. })));
    assert_eq!(schedule.ended(end).0, AfterEnvironment::Machine(RestartReason::Repeat));
    assert_eq!((outcome_of(&schedule, mounts), outcome_of(&schedule, behind)), (None, None));
    assert!(ids(&schedule.remaining).contains(&behind.to_owned()), "what it blocked runs again with it");
}

#[test]
fn units_of_an_emulated_machine_run_one_after_the_other() {
    let profiles: Vec<_> = ["go-3.29", "rs-4.0"].map(|name| Profile::find(name).unwrap().clone()).into();
    let units = plan::units(&profiles, Environment::Vm, |_| true, |p, _| p.name.to_string());
    let groups = |is_emulated| {
        let groups = in_turn(units.clone(), is_emulated);
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), units.len());
        assert!(groups[0].iter().all(|unit| unit.configuration == Configuration::Static));
        groups
    };
    let emulated = groups(true);
    assert!(emulated.len() > 4 && emulated[1..].iter().all(|group| group.len() == 1), "{} groups", emulated.len());
    assert_eq!(groups(false).len(), 2);
}

#[test]
fn a_failure_without_a_nested_guest_is_not_repeated() {
    let flags = "smoke::virtiofsd_accepts_the_profiles_flags";
    let configurations = [Configuration::Static, Configuration::Own, Configuration::VirtioFs];
    let mut schedule = vm(&configurations);
    assert!(ids(&units(&configurations)).contains(&flags.to_owned()));
    let decisions = drive(&mut schedule, true, |(_, _, test, _)| if test == flags { fail() } else { pass() });
    assert_eq!(decisions, [AfterEnvironment::Machine(RestartReason::Cpus), AfterEnvironment::Finished]);
    assert!(matches!(outcome_of(&schedule, "filesystem::virtio_fs::rename_is_atomic"), Some(Outcome::Blocked { .. })));
}

#[test]
fn guests_are_numbered_over_all_machines_of_a_cell() {
    let mut schedule = Schedule::new(Vec::new(), true, Attempts::retrying(1));
    schedule.new_machine();
    assert_eq!(schedule.new_guest(), 1);
    schedule.new_machine();
    assert_eq!((schedule.new_guest(), schedule.new_guest()), (2, 3));
}
