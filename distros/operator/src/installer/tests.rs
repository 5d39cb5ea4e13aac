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
            told += &format!("{}: {}\n", installer.name(), step.invocation.argv.join(" "));
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
