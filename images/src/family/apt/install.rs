//! Installs packages by the release's own package manager, inside its tree.
//!
//! The tree's apt says what it wants, the machine's fetches it, and only then, without a network, it is installed.

use crate::bootstrap;
use crate::command::{Laid, Runner};
use crate::error::{Cause, Context, Failure, Phase};
use crate::fetch::{self, Fetch};
use crate::mirror::Mirrors;
use crate::options::{ExtraPackage, valid_name};
use crate::tree::{self, Scaffold};
use kata_osinfo::package_manager::PackageManager;
use kata_osinfo::release::Release;
use std::path::Path;

/// Packages that the harness itself needs in every environment: the tests make ext4 disks.
pub(crate) const SUPPORT: [&str; 1] = ["e2fsprogs"];

/// Where local packages lie among those that were fetched.
const BROUGHT: &str = "kata-qualify";

/// What to install and how.
pub(crate) struct Install<'a> {
    pub(crate) tree: &'a Path,
    /// The image's folder while it is made.
    pub(crate) desk: &'a Path,
    /// The package lists, and the `sources.list` that they are of.
    pub(crate) lists: &'a Path,
    pub(crate) sources: &'a Path,
    /// Nothing where nothing may be fetched.
    pub(crate) fetch: Option<&'a Fetch>,
}

/// The names to install for a release, checked: they become arguments.
pub(crate) fn wanted(release: &Release) -> Result<Vec<String>, Failure> {
    if release.package_manager != PackageManager::Apt {
        let manager = format!("{:?}", release.package_manager).to_lowercase();
        return Err(Cause::UnsupportedPackageManager { manager }.into());
    }
    let mut all = release.packages();
    all.extend(SUPPORT.map(str::to_owned));
    all.sort();
    all.dedup();
    match all.iter().find(|name| !valid_name(name)) {
        Some(name) => Err(Cause::BadPackage {
            name: name.clone(),
            reason: "expected a Debian package name in the record".to_owned(),
        }
        .into()),
        None => Ok(all),
    }
}

/// Runs apt in the tree; `more` is what else to install, as apt's patterns.
pub(crate) fn install(
    runner: &Runner<'_>,
    step: &Install<'_>,
    packages: &[ExtraPackage],
    more: &[String],
) -> Result<(), Failure> {
    let archives = step.desk.join(fetch::ARCHIVES);
    let scaffold = Scaffold::raise(step.tree)?;
    let mut words = more.to_vec();
    words.extend(offer(&archives, packages)?);
    let laid = [tree::lists(step.lists), tree::archives(&archives)];
    let printed = runner.output(Phase::Install, apt(step.tree, &laid, &words)?.arg("--print-uris"))?;
    let text = std::fs::read_to_string(step.sources).context("reading", step.sources)?;
    let wanted = fetch::wanted(&printed, &fetch::mirrors_of(&text))?;
    // The release's apt could write there: what it has left is nothing to fetch into or to install from.
    offer(&archives, packages)?;
    match step.fetch {
        _ if wanted.is_empty() => {}
        Some(fetch) => fetch.packages(runner, &wanted)?,
        None => return Err(Cause::NotCached.into()),
    }
    runner.run(Phase::Install, &mut apt(step.tree, &laid, &words)?)?;
    drop(scaffold);
    std::fs::remove_dir_all(&archives).context("removing", &archives)?;
    tidy(step.tree)
}

/// The tree's own apt, about to install.
fn apt(tree: &Path, laid: &[Laid<'_>], words: &[String]) -> Result<std::process::Command, Failure> {
    let mut apt = tree::command(tree, laid, "apt-get")?;
    apt.args(["-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"])
        // A tree that a power cut damages is thrown away: no need to sync each file.
        .args(["-o", "Dpkg::Options::=--force-unsafe-io"])
        // Whether the lists are old was asked when they were fetched.
        .args(["-o", "Acquire::Check-Valid-Until=false"])
        // What it prints to fetch by has MD5 otherwise.
        .args(["-o", "Acquire::ForceHash=SHA256"])
        // Candidates may be older than what the suites offer.
        .arg("--allow-downgrades");
    apt.arg("install").args(words);
    Ok(apt)
}

/// Makes the folder of packages anew, with the local ones in it; gives apt's words for all of them.
fn offer(archives: &Path, packages: &[ExtraPackage]) -> Result<Vec<String>, Failure> {
    fetch::empty(archives, &["partial"])?;
    let word = |package: &ExtraPackage| match package {
        ExtraPackage::Name(name) => Ok(name.clone()),
        ExtraPackage::File(path) => bring(path, &archives.join(BROUGHT)),
    };
    packages.iter().map(word).collect()
}

/// Copies a local package to where apt in the tree finds it; returns its path there.
fn bring(path: &Path, folder: &Path) -> Result<String, Failure> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    fetch::passable(folder)?;
    let target = folder.join(&name);
    std::fs::copy(path, &target).context("copying", path)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&target, permissions).context("changing the mode of", &target)?;
    Ok(format!("/var/cache/apt/archives/{BROUGHT}/{name}"))
}

/// Writes `sources.list`, the suites at the mirror in use: beside the tree, and into it.
pub(crate) fn write_sources(release: &Release, mirrors: &Mirrors, desk: &Path, tree: &Path) -> Result<(), Failure> {
    let mut text = bootstrap::sources(release, mirrors).join("\n");
    text.push('\n');
    let kept = desk.join(fetch::SOURCES);
    fetch::passable(kept.parent().unwrap_or(desk))?;
    std::fs::write(&kept, &text).context("writing", &kept)?;
    if !tree.exists() {
        return Ok(());
    }
    let root = tree::open(tree)?;
    // An OCI image brings its own sources, which would double the suites.
    tree::remove(&root, "/etc/apt/sources.list.d")?;
    root.make_folder(Path::new("/etc/apt/sources.list.d")).map_err(tree::failed)?;
    tree::write(&root, "/etc/apt/sources.list", 0o644, text.as_bytes())
}

/// Removes what installing leaves behind and no release ships.
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

    #[test]
    fn a_record_cannot_smuggle_options_in() {
        let mut release = crate::prepare::tests::release("13", "trixie");
        release.vmms[0].packages.push("-oDPkg::Pre-Invoke::=reboot".to_owned());
        assert!(matches!(wanted(&release).unwrap_err().cause, Cause::BadPackage { .. }));
    }

    /// An `apt-get` of the tree's that does this when it is asked what it wants, and that when it installs.
    fn installed(asked: &str, installing: &str) -> Result<(), Failure> {
        let script = format!(
            "#!/bin/sh\nset -e\ncd /var/cache/apt/archives\ncase \"$*\" in *--print-uris*) {asked};; *) {installing};; esac\n"
        );
        let tree = tree::tests::with(&[("usr/bin/apt-get", script.as_str())]);
        let desk = tempfile::tempdir().unwrap();
        let (lists, sources, deb) =
            (desk.path().join("lists"), desk.path().join("sources.list"), desk.path().join("candidate_1_all.deb"));
        std::fs::create_dir(&lists).unwrap();
        std::fs::write(&sources, "deb http://mirror.example/debian trixie main\n").unwrap();
        std::fs::write(&deb, "package").unwrap();
        let step = Install { tree: tree.path(), desk: desk.path(), lists: &lists, sources: &sources, fetch: None };
        let cancel = std::sync::atomic::AtomicBool::new(false);
        let runner = crate::command::tests::runner(&cancel, 60);
        install(&runner, &step, &[ExtraPackage::File(deb)], &[])
    }

    #[test]
    fn what_the_trees_apt_leaves_among_the_packages_is_neither_followed_nor_kept() {
        if !rustix::process::geteuid().is_root() || !crate::command::in_path("ldd") {
            eprintln!(
                "SKIPPED what_the_trees_apt_leaves_among_the_packages_is_neither_followed_nor_kept: needs root and ldd"
            );
            return;
        }
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
    fn the_trees_own_sources_go() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("rootfs");
        std::fs::create_dir_all(tree.join("etc/apt/sources.list.d")).unwrap();
        std::fs::write(tree.join("etc/apt/sources.list.d/more.sources"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), tree.join("etc/apt/sources.list")).unwrap();
        let mirrors = Mirrors { main: Some("http://mirror.example/debian".to_owned()), security: None };
        let release = crate::prepare::tests::release("13", "trixie");
        write_sources(&release, &mirrors, dir.path(), &tree).unwrap();
        let text = std::fs::read_to_string(tree.join("etc/apt/sources.list")).unwrap();
        assert!(text.starts_with("deb http://mirror.example/debian trixie main"), "{text}");
        assert_eq!(std::fs::read_to_string(dir.path().join("apt/sources.list")).unwrap(), text);
        assert!(!dir.path().join("outside").exists());
        assert_eq!(std::fs::read_dir(tree.join("etc/apt/sources.list.d")).unwrap().count(), 0);
    }
}
