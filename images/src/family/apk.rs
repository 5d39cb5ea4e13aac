//! Alpine Linux, and all other distros with apk.
//!
//! The tree's own apk selects, verifies and installs packages, all without a network; this machine's curl only fetches,
//! into directories with the layout of the repositories.
//! apk verifies an index by a key and each package by its hash in the index.
//!
//! A base from nothing needs an apk on this machine, which selects and verifies; nothing in the packages is run before
//! the apk among them installs them all.
//!
//! This was not tried with a real apk: the calls follow apk(8) of apk-tools 2.14, and a test records them with a
//! stand-in (`images/tests/apk.rs`).

mod index;
mod install;
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
use operator::packages::apk;
use root::{InsidePath, Root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The apk family.
pub(crate) struct Apk;

/// Name of the program.
const PROGRAM: &str = "apk";

/// Directory that is kept next to the tree, for candidates and disks derived from it.
const KEPT: &str = "apk";
const KEYS: &str = "apk/keys";
const INDEX: &str = "APKINDEX.tar.gz";

impl PackageFamily for Apk {
    fn package_manager(&self) -> PackageManager {
        PackageManager::Apk
    }

    fn package_name(&self, text: &str) -> Option<PackageName> {
        text.parse::<PackageName>().ok().filter(|name| name.is_for(PackageManager::Apk))
    }

    fn is_package_file(&self, text: &str) -> bool {
        text.ends_with(".apk")
    }

    fn is_left_out(&self, name: &str) -> bool {
        name.ends_with(".apk") && name.contains("-dbg-")
    }

    fn name_form(&self) -> &'static str {
        "an apk package's name (letters, digits, `.`, `_`, `+`, `-`)"
    }

    fn file_form(&self) -> &'static str {
        "an .apk file"
    }

    fn name_in_file(&self, file: &Path) -> Option<PackageName> {
        // `NAME-VERSION-rRELEASE.apk`
        let whole = file.file_name()?.to_str()?.strip_suffix(".apk")?;
        self.package_name(whole.rsplitn(3, '-').nth(2)?)
    }

    fn support_packages(&self) -> &'static [&'static str] {
        // The tests make ext4 disks.
        &["e2fsprogs"]
    }

    fn machine_packages(&self) -> &'static [&'static str] {
        &["alpine-base", "dbus", "iproute2", "kmod", "mkinitfs"]
    }

    fn boots_with_systemd(&self) -> bool {
        // OpenRC.
        false
    }

    fn bootstrap_program(&self) -> &'static str {
        PROGRAM
    }

    fn fetching_programs(&self) -> &'static [&'static str] {
        &[download::PROGRAM]
    }

    fn debian_package(&self, program: &'static str) -> Option<&'static str> {
        // Debian has no apk.
        (program != PROGRAM).then_some(program)
    }

    fn settings_in_base(&self) -> &'static [&'static str] {
        &[sources::REPOSITORIES, sources::OF_SYSTEM]
    }

    fn cause_reader(&self) -> fn(&[String]) -> ImageErrorKind {
        |lines| download::cause(lines).unwrap_or_else(|| failure_reason(Installer::Apk, lines).into())
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
        super::installed::listed(apk::installed(&tree::open(tree)?))
    }

    fn origins(
        &self,
        _: &Runner<'_>,
        _: &Path,
        image_folder: &Path,
        packages: &[Package],
    ) -> Result<Vec<PackageOrigin>, Failure> {
        let all = index::offered(image_folder)?;
        Ok(super::offered::origins(packages, all.iter().map(|file| &file.offered)))
    }

    fn owners(&self, tree: &Path, paths: &[InsidePath]) -> Result<Vec<PathOwner>, Failure> {
        super::installed::owners(tree, paths, apk::owners)
    }

    fn initrd(&self, runner: &Runner<'_>, tree: &Path, kernel: &KernelRelease) -> Result<String, Failure> {
        let path = format!("/boot/initramfs-{kernel}");
        let mut mkinitfs = tree::command(tree, &[], "mkinitfs")?;
        mkinitfs.args(["-F", "base ext4 virtio", "-o", &path, kernel.as_str()]);
        runner.run(ImagePhase::Disk, &mut mkinitfs)?;
        Ok(path)
    }
}

/// A release's repositories.
struct Repositories<'a> {
    release: &'a Release,
    options: MirrorOptions,
    /// Directory of the indexes until there is an image's directory.
    scratch: Option<PathBuf>,
}

impl Repositories<'_> {
    fn job<'s>(&'s self, runner: &'s Runner<'s>, folder: &'s Path) -> install::Job<'s> {
        let arch = self.release.arch.name();
        install::Job { runner, folder, logins: &self.options.logins, arch, offline: self.options.offline }
    }

    /// Fetches a repository's index; the apk that reads the index checks its signature.
    fn index(&self, runner: &Runner<'_>, folder: &Path, id: &str, address: &str) -> Result<Index, Failure> {
        let name = format!("{KEPT}/{id}.tar.gz");
        let request =
            DownloadRequest { address: format!("{address}/{}/{INDEX}", self.release.arch.name()), name: name.clone() };
        let fetched = download::fetch(runner, ImagePhase::Resolve, folder, &[request], &self.options.logins);
        fetched.map_err(|failure| super::of_index(failure, id))?;
        let sha256 = digest::of_file(&folder.join(name))?;
        Ok(Index { suite: id.to_owned(), security: false, sha256, date: None, valid_until: None })
    }
}

impl Archives for Repositories<'_> {
    fn indexes(&mut self, runner: &mut Runner<'_>, folder: &Path, base: Option<&Path>) -> Result<Vec<Index>, Failure> {
        let system = super::settled_by(base, self.release)?;
        let repositories = sources::repositories(system.as_ref(), self.options.mirror.as_deref(), self.release)?;
        for part in [KEPT, KEYS] {
            super::folder::make(&folder.join(part))?;
        }
        sources::write(folder, &repositories)?;
        sources::keys(folder, system.as_ref(), &self.options.keys)?;
        let index = |(id, address): &(String, String)| self.index(runner, folder, id, address);
        let indexes = repositories.iter().map(index).collect::<Result<Vec<Index>, Failure>>()?;
        self.scratch = Some(folder.to_owned());
        Ok(indexes)
    }

    /// Fails: only the apk of a tree verifies an index, and without a tree nothing says whether the fetched one is the
    /// distro's.
    fn offered(&self, _: &Runner<'_>, _: &Path, _: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
        let detail = "only an installed apk verifies its index, and none is run to look for versions".to_owned();
        Err(ImageErrorKind::Untrusted { detail }.into())
    }

    fn bootstrap(&self, runner: &Runner<'_>, folder: &Path, tree: &Path) -> Result<Vec<PackageName>, Failure> {
        super::install::keep(self.scratch.as_deref(), KEPT, folder)?;
        install::bootstrap(&self.job(runner, folder), tree)?;
        Ok(Vec::new())
    }

    fn adopt(&self, _: &Runner<'_>, folder: &Path, _: &Path) -> Result<(), Failure> {
        // The tree's own settings already name its package sources.
        super::install::keep(self.scratch.as_deref(), KEPT, folder)
    }

    fn install(&self, runner: &Runner<'_>, install: &Install<'_>) -> Result<(), Failure> {
        install.with_indexes(runner, KEPT, || install::install(&self.job(runner, install.folder), install))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apk_package_names_and_files_are_recognised() {
        for good in ["qemu-system-x86_64", "libstdc++", "py3-yaml", "R"] {
            assert!(Apk.package_name(good).is_some(), "{good}");
        }
        // `so:`, `cmd:` and `@tag` mean something else to apk, and `!` removes a package.
        for wrong in ["", "-o", "so:libc.so", "a@edge", "!qemu", "x.apk", "a=1", "a/b", "~x"] {
            assert_eq!(Apk.package_name(wrong), None, "{wrong}");
        }
        let name = |file: &str| Apk.name_in_file(Path::new(file)).map(|name| name.to_string());
        assert_eq!(name("/x/qemu-system-x86_64-9.2.2-r1.apk").as_deref(), Some("qemu-system-x86_64"));
        assert!(super::super::checked(&Apk, &[], Apk.machine_packages()).is_ok());
    }

    /// Otherwise whoever answers for the mirror could make a record's entries stale, or keep them fresh.
    #[test]
    fn versions_are_not_taken_from_an_index_that_nobody_verified() {
        let dir = tempfile::tempdir().unwrap();
        let release = crate::fixtures::release("3.22", "-");
        let cancel = std::sync::atomic::AtomicBool::new(false);
        let mut runner = crate::fixtures::runner(&cancel, 60);
        let options = Options::new(dir.path());
        let archives = Apk.archives(&mut runner, &release, &options).unwrap();
        let refused = archives.offered(&runner, dir.path(), &BTreeSet::from(["qemu"])).unwrap_err();
        assert!(
            matches!(&refused.cause, ImageErrorKind::Untrusted { detail } if detail.contains("verifies its index"))
        );
    }

    #[test]
    fn failures_of_each_program_are_recognised() {
        let cause_of = |text: &str| (Apk.cause_reader())(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        assert!(matches!(
            cause_of("curl: (6) Could not resolve host: mirror.example"),
            ImageErrorKind::MirrorUnreachable { .. }
        ));
        let missing = cause_of("  nosuch (no such package):");
        assert!(matches!(missing, ImageErrorKind::PackageMissing { package } if package == "nosuch"));
    }
}
