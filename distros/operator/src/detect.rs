//! Detects which record, and which of its releases, describes a system.
//!
//! The answer comes from os-release. Debian's testing and unstable have the same os-release: apt's sources distinguish
//! them, otherwise the answer is both. A system without its own record borrows a relative's, by `PLATFORM_ID` or
//! `ID_LIKE`, and the answer says so; a system that differs too much from the relative it names borrows nothing.

mod built_for;
mod derivative;
mod own_record;
mod unlike;

pub use built_for::{BuiltFor, ForeignArch, built_for};
pub use derivative::Derivative;
pub use own_record::{OwnRecord, own_record};

use crate::apt_sources::{self, DebSource};
use crate::os_release::OsRelease;
use model::database::{Database, DatabaseError};
use model::distro::{DistroId, ReleaseVersion, Target};
use model::record::{Record, ReleaseEntry, known};
use model::words::list_or;
use root::{Root, RootError};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// A system's description of itself, and the matching record and releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Detection {
    /// os-release's `ID`, lower-case.
    pub id: String,
    /// Its `VERSION_ID`.
    pub version_id: Option<String>,
    /// Its `VERSION_CODENAME`.
    pub codename: Option<String>,
    /// Its `PRETTY_NAME`.
    pub name: Option<String>,
    /// The record that is meant, even where it has no such release.
    pub distro: Option<DistroId>,
    /// How the record was found.
    pub by: Option<FoundBy>,
    /// The releases: two if they cannot be distinguished, as with Debian's testing and unstable; none if the record has
    /// no match.
    pub releases: Vec<Target>,
    /// How well the release fits.
    pub fit: Option<Fit>,
    /// The derivative, if the system has the os-release of the distro that it is built from.
    pub derivative: Option<Derivative>,
    /// The release that stands in for a system without its own record, and the reason: `as rhel:10, by ID_LIKE`.
    pub borrowed: Option<String>,
    /// The reason why the record found by os-release does not apply to the system.
    pub refused: Option<String>,
    /// The reason why a record with precedence over the one found cannot be used; then the detection is no answer.
    #[serde(skip)]
    pub unusable: Option<String>,
}

impl Detection {
    /// Returns the system's name for people: the derivative's name, else its `PRETTY_NAME`, else its id and version.
    pub fn pretty_name(&self) -> String {
        let derivative = self.derivative.map(|d| d.name.to_owned());
        derivative.or_else(|| self.name.clone()).unwrap_or_else(|| {
            let version = self.version_id.as_deref().or(self.codename.as_deref());
            format!("{} {}", self.id, version.unwrap_or("without a version"))
        })
    }

    /// Returns the text for [`Detection::borrowed`].
    fn borrowed_text(&self) -> Option<String> {
        let by = self.by?;
        let kernel = match &self.derivative {
            Some(_) => ", with a kernel of its own",
            None if by == FoundBy::Id => return None,
            None => "",
        };
        (!self.releases.is_empty()).then(|| format!("as {}, by {}{kernel}", list_or(&self.releases), by.key()))
    }
}

/// How a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// By a record for this `ID`.
    Id,
    /// There is no record for the `ID`; this record's distro is named by `PLATFORM_ID`.
    PlatformId,
    /// There is no record for the `ID`; this record is of the closest relative in `ID_LIKE`.
    IdLike,
}

impl FoundBy {
    /// Returns the os-release key by which the record was found.
    fn key(self) -> &'static str {
        match self {
            FoundBy::Id => "ID",
            FoundBy::PlatformId => "PLATFORM_ID",
            FoundBy::IdLike => "ID_LIKE",
        }
    }
}

/// How well a release fits, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// The version, codename or alias equals the system's.
    Exact,
    /// The record only has the major version: 9 for 9.4.
    Prefix,
    /// The record has a single, rolling release.
    Rolling,
}

/// Finds the record and release of the system in `root`.
///
/// # Errors
///
/// Fails if os-release, or another file that identifies the release, cannot be read; an unknown system is an answer.
pub fn detect(root: &Root, database: &Database) -> Result<Detection, RootError> {
    let os = OsRelease::read(root)?;
    let own = |name: &str| os.get(name).map(str::to_owned);
    let mut detection = Detection {
        id: os.id(),
        version_id: own("VERSION_ID"),
        codename: own("VERSION_CODENAME"),
        name: own("PRETTY_NAME"),
        distro: None,
        by: None,
        releases: Vec::new(),
        fit: None,
        derivative: None,
        borrowed: None,
        refused: None,
        unusable: None,
    };
    let candidate = candidate(root, &os, database)?;
    let chosen = candidate.as_ref().map(|c| &c.record.distro);
    detection.unusable = unusable(&os, database, chosen).map(|why| why.to_string());
    let has_own = candidate.as_ref().is_some_and(|c| c.by == FoundBy::Id);
    detection.refused = unlike::why(root, &os, has_own)?;
    let Some(Candidate { record, by, names }) = candidate.filter(|_| detection.refused.is_none()) else {
        return Ok(detection);
    };
    detection.distro = Some(record.distro.clone());
    detection.by = Some(by);
    detection.derivative = derivative::of(root, &os)?;
    let Some((mut releases, fit)) = matching_releases(record, &names) else { return Ok(detection) };
    if let [_, _, ..] = releases.as_slice() {
        let sources = apt_sources::enabled(root)?;
        let suites: BTreeSet<&str> = sources.iter().map(DebSource::release).collect();
        let named = |r: &&ReleaseEntry| r.names().iter().any(|n| suites.contains(*n));
        let decided: Vec<&ReleaseEntry> = releases.iter().copied().filter(named).collect();
        if !decided.is_empty() {
            releases = decided;
        }
    }
    detection.releases = releases.into_iter().map(|release| record.target(release)).collect();
    detection.fit = Some(fit);
    detection.borrowed = detection.borrowed_text();
    Ok(detection)
}

/// Possible names of the system's release, in steps: an earlier step takes precedence, and all names of one step apply
/// at once.
type Names = Vec<Vec<String>>;

/// A record that may describe the system.
struct Candidate<'d> {
    record: &'d Record,
    by: FoundBy,
    /// Possible names of the system's release in that record.
    names: Names,
}

/// Returns the system's own record; else that of the first relative with a fitting release, else that of the first
/// relative.
fn candidate<'d>(root: &Root, os: &OsRelease, database: &'d Database) -> Result<Option<Candidate<'d>>, RootError> {
    if let Some(record) = own_ids(os).iter().find_map(|id| database.by_os_release_id(id)) {
        return Ok(Some(Candidate { record, by: FoundBy::Id, names: names(root, os, record)? }));
    }
    let platform = Platform::of(os);
    let of_platform = platform.iter().flat_map(|platform| {
        let records = platform.distros.iter().filter_map(move |distro| database.by_os_release_id(distro));
        records.map(move |record| Candidate { record, by: FoundBy::PlatformId, names: platform.names(os) })
    });
    // Enterprise Linux is not like Fedora, although its `ID_LIKE` says so.
    let is_enterprise_linux = platform.as_ref().is_some_and(|p| p.distros == ENTERPRISE_LINUX);
    let like = os.id_like().into_iter().filter(|id| !(is_enterprise_linux && id == "fedora"));
    let relatives = like.filter_map(|id| database.by_os_release_id(&id));
    let of_relatives =
        relatives.map(|record| Candidate { record, by: FoundBy::IdLike, names: names_of_relative(os, record) });
    let mut all: Vec<Candidate<'d>> = of_platform.chain(of_relatives).collect();
    let first = all.iter().position(|c| matching_releases(c.record, &c.names).is_some()).unwrap_or(0);
    Ok((first < all.len()).then(|| all.swap_remove(first)))
}

/// Returns the ids of the system's own record, in order of preference: RHEL CoreOS has RHEL's `ID` from OpenShift 4.19
/// on, but is image-based.
fn own_ids(os: &OsRelease) -> Vec<String> {
    let id = os.id();
    let is_coreos = os.get("VARIANT_ID") == Some("coreos") || os.get("OPENSHIFT_VERSION").is_some();
    match id == "rhel" && is_coreos {
        true => vec!["rhcos".to_owned(), id],
        false => vec![id],
    }
}

/// Why a record cannot be used that the system has, or a relative of it that is closer than the one that was chosen.
fn unusable(os: &OsRelease, database: &Database, chosen: Option<&DistroId>) -> Option<DatabaseError> {
    let platform = Platform::of(os);
    let of_platform = platform.iter().flat_map(|platform| platform.distros).map(|distro| (*distro).to_owned());
    let ids = own_ids(os).into_iter().chain(of_platform).chain(os.id_like());
    let is_before = |id: &String| {
        let record = database.by_os_release_id(id).map(|record| &record.distro);
        chosen.is_none() || record != chosen
    };
    ids.take_while(is_before).find_map(|id| database.broken(&id))
}

/// Returns the names of the release of a system that has its own record.
fn names(root: &Root, os: &OsRelease, record: &Record) -> Result<Names, RootError> {
    let mut names: Names = Vec::new();
    let mut step = |name: &str| names.push(vec![name.to_owned()]);
    let version = os.get("VERSION_ID");
    let rawhide = |key| os.get(key) == Some("rawhide");
    if rawhide("REDHAT_BUGZILLA_PRODUCT_VERSION") || rawhide("REDHAT_SUPPORT_PRODUCT_VERSION") {
        step("rawhide");
    }
    // Alpine's edge is named after the release that it will become, even when that is out: `3.25.0_alpha20260805`.
    if version.is_some_and(|version| version.contains("_alpha")) {
        return Ok(vec![vec!["edge".to_owned()]]);
    }
    if os.id() == "nixos" && is_nixos_unstable(os, record) {
        return Ok(vec![vec!["unstable".to_owned()]]);
    }
    if let Some(version) = version {
        if os.get("NAME").is_some_and(|n| n.ends_with(" Stream")) {
            step(&format!("stream{version}"));
        } else if let Some(point) = point_release(root, version)? {
            step(&point);
        }
        step(version);
    }
    if let Some(codename) = os.get("VERSION_CODENAME").filter(|_| version.is_some()) {
        step(codename);
    }
    // One record for several IDs: `opensuse` for opensuse-leap and opensuse-tumbleweed.
    if let Some(rest) = os.id().strip_prefix(&format!("{}-", record.distro)) {
        step(rest);
    }
    if version.is_none() {
        // Debian's testing and unstable: `Debian GNU/Linux forky/sid` for both.
        let last = os.get("PRETTY_NAME").and_then(|n| n.rsplit(' ').next()).filter(|w| w.contains('/'));
        match (last, os.get("VERSION_CODENAME")) {
            (Some(both), _) => names.push(both.split('/').map(str::to_owned).collect()),
            (None, Some(codename)) => names.push(vec![codename.to_owned()]),
            (None, None) => {}
        }
    }
    Ok(names)
}

/// Checks whether the system is NixOS's unstable, which is named after the next release.
///
/// The build of a channel identifies it: `26.11pre895432.a1b2c3d` for unstable, and `26.11.1234.a1b2c3d` on the
/// release's branch, with the number of commits since the branch began. A flake's build, `26.11.20261120.a1b2c3d`, has
/// the date instead; then a version is unstable's if it is later than every release of the record that is out or was
/// added by the admin.
fn is_nixos_unstable(os: &OsRelease, record: &Record) -> bool {
    let Some(version) = os.get("VERSION_ID") else { return false };
    let build = os.get("BUILD_ID").and_then(|build| build.strip_prefix(version)).unwrap_or_default();
    if build.starts_with("pre") {
        return true;
    }
    let counted = build.strip_prefix('.').and_then(|rest| rest.split('.').next()).unwrap_or_default();
    if (1..8).contains(&counted.len()) && counted.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let numbers = |text: &str| text.split('.').map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<u32>>>();
    let is_out = |release: &&ReleaseEntry| release.is_added || known(&release.released).is_some();
    let newest = record.releases.iter().filter(is_out).filter_map(|r| numbers(r.version.as_str())).max();
    numbers(version).zip(newest).is_some_and(|(version, newest)| version > newest)
}

/// Returns the names under which a relative's record may have the release: those the system states for that relative,
/// and its codename.
///
/// The system's own version does not count: Linux Mint 12 is not Debian 12.
fn names_of_relative(os: &OsRelease, relative: &Record) -> Names {
    let upper = relative.distro.as_str().to_uppercase();
    let stated = [format!("{upper}_CODENAME"), format!("{upper}_VERSION_ID"), "VERSION_CODENAME".to_owned()];
    let mut names: Names = stated.iter().filter_map(|key| Some(vec![os.get(key)?.to_owned()])).collect();
    // MicroOS lists opensuse-tumbleweed in `ID_LIKE`.
    let prefix = format!("{}-", relative.distro);
    names.extend(os.id_like().iter().filter_map(|id| Some(vec![id.strip_prefix(&prefix)?.to_owned()])));
    names
}

/// Distros with the releases of Enterprise Linux; the first is the one that the others are built from.
const ENTERPRISE_LINUX: &[&str] = &["rhel", "centos"];

const FEDORA: &[&str] = &["fedora"];

/// The content of `PLATFORM_ID`: the release of another distro whose packages the system has.
struct Platform {
    /// The distros that may have this release.
    distros: &'static [&'static str],
    /// The release: 9 of `platform:el9`, 43 of `platform:f43`.
    version: ReleaseVersion,
}

impl Platform {
    fn of(os: &OsRelease) -> Option<Platform> {
        let platform = os.get("PLATFORM_ID")?.strip_prefix("platform:")?;
        let (distros, version) = match platform.strip_prefix("el") {
            Some(version) => (ENTERPRISE_LINUX, version),
            None => (FEDORA, platform.strip_prefix('f')?),
        };
        // Some systems have a minor version here: `el8.2`.
        let major = version.split('.').next().filter(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_digit()))?;
        Some(Platform { distros, version: major.parse().ok()? })
    }

    /// Returns the names of the release. The system's own version counts if it belongs to the platform's release, as
    /// 9.4 to 9; that of RHEL CoreOS, 4.13, does not.
    fn names(&self, os: &OsRelease) -> Names {
        let own = os.get("VERSION_ID").filter(|own| own.split('.').next() == Some(self.version.as_str()));
        own.into_iter().chain([self.version.as_str()]).map(|name| vec![name.to_owned()]).collect()
    }
}

/// Returns `8.2.2004` for `CentOS Linux release 8.2.2004 (Core)`, because os-release only has the major version.
fn point_release(root: &Root, version: &str) -> Result<Option<String>, RootError> {
    let point = |text: &str| {
        let (_, after) = text.split_once(" release ")?;
        let point = after.split_whitespace().next()?;
        point.starts_with(&format!("{version}.")).then(|| point.to_owned())
    };
    for file in ["/etc/centos-release", "/etc/redhat-release"] {
        match root.read_text(Path::new(file), 4096) {
            Err(error) if error.is_unreadable() => return Err(error),
            Err(_) => {}
            Ok(text) => {
                if let Some(point) = point(&text) {
                    return Ok(Some(point));
                }
            }
        }
    }
    Ok(None)
}

/// Returns the releases that match the first step with any match.
fn matching_releases<'r>(record: &'r Record, names: &Names) -> Option<(Vec<&'r ReleaseEntry>, Fit)> {
    for step in names {
        let mut found: Vec<&ReleaseEntry> = Vec::new();
        for release in step.iter().filter_map(|name| record.find_release(name)) {
            if !found.contains(&release) {
                found.push(release);
            }
        }
        if !found.is_empty() {
            return Some((found, Fit::Exact));
        }
    }
    for name in names.iter().flatten() {
        let mut shorter = name.as_str();
        while let Some((prefix, _)) = shorter.rsplit_once('.') {
            if let Some(release) = record.releases.iter().find(|r| r.version == prefix) {
                return Some((vec![release], Fit::Prefix));
            }
            shorter = prefix;
        }
    }
    match record.releases.as_slice() {
        [only] if !only.version.as_str().starts_with(|c: char| c.is_ascii_digit()) => Some((vec![only], Fit::Rolling)),
        _ => None,
    }
}
