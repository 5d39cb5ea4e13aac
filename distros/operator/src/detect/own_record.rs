//! A record of the admin's that makes a system known which was not found.

use super::{Detection, FoundBy, Platform};
use crate::os_release::OsRelease;
use crate::packages::Format;
use model::arch::Arch;
use model::database::Database;
use model::distro::{DistroId, ReleaseVersion};
use model::package_manager::PackageManager;
use model::record::Record;
use root::Root;

/// The record to write, and where; with it the system is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRecord {
    /// The file's name in `/etc/kata-osinfo`.
    pub file: String,
    /// What must be in it, a key a line.
    pub lines: Vec<String>,
}

/// The record that makes the system in `root` known, of which `found` has no release.
///
/// Of a distro that has a record it names the release; of a relative's it names what it is built from, and of others the
/// package manager, which are guesses for the admin to look at: what the release inherits is assumed. `None` where the
/// system's own names cannot stand in a record, and where it is to borrow none.
pub fn own_record(root: &Root, database: &Database, found: &Detection) -> Option<OwnRecord> {
    if found.refused.is_some() {
        return None;
    }
    let os = OsRelease::read(root).ok()?;
    let version = version(&os)?;
    let whole = |distro: &DistroId, lines: &[String]| OwnRecord {
        file: format!("{distro}.yaml"),
        lines: std::iter::once(format!("distro: {}", scalar(distro.as_str()))).chain(lines.iter().cloned()).collect(),
    };
    let release = |keys: &str| format!("releases: [{{{keys}}}]");
    let assumed =
        |version: &ReleaseVersion| release(&format!("version: {}, confidence: assumed", scalar(version.as_str())));
    let own = || found.id.parse::<DistroId>().ok();
    match (&found.distro, found.by) {
        (Some(distro), Some(FoundBy::Id)) => Some(whole(distro, &[assumed(&version)])),
        (Some(distro), Some(FoundBy::PlatformId)) => Some(whole(distro, &[assumed(&Platform::of(&os)?.version)])),
        (Some(distro), _) => {
            let parent = built_from(database.record(distro).ok()?, &os, &version)?;
            let keys = format!("version: {}, derives-from: {parent}, confidence: assumed", scalar(version.as_str()));
            Some(whole(&own()?, &[format!("derives-from: {distro}"), release(&keys)]))
        }
        (None, _) => {
            let arches: Vec<&str> = Arch::ALL.iter().map(|arch| arch.name()).collect();
            let lines = [
                format!("package-manager: {}", manager(root)),
                format!("arch: [{}]", arches.join(", ")),
                release(&format!("version: {}", scalar(version.as_str()))),
            ];
            Some(whole(&own()?, &lines))
        }
    }
}

/// What the system's release is to be called in a record; `rolling` where it has neither version nor codename.
fn version(os: &OsRelease) -> Option<ReleaseVersion> {
    let version = match os.get("VERSION_ID") {
        Some(version) if version.contains("_alpha") => "edge",
        Some(version) => version,
        None => os.get("VERSION_CODENAME").unwrap_or("rolling"),
    };
    // A `~` alone would be nothing, in YAML.
    let is_a_word = version.starts_with(|c: char| c.is_ascii_alphanumeric()) && !version.contains('~');
    version.parse().ok().filter(|_| is_a_word)
}

/// A plain word as a scalar of YAML, between quotes where it would be something else than text.
fn scalar(word: &str) -> String {
    let means_something = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "unknown"];
    let is_number =
        || word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(|c: char| c.is_ascii_alphabetic());
    match means_something.contains(&word.to_ascii_lowercase().as_str()) || is_number() {
        true => format!("\"{word}\""),
        false => word.to_owned(),
    }
}

/// The release of the parent that the system's platform numbers, as `platform:al8` does, else that of the same major
/// version, else the latest numbered one.
fn built_from<'r>(parent: &'r Record, os: &OsRelease, version: &ReleaseVersion) -> Option<&'r ReleaseVersion> {
    let platform = os.get("PLATFORM_ID").and_then(|id| id.strip_prefix("platform:")).unwrap_or_default();
    let platform = platform.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let majors = [platform, version.as_str()].map(|numbers| numbers.split('.').next().unwrap_or_default());
    let versions = || parent.releases.iter().map(|r| &r.version);
    let same = majors.into_iter().find_map(|major| versions().find(|version| **version == major));
    let mut numbered = versions().filter(|v| v.as_str().starts_with(|c: char| c.is_ascii_digit()));
    same.or_else(|| numbered.next_back()).or_else(|| versions().next_back())
}

/// The package manager whose database is there.
fn manager(root: &Root) -> PackageManager {
    let has = |program: &str| root.which(program).is_ok_and(|found| found.is_some());
    match Format::of(root).ok().flatten() {
        Some(Format::Rpm) if has("zypper") => PackageManager::Zypper,
        Some(Format::Rpm) if has("tdnf") => PackageManager::Tdnf,
        Some(format) => format.manager(),
        None => PackageManager::ImageBased,
    }
}
