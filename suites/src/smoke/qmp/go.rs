//! The Go runtime's view of QMP replies, field by field: the types into which it unmarshals them
//! (src/runtime/pkg/govmm/qemu/qmp.go@4.1.0; `CPUInfo` is Kata 2.2's).
//!
//! Go leaves a missing field at zero, and refuses a value of another type.
//! Fields that the runtime cannot do without are mandatory here; the others may be missing, but their type is checked.

#![expect(dead_code, reason = "what is read is whether a reply has the fields with their types")]

use serde::Deserialize;

/// `query-status`. QEMU 9.1 no longer has `singlestep`, which the runtime does not use.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) struct StatusInfo {
    status: String,
    running: bool,
    singlestep: Option<bool>,
}

/// `query-cpus-fast`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct CpuInfoFast {
    cpu_index: i64,
    thread_id: i64,
    qom_path: String,
    arch: Option<String>,
    target: Option<String>,
    props: Option<CpuProperties>,
}

/// `query-cpus`, for Kata 2.2.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) struct CpuInfo {
    #[serde(rename = "CPU")]
    cpu: i64,
    thread_id: i64,
    current: Option<bool>,
    halted: Option<bool>,
    qom_path: Option<String>,
    arch: Option<String>,
    pc: Option<i64>,
    props: Option<CpuProperties>,
}

/// A CPU's position in the topology.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct CpuProperties {
    node_id: Option<i64>,
    socket_id: Option<i64>,
    die_id: Option<i64>,
    core_id: Option<i64>,
    thread_id: Option<i64>,
}

/// `query-hotpluggable-cpus`; an occupied slot has a path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct HotpluggableCpu {
    #[serde(rename = "type")]
    kind: String,
    vcpus_count: i64,
    props: CpuProperties,
    qom_path: Option<String>,
}

/// `query-memory-devices`; a virtio-mem device has other fields than a DIMM, none of which the runtime reads.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) struct MemoryDevice {
    #[serde(rename = "type")]
    kind: String,
    data: MemoryDeviceData,
}

/// The data of a memory device in `query-memory-devices`.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) struct MemoryDeviceData {
    slot: Option<i64>,
    node: Option<i64>,
    addr: Option<u64>,
    memdev: Option<String>,
    id: Option<String>,
    hotpluggable: Option<bool>,
    hotplugged: Option<bool>,
    size: Option<u64>,
}

/// `query-migrate`: before the first migration QEMU's answer is empty, and the runtime keeps waiting.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct MigrationStatus {
    status: Option<String>,
    ram: Option<MigrationRam>,
}

/// The memory statistics of `query-migrate`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct MigrationRam {
    total: i64,
    remaining: i64,
    transferred: i64,
    duplicate: Option<i64>,
    normal: Option<i64>,
    normal_bytes: Option<i64>,
    dirty_sync_count: Option<i64>,
}

/// The type of a reply to a command that the Go runtime never sends.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) enum Never {}
