//! Runs that are given as output directories or as bundles.

use crate::bundle::open;
use crate::cli::{UsageError, base, report};
use crate::gather::Gathered;
use crate::progress::tell;
use anyhow::Context as _;
use reports::journal::{Journal, MAX_CELLS, Writer};
use reports::merge::{self, FOLDER, Merged, Refused};
use reports::views::record;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Directories of a run's files that are copied; reports are written anew.
const FOLDERS: [&str; 2] = ["artifacts", "images"];

/// A run that a command reads.
pub(super) struct InputRun {
    /// The name that the caller used.
    pub(super) name: String,
    /// The run's journal.
    pub(super) journal: Journal,
    /// The directory of the run's files.
    pub(super) folder: PathBuf,
    _unpacked: Option<TempDir>,
}

/// Reads a run. A file is a bundle, which is unpacked into a temporary directory and checked against its checksums.
///
/// # Errors
/// If the run cannot be read, or if its candidates are compared with a base run, which would be left out.
pub(super) fn read(path: &Path) -> Result<InputRun, UsageError> {
    let name = path.display().to_string();
    let failed = |why: String| UsageError(format!("{name}: {why}"));
    let (folder, unpacked) = match path.is_file() {
        true => {
            let unpacked = tempfile::tempdir().map_err(|e| failed(format!("creating a folder: {e}")))?;
            open(path, unpacked.path()).map_err(|e| failed(e.to_string()))?;
            (unpacked.path().to_owned(), Some(unpacked))
        }
        false => {
            base::refuse_below(path)?;
            (path.to_owned(), None)
        }
    };
    let journal = report::read(&folder).map_err(|e| failed(format!("{e:#}")))?;
    if journal.cut {
        tell(format_args!("note: {name}: the last line of its journal is incomplete and was ignored"));
    }
    Ok(InputRun { name, journal, folder, _unpacked: unpacked })
}

/// Refuses a run that ended on a future day: among several runs it would win, and in a record it would look forged.
pub(super) fn is_over(one: &InputRun) -> Result<(), UsageError> {
    future_end_reason(one).map_or(Ok(()), |why| Err(UsageError(format!("{}: {why}", one.name))))
}

/// Returns why a run that ended on a future day does not count.
pub(super) fn future_end_reason(one: &InputRun) -> Option<String> {
    record::future_end_reason(one.journal.entries.iter().map(|entry| entry.at).max())
}

/// Joins runs in an empty directory: merges their journals, which mention the `refused` runs, and copies their files.
///
/// # Errors
/// If the runs contain nothing, or too much, or the directory is not empty.
pub(super) fn join(all: &[InputRun], refused: &[Refused], out: &Path) -> anyhow::Result<Journal> {
    let journals: Vec<Journal> = all.iter().map(|one| one.journal.clone()).collect();
    let Merged { journal, conflicts } = merge::merge_without(&journals, refused);
    let cells = reports::run::fold(&journal).cells.len();
    if journal.entries.is_empty() {
        return Err(UsageError("these folders contain no run".to_owned()).into());
    }
    if cells > MAX_CELLS {
        return Err(
            UsageError(format!("the runs have {cells} cells, but a journal can have at most {MAX_CELLS}")).into()
        );
    }
    is_free(out)?;
    let mut writer = Writer::create(out).context("writing the journal")?;
    for entry in &journal.entries {
        writer.append_as_it_is(entry).context("writing the journal")?;
    }
    let mut gathered = Gathered::default();
    for one in all {
        gather(&mut gathered, one, out).with_context(|| format!("copying the files of {}", one.name))?;
    }
    conflicts.iter().for_each(|conflict| tell(format_args!("conflict: {conflict}")));
    gathered.left_out.iter().for_each(|path| tell(format_args!("warning: not copied: {path}")));
    Ok(journal)
}

/// Copies the files of a run to their place in the merged run.
fn gather(gathered: &mut Gathered, one: &InputRun, out: &Path) -> std::io::Result<()> {
    gathered.copy(&one.folder.join(FOLDER), &out.join(FOLDER))?;
    // Files outside the directories of merged runs belong to the single run of the directory.
    if let [run] = &merge::runs(&one.journal)[..] {
        for name in FOLDERS {
            gathered.copy(&one.folder.join(name), &out.join(merge::place(run, name)))?;
        }
    }
    Ok(())
}

/// Refuses an output directory that is not empty.
pub(super) fn is_free(out: &Path) -> Result<(), UsageError> {
    let failed = |why: String| UsageError(format!("--out {}: {why}", out.display()));
    match std::fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(failed("expected an empty folder".to_owned())),
            None => Ok(()),
        },
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e.to_string())),
        Err(_) => Ok(()),
    }
}
