//! How a profile's runtime configures QEMU, and how it speaks to it.

use serde::{Deserialize, Serialize};

/// What Kata's shipped x86_64 configuration says of QEMU, with an `initrd` in place of the `image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QemuDefaults {
    /// `machine_type`.
    pub machine: String,
    /// What the runtime puts after it.
    pub machine_options: String,
    /// `cpu_features`.
    pub cpu_features: String,
    /// `default_vcpus`.
    pub vcpus: u32,
    /// `default_memory`, in MiB.
    pub memory_mib: u32,
    /// `memory_slots`.
    pub memory_slots: u32,
    /// Whether QEMU stays in the foreground and is handed the socket that it serves QMP on; else it becomes a daemon and
    /// makes the socket itself.
    pub foreground: bool,
    /// The options of the PCI bridge after its chassis number.
    pub bridge: String,
    /// The bus that network, vsock and virtio-fs devices are put on by name.
    pub root_bus: Option<String>,
    /// `virtio_fs_queue_size`, where the runtime has it.
    pub virtio_fs_queue_size: Option<u32>,
    /// Whether `scsi=off` is printed for a virtio-blk device.
    pub blk_scsi_off: bool,
    /// How a disk's file is named.
    pub blk_source: BlkSource,
    /// How a disk is said to be read-only.
    pub blk_read_only: BlkReadOnly,
    /// The kernel parameters that the runtime itself puts first.
    pub runtime_params: Vec<String>,
    /// What the runtime tells the guest of SELinux: it is off, as shipped.
    pub guest_selinux: Option<String>,
    /// `kernel_params`, and what the configuration makes the runtime put before them.
    pub kernel_params: Vec<String>,
}

/// How the runtime writes what it tells a running QEMU over QMP.
///
/// Up to 9.1 QEMU takes text for a number or a switch in `device_add`, as on its command line; from 9.2 on it refuses it
/// (kata-containers pull request 10719).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QmpDialect {
    /// The command that lists the CPUs' threads; QEMU 6.0 dropped `query-cpus`.
    pub threads: QueryThreads,
    /// How QMP gets `share-rw` (of a plugged disk) and `mq` (of a plugged interface): as text or as a boolean.
    pub switches: JsonStyle,
    /// `core-id` and the other numbers of a plugged CPU.
    pub cpu_ids: JsonStyle,
    /// `num-queues` of a disk in the PCI bridge, where the runtime says it.
    pub num_queues: Option<JsonStyle>,
}

/// The commands that list the CPUs' threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryThreads {
    /// `query-cpus`.
    QueryCpus,
    /// `query-cpus-fast`.
    QueryCpusFast,
}

impl QueryThreads {
    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            QueryThreads::QueryCpus => "query-cpus",
            QueryThreads::QueryCpusFast => "query-cpus-fast",
        }
    }
}

/// How a number or a switch is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JsonStyle {
    /// `"on"`, `"1"`.
    AsText,
    /// `true`, `1`.
    Typed,
}

/// How a disk's file is named to QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlkSource {
    /// By its path.
    Path,
    /// The runtime opens it and hands the descriptor down: `-add-fd`, `/dev/fdset/N`.
    Fdset,
}

/// How a disk is said to be read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlkReadOnly {
    /// `readonly`, or nothing.
    Readonly,
    /// `readonly=on`, or nothing.
    ReadonlyOn,
    /// `auto-read-only=on|off`.
    AutoReadOnly,
    /// `read-only=on|off`.
    ReadOnly,
}

/// How a guest is given Kata's image, where it boots from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageDriver {
    /// As an NVDIMM, `/dev/pmem0`, which both runtimes' shipped x86_64 configurations say.
    Nvdimm,
    /// As a virtio-blk disk, `/dev/vda`: `disable_image_nvdimm` of the Go runtime, `vm_rootfs_driver` of runtime-rs.
    Blk,
}
