//! dnf and rpm.

use crate::rpm::{break_index, extra, index, rpm, rpms};
use crate::scratch::{Scratch, run, tree};
use crate::situations::{self, PreparedBy};
use model::package_manager::PackageManager;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Creates a root for dnf, and a repository of three packages.
pub(crate) fn scratch() -> Scratch {
    let scratch = Scratch::new(PackageManager::Dnf);
    // Without plugins: this machine's plugin `local` would keep installed packages, and offer them to the next test.
    scratch.write("etc/dnf/dnf.conf", "[main]\nplugins=0\n");
    scratch.write(
        "etc/yum.repos.d/local.repo",
        &format!(
            "[local]\nname=local\nbaseurl=file://{}\ngpgcheck=0\nmetadata_expire=0\n",
            scratch.repository().display()
        ),
    );
    rpms(&scratch);
    scratch
}

const PREPARED: PreparedBy = PreparedBy { scratch, break_index: broken_index, mend_index: index, hold_lock };

fn broken_index(scratch: &Scratch) {
    break_index(scratch);
    // An index that was read in the same second is not yet older than `metadata_expire=0`: dnf would not reload it.
    std::thread::sleep(Duration::from_secs(2));
}

/// Holds dnf's lock, which contains the PID of a living process.
fn hold_lock(scratch: &Scratch) -> Box<dyn FnOnce() + Send> {
    scratch.write("var/lib/dnf/rpmdb_lock.pid", &std::process::id().to_string());
    let lock = scratch.root_path().join("var/lib/dnf/rpmdb_lock.pid");
    Box::new(move || std::fs::remove_file(lock).expect("removed"))
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn packages_are_installed_and_found() {
    situations::packages_are_installed_and_found(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn failures_are_reported_by_kind() {
    situations::failures_are_reported_by_kind(&PREPARED);
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn dnf_plugins_of_the_root_are_not_run() {
    let scratch = scratch();
    let planted = scratch.planted_program();
    let folder = scratch.root_path().join("plugins");
    std::fs::create_dir(&folder).expect("made");
    let code = format!("import subprocess\nsubprocess.call(['{planted}', 'plugin'])\n");
    std::fs::write(folder.join("evil.py"), code).expect("written");
    scratch.write("etc/dnf/dnf.conf", &format!("[main]\nplugins=1\npluginpath={}\n", folder.display()));
    scratch.assert_runs_no_planted_program();
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn repositories_and_modules_are_enabled_first() {
    let scratch = scratch();
    let folder = extra(&scratch);
    let module = "---
document: modulemd
version: 2
data:
  name: kq
  stream: rhel
  version: 1
  context: '00000000'
  arch: noarch
  summary: kq
  description: kq
  license: {module: [MIT]}
  artifacts: {rpms: ['kq-extra-1:1.0-1.noarch']}
...
";
    let file = scratch.path().join("modules.yaml");
    std::fs::write(&file, module).expect("written");
    run(Command::new("modifyrepo_c").arg("--mdtype=modules").arg(&file).arg(folder.join("repodata")));
    scratch.write(
        "etc/yum.repos.d/extra.repo",
        &format!(
            "[extra]\nname=extra\nenabled=0\nbaseurl=file://{}\ngpgcheck=0\nmodule_hotfixes=0\n",
            folder.display()
        ),
    );
    // Modules belong to a platform, which the release's own package would state there.
    scratch.write("etc/dnf/dnf.conf", "[main]\nplugins=0\nmodule_platform_id=platform:el1\n");
    scratch.assert_enabled_first(&["extra"], &["kq:rhel"]);
    let enabled = std::fs::read_to_string(scratch.root_path().join("etc/dnf/modules.d/kq.module")).expect("told");
    assert!(enabled.contains("state=enabled"), "{enabled}");
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn an_installation_waits_for_a_lock() {
    situations::an_installation_waits_for_a_lock(&PREPARED);
}

/// Unpacks dnf's plugins, because their package conflicts with zypper, and returns the directory of their modules.
fn plugins(scratch: &Scratch) -> PathBuf {
    let folder = scratch.path().join("plugins");
    std::fs::create_dir(&folder).expect("made");
    run(Command::new("apt-get").args(["--quiet=2", "download", "dnf-plugins-core"]).current_dir(&folder));
    let package = std::fs::read_dir(&folder).expect("listed").next().expect("the package").expect("an entry").path();
    run(Command::new("dpkg").arg("--extract").arg(package).arg(&folder));
    folder.join("usr/lib/python3/dist-packages")
}

/// Runs dnf on the root, with the shipped hook and a `kata-osinfo` that executes `program`; returns the output.
fn upgrade_with_hook(scratch: &Scratch, plugins: &Path, program: &str, package: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let bin = scratch.path().join("bin");
    std::fs::create_dir_all(&bin).expect("made");
    let file = bin.join("kata-osinfo");
    std::fs::write(&file, format!("#!/bin/sh\n{program}\n")).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("set");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    // The plugin of Debian 12 calls libdnf by a name that Debian 12's libdnf no longer has.
    let name = "import libdnf.conf\nif not hasattr(libdnf.conf, 'ConfigParser_substitute'):\n    libdnf.conf.ConfigParser_substitute = libdnf.conf.ConfigParser.substitute\n";
    std::fs::write(bin.join("sitecustomize.py"), name).expect("written");
    let output = Command::new("dnf")
        .env("PYTHONPATH", format!("{}:{}", bin.display(), plugins.display()))
        .arg(format!("--setopt=pluginpath={}", plugins.join("dnf-plugins").display()))
        .arg(format!("--installroot={}", scratch.root_path().display()))
        .arg(format!("--setopt=reposdir={}", scratch.root_path().join("etc/yum.repos.d").display()))
        .args(["--disableplugin=*", "--enableplugin=post-transaction-actions"])
        .args(["--releasever=1", "--assumeyes", "install", package])
        .env("PATH", path)
        .env("HOME", scratch.path())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("dnf");
    let printed = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    assert!(output.status.success(), "{printed}");
    printed
}

#[test]
#[cfg_attr(any(lacks = "dnf", lacks = "apt"), ignore = "needs root, dnf, rpm, createrepo-c and apt")]
fn the_dnf_hook_reports_versions_that_were_not_verified() {
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/dnf/kata-osinfo.action");
    let scratch = scratch();
    let modules = plugins(&scratch);
    let plugins = scratch.root_path().join("etc/dnf/plugins");
    let actions = plugins.join("post-transaction-actions.d/");
    std::fs::create_dir_all(&actions).expect("made");
    std::fs::copy(hook, actions.join("kata-osinfo.action")).expect("copied");
    let enabled = format!("[main]\nenabled=1\nactiondir={}/\n", actions.display());
    std::fs::write(plugins.join("post-transaction-actions.conf"), enabled).expect("written");
    scratch.write("etc/dnf/dnf.conf", &format!("[main]\npluginconfpath={}\n", plugins.display()));
    std::fs::write(scratch.path().join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").expect("written");
    scratch.record("qemu-kvm");
    scratch.write(
        "etc/kata-osinfo/verified/scratch.yaml",
        "distro: scratch
verified:
  - {release: \"1\", arch: x86_64, profile: rs-4.0, environment: vm, basis: emulated, tested: 2026-01-01, harness: \"0.1.0\", test-set: d3dcb968b1d5, versions: {qemu-kvm: \"1:1.0-1\"}, capabilities: {vmm.boot: supported}}
",
    );
    let tree = tree(scratch.path(), "kq-vmm");
    for version in ["1.0", "2.0", "3.0"] {
        rpm(&scratch, "qemu-kvm", version, &tree, "");
    }
    index(&scratch);
    let check = format!(
        "exec {} --root {} \"$@\" --arch x86_64",
        env!("CARGO_BIN_EXE_kata-osinfo"),
        scratch.root_path().display()
    );
    let output = upgrade_with_hook(&scratch, &modules, &check, "qemu-kvm-1.0");
    assert!(!output.contains("post-transaction-actions"), "{output}");
    let output = upgrade_with_hook(&scratch, &modules, &check, "qemu-kvm-2.0");
    let expected = "rs-4.0/vm verified 2026-01-01: versions have changed\n  qemu-kvm 1:1.0-1 -> 1:2.0-1\n";
    assert!(output.contains(expected), "{output}");
    let output = upgrade_with_hook(&scratch, &modules, "echo told; exit 3", "qemu-kvm-3.0");
    assert!(output.contains("post-transaction-actions: told"), "{output}");
    let output = upgrade_with_hook(&scratch, &modules, "echo told", "kq-lib");
    assert!(!output.contains("told"), "a package that is none of Kata's: {output}");
}
