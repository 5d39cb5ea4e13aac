//! Start of a run, for the tests of several modules.

use reports::journal::{CellId, Event, RunFacts, RunFilter, SCHEMA};

/// Returns the event that starts a run of these cells under one profile, with `tests` tests for each.
pub(crate) fn begins(run: &str, cells: &[CellId], tests: u64, filter: Option<&str>) -> Event {
    Event::RunStarted {
        schema: SCHEMA,
        run: run.to_owned(),
        harness: String::new(),
        commit: String::new(),
        argv: Vec::new(),
        records: String::new(),
        catalogue: String::new(),
        profiles: vec!["go-3.32".parse().unwrap()],
        cells: cells.to_vec(),
        planned: cells.iter().map(|cell| (cell.clone(), tests)).collect(),
        filter: filter.map(str::to_owned),
        candidate: false,
        shaped: false,
        options: Vec::new(),
        facts: Some(RunFacts {
            filter: filter.map(|text| RunFilter::Matching(text.to_owned())),
            ..RunFacts::default()
        }),
    }
}
