//! apt and dpkg.

use crate::scratch::{Scratch, run, tree};
use crate::situations::{self, PreparedBy};
use model::package_manager::PackageManager;
use std::path::Path;
use std::process::{Command, Stdio};

/// Creates a root for apt, and a repository of three packages.
pub(crate) fn scratch() -> Scratch {
    let scratch = Scratch::new(PackageManager::Apt);
    for folder in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/apt/lists/partial",
        "var/log/apt",
        "var/cache/apt/archives/partial",
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
    ] {
        std::fs::create_dir_all(scratch.root_path().join(folder)).expect("made");
    }
    scratch.write("var/lib/dpkg/status", "");
    scratch.write("etc/apt/sources.list", &format!("deb [trusted=yes] copy:{} ./\n", scratch.repository().display()));
    for (package, fields) in [("kq-vmm", "Depends: kq-lib\nProvides: kq-virtual\n"), ("kq-lib", ""), ("kq-big", "")] {
        package_of(&scratch, package, &tree(scratch.path(), package), fields);
    }
    index(&scratch);
    scratch
}

/// Builds a package from a directory, and keeps the owners of its files.
pub(crate) fn package_of(scratch: &Scratch, package: &str, tree: &Path, fields: &str) {
    let control = format!(
        "Package: {package}\nVersion: 1:1.0-1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n{fields}Description: {package}\n"
    );
    std::fs::create_dir_all(tree.join("DEBIAN")).expect("made");
    std::fs::write(tree.join("DEBIAN/control"), control).expect("written");
    run(Command::new("dpkg-deb").args(["--build", "-Znone"]).arg(tree).arg(scratch.repository()));
}

pub(crate) fn index(scratch: &Scratch) {
    let list = Command::new("dpkg-scanpackages").arg(".").current_dir(scratch.repository()).output().expect("it runs");
    std::fs::write(scratch.repository().join("Packages"), list.stdout).expect("written");
}

const PREPARED: PreparedBy = PreparedBy { scratch, break_index, mend_index: index, hold_lock };

fn break_index(scratch: &Scratch) {
    std::fs::write(scratch.repository().join("Packages"), "no index at all").expect("written");
}

/// Holds dpkg's lock in another process, because fcntl locks belong to a process.
fn hold_lock(scratch: &Scratch) -> Box<dyn FnOnce() + Send> {
    let lock = scratch.root_path().join("var/lib/dpkg/lock-frontend");
    let script = "import fcntl,sys\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('held',end='',flush=True)\nsys.stdin.read()\n";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(&lock)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut held = [0; 4];
    std::io::Read::read_exact(&mut holder.stdout.take().expect("piped"), &mut held).expect("held");
    Box::new(move || {
        drop(holder.stdin.take());
        holder.wait().expect("ended");
    })
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn packages_are_installed_and_found() {
    situations::packages_are_installed_and_found(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn failures_are_reported_by_kind() {
    situations::failures_are_reported_by_kind(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn apt_hooks_solvers_and_helpers_of_the_root_are_not_run() {
    let scratch = scratch();
    let planted = scratch.planted_program();
    let folder = scratch.path().join("helpers");
    std::fs::create_dir(&folder).expect("made");
    for name in ["evil", "copy", "http", "apt"] {
        std::fs::copy(&planted, folder.join(name)).expect("copied");
    }
    let helpers = folder.display();
    scratch.write(
        "etc/apt/apt.conf.d/99evil",
        &format!(
            "APT::Update::Pre-Invoke {{ \"{planted} update\"; }};\nAPT::Update::Post-Invoke {{ \"{planted} update\"; }};\n\
             DPkg::Pre-Invoke {{ \"{planted} dpkg\"; }};\nDPkg::Post-Invoke {{ \"{planted} dpkg\"; }};\n\
             DPkg::Pre-Install-Pkgs {{ \"{planted} packages\"; }};\nDPkg::Options {{ \"--pre-invoke={planted}\"; }};\n\
             APT::Solver \"evil\";\nAPT::Solver::evil::RunAsUser \"root\";\nAPT::Planner \"evil\";\n\
             Dir::Bin::solvers {{ \"{helpers}\"; }};\nDir::Bin::planners {{ \"{helpers}\"; }};\n\
             Dir::Bin::methods \"{helpers}/\";\nDir::Bin::dpkg \"{planted}\";\nDir::Bin::gpg \"{planted}\";\n\
             Acquire::http::Proxy-Auto-Detect \"{planted}\";\nAcquire::Changelogs::URI \"x\";\n"
        ),
    );
    scratch.assert_runs_no_planted_program();
}

#[test]
#[cfg_attr(any(lacks = "apt", lacks = "python3"), ignore = "needs root, apt, dpkg and dpkg-dev, and python3")]
fn an_installation_waits_for_a_lock() {
    situations::an_installation_waits_for_a_lock(&PREPARED);
}
