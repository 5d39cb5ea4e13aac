//! Which record, and which release of it, a system is.
//!
//! os-release says it.
//! Debian's testing and unstable have the same file and are told apart by apt's sources, or both are the answer.
//! A system without a record of its own borrows a relative's, by `PLATFORM_ID` or `ID_LIKE`, and the answer says so; one
//! that is unlike the relative that it names borrows nothing.

mod apt_sources;
mod built_for;
mod derivative;
mod own_record;
mod unlike;

pub use built_for::{BuiltFor, ForeignArch, built_for};
pub use derivative::Derivative;
pub use own_record::{OwnRecord, own_record};

use crate::os_release::OsRelease;
use model::database::{Database, DatabaseError};
use model::distro::{DistroId, ReleaseVersion};
use model::record::{Record, ReleaseEntry, known};
use model::target::Target;
use root::{Root, RootError};
use serde::Serialize;
use std::path::Path;

/// What a system says it is, and what that is here.
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
    /// The release; two where nothing tells them apart, as with Debian's testing and unstable; none where the record has none.
    pub releases: Vec<Target>,
    /// How well the release fits.
    pub fit: Option<Fit>,
    /// What the system is, where its os-release is that of the distro that it is built from.
    pub derivative: Option<Derivative>,
    /// As which release a system counts that has no record of its own, and why: `as rhel:10, by ID_LIKE`.
    pub borrowed: Option<String>,
    /// Why the record that os-release leads to is not the system's.
    pub refused: Option<String>,
    /// Why a record that would come before what was found cannot be used: then what was found is no answer.
    #[serde(skip)]
    pub unusable: Option<String>,
}

impl Detection {
    /// What the system is called before people: what it is a derivative as, else its `PRETTY_NAME`, else its id and version.
    pub fn pretty_name(&self) -> String {
        let derivative = self.derivative.map(|d| d.name.to_owned());
        derivative.or_else(|| self.name.clone()).unwrap_or_else(|| {
            let version = self.version_id.as_deref().or(self.codename.as_deref());
            format!("{} {}", self.id, version.unwrap_or("of no version"))
        })
    }

    /// [`Detection::borrowed`] of what was found.
    fn borrowing(&self) -> Option<String> {
        let by = self.by?;
        let kernel = match &self.derivative {
            Some(_) => ", with a kernel of its own",
            None if by == FoundBy::Id => return None,
            None => "",
        };
        let names: Vec<String> = self.releases.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| format!("as {}, by {}{kernel}", names.join(" or "), by.key()))
    }
}

/// How a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// It is the record of this `ID`.
    Id,
    /// There is none; it is the record of the distro whose release `PLATFORM_ID` names.
    PlatformId,
    /// There is none; it is the record of the closest relative in `ID_LIKE`.
    IdLike,
}

impl FoundBy {
    /// The key of os-release that it was found by.
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
    /// Its version, codename or alias is the system's.
    Exact,
    /// The record has the major version only: 9 for 9.4.
    Prefix,
    /// The record has one release, which rolls.
    Rolling,
}

/// Finds the record and release of the system in `root`.
///
/// # Errors
///
/// That os-release, or what else tells the release, cannot be read; an unknown system is an answer.
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
    let Some((mut releases, fit)) = fitting(record, &names) else { return Ok(detection) };
    if let [_, _, ..] = releases.as_slice() {
        let suites = apt_sources::suites(root)?;
        let named = |r: &&ReleaseEntry| r.names().iter().any(|n| suites.contains(*n));
        let decided: Vec<&ReleaseEntry> = releases.iter().copied().filter(named).collect();
        if !decided.is_empty() {
            releases = decided;
        }
    }
    detection.releases = releases.into_iter().map(|release| record.target(release)).collect();
    detection.fit = Some(fit);
    detection.borrowed = detection.borrowing();
    Ok(detection)
}

/// What a release of the distro may be called; names of one step mean the system at once, an earlier step outranks.
type Names = Vec<Vec<String>>;

/// A record that may be the system's.
struct Candidate<'d> {
    record: &'d Record,
    by: FoundBy,
    /// What a release of that record may be called.
    names: Names,
}

/// The record of the system's own; else the first relative's of which a release fits, else the first relative's at all.
fn candidate<'d>(root: &Root, os: &OsRelease, database: &'d Database) -> Result<Option<Candidate<'d>>, RootError> {
    if let Some(record) = own_ids(os).iter().find_map(|id| database.by_os_release_id(id)) {
        return Ok(Some(Candidate { record, by: FoundBy::Id, names: names(root, os, record)? }));
    }
    let platform = Platform::of(os);
    let of_platform = platform.iter().flat_map(|platform| {
        let records = platform.distros.iter().filter_map(move |distro| database.by_os_release_id(distro));
        records.map(move |record| Candidate { record, by: FoundBy::PlatformId, names: platform.names(os) })
    });
    // Enterprise Linux is unlike Fedora, whatever it says.
    let is_enterprise_linux = platform.as_ref().is_some_and(|p| p.distros == ENTERPRISE_LINUX);
    let like = os.id_like().into_iter().filter(|id| !(is_enterprise_linux && id == "fedora"));
    let relatives = like.filter_map(|id| database.by_os_release_id(&id));
    let of_relatives =
        relatives.map(|record| Candidate { record, by: FoundBy::IdLike, names: names_of_relative(os, record) });
    let mut all: Vec<Candidate<'d>> = of_platform.chain(of_relatives).collect();
    let first = all.iter().position(|c| fitting(c.record, &c.names).is_some()).unwrap_or(0);
    Ok((first < all.len()).then(|| all.swap_remove(first)))
}

/// The ids of the system's own record, the first that has one: RHEL CoreOS has RHEL's `ID` from OpenShift 4.19 on, and
/// comes as an image.
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

/// The names of a system that has a record of its own.
fn names(root: &Root, os: &OsRelease, record: &Record) -> Result<Names, RootError> {
    let mut names: Names = Vec::new();
    let mut step = |name: &str| names.push(vec![name.to_owned()]);
    let version = os.get("VERSION_ID");
    let rawhide = |key| os.get(key) == Some("rawhide");
    if rawhide("REDHAT_BUGZILLA_PRODUCT_VERSION") || rawhide("REDHAT_SUPPORT_PRODUCT_VERSION") {
        step("rawhide");
    }
    // Alpine's edge calls itself after the release that it will become, also when that is out: `3.25.0_alpha20260805`.
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

/// Whether it is NixOS's unstable, which calls itself after the release that comes next.
///
/// A channel's build says it: `26.11pre895432.a1b2c3d`, and `26.11.1234.a1b2c3d` on the release's branch, counted from
/// where that began. A flake's, `26.11.20261120.a1b2c3d`, has the day; then a version that is later than every release of
/// the record that is out, or that the admin added, is unstable's.
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

/// The names by which a relative of the system may know it: what the system says of that relative, and its codename.
///
/// Its own version says nothing, for Linux Mint 12 is no Debian 12.
fn names_of_relative(os: &OsRelease, relative: &Record) -> Names {
    let upper = relative.distro.as_str().to_uppercase();
    let stated = [format!("{upper}_CODENAME"), format!("{upper}_VERSION_ID"), "VERSION_CODENAME".to_owned()];
    let mut names: Names = stated.iter().filter_map(|key| Some(vec![os.get(key)?.to_owned()])).collect();
    // MicroOS is like opensuse-tumbleweed.
    let prefix = format!("{}-", relative.distro);
    names.extend(os.id_like().iter().filter_map(|id| Some(vec![id.strip_prefix(&prefix)?.to_owned()])));
    names
}

/// Distros of which one has the releases of Enterprise Linux, the one that others are built from first.
const ENTERPRISE_LINUX: &[&str] = &["rhel", "centos"];

const FEDORA: &[&str] = &["fedora"];

/// What `PLATFORM_ID` says: the packages are those of a release of another distro.
struct Platform {
    /// Whose release it may be.
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
        // Some have a minor version there: `el8.2`.
        let major = version.split('.').next().filter(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_digit()))?;
        Some(Platform { distros, version: major.parse().ok()? })
    }

    /// The system's own version counts where it is one of that release, 9.4 of 9; that of RHEL CoreOS, 4.13, does not.
    fn names(&self, os: &OsRelease) -> Names {
        let own = os.get("VERSION_ID").filter(|own| own.split('.').next() == Some(self.version.as_str()));
        own.into_iter().chain([self.version.as_str()]).map(|name| vec![name.to_owned()]).collect()
    }
}

/// `8.2.2004` of `CentOS Linux release 8.2.2004 (Core)`: os-release has the major version only.
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

/// The releases of the first step of names that has any.
fn fitting<'r>(record: &'r Record, names: &Names) -> Option<(Vec<&'r ReleaseEntry>, Fit)> {
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
