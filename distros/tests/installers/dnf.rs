//! dnf and rpm.

use crate::scratch::{Scratch, damage, package_file, run, tree};
use kata_osinfo::installer::FailureKind;
use kata_osinfo::release::PackageManager;
use std::process::Command;
use std::time::Duration;

/// The same three packages as RPMs, with their index.
pub(crate) fn rpms(scratch: &Scratch) {
    for (package, fields) in [("kq-vmm", "Requires: kq-lib\nProvides: kq-virtual\n"), ("kq-lib", ""), ("kq-big", "")] {
        let tree = tree(scratch.path(), package);
        let spec = format!(
            "Name: {package}\nEpoch: 1\nVersion: 1.0\nRelease: 1\nSummary: {package}\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n{fields}%description\n%install\ncp -a {}/. %{{buildroot}}\n%files\n/usr\n",
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
    index(scratch);
}

pub(crate) fn index(scratch: &Scratch) {
    run(Command::new("createrepo_c").arg("--quiet").arg(scratch.repository()));
}

/// Breaks the index of the repository.
pub(crate) fn break_index(scratch: &Scratch) {
    std::fs::write(scratch.repository().join("repodata/repomd.xml"), "no index at all").expect("written");
}

fn scratch() -> Option<Scratch> {
    let scratch = Scratch::new(PackageManager::Dnf, &["dnf", "rpm", "rpmbuild", "createrepo_c"])?;
    scratch.write("etc/dnf/dnf.conf", "[main]\n");
    scratch.write(
        "etc/yum.repos.d/local.repo",
        &format!(
            "[local]\nname=local\nbaseurl=file://{}\ngpgcheck=0\nmetadata_expire=0\n",
            scratch.repository().display()
        ),
    );
    rpms(&scratch);
    Some(scratch)
}

#[test]
fn packages_are_installed_and_found() {
    let Some(scratch) = scratch() else { return };
    scratch.installs_and_answers("1:1.0-1");
}

#[test]
fn failures_are_told_apart() {
    let Some(mut scratch) = scratch() else { return };
    scratch.fails("kq-none", FailureKind::MissingPackage);
    damage(&package_file(&scratch, "kq-lib"));
    scratch.fails("kq-vmm", FailureKind::Verification);
    break_index(&scratch);
    // An index that was read in this second is not yet older than `metadata_expire=0`: dnf would not look again.
    std::thread::sleep(Duration::from_secs(2));
    scratch.fails("kq-big", FailureKind::Repository);
    index(&scratch);
    scratch.shrink(8);
    scratch.fails("kq-big", FailureKind::DiskFull);
}

#[test]
fn a_lock_is_waited_for() {
    let Some(scratch) = scratch() else { return };
    // dnf's locks hold the number of a living process.
    scratch.write("var/lib/dnf/rpmdb_lock.pid", &std::process::id().to_string());
    let lock = scratch.root_path().join("var/lib/dnf/rpmdb_lock.pid");
    scratch.waits_for(move || std::fs::remove_file(lock).expect("removed"));
}
