//! The base tree by the distro family's own tool: `mmdebstrap` for Debian and Ubuntu.
//!
//! It fetches and unpacks; what the packages' scripts do, they do afterwards, in the tree.

use crate::command::Runner;
use crate::error::{Cause, Context, Failure, Phase};
use crate::fetch::{self, Fetch};
use crate::install;
use crate::mirror::{self, Mirrors};
use crate::options::valid_name;
use crate::tree::{self, Scaffold};
use kata_osinfo::release::{Archive, Release};
use kata_osinfo::root::Root;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Whether this machine has the tool.
pub(crate) fn available() -> bool {
    install::in_path("mmdebstrap")
}

/// The mirrors that `mmdebstrap` takes when it is told none: it writes a `sources.list`, nothing is downloaded.
pub(crate) fn default_mirrors(
    runner: &Runner<'_>,
    release: &Release,
    fetch: &Fetch,
    desk: &Path,
) -> Result<Mirrors, Failure> {
    let Some(suite) = release.suites.iter().find(|s| s.archive == Archive::Main) else {
        return Err(Cause::RecordLacks { what: "suite".to_owned(), source_kind: "bootstrap".to_owned() }.into());
    };
    let mut command = fetch.mmdebstrap()?;
    command
        .args(["--mode=root", "--variant=custom", "--format=directory"])
        .args(["--skip=update,download,extract,cleanup,check/signed-by", &suite.name])
        .arg("/tmp/skeleton");
    runner.run(Phase::Resolve, &mut command)?;
    let list = desk.join("skeleton/etc/apt/sources.list");
    let text = std::fs::read_to_string(&list).context("reading", &list)?;
    Ok(mirror::of_list(&text, &release.distro))
}

/// `deb` lines for the release's suites.
pub(crate) fn sources(release: &Release, mirrors: &Mirrors) -> Vec<String> {
    let line = |suite: &kata_osinfo::release::PackageSuite| {
        let mirror = mirrors.get(suite.archive)?;
        Some(format!("deb {mirror} {} {}", suite.name, suite.components.join(" ")))
    };
    release.suites.iter().filter_map(line).collect()
}

/// What every installation consists of at least, besides the essential packages: those of priority `required`, as
/// `mmdebstrap --variant=minbase` has it.
///
/// Read from the package lists, for the apt of a tree is asked next, and Debian 11's knows no pattern for it.
pub(crate) fn required(lists: &Path) -> Result<Vec<String>, Failure> {
    let mut all = BTreeSet::new();
    for name in install::names(lists)?.iter().filter(|name| name.ends_with("_Packages")) {
        let list = lists.join(name);
        all.extend(
            required_of(BufReader::new(File::open(&list).context("reading", &list)?)).context("reading", &list)?,
        );
    }
    Ok(all.into_iter().collect())
}

fn required_of(list: impl BufRead) -> io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let (mut package, mut is_required, mut is_essential) = (None, false, false);
    // The last stanza may end with the file.
    for line in list.lines().chain([Ok(String::new())]) {
        let line = line?;
        match line.split_once(": ") {
            Some(("Package", name)) => package = Some(name.to_owned()),
            Some(("Priority", priority)) => is_required = priority == "required",
            Some(("Essential", essential)) => is_essential = essential == "yes",
            _ if line.is_empty() => {
                let name = package.take().filter(|name| is_required && !is_essential && valid_name(name));
                all.extend(name);
                (is_required, is_essential) = (false, false);
            }
            _ => {}
        }
    }
    Ok(all)
}

/// Makes the base tree: the essential packages and apt, installed; the package lists lie beside it for the next step.
pub(crate) fn bootstrap(
    runner: &Runner<'_>,
    release: &Release,
    mirrors: &Mirrors,
    fetch: &Fetch,
    desk: &Path,
    tree: &Path,
) -> Result<(), Failure> {
    let arch = release.arch.debian_name();
    let mut command = fetch.mmdebstrap()?;
    command
        // Nothing of the tree is run.
        .args(["--mode=root", "--variant=extract", "--format=directory"])
        .arg(format!("--include=?narrow(?architecture({arch}),?essential)"))
        // Which installs the others then.
        .arg("--include=apt")
        // What it fetched and the lists are needed at once; devices and mounts are for programs of the tree.
        .arg("--skip=cleanup/apt,chroot/mount,chroot/policy-rc.d,chroot/start-stop-daemon")
        .arg(format!("--architectures={arch}"))
        // A file that names another: mmdebstrap writes this one into the tree.
        .arg("--aptopt=#include \"/tmp/fetch/acquire.conf\"");
    command.arg("").arg("/tmp/rootfs").args(sources(release, mirrors));
    runner.run(Phase::Bootstrap, &mut command)?;
    let root = tree::open(tree)?;
    // Settings for the bootstrap, not for the release.
    for file in ["/etc/apt/apt.conf.d/99mmdebstrap", "/etc/apt/apt.conf.d/00mmdebstrap"] {
        tree::remove(&root, file)?;
    }
    // mmdebstrap copies these from the machine.
    tree::write(&root, "/etc/resolv.conf", 0o644, b"")?;
    tree::write(&root, "/etc/hostname", 0o644, format!("{}\n", release.distro).as_bytes())?;
    let debs = take_out(&root, desk)?;
    configure(runner, tree, desk, &debs)
}

/// Takes what was fetched out of the tree; gives the packages' names.
fn take_out(root: &Root, desk: &Path) -> Result<Vec<String>, Failure> {
    let (lists, archives) = (Path::new("/var/lib/apt/lists"), Path::new("/var/cache/apt/archives"));
    for (inside, to) in [(lists, fetch::LISTS), (archives, fetch::ARCHIVES)] {
        let (from, to) = (tree::named(root, inside)?, desk.join(to));
        std::fs::rename(from.path(), &to).context("moving away", &to)?;
        fetch::passable(&to)?;
        fetch::passable(&to.join("partial"))?;
    }
    // As the packages would have them.
    for folder in [lists, archives] {
        root.make_folder(&folder.join("partial")).map_err(tree::failed)?;
    }
    let archives = desk.join(fetch::ARCHIVES);
    let mut debs = install::names(&archives)?;
    debs.retain(|name| name.ends_with(".deb"));
    Ok(debs)
}

/// Installs the packages that mmdebstrap has unpacked by their own dpkg.
///
/// dpkg does not order packages by what they need before they can be unpacked: they are unpacked already.
fn configure(runner: &Runner<'_>, tree: &Path, desk: &Path, debs: &[String]) -> Result<(), Failure> {
    let scaffold = Scaffold::raise(tree)?;
    let archives = desk.join(fetch::ARCHIVES);
    let mut dpkg = tree::command(tree, &[tree::archives(&archives)], "dpkg")?;
    dpkg.args(["--install", "--force-depends", "--force-unsafe-io"]);
    dpkg.args(debs.iter().map(|name| format!("/var/cache/apt/archives/{name}")));
    runner.run(Phase::Bootstrap, &mut dpkg)?;
    drop(scaffold);
    for name in debs {
        let deb = archives.join(name);
        std::fs::remove_file(&deb).context("removing", &deb)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_and_not_essential_is_read_from_the_lists() {
        let list = "Package: bash\nEssential: yes\nPriority: required\n\nPackage: mount\nPriority: required\n\n\
            Package: vim\nPriority: optional\nDescription: x\n Priority: required\n\nPackage: -o\nPriority: required\n\n\
            Package: tzdata\nPriority: required\n";
        let found = required_of(list.as_bytes()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["mount", "tzdata"]);
    }
}
