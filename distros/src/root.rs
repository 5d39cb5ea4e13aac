//! A directory taken as `/`: the running system, or another one that is mounted somewhere.
//!
//! Paths here are absolute and seen from inside; symbolic links are followed as a process would that had changed its root
//! there, so `/host/etc/os-release -> /usr/lib/os-release` is a file of the node and not of the pod.

use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Symbolic links that are followed in one path, as Linux does.
const MAX_LINKS: usize = 40;

/// Names that are looked at in one directory.
const MAX_ENTRIES: usize = 100_000;

/// Bytes of a configuration file.
const MAX_CONFIGURATION: u64 = 4 << 20;

/// A directory taken as `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    outer: PathBuf,
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
    /// More bytes than anything of its kind has.
    #[error("{path} has more than {limit} bytes, more than a file of its kind can have")]
    TooLarge {
        /// Seen from outside.
        path: PathBuf,
        /// The cap in bytes.
        limit: u64,
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
        matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Whether its links lead to nothing but themselves, for everybody.
    fn is_circle(&self) -> bool {
        let RootError::Read { source, .. } = self else { return false };
        source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
    }
}

impl Default for Root {
    fn default() -> Self {
        Root { outer: PathBuf::from("/") }
    }
}

impl Root {
    /// Takes `path` as `/`.
    ///
    /// # Errors
    ///
    /// That it is no directory that can be looked into.
    pub fn new(path: &Path) -> Result<Root, RootError> {
        let failed = |source| RootError::Root { path: path.to_owned(), source };
        let outer = std::fs::canonicalize(path).map_err(failed)?;
        std::fs::read_dir(&outer).map_err(failed)?;
        Ok(Root { outer })
    }

    /// Whether this is the running system itself.
    pub fn is_running_system(&self) -> bool {
        self.outer == Path::new("/")
    }

    /// Where the root lies.
    pub fn path(&self) -> &Path {
        &self.outer
    }

    /// Where a path of the inside lies; links are not followed.
    pub fn outer(&self, inside: &Path) -> PathBuf {
        self.outer.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The path with every symbolic link followed inside the root; the last component need not exist.
    ///
    /// # Errors
    ///
    /// More than 40 links, or a directory that cannot be looked into.
    pub fn resolve(&self, inside: &Path) -> Result<PathBuf, RootError> {
        let failed = |source| RootError::Read { path: self.outer(inside), source };
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
            match std::fs::symlink_metadata(self.outer(&next)) {
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(rustix::io::Errno::LOOP.into()));
                    }
                    let to = std::fs::read_link(self.outer(&next)).map_err(failed)?;
                    if to.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    for part in parts(&to).collect::<Vec<_>>().into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                Ok(_) => done = next,
                Err(error) if error.kind() == io::ErrorKind::NotFound && todo.is_empty() => done = next,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(done)
    }

    /// [`Root::resolve`] of what is to be written: directories before the last component may be missing, they can be made.
    ///
    /// # Errors
    ///
    /// Those of [`Root::resolve`], but for what is missing.
    pub fn resolve_new(&self, inside: &Path) -> Result<PathBuf, RootError> {
        match self.resolve(inside) {
            Err(error) if error.is_missing() => match (inside.parent(), inside.components().next_back()) {
                (Some(folder), Some(Component::Normal(name))) => Ok(self.resolve_new(folder)?.join(name)),
                _ => Err(error),
            },
            resolved => resolved,
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
            return Err(RootError::TooLarge { path: self.outer(inside), limit });
        }
        Ok(bytes)
    }

    /// The first `count` bytes of a regular file, or all where it has fewer.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`].
    pub fn head(&self, inside: &Path, count: u64) -> Result<Vec<u8>, RootError> {
        let path = self.outer(&self.resolve(inside)?);
        let failed = |source| RootError::Read { path: path.clone(), source };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let file = std::fs::File::from(file);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let mut bytes = Vec::new();
        file.take(count).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
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
        String::from_utf8(bytes).map_err(|_| RootError::NotText { path: self.outer(inside) })
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

    /// The names in a directory, sorted; none if there is no such directory.
    ///
    /// # Errors
    ///
    /// That it is there and cannot be listed.
    pub fn list(&self, inside: &Path) -> Result<Vec<String>, RootError> {
        let resolved = match self.resolve(inside) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            resolved => resolved?,
        };
        let path = self.outer(&resolved);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| RootError::Read { path, source })?,
        };
        let names = entries.take(MAX_ENTRIES).filter_map(|e| e.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// What stands at a path, links followed; `None` if nothing does, or nobody can tell.
    pub fn metadata(&self, inside: &Path) -> Option<std::fs::Metadata> {
        self.look(inside).ok().flatten()
    }

    /// [`Root::metadata`] that tells what is not there from what cannot be looked at.
    ///
    /// # Errors
    ///
    /// That a folder on the way cannot be searched.
    pub fn look(&self, inside: &Path) -> Result<Option<std::fs::Metadata>, RootError> {
        let found = self.resolve(inside).and_then(|resolved| {
            let path = self.outer(&resolved);
            std::fs::symlink_metadata(&path).map_err(|source| RootError::Read { path, source })
        });
        match found {
            Err(error) if error.is_missing() || error.is_circle() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether a regular file stands at the path, links followed.
    pub fn has_file(&self, inside: &Path) -> bool {
        self.metadata(inside).is_some_and(|m| m.is_file())
    }

    /// Whether a regular file with an execute bit stands at the path.
    pub fn is_program(&self, inside: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt;
        self.metadata(inside).is_some_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    }

    /// The program of that name in the root's usual folders, seen from inside.
    pub fn which(&self, name: &str) -> Option<PathBuf> {
        let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/run/current-system/sw/bin"];
        folders.iter().map(|f| Path::new(f).join(name)).find(|p| self.is_program(p))
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
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("usr/lib/os-release"), "ID=inside\n").unwrap();
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn links_are_followed_inside() {
        let (dir, root) = root();
        symlink("/usr/lib/os-release", dir.path().join("etc/absolute")).unwrap();
        symlink("../../../../usr/lib/os-release", dir.path().join("etc/climbing")).unwrap();
        symlink("usr/lib", dir.path().join("lib")).unwrap();
        for path in ["/etc/absolute", "/etc/climbing", "/lib/os-release", "/etc/../lib/os-release"] {
            assert_eq!(root.read_text(Path::new(path), 100).unwrap(), "ID=inside\n", "{path}");
            assert_eq!(root.resolve(Path::new(path)).unwrap(), Path::new("/usr/lib/os-release"));
        }
    }

    #[test]
    fn what_is_no_small_regular_file_is_refused_and_never_waited_for() {
        let (dir, root) = root();
        symlink("loop", dir.path().join("loop")).unwrap();
        let error = root.read(Path::new("/loop"), 10).unwrap_err();
        assert!(error.to_string().contains("symbolic links"), "{error}");
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let error = root.read(Path::new("/fifo"), 10).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert!(root.read(Path::new("/etc"), 10).is_err());
        assert!(matches!(root.read(Path::new("/usr/lib/os-release"), 9).unwrap_err(), RootError::TooLarge { .. }));
        assert_eq!(root.read(Path::new("/usr/lib/os-release"), 10).unwrap().len(), 10);
        assert!(root.read(Path::new("/usr/none/x"), 10).unwrap_err().is_missing());
        // A file is no folder.
        assert!(root.read(Path::new("/usr/lib/os-release/x"), 10).unwrap_err().is_missing());
        assert!(Root::new(Path::new("/etc/hostname-of-nobody")).is_err());
    }

    #[test]
    fn what_is_to_be_written_may_lack_its_folders() {
        let (dir, root) = root();
        symlink("/usr", dir.path().join("etc/up")).unwrap();
        assert_eq!(root.resolve_new(Path::new("/etc/up/none/file")).unwrap(), Path::new("/usr/none/file"));
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(!root.resolve_new(Path::new("/a/file")).unwrap_err().is_missing());
    }

    #[test]
    fn configuration_is_read_to_the_byte_or_not_at_all() {
        let (dir, root) = root();
        std::fs::write(dir.path().join("junk"), [0xff, 0xfe]).unwrap();
        assert!(root.utf8(Path::new("/junk")).unwrap_err().to_string().contains("UTF-8"));
        assert_eq!(root.utf8_if_any(Path::new("/none")).unwrap(), None);
        assert_eq!(root.utf8_if_any(Path::new("/usr/lib/os-release")).unwrap().as_deref(), Some("ID=inside\n"));
        assert!(root.has_file(Path::new("/usr/lib/os-release")) && !root.has_file(Path::new("/usr/lib")));
        assert_eq!(root.list(Path::new("/none")).unwrap(), Vec::<String>::new());
        assert_eq!(root.list(Path::new("/")).unwrap(), ["etc", "junk", "usr"]);
    }

    #[test]
    fn globs_match_within_components() {
        let (dir, root) = root();
        for (version, name) in [("6.1", "vmlinuz"), ("6.2", "vmlinuz"), (".x", "vmlinuz")] {
            let folder = dir.path().join("usr/lib/modules").join(version);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), "").unwrap();
        }
        let found = root.glob("/usr/lib/modules/*/vmlinuz").unwrap();
        let expected = ["/usr/lib/modules/6.1/vmlinuz", "/usr/lib/modules/6.2/vmlinuz"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(root.glob("/boot/vmlinuz-*").unwrap().is_empty());
        symlink("circle", dir.path().join("usr/lib/circle")).unwrap();
        assert!(root.glob("/usr/lib/circl*").unwrap().is_empty());
        assert!(root.glob("/usr/lib/os-release/*").unwrap().is_empty());
        assert!(matches("a*b*c", "a1b2c") && matches("*", "x") && !matches("a*b", "ac") && !matches("ab*b", "ab"));
    }
}
