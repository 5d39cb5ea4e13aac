//! The base tree by `mmdebstrap`, for Debian, Ubuntu and their derivatives.
//!
//! `mmdebstrap` fetches and unpacks; the packages' scripts run afterwards, in the tree.

use super::fetch::{self, Fetch};
use super::mirrors::{self, Mirrors};
use super::scaffold::Scaffold;
use super::{lists, names, programs};
use crate::error::{Context, Failure, ImageErrorKind};
use crate::family::folder;
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree::{self, FolderEntry};
use model::package::PackageName;
use model::release::{Archive, Release};
use operator::deb822;
use root::Root;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::path::Path;

/// Name of the program.
pub(crate) const PROGRAM: &str = "mmdebstrap";

/// Size limit of a `sources.list`, in bytes.
const MAX_SOURCES: u64 = 1 << 20;

/// Returns the mirrors that `mmdebstrap` uses by default: it writes a `sources.list`, nothing is downloaded.
pub(crate) fn default_mirrors(
    runner: &Runner<'_>,
    release: &Release,
    fetch: &Fetch,
    folder: &Path,
) -> Result<Mirrors, Failure> {
    let Some(suite) = release.suites.iter().find(|s| s.archive == Archive::Main) else {
        return Err(ImageErrorKind::RecordLacks { what: "suite".to_owned(), needed_for: "installing packages" }.into());
    };
    let mut command = fetch.mmdebstrap(&release.distro)?;
    command
        .args(["--mode=root", "--variant=custom", "--format=directory"])
        .args(["--skip=update,download,extract,cleanup,check/signed-by", &suite.name])
        .arg("/tmp/skeleton");
    runner.run(ImagePhase::Resolve, &mut command)?;
    let skeleton = tree::open(&folder.join("skeleton"))?;
    let text = skeleton.read_text(Path::new("/etc/apt/sources.list"), MAX_SOURCES).map_err(tree::failed)?;
    mirrors::of_list(&text, &release.distro)
}

/// Returns the packages of every installation in addition to the essential ones: those of priority `required`, as in
/// `mmdebstrap --variant=minbase`.
///
/// They are read from the package lists, because the tree's apt does the next step, and Debian 11's apt has no pattern
/// for them.
pub(crate) fn required(lists: &Path) -> Result<Vec<PackageName>, Failure> {
    let all = lists::each(lists, |_, list| required_of(list))?;
    Ok(all.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect())
}

fn required_of(list: impl BufRead) -> io::Result<BTreeSet<PackageName>> {
    let mut all = BTreeSet::new();
    deb822::each_stanza(list, |stanza| {
        if stanza.value("Priority") == Some("required") && stanza.value("Essential") != Some("yes") {
            all.extend(stanza.value("Package").and_then(names::package));
        }
    })?;
    Ok(all)
}

/// Makes the base tree: the essential packages and apt, installed; the package lists are kept next to it for the next
/// step.
pub(crate) fn bootstrap(
    runner: &Runner<'_>,
    release: &Release,
    mirrors: &Mirrors,
    fetch: &Fetch,
    workshop: &Path,
    tree: &Path,
) -> Result<(), Failure> {
    let arch = release.arch.debian_name();
    let mut command = fetch.mmdebstrap(&release.distro)?;
    command
        // No program of the tree is run.
        .args(["--mode=root", "--variant=extract", "--format=directory"])
        .arg(format!("--include=?narrow(?architecture({arch}),?essential)"))
        // apt installs the other packages later.
        .arg("--include=apt")
        // The fetched packages and lists are needed in the next step; devices and mounts are only for programs of the
        // tree.
        .arg("--skip=cleanup/apt,chroot/mount,chroot/policy-rc.d,chroot/start-stop-daemon")
        .arg(format!("--architectures={arch}"))
        // Includes another file, because mmdebstrap writes this setting into the tree.
        .arg("--aptopt=#include \"/tmp/fetch/acquire.conf\"");
    command.arg("").arg("/tmp/rootfs").args(mirrors.sources(release));
    runner.run(ImagePhase::Bootstrap, &mut command)?;
    let root = tree::open(tree)?;
    // Settings for the bootstrap, not for the release.
    for file in ["/etc/apt/apt.conf.d/99mmdebstrap", "/etc/apt/apt.conf.d/00mmdebstrap"] {
        tree::remove(&root, file)?;
    }
    // mmdebstrap copies these from the machine.
    tree::write(&root, "/etc/resolv.conf", 0o644, b"")?;
    tree::write(&root, "/etc/hostname", 0o644, format!("{}\n", release.distro).as_bytes())?;
    let debs = take_out(&root, workshop)?;
    configure(runner, tree, workshop, &debs)
}

/// Moves the fetched lists and packages out of the tree; returns the packages' names.
///
/// The packages have already been unpacked into the tree, so only regular files are moved, and no link is followed.
fn take_out(root: &Root, workshop: &Path) -> Result<Vec<String>, Failure> {
    for (inside, to, parts) in [
        ("/var/lib/apt/lists", fetch::LISTS, &["auxfiles", "partial"][..]),
        ("/var/cache/apt/archives", fetch::ARCHIVES, &["partial"][..]),
    ] {
        let (from, to) = (Path::new(inside), workshop.join(to));
        folder::make_empty(&to, parts)?;
        let opened = root.folder(from).map_err(tree::failed)?;
        for name in root.list(from).map_err(tree::failed)? {
            let shown = root.shown(&from.join(&name));
            let entry = FolderEntry::new(opened.try_clone().context("opening", &shown)?, OsStr::new(&name), shown);
            if std::fs::symlink_metadata(entry.path()).is_ok_and(|meta| meta.is_file()) {
                let to = to.join(&name);
                std::fs::rename(entry.path(), &to).context("moving away", &to)?;
            }
        }
        tree::remove(root, inside)?;
        // As the packages ship it.
        root.make_folder(&from.join("partial")).map_err(tree::failed)?;
    }
    let archives = workshop.join(fetch::ARCHIVES);
    let mut debs = folder::names(&archives)?;
    debs.retain(|name| name.ends_with(".deb"));
    Ok(debs)
}

/// Installs the packages that mmdebstrap has unpacked, with the tree's own dpkg.
///
/// dpkg does not order packages by their pre-dependencies, which is no problem because all are unpacked already.
fn configure(runner: &Runner<'_>, tree: &Path, workshop: &Path, debs: &[String]) -> Result<(), Failure> {
    let scaffold = Scaffold::raise(tree)?;
    let archives = workshop.join(fetch::ARCHIVES);
    let mut dpkg = programs::command(tree, &[programs::archives(&archives)], "dpkg")?;
    dpkg.args(["--install", "--force-depends", "--force-unsafe-io"]);
    dpkg.args(debs.iter().map(|name| format!("/var/cache/apt/archives/{name}")));
    runner.run(ImagePhase::Bootstrap, &mut dpkg)?;
    drop(scaffold);
    // The packages' scripts could write to the directory, so its content is not used again.
    folder::make_empty(&archives, &["partial"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn texts(names: impl IntoIterator<Item = PackageName>) -> Vec<String> {
        names.into_iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn required_packages_that_are_not_essential_are_read_from_the_lists() {
        let list = "Package: bash\nEssential: yes\nPriority: required\n\nPackage: mount\nPriority: required\n\n\
            Package: vim\nPriority: optional\nDescription: x\n Priority: required\n\nPackage: -o\nPriority: required\n\n\
            Package: tzdata\nPriority: required\n";
        let found = required_of(list.as_bytes()).unwrap();
        assert_eq!(texts(found), ["mount", "tzdata"]);
    }

    /// Makes a directory of this machine that must stay untouched, with a file in it.
    fn victim() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x_Packages"), "Package: victim\nPriority: required\n").unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        dir
    }

    fn assert_unharmed(victim: &tempfile::TempDir) {
        assert_eq!(std::fs::metadata(victim.path()).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(folder::names(victim.path()).unwrap(), ["x_Packages"]);
    }

    /// Files from unpacked packages are trusted as little as the programs that run in the tree.
    #[test]
    fn only_regular_files_are_taken_from_the_trees_apt_folders() {
        let (tree, desk, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), victim());
        std::fs::create_dir(desk.path().join("apt")).unwrap();
        for (folder, end) in [("var/lib/apt/lists", "_Packages"), ("var/cache/apt/archives", ".deb")] {
            let folder = tree.path().join(folder);
            std::fs::create_dir_all(folder.join("folder")).unwrap();
            std::fs::write(folder.join(format!("a{end}")), "Package: one\nPriority: required\n").unwrap();
            symlink(victim.path(), folder.join("partial")).unwrap();
            symlink(victim.path().join("x_Packages"), folder.join(format!("b{end}"))).unwrap();
            let fifo = folder.join(format!("c{end}"));
            rustix::fs::mkfifoat(rustix::fs::CWD, fifo, rustix::fs::Mode::RUSR).unwrap();
        }
        // A link that was there from the beginning.
        symlink(victim.path(), desk.path().join(fetch::ARCHIVES)).unwrap();
        let root = tree::open(tree.path()).unwrap();
        assert_eq!(take_out(&root, desk.path()).unwrap(), ["a.deb"]);
        assert_unharmed(&victim);
        let lists = desk.path().join(fetch::LISTS);
        assert_eq!(folder::names(&lists).unwrap(), ["a_Packages", "auxfiles", "partial"]);
        assert_eq!(folder::names(&desk.path().join(fetch::ARCHIVES)).unwrap(), ["a.deb", "partial"]);
        for folder in [lists.clone(), lists.join("partial"), desk.path().join(fetch::ARCHIVES).join("partial")] {
            let meta = std::fs::symlink_metadata(&folder).unwrap();
            assert!(meta.is_dir() && meta.permissions().mode() & 0o7777 == 0o755, "{}", folder.display());
        }
        assert_eq!(root.list(Path::new("/var/lib/apt/lists")).unwrap(), ["partial"]);
        assert_eq!(root.list(Path::new("/var/cache/apt/archives")).unwrap(), ["partial"]);
        assert_eq!(texts(required(&lists).unwrap()), ["one"]);
        // Reading the lists does not follow links, block on a FIFO or read without a limit.
        symlink(victim.path().join("x_Packages"), lists.join("b_Packages")).unwrap();
        assert!(required(&lists).is_err());
        std::fs::remove_file(lists.join("b_Packages")).unwrap();
        std::fs::File::create(lists.join("b_Packages")).unwrap().set_len(lists::MAX_LIST + 1).unwrap();
        assert!(required(&lists).unwrap_err().cause.to_string().contains("more than 536870912 bytes"));
    }

    #[test]
    #[cfg_attr(any(lacks = "mounting", lacks = "ldd"), ignore = "needs root that may make namespaces, and ldd")]
    fn links_that_a_script_leaves_among_the_archives_are_removed() {
        let (desk, victim) = (tempfile::tempdir().unwrap(), victim());
        let script = format!(
            "#!/bin/sh\nset -e\ncd /var/cache/apt/archives\nrm -r *\nln -s {0} partial\nln -s {0}/x_Packages a.deb\n",
            victim.path().display()
        );
        let tree = crate::fixtures::tree_with(&[("usr/bin/dpkg", script.as_str())]);
        let archives = desk.path().join(fetch::ARCHIVES);
        folder::make_empty(&archives, &["partial"]).unwrap();
        std::fs::write(archives.join("a.deb"), "").unwrap();
        let cancel = std::sync::atomic::AtomicBool::new(false);
        let runner = crate::fixtures::runner(&cancel, 60);
        configure(&runner, tree.path(), desk.path(), &["a.deb".to_owned()]).unwrap();
        assert_unharmed(&victim);
        assert_eq!(folder::names(&archives).unwrap(), ["partial"]);
        assert!(std::fs::symlink_metadata(archives.join("partial")).unwrap().is_dir());
    }
}
