//! Files with several names, which are overwritten in place: the states that an interrupted write can leave, and how
//! others' text is kept if these states cannot be ruled out.

use super::displaced::{ASIDE, MOST_ASIDE};
use super::write::{STAGED, fill};
use super::{FileContents, PinnedPath};
use crate::attributes::Attributes;
use crate::error::RootError;
use crate::read::MAX_CONFIGURATION;
use rustix::fs::{FallocateFlags, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Checks whether an interrupted in-place write of `new` over `old` can have left `now`.
///
/// The write reserves space beyond the end, then writes the bytes from the first one on, then sets the length. So `now`
/// starts with bytes of `new`, followed by the rest of `old`. If the write fails, `old` is written back in the same
/// way, so some bytes of `old` may come before these again.
pub fn may_be_half(now: &[u8], old: &[u8], new: &[u8]) -> bool {
    let common_prefix = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let restored = common_prefix(now, old);
    let rest =
        |text: &[u8]| common_prefix(now.get(restored..).unwrap_or_default(), text.get(restored..).unwrap_or_default());
    let written = restored + rest(new);
    let remaining = now.get(written..).unwrap_or_default();
    // Up to the end of the new text, even if the old one was longer.
    remaining == old.get(written..).unwrap_or_default() || remaining.is_empty() && written == new.len()
}

impl PinnedPath {
    /// Overwrites the file's content, so that all of its names have the new text.
    pub(super) fn write_in_place(&self, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
        let file = self.open(OFlags::RDWR)?;
        overwrite(&file, bytes)?;
        if let Some(attributes) = attributes {
            attributes.apply_to(&file)?;
        }
        file.sync_all()
    }

    /// Keeps a copy of the content `checked` next to the file, under a name that no program reads, with the same
    /// attributes.
    ///
    /// Returns the copy's path, seen from inside.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn keep_aside(&self, checked: &FileContents) -> Result<PathBuf, RootError> {
        self.try_keep_aside(checked).map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    fn try_keep_aside(&self, checked: &FileContents) -> io::Result<PathBuf> {
        let stage = self.stage();
        for number in 1..=MOST_ASIDE {
            let aside = format!("{ASIDE}.{number}");
            // An interrupted call may have kept the same content already.
            match self.staged(&aside)?.contents(checked.bytes.len() as u64) {
                Ok(None) => {}
                Ok(Some(existing)) if existing.bytes == checked.bytes => return Ok(self.staged_path(&aside)),
                _ => continue,
            }
            self.drop_staged(STAGED)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let result = rustix::fs::openat(stage, STAGED, flags, Mode::RUSR | Mode::WUSR)
                .map_err(io::Error::from)
                .and_then(|file| fill(&File::from(file), &checked.bytes, Some(&checked.attributes)))
                .and_then(|()| Ok(renameat_with(stage, STAGED, stage, aside.as_str(), RenameFlags::NOREPLACE)?));
            if let Err(error) = result {
                // The first error is the one to report.
                let _ = self.drop_staged(STAGED);
                return Err(error);
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            File::from(rustix::fs::openat(stage, c".", flags, Mode::empty())?).sync_all()?;
            return Ok(self.staged_path(&aside));
        }
        Err(io::Error::other(format!(
            "{MOST_ASIDE} texts of other processes are beside it already: merge and remove them"
        )))
    }
}

/// Overwrites a file's content, or restores the old content if that fails and there is space.
fn overwrite(file: &File, bytes: &[u8]) -> io::Result<()> {
    let length = file.metadata()?.len();
    // A sparse file may claim any length.
    if length > MAX_CONFIGURATION {
        return Err(io::Error::other(format!("it has more than {MAX_CONFIGURATION} bytes")));
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut old = vec![0; length];
    file.read_exact_at(&mut old, 0)?;
    let write_whole = |bytes: &[u8]| file.write_all_at(bytes, 0).and_then(|()| file.set_len(bytes.len() as u64));
    reserve(file, bytes.len() as u64).and_then(|()| write_whole(bytes)).inspect_err(|_| {
        // The first error is the one to report.
        let _ = write_whole(&old);
    })
}

/// Reserves space for a file of that length, if the filesystem supports it; otherwise a full disk ends the write
/// half-way.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length)) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use std::path::Path;

    #[test]
    fn a_half_finished_write_is_distinguished_from_an_edit_at_every_byte() {
        let texts = [b"version = 2\nab\n".as_slice(), b"version = 2\n[x]\nab\n[y]\n", b"", b"other"];
        for (old, new) in texts.iter().flat_map(|old| texts.iter().map(move |new| (*old, *new))) {
            for at in 0..=new.len() {
                let rest = |text: &[u8], at: usize| text.get(at..).unwrap_or_default().to_vec();
                let half = [new[..at].to_vec(), rest(old, at)].concat();
                assert!(may_be_half(&half, old, new), "{at}");
                // Then an interrupted restoration of the old text.
                for back in 0..=old.len().min(half.len()) {
                    let back = [old[..back].to_vec(), rest(&half, back)].concat();
                    assert!(may_be_half(&back, old, new), "{at}");
                }
                for edited in [[half.as_slice(), b"# theirs\n"].concat(), [b"# theirs\n".as_slice(), &half].concat()] {
                    assert!(!may_be_half(&edited, old, new), "{at}");
                }
            }
        }
    }

    #[test]
    fn a_file_of_any_length_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        std::fs::hard_link(&path, dir.path().join("other")).unwrap();
        let pinned = Root::new(dir.path()).unwrap().pin(Path::new("/f")).unwrap().unwrap();
        let error = pinned.write(b"new", None).unwrap_err();
        assert!(
            matches!(&error, RootError::Write { source, .. } if source.to_string().contains("more than")),
            "{error}"
        );
        assert_eq!(path.metadata().unwrap().len(), 1 << 40);
    }

    #[test]
    fn a_copy_is_put_aside_once_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "theirs").unwrap();
        std::fs::write(dir.path().join(".kata-osinfo.theirs.1"), "others").unwrap();
        let place = Root::new(dir.path()).unwrap().pin(Path::new("/f")).unwrap().unwrap();
        let checked = place.read(100).unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(place.keep_aside(&checked).unwrap(), Path::new("/.kata-osinfo.theirs.2"));
        }
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!([".kata-osinfo.theirs.1", ".kata-osinfo.theirs.2", "f"].map(text), ["others", "theirs", "theirs"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
