//! Which record, and which release of it, a system is.
//!
//! os-release says it.
//! Debian's testing and unstable have the same file and are told apart by apt's sources, or both are the answer.

mod apt_sources;

use crate::os_release::OsRelease;
use model::arch::Arch;
use model::database::Database;
use model::record::{Record, ReleaseEntry};
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
    pub distro: Option<String>,
    /// How the record was found.
    pub by: Option<FoundBy>,
    /// The release; two where nothing tells them apart, as with Debian's testing and unstable; none where the record has none.
    pub releases: Vec<Target>,
    /// How well the release fits.
    pub fit: Option<Fit>,
}

impl Detection {
    /// What the system calls itself before people, in its own words: its `PRETTY_NAME`, else its id and version.
    pub fn pretty_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let version = self.version_id.as_deref().or(self.codename.as_deref());
            format!("{} {}", self.id, version.unwrap_or("of no version"))
        })
    }
}

/// How a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// It is the record of this `ID`.
    Id,
    /// There is none; it is the record of the closest relative in `ID_LIKE`.
    IdLike,
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
    };
    let by_id = database.by_os_release_id(&os.id()).map(|r| (r, FoundBy::Id));
    let mut relatives = relatives(&os).into_iter().filter_map(|like| database.by_os_release_id(&like));
    // The first relative of which a release fits; else the first at all.
    let first_relative = || {
        let all: Vec<&Record> = relatives.by_ref().collect();
        let fitting = all.iter().find(|r| fitting(r, &names_of_relative(&os, r)).is_some());
        fitting.or(all.first()).map(|r| (*r, FoundBy::IdLike))
    };
    let Some((record, by)) = by_id.or_else(first_relative) else { return Ok(detection) };
    let names = match by {
        FoundBy::Id => names(root, &os, record)?,
        FoundBy::IdLike => names_of_relative(&os, record),
    };
    detection.distro = Some(record.distro.clone());
    detection.by = Some(by);
    let Some((mut releases, fit)) = fitting(record, &names) else { return Ok(detection) };
    if let [_, _, ..] = releases.as_slice() {
        let suites = apt_sources::suites(root)?;
        let named = |r: &&ReleaseEntry| r.names().iter().any(|n| suites.contains(*n));
        let decided: Vec<&ReleaseEntry> = releases.iter().copied().filter(named).collect();
        if !decided.is_empty() {
            releases = decided;
        }
    }
    let target = |r: &ReleaseEntry| Target { distro: record.distro.clone(), version: r.version.clone() };
    detection.releases = releases.into_iter().map(target).collect();
    detection.fit = Some(fit);
    Ok(detection)
}

/// What a release of the distro may be called; names of one step mean the system at once, an earlier step outranks.
type Names = Vec<Vec<String>>;

/// The names of a system that has a record of its own.
fn names(root: &Root, os: &OsRelease, record: &Record) -> Result<Names, RootError> {
    let mut names: Names = Vec::new();
    let mut step = |name: &str| names.push(vec![name.to_owned()]);
    let version = os.get("VERSION_ID");
    let rawhide = |key| os.get(key) == Some("rawhide");
    if rawhide("REDHAT_BUGZILLA_PRODUCT_VERSION") || rawhide("REDHAT_SUPPORT_PRODUCT_VERSION") {
        step("rawhide");
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

/// The names by which a relative of the system may know it: what the system says of that relative, and its codename.
///
/// Its own version says nothing, for Linux Mint 12 is no Debian 12; unless its platform is Enterprise Linux, where all count alike.
fn names_of_relative(os: &OsRelease, relative: &Record) -> Names {
    let upper = relative.distro.to_uppercase();
    let stated = [format!("{upper}_CODENAME"), format!("{upper}_VERSION_ID"), "VERSION_CODENAME".to_owned()];
    let mut names: Names = stated.iter().filter_map(|key| Some(vec![os.get(key)?.to_owned()])).collect();
    if is_enterprise_linux(os) {
        names.extend(os.get("VERSION_ID").map(|v| vec![v.to_owned()]));
    }
    names
}

/// `ID_LIKE`, closest first; every Enterprise Linux is like RHEL and CentOS, and unlike Fedora.
fn relatives(os: &OsRelease) -> Vec<String> {
    let mut like = os.id_like();
    if is_enterprise_linux(os) {
        like.retain(|id| id != "fedora");
        for id in ["rhel", "centos"] {
            if !like.iter().any(|l| l == id) {
                like.push(id.to_owned());
            }
        }
    }
    like
}

/// Whether `PLATFORM_ID` is that of RHEL and what is built from its sources, `platform:el9`.
fn is_enterprise_linux(os: &OsRelease) -> bool {
    os.get("PLATFORM_ID").is_some_and(|p| p.starts_with("platform:el"))
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
        [only] if !only.version.starts_with(|c: char| c.is_ascii_digit()) => Some((vec![only], Fit::Rolling)),
        _ => None,
    }
}

/// The architecture of the root's programs, where it is one of Kata's, by the ELF header of its shell or another that most
/// systems have.
///
/// # Errors
///
/// That one of them cannot be read, and none of the others tells it.
pub fn arch(root: &Root) -> Result<Option<Arch>, RootError> {
    let mut unreadable = None;
    for program in ["/bin/sh", "/usr/bin/env", "/sbin/init", "/usr/bin/rpm", "/run/current-system/sw/bin/sh"] {
        let header = match root.head(Path::new(program), 20) {
            Ok(header) => header,
            Err(error) => {
                unreadable = unreadable.or(Some(error).filter(RootError::is_unreadable));
                continue;
            }
        };
        let [0x7f, b'E', b'L', b'F', 2, data, .., first, second] = header.as_slice() else { continue };
        let machine = [*first, *second];
        // e_ident[EI_DATA]: 1 is little-endian, 2 big-endian.
        let said = match data {
            1 => (true, u16::from_le_bytes(machine)),
            2 => (false, u16::from_be_bytes(machine)),
            _ => return Ok(None),
        };
        return Ok(Arch::ALL.iter().copied().find(|arch| arch.elf() == said));
    }
    unreadable.map_or(Ok(None), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_read_from_a_programs_header() {
        if let Some(here) = Arch::of_machine() {
            assert_eq!(arch(&Root::default()).unwrap(), Some(here));
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let root = Root::new(dir.path()).unwrap();
        assert_eq!(arch(&root).unwrap(), None);
        for (data, machine, expected) in [
            (1, [183, 0], Some(Arch::Aarch64)),
            (1, [21, 0], Some(Arch::Ppc64le)),
            (2, [0, 21], None),
            (2, [0, 22], Some(Arch::S390x)),
            // RISC-V.
            (1, [243, 0], None),
            (3, [62, 0], None),
        ] {
            let mut header = vec![0x7f, b'E', b'L', b'F', 2, data, 1, 0];
            header.resize(18, 0);
            header.extend(machine);
            std::fs::write(dir.path().join("bin/sh"), header).unwrap();
            assert_eq!(arch(&root).unwrap(), expected);
        }
        std::fs::write(dir.path().join("bin/sh"), "#!/bin/x").unwrap();
        assert_eq!(arch(&root).unwrap(), None);
    }
}
