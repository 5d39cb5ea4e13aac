//! QMP replies, held against what each runtime parses.
//!
//! runtime-rs deserialises into the types of `qapi-qmp` 0.15 (a schema of QEMU 9.1's level), so those types are the
//! oracle; the Go runtime picks fields out of JSON (src/runtime/pkg/govmm/qemu/qmp.go).

use super::BOOTS;
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
use std::time::Duration;

const SOURCE: &str = include_str!("qmp.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Machine(query_status_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
    row!(Machine(query_cpus_fast_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
    row!(Machine(query_hotpluggable_cpus_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
    row!(Machine(query_pci_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS).under(&under::RS),
    row!(Machine(query_fdsets_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS).under(&under::FDSETS),
    row!(Machine(query_qmp_schema_is_parsed), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS).under(&under::GO),
    row!(Machine(stop_and_cont_pause_the_guest), &[Capability::VmmQmp], Qemu).blocked_by(BOOTS),
];

/// `query-status` answers "running" in the form that the runtime parses.
///
/// Both runtimes ask for it when they save, restore and pause a sandbox.
fn query_status_is_parsed(machine: &mut dyn Machine) -> Check {
    let status = reply::<qapi::StatusInfo>(machine, "query-status", &["status", "running"])?;
    ensure!(status.get("status") == Some(&json!("running")), "the guest runs, QMP says {status}");
    Ok(())
}

/// `query-cpus-fast` lists the guest's CPU in the form that the runtime parses.
///
/// The runtimes read thread ids from it to place vCPU threads into control groups.
/// Kata 2.2 asks by `query-cpus` (`getThreadIDs` in src/runtime/virtcontainers/qemu.go@2.2.0), which QEMU 6.0 dropped, and
/// starts no sandbox without an answer unless `sandbox_cgroup_only` is set (`constrainHypervisor` in
/// src/runtime/virtcontainers/sandbox.go@2.2.0); there that command is sent.
fn query_cpus_fast_is_parsed(machine: &mut dyn Machine) -> Check {
    let threads = machine.profile().qmp.threads;
    let fields: &[&str] = match threads {
        QueryThreads::QueryCpus => &["CPU", "thread_id"],
        QueryThreads::QueryCpusFast => &["cpu-index", "thread-id", "qom-path"],
    };
    let cpus = reply::<Vec<qapi::CpuInfoFast>>(machine, threads.name(), fields)?;
    let count = cpus.as_array().map_or(0, Vec::len);
    let asked = machine.profile().qemu.vcpus;
    ensure!(u32::try_from(count) == Ok(asked), "{asked} CPUs were asked for, QMP lists {count}");
    Ok(())
}

/// `query-hotpluggable-cpus` lists CPU slots in the form that the runtime parses.
///
/// Kata hot-plugs CPUs by the slots listed here when sandbox sizing is not static.
fn query_hotpluggable_cpus_is_parsed(machine: &mut dyn Machine) -> Check {
    let fields = ["type", "vcpus-count", "props"];
    let slots = reply::<Vec<qapi::HotpluggableCPU>>(machine, "query-hotpluggable-cpus", &fields)?;
    let free = slots.as_array().into_iter().flatten().filter(|s| s.get("qom-path").is_none()).count();
    let total = slots.as_array().map_or(0, Vec::len);
    ensure!(total >= 1, "QMP lists no CPU slots at all");
    // One slot is taken by the boot CPU; `maxcpus` of the machine decides how many are free.
    ensure!(free == total - 1, "{total} CPU slots, {free} of them free: exactly one should be taken");
    Ok(())
}

/// `query-pci` answers in the form that runtime-rs parses.
///
/// runtime-rs walks it to find the guest's PCI path of a hot-plugged device.
fn query_pci_is_parsed(machine: &mut dyn Machine) -> Check {
    let buses = reply::<Vec<qapi::PciInfo>>(machine, "query-pci", &["bus", "devices"])?;
    ensure!(buses.as_array().is_some_and(|b| !b.is_empty()), "QMP lists no PCI bus");
    Ok(())
}

/// `query-fdsets` answers in the form that runtime-rs parses.
///
/// runtime-rs hands disks to QEMU as file descriptor sets and checks them with it.
fn query_fdsets_is_parsed(machine: &mut dyn Machine) -> Check {
    reply::<Vec<qapi::FdsetInfo>>(machine, "query-fdsets", &["fdset-id", "fds"]).map(drop)
}

/// `query-qmp-schema` answers in the form that the Go runtime parses.
///
/// The Go runtime asks it whether commands and events exist before it uses them.
fn query_qmp_schema_is_parsed(machine: &mut dyn Machine) -> Check {
    let schema = reply::<Value>(machine, "query-qmp-schema", &["name", "meta-type"])?;
    for command in ["device_add", "blockdev-add", "object-add", "query-hotpluggable-cpus"] {
        let there = schema.as_array().into_iter().flatten().any(|entry| entry.get("name") == Some(&json!(command)));
        ensure!(there, "the schema lists no {command}");
    }
    Ok(())
}

/// `stop` pauses the guest's CPU and `cont` lets it go on.
///
/// Kata pauses and resumes sandboxes with them.
fn stop_and_cont_pause_the_guest(machine: &mut dyn Machine) -> Check {
    machine.qmp("stop", json!({}))?;
    let paused = machine.qmp("query-status", json!({}));
    let resumed = machine.qmp("cont", json!({}));
    let paused = paused?;
    resumed?;
    ensure!(paused.get("status") == Some(&json!("paused")), "after `stop` QMP says {paused}");
    let status = machine.qmp("query-status", json!({}))?;
    ensure!(status.get("status") == Some(&json!("running")), "after `cont` QMP says {status}");
    let silence = machine.silence();
    let deadline = std::time::Instant::now() + silence;
    while !machine.heard(Duration::from_secs(2)) {
        ensure!(std::time::Instant::now() < deadline, "the guest was not heard within {silence:?} of `cont`");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The reply to `command`, parsed the way the machine's runtime does: into `T` by runtime-rs, by `fields` by Go.
pub(super) fn reply<T: DeserializeOwned>(
    machine: &mut dyn Machine,
    command: &str,
    fields: &[&str],
) -> Result<Value, Stop> {
    let reply = machine.qmp(command, json!({}))?;
    match machine.profile().runtime {
        Runtime::Rs => parsed_by_rs::<T>(command, &reply)?,
        Runtime::Go => parsed_by_go(command, &reply, fields)?,
    }
    Ok(reply)
}

fn parsed_by_rs<T: DeserializeOwned>(command: &str, reply: &Value) -> Check {
    match serde_json::from_value::<T>(reply.clone()) {
        Ok(_) => Ok(()),
        Err(e) => Err(Stop::fail(format!("runtime-rs cannot parse the reply to {command} ({e}): {}", short(reply)))),
    }
}

fn parsed_by_go(command: &str, reply: &Value, fields: &[&str]) -> Check {
    let items: Vec<&Value> = reply.as_array().map_or_else(|| vec![reply], |list| list.iter().collect());
    for item in items {
        for field in fields {
            ensure!(
                item.get(field).is_some(),
                "the reply to {command} lacks {field:?}, which Go reads: {}",
                short(item)
            );
        }
    }
    Ok(())
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_without_a_mandatory_field_is_refused_for_both_runtimes() {
        let good = json!({"status": "running", "running": true, "singlestep": false});
        assert!(parsed_by_rs::<qapi::StatusInfo>("query-status", &good).is_ok());
        assert!(parsed_by_go("query-status", &good, &["status", "running"]).is_ok());
        let bad = json!({"status": "running"});
        assert!(parsed_by_rs::<qapi::StatusInfo>("query-status", &bad).is_err());
        assert!(parsed_by_go("query-status", &bad, &["status", "running"]).is_err());
    }

    #[test]
    fn a_value_that_the_linked_schema_does_not_know_is_refused_for_runtime_rs() {
        let new = json!({"status": "a-state-of-tomorrow", "running": true});
        assert!(parsed_by_rs::<qapi::StatusInfo>("query-status", &new).is_err());
    }
}
