//! Package families: how the packages of a family of distros are named, fetched, installed and listed.
//!
//! A family is one entry of [`ALL`] and one directory below this one, which the RPM families share; nothing else in
//! this crate knows a package manager.

mod apk;
mod apt;
pub(crate) mod credentials;
mod download;
mod folder;
pub(crate) mod install;
mod installed;
pub(crate) mod offered;
mod pacman;
mod repository_list;
mod rpm;

use self::credentials::Login;
use self::install::Install;
use self::offered::Offered;
use crate::error::{Failure, ImageErrorKind};
use crate::manifest::{Index, PackageOrigin, PathOwner};
use crate::options::Options;
use crate::package::ExtraPackage;
use crate::runner::{self, Runner};
use crate::tree;
use model::distro::DistroId;
use model::kernel::KernelRelease;
use model::package::{Package, PackageName};
use model::package_manager::PackageManager;
use model::redact::Redactor;
use model::release::Release;
use operator::os_release::OsRelease;
use operator::process::sandbox::Network;
use root::{InsidePath, Root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// All families that images can be made for.
const ALL: &[&dyn PackageFamily] =
    &[&apt::Apt, &rpm::DNF, &rpm::YUM, &rpm::TDNF, &rpm::ZYPPER, &pacman::Pacman, &apk::Apk];

/// A package family: the distros with the same package manager.
pub(crate) trait PackageFamily: Sync {
    /// Returns its package manager, as records name it.
    fn package_manager(&self) -> PackageManager;

    /// Returns a text as a package's name, if it is valid by this family's rules: only such names are passed to its
    /// programs.
    fn package_name(&self, text: &str) -> Option<PackageName>;

    /// Returns whether a text names a package file.
    fn is_package_file(&self, text: &str) -> bool;

    /// Returns whether a package file has nothing that a guest runs: debug symbols, sources, parts of an installer.
    fn is_left_out(&self, name: &str) -> bool;

    /// Returns the form of a package's name, for messages.
    fn name_form(&self) -> &'static str;

    /// Returns the form of a package file's name, for messages.
    fn file_form(&self) -> &'static str;

    /// Returns the name of the package in a file.
    fn name_in_file(&self, file: &Path) -> Option<PackageName>;

    /// Returns the packages that the harness itself needs in every environment.
    fn support_packages(&self) -> &'static [&'static str];

    /// Returns whether images have the firmware for guests that the record names. An image is not made if one of its
    /// packages is missing, so the packages of a family must have been seen in the repositories of its images.
    fn has_firmware(&self) -> bool {
        false
    }

    /// Returns the packages of a machine that is booted from the tree, in addition to its kernel and container manager.
    fn machine_packages(&self) -> &'static [&'static str];

    /// Returns whether systemd is the init of a machine that is booted from the tree: the harness starts its agent there
    /// by a unit of systemd.
    fn boots_with_systemd(&self) -> bool {
        true
    }

    /// Returns this machine's program that makes a base tree from the archives.
    fn bootstrap_program(&self) -> &'static str;

    /// Returns this machine's programs that fetch and verify packages, for any kind of base.
    fn fetching_programs(&self) -> &'static [&'static str];

    /// Returns the Debian package that has one of these programs, if any; most have the name of the program.
    fn debian_package(&self, program: &'static str) -> Option<&'static str> {
        Some(program)
    }

    /// Returns whether the bootstrap program knows a mirror of the distro.
    fn knows_mirror(&self, distro: &DistroId) -> bool {
        is_this_machines(distro)
    }

    /// Returns what a release's record lacks for fetching its packages, if anything.
    fn missing_in_record(&self, _release: &Release) -> Option<&'static str> {
        None
    }

    /// Returns the files and directories of a base with its package sources and trusted keys; none if the record and
    /// this machine provide them.
    fn settings_in_base(&self) -> &'static [&'static str];

    /// Returns a function that finds the cause of a failure in the last lines of the family's programs.
    fn cause_reader(&self) -> fn(&[String]) -> ImageErrorKind;

    /// Returns the addresses in a system's settings, as far as they can be read.
    fn addresses(&self, system: &Root) -> Vec<String>;

    /// Returns the addresses, with their credentials, that must not leave this machine: those from the caller, from its
    /// settings, and of its proxies.
    fn secret_addresses(&self, options: &Options) -> Vec<String> {
        let mirrors = options.mirror.iter().chain(&options.security_mirror).cloned();
        mirrors.chain(self.addresses(&Root::default())).chain(credentials::proxies()).collect()
    }

    /// Finds out how this machine reaches a release's archives, and tells the runner which addresses are secret.
    ///
    /// Nothing is fetched; offline nothing is looked up.
    fn archives<'a>(
        &self,
        runner: &mut Runner<'_>,
        release: &'a Release,
        options: &Options,
    ) -> Result<Box<dyn Archives + 'a>, Failure>;

    /// Lists all packages that are installed in a tree.
    fn packages(&self, tree: &Path) -> Result<Vec<Package>, Failure>;

    /// Returns the suites or repositories that offer the installed versions of packages, according to the indexes in an
    /// image's directory.
    fn origins(
        &self,
        runner: &Runner<'_>,
        tree: &Path,
        image_folder: &Path,
        packages: &[Package],
    ) -> Result<Vec<PackageOrigin>, Failure>;

    /// Returns the owners of paths of a tree.
    fn owners(&self, tree: &Path, paths: &[InsidePath]) -> Result<Vec<PathOwner>, Failure>;

    /// Makes the initrd for a tree's kernel with the tree's own tool; returns its path in the tree.
    fn initrd(&self, runner: &Runner<'_>, tree: &Path, kernel: &KernelRelease) -> Result<String, Failure>;
}

/// A release's archives, as this machine reaches them.
pub(crate) trait Archives {
    /// Fetches the archives' current indexes into `folder`, which exists until the image is made.
    ///
    /// `base` has the files of [`PackageFamily::settings_in_base`] from an OCI image that a tree will be made from.
    fn indexes(&mut self, runner: &mut Runner<'_>, folder: &Path, base: Option<&Path>) -> Result<Vec<Index>, Failure>;

    /// Returns the versions of the named packages that the archives offer, according to the indexes that
    /// [`Archives::indexes`] has fetched to `folder`. Indexes that are otherwise verified only at installation are
    /// fetched and verified here.
    fn offered(&self, runner: &Runner<'_>, folder: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure>;

    /// Makes a base tree; returns the packages that must be installed additionally, for [`Install::required`].
    ///
    /// `folder` is the image's directory while it is made: the indexes are kept in it.
    fn bootstrap(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<Vec<PackageName>, Failure>;

    /// Configures a base tree from elsewhere to take its packages from these archives; keeps the indexes as
    /// [`Archives::bootstrap`] does.
    fn adopt(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<(), Failure>;

    /// Installs packages with the tree's own package manager.
    fn install(&self, runner: &Runner<'_>, install: &Install<'_>) -> Result<(), Failure>;
}

/// The caller's options about the archives, for families whose repositories are all at one address.
struct MirrorOptions {
    /// Mirror to use instead of the distro's own.
    mirror: Option<String>,
    logins: Vec<Login>,
    /// Key files.
    keys: Vec<PathBuf>,
    offline: bool,
}

impl MirrorOptions {
    /// Evaluates the options and tells the runner which addresses are secret, as [`PackageFamily::archives`] does.
    fn of(family: &dyn PackageFamily, runner: &mut Runner<'_>, options: &Options) -> Result<MirrorOptions, Failure> {
        let secret = family.secret_addresses(options);
        runner.redact = Redactor::knowing(secret.iter().map(String::as_str));
        let (mirror, login) = options.mirror.as_deref().map(credentials::of_mirror).transpose()?.unzip();
        let logins = login.flatten().into_iter().collect();
        Ok(MirrorOptions { mirror, logins, keys: options.keys.clone(), offline: options.offline })
    }
}

/// Returns the system whose settings name the sources of a release's packages: the base, or else this machine if it
/// runs the distro.
fn settled_by(base: Option<&Path>, release: &Release) -> Result<Option<Root>, Failure> {
    match base {
        Some(base) => tree::open(base).map(Some),
        None => Ok(is_this_machines(&release.distro).then(Root::default)),
    }
}

/// Returns the failure to fetch a repository's index, with the repository's name if the mirror lacks it.
fn of_index(failure: Failure, repository: &str) -> Failure {
    match failure.cause {
        ImageErrorKind::NoSuchRelease { .. } => {
            Failure { cause: ImageErrorKind::NoSuchRelease { what: format!("repository {repository}") }, ..failure }
        }
        _ => failure,
    }
}

/// Returns the family of a release.
///
/// # Errors
/// If no family has its package manager.
pub(crate) fn of(release: &Release) -> Result<&'static dyn PackageFamily, Failure> {
    let manager = release.package_manager;
    ALL.iter().copied().find(|family| family.package_manager() == manager).ok_or_else(|| {
        let written = ALL.iter().map(|family| family.package_manager()).collect();
        ImageErrorKind::UnsupportedPackageManager { manager, written }.into()
    })
}

/// Returns whether a machine that is booted from a release's image has systemd as its init; false if no family has the
/// release's package manager, so that there is no image.
pub fn boots_with_systemd(release: &Release) -> bool {
    of(release).is_ok_and(|family| family.boots_with_systemd())
}

/// Returns whether, in some family, a package with this file name has nothing that a guest runs.
pub(crate) fn is_left_out(name: &str) -> bool {
    ALL.iter().any(|family| family.is_left_out(name))
}

/// Returns the names of the packages to install for a release's image, sorted and checked.
pub(crate) fn requested_packages(family: &dyn PackageFamily, release: &Release) -> Result<Vec<PackageName>, Failure> {
    let mut of_record = release.packages();
    if family.has_firmware() {
        of_record.extend(release.firmware.iter().cloned());
    }
    checked(family, &of_record, family.support_packages())
}

/// Returns a record's names and those of the family itself, sorted, without duplicates, and checked by the family's
/// rules.
pub(crate) fn checked(
    family: &dyn PackageFamily,
    of_record: &[PackageName],
    own: &[&str],
) -> Result<Vec<PackageName>, Failure> {
    let names: BTreeSet<&str> = of_record.iter().map(PackageName::as_str).chain(own.iter().copied()).collect();
    let check = |name: &str| match family.package_name(name) {
        Some(checked) => Ok(checked),
        None => {
            let reason = format!("expected {} in the record", family.name_form());
            Err(Failure::from(ImageErrorKind::BadPackage { name: name.to_owned(), reason }))
        }
    };
    names.into_iter().map(check).collect()
}

/// Returns the path at which programs of this machine see an image's directory: without root there are no namespaces.
fn sandbox_path(folder: &Path) -> PathBuf {
    if rustix::process::geteuid().is_root() { PathBuf::from("/tmp") } else { folder.to_owned() }
}

/// Returns a command for a program of this machine, working in an image's directory; its home is a directory below
/// that.
fn of_machine(folder: &Path, network: Network, program: &str, home: &str) -> Result<Command, Failure> {
    let mut command = match rustix::process::geteuid().is_root() {
        true => runner::of_machine(folder, network, program)?,
        false => runner::tied(program),
    };
    let home = sandbox_path(folder).join(home);
    command.env("HOME", &home).env("TMPDIR", &home).env("LC_ALL", "C");
    Ok(command)
}

/// A program of this machine that is needed to make images of releases with some package managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Name of the program.
    pub program: &'static str,
    /// Debian package that has the program, if any.
    pub package: Option<&'static str>,
    /// Package managers of these releases.
    pub managers: Vec<PackageManager>,
    /// Whether the program is only needed to make a base from nothing, which an OCI image or a cloud image can replace.
    pub bootstraps_only: bool,
}

/// Lists the programs that are needed to make images, each once.
pub fn tools() -> Vec<Tool> {
    let mut all: Vec<Tool> = Vec::new();
    for family in ALL {
        let fetching = family.fetching_programs().iter().map(|program| (*program, false));
        let bootstrapping = (family.bootstrap_program(), true);
        for (program, bootstraps_only) in fetching.chain([bootstrapping]) {
            let manager = family.package_manager();
            match all.iter_mut().find(|tool| tool.program == program) {
                Some(tool) if tool.managers.contains(&manager) => {}
                Some(tool) => tool.managers.push(manager),
                None => {
                    let package = family.debian_package(program);
                    all.push(Tool { program, package, managers: vec![manager], bootstraps_only });
                }
            }
        }
    }
    all
}

/// Returns whether this machine runs that distro.
fn is_this_machines(distro: &DistroId) -> bool {
    OsRelease::read(&Root::default()).is_ok_and(|os| *distro == os.id().as_str())
}

/// Returns the addresses of mirrors and proxies, with their credentials, that must not be revealed outside this
/// machine.
pub fn addresses(options: &Options) -> Vec<String> {
    ALL.iter().flat_map(|family| family.secret_addresses(options)).collect()
}

impl FromStr for ExtraPackage {
    type Err = ImageErrorKind;

    /// Reads an extra package: `./qemu-system-x86_9.0_amd64.deb` is a file, anything else must be a valid package name.
    fn from_str(text: &str) -> Result<ExtraPackage, ImageErrorKind> {
        let bad = |reason: &str| ImageErrorKind::BadPackage { name: text.to_owned(), reason: reason.to_owned() };
        if ALL.iter().any(|family| family.is_package_file(text)) {
            let path = PathBuf::from(text);
            return if path.is_file() { Ok(ExtraPackage::File(path)) } else { Err(bad("no such file")) };
        }
        let name = ALL.iter().find_map(|family| family.package_name(text));
        name.map(ExtraPackage::Name).ok_or_else(|| {
            let form = |family: &&dyn PackageFamily| format!("{} or {}", family.name_form(), family.file_form());
            let mut forms: Vec<String> = ALL.iter().map(form).collect();
            // Some families have the same packages.
            forms.dedup();
            bad(&format!("expected {}", forms.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each family has its own rules for names; the release's family checks the name again.
    #[test]
    fn invalid_package_names_are_refused() {
        for good in ["qemu-system-x86", "libstdc++6", "0ad", "g++"] {
            assert!(good.parse::<ExtraPackage>().is_ok(), "{good}");
        }
        for wrong in ["", "-o", "a b", "a;b", "a/b", "a=1", "../x.deb"] {
            let parsed = wrong.parse::<ExtraPackage>();
            assert!(matches!(parsed, Err(ImageErrorKind::BadPackage { .. })), "{wrong}");
        }
    }

    #[test]
    fn every_program_is_listed_once_with_its_package_managers() {
        let tools = tools();
        let entries_for = |program: &str| tools.iter().filter(|tool| tool.program == program).collect::<Vec<_>>();
        let rpms = [PackageManager::Dnf, PackageManager::Yum, PackageManager::Tdnf, PackageManager::Zypper];
        for (program, package, managers, bootstraps_only) in [
            ("mmdebstrap", Some("mmdebstrap"), &[PackageManager::Apt][..], true),
            ("dnf", Some("dnf"), &rpms, false),
            ("rpmkeys", Some("rpm"), &rpms, false),
            ("curl", Some("curl"), &[PackageManager::Pacman, PackageManager::Apk], false),
            ("gpg", Some("gpg"), &[PackageManager::Pacman], false),
            ("pacman", Some("pacman-package-manager"), &[PackageManager::Pacman], true),
            ("apk", None, &[PackageManager::Apk], true),
        ] {
            let expected = Tool { program, package, managers: managers.to_vec(), bootstraps_only };
            assert_eq!(entries_for(program), [&expected]);
        }
    }

    #[test]
    fn mirrors_in_the_options_are_secret_for_every_family() {
        let (mirror, security) = ("https://u:p@mirror.example/a", "https://u:p@mirror.example/b");
        let options = Options {
            mirror: Some(mirror.to_owned()),
            security_mirror: Some(security.to_owned()),
            ..Options::new(Path::new("/no/such/cache"))
        };
        for family in ALL {
            let secret = family.secret_addresses(&options);
            assert!([mirror, security].iter().all(|one| secret.iter().any(|known| known == one)), "{secret:?}");
        }
    }

    #[test]
    fn package_sources_of_a_base_take_precedence_over_this_machines() {
        let base = tempfile::tempdir().unwrap();
        let mut release = crate::fixtures::release("13", "trixie");
        let settled = |base: Option<&Path>, release: &Release| {
            settled_by(base, release).unwrap().map(|system| system.path().to_owned())
        };
        let of_base = Some(base.path().canonicalize().unwrap());
        assert_eq!(settled(Some(base.path()), &release), of_base);
        release.distro = "no-distro-of-any-machine".parse().unwrap();
        assert_eq!(settled(Some(base.path()), &release), of_base);
        assert_eq!(settled(None, &release), None);
    }

    #[test]
    fn the_error_for_a_missing_index_names_its_repository() {
        let failure = |cause: ImageErrorKind| of_index(cause.into(), "core").cause.to_string();
        let absent = failure(ImageErrorKind::NoSuchRelease { what: "core.db".to_owned() });
        assert_eq!(absent, "repository core is not on the mirror");
        assert_eq!(failure(ImageErrorKind::NotRoot), ImageErrorKind::NotRoot.to_string());
    }

    #[test]
    fn an_image_of_debian_has_the_records_firmware() {
        let mut release = crate::fixtures::release("13", "trixie");
        let requested = |release: &Release| requested_packages(of(release).unwrap(), release).unwrap();
        let without = requested(&release);
        release.firmware = vec!["ovmf".parse().unwrap()];
        let mut with = requested(&release);
        with.retain(|name| !without.contains(name));
        assert_eq!(with, release.firmware);
    }

    /// Options are not valid names; the tree's package manager could still interpret a name like `qemu-` differently.
    #[test]
    fn options_disguised_as_package_names_are_refused() {
        assert!("-oDPkg::Pre-Invoke::=reboot".parse::<PackageName>().is_err());
        let mut release = crate::fixtures::release("13", "trixie");
        release.vmms[0].packages.push("qemu-".parse().unwrap());
        let refused = requested_packages(of(&release).unwrap(), &release).unwrap_err();
        assert!(matches!(refused.cause, ImageErrorKind::BadPackage { .. }));
    }
}
