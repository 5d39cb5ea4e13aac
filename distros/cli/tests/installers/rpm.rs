//! A repository of RPMs, for dnf and zypper.

use crate::scratch::{Scratch, package_file, run, tree};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the same three packages as RPMs, with their index.
pub(crate) fn rpms(scratch: &Scratch) {
    for (package, fields) in [("kq-vmm", "Requires: kq-lib\nProvides: kq-virtual\n"), ("kq-lib", ""), ("kq-big", "")] {
        rpm(scratch, package, "1.0", &tree(scratch.path(), package), fields);
    }
    index(scratch);
}

/// Builds one package.
pub(crate) fn rpm(scratch: &Scratch, package: &str, version: &str, tree: &Path, fields: &str) {
    rpm_with(scratch, package, version, tree, fields, "/usr");
}

/// Builds one package with this list of files.
pub(crate) fn rpm_with(scratch: &Scratch, package: &str, version: &str, tree: &Path, fields: &str, files: &str) {
    let spec = format!(
        "Name: {package}\nEpoch: 1\nVersion: {version}\nRelease: 1\nSummary: {package}\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n{fields}%description\n%install\ncp -a {}/. %{{buildroot}}\n%files\n{files}\n",
        tree.display()
    );
    let file = scratch.path().join(format!("{package}.spec"));
    std::fs::write(&file, spec).expect("written");
    run(Command::new("rpmbuild")
        .args([
            "-bb",
            "--quiet",
            "--nodeps",
            "--define",
            "_build_id_links none",
            "--define",
            "__os_install_post %{nil}",
        ])
        .args(["--define", &format!("_topdir {}", scratch.path().join("build").display())])
        .args(["--define", &format!("_rpmdir {}", scratch.repository().display())])
        .args(["--define", "_rpmfilename %%{NAME}-%%{VERSION}.rpm", "--define", "_binary_payload w0.ufdio"])
        .arg(file));
}

/// Builds the index of the repository.
pub(crate) fn index(scratch: &Scratch) {
    run(Command::new("createrepo_c").arg("--quiet").arg(scratch.repository()));
}

/// Creates a second repository with one package, and returns its directory.
pub(crate) fn extra(scratch: &Scratch) -> PathBuf {
    let folder = scratch.path().join("extra");
    std::fs::create_dir(&folder).expect("made");
    let tree = scratch.path().join("tree-kq-extra");
    std::fs::create_dir_all(tree.join("usr/share")).expect("made");
    std::fs::write(tree.join("usr/share/kq-extra"), "x").expect("written");
    rpm(scratch, "kq-extra", "1.0", &tree, "");
    let package = package_file(scratch, "kq-extra");
    std::fs::rename(&package, folder.join(package.file_name().expect("a name"))).expect("moved");
    run(Command::new("createrepo_c").arg("--quiet").arg(&folder));
    folder
}

/// Breaks the index of the repository.
pub(crate) fn break_index(scratch: &Scratch) {
    std::fs::write(scratch.repository().join("repodata/repomd.xml"), "no index at all").expect("written");
}
