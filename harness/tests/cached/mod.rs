//! Empty images in a cache: a run with `--offline` starts from them, and each cell ends in an error.

use images::{BaseSource, Manifest, Options, manifest};
use model::arch::Arch;
use model::database::Database;
use std::error::Error;
use std::fs::{DirBuilder, create_dir, write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Puts an empty image of each release (`debian:13`) into a new cache.
pub(crate) fn empty_images(cache: &Path, releases: &[&str]) -> Result<(), Box<dyn Error>> {
    let database = Database::embedded();
    for (number, name) in releases.iter().enumerate() {
        let (distro, version) = name.split_once(':').ok_or("expected DISTRO:RELEASE")?;
        let arch = Arch::of_machine().ok_or("no architecture of records")?;
        let release = database.record(distro)?.release(version, arch)?;
        let key = format!("{:064x}", number + 1);
        let image = cache.join("images").join(&key);
        // Other users must not be able to write there.
        DirBuilder::new().recursive(true).mode(0o700).create(&image)?;
        create_dir(image.join("rootfs"))?;
        let manifest = Manifest {
            format: manifest::FORMAT,
            key,
            request: images::request_of(&release, &Options::new(cache))?,
            distro: release.distro.clone(),
            version: release.version.clone(),
            arch: release.arch,
            source: BaseSource::Bootstrap,
            oci_digest: None,
            cloud_sha256: None,
            derived_from: None,
            made: jiff::Timestamp::UNIX_EPOCH,
            accepted_expired: Vec::new(),
            indexes: Vec::new(),
            requested: Vec::new(),
            packages: Vec::new(),
            origins: Vec::new(),
            owners: Vec::new(),
            timings: Vec::new(),
        };
        write(image.join("manifest.json"), serde_json::to_string(&manifest)?)?;
    }
    Ok(())
}
