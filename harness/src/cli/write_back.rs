//! `kata-qualify write-back`: writes results of finished runs as entries of a record, by the rules of
//! `run --write-back`.
//!
//! A journal contains whatever its author wrote, so people must review the entries: the command writes only into the
//! directory that is named.

use crate::cli::accepted::{Flaw, GivenCells, Room, has_no_cell};
use crate::cli::arguments::WriteBackArguments;
use crate::cli::input_run::{self, is_over, join};
use crate::cli::{Exit, UsageError, records, redact, report, vouched};
use crate::progress::tell;
use anyhow::Context as _;
use model::profile::Profile;
use model::verified::FOLDER;
use reports::standing::{Recorded, Standings};
use std::path::Path;

/// Why verdicts of a shaped run are not for the shipped records.
const SHAPED: &str = "the packages are vouched for only by the caller's keys, image or records";

/// Runs the command.
pub(super) fn write_back(what: &WriteBackArguments) -> anyhow::Result<Exit> {
    let folder = records::folder(Some(&what.records))?;
    has_records(&folder)?;
    let database = records::database(Some(&what.records))?;
    let given = what.plan.as_deref().map(GivenCells::read).transpose()?;
    // An unusable run must not prevent the others from being written.
    let (mut whole, mut room, mut shaped) = (Vec::new(), Room::default(), None);
    let not_written = |why: &str| tell(format_args!("not written back: {}", redact(why)));
    for path in &what.runs {
        let mut one = match input_run::read(path).and_then(|one| is_over(&one).map(|()| one)) {
            Ok(one) => one,
            Err(why) => {
                not_written(&why.to_string());
                continue;
            }
        };
        match Flaw::of(&one) {
            None => {}
            Some(Flaw::Shaped) => {
                if let Err(why) = vouched::is_not_shipped(SHAPED, Some(&what.records)) {
                    not_written(&format!("{}: {why}", one.name));
                    shaped = Some(why);
                    continue;
                }
            }
            Some(flaw @ (Flaw::Unfinished | Flaw::Candidate)) => {
                not_written(&format!("{}: {}", one.name, flaw.words()));
                continue;
            }
        }
        if let Some(why) = given.as_ref().and_then(|given| given.restrict(&mut one, path)) {
            not_written(&why);
            if has_no_cell(&one) {
                continue;
            }
        }
        match room.take(&one) {
            Ok(()) => whole.push(one),
            Err(why) => not_written(&why.to_string()),
        }
    }
    if whole.is_empty() {
        // In a pipeline, whose runs are untrusted, such a run is no mistake of the caller.
        if let Some(why) = shaped.filter(|_| given.is_none()) {
            return Err(why.into());
        }
        // If all runs of a night were killed, a pipeline goes on with the records unchanged.
        tell(format_args!("error: nothing written: none of these runs can be written back"));
        return Ok(Exit::Infrastructure);
    }
    let joined = tempfile::tempdir().context("creating a folder")?;
    let journal = join(&whole, &[], joined.path())?;
    let matrix = report::matrix_in(&journal, Profile::all(), Some(&database), joined.path());
    let standings = Standings::new(&matrix, Recorded::of(database.records()), false);
    records::write_back(&standings, &database, &folder)?;
    Ok(Exit::AsRecorded)
}

/// Refuses a directory that has neither records nor verdicts, because nobody would look for verdicts there.
fn has_records(folder: &Path) -> Result<(), UsageError> {
    let failed = |why: String| UsageError(format!("--records {}: {why}", folder.display()));
    if folder.join(FOLDER).is_dir() {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|e| failed(e.to_string()))?;
    let is_record = |path: &Path| path.is_file() && path.extension().is_some_and(|extension| extension == "yaml");
    match entries.flatten().any(|entry| is_record(&entry.path())) {
        true => Ok(()),
        false => Err(failed(format!("expected records (*.yaml) or a folder {FOLDER}/ in it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_records_or_of_verdicts_is_written_into() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "").unwrap();
        let refused = has_records(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("expected records (*.yaml) or a folder verified/ in it"), "{refused}");
        std::fs::create_dir(dir.path().join("folder.yaml")).unwrap();
        has_records(dir.path()).unwrap_err();
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        has_records(dir.path()).unwrap();
        std::fs::remove_dir(dir.path().join(FOLDER)).unwrap();
        std::fs::write(dir.path().join("debian.yaml"), "").unwrap();
        has_records(dir.path()).unwrap();
    }
}
