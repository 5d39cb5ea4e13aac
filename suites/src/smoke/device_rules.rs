//! Device rules of cgroup v2: the devices that the processes of a control group may open and create.
//!
//! Version 2 has no file for such rules: an eBPF program is attached to the group, and the kernel runs it for each
//! access.

mod program;
#[cfg(test)]
mod tests;

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::group::Group;
use crate::row::{Row, row};
use program::{Instruction, Program};

const SOURCE: &str = include_str!("device_rules.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Inside(guest_rules_on_devices_hold), &[Capability::KernelGuestDevices], Kernel).blocked_by(BOOTS)];

/// Accesses to devices, and whether the rules of [`program::RULES`] allow them.
const WAYS: [(&str, &str, bool); 6] = [
    ("read", "/dev/null", true),
    ("write", "/dev/null", true),
    ("make", "/dev/null", true),
    ("read", "/dev/zero", true),
    ("write", "/dev/zero", false),
    ("read", "/dev/full", false),
];

/// In a control group with device rules, processes can use a device in the allowed ways, and every other access is
/// refused with EPERM.
///
/// Kata's own kernel has the options for this for cgroup version 2 (CGROUP_BPF, BPF_SYSCALL in
/// tools/packaging/kernel/configs/fragments/common/cgroup.conf@4.1.0), the only version in its guests
/// (`systemd.unified_cgroup_hierarchy=1`): an init system in the guest's image, and containers in containers, set
/// rules. Kata's agent sets them in version 1 only, so ordinary pods do not need them.
fn guest_rules_on_devices_hold() -> Check {
    rules_hold_in_a_group("kata-qualify-devices", &program::RULES, &answer)
}

/// Checks that rules hold in a group; `answer` returns the kernel's answer to a process of the group: 0, or the errno.
fn rules_hold_in_a_group(
    name: &str,
    rules: &[Instruction],
    answer: &dyn Fn(&Group, &str, &str) -> Result<i32, Stop>,
) -> Check {
    let group = Group::named(name, &[])?;
    rules_hold(&|way, device| answer(&group, way, device), &|| attach(&group, rules))
}

/// Checks the accesses of [`WAYS`] before and after `attach`; `answer` returns the kernel's answer to a restricted
/// process.
fn rules_hold(answer: &dyn Fn(&str, &str) -> Result<i32, Stop>, attach: &dyn Fn() -> Check) -> Check {
    for (way, device, _) in WAYS {
        // A device that is refused without a rule shows nothing about rules.
        match answer(way, device)? {
            0 => {}
            code => return Err(Stop::error(format!("without a rule, to {way} {device} fails with error {code}"))),
        }
    }
    attach()?;
    for (way, device, allowed) in WAYS {
        let (expected, code) = (if allowed { 0 } else { libc::EPERM }, answer(way, device)?);
        let rule = if allowed { "allow" } else { "deny" };
        ensure!(code == expected, "the rules of a group {rule} to {way} {device}, and the kernel answers {code}");
    }
    Ok(())
}

/// Attaches a program that the kernel asks about each device that a process of the group opens or creates; it stays as
/// long as the group.
fn attach(group: &Group, rules: &[Instruction]) -> Check {
    let program = Program::load(rules).doing("loading a program of rules on devices")?;
    program.attach(&group.open()?).doing("attaching rules on devices to a control group")
}

/// Runs a child process in the group that tries the access, and returns the kernel's answer.
fn answer(group: &Group, way: &str, device: &str) -> Result<i32, Stop> {
    let (status, output) = group.run(&["device", way, device])?;
    let code = output.parse().ok().filter(|_| status.success());
    code.ok_or_else(|| Stop::error(format!("a process that was to {way} {device}: {status}: {output}")))
}
