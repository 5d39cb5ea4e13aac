//! Reading files and listing folders, capped.

use crate::error::{RootError, is_missing, leads_nowhere};
use crate::root::Root;
use rustix::fs::{Dir, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a configuration file.
pub const MAX_CONFIGURATION: u64 = 4 << 20;

/// Names that are looked at in one directory.
const MAX_ENTRIES: usize = 100_000;

impl Root {
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
    /// Those of [`Root::utf8`], except for a missing file.
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
    /// That it is there and cannot be listed, or has more than 100,000 names.
    pub fn list(&self, inside: &Path) -> Result<Vec<String>, RootError> {
        self.list_up_to(inside, MAX_ENTRIES)
    }

    /// [`Root::list`], none where no folder stands: there is nothing, or a file, or links in a circle.
    ///
    /// # Errors
    ///
    /// Those of [`Root::list`], except for what is no folder.
    pub fn list_if_any(&self, inside: &Path) -> Result<Vec<String>, RootError> {
        match self.list(inside) {
            Err(RootError::Read { source, .. }) if is_missing(&source) || leads_nowhere(&source) => Ok(Vec::new()),
            names => names,
        }
    }

    pub(crate) fn list_up_to(&self, inside: &Path, limit: usize) -> Result<Vec<String>, RootError> {
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
}
