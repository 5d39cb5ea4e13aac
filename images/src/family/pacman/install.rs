//! Package installation: selected by the tree's own pacman, fetched and verified by this machine, installed by the
//! tree's own pacman.

use super::database;
use super::{PROGRAM, SYNC, keyring, sources};
use crate::base;
use crate::digest;
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

/// Directory below the image's directory for packages, with pacman's settings, and hooks that mask others.
const ARCHIVES: &str = "archives";
const CONFIGURATION: &str = "pacman.conf";
const HOOKS: &str = "hooks";
/// Path at which the tree's pacman sees the repositories' databases.
const SYNC_OVER: &str = "/var/lib/pacman/sync";

/// Hooks that make an initrd when a kernel is installed: they take longer than all other packages, and no guest here
/// boots their result.
const MASKED: [&str; 2] = ["90-mkinitcpio-install.hook", "90-dracut-install.hook"];

/// Minimum package of a tree.
const BASE: &str = "base";
/// Files in a package's archive that are only for pacman.
const OF_PACKAGES: [&str; 5] = ["/.BUILDINFO", "/.CHANGELOG", "/.INSTALL", "/.MTREE", "/.PKGINFO"];

/// Parameters common to all steps.
pub(super) struct Job<'a> {
    pub(super) runner: &'a Runner<'a>,
    pub(super) folder: &'a Path,
    pub(super) logins: &'a [Login],
    pub(super) offline: bool,
}

/// Makes a base tree.
pub(super) fn bootstrap(job: &Job<'_>, tree: &Path) -> Result<(), Failure> {
    std::fs::create_dir(tree).context("creating", tree)?;
    job.offer(&[])?;
    // There is no tree yet, so this machine's pacman selects the packages, with an empty directory as its root.
    let (empty, sandbox_path) = (job.folder.join("empty"), family::sandbox_path(job.folder));
    folder::make_empty(&empty, &["db"])?;
    let sync = job.folder.join("empty/db/sync");
    std::os::unix::fs::symlink(sandbox_path.join(SYNC), &sync).context("linking", &sync)?;
    let mut pacman = family::of_machine(job.folder, Network::None, PROGRAM, ARCHIVES)?;
    pacman.arg("--root").arg(sandbox_path.join("empty")).arg("--dbpath").arg(sandbox_path.join("empty/db"));
    pacman.arg("--config").arg(sandbox_path.join(ARCHIVES).join(CONFIGURATION));
    let printed = job.runner.output(ImagePhase::Bootstrap, print(&mut pacman, "--sync").args(["--", BASE]))?;
    std::fs::remove_dir_all(&empty).context("removing", &empty)?;
    let packages =
        job.fetch(ImagePhase::Bootstrap, &database::to_fetch(&printed, &database::offered(&job.folder.join(SYNC))?)?)?;
    // Nothing in the packages has run so far.
    for name in &packages {
        base::archive::unpack(job.runner, &job.folder.join(ARCHIVES).join(name), tree)?;
    }
    let root = tree::open(tree)?;
    OF_PACKAGES.iter().try_for_each(|file| tree::remove(&root, file))?;
    job.put(ImagePhase::Bootstrap, tree, &packages, true)
}

/// Installs packages in a tree, and upgrades existing ones; offline nothing is fetched.
pub(super) fn install(job: &Job<'_>, install: &Install<'_>) -> Result<(), Failure> {
    let (names, files) = install.names_and_files();
    let local = job.offer(&files)?;
    let over = Path::new(OVER);
    let mut printed = String::new();
    if !names.is_empty() {
        let mut pacman = job.pacman(install.tree)?;
        print(&mut pacman, "--sync").arg("--sysupgrade").arg("--needed").arg("--").args(&names);
        printed += &job.runner.output(ImagePhase::Install, &mut pacman)?;
    }
    if !local.is_empty() {
        let mut pacman = job.pacman(install.tree)?;
        print(&mut pacman, "--upgrade").arg("--").args(local.iter().map(|name| over.join(name)));
        printed += &job.runner.output(ImagePhase::Install, &mut pacman)?;
    }
    let to_fetch = database::to_fetch(&printed, &database::offered(&job.folder.join(SYNC))?)?;
    if job.offline && !to_fetch.is_empty() {
        return Err(ImageErrorKind::NotCached.into());
    }
    let mut packages = job.fetch(ImagePhase::Install, &to_fetch)?;
    // A candidate replaces the repositories' package of its name.
    packages.extend(local);
    job.put(ImagePhase::Install, install.tree, &packages, false)?;
    // Left in an OCI image that Docker has run.
    tree::remove(&tree::open(install.tree)?, "/.dockerenv")
}

/// Makes pacman print the selected packages, one per line.
fn print<'c>(pacman: &'c mut Command, operation: &str) -> &'c mut Command {
    pacman.args([operation, "--print", "--print-format", "%r %n %v", "--noconfirm"])
}

impl Job<'_> {
    /// Recreates the directory of packages with the caller's own; returns their names.
    ///
    /// Signatures are not checked in the tree: fetched packages are verified here, and the caller's own need no
    /// signature.
    fn offer(&self, files: &[&Path]) -> Result<Vec<String>, Failure> {
        let archives = self.folder.join(ARCHIVES);
        folder::make_empty(&archives, &[HOOKS])?;
        let mut text = format!(
            "[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\nHookDir = {OVER}/{HOOKS}/\n"
        );
        for (id, _) in sources::written(self.folder)? {
            // pacman requires a server even if it only reads the database.
            text += &format!("[{id}]\nServer = file:///nowhere\n");
        }
        let configuration = archives.join(CONFIGURATION);
        std::fs::write(&configuration, text).context("writing", &configuration)?;
        for hook in MASKED {
            let hook = archives.join(HOOKS).join(hook);
            std::os::unix::fs::symlink("/dev/null", &hook).context("linking", &hook)?;
        }
        files.iter().map(|path| folder::copy_into(&archives, path)).collect()
    }

    /// Returns a command of the tree's own pacman.
    fn pacman(&self, tree: &Path) -> Result<Command, Failure> {
        let (archives, sync) = (self.folder.join(ARCHIVES), self.folder.join(SYNC));
        let mounts = [
            BindMount { folder: &archives, over: OVER, writable: false },
            BindMount { folder: &sync, over: SYNC_OVER, writable: false },
        ];
        let mut pacman = tree::command(tree, &mounts, PROGRAM)?;
        pacman.env("SYSTEMD_OFFLINE", "1");
        pacman.arg("--config").arg(Path::new(OVER).join(CONFIGURATION));
        Ok(pacman)
    }

    /// Fetches packages with their signatures, and checks their hashes and signatures; returns the files' names.
    fn fetch(&self, phase: ImagePhase, offered: &[OfferedFile]) -> Result<Vec<String>, Failure> {
        let servers = sources::written(self.folder)?;
        let mut files = Vec::new();
        for one in offered {
            let server = repository_list::address_of(&servers, &one.offered.repository)?;
            for name in [one.name.clone(), format!("{}.sig", one.name)] {
                files.push(DownloadRequest { address: format!("{server}/{name}"), name: format!("{ARCHIVES}/{name}") });
            }
        }
        download::fetch(self.runner, phase, self.folder, &files, self.logins).map_err(|failure| {
            match failure.cause {
                // The mirror lacks a package that its database lists: the database is of another day.
                ImageErrorKind::NoSuchRelease { .. } => Failure {
                    cause: ImageErrorKind::NoSuchRelease { what: "a package or its signature".to_owned() },
                    ..failure
                },
                _ => failure,
            }
        })?;
        for one in offered {
            let name = format!("{ARCHIVES}/{}", one.name);
            if Some(digest::of_file(&self.folder.join(&name))?) != one.sha256 {
                let detail = format!(
                    "{}: its checksum differs from the one in the database of {}",
                    one.name, one.offered.repository
                );
                return Err(ImageErrorKind::Untrusted { detail }.into());
            }
            keyring::verify(self.runner, self.folder, phase, &name)?;
        }
        Ok(offered.iter().map(|one| one.name.clone()).collect())
    }

    /// Installs packages with the tree's own pacman, without a network.
    fn put(&self, phase: ImagePhase, tree: &Path, packages: &[String], over_all: bool) -> Result<(), Failure> {
        let root = tree::open(tree)?;
        tree::devices(&root)?;
        if !packages.is_empty() {
            let mut pacman = self.pacman(tree)?;
            pacman.args(["--upgrade", "--noconfirm", "--noprogressbar"]);
            if over_all {
                // The files are already unpacked, and belong to no package yet.
                pacman.args(["--overwrite", "*"]);
            }
            let over = Path::new(OVER);
            self.runner.run(phase, pacman.arg("--").args(packages.iter().map(|name| over.join(name))))?;
        }
        tree::remove(&root, OVER)?;
        let archives = self.folder.join(ARCHIVES);
        std::fs::remove_dir_all(&archives).context("removing", &archives)
    }
}
