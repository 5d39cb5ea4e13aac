//! One name in a folder that is held open: what was looked at is what is written.

use super::open::{ITSELF, open};
use super::{Root, RootError, is_missing};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a file is called until it is whole. There is one writer at a time, so one name does, and a left-over is known.
const STAGED: &str = ".kata-osinfo.new";

/// What a new folder and a new file may be by default.
const FOLDER: u32 = 0o755;
const FILE: u32 = 0o644;

/// A file's owner, mode and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// Names and values: labels, access lists, notes.
    pub extended: BTreeMap<String, Vec<u8>>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// What it is.
    pub attributes: Attributes,
    /// How many names it has.
    pub links: u64,
}

/// A name in a folder of a root; the folder is held open, so that it stays the same one whatever is renamed.
#[derive(Debug)]
pub struct Place {
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
    pub fn place(&self, inside: &Path) -> Result<Option<Place>, RootError> {
        self.find_place(inside, false)
    }

    /// [`Root::place`], with the folders made that are missing.
    ///
    /// # Errors
    ///
    /// That a folder on the way cannot be opened or made.
    pub fn make_place(&self, inside: &Path) -> Result<Place, RootError> {
        let gone = || RootError::Write { path: self.shown(inside), source: Errno::NOENT.into() };
        self.find_place(inside, true)?.ok_or_else(gone)
    }

    /// [`Root::place`] of the file itself: a link in the last component is not followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::place`].
    pub fn place_itself(&self, inside: &Path) -> Result<Option<Place>, RootError> {
        self.place_at(self.itself(inside)?, false)
    }

    /// [`Root::make_place`] of the file itself: a link in the last component is not followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::make_place`].
    pub fn make_place_itself(&self, inside: &Path) -> Result<Place, RootError> {
        let gone = || RootError::Write { path: self.shown(inside), source: Errno::NOENT.into() };
        self.place_at(self.itself(inside)?, true)?.ok_or_else(gone)
    }

    /// A folder, made with those above it where it is missing, as what names are looked up in: it stays the same one
    /// whatever is renamed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::make_place`].
    pub fn make_folder(&self, inside: &Path) -> Result<OwnedFd, RootError> {
        // The name is nobody's: only its folder counts.
        Ok(self.make_place_itself(&inside.join("_"))?.folder)
    }

    fn itself(&self, inside: &Path) -> Result<PathBuf, RootError> {
        match (inside.parent(), inside.file_name()) {
            (Some(folder), Some(name)) => Ok(self.resolve_new(folder)?.join(name)),
            _ => Ok(PathBuf::from("/")),
        }
    }

    fn find_place(&self, inside: &Path, make: bool) -> Result<Option<Place>, RootError> {
        match self.resolve_new(inside) {
            // Something else stands where a folder was.
            Err(error) if error.is_missing() && !make => Ok(None),
            path => self.place_at(path?, make),
        }
    }

    /// The place of a path that has no links in its folders.
    fn place_at(&self, path: PathBuf, make: bool) -> Result<Option<Place>, RootError> {
        let shown = self.shown(&path);
        let failed = |source| RootError::Write { path: shown.clone(), source };
        let Some(name) = path.file_name() else { return Err(failed(Errno::ISDIR.into())) };
        // Component by component, none of them a link: what has become one since is not followed.
        let mut folder = open(self.top().map_err(failed)?, Path::new(""), OFlags::PATH, ITSELF).map_err(failed)?;
        let mut above = None;
        for part in path.parent().into_iter().flat_map(super::parts) {
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
        Ok(Some(Place { name: name.to_owned(), path: path.clone(), shown, folder, above }))
    }
}

/// A folder in a folder, never through a link.
fn below(folder: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    open(folder, name, OFlags::PATH | OFlags::DIRECTORY, ITSELF)
}

impl Place {
    /// The place of a file of this machine, not of a root: a link there is followed.
    ///
    /// # Errors
    ///
    /// That its folder cannot be opened.
    pub fn of_file(path: &Path) -> io::Result<Place> {
        let path = match std::fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            path => path?,
        };
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())?;
        let name = path.file_name().ok_or(Errno::ISDIR)?.to_owned();
        Ok(Place { name, shown: path.clone(), path, folder, above: None })
    }

    /// Seen from inside, with no links in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The file with what it is; `None` where there is none.
    ///
    /// # Errors
    ///
    /// That it is no regular file, has more than `limit` bytes, or cannot be read.
    pub fn read(&self, limit: u64) -> Result<Option<Held>, RootError> {
        let failed = |source| RootError::Read { path: self.shown.clone(), source };
        let Some(file) = self.opened().map_err(failed)? else { return Ok(None) };
        let meta = file.metadata().map_err(failed)?;
        let attributes = Attributes::of(&file).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(RootError::TooLarge { path: self.shown.clone(), limit });
        }
        Ok(Some(Held { bytes, attributes, links: meta.nlink() }))
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
        // First without opening it in earnest: a device's opening can have effects.
        let looked_at = open(&self.folder, name, OFlags::PATH | OFlags::NOFOLLOW, super::open::ONE)?;
        regular(&File::from(looked_at))?;
        let file = File::from(open(&self.folder, name, flags | OFlags::NONBLOCK | OFlags::NOCTTY, ITSELF)?);
        regular(&file)?;
        Ok(file)
    }

    /// Writes the file whole, or leaves the old one; without attributes it is root's, or whoever asks, and readable.
    ///
    /// A file with several names is written in place instead, for another would part them.
    /// Until it is whole it has a name of its own in the same folder; for one that is read whole, as those called
    /// `*.d` are, in the folder's folder.
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
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
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
                // The first error is what is to be told.
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

    /// The folder, open in earnest: it can be synchronised and locked.
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

/// Whether a name could not be given from there.
fn is_elsewhere(error: &io::Error) -> bool {
    [Errno::XDEV, Errno::ROFS, Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

fn fill(mut file: &File, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
    file.write_all(bytes)?;
    match attributes {
        Some(attributes) => attributes.put(file)?,
        None => rustix::fs::fchmod(file, Mode::from_raw_mode(FILE))?,
    }
    file.sync_all()
}

impl Attributes {
    /// Those of a file that is for whoever writes it alone.
    pub fn private() -> Attributes {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Attributes { uid, gid, mode: 0o600, extended: BTreeMap::new() }
    }

    fn of(file: &File) -> io::Result<Attributes> {
        let meta = file.metadata()?;
        Ok(Attributes { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, extended: extended(file)? })
    }

    /// Gives them to a file; what it has already is not set, so that one's own file needs no privilege.
    fn put(&self, file: &File) -> io::Result<()> {
        let meta = file.metadata()?;
        if (meta.uid(), meta.gid()) != (self.uid, self.gid) {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        let has = extended(file)?;
        for (name, value) in self.extended.iter().filter(|(name, value)| has.get(*name) != Some(value)) {
            rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
                .map_err(|e| io::Error::other(format!("setting the attribute {name}: {}", io::Error::from(e))))?;
        }
        // After the owner: changing that clears the setuid bit.
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?)
    }
}

/// A file's extended attributes but those that sign its content.
fn extended(file: &File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    /// The most that Linux knows, for all names and for one value.
    const MOST: usize = 64 << 10;
    let mut names = Vec::with_capacity(MOST);
    match rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(errno.into()),
    }
    let mut all = BTreeMap::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(name) = str::from_utf8(name) else { continue };
        if name == "security.ima" || name == "security.evm" {
            continue;
        }
        let mut value = Vec::with_capacity(MOST);
        match rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => {
                all.insert(name.to_owned(), value);
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(all)
}
