//! Distros in the shape of real ones, made from Debian's binaries, because only Debian's packages are available here.
//!
//! Each is a signed repository of packages with the names, splits, paths and scripts of the real distro. The shipped
//! record, unchanged, must fit it from the bootstrap to the verdicts and to the write-back.
//! Such a run shows whether the package manager's code path works and whether the record has the right shape. It shows
//! nothing about the distro's own programs, so the run is stamped `shaped`.
//!
//! Needed are root, mmdebstrap, Docker, gpg, xz, zstd, and a mirror or a warm cache; for Fedora and openSUSE also dnf,
//! rpm with rpmbuild and rpmsign, and createrepo_c; for Arch pacman, repo-add, bsdtar and curl; for Ubuntu dpkg-deb.

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
use model::component::Component;
use model::database::Database;
use model::environment::Environment;
use model::verified::{Verdict, VerifiedEntry};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The maintained profile under which machines are tested.
const PROFILE: &str = "go-3.32";
/// The other maintained profile. `.ci/run` tests a shape under this one and Debian under [`PROFILE`], so that both are
/// covered and no guest boots twice.
const OTHER_PROFILE: &str = "rs-4.1";

/// A distro in its real shape.
struct Shaped {
    distro: &'static str,
    release: &'static str,
    /// The environment in which the distro is tested.
    environment: Environment,
    /// The profile under which the distro is tested; `None` for all maintained profiles.
    profile: Option<&'static str>,
    /// Debian's packages from which the shape is made, in addition to those of Debian's record.
    extra_packages_of_debian: &'static [&'static str],
    /// Source texts of the rules that make the shape; a change rebuilds it.
    rules: &'static [&'static str],
    /// Builds the repositories from a tree.
    make: fn(&Path, &Repositories),
    /// Returns the options for the repositories' locations.
    options: fn(&Path) -> Vec<String>,
    /// Packages of the record, the beginning and the end of their versions, and their repositories.
    packages: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

/// Paths of a shape's repositories, of its key, and of a work directory.
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
    extra_packages_of_debian: &["rpm"],
    rules: &[include_str!("fedora.rs"), include_str!("rpms.rs")],
    make: |tree, at| rpms::repository(&fedora::packages(tree, &at.work), &at.repositories, &at.key, false),
    options: folder_options,
    packages: &[
        ("kernel-core", "6.", ".fc44", "mirror"),
        ("qemu-system-x86-core", "2:10.", ".fc44", "mirror"),
        ("virtiofsd", "1.", ".fc44", "mirror"),
    ],
};

/// Fedora as a machine, under one profile only because booting a guest there costs most.
const FEDORA_MACHINE: Shaped = Shaped {
    environment: Environment::Vm,
    profile: Some(PROFILE),
    extra_packages_of_debian: fedora::MACHINE,
    ..FEDORA
};

const SUSE: Shaped = Shaped {
    distro: "opensuse",
    release: "16.0",
    environment: Environment::Container,
    profile: None,
    extra_packages_of_debian: &["rpm"],
    rules: &[include_str!("suse.rs"), include_str!("rpms.rs")],
    make: |tree, at| rpms::repository(&suse::packages(tree, &at.work), &at.repositories, &at.key, true),
    options: folder_options,
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
    extra_packages_of_debian: &["pacman-package-manager"],
    rules: &[include_str!("arch.rs"), include_str!("pacmans.rs")],
    make: |tree, at| {
        let all = arch::packages(tree, &at.work);
        pacmans::repositories(&all, &at.repositories, &at.key, arch::repository(&all));
    },
    options: folder_options,
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
    extra_packages_of_debian: &["acl"],
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
        // Bug fixes after the release are in two pockets.
        ("linux-image-generic", "6.", "", "noble-updates, noble-security"),
    ],
};

/// Returns the options for repositories that are read from a local directory.
fn folder_options(repositories: &Path) -> Vec<String> {
    vec![format!("--mirror=file://{}", repositories.display())]
}

impl Shaped {
    /// Returns the repositories, which are made only once for the same packages and rules.
    fn repositories(&self) -> Repositories {
        let image = debian_with(self.extra_packages_of_debian);
        let mut digest = DefaultHasher::new();
        image.key().hash(&mut digest);
        [include_str!("debian.rs"), include_str!("key.rs"), include_str!("shape.rs")].hash(&mut digest);
        self.rules.hash(&mut digest);
        let name = format!("{}-{}", self.distro, self.environment);
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaped").join(name);
        let folder = all.join(format!("{}-{:016x}", self.release, digest.finish()));
        if !folder.exists() {
            // Remove repositories that were made from other packages or are incomplete.
            let _ = std::fs::remove_dir_all(&all);
            let incomplete = Repositories::below(&all.join("half"));
            for folder in [&incomplete.repositories, &incomplete.work] {
                std::fs::create_dir_all(folder).unwrap();
            }
            (self.make)(&image.rootfs(), &incomplete);
            std::fs::remove_dir_all(&incomplete.work).unwrap();
            std::fs::rename(all.join("half"), &folder).unwrap();
        }
        Repositories::below(&folder)
    }

    /// Qualifies the release of the shipped record with these repositories, and returns the image that was made from
    /// them.
    fn qualify(&self) -> Image {
        let repositories = self.repositories();
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [out, records] = ["out", "records"].map(|name| dir.path().join(name));
        std::fs::create_dir(&records).unwrap();
        let name = format!("{}:{}", self.distro, self.release);
        let mut run = command::kata_qualify(dir.path());
        // Repositories that are served on the loopback interface must not be fetched through this machine's proxy.
        run.env("KATA_QUALIFY_CACHE", cache()).env("no_proxy", "127.0.0.1");
        run.args(["run", &name, "--in", self.environment.name(), "--write-back"]);
        if let Some(profile) = self.profile {
            run.args(["--profile", profile]);
        }
        run.args((self.options)(&repositories.repositories)).arg("--mirror-key").arg(&repositories.key);
        run.arg("--out").arg(&out).arg("--records").arg(&records);
        let output = command::run_to_end(&mut run);
        assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);

        // The evidence has the packages with complete versions from these repositories, and the stamp.
        let results = command::results(&out);
        assert_eq!(results["shaped"], true);
        assert!(output.stdout.contains("The run is shaped: "), "{}", output.stdout);
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
            Environment::Container => self.assert_written_back(&records),
            _ => self.assert_boots(&records),
        }
        // A machine's disk is an image, too, but has no tree.
        let is_its = |image: &Image| image.manifest.distro == self.distro && image.manifest.derived_from.is_none();
        let made = images::cache::list(&cache()).into_iter().filter(is_its);
        let image = made.max_by_key(|image| image.made).unwrap();
        assert_eq!(cell["facts"]["kernel"], kernel_of(&image).as_str());
        image
    }

    /// Returns the written entries, all of which must be stamped.
    fn written_entries(&self, records: &Path) -> Vec<VerifiedEntry> {
        let database = Database::load(&[records.to_owned()]).unwrap();
        let written = verified(&database, self.distro, self.release, self.environment);
        assert!(!written.is_empty() && written.iter().all(|entry| entry.shaped), "{written:?}");
        written
    }

    /// Checks that the distro's kernel and init work as a host, and that guests with the same kernel run there with
    /// virtiofsd.
    fn assert_boots(&self, records: &Path) {
        for entry in self.written_entries(records) {
            for capability in
                [Capability::KernelHost, Capability::VmmBoot, Capability::KernelGuest, Capability::FsVirtioFs]
            {
                let found = entry.capabilities.get(&capability).map(|c| (c.verdict, &c.causes));
                assert_eq!(found, Some((Verdict::Supported, &Vec::new())), "{} {capability}", entry.profile);
            }
        }
    }

    /// Checks that every capability that Debian 13 supports is supported with these binaries, too, and written back.
    fn assert_written_back(&self, records: &Path) {
        let written = self.written_entries(records);
        let debian = verified(&Database::embedded(), "debian", "13", self.environment);
        let mut compared = 0;
        for entry in &written {
            // Each run that judged a part has its own entry in Debian's record.
            let of_debian = debian.iter().filter(|other| other.profile == entry.profile);
            let all = of_debian.flat_map(|other| &other.capabilities);
            for (capability, shown) in all.filter(|(_, c)| c.verdict == Verdict::Supported) {
                // The shapes of openSUSE and Arch have no second user, because the services that create users are
                // missing.
                let needs_users = [Capability::FsVirtioFsPosix, Capability::FsVirtioBlkPosix].contains(capability);
                let is_reported = entry.capabilities.get(capability).is_some_and(|c| {
                    c.verdict == Verdict::Untested
                        && c.causes.iter().any(|cause| cause.message.contains("needs two users"))
                });
                if needs_users && is_reported && ["opensuse", "arch"].contains(&self.distro) {
                    continue;
                }
                // Only root can read Ubuntu's kernel, and a QEMU without root is not root.
                if *capability == Capability::VmmRootless && self.distro == "ubuntu" {
                    let found = entry.capabilities.get(capability);
                    let is_the_kernels = found.is_some_and(|c| {
                        c.verdict == Verdict::Unsupported
                            && c.causes.iter().any(|cause| cause.component == Some(Component::Kernel))
                    });
                    assert!(is_the_kernels, "{} {capability}: {found:?}", entry.profile);
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

/// Returns an image of Debian 13 with additional packages, from which the shaped packages are made.
fn debian_with(packages: &[&str]) -> Image {
    let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    let more: Vec<ExtraPackage> = packages.iter().map(|package| package.parse().unwrap()).collect();
    let options = Options { accept_expired: true, extra_packages: more, ..Options::new(cache()) };
    prepare(&release, &options, &|_| {}).unwrap_or_else(|e| panic!("no image of debian:13 with {packages:?}: {e}"))
}

/// Returns the entries of a release's record for an environment.
fn verified(database: &Database, distro: &str, release: &str, environment: Environment) -> Vec<VerifiedEntry> {
    let entries = database.record(distro).unwrap().verified.iter();
    let is_it = |entry: &&VerifiedEntry| entry.release == release && entry.environment == environment;
    entries.filter(is_it).cloned().collect()
}

/// Returns those packages of an image for which `is_one` is true.
fn packages_that(image: &Image, is_one: impl Fn(&str) -> bool) -> Vec<&str> {
    image.manifest.packages.iter().map(|package| package.name.as_str()).filter(|name| is_one(name)).collect()
}

#[test]
#[ignore = "takes minutes: .ci/run"]
fn the_shipped_record_of_fedora_fits_a_repository_in_fedoras_shape() {
    let image = FEDORA.qualify();
    // The record does not require QEMU's modules.
    assert_eq!(packages_that(&image, fedora::is_qemu_module), [""; 0]);
    assert_eq!(image.manifest.package("qemu-common").unwrap().source, "qemu");
}

/// A repository in Fedora's shape becomes a disk with an initrd of Fedora's dracut, which boots and runs guests.
#[test]
#[ignore = "takes many minutes: .ci/nightly"]
fn a_machine_boots_from_a_repository_in_fedoras_shape() {
    FEDORA_MACHINE.qualify();
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_opensuse_fits_a_repository_in_opensuses_shape() {
    let image = SUSE.qualify();
    // Recommended packages are not installed.
    let is_recommended = |name: &str| suse::is_qemu_module(name) || name == "qemu-tools";
    assert_eq!(packages_that(&image, is_recommended), [""; 0]);
    assert_eq!(image.manifest.package("qemu-seabios").unwrap().source, "qemu");
    // The kernel's script has run.
    let linked = std::fs::read_link(image.rootfs().join("boot/vmlinuz")).unwrap();
    let kernel = linked.to_str().unwrap().trim_start_matches("vmlinuz-");
    let image_of_it = std::fs::read_link(image.rootfs().join("boot").join(&linked)).unwrap();
    assert_eq!(image_of_it, Path::new(&format!("../usr/lib/modules/{kernel}/vmlinuz")));
    assert!(modules(&image, kernel).contains(".ko.zst:"), "its modules are not compressed by zstd");
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_arch_fits_a_mirror_in_archs_shape() {
    let image = ARCH.qualify();
    let is_unneeded = |name: &str| arch::is_qemu_module(name) || name == "qemu-base";
    assert_eq!(packages_that(&image, is_unneeded), [""; 0]);
    assert_eq!(image.manifest.package("qemu-system-x86-firmware").unwrap().source, "qemu");
    let suites: Vec<&str> = image.manifest.indexes.iter().map(|index| index.suite.as_str()).collect();
    assert_eq!(suites, ["core", "extra"]);
    // kmod's hook has run. mkinitcpio's has not, because nothing here needs an initramfs.
    assert!(modules(&image, &kernel_of(&image)).contains(".ko.zst:"), "its modules are not compressed by zstd");
    assert!(image.rootfs().join("usr/share/libalpm/hooks/90-mkinitcpio-install.hook").exists());
    assert!(!image.rootfs().join("boot/vmlinuz-linux").exists());
}

#[test]
#[ignore = "takes minutes: .ci/nightly"]
fn the_shipped_record_of_ubuntu_fits_an_archive_in_ubuntus_shape() {
    let image = UBUNTU.qualify();
    let has = |package: &str| image.manifest.package(package).is_some();
    assert!(has("ubuntu-keyring") && has("acl") && has("linux-firmware"));
    assert!(!has("initramfs-tools") && !has("linux-image-virtual"), "what nothing asks for is not installed");
    // Ubuntu's scripts have run: the kernel is readable by root only, and its index covers all its modules.
    let kernel = kernel_of(&image);
    assert!(has(&format!("linux-modules-extra-{kernel}")));
    let meta = image.rootfs().join(format!("boot/vmlinuz-{kernel}")).metadata().unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let index = modules(&image, &kernel);
    for module in ["kernel/drivers/nvdimm/nd_pmem.ko.zst:", "kernel/net/vmw_vsock/vsock.ko.zst:"] {
        assert!(index.lines().any(|line| line.starts_with(module)), "{module} {kernel}");
    }
}

/// Returns the only kernel of an image, by its directory of modules.
fn kernel_of(image: &Image) -> String {
    let folders = std::fs::read_dir(image.rootfs().join("usr/lib/modules")).unwrap();
    let mut kernels: Vec<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(kernels.len(), 1, "{kernels:?}");
    kernels.remove(0)
}

/// Returns depmod's list of a kernel's modules in an image.
fn modules(image: &Image, kernel: &str) -> String {
    let file = image.rootfs().join("usr/lib/modules").join(kernel).join("modules.dep");
    std::fs::read_to_string(file).unwrap()
}
