//! Fedora, Enterprise Linux, openSUSE and all other distros with RPM packages in repositories that dnf reads.
//!
//! This machine's dnf selects and fetches packages, and the release's own rpm installs them: dnf 4, dnf 5, microdnf,
//! tdnf and zypper would all run that rpm in the tree, and in this way packages can also be installed into a tree that
//! has none of them.
//!
//! ```text
//! repositories and keys of the base ─► dnf (network, no tree) ─► packages
//!     ─► rpmkeys (no network) ─► the tree's rpm (no network)
//! ```
//!
//! zypper is not used: this machine's zypper would use the tree as its root, and run the plugins in it. Its
//! repositories have the format of dnf's, and both use libsolv as their solver.
//!
//! dnf works on a directory of its own that has a copy of the tree's database, and never on the tree.
//! A base is made from nothing in two steps: this machine's rpm unpacks the packages without running anything in them,
//! and then the rpm among them installs them all again, into a database of its own, with their scripts.

mod indexes;
mod install;
mod services;
mod sources;
mod workspace;

use super::credentials::{self, Login};
use super::install::Install;
use super::offered::Offered;
use super::{Archives, PackageFamily, is_this_machines};
use crate::error::{Failure, ImageErrorKind};
use crate::manifest::{Index, PackageOrigin, PathOwner};
use crate::options::Options;
use crate::progress::ImagePhase;
use crate::runner::{Runner, has_program};
use crate::tree;
use model::distro::DistroId;
use model::kernel::KernelRelease;
use model::package::{Package, PackageName};
use model::package_manager::PackageManager;
use model::redact::Redactor;
use model::release::{Archive, Release};
use operator::installer::{Installer, failure_reason};
use operator::packages::rpm;
use root::{InsidePath, Root};
use sources::Sources;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use workspace::Workspace;

/// Differences between distros with RPM packages.
#[derive(Clone, Copy)]
pub(crate) struct Rpm {
    manager: PackageManager,
    /// Directory of a system's repository files.
    repositories: &'static str,
    /// Directory of the indexes of services, which name more repositories.
    services: Option<&'static str>,
    /// Directories of variables in addresses.
    variables: &'static [&'static str],
    /// Directory of the keys that a system trusts.
    keys: &'static str,
    /// Files and directories of a base that are read before there is a tree.
    settings: &'static [&'static str],
    /// Whether an index is signed if the repository's settings do not say so.
    signs_indexes: bool,
    /// Minimum packages of a tree.
    base: &'static [&'static str],
    /// Additional packages that make a bootable machine of a tree.
    machine: &'static [&'static str],
}

/// Fedora, RHEL and its relatives, openEuler, Azure Linux.
pub(crate) const DNF: Rpm = Rpm {
    manager: PackageManager::Dnf,
    repositories: "/etc/yum.repos.d",
    services: None,
    variables: &["/etc/yum/vars", "/etc/dnf/vars"],
    keys: "/etc/pki/rpm-gpg",
    settings: &[
        "/etc/os-release",
        "/usr/lib/os-release",
        "/etc/yum.repos.d",
        "/etc/yum/vars",
        "/etc/dnf/vars",
        "/etc/pki/rpm-gpg",
    ],
    signs_indexes: false,
    // A minimal language pack, because without one all languages are installed.
    base: &["bash", "coreutils", "filesystem", "glibc-minimal-langpack", "rpm", "system-release"],
    // Files are copied to a machine in a tar archive, and minimal systems of these distros have no tar.
    machine: &["dbus", "dracut", "iproute", "kmod", "systemd", "systemd-udev", "tar"],
};

/// Amazon Linux, whose records name its original package manager.
pub(crate) const YUM: Rpm = Rpm { manager: PackageManager::Yum, ..DNF };

/// Azure Linux 3.0 and Photon, whose repositories have dnf's format.
pub(crate) const TDNF: Rpm = Rpm { manager: PackageManager::Tdnf, ..DNF };

/// openSUSE and SLES: their indexes are signed, and their repositories and keys are in other directories.
pub(crate) const ZYPPER: Rpm = Rpm {
    manager: PackageManager::Zypper,
    repositories: "/etc/zypp/repos.d",
    services: Some(services::INDEXES),
    variables: &["/etc/zypp/vars.d"],
    keys: "/usr/lib/rpm/gnupg/keys",
    settings: &[
        "/etc/os-release",
        "/usr/lib/os-release",
        "/etc/zypp/repos.d",
        services::REGISTERED,
        services::INDEXES,
        "/etc/zypp/vars.d",
        "/usr/lib/rpm/gnupg/keys",
    ],
    signs_indexes: true,
    base: &["bash", "coreutils", "distribution-release", "filesystem", "rpm"],
    machine: &["dbus-1", "dracut", "iproute2", "kmod", "systemd", "tar", "udev"],
};

/// Names of the repositories that the caller names by address; dnf reserves `main` for its own settings.
const MIRROR: &str = "mirror";
const SECURITY_MIRROR: &str = "security";

impl PackageFamily for Rpm {
    fn package_manager(&self) -> PackageManager {
        self.manager
    }

    fn package_name(&self, text: &str) -> Option<PackageName> {
        text.parse::<PackageName>().ok().filter(|name| name.is_for(self.manager))
    }

    fn is_package_file(&self, text: &str) -> bool {
        text.ends_with(".rpm") && !text.ends_with(".src.rpm")
    }

    fn is_left_out(&self, name: &str) -> bool {
        let is_of_symbols = name.contains("-debuginfo-") || name.contains("-debugsource-");
        name.ends_with(".src.rpm") || (is_of_symbols && name.ends_with(".rpm"))
    }

    fn name_form(&self) -> &'static str {
        "an RPM package's name (letters, digits, `+`, `-`, `.`, `_`)"
    }

    fn file_form(&self) -> &'static str {
        "an .rpm file"
    }

    fn name_in_file(&self, file: &Path) -> Option<PackageName> {
        let whole = file.file_name()?.to_str()?.strip_suffix(".rpm")?;
        // `NAME-VERSION-RELEASE.ARCH`
        let (whole, _) = whole.rsplit_once('.')?;
        self.package_name(whole.rsplitn(3, '-').nth(2)?)
    }

    fn support_packages(&self) -> &'static [&'static str] {
        // The tests make ext4 disks.
        &["e2fsprogs"]
    }

    fn machine_packages(&self) -> &'static [&'static str] {
        self.machine
    }

    fn bootstrap_program(&self) -> &'static str {
        workspace::PROGRAM
    }

    fn fetching_programs(&self) -> &'static [&'static str] {
        &[workspace::PROGRAM, "rpmkeys"]
    }

    fn debian_package(&self, program: &'static str) -> Option<&'static str> {
        Some(if program == "rpmkeys" { "rpm" } else { program })
    }

    fn knows_mirror(&self, distro: &DistroId) -> bool {
        is_this_machines(distro)
            && Root::default().list(Path::new(self.repositories)).is_ok_and(|names| !names.is_empty())
    }

    fn settings_in_base(&self) -> &'static [&'static str] {
        self.settings
    }

    fn cause_reader(&self) -> fn(&[String]) -> ImageErrorKind {
        // The tree's package manager does not matter: this machine's dnf and rpm are run.
        |lines| failure_reason(Installer::Dnf, lines).into()
    }

    fn addresses(&self, system: &Root) -> Vec<String> {
        sources::addresses(system, self)
    }

    fn archives<'a>(
        &self,
        runner: &mut Runner<'_>,
        release: &'a Release,
        options: &Options,
    ) -> Result<Box<dyn Archives + 'a>, Failure> {
        if !has_program(workspace::PROGRAM) {
            return Err(ImageErrorKind::ToolMissing { program: workspace::PROGRAM.to_owned() }.into());
        }
        let secret = self.secret_addresses(options);
        runner.redact = Redactor::knowing(secret.iter().map(String::as_str));
        let (mut mirrors, mut logins) = (Vec::new(), Vec::new());
        for (id, url) in [(MIRROR, &options.mirror), (SECURITY_MIRROR, &options.security_mirror)] {
            let Some(url) = url else { continue };
            let (address, login) = credentials::of_mirror(url)?;
            mirrors.push((id, address));
            logins.extend(login);
        }
        let (keys, offline) = (options.keys.clone(), options.offline);
        Ok(Box::new(Repositories { family: *self, release, mirrors, logins, keys, offline, scratch: None }))
    }

    fn packages(&self, tree: &Path) -> Result<Vec<Package>, Failure> {
        super::installed::listed(rpm::installed(&tree::open(tree)?))
    }

    fn origins(
        &self,
        _: &Runner<'_>,
        _: &Path,
        image_folder: &Path,
        packages: &[Package],
    ) -> Result<Vec<PackageOrigin>, Failure> {
        let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let all = indexes::offered(&image_folder.join(workspace::CACHE), &names)?;
        Ok(super::offered::origins(packages, &all))
    }

    fn owners(&self, tree: &Path, paths: &[InsidePath]) -> Result<Vec<PathOwner>, Failure> {
        super::installed::owners(tree, paths, rpm::owners)
    }

    fn initrd(&self, runner: &Runner<'_>, tree: &Path, kernel: &KernelRelease) -> Result<String, Failure> {
        let path = format!("/boot/initramfs-{kernel}.img");
        // The disk does not exist yet, so there is nothing to detect.
        let mut dracut = tree::command(tree, &[], "dracut")?;
        dracut.args([
            "--force",
            "--no-hostonly",
            "--add-drivers",
            "ext4 virtio_blk virtio_pci",
            &path,
            kernel.as_str(),
        ]);
        runner.run(ImagePhase::Disk, &mut dracut)?;
        Ok(path)
    }
}

/// A release's repositories.
struct Repositories<'a> {
    family: Rpm,
    release: &'a Release,
    /// Mirrors from the caller that replace the distro's own.
    mirrors: Vec<(&'static str, String)>,
    logins: Vec<Login>,
    /// Key files from the caller.
    keys: Vec<PathBuf>,
    offline: bool,
    /// Directory of the indexes until there is an image's directory.
    scratch: Option<PathBuf>,
}

impl Repositories<'_> {
    /// Returns the package sources: the mirrors from the caller, else those of the base, else those of this machine if
    /// it runs the distro.
    fn sources(&self, base: Option<&Path>) -> Result<Sources, Failure> {
        let system = super::settled_by(base, self.release)?;
        if !self.mirrors.is_empty() {
            return Sources::of_mirrors(&self.mirrors, &self.keys, system.as_ref(), &self.family, self.release);
        }
        let system =
            system.ok_or_else(|| ImageErrorKind::NoMirror { suite: self.release.name(), archive: Archive::Main })?;
        Sources::of_system(&system, &self.family, self.release)
    }

    fn workspace(&self, folder: &Path, tree: Option<&Path>) -> Result<Workspace, Failure> {
        Workspace::new(folder, &self.logins, self.release, tree)
    }
}

impl Archives for Repositories<'_> {
    fn indexes(&mut self, runner: &mut Runner<'_>, folder: &Path, base: Option<&Path>) -> Result<Vec<Index>, Failure> {
        let sources = self.sources(base)?;
        sources.write(folder)?;
        self.workspace(folder, None)?.refresh(runner)?;
        self.scratch = Some(folder.to_owned());
        indexes::read(&folder.join(workspace::CACHE), &sources.ids())
    }

    fn offered(&self, _: &Runner<'_>, folder: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
        indexes::offered(&folder.join(workspace::CACHE), names)
    }

    fn bootstrap(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<Vec<PackageName>, Failure> {
        super::install::keep(self.scratch.as_deref(), workspace::KEPT, folder)?;
        let base = super::checked(&self.family, &[], self.family.base)?;
        let workspace = self.workspace(folder, None)?;
        install::bootstrap(runner, &workspace, &self.release.modules, folder, tree, &base)?;
        Ok(Vec::new())
    }

    fn adopt(&self, _: &Runner<'_>, folder: &Path, _: &Path) -> Result<(), Failure> {
        // The tree's own settings already name its package sources.
        super::install::keep(self.scratch.as_deref(), workspace::KEPT, folder)
    }

    fn install(&self, runner: &Runner<'_>, install: &Install<'_>) -> Result<(), Failure> {
        install.with_indexes(runner, workspace::KEPT, || {
            let workspace = self.workspace(install.folder, Some(install.tree))?;
            install::install(runner, &workspace, &self.release.modules, install, self.offline)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_rpm_package_names_are_accepted() {
        for good in ["qemu-system-x86-core", "libstdc++", "python3.11", "NetworkManager", "a_b", "389-ds-base"] {
            assert!(DNF.package_name(good).is_some(), "{good}");
        }
        for wrong in ["", "-o", "a b", "a/b", "@core", "pattern:x", "x.rpm", "a;b", "*"] {
            assert_eq!(DNF.package_name(wrong), None, "{wrong}");
        }
        for family in [DNF, YUM, ZYPPER] {
            assert!(super::super::checked(&family, &[], family.base).is_ok());
            assert!(super::super::checked(&family, &[], family.machine).is_ok());
        }
    }

    #[test]
    fn the_package_name_is_read_from_the_file_name() {
        assert!(DNF.is_package_file("./qemu-9.1-1.fc43.x86_64.rpm") && !DNF.is_package_file("qemu-9.1-1.src.rpm"));
        let name = |file: &str| DNF.name_in_file(Path::new(file)).map(|name| name.to_string());
        assert_eq!(name("/x/qemu-kvm-core-9.1.0-15.el9.x86_64.rpm").as_deref(), Some("qemu-kvm-core"));
        assert_eq!(name("hello.rpm"), None);
    }
}
