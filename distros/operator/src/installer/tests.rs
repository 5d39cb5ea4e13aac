use super::*;

fn root(programs: &[&str]) -> (tempfile::TempDir, Root) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let file = dir.path().join(program);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let root = Root::new(dir.path()).unwrap();
    (dir, root)
}

#[test]
fn the_system_decides_where_the_record_cannot() {
    let choice = |programs: &[&str], manager| choose(&root(programs).1, manager).unwrap().installer;
    let dnf = PackageManager::Dnf;
    assert_eq!(choice(&["usr/bin/dnf"], dnf), Installer::Dnf);
    assert_eq!(choice(&["usr/bin/microdnf"], dnf), Installer::Microdnf);
    assert_eq!(choice(&["usr/bin/dnf", "usr/bin/rpm-ostree"], dnf), Installer::Dnf);
    assert_eq!(choice(&["usr/bin/dnf", "usr/bin/rpm-ostree", "run/ostree-booted"], dnf), Installer::RpmOstree);
    assert_eq!(choice(&["usr/bin/yum"], dnf), Installer::Yum);
    assert_eq!(choice(&["usr/bin/zypper"], PackageManager::Zypper), Installer::Zypper);
    let snapshot = ["usr/bin/zypper", "usr/sbin/transactional-update"];
    assert_eq!(choice(&snapshot, PackageManager::Zypper), Installer::TransactionalUpdate);
    assert_eq!(choice(&[], PackageManager::Nix), Installer::Nix);
}

#[test]
fn what_nobody_tried_here_is_told_word_for_word() {
    let (_dir, root) = root(&[]);
    let wanted = Wanted { packages: vec!["qemu".into()], ..Wanted::default() };
    let mut told = String::new();
    for installer in Installer::ALL.iter().filter(|i| !i.is_exercised()) {
        let chosen = Chosen {
            installer: *installer,
            program: installer.program().into(),
            place: Place::Nowhere,
            own_settings: None,
        };
        for step in chosen.steps(&root, &wanted, true) {
            told += &format!("{}: {}\n", installer.name(), step.argv.join(" "));
        }
    }
    insta::assert_snapshot!(told, @r"
    yum: yum --assumeyes install qemu
    microdnf: microdnf --assumeyes --setopt=install_weak_deps=0 install qemu
    apk: apk add qemu
    emerge: emerge --ask=n --noreplace qemu
    rpm-ostree: rpm-ostree install --idempotent qemu
    transactional-update: transactional-update --non-interactive pkg install qemu
    nix: nix-env --install --attr nixos.qemu
    ");
}

#[test]
fn each_programs_failures_are_known_by_its_own_signs() {
    use FailureKind::{Conflict, DiskFull, Locked, MissingPackage, Other, Repository, Verification};
    use Installer::{Apt, Dnf, Pacman, Yum, Zypper};
    for (installer, code, said, kind) in [
        (Apt, 100, "E: Unable to locate package x", MissingPackage),
        (Apt, 100, "E: Could not get lock /var/lib/dpkg/lock-frontend.", Locked),
        (Apt, 100, "E: Failed to fetch copy:/r/x.deb  Hash Sum mismatch", Verification),
        (Apt, 100, "E: You don't have enough free space in /var/cache/apt/archives/.", DiskFull),
        (Dnf, 1, "Error: Unable to find a match: x", MissingPackage),
        (Dnf, 200, "", Locked),
        (Dnf, 1, "Error: Failed to download metadata for repo 'local'", Repository),
        (Zypper, 104, "", MissingPackage),
        (Zypper, 4, "Problem: nothing provides 'y' needed by x", Conflict),
        (Pacman, 1, "error: target not found: x", MissingPackage),
        (Pacman, 1, "error: failed to init transaction (unable to lock database)", Locked),
        // Another's words say nothing, nor does a program that is not run.
        (Pacman, 1, "E: Unable to locate package x", Other),
        (Yum, 1, "No space left on device", Other),
    ] {
        let chosen = Chosen { installer, program: "x".into(), place: Place::Here, own_settings: None };
        let finished = Finished { code: Some(code), stdout: String::new(), stderr: said.to_owned() };
        assert_eq!(chosen.failure(&finished).kind, kind, "{}: {said}", installer.name());
    }
}
