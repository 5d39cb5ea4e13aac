//! A directory taken as `/`: the running system, or another one that is mounted somewhere.
//!
//! Paths here are absolute and seen from inside; symbolic links are followed as a process would that had changed its root
//! there, so `/host/etc/os-release -> /usr/lib/os-release` is a file of the node and not of the pod.

mod open;
mod place;

pub use place::{Attributes, Held, Place};

use open::{IN_ROOT, open};
use rustix::fs::{AtFlags, Dir, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Symbolic links that are followed in one path, as Linux does.
const MAX_LINKS: usize = 40;

/// Names that are looked at in one directory.
const MAX_ENTRIES: usize = 100_000;

/// Bytes of a configuration file.
pub const MAX_CONFIGURATION: u64 = 4 << 20;

/// A directory taken as `/`, by its descriptor.
///
/// Every file of it is opened below that descriptor by `openat2` with `RESOLVE_IN_ROOT`, so that neither a link nor a
/// rename in between leads out; that holds for the running system's `/` too.
#[derive(Debug, Clone)]
pub struct Root {
    outer: PathBuf,
    /// What kept the running system's `/` from being opened is told by the first call.
    top: Arc<Result<OwnedFd, Errno>>,
}

/// Why a file of the root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The root is no directory, or cannot be looked into.
    #[error("the root {path} cannot be used: {source}")]
    Root {
        /// As the user named it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One file or directory.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Seen from outside.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One file or directory.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Seen from outside.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More bytes than anything of its kind has.
    #[error("{path} has more than {limit} bytes, more than a file of its kind can have")]
    TooLarge {
        /// Seen from outside.
        path: PathBuf,
        /// The cap in bytes.
        limit: u64,
    },
    /// More names than any folder of a system has.
    #[error("{path} has more than {limit} names, more than a folder of its kind can have")]
    TooMany {
        /// Seen from outside.
        path: PathBuf,
        /// The cap.
        limit: usize,
    },
    /// A text that cannot be written again as it is.
    #[error("{path}: expected UTF-8 text")]
    NotText {
        /// Seen from outside.
        path: PathBuf,
    },
}

impl RootError {
    /// Whether there is no such file, which is often an answer and not an error.
    pub fn is_missing(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        is_missing(source)
    }

    /// Whether nobody can tell what is there, because rights are missing or a device fails.
    ///
    /// Something else than what was looked for, as a folder or a FIFO in the place of a file, is an answer.
    pub fn is_unreadable(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        let is_something_else = matches!(source.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::Other);
        !is_something_else && !is_missing(source) && !leads_nowhere(source)
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a path leads nowhere, for everybody: links in a circle, a name that is too long or has a zero byte.
fn leads_nowhere(error: &io::Error) -> bool {
    [Errno::LOOP, Errno::NAMETOOLONG, Errno::INVAL].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

impl Default for Root {
    fn default() -> Self {
        Root { outer: PathBuf::from("/"), top: Arc::new(open::top(Path::new("/"))) }
    }
}

impl Root {
    /// Takes `path` as `/`.
    ///
    /// # Errors
    ///
    /// That it is no directory that can be looked into, or that the kernel cannot confine paths to it (before Linux 5.6).
    pub fn new(path: &Path) -> Result<Root, RootError> {
        let failed = |source| RootError::Root { path: path.to_owned(), source };
        let outer = std::fs::canonicalize(path).map_err(failed)?;
        let top = open::top(&outer).map_err(|e| failed(open::said(e)))?;
        Ok(Root { outer, top: Arc::new(Ok(top)) })
    }

    /// Whether this is the running system itself.
    pub fn is_running_system(&self) -> bool {
        self.outer == Path::new("/")
    }

    /// Where the root lies: for messages, and for programs that take a root themselves.
    pub fn path(&self) -> &Path {
        &self.outer
    }

    /// A path of the inside as it is named from outside, for messages: opening it would follow links out of the root.
    pub fn shown(&self, inside: &Path) -> PathBuf {
        self.outer.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    fn top(&self) -> io::Result<&OwnedFd> {
        self.top.as_ref().as_ref().map_err(|e| open::said(*e))
    }

    fn open(&self, inside: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        open(self.top()?, inside, flags, IN_ROOT)
    }

    /// A folder, links followed, as what names are looked up in: it stays the same one whatever is renamed.
    ///
    /// # Errors
    ///
    /// That there is none.
    pub fn folder(&self, inside: &Path) -> Result<OwnedFd, RootError> {
        self.open(inside, OFlags::PATH | OFlags::DIRECTORY).map_err(self.cannot_read(inside))
    }

    /// What stands at a path, without opening it: a device's opening can have effects.
    fn seen(&self, inside: &Path) -> io::Result<Metadata> {
        File::from(self.open(inside, OFlags::PATH)?).metadata()
    }

    fn cannot_read(&self, inside: &Path) -> impl Fn(io::Error) -> RootError + use<> {
        let path = self.shown(inside);
        move |source| RootError::Read { path: path.clone(), source }
    }

    /// The path with every symbolic link followed inside the root; the last component need not exist.
    ///
    /// It is for telling and comparing paths, and for writing beside the real file.
    ///
    /// # Errors
    ///
    /// More than 40 links, or a directory that cannot be looked into.
    pub fn resolve(&self, inside: &Path) -> Result<PathBuf, RootError> {
        self.followed(inside, false)
    }

    /// [`Root::resolve`] of what is to be written: whatever is missing can be made.
    ///
    /// # Errors
    ///
    /// Those of [`Root::resolve`], but for what is missing.
    pub fn resolve_new(&self, inside: &Path) -> Result<PathBuf, RootError> {
        self.followed(inside, true)
    }

    fn followed(&self, inside: &Path, new: bool) -> Result<PathBuf, RootError> {
        let failed = self.cannot_read(inside);
        let mut todo: VecDeque<PathBuf> = parts(inside).collect();
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == Path::new("..") {
                // `/..` is `/`.
                done.pop();
                continue;
            }
            let next = done.join(&part);
            match self.link(&next) {
                Ok(Some(to)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(Errno::LOOP.into()));
                    }
                    if to.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    for part in parts(&to).collect::<Vec<_>>().into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                Ok(None) => done = next,
                Err(error) if error.kind() == io::ErrorKind::NotFound && (new || todo.is_empty()) => done = next,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(done)
    }

    /// Where a symbolic link leads; `None` if something else stands there.
    fn link(&self, inside: &Path) -> io::Result<Option<PathBuf>> {
        let found = self.open(inside, OFlags::PATH | OFlags::NOFOLLOW)?;
        match rustix::fs::readlinkat(&found, c"", Vec::new()) {
            Ok(to) => Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(to.as_bytes())))),
            // Neither an empty path nor a link: what stands there is something else.
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The bytes of a regular file of at most `limit` bytes.
    ///
    /// A FIFO or a device is refused, never waited for.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`], or [`RootError::TooLarge`].
    pub fn read(&self, inside: &Path, limit: u64) -> Result<Vec<u8>, RootError> {
        let bytes = self.head(inside, limit.saturating_add(1))?;
        if bytes.len() as u64 > limit {
            return Err(RootError::TooLarge { path: self.shown(inside), limit });
        }
        Ok(bytes)
    }

    /// The first `count` bytes of a regular file, or all where it has fewer.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`].
    pub fn head(&self, inside: &Path, count: u64) -> Result<Vec<u8>, RootError> {
        let mut bytes = Vec::new();
        self.file(inside)?.take(count).read_to_end(&mut bytes).map_err(self.cannot_read(inside))?;
        Ok(bytes)
    }

    /// A regular file, open for reading.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`], also for what is no regular file.
    pub fn file(&self, inside: &Path) -> Result<File, RootError> {
        let failed = self.cannot_read(inside);
        let not_regular = || failed(io::Error::other("not a regular file"));
        if !self.seen(inside).map_err(&failed)?.is_file() {
            return Err(not_regular());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.open(inside, flags).map_err(&failed)?);
        // It may have been exchanged in between.
        if !file.metadata().map_err(&failed)?.is_file() {
            return Err(not_regular());
        }
        Ok(file)
    }

    /// [`Root::read`] as text; what is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// Those of [`Root::read`].
    pub fn read_text(&self, inside: &Path, limit: u64) -> Result<String, RootError> {
        Ok(String::from_utf8_lossy(&self.read(inside, limit)?).into_owned())
    }

    /// The text of a configuration file, at most 4 MiB, to the byte: it may be written again.
    ///
    /// # Errors
    ///
    /// Those of [`Root::read`], and that it is not UTF-8.
    pub fn utf8(&self, inside: &Path) -> Result<String, RootError> {
        let bytes = self.read(inside, MAX_CONFIGURATION)?;
        String::from_utf8(bytes).map_err(|_| RootError::NotText { path: self.shown(inside) })
    }

    /// [`Root::utf8`], `None` where there is no such file.
    ///
    /// # Errors
    ///
    /// Those of [`Root::utf8`], but for a missing file.
    pub fn utf8_if_any(&self, inside: &Path) -> Result<Option<String>, RootError> {
        match self.utf8(inside) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`Root::utf8`], `None` where no such text stands: there is nothing, or a folder, a FIFO, bytes that are no text.
    ///
    /// # Errors
    ///
    /// That it cannot be told: [`RootError::is_unreadable`].
    pub fn text_if_any(&self, inside: &Path) -> Result<Option<String>, RootError> {
        match self.utf8(inside) {
            Err(error) if error.is_unreadable() => Err(error),
            text => Ok(text.ok()),
        }
    }

    /// The names in a directory, sorted; none if there is no such directory.
    ///
    /// # Errors
    ///
    /// That it is there and cannot be listed, or has more names than any has.
    pub fn list(&self, inside: &Path) -> Result<Vec<String>, RootError> {
        self.list_up_to(inside, MAX_ENTRIES)
    }

    fn list_up_to(&self, inside: &Path, limit: usize) -> Result<Vec<String>, RootError> {
        let failed = self.cannot_read(inside);
        match self.seen(inside) {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            found => found.map_err(&failed)?,
        };
        let folder = match self.open(inside, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folder => folder.map_err(&failed)?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(folder).map_err(|e| failed(e.into()))? {
            let entry = entry.map_err(|e| failed(e.into()))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == limit {
                return Err(RootError::TooMany { path: self.shown(inside), limit });
            }
            names.push(name.to_owned());
        }
        names.sort();
        Ok(names)
    }

    /// What stands at a path, links followed; `None` if nothing does.
    ///
    /// # Errors
    ///
    /// That a folder on the way cannot be searched.
    pub fn look(&self, inside: &Path) -> Result<Option<Metadata>, RootError> {
        match self.seen(inside) {
            Err(error) if is_missing(&error) || leads_nowhere(&error) => Ok(None),
            found => found.map(Some).map_err(self.cannot_read(inside)),
        }
    }

    /// What stands at a path; a link in the last component is told and not followed.
    ///
    /// # Errors
    ///
    /// That nothing does, or that a folder cannot be looked into.
    pub fn symlink_metadata(&self, inside: &Path) -> Result<Metadata, RootError> {
        let found = self.open(inside, OFlags::PATH | OFlags::NOFOLLOW);
        found.and_then(|f| File::from(f).metadata()).map_err(self.cannot_read(inside))
    }

    /// Whether a regular file stands at the path, links followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::look`].
    pub fn has_file(&self, inside: &Path) -> Result<bool, RootError> {
        Ok(self.look(inside)?.is_some_and(|m| m.is_file()))
    }

    /// Whether a regular file with an execute bit stands at the path.
    ///
    /// # Errors
    ///
    /// Those of [`Root::look`].
    pub fn is_program(&self, inside: &Path) -> Result<bool, RootError> {
        use std::os::unix::fs::PermissionsExt;
        Ok(self.look(inside)?.is_some_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
    }

    /// The program of that name in the root's usual folders, seen from inside.
    ///
    /// # Errors
    ///
    /// That one of those folders cannot be searched, and none before it has the program.
    pub fn which(&self, name: &str) -> Result<Option<PathBuf>, RootError> {
        let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/run/current-system/sw/bin"];
        for program in folders.iter().map(|folder| Path::new(folder).join(name)) {
            if self.is_program(&program)? {
                return Ok(Some(program));
            }
        }
        Ok(None)
    }

    /// The first of some paths at which a regular file stands, links followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::look`], of a path before it.
    pub fn first_file<'p>(&self, paths: impl IntoIterator<Item = &'p Path>) -> Result<Option<&'p Path>, RootError> {
        for path in paths {
            if self.has_file(path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The files that match a pattern with `*` in its components, sorted, seen from inside.
    ///
    /// # Errors
    ///
    /// That a folder is there and cannot be looked into.
    pub fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, RootError> {
        let mut found = vec![PathBuf::from("/")];
        for part in parts(Path::new(pattern)) {
            let Some(part) = part.to_str().map(str::to_owned) else { return Ok(Vec::new()) };
            let mut next = Vec::new();
            for folder in &found {
                if !part.contains('*') {
                    next.push(folder.join(&part));
                    continue;
                }
                let names = match self.list(folder) {
                    // A file where the pattern wants a folder.
                    Err(RootError::Read { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => continue,
                    names => names?,
                };
                next.extend(names.iter().filter(|n| matches(&part, n)).map(|n| folder.join(n)));
            }
            found = next;
        }
        let mut there = Vec::new();
        for path in found {
            if self.look(&path)?.is_some() {
                there.push(path);
            }
        }
        Ok(there)
    }

    /// Writes a file whole, or leaves the old one: its folders are made, its attributes kept.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn write(&self, inside: &Path, bytes: &[u8]) -> Result<(), RootError> {
        let place = self.make_place(inside)?;
        place.write(bytes, place.attributes()?.as_ref())
    }

    /// Removes an empty folder that a path names without links; one that is not there, or not empty, stays so.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove_empty_folder(&self, inside: &Path) -> Result<(), RootError> {
        let Some(place) = self.place(inside)? else { return Ok(()) };
        if place.path() != inside {
            return Ok(());
        }
        match rustix::fs::unlinkat(place.folder(), place.name(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(()),
            Err(errno) => Err(RootError::Write { path: self.shown(inside), source: errno.into() }),
        }
    }

    /// The directories that must be made for a file, the outermost first.
    pub fn missing_folders(&self, inside: &Path) -> Vec<PathBuf> {
        let is_missing = |folder: &&Path| self.seen(folder).is_err_and(|e| is_missing(&e));
        let mut missing: Vec<PathBuf> = inside.ancestors().skip(1).take_while(is_missing).map(Path::to_owned).collect();
        missing.reverse();
        missing
    }
}

/// The components of a path but `/` and `.`.
fn parts(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    })
}

/// Whether `name` matches a pattern in which `*` is any text; a leading dot must be spelt out.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
