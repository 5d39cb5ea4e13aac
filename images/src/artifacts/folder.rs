//! A directory with Kata's files, from an unpacked archive or from elsewhere. Each file is opened relative to the
//! directory's descriptor, so that no link leads out, and stays open, so that the file that is read later is the file
//! that was checked.

use super::{ArtifactsError, doing};
use root::{Root, RootError};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A regular file that is held open: its content stays the same even if its name later leads to another file.
#[derive(Debug, Clone)]
pub struct OpenedFile {
    path: PathBuf,
    file: Arc<File>,
    limit: u64,
}

impl OpenedFile {
    /// Makes a file without a name that holds the content; `path` is only used in messages.
    pub(super) fn from_bytes(path: &Path, content: &[u8]) -> io::Result<OpenedFile> {
        let mut file = tempfile::tempfile()?;
        file.write_all(content)?;
        Ok(OpenedFile { path: path.to_owned(), file: Arc::new(file), limit: content.len() as u64 })
    }

    /// Returns the path, for messages only: opening it might lead elsewhere.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size in bytes.
    ///
    /// # Errors
    /// If the file cannot be inspected, or has grown beyond the limit of its kind.
    pub fn size(&self) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        match size > self.limit {
            // An entry of an archive may be a hole, so a small archive can have a huge file.
            true => Err(io::Error::other(format!("it is too large, more than {} bytes", self.limit))),
            false => Ok(size),
        }
    }

    /// Returns a reader from the beginning, up to the limit of the file's kind; readers do not disturb each other.
    pub fn reader(&self) -> impl Read + use<> {
        FromStart { file: Arc::clone(&self.file), offset: 0 }.take(self.limit)
    }

    pub(super) fn content(&self) -> Result<Vec<u8>, ArtifactsError> {
        let mut bytes = Vec::new();
        doing(self.reader().read_to_end(&mut bytes), "reading", &self.path)?;
        Ok(bytes)
    }
}

/// A reader that does not move the position of the descriptor, which other readers share.
struct FromStart {
    file: Arc<File>,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A directory with Kata's files; paths in it are absolute and relative to it.
#[derive(Debug)]
pub(super) struct Folder(Root);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Folder, ArtifactsError> {
        doing(Root::new(path).map_err(reason), "opening", path).map(Folder)
    }

    /// Returns a path as it is named from outside, for messages.
    pub(super) fn shown(&self, inside: &Path) -> PathBuf {
        self.0.shown(inside)
    }

    /// Opens a regular file of at most `limit` bytes, following links inside; `None` if nothing or a directory is
    /// there.
    ///
    /// # Errors
    /// If the path is something else, such as a FIFO, is larger, cannot be opened, or is a link that leads out.
    pub(super) fn file(&self, inside: &Path, limit: u64) -> Result<Option<OpenedFile>, ArtifactsError> {
        let path = self.shown(inside);
        let found = doing(self.0.look(inside).map_err(reason), "looking at", &path)?;
        match found {
            None if self.0.stay_inside(inside).is_err_and(|error| error.leads_out()) => {
                let out = io::Error::other("the link points out of the folder");
                return doing(Err(out), "opening", &path);
            }
            // A release's own links may point to files that the release leaves out.
            None => return Ok(None),
            Some(found) if found.is_dir() => return Ok(None),
            Some(_) => {}
        }
        let file = Arc::new(doing(self.0.file(inside).map_err(reason), "opening", &path)?);
        let opened = OpenedFile { path, file, limit };
        doing(opened.size(), "reading", &opened.path)?;
        Ok(Some(opened))
    }

    /// Opens the first of the names that exists.
    ///
    /// # Errors
    /// As [`Folder::file`].
    pub(super) fn first(
        &self,
        prefix: &Path,
        names: &[&str],
        limit: u64,
    ) -> Result<Option<OpenedFile>, ArtifactsError> {
        for name in names {
            if let Some(found) = self.file(&prefix.join(name), limit)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Returns the system's reason alone, because the context names the file.
pub(super) fn reason(error: RootError) -> io::Error {
    match error {
        RootError::Root { source, .. } | RootError::Read { source, .. } => source,
        other => io::Error::other(other),
    }
}
