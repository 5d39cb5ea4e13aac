//! A folder with Kata's files, an unpacked archive or a stranger's: each file is opened below the folder's descriptor, where
//! no link leads out, and stays open, so that what is read later is what was looked at.

use super::{ArtifactsError, doing};
use root::{Root, RootError};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A regular file that is held open: whatever its name leads to by now, its content is this one's.
#[derive(Debug, Clone)]
pub struct OpenedFile {
    path: PathBuf,
    file: Arc<File>,
    most: u64,
}

impl OpenedFile {
    /// A file without a name that holds this; messages call it by the path.
    pub(super) fn made(path: &Path, content: &[u8]) -> io::Result<OpenedFile> {
        let mut file = tempfile::tempfile()?;
        file.write_all(content)?;
        Ok(OpenedFile { path: path.to_owned(), file: Arc::new(file), most: content.len() as u64 })
    }

    /// Its path, for messages: opening it might lead elsewhere.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes it has, at most as many as any of its kind.
    ///
    /// # Errors
    /// That it cannot be looked at, or has grown beyond that.
    pub fn size(&self) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        match size > self.most {
            // An entry of an archive may be a hole.
            true => Err(io::Error::other(format!("it is too large, more than {} bytes", self.most))),
            false => Ok(size),
        }
    }

    /// Its content from the beginning, as much as any of its kind has; readers do not disturb each other.
    pub fn reader(&self) -> impl Read + use<> {
        FromStart { file: Arc::clone(&self.file), offset: 0 }.take(self.most)
    }

    pub(super) fn content(&self) -> Result<Vec<u8>, ArtifactsError> {
        let mut bytes = Vec::new();
        doing(self.reader().read_to_end(&mut bytes), "reading", &self.path)?;
        Ok(bytes)
    }
}

/// Reads without moving the descriptor's own position, which others share.
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

/// The folder; paths in it are absolute and seen from inside.
#[derive(Debug)]
pub(super) struct Folder(Root);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Folder, ArtifactsError> {
        doing(Root::new(path).map_err(reason), "opening", path).map(Folder)
    }

    /// A path as it is named from outside, for messages.
    pub(super) fn shown(&self, inside: &Path) -> PathBuf {
        self.0.shown(inside)
    }

    /// A regular file of at most so many bytes, links followed inside; `None` where nothing, or a folder, stands.
    ///
    /// # Errors
    /// When it is something else, such as a FIFO, is larger, cannot be opened, or is a link that leads out.
    pub(super) fn file(&self, inside: &Path, most: u64) -> Result<Option<OpenedFile>, ArtifactsError> {
        let path = self.shown(inside);
        let found = doing(self.0.look(inside).map_err(reason), "looking at", &path)?;
        match found {
            None if self.0.stay_inside(inside).is_err_and(|error| error.leads_out()) => {
                let out = io::Error::other("the link points out of the folder");
                return doing(Err(out), "opening", &path);
            }
            // A release's own links may lead to files that it leaves out.
            None => return Ok(None),
            Some(found) if found.is_dir() => return Ok(None),
            Some(_) => {}
        }
        let file = Arc::new(doing(self.0.file(inside).map_err(reason), "opening", &path)?);
        let opened = OpenedFile { path, file, most };
        doing(opened.size(), "reading", &opened.path)?;
        Ok(Some(opened))
    }

    /// The first of these that is there.
    ///
    /// # Errors
    /// As [`Folder::file`].
    pub(super) fn first(&self, prefix: &Path, names: &[&str], most: u64) -> Result<Option<OpenedFile>, ArtifactsError> {
        for name in names {
            if let Some(found) = self.file(&prefix.join(name), most)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The system's reason alone: the context names the file.
pub(super) fn reason(error: RootError) -> io::Error {
    match error {
        RootError::Root { source, .. } | RootError::Read { source, .. } => source,
        other => io::Error::other(other),
    }
}
