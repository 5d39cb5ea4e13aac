//! Output of the subcommands on a root of files, for people and for programs.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const PACKAGED: &str = "distro: alpine
package-manager: apk
arch: x86_64
confidence: packaging
vmm: {name: qemu, packages: qemu-system-x86_64, path: /usr/bin/qemu-system-x86_64}
fs: [{name: virtio-fs, packages: virtiofsd, path: /usr/libexec/virtiofsd}]
kernel: {packages: linux-virt, image: /boot/vmlinuz-*, confidence: assumed}
releases:
  - {version: 3.20, released: 2024-05-22}
";

const VERIFIED: &str = "distro: alpine
verified:
  - release: \"3.20\"
    arch: x86_64
    profile: rs-4.0
    environment: container
    basis: emulated
    tested: 2024-06-01
    harness: \"0.1.0\"
    test-set: d3dcb968b1d5
    versions: {qemu-system-x86_64: 9.0.0-r0}
    capabilities: {vmm.boot: supported, vmm.qmp: supported, vmm.hotplug.memory: supported, vmm.hotplug.blk: supported, vmm.hotplug.net: supported, kernel.guest: supported, fs.virtio-fs: supported}
";

const ADMINS: &str = "distro: alpine
vmm:
  - name: cloud-hypervisor
    confidence: documented
    packages: none
    path: /opt/clh
";

const INSTALLED: &str = "P:qemu-system-x86_64
V:9.0.1-r0
F:usr/bin
R:qemu-system-x86_64

P:virtiofsd-ng
V:1.11-r0
p:virtiofsd=1.11
F:usr/libexec
R:virtiofsd
";

fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a root");
    let write = |path: &str, text: &str, mode| {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    write(
        "etc/os-release",
        "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.7\nPRETTY_NAME=\"Alpine Linux v3.20\"\n",
        0o644,
    );
    write("usr/share/kata-osinfo/alpine.yaml", PACKAGED, 0o644);
    write("usr/share/kata-osinfo/verified/alpine.yaml", VERIFIED, 0o644);
    write("etc/kata-osinfo/alpine.yaml", ADMINS, 0o644);
    write("lib/apk/db/installed", INSTALLED, 0o644);
    write("usr/bin/qemu-system-x86_64", "", 0o755);
    write("usr/libexec/virtiofsd", "", 0o755);
    dir
}

/// Returns standard output, standard error and exit code; the root's path is replaced by `[ROOT]`.
fn run(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
        .arg("--root")
        .arg(root)
        .args(arguments)
        .env_remove("KATA_OSINFO_PATH")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&root.display().to_string(), "[ROOT]");
    let code = output.status.code().expect("a code");
    format!("{}{}exit code {code}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn human_output_matches_the_snapshot() {
    let dir = root();
    let mut all = String::new();
    for arguments in [
        &["detect"][..],
        &["show", "--origin", "--arch", "x86_64"],
        &["check", "--arch", "x86_64"],
        &["check", "vmm", "virtiofsd", "--arch", "x86_64"],
        &["check", "firecracker", "--arch", "x86_64"],
        &["check", "cloud-hypervisor", "--arch", "x86_64"],
        &["installer", "--arch", "x86_64"],
        &["packages", "--arch", "x86_64"],
        &["packages", "--with", "kernel", "--arch", "x86_64"],
        &["packages", "--with", "kernel", "--allow-assumed", "--arch", "x86_64"],
        &["packages", "cloud-hypervisor", "--arch", "x86_64"],
        &["install", "vmm", "fs", "--arch", "x86_64"],
        &["install", "--dry-run", "kernel", "--allow-assumed", "--arch", "x86_64"],
        &["check", "--target", "debian:99"],
    ] {
        all += &format!("$ kata-osinfo {}\n{}\n\n", arguments.join(" "), run(dir.path(), arguments));
    }
    // Masked, because the age changes every day.
    let days = |line: &str| match line.rsplit_once(", ").filter(|(_, age)| age.ends_with(" days ago")) {
        _ if line.trim_start().starts_with("age  ") => "    age           [AGE]\n".to_owned(),
        Some((before, _)) => format!("{before}, [AGE]\n"),
        None => format!("{line}\n"),
    };
    let all: String = all.lines().map(days).collect();
    insta::assert_snapshot!(all);
}

#[test]
fn an_invalid_package_name_in_a_record_is_refused_by_every_subcommand() {
    let dir = root();
    let admins = ADMINS.replace("packages: none", "packages: \"core/clh\"");
    std::fs::write(dir.path().join("etc/kata-osinfo/alpine.yaml"), admins).expect("written");
    for call in [
        &["show"][..],
        &["check"],
        &["packages"],
        &["install", "--dry-run", "vmm"],
        &["configure", "--profile", "go-3.29"],
        &["fallback", "--profile", "go-3.29"],
    ] {
        let output = run(dir.path(), &[call, &["--arch", "x86_64"]].concat());
        assert!(
            output.contains("[ROOT]/etc/kata-osinfo/alpine.yaml:5:15: ") && output.contains("`core/clh`"),
            "{output}"
        );
        assert!(output.ends_with("exit code 3"), "{output}");
    }
}

#[test]
fn json_output_is_one_document_even_for_errors() {
    let dir = root();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
            .arg("--root")
            .arg(dir.path())
            .args(arguments)
            .args(["--format", "json"])
            .output()
            .expect("it runs");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(value["version"], 1);
        value
    };
    let system = json(&["detect"])["system"].clone();
    assert_eq!((&system["fit"], system.get("arch")), (&"prefix".into(), Some(&serde_json::Value::Null)));
    let check = json(&["check", "--all", "--arch", "x86_64"]);
    assert_eq!(check["matches"], false);
    assert_eq!(check["verified"][0]["versions"][0]["installed"], "9.0.1-r0");
    let verified = json(&["verified", "--profile", "rs-4.0", "--capability", "vmm.boot", "--arch", "x86_64"]);
    let entry = &verified["profiles"][0]["entries"][0];
    assert_eq!((&entry["supported"], &entry["matches"]), (&true.into(), &false.into()));
    assert_eq!((&entry["basis"], &verified["verified"]), (&"emulated".into(), &false.into()));
    assert!(entry["age-days"].as_i64().is_some_and(|days| days > 365), "{entry}");
    assert_eq!(json(&["packages", "kernel", "--arch", "x86_64"])["error"]["kind"], "assumed");
    assert_eq!(json(&["verified", "--profile", "rs-4.9", "--arch", "x86_64"])["error"]["kind"], "unknown-profile");
    let plan = json(&["install", "--dry-run", "kernel", "--allow-assumed", "--arch", "x86_64"]);
    assert_eq!(plan["plan"]["exercised"], false);
    // The answer depends on whether apk is installed on this machine.
    let nowhere = plan["plan"]["place"] == "nowhere";
    assert_eq!(plan["problems"].as_array().map(Vec::len), Some(1), "{plan}");
    let why = if nowhere { "apk is neither in" } else { "apk is not run by this program" };
    assert!(plan["problems"].to_string().contains(why), "{plan}");
    // Without `--dry-run`, the answer is the same.
    assert_eq!(json(&["install", "kernel", "--allow-assumed", "--arch", "x86_64"]), plan);
    let output = run(dir.path(), &["install", "kernel", "--allow-assumed", "--arch", "x86_64"]);
    assert!(output.ends_with(if nowhere { "exit code 4" } else { "exit code 6" }), "{output}");
    assert_eq!(json(&["list", "--records", "/nowhere"])["error"]["kind"], "bad-records");
}

/// Every output with a verdict's basis also says if the packages may not have been the distro's own.
#[test]
fn shaped_verdicts_are_marked_next_to_their_basis() {
    for shaped in [false, true] {
        let dir = root();
        if shaped {
            let verified = VERIFIED.replace("    basis: emulated\n", "    basis: emulated\n    shaped: true\n");
            std::fs::write(dir.path().join("usr/share/kata-osinfo/verified/alpine.yaml"), verified).expect("written");
        }
        let call = |call: &[&str]| run(dir.path(), &[call, &["--arch", "x86_64"]].concat());
        let json = |arguments: &[&str]| -> serde_json::Value {
            let answer = call(&[arguments, &["--format", "json"]].concat());
            let mut documents = serde_json::Deserializer::from_str(&answer).into_iter();
            documents.next().expect("a document").expect("JSON")
        };
        let verified = ["verified", "--profile", "rs-4.0"];
        assert_eq!(json(&["show"])["releases"][0]["verified"][0]["shaped"], shaped);
        assert_eq!(json(&verified)["profiles"][0]["entries"][0]["shaped"], shaped);
        assert_eq!(json(&["check", "--all"])["verified"][0]["shaped"], shaped);
        let output = call(&verified);
        assert!(output.contains(if shaped { "on emulated (shaped) basis" } else { "on emulated basis" }), "{output}");
        let output = call(&["show"]);
        assert_eq!(output.contains("7 of 7 supported, on emulated (shaped) basis"), shaped, "{output}");
        assert_eq!(output.contains("rs-4.0: not known yet: incomplete, 7 of 12 ("), !shaped, "{output}");
    }
}

#[test]
fn verdicts_apply_while_the_installed_versions_match() {
    let dir = root();
    let installed = dir.path().join("lib/apk/db/installed");
    std::fs::write(installed, INSTALLED.replace("9.0.1-r0", "9.0.0-r0")).expect("written");
    let verified = ["verified", "--profile", "rs-4.0", "--arch", "x86_64"];
    // A container shows only some of the capabilities that Kata does not run without.
    let answer = run(dir.path(), &verified);
    let line = answer.lines().next().unwrap_or_default();
    let begins = "rs-4.0: not verified, by a run in container on emulated basis, ";
    let ends = "; not supported: packages.install, vmm.vsock, vmm.net and 2 more; the same versions here";
    assert!(line.starts_with(begins) && line.contains(ends) && answer.ends_with("exit code 1"), "{answer}");
    let booting = [&verified[..], &["--capability", "vmm.boot"]].concat();
    assert!(run(dir.path(), &booting).ends_with("exit code 0"));
    // A machine has shown the others.
    let (_, entry) = VERIFIED.split_once("verified:\n").expect("an entry");
    let (machine, _) = entry.split_once("    capabilities:").expect("capabilities");
    let machine = machine.replace("environment: container", "environment: vm");
    let rest = "packages.install: supported, vmm.vsock: supported, vmm.net: supported, vmm.hotplug.cpu: supported";
    let both = format!("{VERIFIED}{machine}    capabilities: {{{rest}, fs.virtio-blk: supported}}\n");
    std::fs::write(dir.path().join("usr/share/kata-osinfo/verified/alpine.yaml"), &both).expect("written");
    let answer = run(dir.path(), &verified);
    assert!(
        answer.starts_with("rs-4.0: verified, by runs in container and vm on emulated basis, ")
            && answer.ends_with("exit code 0"),
        "{answer}"
    );
    // A machine also has a container manager, which no guest depends on: without it the verdicts still apply.
    let managed = machine.replace("9.0.0-r0}", "9.0.0-r0, containerd: 1.7.17-r0}");
    let also = "vmm.vsock: supported, vmm.net: supported, vmm.hotplug.cpu: supported, containers.runc: supported";
    let rest = "packages.install: supported, fs.virtio-blk: supported";
    let managed = format!("{VERIFIED}{managed}    capabilities: {{{rest}, {also}}}\n");
    std::fs::write(dir.path().join("usr/share/kata-osinfo/verified/alpine.yaml"), &managed).expect("written");
    let without = run(dir.path(), &verified);
    assert!(
        without.starts_with("rs-4.0: verified, by runs in container and vm ") && without.ends_with("code 0"),
        "{without}"
    );
    assert!(!without.contains("containerd"), "{without}");
    let controls = [&verified[..], &["--capability", "containers.runc"]].concat();
    let without = run(dir.path(), &controls);
    assert!(without.contains("containerd 1.7.17-r0 → not installed") && without.ends_with("code 1"), "{without}");
    std::fs::write(dir.path().join("usr/share/kata-osinfo/verified/alpine.yaml"), both).expect("written");
    // `--quiet` prints nothing if all is well, for timers and hooks, but reports a missing kernel.
    let answer = run(dir.path(), &["check", "--all", "--quiet", "vmm", "--arch", "x86_64"]);
    assert_eq!(answer, "exit code 0");
    let answer = run(dir.path(), &["check", "--all", "--quiet", "--arch", "x86_64"]);
    assert!(answer.contains("linux-virt is not installed") && answer.ends_with("exit code 1"), "{answer}");
    assert!(!answer.contains("vmm qemu") && !answer.contains("the same"), "only what is not well: {answer}");
    let answer =
        run(dir.path(), &["verified", "--capability", "fs.virtio-9p", "--profile", "rs-4.0", "--arch", "x86_64"]);
    assert!(answer.ends_with("exit code 1"), "{answer}");
}

/// A database may contain packages of the same version for another architecture.
#[test]
fn packages_of_another_architecture_do_not_count_as_verified() {
    let dir = root();
    let installed = dir.path().join("lib/apk/db/installed");
    for (arch, code) in [("x86_64", 0), ("noarch", 0), ("riscv64", 1), ("x86", 1)] {
        let text = INSTALLED.replace("V:9.0.1-r0\n", &format!("V:9.0.0-r0\nA:{arch}\n"));
        std::fs::write(&installed, text).expect("written");
        let call = ["verified", "--profile", "rs-4.0", "--capability", "vmm.boot", "--arch", "x86_64"];
        let output = run(dir.path(), &call);
        assert!(output.ends_with(&format!("exit code {code}")), "{arch}: {output}");
        assert_eq!(output.contains("the same versions here"), code == 0, "{arch}: {output}");
    }
}

/// Facts about a release apply to the architectures of Kata, and not to a system of another one.
#[test]
fn a_system_of_an_unsupported_architecture_is_refused() {
    let dir = root();
    let installed = dir.path().join("lib/apk/db/installed");
    std::fs::write(installed, INSTALLED.replace("9.0.1-r0", "9.0.0-r0")).expect("written");
    std::fs::create_dir(dir.path().join("bin")).expect("made");
    // 64-bit RISC-V, 32-bit Arm and 32-bit x86.
    for (class, machine, name) in [(2, 243, "64-bit RISC-V"), (1, 40, "32-bit Arm"), (1, 3, "32-bit x86")] {
        let mut header = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
        header.resize(18, 0);
        header.extend([machine, 0]);
        std::fs::write(dir.path().join("bin/sh"), header).expect("written");
        let why = format!("the system is built for {name}, which Kata does not support");
        for call in [
            &["detect"][..],
            &["detect", "--format", "json"],
            &["show"],
            &["check"],
            &["verified", "--profile", "rs-4.0"],
            &["verified", "--profile", "rs-4.0", "--target", "alpine:3.20"],
            &["packages"],
            &["packages", "kernel"],
            &["installer"],
            &["install", "--dry-run", "vmm"],
            &["configure", "--profile", "go-3.29", "--dry-run"],
            &["fallback", "--profile", "go-3.29"],
        ] {
            let output = run(dir.path(), call);
            assert!(output.contains(&why) && output.ends_with("exit code 3"), "{call:?}: {output}");
            assert!(!output.contains("qemu-system-x86_64"), "{call:?}: {output}");
        }
        // With `--arch`, the answer is about systems of that architecture.
        let call = ["verified", "--profile", "rs-4.0", "--capability", "vmm.boot", "--arch", "x86_64"];
        let output = run(dir.path(), &call);
        assert!(output.starts_with("rs-4.0: verified") && output.ends_with("exit code 0"), "{output}");
    }
}

#[test]
fn records_are_read_from_the_variable_and_the_option() {
    let dir = root();
    let folder = |name: &str, path: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).expect("made");
        let text = format!("distro: alpine\nvmm: {{name: qemu, path: {path}}}\n");
        std::fs::write(folder.join("alpine.yaml"), text).expect("written");
        folder
    };
    let (variable, option) = (folder("variable", "/variable"), folder("option", "/option"));
    let shown = |option: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"));
        command.arg("--root").arg(dir.path()).args(["show", "--arch", "x86_64"]).env("KATA_OSINFO_PATH", &variable);
        if let Some(option) = option {
            command.arg("--records").arg(option);
        }
        String::from_utf8(command.output().expect("it runs").stdout).expect("UTF-8")
    };
    assert!(shown(None).contains("  /variable  "), "{}", shown(None));
    assert!(shown(Some(&option)).contains("  /option  "));
}

/// A component that is not packaged for an architecture is reported, and not mistaken for one that needs no package.
#[test]
fn components_not_packaged_for_the_architecture_are_listed() {
    let dir = tempfile::tempdir().expect("a root");
    let root = dir.path().to_str().expect("UTF-8");
    let call = |arguments: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"));
        let output = command.args(["--root", root]).args(arguments).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let power = ["--target", "rhel:9", "--arch", "ppc64le"];
    let with = |arguments: &[&'static str]| call(&[arguments, &power].concat());
    let (code, out, _) = with(&["check", "vmm", "fs"]);
    assert_eq!(code, Some(3), "{out}");
    for line in ["vmm qemu: not packaged for this architecture", "fs virtio-fs: not packaged for this architecture"] {
        assert!(out.contains(line), "{out}");
    }
    assert_eq!(with(&["check"]).0, Some(3));
    let (code, out, error) = with(&["packages", "--with", "kernel"]);
    assert_eq!((code, out.as_str()), (Some(3), "kernel-core\n"));
    assert!(error.contains("rhel:9 has no packages on ppc64le for: vmm qemu, fs virtio-fs"), "{error}");
    assert_eq!(with(&["packages"]).1, "", "no kernel unless it is asked for");
    let (code, out, _) = with(&["packages", "--format", "json"]);
    assert!(code == Some(3) && out.contains("\"fs virtio-fs\""), "{out}");
    let (code, _, error) = with(&["install", "--dry-run"]);
    assert!(code == Some(3) && error.contains("vmm qemu, fs virtio-fs"), "{error}");
    assert_eq!(with(&["packages", "kernel"]).0, Some(0), "what was named is all there");
    // 9p is part of the VMM: it is installed with it, and by the VMM's packages.
    let (code, out, _) = call(&["check", "9p", "--target", "debian:13", "--arch", "x86_64"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("fs virtio-9p: not installed: it is a part of qemu, which is not installed"), "{out}");
    let (code, out, _) = call(&["packages", "9p", "--target", "debian:13", "--arch", "x86_64"]);
    assert_eq!((code, out.as_str()), (Some(0), "qemu-system-x86\n"));
    // The same holds if the record says that it has no package.
    let (code, out, _) = call(&["check", "9p", "--target", "arch:rolling", "--arch", "x86_64"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("fs virtio-9p: not installed: it is a part of qemu, which is not installed"), "{out}");
    // A part of every system has no package: that is a success, but is noted.
    let (code, out, error) = call(&["packages", "kernel", "--target", "nixos:unstable", "--arch", "x86_64"]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(error, "note: the record of nixos:unstable has no package for kernel linux: none is needed\n");
}

/// On Debian 12 with a QEMU that no longer contains virtiofsd, installing it again would not help.
#[test]
fn install_reports_a_component_missing_from_its_installed_package() {
    let dir = tempfile::tempdir().expect("a root");
    let write = |path: &str, text: &str| {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("set");
    };
    write("etc/os-release", "ID=debian\nVERSION_ID=12\n");
    let status = "Package: qemu-system-common\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:10.0.2+ds-2~bpo12+1\n";
    write("var/lib/dpkg/status", status);
    let install = || {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
            .args(["install", "--dry-run", "fs", "--arch", "x86_64", "--root"])
            .arg(dir.path())
            .output()
            .expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (code, error) = install();
    assert_eq!(code, Some(1), "{error}");
    let expected = "fs virtio-fs: its packages are installed, but /usr/lib/qemu/virtiofsd is not there";
    assert!(error.contains(expected) && error.contains("kata-osinfo fallback --profile"), "{error}");
    write("usr/lib/qemu/virtiofsd", "");
    assert_eq!(install().0, Some(0));
}

/// If the package database cannot be read, it is unknown whether the installed versions were verified.
#[test]
fn every_subcommand_reports_an_unreadable_or_missing_package_database() {
    let dir = root();
    let run_call = |call: &[&str]| run(dir.path(), &[call, &["--arch", "x86_64"]].concat());
    let calls = [&["check"][..], &["install", "--dry-run", "vmm"], &["fallback", "--profile", "go-3.29"]];
    let configure = ["configure", "--profile", "go-3.29", "--dry-run", "--allow-assumed"];
    let database = dir.path().join("lib/apk/db/installed");
    std::fs::remove_file(&database).expect("removed");
    std::fs::create_dir(&database).expect("made");
    for call in calls {
        let output = run_call(call);
        assert!(output.contains("error: [ROOT]/lib/apk/db/installed cannot be read: "), "{output}");
        assert!(output.ends_with("exit code 3"), "{output}");
    }
    let output = run_call(&configure);
    assert!(
        output.contains("installed cannot be read: ")
            && output.contains("cannot tell whether the installed versions were verified"),
        "{output}"
    );
    std::fs::remove_dir(&database).expect("removed");
    for call in [calls[0], calls[2], &configure] {
        let output = run_call(call);
        assert!(
            output.contains("warning: [ROOT] has no package database of dpkg, rpm, pacman, apk or Portage"),
            "{output}"
        );
    }
}

/// A directory that cannot be read, such as Azure Linux's /boot for users other than root, hides its content.
/// Root can read everything, so the program runs as another user.
#[test]
#[cfg_attr(lacks = "root", ignore = "needs root, to become somebody else")]
fn unreadable_components_are_not_reported_as_absent() {
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().expect("a root");
    for folder in ["boot", "usr/bin"] {
        std::fs::create_dir_all(dir.path().join(folder)).expect("made");
    }
    let program = dir.path().join("kata-osinfo");
    // Copied by `cp`: a file that a child of this process may have open for writing cannot be executed.
    let mut cp = Command::new("cp");
    assert!(cp.arg(assert_cmd::cargo::cargo_bin!("kata-osinfo")).arg(&program).status().expect("it runs").success());
    std::fs::write(dir.path().join("boot/vmlinuz-6.6"), "").expect("written");
    let mode = |path: &str, mode| {
        let path = dir.path().join(path);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    ["", "boot", "usr", "usr/bin", "kata-osinfo"].iter().for_each(|path| mode(path, 0o755));
    let check = |component: &str| {
        let mut command = Command::new(&program);
        command.args(["check", component, "--target", "debian:13", "--arch", "x86_64"]).env_clear();
        let output = command.arg("--root").arg(dir.path()).uid(65534).gid(65534).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    assert_eq!(check("kernel").0, Some(0));
    mode("boot", 0o700);
    mode("usr/bin", 0o700);
    // 9p is part of QEMU: as little is known about it.
    for (component, name) in [("kernel", "kernel linux"), ("vmm", "vmm qemu"), ("9p", "fs virtio-9p")] {
        let (code, out) = check(component);
        assert_eq!(code, Some(3), "{out}");
        assert!(out.contains(&format!("{name}: cannot be read: ")), "{out}");
    }
}

/// Nothing is installed into an image-based system, but the user is told where Kata's parts come from.
#[test]
fn install_on_an_image_based_system_names_the_source_of_its_parts() {
    let dir = tempfile::tempdir().expect("a root");
    let write = |path: &str, text: &str| {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("set");
    };
    write("etc/os-release", "ID=flatcar\nVERSION_ID=4459.0.0\n");
    assert_eq!(run(dir.path(), &["installer", "--arch", "x86_64"]), "none\nexit code 1");
    let install = || run(dir.path(), &["install", "vmm", "fs", "--arch", "x86_64"]);
    let output = install();
    assert!(
        output.contains("flatcar:rolling is image-based, so packages cannot be installed, and vmm qemu is missing"),
        "{output}"
    );
    assert!(output.contains("hint: its parts come from the system extension kata-containers"), "{output}");
    assert!(output.ends_with("exit code 11"), "{output}");
    write("opt/kata/bin/qemu-system-x86_64", "");
    write("opt/kata/libexec/virtiofsd", "");
    assert_eq!(install(), "no packages are needed\nexit code 0");
}

/// Returns the first document of a call for programs, on a root with these files.
fn document(files: &[(&str, &str)], arguments: &[&str]) -> serde_json::Value {
    let dir = tempfile::tempdir().expect("a root");
    for (path, text) in files {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, text).expect("written");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
        .arg("--root")
        .arg(dir.path())
        .args(arguments)
        .args(["--arch", "x86_64", "--format", "json"])
        .env_remove("KATA_OSINFO_PATH")
        .output()
        .expect("it runs");
    serde_json::from_slice(&output.stdout).expect("one document")
}

/// Otherwise an operator would take a relative's facts for the system's own.
#[test]
fn answers_for_programs_name_the_relative_whose_facts_they_have() {
    let nobara = [("etc/os-release", "NAME=Nobara\nID=nobara\nVERSION_ID=43\nPLATFORM_ID=\"platform:f43\"\n")];
    let configure = ["configure", "--dry-run", "--profile", "go-3.29"];
    for arguments in [&["show"][..], &configure] {
        let answer = document(&nobara, arguments);
        assert_eq!(answer["borrowed"], "as fedora:43, by PLATFORM_ID", "{arguments:?}: {answer}");
        assert_eq!(answer.get("derivative"), Some(&serde_json::Value::Null), "{arguments:?}: {answer}");
    }
    assert_eq!(document(&nobara, &["show", "fedora:43"]).get("borrowed"), Some(&serde_json::Value::Null));
    let os_release = ("etc/os-release", "ID=debian\nVERSION_ID=13\n");
    let proxmox = [os_release, ("var/lib/dpkg/status", ""), ("usr/bin/pveversion", "")];
    for arguments in [&["show"][..], &configure, &["fallback", "--profile", "go-3.29"]] {
        let answer = document(&proxmox, arguments);
        assert_eq!(answer["derivative"]["name"], "Proxmox VE", "{arguments:?}: {answer}");
        assert_eq!(answer["borrowed"], "as debian:13, by ID, with a kernel of its own", "{arguments:?}: {answer}");
    }
}

#[test]
fn the_next_step_on_an_image_based_system_is_where_its_parts_come_from() {
    let flatcar = [("etc/os-release", "ID=flatcar\nVERSION_ID=4459.0.0\n")];
    let from = "the system extension kata-containers of github.com/flatcar/sysext-bakery";
    for arguments in [&["fallback", "--profile", "rs-4.0"][..], &["configure", "--profile", "rs-4.0"]] {
        let answer = document(&flatcar, arguments);
        assert_eq!((&answer["outcome"], &answer["parts-from"]), (&"install".into(), &from.into()), "{answer}");
        let dir = tempfile::tempdir().expect("a root");
        std::fs::create_dir(dir.path().join("etc")).expect("made");
        std::fs::write(dir.path().join("etc/os-release"), flatcar[0].1).expect("written");
        let output = run(dir.path(), &[arguments, &["--arch", "x86_64"]].concat());
        assert!(output.contains(&format!("next: get it from {from}\n")), "{output}");
        assert!(output.ends_with("exit code 11"), "{output}");
    }
}

/// The container managers beside the preferred one, and what only some releases have.
#[test]
fn show_lists_all_kinds_of_components_for_programs() {
    let shown = &document(&[], &["show", "alpine:3.24"])["releases"][0];
    let names = |key: &str| -> Vec<&str> {
        shown[key].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect()
    };
    assert_eq!(names("container-managers"), ["containerd", "cri-o"], "{shown}");
    assert_eq!(names("firmware"), ["ovmf"], "{shown}");
    assert_eq!(shown["firmware"][0]["path"], "/usr/share/OVMF/OVMF_CODE.fd");
    assert_eq!(shown["container-manager"]["name"], "containerd");
    for key in ["kata", "jailer", "snapshotter"] {
        assert!(shown[key].is_array(), "{key}: {shown}");
    }
}

/// Proxmox VE has Debian's os-release, and a kernel of its own that Debian's must not replace.
#[test]
fn the_distro_kernel_is_refused_for_a_derivative_with_its_own() {
    let dir = tempfile::tempdir().expect("a root");
    let write = |path: &str, text: &str| {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, text).expect("written");
    };
    write("etc/os-release", "ID=debian\nVERSION_ID=13\n");
    write("var/lib/dpkg/status", "");
    let call = |call: &[&str]| run(dir.path(), &[call, &["--arch", "x86_64"]].concat());
    let calls = [
        &["packages", "kernel"][..],
        &["packages", "--with", "kernel"],
        &["install", "kernel"],
        &["install", "--dry-run", "--with", "kernel", "--allow-assumed"],
    ];
    assert!(call(calls[0]).starts_with("linux-image-amd64\n"));
    write("usr/bin/pveversion", "");
    for words in calls {
        let output = call(words);
        assert!(output.contains("Proxmox VE has its own kernel") && output.ends_with("exit code 3"), "{output}");
        assert!(!output.contains("linux-image-amd64"), "{words:?}: {output}");
        // Packages without a confidence are assumed, and are refused again.
        let hint = "hint: state the packages of Proxmox VE's kernel in /etc/kata-osinfo/debian.yaml with a confidence";
        assert!(output.contains(hint), "{output}");
    }
    // Everything else is Debian's; and naming the release, or stating the kernel's own packages, lifts the refusal.
    assert!(call(&["packages"]).contains("qemu-system-x86\n"));
    assert!(call(&["packages", "kernel", "--target", "debian:13"]).starts_with("linux-image-amd64\n"));
    let own = "distro: debian\nkernel: {packages: proxmox-default-kernel, confidence: documented}\n";
    write("etc/kata-osinfo/debian.yaml", own);
    let output = call(&["packages", "kernel"]);
    assert!(output.contains("proxmox-default-kernel\n") && output.ends_with("exit code 0"), "{output}");
}

/// Following the hint helps: the suggested record is for the system itself, not for its relative's distro.
#[test]
fn the_hint_for_an_unknown_system_contains_a_working_record() {
    let dir = tempfile::tempdir().expect("a root");
    std::fs::create_dir(dir.path().join("etc")).expect("made");
    let kali = "ID=kali\nID_LIKE=debian\nVERSION_ID=\"2019.4\"\nVERSION_CODENAME=kali-rolling\nPRETTY_NAME=\"Kali\"\n";
    std::fs::write(dir.path().join("etc/os-release"), kali).expect("written");
    let output = run(dir.path(), &["detect"]);
    let hint = "hint: write into /etc/kata-osinfo/kali.yaml: `distro: kali`, `derives-from: debian`, \
        `releases: [{version: 2019.4, derives-from: 13, confidence: assumed}]`; or name the nearest release with --target";
    assert!(output.contains(hint), "{output}");
    // A program gets the hint in the answer, together with the system's own os-release data.
    let output = run(dir.path(), &["detect", "--format", "json"]);
    let document = output.strip_suffix("exit code 3").expect("a system that is not known");
    let value: serde_json::Value = serde_json::from_str(document).expect("one document");
    assert_eq!(value["problems"][0]["hint"].as_str(), hint.strip_prefix("hint: "), "{value}");
    assert_valid("detect", &value);
    std::fs::create_dir(dir.path().join("etc/kata-osinfo")).expect("made");
    let own =
        "distro: kali\nderives-from: debian\nreleases: [{version: 2019.4, derives-from: 13, confidence: assumed}]\n";
    std::fs::write(dir.path().join("etc/kata-osinfo/kali.yaml"), own).expect("written");
    let output = run(dir.path(), &["detect"]);
    assert!(output.starts_with("kali:2019.4 on ") && output.ends_with("exit code 0"), "{output}");
    // Facts that the record only guesses are not installed until somebody states a confidence.
    let output = run(dir.path(), &["packages", "--arch", "x86_64"]);
    assert!(
        output.contains("in the record of kali:2019.4 are only assumed") && output.ends_with("exit code 3"),
        "{output}"
    );
    let allowed = run(dir.path(), &["packages", "--allow-assumed", "--arch", "x86_64"]);
    assert!(allowed.contains("qemu-system-x86\n") && allowed.ends_with("exit code 0"), "{allowed}");
    std::fs::write(dir.path().join("etc/kata-osinfo/kali.yaml"), own.replace(", confidence: assumed", ""))
        .expect("written");
    assert_eq!(
        run(dir.path(), &["packages", "--arch", "x86_64"]),
        output,
        "an admin's release, whatever it leaves out"
    );
    let checked = own.replace("confidence: assumed", "confidence: packaging");
    std::fs::write(dir.path().join("etc/kata-osinfo/kali.yaml"), checked).expect("written");
    assert_eq!(run(dir.path(), &["packages", "--arch", "x86_64"]), allowed);
}

/// A program gets a usage error in the same place as an answer.
#[test]
fn usage_errors_are_reported_as_json() {
    let dir = root();
    for (call, expected) in [
        (&["check", "--no-such", "--format", "json"][..], "--no-such"),
        (&["check", "--format=json", "--arch", "amd64"], "amd64"),
        (&["lint", "--format", "json"], "FILE"),
        (&["chekc", "--format", "json"], "chekc"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
            .arg("--root")
            .arg(dir.path())
            .args(call)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{call:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!((&value["version"], &value["error"]["kind"]), (&1.into(), &"usage".into()), "{value}");
        let message = value["error"]["message"].as_str().expect("a message");
        assert!(message.contains(expected) && !message.starts_with("error"), "{value}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "people are told as before");
    }
    let help = run(dir.path(), &["check", "--help", "--format", "json"]);
    assert!(help.contains("Usage: ") && help.ends_with("exit code 0"), "{help}");
}

/// An exit code is for shells; the document explains it to programs.
#[test]
fn every_nonzero_exit_code_is_explained_in_the_document() {
    let dir = root();
    let power = ["--target", "rhel:9", "--arch", "ppc64le"];
    let mut codes = std::collections::BTreeSet::new();
    for call in [
        &["detect"][..],
        &["check"],
        &["check", "vmm", "fs"],
        &["check", "firecracker"],
        &["check", "--all"],
        &["verified", "--profile", "rs-4.0"],
        &["verified", "--profile", "go-3.29"],
        &["installer"],
        &["packages"],
        &["packages", "kernel"],
        &["install", "vmm", "fs"],
        &["install", "kernel", "--allow-assumed"],
        &["install", "kernel", "--allow-assumed", "--dry-run"],
        &["configure", "--profile", "go-3.29", "--dry-run"],
        &["fallback", "--profile", "rs-4.0"],
        &["unconfigure"],
    ] {
        let more: &[&[&str]] = match call[0] {
            "detect" | "unconfigure" => &[&[]],
            // Without `rhel:9`, whose dnf this machine may have: the package managers of this machine must not matter.
            "install" | "installer" | "configure" => &[&["--arch", "x86_64"]],
            _ => &[&["--arch", "x86_64"], &power],
        };
        for more in more {
            let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
                .arg("--root")
                .arg(dir.path())
                .args(call)
                .args(*more)
                .args(["--format", "json"])
                .output()
                .expect("it runs");
            let code = output.status.code().expect("a code");
            let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
            assert_valid(call[0], &value);
            let problems = value["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert!(problems.iter().all(|p| p["message"].as_str().is_some_and(|m| !m.is_empty())), "{call:?} {value}");
            let is_explained = value["error"]["message"].is_string() || !problems.is_empty();
            assert_eq!(is_explained, code != 0, "{call:?} {more:?}: {code} {value}");
            codes.insert(code);
        }
    }
    assert!(codes.len() > 3, "{codes:?}");
}

/// Validates an answer with the program's own schema.
fn assert_valid(call: &str, answer: &serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo")).args(["schema", &format!("{call}-answer")]).output();
    let schema: serde_json::Value = serde_json::from_slice(&output.expect("it runs").stdout).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator.iter_errors(answer).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(errors.is_empty(), "{call}: {errors:?} in {answer}");
}

/// Collects the releases in a document, and the keys whose spelling differs from the others.
fn shapes(value: &serde_json::Value, releases: &mut Vec<serde_json::Value>, misspelt: &mut Vec<String>) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let is_kebab = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                misspelt.extend((!is_kebab).then(|| key.clone()));
                match (key.as_str(), value) {
                    ("release", value) => releases.push(value.clone()),
                    ("releases", Value::Array(all)) => {
                        releases.extend(all.iter().filter(|one| one.get("release").is_none()).cloned());
                    }
                    _ => {}
                }
                shapes(value, releases, misspelt);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| shapes(value, releases, misspelt)),
        _ => {}
    }
}

#[test]
fn json_keys_are_kebab_case_and_releases_have_one_shape() {
    let dir = root();
    for call in [
        &["detect"][..],
        &["list"],
        &["show", "--arch", "x86_64"],
        &["show", "debian", "--arch", "x86_64"],
        &["check", "--all", "--arch", "x86_64"],
        &["verified", "--profile", "rs-4.0", "--arch", "x86_64"],
        &["installer", "--arch", "x86_64"],
        &["packages", "--arch", "x86_64"],
        &["install", "--dry-run", "vmm", "--arch", "x86_64"],
        &["fallback", "--profile", "rs-4.0", "--arch", "x86_64"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
            .arg("--root")
            .arg(dir.path())
            .args(call)
            .args(["--format", "json"])
            .env_remove("KATA_OSINFO_PATH")
            .output()
            .expect("it runs");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_valid(call[0], &value);
        let (mut releases, mut misspelt) = (Vec::new(), Vec::new());
        shapes(&value, &mut releases, &mut misspelt);
        assert!(misspelt.is_empty(), "{call:?}: {misspelt:?}");
        assert!(!releases.is_empty() || value["error"].is_object(), "{call:?} {value}");
        for release in &releases {
            let keys = release.as_object().map(|map| map.keys().map(String::as_str).collect::<Vec<_>>());
            let expected = ["aliases", "codename", "distro", "eol", "lts", "name", "released", "version"];
            assert_eq!(keys.as_deref(), Some(&expected[..]), "{call:?} {release}");
            let parts = format!("{}:{}", release["distro"], release["version"]).replace('"', "");
            assert_eq!(release["name"].as_str(), Some(parts.as_str()), "{call:?}");
        }
    }
    // A release with verdicts is in `show` with the same data as in `verified`.
    let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
        .arg("--root")
        .arg(dir.path())
        .args(["show", "--arch", "x86_64", "--format", "json"])
        .output()
        .expect("it runs");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(value["releases"][0]["release"]["released"], "2024-05-22", "{value}");
    assert!(value["releases"][0]["release"]["eol"].is_null(), "{value}");
    let run = &value["releases"][0]["verified"][0];
    assert_eq!(run["versions"][0]["verified"], "9.0.0-r0", "{run}");
    assert_eq!(run["capabilities"][0]["verdict"], "supported", "{run}");
}
