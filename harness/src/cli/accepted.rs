//! The runs and cells that count among several, each judged by itself: one unsuitable run must not spoil the others.

use crate::cli::input_run::InputRun;
use crate::cli::{UsageError, redact, resolved};
use crate::progress::tell;
use crate::shards::{self, ExpectedCell, Shard};
use reports::digest;
use reports::journal::{CellId, MAX_CELLS};
use reports::merge;
use reports::run::RunEnding;
use std::collections::BTreeSet;
use std::path::Path;

/// Maximum number of cells that a message names.
const NAMED: usize = 5;

/// Why a run would spoil those that it is merged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It has no end.
    Unfinished,
    /// It is about candidates or another record.
    Candidate,
    /// Somebody else than the distro vouches for its packages.
    Shaped,
}

impl Flaw {
    /// Returns the flaw of a run, if it has one.
    pub(super) fn of(one: &InputRun) -> Option<Flaw> {
        let run = reports::run::fold(&one.journal);
        match run.ending {
            RunEnding::Interrupted | RunEnding::Killed => Some(Flaw::Unfinished),
            RunEnding::Finished if run.candidate => Some(Flaw::Candidate),
            RunEnding::Finished if run.shaped => Some(Flaw::Shaped),
            RunEnding::Finished => None,
        }
    }

    /// Describes the flaw.
    pub(super) fn words(self) -> &'static str {
        match self {
            Flaw::Unfinished => "the run is not finished",
            Flaw::Candidate => "it tested candidates or used another record, so it is not about what the distro ships",
            Flaw::Shaped => "its packages are vouched for only by the caller's keys, image or records",
        }
    }
}

/// Returns the runs without flaws, and reports each of the others to `leave_out`; if all have flaws, none can spoil
/// another one, and all are returned.
///
/// Of an unfinished run there is only a warning, because whatever nobody else has finished is missing anyhow.
pub(super) fn without_flaws(runs: Vec<InputRun>, mut leave_out: impl FnMut(String)) -> Vec<InputRun> {
    let flaws: Vec<Option<Flaw>> = runs.iter().map(Flaw::of).collect();
    if flaws.iter().all(Option::is_some) {
        return runs;
    }
    let mut suitable = Vec::new();
    for (one, flaw) in runs.into_iter().zip(flaws) {
        match flaw {
            None => suitable.push(one),
            Some(Flaw::Unfinished) => {
                let why = Flaw::Unfinished.words();
                tell(format_args!("warning: skipped {}: {why}", redact(&one.name)));
            }
            Some(flaw) => leave_out(format!("{}: {}", one.name, flaw.words())),
        }
    }
    suitable
}

/// The cells that runs were given.
pub(super) struct GivenCells {
    /// The cells of the plan.
    pub(super) planned: Vec<ExpectedCell>,
    shards: Vec<Shard>,
    /// The beginning of the names that `packaging/run-shard` gives to the plan's runs; the shard's number follows.
    prefix: String,
}

impl GivenCells {
    /// Reads a plan.
    ///
    /// # Errors
    /// If the file is not a plan.
    pub(super) fn read(file: &Path) -> Result<GivenCells, UsageError> {
        let failed = |why: String| UsageError(format!("--plan {}: {why}", file.display()));
        let text = resolved::read(file).map_err(|e| failed(e.to_string()))?;
        let planned = shards::planned(&text).map_err(|e| failed(e.to_string()))?;
        let shards = shards::packed(&text).map_err(|e| failed(e.to_string()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".json").unwrap_or(&name);
        Ok(GivenCells { planned, shards, prefix: format!("{name}-{}-", digest::short(&text)) })
    }

    /// Removes the cells that a run was not given, and returns why, if it has any.
    ///
    /// A bundle is whatever its maker wrote: a machine that was given one release must not decide about another one.
    pub(super) fn restrict(&self, one: &mut InputRun, path: &Path) -> Option<String> {
        let (given, whose) = match self.shard(path) {
            Some(shard) => (shard.cells.iter().collect::<BTreeSet<_>>(), "its shard"),
            None => (self.planned.iter().map(|expected| &expected.cell).collect(), "the plan"),
        };
        let cells = one.journal.entries.iter().flat_map(|entry| entry.event.cells());
        let strange: BTreeSet<CellId> = cells.filter(|cell| !given.contains(*cell)).cloned().collect();
        if strange.is_empty() {
            return None;
        }
        one.journal = merge::without_cells(&one.journal, &strange);
        let mut names: Vec<String> = strange.iter().take(NAMED).map(ToString::to_string).collect();
        if strange.len() > NAMED {
            names.push(format!("{} more", strange.len() - NAMED));
        }
        Some(format!(
            "{}: these cells do not count, because {whose} does not have them: {}",
            one.name,
            names.join(", ")
        ))
    }

    /// Returns the shard that the name of a run's directory or bundle tells: `plan-0123456789ab-7`, `-again1`.
    fn shard(&self, path: &Path) -> Option<&Shard> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".tar.zst").unwrap_or(name);
        let rest = name.strip_prefix(&self.prefix)?;
        let number = rest.split_once("-again").map_or(rest, |(number, _)| number);
        self.shards.get(number.parse::<usize>().ok()?)
    }
}

/// Checks whether a run is about no cell at all.
pub(super) fn has_no_cell(one: &InputRun) -> bool {
    one.journal.entries.iter().all(|entry| entry.event.cells().is_empty())
}

/// The cells of the runs that are merged, of which a journal has room for a limited number.
#[derive(Default)]
pub(super) struct Room(BTreeSet<CellId>);

impl Room {
    /// Makes room for a run.
    ///
    /// # Errors
    /// If a journal has no room for its cells beside those of the runs before it.
    pub(super) fn take(&mut self, one: &InputRun) -> Result<(), UsageError> {
        let mut all = self.0.clone();
        all.extend(one.journal.entries.iter().flat_map(|entry| entry.event.cells()).cloned());
        if all.len() > MAX_CELLS {
            let (name, count) = (&one.name, all.len());
            let why =
                format!("with the runs before it there are {count} cells, a journal can have at most {MAX_CELLS}");
            return Err(UsageError(format!("{name}: {why}")));
        }
        self.0 = all;
        Ok(())
    }
}
