//! Redaction of logs, like that of the reports that link to them.

use reports::redact::Redactor;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

/// Bytes of a line that are redacted together.
const LINE: u64 = 1 << 20;

/// Removes mirrors and credentials from all files below a directory; links are not followed.
///
/// # Errors
/// If something cannot be read or written.
pub(crate) fn redact(folder: &Path, redactor: &Redactor) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            redact(&entry.path(), redactor)?;
        } else if kind.is_file() {
            redact_file(&entry.path(), redactor)?;
        }
    }
    Ok(())
}

fn redact_file(path: &Path, redactor: &Redactor) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut log = BufReader::new(File::open(path)?);
    let clean = tempfile::NamedTempFile::new_in(folder)?;
    let mut to = BufWriter::new(clean.as_file());
    let (mut line, mut changed) = (Vec::new(), false);
    while (&mut log).take(LINE).read_until(b'\n', &mut line)? > 0 {
        let redacted = redactor.log(&line);
        changed |= redacted.is_some();
        to.write_all(redacted.as_ref().unwrap_or(&line))?;
        line.clear();
    }
    to.flush()?;
    drop(to);
    if changed {
        clean.as_file().set_permissions(std::fs::metadata(path)?.permissions())?;
        clean.persist(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_addresses_are_redacted_from_logs() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("debian-13/machine-1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("serial.log"), b"\xff\nGet:1 http://user:s3c\"ret@mirror.example/debian\n").unwrap();
        std::fs::write(folder.join("other"), b"\x1bplain").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
        let redactor = Redactor::knowing(["http://user:s3c%22ret@mirror.example/"]);
        redact(dir.path(), &redactor).unwrap();
        assert_eq!(std::fs::read(folder.join("serial.log")).unwrap(), b"\xff\nGet:1 http://<mirror>/debian\n");
        assert_eq!(std::fs::read(folder.join("other")).unwrap(), b"\x1bplain");
        assert!(folder.join("link").is_symlink());
        redact(&dir.path().join("none"), &redactor).unwrap();
    }
}
