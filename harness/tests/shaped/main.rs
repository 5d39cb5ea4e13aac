//! Distros in the shape of real ones, made of Debian's binaries, because only Debian's packages can be had here.
//!
//! Each is a signed repository of packages with the names, splits, paths and scripts of the distro's own, and the
//! shipped record, unchanged, must fit it: from the bootstrap to verdicts, and to what is written back.
//! What comes of it says whether the way of a package manager leads there and whether the record has the shape right,
//! and nothing of the distro's own programs: such a run is stamped `shaped`.
//!
//! Root, mmdebstrap, Docker, dnf, rpm with rpmbuild and rpmsign, createrepo_c, dpkg-deb, xz, zstd, gpg, and a mirror or a
//! warm cache are needed.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

#[path = "../command/mod.rs"]
mod command;
mod debian;
mod debs;
mod fedora;
mod rpms;
mod ubuntu;

use images::{ExtraPackage, Image, Options, prepare};
use model::arch::Arch;
use model::database::Database;
use model::environment::Environment;
use model::verified::{Verdict, VerifiedEntry};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn cache() -> PathBuf {
    std::path::absolute(command::cache()).unwrap()
}

/// Debian 13 with a package more: what packages are made of.
fn debian_with(package: &str) -> Image {
    let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    let more: ExtraPackage = package.parse().unwrap();
    let options = Options { accept_expired: true, extra_packages: vec![more], ..Options::new(cache()) };
    prepare(&release, &options, &|_| {}).unwrap_or_else(|e| panic!("no image of debian:13 with {package}: {e}"))
}

/// A repository: made once of the same packages by the same rules, which are these files.
fn repository(name: &str, image: &Image, rules: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let mut digest = DefaultHasher::new();
    image.key().hash(&mut digest);
    rules.hash(&mut digest);
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaped").join(name);
    let folder = all.join(format!("{:016x}", digest.finish()));
    if !folder.exists() {
        // What was made of other packages, or not to its end.
        let _ = std::fs::remove_dir_all(&all);
        let half = all.join("half");
        std::fs::create_dir_all(&half).unwrap();
        make(&half);
        std::fs::rename(&half, &folder).unwrap();
    }
    folder
}

/// The repository in Fedora's shape.
fn fedora() -> PathBuf {
    let image = debian_with("rpm");
    let rules = [include_str!("debian.rs"), include_str!("fedora.rs"), include_str!("rpms.rs")];
    repository("fedora-44", &image, &rules, |to| rpms::repository(&fedora::packages(&image.rootfs()), to))
}

/// The name of the public key in the folder of Ubuntu's archive.
const UBUNTU_KEY: &str = "ubuntu-archive-keyring.gpg";

/// The archive in Ubuntu's shape.
fn ubuntu() -> PathBuf {
    let image = debian_with("acl");
    let rules = [
        include_str!("debian.rs"),
        include_str!("debs.rs"),
        include_str!("fedora.rs"),
        include_str!("rpms.rs"),
        include_str!("ubuntu.rs"),
    ];
    repository("ubuntu-24.04", &image, &rules, |to| {
        let (key, public, work) = (debs::Key::new(), to.join(UBUNTU_KEY), to.join(".work"));
        key.export(&public);
        std::fs::create_dir(&work).unwrap();
        let debs = ubuntu::packages(&image.rootfs(), &work, &public);
        debs::archive(&debs, &ubuntu::suites(), ubuntu::COMPONENTS, &key, to);
        std::fs::remove_dir_all(&work).unwrap();
    })
}

/// What runs in containers have found of a release.
fn verified(database: &Database, distro: &str, release: &str) -> Vec<VerifiedEntry> {
    let entries = database.record(distro).unwrap().verified.iter();
    let is_it = |entry: &&VerifiedEntry| entry.release == release && entry.environment == Environment::Container;
    entries.filter(is_it).cloned().collect()
}

/// The newest image of a distro in the cache.
fn newest_image(distro: &str) -> Image {
    let made = images::cache::list(&cache()).into_iter().filter(|image| image.manifest.distro == distro);
    made.max_by_key(|image| image.made).unwrap()
}

/// Runs the shipped record of a release with these options, and checks what holds in every shape: the evidence, what
/// smoke tests say, what is written back. `versions` are packages, how their versions begin, and the suites that have them.
fn fits(distro: &str, release: &str, options: &[String], versions: &[(&str, &str, &str)]) -> Value {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [out, records] = ["out", "records"].map(|name| place.path().join(name));
    std::fs::create_dir(&records).unwrap();
    let name = format!("{distro}:{release}");
    let mut run = command::kata_qualify(place.path());
    // What is served on the loopback is not to be fetched through this machine's proxy.
    run.env("KATA_QUALIFY_CACHE", cache()).env("no_proxy", "127.0.0.1");
    run.args(["run", name.as_str(), "--in", "container", "--write-back"]).args(options);
    run.arg("--out").arg(&out).arg("--records").arg(&records);
    let ended = command::end(&mut run);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);

    // The evidence: packages at their whole versions, of these repositories, and the stamp.
    let results = command::results(&out);
    assert_eq!(results["shaped"], true);
    assert!(ended.stdout.contains("The run is shaped: "), "{}", ended.stdout);
    let cell = command::cell(&results, &format!("{name}/"));
    assert_eq!(command::errors(cell), [""; 0]);
    for (package, begins, suites) in versions {
        let version = cell["facts"]["versions"][package].as_str().unwrap_or_default();
        assert!(version.starts_with(begins), "{package} {version}");
        assert_eq!(cell["facts"]["suites"][package], *suites, "{package}");
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

    // What Debian 13 shows, these binaries of it show, too; and it is written back, stamped.
    let written = verified(&Database::load(&[records]).unwrap(), distro, release);
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
    cell.clone()
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_fedora_fits_a_repository_in_fedoras_shape() {
    let repository = fedora();
    let key = repository.join(rpms::KEY).display().to_string();
    let options = ["--mirror".to_owned(), format!("file://{}", repository.display()), "--mirror-key".to_owned(), key];
    let versions =
        [("qemu-system-x86-core", "2:10.", "mirror"), ("virtiofsd", "1.", "mirror"), ("kernel-core", "6.", "mirror")];
    let cell = fits("fedora", "44", &options, &versions);
    for (package, ..) in versions {
        let version = cell["facts"]["versions"][package].as_str().unwrap_or_default();
        assert!(version.ends_with(".fc44"), "{package} {version}");
    }
    // The record does not ask for QEMU's modules, nor for the kernel's other ones.
    let image = newest_image("fedora");
    let modules = image.manifest.packages.iter().filter(|package| fedora::is_qemu_module(&package.name));
    assert_eq!(modules.map(|package| package.name.as_str()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(image.manifest.package("qemu-common").unwrap().source, "qemu");
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_ubuntu_fits_an_archive_in_ubuntus_shape() {
    let archive = ubuntu();
    let (address, key) = (debs::serve(&archive), archive.join(UBUNTU_KEY).display().to_string());
    let given = [("--mirror", &address), ("--security-mirror", &address), ("--mirror-key", &key)];
    let options = given.map(|(option, value)| format!("{option}={value}"));
    let versions = [
        ("qemu-system-x86", "1:10.", "noble"),
        ("virtiofsd", "1.", "noble"),
        // What is newer than the release, and mends something, is in two pockets.
        ("linux-image-generic", "6.", "noble-updates, noble-security"),
    ];
    let cell = fits("ubuntu", "24.04", &options, &versions);

    let image = newest_image("ubuntu");
    let has = |package: &str| image.manifest.package(package).is_some();
    assert!(has("ubuntu-keyring") && has("acl") && has("linux-firmware"));
    assert!(!has("initramfs-tools") && !has("linux-image-virtual"), "what nothing asks for is not installed");
    // The kernel is what Ubuntu's packages make of it: for root alone, and its index is of all its modules.
    let kernel = cell["facts"]["kernel"].as_str().unwrap();
    assert!(has(&format!("linux-modules-extra-{kernel}")));
    let root = image.rootfs();
    let meta = root.join(format!("boot/vmlinuz-{kernel}")).metadata().unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let index = std::fs::read_to_string(root.join(format!("usr/lib/modules/{kernel}/modules.dep"))).unwrap();
    for module in ["kernel/drivers/nvdimm/nd_pmem.ko.zst:", "kernel/net/vmw_vsock/vsock.ko.zst:"] {
        assert!(index.lines().any(|line| line.starts_with(module)), "{module} {kernel}");
    }
}
