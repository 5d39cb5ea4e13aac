//! Debian, Ubuntu and all other distros with apt and dpkg.

mod bootstrap;
mod fetch;
mod indexes;
mod install;
mod installed;
mod lists;
mod mirrors;
mod names;
mod programs;
mod scaffold;
mod settings;

use super::credentials::Login;
use super::install::Install;
use super::offered::Offered;
use super::{Archives, PackageFamily};
use crate::error::{Failure, ImageErrorKind};
use crate::manifest::{Index, PackageOrigin, PathOwner};
use crate::options::Options;
use crate::progress::ImagePhase;
use crate::runner::{Runner, has_program};
use fetch::Fetch;
use mirrors::Mirrors;
use model::distro::DistroId;
use model::kernel::KernelRelease;
use model::package::{Package, PackageName};
use model::package_manager::PackageManager;
use model::release::Release;
use operator::installer::{Installer, failure_reason};
use root::{InsidePath, Root};
use settings::AptSettings;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The apt family.
pub(crate) struct Apt;

impl PackageFamily for Apt {
    fn package_manager(&self) -> PackageManager {
        PackageManager::Apt
    }

    fn package_name(&self, text: &str) -> Option<PackageName> {
        names::package(text)
    }

    fn is_package_file(&self, text: &str) -> bool {
        names::is_file(text)
    }

    fn is_left_out(&self, name: &str) -> bool {
        let is_of_symbols = names::is_file(name) && name.contains("-dbgsym_");
        is_of_symbols || name.ends_with(".ddeb") || name.ends_with(".udeb")
    }

    fn name_form(&self) -> &'static str {
        names::NAME_FORM
    }

    fn file_form(&self) -> &'static str {
        names::FILE_FORM
    }

    fn name_in_file(&self, file: &Path) -> Option<PackageName> {
        names::in_file(file)
    }

    fn support_packages(&self) -> &'static [&'static str] {
        // The tests make ext4 disks.
        &["e2fsprogs"]
    }

    fn has_firmware(&self) -> bool {
        true
    }

    fn machine_packages(&self) -> &'static [&'static str] {
        // `ip` sets up networks for containers, the plugins those for pods; snapshotters call dmsetup and mkfs.erofs.
        // qemu-utils has qemu-storage-daemon since Debian 13, which serves a disk over vhost-user.
        &[
            "containernetworking-plugins",
            "dbus",
            "dmsetup",
            "erofs-utils",
            "initramfs-tools",
            "iproute2",
            "kmod",
            "qemu-utils",
            "systemd-sysv",
            "udev",
        ]
    }

    fn bootstrap_program(&self) -> &'static str {
        bootstrap::PROGRAM
    }

    fn fetching_programs(&self) -> &'static [&'static str] {
        // A machine with apt has its helpers; on a machine without apt, mmdebstrap is reported as missing first.
        &["apt-get"]
    }

    fn debian_package(&self, program: &'static str) -> Option<&'static str> {
        Some(if program == "apt-get" { "apt" } else { program })
    }

    fn knows_mirror(&self, distro: &DistroId) -> bool {
        ["debian", "ubuntu"].contains(&distro.as_str())
    }

    fn missing_in_record(&self, release: &Release) -> Option<&'static str> {
        release.suites.is_empty().then_some("suite")
    }

    fn settings_in_base(&self) -> &'static [&'static str] {
        // Its sources are replaced, and its keys are read from the tree.
        &[]
    }

    fn cause_reader(&self) -> fn(&[String]) -> ImageErrorKind {
        |lines| failure_reason(Installer::Apt, lines).into()
    }

    fn addresses(&self, system: &Root) -> Vec<String> {
        mirrors::addresses(system)
    }

    fn archives<'a>(
        &self,
        runner: &mut Runner<'_>,
        release: &'a Release,
        options: &Options,
    ) -> Result<Box<dyn Archives + 'a>, Failure> {
        let access = if options.offline { None } else { Some(Access::of_machine(runner, release, options)?) };
        Ok(Box::new(AptArchives { release, access }))
    }

    fn packages(&self, tree: &Path) -> Result<Vec<Package>, Failure> {
        installed::packages(tree)
    }

    fn origins(
        &self,
        runner: &Runner<'_>,
        tree: &Path,
        image_folder: &Path,
        packages: &[Package],
    ) -> Result<Vec<PackageOrigin>, Failure> {
        installed::origins(runner, tree, &image_folder.join(fetch::LISTS), packages)
    }

    fn owners(&self, tree: &Path, paths: &[InsidePath]) -> Result<Vec<PathOwner>, Failure> {
        installed::owners(tree, paths)
    }

    fn initrd(&self, runner: &Runner<'_>, tree: &Path, kernel: &KernelRelease) -> Result<String, Failure> {
        let mut update = programs::command(tree, &[], "update-initramfs")?;
        update.args(["-c", "-k", kernel.as_str()]);
        runner.run(ImagePhase::Disk, &mut update)?;
        Ok(format!("/boot/initrd.img-{kernel}"))
    }
}

/// A release's archives.
struct AptArchives<'a> {
    release: &'a Release,
    /// `None` if nothing may be fetched.
    access: Option<Access>,
}

/// Access to the network, and the credentials that only the fetching program may get.
struct Access {
    mirrors: Mirrors,
    settings: AptSettings,
    logins: Vec<Login>,
    /// Key files from the caller.
    keys: Vec<PathBuf>,
}

impl Access {
    /// Determines the mirrors and their credentials, from the caller and the machine's apt.
    fn of_machine(runner: &mut Runner<'_>, release: &Release, options: &Options) -> Result<Access, Failure> {
        let trimmed = |url: &Option<String>| url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        let settings = AptSettings::of_machine(runner, options.accept_expired)?;
        let named = Mirrors { main: trimmed(&options.mirror), security: trimmed(&options.security_mirror) };
        // If the caller names all mirrors, this machine's apt files are not needed, and they may be unreadable.
        let whole = match named.has_all_of(release) {
            true => named,
            false => named.or(mirrors::of_machine(&Root::default(), release)?),
        };
        runner.redact = whole.redactor(&settings.proxy_urls());
        let (mirrors, logins) = whole.without_credentials()?;
        Ok(Access { mirrors, settings, logins, keys: options.keys.clone() })
    }
}

impl AptArchives<'_> {
    /// Returns the access to the network.
    fn access(&self) -> Result<&Access, Failure> {
        self.access.as_ref().ok_or_else(|| ImageErrorKind::NotCached.into())
    }

    /// Returns the machine's apt, working in a directory.
    fn fetch(&self, folder: &Path) -> Result<Fetch, Failure> {
        let access = self.access()?;
        Fetch::new(folder, &access.settings, &access.logins, &access.keys, self.release.arch)
    }
}

impl Archives for AptArchives<'_> {
    fn indexes(&mut self, runner: &mut Runner<'_>, folder: &Path, _: Option<&Path>) -> Result<Vec<Index>, Failure> {
        let fetch = self.fetch(folder)?;
        let release = self.release;
        let access = self.access.as_mut().ok_or(ImageErrorKind::NotCached)?;
        if !access.mirrors.has_all_of(release) && has_program(bootstrap::PROGRAM) {
            let more = bootstrap::default_mirrors(runner, release, &fetch, folder)?;
            access.mirrors = std::mem::take(&mut access.mirrors).or(more);
            access.mirrors.urls().for_each(|url| runner.redact.know(url));
        }
        indexes::fetch(runner, release, &access.mirrors, &fetch, folder)
    }

    fn offered(&self, runner: &Runner<'_>, folder: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
        // There is no tree with keys yet: the keys of this machine or of the caller are used.
        install::write_sources(self.release, &self.access()?.mirrors, folder, &folder.join("rootfs"))?;
        self.fetch(folder)?.update(runner, Path::new("/"))?;
        lists::offered(&folder.join(fetch::LISTS), names)
    }

    fn bootstrap(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<Vec<PackageName>, Failure> {
        let (mirrors, fetch) = (&self.access()?.mirrors, self.fetch(folder)?);
        install::write_sources(self.release, mirrors, folder, tree)?;
        bootstrap::bootstrap(runner, self.release, mirrors, &fetch, folder, tree)?;
        bootstrap::required(&folder.join(fetch::LISTS))
    }

    fn adopt(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<(), Failure> {
        install::write_sources(self.release, &self.access()?.mirrors, folder, tree)?;
        self.fetch(folder)?.update(runner, tree)
    }

    fn install(&self, runner: &Runner<'_>, install: &Install<'_>) -> Result<(), Failure> {
        let fetch = self.access.as_ref().map(|_| self.fetch(install.folder)).transpose()?;
        install::install(runner, install, fetch.as_ref())
    }
}
