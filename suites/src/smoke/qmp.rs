//! QMP replies, checked against what each runtime parses.
//!
//! runtime-rs deserialises into the types of `qapi-qmp` 0.15 (a schema of QEMU 9.1's level), so those types are the
//! oracle; the Go runtime has types of its own, which [`go`] repeats.

pub(super) mod go;

use super::BOOTS;
use super::guest_files::read;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::Machine;
use crate::row::{Row, row};
use crate::under;
use model::profile::{QueryThreads, Runtime};
use qapi_qmp as qapi;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("qmp.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Machine(query_status_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS).under(&under::GO),
    row!(Machine(query_cpus_fast_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
    row!(Machine(query_hotpluggable_cpus_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
    row!(Machine(query_pci_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS).under(&under::RS),
    row!(Machine(query_fdsets_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS).under(&under::FDSETS),
    row!(Machine(stop_silences_the_guest_and_cont_wakes_it), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
];

/// `query-status` answers "running" in the form that the runtime parses.
///
/// The Go runtime asks at intervals whether the guest has panicked (`Check` in
/// src/runtime/virtcontainers/qemu.go@4.1.0, `ExecuteQueryStatus` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0);
/// runtime-rs does not ask.
fn query_status_is_parsed(machine: &mut dyn Machine) -> Check {
    let status = reply::<qapi::StatusInfo, go::StatusInfo>(machine, "query-status")?;
    ensure!(status.get("status") == Some(&json!("running")), "the guest runs, QMP says {status}");
    Ok(())
}

/// `query-cpus-fast` lists the guest's CPU in the form that the runtime parses.
///
/// The runtimes read thread ids from it to place vCPU threads into control groups.
/// Kata 2.2 sends `query-cpus` (`getThreadIDs` in src/runtime/virtcontainers/qemu.go@2.2.0), which QEMU 6.0 dropped,
/// and starts no sandbox without an answer unless `sandbox_cgroup_only` is set (`constrainHypervisor` in
/// src/runtime/virtcontainers/sandbox.go@2.2.0); under its profile this test sends `query-cpus`.
fn query_cpus_fast_is_parsed(machine: &mut dyn Machine) -> Check {
    let threads = machine.profile().qmp.threads;
    let cpus = match threads {
        QueryThreads::QueryCpus => reply::<Value, Vec<go::CpuInfo>>(machine, threads.name())?,
        QueryThreads::QueryCpusFast => reply::<Vec<qapi::CpuInfoFast>, Vec<go::CpuInfoFast>>(machine, threads.name())?,
    };
    let count = cpus.as_array().map_or(0, Vec::len);
    let requested = machine.profile().qemu.vcpus;
    ensure!(u32::try_from(count) == Ok(requested), "{requested} CPUs were asked for, QMP lists {count}");
    Ok(())
}

/// `query-hotpluggable-cpus` lists CPU slots in the form that the runtime parses.
///
/// Kata hot-plugs CPUs by the slots listed here when sandbox sizing is not static. That is
/// `ExecuteQueryHotpluggableCPUs` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0, and `query_hotpluggable_cpus` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0.
fn query_hotpluggable_cpus_is_parsed(machine: &mut dyn Machine) -> Check {
    let slots = reply::<Vec<qapi::HotpluggableCPU>, Vec<go::HotpluggableCpu>>(machine, "query-hotpluggable-cpus")?;
    let free = slots.as_array().into_iter().flatten().filter(|s| s.get("qom-path").is_none()).count();
    let total = slots.as_array().map_or(0, Vec::len);
    ensure!(total >= 1, "QMP lists no CPU slots at all");
    // The boot CPU takes one slot; `maxcpus` of the machine decides how many are free.
    ensure!(free == total - 1, "{total} CPU slots, {free} of them free: exactly one should be taken");
    Ok(())
}

/// `query-pci` answers in the form that runtime-rs parses.
///
/// runtime-rs walks it to find the guest's PCI path of a hot-plugged device. That is `get_device_by_qdev_id` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0.
fn query_pci_is_parsed(machine: &mut dyn Machine) -> Check {
    let buses = reply::<Vec<qapi::PciInfo>, go::Never>(machine, "query-pci")?;
    ensure!(buses.as_array().is_some_and(|b| !b.is_empty()), "QMP lists no PCI bus");
    Ok(())
}

/// `query-fdsets` answers in the form that runtime-rs parses.
///
/// runtime-rs passes disks to QEMU as file descriptor sets and checks these by this query. That is `query_fdsets` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@main; no release has it yet.
fn query_fdsets_is_parsed(machine: &mut dyn Machine) -> Check {
    reply::<Vec<qapi::FdsetInfo>, go::Never>(machine, "query-fdsets").map(drop)
}

/// The silence after which a guest counts as paused: its agent is heard twice a second.
const PAUSED: Duration = Duration::from_secs(2);

/// After `stop` nothing is heard from the guest any more, and after `cont` it answers again; QMP reports both states.
///
/// Kata pauses and resumes sandboxes with them. That is `PauseVM` and `ResumeVM` in
/// src/runtime/virtcontainers/qemu.go@4.1.0, `stop` and `cont` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0.
fn stop_silences_the_guest_and_cont_wakes_it(machine: &mut dyn Machine) -> Check {
    machine.qmp("stop", json!({}))?;
    let paused = is_paused(machine);
    // Resume the guest in any case: other tests use it, too.
    let resumed = machine.qmp("cont", json!({}));
    paused?;
    resumed?;
    let status = machine.qmp("query-status", json!({}))?;
    ensure!(status.get("status") == Some(&json!("running")), "after `cont` QMP says {status}");
    let deadline = machine.silence();
    let wakes = Instant::now();
    while !machine.heard(PAUSED) {
        ensure!(wakes.elapsed() < deadline, "the guest was not heard within {deadline:?} of `cont`");
        std::thread::sleep(Duration::from_millis(50));
    }
    read(machine, "/proc/uptime").map(drop)
}

/// Checks that QMP calls the guest paused, and waits until nothing is heard from it any more.
fn is_paused(machine: &mut dyn Machine) -> Check {
    let status = machine.qmp("query-status", json!({}))?;
    ensure!(status.get("status") == Some(&json!("paused")), "after `stop` QMP says {status}");
    let deadline = machine.silence();
    let stops = Instant::now();
    // What the guest said before may still be on its way.
    while machine.heard(PAUSED) {
        ensure!(stops.elapsed() < deadline, "QMP says that the guest is paused, and {deadline:?} later it is heard");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Parses the reply to `command` as the machine's runtime does: into `R` for runtime-rs, into `G` for Go.
pub(super) fn reply<R: DeserializeOwned, G: DeserializeOwned>(
    machine: &mut dyn Machine,
    command: &str,
) -> Result<Value, Stop> {
    let reply = machine.qmp(command, json!({}))?;
    match machine.profile().runtime {
        Runtime::Rs => parsed_by::<R>("runtime-rs", command, &reply)?,
        Runtime::Go => parsed_by::<G>("the Go runtime", command, &reply)?,
    }
    Ok(reply)
}

fn parsed_by<T: DeserializeOwned>(who: &str, command: &str, reply: &Value) -> Check {
    match serde_json::from_value::<T>(reply.clone()) {
        Ok(_) => Ok(()),
        Err(e) => Err(Stop::fail(format!("{who} cannot parse the reply to {command} ({e}): {}", short(reply)))),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;

    /// Returns a runtime's result for a reply.
    fn parsed<R: DeserializeOwned, G: DeserializeOwned>(profile: &str, answer: &Value) -> Result<Value, Stop> {
        let mut machine = FakeMachine::of(profile);
        let answer = answer.clone();
        machine.qmp = Box::new(move |_, _| Ok(answer.clone()));
        reply::<R, G>(&mut machine, "query-it")
    }

    /// Checks that both runtimes accept a good reply and refuse replies that differ from it in one place.
    fn only_the_valid_reply_is_accepted<R: DeserializeOwned, G: DeserializeOwned>(good: &Value, bad: &[(&str, Value)]) {
        for profile in ["go-3.32", "rs-4.1"] {
            assert_eq!(parsed::<R, G>(profile, good), Ok(good.clone()), "{profile}");
            for (place, value) in bad {
                let mut changed = good.clone();
                let (parent, key) = place.rsplit_once('/').unwrap();
                let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                match value {
                    Value::Null => drop(parent.remove(key)),
                    value => drop(parent.insert(key.to_owned(), value.clone())),
                }
                let stop = parsed::<R, G>(profile, &changed).unwrap_err();
                let Stop::Fail { message, blames: None, .. } = stop else { panic!("{profile}: {stop:?}") };
                assert!(message.contains("cannot parse the reply to query-it"), "{message}");
            }
        }
    }

    #[test]
    fn a_reply_without_a_field_or_with_one_of_another_type_is_refused_for_both_runtimes() {
        let status = json!({"status": "running", "running": true, "singlestep": false});
        let bad = [("/running", Value::Null), ("/status", json!(1)), ("/running", json!("yes"))];
        only_the_valid_reply_is_accepted::<qapi::StatusInfo, go::StatusInfo>(&status, &bad);
        let cpu = json!([{
            "cpu-index": 0, "thread-id": 7, "qom-path": "/machine/unattached/device[0]", "target": "x86_64",
            "props": { "core-id": 0, "thread-id": 0, "die-id": 0, "socket-id": 0 },
        }]);
        let bad = [("/0/thread-id", Value::Null), ("/0/thread-id", json!("7")), ("/0/props/core-id", json!("0"))];
        only_the_valid_reply_is_accepted::<Vec<qapi::CpuInfoFast>, Vec<go::CpuInfoFast>>(&cpu, &bad);
        let slot = json!([{
            "type": "max-x86_64-cpu", "vcpus-count": 1, "qom-path": "/machine/unattached/device[0]",
            "props": { "core-id": 0, "thread-id": 0, "die-id": 0, "socket-id": 0 },
        }]);
        let bad = [("/0/vcpus-count", Value::Null), ("/0/props", Value::Null), ("/0/props/die-id", json!(true))];
        only_the_valid_reply_is_accepted::<Vec<qapi::HotpluggableCPU>, Vec<go::HotpluggableCpu>>(&slot, &bad);
    }

    #[test]
    fn memory_devices_and_migrations_are_parsed_as_both_runtimes_do() {
        let dimm = json!([{
            "type": "dimm",
            "data": {
                "id": "dimmmem0", "addr": 4_294_967_296_u64, "slot": 0, "node": 0, "memdev": "/objects/mem0",
                "size": 268_435_456, "hotpluggable": true, "hotplugged": true,
            },
        }]);
        let bad = [("/0/data", Value::Null), ("/0/data/slot", json!("0")), ("/0/data/hotplugged", json!(1))];
        only_the_valid_reply_is_accepted::<Vec<qapi::MemoryDeviceInfo>, Vec<go::MemoryDevice>>(&dimm, &bad);
        // The answer of QEMU 7.2 for a guest whose memory is shared.
        let migration = json!({
            "status": "completed", "setup-time": 2, "downtime": 2, "total-time": 9,
            "ram": {
                "total": 532_480, "postcopy-requests": 0, "dirty-sync-count": 2, "multifd-bytes": 0,
                "pages-per-second": 0, "downtime-bytes": 214_195, "page-size": 4096, "remaining": 0, "postcopy-bytes": 0,
                "mbps": 442.03, "transferred": 214_195, "dirty-sync-missed-zero-copy": 0, "precopy-bytes": 0,
                "duplicate": 78, "dirty-pages-rate": 0, "skipped": 0, "normal-bytes": 212_992, "normal": 52,
            },
        });
        let bad = [("/status", json!(3)), ("/ram/total", json!("much")), ("/ram/transferred", Value::Null)];
        only_the_valid_reply_is_accepted::<qapi::MigrationInfo, go::MigrationStatus>(&migration, &bad);
    }

    /// QMP reports both states whatever the guest does.
    #[test]
    fn a_guest_that_runs_on_or_does_not_wake_is_found() {
        let judged = |pauses: bool, wakes: bool| {
            let mut machine = FakeMachine::of("go-3.32");
            (machine.pauses, machine.wakes) = (pauses, wakes);
            machine.silence = Duration::from_millis(100);
            machine.files.insert("/proc/uptime".to_owned(), "7.00 6.00\n".to_owned());
            let mut status = "running";
            machine.qmp = Box::new(move |command, _| {
                match command {
                    "stop" => status = "paused",
                    "cont" => status = "running",
                    _ => {}
                }
                Ok(json!({ "status": status }))
            });
            let check = stop_silences_the_guest_and_cont_wakes_it(&mut machine);
            assert_eq!((machine.count("stop"), machine.count("cont")), (1, 1), "other tests use the guest, too");
            check
        };
        assert_eq!(judged(true, true), Ok(()));
        let message = crate::check::message(judged(false, true));
        assert!(message.contains("later it is heard"), "{message}");
        let message = crate::check::message(judged(true, false));
        assert!(message.contains("not heard within"), "{message}");
    }

    #[test]
    fn a_value_that_the_linked_schema_does_not_know_is_refused_for_runtime_rs_alone() {
        let new = json!({"status": "a-state-of-tomorrow", "running": true});
        assert!(parsed::<qapi::StatusInfo, go::StatusInfo>("rs-4.1", &new).is_err());
        assert!(parsed::<qapi::StatusInfo, go::StatusInfo>("go-3.32", &new).is_ok());
    }
}
