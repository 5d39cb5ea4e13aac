//! Programs that run, and their user ids, when the command inspects a root with untrusted programs.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Records in its root's `/tmp` that it ran and as which user; statically linked, because such a root has no libraries.
const STRANGER: &str = r#"
#include <stdio.h>
#include <unistd.h>
#include <fcntl.h>
int main(int argc, char **argv) {
    const char *name = argv[0];
    for (const char *c = argv[0]; *c; c++) if (*c == '/') name = c + 1;
    char path[200];
    snprintf(path, sizeof path, "/tmp/%s-as-%d", name, getuid());
    close(open(path, O_CREAT | O_WRONLY, 0666));
    puts("stranger version 1.0");
    return 0;
}
"#;

const PROGRAMS: [&str; 11] = [
    "usr/bin/qemu-system-x86_64",
    "usr/libexec/virtiofsd",
    "usr/bin/rpm",
    "usr/bin/containerd",
    "usr/bin/apt-get",
    "usr/bin/dpkg",
    "usr/bin/pacman",
    "usr/bin/dnf",
    "usr/bin/zypper",
    "bin/sh",
    "usr/bin/which",
];

struct Planted {
    dir: tempfile::TempDir,
}

impl Planted {
    /// Creates a root full of planted programs, which only root could run.
    fn new(os_release: &str) -> Planted {
        let dir = tempfile::tempdir().expect("a root");
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        set(dir.path(), 0o755);
        let source = dir.path().join("stranger.c");
        std::fs::write(&source, STRANGER).expect("written");
        let program = dir.path().join("stranger");
        let built = Command::new("cc").args(["-static", "-o"]).arg(&program).arg(&source).status().expect("cc");
        assert!(built.success(), "a C compiler that links statically is needed: install the static libc");
        let planted = Planted { dir };
        for path in PROGRAMS {
            let file = planted.dir.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::copy(&program, &file).expect("copied");
        }
        planted.write("etc/os-release", os_release);
        planted.write("tmp/.keep", "");
        set(&planted.dir.path().join("tmp"), 0o777);
        planted
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.dir.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, text).expect("written");
    }

    fn call(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
            .arg("--root")
            .arg(self.dir.path())
            .args(arguments)
            .output()
            .expect("it runs");
        let printed = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
        (output.status.code(), printed)
    }

    /// Returns the programs that ran: `NAME-as-UID`.
    fn ran(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path().join("tmp")).expect("listed");
        let mut names: Vec<String> = names
            .filter_map(|e| e.expect("an entry").file_name().into_string().ok())
            .filter(|n| n != ".keep")
            .collect();
        names.sort();
        names
    }
}

const READING: [&[&str]; 8] = [
    &["detect"],
    &["show"],
    &["check"],
    &["check", "--all"],
    &["packages", "--allow-assumed"],
    &["installer"],
    &["fallback", "--profile", "rs-4.0"],
    &["configure", "--dry-run", "--profile", "rs-4.0", "--handler", "containerd", "--allow-assumed"],
];

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn read_only_subcommands_run_no_program_of_the_root() {
    let planted = Planted::new("ID=debian\nVERSION_ID=13\n");
    planted.write("var/lib/dpkg/status", "");
    for arguments in READING {
        planted.call(arguments);
        assert_eq!(planted.ran(), Vec::<String>::new(), "{arguments:?}");
    }
    let (_, output) = planted.call(&["check", "qemu"]);
    assert!(output.contains("at /usr/bin/qemu-system-x86_64, of no package"), "{output}");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn run_programs_runs_them_as_nobody_with_limits() {
    let planted = Planted::new("ID=debian\nVERSION_ID=13\n");
    planted.write("var/lib/dpkg/status", "");
    let (_, output) = planted.call(&["check", "--run-programs", "qemu", "virtio-fs"]);
    assert_eq!(planted.ran(), ["qemu-system-x86_64-as-65534", "virtiofsd-as-65534"], "{output}");
    assert_eq!(output.matches("  says: stranger version 1.0\n").count(), 2, "{output}");
    let (_, output) = planted.call(&["check", "--run-programs", "--format", "json", "qemu"]);
    assert!(output.contains("\"version\": \"stranger version 1.0\""), "{output}");
    // Programs with endless output, with terminal escapes, and with a failure.
    let program = planted.dir.path().join("usr/bin/qemu-system-x86_64");
    let source = planted.dir.path().join("odd.c");
    for (body, expected) in [
        ("for (;;) putchar('x');", "had not finished after 10 s"),
        ("for (long i = 0; i < 20000000; i++) putchar('\\33'); return 0;", "says: \\u{1b}\\u{1b}"),
        ("return 3;", "does not say its version: exit code 3"),
    ] {
        std::fs::write(&source, format!("#include <stdio.h>\nint main(void) {{ {body} }}\n")).expect("written");
        let built = Command::new("cc").args(["-static", "-o"]).arg(&program).arg(&source).status().expect("cc");
        assert!(built.success());
        let (_, output) = planted.call(&["check", "--run-programs", "qemu"]);
        assert!(output.contains(expected) && output.len() < 5000, "{output}");
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn a_roots_own_rpm_is_never_run() {
    let planted = Planted::new("ID=fedora\nVERSION_ID=44\n");
    planted.write("etc/kata-osinfo/fedora.yaml", "distro: fedora\npackage-manager: dnf\narch: x86_64\nconfidence: documented\nvmm: {name: qemu, packages: qemu-kvm-core, path: /usr/bin/qemu-system-x86_64}\nversion: 44\n");
    // Not a real database, only the bytes that one begins with.
    planted.write("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\0");
    for arguments in READING.iter().copied().chain([&["install", "--dry-run"][..]]) {
        planted.call(arguments);
        assert_eq!(planted.ran(), Vec::<String>::new(), "{arguments:?}");
    }
    let (code, output) = planted.call(&["check"]);
    assert_eq!(code, Some(3), "{output}");
    assert!(
        output.contains("cannot read without rpm") || output.contains("this machine's rpm cannot read"),
        "{output}"
    );
    // Another package manager's database next to it is not used instead.
    planted.write("var/lib/dpkg/status", "");
    let (code, output) = planted.call(&["check"]);
    assert_eq!(code, Some(3), "{output}");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn a_dry_run_runs_the_roots_programs_only_as_nobody() {
    for (os_release, record, database) in [
        ("ID=debian\nVERSION_ID=13\n", "", "var/lib/dpkg/status"),
        (
            "ID=arch\n",
            "distro: arch\npackage-manager: pacman\narch: x86_64\nconfidence: documented\nvmm: {name: qemu, packages: qemu-base, path: /usr/bin/q}\nversion: rolling\n",
            "var/lib/pacman/local/ALPM_DB_VERSION",
        ),
        (
            "ID=scratch\nVERSION_ID=1\n",
            "distro: scratch\npackage-manager: dnf\narch: x86_64\nconfidence: documented\nvmm: {name: qemu, packages: qemu-base, path: /usr/bin/q}\nversion: 1\n",
            "var/lib/dpkg/status",
        ),
        (
            "ID=scratch\nVERSION_ID=1\n",
            "distro: scratch\npackage-manager: zypper\narch: x86_64\nconfidence: documented\nvmm: {name: qemu, packages: qemu-base, path: /usr/bin/q}\nversion: 1\n",
            "var/lib/dpkg/status",
        ),
    ] {
        let planted = Planted::new(os_release);
        if !record.is_empty() {
            planted.write("etc/kata-osinfo/own.yaml", record);
        }
        planted.write(database, "");
        let (code, output) = planted.call(&["install", "--dry-run", "--allow-assumed", "--arch", "x86_64", "vmm"]);
        let ran = planted.ran();
        assert!(ran.iter().all(|name| name.ends_with("-as-65534")), "{os_release}: {ran:?} {output}");
        assert_eq!(code, Some(0), "{os_release}: {output}");
    }
}
