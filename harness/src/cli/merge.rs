//! `kata-qualify merge`: the output folders of several runs as one.

use crate::cli::arguments::MergeArguments;
use crate::cli::{Exit, UsageError, base, records, report};
use crate::gather::Gathered;
use crate::progress::tell;
use anyhow::Context as _;
use reports::journal::{Journal, MAX_CELLS, Writer};
use reports::merge::{self, FOLDER, Merged};
use std::path::Path;

/// The folders of a run's files; its reports are made again.
const FOLDERS: [&str; 2] = ["artifacts", "images"];

/// Runs the command.
pub(super) fn merge(what: &MergeArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.judged.records.as_deref())?;
    let mut journals: Vec<Journal> = Vec::new();
    for folder in &what.folders {
        base::refuse_below(folder)?;
        let journal = report::read(folder).map_err(|e| UsageError(format!("{}: {e:#}", folder.display())))?;
        if journal.cut {
            tell(format_args!("note: {}: the last line of its journal was cut off and is left out", folder.display()));
        }
        journals.push(journal);
    }
    let Merged { journal, conflicts } = merge::merge(&journals);
    let cells = reports::run::fold(&journal).cells.len();
    if journal.entries.is_empty() {
        return Err(UsageError("no run is in these folders".to_owned()).into());
    }
    if cells > MAX_CELLS {
        return Err(UsageError(format!("the runs have {cells} cells, more than the {MAX_CELLS} of a journal")).into());
    }
    is_free(&what.out)?;
    let mut writer = Writer::create(&what.out).context("writing the journal")?;
    for entry in &journal.entries {
        writer.append_as_it_is(entry).context("writing the journal")?;
    }
    let mut gathered = Gathered::default();
    for (folder, journal) in what.folders.iter().zip(&journals) {
        gather(&mut gathered, folder, journal, &what.out)
            .with_context(|| format!("copying the files of {}", folder.display()))?;
    }
    conflicts.iter().for_each(|conflict| tell(format_args!("conflict: {conflict}")));
    gathered.left_out.iter().for_each(|left| tell(format_args!("warning: left out {left}")));
    report::reports_of(&journal, &database, &what.out, what.judged.strict, what.judged.format)
}

/// Copies the files of a folder to where the merged journal has them.
fn gather(gathered: &mut Gathered, folder: &Path, journal: &Journal, out: &Path) -> std::io::Result<()> {
    gathered.copy(&folder.join(FOLDER), &out.join(FOLDER))?;
    // Files that are not below a run's folder are of the one run that the folder is of.
    if let [run] = &merge::runs(journal)[..] {
        for name in FOLDERS {
            gathered.copy(&folder.join(name), &out.join(merge::place(run, name)))?;
        }
    }
    Ok(())
}

/// Refuses an output folder that has something in it.
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
