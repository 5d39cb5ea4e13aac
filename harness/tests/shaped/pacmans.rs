//! Signed repositories of pacman's packages, made by this machine's `bsdtar` and `repo-add`.

use crate::key::{self, Key};
use crate::shape::{All, NewPackage, run};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Attributes that the list of a package's files has for each, the same as makepkg's.
const MTREE: &str = "--options=!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link";

/// Builds the packages and their repositories in a directory, and writes the key's public part. Packages and databases
/// are signed. The layout is that of a mirror: `core/os/x86_64/core.db`.
pub(crate) fn repositories(all: &All, folder: &Path, public: &Path, repository: impl Fn(&str) -> &'static str) {
    let key = Key::new(public);
    let at = |id: &str| folder.join(id).join("os/x86_64");
    let mut built: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for (name, new_package) in all {
        let id = repository(name);
        std::fs::create_dir_all(at(id)).unwrap();
        let package = build(name, new_package, &folder.join(".work"), &at(id));
        key.sign(&package, "sig");
        built.entry(id).or_default().push(package);
    }
    for (id, packages) in built {
        let mut add = Command::new("repo-add");
        add.args(["--quiet", "--sign", "--key", key::USER]).arg(at(id).join(format!("{id}.db.tar.gz")));
        run(add.args(packages).env("GNUPGHOME", key.home()));
    }
}

/// Builds a package.
fn build(name: &str, new_package: &NewPackage, work: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(work).unwrap();
    // A directory precedes its contents.
    for (path, content) in &new_package.files {
        content.put(&work.join(path.trim_start_matches('/')));
    }
    std::fs::write(work.join(".PKGINFO"), info(name, new_package)).unwrap();
    if !new_package.scripts.is_empty() {
        let functions = new_package.scripts.iter().map(|(when, lines)| format!("{when}() {{\n{lines}\n}}\n"));
        std::fs::write(work.join(".INSTALL"), functions.collect::<String>()).unwrap();
    }
    // The package's metadata comes first.
    let names = || {
        let entries = std::fs::read_dir(work).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    let bsdtar = || {
        let mut bsdtar = Command::new("bsdtar");
        bsdtar.arg("-C").arg(work);
        bsdtar
    };
    let list = to.join(".MTREE");
    run(bsdtar().args(["--gzip", "--format=mtree", MTREE, "-cf"]).arg(&list).args(names()));
    std::fs::rename(&list, work.join(".MTREE")).unwrap();
    let file = to.join(format!("{name}-{}-x86_64.pkg.tar.zst", new_package.version));
    run(bsdtar().args(["--zstd", "-cf"]).arg(&file).args(names()));
    std::fs::remove_dir_all(work).unwrap();
    file
}

/// Returns the text of `.PKGINFO`.
fn info(name: &str, new_package: &NewPackage) -> String {
    let mut info = format!(
        "pkgname = {name}\npkgbase = {}\npkgver = {}\npkgdesc = {name}\nsize = 4096\narch = x86_64\n",
        new_package.source, new_package.version
    );
    for (word, names) in [("provides", &new_package.provides), ("depend", &new_package.needs)] {
        for name in names {
            writeln!(info, "{word} = {name}").unwrap();
        }
    }
    for line in &new_package.lines {
        writeln!(info, "{line}").unwrap();
    }
    info
}
