//! What is in an image and how it was made: `manifest.json` beside the tree.

use crate::error::{Context, Failure, ImageErrorKind};
use crate::progress::Phase;
use crate::source::Source;
use jiff::Timestamp;
use model::arch::Arch;
use model::package::{PackageName, PackageVersion};
use operator::packages::Package;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// The layout of an image and its manifest; another number makes new keys.
pub const FORMAT: u32 = 1;

/// Everything known about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// The cache key: sha256 over everything that went in.
    pub key: String,
    /// sha256 over the record's fields and the options that matter: the same for images of different days.
    pub request: String,
    /// `debian`.
    pub distro: String,
    /// `13`.
    pub version: String,
    /// The architecture.
    pub arch: Arch,
    /// How the base was made: never [`Source::Auto`].
    pub source: Source,
    /// The OCI image's content digest, where the base is one: of a registry's, or of files.
    pub oci_digest: Option<String>,
    /// The SHA-256 of the cloud image, where the base is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_sha256: Option<String>,
    /// The key of the plain release's image that this one is derived from.
    pub derived_from: Option<String>,
    /// When the tree was finished.
    pub made: Timestamp,
    /// Suites whose index had expired and was accepted by option.
    pub accepted_expired: Vec<String>,
    /// The signed indexes that the packages come from.
    pub indexes: Vec<Index>,
    /// What the installer was asked for: the record's packages, support packages, extras.
    pub requested: Vec<PackageName>,
    /// Everything that is installed, sorted by name.
    pub packages: Vec<Package>,
    /// Which suites the packages' versions came from. An image that an older version made has the requested ones only.
    pub origins: Vec<PackageOrigin>,
    /// Which package owns each path that the record names.
    pub owners: Vec<PathOwner>,
    /// How long each phase took.
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
    /// Of the whole `InRelease`.
    pub sha256: String,
    /// Its `Date`.
    pub date: Option<Timestamp>,
    /// Its `Valid-Until`.
    pub valid_until: Option<Timestamp>,
}

/// Where an installed version came from.
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
    /// As the record says: `/usr/lib/qemu/virtiofsd`.
    pub path: String,
    /// The file at the end of all symlinks, inside the tree; nothing where there is none.
    pub resolved: Option<String>,
    /// The package that owns the path, or else the file it leads to.
    pub package: Option<String>,
}

/// The time a phase took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Timing {
    /// The phase.
    pub phase: Phase,
    /// In milliseconds.
    pub ms: u64,
}

impl Manifest {
    /// The installed package of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.name == name)
    }

    /// The owner of a path as the record writes it.
    pub fn owner(&self, path: &str) -> Option<&PathOwner> {
        self.owners.iter().find(|o| o.path == path)
    }

    pub(crate) fn read(path: &Path) -> Result<Manifest, Failure> {
        Manifest::parse(&std::fs::read(path).context("reading", path)?, path)
    }

    /// As [`read`](Manifest::read), of what was read from `path`.
    pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Manifest, Failure> {
        let bad = |reason: String| ImageErrorKind::BadManifest { path: path.to_owned(), reason };
        let manifest: Manifest = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(bad(format!("format {}, expected {FORMAT}", manifest.format)).into());
        }
        Ok(manifest)
    }

    /// Writes it, and makes sure that it and its name are on the disk.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| ImageErrorKind::BadManifest { path: path.to_owned(), reason: e.to_string() })?;
        text.push(b'\n');
        let mut file = File::create(path).context("creating", path)?;
        file.write_all(&text).and_then(|()| file.sync_all()).context("writing", path)?;
        sync(path.parent().unwrap_or(path))
    }
}

/// Makes sure that the names in a folder are on the disk.
pub(crate) fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|folder| folder.sync_all()).context("writing to the disk", folder)
}
