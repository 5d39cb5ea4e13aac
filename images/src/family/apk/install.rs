//! Package installation: selected, verified and installed by the tree's own apk, fetched by this machine's curl.

use super::index;
use super::{INDEX, KEPT, KEYS, PROGRAM, sources};
use crate::base;
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family::credentials::Login;
use crate::family::download::{self, DownloadRequest};
use crate::family::install::{Install, OVER};
use crate::family::offered::OfferedFile;
use crate::family::{self, folder, repository_list};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use operator::process::sandbox::{BindMount, Network};
use root::Root;
use std::path::Path;
use std::process::Command;

/// Directory below the image's directory with the fetched part of the repositories, keys, and the caller's packages.
const ARCHIVES: &str = "archives";
const TRUSTED: &str = "keys";
const LOCAL: &str = "local";

/// Minimum packages of a tree.
const BASE: [&str; 2] = ["alpine-base", "apk-tools"];
/// mkinitfs's configuration, which its trigger reads, and the file that apk makes of a package's own if the system's is
/// changed.
const MKINITFS: &str = "/etc/mkinitfs/mkinitfs.conf";
const MKINITFS_OF_PACKAGE: &str = "/etc/mkinitfs/mkinitfs.conf.apk-new";
/// Keeps the trigger from making an initrd when a kernel is installed: that takes longer than all other packages, and no
/// guest here boots the result.
const NO_INITRD: &[u8] = b"\ndisable_trigger=yes\n";
/// Size limit of this configuration, in bytes.
const MAX_CONFIGURATION: u64 = 1 << 16;
/// Prefix of files in a package's archive that are only for apk, such as its scripts.
const OF_PACKAGES: &str = ".";

/// Parameters common to all steps.
pub(super) struct Job<'a> {
    pub(super) runner: &'a Runner<'a>,
    pub(super) folder: &'a Path,
    pub(super) logins: &'a [Login],
    pub(super) arch: &'a str,
    pub(super) offline: bool,
}

/// Makes a base tree.
pub(super) fn bootstrap(job: &Job<'_>, tree: &Path) -> Result<(), Failure> {
    std::fs::create_dir(tree).context("creating", tree)?;
    job.offer(&[])?;
    // There is no tree yet, so this machine's apk selects the packages, with an empty directory as its root.
    let (empty, sandbox_path) = (job.folder.join("empty"), family::sandbox_path(job.folder));
    folder::make_empty(&empty, &[])?;
    let mut apk = family::of_machine(job.folder, Network::None, PROGRAM, ARCHIVES)?;
    apk.arg("--root").arg(sandbox_path.join("empty")).args(["--initdb", "--arch", job.arch]);
    let simulated = job.settings(&mut apk, &job.sandbox_path())?.args(["add", "--simulate"]).args(BASE);
    let printed = job.runner.output(ImagePhase::Bootstrap, simulated)?;
    std::fs::remove_dir_all(&empty).context("removing", &empty)?;
    let packages = job.fetch(ImagePhase::Bootstrap, &index::to_fetch(&printed, &index::offered(job.folder)?))?;
    let mut verify = family::of_machine(job.folder, Network::None, PROGRAM, ARCHIVES)?;
    verify.arg("--keys-dir").arg(job.sandbox_path().join(TRUSTED)).arg("verify");
    verify.args(packages.iter().map(|name| job.sandbox_path().join(name)));
    job.runner.run(ImagePhase::Bootstrap, &mut verify)?;
    // Nothing in the packages has run so far.
    for name in &packages {
        base::archive::unpack(job.runner, &job.folder.join(ARCHIVES).join(name), tree)?;
    }
    let root = tree::open(tree)?;
    let inside = root.list(Path::new("/")).map_err(tree::failed)?;
    for name in inside.iter().filter(|name| name.starts_with(OF_PACKAGES)) {
        tree::remove(&root, &format!("/{name}"))?;
    }
    tree::devices(&root)?;
    let mut apk = job.apk(tree)?;
    job.runner.run(ImagePhase::Bootstrap, apk.args(["add", "--initdb"]).args(BASE))?;
    job.tidy(tree)
}

/// Installs packages in a tree; offline nothing is fetched.
pub(super) fn install(job: &Job<'_>, install: &Install<'_>) -> Result<(), Failure> {
    let (mut names, files) = install.names_and_files();
    let local = job.offer(&files)?;
    let over = Path::new(OVER);
    let local: Vec<String> = local.iter().map(|name| over.join(LOCAL).join(name).display().to_string()).collect();
    let mut simulate = job.apk(install.tree)?;
    simulate.args(["add", "--simulate"]);
    if !local.is_empty() {
        // This call only selects: packages from the repositories are verified at installation.
        simulate.arg("--allow-untrusted");
    }
    let printed = job.runner.output(ImagePhase::Install, simulate.args(&names).args(&local))?;
    let to_fetch = index::to_fetch(&printed, &index::offered(job.folder)?);
    if job.offline && !to_fetch.is_empty() {
        return Err(ImageErrorKind::NotCached.into());
    }
    job.fetch(ImagePhase::Install, &to_fetch)?;
    let root = tree::open(install.tree)?;
    tree::devices(&root)?;
    if !local.is_empty() {
        // Dependencies of the caller's packages, by name: apk takes a word with `.apk` for a file, which it would not
        // verify.
        names.extend(to_fetch.iter().map(|one| one.offered.name.clone()));
    }
    without_initrd(&root, || {
        if !names.is_empty() {
            job.runner.run(ImagePhase::Install, job.apk(install.tree)?.arg("add").args(&names))?;
        }
        if !local.is_empty() {
            // Without any repository, so that only the caller's files are installed unverified.
            let mut apk = tree::command(install.tree, &[job.mount(&job.folder.join(ARCHIVES))], PROGRAM)?;
            apk.args(["--no-network", "--no-cache", "--no-progress", "--repositories-file", "/dev/null"]);
            job.runner.run(ImagePhase::Install, apk.args(["add", "--allow-untrusted"]).args(&local))?;
        }
        Ok(())
    })?;
    // Left in an OCI image that Docker has run.
    tree::remove(&root, "/.dockerenv")?;
    job.tidy(install.tree)
}

/// Installs packages while mkinitfs's trigger makes no initrd; afterwards its configuration is what it would be without
/// this.
fn without_initrd(root: &Root, install: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let content = |path: &str| match root.read(Path::new(path), MAX_CONFIGURATION) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(tree::failed(error)),
    };
    let folder = Path::new(MKINITFS).parent().unwrap_or(Path::new("/"));
    let had_folder = root.look(folder).map_err(tree::failed)?.is_some();
    let (before, of_package_before) = (content(MKINITFS)?, content(MKINITFS_OF_PACKAGE)?);
    tree::write(root, MKINITFS, 0o644, &[before.as_deref().unwrap_or_default(), NO_INITRD].concat())?;
    install()?;
    // Without the change, apk would have put the package's file in place.
    let of_package = content(MKINITFS_OF_PACKAGE)?.filter(|_| of_package_before.is_none());
    match of_package.as_ref().or(before.as_ref()) {
        Some(content) => tree::write(root, MKINITFS, 0o644, content)?,
        None => tree::remove(root, MKINITFS)?,
    }
    if of_package.is_some() {
        tree::remove(root, MKINITFS_OF_PACKAGE)?;
    }
    let is_empty = root.list(folder).map_err(tree::failed)?.is_empty();
    match folder.to_str().filter(|_| !had_folder && is_empty) {
        Some(folder) => tree::remove(root, folder),
        None => Ok(()),
    }
}

impl Job<'_> {
    /// Makes apk use only the harness's repositories and keys.
    fn settings<'c>(&self, apk: &'c mut Command, folder: &Path) -> Result<&'c mut Command, Failure> {
        apk.args(["--no-network", "--no-cache", "--no-progress", "--repositories-file", "/dev/null"]);
        apk.arg("--keys-dir").arg(folder.join(TRUSTED));
        for (id, _) in sources::written(self.folder)? {
            apk.arg("--repository").arg(folder.join(id));
        }
        Ok(apk)
    }

    /// Returns the path at which this machine's programs see the packages.
    fn sandbox_path(&self) -> std::path::PathBuf {
        family::sandbox_path(self.folder).join(ARCHIVES)
    }

    fn mount<'m>(&self, archives: &'m Path) -> BindMount<'m> {
        BindMount { folder: archives, over: OVER, writable: false }
    }

    /// Returns a command of the tree's own apk.
    fn apk(&self, tree: &Path) -> Result<Command, Failure> {
        let archives = self.folder.join(ARCHIVES);
        let mut apk = tree::command(tree, &[self.mount(&archives)], PROGRAM)?;
        self.settings(&mut apk, Path::new(OVER))?;
        Ok(apk)
    }

    /// Recreates the directory of packages: the repositories with their indexes, the keys, and the caller's packages.
    fn offer(&self, files: &[&Path]) -> Result<Vec<String>, Failure> {
        let archives = self.folder.join(ARCHIVES);
        folder::make_empty(&archives, &[TRUSTED, LOCAL])?;
        for key in folder::names(&self.folder.join(KEYS))? {
            folder::copy_into(&archives.join(TRUSTED), &self.folder.join(KEYS).join(&key))?;
        }
        for (id, _) in sources::written(self.folder)? {
            let repository = archives.join(&id);
            folder::make(&repository)?;
            folder::make(&repository.join(self.arch))?;
            folder::copy(
                &self.folder.join(KEPT).join(format!("{id}.tar.gz")),
                &repository.join(self.arch).join(INDEX),
            )?;
        }
        files.iter().map(|path| folder::copy_into(&archives.join(LOCAL), path)).collect()
    }

    /// Fetches packages into the repositories' directories; returns their paths there.
    fn fetch(&self, phase: ImagePhase, offered: &[OfferedFile]) -> Result<Vec<String>, Failure> {
        let servers = sources::written(self.folder)?;
        let mut files = Vec::new();
        let mut names = Vec::new();
        for one in offered {
            let (repository, arch, file) = (&one.offered.repository, self.arch, &one.name);
            let server = repository_list::address_of(&servers, repository)?;
            let name = format!("{repository}/{arch}/{file}");
            files.push(DownloadRequest {
                address: format!("{server}/{arch}/{file}"),
                name: format!("{ARCHIVES}/{name}"),
            });
            names.push(name);
        }
        download::fetch(self.runner, phase, self.folder, &files, self.logins)?;
        Ok(names)
    }

    fn tidy(&self, tree: &Path) -> Result<(), Failure> {
        tree::remove(&tree::open(tree)?, OVER)?;
        let archives = self.folder.join(ARCHIVES);
        std::fs::remove_dir_all(&archives).context("removing", &archives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_mkinitfs_is_only_changed_while_packages_are_installed() {
        // The file before, the file that apk installs beside it, and what remains.
        for (before, of_package, after) in [
            (None, None, None),
            (Some("features=old\n"), None, Some("features=old\n")),
            (None, Some("features=new\n"), Some("features=new\n")),
            (Some("features=old\n"), Some("features=new\n"), Some("features=new\n")),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let [folder, file, new] = ["", "/mkinitfs.conf", "/mkinitfs.conf.apk-new"]
                .map(|name| dir.path().join(format!("etc/mkinitfs{name}")));
            if let Some(text) = before {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, text).unwrap();
            }
            let root = Root::new(dir.path()).unwrap();
            let installed = without_initrd(&root, || {
                let text = std::fs::read_to_string(&file).unwrap();
                assert_eq!(text, format!("{}\ndisable_trigger=yes\n", before.unwrap_or_default()));
                of_package.iter().for_each(|text| std::fs::write(&new, text).unwrap());
                Ok(())
            });
            installed.unwrap();
            assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), after, "{before:?} {of_package:?}");
            assert!(!new.exists(), "{before:?} {of_package:?}");
            assert_eq!(folder.exists(), after.is_some(), "{before:?} {of_package:?}");
        }
    }
}
