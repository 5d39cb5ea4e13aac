//! The base run of candidates: the same releases in the same environments, as the distro ships them.
//!
//! The base run has its own directory below the candidates' run, with its own journal and artifacts, so that `report`
//! finds it again and exits as `run` did.

use crate::cli::UsageError;
use crate::cli::arguments::{RunArguments, RunFormat};
use anyhow::Context as _;
use model::database::Database;
use model::profile::Profile;
use reports::standing::{BaseRun, Recorded};
use std::path::Path;
use suites::catalogue;

/// The directory of the base run below the candidates' run.
pub(super) const FOLDER: &str = "base";

/// Checks whether the arguments request a base run.
pub(super) fn is_asked(arguments: &RunArguments) -> bool {
    !arguments.images.with_packages.is_empty() && !arguments.no_base
}

/// Returns the arguments of the base run: the same, without the packages under test; `None` if there is to be no base
/// run.
pub(super) fn plain(arguments: &RunArguments, out: &Path) -> Option<RunArguments> {
    if !is_asked(arguments) {
        return None;
    }
    let mut plain = arguments.clone();
    plain.images.with_packages.clear();
    plain.out = Some(out.join(FOLDER));
    // Only the candidates' run may write to standard output.
    plain.format = RunFormat::Human;
    Some(plain)
}

/// Refuses a directory with a base run for commands that would ignore the base run and compare the candidates with the
/// record.
pub(super) fn refuse_below(folder: &Path) -> Result<(), UsageError> {
    if !folder.join(FOLDER).join(reports::journal::FILE).exists() {
        return Ok(());
    }
    let folder = folder.display();
    Err(UsageError(format!(
        "{folder}: its candidates are compared with the base run in {folder}/{FOLDER}, which would be left out: pass \
         on the whole folder, and use `kata-qualify report` there"
    )))
}

/// Returns the results of the base run below a run's directory, if there is one.
///
/// # Errors
/// If its journal cannot be read.
pub(super) fn below(out: &Path) -> anyhow::Result<Option<BaseRun>> {
    let folder = out.join(FOLDER);
    let file = folder.join(reports::journal::FILE);
    if !file.exists() {
        return Ok(None);
    }
    let journal = reports::journal::read(&file).context("reading the base run")?;
    // No record confirms the candidates' results, so none may confirm the results that they are compared with.
    let matrix = reports::views::write::matrix_in(&journal, catalogue::tests(), Profile::all(), &[], &folder);
    Ok(Some(BaseRun::new(matrix)))
}

/// Returns what a run is compared with: its base run, or else the records.
pub(super) fn recorded<'a>(base: Option<&'a BaseRun>, database: &'a Database) -> Recorded<'a> {
    base.map_or_else(|| Recorded::of(database.records()), BaseRun::recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;

    fn arguments(more: &[&str]) -> RunArguments {
        let words = [&["kata-qualify", "run", "debian:13"], more].concat();
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
        *arguments
    }

    #[test]
    fn a_base_run_is_the_same_without_the_packages_under_test() {
        let out = Path::new("/out");
        assert!(plain(&arguments(&["--install", "strace"]), out).is_none());
        let files = ["--with-packages", "a.deb", "b.deb", "--install", "strace", "--format", "ndjson"];
        let parsed = arguments(&files);
        assert_eq!(parsed.images.with_packages.len(), 2);
        let plain = plain(&parsed, out).unwrap();
        assert!(plain.images.with_packages.is_empty());
        assert_eq!((plain.images.install, plain.out), (parsed.images.install, Some(out.join(FOLDER))));
        assert_eq!(plain.format, RunFormat::Human);
        let without = arguments(&["--with-packages", "a.deb", "--no-base"]);
        assert!(super::plain(&without, out).is_none());
    }

    #[test]
    fn a_folder_without_a_journal_has_no_base_run() {
        let dir = tempfile::tempdir().unwrap();
        assert!(below(dir.path()).unwrap().is_none());
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        assert!(below(dir.path()).unwrap().is_none());
        std::fs::write(dir.path().join(FOLDER).join(reports::journal::FILE), "no journal\n").unwrap();
        assert!(below(dir.path()).is_err(), "one that cannot be read is not passed over");
    }
}
