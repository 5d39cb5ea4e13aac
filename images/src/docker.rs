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
    imported(docker, image).await.map_err(|failure| ImageError::new(&image.release(), Phase::Import, failure))
}

async fn imported(docker: &Docker, image: &Image) -> Result<String, Failure> {
    let cache = image.cache_id()?;
    if let Some(base) = image.base()? {
        match Box::pin(layered(docker, &cache, &base, image)).await {
            Ok(true) => return Ok(tag(image, &cache)),
            Ok(false) => {}
            // An engine may refuse what every other one takes; the whole tree always serves.
            Err(failure) => tracing::warn!("no layer for {}: {}", image.release(), failure.cause),
        }
    }
    whole(docker, &cache, image).await?;
    Ok(tag(image, &cache))
}

/// Imports a tree as it is, once.
async fn whole(docker: &Docker, cache: &str, image: &Image) -> Result<(), Failure> {
    let _lock = lock_import(image).await?;
    import(docker, cache, image).await
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
async fn layered(docker: &Docker, cache: &str, base: &Image, image: &Image) -> Result<bool, Failure> {
    if is_there(docker, cache, image).await? {
        return Ok(true);
    }
    let (below, above) = (base.rootfs(), image.rootfs());
    let changed = tokio::task::spawn_blocking(move || share::changed(&below, &above)).await.map_err(broken)?;
    let Some(changed) = changed.context("comparing the base with", &image.rootfs())? else { return Ok(false) };
    whole(docker, cache, base).await?;
    let _lock = lock_import(image).await?;
    if is_there(docker, cache, image).await? {
        return Ok(true);
    }
    let labels = HashMap::from([(LABEL.to_owned(), "export".to_owned()), (CACHE_LABEL.to_owned(), cache.to_owned())]);
    // Never started; an image without a command of its own needs one nevertheless.
    let body = ContainerCreateBody {
        image: Some(tag(base, cache)),
        cmd: Some(vec!["none".to_owned()]),
        labels: Some(labels),
        ..Default::default()
    };
    let made = docker.create_container(None::<CreateContainerOptions>, body).await.map_err(|e| docker_failure(&e))?;
    let committed = commit(docker, cache, &made.id, image, changed).await;
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    let removed = docker.remove_container(&made.id, Some(force)).await.map_err(|e| docker_failure(&e));
    committed.and(removed).map(|()| true)
}

async fn commit(
    docker: &Docker,
    cache: &str,
    container: &str,
    image: &Image,
    changed: BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    let (writing, body) = archive_of(image.rootfs(), Some(changed));
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

/// The instruction that labels an image.
fn labels(image: &Image, cache: &str) -> String {
    format!("LABEL {LABEL}={} {CACHE_LABEL}={cache}", image.key())
}

/// Whether Docker has the image under its tag, as this cache's.
async fn is_there(docker: &Docker, cache: &str, image: &Image) -> Result<bool, Failure> {
    match docker.inspect_image(&tag(image, cache)).await {
        Ok(found) => Ok(found.config.and_then(|c| c.labels).is_some_and(|labels| is_of(&labels, image, cache))),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(e) => Err(docker_failure(&e)),
    }
}

/// Whether an image's labels say that it is this one, of this cache.
fn is_of(labels: &HashMap<String, String>, image: &Image, cache: &str) -> bool {
    let says = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    says(LABEL, image.key()) && says(CACHE_LABEL, cache)
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

/// What was removed from Docker, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The tags of the images that are gone.
    pub removed: Vec<String>,
    /// Those that something in Docker uses, each with the engine's words.
    pub left: Vec<String>,
}

/// Removes the images of a cache that the cache has no more, and those that earlier versions made of what it has.
///
/// What a run holds in the cache stays in Docker, too.
///
/// # Errors
/// [`ImageError`] with Docker's complaint.
pub async fn remove_orphans(docker: &Docker, cache: &Path) -> Result<Removed, ImageError> {
    let failed = |e| ImageError::new("Docker's images", Phase::Import, docker_failure(&e));
    let id = crate::cache::id(cache)?;
    // Asked before the cache is: an image comes to Docker after it has come to the cache.
    let of_cache = images_of(docker, &id).await.map_err(failed)?;
    let kept: HashMap<String, Image> =
        crate::cache::list(cache).into_iter().map(|image| (image.key().to_owned(), image)).collect();
    let mut done = Removed::default();
    for mut image in of_cache {
        if let Some(kept) = image.labels.get(LABEL).and_then(|key| kept.get(key)) {
            let old = old_tag(kept);
            image.repo_tags.retain(|tag| *tag == old);
            if image.repo_tags.is_empty() {
                continue;
            }
        }
        let name = image.repo_tags.first().unwrap_or(&image.id).clone();
        match remove_image(docker, image).await {
            Ok(names) => done.removed.extend(names),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
            // By a container, or by an image that lies on it.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, message }) => {
                done.left.push(format!("{name}: {message}"));
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(done)
}

/// Removes the containers of a cache that were made only to hand something over; returns their ids.
///
/// Nothing says whether their makers live: it is for when no run of the cache does.
///
/// # Errors
/// [`ImageError`] with Docker's complaint.
pub async fn remove_exports(docker: &Docker, cache: &str) -> Result<Vec<String>, ImageError> {
    let failed = |e| ImageError::new("Docker's containers", Phase::Import, docker_failure(&e));
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
    use crate::cache::Origin;
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
    fn two_caches_with_one_image_have_a_docker_image_each() {
        let key = "0123456789abcdef".repeat(4);
        let manifest = crate::cache::tests::manifest(&key, "13", "2026-11-01T00:00:00Z");
        let image = Image { dir: PathBuf::from("/"), made: manifest.made, origin: Origin::Cached, manifest };
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
