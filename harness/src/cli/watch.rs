//! `kata-qualify watch`: shows a run from another terminal while it goes on.

use crate::cli::{Exit, UsageError};
use crate::progress::Progress;
use crate::watch::Follower;
use reports::journal::Event;
use std::path::Path;
use std::time::Duration;

/// Interval between reads of the journal.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the command; nothing is written into the run's directory.
pub(super) fn watch(folder: &Path) -> anyhow::Result<Exit> {
    let failed = |e: std::io::Error| UsageError(format!("{}: {e}", folder.display()));
    let mut follower = Follower::open(folder).map_err(failed)?;
    let progress = Progress::new();
    loop {
        // Checked first: entries that are written after this check are read below, or in the next round.
        let is_over = follower.is_over();
        let entries = follower.read().map_err(failed)?;
        let is_quiet = entries.is_empty();
        // A run that wrote its end may have been resumed since, so only the last entries count.
        let mut end = None;
        for entry in entries {
            match &entry.event {
                Event::RunStarted { run, .. } => {
                    progress.say(&format!("run {}", reports::redact::text(run)));
                    end = None;
                }
                Event::RunFinished { interrupted } => end = Some(*interrupted),
                _ => {}
            }
            progress.saw(&entry.event, entry.at);
        }
        match end {
            Some(true) => return Ok(report_end(&progress, "the run was interrupted", folder, Exit::Interrupted)),
            Some(false) => {
                progress.say("the run is finished");
                return Ok(Exit::AsRecorded);
            }
            None if is_over && is_quiet => {
                return Ok(report_end(
                    &progress,
                    "the run is incomplete, and no process works on it",
                    folder,
                    Exit::Infrastructure,
                ));
            }
            None if is_quiet => std::thread::sleep(LOOK),
            None => {}
        }
    }
}

fn report_end(progress: &Progress, what: &str, folder: &Path, exit: Exit) -> Exit {
    progress.hide(true);
    progress.say(&format!("{what}: resume it with `kata-qualify run --resume {}`", folder.display()));
    exit
}
