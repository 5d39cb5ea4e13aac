//! Unreadable files are not reported as absent, and a damaged database is not treated as empty.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

mod machine;

use machine::{BASE, Machine, RECORD};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

/// Runs the command as nobody, because root can read everything.
fn as_nobody(machine: &Machine, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(machine.path("kata-osinfo"));
    // `unconfigure` takes no architecture, and the others in this list report the system's; all other calls get one.
    let is_without = ["unconfigure", "detect", "show", "list", "lint"].contains(&arguments[0]);
    let arch: &[&str] = if is_without { &[] } else { &["--arch", "x86_64"] };
    command.args(arguments).args(arch).arg("--records").arg(machine.path("records"));
    command.arg("--root").arg(machine.path("m")).env_clear().uid(65534).gid(65534);
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_folder_is_not_treated_as_empty() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    let of_database: [(&str, &str, &[&str]); 2] = [
        ("var/lib/rpm", "rpmdb.sqlite", &["check", "fs"]),
        ("var/lib/dpkg", "status", &["check", "fs", "--target", "debian:13"]),
    ];
    for (folder, name, call) in of_database {
        machine.file(&format!("m/{folder}/{name}"), "");
        assert_reported_as_unreadable(&machine, folder, call);
        std::fs::remove_dir_all(machine.path("m").join(folder)).expect("removed");
    }
    machine.file("m/etc/kata-containers/other", "");
    let imports = "version = 2\nimports = [\"/etc/theirs/*.toml\"]\n";
    machine.file("m/var/lib/rancher/k3s/agent/etc/containerd/config.toml", imports);
    machine.file("m/etc/theirs/x.toml", "version = 2\n");
    let configure = ["configure", "--profile", "go-3.29", "--dry-run"];
    let handler = ["configure", "--profile", "go-3.29", "--dry-run", "--handler", "containerd"];
    let own = machine::with(&configure, &[]);
    let of_files: [(&str, &[&str]); 8] = [
        ("etc/kata-containers", &configure),
        // k3s's containerd is configured there, and not in /etc/containerd.
        ("var/lib/rancher", &handler),
        ("var/lib/rancher", &configure),
        ("etc/theirs", &configure),
        ("opt/kata/bin", &handler),
        ("usr/libexec", &configure),
        ("boot", &own),
        ("boot", &["check", "kernel"]),
    ];
    for (folder, call) in of_files {
        assert_reported_as_unreadable(&machine, folder, call);
    }
    // Guests that boot Kata's own kernel need nothing in /boot.
    chmod(&machine.path("m/boot"), 0o700);
    let (code, _, stderr) = as_nobody(&machine, &configure);
    chmod(&machine.path("m/boot"), 0o755);
    assert_eq!(code, 0, "{stderr}");
}

/// The directory shows that the program exists, so it is not called absent; `configure` and `fallback`, which read it,
/// say the same.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_program_is_not_reported_as_absent() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    machine.file("records/mini.yaml", &RECORD.replace("package-manager: dnf", "package-manager: apt"));
    let status = |name| format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n");
    machine.file("m/var/lib/dpkg/status", &(status("qemu-kvm") + &status("virtiofsd")));
    for (program, component) in [("usr/libexec/qemu-kvm", "vmm"), ("usr/libexec/virtiofsd", "fs")] {
        let path = machine.path("m").join(program);
        chmod(&path, 0o000);
        let fallback = ["fallback", "--profile", "go-3.29"];
        for call in [&["check", component][..], &["check"], &["install", "--dry-run", component], &fallback] {
            let (code, stdout, stderr) = as_nobody(&machine, call);
            let printed = format!("{stdout}{stderr}");
            assert_eq!(code, 3, "{call:?}: {printed}");
            let expected = format!("{} cannot be read: ", path.display());
            assert!(printed.contains(&expected), "{call:?}: {printed}");
            assert!(!printed.contains("is not there"), "{call:?}: {printed}");
        }
        // A user who may read it sees that nobody can execute it.
        let output = machine.run(&["check", component, "--arch", "x86_64"]);
        assert_eq!(output.code, 1, "{}", output.stdout);
        assert!(output.stdout.contains(&format!("/{program} is not an executable file")), "{}", output.stdout);
        chmod(&path, 0o755);
    }
}

/// Existing databases would be fetched again, next to the packages of old ones.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_pacman_sync_folder_is_not_treated_as_empty() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    machine.file("records/mini.yaml", &RECORD.replace("package-manager: dnf", "package-manager: pacman"));
    machine.file("m/var/lib/pacman/local/other-1-1/desc", "%NAME%\nother\n\n%VERSION%\n1-1\n\n");
    machine.file("m/var/lib/pacman/sync/core.db", "");
    assert_reported_as_unreadable(&machine, "var/lib/pacman/sync", &["install", "--dry-run", "vmm"]);
}

/// Otherwise this machine's architecture would be taken for the system's.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_program_leaves_the_architecture_unknown() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    machine.file("m/bin/sh", "");
    for call in [&["detect"][..], &["detect", "--format", "json"], &["show"], &["show", "mini:1"]] {
        assert_reported_as_unreadable(&machine, "bin/sh", call);
    }
    chmod(&machine.path("m/bin/sh"), 0o700);
    // Another program reveals it.
    machine.file("m/usr/bin/env", &format!("\x7fELF\x02\x01\x01{}\x3e\0", "\0".repeat(11)));
    let (code, stdout, stderr) = as_nobody(&machine, &["detect"]);
    assert_eq!((code, stdout.as_str()), (0, "mini:1 first on x86_64\n"), "{stderr}");
}

/// Copies the program to a path where others may run it, by `cp`: a file that this process had open for writing cannot
/// be executed while any of its children still has it open, too.
fn copy_program(machine: &Machine) {
    let mut cp = Command::new("cp");
    cp.arg(assert_cmd::cargo::cargo_bin!("kata-osinfo")).arg(machine.path("kata-osinfo"));
    assert!(cp.status().expect("it runs").success());
}

/// Checks that a call with a closed directory or file reports that something in it cannot be read, and gives no other
/// answer.
fn assert_reported_as_unreadable(machine: &Machine, folder: &str, call: &[&str]) {
    let closed = machine.path("m").join(folder);
    let open = std::fs::metadata(&closed).expect("there").permissions();
    chmod(&closed, 0o700);
    let (code, stdout, stderr) = as_nobody(machine, call);
    std::fs::set_permissions(&closed, open).expect("set");
    let output = format!("{stdout}{stderr}");
    assert_eq!(code, 3, "{folder} {call:?}: {output}");
    let of_it = output.lines().any(|l| l.contains(&closed.display().to_string()) && l.contains("cannot be read: "));
    assert!(of_it, "{folder} {call:?}: {output}");
}

/// Others may have moved kata-osinfo's handler, or its import, to a file that cannot be read: without the drop-in
/// containerd would not start with it, and without the state nobody would find it again.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn nothing_is_reverted_while_a_related_file_is_unreadable() {
    const MAIN: &str = "m/etc/containerd/config.toml";
    let drop_in = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    machine.file(MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
    let configure = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "2.1"];
    let output = machine.run(&configure);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(machine.path(drop_in).exists());
    let imports = "[\"/etc/containerd/conf.d/50-kata-osinfo.toml\", \"/etc/theirs/one.toml\"]";
    machine.file(MAIN, &format!("version = 3\nimports = {imports}\n"));
    machine.file("m/etc/theirs/one.toml", "version = 3\n");
    machine.file("m/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "version = 2\n");
    // The state is readable only by its owner.
    let state = machine.path("m/var/lib/kata-osinfo");
    let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(state).status().expect("it runs");
    assert!(owned.success());
    let before = machine.everything();
    for closed in ["etc/containerd", "etc/containerd/config.toml", "etc/theirs", "var/lib/rancher"] {
        for call in [&["unconfigure"][..], &["unconfigure", "--dry-run"]] {
            assert_reported_as_unreadable(&machine, closed, call);
            assert_eq!(machine.everything(), before, "{closed} {call:?}");
        }
    }
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let main = machine.read(MAIN);
    assert!(main.contains("/etc/theirs/one.toml") && !main.contains("kata-osinfo"), "{main}");
    assert!(!machine.path(drop_in).exists());
}

/// `--force` takes back everything that the unreadable file cannot depend on.
#[test]
fn force_reverts_everything_but_unreadable_files() {
    let configured = Machine::new();
    configured.file("m/etc/containerd/config.toml", "version = 3\n");
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "2.1"];
    assert_eq!(configured.run(&call).code, 0);
    for (name, is_its_main) in [("etc/k0s/containerd.toml", false), ("etc/containerd/config.toml", true)] {
        let machine = configured.copy();
        machine.file(&format!("m/{name}"), "");
        let path = machine.path("m").join(name);
        std::fs::File::create(&path).and_then(|file| file.set_len(5 << 20)).expect("5 MiB");
        assert_eq!(machine.run(&["unconfigure"]).code, 3, "{name}");
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 13, "{name}: {}", output.stderr);
        let expected = format!("warning: /{name} is not fully reverted: {}", path.display());
        assert!(output.stderr.contains(&expected), "{name}: {}", output.stderr);
        assert!(!machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists(), "{name}");
        // Without the drop-in, containerd would not start if the unreadable main file imports it.
        assert_eq!(machine.path("m/etc/containerd/conf.d/50-kata-osinfo.toml").exists(), is_its_main, "{name}");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 5 << 20);
        if !is_its_main {
            assert_eq!(machine.read("m/etc/containerd/config.toml"), "version = 3\n");
        }
    }
}

/// Nobody else uses the names of kata-osinfo's drop-ins, so that `--force` removes even unreadable ones.
#[test]
fn force_removes_unreadable_drop_ins_and_reports_them() {
    let drop_in = format!("{BASE}/config.d/50-kata-osinfo.toml");
    for name in [drop_in.as_str(), "etc/crio/crio.conf.d/50-kata-osinfo.conf"] {
        let machine = Machine::new();
        let output = machine.run(&["configure", "--profile", "go-3.29", "--handler", "crio"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let path = machine.path("m").join(name);
        std::fs::File::create(&path).and_then(|file| file.set_len(5 << 20)).expect("5 MiB");
        assert_eq!(machine.run(&["unconfigure"]).code, 3, "{name}");
        for call in [&["unconfigure", "--force", "--dry-run"][..], &["unconfigure", "--force"]] {
            assert!(path.exists(), "{name}");
            let output = machine.run(call);
            assert_eq!(output.code, 0, "{name} {call:?}: {}", output.stderr);
            let expected = format!("warning: /{name}: it cannot be read, and is reverted too\n");
            assert!(output.stderr.contains(&expected), "{name} {call:?}: {}", output.stderr);
            assert!(!output.stderr.contains("not fully reverted"), "{name} {call:?}: {}", output.stderr);
        }
        assert!(!path.exists(), "{name}");
        assert!(!machine.path("m/var/lib/kata-osinfo").exists(), "{name}");
    }
}

/// Something that is not a configuration file has no effect.
#[test]
fn force_ignores_invalid_files_if_nothing_is_configured() {
    let machine = Machine::new();
    std::os::unix::fs::symlink("crio", machine.path("m/etc/crio")).expect("a link");
    machine.file("m/etc/k0s/containerd.toml", "");
    std::fs::write(machine.path("m/etc/k0s/containerd.toml"), [0xff, 0xfe]).expect("written");
    let output = machine.run(&["unconfigure", "--force"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("nothing is configured"), "{}", output.stderr);
}

/// The content of a file that is too large to be read is unknown, too, for every user.
#[test]
fn an_oversized_file_is_reported_as_too_large() {
    let machine = Machine::new();
    machine.file("m/etc/containerd/config.toml", "version = 3\nimports = [\"/etc/theirs/*.toml\"]\n");
    let configure = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "2.1"];
    let output = machine.run(&configure);
    assert_eq!(output.code, 0, "{}", output.stderr);
    for name in ["etc/theirs/one.toml", "etc/containerd/config.toml", &format!("{BASE}/config.d/90-theirs.toml")] {
        let machine = machine.copy();
        let path = machine.path("m").join(name);
        machine.file(&format!("m/{name}"), "");
        std::fs::File::create(&path).and_then(|file| file.set_len(5 << 20)).expect("5 MiB");
        let before = machine.everything();
        let mut calls = vec![configure.to_vec(), vec!["check", "--all"]];
        // Other tools' drop-ins contain nothing of kata-osinfo's.
        if !name.contains("config.d") {
            calls.push(vec!["unconfigure"]);
        }
        for call in calls {
            let output = machine.run(&call);
            let printed = format!("{}{}", output.stdout, output.stderr);
            assert_eq!(output.code, 3, "{name} {call:?}: {printed}");
            let expected = format!("{} has more than 4194304 bytes", path.display());
            assert!(printed.contains(&expected), "{name} {call:?}: {printed}");
            assert!(!printed.contains("would not start"), "{name} {call:?}: {printed}");
        }
        assert!(machine.everything() == before, "{name}");
    }
}

#[test]
fn a_damaged_database_is_not_treated_as_empty() {
    let noise: Vec<u8> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let page = b"<!DOCTYPE html>\n<html><body>404: not found</body></html>\n".to_vec();
    let dpkg = "Package: qemu-kvm\nStatus: install ok installed\nVersion: 1\nDescription: QEMU\n\n";
    let apk = "C:Q1=\nP:qemu-kvm\nV:1\nF:usr\n\n";
    let pacman = "%NAME%\nqemu-kvm\n\n%VERSION%\n1-1\n\n";
    for (manager, database, sound) in [
        ("apt", "m/var/lib/dpkg/status", dpkg),
        ("apk", "m/lib/apk/db/installed", apk),
        ("pacman", "m/var/lib/pacman/local/qemu-kvm-1-1/desc", pacman),
    ] {
        let machine = Machine::new();
        machine
            .file("records/mini.yaml", &RECORD.replace("package-manager: dnf", &format!("package-manager: {manager}")));
        machine.file(database, sound);
        chmod(&machine.path("m/usr/libexec/qemu-kvm"), 0o755);
        let check = || machine.run(&["check", "vmm"]);
        let output = check();
        assert_eq!(output.code, 0, "{manager}: {}{}", output.stdout, output.stderr);
        assert!(!output.stdout.contains("is not installed"), "{manager}: {}", output.stdout);
        for damaged in [&noise, &page, &sound.as_bytes()[..sound.len() - 3].to_vec()] {
            std::fs::write(machine.path(database), damaged).expect("written");
            let output = check();
            assert_eq!(output.code, 3, "{manager}: {}{}", output.stdout, output.stderr);
            let expected = format!("error: {}:", machine.path(database).display());
            assert!(output.stderr.contains(&expected), "{manager}: {}", output.stderr);
            assert!(output.stderr.contains("the package database is damaged: "), "{manager}: {}", output.stderr);
            assert!(output.stderr.contains("hint: "), "{manager}: {}", output.stderr);
        }
    }
}

/// Calls whose answers depend on records.
const OF_RECORDS: [&[&str]; 9] = [
    &["detect"],
    &["show"],
    &["show", "debian:13"],
    &["list"],
    &["check", "vmm"],
    &["packages", "vmm"],
    &["verified", "--profile", "go-3.29"],
    &["fallback", "--profile", "go-3.29"],
    &["configure", "--profile", "go-3.29", "--dry-run"],
];

/// An admin's layer overrides the shipped records, so that these are no answer if such a layer may exist.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_records_folder_is_an_error() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    machine.file("m/usr/share/kata-osinfo/notes.txt", "");
    machine.file("m/etc/kata-osinfo/verified/notes.txt", "");
    for folder in ["etc/kata-osinfo", "etc/kata-osinfo/verified", "usr/share/kata-osinfo"] {
        for call in OF_RECORDS {
            assert_reported_as_unreadable(&machine, folder, call);
        }
    }
    // The same for the directory of `--records`.
    std::fs::create_dir(machine.path("records/verified")).expect("made");
    for closed in ["records", "records/verified"] {
        chmod(&machine.path(closed), 0o600);
        let (code, stdout, stderr) = as_nobody(&machine, &["packages", "vmm"]);
        chmod(&machine.path(closed), 0o755);
        let expected = format!("the records directory {} cannot be read: ", machine.path(closed).display());
        assert!(code == 3 && stderr.contains(&expected), "{closed}: {code} {stdout}{stderr}");
    }
    let (code, _, stderr) = as_nobody(&machine, &["packages", "vmm"]);
    assert_eq!(code, 0, "{stderr}");
}

/// Only the file's name suggests its distro, which may be wrong, and the additional ids in it are unknown.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_record_is_an_error() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    machine.file("records/mini.yaml", &RECORD.replace("distro: mini", "distro: mini\nids: [mini-server]"));
    let parent = RECORD.replace("distro: mini", "distro: parent");
    machine.file("records/parent.yaml", &parent);
    std::fs::create_dir(machine.path("records/verified")).expect("made");
    let closed = ["m/etc/kata-osinfo/mini.yaml", "m/etc/kata-osinfo/verified/mini.yaml", "records/other.yaml"];
    let systems = ["ID=mini\n", "ID=mini-server\n", "ID=mini\nID_LIKE=parent\n", "ID=child\nID_LIKE=\"parent mini\"\n"];
    for file in closed {
        machine.file(file, "distro: mini\n");
        chmod(&machine.path(file), 0o000);
        let expected = format!("error: {} cannot be read: ", machine.path(file).display());
        for system in systems {
            machine.file("m/etc/os-release", &format!("{system}VERSION_ID=1\nVERSION_CODENAME=first\n"));
            for call in OF_RECORDS {
                let (code, stdout, stderr) = as_nobody(&machine, call);
                assert_eq!((code, stdout.as_str()), (3, ""), "{file} {system} {call:?}: {stderr}");
                assert!(stderr.contains(&expected), "{file} {system} {call:?}: {stderr}");
                assert!(stderr.contains("hint: run this as a user who may read it"), "{stderr}");
            }
        }
        std::fs::remove_file(machine.path(file)).expect("removed");
    }
    machine.file("m/etc/os-release", "ID=child\nID_LIKE=\"parent mini\"\nVERSION_CODENAME=first\n");
    let (code, stdout, stderr) = as_nobody(&machine, &["detect"]);
    assert!(code == 0 && stdout.starts_with("parent:1 first"), "{stdout}{stderr}");
}

/// The mistakes in an unreadable record are unknown, too.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn lint_reports_unreadable_files_and_folders() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    let folder = machine.path("linted");
    machine.file("linted/mini.yaml", RECORD);
    let (named, file) = (folder.display().to_string(), folder.join("mini.yaml").display().to_string());
    for closed in [&folder, &folder.join("mini.yaml")] {
        for call in [["lint", named.as_str()], ["lint", file.as_str()]] {
            let open = std::fs::metadata(closed).expect("there").permissions();
            chmod(closed, 0o000);
            let (code, stdout, stderr) = as_nobody(&machine, &call);
            std::fs::set_permissions(closed, open).expect("set");
            let output = format!("{stdout}{stderr}");
            assert!(code == 3 && output.contains("cannot be read: "), "{call:?}: {code} {output}");
        }
    }
    assert_eq!(as_nobody(&machine, &["lint", "/nowhere.yaml"]).0, 2);
}

/// A directory or the like in place of os-release names no system; without os-release, no system was meant.
#[test]
fn a_directory_in_place_of_os_release_is_an_error() {
    let machine = Machine::new();
    let name = machine.path("m/etc/os-release");
    std::fs::remove_file(&name).expect("removed");
    let calls: [&[&str]; 3] = [&["detect"], &["show"], &["check", "fs"]];
    for call in calls {
        assert_eq!(machine.run(call).code, 2, "{call:?}");
    }
    std::fs::create_dir(&name).expect("made");
    for call in calls {
        let output = machine.run(call);
        assert_eq!(output.code, 3, "{call:?}: {}", output.stderr);
        assert!(output.stderr.contains("os-release cannot be read: not a regular file"), "{}", output.stderr);
    }
}

/// A system with an unreadable name is unknown, which is not a usage error.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn an_unreadable_os_release_is_not_a_usage_error() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    assert_reported_as_unreadable(&machine, "etc/os-release", &["check", "fs"]);
    // A user who may not read the root itself gets the same answer.
    chmod(&machine.path("m"), 0o700);
    let (code, _, stderr) = as_nobody(&machine, &["check", "fs"]);
    chmod(&machine.path("m"), 0o755);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("cannot be used: ") && stderr.contains("hint: run this as a user who may"), "{stderr}");
    // The sign of a derivative of Debian is among the programs.
    machine.file("m/etc/os-release", "ID=debian\nVERSION_ID=13\n");
    machine.file("m/usr/bin/other", "");
    assert_reported_as_unreadable(&machine, "usr/bin", &["check", "fs"]);
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn a_user_without_write_permission_gets_a_hint() {
    let machine = Machine::new();
    copy_program(&machine);
    chmod(&machine.path(""), 0o755);
    let (code, _, stderr) = as_nobody(&machine, &["configure", "--profile", "go-3.29"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("cannot be written: "), "{stderr}");
    assert!(stderr.contains("hint: run this as a user who may write to it, such as root"), "{stderr}");
}
