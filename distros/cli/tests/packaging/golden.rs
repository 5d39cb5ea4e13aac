//! The documents that the Go package's tests read: this program's answers about a simulated system.

use crate::{repository, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

const RECORD: &str = "\
distro: mini
package-manager: apk
arch: x86_64
confidence: packaging
vmm: {name: qemu, packages: qemu-system-x86_64, path: /usr/bin/qemu-system-x86_64}
fs:
  - {name: virtio-fs, packages: virtiofsd, path: /usr/libexec/virtiofsd}
  - {name: virtio-9p, packages: none}
kernel: {packages: linux-virt, image: /boot/vmlinuz-*}
releases:
  - {version: 1, codename: first, released: 2024-05-22, eol: unknown}
";

const VERDICTS: &str = "\
distro: mini
verified:
  - release: \"1\"
    arch: x86_64
    profile: rs-4.0
    environment: vm
    basis: emulated
    tested: 2024-06-01
    harness: \"0.1.0\"
    test-set: d3dcb968b1d5
    shaped: true
    versions: {qemu-system-x86_64: 9.0.0-r0}
    capabilities:
      vmm.boot: supported
      fs.virtio-fs: {verdict: unsupported, causes: [{component: virtiofsd, test: fs::x, message: it ended at once}]}
";

/// apk's database.
const INSTALLED: &str = "\
P:qemu-system-x86_64
V:9.0.1-r0
A:x86_64
F:usr/bin
R:qemu-system-x86_64

";

const KATA: &str = "\
[hypervisor.qemu]
path = \"/opt/kata/bin/qemu\"
kernel = \"/opt/kata/vmlinux\"
image = \"/opt/kata/image\"
machine_type = \"q35\"
shared_fs = \"virtio-9p\"
virtio_fs_extra_args = [\"--a\"]
";

/// Directory of Kata's configuration.
const BASE: &str = "opt/kata/share/defaults/kata-containers";
const DAEMON: &str = "usr/libexec/virtiofsd";
const THEIRS: &str = "opt/kata/share/defaults/kata-containers/config.d/60-theirs.toml";

/// Fixed number of days since the runs, because the real one changes daily.
const AGE_DAYS: u64 = 911;

/// A system in a directory, which the documents call `/mnt`.
struct System(tempfile::TempDir);

impl System {
    fn new() -> System {
        let system = System(tempfile::tempdir().expect("a folder"));
        system.file("etc/os-release", "NAME=\"Mini\"\nPRETTY_NAME=\"Mini Linux 1.7\"\nID=mini\nVERSION_ID=1.7\n");
        system.file("etc/kata-osinfo/mini.yaml", RECORD);
        system.file("etc/kata-osinfo/verified/mini.yaml", VERDICTS);
        system.file("lib/apk/db/installed", INSTALLED);
        system.file("usr/bin/qemu-system-x86_64", "\x7fELF libc.so.6 libaio.so.1");
        system.file("opt/kata/bin/containerd-shim-kata-v2", "");
        system.file("opt/kata/vmlinux", "");
        system.file("opt/kata/image", "image");
        system.file(&format!("{BASE}/configuration-qemu.toml"), KATA);
        system.file(&format!("{BASE}/config.d/10-theirs.toml"), "[hypervisor.qemu]\npath = \"/opt/q\"\n");
        symlink("configuration-qemu.toml", system.path(&format!("{BASE}/configuration.toml"))).expect("a link");
        system
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes an executable file.
    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("removed");
    }

    /// Returns the document of a call that exits with this code.
    fn run_json(&self, code: i32, arguments: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"));
        command.arg(arguments[0]).arg("--root").arg(self.0.path()).args(&arguments[1..]).args(["--format", "json"]);
        let output = command.env_remove("KATA_OSINFO_PATH").output().expect("it runs");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
        let stdout = stdout.replace(&self.0.path().display().to_string(), "/mnt");
        let mut document = serde_json::from_str(&stdout).expect("JSON");
        dated(&mut document);
        document
    }
}

/// Replaces each age by a fixed number.
fn dated(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "age-days" {
                    *value = AGE_DAYS.into();
                }
                dated(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(dated),
        _ => {}
    }
}

/// Keeps only the first two entries of a long list.
fn shorten(list: &mut Value) {
    list.as_array_mut().expect("a list").truncate(2);
}

/// Returns all documents by file name.
fn documents() -> BTreeMap<&'static str, Value> {
    let system = System::new();
    let machine = ["--profile", "go-3.29", "--arch", "x86_64"];
    let of = |call: &[&'static str]| [call, &machine[..]].concat();
    let mut all = BTreeMap::new();
    all.insert("detect", system.run_json(0, &["detect"]));
    let mut list = system.run_json(0, &["list"]);
    // Reduced, because the records change every month.
    let is_kept = |listed: &Value| ["debian:13", "mini:1"].iter().any(|name| listed["release"]["name"] == *name);
    list["releases"].as_array_mut().expect("a list").retain(is_kept);
    all.insert("list", list);
    all.insert("show", system.run_json(0, &["show", "--origin", "--arch", "x86_64", "mini:1"]));
    // No machine that runs this test has apk.
    all.insert("installer", system.run_json(1, &["installer", "--arch", "x86_64"]));
    all.insert("packages", system.run_json(0, &["packages", "--with", "kernel", "--arch", "x86_64"]));
    all.insert("dry-run", system.run_json(4, &["install", "--dry-run", "--arch", "x86_64"]));
    all.insert("install", system.run_json(0, &["install", "vmm", "--arch", "x86_64"]));
    let kernel = ["requirements", "--profile", "rs-4.0", "--component", "kernel", "--arch", "x86_64"];
    let mut requirements = system.run_json(0, &kernel);
    shorten(&mut requirements["requirements"]);
    shorten(&mut requirements["kernel-options"]["uses"]);
    for use_row in requirements["kernel-options"]["uses"].as_array_mut().expect("a list") {
        shorten(&mut use_row["options"]);
    }
    all.insert("requirements", requirements);
    all.insert("verified", system.run_json(1, &["verified", "--profile", "rs-4.0", "--arch", "x86_64"]));
    // Without a daemon, with the old one, and with the required one.
    all.insert("fallback", system.run_json(11, &of(&["fallback"])));
    system.file(DAEMON, "fuse: unknown option(s)");
    all.insert("build", system.run_json(12, &["fallback", "--profile", "rs-4.0", "--arch", "x86_64"]));
    system.file(DAEMON, "\x7fELF --shared-dir");
    // A drop-in that overrides the configuration to be written.
    system.file(THEIRS, "[hypervisor.qemu]\nshared_fs = \"none\"\n");
    all.insert("configure", system.run_json(13, &of(&["configure", "--dry-run"])));
    system.remove(THEIRS);
    // Somebody changes the written file.
    system.run_json(0, &of(&["configure"]));
    let drop_in = format!("{BASE}/config.d/50-kata-osinfo.toml");
    let written = std::fs::read_to_string(system.path(&drop_in)).expect("it was written");
    system.file(&drop_in, &written.replace("\"q35\"", "\"pc\""));
    all.insert("check", system.run_json(1, &["check", "--all", "--arch", "x86_64"]));
    all.insert("unconfigure", system.run_json(13, &["unconfigure"]));
    system.file("etc/os-release", "PRETTY_NAME=\"Other\"\nID=other\n");
    all.insert("error", system.run_json(3, &["check"]));
    all
}

#[test]
fn the_golden_documents_of_the_go_package_are_current() {
    let folder = repository("packaging/go/testdata");
    let mut old = Vec::new();
    let documents = documents();
    for (name, document) in &documents {
        let file = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(document).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).expect("written");
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != text {
            old.push(*name);
        }
    }
    assert!(old.is_empty(), "{old:?} in {} are old: run the test with UPDATE_GOLDEN=1", folder.display());
    let (code, listing) = run(Command::new("ls").arg(&folder));
    let named: Vec<&str> = listing.lines().filter_map(|name| name.strip_suffix(".json")).collect();
    assert_eq!((code, named), (0, documents.into_keys().collect()), "a document is of no call");
}
