//! `kata-qualify bundle` and `verify`: pack a run into one file, and judge what such a file from somebody else proves.

use crate::bundle::{LIMITS, lay_out, open};
use crate::cli::arguments::{BundleArguments, Format, VerifyArguments};
use crate::cli::{Exit, UsageError, base, print, records, report, usage};
use crate::progress::tell;
use anyhow::Context as _;
use images::packed;
use model::database::Database;
use model::profile::Profile;
use reports::bundle::{SUMS, sums};
use reports::journal::Journal;
use reports::standing::{Recorded, Standings};
use reports::views::proof;
use std::path::{Path, PathBuf};

/// Packs a run.
pub(super) fn bundle(what: &BundleArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    base::refuse_below(&what.run)?;
    report::read(&what.run).map_err(|e| UsageError(format!("{}: {e:#}", what.run.display())))?;
    let folder = tempfile::tempdir().context("creating a folder")?;
    let journal = lay_out(&what.run, folder.path()).context("packing the run")?;
    let out = what.out.clone().unwrap_or_else(|| PathBuf::from(name(&journal)));
    let count = pack(&journal, folder.path(), &database, &out)?;
    tell(format_args!("bundle: {} ({count} files)", out.display()));
    Ok(Exit::AsRecorded)
}

/// Returns the file name of a run's bundle.
pub(super) fn name(journal: &Journal) -> String {
    format!("kata-qualify-{}.tar.zst", reports::merge::folder_of(&reports::run::fold(journal).id))
}

/// Adds the reports to a bundle that is laid out in a directory, and packs it; returns the number of files.
///
/// # Errors
/// [`UsageError`] if the file cannot be made.
pub(super) fn pack(journal: &Journal, folder: &Path, database: &Database, out: &Path) -> anyhow::Result<usize> {
    let matrix = report::matrix_in(journal, Profile::all(), Some(database), folder);
    let standings = Standings::new(&matrix, Recorded::of(database.records()), matrix.strict);
    report::write_as(&standings, database, folder, Path::new(""))?;
    let mut files = packed::files(folder, LIMITS).context("packing the run")?;
    files.insert(SUMS.to_owned(), sums(&files).into_bytes());
    write(&files, out)?;
    Ok(files.len())
}

/// Writes a bundle completely or not at all, and never over an existing file.
fn write(files: &std::collections::BTreeMap<String, Vec<u8>>, out: &Path) -> anyhow::Result<()> {
    let failed = |e: std::io::Error| UsageError(format!("--out {}: {e}", out.display()));
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.prefix(".bundle").tempfile_in(folder).map_err(failed)?;
    packed::pack(files, file.as_file_mut()).with_context(|| format!("writing {}", out.display()))?;
    file.persist_noclobber(out).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Prints what a bundle proves.
pub(super) fn verify(what: &VerifyArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.judged.records.as_deref())?;
    let folder = tempfile::tempdir().context("creating a folder")?;
    let failed = |why: String| UsageError(format!("{}: {why}", what.bundle.display()));
    open(&what.bundle, folder.path()).map_err(|e| failed(e.to_string()))?;
    // The bundle's own reports are ignored: either they follow from the journal, or they are false.
    let file = folder.path().join(reports::journal::FILE);
    let journal = reports::journal::read(&file).map_err(|e| failed(usage(&e).to_string()))?;
    let matrix = report::matrix_in(&journal, Profile::all(), Some(&database), folder.path());
    let standings = Standings::new(&matrix, Recorded::of(database.records()), what.judged.strict);
    if what.judged.format == Format::Human {
        print(&format!("{}\n", proof::render(&standings)))?;
    }
    report::print(&standings, what.judged.format)?;
    Ok(report::exit(&standings))
}
