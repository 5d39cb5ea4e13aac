//! A drop-in's text, read as Kata's runtimes read it.

use model::profile::Runtime;
use root::{Root, RootError};
use std::path::Path;

/// Why Kata would not start with the file in the place of a drop-in.
#[derive(Debug, thiserror::Error)]
pub(super) enum DropInError {
    /// The file cannot be examined.
    #[error(transparent)]
    Look(RootError),
    /// It is a link or a directory, which the Rust runtime does not accept.
    #[error("Kata would not start: it accepts only regular files here, no links and no directories")]
    NoRegularFile,
    /// Its text cannot be read.
    #[error("Kata would not start: {name} cannot be read: {why}")]
    NoText {
        /// The file's name.
        name: String,
        /// The reason.
        why: RootError,
    },
}

/// Returns a drop-in's text, or the reason why Kata would not start with the file.
///
/// # Errors
///
/// If this user may not look at the file, so that neither is known.
pub(super) fn text(
    root: &Root,
    path: &Path,
    name: &str,
    runtime: Runtime,
) -> Result<Result<String, DropInError>, RootError> {
    let is_link_or_folder = match root.symlink_metadata(path) {
        Err(error) if error.is_unreadable() => return Err(error),
        Err(error) => return Ok(Err(DropInError::Look(error))),
        Ok(meta) => !meta.is_file(),
    };
    if runtime == Runtime::Rs && is_link_or_folder {
        return Ok(Err(DropInError::NoRegularFile));
    }
    match root.utf8(path) {
        Err(error) if error.is_unreadable() => Err(error),
        text => Ok(text.map_err(|why| DropInError::NoText { name: name.to_owned(), why })),
    }
}
