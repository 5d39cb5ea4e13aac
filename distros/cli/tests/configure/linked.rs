//! A file that became a link after `configure`, or the reverse: contents count, not the kinds of paths.

use crate::machine::{BASE, Machine};
use serde_json::json;
use std::fs::{copy, remove_file, rename};
use std::os::unix::fs::symlink;

const MAIN: &str = "m/etc/containerd/config.toml";
const REAL: &str = "m/etc/real.toml";

/// A version of containerd, and its main file, which is edited, gets an import of a drop-in, or already has one.
const LAYOUTS: [(&str, &str); 3] = [
    ("1.7", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"registry.example/two:1\"\n"),
    ("2.1", "version = 3\n"),
    ("2.1", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"),
];

fn with_main(text: &str) -> Machine {
    let machine = Machine::new();
    machine.file(MAIN, text);
    machine
}

fn to_link(machine: &Machine) {
    rename(machine.path(MAIN), machine.path(REAL)).expect("moved");
    symlink("../real.toml", machine.path(MAIN)).expect("a link");
}

fn to_file(machine: &Machine) {
    remove_file(machine.path(MAIN)).expect("removed");
    rename(machine.path(REAL), machine.path(MAIN)).expect("moved");
}

fn to_copy(machine: &Machine) {
    remove_file(machine.path(MAIN)).expect("removed");
    copy(machine.path(REAL), machine.path(MAIN)).expect("copied");
}

fn configure(machine: &Machine, call: &[&str]) -> crate::machine::Output {
    let output = machine.run(&[&["configure", "--format", "json"], call].concat());
    assert_eq!(output.code, 0, "{call:?}: {}", output.stderr);
    output
}

/// Configures a machine prepared by `before`, changes it by `since`, and takes everything back, also after another
/// `configure`: the result is the same as without kata-osinfo.
fn assert_fully_reverted(call: &[&str], main: &str, before: fn(&Machine), since: fn(&Machine)) {
    let clean = with_main(main);
    before(&clean);
    since(&clean);
    let machine = with_main(main);
    before(&machine);
    configure(&machine, call);
    since(&machine);
    assert_eq!(machine.check_findings(), Vec::<String>::new(), "{call:?}");
    let again = machine.copy();
    configure(&again, call);
    let once = again.everything();
    assert_eq!(configure(&again, call).json()["diff"], json!(""), "{call:?}");
    assert_eq!(again.everything(), once, "{call:?}");
    assert_eq!(again.check_findings(), Vec::<String>::new(), "{call:?}");
    for machine in [machine, again] {
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{call:?}: {}", output.stderr);
        assert_eq!(machine.everything(), clean.everything(), "{call:?}");
    }
}

#[test]
fn the_containerd_config_may_become_a_link_or_a_file() {
    for (version, main) in LAYOUTS {
        let call = ["--profile", "go-3.29", "--handler", "containerd", "--containerd-version", version];
        assert_fully_reverted(&call, main, |_| {}, to_link);
        assert_fully_reverted(&call, main, to_link, to_file);
        assert_fully_reverted(&call, main, to_link, to_copy);
    }
}

/// containerd's whole directory, with kata-osinfo's drop-in in it.
#[test]
fn the_containerd_folder_may_become_a_link() {
    for (version, main) in LAYOUTS {
        let call = ["--profile", "go-3.29", "--handler", "containerd", "--containerd-version", version];
        assert_fully_reverted(
            &call,
            main,
            |_| {},
            |machine| {
                rename(machine.path("m/etc/containerd"), machine.path("m/srv")).expect("moved");
                symlink("/srv", machine.path("m/etc/containerd")).expect("a link");
            },
        );
    }
}

/// An edited file needs no change; a drop-in has to be written again, because Kata looks for drop-ins next to the real
/// file.
#[test]
fn the_kata_config_may_become_a_link() {
    let to_link = |machine: &Machine| {
        let main = machine.path(&format!("m/{BASE}/configuration-qemu.toml"));
        rename(&main, machine.path("m/opt/kata/qemu.toml")).expect("moved");
        symlink("/opt/kata/qemu.toml", main).expect("a link");
    };
    assert_fully_reverted(&["--profile", "go-2.4", "--kata-version", "2.4.0"], "version = 2\n", |_| {}, to_link);
    let clean = Machine::new();
    to_link(&clean);
    let machine = Machine::new();
    let call = ["--profile", "go-3.29"];
    configure(&machine, &call);
    to_link(&machine);
    assert_ne!(machine.check_findings(), Vec::<String>::new());
    configure(&machine, &call);
    assert_eq!(configure(&machine, &call).json()["diff"], json!(""));
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    assert!(!machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists());
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_eq!(machine.everything(), clean.everything());
}
