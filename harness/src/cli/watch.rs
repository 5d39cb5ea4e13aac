//! `kata-qualify watch`: a run that goes on, shown in another terminal.

use crate::cli::{Exit, UsageError};
use crate::progress::{CellLine, Progress};
use crate::watch::{Follower, Shown, Watched};
use reports::journal::CellId;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the command; nothing is written into the run's folder.
pub(super) fn watch(folder: &Path) -> anyhow::Result<Exit> {
    let failed = |e: std::io::Error| UsageError(format!("{}: {e}", folder.display()));
    let mut follower = Follower::open(folder).map_err(failed)?;
    let progress = Progress::new();
    let (mut watched, mut lines) = (Watched::default(), BTreeMap::new());
    loop {
        // Asked first: what is written after that is read below, or by the next one.
        let is_over = follower.is_over();
        let events = follower.read().map_err(failed)?;
        let is_quiet = events.is_empty();
        let mut end = None;
        for shown in events.iter().flat_map(|event| watched.next(event)) {
            match shown {
                Shown::End { interrupted } => end = Some(interrupted),
                other => {
                    // A run that was resumed has begun again.
                    end = None;
                    show(&progress, &mut lines, other);
                }
            }
        }
        // One that wrote its end may be on its way to be resumed; what matters is what stands there last.
        match end {
            Some(true) => return Ok(told(&progress, "the run was interrupted", folder, Exit::Interrupted)),
            Some(false) => {
                progress.say("the run came to its end");
                return Ok(Exit::AsRecorded);
            }
            None if is_over && is_quiet => {
                return Ok(told(&progress, "the run has no end, and nobody works on it", folder, Exit::Infrastructure));
            }
            None if is_quiet => std::thread::sleep(LOOK),
            None => {}
        }
    }
}

fn told(progress: &Progress, what: &str, folder: &Path, exit: Exit) -> Exit {
    progress.say(&format!("{what}: `kata-qualify run --resume {}` goes on with it", folder.display()));
    exit
}

fn show(progress: &Progress, lines: &mut BTreeMap<CellId, CellLine>, shown: Shown) {
    let mut line = |cell: CellId| {
        let name = cell.to_string();
        lines.entry(cell).or_insert_with(|| progress.cell(&name)).clone()
    };
    match shown {
        Shown::Cell(cell) => drop(line(cell)),
        Shown::Doing(cell, what) => line(cell).doing(&what),
        Shown::Detail(cell, what) => line(cell).detail(&what),
        Shown::Done(cell, what) => line(cell).done(&what),
        Shown::Line(text) => progress.say(&text),
        Shown::End { .. } => {}
    }
}
