//! QEMU as configured by a profile's runtime, and the runtime's QMP.

use serde::{Deserialize, Serialize};

/// QEMU settings of Kata's shipped x86_64 configuration, with an `initrd` instead of the `image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QemuDefaults {
    /// `machine_type`.
    pub machine: String,
    /// Options that the runtime appends to the machine type.
    pub machine_options: String,
    /// `cpu_features`.
    pub cpu_features: String,
    /// `default_vcpus`.
    pub vcpus: u32,
    /// `default_memory`, in MiB.
    pub memory_mib: u32,
    /// `memory_slots`.
    pub memory_slots: u32,
    /// Whether QEMU stays in the foreground and inherits the QMP socket; else it becomes a daemon and creates the
    /// socket itself.
    pub foreground: bool,
    /// The options of the PCI bridge after its chassis number.
    pub bridge: String,
    /// The bus that the runtime names for network, vsock and virtio-fs devices.
    pub root_bus: Option<String>,
    /// `virtio_fs_queue_size`, if the runtime has it.
    pub virtio_fs_queue_size: Option<u32>,
    /// Whether `scsi=off` is printed for a virtio-blk device.
    pub blk_scsi_off: bool,
    /// How a disk's file is named.
    pub blk_source: BlkSource,
    /// How a disk is marked read-only.
    pub blk_read_only: BlkReadOnly,
    /// The kernel parameters that the runtime itself puts first.
    pub runtime_params: Vec<String>,
    /// The runtime's kernel parameter about SELinux in the guest, which is off as shipped.
    pub guest_selinux: Option<String>,
    /// `kernel_params`, and the parameters that the configuration makes the runtime put before them.
    pub kernel_params: Vec<String>,
}

/// Encoding of the runtime's QMP commands to a running QEMU.
///
/// Up to 9.1, QEMU accepts text for a number or a switch in `device_add`, as on its command line; since 9.2 it rejects
/// that (kata-containers pull request 10719).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QmpDialect {
    /// The command that lists the CPUs' threads; QEMU 6.0 dropped `query-cpus`.
    pub threads: QueryThreads,
    /// Encoding of `share-rw` (of a plugged disk) and `mq` (of a plugged interface): as text or as a boolean.
    pub switches: JsonStyle,
    /// Encoding of `core-id` and the other numbers of a plugged CPU.
    pub cpu_ids: JsonStyle,
    /// Encoding of `num-queues` of a disk in the PCI bridge, if the runtime sends it.
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
    /// Returns the command's name.
    pub fn name(self) -> &'static str {
        match self {
            QueryThreads::QueryCpus => "query-cpus",
            QueryThreads::QueryCpusFast => "query-cpus-fast",
        }
    }
}

/// Encoding of a number or a switch in JSON.
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
    /// By a descriptor that the runtime opens and passes on: `-add-fd`, `/dev/fdset/N`.
    Fdset,
}

/// How a disk is marked read-only.
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

/// How a guest gets Kata's image if it boots from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageDriver {
    /// As an NVDIMM, `/dev/pmem0`, the setting of both runtimes' shipped x86_64 configurations.
    Nvdimm,
    /// As a virtio-blk disk, `/dev/vda`: `disable_image_nvdimm` of the Go runtime, `vm_rootfs_driver` of runtime-rs.
    Blk,
}
