//! Sample runs for the tests of the progress display.

use super::state::RunProgress;
use crate::fixtures;
use jiff::Timestamp;
use model::profile::ProfileName;
use reports::journal::{CellId, Event};
use suites::outcome::{Component, Failure, Outcome};

pub(super) const TEST: &str = "filesystem::virtio_fs::rename_is_atomic";

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_785_000_000 + seconds).unwrap()
}

pub(super) fn id(name: &str) -> CellId {
    name.parse().unwrap()
}

pub(super) fn profiles() -> Vec<ProfileName> {
    vec!["go-3.32".parse().unwrap(), "rs-4.1".parse().unwrap()]
}

pub(super) fn begins(cells: &[&str], planned: u64, filter: Option<&str>) -> Event {
    let cells: Vec<CellId> = cells.iter().map(|name| id(name)).collect();
    fixtures::begins("r1", &cells, planned, filter)
}

pub(super) fn started(cell: &str, test: &str, attempt: u32) -> Event {
    Event::TestStarted { cell: id(cell), profiles: profiles(), test: test.parse().unwrap(), attempt }
}

pub(super) fn finished(cell: &str, test: &str, profiles: Vec<ProfileName>, outcome: Outcome) -> Event {
    Event::TestFinished {
        cell: id(cell),
        profiles,
        test: test.parse().unwrap(),
        attempt: 1,
        machine: 0,
        guests: Vec::new(),
        outcome,
        millis: 1,
        notes: Vec::new(),
        artifacts: Vec::new(),
    }
}

pub(super) fn fails() -> Outcome {
    Outcome::Fail(Failure::new(Component::Qemu, "no \u{1b}[1mq35\nand more"))
}

pub(super) fn in_error() -> Outcome {
    Outcome::Error { message: "during this test, the machine was lost".to_owned() }
}

/// Builds a run of one cell that took ten minutes before: one test failed, one passed, three are left.
pub(super) fn one_cell() -> RunProgress {
    let cell = "debian:13/x86_64/container";
    let mut state = RunProgress::default();
    state.expect([(id(cell), 10)].into());
    for (event, seconds) in [
        (begins(&[cell], 5, None), 0),
        (Event::CellStarted { cell: id(cell) }, 0),
        (finished(cell, "a", profiles(), Outcome::Pass), 20),
        (finished(cell, "b", profiles(), fails()), 20),
    ] {
        state.saw(&event, at(seconds));
    }
    state
}
