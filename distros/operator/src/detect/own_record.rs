//! Proposes a record that the admin can add so that an unknown system is detected.

use super::{Detection, FoundBy, Platform};
use crate::os_release::OsRelease;
use crate::packages::Format;
use model::arch::Arch;
use model::database::Database;
use model::distro::{DistroId, ReleaseVersion};
use model::package_manager::PackageManager;
use model::record::Record;
use root::Root;

/// A record to write; with it, the system is detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRecord {
    /// The file's name in `/etc/kata-osinfo`.
    pub file: String,
    /// Its content, one key per line.
    pub lines: Vec<String>,
}

/// Returns the record that lets the system in `root` be detected, after `found` had no release for it.
///
/// For a distro with a record, it adds the release. For a relative's system, it names the release that the system is
/// built from, and for others the package manager. These are guesses for the admin to check: inherited facts are marked
/// as assumed. `None` if the system's names are not valid in a record, or if the system may not borrow any record.
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

/// Returns the version of the system's release for a record, `rolling` if it has neither version nor codename; `None`
/// if a record cannot have the version.
fn version(os: &OsRelease) -> Option<ReleaseVersion> {
    let version = match os.get("VERSION_ID") {
        Some(version) if version.contains("_alpha") => "edge",
        Some(version) => version,
        None => os.get("VERSION_CODENAME").unwrap_or("rolling"),
    };
    // In YAML, a `~` alone means null.
    let is_a_word = version.starts_with(|c: char| c.is_ascii_alphanumeric()) && !version.contains('~');
    version.parse().ok().filter(|_| is_a_word)
}

/// Formats a plain word as a YAML scalar, with quotes if YAML would not read it as text.
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

/// Returns the package manager whose database exists.
fn manager(root: &Root) -> PackageManager {
    let has = |program: &str| root.which(program).is_ok_and(|found| found.is_some());
    match Format::of(root).ok().flatten() {
        Some(Format::Rpm) if has("zypper") => PackageManager::Zypper,
        Some(Format::Rpm) if has("tdnf") => PackageManager::Tdnf,
        Some(format) => format.manager(),
        None => PackageManager::ImageBased,
    }
}
