//! Images of the cache in Docker: import, lookup, removal.
//!
//! A derived image is a layer on the plain image's Docker image.
//! The files of a layer cannot express that something of the plain image is gone; in that case the whole tree is
//! imported. A Docker image's tag ends with the cache's name, so that two caches share no image; the Docker image is
//! removed when the cache no longer has the image.

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

/// Label of everything that this crate leaves in Docker; an image's value is its cache key.
pub const LABEL: &str = "org.kata-qualify.image";
/// Label with the name of the cache that an image belongs to, [`crate::cache::id`].
pub const CACHE_LABEL: &str = "org.kata-qualify.cache";
/// Repository of imported images.
pub const REPOSITORY: &str = "kata-qualify";

/// Reasons why there is no connection to a Docker engine.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The environment does not clearly name an engine.
    #[error(transparent)]
    Settings(#[from] EngineSettingsError),
    /// Docker or its socket refused.
    #[error(transparent)]
    Docker(#[from] Error),
}

/// Connects to the Docker engine in `DOCKER_HOST`, or else to the local engine, and negotiates the version of its API.
///
/// # Errors
/// Docker's or the socket's error, or an environment that other libraries would interpret differently.
pub async fn connect() -> Result<Docker, ConnectError> {
    settings::check(|name| std::env::var(name).ok())?;
    Ok(Docker::connect_with_defaults()?.negotiate_version().await?)
}

/// Returns the tag of an image in a cache of this name: `kata-qualify/debian:13-0123456789ab-fedcba9876543210`.
///
/// Each cache has Docker images of its own: otherwise two caches with the same image would remove it from each other.
pub fn tag(image: &Image, cache: &str) -> String {
    format!("{}-{cache}", old_tag(image))
}

/// Returns the tag of earlier versions, which did not contain the cache's name.
fn old_tag(image: &Image) -> String {
    let key = image.key();
    let manifest = &image.manifest;
    format!("{REPOSITORY}/{}:{}-{}", manifest.distro, manifest.version, key.get(..12).unwrap_or(key))
}

/// Turns Docker's error into a cause.
pub(crate) fn docker_failure(error: &Error) -> Failure {
    match classify(error) {
        Some(EngineError::DiskFull) => ImageErrorKind::DiskFull.into(),
        Some(EngineError::Unreachable | EngineError::NotFound) | None => {
            ImageErrorKind::Docker { detail: error.to_string() }.into()
        }
    }
}

/// Turns a failed connection into a cause.
pub(crate) fn connect_failure(error: ConnectError) -> Failure {
    match error {
        ConnectError::Settings(error) => ImageErrorKind::Docker { detail: error.to_string() }.into(),
        ConnectError::Docker(error) => docker_failure(&error),
    }
}

/// Turns Docker's error about a registry's image or its content into a cause.
pub(crate) fn image_failure(reference: &str, error: &Error) -> Failure {
    match classify(error) {
        Some(EngineError::Unreachable) => {
            ImageErrorKind::RegistryUnreachable { detail: error.to_string(), cached_age: None }.into()
        }
        Some(EngineError::NotFound) => ImageErrorKind::NoSuchImage { reference: reference.to_owned() }.into(),
        Some(EngineError::DiskFull) | None => docker_failure(error),
    }
}

/// Classes of failures, by the engine's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EngineError {
    /// The registry does not respond.
    Unreachable,
    /// The requested object does not exist.
    NotFound,
    /// The engine's disk is full.
    DiskFull,
}

/// Words, in any case, that identify a failure without a status: those of Docker 20.10.24, which come from Go's package
/// `net` for network failures.
const WORDS: [(EngineError, &[&str]); 3] = [
    (
        EngineError::Unreachable,
        &[
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "tls handshake",
            "deadline exceeded",
        ],
    ),
    (EngineError::NotFound, &["manifest unknown", "not found", "does not exist"]),
    (EngineError::DiskFull, &["no space left on device"]),
];

fn classify(error: &Error) -> Option<EngineError> {
    let message = match error {
        Error::DockerResponseServerError { status_code: 404, .. } => return Some(EngineError::NotFound),
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => message,
        // The failure is between this program and the engine, and concerns no registry.
        _ => return None,
    };
    let message = message.to_lowercase();
    WORDS.iter().find(|(_, words)| words.iter().any(|word| message.contains(*word))).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_failures_are_classified() {
        let cause_of = |error: Error| image_failure("registry.example/debian:13", &error).cause;
        let streamed = |text: &str| cause_of(Error::DockerStreamError { error: text.to_owned() });
        let answered = |status_code, text: &str| {
            cause_of(Error::DockerResponseServerError { status_code, message: text.to_owned() })
        };
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

    /// An error of Docker's socket is not about a registry, and a missing container is not about an image.
    #[test]
    fn socket_and_container_errors_are_docker_errors() {
        let socket = Error::IOError { err: std::io::Error::other("connection refused") };
        assert!(matches!(image_failure("x:13", &socket).cause, ImageErrorKind::Docker { .. }));
        let missing = Error::DockerResponseServerError { status_code: 404, message: "No such container: 0".to_owned() };
        assert!(matches!(docker_failure(&missing).cause, ImageErrorKind::Docker { .. }));
    }
}
