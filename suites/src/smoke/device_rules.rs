//! Which devices the processes of a control group may open and make, by the rules of cgroup v2.
//!
//! Version 2 has no file for such rules: a program in eBPF is attached to the group, and the kernel asks it each time.

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

/// What is done with a device, and whether the rules of [`program::RULES`] let it be done.
const WAYS: [(&str, &str, bool); 6] = [
    ("read", "/dev/null", true),
    ("write", "/dev/null", true),
    ("make", "/dev/null", true),
    ("read", "/dev/zero", true),
    ("write", "/dev/zero", false),
    ("read", "/dev/full", false),
];

/// In a control group with rules on devices its processes open what is allowed, in the way that is allowed, and are refused
/// everything else with EPERM.
///
/// The kernel options behind it are in Kata's own kernel for cgroup version 2 (CGROUP_BPF, BPF_SYSCALL in
/// tools/packaging/kernel/configs/fragments/common/cgroup.conf@4.1.0), which its guests have alone
/// (`systemd.unified_cgroup_hierarchy=1`): an init system in the guest's image, and containers in containers, set rules.
/// Kata's agent sets them in version 1 only, so that no ordinary pod needs them.
fn guest_rules_on_devices_hold() -> Check {
    rules_hold_in_a_group("kata-qualify-devices", &program::RULES, &answer)
}

/// `answer` is what the kernel answers to a process of a group: 0, or the number of its error.
fn rules_hold_in_a_group(
    name: &str,
    rules: &[Instruction],
    answer: &dyn Fn(&Group, &str, &str) -> Result<i32, Stop>,
) -> Check {
    let group = Group::named(name, &[])?;
    rules_hold(&|way, device| answer(&group, way, device), &|| attach(&group, rules))
}

/// `answer` is what the kernel answers to a process that the rules are for, once `attach` has made them hold.
fn rules_hold(answer: &dyn Fn(&str, &str) -> Result<i32, Stop>, attach: &dyn Fn() -> Check) -> Check {
    for (way, device, _) in WAYS {
        // A device that nobody may open says nothing of rules.
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

/// Has the kernel ask rules about each device that a process of a group opens or makes, as long as there is the group.
fn attach(group: &Group, rules: &[Instruction]) -> Check {
    let program = Program::load(rules).doing("loading a program of rules on devices")?;
    program.attach(&group.open()?).doing("attaching rules on devices to a control group")
}

/// Has a process of its own ask, in the group.
fn answer(group: &Group, way: &str, device: &str) -> Result<i32, Stop> {
    let (status, said) = group.run(&["device", way, device])?;
    let code = said.parse().ok().filter(|_| status.success());
    code.ok_or_else(|| Stop::error(format!("a process that was to {way} {device}: {status}: {said}")))
}
