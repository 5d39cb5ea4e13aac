//! Reads files and lists directories, with caps.

use crate::error::{RootError, is_missing, leads_nowhere};
use crate::root::Root;
use rustix::fs::{Dir, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a configuration file, in bytes.
pub const MAX_CONFIGURATION: u64 = 4 << 20;

/// Maximum number of names read from one directory.
const MAX_ENTRIES: usize = 100_000;

impl Root {
    /// Reads a regular file of at most `limit` bytes.
    ///
    /// A FIFO or a device is refused and never blocks.
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

    /// Reads the first `count` bytes of a regular file, or all if there are fewer.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`].
    pub fn head(&self, inside: &Path, count: u64) -> Result<Vec<u8>, RootError> {
        let mut bytes = Vec::new();
        self.file(inside)?.take(count).read_to_end(&mut bytes).map_err(self.cannot_read(inside))?;
        Ok(bytes)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`], also if it is not a regular file.
    pub fn file(&self, inside: &Path) -> Result<File, RootError> {
        let failed = self.cannot_read(inside);
        let not_regular = || failed(io::Error::other("not a regular file"));
        if !self.metadata(inside).map_err(&failed)?.is_file() {
            return Err(not_regular());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.open(inside, flags).map_err(&failed)?);
        // The file may have been exchanged in between.
        if !file.metadata().map_err(&failed)?.is_file() {
            return Err(not_regular());
        }
        Ok(file)
    }

    /// Does the same as [`Root::read`], as text; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    ///
    /// Those of [`Root::read`].
    pub fn read_text(&self, inside: &Path, limit: u64) -> Result<String, RootError> {
        Ok(String::from_utf8_lossy(&self.read(inside, limit)?).into_owned())
    }

    /// Reads a configuration file of at most 4 MiB byte for byte, so that it can be written back.
    ///
    /// # Errors
    ///
    /// Those of [`Root::read`], or the file is not UTF-8.
    pub fn utf8(&self, inside: &Path) -> Result<String, RootError> {
        let bytes = self.read(inside, MAX_CONFIGURATION)?;
        String::from_utf8(bytes).map_err(|_| RootError::NotText { path: self.shown(inside) })
    }

    /// Does the same as [`Root::utf8`]; `None` if there is no such file.
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

    /// Does the same as [`Root::utf8`]; `None` if there is nothing, or a directory, a FIFO, or bytes that are no text.
    ///
    /// # Errors
    ///
    /// Fails if the content remains unknown: [`RootError::is_unreadable`].
    pub fn text_if_any(&self, inside: &Path) -> Result<Option<String>, RootError> {
        match self.utf8(inside) {
            Err(error) if error.is_unreadable() => Err(error),
            text => Ok(text.ok()),
        }
    }

    /// Lists the names in a directory, sorted; none if there is no such directory.
    ///
    /// # Errors
    ///
    /// Fails if the directory exists and cannot be listed, or has more than 100,000 names.
    pub fn list(&self, inside: &Path) -> Result<Vec<String>, RootError> {
        self.list_up_to(inside, MAX_ENTRIES)
    }

    /// Does the same as [`Root::list`]; no names if there is nothing, or a file, or links in a circle.
    ///
    /// # Errors
    ///
    /// Those of [`Root::list`], except if the path is not a directory.
    pub fn list_if_any(&self, inside: &Path) -> Result<Vec<String>, RootError> {
        match self.list(inside) {
            Err(RootError::Read { source, .. }) if is_missing(&source) || leads_nowhere(&source) => Ok(Vec::new()),
            names => names,
        }
    }

    pub(crate) fn list_up_to(&self, inside: &Path, limit: usize) -> Result<Vec<String>, RootError> {
        let failed = self.cannot_read(inside);
        match self.metadata(inside) {
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
