//! The base tree from the record's OCI image, through Docker: pulled, exported, unpacked.

use super::archive;
use crate::docker::{self, CACHE_LABEL, LABEL, connect_failure, docker_failure, image_failure};
use crate::error::{Context, Failure, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use model::release::Release;
use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// An image that Docker has pulled.
#[derive(Debug, Clone)]
pub(crate) struct Pulled {
    /// `docker.io/library/debian:13`.
    pub(crate) reference: String,
    /// Content digest: that of the registry's manifest, or else of the local configuration.
    pub(crate) digest: String,
}

/// Pulls the release's image.
pub(crate) fn pull(runner: &Runner<'_>, release: &Release) -> Result<Pulled, Failure> {
    let reference = release
        .oci_image
        .clone()
        .ok_or_else(|| ImageErrorKind::RecordLacks { what: "image".to_owned(), needed_for: "an OCI base" })?;
    wait_for(runner, async |docker| {
        let (name, tag) = split(&reference);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let mut pulling = docker.create_image(Some(options), None, None);
        while let Some(step) = pulling.next().await {
            let step = step.map_err(|e| image_failure(&reference, &e))?;
            let detail = [step.id, step.status].into_iter().flatten().collect::<Vec<_>>().join(": ");
            runner.report(ImagePhase::Pull, Some(&detail));
        }
        let found = docker.inspect_image(&reference).await.map_err(|e| image_failure(&reference, &e))?;
        let of_manifest = found.repo_digests.unwrap_or_default().into_iter().find_map(|d| {
            let (_, digest) = d.split_once('@')?;
            Some(digest.to_owned())
        });
        let digest = of_manifest.or(found.id).unwrap_or_default();
        Ok(Pulled { reference: reference.clone(), digest })
    })
}

/// Unpacks the image's filesystem as a tree, with owners, modes and capabilities.
pub(crate) fn unpack(
    runner: &Runner<'_>,
    pulled: &Pulled,
    cache: &str,
    scratch: &Path,
    tree: &Path,
) -> Result<(), Failure> {
    let tar = scratch.join("base.tar");
    wait_for(runner, async |docker| {
        let id = create(&docker, pulled, cache).await?;
        let exported = write(docker.export_container(&id), pulled, &tar).await;
        let removed = remove(&docker, &id).await;
        exported.and(removed)
    })?;
    archive::unpack(runner, &tar, tree)?;
    std::fs::remove_file(&tar).context("removing", &tar)
}

/// Copies files and directories of the image to `folder`, at the same paths; missing ones are skipped.
pub(crate) fn settings(
    runner: &Runner<'_>,
    pulled: &Pulled,
    cache: &str,
    paths: &[&str],
    folder: &Path,
) -> Result<(), Failure> {
    std::fs::create_dir(folder).context("creating", folder)?;
    let tar = |n: usize| folder.with_extension(n.to_string());
    wait_for(runner, async |docker| {
        let id = create(&docker, pulled, cache).await?;
        let mut result = Ok(());
        for (n, path) in paths.iter().enumerate() {
            let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
            match write(docker.download_from_container(&id, Some(options)), pulled, &tar(n)).await {
                Err(Failure { cause: ImageErrorKind::NoSuchImage { .. }, .. }) => {
                    result = result.and(std::fs::remove_file(tar(n)).context("removing", &tar(n)));
                }
                done => result = result.and(done),
            }
        }
        let removed = remove(&docker, &id).await;
        result.and(removed)
    })?;
    for (n, path) in paths.iter().enumerate().filter(|(n, _)| tar(*n).exists()) {
        // The archive of a directory begins with the directory's name.
        let above = Path::new(path).parent().and_then(|above| above.strip_prefix("/").ok()).unwrap_or(Path::new(""));
        archive::unpack(runner, &tar(n), &folder.join(above))?;
        std::fs::remove_file(tar(n)).context("removing", &tar(n))?;
    }
    Ok(())
}

/// Creates a container of the image, which never runs; returns its id.
async fn create(docker: &Docker, pulled: &Pulled, cache: &str) -> Result<String, Failure> {
    let body = ContainerCreateBody {
        image: Some(pulled.reference.clone()),
        // The container never runs, but Docker requires a command if the image names none.
        cmd: Some(vec!["/bin/true".to_owned()]),
        labels: Some(HashMap::from([
            (LABEL.to_owned(), "export".to_owned()),
            (CACHE_LABEL.to_owned(), cache.to_owned()),
        ])),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().build();
    let created =
        docker.create_container(Some(options), body).await.map_err(|e| image_failure(&pulled.reference, &e))?;
    Ok(created.id)
}

async fn remove(docker: &Docker, id: &str) -> Result<(), Failure> {
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(id, Some(options)).await.map_err(|e| docker_failure(&e))
}

/// Writes a stream from Docker to a file.
async fn write<B: AsRef<[u8]>>(
    stream: impl Stream<Item = Result<B, bollard::errors::Error>>,
    pulled: &Pulled,
    archive: &Path,
) -> Result<(), Failure> {
    let mut file = std::fs::File::create(archive).context("creating", archive)?;
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| image_failure(&pulled.reference, &e))?;
        file.write_all(chunk.as_ref()).context("writing", archive)?;
    }
    Ok(())
}

/// Runs work with Docker until it is done, cancelled, or out of time.
fn wait_for<T, F>(runner: &Runner<'_>, work: impl FnOnce(Docker) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ImageErrorKind::Io { context: "starting a runtime".to_owned(), source })?;
    runtime.block_on(async {
        let docker = docker::connect().await.map_err(connect_failure)?;
        let stop = async {
            loop {
                if let Err(stop) = runner.check() {
                    return stop;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            done = work(docker) => done.map_err(|f| Failure { cause: runner.redact_cause(f.cause), ..f }),
            stop = stop => Err(stop),
        }
    })
}

/// Splits a reference into name and tag; a port is no tag.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split() {
        assert_eq!(split("docker.io/library/debian:13"), ("docker.io/library/debian", "13"));
        assert_eq!(split("127.0.0.1:5000/debian"), ("127.0.0.1:5000/debian", "latest"));
        assert_eq!(split("127.0.0.1:5000/debian:13"), ("127.0.0.1:5000/debian", "13"));
    }
}
