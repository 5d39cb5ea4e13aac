//! [`Root`]: the folder, its paths, and what stands at them.

use crate::error::{RootError, is_missing, leads_nowhere};
use crate::open::{self, BENEATH, IN_ROOT, open};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Symbolic links that are followed in one path, as Linux does.
const MAX_LINKS: usize = 40;

/// Where a login of root's finds programs, as its variable `PATH`: Debian's, which other distros have in another order or
/// without the last, and the folder that has all of NixOS's.
///
/// A program that is looked for in a root is looked for there, and what it runs looks there itself.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// A directory taken as `/`, by its descriptor.
///
/// Every file of it is opened below that descriptor by `openat2` with `RESOLVE_IN_ROOT`, so that neither a link nor a
/// rename in between leads out; that holds for the running system's `/` too.
#[derive(Debug, Clone)]
pub struct Root {
    outer: PathBuf,
    /// If the running system's `/` could not be opened, the first call says why.
    top: Arc<Result<OwnedFd, Errno>>,
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

    pub(crate) fn top(&self) -> io::Result<&OwnedFd> {
        self.top.as_ref().as_ref().map_err(|e| open::said(*e))
    }

    pub(crate) fn open(&self, inside: &Path, flags: OFlags) -> io::Result<OwnedFd> {
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

    /// The file at a path, without opening it, because opening a device can have effects.
    pub(crate) fn seen(&self, inside: &Path) -> io::Result<Metadata> {
        File::from(self.open(inside, OFlags::PATH)?).metadata()
    }

    pub(crate) fn cannot_read(&self, inside: &Path) -> impl Fn(io::Error) -> RootError + use<> {
        let path = self.shown(inside);
        move |source| RootError::Read { path: path.clone(), source }
    }

    /// The path with every symbolic link followed inside the root; the last component need not exist.
    ///
    /// For showing and comparing paths, and for writing beside the real file.
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
    /// Those of [`Root::resolve`], except for what is missing.
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

    /// The file at a path, links followed; `None` if there is none.
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

    /// Follows a path as one does to whom the root is no `/`, to say whether that stays in the root.
    ///
    /// # Errors
    ///
    /// That a link is absolute or climbs above the root ([`RootError::leads_out`]), or that nothing stands there.
    pub fn stay_inside(&self, inside: &Path) -> Result<(), RootError> {
        let relative = inside.strip_prefix("/").unwrap_or(inside);
        let opened = self.top().and_then(|top| open(top, relative, OFlags::PATH, BENEATH));
        opened.map(drop).map_err(self.cannot_read(inside))
    }

    /// The file at a path; a link in the last component is not followed.
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

    /// The program of that name that a login of root's would find, by [`PATH`], seen from inside.
    ///
    /// # Errors
    ///
    /// That one of those folders cannot be searched, and none before it has the program.
    pub fn which(&self, name: &str) -> Result<Option<PathBuf>, RootError> {
        for program in PATH.split(':').map(|folder| Path::new(folder).join(name)) {
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

    /// The directories that must be made for a file, the outermost first.
    pub fn missing_folders(&self, inside: &Path) -> Vec<PathBuf> {
        let is_missing = |folder: &&Path| self.seen(folder).is_err_and(|e| is_missing(&e));
        let mut missing: Vec<PathBuf> = inside.ancestors().skip(1).take_while(is_missing).map(Path::to_owned).collect();
        missing.reverse();
        missing
    }
}

/// Whether a relative path, taken word by word, never climbs above where it starts.
///
/// For what has no filesystem yet, as an archive's members; links in it are only followed by [`Root::stay_inside`].
pub fn never_climbs(path: &Path) -> bool {
    let mut depth = 0_i32;
    path.components().all(|component| {
        depth += match component {
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::ParentDir => -1,
            Component::RootDir | Component::Prefix(_) => return false,
        };
        depth >= 0
    })
}

/// The components of a path but `/` and `.`.
pub(crate) fn parts(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    })
}
