//! A directory taken for `/`: paths are resolved inside it, symbolic links included.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// Links that are followed for one path before it is taken for a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;
/// Bytes of a configuration file that are read.
const MAX_BYTES: u64 = 4 << 20;

/// A machine's root directory: `/`, or where a pod or an installer has it mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

/// Why something below a root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The path as the machine itself would name it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Links that lead in a circle.
    #[error("{0}: more than {MAX_LINKS} symbolic links: do they lead in a circle?")]
    Loop(PathBuf),
    /// Nothing that can be read as a text.
    #[error("{0}: {1}")]
    Unusable(PathBuf, &'static str),
}

impl RootError {
    /// Whether it says that there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, RootError::Io { source, .. } if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory))
    }
}

impl Root {
    /// The root at a directory; `/` is the machine one runs on.
    ///
    /// # Errors
    ///
    /// That it is no directory.
    pub fn new(path: &Path) -> Result<Root, RootError> {
        let failed = |source| RootError::Io { path: path.to_owned(), source };
        let path = std::fs::canonicalize(path).map_err(failed)?;
        if !path.is_dir() {
            return Err(RootError::Unusable(
                path,
                "not a directory: --root names the directory that holds etc and usr",
            ));
        }
        Ok(Root(path))
    }

    /// Whether this is the machine one runs on.
    pub fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where a path of the machine lies seen from here, without following links.
    pub fn outside(&self, path: &Path) -> PathBuf {
        let inner: PathBuf = path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
        self.0.join(inner)
    }

    /// The path that the machine itself would come to: every link followed, none leading out of the root.
    ///
    /// The last component, and directories before it, may be missing.
    ///
    /// # Errors
    ///
    /// Links in a circle, or directories that may not be searched.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, RootError> {
        let mut rest: VecDeque<OsString> = parts(path);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&part);
            match std::fs::symlink_metadata(self.outside(&next)) {
                Ok(meta) if meta.file_type().is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(RootError::Loop(path.to_owned()));
                    }
                    let target = std::fs::read_link(self.outside(&next))
                        .map_err(|source| RootError::Io { path: next.clone(), source })?;
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    for part in parts(&target).into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                Ok(_) => done = next,
                Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                    done = next;
                }
                Err(source) => return Err(RootError::Io { path: next, source }),
            }
        }
        Ok(done)
    }

    /// Whether a path leads to a regular file.
    pub fn has_file(&self, path: &Path) -> bool {
        self.resolve(path).is_ok_and(|p| self.outside(&p).is_file())
    }

    /// The text of a file of at most 4 MiB.
    ///
    /// # Errors
    ///
    /// That it is missing, unreadable, no regular file, too large or not UTF-8.
    pub fn read(&self, path: &Path) -> Result<String, RootError> {
        let resolved = self.resolve(path)?;
        let failed = |source| RootError::Io { path: path.to_owned(), source };
        // Asked before it is opened: opening a pipe would wait.
        let meta = std::fs::metadata(self.outside(&resolved)).map_err(failed)?;
        if !meta.is_file() {
            return Err(RootError::Unusable(path.to_owned(), "expected a regular file"));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(self.outside(&resolved)).map_err(failed)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(RootError::Unusable(path.to_owned(), "expected a configuration file of at most 4 MiB"));
        }
        String::from_utf8(bytes).map_err(|_| RootError::Unusable(path.to_owned(), "expected UTF-8 text"))
    }

    /// The text of a file, `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`Root::read`], but for a missing file.
    pub fn read_if_any(&self, path: &Path) -> Result<Option<String>, RootError> {
        match self.read(path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The names in a directory, sorted by their bytes; none where there is no directory.
    ///
    /// # Errors
    ///
    /// That it cannot be listed.
    pub fn names(&self, path: &Path) -> Result<Vec<OsString>, RootError> {
        let resolved = self.resolve(path)?;
        let failed = |source| RootError::Io { path: path.to_owned(), source };
        let entries = match std::fs::read_dir(self.outside(&resolved)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut names: Vec<OsString> =
            entries.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>().map_err(failed)?;
        names.sort();
        Ok(names)
    }
}

/// A path's names and `..`, in order.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn links_stay_inside_the_root() {
        let (dir, root) = root();
        std::fs::create_dir_all(dir.path().join("opt/kata")).unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("opt/kata/real.toml"), "x = 1\n").unwrap();
        symlink("real.toml", dir.path().join("opt/kata/configuration.toml")).unwrap();
        symlink("/opt/kata", dir.path().join("etc/kata")).unwrap();
        symlink("../../../../../opt", dir.path().join("etc/up")).unwrap();
        let resolve = |p: &str| root.resolve(Path::new(p)).unwrap();
        assert_eq!(resolve("/etc/kata/configuration.toml"), Path::new("/opt/kata/real.toml"));
        assert_eq!(resolve("/etc/up/kata/real.toml"), Path::new("/opt/kata/real.toml"));
        assert_eq!(resolve("/etc/missing/file"), Path::new("/etc/missing/file"));
        assert_eq!(root.read(Path::new("/etc/kata/configuration.toml")).unwrap(), "x = 1\n");
        assert!(root.has_file(Path::new("/etc/up/kata/configuration.toml")));
        assert!(!root.has_file(Path::new("/etc/kata")));
    }

    #[test]
    fn loops_pipes_and_junk_are_told() {
        let (dir, root) = root();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(matches!(root.read(Path::new("/a")), Err(RootError::Loop(_))));
        std::fs::write(dir.path().join("junk"), [0xff, 0xfe]).unwrap();
        assert!(root.read(Path::new("/junk")).unwrap_err().to_string().contains("UTF-8"));
        assert!(root.read(Path::new("/")).unwrap_err().to_string().contains("regular file"));
        assert!(root.read(Path::new("/none")).unwrap_err().is_missing());
        assert_eq!(root.read_if_any(Path::new("/none")).unwrap(), None);
        assert_eq!(root.names(Path::new("/none")).unwrap(), Vec::<OsString>::new());
        assert_eq!(root.names(Path::new("/")).unwrap(), ["a", "b", "junk"]);
    }
}
