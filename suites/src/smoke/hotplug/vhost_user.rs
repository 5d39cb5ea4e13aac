//! Disks that another process serves over vhost-user.

use super::forms::{self, Bridge};
use super::scratch_disk::ScratchDisk;
use super::unplug::{By, delete};
use super::waits::Wait;
use super::{VIRTIO_BLK, on_the_bridge, on_the_bridge_still};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::environment::{DiskServer, EnvironmentSide, Machine, Setting};
use crate::outcome::{Component, FailureDetail};
use crate::row::{Row, row};
use crate::smoke::guest_files::load;
use crate::test::Place;
use crate::under;
use model::profile::ModuleUse;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("vhost_user.rs");

pub(in crate::smoke) static ROWS: &[Row] =
    &[row!(Environment(vhost_user_disk_is_hotplugged), &[Capability::VmmHotplugVhostUser], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::VHOST_USER_DISKS)
        .seconds(240)];

/// How long the disk's process may take to end after QEMU has lost it.
const ENDS: Duration = Duration::from_secs(1);
/// How long a socket may still be busy after its disk is gone, which QEMU frees in the background.
const FREED: Duration = Duration::from_secs(2);

/// A disk that another process serves over vhost-user can be plugged into Kata's PCI bridge, is found at the address
/// that Kata predicts, holds the data written and flushed to it, and can be unplugged.
///
/// With `enable_vhost_user_store` a pod's volumes are disks of a process such as SPDK
/// (`hotplugAddVhostUserBlkDevice` in src/runtime/virtcontainers/qemu.go@4.1.0, `ExecuteCharDevUnixSocketAdd` and
/// `ExecutePCIVhostUserDevAdd` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0). Here the process is the release's
/// `qemu-storage-daemon`, and the guest's memory is in /dev/shm, where Kata insists on huge pages. runtime-rs plugs such
/// disks into Dragonball alone.
fn vhost_user_disk_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let disk = ScratchDisk::new()?;
    let mut server = env.serve_disk(&disk.0)?;
    let mut machine = env.boot_with(Setting::VhostUserStore)?;
    env.note("the disk is served by qemu-storage-daemon; the guest's memory is not of huge pages".to_owned());
    let used = is_plugged_and_used(env, machine.as_mut(), &disk, server.socket());
    // Judged while QEMU still runs: its end may take the disk's process along.
    used.map_err(|stop| judged(machine.as_mut(), server.as_mut(), stop))
}

fn is_plugged_and_used(
    env: &dyn EnvironmentSide,
    machine: &mut dyn Machine,
    disk: &ScratchDisk,
    socket: &Path,
) -> Check {
    load(machine, ModuleUse::VirtioBlk)?;
    let id = forms::plug_vhost_user_disk(machine, socket)?;
    let name = on_the_bridge(env, machine, Bridge::Plain, 1, "block")?;
    disk.is_used(machine, &name)?;
    delete(machine, &id, By::Kernel(&mut on_the_bridge_still))?;
    let deadline = Wait::new(machine, FREED, "").scaled();
    socket_is_removed(env, machine, deadline)
}

/// Removes the socket; if QEMU does so only at a later attempt, that is noted.
fn socket_is_removed(env: &dyn EnvironmentSide, machine: &mut dyn Machine, deadline: Duration) -> Check {
    let until = Instant::now() + deadline;
    let mut refusal = None;
    loop {
        match forms::remove_socket(machine) {
            Ok(()) => break,
            Err(Stop::Fail { message, .. }) if Instant::now() < until => refusal = refusal.or(Some(message)),
            Err(stop) => return Err(stop),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if let Some(message) = refusal {
        env.note(format!("the socket was removed at a later attempt, where Kata tries once: {message}"));
    }
    Ok(())
}

/// Returns the stop of a disk that could not be used: an error if the disk's process has ended, because then QEMU had
/// nothing to serve the disk with.
fn judged(machine: &mut dyn Machine, server: &mut dyn DiskServer, stop: Stop) -> Stop {
    let Stop::Fail { message, detail, .. } = &stop else { return stop };
    if let Some(end) = server.ended(ENDS) {
        return Stop::error(format!("{message}; {end}"));
    }
    match keeps_its_memory(machine) {
        true => {
            let why = "QEMU was given share=on, and keeps the guest's memory to itself by its own word";
            Stop::blame(Component::Qemu, format!("{message}; {why}")).showing(FailureDetail::clone(detail))
        }
        false => stop,
    }
}

/// Checks whether QEMU says that the guest's memory is not shared with other processes; before 6.1 it says nothing.
fn keeps_its_memory(machine: &mut dyn Machine) -> bool {
    let Ok(answer) = machine.qmp("query-memdev", json!({})) else { return false };
    let backends = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    !backends.is_empty() && backends.iter().all(|backend| backend.get("share") == Some(&Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};

    struct FakeServer(Option<&'static str>);

    impl DiskServer for FakeServer {
        fn socket(&self) -> &Path {
            Path::new("/run/disk")
        }

        fn ended(&mut self, _: Duration) -> Option<String> {
            self.0.map(str::to_owned)
        }
    }

    /// Returns the stop for a failure while the process has ended or not, and QEMU gives this answer about its memory.
    fn stop_with(ended: Option<&'static str>, memdev: Value) -> Stop {
        let mut machine = FakeMachine::of("go-3.32");
        machine.qmp = Box::new(move |_, _| Ok(memdev.clone()));
        judged(&mut machine, &mut FakeServer(ended), Stop::fail("no disk"))
    }

    #[test]
    fn qemu_is_not_blamed_for_a_process_that_ended() {
        let private = json!([{ "id": "dimm1", "share": false }]);
        let ended = stop_with(Some("the daemon ended (signal 11): "), private.clone());
        assert_eq!(ended, Stop::error("no disk; the daemon ended (signal 11): "));
        let stop = stop_with(None, private);
        assert!(matches!(&stop, Stop::Fail { blames: Some(Component::Qemu), .. }), "{stop:?}");
        for shared in [json!([{ "id": "dimm1", "share": true }]), json!([{ "id": "dimm1" }]), json!([])] {
            assert_eq!(stop_with(None, shared), Stop::fail("no disk"));
        }
        let mut machine = FakeMachine::of("go-3.32");
        let skipped = judged(&mut machine, &mut FakeServer(Some("it ended")), Stop::skip("none"));
        assert_eq!(skipped, Stop::skip("none"));
    }

    #[test]
    fn a_socket_that_is_busy_for_a_moment_is_noted_and_no_failure() {
        let removed = |busy: usize, deadline: u64| {
            let env = FakeEnvironment::of("go-3.32");
            let mut machine = FakeMachine::of("go-3.32");
            let mut tried = 0;
            machine.qmp = Box::new(move |_, _| {
                tried += 1;
                if tried > busy { Ok(json!({})) } else { Err(Stop::fail("Chardev 'blk-0' is busy")) }
            });
            let result = socket_is_removed(&env, &mut machine, Duration::from_secs(deadline));
            (result, env.notes.take().len())
        };
        assert_eq!(removed(0, 0), (Ok(()), 0));
        assert_eq!(removed(2, 60), (Ok(()), 1));
        assert_eq!(removed(usize::MAX, 0), (Err(Stop::fail("Chardev 'blk-0' is busy")), 0));
    }
}
