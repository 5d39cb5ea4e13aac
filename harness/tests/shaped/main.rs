//! Distros in the shape of real ones, made of Debian's binaries, because only Debian's packages can be had here.
//!
//! Each is a signed repository of packages with the names, splits, paths and scripts of the distro's own, and the
//! shipped record, unchanged, must fit it: from the bootstrap to verdicts, and to what is written back.
//! What comes of it says whether the way of a package manager leads there and whether the record has the shape right,
//! and nothing of the distro's own programs: such a run is stamped `shaped`.
//!
//! Root, mmdebstrap, Docker, dnf, rpm with rpmbuild and rpmsign, createrepo_c, gpg, and a mirror or a warm cache are
//! needed.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

#[path = "../command/mod.rs"]
mod command;
mod debian;
mod fedora;
mod rpms;

use images::{ExtraPackage, Image, Options, prepare};
use model::arch::Arch;
use model::database::Database;
use model::environment::Environment;
use model::verified::{Verdict, VerifiedEntry};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

fn cache() -> PathBuf {
    std::path::absolute(command::cache()).unwrap()
}

/// Debian 13 with rpm: what packages are made of.
fn debian_with_rpm() -> Image {
    let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    let rpm: ExtraPackage = "rpm".parse().unwrap();
    let options = Options { accept_expired: true, extra_packages: vec![rpm], ..Options::new(cache()) };
    prepare(&release, &options, &|_| {}).unwrap_or_else(|e| panic!("no image of debian:13 with rpm: {e}"))
}

/// The repository in Fedora's shape: made once of the same packages by the same rules.
fn fedora() -> PathBuf {
    let image = debian_with_rpm();
    let mut digest = DefaultHasher::new();
    image.key().hash(&mut digest);
    [include_str!("debian.rs"), include_str!("fedora.rs"), include_str!("rpms.rs")].hash(&mut digest);
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaped");
    let folder = all.join(format!("fedora-44-{:016x}", digest.finish()));
    if !folder.exists() {
        // What was made of other packages, or not to its end.
        let _ = std::fs::remove_dir_all(&all);
        let half = all.join("half");
        std::fs::create_dir_all(&half).unwrap();
        rpms::repository(&fedora::packages(&image.rootfs()), &half);
        std::fs::rename(&half, &folder).unwrap();
    }
    folder
}

/// What runs in containers have found of a release.
fn verified(database: &Database, distro: &str, release: &str) -> Vec<VerifiedEntry> {
    let entries = database.record(distro).unwrap().verified.iter();
    let is_it = |entry: &&VerifiedEntry| entry.release == release && entry.environment == Environment::Container;
    entries.filter(is_it).cloned().collect()
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_fedora_fits_a_repository_in_fedoras_shape() {
    let repository = fedora();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [out, records] = ["out", "records"].map(|name| place.path().join(name));
    std::fs::create_dir(&records).unwrap();
    let mut run = command::kata_qualify(place.path());
    run.env("KATA_QUALIFY_CACHE", cache()).args(["run", "fedora:44", "--in", "container", "--write-back"]);
    run.arg("--mirror").arg(format!("file://{}", repository.display()));
    run.arg("--mirror-key").arg(repository.join(rpms::KEY));
    run.arg("--out").arg(&out).arg("--records").arg(&records);
    let ended = command::end(&mut run);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);

    // The evidence: RPMs at their whole versions, of the one repository, and the stamp.
    let results = command::results(&out);
    assert_eq!(results["shaped"], true);
    assert!(ended.stdout.contains("The run is shaped: "), "{}", ended.stdout);
    let cell = command::cell(&results, "fedora:44/");
    assert_eq!(command::errors(cell), [""; 0]);
    for (package, begins) in [("qemu-system-x86-core", "2:10."), ("virtiofsd", "1."), ("kernel-core", "6.")] {
        let version = cell["facts"]["versions"][package].as_str().unwrap_or_default();
        assert!(version.starts_with(begins) && version.ends_with(".fc44"), "{package} {version}");
        assert_eq!(cell["facts"]["suites"][package], "mirror", "{package}");
    }
    let outcomes = command::outcomes(cell);
    for test in [
        "packages_are_installed",
        "qemu_is_where_the_record_says",
        "virtiofsd_is_where_the_record_says",
        "binaries_belong_to_the_packages_named",
    ] {
        let of_test = outcomes.iter().filter(|(name, _)| name.ends_with(&format!(" smoke::{test}")));
        let of_test: Vec<&str> = of_test.map(|(_, outcome)| outcome.as_str()).collect();
        assert!(!of_test.is_empty() && of_test.iter().all(|outcome| *outcome == "pass"), "{test}: {of_test:?}");
    }
    // The record does not ask for QEMU's modules, nor for the kernel's other ones.
    let made = images::cache::list(&cache()).into_iter().filter(|image| image.manifest.distro == "fedora");
    let image = made.max_by_key(|image| image.made).unwrap();
    let modules = image.manifest.packages.iter().filter(|package| fedora::is_qemu_module(&package.name));
    assert_eq!(modules.map(|package| package.name.as_str()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(image.manifest.package("qemu-common").unwrap().source, "qemu");

    // What Debian 13 shows, these binaries of it show, too; and it is written back, stamped.
    let written = verified(&Database::load(&[records]).unwrap(), "fedora", "44");
    assert!(!written.is_empty() && written.iter().all(|entry| entry.shaped), "{written:?}");
    let debian = verified(&Database::embedded(), "debian", "13");
    let mut compared = 0;
    for entry in &written {
        let Some(of_debian) = debian.iter().find(|other| other.profile == entry.profile) else { continue };
        for (capability, shown) in of_debian.capabilities.iter().filter(|(_, c)| c.verdict == Verdict::Supported) {
            let found = entry.capabilities.get(capability).map(|c| (c.verdict, &c.causes));
            assert_eq!(found, Some((shown.verdict, &shown.causes)), "{} {capability}", entry.profile);
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared} capabilities were compared");
}
