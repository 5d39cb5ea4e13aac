//! Images of the cache in Docker: made of a tree, found again, removed.
//!
//! A derived image is a layer on the plain image's Docker image.
//! The files of a layer cannot say that something of the plain image is gone; where that is so, the whole tree is
//! imported.
//! A Docker image's tag ends with the cache's name, so that two caches share none; the Docker image goes when the cache
//! no longer has the image.

mod archive;
mod import;
mod removal;

pub use import::ensure_imported;
pub use removal::{Removed, remove_exports, remove_orphans};

use crate::cache::Image;
use crate::error::{Cause, Failure};
use bollard::Docker;

/// The label on everything that this crate leaves with Docker; an image's value is its cache key.
pub const LABEL: &str = "org.kata-qualify.image";
/// The label with the name of the cache that an image belongs to, [`crate::cache::id`].
pub const CACHE_LABEL: &str = "org.kata-qualify.cache";
/// The repository of imported images.
pub const REPOSITORY: &str = "kata-qualify";

/// Connects to the Docker engine that `DOCKER_HOST` names, else to the local one, and agrees on a version of its API.
///
/// # Errors
/// What Docker or the socket said.
pub async fn connect() -> Result<Docker, bollard::errors::Error> {
    Docker::connect_with_defaults()?.negotiate_version().await
}

/// The tag of an image of the cache of this name: `kata-qualify/debian:13-0123456789ab-fedcba9876543210`.
///
/// Each cache has Docker images of its own: two that have the same image would else take one from each other.
pub fn tag(image: &Image, cache: &str) -> String {
    format!("{}-{cache}", old_tag(image))
}

/// The tag that earlier versions gave it, whichever cache it was of.
fn old_tag(image: &Image) -> String {
    let key = image.key();
    let manifest = &image.manifest;
    format!("{REPOSITORY}/{}:{}-{}", manifest.distro, manifest.version, key.get(..12).unwrap_or(key))
}

/// What Docker said, as a cause.
fn docker_failure(error: &bollard::errors::Error) -> Failure {
    let detail = error.to_string();
    if detail.to_lowercase().contains("no space left on device") {
        return Cause::DiskFull.into();
    }
    Cause::Docker { detail }.into()
}
