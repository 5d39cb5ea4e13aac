//! The closed list of deviations from Kata's own arguments. A deviation is needed because the environment lacks
//! something.
//!
//! Measured with QEMU 7.2 under TCG: of Kata's arguments, QEMU refuses only `-cpu host`.
//! `kernel_irqchip=on` and `-global kvm-pit.lost_tick_policy=discard` are settings of the KVM accelerator and of a
//! device that exists under KVM only; TCG accepts them silently, so they stay.
//! On Arm, `gic-version=host` needs KVM, too (`finalize_gic_version` in QEMU's hw/arm/virt.c@10.0.0 refuses it without
//! KVM).

use model::profile::DaemonSetting;
use serde::{Deserialize, Serialize};

/// One deviation from Kata's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "deviation")]
pub enum Deviation {
    /// No working KVM: `accel=kvm` becomes `accel=tcg`, and on Arm `gic-version=host` becomes the newest version that
    /// QEMU emulates.
    Accelerator,
    /// No KVM, which `-cpu host` needs: it becomes `-cpu max` and keeps its features.
    CpuModel,
    /// `-daemonize` is left out: QEMU stays in the foreground and inherits its QMP socket, as in later Kata.
    Foreground,
    /// No `/dev/vhost-vsock`: the device is left out, and its descriptor with it.
    NoVsock,
    /// No tap device or no `/dev/vhost-net`: the interface is left out, and its descriptors with it.
    NoNetwork,
    /// No tap device or no `/dev/vhost-net`, but the test needs an interface: a socket of the harness is its back end.
    SocketNetwork {
        /// Where the harness listens for QEMU.
        address: String,
    },
    /// No host device that could be passed through: a virtio-blk disk takes its place behind the port of the guest's
    /// NUMA node.
    StandIn {
        /// The disk's file.
        file: String,
    },
    /// The machine has no PCI, and the distro's kernel has the driver of its bus as a module: the harness's agent in the
    /// guest loads it before anything else.
    BusModules {
        /// The parameter on the kernel's command line that names the modules.
        parameter: String,
    },
    /// No KVM, whose clock tells a guest its processor's frequency, and a machine without any timer by which a kernel
    /// could measure it: `tsc_early_khz=` tells it.
    Frequency {
        /// The frequency of the time-stamp counter, kHz.
        khz: u64,
    },
    /// The harness's own channel: one more port on Kata's virtio-serial device, named [`RPC_PORT`].
    RpcPort {
        /// Where QEMU listens for the harness.
        socket: String,
    },
    /// The guest boots the harness's initramfs together with its image, a combination that Kata never has. The distro's
    /// kernel has its drivers as modules, which must be loaded before the image can be mounted.
    Initramfs {
        /// Path of the initramfs.
        path: String,
    },
    /// The harness reads the kernel log: the machine's serial line goes to a socket, with `console=ttyS0` and without
    /// `quiet`. A socket and not a file, because its reader can cut a flood short.
    ///
    /// On POWER the serial line is a terminal of the hypervisor, which the kernel numbers together with the virtio
    /// consoles: it is `hvc0`, and Kata's console is `hvc1`.
    SerialLog {
        /// Where QEMU listens for the harness.
        socket: String,
        /// Log only warnings and worse (`loglevel=5`, which still has complete oopses and panics). Under nested
        /// virtualization every byte is an exit through two hypervisors: the first 9 of the kernel's usual 30 KB took 7
        /// of the 23 s of a boot.
        terse: bool,
    },
    /// No mount namespaces for virtiofsd: it uses a chroot as its sandbox.
    DaemonSandbox,
    /// No open_by_handle_at(2) for virtiofsd: if file handles are its default, as from 1.14 on, it falls back to
    /// descriptors that stay open. Changes no argument; the daemon written in C has no file handles.
    DaemonHandles,
    /// virtiofsd gets a setting that Kata does not ship.
    DaemonSetting {
        /// The setting.
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
    /// Describes the deviation in one sentence.
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
            Deviation::BusModules { .. } => {
                "the guest's agent loads the driver of the machine's bus, which Kata's own kernel has built in"
            }
            Deviation::Frequency { .. } => {
                "the guest's kernel is told the frequency of its processor, which no timer of the machine shows"
            }
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
                DaemonSetting::WriteBack => "virtiofsd has the guest keep what is written until it is synced",
                DaemonSetting::UncachedMaps => {
                    "virtiofsd has the guest cache nothing (cache=never), but lets it map files shared"
                }
                DaemonSetting::TranslatedIds => "virtiofsd translates some users and groups",
                DaemonSetting::RelativeSocket => "virtiofsd creates its socket by a relative path",
            },
        }
    }

    /// Returns the program whose arguments the deviation changes.
    pub fn program(&self) -> Program {
        match self {
            Deviation::DaemonSandbox | Deviation::DaemonHandles | Deviation::DaemonSetting { .. } => Program::Virtiofsd,
            _ => Program::Qemu,
        }
    }
}

/// A deviation that cannot be applied, because an argument that it changes is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("applying {deviation:?} to {program}: its arguments have no {expected}")]
pub struct Inapplicable {
    /// The deviation.
    pub deviation: Deviation,
    /// The program whose arguments were to be changed.
    pub program: String,
    /// The argument that was looked for.
    pub expected: &'static str,
}
