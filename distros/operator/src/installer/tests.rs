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
fn the_installer_is_chosen_by_the_programs_of_the_system() {
    let choice = |programs: &[&str], manager| choose(&root(programs).1, manager).unwrap().installer;
    let dnf = PackageManager::Dnf;
    assert_eq!(choice(&["usr/bin/dnf"], dnf), Installer::Dnf);
    assert_eq!(choice(&["usr/bin/microdnf"], dnf), Installer::Microdnf);
    assert_eq!(choice(&["usr/bin/dnf", "usr/bin/rpm-ostree"], dnf), Installer::Dnf);
    assert_eq!(choice(&["usr/bin/dnf", "usr/bin/rpm-ostree", "run/ostree-booted"], dnf), Installer::RpmOstree);
    // Systems of bootc, and Endless OS, which is built from Debian packages.
    for booted in ["run/ostree-booted", "ostree/deploy/default"] {
        assert_eq!(choice(&["usr/bin/dnf", "usr/bin/bootc", booted], dnf), Installer::ImageBased);
        assert_eq!(choice(&["usr/bin/apt-get", booted], PackageManager::Apt), Installer::ImageBased);
    }
    // A machine on which such systems are built.
    assert_eq!(choice(&["usr/bin/dnf", "ostree/repo"], dnf), Installer::Dnf);
    assert_eq!(choice(&["usr/bin/yum"], dnf), Installer::Yum);
    assert_eq!(choice(&["usr/bin/tdnf"], dnf), Installer::Tdnf);
    // Enterprise Linux 8 and Amazon Linux 2023 have dnf under the name yum, too; Amazon Linux 2 may have dnf in
    // addition to yum.
    let yum = PackageManager::Yum;
    assert_eq!(choice(&["usr/bin/yum", "usr/bin/dnf"], yum), Installer::Yum);
    let (dir, linked) = root(&["usr/bin/dnf-3", "usr/bin/dnf"]);
    std::os::unix::fs::symlink("dnf-3", dir.path().join("usr/bin/yum")).unwrap();
    assert_eq!(choose(&linked, yum).unwrap().installer, Installer::Dnf);
    // Azure Linux 3 offers dnf as a package.
    assert_eq!(choice(&["usr/bin/tdnf", "usr/bin/dnf"], PackageManager::Tdnf), Installer::Tdnf);
    assert_eq!(choice(&["usr/bin/dnf"], PackageManager::Tdnf), Installer::Dnf);
    assert_eq!(choice(&[], PackageManager::Tdnf), Installer::Tdnf);
    assert_eq!(choice(&["usr/bin/dnf"], PackageManager::ImageBased), Installer::ImageBased);
    assert_eq!(choice(&["usr/bin/zypper"], PackageManager::Zypper), Installer::Zypper);
    let snapshot = ["usr/bin/zypper", "usr/sbin/transactional-update"];
    assert_eq!(choice(&snapshot, PackageManager::Zypper), Installer::TransactionalUpdate);
    for manager in PackageManager::ALL {
        assert_eq!(choice(&[], *manager).name(), manager.name(), "its own");
    }
}

/// If a package manager's main program were not listed, nothing would be installed, silently.
#[test]
fn every_installer_is_listed() {
    let error = serde_json::from_str::<Installer>("\"?\"").unwrap_err().to_string();
    let known: Vec<String> = error.split('`').skip(3).step_by(2).map(|name| format!("\"{name}\"")).collect();
    let listed: Vec<String> = Installer::ALL.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
    assert_eq!(listed, known, "{error}");
}

#[test]
fn untested_installers_have_exactly_these_commands() {
    let (_dir, root) = root(&[]);
    let request = InstallRequest { packages: vec!["qemu".parse().unwrap()], ..InstallRequest::default() };
    let mut commands = String::new();
    for installer in Installer::ALL.iter().filter(|i| !i.is_exercised()) {
        let chosen = InstallerChoice {
            installer: *installer,
            program: installer.file_name().into(),
            place: InstallerLocation::Nowhere,
            own_settings: OnceLock::new(),
        };
        for step in chosen.steps(&root, &request, true).unwrap() {
            commands += &format!("{}: {}\n", installer.name(), step.argv.join(" "));
        }
    }
    insta::assert_snapshot!(commands, @r"
    yum: yum --assumeyes install qemu
    microdnf: microdnf --assumeyes --setopt=install_weak_deps=0 install qemu
    tdnf: tdnf makecache
    tdnf: tdnf --assumeyes install qemu
    apk: apk update
    apk: apk add qemu
    emerge: emerge --ask=n --noreplace qemu
    rpm-ostree: rpm-ostree install --idempotent qemu
    transactional-update: transactional-update --non-interactive pkg install qemu
    nix: nix-env --install --attr nixos.qemu
    ");
}

#[test]
fn only_an_installation_into_the_running_system_outlives_this_process() {
    let (_dir, root) = root(&[]);
    let request = InstallRequest { packages: vec!["qemu".parse().unwrap()], ..InstallRequest::default() };
    for (place, outlives) in [(InstallerLocation::Here, true), (InstallerLocation::Nowhere, false)] {
        let (installer, program) = (Installer::Apt, "/usr/bin/apt-get".into());
        let chosen = InstallerChoice { installer, program, place, own_settings: OnceLock::new() };
        let steps = chosen.steps(&root, &request, true).unwrap();
        assert!(!steps.is_empty() && steps.iter().all(|step| step.outlives == outlives), "{place:?}");
    }
    let chosen = InstallerChoice {
        installer: Installer::Apt,
        program: "/usr/bin/apt-get".into(),
        place: InstallerLocation::Inside,
        own_settings: OnceLock::new(),
    };
    assert!(!chosen.invocation(&root, &[]).outlives);
}

#[test]
fn a_conflict_names_its_packages() {
    use Installer::{Apt, Dnf, Pacman, Zypper};
    for (installer, code, stdout, stderr, named) in [
        (
            Apt,
            100,
            "The following packages have unmet dependencies:\n kq-vmm : Conflicts: kq-other but 1.0 is to be installed\n",
            "E: Unable to correct problems, you have held broken packages.\n",
            "kq-vmm : Conflicts: kq-other",
        ),
        (
            Apt,
            100,
            "",
            "Error: Unable to satisfy dependencies. Reached two conflicting decisions:\n   1. kq-vmm:amd64=1 is selected for install\n   2. kq-vmm:amd64 Conflicts kq-other\n",
            "kq-vmm:amd64 Conflicts kq-other",
        ),
        (
            Dnf,
            1,
            "",
            "Error: \n Problem: package kq-vmm-1 requires kq-lib, but none of the providers can be installed\n",
            "kq-vmm-1 requires kq-lib",
        ),
        (
            Zypper,
            4,
            "Problem: nothing provides 'kq-lib' needed by kq-vmm-1\n Solution 1: do not install kq-vmm\n",
            "Choose from above solutions by number or cancel\n",
            "nothing provides 'kq-lib' needed by kq-vmm-1",
        ),
        (
            Pacman,
            1,
            ":: kq-vmm-1 and kq-other-1 are in conflict\n",
            "error: failed to prepare transaction (conflicting dependencies)\n",
            "kq-vmm-1 and kq-other-1 are in conflict",
        ),
    ] {
        let chosen = InstallerChoice {
            installer,
            program: "x".into(),
            place: InstallerLocation::Here,
            own_settings: OnceLock::new(),
        };
        let finished = ProcessOutput { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        let failure = chosen.failure(&finished);
        assert_eq!(failure.kind, FailureKind::Conflict, "{}", installer.name());
        assert_eq!(failure.message.matches(named).count(), 1, "{}", failure.message);
    }
}

#[test]
fn each_installers_failures_are_recognized_by_its_own_messages() {
    use FailureKind::{Conflict, DiskFull, Locked, MissingPackage, Other, Repository, Verification};
    use Installer::{Apt, Dnf, Pacman, Yum, Zypper};
    for (installer, code, stderr, kind) in [
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
        // apt 3.0 of Debian 13, where sqv verifies signatures; 3.1 and 3.2 end the message differently.
        (Apt, 100, "Error: Unable to satisfy dependencies. Reached two conflicting decisions:", Conflict),
        (Apt, 100, "Error: Unable to satisfy dependencies. Reached two conflicting assignments:", Conflict),
        (Apt, 100, "W: OpenPGP signature verification failed: copy:/r InRelease: Sub-process sqv", Verification),
        // Both apt 2.6 and 3.0.
        (Apt, 100, "E: Unable to correct problems, you have held broken packages.", Conflict),
        (Apt, 100, "E: The repository 'copy:/r ./ Release' no longer has a Release file.", Repository),
        (Apt, 100, "E: The repository 'copy:/r ./ InRelease' is no longer signed.", Verification),
        (Apt, 100, "E: Release file for copy:/r/InRelease is expired (invalid since 2d 3h 5min 8s).", Repository),
        (Apt, 100, "W: GPG error: copy:/r ./ InRelease: BADSIG 0123456789ABCDEF x <x@b.example>", Verification),
        // dpkg 1.21 and 1.22.
        (Apt, 100, "dpkg: error: dpkg frontend lock was locked by another process with pid 7", Locked),
        // dnf5 5.2 of Fedora 41 and later.
        (Dnf, 1, "Failed to resolve the transaction:\nNo match for argument: x", MissingPackage),
        (Dnf, 1, "Failed to obtain rpm transaction lock. Another transaction is in progress.", Locked),
        (Dnf, 1, "Failed to download metadata (baseurl: \"file:/r\") for repository \"local\"", Repository),
        (Dnf, 1, "Failed to download packages\n Librepo error: Curl error (37)", Repository),
        (Dnf, 2, "No matching repositories for \"crb\"", Repository),
        (Dnf, 1, "Transaction failed: Signature verification failed.", Verification),
        (Dnf, 1, "OpenPGP check for package \"x\" (x.rpm) from repo \"r\" has failed: Public key", Verification),
        // dnf 4.14.
        (Dnf, 1, "Error: Unknown repo: 'crb'", Repository),
        (Dnf, 1, "Error: \n Problem 1: package x requires y, but none of the providers can be installed", Conflict),
        // rpm 4.18 to 6.0, through dnf5 and zypper 1.14.
        (Dnf, 1, "  - installing package x-1-1.noarch needs 142MB more space on the / filesystem", DiskFull),
        (Dnf, 1, "  - installing package x-1-1.noarch needs 7 more inodes on the / filesystem", DiskFull),
        (Dnf, 1, "  - package x-1-1.noarch does not verify: no signature", Verification),
        (Dnf, 1, "  - file /x conflicts between attempted installs of x-1-1.noarch and y-1-1.noarch", Conflict),
        (Zypper, 8, "RPM failed: installing package x-1-1.noarch needs 8MB more space on the / filesystem", DiskFull),
        (Zypper, 8, "RPM failed: package x-1-1.noarch does not verify: no signature", Verification),
        (Zypper, 8, "file /x conflicts between attempted installs of x-1-1.noarch and y-1-1.noarch", Conflict),
        // pacman 6 and 7.
        (Pacman, 1, "error: required key missing from keyring", Verification),
        (Pacman, 1, "error: failed to commit transaction (failed to retrieve some files)", Repository),
        // pacman 7, in a sandbox where no process may change its user.
        (
            Pacman,
            1,
            "error: switching to sandbox user 'alpm' failed!\nerror: failed to synchronize all databases",
            Other,
        ),
        // Another program's messages do not count, nor do those of a program that is not run.
        (Pacman, 1, "E: Unable to locate package x", Other),
        (Yum, 1, "No space left on device", Other),
    ] {
        let chosen = InstallerChoice {
            installer,
            program: "x".into(),
            place: InstallerLocation::Here,
            own_settings: OnceLock::new(),
        };
        let finished = ProcessOutput { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() };
        assert_eq!(chosen.failure(&finished).kind, kind, "{}: {stderr}", installer.name());
    }
}
