//! One name in a folder that is held open: what was looked at is what is written.

mod displaced; // what was taken out of its place, until it has been looked at once more
mod in_place; // a file of several names, which is written over
mod write; // writing it whole or not at all, renaming and removing it

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

/// What a new folder may be by default.
const FOLDER: u32 = 0o755;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContents {
    /// The content.
    pub bytes: Vec<u8>,
    /// What it is.
    pub attributes: Attributes,
    /// How many names it has.
    pub links: u64,
}

/// A name in a folder of a root; the folder is held open, so that it stays the same one whatever is renamed.
#[derive(Debug)]
pub struct PinnedPath {
    /// Seen from inside, with no links in it.
    path: PathBuf,
    /// Seen from outside, for messages.
    shown: PathBuf,
    folder: OwnedFd,
    /// The folder's own.
    above: Option<OwnedFd>,
    name: OsString,
}

impl Root {
    /// The place of a path with its links followed, the last one's too; `None` where its folder is missing.
    ///
    /// # Errors
    ///
    /// That a folder on the way cannot be opened.
    pub fn pin(&self, inside: &Path) -> Result<Option<PinnedPath>, RootError> {
        self.pin_followed(inside, false)
    }

    /// [`Root::pin`], with the folders made that are missing.
    ///
    /// # Errors
    ///
    /// That a folder on the way cannot be opened or made.
    pub fn make_pinned(&self, inside: &Path) -> Result<PinnedPath, RootError> {
        let gone = || RootError::Write { path: self.shown(inside), source: Errno::NOENT.into() };
        self.pin_followed(inside, true)?.ok_or_else(gone)
    }

    /// [`Root::pin`] of the file itself: a link in the last component is not followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::pin`].
    pub fn pin_itself(&self, inside: &Path) -> Result<Option<PinnedPath>, RootError> {
        self.pin_resolved(self.itself(inside)?, false)
    }

    /// [`Root::make_pinned`] of the file itself: a link in the last component is not followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::make_pinned`].
    pub fn make_pinned_itself(&self, inside: &Path) -> Result<PinnedPath, RootError> {
        let gone = || RootError::Write { path: self.shown(inside), source: Errno::NOENT.into() };
        self.pin_resolved(self.itself(inside)?, true)?.ok_or_else(gone)
    }

    /// A folder, made with those above it where it is missing, as what names are looked up in: it stays the same one
    /// whatever is renamed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::make_pinned`].
    pub fn make_folder(&self, inside: &Path) -> Result<OwnedFd, RootError> {
        // The name is never used: only its folder counts.
        Ok(self.make_pinned_itself(&inside.join("_"))?.folder)
    }

    fn itself(&self, inside: &Path) -> Result<PathBuf, RootError> {
        match (inside.parent(), inside.file_name()) {
            (Some(folder), Some(name)) => Ok(self.resolve_new(folder)?.join(name)),
            _ => Ok(PathBuf::from("/")),
        }
    }

    /// Pins a path with its links followed; its folders are made where they are missing and `make` says so.
    fn pin_followed(&self, inside: &Path, make: bool) -> Result<Option<PinnedPath>, RootError> {
        match self.resolve_new(inside) {
            // Something else stands where a folder was.
            Err(error) if error.is_missing() && !make => Ok(None),
            path => self.pin_resolved(path?, make),
        }
    }

    /// Pins a path that has no links in its folders.
    fn pin_resolved(&self, path: PathBuf, make: bool) -> Result<Option<PinnedPath>, RootError> {
        let shown = self.shown(&path);
        let failed = |source| RootError::Write { path: shown.clone(), source };
        let Some(name) = path.file_name() else { return Err(failed(Errno::ISDIR.into())) };
        // Component by component, none of them a link: one that has become a link since is not followed.
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

/// A folder in a folder, never through a link.
fn below(folder: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    open(folder, name, OFlags::PATH | OFlags::DIRECTORY, ITSELF)
}

impl PinnedPath {
    /// The place of a file of this machine, not of a root: a link there is followed.
    ///
    /// # Errors
    ///
    /// That its folder cannot be opened.
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

    /// The file with what it is; `None` where there is none.
    ///
    /// # Errors
    ///
    /// That it is no regular file, has more than `limit` bytes, or cannot be read.
    pub fn read(&self, limit: u64) -> Result<Option<FileContents>, RootError> {
        let failed = |source| RootError::Read { path: self.shown.clone(), source };
        let Some(file) = self.opened().map_err(failed)? else { return Ok(None) };
        let meta = file.metadata().map_err(failed)?;
        let attributes = Attributes::of(&file).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(RootError::TooLarge { path: self.shown.clone(), limit });
        }
        Ok(Some(FileContents { bytes, attributes, links: meta.nlink() }))
    }

    /// What the file is, without reading it; `None` where there is none.
    ///
    /// # Errors
    ///
    /// That it is no regular file, or cannot be opened.
    pub fn attributes(&self) -> Result<Option<Attributes>, RootError> {
        let attributes = self.opened().and_then(|file| file.map(|f| Attributes::of(&f)).transpose());
        attributes.map_err(|source| RootError::Read { path: self.shown.clone(), source })
    }

    /// What the link says; `None` where there is none.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn link(&self) -> io::Result<Option<PathBuf>> {
        match rustix::fs::readlinkat(&self.folder, &self.name, Vec::new()) {
            Ok(words) => Ok(Some(PathBuf::from(OsStr::from_bytes(words.as_bytes())))),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn opened(&self) -> io::Result<Option<File>> {
        match self.open(OFlags::RDONLY) {
            Err(error) if is_missing(&error) => Ok(None),
            file => file.map(Some),
        }
    }

    /// The regular file itself.
    fn open(&self, flags: OFlags) -> io::Result<File> {
        let name = Path::new(&self.name);
        let regular = |file: &File| match file.metadata()?.is_file() {
            true => Ok(()),
            false => Err(io::Error::other("not a regular file")),
        };
        // First only as a path, because opening a device can have effects.
        let looked_at = open(&self.folder, name, OFlags::PATH | OFlags::NOFOLLOW, BENEATH)?;
        regular(&File::from(looked_at))?;
        let file = File::from(open(&self.folder, name, flags | OFlags::NONBLOCK | OFlags::NOCTTY, ITSELF)?);
        regular(&file)?;
        Ok(file)
    }
}
