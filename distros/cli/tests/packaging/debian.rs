//! The Debian package: its content, and its life cycle on a real system.

use crate::build::{Built, program};
use crate::system::System;
use crate::{must, repository, run};
use model::arch::Arch;
use model::database::Database;
use std::collections::BTreeSet;
use std::process::Command;

/// The admin's record, which the package must not touch.
const ADMINS: &str = "distro: debian\nvmm: {name: mine, packages: none, path: /opt/mine, confidence: documented}\n";

#[test]
fn the_debian_changelog_has_this_version() {
    let changelog = std::fs::read_to_string(repository("debian/changelog")).expect("read");
    let version = changelog.split(['(', ')']).nth(1);
    assert_eq!(version, Some(env!("CARGO_PKG_VERSION")), "debian/changelog needs an entry for this version");
}

#[test]
fn dpkg_triggers_watch_every_path_in_debian_and_ubuntu_records() {
    let triggers = std::fs::read_to_string(repository("debian/kata-osinfo.triggers")).expect("read");
    let watched: BTreeSet<&str> = triggers.lines().filter_map(|l| l.strip_prefix("interest-noawait ")).collect();
    let database = Database::embedded();
    let mut used = BTreeSet::new();
    for distro in ["debian", "ubuntu"] {
        let record = database.record(distro).expect("shipped");
        for (entry, arch) in record.releases.iter().flat_map(|e| Arch::ALL.iter().map(move |arch| (e, *arch))) {
            for path in operator::check::stated(record, entry, arch).into_iter().filter_map(|s| s.path) {
                // Images of kernels are files in a directory that is watched.
                let path = path.as_str();
                used.insert(path.split_once("/vmlinu").map_or(path, |(folder, _)| folder).to_owned());
            }
        }
    }
    assert!(used.len() > 5, "{used:?}");
    assert_eq!(watched, used.iter().map(String::as_str).collect());
}

#[test]
#[cfg_attr(lacks = "debhelper", ignore = "needs debhelper")]
fn the_package_contents_match_the_snapshot() {
    let built = Built::get();
    let listed = must(Command::new("dpkg-deb").arg("--contents").arg(built.package()));
    let (mut files, mut records) = (String::new(), BTreeSet::new());
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], "root/root", "{line}");
        if let Some(record) = words[5].strip_prefix("./usr/share/kata-osinfo/").filter(|name| name.ends_with(".yaml")) {
            assert_eq!(words[0], "-rw-r--r--", "{line}");
            records.insert(record.to_owned());
            continue;
        }
        // Directories with content are omitted; the directory of units is debhelper's choice.
        if !line.ends_with('/') || line.ends_with("/etc/kata-osinfo/") {
            files += &format!("{} {}\n", words[0], words[5].replace("./usr/lib/systemd", "./lib/systemd"));
        }
    }
    insta::assert_snapshot!(files);
    let verified = yaml_files("distros/records/verified").into_iter().map(|name| format!("verified/{name}"));
    assert_eq!(records, yaml_files("distros/records").into_iter().chain(verified).collect());
    let conffiles = must(Command::new("dpkg-deb").args(["--info"]).arg(built.package()));
    assert!(!conffiles.contains("conffiles"), "nothing in it may be changed by the admin: {conffiles}");
}

/// Returns the names of a directory's YAML files.
fn yaml_files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(repository(folder)).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".yaml")).collect()
}

#[test]
#[cfg_attr(any(lacks = "debhelper", lacks = "lintian"), ignore = "needs debhelper and lintian")]
fn lintian_reports_no_errors_or_warnings() {
    let changes = Built::get().changes();
    let (code, output) = run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(changes));
    assert_eq!(code, 0, "{output}");
}

#[test]
#[cfg_attr(
    any(
        lacks = "debhelper",
        lacks = "debian-system",
        lacks = "man",
        lacks = "bash-completion",
        lacks = "systemd-analyze"
    ),
    ignore = "needs root on Debian, debhelper, man-db, bash-completion and systemd"
)]
fn the_package_is_installed_upgraded_and_removed_without_a_trace() {
    let (built, system) = (Built::get(), System::new());
    let before = system.differences();
    assert_eq!(before, Vec::<String>::new());

    system.copy(&built.package(), "tmp/first.deb");
    system.must(&["apt-get", "install", "--yes", "-q", "/tmp/first.deb"]);
    assert!(system.differences().contains(&"usr/bin/kata-osinfo".to_owned()));
    works(&system);

    // The admin's record, and the timer.
    system.write("etc/kata-osinfo/debian.yaml", ADMINS.as_bytes());
    system.must(&["systemctl", "enable", "kata-osinfo-check.timer"]);
    let timer_link = "etc/systemd/system/timers.target.wants/kata-osinfo-check.timer";
    assert!(system.differences().contains(&timer_link.to_owned()));

    let later = built.later("9.0", |tree| {
        std::fs::remove_file(tree.join("usr/share/kata-osinfo/nixos.yaml")).expect("removed");
        std::fs::write(tree.join("usr/share/kata-osinfo/new.yaml"), "distro: new\n").expect("written");
    });
    system.copy(&later, "tmp/later.deb");
    system.must(&["apt-get", "install", "--yes", "-q", "/tmp/later.deb"]);
    assert_eq!(system.must(&["dpkg-query", "-W", "-f=${Version} ${db:Status-Status}", "kata-osinfo"]), "9.0 installed");
    let now = system.differences();
    assert!(now.contains(&"usr/share/kata-osinfo/new.yaml".to_owned()), "{now:?}");
    assert!(!now.contains(&"usr/share/kata-osinfo/nixos.yaml".to_owned()), "what it has no longer is gone: {now:?}");
    assert!(now.contains(&timer_link.to_owned()), "the timer is still wanted: {now:?}");
    assert_eq!(system.must(&["cat", "/etc/kata-osinfo/debian.yaml"]), ADMINS);
    assert!(system.must(&["kata-osinfo", "show", "debian:13", "--arch", "x86_64"]).contains("/opt/mine"));

    system.must(&["apt-get", "remove", "--yes", "-q", "kata-osinfo"]);
    let (code, _) = run(&mut system.command(&["sh", "-c", "command -v kata-osinfo"]));
    assert_ne!(code, 0);
    assert_eq!(system.must(&["cat", "/etc/kata-osinfo/debian.yaml"]), ADMINS);
    system.must(&["dpkg", "--purge", "kata-osinfo"]);
    assert_eq!(system.differences(), ["etc/kata-osinfo", "etc/kata-osinfo/debian.yaml"]);
    assert_eq!(system.must(&["cat", "/etc/kata-osinfo/debian.yaml"]), ADMINS);
    assert_eq!(system.must(&["dpkg", "--audit"]), "");

    // Without the admin's file, nothing is left at all.
    system.must(&["apt-get", "install", "--yes", "-q", "/tmp/first.deb"]);
    system.must(&["rm", "/etc/kata-osinfo/debian.yaml"]);
    system.must(&["apt-get", "purge", "--yes", "-q", "kata-osinfo"]);
    assert_eq!(system.differences(), before);
}

/// Checks the command, its man page, its completion and its units, as a user sees them.
fn works(system: &System) {
    let os = system.must(&["sh", "-c", ". /etc/os-release; echo $ID:${VERSION_ID:-}"]);
    let detected = system.must(&["kata-osinfo", "detect"]);
    assert!(detected.starts_with(os.trim()) || detected.contains("unstable"), "{detected} is not {os}");
    // The records exist twice, built in and as files, with the same content.
    let shown = system.must(&["kata-osinfo", "show", "debian:13", "--arch", "x86_64", "--origin"]);
    assert!(shown.contains("/usr/share/kata-osinfo/debian.yaml"), "{shown}");
    let verified = |command: &mut Command| {
        run(command.args(["verified", "--target", "debian:13", "--arch", "x86_64", "--root", "/tmp"]))
    };
    let installed = verified(&mut system.command(&["kata-osinfo"]));
    assert_eq!(installed, verified(&mut Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))));

    for page in ["kata-osinfo", "kata-osinfo-check"] {
        let read = system.must(&["sh", "-c", "man \"$0\" | col -b", page]);
        assert!(read.contains("SYNOPSIS") && read.contains(page), "{read}");
    }
    // By file name, as an interactive shell finds it.
    let bash =
        "source /usr/share/bash-completion/bash_completion; _completion_loader kata-osinfo; complete -p kata-osinfo";
    assert!(system.must(&["bash", "-c", bash]).contains("kata-osinfo"));
    let units = ["kata-osinfo-check.timer", "kata-osinfo-check.service"].map(|u| format!("/lib/systemd/system/{u}"));
    for unit in &units {
        assert_eq!(system.must(&["systemd-analyze", "verify", unit]), "");
    }
    assert_eq!(system.must(&["sh", "-c", "systemctl is-enabled kata-osinfo-check.timer || true"]), "disabled\n");
}

#[test]
#[cfg_attr(any(lacks = "debhelper", lacks = "debian-system"), ignore = "needs root on Debian, and debhelper")]
fn an_upgrade_of_verified_packages_is_reported_and_never_blocked() {
    let (built, system) = (Built::get(), System::new());
    system.copy(&built.package(), "tmp/ours.deb");
    let path = "usr/bin/cloud-hypervisor";
    for version in ["1.0", "2.0", "3.0", "4.0", "5.0"] {
        let folder = tempfile::tempdir().expect("a folder");
        system.copy(&program(folder.path(), "kq-vmm", version, path), &format!("tmp/{version}.deb"));
    }
    // A distro for this test, of which version 1.0 was verified.
    system.write("etc/os-release", b"ID=kqtest\nVERSION_ID=1\n");
    let record = "distro: kqtest
package-manager: apt
arch: [x86_64, aarch64, ppc64le, s390x]
confidence: documented
vmm: {name: cloud-hypervisor, packages: kq-vmm, path: /usr/bin/cloud-hypervisor}
releases: [{version: 1}]
";
    let entry = |arch: &str, profile: &str| {
        format!(
            "  - {{release: \"1\", arch: {arch}, profile: {profile}, environment: vm, basis: emulated, tested: 2026-01-01, harness: \"0.1.0\", test-set: d3dcb968b1d5, versions: {{kq-vmm: \"1.0\"}}, capabilities: {{vmm.boot: supported}}}}\n"
        )
    };
    let arch = std::env::consts::ARCH;
    let verdicts = ["distro: kqtest\nverified:\n", &entry(arch, "go-3.29"), &entry(arch, "rs-4.0")].concat();
    system.write("etc/kata-osinfo/kqtest.yaml", record.as_bytes());
    system.write("etc/kata-osinfo/verified/kqtest.yaml", verdicts.as_bytes());
    let apt = |version: &str| system.must(&["apt-get", "install", "--yes", "-q", &format!("/tmp/{version}.deb")]);

    apt("1.0");
    let output = system.must(&["apt-get", "install", "--yes", "-q", "/tmp/ours.deb"]);
    assert!(!output.contains("versions have changed"), "{output}");
    assert_eq!(system.must(&["kata-osinfo", "check", "--all", "--quiet"]), "");
    let expected = |from: &str, to: &str| {
        format!("go-3.29,rs-4.0/vm verified 2026-01-01: versions have changed\n  kq-vmm {from} -> {to}\n")
    };
    let output = apt("2.0");
    assert!(output.contains(&expected("1.0", "2.0")), "{output}");
    // Without apt, in a single run of dpkg, which has not yet recorded its changes.
    let output = system.must(&["dpkg", "--install", "/tmp/3.0.deb"]);
    assert!(output.contains(&expected("1.0", "3.0")), "{output}");
    // Removed, and then installed as before.
    let output = system.must(&["apt-get", "remove", "--yes", "-q", "kq-vmm"]);
    assert!(output.contains(&expected("1.0", "not installed")), "{output}");
    let output = system.must(&["apt-get", "install", "--yes", "-q", "/tmp/1.0.deb"]);
    assert!(output.contains("Processing triggers for kata-osinfo") && !output.contains("have changed"), "{output}");

    // Even if the check fails, apt continues.
    system.write("etc/kata-osinfo/kqtest.yaml", b"distro: [\n");
    let output = apt("2.0");
    assert!(output.contains("kqtest"), "it is told: {output}");
    for (version, program) in [("3.0", "exit 77"), ("4.0", "kill -9 $$"), ("5.0", "echo broken >&2; exit 2")] {
        system.must(&["sh", "-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >/usr/bin/kata-osinfo", "sh", program]);
        let output = apt(version);
        assert!(output.contains("Processing triggers for kata-osinfo"), "{output}");
    }
    let state = ["dpkg-query", "-W", "-f=${Package} ${Version} ${db:Status-Status}\n", "kata-osinfo", "kq-vmm"];
    let installed = format!("kata-osinfo {} installed\nkq-vmm 5.0 installed\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(system.must(&state), installed);
    assert_eq!(system.must(&["dpkg", "--audit"]), "");
}
