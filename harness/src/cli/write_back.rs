//! `kata-qualify write-back`: what runs showed that are over becomes an entry of a record, by the rules of `run --write-back`.
//!
//! A journal is whatever its maker says, so that what is written is for people to review: the command writes into the
//! folder that is named, and nowhere else.

use crate::cli::arguments::WriteBackArguments;
use crate::cli::given::{Given, given, join};
use crate::cli::{Exit, UsageError, records, redact, report, vouched};
use crate::progress::tell;
use anyhow::Context as _;
use model::profile::Profile;
use reports::run::RunEnding;
use reports::standing::{Recorded, Standings};

/// Runs the command.
pub(super) fn write_back(what: &WriteBackArguments) -> anyhow::Result<Exit> {
    let folder = records::folder(Some(&what.records))?;
    let database = records::database(Some(&what.records))?;
    // What is of no use must not keep the others from being written.
    let mut whole: Vec<Given> = Vec::new();
    for path in &what.runs {
        match given(path).and_then(|one| is_whole(&one).map(|()| one)) {
            Ok(one) => whole.push(one),
            Err(why) => tell(format_args!("not written back: {}", redact(&why.to_string()))),
        }
    }
    if whole.is_empty() {
        return Err(UsageError("no run is given that can be written back".to_owned()).into());
    }
    let joined = tempfile::tempdir().context("creating a folder")?;
    let journal = join(&whole, joined.path())?;
    let matrix = report::matrix_in(&journal, Profile::all(), Some(&database), joined.path());
    if matrix.shaped {
        vouched::is_not_shipped("keys or an image of the caller's vouch for the packages", Some(&what.records))?;
    }
    let standings = Standings::new(&matrix, Recorded::of(database.records()), false);
    records::write_back(&standings, &database, &folder)?;
    Ok(Exit::AsRecorded)
}

/// Whether a run came to its end, and is about the distros' own packages.
fn is_whole(one: &Given) -> Result<(), UsageError> {
    let run = reports::run::fold(&one.journal);
    match (run.ending, run.candidate) {
        (RunEnding::Finished, false) => Ok(()),
        (RunEnding::Finished, true) => Err(UsageError(format!("{}: it is about candidates", one.name))),
        (RunEnding::Interrupted | RunEnding::Killed, _) => Err(UsageError(format!("{}: it has no end", one.name))),
    }
}
