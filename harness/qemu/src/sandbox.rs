//! Description of one guest: the input of the argument generators.

use model::arch::Arch;
use model::profile::{ImageDriver, Profile, Runtime};

/// The tag under which Kata shares its directory with the guest (`mountGuestTag` in
/// `src/runtime/virtcontainers/kata_agent.go`, `MOUNT_GUEST_TAG` in
/// `src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs.rs`).
pub const SHARE_TAG: &str = model::profile::fixed::SHARE_TAG;

/// One guest, in Kata's words a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The QEMU binary.
    pub program: String,
    /// The architecture of host and guest.
    pub arch: Arch,
    /// Kata's sandbox id; the guest is named `sandbox-ID`.
    pub id: String,
    /// Machine UUID; only the Go runtime passes it.
    pub uuid: String,
    /// `machine_type = "microvm"`: a machine without PCI. Go only, on x86_64.
    pub microvm: bool,
    /// Guest kernel.
    pub kernel: String,
    /// Initramfs. Without one the kernel panics, which is enough to see whether QEMU accepts the arguments.
    pub initrd: Option<String>,
    /// Kata's guest image, which excludes an initrd: the root filesystem.
    pub image: Option<GuestImage>,
    /// RAM in MiB; Kata's default is in the profile.
    pub memory_mib: u32,
    /// The host's RAM in MiB, up to which the guest may grow.
    pub host_memory_mib: u64,
    /// Virtual CPUs at start.
    pub vcpus: u32,
    /// Maximum number of virtual CPUs: the host's CPUs by default.
    pub max_vcpus: u32,
    /// The shared filesystem.
    pub shared: SharedFilesystem,
    /// Block devices.
    pub disks: Vec<BlockDevice>,
    /// `enable_iothreads` with `indep_iothreads = 1`: an I/O thread for hot-plugged disks.
    pub io_thread: bool,
    /// `enable_iothreads` alone: an I/O thread for the SCSI controller.
    pub scsi_thread: bool,
    /// `pcie_root_port`, with `hot_plug_vfio = "root-port"` for the Go runtime: ports into which devices can be
    /// plugged.
    pub root_ports: u32,
    /// `pcie_switch_port`, with `hot_plug_vfio = "switch-port"` for the Go runtime: a PCIe switch with one port.
    pub switch_port: bool,
    /// Whether the guest has a PCIe port in its second NUMA node, for a VFIO device on the host's first node. Go only.
    pub numa_port: bool,
    /// `enable_iommu`: an Intel IOMMU.
    pub iommu: bool,
    /// Kind of memory. The share decides it only for [`MemoryBacking::Shipped`]; huge pages are shared with virtio-fs.
    pub memory: MemoryBacking,
    /// `enable_mem_prealloc`: all memory is allocated at the start.
    pub preallocated: bool,
    /// `reclaim_guest_freed_memory`: a balloon that reports free pages.
    pub balloon: bool,
    /// `guest_memory_dump_path`: a device that reports a panic, after which QEMU does not exit. Go only.
    pub panic_device: bool,
    /// `seccompsandbox`, `seccomp_sandbox`: QEMU filters its own system calls.
    pub filtered: bool,
    /// `use_legacy_serial`: a serial port instead of the virtio console. Go only.
    pub legacy_serial: bool,
    /// `extra_monitor_socket = "hmp"`: the socket of QEMU's human monitor.
    pub monitor: Option<String>,
    /// `firmware`.
    pub firmware: Option<String>,
    /// Whether the guest takes over the state of another guest, whose location it gets later.
    pub incoming: bool,
    /// The agent's channel. Kata always has one.
    pub vsock: Option<Vsock>,
    /// The network interface.
    pub net: Option<Net>,
    /// The socket on which QEMU listens for a console reader.
    pub console: String,
    /// The file to which QEMU writes its process id; only the Go runtime asks for it.
    pub pid_file: String,
    /// `kernel_params` in addition to the shipped configuration's; empty for Kata's own arguments.
    pub extra_kernel_params: Vec<String>,
    /// Whether Kata would detect that its host is a virtual machine (the CPU flag `hypervisor`). Kata then asks for
    /// transitional virtio devices, `disable-modern=true`, and changes no other device.
    pub nested: bool,
}

impl Sandbox {
    /// Creates a sandbox with the profile's defaults, which are those of x86_64: no share, disk, vsock or network, for
    /// a host of this size.
    pub fn new(
        profile: &Profile,
        program: impl Into<String>,
        id: impl Into<String>,
        kernel: impl Into<String>,
    ) -> Sandbox {
        Sandbox {
            program: program.into(),
            arch: Arch::X86_64,
            id: id.into(),
            uuid: "00000000-0000-4000-8000-000000000000".to_owned(),
            microvm: false,
            kernel: kernel.into(),
            initrd: None,
            image: None,
            memory_mib: profile.qemu.memory_mib,
            host_memory_mib: u64::from(profile.qemu.memory_mib),
            vcpus: profile.qemu.vcpus,
            max_vcpus: profile.qemu.vcpus,
            shared: SharedFilesystem::None,
            disks: Vec::new(),
            io_thread: false,
            scsi_thread: false,
            root_ports: 0,
            switch_port: false,
            numa_port: false,
            iommu: false,
            memory: MemoryBacking::Shipped,
            preallocated: false,
            balloon: false,
            panic_device: false,
            filtered: false,
            legacy_serial: false,
            monitor: None,
            firmware: None,
            incoming: false,
            vsock: None,
            net: None,
            console: "console.sock".to_owned(),
            pid_file: "pid".to_owned(),
            extra_kernel_params: Vec::new(),
            nested: false,
        }
    }

    /// Allows as many vCPUs to be added later as the runtime would, as shipped, on a host with `cpus` CPUs.
    ///
    /// None can be added if sandboxes are sized statically (`static_sandbox_resource_mgmt`): in runtime-rs's shipped
    /// configuration for QEMU (`configuration-qemu-runtime-rs.toml.in@4.0.0`), and in the Go runtime on Arm
    /// (`DEFSTATICRESOURCEMGMT_QEMU` in `src/runtime/Makefile@3.32.0`, `SandboxConfig` in
    /// `src/runtime/pkg/oci/utils.go@3.32.0`).
    pub fn for_host_with(&mut self, cpus: u32, profile: &Profile) {
        match (profile.runtime, self.arch) {
            (Runtime::Go, Arch::X86_64 | Arch::Ppc64le | Arch::S390x) => self.may_grow_to(cpus),
            (Runtime::Go, Arch::Aarch64) | (Runtime::Rs, _) => self.max_vcpus = self.vcpus,
        }
    }

    /// Allows vCPUs to be added later on a host with `cpus` CPUs. Both runtimes ship `default_maxvcpus = 0`, which
    /// means all CPUs of the host unless sandboxes are sized statically (`adjust_config` of `CpuInfo` in
    /// `src/libs/kata-types/src/config/hypervisor/mod.rs@4.1.0`).
    pub fn may_grow_to(&mut self, cpus: u32) {
        self.max_vcpus = cpus.max(self.vcpus);
    }
}

/// Kinds of guest memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryBacking {
    /// As the share requires: a file that virtiofsd maps, or anonymous memory.
    Shipped,
    /// In the host's huge pages: `enable_hugepages`, which runtime-rs does not pass on.
    Hugepages,
    /// In this file (`enable_template`), either shared with the file or a private copy of it. runtime-rs does not pass
    /// it on, and saves the memory with the rest of the state.
    File {
        /// Path of the file.
        path: String,
        /// Whether the guest's writes reach the file.
        shared: bool,
    },
    /// In two guest nodes, both on the host's first node: `enable_numa`. Go only.
    TwoNodes,
}

/// The shared filesystem of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedFilesystem {
    /// `shared_fs = "none"`: RAM is anonymous memory.
    None,
    /// virtio-fs: RAM is a shared file, virtiofsd serves the share.
    VirtioFs {
        /// The socket on which virtiofsd listens.
        socket: String,
        /// The mount tag, [`SHARE_TAG`].
        tag: String,
    },
    /// 9p: QEMU itself serves the share.
    Virtio9p {
        /// The shared directory.
        dir: String,
        /// The mount tag, [`SHARE_TAG`].
        tag: String,
    },
}

/// A virtio-blk device, cold-plugged.
///
/// By default Kata attaches a container's block device over QMP once the guest runs; this type is each runtime's
/// description of a disk on the command line (`genericBlockDevice` in `src/runtime/virtcontainers/qemu_arch_base.go`,
/// `add_block_device` in `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// Id of the disk: its serial number in the guest is `drive-ID` (Go) or `image-ID` (runtime-rs).
    pub id: String,
    /// A raw image or a block device.
    pub file: String,
    /// Whether the disk is read-only; runtime-rs 4.0 lets QEMU find out by itself.
    pub read_only: bool,
}

/// The image that `image =` names in Kata's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestImage {
    /// Path of the image.
    pub file: String,
    /// Size of the image in bytes.
    pub bytes: u64,
    /// Kind of device that carries the image.
    pub driver: ImageDriver,
}

/// A vhost-vsock device. The caller opens `/dev/vhost-vsock`, claims the CID and passes the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vsock {
    /// The guest's context id, at least 3.
    pub guest_cid: u32,
}

/// A tap device. The caller opens one tap descriptor for each queue, and with vhost-net also one of `/dev/vhost-net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// The tap interface's name, `tap0_kata`.
    pub tap: String,
    /// The guest's MAC address.
    pub mac: String,
    /// Queues; Kata's default is 1.
    pub queues: u32,
    /// Whether vhost-net moves the packets; with `disable_vhost_net = true`, QEMU does.
    pub vhost: bool,
}
