//! The test's image, made here: one layer with the probe in it, as an OCI image archive for `ctr images import`, and as
//! separate blobs for a registry.
//!
//! The format is that of the OCI image specification 1.0 (image layout, manifest, configuration).

use model::arch::Arch;
use model::sha256;
use serde_json::{Value, json};
use std::io;
use suites::containers::IMAGE_USER;

/// Name of the image in containerd.
pub const NAME: &str = "localhost/kata-qualify/probe:1";
/// Name of the same image with a user.
pub const NAME_WITH_USER: &str = "localhost/kata-qualify/probe-with-user:1";
/// Directories of the image's root filesystem; `/work` is its working directory.
pub const FOLDERS: [&str; 9] = ["dev", "etc", "mnt", "proc", "run", "srv", "sys", "tmp", "work"];

/// The image's parts, each with a digest of its own.
#[derive(Debug, Clone)]
pub struct ContainerImage {
    config: Vec<u8>,
    layer: Vec<u8>,
    /// Manifest, which names the other parts.
    pub manifest: Vec<u8>,
}

impl ContainerImage {
    /// Media type of the manifest.
    pub const MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";

    /// Makes the image with this program as the probe. Without arguments the probe stays, so the image also serves as a
    /// pod's sandbox image.
    ///
    /// # Errors
    /// Only if it cannot be written to memory.
    pub fn of(probe: &[u8]) -> io::Result<ContainerImage> {
        ContainerImage::with_settings(layer(probe)?, ContainerImage::settings())
    }

    /// Makes the same image with [`IMAGE_USER`] as its user.
    fn with_user(probe: &[u8]) -> io::Result<ContainerImage> {
        let (user, group) = IMAGE_USER;
        let mut settings = ContainerImage::settings();
        settings["User"] = format!("{user}:{group}").into();
        ContainerImage::with_settings(layer(probe)?, settings)
    }

    fn settings() -> Value {
        json!({
            "Env": ["PATH=/", "KATA_QUALIFY_IMAGE=yes"],
            "WorkingDir": "/work",
            "Entrypoint": [suites::containers::PROBE],
            "Cmd": ["stay"],
        })
    }

    fn with_settings(layer: Vec<u8>, settings: Value) -> io::Result<ContainerImage> {
        let config = json!({
            "architecture": Arch::of_machine().map(Arch::oci_name),
            "os": "linux",
            "config": settings,
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = serde_json::to_vec(&config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": ContainerImage::MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = serde_json::to_vec(&manifest)?;
        Ok(ContainerImage { config, layer, manifest })
    }

    /// Returns its root filesystem, as an archive.
    pub fn root_filesystem(&self) -> &[u8] {
        &self.layer
    }

    /// Returns the manifest's digest.
    pub fn manifest_digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Returns the part with that digest.
    pub fn blob(&self, expected: &str) -> Option<&[u8]> {
        [&self.config, &self.layer, &self.manifest].into_iter().find(|part| digest(part) == expected).map(Vec::as_slice)
    }
}

/// Returns the archive of both images with this program as the probe.
///
/// # Errors
/// Only if the archive cannot be written to memory.
pub fn archive(probe: &[u8]) -> io::Result<Vec<u8>> {
    let (image, other) = (ContainerImage::of(probe)?, ContainerImage::with_user(probe)?);
    let entry = |image: &ContainerImage, name: &str| {
        let mut entry = descriptor(ContainerImage::MANIFEST, &image.manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": name });
        entry
    };
    let entries = [entry(&image, NAME), entry(&other, NAME_WITH_USER)];
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": entries }))?;
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    file(&mut tar, "index.json", 0o644, &index)?;
    // Both have the same layer.
    for blob in [&image.config, &image.manifest, &image.layer, &other.config, &other.manifest] {
        let name = digest(blob).replace(':', "/");
        file(&mut tar, &format!("blobs/{name}"), 0o644, blob)?;
    }
    tar.into_inner()
}

fn layer(probe: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in FOLDERS {
        let mut header = header(if folder == "tmp" { 0o1777 } else { 0o755 }, 0);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, format!("{folder}/"), io::empty())?;
    }
    file(&mut tar, suites::containers::PROBE.trim_start_matches('/'), 0o755, probe)?;
    tar.into_inner()
}

fn file(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(mode, bytes.len() as u64), path, bytes)
}

/// Returns a header owned by root, with the time of the epoch: the same content gives the same digest.
fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256::of_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn every_digest_names_a_blob_and_the_probe_is_in_the_layer() {
        let bytes = archive(b"the probe").unwrap();
        let mut entries = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            entries.insert(entry.path().unwrap().to_string_lossy().into_owned(), content);
        }
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let content = entries[&format!("blobs/{}", digest.replace(':', "/"))].clone();
            assert_eq!(super::digest(&content), digest);
            assert_eq!(descriptor["size"], content.len());
            content
        };
        let index: Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        let layer = blob(&manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
        assert!(config["config"].get("User").is_none(), "{config}");
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][1])).unwrap();
        let other: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(blob(&manifest["layers"][0]), layer);
        assert_eq!(other["config"]["User"], "1000:1001");
        assert_eq!(other["config"]["Env"], config["config"]["Env"]);
        let mut archive = tar::Archive::new(&layer[..]);
        let paths: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned()).collect();
        assert!(paths.contains(&"probe".to_owned()) && paths.contains(&"work/".to_owned()), "{paths:?}");
        assert_eq!(bytes, super::archive(b"the probe").unwrap());
    }
}
