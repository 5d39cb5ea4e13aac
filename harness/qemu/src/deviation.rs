//! The closed list of what may differ from Kata's own arguments, because an environment takes something away.
//!
//! Measured with QEMU 7.2 under TCG: of Kata's arguments it refuses `-cpu host` alone.
//! `kernel_irqchip=on` and `-global kvm-pit.lost_tick_policy=discard` are settings of the KVM accelerator and of a device
//! that exists under KVM only; TCG takes them without a word, so they stay.
//! On Arm `gic-version=host` is KVM's, too (`finalize_gic_version` in QEMU's hw/arm/virt.c@10.0.0 refuses it without).

use model::profile::DaemonSetting;
use serde::{Deserialize, Serialize};

/// One deviation from what Kata passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "deviation")]
pub enum Deviation {
    /// No working KVM: `accel=kvm` becomes `accel=tcg`, and on Arm `gic-version=host` the newest one that is emulated.
    Accelerator,
    /// `-cpu host` needs KVM: it becomes `-cpu max`, its features stay.
    CpuModel,
    /// QEMU is kept in the foreground and handed its QMP socket, as later Kata does: `-daemonize` is left out.
    Foreground,
    /// No `/dev/vhost-vsock`: the device is left out, and its descriptor with it.
    NoVsock,
    /// No tap device or no `/dev/vhost-net`: the interface is left out, and its descriptors with it.
    NoNetwork,
    /// No tap device or no `/dev/vhost-net`, and the test needs an interface: its other end is a socket of the harness's.
    SocketNetwork {
        /// Where the harness listens for QEMU.
        address: String,
    },
    /// No device of the host's that could be passed through: a virtio-blk disk is behind the port of the guest's NUMA node.
    StandIn {
        /// The disk's file.
        file: String,
    },
    /// The harness's own channel: one more port on Kata's virtio-serial device, named [`RPC_PORT`].
    RpcPort {
        /// Where QEMU listens for the harness.
        socket: String,
    },
    /// The distro's kernel has its drivers in modules, which somebody must load before the image can be mounted: the guest
    /// boots the harness's initramfs beside its image, which Kata never has.
    Initramfs {
        /// Its path.
        path: String,
    },
    /// The harness reads the kernel's log: the machine's serial line on a socket, `console=ttyS0`, and no `quiet`.
    /// A socket, not a file: its reader can cut a flood short.
    ///
    /// On POWER that line is a terminal of the hypervisor's, and the kernel counts it with virtio's: it is `hvc0`, and
    /// Kata's console is `hvc1`.
    SerialLog {
        /// Where QEMU listens for the harness.
        socket: String,
        /// Only warnings and worse (`loglevel=5`, which has oopses and panics whole): under nested virtualization every
        /// byte is an exit through two hypervisors; the first 9 of the kernel's usual 30 KB took 7 of the 23 s of a boot.
        terse: bool,
    },
    /// No mount namespaces for virtiofsd: its sandbox is a chroot.
    DaemonSandbox,
    /// No open_by_handle_at(2) for virtiofsd: where its default is to prefer file handles, as from 1.14 on, it falls back
    /// to descriptors that stay open. Changes no argument; a daemon written in C has no handles to prefer.
    DaemonHandles,
    /// virtiofsd is asked for something by a setting that Kata does not ship.
    DaemonSetting {
        /// Which.
        setting: DaemonSetting,
    },
}

/// The name of the harness's port in the guest: `/sys/class/virtio-ports/*/name`.
pub const RPC_PORT: &str = "org.kata-qualify.rpc";

/// The program whose arguments a deviation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// QEMU.
    Qemu,
    /// virtiofsd.
    Virtiofsd,
}

impl Deviation {
    /// What it means, in one sentence.
    pub fn meaning(&self) -> &'static str {
        match self {
            Deviation::Accelerator => "the guest's processor is emulated (accel=tcg), KVM is not exercised",
            Deviation::CpuModel => "the guest's processor is QEMU's max model, not the host's",
            Deviation::Foreground => "QEMU stays in the foreground and is handed its QMP socket",
            Deviation::NoVsock => "the guest has no vhost-vsock device",
            Deviation::NoNetwork => "the guest has no network interface",
            Deviation::SocketNetwork { .. } => {
                "the other end of the guest's network interface is a socket of the harness's, not a tap with vhost"
            }
            Deviation::StandIn { .. } => "a virtio-blk disk stands in for a device that is passed through",
            Deviation::RpcPort { .. } => "the guest has one more virtio-serial port, for the harness",
            Deviation::Initramfs { .. } => {
                "the guest boots the harness's initramfs beside its image, because its drivers are modules"
            }
            Deviation::SerialLog { terse: false, .. } => "the guest has a serial port, and its kernel logs to it",
            Deviation::SerialLog { terse: true, .. } => {
                "the guest has a serial port, and its kernel logs warnings to it"
            }
            Deviation::DaemonSandbox => "virtiofsd confines itself by chroot, not by namespaces",
            Deviation::DaemonHandles => "virtiofsd may open nothing by a file handle and keeps descriptors instead",
            Deviation::DaemonSetting { setting } => match setting {
                DaemonSetting::Xattr => "virtiofsd passes extended attributes on",
                DaemonSetting::Acl => "virtiofsd passes POSIX ACLs and extended attributes on",
                DaemonSetting::XattrMap => "virtiofsd keeps the guest's extended attributes under a prefix",
                DaemonSetting::CacheNever => "virtiofsd has the guest cache nothing (cache=never)",
                DaemonSetting::CacheMetadata => "virtiofsd has the guest cache no contents (cache=metadata)",
                DaemonSetting::CacheAlways => "virtiofsd has the guest cache everything (cache=always)",
                DaemonSetting::SandboxNone => "virtiofsd does not confine itself",
                DaemonSetting::ThreadPool => "virtiofsd serves requests by several threads",
                DaemonSetting::FewDescriptors => "virtiofsd may have few files open",
            },
        }
    }

    /// The program whose arguments it changes.
    pub fn program(&self) -> Program {
        match self {
            Deviation::DaemonSandbox | Deviation::DaemonHandles | Deviation::DaemonSetting { .. } => Program::Virtiofsd,
            _ => Program::Qemu,
        }
    }
}

/// A deviation that cannot be applied: Kata's arguments are not what it expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("applying {deviation:?} to {program}: its arguments have no {expected}")]
pub struct Inapplicable {
    /// Which.
    pub deviation: Deviation,
    /// To which program.
    pub program: String,
    /// What was looked for.
    pub expected: &'static str,
}
