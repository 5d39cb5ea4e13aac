//! `requirements --check`, from outside: accepted files, answers and exit codes.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use flate2::Compression;
use flate2::write::GzEncoder;
use model::arch::Arch;
use model::kernel::Fragments;
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns a kernel configuration with everything that Kata sets, except for some options.
fn config(but: &[(&str, &str)]) -> String {
    let mut text = "#\n# Linux/x86 6.12.48 Kernel Configuration\n#\nCONFIG_X86_64=y\n".to_owned();
    for option in Fragments::kata().options(Arch::X86_64) {
        let default_value = option.kata_value.value();
        match but.iter().find(|(name, _)| *name == option.name).map_or(default_value, |(_, value)| *value) {
            "n" => text += &format!("# CONFIG_{} is not set\n", option.name),
            value => text += &format!("CONFIG_{}={value}\n", option.name),
        }
    }
    text
}

const SOUND: &[(&str, &str)] = &[("VIRTIO_PCI", "m"), ("VIRTIO_FS", "m"), ("XFS_FS", "n")];
const BROKEN: &[(&str, &str)] = &[("SECCOMP", "n"), ("EPOLL", "m")];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"));
    command.args(["requirements", "--profile", "rs-4.1", "--component", "kernel"]).args(arguments);
    command
}

fn check(file: &Path, more: &[&str]) -> Output {
    command(&["--check"]).arg(file).args(more).output().expect("it runs")
}

/// Returns standard output, standard error and exit code, in that order, without the directory's name.
fn transcript(output: &Output, dir: &Path) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&dir.display().to_string(), "DIR");
    format!("{}{}exit {}\n", text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
}

fn folder_with(name: &str, content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join(name);
    std::fs::write(&file, content).expect("written");
    (dir, file)
}

fn packed(text: &str) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text.as_bytes()).expect("packed");
    gz.finish().expect("packed")
}

#[test]
fn a_suitable_kernel_exits_with_0_and_an_unsuitable_one_with_1() {
    let (dir, file) = folder_with("config", config(SOUND).as_bytes());
    insta::assert_snapshot!("sound", transcript(&check(&file, &[]), dir.path()));
    let (dir, file) = folder_with("config", config(BROKEN).as_bytes());
    insta::assert_snapshot!("broken", transcript(&check(&file, &[]), dir.path()));
}

#[test]
fn the_json_answer_reports_the_same_missing_options() {
    let (_dir, file) = folder_with("config", config(BROKEN).as_bytes());
    let output = check(&file, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let mut schema = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"));
    let schema = schema.args(["schema", "requirements-answer"]).output().expect("it runs").stdout;
    let schema: Value = serde_json::from_slice(&schema).expect("a schema");
    assert!(jsonschema::validator_for(&schema).expect("it is one").is_valid(&answer), "{answer}");
    let options = &answer["kernel-options"];
    for (key, value) in [("linux", "6.12"), ("arch", "x86_64"), ("tag", "4.1.0")] {
        assert_eq!(options[key], value);
    }
    let uses = options["uses"].as_array().expect("a list");
    let of = |name: &str| uses.iter().find(|one| one["name"] == name).expect("it is there");
    assert_eq!(of("seccomp")["missing"], true);
    assert_eq!(of("namespaces")["missing"], false);
    let epoll = of("agent")["options"].as_array().expect("a list").iter().find(|one| one["name"] == "CONFIG_EPOLL");
    assert_eq!(epoll.expect("it is there")["state"], "only-module");
    assert_eq!(answer["problems"].as_array().map(Vec::len), Some(2));
}

#[test]
fn compressed_files_and_standard_input_are_accepted() {
    let (dir, file) = folder_with("config.gz", &packed(&config(SOUND)));
    let (plain_dir, plain) = folder_with("config.gz", config(SOUND).as_bytes());
    let expected = transcript(&check(&plain, &[]), plain_dir.path());
    assert_eq!(transcript(&check(&file, &[]), dir.path()), expected);
    for bytes in [config(SOUND).into_bytes(), packed(&config(SOUND))] {
        let mut child =
            command(&["--check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        child.stdin.take().expect("a pipe").write_all(&bytes).expect("written");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(transcript(&output, dir.path()), expected.replace("DIR/config.gz", "standard input"));
    }
}

#[test]
fn unusable_kernel_configurations_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut all = String::new();
    for (name, content) in [
        ("a word", b"CONFIG_SMP=y\n# fine\nhello\n".to_vec()),
        ("a value", b"CONFIG_SMP=yes\n".to_vec()),
        ("a control character", b"CONFIG_SMP=\x1b[31m\n".to_vec()),
        ("nothing", Vec::new()),
        ("bytes", b"CONFIG_SMP=y\nCONFIG_A=\"\xff\"\n".to_vec()),
        ("too large", vec![b'#'; (4 << 20) + 1]),
        ("too large when unpacked", packed(&"#\n".repeat(3 << 20))),
        ("half packed", packed(&config(SOUND))[..200].to_vec()),
        ("without an architecture", b"CONFIG_SMP=y\n".to_vec()),
    ] {
        let file = dir.path().join("file");
        std::fs::write(&file, content).expect("written");
        all += &format!("{name}: {}", transcript(&check(&file, &[]), dir.path()));
    }
    let arm = dir.path().join("arm");
    std::fs::write(&arm, "CONFIG_ARM64=y\n").expect("written");
    all += &transcript(&check(&arm, &["--arch", "x86_64"]), dir.path());
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
    for file in [pipe.as_path(), dir.path(), Path::new("/dev/zero"), &dir.path().join("none")] {
        all += &transcript(&check(file, &[]), dir.path());
    }
    let qemu = ["requirements", "--profile", "rs-4.1", "--component", "qemu", "--check", "x"];
    let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo")).args(qemu).output().expect("it runs");
    all += &transcript(&output, dir.path());
    insta::assert_snapshot!(all);
}

#[test]
fn the_list_is_for_the_requested_architecture() {
    let of =
        |arch: &str| String::from_utf8(command(&["--arch", arch]).output().expect("it runs").stdout).expect("UTF-8");
    let (x86, s390x) = (of("x86_64"), of("s390x"));
    assert!(x86.contains("NR_CPUS=240") && x86.contains("ACPI_HOTPLUG_MEMORY") && !x86.contains("S390_GUEST"));
    assert!(s390x.contains("S390_GUEST") && !s390x.contains("ACPI_HOTPLUG_MEMORY"));
    insta::assert_snapshot!(x86);
}
