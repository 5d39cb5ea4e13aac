//! What the Go runtime takes out of QMP's replies, field by field: the types that it unmarshals them into
//! (src/runtime/pkg/govmm/qemu/qmp.go@4.1.0; of Kata 2.2 `CPUInfo`).
//!
//! Go leaves a field that is missing at zero, and refuses a value of another type.
//! Fields without which the runtime goes wrong are mandatory here; the others may be missing, and have their type.

#![expect(dead_code, reason = "what is read is whether a reply has the fields with their types")]

use serde::Deserialize;

/// `query-status`. QEMU 9.1 has no `singlestep` any more, which nobody reads.
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

/// `query-cpus`, of Kata 2.2.
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

/// A CPU's place.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct CpuProperties {
    node_id: Option<i64>,
    socket_id: Option<i64>,
    die_id: Option<i64>,
    core_id: Option<i64>,
    thread_id: Option<i64>,
}

/// `query-hotpluggable-cpus`; a slot that is taken has a path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct HotpluggableCpu {
    #[serde(rename = "type")]
    kind: String,
    vcpus_count: i64,
    props: CpuProperties,
    qom_path: Option<String>,
}

/// `query-memory-devices`; a virtio-mem device has other fields than a DIMM, of which none is read.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) struct MemoryDevice {
    #[serde(rename = "type")]
    kind: String,
    data: MemoryDeviceData,
}

/// What it says of one.
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

/// `query-qmp-schema`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct SchemaInfo {
    name: String,
    meta_type: String,
}

/// `query-migrate`: before there was any, QEMU says nothing, and the runtime waits on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::smoke) struct MigrationStatus {
    status: Option<String>,
    ram: Option<MigrationRam>,
}

/// What it says of memory.
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

/// What the Go runtime never asks.
#[derive(Debug, Deserialize)]
pub(in crate::smoke) enum Never {}
