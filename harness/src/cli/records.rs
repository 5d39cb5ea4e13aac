//! The records that a command reads, and what it writes back beside them.

use crate::cli::{BrokenRecords, UsageError, usage};
use crate::progress::tell;
use anyhow::Context as _;
use model::database::Database;
use model::verified;
use reports::standing::Standings;
use std::path::{Path, PathBuf};

/// The shipped records, with those of `--records` on top.
///
/// # Errors
/// [`UsageError`] or [`BrokenRecords`].
pub(super) fn database(records: Option<&Path>) -> anyhow::Result<Database> {
    let folders: Vec<PathBuf> = records.map(Path::to_owned).into_iter().collect();
    let database = Database::load(&folders).map_err(|e| usage(&e))?;
    let problems: Vec<String> = database.problems().iter().map(|problem| problem.human(false)).collect();
    if !problems.is_empty() {
        return Err(BrokenRecords(problems.join("\n\n")).into());
    }
    Ok(database)
}

/// Where the records to be written lie.
pub(super) fn folder(option: Option<&Path>) -> Result<PathBuf, UsageError> {
    let dir = option.map_or_else(|| PathBuf::from("distros/records"), Path::to_owned);
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(UsageError(format!("--write-back: {} is not a folder of records; name one with --records", dir.display())))
}

/// Writes what was verified beside the records, each file at once or not at all.
pub(super) fn write_back(standings: &Standings<'_>, database: &Database, folder: &Path) -> anyhow::Result<()> {
    let (entries, withheld) = reports::views::record::verified_entries(standings);
    for held in &withheld {
        let what = held.cell.as_ref().map_or_else(|| "the whole run".to_owned(), ToString::to_string);
        tell(format_args!("not written back: {what}: {}", held.reason));
    }
    let mut distros: Vec<&str> = entries.iter().map(|(distro, _)| distro.as_str()).collect();
    distros.dedup();
    for distro in distros {
        let path = folder.join(verified::FOLDER).join(format!("{distro}.yaml"));
        let old = if path.try_exists().with_context(|| format!("looking for {}", path.display()))? {
            Some(std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
        } else {
            None
        };
        let new: Vec<verified::VerifiedEntry> =
            entries.iter().filter(|(d, _)| d == distro).map(|(_, e)| e.clone()).collect();
        let record = database.record(distro)?;
        let releases: Vec<&str> = record.releases.iter().map(|release| release.version.as_str()).collect();
        let written = verified::apply(old.as_deref(), distro, &releases, &new)
            .with_context(|| format!("writing verdicts into {}", path.display()))?;
        std::fs::create_dir_all(folder.join(verified::FOLDER))
            .and_then(|()| verified::write_file(&path, &written))
            .with_context(|| format!("writing {}", path.display()))?;
        tell(format_args!("written back: {} entries into {}", new.len(), path.display()));
    }
    Ok(())
}
