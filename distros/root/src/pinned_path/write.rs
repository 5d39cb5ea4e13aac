//! Writing a file whole or not at all, renaming and removing it.

use super::PinnedPath;
use crate::attributes::Attributes;
use crate::error::RootError;
use crate::root::Root;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// What a file is called until it is whole. There is one writer at a time, so one name is enough, and
/// what a killed one left over is recognized.
const STAGED: &str = ".kata-osinfo.new";

/// What a new file may be by default.
const FILE: u32 = 0o644;

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
        let failed = |source| RootError::Write { path: self.shown.clone(), source };
        let names = self.open(OFlags::RDONLY).and_then(|f| f.metadata()).map_or(0, |m| m.nlink());
        let written = match names {
            2.. => self.write_in_place(bytes, attributes),
            _ => self.replace(bytes, attributes),
        };
        written.and_then(|()| self.sync()).map_err(failed)
    }

    fn write_in_place(&self, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
        let file = self.open(OFlags::RDWR)?;
        overwrite(&file, bytes)?;
        if let Some(attributes) = attributes {
            attributes.put(&file)?;
        }
        file.sync_all()
    }

    fn replace(&self, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
        let stage = self.stage();
        self.sweep()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staged = rustix::fs::openat(stage, STAGED, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| fill(&File::from(file), bytes, attributes))
            .and_then(|()| Ok(rustix::fs::renameat(stage, STAGED, &self.folder, &self.name)?));
        match staged {
            // The folder is mounted by itself, or what is above it may not be written: there is no other place.
            Err(error) if self.is_read_whole() && is_elsewhere(&error) => {
                self.sweep()?;
                self.replace_without_a_name(bytes, attributes)
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = self.sweep();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// The file has no name until it is whole; the old one goes the moment before.
    fn replace_without_a_name(&self, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, c".", flags, Mode::RUSR | Mode::WUSR)?;
        let file = File::from(file);
        fill(&file, bytes, attributes)?;
        self.unlink()?;
        Ok(rustix::fs::linkat(&file, c"", &self.folder, &self.name, AtFlags::EMPTY_PATH)?)
    }

    /// Removes what an earlier write that was killed has left beside the place.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn sweep(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(self.stage(), STAGED, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ROFS) => Ok(()),
            Err(errno) => Err(errno.into()),
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

    /// Gives the file another name in its folder; one of that name goes.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn rename(&self, name: &str) -> Result<(), RootError> {
        let renamed = rustix::fs::renameat(&self.folder, &self.name, &self.folder, name).map_err(io::Error::from);
        renamed.and_then(|()| self.sync()).map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    fn unlink(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether somebody reads every name in the folder: `config.d`, `conf.d`, `crio.conf.d`.
    fn is_read_whole(&self) -> bool {
        self.path.parent().and_then(Path::file_name).is_some_and(|name| name.as_bytes().ends_with(b".d"))
    }

    fn stage(&self) -> &OwnedFd {
        match &self.above {
            Some(above) if self.is_read_whole() => above,
            _ => &self.folder,
        }
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

    fn sync(&self) -> io::Result<()> {
        self.open_folder()?.sync_all()
    }
}

/// Whether a file cannot be renamed from another folder to this one.
fn is_elsewhere(error: &io::Error) -> bool {
    [Errno::XDEV, Errno::ROFS, Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// Writes over what is in a file, or leaves it as it was, as far as there is space for that.
fn overwrite(file: &File, bytes: &[u8]) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut old = vec![0; length];
    file.read_exact_at(&mut old, 0)?;
    let put = |bytes: &[u8]| file.write_all_at(bytes, 0).and_then(|()| file.set_len(bytes.len() as u64));
    reserve(file, bytes.len() as u64).and_then(|()| put(bytes)).inspect_err(|_| {
        // The first error is the one to report.
        let _ = put(&old);
    })
}

/// Has the space for a file of that length, where the filesystem can say so: else writing it ends in the middle.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length)) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn fill(mut file: &File, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
    file.write_all(bytes)?;
    match attributes {
        Some(attributes) => attributes.put(file)?,
        None => rustix::fs::fchmod(file, Mode::from_raw_mode(FILE))?,
    }
    file.sync_all()
}
