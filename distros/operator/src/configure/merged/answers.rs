//! Recorded answers of Kata's own loaders, with which this program must agree.
//!
//! Recorded on 30 November 2026, in a root with these files. Go: `LoadConfiguration` in
//! `src/runtime/pkg/katautils/config.go@3.30.0`, with the types around it reduced to what it needs. Rust:
//! `TomlConfig::load_from_file`, then `validate`, in the order of `load_config` in
//! `src/runtime-rs/crates/runtimes/src/manager.rs@4.1.0`, from `src/libs/kata-types@4.1.0` with the plugins of QEMU,
//! Firecracker and remote VMMs.

use super::tests::machine;
use super::*;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};

/// The main file; words in capitals are placeholders that differ between the runtimes.
const MAIN: &str = "\
[hypervisor.qemu]
path = \"/q/a\"
kernel = \"/q/kernel\"
initrd = \"/q/initrd\"
image = \"\"
machine_type = \"q35\"
shared_fs = \"virtio-fs\"
virtio_fs_daemon = \"/q/v\"
valid_hypervisor_paths = [\"/q/a\", \"/q/b\"]
virtio_fs_extra_args = [\"--one\", \"--two\"]
default_memory = 2048

[agent.kata]
TIMEOUT

[runtime]
NAME
sandbox_cgroup_only = true
";

/// The answer of a loader.
#[derive(Clone, Copy)]
enum Answer {
    /// The loader refused the configuration.
    Refused,
    /// The loader accepted it: keys with the values, as JSON, that differ from the main file's.
    Took(&'static [(&'static str, &'static str)]),
}

use Answer::{Refused, Took};

const Q: &str = "hypervisor.qemu.path";
const SAME: Answer = Took(&[]);
const B: Answer = Took(&[(Q, "\"/q/b\"")]);
const C: Answer = Took(&[(Q, "\"/q/c\"")]);

/// Drop-ins, and the answers of the Go runtime's loader and of the Rust runtime's.
type Fact = (&'static [(&'static str, &'static str)], Answer, Answer);

/// Files that are read, their order, and the spellings of TOML.
const READ: &[Fact] = &[
    (&[], SAME, SAME),
    (
        &[("50-b.toml", "[hypervisor.qemu]\npath = \"/q/b\"\nvirtio_fs_extra_args = [\"--three\"]\n")],
        Took(&[(Q, "\"/q/b\""), ("hypervisor.qemu.virtio_fs_extra_args", "[\"--three\"]")]),
        Took(&[(Q, "\"/q/b\""), ("hypervisor.qemu.virtio_fs_extra_args", "[\"--three\"]")]),
    ),
    (
        &[("50-b.toml", "[hypervisor.qemu]\nvirtio_fs_extra_args = []\ninitrd = \"\"\nimage = \"/q/image\"\n")],
        Took(&[
            ("hypervisor.qemu.virtio_fs_extra_args", "[]"),
            ("hypervisor.qemu.initrd", "\"\""),
            ("hypervisor.qemu.image", "\"/q/image\""),
        ]),
        Took(&[
            ("hypervisor.qemu.virtio_fs_extra_args", "[]"),
            ("hypervisor.qemu.initrd", "\"\""),
            ("hypervisor.qemu.image", "\"/q/image\""),
        ]),
    ),
    (&[("9-c", PATH_C), ("50-b.toml", PATH_B)], C, C),
    (&[("a.toml", PATH_B), ("Z.toml", PATH_C)], B, B),
    (&[("50-kata-osinfo.toml", PATH_B), ("50-kata-osinfo-added.toml", PATH_C)], B, B),
    (&[("50-kata-osinfo.toml", PATH_B), ("50-kata-osinfo.toml.tmp", PATH_C)], C, C),
    (&[("50-b.toml", PATH_B), ("50-b.toml~", PATH_C)], C, C),
    (&[(".50-b.toml.swp", PATH_C)], C, C),
    (&[(".a", PATH_C), ("0", PATH_B)], B, B),
    (&[("a", "")], SAME, SAME),
    (&[("a", "# x\n")], SAME, SAME),
    (&[("a", "\u{feff}[hypervisor.qemu]\npath = \"/q/b\"\n")], B, B),
    (&[("a", "[hypervisor.qemu]\r\npath = \"/q/b\"\r\n")], B, B),
    (&[("a", "[hypervisor.qemu]\npath = \"/q/b\"")], B, B),
    (&[("a", "hypervisor.qemu.path = \"/q/b\"\n")], B, B),
    (&[("a", "hypervisor = { qemu = { path = \"/q/b\" } }\n")], B, B),
    (&[("a", "[hypervisor]\nqemu = { path = \"/q/b\" }\n")], B, B),
    (&[("a", "[hypervisor]\nqemu.path = \"/q/b\"\n")], B, B),
    (&[("a", "[\"hypervisor\".'qemu']\n\"path\" = '/q/b'\n")], B, B),
    // TOML 1.1.
    (&[("a", "[hypervisor]\nqemu = {\n  path = \"/q/b\",\n}\n")], B, B),
    (&[("a", "[hypervisor.qemu]\npath = \"/q/\\x62\"\n")], B, B),
    (&[("a", "[hypervisor.qemu]\n")], SAME, SAME),
    (&[("a", "[hypervisor]\n")], SAME, SAME),
    (&[("a", "x = [\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\npath = \"/q/b\"\npath = \"/q/c\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\npath = \"/q/b\"\n[hypervisor.qemu]\nimage = \"\"\n")], Refused, Refused),
    (&[("a", "# \0\n")], Refused, Refused),
];

const PATH_B: &str = "[hypervisor.qemu]\npath = \"/q/b\"\n";
const PATH_C: &str = "[hypervisor.qemu]\npath = \"/q/c\"\n";

/// Unknown keys, and values of a wrong kind.
const NAMED: &[Fact] = &[
    (&[("a", "[hypervisor.qemu]\npath = \"/q/b\"\nno_such = 1\n")], Refused, B),
    (&[("a", "[hypervisor.qemu.no_such]\nx = 1\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu.factory]\nenable_template = true\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu]\nvm_rootfs_driver = \"virtio-blk-pci\"\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu]\nPath = \"/q/b\"\n")], Refused, SAME),
    (&[("a", "[agent.kata]\nno_such = 1\n")], Refused, Refused),
    (&[("a", "[agent.kata]\ndial_timeout = 300\n")], Took(&[("agent.kata.dial_timeout", "300")]), Refused),
    (&[("a", "[agent.kata]\nreconnect_timeout_ms = 4000\n")], Refused, SAME),
    (&[("a", "[agent.kata.mem_agent]\nmem_agent_enable = true\n")], Refused, SAME),
    (&[("a", "[runtime]\nno_such = 1\n")], SAME, SAME),
    (&[("a", "[no_such]\nx = 1\n")], SAME, SAME),
    (&[("a", "[Hypervisor.qemu]\npath = \"/q/b\"\n")], SAME, SAME),
    (&[("a", "[hypervisor.qemu]\npath = 1\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\npath = true\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\npath = 1\n"), ("b", PATH_B)], Refused, Took(&[])),
    (&[("a", "[hypervisor.qemu]\nvirtio_fs_extra_args = \"--three\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\ndefault_memory = \"2048\"\n")], Refused, Refused),
    (&[("a", "[runtime]\nsandbox_cgroup_only = \"true\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu.path]\nx = 1\n")], Refused, Refused),
    (&[("a", "hypervisor.qemu = 1\n")], Refused, Refused),
    (&[("a", "runtime = 1\n")], Refused, Refused),
    (&[("a", "hypervisor = 1\n")], SAME, Refused),
    (&[("a", "agent = []\n")], SAME, Refused),
];

/// Files that the configuration names.
const FILES: &[Fact] = &[
    (&[("a", "[hypervisor.qemu]\npath = \"/q/link\"\n")], Took(&[]), Took(&[])),
    (&[("a", "[hypervisor.qemu]\npath = \"/q/nothing\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\nkernel = \"/q/nothing\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"/q/nothing\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"\"\nimage = \"/q/nothing\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\nfirmware = \"/q/nothing\"\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\nfirmware_volume = \"/q/nothing\"\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu]\npflashes = [\"/q/a\", \"/q/nothing\"]\n")], Refused, Refused),
    (&[("a", "[hypervisor.qemu]\nvirtio_fs_daemon = \"/q/nothing\"\nshared_fs = \"none\"\n")], SAME, SAME),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"/q/empty\"\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"\"\nimage = \"/q/empty\"\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"/q/large\"\ndefault_memory = 256\n")], Refused, SAME),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"/q/large\"\ndefault_memory = 512\n")], SAME, SAME),
    (&[("a", "[hypervisor.qemu]\ninitrd = \"/q/large\"\ndefault_memory = 0\n")], SAME, SAME),
    (&[("a", "[hypervisor.qemu]\ninitrd=\"\"\nimage = \"/q/large\"\ndefault_memory = 256\n")], SAME, SAME),
];

/// Returns this program's reading of a configuration.
fn read(root: &Root, located: &LocatedConfiguration, runtime: Runtime) -> (MergedConfiguration, Vec<Problem>) {
    let kata = if runtime == Runtime::Go { KataVersion::new(3, 30, 0) } else { KataVersion::new(4, 1, 0) };
    let merged = MergedConfiguration::read(root, located, runtime, kata).unwrap();
    let missing = merged.missing_files(root, runtime).unwrap();
    let problems = merged.problems().iter().cloned().chain(missing).collect();
    (merged, problems)
}

/// Creates the root that the loaders had.
fn with_files(drop_ins: &[(&str, &str)], runtime: Runtime) -> (tempfile::TempDir, Root, LocatedConfiguration) {
    let (timeout, name) = match runtime {
        Runtime::Go => ("dial_timeout = 45", "create_container_timeout = 60"),
        Runtime::Rs => (
            "reconnect_timeout_ms = 3000",
            "name = \"virt_container\"\nhypervisor_name = \"qemu\"\nagent_name = \"kata\"",
        ),
    };
    let (dir, root, located) = machine(&MAIN.replace("TIMEOUT", timeout).replace("NAME", name), drop_ins);
    let folder = dir.path().join("q");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a", "b", "c", "v", "kernel", "initrd", "image", "empty"] {
        std::fs::write(folder.join(name), if name == "empty" { "" } else { "x" }).unwrap();
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::File::create(folder.join("large")).unwrap().set_len(300 << 20).unwrap();
    symlink("a", folder.join("link")).unwrap();
    std::fs::write(folder.join("drop-in"), PATH_B).unwrap();
    (dir, root, located)
}

fn assert_fact((drop_ins, go, rs): &Fact) {
    for (runtime, answer) in [(Runtime::Go, go), (Runtime::Rs, rs)] {
        let (_dir, root, located) = with_files(drop_ins, runtime);
        let (merged, problems) = read(&root, &located, runtime);
        match answer {
            Refused => assert!(!problems.is_empty(), "{runtime:?} {drop_ins:?}"),
            Took(values) => {
                assert_eq!(problems, [], "{runtime:?} {drop_ins:?}");
                for (key, value) in *values {
                    let path: Vec<&str> = key.split('.').collect();
                    let expected: Value = serde_json::from_str(value).unwrap();
                    assert_eq!(merged.get(&path), Some(&expected), "{runtime:?} {drop_ins:?}");
                }
                // If no drop-in sets a path, the main file's counts.
                if !drop_ins.iter().any(|(_, text)| text.contains("path")) {
                    assert_eq!(merged.get(&["hypervisor", "qemu", "path"]), Some(&json!("/q/a")), "{drop_ins:?}");
                }
            }
        }
    }
}

#[test]
fn drop_ins_are_read_as_kata_reads_them() {
    READ.iter().for_each(assert_fact);
}

#[test]
fn names_and_kinds_are_refused_where_kata_refuses_them() {
    NAMED.iter().for_each(assert_fact);
}

#[test]
fn missing_files_are_reported_where_kata_refuses_them() {
    FILES.iter().for_each(assert_fact);
}

/// Go's loader accepted a main file with unknown keys; the Rust one refused an unknown key below `agent`.
#[test]
fn unknown_keys_in_the_main_file_are_refused_only_by_the_rust_runtime() {
    for (runtime, is_reported) in [(Runtime::Go, false), (Runtime::Rs, true)] {
        let (dir, root, located) = with_files(&[], runtime);
        let main = dir.path().join("k/configuration.toml");
        let text = std::fs::read_to_string(&main).unwrap();
        std::fs::write(&main, text.replace("[agent.kata]\n", "no_such = 1\n[agent.kata]\nno_such = 1\n")).unwrap();
        let (_, problems) = read(&root, &located, runtime);
        assert_eq!(!problems.is_empty(), is_reported, "{problems:?}");
    }
}

/// Given a main file with `path = 1` and a drop-in with a correct path, Go's loader refused the main file.
#[test]
fn a_wrong_type_in_the_main_file_is_refused_only_by_the_go_runtime() {
    for (runtime, is_reported) in [(Runtime::Go, true), (Runtime::Rs, false)] {
        let (dir, root, located) = with_files(&[(DROP_IN, PATH_B)], runtime);
        let main = dir.path().join("k/configuration.toml");
        let text = std::fs::read_to_string(&main).unwrap();
        std::fs::write(&main, text.replace("path = \"/q/a\"", "path = 1")).unwrap();
        let (_, problems) = read(&root, &located, runtime);
        assert_eq!(!problems.is_empty(), is_reported, "{problems:?}");
    }
}

#[test]
fn links_and_folders_are_read_as_kata_reads_them() {
    type Make = fn(&Path);
    let in_folder: [(&str, Make, Answer, Answer); 6] = [
        ("a folder among them", |k| std::fs::create_dir(k.join("config.d/c")).unwrap(), Refused, Refused),
        ("a link", |k| symlink("../../q/drop-in", k.join("config.d/d.toml")).unwrap(), B, Refused),
        ("a link to nothing", |k| symlink("nothing", k.join("config.d/d.toml")).unwrap(), Refused, Refused),
        (
            "config.d is a link",
            |k| {
                std::fs::rename(k.join("config.d"), k.join("d")).unwrap();
                std::fs::write(k.join("d/x"), PATH_C).unwrap();
                symlink("d", k.join("config.d")).unwrap();
            },
            C,
            C,
        ),
        (
            "config.d is a link to nothing",
            |k| {
                std::fs::remove_dir(k.join("config.d")).unwrap();
                symlink("nothing", k.join("config.d")).unwrap();
            },
            SAME,
            SAME,
        ),
        ("no config.d", |k| std::fs::remove_dir(k.join("config.d")).unwrap(), SAME, SAME),
    ];
    for (name, make, go, rs) in in_folder {
        for (runtime, answer) in [(Runtime::Go, go), (Runtime::Rs, rs)] {
            let (dir, root, located) = with_files(&[], runtime);
            make(&dir.path().join("k"));
            let (merged, problems) = read(&root, &located, runtime);
            let expected = match answer {
                Refused => {
                    assert!(!problems.is_empty(), "{name} {runtime:?}");
                    continue;
                }
                Took(values) => values.first().map_or("\"/q/a\"", |(_, value)| *value),
            };
            assert_eq!(problems, [], "{name} {runtime:?}");
            let path = merged.get(&["hypervisor", "qemu", "path"]).map(Value::to_string);
            assert_eq!(path.as_deref(), Some(expected), "{name} {runtime:?}");
        }
    }
}

/// Go's loader chose the remote VMM in 28 of 30 calls, and QEMU in two.
#[test]
fn a_second_vmm_is_reported_for_the_go_runtime_only() {
    let text = "[hypervisor.remote]\ndisable_guest_selinux = true\n";
    for (runtime, is_reported) in [(Runtime::Go, true), (Runtime::Rs, false)] {
        let (_dir, root, located) = with_files(&[("a", text)], runtime);
        let (merged, problems) = read(&root, &located, runtime);
        assert_eq!(problems, []);
        let other_vmm = merged.other_vmm(runtime).map(|p| (p.file, p.line));
        assert_eq!(other_vmm, is_reported.then(|| (PathBuf::from("/k/config.d/a"), Some(2))));
    }
}
