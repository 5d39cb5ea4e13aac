//! pacman.

use crate::scratch::{Scratch, run, tree};
use crate::situations::{self, PreparedBy};
use model::package_manager::PackageManager;
use std::process::Command;

fn scratch() -> Scratch {
    let scratch = Scratch::new(PackageManager::Pacman);
    for folder in
        ["var/lib/pacman/local", "var/cache/pacman/pkg", "var/log", "etc/pacman.d/gnupg", "etc/pacman.d/hooks"]
    {
        std::fs::create_dir_all(scratch.root_path().join(folder)).expect("made");
    }
    let repository = scratch.repository().display().to_string();
    scratch.write(
        "etc/pacman.conf",
        &format!("[options]\nArchitecture = auto\nSigLevel = Never\nCheckSpace\n[kq]\nServer = file://{repository}\n"),
    );
    for (package, fields) in [("kq-vmm", "depend = kq-lib\nprovides = kq-virtual=1\n"), ("kq-lib", ""), ("kq-big", "")]
    {
        let tree = tree(scratch.path(), package);
        let size = if package == "kq-big" { 16 << 20 } else { 100 };
        let info = format!("pkgname = {package}\npkgver = 1:1.0-1\npkgdesc = x\narch = any\nsize = {size}\n{fields}");
        std::fs::write(tree.join(".PKGINFO"), info).expect("written");
        let file = scratch.repository().join(format!("{package}-1:1.0-1-any.pkg.tar"));
        run(Command::new("bsdtar").arg("-cf").arg(file).arg("-C").arg(&tree).args([".PKGINFO", "usr"]));
    }
    index(&scratch);
    scratch
}

fn index(scratch: &Scratch) {
    let repository = scratch.repository();
    let files = ["kq-vmm", "kq-lib", "kq-big"].map(|p| repository.join(format!("{p}-1:1.0-1-any.pkg.tar")));
    run(Command::new("repo-add").arg("--quiet").arg(repository.join("kq.db.tar.gz")).args(files));
}

/// Removes pacman's databases: pacman fetches them only if there are none, and the tests want new ones.
fn forget(scratch: &Scratch) {
    let _ = std::fs::remove_dir_all(scratch.root_path().join("var/lib/pacman/sync"));
}

const PREPARED: PreparedBy = PreparedBy { scratch, break_index, mend_index, hold_lock };

fn break_index(scratch: &Scratch) {
    forget(scratch);
    std::fs::remove_file(scratch.repository().join("kq.db")).expect("removed");
}

fn mend_index(scratch: &Scratch) {
    forget(scratch);
    index(scratch);
}

fn hold_lock(scratch: &Scratch) -> Box<dyn FnOnce() + Send> {
    scratch.write("var/lib/pacman/db.lck", "");
    let lock = scratch.root_path().join("var/lib/pacman/db.lck");
    Box::new(move || std::fs::remove_file(lock).expect("removed"))
}

#[test]
#[cfg_attr(lacks = "pacman", ignore = "needs root, pacman, bsdtar and zstd")]
fn packages_are_installed_and_found() {
    situations::packages_are_installed_and_found(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "pacman", ignore = "needs root, pacman, bsdtar and zstd")]
fn failures_are_reported_by_kind() {
    situations::failures_are_reported_by_kind(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "pacman", ignore = "needs root, pacman, bsdtar and zstd")]
fn the_xfer_command_of_the_root_is_not_run() {
    let scratch = scratch();
    let planted = scratch.planted_program();
    let repository = scratch.repository().display().to_string();
    scratch.write("etc/pacman.d/mirrors", &format!("Server = file://{repository}\n"));
    scratch.write(
        "etc/pacman.conf",
        &format!(
            "[options]\nArchitecture = auto\nSigLevel = Never\nXferCommand = {planted} %u\n[kq]\nInclude = /etc/pacman.d/mirror*\n"
        ),
    );
    scratch.assert_runs_no_planted_program();
}

#[test]
#[cfg_attr(lacks = "pacman", ignore = "needs root, pacman, bsdtar and zstd")]
fn an_installation_waits_for_a_lock() {
    situations::an_installation_waits_for_a_lock(&PREPARED);
}
