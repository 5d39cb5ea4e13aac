//! Writing a file whole or not at all, renaming and removing it.

use super::displaced::{Rescued, is_back};
use super::{FileContents, PinnedPath};
use crate::attributes::Attributes;
use crate::error::RootError;
use crate::root::Root;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file is called until it is whole. There is one writer at a time, so one name is enough, and
/// what a killed one left over is recognized.
pub(super) const STAGED: &str = ".kata-osinfo.new";

/// What a new file may be by default.
const FILE: u32 = 0o644;

/// What a new file may take the place of.
#[derive(Debug, Clone, Copy)]
enum Over<'s> {
    /// Whatever stands there.
    Anything,
    /// What was looked at; `None` is no file.
    Only(Option<&'s FileContents>),
}

impl Root {
    /// Writes a file whole, or leaves the old one: its folders are made, its attributes kept.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write(&self, inside: &Path, bytes: &[u8]) -> Result<(), RootError> {
        let place = self.make_pinned(inside)?;
        place.write(bytes, place.attributes()?.as_ref())
    }

    /// Removes an empty folder that a path names without links; one that is not there, or not empty, stays so.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove_empty_folder(&self, inside: &Path) -> Result<(), RootError> {
        let Some(place) = self.pin(inside)? else { return Ok(()) };
        if place.path != inside {
            return Ok(());
        }
        match rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(()),
            Err(errno) => Err(RootError::Write { path: self.shown(inside), source: errno.into() }),
        }
    }
}

impl PinnedPath {
    /// Writes the file whole, or leaves the old one; without attributes it belongs to this process's user, and everybody
    /// may read it.
    ///
    /// A file with several names is written in place instead, because a new file would separate them.
    /// Until it is whole, a file has another name in the same folder; if every name in that folder is read, as in one
    /// called `*.d`, in the folder above.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write(&self, bytes: &[u8], attributes: Option<&Attributes>) -> Result<(), RootError> {
        self.written(bytes, attributes, Over::Anything).map(drop)
    }

    /// [`PinnedPath::write`] over what was looked at alone, `None` being no file: what somebody else has written there
    /// meanwhile stays, and the answer is `false`.
    ///
    /// It is looked at again when the new file is whole, and again what the new one has taken the place of.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write_over(
        &self,
        seen: Option<&FileContents>,
        bytes: &[u8],
        attributes: Option<&Attributes>,
    ) -> Result<bool, RootError> {
        self.written(bytes, attributes, Over::Only(seen))
    }

    /// Removes the file that was looked at; what somebody else has written there meanwhile stays, and the answer is
    /// `false`.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove_seen(&self, seen: &FileContents) -> Result<bool, RootError> {
        let removed = || match self.has_come_back()? || !self.is_still(Some(seen)) {
            true => Ok(false),
            false => self.take_out(seen).and_then(|removed| self.sync().map(|()| removed)),
        };
        removed().map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    /// Removes what an earlier write that was killed has left beside the place, and brings back what others had written
    /// there at that moment.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn sweep(&self) -> io::Result<Vec<Rescued>> {
        // What is left of a new text harms nobody, and goes with the next write.
        let _ = self.drop_staged(STAGED);
        self.rescue()
    }

    /// Whether others' text stands there again that a killed call had taken out: nobody has looked at that.
    fn has_come_back(&self) -> io::Result<bool> {
        let rescued = self.rescue()?;
        let has = !rescued.is_empty();
        rescued.into_iter().try_for_each(is_back).map(|()| has)
    }

    fn written(&self, bytes: &[u8], attributes: Option<&Attributes>, over: Over<'_>) -> Result<bool, RootError> {
        let failed = |source| RootError::Write { path: self.shown.clone(), source };
        let names = self.open(OFlags::RDONLY).and_then(|f| f.metadata()).map_or(0, |m| m.nlink());
        let written = match names {
            2.. if !self.may_go(over) => Ok(false),
            2.. => self.write_in_place(bytes, attributes).map(|()| true),
            _ => self.replace(bytes, attributes, over),
        };
        let written = written.map_err(failed)?;
        if written {
            self.sync().map_err(failed)?;
        }
        Ok(written)
    }

    fn replace(&self, bytes: &[u8], attributes: Option<&Attributes>, over: Over<'_>) -> io::Result<bool> {
        self.drop_staged(STAGED)?;
        if matches!(over, Over::Only(_)) && self.has_come_back()? {
            return Ok(false);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staged = rustix::fs::openat(self.stage(), STAGED, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| fill(&File::from(file), bytes, attributes))
            .and_then(|()| self.put(over));
        match staged {
            // The folder is mounted by itself, or what is above it may not be written: there is no other place.
            Err(error) if self.is_read_whole() && is_elsewhere(&error) => {
                self.drop_staged(STAGED)?;
                self.replace_without_a_name(bytes, attributes, over)
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = self.drop_staged(STAGED);
                Err(error)
            }
            Ok(put) => self.drop_staged(STAGED).map(|()| put),
        }
    }

    /// Gives the staged file its name; whether what stood there was what may go. What may not has its name again.
    fn put(&self, over: Over<'_>) -> io::Result<bool> {
        let stage = self.stage();
        let rename_with = |flags| rustix::fs::renameat_with(stage, STAGED, &self.folder, &self.name, flags);
        let rename = || rustix::fs::renameat(stage, STAGED, &self.folder, &self.name).map_err(io::Error::from);
        let renamed = match over {
            Over::Anything => return rename().map(|()| true),
            Over::Only(None) => rename_with(RenameFlags::NOREPLACE).map(|()| true).map_err(io::Error::from),
            Over::Only(Some(_)) if !self.may_go(over) => return Ok(false),
            Over::Only(Some(seen)) => self.exchange(STAGED, seen),
        };
        let is = |error: &io::Error, errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        match renamed {
            // It has come, or gone, since.
            Err(error) if is(&error, Errno::EXIST) || is(&error, Errno::NOENT) => Ok(false),
            // A filesystem without such renames: looking right before is all that can be done.
            Err(error) if [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].iter().any(|e| is(&error, *e)) => {
                match self.may_go(over) {
                    true => rename().map(|()| true),
                    false => Ok(false),
                }
            }
            renamed => renamed,
        }
    }

    /// Whether what stands there may go.
    fn may_go(&self, over: Over<'_>) -> bool {
        match over {
            Over::Anything => true,
            Over::Only(seen) => self.is_still(seen),
        }
    }

    /// Whether a file is still what was looked at; one that cannot be read is not.
    pub(super) fn is_still(&self, seen: Option<&FileContents>) -> bool {
        let most = seen.map_or(0, |seen| seen.bytes.len() as u64);
        let same = |a: &FileContents, b: &FileContents| (&a.bytes, &a.attributes) == (&b.bytes, &b.attributes);
        match (self.contents(most), seen) {
            (Ok(Some(now)), Some(seen)) => same(&now, seen),
            (Ok(None), None) => true,
            _ => false,
        }
    }

    /// The file with one byte more than `most` at most.
    pub(super) fn contents(&self, most: u64) -> io::Result<Option<FileContents>> {
        let Some(file) = self.opened()? else { return Ok(None) };
        let (attributes, links) = (Attributes::of(&file)?, file.metadata()?.nlink());
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Some(FileContents { bytes, attributes, links }))
    }

    /// The file has no name until it is whole; the old one goes the moment before.
    fn replace_without_a_name(
        &self,
        bytes: &[u8],
        attributes: Option<&Attributes>,
        over: Over<'_>,
    ) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, c".", flags, Mode::RUSR | Mode::WUSR)?;
        let file = File::from(file);
        fill(&file, bytes, attributes)?;
        if !self.may_go(over) {
            return Ok(false);
        }
        let is_new = matches!(over, Over::Only(None));
        if !is_new {
            self.unlink()?;
        }
        match rustix::fs::linkat(&file, c"", &self.folder, &self.name, AtFlags::EMPTY_PATH) {
            // It has come since.
            Err(Errno::EXIST) if is_new => Ok(false),
            linked => Ok(linked.map(|()| true)?),
        }
    }

    /// Removes the file; one that is not there stays so.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove(&self) -> Result<(), RootError> {
        let removed = self.unlink().and_then(|()| self.sync());
        removed.map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    /// Gives the file another name in its folder, which nothing has.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`]; where something has that name, of [`io::ErrorKind::AlreadyExists`].
    pub fn rename(&self, name: &str) -> Result<(), RootError> {
        let folder = &self.folder;
        let renamed = match rustix::fs::renameat_with(folder, &self.name, folder, name, RenameFlags::NOREPLACE) {
            // A filesystem without such renames: looking right before is all that can be done.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(Errno::NOENT) => rustix::fs::renameat(folder, &self.name, folder, name),
                    Err(errno) => Err(errno),
                }
            }
            renamed => renamed,
        };
        let renamed = renamed.map_err(io::Error::from).and_then(|()| self.sync());
        renamed.map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    pub(super) fn unlink(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether somebody reads every name in the folder: `config.d`, `conf.d`, `crio.conf.d`.
    fn is_read_whole(&self) -> bool {
        self.path.parent().and_then(Path::file_name).is_some_and(|name| name.as_bytes().ends_with(b".d"))
    }

    /// Whether a new file waits in the folder above.
    pub(super) fn is_staged_above(&self) -> bool {
        self.above.is_some() && self.is_read_whole()
    }

    pub(super) fn stage(&self) -> &OwnedFd {
        self.above.as_ref().filter(|_| self.is_staged_above()).unwrap_or(&self.folder)
    }

    /// The folder, opened for reading: it can be synchronised and locked.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn open_folder(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, c".", flags, Mode::empty())?.into())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.open_folder()?.sync_all()
    }
}

/// Whether a file cannot be renamed from another folder to this one.
fn is_elsewhere(error: &io::Error) -> bool {
    [Errno::XDEV, Errno::ROFS, Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

pub(super) fn fill(mut file: &File, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
    file.write_all(bytes)?;
    match attributes {
        Some(attributes) => attributes.put(file)?,
        None => rustix::fs::fchmod(file, Mode::from_raw_mode(FILE))?,
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    /// A file that was looked at, and a new one that is staged.
    fn staged() -> (tempfile::TempDir, PinnedPath, FileContents) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "old").unwrap();
        std::fs::write(dir.path().join(STAGED), "ours").unwrap();
        let place = Root::new(dir.path()).unwrap().pin(Path::new("/f")).unwrap().unwrap();
        let seen = place.read(LIMIT).unwrap().unwrap();
        (dir, place, seen)
    }

    #[test]
    fn only_what_was_looked_at_is_written_over_and_removed() {
        let (dir, place, seen) = staged();
        let text = || std::fs::read_to_string(dir.path().join("f")).unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        assert!(!place.write_over(None, b"ours", None).unwrap(), "it was not there");
        std::fs::write(dir.path().join("f"), "theirs").unwrap();
        assert!(!place.write_over(Some(&seen), b"ours", None).unwrap());
        assert!(!place.remove_seen(&seen).unwrap());
        assert_eq!((text().as_str(), names()), ("theirs", 1));
        let now = place.read(LIMIT).unwrap().unwrap();
        assert!(place.write_over(Some(&now), b"ours", Some(&now.attributes)).unwrap());
        assert_eq!((text().as_str(), names()), ("ours", 1));
        // A file of several names likewise, which is written in place.
        std::fs::hard_link(dir.path().join("f"), dir.path().join("g")).unwrap();
        assert!(!place.write_over(Some(&now), b"more", None).unwrap());
        let now = place.read(LIMIT).unwrap().unwrap();
        assert!(place.write_over(Some(&now), b"more", None).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("g")).unwrap(), "more");
        std::fs::remove_file(dir.path().join("g")).unwrap();
        let now = place.read(LIMIT).unwrap().unwrap();
        assert!(place.remove_seen(&now).unwrap() && !place.remove_seen(&now).unwrap());
        assert!(place.write_over(None, b"new", None).unwrap());
        assert_eq!((text().as_str(), names()), ("new", 1));
    }

    #[test]
    fn a_new_name_takes_the_place_of_nothing() {
        let (dir, place, _) = staged();
        std::fs::write(dir.path().join("g"), "theirs").unwrap();
        let error = place.rename("g").unwrap_err();
        let RootError::Write { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(dir.path().join("g")).unwrap(), "theirs");
        place.rename("h").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("h")).unwrap(), "old");
        assert!(!dir.path().join("f").exists());
    }

    #[test]
    fn what_is_staged_for_no_file_takes_the_place_of_none() {
        let (dir, place, _) = staged();
        assert!(!place.put(Over::Only(None)).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "old");
        std::fs::remove_file(dir.path().join("f")).unwrap();
        assert!(place.put(Over::Only(None)).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "ours");
    }
}
