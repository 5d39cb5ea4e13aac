//! Memory that is plugged into a running guest, as a DIMM or by virtio-mem.

use super::{device_add, is_go};
use crate::check::{Check, Stop};
use crate::environment::Machine;
use crate::outcome::FailureDetail;
use model::profile::Profile;
use serde_json::json;

/// A DIMM's slot that no machine has: QEMU's machines have 256 slots at most, counted from 0.
const NO_SLOT: u32 = 256;
const VIRTIO_MEM: &str = "virtiomem0";

/// Plugs a DIMM of a shared file, as both runtimes do if virtio-fs is the shared filesystem.
pub(in crate::smoke::hotplug) fn plug_memory(machine: &mut dyn Machine, bytes: u64) -> Check {
    let (backend, dimm) = ids(machine.profile());
    add_back_end(machine, backend, bytes)?;
    device_add(machine, json!({ "driver": "pc-dimm", "id": dimm, "memdev": backend })).map(drop)
}

/// Requests a DIMM in a slot that does not exist, and then removes the DIMM's memory, as the Go runtime does if QEMU
/// refuses a DIMM (`ExecMemdevAdd` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0); returns QEMU's refusal.
pub(in crate::smoke::hotplug) fn refused_memory(machine: &mut dyn Machine, bytes: u64) -> Result<String, Stop> {
    let (backend, dimm) = ids(machine.profile());
    add_back_end(machine, backend, bytes)?;
    let arguments = json!({ "driver": "pc-dimm", "id": dimm, "memdev": backend, "slot": NO_SLOT });
    let refusal = match machine.qmp("device_add", arguments) {
        Err(Stop::Fail { message, detail, .. }) if matches!(*detail, FailureDetail::QmpRefusal { .. }) => message,
        Err(other) => return Err(other),
        // Kata never asks for this, so that nothing follows for it.
        Ok(_) => return Err(Stop::error(format!("QEMU took a DIMM for slot {NO_SLOT}, and was to refuse it"))),
    };
    machine.qmp("object-del", json!({ "id": backend }))?;
    Ok(refusal)
}

/// Plugs a virtio-mem device with a maximum of this many bytes, empty at first, into the first slot of Kata's PCI
/// bridge (`setupVirtioMem` in src/runtime/virtcontainers/qemu.go@4.1.0).
pub(in crate::smoke::hotplug) fn plug_virtio_mem(machine: &mut dyn Machine, bytes: u64) -> Check {
    add_back_end(machine, "virtiomem", bytes)?;
    let device = json!({
        "driver": "virtio-mem-pci", "id": VIRTIO_MEM, "memdev": "virtiomem", "bus": "pci-bridge-0", "addr": "01",
    });
    device_add(machine, device).map(drop)
}

/// Asks the guest to use this many bytes of its virtio-mem device (`resizeVirtioMem` in the same file).
pub(in crate::smoke::hotplug) fn resize_virtio_mem(machine: &mut dyn Machine, bytes: u64) -> Check {
    machine.qmp("qom-set", json!({ "path": VIRTIO_MEM, "property": "requested-size", "value": bytes })).map(drop)
}

/// Returns the ids of the first DIMM's memory and of the DIMM.
fn ids(profile: &Profile) -> (&'static str, &'static str) {
    match is_go(profile) {
        true => ("mem0", "dimmmem0"),
        false => ("hotplugged-0", "frontend-to-hotplugged-0"),
    }
}

fn add_back_end(machine: &mut dyn Machine, id: &str, bytes: u64) -> Check {
    let memory = json!({
        "qom-type": "memory-backend-file", "id": id, "size": bytes, "mem-path": "/dev/shm", "share": true,
    });
    machine.qmp("object-add", memory).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Component;
    use crate::smoke::fake_machine::FakeMachine;
    use serde_json::Value;

    fn refusal() -> Stop {
        let [command, class, description] =
            ["device_add", "GenericError", "invalid slot number 256"].map(str::to_owned);
        Stop::blame(Component::Qemu, "invalid slot number 256").showing(FailureDetail::QmpRefusal {
            command,
            class,
            description,
        })
    }

    /// Returns the result, and the commands that were sent, with a QEMU that answers `device_add` like this.
    fn tried(answer: Result<Value, Stop>) -> (Result<String, Stop>, Vec<String>) {
        let mut machine = FakeMachine::of("go-3.32");
        machine.qmp = Box::new(move |command, _| if command == "device_add" { answer.clone() } else { Ok(json!({})) });
        let result = refused_memory(&mut machine, 256 << 20);
        (result, machine.sent.into_iter().map(|(command, _)| command).collect())
    }

    #[test]
    fn memory_is_removed_only_after_a_refusal() {
        let (result, sent) = tried(Err(refusal()));
        assert_eq!(result, Ok("invalid slot number 256".to_owned()));
        assert_eq!(sent, ["object-add", "device_add", "object-del"]);
        let (result, sent) = tried(Ok(json!({})));
        assert!(matches!(result, Err(Stop::Error { .. })), "{result:?}");
        assert_eq!(sent, ["object-add", "device_add"]);
        // A QEMU that is gone has refused nothing.
        let gone = Stop::blame(Component::Qemu, "QEMU was killed by signal 11");
        assert_eq!(tried(Err(gone.clone())).0, Err(gone));
    }
}
