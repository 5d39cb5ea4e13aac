//! A tree as a local Docker image.

use crate::cache::Image;
use crate::error::{Cause, Context as _, Failure, ImageError, Phase};
use crate::share;
use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerCreateBody, ImageSummary};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptions, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    ListImagesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt, stream};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// The label on everything that this crate leaves with Docker; an image's value is its cache key.
pub const LABEL: &str = "org.kata-qualify.image";
/// The label with the name of the cache that an image belongs to, [`crate::cache::id`].
pub const CACHE_LABEL: &str = "org.kata-qualify.cache";
/// The repository of imported images.
pub const REPOSITORY: &str = "kata-qualify";
/// Bytes sent at once.
const CHUNK: usize = 1 << 20;
/// Bytes of a tree's files, holes included, that are sent at most: as many as an archive may unpack to.
const BYTES: u64 = 64 << 30;

/// Connects to the Docker engine that `DOCKER_HOST` names, else to the local one, and agrees on a version of its API.
///
/// # Errors
/// What Docker or the socket said.
pub async fn connect() -> Result<Docker, bollard::errors::Error> {
    Docker::connect_with_defaults()?.negotiate_version().await
}

/// The tag of an image: `kata-qualify/debian:13-0123456789ab`.
pub fn tag(image: &Image) -> String {
    let key = image.key();
    let manifest = &image.manifest;
    format!("{REPOSITORY}/{}:{}-{}", manifest.distro, manifest.version, key.get(..12).unwrap_or(key))
}

/// Makes sure that Docker has the image; returns its tag.
///
/// An image that is derived from another one becomes a layer on that one's, unless something of that one is gone from it.
/// Else the tree is streamed to Docker's import: numeric owners, hard links, file capabilities and other `security.*` and
/// `user.*` attributes are kept; device nodes, sockets and what lies in `/proc`, `/sys` and `/dev` is left out, Docker
/// makes its own.
///
/// # Errors
/// [`ImageError`] of phase [`Phase::Import`]: Docker's complaint, or a file of the tree that cannot be read.
pub async fn ensure_imported(docker: &Docker, image: &Image) -> Result<String, ImageError> {
    let imported = async {
        if let Some(base) = image.base()? {
            match Box::pin(layered(docker, &base, image)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // An engine may refuse what every other one takes; the whole tree always serves.
                Err(failure) => tracing::warn!("no layer for {}: {}", image.release(), failure.cause),
            }
        }
        whole(docker, image).await
    };
    imported.await.map_err(|f: Failure| ImageError::new(&image.release(), Phase::Import, f))?;
    Ok(tag(image))
}

/// Imports a tree as it is, once.
async fn whole(docker: &Docker, image: &Image) -> Result<(), Failure> {
    let _lock = lock_import(image).await?;
    import(docker, image, &tag(image)).await
}

/// Two runs that want the same new image at the same time import it once.
async fn lock_import(image: &Image) -> Result<std::fs::File, Failure> {
    let waiting = image.clone();
    let locked = tokio::task::spawn_blocking(move || waiting.lock_import()).await;
    locked.map_err(broken)?.context("locking the import of", &image.dir)
}

fn broken(error: tokio::task::JoinError) -> Failure {
    Cause::Docker { detail: error.to_string() }.into()
}

/// Makes an image of its base's and one layer; `false` where a layer of files cannot say what is gone.
async fn layered(docker: &Docker, base: &Image, image: &Image) -> Result<bool, Failure> {
    if is_there(docker, image, &tag(image)).await? {
        return Ok(true);
    }
    let (below, above) = (base.rootfs(), image.rootfs());
    let changed = tokio::task::spawn_blocking(move || share::changed(&below, &above)).await.map_err(broken)?;
    let Some(changed) = changed.context("comparing the base with", &image.rootfs())? else { return Ok(false) };
    whole(docker, base).await?;
    let _lock = lock_import(image).await?;
    if is_there(docker, image, &tag(image)).await? {
        return Ok(true);
    }
    let labels = HashMap::from([(LABEL.to_owned(), "export".to_owned()), (CACHE_LABEL.to_owned(), image.cache_id()?)]);
    // Never started; an image without a command of its own needs one nevertheless.
    let body = ContainerCreateBody {
        image: Some(tag(base)),
        cmd: Some(vec!["none".to_owned()]),
        labels: Some(labels),
        ..Default::default()
    };
    let made = docker.create_container(None::<CreateContainerOptions>, body).await.map_err(|e| docker_failure(&e))?;
    let committed = commit(docker, &made.id, image, changed).await;
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    let removed = docker.remove_container(&made.id, Some(force)).await.map_err(|e| docker_failure(&e));
    committed.and(removed).map(|()| true)
}

async fn commit(docker: &Docker, container: &str, image: &Image, changed: BTreeSet<PathBuf>) -> Result<(), Failure> {
    let (writing, body) = archive_of(image.rootfs(), Some(changed));
    let options = UploadToContainerOptionsBuilder::new().path("/").build();
    let uploaded = docker.upload_to_container(container, Some(options), bollard::body_try_stream(body)).await;
    settle(uploaded.map_err(|e| docker_failure(&e)), writing, image).await?;
    let name = tag(image);
    let (repository, version) = name.rsplit_once(':').unwrap_or((&name, "latest"));
    let changes = labels(image)?;
    let options = CommitContainerOptionsBuilder::new()
        .container(container)
        .repo(repository)
        .tag(version)
        .pause(false)
        .changes(&changes)
        .build();
    docker.commit_container(options, ContainerConfig::default()).await.map(drop).map_err(|e| docker_failure(&e))
}

/// The instruction that labels an image.
fn labels(image: &Image) -> Result<String, Failure> {
    Ok(format!("LABEL {LABEL}={} {CACHE_LABEL}={}", image.key(), image.cache_id()?))
}

/// Whether Docker has the image under its tag.
async fn is_there(docker: &Docker, image: &Image, tag: &str) -> Result<bool, Failure> {
    match docker.inspect_image(tag).await {
        Ok(found) => {
            let label = found.config.and_then(|c| c.labels).and_then(|l| l.get(LABEL).cloned());
            Ok(label.as_deref() == Some(image.key()))
        }
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(e) => Err(docker_failure(&e)),
    }
}

async fn import(docker: &Docker, image: &Image, tag: &str) -> Result<(), Failure> {
    if is_there(docker, image, tag).await? {
        return Ok(());
    }
    let (repository, version) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(version)
        .changes(vec![labels(image)?])
        .build();
    let (writing, body) = archive_of(image.rootfs(), None);
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

/// A tree's archive as a stream, or that of some of its entries; the task that writes it says how that went.
fn archive_of<Chunk: From<Vec<u8>>>(
    tree: PathBuf,
    only: Option<BTreeSet<PathBuf>>,
) -> (tokio::task::JoinHandle<io::Result<()>>, impl Stream<Item = io::Result<Chunk>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel::<io::Result<Vec<u8>>>(4);
    let writing = tokio::task::spawn_blocking(move || {
        let mut sink = Sink { sender, buffer: Vec::with_capacity(CHUNK) };
        let done = archive(&tree, only.as_ref(), &mut sink).and_then(|()| sink.flush());
        if let Err(error) = &done {
            // Docker must see a broken stream, not a short tree.
            let _ = sink.sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        done
    });
    let body = stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk.map(Chunk::from), receiver))
    });
    (writing, body)
}

/// What Docker answered and what was written to it, as one result.
async fn settle(
    answered: Result<(), Failure>,
    writing: tokio::task::JoinHandle<io::Result<()>>,
    image: &Image,
) -> Result<(), Failure> {
    let written = writing.await.unwrap_or_else(|e| Err(io::Error::other(e.to_string())));
    match (answered, written) {
        // When Docker hangs up, its reason is the cause and our broken pipe the consequence.
        (Err(failure), Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(failure),
        (_, Err(source)) => Err(Cause::Io { context: format!("reading {}", image.rootfs().display()), source }.into()),
        (answered, Ok(())) => answered,
    }
}

/// Removes the images that this crate imported from the cache of this name, and containers that it left; returns the
/// images' tags.
///
/// With `keys` only the images of those cache keys go, else all of the cache's.
///
/// # Errors
/// [`ImageError`] with Docker's complaint; an image that a container still uses is an error too.
pub async fn remove_images(docker: &Docker, cache: &str, keys: Option<&[String]>) -> Result<Vec<String>, ImageError> {
    let removed = match keys {
        Some(_) => Ok(()),
        None => remove_exports(docker, cache).await,
    };
    let removed = match removed {
        Ok(()) => remove(docker, cache, keys).await,
        Err(e) => Err(e),
    };
    removed.map_err(|e| ImageError::new("Docker's images", Phase::Import, docker_failure(&e)))
}

/// Removes the images of a cache that the cache has no more; returns their tags.
///
/// What a container uses stays.
///
/// # Errors
/// [`ImageError`] with Docker's complaint.
pub async fn remove_orphans(docker: &Docker, cache: &Path) -> Result<Vec<String>, ImageError> {
    let id = crate::cache::id(cache)?;
    let kept: BTreeSet<String> = crate::cache::list(cache).iter().map(|image| image.key().to_owned()).collect();
    let of_cache = images_of(docker, &id).await;
    let failed = |e| ImageError::new("Docker's images", Phase::Import, docker_failure(&e));
    let mut removed = Vec::new();
    for image in of_cache.map_err(failed)? {
        if image.labels.get(LABEL).is_some_and(|key| kept.contains(key)) {
            continue;
        }
        match remove_image(docker, image).await {
            Ok(names) => removed.extend(names),
            // In use, by a container or by an image that lies on it.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(removed)
}

/// Containers that were made only to be exported, and whose maker died.
async fn remove_exports(docker: &Docker, cache: &str) -> Result<(), bollard::errors::Error> {
    let filters =
        HashMap::from([("label".to_owned(), vec![format!("{LABEL}=export"), format!("{CACHE_LABEL}={cache}")])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in docker.list_containers(Some(options)).await? {
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        docker.remove_container(&container.id.unwrap_or_default(), Some(force)).await?;
    }
    Ok(())
}

async fn remove(docker: &Docker, cache: &str, keys: Option<&[String]>) -> Result<Vec<String>, bollard::errors::Error> {
    let mut removed = Vec::new();
    for image in images_of(docker, cache).await? {
        let key = image.labels.get(LABEL);
        if keys.is_some_and(|keys| key.is_none_or(|key| !keys.contains(key))) {
            continue;
        }
        removed.extend(remove_image(docker, image).await?);
    }
    Ok(removed)
}

/// Docker's images of a cache; those that lie on others come first, for Docker removes none below another.
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

fn docker_failure(error: &bollard::errors::Error) -> Failure {
    let detail = error.to_string();
    if detail.to_lowercase().contains("no space left on device") {
        return Cause::DiskFull.into();
    }
    Cause::Docker { detail }.into()
}

/// Hands the archive to the async side in pieces.
struct Sink {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(full)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Writes a tree as a tar archive, or only those entries of it.
pub(crate) fn archive(tree: &Path, only: Option<&BTreeSet<PathBuf>>, sink: impl Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(sink);
    builder.mode(tar::HeaderMode::Complete);
    let mut seen: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut left = BYTES;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries = std::fs::read_dir(tree.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            let meta = entry.metadata()?;
            if !meta.is_dir() && !meta.is_file() && !meta.is_symlink() {
                continue;
            }
            if only.is_none_or(|only| only.contains(&path)) {
                append(&mut builder, &entry.path(), &path, &meta, &mut seen, &mut left)?;
            }
            let dockers_own = ["proc", "sys", "dev"].iter().any(|own| path == Path::new(own));
            if meta.is_dir() && !dockers_own {
                folders.push(path);
            }
        }
    }
    builder.into_inner()?.flush()
}

fn append(
    builder: &mut tar::Builder<impl Write>,
    from: &Path,
    path: &Path,
    meta: &std::fs::Metadata,
    seen: &mut HashMap<(u64, u64), PathBuf>,
    left: &mut u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(meta);
    if meta.is_symlink() {
        header.set_size(0);
        return builder.append_link(&mut header, path, std::fs::read_link(from)?);
    }
    if meta.is_file() && meta.nlink() > 1 {
        if let Some(first) = seen.get(&(meta.dev(), meta.ino())) {
            header.set_entry_type(tar::EntryType::Link);
            header.set_size(0);
            return builder.append_link(&mut header, path, first);
        }
        seen.insert((meta.dev(), meta.ino()), path.to_owned());
    }
    let attributes = attributes(from)?;
    builder.append_pax_extensions(attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
    if meta.is_dir() {
        header.set_size(0);
        return builder.append_data(&mut header, path, io::empty());
    }
    let too_large = || io::Error::other(format!("with {} the tree is larger than any release", path.display()));
    *left = left.checked_sub(meta.len()).ok_or_else(too_large)?;
    builder.append_data(&mut header, path, std::fs::File::open(from)?)
}

/// Extended attributes as PAX records that Docker understands (`SCHILY.xattr.*`).
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0_u8; 4096];
    let length = match rustix::fs::llistxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut all = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        // `trusted.*` are an overlay's, `system.*` are ACLs, which Docker refuses.
        if !(name.starts_with(b"security.capability") || name.starts_with(b"user.")) {
            continue;
        }
        let mut value = vec![0_u8; 65536];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), value.as_mut_slice())?;
        value.truncate(length);
        all.push((format!("SCHILY.xattr.{}", String::from_utf8_lossy(name)), value));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_hole_without_an_end_is_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("hole")).unwrap().set_len(BYTES + 1).unwrap();
        let error = archive(dir.path(), None, io::sink()).unwrap_err().to_string();
        assert_eq!(error, "with hole the tree is larger than any release");
    }

    #[test]
    fn an_archive_keeps_modes_links_and_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        std::fs::create_dir_all(tree.join("usr/bin")).unwrap();
        std::fs::create_dir_all(tree.join("dev/pts")).unwrap();
        std::fs::write(tree.join("usr/bin/a"), "content").unwrap();
        std::fs::set_permissions(tree.join("usr/bin/a"), PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::hard_link(tree.join("usr/bin/a"), tree.join("usr/bin/b")).unwrap();
        symlink("usr/bin", tree.join("bin")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        let name = "user.kata";
        let marked = rustix::fs::setxattr(tree.join("usr/bin/a"), name, b"1", rustix::fs::XattrFlags::empty()).is_ok();
        let mut bytes = Vec::new();
        archive(tree, None, &mut bytes).unwrap();
        let mut found = HashMap::new();
        let mut attributes = Vec::new();
        let mut reader = tar::Archive::new(bytes.as_slice());
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            if let Some(pax) = entry.pax_extensions().unwrap() {
                attributes.extend(pax.map(|p| p.unwrap().key().unwrap().to_owned()));
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header().clone();
            let path = entry.path().unwrap().display().to_string();
            found.insert(path.trim_end_matches('/').to_owned(), (header.entry_type(), header.mode().unwrap(), text));
        }
        assert_eq!(found["usr/bin/a"].1 & 0o7777, 0o4755);
        assert_eq!(found["usr/bin/a"].2, "content");
        assert_eq!(found["usr/bin/b"].0, tar::EntryType::Link);
        assert_eq!(found["bin"].0, tar::EntryType::Symlink);
        assert!(found.contains_key("dev") && !found.contains_key("dev/pts"));
        assert!(!found.contains_key("socket"));
        assert_eq!(attributes.contains(&"SCHILY.xattr.user.kata".to_owned()), marked);
    }
}
