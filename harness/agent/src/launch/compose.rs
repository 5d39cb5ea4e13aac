//! Composition of a guest's command lines: Kata's own arguments, and the deviations that the environment makes
//! necessary.

use crate::broker;
use crate::launch::paths::GuestPaths;
use crate::launch::provided::Provided;
use crate::launch::vhost;
use crate::process::User;
use crate::system;
use model::arch::Arch;
use model::profile::{DaemonSetting, ModuleUse, Profile};
use operator::process::Invocation;
use protocol::message::{GuestRequest, Launched, SHARE};
use qemu::apply::{apply, apply_to_daemon};
use qemu::deviation::{Deviation, Program};
use qemu::launch::{FdPurpose, InheritedFd, Launch};
use qemu::sandbox::{BlockDevice, GuestImage, MemoryBacking, Net, SHARE_TAG, Sandbox, SharedFilesystem, Vsock};
use qemu::{argv, virtiofsd};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Claims, HARDWARE_ADDRESS, ModuleSet, Setting};
use suites::share::Share;
use vmms::guest::LOAD;

/// Size of the ext4 disk of a guest without a share, in bytes; sparse.
const DISK: u64 = 8 << 30;

/// Programs and files of a composed guest.
pub(crate) struct Composed {
    /// QEMU's command line.
    pub(crate) qemu: Vec<String>,
    /// Descriptor number of QEMU's listening QMP socket, if it expects to inherit one.
    pub(crate) qmp_fd: Option<i32>,
    /// Command line of virtiofsd; empty without one.
    pub(crate) daemon: Vec<String>,
    /// Descriptor number of virtiofsd's listening socket, if it expects to inherit one.
    pub(crate) daemon_fd: Option<i32>,
    /// Working directory of virtiofsd, if its socket's path is relative.
    pub(crate) daemon_folder: Option<PathBuf>,
    /// Descriptors of the host's vhost and tap drivers, and of a disk, that QEMU inherits.
    pub(crate) vhost: Vec<InheritedFd>,
    /// Context id of the guest, if it has vhost-vsock.
    pub(crate) guest_cid: u32,
    /// Path of the disk's file, if QEMU inherits it opened.
    pub(crate) disk: PathBuf,
    /// Maximum number of the guest's vCPUs.
    pub(crate) max_vcpus: u32,
    /// The user as whom QEMU runs, if not as root.
    pub(crate) user: Option<User>,
    deviations: Vec<Deviation>,
}

impl Composed {
    /// Returns the evidence.
    pub(crate) fn launched(&self) -> Launched {
        let deviations = self.deviations.iter().map(|deviation| deviation.meaning().to_owned()).collect();
        Launched { argv: self.qemu.clone(), daemon: self.daemon.clone(), deviations }
    }

    /// Returns the differences from Kata's own arguments of virtiofsd, if another VMM replaces QEMU.
    pub(crate) fn deviations_of_the_daemon(&self) -> impl Iterator<Item = String> {
        let of_it = self.deviations.iter().filter(|deviation| deviation.program() == Program::Virtiofsd);
        of_it.map(|deviation| deviation.meaning().to_owned())
    }
}

/// Composes the guest of a configuration; makes its disk if it has one.
pub(crate) fn compose(
    profile: &Profile,
    configuration: Configuration,
    provided: Provided,
    claims: &Claims,
    paths: &GuestPaths,
) -> Result<Composed, Stop> {
    let release = claims.in_use();
    let program = release.qemu().map(|vmm| vmm.path.to_string());
    let program = program.ok_or_else(|| Stop::fail(format!("the record names no qemu for {}", release.name())))?;
    let id = format!("kq{}-{}", std::process::id(), paths.number);
    let mut sandbox = Sandbox::new(profile, program, id, claims.vmlinuz.clone());
    sandbox.arch = release.arch;
    sandbox.initrd = Some(claims.initramfs.clone());
    sandbox.console = text(&paths.console);
    sandbox.pid_file = text(&paths.sockets.join("pid"));
    sandbox.uuid = format!("00000000-0000-4000-8000-{:012}", paths.number);
    sandbox.host_memory_mib = system::memory_mib().max(u64::from(sandbox.memory_mib));
    match paths.setting {
        Setting::SizedLater => sandbox.may_grow_to(system::cpus()),
        _ => sandbox.for_host_with(system::cpus(), profile),
    }
    let disk = match &paths.setting {
        Setting::Image { file, .. } | Setting::Disk(file) => file.clone(),
        _ => paths.disk.clone(),
    };
    if configuration == Configuration::VirtioBlk && disk == paths.disk {
        make_disk(&disk)?;
    }
    let guest_cid = guest_cid(paths.number);
    let max_vcpus = sandbox.max_vcpus;
    sandbox.vsock = Some(Vsock { guest_cid });
    let (qemu, daemon) = launches(
        profile,
        configuration,
        provided,
        sandbox,
        paths,
        release.filesystem(Share::VirtioFs).and_then(|f| Some(f.path.as_ref()?.as_str())),
    )?;
    let has_a_relative_socket = configuration == Configuration::VirtioFsWith(DaemonSetting::RelativeSocket);
    let deviations = qemu.deviations.iter().chain(daemon.iter().flat_map(|d| &d.deviations)).cloned().collect();
    Ok(Composed {
        qmp_fd: qemu.fd(FdPurpose::Qmp),
        vhost: qemu
            .fds
            .iter()
            .filter(|fd| !matches!(fd.purpose, FdPurpose::Qmp | FdPurpose::Virtiofsd))
            .copied()
            .collect(),
        guest_cid,
        disk,
        max_vcpus,
        user: None,
        qemu: qemu.argv(),
        daemon_fd: daemon.as_ref().and_then(|d| d.fd(FdPurpose::Virtiofsd)),
        daemon_folder: has_a_relative_socket.then(|| paths.sockets.clone()),
        daemon: daemon.map(|d| d.argv()).unwrap_or_default(),
        deviations,
    })
}

/// Adds the configuration's share to the sandbox and applies what the environment makes necessary.
fn launches(
    profile: &Profile,
    configuration: Configuration,
    provided: Provided,
    mut sandbox: Sandbox,
    paths: &GuestPaths,
    virtiofsd: Option<&str>,
) -> Result<(Launch, Option<Launch>), Stop> {
    let internal_error = |e: &dyn std::fmt::Display| Stop::error(format!("composing the guest's arguments: {e}"));
    let shared_dir = text(&paths.shared_dir);
    match configuration {
        Configuration::Static
        | Configuration::Own
        | Configuration::Plain
        | Configuration::Runc
        | Configuration::Kata => {}
        Configuration::VirtioBlk => {
            let file = match &paths.setting {
                Setting::Disk(file) => text(file),
                _ => text(&paths.disk),
            };
            sandbox.disks.push(BlockDevice { id: "baseline".to_owned(), file, read_only: false });
        }
        Configuration::VirtioFs | Configuration::VirtioFsWith(_) => {
            sandbox.shared = SharedFilesystem::VirtioFs { socket: text(&paths.virtiofsd), tag: SHARE_TAG.to_owned() };
        }
        Configuration::Virtio9p => {
            sandbox.shared = SharedFilesystem::Virtio9p { dir: shared_dir.clone(), tag: SHARE_TAG.to_owned() };
        }
    }
    let (mut initramfs, mut stand_in, mut bus_modules) = (None, None, None);
    let (mut queues, mut vhost_net) = (1, true);
    match &paths.setting {
        // The maximum number of CPUs is the host's.
        Setting::Shipped | Setting::SizedLater | Setting::Vcpus(_) | Setting::Disk(_) => {}
        // The process has another owner, and the same arguments.
        Setting::Rootless => {}
        Setting::IoThread => sandbox.io_thread = true,
        Setting::ScsiThread => sandbox.scsi_thread = true,
        Setting::RootPort => sandbox.root_ports = 1,
        Setting::SwitchPort => sandbox.switch_port = true,
        Setting::Iommu => sandbox.iommu = true,
        Setting::Image { file, driver } => {
            let bytes = std::fs::metadata(file).map_or(0, |meta| meta.len());
            sandbox.image = Some(GuestImage { file: text(file), bytes, driver: *driver });
            // Kata uses either an image or an initrd.
            initramfs = sandbox.initrd.take();
        }
        Setting::NetworkQueues(count) => queues = *count,
        Setting::NoVhostNet => vhost_net = false,
        Setting::ReclaimedMemory => sandbox.balloon = true,
        Setting::SeccompSandbox => sandbox.filtered = true,
        Setting::MemoryDump => sandbox.panic_device = true,
        Setting::Monitor(socket) => sandbox.monitor = Some(text(socket)),
        Setting::LegacySerial => sandbox.legacy_serial = true,
        Setting::Preallocated => sandbox.preallocated = true,
        Setting::Hugepages => sandbox.memory = MemoryBacking::Hugepages,
        Setting::VhostUserStore => {
            sandbox.memory = MemoryBacking::File { path: "/dev/shm".to_owned(), shared: true };
        }
        Setting::Numa => sandbox.memory = MemoryBacking::TwoNodes,
        Setting::NumaDevice(file) => {
            sandbox.memory = MemoryBacking::TwoNodes;
            sandbox.numa_port = true;
            stand_in = Some(text(file));
        }
        Setting::Microvm { drivers } => {
            sandbox.microvm = true;
            bus_modules = (!drivers.is_empty()).then(|| format!("{LOAD}{}", drivers.join(",")));
        }
        Setting::Firmware(file) => sandbox.firmware = Some(text(file)),
        Setting::Template(file) => sandbox.memory = MemoryBacking::File { path: text(file), shared: true },
        Setting::Clone(file) => {
            sandbox.memory = MemoryBacking::File { path: text(file), shared: false };
            sandbox.incoming = true;
        }
        Setting::Disks(files) => sandbox.disks.extend((0..).zip(files).map(|(number, file): (u32, _)| BlockDevice {
            id: format!("extension-{number}"),
            file: text(file),
            read_only: true,
        })),
    }
    sandbox.nested = provided.nested;
    // Included as in Kata, so that leaving them out is a recorded deviation.
    sandbox.vsock = sandbox.vsock.or(Some(Vsock { guest_cid: 3 }));
    let mac = HARDWARE_ADDRESS.to_owned();
    sandbox.net = Some(Net { tap: vhost::TAP.to_owned(), mac, queues, vhost: vhost_net });
    let mut launch = argv::launch(profile, &sandbox).map_err(|e| match e {
        // Kata does not support the setting on this architecture, or its behaviour there has not been studied.
        argv::ArgvError::Setting { .. } | argv::ArgvError::Architecture { .. } => Stop::skip(e.to_string()),
        argv::ArgvError::Share { .. } | argv::ArgvError::Comma { .. } | argv::ArgvError::Number { .. } => {
            internal_error(&e)
        }
    })?;
    let mut changes = provided.lacking();
    changes.extend((!profile.qemu.foreground).then_some(Deviation::Foreground));
    changes.extend(initramfs.map(|path| Deviation::Initramfs { path }));
    changes.extend(stand_in.map(|file| Deviation::StandIn { file }));
    changes.extend(bus_modules.map(|parameter| Deviation::BusModules { parameter }));
    changes.extend((sandbox.microvm && !provided.kvm).then(|| Deviation::Frequency { khz: system::processor_khz() }));
    changes.push(Deviation::RpcPort { socket: text(&paths.agent) });
    changes.push(Deviation::SerialLog { socket: text(&paths.serial), terse: provided.terse });
    apply(&mut launch, sandbox.arch, &changes).map_err(|e| internal_error(&e))?;
    let setting = match configuration {
        Configuration::VirtioFs => None,
        Configuration::VirtioFsWith(setting) => Some(setting),
        _ => return Ok((launch, None)),
    };
    let path = virtiofsd.ok_or_else(|| Stop::fail("the record names no virtiofsd"))?.to_owned();
    let socket = text(&paths.virtiofsd);
    let mut daemon = virtiofsd::launch(profile, &virtiofsd::VirtiofsdInstance { path, shared_dir, socket });
    let mut changes = provided.lacking_for_the_daemon();
    if setting == Some(DaemonSetting::SandboxNone) {
        changes.retain(|change| *change != Deviation::DaemonSandbox);
    }
    changes.extend(setting.map(|setting| Deviation::DaemonSetting { setting }));
    apply_to_daemon(&mut daemon, &changes).map_err(|e| internal_error(&e))?;
    Ok((launch, Some(daemon)))
}

/// Returns the parts that two profiles must have in common to share a configuration: their arguments without those that
/// differ between runs, and, if tests talk to QEMU, the QMP commands.
pub fn normalised(profile: &Profile, arch: Arch, configuration: Configuration, provided: Provided) -> String {
    // Static checks compare with the profile's own gates and flags.
    if configuration == Configuration::Static || configuration == Configuration::Kata {
        return profile.name.to_string();
    }
    // The control does not depend on profiles.
    if configuration == Configuration::Runc {
        return configuration.name().to_owned();
    }
    let form = |configuration, setting| {
        let paths = GuestPaths::placeholders(setting);
        let sandbox =
            Sandbox { arch, initrd: Some("initrd".to_owned()), ..Sandbox::new(profile, "qemu", "id", "kernel") };
        match launches(profile, configuration, provided, sandbox, &paths, Some("virtiofsd")) {
            Ok((qemu, daemon)) => {
                let daemon = daemon.map(|d| d.normalised()).unwrap_or_default();
                format!("{:?} {:?} {:?}", profile.runtime, qemu.normalised(), daemon)
            }
            // A configuration that cannot be composed is not shared.
            Err(_) => profile.name.to_string(),
        }
    };
    let qmp = format!("{:?}", profile.qmp);
    match configuration {
        Configuration::Own => {}
        Configuration::Plain => return format!("{}\n{qmp}", form(configuration, Setting::Shipped)),
        _ => return form(configuration, Setting::Shipped),
    }
    // Guests of the tests that boot their own: profiles share them only if all of them are equal.
    let of_settings = Setting::all().into_iter().filter(|setting| setting.is_known_to(profile));
    let guests = of_settings.map(|setting| (Configuration::Own, setting));
    let shipped = [Configuration::VirtioFs, Configuration::VirtioBlk].map(|share| (share, Setting::Shipped));
    let forms: Vec<String> =
        guests.chain(shipped).map(|(configuration, setting)| form(configuration, setting)).collect();
    format!("{}\n{qmp}", forms.join("\n"))
}

/// Returns the request to load the modules for a use; `None` if the kernel needs none for it.
pub(super) fn load(modules: &BTreeMap<ModuleUse, ModuleSet>, used_for: ModuleUse) -> Option<GuestRequest> {
    modules.get(&used_for).map(|set| GuestRequest::LoadModules { names: set.load.clone() })
}

/// Returns the request to mount a configuration's share, as Kata's agent receives it; the guest waits at most `within`
/// for the device.
pub(super) fn mount(configuration: Configuration, within: Duration) -> Option<GuestRequest> {
    let (source, fstype, options) = match configuration {
        Configuration::Static
        | Configuration::Own
        | Configuration::Plain
        | Configuration::Runc
        | Configuration::Kata => return None,
        Configuration::VirtioBlk => ("/dev/vda", "ext4", ""),
        Configuration::VirtioFs | Configuration::VirtioFsWith(_) => (SHARE_TAG, "virtiofs", ""),
        // src/runtime/virtcontainers/kata_agent.go@3.1.0: sharedDir9pOptions and the default msize.
        Configuration::Virtio9p => (SHARE_TAG, "9p", "trans=virtio,version=9p2000.L,cache=mmap,msize=8192"),
    };
    let [source, fstype, options, target] = [source, fstype, options, SHARE].map(str::to_owned);
    Some(GuestRequest::Mount { source, fstype, options, target, within })
}

/// Makes an empty ext4 filesystem in a sparse file.
fn make_disk(path: &Path) -> Result<(), Stop> {
    let failed = |e: String| Stop::error(format!("making the disk {}: {e}", path.display()));
    let file = std::fs::File::create(path).map_err(|e| failed(e.to_string()))?;
    file.set_len(DISK).map_err(|e| failed(e.to_string()))?;
    let disk = text(path);
    let arguments = ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", &disk];
    match Invocation::new(Path::new("mke2fs"), &arguments).run(Duration::from_secs(120), None) {
        Ok(finished) if finished.is_ok() => Ok(()),
        Ok(finished) => Err(failed(finished.stderr.trim().to_owned())),
        Err(e) => Err(failed(e.to_string())),
    }
}

/// Returns a context id that other guests of this machine are unlikely to have; 0 to 2 are reserved.
///
/// Processes in different containers of a machine have the same numbers, so in a container the id is one of the
/// broker's.
fn guest_cid(number: u64) -> u32 {
    if let Some(broker) = broker::here() {
        return broker.first_cid + u32::try_from(number % u64::from(broker::CIDS)).unwrap_or(0);
    }
    let seed = u64::from(std::process::id()) << 20 | number;
    u32::try_from(seed % 0x7fff_0000).unwrap_or(0) + 3
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without `share=on` the process that serves a disk would see other memory than the guest's.
    #[test]
    fn memory_is_shared_with_the_process_that_serves_a_disk() {
        let profile = Profile::find("go-3.32").unwrap();
        let paths = GuestPaths::placeholders(Setting::VhostUserStore);
        let sandbox = Sandbox { initrd: Some("initrd".to_owned()), ..Sandbox::new(profile, "qemu", "id", "kernel") };
        let (qemu, _) = launches(profile, Configuration::Own, Provided::default(), sandbox, &paths, None).unwrap();
        let argv = qemu.argv();
        assert!(argv.iter().any(|argument| argument.ends_with("mem-path=/dev/shm,share=on")), "{argv:?}");
    }

    /// Kata 3.12 and 3.13 start QEMU with the same arguments, but plug devices in another form.
    #[test]
    fn profiles_with_different_qmp_commands_share_no_qmp_guest() {
        let of = |name: &str, configuration| {
            normalised(Profile::find(name).unwrap(), Arch::X86_64, configuration, Provided::default())
        };
        for configuration in [Configuration::Own, Configuration::Plain] {
            assert_ne!(of("go-3.8", configuration), of("go-3.13", configuration), "{configuration:?}");
        }
        for configuration in [Configuration::VirtioFs, Configuration::VirtioBlk] {
            assert_eq!(of("go-3.8", configuration), of("go-3.13", configuration), "{configuration:?}");
        }
    }
}
