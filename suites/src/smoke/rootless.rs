//! QEMU started as a user other than root.

use super::BOOTS;
use super::guest_files::read;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Setting};
use crate::row::{Row, row};
use crate::test::Place;
use crate::under;
use model::procfs;
use serde_json::json;

const SOURCE: &str = include_str!("rootless.rs");

pub(super) static ROWS: &[Row] = &[row!(Environment(qemu_works_without_root), &[Capability::VmmRootless], Qemu)
    .places(&[Place::OwnGuest])
    .blocked_by(BOOTS)
    .under(&under::ROOTLESS)
    .seconds(180)];

/// QEMU boots a guest and answers QMP as a user other than root, who has no capabilities.
///
/// With `rootless = true` Kata adds a user for each sandbox, in the group of /dev/kvm, and starts QEMU as that user (`configureNonRootHypervisor`
/// in src/runtime/pkg/containerd-shim-v2/create.go@4.1.0, `configure_non_root_hypervisor` in
/// src/runtime-rs/crates/runtimes/src/manager.rs@4.1.0). QEMU then opens the guest's kernel as that user, so a kernel
/// that only root can read fails the test and is to blame.
/// Kata's documentation leaves the group of /dev/kvm to the admin
/// (docs/how-to/how-to-run-rootless-vmm.md@4.1.0): where the group may not use it, the test is skipped.
fn qemu_works_without_root(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::Rootless)?;
    let machine = machine.as_mut();
    is_without_root(&env.read(&format!("/proc/{}/status", machine.vmm_pid()))?)?;
    let state = machine.qmp("query-status", json!({}))?;
    ensure!(state["status"] == "running", "QEMU runs as another user, and its state is {}", state["status"]);
    read(machine, "/proc/sys/kernel/osrelease").map(drop)
}

/// Checks that a process has neither root's numbers nor a capability. It was started so: anything else is a fault of
/// the harness's.
fn is_without_root(status: &str) -> Check {
    let field = |key: &str| {
        procfs::status(status, key).ok_or_else(|| Stop::error(format!("the status of QEMU's process has no {key}")))
    };
    // Its further group is that of /dev/kvm, which may be root's.
    for key in ["Uid", "Gid"] {
        let numbers = field(key)?;
        if numbers.split_whitespace().any(|number| number == "0") {
            return Err(Stop::error(format!("QEMU was started as another user, and its {key} is {numbers}")));
        }
    }
    for key in ["CapPrm", "CapEff", "CapAmb"] {
        let set = field(key)?;
        if set.bytes().any(|digit| digit != b'0') {
            return Err(Stop::error(format!("QEMU was started as another user, and its {key} is {set}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_right_of_roots_is_the_harnesss_fault() {
        let status = |uid: &str, effective: &str| {
            format!(
                "Uid:\t{uid}\nGid:\t7\t7\t7\t7\nGroups:\t0 \nCapInh:\t0000000000000000\n\
                 CapPrm:\t0000000000000000\nCapEff:\t{effective}\nCapAmb:\t0000000000000000\n"
            )
        };
        let (none, all) = ("0000000000000000", "00000000a80425fb");
        assert_eq!(is_without_root(&status("7\t7\t7\t7", none)), Ok(()));
        for kept in [status("7\t7\t0\t7", none), status("7\t7\t7\t7", all)] {
            assert!(matches!(is_without_root(&kept), Err(Stop::Error { .. })), "{kept}");
        }
        assert!(matches!(is_without_root(""), Err(Stop::Error { .. })));
    }
}
