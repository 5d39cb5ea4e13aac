//! An OCI image as files: the output of `docker save`, or an OCI layout as a folder or in a tar archive.
//!
//! ```text
//! archive ─► checksum ─► members ─► index ─► manifest ─► configuration ─► layers ─► tree
//! folder ──────────────────────────────┘
//! ```
//!
//! No Docker engine is involved, and nothing in the image is trusted.
//!
//! | part | how |
//! |---|---|
//! | members | files, folders, and the links by which old archives name a layer twice; no name twice; opened inside the image, by `Root` |
//! | documents | limited in size; each has the digest and size by which it was referenced |
//! | index | the image for Linux on the release's architecture; there must be one |
//! | layers | of known media types, in the image itself; each has the digest that its descriptor names, and unpacked the digest that the configuration names; the unpacked bytes are counted |
//! | tree | applied layer on layer (`layers`); its os-release must name the release |
//!
//! An archive is identified by the checksum of its file, a folder by the digest of the image in it.

mod layout;

use super::from_files::{BaseContent, BaseProvider, BaseTask, ReadBase};
use super::system::accept;
use crate::error::{BaseError, Failure, ImageErrorKind};
use crate::external_file::{Checksum, ExternalFile, ExternalFileError};
use crate::source::BaseSource;
use crate::unpack::{self, UnpackLimits};
use layout::Layout;
use model::database::Database;
use model::release::Release;
use root::RootError;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Limits for an image's archive; an image has about a hundred members, and its layers some GiB.
const MEMBERS: UnpackLimits =
    UnpackLimits { entries: 10_000, bytes: 32 << 30, reason: "the archive is too large for the image of a release" };
/// Size limit of all unpacked layers together, in bytes.
const UNPACKED: u64 = 32 << 30;

/// Reasons why an OCI image cannot be the base of a release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciImageError {
    /// The file does not exist.
    #[error(
        "{place} does not exist: expected an archive written by `docker save`, an OCI layout as a folder or a tar \
         archive, or an https:// address of an archive"
    )]
    Missing {
        /// The path.
        place: String,
    },
    /// The image cannot be fetched or read, or its checksum differs.
    #[error(transparent)]
    Source(#[from] ExternalFileError),
    /// The image is refused.
    #[error("{name}: {what}")]
    Refused {
        /// Last part of the image's path or address.
        name: String,
        /// Reason for the refusal.
        what: String,
    },
    /// A file of the image cannot be read.
    #[error(transparent)]
    File(#[from] RootError),
    /// A file of this machine failed.
    #[error("{doing} {path}")]
    Io {
        /// The operation, as a gerund.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The image's archive cannot be unpacked.
    #[error(transparent)]
    Archive(Box<ImageErrorKind>),
    /// The caller cancelled the operation.
    #[error("stopped")]
    Stopped,
}

/// An OCI image as files, and the release that it must be of.
pub struct OciImage {
    source: ExternalFile,
    identity: Checksum,
    release: Release,
    database: Database,
    cancel: Arc<AtomicBool>,
}

impl OciImage {
    /// Runs the checks that are possible before anything is fetched or unpacked.
    ///
    /// # Errors
    /// Describes the problem with the image, and the remedy.
    pub fn open(
        source: ExternalFile,
        release: &Release,
        database: &Database,
        cancel: Arc<AtomicBool>,
    ) -> Result<OciImage, OciImageError> {
        source.is_pinned()?;
        let place = Path::new(&source.place);
        let identity = match &source.checksum {
            Some(checksum) if source.is_address() => checksum.clone(),
            _ if place.is_dir() => {
                let found = Checksum::Sha256(Layout::open(place, source.name())?.image(release.arch)?.digest);
                let expected = source.checksum.as_ref().unwrap_or(&found);
                if found != *expected {
                    let (name, expected) = (source.name().to_owned(), expected.clone());
                    return Err(ExternalFileError::Mismatch { name, found, expected }.into());
                }
                found
            }
            _ if place.is_file() => {
                let sha256 = source.sha256_in_place(&cancel)?;
                check_is_tar(place, source.name())?;
                Checksum::Sha256(sha256)
            }
            _ => return Err(OciImageError::Missing { place: source.place }),
        };
        Ok(OciImage { source, identity, release: release.clone(), database: database.clone(), cancel })
    }

    /// Writes the layers, verified and uncompressed, into the task's directory.
    fn archive(&self, task: &BaseTask<'_>) -> Result<ReadBase, OciImageError> {
        let name = self.source.name();
        let place = Path::new(&self.source.place);
        let layout = match place.is_dir() {
            true => Layout::open(place, name)?,
            false => {
                (task.tell)(&format!("verifying {name}"));
                // The file may have been replaced since its checksum was computed.
                let source = ExternalFile { checksum: Some(self.identity.clone()), ..self.source.clone() };
                let fetched = task.folder.join("fetched");
                source.bring(&fetched, &self.cancel)?;
                (task.tell)(&format!("unpacking {name}"));
                let members = task.folder.join("members");
                extract(&fetched, &members, task)?;
                std::fs::remove_file(&fetched).map_err(failed("removing", &fetched))?;
                Layout::open(&members, name)?
            }
        };
        let image = layout.image(self.release.arch)?;
        if place.is_dir() && Checksum::Sha256(image.digest.clone()) != self.identity {
            let what = "it was changed during the run: start the run again".to_owned();
            return Err(OciImageError::Refused { name: name.to_owned(), what });
        }
        let layers = layout.layers(&image, task, UNPACKED)?;
        Ok(ReadBase { content: BaseContent::Layers(layers), sha256: image.digest })
    }
}

impl fmt::Debug for OciImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OciImage").field("name", &self.source.name()).field("identity", &self.identity).finish()
    }
}

impl BaseProvider for OciImage {
    fn identity(&self) -> String {
        self.identity.to_string()
    }

    fn source(&self) -> BaseSource {
        BaseSource::OciImage
    }

    fn read(&self, task: &BaseTask<'_>) -> Result<ReadBase, BaseError> {
        self.archive(task).map_err(BaseError::new)
    }

    fn accept(&self, tree: &Path) -> Result<(), BaseError> {
        accept(tree, self.source.name(), &self.release, &self.database).map_err(BaseError::new)
    }
}

/// Makes an error about a file of this machine.
fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OciImageError + use<> {
    let path = path.to_owned();
    move |source| OciImageError::Io { doing, path, source }
}

/// Checks that a file is an archive, by its first member.
fn check_is_tar(path: &Path, name: &str) -> Result<(), OciImageError> {
    /// More than the first member's metadata need, which are read into memory.
    const HEAD: u64 = 1 << 20;
    let file = File::open(path).map_err(failed("opening", path))?;
    let reader = unpack::decompressed(file).map_err(failed("reading", path))?;
    let mut tar = tar::Archive::new(reader.take(HEAD));
    let first = tar.entries().ok().and_then(|mut entries| entries.next());
    match first {
        Some(Ok(_)) => Ok(()),
        _ => Err(OciImageError::Refused {
            name: name.to_owned(),
            what: "it is not a tar archive: expected an archive written by `docker save`, or an OCI layout".to_owned(),
        }),
    }
}

/// Unpacks an image's archive into a new folder.
fn extract(archive: &Path, folder: &Path, task: &BaseTask<'_>) -> Result<(), OciImageError> {
    let go_on = || match (task.go_on)() {
        true => Ok(()),
        false => Err(Failure::from(ImageErrorKind::Cancelled)),
    };
    let opened = || {
        let file = File::open(archive).map_err(failed("opening", archive))?;
        let reader = unpack::decompressed(file).map_err(failed("reading", archive))?;
        Ok::<_, OciImageError>(tar::Archive::new(reader.take(MEMBERS.bytes)))
    };
    std::fs::create_dir(folder).map_err(failed("creating", folder))?;
    // If two members had the same name, another reader might use the other one.
    let seen = RefCell::new(BTreeSet::new());
    let accept = move |path: &Path, _: Option<&Path>, kind: tar::EntryType| {
        let name: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        if kind.is_dir() {
            return Ok(());
        }
        if !kind.is_file() && !kind.is_symlink() {
            return Err("it is not a file, a folder or a symbolic link");
        }
        match seen.borrow_mut().insert(name) {
            true => Ok(()),
            false => Err("the archive contains it twice"),
        }
    };
    let checked = unpack::check_metadata(opened()?, archive, &go_on);
    let tar = opened()?;
    checked
        .and_then(|()| unpack::unpack(tar, archive, folder, &MEMBERS, &accept, &go_on))
        .map_err(|failure| OciImageError::Archive(Box::new(failure.cause)))
}

#[cfg(test)]
mod tests;
