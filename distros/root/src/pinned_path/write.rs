//! Writes a file whole or not at all, renames and removes it.

use super::displaced::{Rescued, ensure_back};
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

/// Name of a file until it is whole. One name is enough because there is only one writer at a time, and a killed
/// writer's leftover is recognized by it.
pub(super) const STAGED: &str = ".kata-osinfo.new";

/// Default mode of a new file.
const FILE: u32 = 0o644;

/// The old file that a new file may replace.
#[derive(Debug, Clone, Copy)]
enum Over<'s> {
    /// Any file, or none.
    Anything,
    /// Only a file with the state that was checked; `None` is no file.
    Only(Option<&'s FileContents>),
}

impl Root {
    /// Writes a file whole, or leaves the old one; makes missing directories and keeps the file's attributes.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write(&self, inside: &Path, bytes: &[u8]) -> Result<(), RootError> {
        let place = self.make_pinned(inside)?;
        place.write(bytes, place.attributes()?.as_ref())
    }

    /// Removes an empty directory whose path has no links; a missing or non-empty directory is no error.
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
    /// Writes the file whole, or leaves the old one; without attributes, the new file belongs to this process's user
    /// and everybody may read it.
    ///
    /// A file with several names is written in place, because a new file would separate them. Until it is whole, a new
    /// file has another name in the same directory, or in the parent directory if programs read every file in this one,
    /// such as in `*.d`.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write(&self, bytes: &[u8], attributes: Option<&Attributes>) -> Result<(), RootError> {
        self.write_if_allowed(bytes, attributes, Over::Anything).map(drop)
    }

    /// Does the same as [`PinnedPath::write`], but only replaces a file with the state `checked`, `None` being no file.
    /// Anything that others have written meanwhile stays, and the answer is `false`.
    ///
    /// The old file is checked again when the new file is whole, and once more when it has been displaced.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write_over(
        &self,
        checked: Option<&FileContents>,
        bytes: &[u8],
        attributes: Option<&Attributes>,
    ) -> Result<bool, RootError> {
        self.write_if_allowed(bytes, attributes, Over::Only(checked))
    }

    /// Removes the file with the state `checked`; anything that others have written meanwhile stays, and the answer is
    /// `false`.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove_seen(&self, checked: &FileContents) -> Result<bool, RootError> {
        let removed = || match self.has_rescued_text()? || !self.is_unchanged(Some(checked)) {
            true => Ok(false),
            false => self.remove_if_unchanged(checked).and_then(|removed| self.sync().map(|()| removed)),
        };
        removed().map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    /// Removes the leftovers of a killed write, and puts back others' text that the killed write had displaced.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn sweep(&self) -> io::Result<Vec<Rescued>> {
        // A leftover new text does no harm, and the next write removes it.
        let _ = self.drop_staged(STAGED);
        self.rescue()
    }

    /// Checks whether others' text, displaced by a killed call, is now back in its place: the caller has not checked
    /// that text.
    fn has_rescued_text(&self) -> io::Result<bool> {
        let rescued = self.rescue()?;
        let any = !rescued.is_empty();
        rescued.into_iter().try_for_each(ensure_back).map(|()| any)
    }

    fn write_if_allowed(
        &self,
        bytes: &[u8],
        attributes: Option<&Attributes>,
        over: Over<'_>,
    ) -> Result<bool, RootError> {
        let failed = |source| RootError::Write { path: self.shown.clone(), source };
        let links = self.open(OFlags::RDONLY).and_then(|f| f.metadata()).map_or(0, |m| m.nlink());
        let written = match links {
            2.. if !self.may_replace(over) => Ok(false),
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
        if matches!(over, Over::Only(_)) && self.has_rescued_text()? {
            return Ok(false);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staged = rustix::fs::openat(self.stage(), STAGED, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| fill(&File::from(file), bytes, attributes))
            .and_then(|()| self.rename_staged(over));
        match staged {
            // The directory is a mount point, or its parent is not writable: there is no other place for the staged
            // file.
            Err(error) if self.is_drop_in_folder() && is_rename_refused(&error) => {
                self.drop_staged(STAGED)?;
                self.replace_by_unnamed_file(bytes, attributes, over)
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = self.drop_staged(STAGED);
                Err(error)
            }
            Ok(replaced) => self.drop_staged(STAGED).map(|()| replaced),
        }
    }

    /// Renames the staged file to its final name. Returns `false` if the old file may not be replaced; then it keeps or
    /// gets back its name.
    fn rename_staged(&self, over: Over<'_>) -> io::Result<bool> {
        let stage = self.stage();
        let rename_with = |flags| rustix::fs::renameat_with(stage, STAGED, &self.folder, &self.name, flags);
        let rename = || rustix::fs::renameat(stage, STAGED, &self.folder, &self.name).map_err(io::Error::from);
        let renamed = match over {
            Over::Anything => return rename().map(|()| true),
            Over::Only(None) => rename_with(RenameFlags::NOREPLACE).map(|()| true).map_err(io::Error::from),
            Over::Only(Some(_)) if !self.may_replace(over) => return Ok(false),
            Over::Only(Some(checked)) => self.exchange(STAGED, checked),
        };
        let has_errno = |error: &io::Error, errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        match renamed {
            // The old file has appeared, or disappeared, since.
            Err(error) if has_errno(&error, Errno::EXIST) || has_errno(&error, Errno::NOENT) => Ok(false),
            // The filesystem has no such renames: the best possible is a check right before a plain rename.
            Err(error) if [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].iter().any(|e| has_errno(&error, *e)) => {
                match self.may_replace(over) {
                    true => rename().map(|()| true),
                    false => Ok(false),
                }
            }
            renamed => renamed,
        }
    }

    /// Checks whether the current file may be replaced.
    fn may_replace(&self, over: Over<'_>) -> bool {
        match over {
            Over::Anything => true,
            Over::Only(checked) => self.is_unchanged(checked),
        }
    }

    /// Checks whether the file still has the state `checked`; an unreadable file does not.
    pub(super) fn is_unchanged(&self, checked: Option<&FileContents>) -> bool {
        let limit = checked.map_or(0, |checked| checked.bytes.len() as u64);
        let same = |a: &FileContents, b: &FileContents| (&a.bytes, &a.attributes) == (&b.bytes, &b.attributes);
        match (self.contents(limit), checked) {
            (Ok(Some(now)), Some(checked)) => same(&now, checked),
            (Ok(None), None) => true,
            _ => false,
        }
    }

    /// Reads the file, but at most `limit` + 1 bytes.
    pub(super) fn contents(&self, limit: u64) -> io::Result<Option<FileContents>> {
        let Some(file) = self.open_existing()? else { return Ok(None) };
        let (attributes, links) = (Attributes::of(&file)?, file.metadata()?.nlink());
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Some(FileContents { bytes, attributes, links }))
    }

    /// Replaces the file by one that has no name until it is whole; the old file is removed right before.
    fn replace_by_unnamed_file(
        &self,
        bytes: &[u8],
        attributes: Option<&Attributes>,
        over: Over<'_>,
    ) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, c".", flags, Mode::RUSR | Mode::WUSR)?;
        let file = File::from(file);
        fill(&file, bytes, attributes)?;
        if !self.may_replace(over) {
            return Ok(false);
        }
        let is_new = matches!(over, Over::Only(None));
        if !is_new {
            self.unlink()?;
        }
        match rustix::fs::linkat(&file, c"", &self.folder, &self.name, AtFlags::EMPTY_PATH) {
            // Another file has appeared since.
            Err(Errno::EXIST) if is_new => Ok(false),
            linked => Ok(linked.map(|()| true)?),
        }
    }

    /// Removes the file; a missing file is no error.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove(&self) -> Result<(), RootError> {
        let removed = self.unlink().and_then(|()| self.sync());
        removed.map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    /// Renames the file to an unused name in the same directory.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`]; with [`io::ErrorKind::AlreadyExists`] if the name is in use.
    pub fn rename(&self, name: &str) -> Result<(), RootError> {
        let folder = &self.folder;
        let renamed = match rustix::fs::renameat_with(folder, &self.name, folder, name, RenameFlags::NOREPLACE) {
            // The filesystem has no such renames: the best possible is a check right before a plain rename.
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

    /// Checks whether programs read every file in the directory: `config.d`, `conf.d`, `crio.conf.d`.
    fn is_drop_in_folder(&self) -> bool {
        self.path.parent().and_then(Path::file_name).is_some_and(|name| name.as_bytes().ends_with(b".d"))
    }

    /// Checks whether a new file is staged in the parent directory.
    pub(super) fn is_staged_above(&self) -> bool {
        self.above.is_some() && self.is_drop_in_folder()
    }

    pub(super) fn stage(&self) -> &OwnedFd {
        self.above.as_ref().filter(|_| self.is_staged_above()).unwrap_or(&self.folder)
    }

    /// Opens the directory for reading, so that it can be synced and locked.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn open_folder(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, c".", flags, Mode::empty())?.into())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.open_folder()?.sync_all()
    }
}

/// Checks whether the error means that a file cannot be renamed from another directory to this one.
fn is_rename_refused(error: &io::Error) -> bool {
    [Errno::XDEV, Errno::ROFS, Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

pub(super) fn fill(mut file: &File, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
    file.write_all(bytes)?;
    match attributes {
        Some(attributes) => attributes.apply_to(file)?,
        None => rustix::fs::fchmod(file, Mode::from_raw_mode(FILE))?,
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    /// A file that was checked, and a new file that is staged.
    fn staged() -> (tempfile::TempDir, PinnedPath, FileContents) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "old").unwrap();
        std::fs::write(dir.path().join(STAGED), "ours").unwrap();
        let place = Root::new(dir.path()).unwrap().pin(Path::new("/f")).unwrap().unwrap();
        let checked = place.read(LIMIT).unwrap().unwrap();
        (dir, place, checked)
    }

    #[test]
    fn only_a_file_unchanged_since_the_check_is_overwritten_or_removed() {
        let (dir, place, checked) = staged();
        let text = || std::fs::read_to_string(dir.path().join("f")).unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        assert!(!place.write_over(None, b"ours", None).unwrap(), "it was not there");
        std::fs::write(dir.path().join("f"), "theirs").unwrap();
        assert!(!place.write_over(Some(&checked), b"ours", None).unwrap());
        assert!(!place.remove_seen(&checked).unwrap());
        assert_eq!((text().as_str(), names()), ("theirs", 1));
        let now = place.read(LIMIT).unwrap().unwrap();
        assert!(place.write_over(Some(&now), b"ours", Some(&now.attributes)).unwrap());
        assert_eq!((text().as_str(), names()), ("ours", 1));
        // The same for a file with several names, which is written in place.
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
    fn renaming_never_overwrites_an_existing_file() {
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
    fn a_staged_file_meant_for_a_new_path_never_replaces_an_existing_one() {
        let (dir, place, _) = staged();
        assert!(!place.rename_staged(Over::Only(None)).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "old");
        std::fs::remove_file(dir.path().join("f")).unwrap();
        assert!(place.rename_staged(Over::Only(None)).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "ours");
    }
}
