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
use std::path::Path;
use std::process::Command;

/// Directory below the image's directory with the fetched part of the repositories, keys, and the caller's packages.
const ARCHIVES: &str = "archives";
const TRUSTED: &str = "keys";
const LOCAL: &str = "local";

/// Minimum packages of a tree.
const BASE: [&str; 2] = ["alpine-base", "apk-tools"];
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
    if !names.is_empty() {
        job.runner.run(ImagePhase::Install, job.apk(install.tree)?.arg("add").args(&names))?;
    }
    if !local.is_empty() {
        // Without any repository, so that only the caller's files are installed unverified.
        let mut apk = tree::command(install.tree, &[job.mount(&job.folder.join(ARCHIVES))], PROGRAM)?;
        apk.args(["--no-network", "--no-cache", "--no-progress", "--repositories-file", "/dev/null"]);
        job.runner.run(ImagePhase::Install, apk.args(["add", "--allow-untrusted"]).args(&local))?;
    }
    // Left in an OCI image that Docker has run.
    tree::remove(&root, "/.dockerenv")?;
    job.tidy(install.tree)
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
