//! A run as one file: what goes into it, cleaned as the reports are, and what is accepted as one.

use anyhow::Context as _;
use images::ImageErrorKind;
use images::packed::{self, PackedLimits, is_plain};
use reports::bundle::{SumsError, logs, manifests};
use reports::journal::{Event, FILE, Journal, Writer};
use reports::redact::{People, Redactor, without_folders};
use root::Root;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// What a bundle may have at most. That of an ordinary run has some 100 KB.
pub const LIMITS: PackedLimits = PackedLimits { packed: 64 << 20, files: 20_000, bytes: 512 << 20 };

/// Bytes of one log that are packed: its end says why something failed.
const LOG: u64 = 64 << 10;
/// Bytes of all logs that are packed.
const LOGS: u64 = 8 << 20;
/// Bytes of an image's manifest.
const MANIFEST: u64 = 4 << 20;

/// Lays out what goes into the bundle of a run, except for its reports; gives the journal as it is in there.
///
/// # Errors
/// What cannot be read or written.
pub fn lay_out(run: &Path, folder: &Path) -> anyhow::Result<Journal> {
    let journal = reports::journal::read(&run.join(FILE)).context("reading the run")?;
    // Knows what any line of the journal gives away before the first one is written.
    let redactor = reports::run::redactor(&journal).hiding(people());
    let mut writer = Writer::create(folder)?.hiding(redactor.clone());
    for entry in &journal.entries {
        let mut entry = entry.clone();
        if let Event::RunStarted { argv, options, .. } = &mut entry.event {
            // Where its files lie says where somebody works.
            argv.iter_mut().chain(options).for_each(|word| *word = without_folders(word));
        }
        writer.append_entry(entry)?;
    }
    drop(writer);
    let root = Root::new(run)?;
    let mut room = LOGS;
    for file in logs(&journal).iter().filter(|file| is_plain(file)) {
        // What was never copied out of the environment is not there.
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

/// Who uses this machine, and what it is called: of a run of another machine its home folders' names go all the same.
pub fn people() -> People {
    let users = ["USER", "LOGNAME", "SUDO_USER"].map(|variable| std::env::var(variable).unwrap_or_default());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    People::new(users.iter().map(String::as_str), [machine.as_str()])
}

/// A file's path below the run's folder, out of which no link leads.
fn below(file: &str) -> std::path::PathBuf {
    Path::new("/").join(file)
}

/// The last bytes of a log, from a line's beginning on; `None` if there is none, or no room.
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

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be unpacked.
    #[error(transparent)]
    Packed(#[from] ImageErrorKind),
    /// What was unpacked cannot be read.
    #[error(transparent)]
    Files(#[from] io::Error),
    /// Its files are not those that were packed.
    #[error(transparent)]
    Sums(#[from] SumsError),
}

/// Unpacks a bundle into an empty folder, and holds its files against their checksums.
///
/// # Errors
/// Why it is no bundle.
pub fn open(bundle: &Path, folder: &Path) -> Result<(), BundleError> {
    packed::unpack(bundle, folder, LIMITS)?;
    Ok(reports::bundle::check(&packed::files(folder, LIMITS)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_kept_from_a_line_on() {
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
            let kept = end_of(&root, "log", most).unwrap();
            assert_eq!(kept.as_deref(), expected.map(str::as_bytes), "{most}");
        }
        assert_eq!(end_of(&root, "none", 100).unwrap(), None);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert_eq!(end_of(&root, "link", 100).unwrap(), None, "no link leads out of the run's folder");
    }
}
