//! The body tried natively: as root, where control groups of version 2 can be made below the root. The process in the group
//! is a shell, because a program of tests has no role of the agent's.

use super::*;
use crate::check::message;
use crate::group::ROOT;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether there is a root of version 2 that groups can be made in.
fn has_groups() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
        && rustix::fs::access(ROOT, rustix::fs::Access::WRITE_OK).is_ok()
}

/// A shell in the group of that name does it when it is told to: 0, or EPERM for whatever it is refused with.
fn shells_answer(name: &str, way: &str, device: &str) -> i32 {
    let node = format!("{}/node-{name}", std::env::temp_dir().display());
    let script = match way {
        "read" => format!("read go; : <{device}"),
        "write" => format!("read go; : >{device}"),
        _ => format!("read go; mknod {node} c 1 3 && rm {node}"),
    };
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::fs::write(Path::new(ROOT).join(name).join("cgroup.procs"), shell.id().to_string()).unwrap();
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    if shell.wait().unwrap().success() { 0 } else { libc::EPERM }
}

#[test]
#[cfg_attr(lacks = "nodes", ignore = "needs root that may make device nodes")]
fn rules_hold_here_and_those_that_allow_everything_are_found() {
    if !has_groups() {
        return;
    }
    let name = format!("kata-qualify-devices-{}", std::process::id());
    let held =
        |rules: &[Instruction]| rules_hold(&name, rules, &|_, way, device| Ok(shells_answer(&name, way, device)));
    assert_eq!(held(&program::RULES), Ok(()));
    assert_eq!(
        message(held(&program::NO_RULES)),
        "the rules of a group deny to write /dev/zero, and the kernel answers 0"
    );
    let said = message(held(&[]));
    assert!(said.starts_with("loading a program of rules on devices: "), "{said}");
}

#[test]
fn a_device_that_nobody_may_open_says_nothing_of_rules() {
    if !has_groups() {
        return;
    }
    let name = format!("kata-qualify-closed-{}", std::process::id());
    let stop = rules_hold(&name, &program::RULES, &|_, _, _| Ok(libc::ENOENT)).unwrap_err();
    assert_eq!(stop, Stop::error("without a rule, to read /dev/null fails with error 2"));
}
