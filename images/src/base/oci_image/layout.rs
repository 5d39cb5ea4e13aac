//! The documents of an OCI image, and its layers by their digests (OCI image specification: image-layout.md,
//! image-index.md, manifest.md, config.md, descriptor.md; for archives of `docker save` without a layout their
//! `manifest.json`).

use super::{OciImageError, failed};
use crate::base::from_files::BaseTask;
use crate::digest;
use crate::unpack;
use model::arch::Arch;
use model::hex::hex;
use model::redact::{one_line, without_controls};
use root::{Root, RootError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

/// Size limit of a document, in bytes; a manifest has some KiB.
const DOCUMENT: u64 = 4 << 20;
/// Maximum number of images that are examined in an index and its nested indexes.
const IMAGES: usize = 1000;
/// Maximum number of layers; Docker's own limit is 127.
const LAYERS: usize = 500;

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGURATIONS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYER_TYPES: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    urls: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Configuration {
    os: String,
    architecture: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// An entry of the `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// An image's files.
pub(super) struct Layout<'n> {
    root: Root,
    /// Name of the image, for messages.
    name: &'n str,
}

/// The selected image.
pub(super) struct Image {
    /// SHA-256 of the image's manifest, or of its configuration if it has no manifest.
    pub(super) digest: String,
    layers: Vec<Layer>,
}

struct Layer {
    /// Path of the layer's file inside the layout.
    path: PathBuf,
    /// SHA-256 and size of the file, if a descriptor names them.
    packed: Option<(String, u64)>,
    /// SHA-256 of the unpacked content.
    unpacked: String,
}

impl<'n> Layout<'n> {
    /// Opens a directory as the files of the image with the given name.
    pub(super) fn open(folder: &Path, name: &'n str) -> Result<Layout<'n>, OciImageError> {
        Ok(Layout { root: Root::new(folder)?, name })
    }

    /// Finds the image for an architecture and verifies its documents by their digests.
    pub(super) fn image(&self, arch: Arch) -> Result<Image, OciImageError> {
        if let Some(index) = self.document("/index.json")? {
            return self.of_index(self.parsed(&index, "index.json")?, arch);
        }
        let Some(saved) = self.document("/manifest.json")? else {
            return Err(self.refused(
                "it has neither index.json nor manifest.json: expected an archive written by `docker save`, or an OCI \
                 layout",
            ));
        };
        let saved: Vec<Saved> = self.parsed(&saved, "manifest.json")?;
        match saved.as_slice() {
            [one] => self.of_saved(one, arch),
            several => {
                Err(self.refused(&format!("it has {} images, expected one: save only that image", several.len())))
            }
        }
    }

    fn of_index(&self, index: Index, arch: Arch) -> Result<Image, OciImageError> {
        let requested = format!("linux/{}", arch.oci_name());
        let mut todo = index.manifests;
        let (mut fitting, mut others): (Vec<Descriptor>, Vec<String>) = (Vec::new(), Vec::new());
        let mut looked_at = 0;
        while let Some(found) = todo.pop() {
            looked_at += 1;
            if looked_at + todo.len() > IMAGES {
                return Err(self.refused(&format!("its index has more than {IMAGES} images")));
            }
            let media_type = found.media_type.as_str();
            if INDEXES.contains(&media_type) {
                let below: Index = self.parsed(&self.blob(&found)?, &found.digest)?;
                todo.extend(below.manifests);
            } else if MANIFESTS.contains(&media_type) {
                let platform = self.platform(&found)?;
                match platform == requested {
                    true if fitting.iter().any(|other| other.digest == found.digest) => {}
                    true => fitting.push(found),
                    false => others.push(platform),
                }
            } else {
                return Err(self.unknown("an entry of its index", media_type));
            }
        }
        match fitting.as_slice() {
            [one] => self.of_manifest(one, arch),
            [] => {
                others.sort();
                others.dedup();
                let has = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
                Err(self.refused(&format!("it is for {has}, expected {requested}")))
            }
            several => {
                let digests: Vec<&str> = several.iter().map(|found| found.digest.as_str()).collect();
                let digests = digests.join(", ");
                Err(self.refused(&format!("it has {} images for {requested} ({digests}), expected one", several.len())))
            }
        }
    }

    /// Returns the platform that an index names for an image, or else that of the image itself: `linux/amd64`.
    fn platform(&self, found: &Descriptor) -> Result<String, OciImageError> {
        if let Some(Platform { os, architecture }) = &found.platform {
            return Ok(format!("{os}/{architecture}"));
        }
        let manifest: Manifest = self.parsed(&self.blob(found)?, &found.digest)?;
        let configuration = self.configuration(&manifest)?;
        Ok(format!("{}/{}", configuration.os, configuration.architecture))
    }

    fn configuration(&self, manifest: &Manifest) -> Result<Configuration, OciImageError> {
        let descriptor = &manifest.config;
        if !CONFIGURATIONS.contains(&descriptor.media_type.as_str()) {
            return Err(self.unknown("its configuration", &descriptor.media_type));
        }
        self.parsed(&self.blob(descriptor)?, &descriptor.digest)
    }

    fn of_manifest(&self, found: &Descriptor, arch: Arch) -> Result<Image, OciImageError> {
        let manifest: Manifest = self.parsed(&self.blob(found)?, &found.digest)?;
        let configuration = self.configuration(&manifest)?;
        let mut files = Vec::new();
        for layer in &manifest.layers {
            let media_type = layer.media_type.as_str();
            let is_foreign = media_type.contains(".nondistributable.") || media_type.contains(".foreign.");
            if is_foreign || !layer.urls.is_empty() {
                let what = format!("its layer {} is not included: expected an image with all its layers", layer.digest);
                return Err(self.refused(&what));
            }
            if !LAYER_TYPES.contains(&media_type) {
                return Err(self.unknown("a layer", media_type));
            }
            let sha256 = self.sha256(&layer.digest)?;
            files.push((blob_path(sha256), Some((sha256.to_owned(), layer.size))));
        }
        self.assembled(self.sha256(&found.digest)?.to_owned(), &configuration, files, arch)
    }

    /// Returns the only image of an archive of `docker save` that has no OCI layout. There only the configuration names
    /// digests, and its own digest identifies the image.
    fn of_saved(&self, saved: &Saved, arch: Arch) -> Result<Image, OciImageError> {
        let named = Path::new(&saved.config).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let digest = self.sha256(&format!("sha256:{named}"))?.to_owned();
        let bytes = self.document(&format!("/{}", saved.config))?;
        let bytes = bytes.ok_or_else(|| self.refused(&format!("its configuration {} is missing", saved.config)))?;
        self.check_content(&bytes, &digest)?;
        let configuration: Configuration = self.parsed(&bytes, &saved.config)?;
        let files = saved.layers.iter().map(|layer| (Path::new("/").join(layer), None)).collect();
        self.assembled(digest, &configuration, files, arch)
    }

    /// Assembles the image from its configuration and its layers' files.
    fn assembled(
        &self,
        digest: String,
        configuration: &Configuration,
        files: Vec<(PathBuf, Option<(String, u64)>)>,
        arch: Arch,
    ) -> Result<Image, OciImageError> {
        let Configuration { os, architecture, rootfs } = configuration;
        if os != "linux" || architecture != arch.oci_name() {
            return Err(self.refused(&format!("it is for {os}/{architecture}, expected linux/{}", arch.oci_name())));
        }
        let (found, expected) = (files.len(), rootfs.diff_ids.len());
        if found != expected || found == 0 || found > LAYERS {
            let what = format!(
                "it has {found} layers, but its configuration says {expected}: expected the same number, up to \
                         {LAYERS}"
            );
            return Err(self.refused(&what));
        }
        let mut layers = Vec::new();
        for ((path, packed), id) in files.into_iter().zip(&rootfs.diff_ids) {
            layers.push(Layer { path, packed, unpacked: self.sha256(id)?.to_owned() });
        }
        Ok(Image { digest, layers })
    }

    /// Writes the layers into the task's directory, uncompressed and verified by their digests; together at most
    /// `limit` bytes.
    pub(super) fn layers(&self, image: &Image, task: &BaseTask<'_>, limit: u64) -> Result<Vec<PathBuf>, OciImageError> {
        let count = image.layers.len();
        let mut remaining = limit;
        let mut written = Vec::new();
        for (n, layer) in image.layers.iter().enumerate() {
            (task.tell)(&format!("verifying layer {} of {count}", n + 1));
            let to = task.folder.join(format!("layer-{n}.tar"));
            remaining -= self.layer(layer, &to, remaining, task)?;
            written.push(to);
        }
        Ok(written)
    }

    /// Writes a layer; returns its size in bytes.
    fn layer(&self, layer: &Layer, to: &Path, limit: u64, task: &BaseTask<'_>) -> Result<u64, OciImageError> {
        let shown = self.root.shown(&layer.path);
        let mut file = self.root.file(&layer.path).map_err(|e| self.read_error(&layer.path, e))?;
        if let Some((expected, size)) = &layer.packed {
            let length = file.metadata().map_err(failed("reading", &shown))?.len();
            if length != *size {
                return Err(self.refused(&format!("the blob {expected} has {length} bytes, expected {size}")));
            }
            let (found, _) = self.copied(&mut file, &mut io::sink(), length, &shown, task)?;
            self.check_digest(&found, expected)?;
            file.rewind().map_err(failed("reading", &shown))?;
        }
        let mut unpacking = unpack::decompressed(file).map_err(failed("reading", &shown))?;
        let mut written = File::create_new(to).map_err(failed("creating", to))?;
        let (found, bytes) = self.copied(&mut unpacking, &mut written, limit, &shown, task)?;
        self.check_digest(&found, &layer.unpacked)?;
        Ok(bytes)
    }

    /// Copies at most `limit` bytes; returns their SHA-256 and number.
    fn copied(
        &self,
        from: &mut dyn Read,
        to: &mut dyn Write,
        limit: u64,
        shown: &Path,
        task: &BaseTask<'_>,
    ) -> Result<(String, u64), OciImageError> {
        let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 16]);
        loop {
            if !(task.go_on)() {
                return Err(OciImageError::Stopped);
            }
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok((hex(&hash.finalize()), bytes)),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed("reading", shown)(e)),
            };
            bytes += count as u64;
            if bytes > limit {
                let what = "its unpacked layers are too large for the image of a release".to_owned();
                return Err(self.refused(&what));
            }
            hash.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(failed("writing the content of", shown))?;
        }
    }

    /// Reads a document that is no blob, if it exists.
    fn document(&self, inside: &str) -> Result<Option<Vec<u8>>, OciImageError> {
        match self.root.read(Path::new(inside), DOCUMENT) {
            Err(e) if e.is_missing() => Ok(None),
            read => Ok(Some(read?)),
        }
    }

    /// Reads a document by its descriptor.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, OciImageError> {
        let sha256 = self.sha256(&descriptor.digest)?;
        let path = blob_path(sha256);
        let bytes = self.root.read(&path, DOCUMENT).map_err(|e| self.read_error(&path, e))?;
        let (length, size) = (bytes.len() as u64, descriptor.size);
        if length != size {
            return Err(self.refused(&format!("the blob {sha256} has {length} bytes, expected {size}")));
        }
        self.check_content(&bytes, sha256)?;
        Ok(bytes)
    }

    fn check_content(&self, bytes: &[u8], expected: &str) -> Result<(), OciImageError> {
        self.check_digest(&digest::of_bytes(bytes), expected)
    }

    fn check_digest(&self, found: &str, expected: &str) -> Result<(), OciImageError> {
        match found == expected {
            true => Ok(()),
            false => Err(self.refused(&format!(
                "it was changed or damaged: a blob with the digest sha256:{expected} actually has sha256:{found}"
            ))),
        }
    }

    /// Returns the digits of a digest; the check keeps a path out of the blob's name.
    fn sha256<'d>(&self, digest: &'d str) -> Result<&'d str, OciImageError> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        digest.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.bytes().all(is_digit)).ok_or_else(
            || self.refused(&format!("`{digest}` is not a digest: expected sha256: and 64 hexadecimal digits")),
        )
    }

    fn parsed<T: DeserializeOwned>(&self, bytes: &[u8], what: &str) -> Result<T, OciImageError> {
        serde_json::from_slice(bytes).map_err(|e| self.refused(&format!("{what} is not as expected: {e}")))
    }

    fn unknown(&self, what: &str, media_type: &str) -> OciImageError {
        self.refused(&format!("{what} has the unknown media type `{media_type}`: expected an image of a Linux system"))
    }

    fn read_error(&self, inside: &Path, error: RootError) -> OciImageError {
        match error.is_missing() {
            true => self.refused(&format!("{} is missing", inside.display())),
            false => error.into(),
        }
    }

    /// Makes a refusal; quoted text is made printable.
    fn refused(&self, what: &str) -> OciImageError {
        OciImageError::Refused { name: self.name.to_owned(), what: one_line(&without_controls(what, 1000), 1000) }
    }
}

fn blob_path(sha256: &str) -> PathBuf {
    Path::new("/blobs/sha256").join(sha256)
}
