//! QEMU arguments of Kata: one generator for each runtime family.

mod arch;
mod go;
mod rs;

pub use arch::is_read;
pub(crate) use arch::{MICROVM, MMIO_SUFFIX};

use crate::launch::{Arg, ArgumentForm, FIRST_FD, FdPurpose, InheritedFd, Launch};
use crate::sandbox::{BlockDevice, GuestImage, MemoryBacking, Net, Sandbox, SharedFilesystem};
use model::arch::Arch;
use model::kata_version::KataVersion;
use model::profile::{BlkSource, ImageDriver, Profile, ProfileName, Runtime};
use model::share::Share;
use std::path::Path;

/// Returns the QEMU launch of Kata for this sandbox under this profile, argument by argument.
///
/// # Errors
/// When the profile's arguments for the architecture are not known, the profile's runtime does not know the share or
/// has no arguments for a setting on the architecture, or a value cannot be written on QEMU's command line.
pub fn launch(profile: &Profile, sandbox: &Sandbox) -> Result<Launch, ArgvError> {
    let profile = arch::profile(profile, sandbox)?;
    let profile = profile.as_ref();
    let sandbox = &arch::sandbox(sandbox, profile.runtime);
    validate(profile, sandbox)?;
    let fds = descriptors(profile, sandbox);
    let generate = |form| {
        let values = Values::new(profile, sandbox, &fds, form);
        match profile.runtime {
            Runtime::Go => go::arguments(profile, sandbox, &values),
            Runtime::Rs => rs::arguments(profile, sandbox, &values),
        }
    };
    let mut launch = Launch::new(
        &profile.name,
        &profile.tag,
        &sandbox.program,
        generate(ArgumentForm::Real),
        generate(ArgumentForm::Normal),
    );
    launch.fds = fds;
    Ok(launch)
}

/// Reasons why a sandbox has no QEMU arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgvError {
    /// Kata's arguments for this architecture were not read.
    #[error("profile {profile} has no arguments for {arch}: Kata's were read for x86_64 only")]
    Architecture {
        /// The profile.
        profile: ProfileName,
        /// The requested architecture.
        arch: Arch,
    },
    /// The runtime passes nothing for this setting on the architecture, or nothing that a guest could boot with.
    #[error("profile {profile} has no arguments on {arch} for {what}")]
    Setting {
        /// The profile.
        profile: ProfileName,
        /// The architecture.
        arch: Arch,
        /// The setting, e.g. `an IOMMU`.
        what: &'static str,
    },
    /// The runtime or its guest agent does not know the share.
    #[error("profile {profile} does not share over {share}, only over {known}")]
    Share {
        /// The profile.
        profile: ProfileName,
        /// The requested share.
        share: Share,
        /// The shares that the profile supports.
        known: String,
    },
    /// A value contains a comma, which separates QEMU's options and which Kata does not escape.
    #[error("{what} {value:?} contains a comma, which QEMU takes for the next option: use another name")]
    Comma {
        /// Name of the value.
        what: &'static str,
        /// Text of the value.
        value: String,
    },
    /// A number that QEMU would refuse.
    #[error("{what} is {value}, expected {expected}")]
    Number {
        /// Name of the number.
        what: &'static str,
        /// The number.
        value: u64,
        /// The allowed range.
        expected: &'static str,
    },
}

fn validate(profile: &Profile, sandbox: &Sandbox) -> Result<(), ArgvError> {
    if let Some(what) = arch::lacks(sandbox, profile.runtime) {
        return Err(ArgvError::Setting { profile: profile.name.clone(), arch: sandbox.arch, what });
    }
    let share = match &sandbox.shared {
        SharedFilesystem::None => None,
        SharedFilesystem::VirtioFs { .. } => Some(Share::VirtioFs),
        SharedFilesystem::Virtio9p { .. } => Some(Share::Virtio9p),
    };
    if let Some(share) = share.filter(|share| !profile.shares(*share)) {
        return Err(ArgvError::Share { profile: profile.name.clone(), share, known: profile.share_names() });
    }
    let mut names = vec![("sandbox id", &sandbox.id), ("console socket", &sandbox.console)];
    match &sandbox.shared {
        SharedFilesystem::None => {}
        SharedFilesystem::VirtioFs { socket, tag } => {
            names.extend([("virtiofsd's socket", socket), ("mount tag", tag)])
        }
        SharedFilesystem::Virtio9p { dir, tag } => names.extend([("shared directory", dir), ("mount tag", tag)]),
    }
    names.extend(sandbox.firmware.iter().map(|firmware| ("firmware", firmware)));
    names.extend(sandbox.monitor.iter().map(|socket| ("monitor's socket", socket)));
    if let MemoryBacking::File { path, .. } = &sandbox.memory {
        names.push(("memory file", path));
    }
    names.extend(sandbox.image.iter().map(|image| ("guest image", &image.file)));
    names.extend(sandbox.disks.iter().flat_map(|disk| [("disk id", &disk.id), ("disk image", &disk.file)]));
    names.extend(sandbox.net.iter().flat_map(|net| [("tap name", &net.tap), ("mac address", &net.mac)]));
    if let Some((what, value)) = names.into_iter().find(|(_, value)| value.contains(',')) {
        return Err(ArgvError::Comma { what, value: value.clone() });
    }
    let numbers: [(&'static str, u64, bool, &'static str); 4] = [
        ("memory in MiB", sandbox.memory_mib.into(), sandbox.memory_mib > 0, "at least 1"),
        ("number of vcpus", sandbox.vcpus.into(), sandbox.vcpus > 0, "at least 1"),
        ("maximum of vcpus", sandbox.max_vcpus.into(), sandbox.max_vcpus >= sandbox.vcpus, "at least the vcpus"),
        (
            "guest cid",
            sandbox.vsock.map_or(3, |v| v.guest_cid).into(),
            sandbox.vsock.is_none_or(|v| v.guest_cid > 2),
            "at least 3",
        ),
    ];
    match numbers.into_iter().find(|(_, _, fine, _)| !fine) {
        Some((what, value, _, expected)) => Err(ArgvError::Number { what, value, expected }),
        None => Ok(()),
    }
}

/// Returns the descriptors in the order in which the Go runtime numbers them: consecutive from 3, as `exec.Cmd` does
/// with its `ExtraFiles` (`appendFDs` in `src/runtime/pkg/govmm/qemu/qemu.go`). runtime-rs passes descriptors under
/// arbitrary numbers, so the same order is used.
fn descriptors(profile: &Profile, sandbox: &Sandbox) -> Vec<InheritedFd> {
    let mut purposes = Vec::new();
    purposes.extend(profile.qemu.foreground.then_some(FdPurpose::Qmp));
    purposes.extend(sandbox.vsock.map(|_| FdPurpose::Vsock));
    if let Some(net) = &sandbox.net {
        let by_vhost = if net.vhost { net.queues } else { 0 };
        purposes.extend((0..by_vhost).map(|queue| FdPurpose::VhostNet { queue }));
        purposes.extend((0..net.queues).map(|queue| FdPurpose::Tap { queue }));
    }
    if profile.qemu.blk_source == BlkSource::Fdset {
        let image = image_disk(sandbox).map(|disk| disk.read_only);
        let disks = image.into_iter().chain(sandbox.disks.iter().map(|disk| disk.read_only));
        purposes.extend((0u32..).zip(disks).map(|(index, read_only)| FdPurpose::Disk { index, read_only }));
    }
    purposes.into_iter().zip(FIRST_FD..).map(|(purpose, number)| InheritedFd { number, purpose }).collect()
}

/// Returns the image as a block device if it is attached as one; it comes before all other disks.
fn image_disk(sandbox: &Sandbox) -> Option<BlockDevice> {
    let image = sandbox.image.as_ref().filter(|image| image.driver == ImageDriver::Blk)?;
    // runtime-rs uses eight random bytes here.
    let id = sandbox.uuid.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    Some(BlockDevice { id, file: image.file.clone(), read_only: true })
}

/// Returns the kernel parameters that mount an image's first partition, which is ext4 as shipped.
///
/// Both runtimes append the read-only option to the flags, in one parameter.
///
/// Sources: `GetKernelRootParams` in `src/runtime/virtcontainers/hypervisor.go@3.32.0` and its lists before 3.1,
/// `new_rootfs_kernel_params` in `src/runtime-rs/crates/hypervisor/src/kernel_param.rs@4.1.0`.
fn root_params(image: &GuestImage, arch: Arch) -> [String; 3] {
    let root = match image.driver {
        ImageDriver::Nvdimm => "/dev/pmem0p1",
        ImageDriver::Blk => "/dev/vda1",
    };
    let dax = if arch::reads_in_place(image, arch) { "dax," } else { "" };
    [format!("root={root}"), format!("rootflags={dax}data=ordered,errors=remount-ro ro"), "rootfstype=ext4".to_owned()]
}

/// The device of `enable_iommu` (`DeviceIntelIommu`, and `IommuDev` in govmm's `qemu.go`). It remaps interrupts, so it
/// needs a split interrupt controller and the kernel parameters below.
const IOMMU: &str = "intel-iommu,intremap=on,device-iotlb=on,caching-mode=on";
const IOMMU_PARAMS: [&str; 2] = ["intel_iommu=on", "iommu=pt"];

/// The single I/O thread of `indep_iothreads = 1` (`setupIoThread` in src/runtime/virtcontainers/qemu.go@4.1.0,
/// `add_indep_iothreads` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
const IO_THREAD: &str = "iothread,id=indep_iothread_0";

/// Returns the seccomp filter that a comment in the shipped configuration suggests
/// (src/runtime/config/configuration-qemu.toml.in@3.32.0,
/// src/runtime-rs/config/configuration-qemu-runtime-rs.toml.in@4.1.0).
fn filter(profile: &Profile) -> Arg {
    let privileges = match profile.version() >= KataVersion::new(4, 1, 0) {
        true => "elevateprivileges=deny,",
        false => "",
    };
    Arg::new("-sandbox", format!("on,obsolete=deny,{privileges}spawn=deny,resourcecontrol=deny"))
}

/// The PCIe port for a VFIO device on the host's first NUMA node. Both guest nodes are on that host node, so the last
/// guest node counts (`buildCoveredHostNodes` and `createNUMAPCIeTopology` in
/// src/runtime/virtcontainers/qemu.go@3.32.0).
pub(crate) const NUMA_PORT: &str = "rp-numa1-0";

/// Values of a sandbox that differ from run to run, either real or as placeholders.
struct Values {
    form: ArgumentForm,
    id: String,
    uuid: String,
    kernel: String,
    console: String,
    pid_file: String,
    /// `fd=3`, or the path of the socket that QEMU creates (`qmpSocketPath`, in the directory of the pid file).
    qmp: String,
    vsock_fd: String,
    guest_cid: String,
    vhost_net_fds: String,
    tap_fds: String,
    disk_fds: Vec<String>,
}

impl Values {
    fn new(profile: &Profile, sandbox: &Sandbox, fds: &[InheritedFd], form: ArgumentForm) -> Values {
        let numbers = |is_requested: fn(&FdPurpose) -> bool| {
            let all: Vec<String> =
                fds.iter().filter(|fd| is_requested(&fd.purpose)).map(|fd| fd.number.to_string()).collect();
            all.join(":")
        };
        Values {
            form,
            id: form.pick(&sandbox.id, "id"),
            uuid: form.pick(&sandbox.uuid, "uuid"),
            kernel: form.pick(&sandbox.kernel, "kernel"),
            console: form.pick(&sandbox.console, "console"),
            pid_file: form.pick(&sandbox.pid_file, "pid-file"),
            qmp: match profile.qemu.foreground {
                true => format!("fd={}", form.pick(&numbers(|p| matches!(p, FdPurpose::Qmp)), "qmp-fd")),
                false => {
                    let socket = Path::new(&sandbox.pid_file).with_file_name("qmp.sock");
                    form.pick(&socket.to_string_lossy(), "qmp")
                }
            },
            vsock_fd: form.pick(&numbers(|p| matches!(p, FdPurpose::Vsock)), "vsock-fd"),
            guest_cid: form.pick(&sandbox.vsock.map_or(0, |v| v.guest_cid).to_string(), "cid"),
            vhost_net_fds: form.pick(&numbers(|p| matches!(p, FdPurpose::VhostNet { .. })), "vhost-net-fds"),
            tap_fds: form.pick(&numbers(|p| matches!(p, FdPurpose::Tap { .. })), "tap-fds"),
            disk_fds: fds
                .iter()
                .filter(|fd| matches!(fd.purpose, FdPurpose::Disk { .. }))
                .map(|fd| form.pick(&fd.number.to_string(), "disk-fd"))
                .collect(),
        }
    }

    /// Returns the vhost-net options of a `-netdev` back end.
    fn vhost_net(&self, net: &Net) -> String {
        if net.vhost { format!(",vhost=on,vhostfds={}", self.vhost_net_fds) } else { String::new() }
    }

    fn disk_fd(&self, index: usize) -> &str {
        self.disk_fds.get(index).map_or("", String::as_str)
    }

    fn pick(&self, value: &str, placeholder: &str) -> String {
        self.form.pick(value, placeholder)
    }

    /// Returns the human monitor, which both runtimes write in the same way; runtime-rs uses a path in its working
    /// directory.
    fn monitor(&self, sandbox: &Sandbox) -> Option<Arg> {
        let socket = self.pick(sandbox.monitor.as_ref()?, "monitor");
        Some(Arg::new("-monitor", format!("unix:path={socket},server=on,wait=off")))
    }

    /// Returns `-kernel`, `-initrd` and `-append`, in this order in both runtimes.
    fn kernel_args(&self, sandbox: &Sandbox, params: Vec<String>) -> Vec<Arg> {
        let mut args = vec![Arg::new("-kernel", self.kernel.as_str())];
        args.extend(sandbox.initrd.as_ref().map(|initrd| Arg::new("-initrd", self.pick(initrd, "initrd"))));
        args.push(Arg::new("-append", params.join(" ")));
        args
    }
}

#[cfg(test)]
mod tests;
