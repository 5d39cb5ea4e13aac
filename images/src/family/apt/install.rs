//! Package installation by the release's own apt, inside its tree.
//!
//! The tree's apt selects the packages, the machine's apt fetches them, and then they are installed without a network.

use super::fetch::{self, Fetch};
use super::mirrors::Mirrors;
use super::programs;
use super::scaffold::Scaffold;
use super::settings::PHASED;
use crate::error::{Context, Failure, ImageErrorKind};
use crate::family::folder;
use crate::family::install::Install;
use crate::package::ExtraPackage;
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::release::Release;
use operator::process::sandbox::BindMount;
use std::path::Path;
use std::process::Command;

/// Subdirectory for local packages among the fetched ones.
const LOCAL: &str = "kata-qualify";

/// Runs apt in the tree; without `fetch` nothing may be fetched.
pub(crate) fn install(runner: &Runner<'_>, install: &Install<'_>, fetch: Option<&Fetch>) -> Result<(), Failure> {
    let tree = install.tree;
    let (lists, sources) = (install.indexes.join(fetch::LISTS), install.indexes.join(fetch::SOURCES));
    let archives = install.folder.join(fetch::ARCHIVES);
    let scaffold = Scaffold::raise(tree)?;
    let mut words: Vec<String> = install.required.iter().map(ToString::to_string).collect();
    words.extend(offer(&archives, install.packages)?);
    let mounts = [programs::lists(&lists), programs::archives(&archives)];
    let printed = runner.output(ImagePhase::Install, apt_get(tree, &mounts, &words)?.arg("--print-uris"))?;
    let text = std::fs::read_to_string(&sources).context("reading", &sources)?;
    let downloads = fetch::downloads(&printed, &fetch::mirrors_of(&text))?;
    // The release's apt could write to the directory, so it is recreated before anything is fetched into it or
    // installed from it.
    offer(&archives, install.packages)?;
    match fetch {
        _ if downloads.is_empty() => {}
        Some(fetch) => fetch.packages(runner, &downloads)?,
        None => return Err(ImageErrorKind::NotCached.into()),
    }
    runner.run(ImagePhase::Install, &mut apt_get(tree, &mounts, &words)?)?;
    drop(scaffold);
    std::fs::remove_dir_all(&archives).context("removing", &archives)?;
    tidy(tree)
}

/// Returns a command of the tree's own apt for an installation.
fn apt_get(tree: &Path, mounts: &[BindMount<'_>], words: &[String]) -> Result<Command, Failure> {
    let mut apt = programs::command(tree, mounts, "apt-get")?;
    apt.args(["-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"])
        // A tree that a power cut damages is discarded, so files need not be synced one by one.
        .args(["-o", "Dpkg::Options::=--force-unsafe-io"])
        // The age of the lists was checked when they were fetched.
        .args(["-o", "Acquire::Check-Valid-Until=false"])
        // Otherwise the addresses are printed with MD5 sums.
        .args(["-o", "Acquire::ForceHash=SHA256"])
        .args(["-o", &format!("{PHASED}=true")])
        // Candidates may be older than the versions in the suites.
        .arg("--allow-downgrades");
    apt.arg("install").args(words);
    Ok(apt)
}

/// Recreates the directory of packages with the local packages; returns the arguments for apt.
fn offer(archives: &Path, packages: &[ExtraPackage]) -> Result<Vec<String>, Failure> {
    folder::make_empty(archives, &["partial"])?;
    let word = |package: &ExtraPackage| match package {
        ExtraPackage::Name(name) => Ok(name.to_string()),
        ExtraPackage::File(path) => copy_local(path, &archives.join(LOCAL)),
    };
    packages.iter().map(word).collect()
}

/// Copies a local package to where apt in the tree finds it; returns its path in the tree.
fn copy_local(path: &Path, to: &Path) -> Result<String, Failure> {
    folder::make(to)?;
    Ok(format!("/var/cache/apt/archives/{LOCAL}/{}", folder::copy_into(to, path)?))
}

/// Writes `sources.list`, with the suites at the mirror in use, into the image's directory and the tree.
pub(crate) fn write_sources(release: &Release, mirrors: &Mirrors, image: &Path, tree: &Path) -> Result<(), Failure> {
    let mut text = mirrors.sources(release).join("\n");
    text.push('\n');
    let path = image.join(fetch::SOURCES);
    folder::make(path.parent().unwrap_or(image))?;
    std::fs::write(&path, &text).context("writing", &path)?;
    if !tree.exists() {
        return Ok(());
    }
    let root = tree::open(tree)?;
    // An OCI image has sources of its own, which would duplicate the suites.
    tree::remove(&root, "/etc/apt/sources.list.d")?;
    root.make_folder(Path::new("/etc/apt/sources.list.d")).map_err(tree::failed)?;
    tree::write(&root, "/etc/apt/sources.list", 0o644, text.as_bytes())
}

/// Removes files that an installation leaves behind and no release ships.
fn tidy(tree: &Path) -> Result<(), Failure> {
    let root = tree::open(tree)?;
    let old =
        ["/var/cache/apt/pkgcache.bin", "/var/cache/apt/srcpkgcache.bin", "/var/log/apt/eipp.log.xz", "/.dockerenv"];
    old.iter().try_for_each(|file| tree::remove(&root, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Installs with an `apt-get` in the tree that runs `print_uris` for `--print-uris`, and `installing` for the
    /// installation.
    fn installed(print_uris: &str, installing: &str) -> Result<(), Failure> {
        let script = format!(
            "#!/bin/sh\nset -e\ncd /var/cache/apt/archives\ncase \"$*\" in *--print-uris*) {print_uris};; *) {installing};; esac\n"
        );
        let tree = crate::fixtures::tree_with(&[("usr/bin/apt-get", script.as_str())]);
        let image = tempfile::tempdir().unwrap();
        let deb = image.path().join("candidate_1_all.deb");
        std::fs::create_dir_all(image.path().join(fetch::LISTS)).unwrap();
        std::fs::write(image.path().join(fetch::SOURCES), "deb http://mirror.example/debian trixie main\n").unwrap();
        std::fs::write(&deb, "package").unwrap();
        let (folder, packages) = (image.path(), [ExtraPackage::File(deb)]);
        let request = Install { tree: tree.path(), folder, indexes: folder, packages: &packages, required: &[] };
        let cancel = std::sync::atomic::AtomicBool::new(false);
        install(&crate::fixtures::runner(&cancel, 60), &request, None)
    }

    #[test]
    #[cfg_attr(any(lacks = "mounting", lacks = "ldd"), ignore = "needs root that may make namespaces, and ldd")]
    fn links_left_by_the_trees_apt_are_neither_followed_nor_kept() {
        let victim = tempfile::tempdir().unwrap();
        std::fs::set_permissions(victim.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let leave = format!("rm -r *; ln -s {0} partial; ln -s {0} kata-qualify", victim.path().display());
        let look =
            "[ -d partial ]; [ ! -L partial ]; read line < kata-qualify/candidate_1_all.deb || [ $line = package ]";
        installed(&leave, look).unwrap();
        let mode = std::fs::metadata(victim.path()).unwrap().permissions().mode();
        assert_eq!((mode & 0o7777, std::fs::read_dir(victim.path()).unwrap().count()), (0o700, 0));
        assert!(installed(":", "exit 1").is_err(), "its script does not run");
    }

    #[test]
    #[cfg_attr(any(lacks = "mounting", lacks = "ldd"), ignore = "needs root that may make namespaces, and ldd")]
    fn phased_updates_are_always_included() {
        let look = "case \"$*\" in *APT::Get::Always-Include-Phased-Updates=true*) ;; *) exit 1;; esac";
        installed(look, look).unwrap();
    }

    #[test]
    fn the_trees_own_sources_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("rootfs");
        std::fs::create_dir_all(tree.join("etc/apt/sources.list.d")).unwrap();
        std::fs::write(tree.join("etc/apt/sources.list.d/more.sources"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), tree.join("etc/apt/sources.list")).unwrap();
        let mirrors = Mirrors { main: Some("http://mirror.example/debian".to_owned()), security: None };
        let release = crate::fixtures::release("13", "trixie");
        write_sources(&release, &mirrors, dir.path(), &tree).unwrap();
        let text = std::fs::read_to_string(tree.join("etc/apt/sources.list")).unwrap();
        assert!(text.starts_with("deb http://mirror.example/debian trixie main"), "{text}");
        assert_eq!(std::fs::read_to_string(dir.path().join("apt/sources.list")).unwrap(), text);
        assert!(!dir.path().join("outside").exists());
        assert_eq!(std::fs::read_dir(tree.join("etc/apt/sources.list.d")).unwrap().count(), 0);
    }
}
