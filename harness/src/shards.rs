//! Distribution of a plan's cells to shards, each for one machine: how long each cell takes, and which cells go
//! together.
//!
//! The functions are pure; other engines run the shards: a job array, a matrix of jobs, an indexed job.

use reports::journal::{CellId, CellIdError, Environment, MAX_CELLS};
use reports::run::Run;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum number of shards of a plan, which is the maximum number of jobs in GitHub's matrix.
pub const MOST: usize = 256;

/// A cell with its expected duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ExpectedCell {
    /// The cell.
    pub cell: CellId,
    /// The expected duration in whole minutes, at least one.
    pub minutes: u64,
    /// The source of the expected duration.
    pub minutes_from: MinutesFrom,
}

/// The source of a cell's expected duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MinutesFrom {
    /// An earlier run of the same cell.
    Cell,
    /// Earlier runs of other cells in the same environment.
    Environment,
    /// Only the kind of environment.
    Guess,
}

/// Cells for one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Shard {
    /// The expected duration of all cells one after the other.
    pub minutes: u64,
    /// The cells.
    pub cells: Vec<CellId>,
}

/// Returns the duration in minutes of a cell without earlier runs, on a machine with two CPUs.
fn guess(environment: Environment) -> u64 {
    match environment {
        Environment::Container => 8,
        Environment::Vm => 45,
        Environment::Host => 10,
    }
}

/// Returns how long each cell is expected to take, from earlier runs of all tests; the latest run counts.
pub fn expected(cells: &[CellId], runs: &[Run]) -> Vec<ExpectedCell> {
    let mut known = BTreeMap::new();
    for run in runs.iter().filter(|run| run.filter.is_none()) {
        for (id, cell) in run.cells.iter().filter(|(_, cell)| cell.complete && cell.errors.is_empty()) {
            let Some(millis) = cell.millis() else { continue };
            let newest = known.entry(id).or_insert((cell.last, millis));
            *newest = (*newest).max((cell.last, millis));
        }
    }
    let minutes = |millis: u64| millis.div_ceil(60_000).max(1);
    let of = |cell: &CellId| {
        if let Some((_, millis)) = known.get(cell) {
            return (minutes(*millis), MinutesFrom::Cell);
        }
        let alike = known.iter().filter(|(id, _)| id.environment == cell.environment).map(|(_, (_, millis))| *millis);
        let alike: Vec<u64> = alike.collect();
        match alike.len() {
            0 => (guess(cell.environment), MinutesFrom::Guess),
            count => (minutes(alike.iter().sum::<u64>() / count as u64), MinutesFrom::Environment),
        }
    };
    let one = |cell: &CellId| {
        let (minutes, minutes_from) = of(cell);
        ExpectedCell { cell: cell.clone(), minutes, minutes_from }
    };
    cells.iter().map(one).collect()
}

/// Packs cells into at most `shards` shards of about the same duration; none is empty.
///
/// The longest cell is placed first, each into the shard with the least work; the same cells always make the same
/// shards.
pub fn pack(cells: &[ExpectedCell], shards: usize) -> Vec<Shard> {
    let count = shards.clamp(1, MOST).min(cells.len());
    let mut packed = vec![Shard { minutes: 0, cells: Vec::new() }; count];
    let mut longest_first: Vec<&ExpectedCell> = cells.iter().collect();
    longest_first.sort_by(|a, b| b.minutes.cmp(&a.minutes).then_with(|| a.cell.cmp(&b.cell)));
    for cell in longest_first {
        // The first of the shards with the least work.
        let Some(shard) = packed.iter_mut().min_by_key(|shard| (shard.minutes, shard.cells.len())) else { break };
        shard.minutes += cell.minutes;
        shard.cells.push(cell.cell.clone());
    }
    packed
}

/// Reason why a file names no cells.
#[derive(Debug, thiserror::Error)]
pub enum CellsError {
    /// The file starts like JSON, but is not valid.
    #[error("expected JSON: {0}")]
    BadJson(serde_json::Error),
    /// The file is not a plan.
    #[error("expected a plan, as `plan --format json` prints it: {0}")]
    NoPlan(serde_json::Error),
    /// A shard is requested, and the file is not a plan.
    #[error("expected a plan with shards, as `plan --format json` prints it")]
    NoPlanWithShards,
    /// A shard is requested, and the plan has no shards.
    #[error("the plan has no shards: make one with `plan --shards N --format json`")]
    NoShards,
    /// The plan has no such shard.
    #[error("the plan has no shard {shard}: the last one is {last}")]
    NoShard {
        /// The requested shard.
        shard: usize,
        /// The number of the last shard.
        last: usize,
    },
    /// The plan has several shards, and none is requested.
    #[error("the plan has {0} shards: choose one with --shard, the first is 0")]
    SeveralShards(usize),
    /// The file has no list.
    #[error("expected a list of cells")]
    NoList,
    /// An element of the list is not a name.
    #[error("expected names of cells")]
    NoName,
    /// A name is not that of a cell.
    #[error(transparent)]
    BadName(#[from] CellIdError),
    /// The file names no cell.
    #[error("the file names no cell")]
    NoCell,
    /// The plan has no cells.
    #[error("the plan has no cell")]
    EmptyPlan,
    /// The file names more cells than a run can have.
    #[error("the file names {0} cells, at most {max} are allowed", max = MAX_CELLS)]
    TooMany(usize),
    /// The plan has more cells than a run can have.
    #[error("the plan has {0} cells, at most {max} are allowed", max = MAX_CELLS)]
    LongPlan(usize),
}

/// Returns the cells that a file names: a plan with the number of one of its shards, a shard, a JSON list, or one cell
/// per line.
///
/// # Errors
/// If the file has another form, or names no cells or too many.
pub fn cells_of(text: &str, shard: Option<usize>) -> Result<Vec<CellId>, CellsError> {
    let named = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(document) => of_document(&document, shard)?,
        Err(e) if text.trim_start().starts_with(['{', '[']) => return Err(CellsError::BadJson(e)),
        Err(_) if shard.is_some() => return Err(CellsError::NoPlanWithShards),
        Err(_) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        }
    };
    if named.len() > MAX_CELLS {
        return Err(CellsError::TooMany(named.len()));
    }
    let mut cells: Vec<CellId> = Vec::new();
    for name in &named {
        let cell = name.parse::<CellId>()?;
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    if cells.is_empty() { Err(CellsError::NoCell) } else { Ok(cells) }
}

/// Returns the cells of a plan, regardless of shards.
///
/// # Errors
/// If the file is not a plan, or has no cells or too many.
pub fn planned(text: &str) -> Result<Vec<ExpectedCell>, CellsError> {
    #[derive(Deserialize)]
    struct Plan {
        cells: Vec<ExpectedCell>,
    }
    let Plan { cells } = serde_json::from_str(text).map_err(CellsError::NoPlan)?;
    match cells.len() {
        0 => Err(CellsError::EmptyPlan),
        1..=MAX_CELLS => Ok(cells),
        count => Err(CellsError::LongPlan(count)),
    }
}

/// Returns the shards of a plan, in order; none if it has none.
///
/// # Errors
/// If the file is not a plan.
pub fn packed(text: &str) -> Result<Vec<Shard>, CellsError> {
    #[derive(Deserialize)]
    struct Plan {
        #[serde(default)]
        shards: Vec<Shard>,
    }
    let Plan { shards } = serde_json::from_str(text).map_err(CellsError::NoPlan)?;
    Ok(shards)
}

/// A plan of cells that are run again, each in its own shard as far as the limit allows: each gets a fresh machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgainPlan {
    cells: Vec<ExpectedCell>,
    shards: Vec<Shard>,
}

impl AgainPlan {
    /// Makes the plan of the chosen cells of another plan.
    pub fn of(planned: &[ExpectedCell], chosen: impl Fn(&CellId) -> bool) -> AgainPlan {
        let cells: Vec<ExpectedCell> = planned.iter().filter(|one| chosen(&one.cell)).cloned().collect();
        AgainPlan { shards: pack(&cells, cells.len()), cells }
    }
}

fn of_document(document: &serde_json::Value, shard: Option<usize>) -> Result<Vec<String>, CellsError> {
    let shards = document.get("shards").and_then(|shards| shards.as_array());
    let list = match (shards, shard) {
        (Some(shards), Some(shard)) => {
            let last = shards.len().saturating_sub(1);
            let one = shards.get(shard).ok_or(CellsError::NoShard { shard, last })?;
            one.get("cells")
        }
        (Some(shards), None) if shards.len() > 1 => return Err(CellsError::SeveralShards(shards.len())),
        (None, Some(_)) => return Err(CellsError::NoShards),
        (_, None) => document.get("cells").or(Some(document)),
    };
    let list = list.and_then(|list| list.as_array()).ok_or(CellsError::NoList)?;
    let name = |one: &serde_json::Value| one.get("cell").unwrap_or(one).as_str().map(str::to_owned);
    list.iter().map(name).collect::<Option<Vec<String>>>().ok_or(CellsError::NoName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use reports::journal::{Event, Journal, JournalEntry, Phase};

    fn cell(name: &str) -> CellId {
        name.parse().unwrap()
    }

    fn cells(minutes: &[u64]) -> Vec<ExpectedCell> {
        let one = |(number, minutes): (usize, &u64)| ExpectedCell {
            cell: cell(&format!("debian:{number:03}/x86_64/vm")),
            minutes: *minutes,
            minutes_from: MinutesFrom::Guess,
        };
        minutes.iter().enumerate().map(one).collect()
    }

    #[test]
    fn shards_are_about_as_long_as_each_other_and_none_is_empty() {
        // Columns: minutes of the cells, number of requested shards, minutes of the shards.
        let table: [(&[u64], usize, &[u64]); 7] = [
            (&[], 4, &[]),
            (&[5], 4, &[5]),
            (&[5, 5, 5], 1, &[15]),
            (&[45, 8, 8, 8, 8, 8], 2, &[45, 40]),
            (&[8, 45, 8, 8], 2, &[45, 24]),
            (&[3, 3, 2, 2, 2], 2, &[7, 5]),
            (&[1, 1, 1], 0, &[3]),
        ];
        for (minutes, shards, expected) in table {
            let cells = cells(minutes);
            let packed = pack(&cells, shards);
            assert_eq!(packed.iter().map(|shard| shard.minutes).collect::<Vec<_>>(), expected, "{minutes:?}");
            let mut all: Vec<&CellId> = packed.iter().flat_map(|shard| &shard.cells).collect();
            all.sort();
            assert_eq!(all, cells.iter().map(|one| &one.cell).collect::<Vec<_>>(), "each cell is in one shard");
            let mut turned = cells.clone();
            turned.reverse();
            assert_eq!(pack(&turned, shards), packed, "whatever the order");
        }
    }

    #[test]
    fn a_plan_of_cells_to_rerun_has_a_shard_for_each_cell() {
        let cells = cells(&[5, 8, 3]);
        let plan = serde_json::json!({"arch": "x86_64", "releases": [], "cells": cells, "shards": []}).to_string();
        let planned = planned(&plan).unwrap();
        assert_eq!(planned, cells);
        let again = AgainPlan::of(&planned, |cell| cell.release != "001");
        assert_eq!(again.shards.iter().map(|shard| shard.minutes).collect::<Vec<_>>(), [5, 3]);
        let text = serde_json::to_string(&again).unwrap();
        assert_eq!(cells_of(&text, Some(1)).unwrap(), [cell("debian:002/x86_64/vm")]);
        assert!(AgainPlan::of(&planned, |_| false).shards.is_empty());
        for text in ["", "[]", "{}", "{\"cells\": []}", "{\"cells\": [\"debian:13/x86_64/vm\"]}"] {
            assert!(super::planned(text).is_err(), "{text}");
        }
        let of = |count: usize| super::planned(&serde_json::json!({"cells": self::cells(&vec![1; count])}).to_string());
        assert_eq!(of(MAX_CELLS).unwrap().len(), MAX_CELLS);
        assert!(of(MAX_CELLS + 1).unwrap_err().to_string().contains("1001 cells, at most 1000 are allowed"));
    }

    #[test]
    fn the_number_of_shards_is_limited_to_a_matrixs_jobs() {
        let packed = pack(&cells(&[1; 600]), 1000);
        assert_eq!(packed.len(), MOST);
        assert!(packed.iter().all(|shard| (2..=3).contains(&shard.minutes)));
    }

    /// Builds a run of cells that each take so many seconds from an hour on, with or without an error.
    fn run(hour: i64, filter: Option<&str>, took: &[(&str, i64, bool)]) -> Run {
        let ids: Vec<CellId> = took.iter().map(|(name, ..)| cell(name)).collect();
        let at = |seconds: i64| jiff::Timestamp::from_second(hour * 3600 + seconds).unwrap();
        let begins = fixtures::begins(&format!("r{hour}"), &ids, 0, filter);
        let mut entries = vec![JournalEntry { at: at(0), event: begins }];
        for (id, (_, seconds, is_ok)) in ids.iter().zip(took) {
            entries.push(JournalEntry { at: at(0), event: Event::CellStarted { cell: id.clone() } });
            if !is_ok {
                let event = Event::CellError { cell: id.clone(), phase: Phase::Image, message: "no".to_owned() };
                entries.push(JournalEntry { at: at(*seconds), event });
            }
            entries.push(JournalEntry { at: at(*seconds), event: Event::CellFinished { cell: id.clone() } });
        }
        reports::run::fold(&Journal { entries, cut: false })
    }

    #[test]
    fn minutes_come_from_the_newest_run_of_the_cell_or_a_similar_one() {
        let vm = "debian:13/x86_64/vm";
        let runs = [
            run(9, None, &[(vm, 600, true)]),
            run(1, None, &[(vm, 6000, true), ("debian:12/x86_64/vm", 1201, true)]),
            // Partial runs, and cells that ended early, do not count.
            run(10, Some("host::"), &[(vm, 5, true)]),
            run(11, None, &[(vm, 5, false), ("debian:11/x86_64/container", 1, false)]),
        ];
        let table = [
            (vm, 10, MinutesFrom::Cell),
            ("debian:12/x86_64/vm", 21, MinutesFrom::Cell),
            ("debian:11/x86_64/vm", 16, MinutesFrom::Environment),
            ("debian:11/x86_64/container", 8, MinutesFrom::Guess),
        ];
        let named: Vec<CellId> = table.iter().map(|(name, ..)| cell(name)).collect();
        let actual = expected(&named, &runs);
        assert_eq!(
            actual.iter().map(|one| (one.minutes, one.minutes_from)).collect::<Vec<_>>(),
            table.map(|(_, m, f)| (m, f))
        );
    }

    #[test]
    fn a_file_names_cells_in_any_of_four_forms() {
        let (a, b) = ("debian:12/x86_64/vm", "debian:13/x86_64/vm");
        let shards = [Shard { minutes: 1, cells: vec![cell(a)] }, Shard { minutes: 1, cells: vec![cell(b)] }];
        let expected: Vec<ExpectedCell> = expected(&[cell(a), cell(b)], &[]);
        let plan = serde_json::json!({ "cells": expected, "shards": shards }).to_string();
        let one = serde_json::json!({ "cells": expected, "shards": [] }).to_string();
        let shard = serde_json::to_string(&shards[1]).unwrap();
        let list = format!("[\"{a}\", \"{b}\", \"{a}\"]");
        let lines = format!("# the first shard\n{a}\n\n  {b}\n");
        for (text, number, names) in [
            (&plan, Some(0), &[a][..]),
            (&plan, Some(1), &[b]),
            (&one, None, &[a, b]),
            (&shard, None, &[b]),
            (&list, None, &[a, b]),
            (&lines, None, &[a, b]),
        ] {
            let cells = names.iter().map(|name| cell(name)).collect::<Vec<_>>();
            assert_eq!(cells_of(text, number).unwrap(), cells, "{text}");
        }
        for (text, number, why) in [
            (plan.as_str(), None, "the plan has 2 shards: choose one"),
            (&plan, Some(2), "the plan has no shard 2: the last one is 1"),
            (&lines, Some(0), "expected a plan with shards"),
            (&list, Some(0), "the plan has no shards"),
            ("", None, "the file names no cell"),
            ("{", None, "expected JSON"),
            ("{}", None, "expected a list of cells"),
            ("[1]", None, "expected names of cells"),
            ("debian:13", None, "\"debian:13\" is not a cell"),
            ("../../etc/x86_64/vm", None, "is not a cell"),
        ] {
            let error = cells_of(text, number).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
