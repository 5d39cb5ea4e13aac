//! A name in a directory that is held open, so that the file that was checked is the file that is written.

mod displaced; // files moved out of their place, until they are checked once more
mod in_place; // files with several names, which are overwritten in place
mod write; // writing a file whole or not at all, renaming and removing it

pub use displaced::{DisplacedText, Rescued};
pub use in_place::may_be_half;

use crate::attributes::Attributes;
use crate::error::{RootError, is_missing};
use crate::open::{BENEATH, ITSELF, open};
use crate::root::{Root, parts};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Default mode of a new directory.
const FOLDER: u32 = 0o755;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContents {
    /// The content.
    pub bytes: Vec<u8>,
    /// Owner, mode and extended attributes.
    pub attributes: Attributes,
    /// Number of hard links.
    pub links: u64,
}

/// A name in a directory of a root. The directory is held open, so it stays the same even if it is renamed.
#[derive(Debug)]
pub struct PinnedPath {
    /// Seen from inside, with no links in it.
    path: PathBuf,
    /// Seen from outside, for messages.
    shown: PathBuf,
    folder: OwnedFd,
    /// The parent directory of `folder`.
    above: Option<OwnedFd>,
    name: OsString,
}

impl Root {
    /// Pins a path with all links followed, including the last; `None` if its directory is missing.
    ///
    /// # Errors
    ///
    /// Fails if a directory of the path cannot be opened.
    pub fn pin(&self, inside: &Path) -> Result<Option<PinnedPath>, RootError> {
        self.pin_followed(inside, false)
    }

    /// Does the same as [`Root::pin`], and makes missing directories.
    ///
    /// # Errors
    ///
    /// Fails if a directory of the path cannot be opened or made.
    pub fn make_pinned(&self, inside: &Path) -> Result<PinnedPath, RootError> {
        let missing_folder = || RootError::Write { path: self.shown(inside), source: Errno::NOENT.into() };
        self.pin_followed(inside, true)?.ok_or_else(missing_folder)
    }

    /// Does the same as [`Root::pin`], but does not follow a link in the last component.
    ///
    /// # Errors
    ///
    /// Those of [`Root::pin`].
    pub fn pin_itself(&self, inside: &Path) -> Result<Option<PinnedPath>, RootError> {
        self.pin_resolved(self.resolve_parent(inside)?, false)
    }

    /// Does the same as [`Root::make_pinned`], but does not follow a link in the last component.
    ///
    /// # Errors
    ///
    /// Those of [`Root::make_pinned`].
    pub fn make_pinned_itself(&self, inside: &Path) -> Result<PinnedPath, RootError> {
        let missing_folder = || RootError::Write { path: self.shown(inside), source: Errno::NOENT.into() };
        self.pin_resolved(self.resolve_parent(inside)?, true)?.ok_or_else(missing_folder)
    }

    /// Opens a directory, and makes it and its parents if missing. Names looked up in it stay in the same directory
    /// even if it is renamed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::make_pinned`].
    pub fn make_folder(&self, inside: &Path) -> Result<OwnedFd, RootError> {
        // The name is never used, only its directory.
        Ok(self.make_pinned_itself(&inside.join("_"))?.folder)
    }

    fn resolve_parent(&self, inside: &Path) -> Result<PathBuf, RootError> {
        match (inside.parent(), inside.file_name()) {
            (Some(folder), Some(name)) => Ok(self.resolve_new(folder)?.join(name)),
            _ => Ok(PathBuf::from("/")),
        }
    }

    /// Pins a path with all links followed; makes missing directories if `make` is set.
    fn pin_followed(&self, inside: &Path, make: bool) -> Result<Option<PinnedPath>, RootError> {
        match self.resolve_new(inside) {
            // A parent of the path is not a directory any more.
            Err(error) if error.is_missing() && !make => Ok(None),
            path => self.pin_resolved(path?, make),
        }
    }

    /// Pins a path whose directories are no links.
    fn pin_resolved(&self, path: PathBuf, make: bool) -> Result<Option<PinnedPath>, RootError> {
        let shown = self.shown(&path);
        let failed = |source| RootError::Write { path: shown.clone(), source };
        let Some(name) = path.file_name() else { return Err(failed(Errno::ISDIR.into())) };
        // Opened component by component without following links: one may have become a link in the meantime.
        let mut folder = open(self.top().map_err(failed)?, Path::new(""), OFlags::PATH, ITSELF).map_err(failed)?;
        let mut above = None;
        for part in path.parent().into_iter().flat_map(parts) {
            let below = match below(&folder, &part) {
                Err(error) if is_missing(&error) && !make => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match rustix::fs::mkdirat(&folder, &part, Mode::from_raw_mode(FOLDER)) {
                        Ok(()) | Err(Errno::EXIST) => below(&folder, &part),
                        Err(errno) => Err(errno.into()),
                    }
                }
                opened => opened,
            };
            above = Some(std::mem::replace(&mut folder, below.map_err(failed)?));
        }
        Ok(Some(PinnedPath { name: name.to_owned(), path: path.clone(), shown, folder, above }))
    }
}

/// Opens a directory in a directory, never through a link.
fn below(folder: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    open(folder, name, OFlags::PATH | OFlags::DIRECTORY, ITSELF)
}

impl PinnedPath {
    /// Pins a file of this machine, not of a root; links are followed.
    ///
    /// # Errors
    ///
    /// Fails if the file's directory cannot be opened.
    pub fn of_file(path: &Path) -> io::Result<PinnedPath> {
        let path = match std::fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            path => path?,
        };
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())?;
        let name = path.file_name().ok_or(Errno::ISDIR)?.to_owned();
        Ok(PinnedPath { name, shown: path.clone(), path, folder, above: None })
    }

    /// Seen from inside, with no links in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file with its attributes; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// Fails if it is not a regular file, has more than `limit` bytes, or cannot be read.
    pub fn read(&self, limit: u64) -> Result<Option<FileContents>, RootError> {
        let failed = |source| RootError::Read { path: self.shown.clone(), source };
        let Some(file) = self.open_existing().map_err(failed)? else { return Ok(None) };
        let meta = file.metadata().map_err(failed)?;
        let attributes = Attributes::of(&file).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(RootError::TooLarge { path: self.shown.clone(), limit });
        }
        Ok(Some(FileContents { bytes, attributes, links: meta.nlink() }))
    }

    /// Returns the file's attributes without reading its content; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// Fails if it is not a regular file, or cannot be opened.
    pub fn attributes(&self) -> Result<Option<Attributes>, RootError> {
        let attributes = self.open_existing().and_then(|file| file.map(|f| Attributes::of(&f)).transpose());
        attributes.map_err(|source| RootError::Read { path: self.shown.clone(), source })
    }

    /// Returns the link's target; `None` if there is no link.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn link(&self) -> io::Result<Option<PathBuf>> {
        match rustix::fs::readlinkat(&self.folder, &self.name, Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open_existing(&self) -> io::Result<Option<File>> {
        match self.open(OFlags::RDONLY) {
            Err(error) if is_missing(&error) => Ok(None),
            file => file.map(Some),
        }
    }

    /// Opens the file, which must be a regular file and not a link.
    fn open(&self, flags: OFlags) -> io::Result<File> {
        let name = Path::new(&self.name);
        let regular = |file: &File| match file.metadata()?.is_file() {
            true => Ok(()),
            false => Err(io::Error::other("not a regular file")),
        };
        // First only as a path, because opening a device can have effects.
        let probe = open(&self.folder, name, OFlags::PATH | OFlags::NOFOLLOW, BENEATH)?;
        regular(&File::from(probe))?;
        let file = File::from(open(&self.folder, name, flags | OFlags::NONBLOCK | OFlags::NOCTTY, ITSELF)?);
        regular(&file)?;
        Ok(file)
    }
}
