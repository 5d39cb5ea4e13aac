//! Distros in the shape of real ones, made of Debian's binaries, because only Debian's packages can be had here.
//!
//! Each is a signed repository of packages with the names, splits, paths and scripts of the distro's own, and the
//! shipped record, unchanged, must fit it: from the bootstrap to verdicts, and to what is written back.
//! What comes of it says whether the way of a package manager leads there and whether the record has the shape right,
//! and nothing of the distro's own programs: such a run is stamped `shaped`.
//!
//! Root, mmdebstrap, Docker, gpg, xz, zstd, and a mirror or a warm cache are needed, and for the shapes of Fedora and
//! openSUSE dnf, rpm with rpmbuild and rpmsign, and createrepo_c, for Arch's pacman, repo-add, bsdtar and curl, for
//! Ubuntu's dpkg-deb.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod arch;
#[path = "../command/mod.rs"]
mod command;
mod debian;
mod debs;
mod fedora;
mod key;
mod pacmans;
mod rpms;
mod shape;
mod suse;
mod ubuntu;

use crate::key::Key;
use images::{ExtraPackage, Image, Options, prepare};
use model::arch::Arch;
use model::capability::Capability;
use model::database::Database;
use model::environment::Environment;
use model::verified::{Verdict, VerifiedEntry};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The profile under which machines are tried, of those that are maintained.
const PROFILE: &str = "go-3.32";
/// The other one. `.ci/run` has a shape under this and Debian under the first: both are in it, and no guest boots twice.
const OTHER_PROFILE: &str = "rs-4.1";

/// A distro in its shape.
struct Shaped {
    distro: &'static str,
    release: &'static str,
    /// Where it is brought up.
    environment: Environment,
    /// The profile under which it is tried, or all that are maintained.
    profile: Option<&'static str>,
    /// Debian's packages that it is made of besides those that the record of Debian names.
    besides: &'static [&'static str],
    /// The rules by which it is made.
    rules: &'static [&'static str],
    /// Makes its repositories of a tree.
    make: fn(&Path, &Repositories),
    /// The options that say where its repositories are.
    options: fn(&Path) -> Vec<String>,
    /// Packages of the record, how their versions begin and end, and their repositories.
    packages: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

/// Where a shape is, its key, and room to make it.
struct Repositories {
    repositories: PathBuf,
    key: PathBuf,
    work: PathBuf,
}

impl Repositories {
    fn below(folder: &Path) -> Repositories {
        let [repositories, key, work] = ["repositories", "key.asc", "work"].map(|name| folder.join(name));
        Repositories { repositories, key, work }
    }
}

const FEDORA: Shaped = Shaped {
    distro: "fedora",
    release: "44",
    environment: Environment::Container,
    profile: Some(OTHER_PROFILE),
    besides: &["rpm"],
    rules: &[include_str!("fedora.rs"), include_str!("rpms.rs")],
    make: |tree, at| rpms::repository(&fedora::packages(tree, &at.work), &at.repositories, &at.key, false),
    options: in_a_folder,
    packages: &[
        ("kernel-core", "6.", ".fc44", "mirror"),
        ("qemu-system-x86-core", "2:10.", ".fc44", "mirror"),
        ("virtiofsd", "1.", ".fc44", "mirror"),
    ],
};

/// The same with what makes a machine of it; a guest's boot costs most there.
const FEDORA_MACHINE: Shaped =
    Shaped { environment: Environment::Vm, profile: Some(PROFILE), besides: fedora::MACHINE, ..FEDORA };

const SUSE: Shaped = Shaped {
    distro: "opensuse",
    release: "16.0",
    environment: Environment::Container,
    profile: None,
    besides: &["rpm"],
    rules: &[include_str!("suse.rs"), include_str!("rpms.rs")],
    make: |tree, at| rpms::repository(&suse::packages(tree, &at.work), &at.repositories, &at.key, true),
    options: in_a_folder,
    packages: &[
        ("kernel-default", "6.", "-160000.1.1", "mirror"),
        ("qemu-x86", "10.", "-160000.1.1", "mirror"),
        ("virtiofsd", "1.", "-160000.1.1", "mirror"),
    ],
};

const ARCH: Shaped = Shaped {
    distro: "arch",
    release: "rolling",
    environment: Environment::Container,
    profile: None,
    besides: &["pacman-package-manager"],
    rules: &[include_str!("arch.rs"), include_str!("pacmans.rs")],
    make: |tree, at| {
        let all = arch::packages(tree, &at.work);
        pacmans::repositories(&all, &at.repositories, &at.key, arch::repository(&all));
    },
    options: in_a_folder,
    packages: &[
        ("linux", "6.", ".arch1-1", "core"),
        ("qemu-system-x86", "10.", "-1", "extra"),
        ("virtiofsd", "1.", "", "extra"),
    ],
};

const UBUNTU: Shaped = Shaped {
    distro: "ubuntu",
    release: "24.04",
    environment: Environment::Container,
    profile: None,
    besides: &["acl"],
    rules: &[include_str!("ubuntu.rs"), include_str!("debs.rs")],
    make: |tree, at| {
        let (key, keyring) = (Key::new(&at.key), at.work.join("keyring.gpg"));
        key.export(&keyring);
        let debs = ubuntu::packages(tree, &at.work, &keyring);
        debs::archive(&debs, &ubuntu::suites(), ubuntu::COMPONENTS, &key, &at.repositories);
    },
    options: |repositories| {
        let address = debs::serve(repositories);
        ["--mirror", "--security-mirror"].map(|option| format!("{option}={address}")).into()
    },
    packages: &[
        ("qemu-system-x86", "1:10.", "", "noble"),
        ("virtiofsd", "1.", "", "noble"),
        // What is newer than the release, and mends something, is in two pockets.
        ("linux-image-generic", "6.", "", "noble-updates, noble-security"),
    ],
};

/// Of repositories that are read where they lie.
fn in_a_folder(repositories: &Path) -> Vec<String> {
    vec![format!("--mirror=file://{}", repositories.display())]
}

impl Shaped {
    /// Its repositories: made once of the same packages by the same rules.
    fn repositories(&self) -> Repositories {
        let image = debian_with(self.besides);
        let mut digest = DefaultHasher::new();
        image.key().hash(&mut digest);
        [include_str!("debian.rs"), include_str!("key.rs"), include_str!("shape.rs")].hash(&mut digest);
        self.rules.hash(&mut digest);
        let name = format!("{}-{}", self.distro, self.environment);
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaped").join(name);
        let folder = all.join(format!("{}-{:016x}", self.release, digest.finish()));
        if !folder.exists() {
            // What was made of other packages, or not to its end.
            let _ = std::fs::remove_dir_all(&all);
            let half = Repositories::below(&all.join("half"));
            for folder in [&half.repositories, &half.work] {
                std::fs::create_dir_all(folder).unwrap();
            }
            (self.make)(&image.rootfs(), &half);
            std::fs::remove_dir_all(&half.work).unwrap();
            std::fs::rename(all.join("half"), &folder).unwrap();
        }
        Repositories::below(&folder)
    }

    /// Qualifies the release of the shipped record with these repositories, and gives the image that was made of them.
    fn qualifies(&self) -> Image {
        let at = self.repositories();
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [out, records] = ["out", "records"].map(|name| place.path().join(name));
        std::fs::create_dir(&records).unwrap();
        let name = format!("{}:{}", self.distro, self.release);
        let mut run = command::kata_qualify(place.path());
        // What is served on the loopback is not to be fetched through this machine's proxy.
        run.env("KATA_QUALIFY_CACHE", cache()).env("no_proxy", "127.0.0.1");
        run.args(["run", &name, "--in", self.environment.name(), "--write-back"]);
        if let Some(profile) = self.profile {
            run.args(["--profile", profile]);
        }
        run.args((self.options)(&at.repositories)).arg("--mirror-key").arg(&at.key);
        run.arg("--out").arg(&out).arg("--records").arg(&records);
        let ended = command::end(&mut run);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);

        // The evidence: packages at their whole versions, of these repositories, and the stamp.
        let results = command::results(&out);
        assert_eq!(results["shaped"], true);
        assert!(ended.stdout.contains("The run is shaped: "), "{}", ended.stdout);
        let cell = command::cell(&results, &format!("{name}/"));
        assert_eq!(command::errors(cell), [""; 0]);
        for (package, begins, ends, repository) in self.packages {
            let version = cell["facts"]["versions"][package].as_str().unwrap_or_default();
            assert!(version.starts_with(begins) && version.ends_with(ends), "{package} {version}");
            assert_eq!(cell["facts"]["suites"][package], *repository, "{package}");
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
        match self.environment {
            Environment::Container => self.is_written_back(&records),
            _ => self.boots(&records),
        }
        // Its disk is an image, too, without a tree.
        let is_its = |image: &Image| image.manifest.distro == self.distro && image.manifest.derived_from.is_none();
        let made = images::cache::list(&cache()).into_iter().filter(is_its);
        let image = made.max_by_key(|image| image.made).unwrap();
        assert_eq!(cell["facts"]["kernel"], kernel_of(&image).as_str());
        image
    }

    /// What is written back, stamped.
    fn written(&self, records: &Path) -> Vec<VerifiedEntry> {
        let database = Database::load(&[records.to_owned()]).unwrap();
        let written = verified(&database, self.distro, self.release, self.environment);
        assert!(!written.is_empty() && written.iter().all(|entry| entry.shaped), "{written:?}");
        written
    }

    /// Its kernel and init make a host of it, and guests of the same kernel run there with the daemon beside them.
    fn boots(&self, records: &Path) {
        for entry in self.written(records) {
            for capability in
                [Capability::KernelHost, Capability::VmmBoot, Capability::KernelGuest, Capability::FsVirtioFs]
            {
                let found = entry.capabilities.get(&capability).map(|c| (c.verdict, &c.causes));
                assert_eq!(found, Some((Verdict::Supported, &Vec::new())), "{} {capability}", entry.profile);
            }
        }
    }

    /// What Debian 13 shows, these binaries of it show, too; and it is written back.
    fn is_written_back(&self, records: &Path) {
        let written = self.written(records);
        let debian = verified(&Database::embedded(), "debian", "13", self.environment);
        let mut compared = 0;
        for entry in &written {
            // Each run that judged a part has an entry.
            let of_debian = debian.iter().filter(|other| other.profile == entry.profile);
            let all = of_debian.flat_map(|other| &other.capabilities);
            for (capability, shown) in all.filter(|(_, c)| c.verdict == Verdict::Supported) {
                // The shapes of openSUSE and Arch have no second user: theirs are made by services that they lack.
                let needs_users = [Capability::FsVirtioFsPosix, Capability::FsVirtioBlkPosix].contains(capability);
                let told = entry.capabilities.get(capability).is_some_and(|c| {
                    c.verdict == Verdict::Untested
                        && c.causes.iter().any(|cause| cause.message.contains("needs two users"))
                });
                if needs_users && told && ["opensuse", "arch"].contains(&self.distro) {
                    continue;
                }
                let found = entry.capabilities.get(capability).map(|c| (c.verdict, &c.causes));
                assert_eq!(found, Some((shown.verdict, &shown.causes)), "{} {capability}", entry.profile);
                compared += 1;
            }
        }
        assert!(compared > 10, "{compared} capabilities were compared");
    }
}

fn cache() -> PathBuf {
    std::path::absolute(command::cache()).unwrap()
}

/// Debian 13 with some packages more: what packages are made of.
fn debian_with(packages: &[&str]) -> Image {
    let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    let more: Vec<ExtraPackage> = packages.iter().map(|package| package.parse().unwrap()).collect();
    let options = Options { accept_expired: true, extra_packages: more, ..Options::new(cache()) };
    prepare(&release, &options, &|_| {}).unwrap_or_else(|e| panic!("no image of debian:13 with {packages:?}: {e}"))
}

/// What runs in such an environment have found of a release.
fn verified(database: &Database, distro: &str, release: &str, environment: Environment) -> Vec<VerifiedEntry> {
    let entries = database.record(distro).unwrap().verified.iter();
    let is_it = |entry: &&VerifiedEntry| entry.release == release && entry.environment == environment;
    entries.filter(is_it).cloned().collect()
}

/// The packages of an image with a property.
fn packages_that(image: &Image, is_one: impl Fn(&str) -> bool) -> Vec<&str> {
    image.manifest.packages.iter().map(|package| package.name.as_str()).filter(|name| is_one(name)).collect()
}

#[test]
#[ignore = "takes minutes: .ci/run"]
fn the_shipped_record_of_fedora_fits_a_repository_in_fedoras_shape() {
    let image = FEDORA.qualifies();
    // The record does not ask for QEMU's modules.
    assert_eq!(packages_that(&image, fedora::is_qemu_module), [""; 0]);
    assert_eq!(image.manifest.package("qemu-common").unwrap().source, "qemu");
}

/// From the repository to a disk with an initrd of its own dracut, and to guests of that machine.
#[test]
#[ignore = "takes many minutes: .ci/nightly"]
fn a_machine_is_made_of_a_repository_in_fedoras_shape() {
    FEDORA_MACHINE.qualifies();
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_opensuse_fits_a_repository_in_opensuses_shape() {
    let image = SUSE.qualifies();
    // What is recommended is not what is qualified.
    let is_recommended = |name: &str| suse::is_qemu_module(name) || name == "qemu-tools";
    assert_eq!(packages_that(&image, is_recommended), [""; 0]);
    assert_eq!(image.manifest.package("qemu-seabios").unwrap().source, "qemu");
    // The kernel's script has been there.
    let linked = std::fs::read_link(image.rootfs().join("boot/vmlinuz")).unwrap();
    let kernel = linked.to_str().unwrap().trim_start_matches("vmlinuz-");
    let image_of_it = std::fs::read_link(image.rootfs().join("boot").join(&linked)).unwrap();
    assert_eq!(image_of_it, Path::new(&format!("../usr/lib/modules/{kernel}/vmlinuz")));
    assert!(modules(&image, kernel).contains(".ko.zst:"), "its modules are not compressed by zstd");
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_arch_fits_a_mirror_in_archs_shape() {
    let image = ARCH.qualifies();
    let is_not_asked_for = |name: &str| arch::is_qemu_module(name) || name == "qemu-base";
    assert_eq!(packages_that(&image, is_not_asked_for), [""; 0]);
    assert_eq!(image.manifest.package("qemu-system-x86-firmware").unwrap().source, "qemu");
    let suites: Vec<&str> = image.manifest.indexes.iter().map(|index| index.suite.as_str()).collect();
    assert_eq!(suites, ["core", "extra"]);
    // kmod's hook was run, and mkinitcpio's was not, which nobody needs here.
    assert!(modules(&image, &kernel_of(&image)).contains(".ko.zst:"), "its modules are not compressed by zstd");
    assert!(image.rootfs().join("usr/share/libalpm/hooks/90-mkinitcpio-install.hook").exists());
    assert!(!image.rootfs().join("boot/vmlinuz-linux").exists());
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_ubuntu_fits_an_archive_in_ubuntus_shape() {
    let image = UBUNTU.qualifies();
    let has = |package: &str| image.manifest.package(package).is_some();
    assert!(has("ubuntu-keyring") && has("acl") && has("linux-firmware"));
    assert!(!has("initramfs-tools") && !has("linux-image-virtual"), "what nothing asks for is not installed");
    // The kernel is what Ubuntu's packages make of it: for root alone, and its index is of all its modules.
    let kernel = kernel_of(&image);
    assert!(has(&format!("linux-modules-extra-{kernel}")));
    let meta = image.rootfs().join(format!("boot/vmlinuz-{kernel}")).metadata().unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let index = modules(&image, &kernel);
    for module in ["kernel/drivers/nvdimm/nd_pmem.ko.zst:", "kernel/net/vmw_vsock/vsock.ko.zst:"] {
        assert!(index.lines().any(|line| line.starts_with(module)), "{module} {kernel}");
    }
}

/// The only kernel of an image, by its modules.
fn kernel_of(image: &Image) -> String {
    let folders = std::fs::read_dir(image.rootfs().join("usr/lib/modules")).unwrap();
    let mut kernels: Vec<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(kernels.len(), 1, "{kernels:?}");
    kernels.remove(0)
}

/// What depmod has found of a kernel in an image.
fn modules(image: &Image, kernel: &str) -> String {
    let file = image.rootfs().join("usr/lib/modules").join(kernel).join("modules.dep");
    std::fs::read_to_string(file).unwrap()
}
