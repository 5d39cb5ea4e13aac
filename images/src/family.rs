//! What differs from one family of distros to the next: how packages are named, fetched, installed and listed.
//!
//! A family is one entry of [`ALL`] and one folder below this one, which those with RPMs share; nothing else in this crate
//! knows a package manager.

mod apk;
mod apt;
pub(crate) mod credentials;
mod download;
mod folder;
pub(crate) mod install;
mod installed;
pub(crate) mod offered;
mod pacman;
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
use model::package::PackageName;
use model::package_manager::PackageManager;
use model::redact::Redactor;
use model::release::Release;
use operator::os_release::OsRelease;
use operator::packages::Package;
use operator::process::sandbox::Network;
use root::Root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// The families that images are made of.
const ALL: &[&dyn PackageFamily] =
    &[&apt::Apt, &rpm::DNF, &rpm::YUM, &rpm::TDNF, &rpm::ZYPPER, &pacman::Pacman, &apk::Apk];

/// A package family: the distros with the same package manager.
pub(crate) trait PackageFamily: Sync {
    /// Its package manager, as records name it.
    fn package_manager(&self) -> PackageManager;

    /// A text as a package's name, if it is one by this family's rules: its programs are given no other.
    fn package_name(&self, text: &str) -> Option<PackageName>;

    /// Whether a text names a package's file.
    fn is_package_file(&self, text: &str) -> bool;

    /// Whether a file of the family's has nothing that a guest runs: debug symbols, sources, parts of an installer.
    fn is_left_out(&self, name: &str) -> bool;

    /// The form of a package's name, for messages.
    fn name_form(&self) -> &'static str;

    /// The form of a package's file, for messages.
    fn file_form(&self) -> &'static str;

    /// The name of the package in a file.
    fn name_in_file(&self, file: &Path) -> Option<PackageName>;

    /// Packages that the harness itself needs in every environment.
    fn support_packages(&self) -> &'static [&'static str];

    /// Packages of a machine that is booted from the tree, besides its kernel and its container manager.
    fn machine_packages(&self) -> &'static [&'static str];

    /// The program of this machine that makes a base tree from the archives.
    fn bootstrap_program(&self) -> &'static str;

    /// The programs of this machine that packages are fetched and verified with, whatever the base came from.
    fn fetching_programs(&self) -> &'static [&'static str];

    /// The package of Debian's that has one of these programs, where one has: most are called like the program.
    fn debian_package(&self, program: &'static str) -> Option<&'static str> {
        Some(program)
    }

    /// Whether the program that bootstraps knows a mirror of the distro.
    fn knows_mirror(&self, distro: &DistroId) -> bool {
        is_this_machines(distro)
    }

    /// What the record of a release must say so that its packages can be fetched, and does not.
    fn lacking(&self, _release: &Release) -> Option<&'static str> {
        None
    }

    /// The files and folders of a base by which it says where its packages come from and whose signatures count; none
    /// where the record and this machine say it.
    fn settings_in_base(&self) -> &'static [&'static str];

    /// Reads the cause of a failure from the last lines of the family's programs.
    fn cause_reader(&self) -> fn(&[String]) -> ImageErrorKind;

    /// The addresses in a system's settings, as far as they can be read.
    fn addresses(&self, system: &Root) -> Vec<String>;

    /// The addresses, with their credentials, that must not leave this machine: those that the caller names, its own, and
    /// its proxies'.
    fn secret_addresses(&self, options: &Options) -> Vec<String> {
        let given = options.mirror.iter().chain(&options.security_mirror).cloned();
        given.chain(self.addresses(&Root::default())).chain(credentials::proxies()).collect()
    }

    /// Finds out how this machine reaches a release's archives, and tells the runner what is secret about it.
    ///
    /// Nothing is fetched; offline nothing is looked up.
    fn archives<'a>(
        &self,
        runner: &mut Runner<'_>,
        release: &'a Release,
        options: &Options,
    ) -> Result<Box<dyn Archives + 'a>, Failure>;

    /// All packages that are installed in a tree.
    fn packages(&self, tree: &Path) -> Result<Vec<Package>, Failure>;

    /// The suites or repositories that offer the installed versions of packages, by the indexes in an image's folder.
    fn origins(
        &self,
        runner: &Runner<'_>,
        tree: &Path,
        image_folder: &Path,
        packages: &[Package],
    ) -> Result<Vec<PackageOrigin>, Failure>;

    /// The owners of paths of a tree.
    fn owners(&self, tree: &Path, paths: &[String]) -> Vec<PathOwner>;

    /// Makes the initrd of a tree's kernel by the tree's own tool; gives where in the tree it is to be.
    fn initrd(&self, runner: &Runner<'_>, tree: &Path, kernel: &str) -> Result<String, Failure>;
}

/// A release's archives, as this machine reaches them.
pub(crate) trait Archives {
    /// The archives' indexes as they are now; what is fetched lies in `folder`, which is there until the image is made.
    ///
    /// `base` has what [`PackageFamily::settings_in_base`] names of an OCI image that a tree will be made of.
    fn indexes(&mut self, runner: &mut Runner<'_>, folder: &Path, base: Option<&Path>) -> Result<Vec<Index>, Failure>;

    /// The versions of the named packages that the archives offer, by the indexes that [`Archives::indexes`] has fetched
    /// to `folder`. What of them is verified only when packages are installed is fetched and verified here.
    fn offered(&self, runner: &Runner<'_>, folder: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure>;

    /// Makes a base tree; gives what must be installed besides, as [`Install::required`] takes it.
    ///
    /// `folder` is the image's folder while it is made: the indexes are kept in it.
    fn bootstrap(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<Vec<PackageName>, Failure>;

    /// Has a base tree that came from elsewhere take its packages from these archives; keeps the indexes as
    /// [`Archives::bootstrap`] does.
    fn adopt(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<(), Failure>;

    /// Installs packages by the tree's own package manager.
    fn install(&self, runner: &Runner<'_>, install: &Install<'_>) -> Result<(), Failure>;
}

/// What the caller's options say of the archives, for families whose repositories are all at one address.
struct MirrorOptions {
    /// In the place of the distro's own.
    mirror: Option<String>,
    logins: Vec<Login>,
    /// Files of keys.
    keys: Vec<PathBuf>,
    offline: bool,
}

impl MirrorOptions {
    /// Tells the runner what is secret, as [`PackageFamily::archives`] does.
    fn of(family: &dyn PackageFamily, runner: &mut Runner<'_>, options: &Options) -> Result<MirrorOptions, Failure> {
        let secret = family.secret_addresses(options);
        runner.redact = Redactor::knowing(secret.iter().map(String::as_str));
        let (mirror, login) = options.mirror.as_deref().map(credentials::of_mirror).transpose()?.unzip();
        let logins = login.flatten().into_iter().collect();
        Ok(MirrorOptions { mirror, logins, keys: options.keys.clone(), offline: options.offline })
    }
}

/// The system whose settings say where a release's packages come from: the base's, else this machine if it runs the
/// distro.
fn settled_by(base: Option<&Path>, release: &Release) -> Result<Option<Root>, Failure> {
    match base {
        Some(base) => tree::open(base).map(Some),
        None => Ok(is_this_machines(&release.distro).then(Root::default)),
    }
}

/// The failure to fetch a repository's index, which is told by the repository where the mirror has none.
fn of_index(failure: Failure, repository: &str) -> Failure {
    match failure.cause {
        ImageErrorKind::NoSuchRelease { .. } => {
            Failure { cause: ImageErrorKind::NoSuchRelease { what: format!("repository {repository}") }, ..failure }
        }
        _ => failure,
    }
}

/// The family of a release.
///
/// # Errors
/// When no family of that package manager is written.
pub(crate) fn of(release: &Release) -> Result<&'static dyn PackageFamily, Failure> {
    let manager = release.package_manager;
    ALL.iter().copied().find(|family| family.package_manager() == manager).ok_or_else(|| {
        let written = ALL.iter().map(|family| family.package_manager()).collect();
        ImageErrorKind::UnsupportedPackageManager { manager, written }.into()
    })
}

/// Whether some family's packages of that file's name have nothing that a guest runs.
pub(crate) fn is_left_out(name: &str) -> bool {
    ALL.iter().any(|family| family.is_left_out(name))
}

/// The names to install for a release's image, sorted and checked.
pub(crate) fn wanted(family: &dyn PackageFamily, release: &Release) -> Result<Vec<PackageName>, Failure> {
    checked(family, &release.packages(), family.support_packages())
}

/// A record's names and those of the family itself, sorted, without duplicates, and checked by the family's rules.
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

/// Where programs of this machine see an image's folder: without root there are no namespaces.
fn seen(folder: &Path) -> PathBuf {
    if rustix::process::geteuid().is_root() { PathBuf::from("/tmp") } else { folder.to_owned() }
}

/// A program of this machine, working in an image's folder; its home is a folder below that.
fn of_machine(folder: &Path, network: Network, program: &str, home: &str) -> Result<Command, Failure> {
    let mut command = match rustix::process::geteuid().is_root() {
        true => runner::of_machine(folder, network, program)?,
        false => runner::tied(program),
    };
    let home = seen(folder).join(home);
    command.env("HOME", &home).env("TMPDIR", &home).env("LC_ALL", "C");
    Ok(command)
}

/// A program of this machine that images of releases with some package managers are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub program: &'static str,
    /// The package of Debian's that has it, where one has.
    pub package: Option<&'static str>,
    /// The package managers of these releases.
    pub managers: Vec<PackageManager>,
    /// Whether it only makes a base from nothing, which an OCI image or a cloud image can take the place of.
    pub bootstraps_only: bool,
}

/// The programs that images are made with, each once.
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

/// Whether this machine runs that distro.
fn is_this_machines(distro: &DistroId) -> bool {
    OsRelease::read(&Root::default()).is_ok_and(|os| *distro == os.id().as_str())
}

/// The addresses of mirrors and proxies, with their credentials, that nothing that leaves this machine may tell.
pub fn addresses(options: &Options) -> Vec<String> {
    ALL.iter().flat_map(|family| family.secret_addresses(options)).collect()
}

impl FromStr for ExtraPackage {
    type Err = ImageErrorKind;

    /// `./qemu-system-x86_9.0_amd64.deb` is a file, anything else must be a valid package name.
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
            // Some have the same packages.
            forms.dedup();
            bad(&format!("expected {}", forms.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a name may be is the family's to say, and asked again once the release is known.
    #[test]
    fn what_no_package_is_called_anywhere_is_refused() {
        for good in ["qemu-system-x86", "libstdc++6", "0ad", "g++"] {
            assert!(good.parse::<ExtraPackage>().is_ok(), "{good}");
        }
        for wrong in ["", "-o", "a b", "a;b", "a/b", "a=1", "../x.deb"] {
            let parsed = wrong.parse::<ExtraPackage>();
            assert!(matches!(parsed, Err(ImageErrorKind::BadPackage { .. })), "{wrong}");
        }
    }

    #[test]
    fn every_program_is_listed_once_with_all_that_need_it() {
        let tools = tools();
        let of = |program: &str| tools.iter().filter(|tool| tool.program == program).collect::<Vec<_>>();
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
            assert_eq!(of(program), [&expected]);
        }
    }

    #[test]
    fn what_the_caller_names_is_secret_whatever_the_family() {
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
    fn a_base_says_where_packages_come_from_before_this_machine_does() {
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
    fn an_index_that_is_not_there_is_told_by_its_repository() {
        let failure = |cause: ImageErrorKind| of_index(cause.into(), "core").cause.to_string();
        let absent = failure(ImageErrorKind::NoSuchRelease { what: "core.db".to_owned() });
        assert_eq!(absent, "repository core is not on the mirror");
        assert_eq!(failure(ImageErrorKind::NotRoot), ImageErrorKind::NotRoot.to_string());
    }

    /// Options are no names at all; the tree's package manager could still take one of these for something else.
    #[test]
    fn a_record_cannot_smuggle_options_in() {
        assert!("-oDPkg::Pre-Invoke::=reboot".parse::<PackageName>().is_err());
        let mut release = crate::fixtures::release("13", "trixie");
        release.vmms[0].packages.push("qemu-".parse().unwrap());
        let refused = wanted(of(&release).unwrap(), &release).unwrap_err();
        assert!(matches!(refused.cause, ImageErrorKind::BadPackage { .. }));
    }
}
