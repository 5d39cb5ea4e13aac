//! Arch Linux, and all other distros with pacman.
//!
//! The tree's own pacman selects packages and installs them, both without a network; this machine's curl fetches, and
//! its gpg verifies: each package by the hash in its repository's database and by a signature.
//! Only the packages of a base from nothing are selected by a pacman of this machine, and no program in them is run
//! before the pacman among them installs them all.
//!
//! A rolling release is upgraded as a whole, because its distro does not support new packages on an old base.

mod database;
mod install;
mod keyring;
mod sources;

use super::download::{self, DownloadRequest};
use super::install::Install;
use super::offered::Offered;
use super::{Archives, MirrorOptions, PackageFamily};
use crate::digest;
use crate::error::{Failure, ImageErrorKind};
use crate::manifest::{Index, PackageOrigin, PathOwner};
use crate::options::Options;
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::kernel::KernelRelease;
use model::package::{Package, PackageName};
use model::package_manager::PackageManager;
use model::release::Release;
use operator::installer::{Installer, failure_reason};
use operator::packages::pacman;
use root::{InsidePath, Root};
use sources::Repository;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The pacman family.
pub(crate) struct Pacman;

/// Name of the program.
const PROGRAM: &str = "pacman";

/// Directory that is kept next to the tree, for candidates and disks derived from it.
const KEPT: &str = "pacman";
const SYNC: &str = "pacman/sync";

impl PackageFamily for Pacman {
    fn package_manager(&self) -> PackageManager {
        PackageManager::Pacman
    }

    fn package_name(&self, text: &str) -> Option<PackageName> {
        text.parse::<PackageName>().ok().filter(|name| name.is_for(PackageManager::Pacman))
    }

    fn is_package_file(&self, text: &str) -> bool {
        text.rsplit('/').next().is_some_and(|name| name.contains(".pkg.tar") && !name.ends_with(".sig"))
    }

    fn is_left_out(&self, name: &str) -> bool {
        name.contains(".pkg.tar") && name.contains("-debug-")
    }

    fn name_form(&self) -> &'static str {
        "a pacman package's name (lower-case letters, digits, `@`, `.`, `_`, `+`, `-`)"
    }

    fn file_form(&self) -> &'static str {
        "a .pkg.tar.zst file"
    }

    fn name_in_file(&self, file: &Path) -> Option<PackageName> {
        // `NAME-VERSION-RELEASE-ARCH.pkg.tar.zst`
        let whole = file.file_name()?.to_str()?.split(".pkg.tar").next()?;
        self.package_name(whole.rsplitn(4, '-').nth(3)?)
    }

    fn support_packages(&self) -> &'static [&'static str] {
        // The tests make ext4 disks.
        &["e2fsprogs"]
    }

    fn machine_packages(&self) -> &'static [&'static str] {
        &["dbus", "iproute2", "kmod", "mkinitcpio", "systemd", "systemd-sysvcompat", "tar"]
    }

    fn bootstrap_program(&self) -> &'static str {
        PROGRAM
    }

    fn fetching_programs(&self) -> &'static [&'static str] {
        &[download::PROGRAM, keyring::PROGRAM]
    }

    fn debian_package(&self, program: &'static str) -> Option<&'static str> {
        Some(if program == PROGRAM { "pacman-package-manager" } else { program })
    }

    fn settings_in_base(&self) -> &'static [&'static str] {
        &["/etc/pacman.conf", "/etc/pacman.d/mirrorlist", keyring::OF_SYSTEM]
    }

    fn cause_reader(&self) -> fn(&[String]) -> ImageErrorKind {
        cause
    }

    fn addresses(&self, system: &Root) -> Vec<String> {
        sources::addresses(system)
    }

    fn archives<'a>(
        &self,
        runner: &mut Runner<'_>,
        release: &'a Release,
        options: &Options,
    ) -> Result<Box<dyn Archives + 'a>, Failure> {
        Ok(Box::new(Repositories { release, options: MirrorOptions::of(self, runner, options)?, scratch: None }))
    }

    fn packages(&self, tree: &Path) -> Result<Vec<Package>, Failure> {
        super::installed::listed(pacman::installed(&tree::open(tree)?))
    }

    fn origins(
        &self,
        _: &Runner<'_>,
        _: &Path,
        image_folder: &Path,
        packages: &[Package],
    ) -> Result<Vec<PackageOrigin>, Failure> {
        let all = database::offered(&image_folder.join(SYNC))?;
        Ok(super::offered::origins(packages, all.iter().map(|file| &file.offered)))
    }

    fn owners(&self, tree: &Path, paths: &[InsidePath]) -> Result<Vec<PathOwner>, Failure> {
        super::installed::owners(tree, paths, pacman::owners)
    }

    fn initrd(&self, runner: &Runner<'_>, tree: &Path, kernel: &KernelRelease) -> Result<String, Failure> {
        let path = format!("/boot/initramfs-{kernel}.img");
        // The disk does not exist yet, so there is nothing to detect.
        let mut mkinitcpio = tree::command(tree, &[], "mkinitcpio")?;
        mkinitcpio.args(["--kernel", kernel.as_str(), "--generate", &path, "--skiphooks", "autodetect"]);
        runner.run(ImagePhase::Disk, &mut mkinitcpio)?;
        Ok(path)
    }
}

/// Returns the most specific cause in the output of curl, gpg and pacman.
fn cause(lines: &[String]) -> ImageErrorKind {
    let of_tools = download::cause(lines).or_else(|| keyring::cause(lines));
    of_tools.unwrap_or_else(|| failure_reason(Installer::Pacman, lines).into())
}

/// A release's repositories.
struct Repositories<'a> {
    release: &'a Release,
    options: MirrorOptions,
    /// Directory of the databases until there is an image's directory.
    scratch: Option<PathBuf>,
}

impl Repositories<'_> {
    /// Fetches a repository's database, and its signature if there is one: Arch signs only packages.
    fn database(&self, runner: &Runner<'_>, folder: &Path, repository: &Repository) -> Result<Index, Failure> {
        let database = format!("{}.db", repository.id);
        let request = |name: &str| DownloadRequest {
            address: format!("{}/{name}", repository.address),
            name: format!("{SYNC}/{name}"),
        };
        let fetch =
            |name: &str| download::fetch(runner, ImagePhase::Resolve, folder, &[request(name)], &self.options.logins);
        fetch(&database).map_err(|failure| super::of_index(failure, &repository.id))?;
        let signature = format!("{database}.sig");
        match fetch(&signature) {
            Ok(()) => keyring::verify(runner, folder, ImagePhase::Resolve, &format!("{SYNC}/{database}"))?,
            Err(Failure { cause: ImageErrorKind::NoSuchRelease { .. }, .. }) if !repository.is_signed => {}
            Err(Failure { cause: ImageErrorKind::NoSuchRelease { .. }, .. }) => {
                let detail = format!("the repository {} must be signed, but is not", repository.id);
                return Err(ImageErrorKind::Untrusted { detail }.into());
            }
            Err(failure) => return Err(failure),
        }
        let sha256 = digest::of_file(&folder.join(SYNC).join(&database))?;
        Ok(Index { suite: repository.id.clone(), security: false, sha256, date: None, valid_until: None })
    }

    fn context<'s>(&'s self, folder: &'s Path, runner: &'s Runner<'s>) -> install::Job<'s> {
        install::Job { runner, folder, logins: &self.options.logins, offline: self.options.offline }
    }
}

impl Archives for Repositories<'_> {
    fn indexes(&mut self, runner: &mut Runner<'_>, folder: &Path, base: Option<&Path>) -> Result<Vec<Index>, Failure> {
        let system = super::settled_by(base, self.release)?;
        let repositories = sources::repositories(system.as_ref(), self.options.mirror.as_deref(), self.release)?;
        for part in [KEPT, SYNC] {
            super::folder::make(&folder.join(part))?;
        }
        sources::write(folder, &repositories)?;
        keyring::make(runner, folder, system.as_ref(), &self.options.keys)?;
        let indexes = repositories.iter().map(|repository| self.database(runner, folder, repository)).collect();
        self.scratch = Some(folder.to_owned());
        indexes
    }

    fn offered(&self, _: &Runner<'_>, folder: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
        Ok(super::offered::named(database::offered(&folder.join(SYNC))?, names))
    }

    fn bootstrap(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<Vec<PackageName>, Failure> {
        super::install::keep(self.scratch.as_deref(), KEPT, folder)?;
        install::bootstrap(&self.context(folder, runner), tree)?;
        Ok(Vec::new())
    }

    fn adopt(&self, _: &Runner<'_>, folder: &Path, _: &Path) -> Result<(), Failure> {
        // The tree's own settings already name its package sources.
        super::install::keep(self.scratch.as_deref(), KEPT, folder)
    }

    fn install(&self, runner: &Runner<'_>, install: &Install<'_>) -> Result<(), Failure> {
        install.with_indexes(runner, KEPT, || install::install(&self.context(install.folder, runner), install))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pacman_package_names_and_files_are_recognised() {
        for good in ["qemu-system-x86", "gtk2+extra", "r8168", "lib32-glibc", "a@b"] {
            assert!(Pacman.package_name(good).is_some(), "{good}");
        }
        for wrong in ["", "-o", "Qemu", "core/qemu", "x.pkg.tar.zst", "a b", "x>=1"] {
            assert_eq!(Pacman.package_name(wrong), None, "{wrong}");
        }
        assert!(
            Pacman.is_package_file("./qemu-1-1-any.pkg.tar.zst")
                && !Pacman.is_package_file("q-1-1-any.pkg.tar.zst.sig")
        );
        let name = |file: &str| Pacman.name_in_file(Path::new(file)).map(|name| name.to_string());
        assert_eq!(name("/x/qemu-system-x86-1:10.1.2-1-x86_64.pkg.tar.zst").as_deref(), Some("qemu-system-x86"));
        assert_eq!(name("x.pkg.tar"), None);
        assert!(super::super::checked(&Pacman, &[], Pacman.machine_packages()).is_ok());
    }

    /// Each program's messages are read by its own module; this test checks their precedence.
    #[test]
    fn failures_of_each_program_are_recognised() {
        let cause_of = |text: &str| cause(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        let made = "gpg: Signature made Sun Nov 29 06:41:24 2026 UTC\ngpg:                using RSA key AB7AD4A0\n";
        let unknown = cause_of(&format!("{made}gpg: Can't check signature: No public key"));
        let ImageErrorKind::Untrusted { detail } = unknown else { panic!("{unknown:?}") };
        assert_eq!(detail, "Can't check signature: No public key (AB7AD4A0)");
        let damaged = cause_of(&format!("{made}gpg: BAD signature from \"good <good@b.example>\" [full]"));
        assert!(matches!(damaged, ImageErrorKind::Untrusted { detail } if detail.starts_with("BAD signature from")));
        assert!(matches!(
            cause_of("curl: (6) Could not resolve host: mirror.example"),
            ImageErrorKind::MirrorUnreachable { .. }
        ));
        assert!(matches!(
            cause_of("curl: (22) The requested URL returned error: 404"),
            ImageErrorKind::NoSuchRelease { .. }
        ));
        let missing = cause_of("error: target not found: nosuch");
        assert!(matches!(missing, ImageErrorKind::PackageMissing { package } if package == "nosuch"));
        assert!(matches!(cause_of("error: required key missing from keyring"), ImageErrorKind::Untrusted { .. }));
        assert!(matches!(cause_of("error: unable to lock database"), ImageErrorKind::CommandFailed));
    }
}
