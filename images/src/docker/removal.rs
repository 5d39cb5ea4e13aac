//! Removal of images and containers that this crate left in Docker.

use super::{CACHE_LABEL, LABEL, docker_failure, old_tag};
use crate::cache::{self, Image};
use crate::error::ImageError;
use crate::progress::ImagePhase;
use bollard::Docker;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use std::collections::HashMap;
use std::path::Path;

/// Result of a removal of images from Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Tags of the removed images.
    pub removed: Vec<String>,
    /// Images that something in Docker uses, each with the engine's message.
    pub in_use: Vec<String>,
}

/// Removes a cache's Docker images that the cache no longer has, and those with tags of earlier versions.
///
/// Images that a run holds in the cache stay in Docker, too.
///
/// # Errors
/// [`ImageError`] with Docker's message.
pub async fn remove_orphans(docker: &Docker, cache: &Path) -> Result<Removed, ImageError> {
    let failed = |e| ImageError::new("Docker's images", ImagePhase::Import, docker_failure(&e));
    let id = cache::id(cache)?;
    // Docker is queried before the cache, because an image gets into the cache before it gets into Docker.
    let of_cache = images_of(docker, &id).await.map_err(failed)?;
    let images_by_key: HashMap<String, Image> =
        cache::list(cache).into_iter().map(|image| (image.key().to_owned(), image)).collect();
    let mut done = Removed::default();
    for mut image in of_cache {
        if let Some(cached) = image.labels.get(LABEL).and_then(|key| images_by_key.get(key)) {
            let old = old_tag(cached);
            image.repo_tags.retain(|tag| *tag == old);
            if image.repo_tags.is_empty() {
                continue;
            }
        }
        let name = image.repo_tags.first().unwrap_or(&image.id).clone();
        match remove_image(docker, image).await {
            Ok(names) => done.removed.extend(names),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
            // Used by a container, or by an image derived from it.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, message }) => {
                done.in_use.push(format!("{name}: {message}"));
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(done)
}

/// Removes the containers of a cache that were made only to export or commit a tree; returns their ids.
///
/// There is no way to tell whether their makers are alive: call it only if no run of the cache is.
///
/// # Errors
/// [`ImageError`] with Docker's message.
pub async fn remove_exports(docker: &Docker, cache: &str) -> Result<Vec<String>, ImageError> {
    let failed = |e| ImageError::new("Docker's containers", ImagePhase::Import, docker_failure(&e));
    let filters =
        HashMap::from([("label".to_owned(), vec![format!("{LABEL}=export"), format!("{CACHE_LABEL}={cache}")])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let mut removed = Vec::new();
    for container in docker.list_containers(Some(options)).await.map_err(failed)? {
        let id = container.id.unwrap_or_default();
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        match docker.remove_container(&id, Some(force)).await {
            Ok(()) => removed.push(id.chars().take(12).collect()),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(removed)
}

/// Lists Docker's images of a cache, derived images first, because Docker removes no image that another one is based
/// on.
async fn images_of(docker: &Docker, cache: &str) -> Result<Vec<ImageSummary>, bollard::errors::Error> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{CACHE_LABEL}={cache}")])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let mut images = docker.list_images(Some(options)).await?;
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    Ok(images)
}

async fn remove_image(docker: &Docker, image: ImageSummary) -> Result<Vec<String>, bollard::errors::Error> {
    let mut names = image.repo_tags;
    names.retain(|name| !name.starts_with("<none>"));
    if names.is_empty() {
        names.push(image.id);
    }
    for name in &names {
        docker.remove_image(name, Some(RemoveImageOptionsBuilder::new().build()), None).await?;
    }
    Ok(names)
}
