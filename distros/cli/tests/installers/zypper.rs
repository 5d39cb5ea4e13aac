//! zypper.

use crate::rpm::{break_index, extra, index, rpms};
use crate::scratch::Scratch;
use crate::situations::{self, PreparedBy};
use model::package_manager::PackageManager;
use operator::installer::{InstallOptions, InstallRequest};
use operator::packages::Packages;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn scratch() -> Scratch {
    let scratch = Scratch::new(PackageManager::Zypper);
    scratch.write("etc/zypp/zypp.conf", "[main]\n");
    scratch.write(
        "etc/zypp/repos.d/local.repo",
        &format!(
            "[local]\nname=local\nenabled=1\nautorefresh=1\nbaseurl=dir:{}\ngpgcheck=0\n",
            scratch.repository().display()
        ),
    );
    rpms(&scratch);
    scratch
}

const PREPARED: PreparedBy = PreparedBy { scratch, break_index, mend_index: index, hold_lock };

/// Holds the lock by zypper's shell, which keeps it while its standard input is open.
fn hold_lock(scratch: &Scratch) -> Box<dyn FnOnce() + Send> {
    let mut holder = Command::new("zypper")
        .args(["--non-interactive", "--no-refresh", "--root"])
        .arg(scratch.root_path())
        .arg("shell")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("zypper");
    let lock = scratch.root_path().join("run/zypp.pid");
    let until = Instant::now() + Duration::from_secs(30);
    while std::fs::read_to_string(&lock).unwrap_or_default().trim().is_empty() {
        assert!(Instant::now() < until, "zypper's shell made no lock");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The shell creates the database while it holds the lock, and the database cannot be queried before.
    while !Packages::read(&scratch.root(), Some(PackageManager::Zypper))
        .is_ok_and(|packages| packages.installed("kq-vmm").is_ok())
    {
        assert!(Instant::now() < until, "zypper's shell made no database");
        std::thread::sleep(Duration::from_millis(50));
    }
    Box::new(move || {
        drop(holder.stdin.take());
        holder.wait().expect("ended");
    })
}

#[test]
#[cfg_attr(lacks = "zypper", ignore = "needs root, zypper, rpm and createrepo-c")]
fn packages_are_installed_and_found() {
    situations::packages_are_installed_and_found(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "zypper", ignore = "needs root, zypper, rpm and createrepo-c")]
fn failures_are_reported_by_kind() {
    situations::failures_are_reported_by_kind(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "zypper", ignore = "needs root, zypper, rpm and createrepo-c")]
fn repositories_are_enabled_first() {
    let scratch = scratch();
    let folder = extra(&scratch);
    let repository =
        format!("[extra]\nname=extra\nenabled=0\nautorefresh=1\nbaseurl=dir:{}\ngpgcheck=0\n", folder.display());
    scratch.write("etc/zypp/repos.d/extra.repo", &repository);
    scratch.assert_enabled_first(&["extra"], &[]);
}

#[test]
#[cfg_attr(lacks = "zypper", ignore = "needs root, zypper, rpm and createrepo-c")]
fn no_dry_run_simulation_if_a_zypp_service_is_a_program() {
    let scratch = scratch();
    let plan = || {
        let root = scratch.root();
        let chosen = operator::installer::choose(&root, PackageManager::Zypper).expect("settings");
        let request = InstallRequest { packages: vec!["kq-vmm".parse().expect("a name")], ..InstallRequest::default() };
        let options = InstallOptions { timeout: Duration::from_secs(120), ..InstallOptions::default() };
        operator::installer::plan(&chosen, &root, &request, &options).expect("a plan").changes
    };
    assert!(plan().is_some(), "a simulation tells");
    scratch.write("usr/lib/zypp/plugins/services/evil", "#!/bin/sh\n");
    assert_eq!(plan(), None, "none is made");
}

#[test]
#[cfg_attr(lacks = "zypper", ignore = "needs root, zypper, rpm and createrepo-c")]
fn an_installation_waits_for_a_lock() {
    situations::an_installation_waits_for_a_lock(&PREPARED);
}
