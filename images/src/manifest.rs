//! Description of an image's content and origin: `manifest.json`, next to the tree.

use crate::error::{Context, Failure, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::source::BaseSource;
use jiff::Timestamp;
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::package::{NativeName, Package, PackageName, PackageVersion};
use root::InsidePath;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Version of the layout of an image and its manifest; another number makes new keys.
pub const FORMAT: u32 = 1;

/// Everything known about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// Cache key: SHA-256 of all inputs.
    pub key: String,
    /// SHA-256 of the record's fields and the relevant options: the same for images of different days.
    pub request: String,
    /// `debian`.
    pub distro: DistroId,
    /// `13`.
    pub version: ReleaseVersion,
    /// The architecture.
    pub arch: Arch,
    /// Way in which the base was made: never [`BaseSource::Auto`].
    pub source: BaseSource,
    /// Content digest of the OCI image, from a registry or as files, if the base is one.
    pub oci_digest: Option<String>,
    /// SHA-256 of the cloud image, if the base is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_sha256: Option<String>,
    /// Key of the plain release's image that this one is derived from.
    pub derived_from: Option<String>,
    /// Time at which the tree was completed.
    pub made: Timestamp,
    /// Suites whose index had expired and was accepted by option.
    pub accepted_expired: Vec<String>,
    /// The signed indexes that the packages come from.
    pub indexes: Vec<Index>,
    /// Packages that the installer was asked for: the record's packages, support packages, extras.
    pub requested: Vec<PackageName>,
    /// All installed packages, sorted by name.
    pub packages: Vec<Package>,
    /// Suites that the packages' versions came from. An image of an older version has only those of the requested
    /// packages.
    pub origins: Vec<PackageOrigin>,
    /// Package that owns each path that the record names.
    pub owners: Vec<PathOwner>,
    /// Duration of each phase.
    pub timings: Vec<Timing>,
}

/// A suite's signed index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Index {
    /// `trixie-security`.
    pub suite: String,
    /// Whether it is in the security archive.
    pub security: bool,
    /// SHA-256 of the whole `InRelease`.
    pub sha256: String,
    /// Its `Date` field.
    pub date: Option<Timestamp>,
    /// Its `Valid-Until` field.
    pub valid_until: Option<Timestamp>,
}

/// Origin of an installed version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageOrigin {
    /// The package.
    pub package: PackageName,
    /// Its installed version.
    pub version: PackageVersion,
    /// Suites that offer this version: `trixie`, `trixie-security`; empty for a local file.
    pub suites: Vec<String>,
}

/// The owner of a path that the record names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PathOwner {
    /// Path as in the record: `/usr/lib/qemu/virtiofsd`.
    pub path: InsidePath,
    /// Path inside the tree with all symlinks resolved; `None` if no such file exists.
    pub resolved: Option<InsidePath>,
    /// Package that owns the path, or else the resolved file.
    pub package: Option<NativeName>,
}

/// Duration of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Timing {
    /// The phase.
    pub phase: ImagePhase,
    /// Duration in milliseconds.
    pub ms: u64,
}

impl Manifest {
    /// Returns the installed package of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.name == name)
    }

    /// Returns the owner of a path that is written as in the record.
    pub fn owner(&self, path: &str) -> Option<&PathOwner> {
        self.owners.iter().find(|o| o.path == *path)
    }

    pub(crate) fn read(path: &Path) -> Result<Manifest, Failure> {
        Manifest::parse(&std::fs::read(path).context("reading", path)?, path)
    }

    /// Parses a manifest that was read from `path`.
    pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Manifest, Failure> {
        let bad = |reason: String| ImageErrorKind::BadManifest { path: path.to_owned(), reason };
        let manifest: Manifest = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(bad(format!("format {}, expected {FORMAT}", manifest.format)).into());
        }
        Ok(manifest)
    }

    /// Writes the manifest, and syncs the file and its name to the disk.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| ImageErrorKind::BadManifest { path: path.to_owned(), reason: e.to_string() })?;
        text.push(b'\n');
        let mut file = File::create(path).context("creating", path)?;
        file.write_all(&text).and_then(|()| file.sync_all()).context("writing", path)?;
        sync(path.parent().unwrap_or(path))
    }
}

/// Syncs the names in a directory to the disk.
pub(crate) fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|folder| folder.sync_all()).context("writing to the disk", folder)
}
