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
mod settings;

pub use import::ensure_imported;
pub use removal::{Removed, remove_exports, remove_orphans};
pub use settings::EngineSettingsError;

use crate::cache::Image;
use crate::error::{Failure, ImageErrorKind};
use bollard::Docker;
use bollard::errors::Error;

/// The label on everything that this crate leaves with Docker; an image's value is its cache key.
pub const LABEL: &str = "org.kata-qualify.image";
/// The label with the name of the cache that an image belongs to, [`crate::cache::id`].
pub const CACHE_LABEL: &str = "org.kata-qualify.cache";
/// The repository of imported images.
pub const REPOSITORY: &str = "kata-qualify";

/// Why there is no connection to a Docker engine.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The environment does not say which engine is meant.
    #[error(transparent)]
    Settings(#[from] EngineSettingsError),
    /// Docker or the socket refused.
    #[error(transparent)]
    Docker(#[from] Error),
}

/// Connects to the Docker engine that `DOCKER_HOST` names, else to the local one, and agrees on a version of its API.
///
/// # Errors
/// What Docker or the socket said, or that the environment would be read differently by others who connect.
pub async fn connect() -> Result<Docker, ConnectError> {
    settings::check(|name| std::env::var(name).ok())?;
    Ok(Docker::connect_with_defaults()?.negotiate_version().await?)
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
pub(crate) fn docker_failure(error: &Error) -> Failure {
    match said(error) {
        Some(Said::DiskFull) => ImageErrorKind::DiskFull.into(),
        Some(Said::Silent | Said::Absent) | None => ImageErrorKind::Docker { detail: error.to_string() }.into(),
    }
}

/// That there is no connection, as a cause.
pub(crate) fn connect_failure(error: ConnectError) -> Failure {
    match error {
        ConnectError::Settings(error) => ImageErrorKind::Docker { detail: error.to_string() }.into(),
        ConnectError::Docker(error) => docker_failure(&error),
    }
}

/// What Docker said of a registry's image, or of what is in it, as a cause.
pub(crate) fn image_failure(reference: &str, error: &Error) -> Failure {
    match said(error) {
        Some(Said::Silent) => {
            ImageErrorKind::RegistryUnreachable { detail: error.to_string(), cached_age: None }.into()
        }
        Some(Said::Absent) => ImageErrorKind::NoSuchImage { reference: reference.to_owned() }.into(),
        Some(Said::DiskFull) | None => docker_failure(error),
    }
}

/// What is known of a failure by what the engine said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The registry does not answer.
    Silent,
    /// What was asked for is not there.
    Absent,
    /// The engine's disk is full.
    DiskFull,
}

/// By which words that is known where no status says it, whatever their case: those of Docker 20.10.24, which are of Go's
/// package `net` where they are about the network.
const WORDS: [(Said, &[&str]); 3] = [
    (
        Said::Silent,
        &[
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "tls handshake",
            "deadline exceeded",
        ],
    ),
    (Said::Absent, &["manifest unknown", "not found", "does not exist"]),
    (Said::DiskFull, &["no space left on device"]),
];

fn said(error: &Error) -> Option<Said> {
    let message = match error {
        Error::DockerResponseServerError { status_code: 404, .. } => return Some(Said::Absent),
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => message,
        // Between this program and the engine; no registry has anything to do with it.
        _ => return None,
    };
    let message = message.to_lowercase();
    WORDS.iter().find(|(_, words)| words.iter().any(|word| message.contains(*word))).map(|(said, _)| *said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_failures_are_told_apart() {
        let of = |error: Error| image_failure("registry.example/debian:13", &error).cause;
        let streamed = |text: &str| of(Error::DockerStreamError { error: text.to_owned() });
        let answered =
            |status_code, text: &str| of(Error::DockerResponseServerError { status_code, message: text.to_owned() });
        let refused = "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused";
        assert!(matches!(streamed(refused), ImageErrorKind::RegistryUnreachable { .. }));
        assert!(matches!(answered(500, refused), ImageErrorKind::RegistryUnreachable { .. }));
        assert!(matches!(
            streamed("manifest for x:13 not found: manifest unknown"),
            ImageErrorKind::NoSuchImage { .. }
        ));
        assert!(matches!(answered(404, "No such image: x:13"), ImageErrorKind::NoSuchImage { .. }));
        assert!(matches!(answered(404, "in words of another engine"), ImageErrorKind::NoSuchImage { .. }));
        assert!(matches!(streamed("write /var/lib/docker/x: no space left on device"), ImageErrorKind::DiskFull));
        assert!(matches!(answered(500, "write x: No space left on device"), ImageErrorKind::DiskFull));
        assert!(matches!(streamed("unauthorized"), ImageErrorKind::Docker { .. }));
    }

    /// Docker's socket says nothing of a registry, and a container that is gone nothing of an image.
    #[test]
    fn what_is_not_of_a_registry_is_dockers() {
        let socket = Error::IOError { err: std::io::Error::other("connection refused") };
        assert!(matches!(image_failure("x:13", &socket).cause, ImageErrorKind::Docker { .. }));
        let gone = Error::DockerResponseServerError { status_code: 404, message: "No such container: 0".to_owned() };
        assert!(matches!(docker_failure(&gone).cause, ImageErrorKind::Docker { .. }));
    }
}
