//! The body tried natively, on a machine where version 2 control groups can be created below the root. The process in
//! the group is a shell, because the test binary cannot act as the agent's child process. The judgement of the kernel's
//! answers is tried everywhere.

use super::*;
use crate::check::message;
use crate::group::ROOT;
use std::cell::Cell;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a shell that performs the access once it is in the group: 0, or EPERM for any failure.
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
#[cfg_attr(
    lacks = "device-rules",
    ignore = "elsewhere: where root may make device nodes, and control groups of version 2"
)]
fn rules_hold_natively_and_absent_rules_are_found() {
    let name = format!("kata-qualify-devices-{}", std::process::id());
    let held = |rules: &[Instruction]| {
        rules_hold_in_a_group(&name, rules, &|_, way, device| Ok(shells_answer(&name, way, device)))
    };
    assert_eq!(held(&program::RULES), Ok(()));
    assert_eq!(
        message(held(&program::NO_RULES)),
        "the rules of a group deny to write /dev/zero, and the kernel answers 0"
    );
    let error = message(held(&[]));
    assert!(error.starts_with("loading a program of rules on devices: "), "{error}");
}

/// Returns the verdict on rules under which the kernel answers in this way.
fn judged(by: &dyn Fn(&str, &str) -> i32) -> Check {
    let attached = Cell::new(false);
    let answer = |way: &str, device: &str| Ok::<i32, Stop>(if attached.get() { by(way, device) } else { 0 });
    rules_hold(&answer, &|| {
        attached.set(true);
        Ok(())
    })
}

#[test]
fn the_kernels_answers_are_judged_by_the_rules() {
    let refused = |way: &str, device: &str| match (way, device) {
        ("write", "/dev/zero") | ("read", "/dev/full") => libc::EPERM,
        _ => 0,
    };
    assert_eq!(judged(&refused), Ok(()));
    let error = |by: &dyn Fn(&str, &str) -> i32| message(judged(by));
    assert_eq!(error(&|_, _| 0), "the rules of a group deny to write /dev/zero, and the kernel answers 0");
    assert_eq!(error(&|_, _| libc::EPERM), "the rules of a group allow to read /dev/null, and the kernel answers 1");
    let other = |way: &str, device: &str| if refused(way, device) == 0 { 0 } else { libc::EACCES };
    assert_eq!(error(&other), "the rules of a group deny to write /dev/zero, and the kernel answers 13");
}

#[test]
fn a_device_that_cannot_be_opened_without_rules_is_an_error() {
    let stop = rules_hold(&|_, _| Ok(libc::ENOENT), &|| panic!("rules were attached")).unwrap_err();
    assert_eq!(stop, Stop::error("without a rule, to read /dev/null fails with error 2"));
}
