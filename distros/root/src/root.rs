//! [`Root`]: the directory, its paths, and the files found there.

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

/// Maximum number of symbolic links followed in one path, as in Linux.
const MAX_LINKS: usize = 40;

/// Search path of a root login, as in the variable `PATH`: Debian's (other distros have the same directories in another
/// order, or lack the last) and the directory that holds all programs of NixOS.
///
/// Used both to find programs in a root and as the `PATH` of the programs that are run there.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// A directory taken as `/`, held by a descriptor.
///
/// Every file is opened below that descriptor by `openat2` with `RESOLVE_IN_ROOT`, so neither a link nor a concurrent
/// rename leads out. The same holds for the running system's `/`.
#[derive(Debug, Clone)]
pub struct Root {
    outer: PathBuf,
    /// Holds the error if the running system's `/` could not be opened; the first call reports it.
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
    /// Fails if `path` is not a readable directory, or if the kernel cannot confine paths to it (before Linux 5.6).
    pub fn new(path: &Path) -> Result<Root, RootError> {
        let failed = |source| RootError::Root { path: path.to_owned(), source };
        let outer = std::fs::canonicalize(path).map_err(failed)?;
        let top = open::top(&outer).map_err(|e| failed(open::io_error(e)))?;
        Ok(Root { outer, top: Arc::new(Ok(top)) })
    }

    /// Checks whether this is the running system itself.
    pub fn is_running_system(&self) -> bool {
        self.outer == Path::new("/")
    }

    /// Returns the root's own path, for messages and for programs that take a root as an argument.
    pub fn path(&self) -> &Path {
        &self.outer
    }

    /// Returns an inside path as seen from outside. For messages only: opening it would follow links out of the root.
    pub fn shown(&self, inside: &Path) -> PathBuf {
        self.outer.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    pub(crate) fn top(&self) -> io::Result<&OwnedFd> {
        self.top.as_ref().as_ref().map_err(|e| open::io_error(*e))
    }

    pub(crate) fn open(&self, inside: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        open(self.top()?, inside, flags, IN_ROOT)
    }

    /// Opens a directory, following links. Names looked up in it stay in the same directory even if it is renamed.
    ///
    /// # Errors
    ///
    /// Fails if there is no such directory.
    pub fn folder(&self, inside: &Path) -> Result<OwnedFd, RootError> {
        self.open(inside, OFlags::PATH | OFlags::DIRECTORY).map_err(self.cannot_read(inside))
    }

    /// Returns the metadata of a file without opening it, because opening a device can have effects.
    pub(crate) fn metadata(&self, inside: &Path) -> io::Result<Metadata> {
        File::from(self.open(inside, OFlags::PATH)?).metadata()
    }

    pub(crate) fn cannot_read(&self, inside: &Path) -> impl Fn(io::Error) -> RootError + use<> {
        let path = self.shown(inside);
        move |source| RootError::Read { path: path.clone(), source }
    }

    /// Resolves every symbolic link of a path inside the root; the last component need not exist.
    ///
    /// For showing and comparing paths, and for writing next to the real file.
    ///
    /// # Errors
    ///
    /// Fails for more than 40 links, or for a directory that cannot be searched.
    pub fn resolve(&self, inside: &Path) -> Result<PathBuf, RootError> {
        self.resolve_links(inside, false)
    }

    /// Does the same as [`Root::resolve`] for a file to be written: all components may be missing.
    ///
    /// # Errors
    ///
    /// Those of [`Root::resolve`], except for what is missing.
    pub fn resolve_new(&self, inside: &Path) -> Result<PathBuf, RootError> {
        self.resolve_links(inside, true)
    }

    fn resolve_links(&self, inside: &Path, may_be_missing: bool) -> Result<PathBuf, RootError> {
        let failed = self.cannot_read(inside);
        let mut pending: VecDeque<PathBuf> = parts(inside).collect();
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = pending.pop_front() {
            if part == Path::new("..") {
                // `/..` is `/`.
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            match self.link(&next) {
                Ok(Some(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(Errno::LOOP.into()));
                    }
                    if target.is_absolute() {
                        resolved = PathBuf::from("/");
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        pending.push_front(part);
                    }
                }
                Ok(None) => resolved = next,
                Err(error) if error.kind() == io::ErrorKind::NotFound && (may_be_missing || pending.is_empty()) => {
                    resolved = next
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(resolved)
    }

    /// Returns the target of a symbolic link; `None` if the file is no symbolic link.
    fn link(&self, inside: &Path) -> io::Result<Option<PathBuf>> {
        let found = self.open(inside, OFlags::PATH | OFlags::NOFOLLOW)?;
        match rustix::fs::readlinkat(&found, c"", Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(target.as_bytes())))),
            // The file is no symbolic link.
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the metadata of a file, following links; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// Fails if a directory of the path cannot be searched.
    pub fn look(&self, inside: &Path) -> Result<Option<Metadata>, RootError> {
        match self.metadata(inside) {
            Err(error) if is_missing(&error) || leads_nowhere(&error) => Ok(None),
            found => found.map(Some).map_err(self.cannot_read(inside)),
        }
    }

    /// Checks that a path stays in the root even for a program that does not take the root as its `/`.
    ///
    /// # Errors
    ///
    /// Fails if a link is absolute or climbs above the root ([`RootError::leads_out`]), or if there is no such file.
    pub fn stay_inside(&self, inside: &Path) -> Result<(), RootError> {
        let relative = inside.strip_prefix("/").unwrap_or(inside);
        let opened = self.top().and_then(|top| open(top, relative, OFlags::PATH, BENEATH));
        opened.map(drop).map_err(self.cannot_read(inside))
    }

    /// Returns the metadata of a file; a link in the last component is not followed.
    ///
    /// # Errors
    ///
    /// Fails if there is no such file, or if a directory cannot be searched.
    pub fn symlink_metadata(&self, inside: &Path) -> Result<Metadata, RootError> {
        let found = self.open(inside, OFlags::PATH | OFlags::NOFOLLOW);
        found.and_then(|f| File::from(f).metadata()).map_err(self.cannot_read(inside))
    }

    /// Checks whether a path, with links followed, is a regular file.
    ///
    /// # Errors
    ///
    /// Those of [`Root::look`].
    pub fn has_file(&self, inside: &Path) -> Result<bool, RootError> {
        Ok(self.look(inside)?.is_some_and(|m| m.is_file()))
    }

    /// Checks whether a path, with links followed, is a regular file with an execute bit.
    ///
    /// # Errors
    ///
    /// Those of [`Root::look`].
    pub fn is_program(&self, inside: &Path) -> Result<bool, RootError> {
        use std::os::unix::fs::PermissionsExt;
        Ok(self.look(inside)?.is_some_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
    }

    /// Searches [`PATH`] for a program, as a root login does, and returns its path inside the root.
    ///
    /// # Errors
    ///
    /// Fails if a directory cannot be searched and none before it has the program.
    pub fn which(&self, name: &str) -> Result<Option<PathBuf>, RootError> {
        for program in PATH.split(':').map(|folder| Path::new(folder).join(name)) {
            if self.is_program(&program)? {
                return Ok(Some(program));
            }
        }
        Ok(None)
    }

    /// Returns the first of `paths` that is a regular file, with links followed.
    ///
    /// # Errors
    ///
    /// Those of [`Root::look`], for a path before the one found.
    pub fn first_file<'p>(&self, paths: impl IntoIterator<Item = &'p Path>) -> Result<Option<&'p Path>, RootError> {
        for path in paths {
            if self.has_file(path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Returns the directories that must be made for a file, the outermost first.
    pub fn missing_folders(&self, inside: &Path) -> Vec<PathBuf> {
        let is_missing = |folder: &&Path| self.metadata(folder).is_err_and(|e| is_missing(&e));
        let mut missing: Vec<PathBuf> = inside.ancestors().skip(1).take_while(is_missing).map(Path::to_owned).collect();
        missing.reverse();
        missing
    }
}

/// Checks, from the text alone, that a relative path never climbs above its start.
///
/// For paths that are in no filesystem yet, such as an archive's members; only [`Root::stay_inside`] follows links.
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

/// Returns the components of a path except `/` and `.`.
pub(crate) fn parts(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    })
}
