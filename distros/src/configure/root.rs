//! A machine whose files are written: [`crate::root::Root`] with what writing needs.

use crate::root;
use std::path::{Component, Path, PathBuf};

/// Bytes of a configuration file that are read.
const MAX_BYTES: u64 = 4 << 20;

/// A machine's root directory: `/`, or where a pod or an installer has it mounted.
#[derive(Debug, Clone, Default)]
pub struct Root(root::Root);

/// Why something below a root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] root::RootError),
    /// It cannot be written again as it is.
    #[error("{0}: expected UTF-8 text")]
    NotText(PathBuf),
}

impl RootError {
    /// Whether it says that there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, RootError::Read(error) if error.is_missing())
    }
}

impl From<root::Root> for Root {
    fn from(root: root::Root) -> Root {
        Root(root)
    }
}

impl Root {
    /// The root at a directory; `/` is the machine one runs on.
    ///
    /// # Errors
    ///
    /// That it is no directory.
    pub fn new(path: &Path) -> Result<Root, RootError> {
        Ok(Root(root::Root::new(path)?))
    }

    /// Whether this is the machine one runs on.
    pub fn is_host(&self) -> bool {
        self.0.is_running_system()
    }

    /// Where a path of the machine lies seen from here, without following links.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.0.outer(path)
    }

    /// The path that the machine itself would come to: every link followed, none leading out of the root.
    ///
    /// Directories before the last component may be missing: they can be made.
    ///
    /// # Errors
    ///
    /// Links in a circle, or directories that may not be searched.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, RootError> {
        match self.0.resolve(path) {
            Err(error) if error.is_missing() => match (path.parent(), path.components().next_back()) {
                (Some(folder), Some(Component::Normal(name))) => Ok(self.resolve(folder)?.join(name)),
                _ => Err(error.into()),
            },
            resolved => Ok(resolved?),
        }
    }

    /// Whether a path leads to a regular file.
    pub fn has_file(&self, path: &Path) -> bool {
        self.0.metadata(path).is_some_and(|m| m.is_file())
    }

    /// The text of a file of at most 4 MiB, to the byte.
    ///
    /// # Errors
    ///
    /// That it is missing, unreadable, no regular file, too large or not UTF-8.
    pub fn read(&self, path: &Path) -> Result<String, RootError> {
        let bytes = self.0.read(path, MAX_BYTES)?;
        String::from_utf8(bytes).map_err(|_| RootError::NotText(path.to_owned()))
    }

    /// The first bytes of a file, all where it has at most `count`.
    ///
    /// # Errors
    ///
    /// That it is missing, unreadable or no regular file.
    pub fn head(&self, path: &Path, count: u64) -> Result<Vec<u8>, RootError> {
        Ok(self.0.head(path, count)?)
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
    pub fn names(&self, path: &Path) -> Result<Vec<String>, RootError> {
        Ok(self.0.list(path)?)
    }
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
        assert!(!root.read(Path::new("/a")).unwrap_err().is_missing());
        std::fs::write(dir.path().join("junk"), [0xff, 0xfe]).unwrap();
        assert!(root.read(Path::new("/junk")).unwrap_err().to_string().contains("UTF-8"));
        assert!(root.read(Path::new("/")).unwrap_err().to_string().contains("not a regular file"));
        assert!(root.read(Path::new("/none")).unwrap_err().is_missing());
        assert_eq!(root.read_if_any(Path::new("/none")).unwrap(), None);
        assert_eq!(root.names(Path::new("/none")).unwrap(), Vec::<String>::new());
        assert_eq!(root.names(Path::new("/")).unwrap(), ["a", "b", "junk"]);
    }
}
