//! Installs packages by the release's own package manager, inside its tree.

use crate::apt::Apt;
use crate::bootstrap;
use crate::command::{Network, Runner};
use crate::error::{Cause, Context, Failure, Phase};
use crate::mirror::Mirrors;
use crate::options::{ExtraPackage, valid_name};
use crate::tree::{self, Scaffold};
use kata_osinfo::release::{PackageManager, Release};
use std::path::{Path, PathBuf};

/// Packages that the harness itself needs in every environment: the tests make ext4 disks.
pub(crate) const SUPPORT: [&str; 1] = ["e2fsprogs"];

/// What to install and how.
pub(crate) struct Install<'a> {
    pub(crate) tree: &'a Path,
    pub(crate) scratch: &'a Path,
    pub(crate) apt: &'a Apt,
    /// Fetch the package lists first.
    pub(crate) update: bool,
    pub(crate) network: Network,
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

/// Runs apt in the tree.
pub(crate) fn install(runner: &Runner<'_>, step: &Install<'_>, packages: &[ExtraPackage]) -> Result<(), Failure> {
    let aside = step.scratch.join("aside");
    let scaffold = Scaffold::raise(step.tree, &aside)?;
    if step.update {
        let mut update = tree::command(step.tree, step.network, "apt-get")?;
        update.args(step.apt.arguments()).args(["-q", "--error-on=any", "update"]);
        runner.run(Phase::Install, &mut update)?;
    }
    let drop_in = tree::at(step.tree, "tmp/kata-qualify")?;
    let mut words = Vec::new();
    for package in packages {
        match package {
            ExtraPackage::Name(name) => words.push(name.clone()),
            ExtraPackage::File(path) => words.push(bring(path, &drop_in)?),
        }
    }
    let mut apt = tree::command(step.tree, step.network, "apt-get")?;
    apt.args(step.apt.arguments())
        .args(["-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"])
        // A tree that a power cut damages is thrown away: no need to sync each file.
        .args(["-o", "Dpkg::Options::=--force-unsafe-io"])
        // Candidates may be older than what the suites offer.
        .arg("--allow-downgrades");
    apt.args(["install", "--"]).args(&words);
    runner.run(Phase::Install, &mut apt).map_err(|failure| match (&failure.cause, step.network) {
        // Without a network that is no news about the mirror.
        (Cause::MirrorUnreachable { .. }, Network::None) => Failure { cause: Cause::NotCached, ..failure },
        _ => failure,
    })?;
    let _ = std::fs::remove_dir_all(&drop_in);
    drop(scaffold);
    std::fs::remove_dir_all(&aside).context("removing", &aside)?;
    tidy(step.tree)
}

/// Copies a local package to where apt in the tree finds it; returns its path there.
fn bring(path: &Path, drop_in: &Path) -> Result<String, Failure> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    std::fs::create_dir_all(drop_in).context("creating", drop_in)?;
    let target = drop_in.join(&name);
    std::fs::copy(path, &target).context("copying", path)?;
    tree::mode(&target, 0o644)?;
    Ok(format!("/tmp/kata-qualify/{name}"))
}

/// Writes the tree's `sources.list`: the suites at the mirror in use.
pub(crate) fn write_sources(release: &Release, mirrors: &Mirrors, tree: &Path) -> Result<(), Failure> {
    // An OCI image brings its own sources, which would double the suites.
    let more = tree::at(tree, "etc/apt/sources.list.d")?;
    let _ = std::fs::remove_dir_all(&more);
    std::fs::create_dir_all(&more).context("creating", &more)?;
    let list = tree::at(tree, "etc/apt/sources.list")?;
    let _ = std::fs::remove_file(&list);
    let mut text = bootstrap::sources(release, mirrors).join("\n");
    text.push('\n');
    std::fs::write(&list, text).context("writing", &list)
}

/// Moves the package lists out of the tree: they are big, name the mirror, and only a derived image needs them.
pub(crate) fn put_lists_aside(tree: &Path, image: &Path) -> Result<(), Failure> {
    let (lists, aside) = (tree::at(tree, "var/lib/apt/lists")?, image.join("apt"));
    std::fs::create_dir_all(&aside).context("creating", &aside)?;
    let kept_list = aside.join("sources.list");
    let list = tree::at(tree, "etc/apt/sources.list")?;
    std::fs::rename(&list, &kept_list).context("moving aside", &list)?;
    std::fs::write(&list, without_credentials(&kept_list)?).context("writing", &list)?;
    std::fs::rename(&lists, aside.join("lists")).context("moving aside", &lists)?;
    std::fs::create_dir_all(lists.join("partial")).context("creating", &lists)
}

/// Brings back what [`put_lists_aside`] put aside.
pub(crate) fn bring_lists_back(base: &Path, tree: &Path) -> Result<(), Failure> {
    let lists = tree::folder(tree, "var/lib/apt/lists")?;
    for entry in std::fs::read_dir(base.join("apt/lists")).context("reading", base)?.flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), lists.join(entry.file_name())).context("copying", &entry.path())?;
        }
    }
    let kept = base.join("apt/sources.list");
    std::fs::copy(&kept, tree::at(tree, "etc/apt/sources.list")?).context("copying", &kept).map(drop)
}

fn without_credentials(list: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(list).context("reading", list)?;
    let clean = |word: &str| match word.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => word.to_owned(),
    };
    Ok(text.lines().map(|l| l.split(' ').map(clean).collect::<Vec<_>>().join(" ") + "\n").collect())
}

/// Removes what installing leaves behind and no release ships.
fn tidy(tree: &Path) -> Result<(), Failure> {
    let archives = tree::folder(tree, "var/cache/apt/archives")?;
    let old = ["var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin", "var/log/apt/eipp.log.xz", ".dockerenv"];
    for file in old {
        let _ = std::fs::remove_file(tree::at(tree, file)?);
    }
    let debs: Vec<PathBuf> = match std::fs::read_dir(&archives) {
        Ok(dir) => dir.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "deb")).collect(),
        Err(_) => Vec::new(),
    };
    for deb in debs {
        std::fs::remove_file(&deb).context("removing", &deb)?;
    }
    Ok(())
}

/// Whether a program is in `PATH` or where administrators' programs are.
pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_stay_in_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("rootfs"), dir.path().join("image"));
        std::fs::create_dir_all(tree.join("var/lib/apt/lists")).unwrap();
        std::fs::create_dir_all(tree.join("etc/apt")).unwrap();
        let list = "deb http://user:pw@mirror.example/debian trixie main\n";
        std::fs::write(tree.join("etc/apt/sources.list"), list).unwrap();
        std::fs::write(tree.join("var/lib/apt/lists/x_Packages"), "x").unwrap();
        put_lists_aside(&tree, &image).unwrap();
        let kept = std::fs::read_to_string(tree.join("etc/apt/sources.list")).unwrap();
        assert_eq!(kept, "deb http://mirror.example/debian trixie main\n");
        assert!(!tree.join("var/lib/apt/lists/x_Packages").exists());
        bring_lists_back(&image, &tree).unwrap();
        assert!(tree.join("var/lib/apt/lists/x_Packages").exists());
        assert_eq!(std::fs::read_to_string(tree.join("etc/apt/sources.list")).unwrap(), list);
    }

    #[test]
    fn a_record_cannot_smuggle_options_in() {
        let mut release = crate::prepare::tests::release("13", "trixie");
        release.vmms[0].packages.push("-oDPkg::Pre-Invoke::=reboot".to_owned());
        assert!(matches!(wanted(&release).unwrap_err().cause, Cause::BadPackage { .. }));
    }
}
