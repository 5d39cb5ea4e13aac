//! Creation of Docker images from trees: whole, or as a layer on the image that a tree is derived from.

use super::{CACHE_LABEL, LABEL, archive, docker_failure, tag};
use crate::cache::Image;
use crate::error::{Context as _, Failure, ImageError, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::tree::compare;
use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptions, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;

/// Makes sure that Docker has the image; returns its tag.
///
/// A derived image becomes a layer on its base's Docker image, unless it lacks something of the base. Otherwise the
/// tree is streamed to Docker's import: numeric owners, hard links, file capabilities and `user.*` attributes are kept;
/// device nodes, sockets and the content of `/proc`, `/sys` and `/dev` are left out, because Docker provides them.
///
/// # Errors
/// [`ImageError`] of phase [`ImagePhase::Import`]: Docker's complaint, or a file of the tree that cannot be read.
pub async fn ensure_imported(docker: &Docker, image: &Image) -> Result<String, ImageError> {
    imported(docker, image).await.map_err(|failure| ImageError::new(image.release(), ImagePhase::Import, failure))
}

async fn imported(docker: &Docker, image: &Image) -> Result<String, Failure> {
    let cache = image.cache_id()?;
    if let Some((base, _hold)) = image.base()? {
        match Box::pin(layered(docker, &cache, &base, image)).await {
            Ok(true) => return Ok(tag(image, &cache)),
            Ok(false) => {}
            // An engine may refuse a layer that other engines accept; importing the whole tree always works.
            Err(failure) => tracing::warn!("no layer for {}: {}", image.release(), failure.cause),
        }
    }
    whole(docker, &cache, image).await?;
    Ok(tag(image, &cache))
}

/// Imports a whole tree, once.
async fn whole(docker: &Docker, cache: &str, image: &Image) -> Result<(), Failure> {
    let _lock = lock_import(image).await?;
    import(docker, cache, image).await
}

/// Locks the import, so that two runs that want the same new image at the same time import it once.
async fn lock_import(image: &Image) -> Result<std::fs::File, Failure> {
    let waiting = image.clone();
    let locked = tokio::task::spawn_blocking(move || waiting.lock_import()).await;
    locked.map_err(broken)?.context("locking the import of", &image.dir)
}

fn broken(error: tokio::task::JoinError) -> Failure {
    ImageErrorKind::Docker { detail: error.to_string() }.into()
}

/// Makes an image from its base's image and one layer; returns `false` if the image lacks something of the base, which
/// a layer of files cannot express.
async fn layered(docker: &Docker, cache: &str, base: &Image, image: &Image) -> Result<bool, Failure> {
    if is_there(docker, cache, image).await? {
        return Ok(true);
    }
    let (below, above) = (base.rootfs(), image.rootfs());
    let changed = tokio::task::spawn_blocking(move || compare::changed(&below, &above)).await.map_err(broken)?;
    let Some(changed) = changed.context("comparing the base with", &image.rootfs())? else { return Ok(false) };
    whole(docker, cache, base).await?;
    let _lock = lock_import(image).await?;
    if is_there(docker, cache, image).await? {
        return Ok(true);
    }
    let labels = HashMap::from([(LABEL.to_owned(), "export".to_owned()), (CACHE_LABEL.to_owned(), cache.to_owned())]);
    // The container never runs, but Docker requires a command if the image has none.
    let body = ContainerCreateBody {
        image: Some(tag(base, cache)),
        cmd: Some(vec!["none".to_owned()]),
        labels: Some(labels),
        ..Default::default()
    };
    let container =
        docker.create_container(None::<CreateContainerOptions>, body).await.map_err(|e| docker_failure(&e))?;
    let committed = commit(docker, cache, &container.id, image, changed).await;
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    let removed = docker.remove_container(&container.id, Some(force)).await.map_err(|e| docker_failure(&e));
    committed.and(removed).map(|()| true)
}

async fn commit(
    docker: &Docker,
    cache: &str,
    container: &str,
    image: &Image,
    changed: BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    let (writing, body) = archive::stream(image.rootfs(), Some(changed));
    let options = UploadToContainerOptionsBuilder::new().path("/").build();
    let uploaded = docker.upload_to_container(container, Some(options), bollard::body_try_stream(body)).await;
    settle(uploaded.map_err(|e| docker_failure(&e)), writing, image).await?;
    let name = tag(image, cache);
    let (repository, version) = name.rsplit_once(':').unwrap_or((&name, "latest"));
    let changes = labels(image, cache);
    let options = CommitContainerOptionsBuilder::new()
        .container(container)
        .repo(repository)
        .tag(version)
        .pause(false)
        .changes(&changes)
        .build();
    docker.commit_container(options, ContainerConfig::default()).await.map(drop).map_err(|e| docker_failure(&e))
}

/// Returns the instruction that labels an image.
fn labels(image: &Image, cache: &str) -> String {
    format!("LABEL {LABEL}={} {CACHE_LABEL}={cache}", image.key())
}

/// Returns whether Docker has the image under its tag, with this cache's label.
async fn is_there(docker: &Docker, cache: &str, image: &Image) -> Result<bool, Failure> {
    match docker.inspect_image(&tag(image, cache)).await {
        Ok(found) => Ok(found.config.and_then(|c| c.labels).is_some_and(|labels| is_of(&labels, image, cache))),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(e) => Err(docker_failure(&e)),
    }
}

/// Returns whether the labels are those of this image and this cache.
fn is_of(labels: &HashMap<String, String>, image: &Image, cache: &str) -> bool {
    let has_label = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    has_label(LABEL, image.key()) && has_label(CACHE_LABEL, cache)
}

async fn import(docker: &Docker, cache: &str, image: &Image) -> Result<(), Failure> {
    if is_there(docker, cache, image).await? {
        return Ok(());
    }
    let name = tag(image, cache);
    let (repository, version) = name.rsplit_once(':').unwrap_or((&name, "latest"));
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(version)
        .changes(vec![labels(image, cache)])
        .build();
    let (writing, body) = archive::stream(image.rootfs(), None);
    let mut answers = docker.create_image(Some(options), Some(bollard::body_try_stream(body)), None);
    let mut answered = Ok(());
    while let Some(answer) = answers.next().await {
        if let Err(e) = answer {
            answered = Err(docker_failure(&e));
        }
    }
    drop(answers);
    settle(answered, writing, image).await
}

/// Combines Docker's answer and the result of writing to it.
async fn settle(
    answered: Result<(), Failure>,
    writing: tokio::task::JoinHandle<io::Result<()>>,
    image: &Image,
) -> Result<(), Failure> {
    let written = writing.await.unwrap_or_else(|e| Err(io::Error::other(e.to_string())));
    match (answered, written) {
        // If Docker closes the connection, its reason is the cause and the broken pipe the consequence.
        (Err(failure), Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(failure),
        (_, Err(source)) => {
            Err(ImageErrorKind::Io { context: format!("reading {}", image.rootfs().display()), source }.into())
        }
        (answered, Ok(())) => answered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ImageOrigin;

    #[test]
    fn two_caches_with_the_same_image_have_separate_docker_images() {
        let key = "0123456789abcdef".repeat(4);
        let manifest = crate::cache::tests::manifest(&key, "13", "2026-11-01T00:00:00Z");
        let image = Image { dir: PathBuf::from("/"), made: manifest.made, origin: ImageOrigin::Cached, manifest };
        assert_eq!(tag(&image, "fedcba9876543210"), "kata-qualify/debian:13-0123456789ab-fedcba9876543210");
        assert_ne!(tag(&image, "a"), tag(&image, "b"));
        let labels = |cache: &str| {
            let instruction = labels(&image, cache);
            let pairs =
                instruction.strip_prefix("LABEL ").unwrap().split(' ').map(|pair| pair.split_once('=').unwrap());
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<HashMap<_, _>>()
        };
        assert!(is_of(&labels("a"), &image, "a"));
        assert!(!is_of(&labels("b"), &image, "a"), "another cache's would be gone with that cache");
        assert!(!is_of(&HashMap::new(), &image, "a"));
    }
}
