//! The record of one distro, as its YAML file states it.
//!
//! Keys at the top level are defaults; an entry of `releases:` overrides what differs, key by key.
//! `version: [32, rawhide]` is short for releases that override nothing.
//! Every fact has a [`Confidence`]: that of the nearest `confidence:` key, on the map that holds the fact or on one
//! around it.
//! If a release has a `confidence:` of its own, inherited facts count as known no better than that.
//! An unknown value is the word `unknown`.

mod component;
mod facts;
mod inherited;
mod kind;
mod layer;
mod names;
mod parse;
mod resolve;

use crate::arch::Arch;
use crate::component::ComponentName;
use crate::distro::{DistroId, ReleaseVersion, Target};
use crate::known_issues::KnownIssue;
use crate::package::PackageName;
use crate::package_manager::PackageManager;
use crate::release::PackageSuite;
use crate::verified::VerifiedEntry;
use jiff::civil::Date;
use root::InsidePath;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use crate::fact::{Confidence, Fact, PerArch, known};
pub use crate::source::{RecordError, Source, SourceLocation, bytes, read_text, text};
pub use facts::{FactSubject, StatedFact};
pub use kind::ComponentKind;
pub(crate) use layer::Draft;
pub(crate) use names::invalid_package_names;
pub(crate) use parse::draft as parse_draft;
#[cfg(all(test, feature = "schema"))]
pub(crate) use parse::keys;
pub use resolve::ResolveError;

/// A component of a release as a record states it: a VMM, a filesystem driver, the kernel, a container manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentEntry {
    /// `qemu`, `virtio-fs`, `containerd`; `linux` for the kernel.
    pub name: ComponentName,
    /// Packages to install, `packages:`.
    pub packages: Option<Fact<PerArch<Vec<PackageName>>>>,
    /// The binary's path, `path:`; for the kernel its image's glob, `image:`.
    pub path: Option<Fact<PerArch<InsidePath>>>,
}

/// Fields that both the top level and a release can have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommonFields {
    /// `suites:`, of Debian-like archives.
    pub suites: Option<Fact<Vec<PackageSuite>>>,
    /// `repositories:` to enable.
    pub repositories: Option<Fact<Vec<String>>>,
    /// `modules:` of the package manager to enable, `virt:rhel`.
    pub modules: Option<Fact<Vec<String>>>,
    /// `image:`, the OCI image.
    pub image: Option<Fact<String>>,
    /// `image-lacks:`, in words: packages that are in none of the repositories that the OCI image configures.
    pub image_lacks: Option<Fact<String>>,
    /// `parts-from:`, in words: the origin of Kata's parts if they are not packages.
    pub parts_from: Option<Fact<String>>,
    /// `vmm:`, the preferred one first.
    pub vmms: Option<Fact<Vec<ComponentEntry>>>,
    /// `fs:` in the order of the file.
    pub filesystems: Option<Fact<Vec<ComponentEntry>>>,
    /// `fs: {preferred: …}`.
    pub preferred_filesystem: Option<ComponentName>,
    /// `kernel:`.
    pub kernel: Option<Fact<ComponentEntry>>,
    /// `container-manager:`, `kata:` and other kinds that can have several components, the preferred one first.
    pub listed: BTreeMap<ComponentKind, Fact<Vec<ComponentEntry>>>,
}

/// One entry of `releases:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEntry {
    /// The version: `13`, `8.10`, `testing`.
    pub version: ReleaseVersion,
    /// `trixie`.
    pub codename: Option<String>,
    /// Other names: `stable`.
    pub aliases: Vec<String>,
    /// Day of the release.
    pub released: Option<Fact<Date>>,
    /// Last day of the distro's own support.
    pub eol: Option<Fact<Date>>,
    /// Last day of long-term support.
    pub lts: Option<Fact<Date>>,
    /// Architectures, if they differ from the record's.
    pub arches: Option<Vec<Arch>>,
    /// `derives-from:`: the release of the parent distro that this release is built from.
    pub derives_from: Option<String>,
    /// The releases that it is built from, according to the records below, the nearest first: `debian:12`.
    pub based_on: Vec<Target>,
    /// `package-manager:`, where it is not the record's.
    pub package_manager: Option<PackageManager>,
    /// `module-platform:`, the platform of the package manager's modules: `el8`.
    pub module_platform: Option<String>,
    /// `confidence:`, the upper limit for inherited facts; its place is that of the map that states it.
    pub confidence: Option<Fact<Confidence>>,
    /// Whether one of the admin's layers adds this release to the shipped ones.
    pub is_added: bool,
    /// Differences from the defaults.
    pub parts: CommonFields,
    /// The place in the file.
    pub span: Range<usize>,
    /// Index of the file in [`Record::sources`].
    pub source: usize,
}

impl ReleaseEntry {
    /// Returns all names of the release: version, codename, aliases.
    pub fn names(&self) -> Vec<&str> {
        let mut names = vec![self.version.as_str()];
        names.extend(self.codename.as_deref());
        names.extend(self.aliases.iter().map(String::as_str));
        names
    }
}

/// The record of one distro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file; for an embedded record, its name in the repository.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
    /// All files that the record was merged from, the strongest last, which is [`Record::path`].
    pub sources: Vec<Source>,
    /// `debian`.
    pub distro: DistroId,
    /// `ids:`, other values of os-release's `ID` that mean this distro.
    pub ids: Vec<String>,
    /// `derives-from:`: the distro that it is built from, whose record is beneath this one.
    pub derives_from: Option<DistroId>,
    /// `package-manager:`, or `package-installer:` as the proposal had it; a release may have
    /// [another](Record::manager_of).
    pub package_manager: PackageManager,
    /// Architectures.
    pub arches: Vec<Arch>,
    /// Defaults of all releases.
    pub defaults: CommonFields,
    /// Releases in the order of the file.
    pub releases: Vec<ReleaseEntry>,
    /// Results of the harness's runs, from files next to the record: [`crate::verified::VerifiedFile`].
    pub verified: Vec<VerifiedEntry>,
    /// Known failures, from files next to the record: [`crate::known_issues::KnownIssuesFile`].
    pub known_issues: Vec<KnownIssue>,
}

impl Record {
    /// Parses a record's text, which has no verdicts; `path` is for messages.
    ///
    /// # Errors
    ///
    /// All mistakes in the text, with places.
    pub fn parse(path: &Path, text: &str) -> Result<Record, RecordError> {
        Draft::parse(path, text)?.complete()
    }

    /// Reads and parses a file of at most [`crate::syntax::MAX_BYTES`].
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or all mistakes in its text.
    pub fn read(path: &Path) -> Result<Record, RecordError> {
        Draft::read(path)?.complete()
    }

    /// A release of the distro.
    pub fn target(&self, release: &ReleaseEntry) -> Target {
        Target { distro: self.distro.clone(), version: release.version.clone() }
    }

    /// File and line of a place in one of the record's sources.
    pub fn origin(&self, source: usize, span: &Range<usize>) -> Option<SourceLocation> {
        let source = self.sources.get(source)?;
        let (line, _) = crate::diagnostic::line_column(&source.text, span.start);
        Some(SourceLocation { file: source.path.display().to_string(), line })
    }
}
