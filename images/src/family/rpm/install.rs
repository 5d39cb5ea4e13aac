//! Package installation: fetched and verified by this machine, installed by the release's own rpm inside its tree.

use super::workspace::{self, MODULES, Workspace};
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family::folder;
use crate::family::install::{Install, OVER};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::package::PackageName;
use operator::process::sandbox::{BindMount, Network};
use std::path::Path;

/// Directory below the image's directory for packages, and its subdirectory for those from the caller.
const ARCHIVES: &str = "archives";
const LOCAL: &str = "local";
/// Database of this machine's rpm for packages that it only unpacks.
const UNPACKED: &str = "/.kata-qualify-unpacked";

/// Files that keep an initrd from being made when a kernel is installed: that takes longer than all other packages, and
/// no guest here boots the result.
///
/// `kernel-install` skips a hook if this directory has a file of its name; before systemd 251 there is no variable for
/// it. SUSE's scripts of the kernel take a system with `/.buildenv` for one in which packages are built
/// (`regenerate-initrd-posttrans` and `kernel-scriptlets/rpm-script` of suse-module-tools), and run no boot loader
/// either.
const MASKS: [&str; 3] =
    ["/etc/kernel/install.d/50-dracut.install", "/etc/kernel/install.d/51-dracut-rescue.install", "/.buildenv"];

/// Makes a base tree from these packages and their dependencies.
pub(super) fn bootstrap(
    runner: &Runner<'_>,
    workspace: &Workspace,
    modules: &[String],
    folder: &Path,
    tree: &Path,
    base: &[PackageName],
) -> Result<(), Failure> {
    std::fs::create_dir(tree).context("creating", tree)?;
    let words: Vec<String> = base.iter().map(ToString::to_string).collect();
    let modules = workspace.enable(runner, Network::Machine, modules)?;
    let packages = fetch(runner, workspace, Network::Machine, folder, &words, ImagePhase::Bootstrap)?;
    // Nothing in the packages is run, neither scripts nor triggers nor this machine's plugins.
    let mut rpm = workspace.command(Network::None, "rpm")?;
    rpm.arg(format!("--root={}", workspace.sandbox_path("rootfs").display())).arg(format!("--dbpath={UNPACKED}"));
    rpm.args(["--install", "--noscripts", "--notriggers", "--noplugins", "--nosignature"]);
    rpm.args(packages.iter().map(|name| workspace.sandbox_path(ARCHIVES).join(name)));
    runner.run(ImagePhase::Bootstrap, &mut rpm)?;
    let root = tree::open(tree)?;
    tree::remove(&root, UNPACKED)?;
    tree::devices(&root)?;
    for (name, content) in &modules {
        tree::write(&root, &format!("{MODULES}/{name}"), 0o644, content)?;
    }
    // The tree's own rpm has no database yet, so it installs all packages again over their files, with their scripts.
    put(runner, folder, tree, &packages, ImagePhase::Bootstrap)
}

/// Installs packages in a tree; offline nothing is fetched.
pub(super) fn install(
    runner: &Runner<'_>,
    workspace: &Workspace,
    modules: &[String],
    install: &Install<'_>,
    offline: bool,
) -> Result<(), Failure> {
    let (folder, tree) = (install.folder, install.tree);
    let network = if offline { Network::None } else { Network::Machine };
    let (mut words, files) = install.names_and_files();
    let mut local = Vec::new();
    for path in files {
        folder::make(&folder.join(LOCAL))?;
        let copy = folder::copy_into(&folder.join(LOCAL), path)?;
        words.push(workspace.sandbox_path(LOCAL).join(&copy).display().to_string());
        local.push(copy);
    }
    let modules = workspace.enable(runner, network, modules)?;
    let fetched = fetch(runner, workspace, network, folder, &words, ImagePhase::Install);
    let mut packages = fetched.map_err(|failure| match failure.cause {
        ImageErrorKind::MirrorUnreachable { .. } | ImageErrorKind::NoSuchRelease { .. } if offline => {
            ImageErrorKind::NotCached.into()
        }
        _ => failure,
    })?;
    let root = tree::open(tree)?;
    tree::devices(&root)?;
    for (name, content) in &modules {
        tree::write(&root, &format!("{MODULES}/{name}"), 0o644, content)?;
    }
    // Only packages from the repositories were verified with their keys; these packages are the caller's.
    for name in local {
        let to = folder.join(ARCHIVES).join(&name);
        std::fs::rename(folder.join(LOCAL).join(&name), &to).context("moving", &to)?;
        packages.push(name);
    }
    put(runner, folder, tree, &packages, ImagePhase::Install)?;
    let local_folder = folder.join(LOCAL);
    if local_folder.exists() {
        std::fs::remove_dir_all(&local_folder).context("removing", &local_folder)?;
    }
    // Left in an OCI image that Docker has run.
    tree::remove(&root, "/.dockerenv")
}

/// Fetches the wanted packages and their dependencies that the tree lacks; returns the files' names.
///
/// dnf checks hashes and signatures. The fetched packages are checked again, because not all versions of dnf check
/// packages that they only fetch.
fn fetch(
    runner: &Runner<'_>,
    workspace: &Workspace,
    network: Network,
    folder: &Path,
    words: &[String],
    phase: ImagePhase,
) -> Result<Vec<String>, Failure> {
    let archives = folder.join(ARCHIVES);
    folder::make_empty(&archives, &[])?;
    let mut dnf = workspace.dnf(network)?;
    dnf.args(["install", "--downloadonly"])
        .arg(format!("--downloaddir={}", workspace.sandbox_path(ARCHIVES).display()));
    dnf.arg("--").args(words);
    runner.run(phase, &mut dnf)?;
    let names = folder::names(&archives)?;
    let packages: Vec<String> = names.into_iter().filter(|name| name.ends_with(".rpm")).collect();
    if !packages.is_empty() {
        verify(runner, workspace, folder, &packages, phase)?;
    }
    Ok(packages)
}

/// Checks that each package is intact and signed with one of the release's keys.
fn verify(
    runner: &Runner<'_>,
    workspace: &Workspace,
    folder: &Path,
    packages: &[String],
    phase: ImagePhase,
) -> Result<(), Failure> {
    let keyring = workspace.sandbox_path("keyring");
    let rpmkeys = || {
        let mut rpmkeys = workspace.command(Network::None, "rpmkeys")?;
        rpmkeys.arg(format!("--dbpath={}", keyring.display()));
        Ok::<_, Failure>(rpmkeys)
    };
    let keyring_folder = folder.join("keyring");
    folder::make_empty(&keyring_folder, &[])?;
    for key in folder::names(&folder.join(workspace::KEYS))? {
        // A key that rpm cannot import is ignored: packages signed with it fail the check.
        let _ = runner.run(phase, rpmkeys()?.arg("--import").arg(workspace.sandbox_path(workspace::KEYS).join(key)));
        runner.check()?;
    }
    let mut check = rpmkeys()?;
    check.args(["--define", "_pkgverify_level all", "--checksig"]);
    runner.run(phase, check.args(packages.iter().map(|name| workspace.sandbox_path(ARCHIVES).join(name))))?;
    std::fs::remove_dir_all(&keyring_folder).context("removing", &keyring_folder)
}

/// Installs packages with the tree's own rpm, without a network, and without checking the signatures again.
fn put(runner: &Runner<'_>, folder: &Path, tree: &Path, packages: &[String], phase: ImagePhase) -> Result<(), Failure> {
    let archives = folder.join(ARCHIVES);
    if !packages.is_empty() {
        let root = tree::open(tree)?;
        let mut masked = Vec::new();
        for mask in MASKS {
            if root.symlink_metadata(Path::new(mask)).is_err() {
                tree::write(&root, mask, 0o644, b"")?;
                masked.push(mask);
            }
        }
        let mount = BindMount { folder: &archives, over: OVER, writable: false };
        let mut rpm = tree::command(tree, &[mount], "rpm")?;
        rpm.env("KERNEL_INSTALL_BYPASS", "1").env("SYSTEMD_OFFLINE", "1");
        // Candidates may be older than the installed version, or the same.
        rpm.args(["--upgrade", "--oldpackage", "--replacepkgs", "--nosignature"]);
        // A package may own these directories, but they exist already and are mount points.
        rpm.args(["--excludepath=/proc", "--excludepath=/sys"]);
        rpm.args(packages.iter().map(|name| Path::new(OVER).join(name)));
        runner.run(phase, &mut rpm)?;
        masked.into_iter().try_for_each(|mask| tree::remove(&root, mask))?;
        tree::remove(&root, OVER)?;
    }
    std::fs::remove_dir_all(&archives).context("removing", &archives)
}
