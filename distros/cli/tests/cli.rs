//! Tests of the command from outside.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use assert_cmd::Command;
use model::database::Database;
use std::path::Path;

const RECORD: &str = "\
distro: mini
package-manager: apt
arch: x86_64
vmm: {name: qemu, packages: qemu, path: /usr/bin/qemu}
releases:
  - {version: 8.10, codename: first, aliases: [stable], released: unknown}
";

struct Output {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
        .current_dir(dir)
        .args(arguments)
        .output()
        .expect("it runs");
    Output {
        code: output.status.code().expect("a code"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, text).expect("written");
    }
    dir
}

#[test]
fn the_version_has_the_commit() {
    let dir = folder(&[]);
    let output = run(dir.path(), &["--version"]).stdout;
    let commit =
        output.strip_prefix(concat!("kata-osinfo ", env!("CARGO_PKG_VERSION"), " (")).expect("name and version");
    let commit = commit.strip_suffix(")\n").expect("a commit in parentheses");
    assert!(
        !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric() || "._-+~/".contains(c)),
        "{output}"
    );
}

#[test]
fn show_prints_facts_and_verdicts() {
    let verified = "distro: mini\nverified:
  - release: \"8.10\"
    arch: x86_64
    profile: go-3.29
    environment: container
    basis: emulated
    tested: 2020-01-02
    harness: \"0.1.0\"
    test-set: d3dcb968b1d5
    versions: {qemu: \"1\"}
    capabilities:
      vmm.boot: supported
      fs.virtio-fs:
        verdict: unsupported
        causes: [{message: no daemon}]
";
    let dir = folder(&[("mini.yaml", RECORD), ("verified/mini.yaml", verified)]);
    let arguments = ["--records", ".", "show", "mini:stable", "--arch", "x86_64"];
    let output = run(dir.path(), &arguments);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    // Masked, because the age changes every day.
    let days = age_cell(&output.stdout);
    insta::assert_snapshot!(output.stdout.replace(&days, "[AGE]"), @r#"
    mini:8.10 first (stable) on x86_64
      released           unknown  [assumed]
      vmm qemu packages  qemu  [assumed]
      vmm qemu path      /usr/bin/qemu  [assumed]
      verified
        go-3.29: no: fs.virtio-fs; not known: packages.install, vmm.qmp, vmm.vsock and 7 more (emulated, container 2020-01-02)
                      go-3.29/container
        fs.virtio-fs  unsupported
        basis         emulated
        tested        2020-01-02
        age           [AGE]
        go-3.29/container fs.virtio-fs: no daemon
    "#);
}

/// Returns the text of the cell with the age.
fn age_cell(stdout: &str) -> String {
    let line = stdout.lines().find(|l| l.trim_start().starts_with("age "));
    let line = line.expect("an age").trim_start();
    line.trim_start_matches("age").trim().to_owned()
}

#[test]
fn show_prints_debian_for_people_and_as_json() {
    let dir = folder(&[]);
    let arguments = ["show", "debian:13", "--arch", "x86_64"];
    let output = run(dir.path(), &arguments);
    // Verdicts change with every qualification; this test is about the record's own facts.
    let (facts, verified) = output.stdout.split_once("\n  verified\n").expect("Debian 13 has been verified");
    let answers: Vec<&str> = verified.lines().filter(|line| line.trim_start().starts_with("go-3.29: ")).collect();
    assert_eq!(answers.len(), 1, "a profile has one answer: {verified}");
    insta::assert_snapshot!(facts, @r#"
    debian:13 trixie (stable) on x86_64
      released                               2025-08-09  [documented]
      eol                                    2028-08-09  [documented]
      lts                                    2030-06-30  [documented]
      image                                  docker.io/library/debian:13  [documented]
      suites                                 trixie trixie-updates trixie-security  [documented]
      vmm qemu packages                      qemu-system-x86  [packaging]
      vmm qemu path                          /usr/bin/qemu-system-x86_64  [packaging]
      fs virtio-fs packages                  virtiofsd  [packaging]
      fs virtio-fs path                      /usr/libexec/virtiofsd  [packaging]
      kernel linux packages                  linux-image-amd64  [packaging]
      kernel linux image                     /boot/vmlinuz-*  [packaging]
      container-manager containerd packages  containerd  [packaging]
      container-manager containerd path      /usr/bin/containerd  [packaging]
      container-manager docker packages      docker.io docker-cli  [packaging]
      container-manager docker path          /usr/sbin/dockerd  [packaging]
      firmware ovmf packages                 ovmf  [packaging]
      firmware ovmf path                     /usr/share/OVMF/OVMF_CODE_4M.fd  [packaging]
      snapshotter nydus packages             nydus-snapshotter  [packaging]
      snapshotter nydus path                 /usr/bin/containerd-nydus-grpc  [packaging]
    "#);
    let output = run(dir.path(), &["show", "debian", "--format", "json", "--arch", "x86_64"]);
    let value: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(value["version"], 1);
    assert_eq!(value["releases"].as_array().map(Vec::len), Some(5));
    assert_eq!(value["releases"][0]["release"]["version"], "11");
}

#[test]
fn list_prints_one_line_per_release() {
    let dir = folder(&[("mini.yaml", RECORD)]);
    let output = run(dir.path(), &["list", "--records", "."]);
    let is_relevant = |line: &&str| line.starts_with("debian:") || line.starts_with("mini:");
    let lines: Vec<&str> = output.stdout.lines().filter(is_relevant).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    debian:11            bullseye oldoldstable    x86_64 aarch64  (support ended on 2026-08-31)
    debian:12            bookworm oldstable       x86_64 aarch64 ppc64le s390x  (long-term support until 2028-06-30)
    debian:13            trixie stable            x86_64 aarch64 ppc64le s390x
    debian:testing       forky                    x86_64 aarch64 ppc64le s390x
    debian:unstable      sid                      x86_64 aarch64 ppc64le s390x
    mini:8.10            first stable             x86_64
    "#);
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    let dir = folder(&[]);
    let error = |target: &str| {
        let output = run(dir.path(), &["show", target, "--arch", "x86_64"]);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""));
        output.stderr
    };
    // Distros come and go in the records.
    let distros: Vec<_> = Database::embedded().records().map(|record| record.distro.clone()).collect();
    let unknown = error("debain:13").replace(&distros.join(", "), "[DISTROS]");
    insta::assert_snapshot!(unknown, @"error: unknown distro `debain`: known are [DISTROS]; did you mean `debian`?");
    insta::assert_snapshot!(error("debian:bokworm"), @"error: unknown release `bokworm` of debian: known are 11 (bullseye), 12 (bookworm), 13 (trixie), testing (forky), unstable (sid); did you mean `bookworm`?");
    assert_eq!(run(dir.path(), &["show", "--arch", "amd64"]).code, 2);
    assert_eq!(run(dir.path(), &["lint", "no-such.yaml"]).code, 2);
    assert_eq!(run(dir.path(), &["list", "--records", "nowhere"]).code, 2);
}

#[test]
fn lint_shows_file_line_column_and_the_corrected_text() {
    let mailed = include_str!("fixtures/proposal/as-mailed/debian.yaml");
    let dir = folder(&[("debian.yaml", mailed)]);
    let output = run(dir.path(), &["lint", "debian.yaml"]);
    assert_eq!((output.code, output.stderr.as_str()), (1, ""));
    insta::assert_snapshot!(output.stdout, @r#"
    error[duplicate-key]: the key `name` occurs twice in the map of `fs`
      --> debian.yaml:13:3
       |
    13 |   name: virtio-9p
       |   ^^^^
       |
    help: each `name` begins an entry of a list; `kata-osinfo lint --fix` corrects it
       |
    11 +   - name: virtio-fs
    12 +     path: /usr/lib/qemu/virtiofsd
    13 +   - name: virtio-9p
       |
    "#);

    let output = run(dir.path(), &["lint", "--format", "json", "debian.yaml"]);
    let value: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(value["diagnostics"][0]["line"], 13);
    assert_eq!(value["diagnostics"][0]["column"], 3);

    let output = run(dir.path(), &["lint", "--fix", "debian.yaml"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, ""));
    assert_eq!(output.stderr, "fixed debian.yaml\n");
    let fixed = std::fs::read_to_string(dir.path().join("debian.yaml")).expect("read");
    assert_eq!(fixed, include_str!("fixtures/proposal/as-meant/debian.yaml"));
}

#[test]
fn a_broken_record_is_reported_and_the_others_still_work() {
    let dir = folder(&[("mini.yaml", RECORD), ("debian.yaml", "distro: debian\nvresion: 13\n")]);
    let output = run(dir.path(), &["--records", ".", "show", "mini", "--arch", "x86_64"]);
    assert_eq!(output.code, 0);
    assert!(output.stderr.starts_with("warning: ./debian.yaml:"), "{}", output.stderr);
    let output = run(dir.path(), &["--records", ".", "show", "debian:13"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("is invalid or cannot be read"), "{}", output.stderr);
}

#[test]
fn the_shipped_records_have_no_findings() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder distros");
    for what in ["records/debian.yaml", "records"] {
        let output = run(dir, &["lint", what]);
        assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{what}");
    }
}

#[test]
fn lint_checks_a_folder_with_its_verdicts_and_sources() {
    let record = RECORD.replace("vmm:", "confidence: documented\nvmm:");
    let sources = "distro: mini\nsources:\n  - {facts: [vmm qemu, eol], from: the spec}\n";
    let dir = folder(&[
        ("records/mini.yaml", record.as_str()),
        ("records/read.me", "no record"),
        ("records/verified/mini.yaml", "distro: mini\nverified: []\nmore: 1\n"),
        ("records/sources/mini.yaml", sources),
        ("empty/read.me", ""),
    ]);
    let lines = |arguments: &[&str]| {
        let output = run(dir.path(), &[&["lint", "--format", "github"][..], arguments].concat());
        let found = output.stdout.lines().map(|line| line.split("::").nth(1).unwrap_or_default().to_owned());
        (output.code, found.collect::<Vec<_>>())
    };
    let (code, found) = lines(&["records"]);
    assert_eq!(code, 1);
    let is_idle = |line: &String| {
        line.starts_with("error file=records/sources/mini.yaml,line=3,") && line.ends_with("title=idle-source")
    };
    assert!(found.iter().any(is_idle), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("error file=records/verified/mini.yaml,line=3")), "{found:?}");
    assert!(!found.iter().any(|line| line.contains("file=records/mini.yaml")), "each fact has a source: {found:?}");
    // A fact without a source is reported in the record, even if only the record is checked.
    let sources = sources.replace("vmm qemu, eol", "vmm qemu path");
    std::fs::write(dir.path().join("records/sources/mini.yaml"), sources).expect("written");
    assert_eq!(
        lines(&["records/mini.yaml"]),
        (1, vec!["error file=records/mini.yaml,line=5,col=1,title=no-source".to_owned()])
    );
    std::fs::remove_file(dir.path().join("records/sources/mini.yaml")).expect("removed");
    assert_eq!(lines(&["records/mini.yaml"]).1, ["error file=records/mini.yaml,line=1,col=1,title=no-source"]);
    let output = run(dir.path(), &["lint", "empty"]);
    assert_eq!((output.code, output.stderr.as_str()), (2, "error: no *.yaml file in empty\n"));
    // A program gets the error on standard output, too.
    let output = run(dir.path(), &["lint", "--format", "json", "empty"]);
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).expect("one document");
    assert_eq!((output.code, &answer["version"], &answer["error"]["kind"]), (2, &1.into(), &"no-records".into()));
    assert_eq!(answer["error"]["message"], "no *.yaml file in empty");
}

#[test]
fn help_lists_the_exit_codes() {
    let output = run(Path::new("/"), &["--help"]);
    assert!(output.stdout.contains("1  the answer is no"));
    assert_eq!(run(Path::new("/"), &[]).code, 2);
}

/// `kata-osinfo show | head`: a reader that stops early gets no error.
#[test]
fn a_closed_standard_output_causes_no_error_message() {
    let dir = folder(&[("mini.yaml", RECORD), ("bad.yaml", "distro: [\n")]);
    std::fs::create_dir(dir.path().join("root")).expect("made");
    let system = ["--root", "root", "--target", "debian:13"];
    for call in [
        &["detect"][..],
        &["show", "all"],
        &["show", "debian:13", "--format", "json"],
        &["check"],
        &["check", "--format", "json"],
        &["verified"],
        &["installer"],
        &["packages"],
        &["fallback", "--profile", "go-3.29"],
        &["requirements", "--profile", "go-3.29", "--component", "qemu"],
        &["lint", "mini.yaml"],
        &["lint", "bad.yaml"],
        &["schema"],
        &["list"],
        &["list", "--format", "json"],
        &["--help"],
    ] {
        let about = ["check", "verified", "installer", "packages", "fallback"].contains(&call[0]);
        let more: &[&str] = if about { &system } else { &[] };
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        drop(reader);
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"));
        let output = command.current_dir(dir.path()).args(call).args(more).stdout(writer).output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.code().is_some_and(|code| code != 101), "{call:?}: {:?} {stderr}", output.status);
        assert!(!stderr.contains("ipe") && !stderr.contains("panicked"), "{call:?}: {stderr}");
        assert!(!stderr.contains("Usage: "), "{call:?} is no call: {stderr}");
    }
}
