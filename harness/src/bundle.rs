//! A run packed as one file: its contents, cleaned like the reports, and the checks of a file that claims to be one.

use crate::private::Private;
use anyhow::Context as _;
use images::ImageErrorKind;
use images::packed::{self, PackedLimits, is_plain};
use reports::bundle::{SumsError, logs, manifests};
use reports::journal::{Event, FILE, Journal, Writer};
use reports::redact::{Redactor, without_folders_of};
use root::Root;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Limits for a bundle. The bundle of an ordinary run has some 100 KB.
pub const LIMITS: PackedLimits = PackedLimits { packed: 64 << 20, files: 20_000, bytes: 512 << 20 };

/// Bytes of one log that are packed: the end of a log says why something failed.
const LOG: u64 = 64 << 10;
/// Bytes of all logs that are packed.
const LOGS: u64 = 8 << 20;
/// Bytes of an image's manifest.
const MANIFEST: u64 = 4 << 20;

/// Lays out the files of a run's bundle, except for its reports; returns the journal as it is in the bundle.
///
/// # Errors
/// If a file cannot be read or written.
pub fn lay_out(run: &Path, folder: &Path) -> anyhow::Result<Journal> {
    let journal = reports::journal::read(&run.join(FILE)).context("reading the run")?;
    // The redactor needs everything that any line of the journal gives away before the first line is written.
    let redactor = reports::run::redactor(&journal).hiding(Private::of_run(run, &journal).people());
    let mut writer = Writer::create(folder)?.hiding(redactor.clone());
    for entry in &journal.entries {
        let mut entry = entry.clone();
        if let Event::RunStarted { argv, options, .. } = &mut entry.event {
            // Paths of files reveal where somebody works.
            argv.iter_mut().chain(options).for_each(|word| *word = without_folders_of(word));
        }
        writer.append_entry(entry)?;
    }
    drop(writer);
    let root = Root::new(run)?;
    let mut room = LOGS;
    for file in logs(&journal).iter().filter(|file| is_plain(file)) {
        // Logs that were never copied out of the environment are missing.
        let Some(log) = end_of(&root, file, LOG.min(room))? else { continue };
        room = room.saturating_sub(log.len() as u64);
        put(folder, file, &log, &redactor)?;
    }
    for file in manifests(&journal).iter().filter(|file| is_plain(file)) {
        match root.read(&below(file), MANIFEST) {
            Ok(bytes) => put(folder, file, &bytes, &redactor)?,
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reports::journal::read(&folder.join(FILE))?)
}

/// Returns a file's path below the run's directory; no link leads out of it.
fn below(file: &str) -> std::path::PathBuf {
    Path::new("/").join(file)
}

/// Reads the last bytes of a log, from the beginning of a line on; `None` if there is no log, or no room.
fn end_of(root: &Root, file: &str, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
    let mut log = match root.file(&below(file)) {
        Ok(log) if most > 0 => log,
        Ok(_) => return Ok(None),
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = log.metadata()?.len();
    let skipped = length.saturating_sub(most);
    log.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    log.take(most).read_to_end(&mut bytes)?;
    if skipped == 0 {
        return Ok(Some(bytes));
    }
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let skipped = skipped + line as u64;
    let mut cut = format!("[the first {skipped} bytes were removed]\n").into_bytes();
    cut.extend(bytes.get(line..).unwrap_or_default());
    Ok(Some(cut))
}

fn put(folder: &Path, file: &str, bytes: &[u8], redactor: &Redactor) -> anyhow::Result<()> {
    let path = folder.join(file);
    let writing = || format!("writing {}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(folder)).with_context(writing)?;
    let clean = redactor.log(bytes);
    std::fs::write(&path, clean.as_deref().unwrap_or(bytes)).with_context(writing)
}

/// Reason why a file is not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The archive cannot be unpacked.
    #[error(transparent)]
    Packed(#[from] ImageErrorKind),
    /// The unpacked files cannot be read.
    #[error(transparent)]
    Files(#[from] io::Error),
    /// The files differ from those that were packed.
    #[error(transparent)]
    Sums(#[from] SumsError),
}

/// Unpacks a bundle into an empty directory, and verifies the checksums of its files.
///
/// # Errors
/// If the file is not a valid bundle.
pub fn open(bundle: &Path, folder: &Path) -> Result<(), BundleError> {
    packed::unpack(bundle, folder, LIMITS)?;
    Ok(reports::bundle::check(&packed::files(folder, LIMITS)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_begins_at_a_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        std::fs::write(dir.path().join("log"), "one\ntwo\nthree\n").unwrap();
        for (most, expected) in [
            (100, Some("one\ntwo\nthree\n")),
            (14, Some("one\ntwo\nthree\n")),
            (12, Some("[the first 4 bytes were removed]\ntwo\nthree\n")),
            (8, Some("[the first 8 bytes were removed]\nthree\n")),
            (0, None),
        ] {
            let log_end = end_of(&root, "log", most).unwrap();
            assert_eq!(log_end.as_deref(), expected.map(str::as_bytes), "{most}");
        }
        assert_eq!(end_of(&root, "none", 100).unwrap(), None);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert_eq!(end_of(&root, "link", 100).unwrap(), None, "no link leads out of the run's folder");
    }
}
