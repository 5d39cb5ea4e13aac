//! The question who vouches for the contents of an image: the distro, or the caller.

use crate::cli::UsageError;
use crate::cli::arguments::ImageArguments;
use model::database::Database;
use model::distro::DistroId;
use model::release::Release;
use std::path::Path;

/// Returns what vouches for the packages of `releases` instead of the distro, if anything does: the caller's keys; the
/// caller's image, which brings packages, and for most distros the repositories and their keys, too; the caller's
/// repository; or the caller's records, if by them a release comes from another source than by the shipped ones.
///
/// A checksum identifies an image, but not its author: the caller names both. No shipped record has the checksum of an
/// image.
pub(super) fn caller_source(images: &ImageArguments, records: Option<&Path>, releases: &[Release]) -> Option<String> {
    by_options(images).or_else(|| releases.iter().find_map(|release| by_mirror(images, release))).or_else(|| {
        // Without a directory the records are the shipped ones.
        let shipped = ShippedRecords::under(records)?;
        releases.iter().find_map(|release| shipped.differ(release))
    })
}

/// Returns which of the options names keys or an image that vouch instead of the distro, for any release.
pub(super) fn by_options(images: &ImageArguments) -> Option<String> {
    if !images.mirror_keys.is_empty() {
        return Some("the packages are vouched for by keys given with --mirror-key".to_owned());
    }
    let handed_over = [("--cloud-image", &images.cloud_image), ("--oci-image", &images.oci_image)];
    let (option, _) = handed_over.into_iter().find(|(_, value)| value.is_some())?;
    Some(format!("nobody but you vouches for the image given with {option}"))
}

/// Returns a reason if the caller's mirror decides which packages are the release's.
///
/// Such a mirror can be any folder, for example one of updates that are still tested and that the same key has signed.
pub(super) fn by_mirror(images: &ImageArguments, release: &Release) -> Option<String> {
    let mirrors = [("--mirror", &images.mirror), ("--security-mirror", &images.security_mirror)];
    let (option, _) = mirrors.into_iter().find(|(_, mirror)| mirror.is_some())?;
    let name = release.name();
    (!release.package_manager.has_index_of_one_release()).then(|| {
        format!("only you say that the packages below {option} are those of {name}: its key also signs other packages")
    })
}

/// The shipped records, over which the caller's are layered.
pub(super) struct ShippedRecords(Database);

impl ShippedRecords {
    /// Returns the shipped records; `None` if no directory is given.
    pub(super) fn under(records: Option<&Path>) -> Option<ShippedRecords> {
        records.map(|_| ShippedRecords(Database::embedded()))
    }

    /// Returns a reason if the caller's records give a release another source than the shipped ones.
    pub(super) fn differ(&self, release: &Release) -> Option<String> {
        let record = self.0.record(&release.distro).ok();
        let known = record.and_then(|record| record.release(&release.version, release.arch).ok());
        let is_from_there = known.is_some_and(|known| {
            known.oci_image == release.oci_image
                && known.suites == release.suites
                && known.repositories == release.repositories
                && known.modules == release.modules
                && known.package_manager == release.package_manager
                && known.based_on == release.based_on
                && known.codename == release.codename
        });
        let name = release.name();
        (!is_from_there).then(|| format!("your own records, not the shipped ones, say where {name} comes from"))
    }
}

/// Refuses to write results for which only the caller vouches into the shipped records, which are about distros' own
/// packages.
pub(super) fn is_not_shipped(what: &str, records: Option<&Path>) -> Result<(), UsageError> {
    let why = format!("--write-back: {what}, but the shipped records are about each distro's own packages");
    let Some(folder) = records else {
        return Err(UsageError(format!("{why}; name a folder of your own with --records")));
    };
    // A caller's directory changes some records; only the repository has all of them.
    let shipped = Database::embedded();
    let is_there = |distro: &DistroId| folder.join(format!("{distro}.yaml")).exists();
    match shipped.records().all(|record| is_there(&record.distro)) {
        true => Err(UsageError(format!(
            "{why}; {} contains the shipped records, name another folder with --records",
            folder.display()
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;
    use model::arch::Arch;

    fn images(more: &[&str]) -> ImageArguments {
        let words = [&["kata-qualify", "run", "debian:13"], more].concat();
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
        arguments.images.clone()
    }

    #[test]
    fn a_given_image_is_the_callers_even_with_a_checksum() {
        let sum = format!("#sha256:{}", "0".repeat(64));
        let vouched = |more: &[&str]| caller_source(&images(more), None, &[]);
        assert_eq!(vouched(&[]), None);
        assert_eq!(vouched(&["--source", "oci", "--mirror", "http://a.example/debian"]), None);
        for (option, file) in [("--oci-image", "x.tar"), ("--cloud-image", "x.qcow2")] {
            let named = format!("{file}{sum}");
            for image in [file, &named] {
                assert!(vouched(&[option, image]).unwrap().contains(option), "{image}");
            }
            let with_key = vouched(&[option, &named, "--mirror", "file:///m", "--mirror-key", "k"]);
            assert!(with_key.unwrap().contains("--mirror-key"));
        }
    }

    #[test]
    fn a_mirror_of_packages_that_any_release_may_have_is_the_callers() {
        let database = Database::embedded();
        let by = |target: &str, more: &[&str]| {
            let (distro, version) = target.split_once(':').unwrap();
            let release = database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
            caller_source(&images(more), None, &[release])
        };
        for option in ["--mirror", "--security-mirror"] {
            let more = [option, "http://mirror.example/updates/testing/44"];
            for target in ["fedora:44", "opensuse:16.0", "azurelinux:3.0", "arch:rolling", "alpine:3.22"] {
                let why = by(target, &more).unwrap_or_default();
                assert!(why.contains(option) && why.contains(target), "{target}: {why}");
                assert_eq!(by(target, &[]), None, "{target}");
            }
            assert_eq!(by("debian:13", &more), None, "apt's indexes are of one release");
        }
    }

    /// Records that change packages and paths are corrections; records that change the sources are the caller's.
    #[test]
    fn records_with_other_sources_are_the_callers_but_corrections_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let by = |name: &str, text: &str, target: &str| {
            let folder = tempfile::tempdir_in(dir.path()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.yaml")), format!("distro: {name}\n{text}\n")).unwrap();
            let database = Database::load(&[folder.path().to_owned()]).unwrap();
            assert!(database.problems().is_empty(), "{:?}", database.problems());
            let release = database.record(name).unwrap().release(target, Arch::X86_64).unwrap();
            caller_source(&images(&[]), Some(folder.path()), &[release])
        };
        for text in [
            "releases: [{version: 44, image: registry.evil.example/fedora:44}]",
            "releases: [{version: 44, repositories: [theirs]}]",
            "releases: [{version: 44, modules: ['virt:theirs']}]",
        ] {
            let reason = by("fedora", text, "44").unwrap();
            assert!(reason.contains("fedora:44"), "{text}: {reason}");
        }
        assert!(by("debian", "releases: [{version: 13, suites: trixie-theirs}]", "13").is_some());
        let new = "package-manager: apt\narch: x86_64\nreleases: [{version: 1, suites: mine}]";
        assert!(by("mine", new, "1").is_some(), "no shipped record says where it comes from");
        for text in ["vmm: {name: qemu, path: /usr/bin/qemu}", "releases: [{version: 44, eol: 2099-01-01}]"] {
            assert_eq!(by("fedora", text, "44"), None, "{text}");
        }
    }
}
