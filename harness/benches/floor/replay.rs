//! The work of a run, read from its journal so that it can be repeated.

use crate::bare::Floor;
use harness::plan;
use model::profile::{Profile, ProfileName};
use reports::journal::{Event, Journal};
use std::collections::BTreeMap;
use suites::catalogue::{Configuration, Test};
use suites::environment::Environment;
use suites::outcome::Outcome;

/// Everything that a run executed.
pub(crate) struct Work {
    /// The Docker image.
    pub(crate) image: String,
    /// Attempts that share a guest, in the order of the plan.
    pub(crate) units: Vec<Unit>,
    /// The arguments of each guest and daemon that the run started, without the parts that differ between runs; sorted.
    launched: Vec<String>,
    /// Each attempt's test and whether it passed, sorted.
    outcomes: Vec<(String, bool)>,
}

/// Attempts that run one after the other.
pub(crate) struct Unit {
    /// The configuration of the guest.
    pub(crate) configuration: Configuration,
    /// The profile from which the guest has its arguments.
    pub(crate) profile: Profile,
    /// Each test with how often it was tried.
    pub(crate) tests: Vec<(&'static Test, usize)>,
}

/// Returns the work to repeat: every attempt whose body ran.
pub(crate) fn of(journal: &Journal, profiles: &[Profile]) -> anyhow::Result<Work> {
    let image = image(journal).ok_or_else(|| anyhow::anyhow!("the journal names no image: the cell broke"))?;
    let mut tried: Vec<(&str, &[ProfileName], bool)> = Vec::new();
    let mut launched = Vec::new();
    for entry in &journal.entries {
        match &entry.event {
            Event::TestFinished { test, profiles, outcome, .. } => match outcome {
                Outcome::Blocked { .. } | Outcome::Skip { .. } => {}
                other => tried.push((test, profiles, *other == Outcome::Pass)),
            },
            Event::GuestStarted { argv, daemon, .. } => launched.push(normalised(argv, daemon)),
            _ => {}
        }
    }
    launched.sort();
    let mut outcomes: Vec<(String, bool)> =
        tried.iter().map(|(test, _, passed)| ((*test).to_owned(), *passed)).collect();
    outcomes.sort();
    let mut units = Vec::new();
    for unit in plan::units(
        profiles,
        Environment::Container,
        |_| true,
        |profile, configuration| {
            let provided = agent::launch::provided::Provided::default();
            agent::launch::compose::normalised(profile, model::arch::Arch::X86_64, configuration, provided)
        },
    ) {
        let mut tests = Vec::new();
        for planned in unit.tests {
            // The attempt ran under only some of the planned profiles if the test was blocked under the others.
            let is_same_test = |(test, profiles, _): &&(&str, &[ProfileName], bool)| {
                planned.test.id == *test && profiles.iter().all(|p| planned.profiles.contains(p))
            };
            match tried.iter().filter(is_same_test).count() {
                0 => {}
                times => tests.push((planned.test, times)),
            }
        }
        units.push(Unit { configuration: unit.configuration, profile: unit.profile, tests });
    }
    Ok(Work { image: image.to_owned(), units, launched, outcomes })
}

/// Returns the Docker image that the run used.
pub(crate) fn image(journal: &Journal) -> Option<&str> {
    journal.entries.iter().find_map(|entry| match &entry.event {
        Event::CellFacts { facts, .. } if !facts.image.is_empty() => Some(facts.image.as_str()),
        _ => None,
    })
}

/// Joins the arguments without their digits, because paths, ids and slots differ from guest to guest.
pub(crate) fn normalised(argv: &[String], daemon: &[String]) -> String {
    let words = argv.iter().chain(daemon).map(String::as_str).collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Describes whether the script did the same as the run.
pub(crate) fn compare(work: &Work, floor: &Floor) -> String {
    let mut launched = floor.launched.clone();
    launched.sort();
    let guests = match launched == work.launched {
        true => format!("the same {} launches", launched.len()),
        false => {
            let run_only = work.launched.iter().find(|line| !launched.contains(line));
            let bare_only = launched.iter().find(|line| !work.launched.contains(line));
            format!(
                "NOT the same launches: {} in the run, {} bare; for example {run_only:?}, {bare_only:?}",
                work.launched.len(),
                launched.len()
            )
        }
    };
    let mut passed: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (side, outcomes) in [&work.outcomes, &floor.outcomes].into_iter().enumerate() {
        for (test, pass) in outcomes {
            passed.entry(test).or_default()[side] += usize::from(*pass);
        }
    }
    let differ: Vec<&str> = passed.iter().filter(|(_, [run, bare])| run != bare).map(|(test, _)| *test).collect();
    let tests = match differ.is_empty() {
        true => format!("the same outcome of {} attempts", floor.outcomes.len()),
        false => format!("other outcomes of {}", differ.join(", ")),
    };
    format!("{guests}; {tests}")
}
