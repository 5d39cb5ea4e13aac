//! Where a property is tried.

use crate::check::{Doing, Stop};
use crate::share::Share;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

/// Where a property is tried.
#[derive(Debug, Clone)]
pub struct Site {
    /// A fresh, empty directory of this test's own, mode 0777, every parent searchable by all.
    pub dir: PathBuf,
    /// A directory on a small (about 16 MiB) filesystem that is reached through the same share.
    pub small: Option<PathBuf>,
    /// The mount point of the share.
    pub root: PathBuf,
    /// The share, or `None` natively: the control.
    pub share: Option<Share>,
    /// A static pjdfstest binary.
    pub pjdfstest: Option<PathBuf>,
    /// A writable directory that is not on the share.
    pub scratch: PathBuf,
}

impl Site {
    /// The path of `name` in the test's directory.
    pub(super) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.join(name.as_ref())
    }

    /// A new file with these contents.
    pub(super) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf, Stop> {
        let path = self.path(name);
        fs::write(&path, contents).doing(format_args!("writing {name}"))?;
        Ok(path)
    }

    /// A new directory.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.path(name);
        fs::create_dir(&path).doing(format_args!("making the directory {name}"))?;
        Ok(path)
    }
}
