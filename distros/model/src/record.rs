//! The record of one distro, as its YAML file states it.
//!
//! Keys at the top level are defaults; an entry of `releases:` overrides what differs, key by key.
//! `version: [32, rawhide]` is short for releases that override nothing.
//! Every fact has a [`Confidence`]: that of the nearest `confidence:` key on the map that holds the fact or on one around it.
//! What nobody knows is the word `unknown`.

mod component;
mod decode;
mod kind;
mod layer;
mod names;
mod parse;
mod resolve;

use crate::arch::Arch;
use crate::diagnostic::Diagnostic;
use crate::package_manager::PackageManager;
use crate::release::PackageSuite;
use crate::verified::VerifiedEntry;
use jiff::civil::Date;
use root::{Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(crate) use decode::Decoder;
pub use kind::ComponentKind;
pub(crate) use layer::Draft;
pub(crate) use names::misnamed;
pub use names::{is_name_for, is_package_name};
#[cfg(all(test, feature = "schema"))]
pub(crate) use parse::keys;
pub(crate) use parse::{distro as decode_distro, draft as parse_draft};
pub use resolve::{ResolveError, StatedFact};

/// How well a fact is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Nobody checked.
    Assumed,
    /// The distro's documentation says so.
    Documented,
    /// Read from the distro's packages or their sources.
    Packaging,
    /// Seen on a running system of the release.
    Measured,
}

impl Confidence {
    /// All of them, the weakest first.
    pub const ALL: &'static [Confidence] =
        &[Confidence::Assumed, Confidence::Documented, Confidence::Packaging, Confidence::Measured];

    /// The word in a record.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Assumed => "assumed",
            Confidence::Documented => "documented",
            Confidence::Packaging => "packaging",
            Confidence::Measured => "measured",
        }
    }
}

/// One fact: a value, or the explicit `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<T> {
    /// The value; `None` where the record says `unknown`.
    pub value: Option<T>,
    /// How well it is known.
    pub confidence: Confidence,
    /// Where it stands in the file.
    pub span: Range<usize>,
    /// Which of [`Record::sources`] the file is.
    pub source: usize,
}

/// A file that a record was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file; for an embedded record its name in the repository.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// File and line of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file; for an embedded record its name in the repository.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// A value for all architectures, or one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PerArch<T> {
    /// The same everywhere.
    All(T),
    /// By architecture: `None` is the record's `unknown`, and one that is missing has none.
    Each(BTreeMap<Arch, Option<T>>),
}

impl<T> PerArch<T> {
    /// The value for one architecture.
    pub fn get(&self, arch: Arch) -> Option<&T> {
        match self {
            PerArch::All(value) => Some(value),
            PerArch::Each(map) => map.get(&arch)?.as_ref(),
        }
    }

    /// Whether anything is stated for one architecture, be it that nobody knows.
    pub fn states(&self, arch: Arch) -> bool {
        match self {
            PerArch::All(_) => true,
            PerArch::Each(map) => map.contains_key(&arch),
        }
    }

    /// All values.
    pub fn values(&self) -> Vec<&T> {
        match self {
            PerArch::All(value) => vec![value],
            PerArch::Each(map) => map.values().flatten().collect(),
        }
    }
}

/// A VMM, a filesystem driver, the kernel or the container manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Component {
    /// `qemu`, `virtio-fs`, `containerd`; `linux` for the kernel.
    pub name: String,
    /// Packages to install, `packages:`.
    pub packages: Option<Fact<PerArch<Vec<String>>>>,
    /// The binary's path, `path:`; for the kernel its image's glob, `image:`.
    pub path: Option<Fact<PerArch<String>>>,
}

/// What the top level and a release can both state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// `suites:`, of Debian-like archives.
    pub suites: Option<Fact<Vec<PackageSuite>>>,
    /// `repositories:` to enable.
    pub repositories: Option<Fact<Vec<String>>>,
    /// `modules:` of the package manager to enable, `virt:rhel`.
    pub modules: Option<Fact<Vec<String>>>,
    /// `image:`, the OCI image.
    pub image: Option<Fact<String>>,
    /// `vmm:`, the preferred one first.
    pub vmms: Option<Fact<Vec<Component>>>,
    /// `fs:` in the order of the file.
    pub filesystems: Option<Fact<Vec<Component>>>,
    /// `fs: {preferred: …}`.
    pub preferred_filesystem: Option<String>,
    /// `kernel:`.
    pub kernel: Option<Fact<Component>>,
    /// `container-manager:`.
    pub container_manager: Option<Fact<Component>>,
}

/// One entry of `releases:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEntry {
    /// The version's text: `13`, `8.10`, `testing`.
    pub version: String,
    /// `trixie`.
    pub codename: Option<String>,
    /// `stable`.
    pub aliases: Vec<String>,
    /// Day of the release.
    pub released: Option<Fact<Date>>,
    /// Last day of the distro's own support.
    pub eol: Option<Fact<Date>>,
    /// Last day of long-term support.
    pub lts: Option<Fact<Date>>,
    /// Architectures, where they differ from the record's.
    pub arches: Option<Vec<Arch>>,
    /// `derives-from:`: the release of the parent distro that it is built from.
    pub derives_from: Option<String>,
    /// What differs from the defaults.
    pub parts: Parts,
    /// Where it stands in the file.
    pub span: Range<usize>,
    /// Which of [`Record::sources`] the file is.
    pub source: usize,
}

impl ReleaseEntry {
    /// Every name it goes by: version, codename, aliases.
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
    /// The file; for an embedded record its name in the repository.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
    /// Every file that it was merged from, the strongest last, which is [`Record::path`].
    pub sources: Vec<Source>,
    /// `debian`.
    pub distro: String,
    /// `ids:`, other values of os-release's `ID` that mean this distro.
    pub ids: Vec<String>,
    /// `derives-from:`: the distro that it is built from, whose record is beneath this one.
    pub derives_from: Option<String>,
    /// `package-manager:`, or `package-installer:` as the proposal had it.
    pub package_manager: PackageManager,
    /// Architectures.
    pub arches: Vec<Arch>,
    /// Defaults of all releases.
    pub defaults: Parts,
    /// Releases in the order of the file.
    pub releases: Vec<ReleaseEntry>,
    /// What runs of the harness proved, from files beside the record: [`crate::verified::VerifiedFile`].
    pub verified: Vec<VerifiedEntry>,
}

impl Record {
    /// Parses a record's text, which has no verdicts; `path` is for messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, with places.
    pub fn parse(path: &Path, text: &str) -> Result<Record, RecordError> {
        Draft::parse(path, text)?.complete()
    }

    /// Reads and parses a file of at most [`crate::syntax::MAX_BYTES`].
    ///
    /// # Errors
    ///
    /// That it cannot be read, or everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Record, RecordError> {
        Draft::read(path)?.complete()
    }

    /// File and line of a place in one of the record's sources.
    pub fn origin(&self, source: usize, span: &Range<usize>) -> Option<Origin> {
        let source = self.sources.get(source)?;
        let (line, _) = crate::diagnostic::line_column(&source.text, span.start);
        Some(Origin { file: source.path.display().to_string(), line })
    }
}

/// Reads a record's text without trusting its size, its encoding or that it is a file.
///
/// # Errors
///
/// One finding: of rule `unreadable` where there is no text to check.
pub fn read_text(path: &Path) -> Result<String, Box<Diagnostic>> {
    // Without waiting: opening a pipe would, for its writer.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let opened = opened.map_err(std::io::Error::from).and_then(|f| {
        let f = std::fs::File::from(f);
        if f.metadata()?.is_file() { Ok(f) } else { Err(std::io::Error::other("not a regular file")) }
    });
    text_of(path, opened)
}

/// [`read_text`] of a file of a root, by its path on the inside.
pub(crate) fn read_text_in(root: &Root, inside: &Path) -> Result<String, Box<Diagnostic>> {
    let opened = root.file(inside).map_err(|e| match e {
        RootError::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    });
    text_of(&root.shown(inside), opened)
}

/// The text of a record's file, capped.
fn text_of<E: std::fmt::Display>(path: &Path, opened: Result<std::fs::File, E>) -> Result<String, Box<Diagnostic>> {
    use std::io::Read;
    let file = path.display().to_string();
    let failed = |message: String| {
        Box::new(Diagnostic { file: file.clone(), ..Diagnostic::error("unreadable", "", 0..0, message) })
    };
    let mut bytes = Vec::new();
    let opened = opened
        .map_err(|e| e.to_string())
        .and_then(|f| f.take(crate::syntax::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string()));
    opened.map_err(|e| failed(format!("the record cannot be read: {e}")))?;
    if bytes.len() > crate::syntax::MAX_BYTES {
        return Err(failed(format!(
            "the file has more than {} bytes, the most a record may have",
            crate::syntax::MAX_BYTES
        )));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&e.as_bytes()[..at]).into_owned();
        let found = Diagnostic::error("syntax", &valid, at..at, "expected UTF-8 text");
        let (line, column) = crate::diagnostic::line_column(&valid, at);
        Box::new(Diagnostic { file: file.clone(), line, column, ..found.hint("save the file as UTF-8") })
    })
}

/// Why a record cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.summary())]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// Its text, empty where it could not be read.
    pub text: String,
    /// What is wrong, never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl RecordError {
    /// That there is no text.
    pub(crate) fn unread(path: &Path, found: Diagnostic) -> RecordError {
        RecordError { path: path.to_owned(), text: String::new(), diagnostics: vec![found] }
    }

    /// The first finding on one line, and how many more there are.
    fn summary(&self) -> String {
        match self.diagnostics.as_slice() {
            [] => format!("{}: not a usable record", self.path.display()),
            [one] => one.one_line(),
            [first, rest @ ..] => format!("{} (and {} more)", first.one_line(), rest.len()),
        }
    }

    /// All findings as rustc would show them.
    #[cfg(feature = "excerpts")]
    pub fn human(&self, colour: bool) -> String {
        let shown: Vec<String> = self.diagnostics.iter().map(|d| d.human(&self.text, colour)).collect();
        shown.join("\n\n")
    }
}
