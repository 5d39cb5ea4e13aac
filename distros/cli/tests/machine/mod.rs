//! A simulated machine in a directory, on which the command runs.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]
#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../mounts/mod.rs"]
mod mounts;

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

pub(crate) const RECORD: &str = "\
distro: mini
package-manager: dnf
arch: x86_64
confidence: packaging
vmm: {name: qemu, packages: qemu-kvm, path: /usr/libexec/qemu-kvm}
fs:
  - {name: virtio-fs, packages: virtiofsd, path: /usr/libexec/virtiofsd}
kernel: {packages: kernel, image: /boot/vmlinuz-*}
releases:
  - version: 1
    codename: first
";

/// A configuration like Kata's, with content that an edit must preserve.
pub(crate) const KATA: &str = "\
# Shipped configuration

[hypervisor.qemu]
path = \"/opt/kata/bin/qemu\"   # the VMM
kernel = \"/opt/kata/vmlinux\"
image = \"/opt/kata/image\"
#initrd = \"unset\"
machine_type = \"q35\"

# Shared file system
shared_fs = \"virtio-9p\"
virtio_fs_extra_args = [
  \"--a\", # first
]

[agent.kata]
kernel_modules=[]

[runtime]
internetworking_model=\"tcfilter\"
";

/// Returns an initrd of empty files.
pub(crate) fn cpio(files: &[&str]) -> String {
    let entry = |name: &str, mode: &str| {
        let zero = "00000000";
        let before = [zero, mode, zero, zero, "00000001", zero, zero, zero, zero, zero, zero].concat();
        let head = format!("070701{before}{:08X}{zero}{name}\0", name.len() + 1);
        let padding = head.len().next_multiple_of(4) - head.len();
        head + &"\0".repeat(padding)
    };
    files.iter().map(|name| entry(name, "000081A4")).chain([entry("TRAILER!!!", "00000000")]).collect()
}

pub(crate) const BASE: &str = "opt/kata/share/defaults/kata-containers";

/// Returns the site of Debian, and of no other distro, among this machine's own apt sources.
///
/// Tests that need it run only on request, and fail if it is missing.
pub(crate) fn debian_mirror() -> String {
    let sites = ["indextargets", "--format", "$(SITE)", "Created-By: Packages"];
    let sites = std::process::Command::new("apt-get").args(sites).output().map(|o| o.stdout).unwrap_or_default();
    debian_among(&String::from_utf8_lossy(&sites))
        .expect("apt's sources need a site of Debian's, `…/debian`")
        .to_owned()
}

pub(crate) fn debian_among(sites: &str) -> Option<&str> {
    sites.lines().map(|site| site.trim_end_matches('/')).find(|site| site.ends_with("/debian"))
}

pub(crate) struct Machine(tempfile::TempDir);

impl Machine {
    /// Creates a machine with QEMU without io_uring, the Rust daemon, a kernel, an initrd, CRI-O, and Kata's static
    /// release.
    pub(crate) fn new() -> Machine {
        let machine = Machine(tempfile::tempdir().expect("a folder"));
        machine.file("records/mini.yaml", RECORD);
        machine.file("m/etc/os-release", "NAME=\"Mini\"\nID=mini\nVERSION_ID=\"1\"\n");
        machine.file("m/usr/libexec/qemu-kvm", "\x7fELF libc.so.6 libaio.so.1");
        machine.file("m/usr/libexec/virtiofsd", "\x7fELF --shared-dir");
        machine.file("m/usr/bin/crio", "");
        machine.file("m/boot/vmlinuz-6.1", "");
        machine.file("m/boot/kata.img", &cpio(&["usr/bin/kata-agent", "lib/modules/6.1/virtiofs.ko"]));
        machine.file("m/opt/kata/vmlinux", "");
        machine.file("m/opt/kata/image", "image");
        machine.file("m/opt/kata/bin/containerd-shim-kata-v2", "");
        machine.file(&format!("m/{BASE}/configuration-qemu.toml"), KATA);
        symlink("configuration-qemu.toml", machine.path(&format!("m/{BASE}/configuration.toml"))).expect("a link");
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and makes it executable if its directory is one of programs.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        if ["/bin/", "/libexec/"].iter().any(|folder| name.contains(folder)) {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
        }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("readable")
    }

    /// Returns a copy of the machine.
    pub(crate) fn copy(&self) -> Machine {
        let copy = Machine(tempfile::tempdir().expect("a folder"));
        let copied = std::process::Command::new("cp").arg("-a").arg(self.path(".")).arg(copy.path(".")).status();
        assert!(copied.expect("cp").success());
        copy
    }

    /// Moves the machine to a file system of this many KiB, which requires root; only the calling thread and what it
    /// starts see it, and it is unmounted with [`Small`].
    pub(crate) fn shrunk(&self, kibibytes: u32) -> Small {
        let small = self.path("small");
        std::fs::create_dir_all(&small).expect("made");
        let size = format!("size={kibibytes}k");
        mounts::own();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&small);
        assert!(mount.status().expect("mount").success(), "a small file system cannot be mounted");
        let mounted = Small(small.clone());
        std::fs::rename(self.path("m"), self.path("large")).expect("renamed");
        let copied = std::process::Command::new("cp").arg("-a").arg(self.path("large")).arg(small.join("m")).status();
        assert!(copied.expect("cp").success());
        symlink("small/m", self.path("m")).expect("a link");
        mounted
    }

    /// Runs the command with the machine as `--root`, and its records.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
            .args(["--records".as_ref(), self.path("records").as_os_str()])
            .args(&arguments[..1])
            .args(["--root".as_ref(), self.path("m").as_os_str()])
            .args(&arguments[1..])
            .output()
            .expect("it runs");
        Output {
            code: output.status.code().expect("a code"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Returns the findings of `check --all` about the configuration: `FILE:LINE: MESSAGE`.
    pub(crate) fn check_findings(&self) -> Vec<String> {
        let output = self.run(&["check", "--all", "--format", "json"]);
        let findings = output.json()["configured"].as_array().expect("a list").clone();
        let words = |problem: &Value| {
            let line = problem["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
            let text = |key: &str| problem[key].as_str().expect("a text").to_owned();
            format!("{}{line}: {}", text("file"), text("message"))
        };
        // With a finding, the exit code is not 0.
        assert!(findings.is_empty() || output.code != 0, "{findings:?}");
        findings.iter().map(words).collect()
    }

    /// Returns everything on the machine: bytes, modes and links.
    pub(crate) fn everything(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        self.everything_in("m")
    }

    /// Like [`Machine::everything`], for another directory.
    pub(crate) fn everything_in(&self, top: &str) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut all = BTreeMap::new();
        let mut todo = vec![self.path(top)];
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).expect("listed") {
                let path = entry.expect("an entry").path();
                let meta = std::fs::symlink_metadata(&path).expect("there");
                let bytes = if meta.is_symlink() {
                    std::fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
                } else if meta.is_dir() {
                    todo.push(path.clone());
                    Vec::new()
                } else {
                    std::fs::read(&path).expect("readable")
                };
                let path = path.strip_prefix(self.path(top)).expect("below").to_owned();
                all.insert(path, (meta.permissions().mode(), bytes));
            }
        }
        all
    }
}

/// A small file system, which is unmounted on drop.
pub(crate) struct Small(PathBuf);

impl Small {
    /// Fills the file system except for this many pages.
    pub(crate) fn fill(&self, pages: usize) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.0.join("ballast")).expect("made");
        while ballast.write_all(&[1; 4096]).is_ok() {}
        let length = ballast.metadata().expect("there").len();
        ballast.set_len(length.saturating_sub(pages as u64 * 4096)).expect("cut");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Without unmounting, a test's directory could not be removed.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", self.stdout, self.stderr))
    }
}

pub(crate) const OWN: [&str; 4] = ["--kernel", "distro", "--initrd", "/boot/kata.img"];

pub(crate) fn with<'a>(call: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    call.iter().chain(&OWN).chain(more).copied().collect()
}
