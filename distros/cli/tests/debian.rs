//! The subcommands in each of the five real Debian releases: from outside with `--root`, and inside.
//!
//! The releases are bootstrapped with mmdebstrap from the machine's own mirror, with QEMU and virtiofsd, which takes
//! minutes:
//! `cargo test -p kata-osinfo --test debian -- --ignored`, as root.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

mod machine;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

fn must(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// Builds the command without shared libraries, because Debian 11's are older than those of the build machine.
fn static_binary() -> PathBuf {
    let target = "x86_64-unknown-linux-gnu";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    must(
        Command::new(env!("CARGO"))
            .args(["build", "--locked", "--package", "kata-osinfo", "--bin", "kata-osinfo", "--target", target])
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&folder)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    );
    folder.join(target).join("debug/kata-osinfo")
}

struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    /// Runs the command from outside.
    fn outside(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"));
        command.arg("--root").arg(self.folder.path()).args(arguments).args(["--format", "json"]);
        answer(&mut command)
    }

    /// Runs the command inside, where the root is `/`.
    fn inside(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = Command::new("chroot");
        command.arg(self.folder.path()).arg("/kata-osinfo").args(arguments).args(["--format", "json"]);
        answer(&mut command)
    }
}

fn answer(command: &mut Command) -> (i32, Value) {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{command:?}: {e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().expect("a code"), value)
}

#[test]
#[ignore = "bootstraps Debian 11: minutes, root and a mirror"]
fn subcommands_work_in_debian_11() {
    in_release("bullseye", "11", "/usr/lib/qemu/virtiofsd");
}

#[test]
#[ignore = "bootstraps Debian 12: minutes, root and a mirror"]
fn subcommands_work_in_debian_12() {
    in_release("bookworm", "12", "/usr/lib/qemu/virtiofsd");
}

#[test]
#[ignore = "bootstraps Debian 13: minutes, root and a mirror"]
fn subcommands_work_in_debian_13() {
    in_release("trixie", "13", "/usr/libexec/virtiofsd");
}

#[test]
#[ignore = "bootstraps Debian testing: minutes, root and a mirror"]
fn subcommands_work_in_debian_testing() {
    in_release("testing", "testing", "/usr/libexec/virtiofsd");
}

#[test]
#[ignore = "bootstraps Debian sid: minutes, root and a mirror"]
fn subcommands_work_in_debian_sid() {
    in_release("sid", "unstable", "/usr/libexec/virtiofsd");
}

/// Bootstraps a suite and runs all subcommands; `daemon` is the path of its virtiofsd.
fn in_release(suite: &str, release: &str, daemon: &str) {
    let mirror = machine::debian_mirror();
    assert!(rustix::process::geteuid().is_root() && std::env::consts::ARCH == "x86_64", "needs root and x86_64");
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(static_binary);
    let started = std::time::Instant::now();
    let tree = Tree { folder: tempfile::tempdir().expect("a folder") };
    must(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=apt", "--mode=root", "--aptopt=Acquire::Languages \"none\""])
            // The mirror may be a snapshot, whose signatures of moving suites have expired.
            .args(["--aptopt=Acquire::Check-Valid-Until \"false\"", suite])
            .arg(tree.folder.path())
            .arg(format!("deb {mirror} {suite} main")),
    );
    std::fs::copy(binary, tree.folder.path().join("kata-osinfo")).expect("copied");
    calls(&tree, release, daemon);
    eprintln!("{suite}: {} s", started.elapsed().as_secs());
}

fn calls(tree: &Tree, release: &str, daemon: &str) {
    type Call<'t> = Box<dyn Fn(&[&str]) -> (i32, Value) + 't>;
    let both: [Call<'_>; 2] = [Box::new(|a| tree.outside(a)), Box::new(|a| tree.inside(a))];
    for call in &both {
        let (code, value) = call(&["detect"]);
        assert_eq!((code, &value["system"]["releases"][0]["version"]), (0, &release.into()), "{value}");
        assert_eq!(value["system"]["releases"].as_array().map(Vec::len), Some(1), "{value}");
        let (code, value) = call(&["show"]);
        assert_eq!((code, &value["releases"][0]["release"]["version"]), (0, &release.into()), "{value}");
        let (code, value) = call(&["installer"]);
        assert_eq!((code, &value["installer"]), (0, &"apt".into()), "{value}");
        let (code, value) = call(&["check", "vmm", "fs"]);
        assert_eq!((code, &value["installed"]), (1, &false.into()), "{value}");
        let (code, value) = call(&["verified"]);
        assert_eq!((code, &value["verified"]), (1, &false.into()), "nothing of it is installed: {value}");
    }
    // Without package lists a dry run, which does not fetch them, cannot answer; an installation fetches them.
    let (code, value) = tree.outside(&["install", "--dry-run", "vmm"]);
    assert_eq!((code, &value["error"]["kind"]), (4, &"missing-package".into()), "{value}");
    assert!(value["error"]["hint"].as_str().is_some_and(|hint| hint.contains("`apt-get update`")), "{value}");
    let (code, value) = tree.outside(&["install", "vmm"]);
    assert_eq!(code, 0, "{value}");
    let (code, value) = tree.inside(&["install", "--dry-run", "kernel"]);
    assert_eq!(code, 0, "{value}");
    let changes = value["plan"]["changes"].as_array().expect("changes");
    assert!(changes.iter().any(|c| c["package"] == "linux-image-amd64"), "{value}");
    // The rest is installed from inside.
    let (code, value) = tree.inside(&["install", "--no-refresh", "vmm", "fs"]);
    assert_eq!(code, 0, "{value}");
    for call in &both {
        let (code, value) = call(&["check", "vmm", "fs"]);
        assert_eq!(code, 0, "{value}");
        let components = value["components"].as_array().expect("components");
        let paths: Vec<&str> = components.iter().filter_map(|c| c["path"].as_str()).collect();
        assert_eq!(paths, ["/usr/bin/qemu-system-x86_64", daemon]);
        for component in components {
            let version = component["version"].as_str().expect("a version");
            let owner = component["package"]["package"].as_str().expect("an owner");
            let dpkg =
                must(Command::new("dpkg-query").arg("--admindir").arg(tree.folder.path().join("var/lib/dpkg")).args([
                    "-W",
                    "-f=${Version}",
                    owner,
                ]));
            assert_eq!(dpkg, version);
        }
    }
    // The real program is at the path that `check` reports.
    let output =
        must(Command::new("chroot").arg(tree.folder.path()).args(["/usr/bin/qemu-system-x86_64", "--version"]));
    assert!(output.starts_with("QEMU emulator version"), "{output}");
}
