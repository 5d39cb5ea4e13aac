//! The Go runtime, 2.2 and later: `src/runtime/virtcontainers/qemu*.go` describes the machine, `LaunchQemu` in
//! `src/runtime/pkg/govmm/qemu/qemu.go` prints it.

use super::Values;
use crate::launch::Arg;
use crate::sandbox::{BlockDevice, GuestImage, MemoryBacking, Net, Sandbox, SharedFilesystem};
use model::profile::{BlkReadOnly, ImageDriver, Profile};

/// `maxDevIDSize` in `qemu_arch_base.go`: QEMU's limit for ids, to which Kata cuts.
const MAX_ID: usize = 31;
/// What `genericMemoryTopology` in `qemu.go` adds to the maximum, for an NVDIMM that an initrd does not need.
const MEMORY_OFFSET_MIB: u64 = 1024;

/// The order is that of `LaunchQemu`; within the devices it is that in which `CreateVM`, then the agent (vsock, share),
/// then the network add them.
pub(super) fn arguments(profile: &Profile, sandbox: &Sandbox, values: &Values) -> Vec<Arg> {
    let qemu = &profile.qemu;
    let max_memory = values.pick(&(sandbox.host_memory_mib + MEMORY_OFFSET_MIB).to_string(), "host-memory-mib + 1024");
    let mut args = vec![
        Arg::new("-name", format!("sandbox-{}", values.id)),
        Arg::new("-uuid", values.uuid.as_str()),
        Arg::new("-machine", format!("{},{}{}", qemu.machine, machine_options(profile, sandbox), nvdimm(sandbox))),
        Arg::new("-cpu", format!("host,{}", qemu.cpu_features)),
        Arg::new("-qmp", format!("unix:{},server=on,wait=off", values.qmp)),
        Arg::new("-m", format!("{}M,slots={},maxmem={max_memory}M", sandbox.memory_mib, qemu.memory_slots)),
    ];
    args.extend(devices(profile, sandbox, values));
    args.extend([
        Arg::new("-rtc", "base=utc,driftfix=slew,clock=host"),
        Arg::new("-global", "kvm-pit.lost_tick_policy=discard"),
        Arg::new("-vga", "none"),
        Arg::flag("-no-user-config"),
        Arg::flag("-nodefaults"),
        Arg::flag("-nographic"),
        Arg::flag("--no-reboot"),
    ]);
    if !qemu.foreground {
        args.push(Arg::flag("-daemonize"));
    }
    args.extend(match sandbox.memory {
        MemoryBacking::TwoNodes => nodes(sandbox),
        _ => vec![Arg::new("-object", memory_backend(sandbox, values)), Arg::new("-numa", "node,memdev=dimm1")],
    });
    args.extend(values.kernel_args(sandbox, kernel_params(profile, sandbox)));
    args.extend(sandbox.firmware.iter().map(|firmware| Arg::new("-bios", values.pick(firmware, "firmware"))));
    if sandbox.incoming {
        args.extend([Arg::flag("-S"), Arg::new("-incoming", "defer")]);
    }
    args.push(Arg::new("-pidfile", values.pid_file.as_str()));
    args.extend(sandbox.filtered.then(|| super::filter(profile)));
    args.push(cpus(sandbox));
    args
}

/// `cpuTopology` in `qemu_arch_base.go`: a socket for each vCPU, or for each NUMA node.
fn cpus(sandbox: &Sandbox) -> Arg {
    let (vcpus, max) = (sandbox.vcpus, sandbox.max_vcpus);
    let (sockets, cores, max) = match sandbox.memory {
        // With NUMA, sizes are static (`static_sandbox_resource_mgmt`): none are added.
        MemoryBacking::TwoNodes => (NODES, vcpus.div_ceil(NODES), NODES * vcpus.div_ceil(NODES)),
        _ => (max, 1, max),
    };
    Arg::new("-smp", format!("{vcpus},cores={cores},threads=1,sockets={sockets},maxcpus={max}"))
}

/// How many NUMA nodes a guest is given.
const NODES: u32 = 2;

/// `appendMultiNUMAMemoryKnobs` in govmm's `qemu.go`, for `numa_mapping = ["0", "0"]`: the distances are those of the host's
/// first node from itself.
fn nodes(sandbox: &Sandbox) -> Vec<Arg> {
    let (memory, cpus) = (sandbox.memory_mib / NODES, sandbox.vcpus.div_ceil(NODES));
    let node = |node: u32| {
        let (first, last) = (node * cpus, (node + 1) * cpus - 1);
        [
            Arg::new(
                "-object",
                format!("memory-backend-ram,id=numa-mem{node},size={memory}M,host-nodes=0,policy=bind"),
            ),
            Arg::new("-numa", format!("node,nodeid={node},memdev=numa-mem{node},cpus={first}-{last}")),
        ]
    };
    let distance = |(from, to)| Arg::new("-numa", format!("dist,src={from},dst={to},val=10"));
    (0..NODES).flat_map(node).chain([(0, 1), (1, 0)].map(distance)).collect()
}

/// `splitIrqChipMachineOptions` in `qemu_amd64.go` stands in the place of the others.
fn machine_options<'a>(profile: &'a Profile, sandbox: &Sandbox) -> &'a str {
    if sandbox.iommu { "accel=kvm,kernel_irqchip=split" } else { &profile.qemu.machine_options }
}

/// `handleImagePath` in `qemu_arch_base.go`.
fn nvdimm(sandbox: &Sandbox) -> &'static str {
    match &sandbox.image {
        Some(GuestImage { driver: ImageDriver::Nvdimm, .. }) => ",nvdimm=on",
        _ => "",
    }
}

/// `appendMemoryKnobs`; `setupFileBackedMem` makes it a shared file for virtio-fs, `setupTemplate` one of the template's.
fn memory_backend(sandbox: &Sandbox, values: &Values) -> String {
    let size = sandbox.memory_mib;
    let shared = matches!(sandbox.shared, SharedFilesystem::VirtioFs { .. });
    let file =
        |path: &str, options: &str| format!("memory-backend-file,id=dimm1,size={size}M,mem-path={path}{options}");
    match &sandbox.memory {
        MemoryBacking::Hugepages => file("/dev/hugepages", if shared { ",share=on,prealloc=on" } else { "" }),
        MemoryBacking::File { path, shared } => {
            file(&values.pick(path, "memory"), if *shared { ",share=on" } else { "" })
        }
        _ if shared => file("/dev/shm", ",share=on"),
        _ => format!("memory-backend-ram,id=dimm1,size={size}M"),
    }
}

fn devices(profile: &Profile, sandbox: &Sandbox, values: &Values) -> Vec<Arg> {
    // `disableModern` in govmm prints the option with either value on PCI.
    let modern = format!("disable-modern={}", sandbox.nested);
    let mut args = vec![
        Arg::new("-device", format!("pci-bridge,bus=pcie.0,id=pci-bridge-0,chassis_nr=1,{}", profile.qemu.bridge)),
        // `max_ports=2` is set, yet printed only together with a ROM file, which Kata does not have.
        Arg::new("-device", format!("virtio-serial-pci,{modern},id=serial0")),
        Arg::new("-device", "virtconsole,chardev=charconsole0,id=console0"),
        Arg::new("-chardev", format!("socket,id=charconsole0,path={},server=on,wait=off", values.console)),
    ];
    args.extend(sandbox.image.iter().flat_map(|given| image(profile, sandbox, values, &modern, given)));
    args.extend(sandbox.iommu.then(|| Arg::new("-device", super::IOMMU)));
    if sandbox.panic_device {
        args.extend([Arg::new("-device", "pvpanic"), Arg::flag("-no-shutdown")]);
    }
    args.extend([
        Arg::new("-device", format!("virtio-scsi-pci,id=scsi0,{modern}")),
        Arg::new("-object", "rng-random,id=rng0,filename=/dev/urandom"),
        Arg::new("-device", "virtio-rng-pci,rng=rng0"),
    ]);
    // `CreateVM` says that it is a modern one, nested or not.
    args.extend(sandbox.balloon.then(|| {
        let options = "deflate-on-oom=on,disable-modern=false,free-page-reporting=on";
        Arg::new("-device", format!("virtio-balloon-pci,id=balloon0,{options}"))
    }));
    // `genericAppendPCIeRootPort` in `qemu.go`.
    args.extend((0..sandbox.root_ports).map(|slot| {
        Arg::new("-device", format!("pcie-root-port,id=rp{slot},bus=pcie.0,chassis=0,slot={slot},multifunction=off"))
    }));
    // `genericAppendPCIeSwitchPort` in `qemu.go`.
    if sandbox.switch_port {
        args.extend([
            Arg::new("-device", "pcie-root-port,id=swrp0,bus=pcie.0,chassis=1,slot=0,multifunction=off"),
            Arg::new("-device", "x3130-upstream,id=swup0,bus=swrp0"),
            Arg::new("-device", "xio3130-downstream,id=swdp0,bus=swup0,chassis=2,slot=0"),
        ]);
    }
    if sandbox.vsock.is_some() {
        let (fd, cid) = (&values.vsock_fd, &values.guest_cid);
        let bus = root_bus(profile);
        args.push(Arg::new(
            "-device",
            format!("vhost-vsock-pci,{modern},vhostfd={fd},id=vsock-{cid},guest-cid={cid}{bus}"),
        ));
    }
    match &sandbox.shared {
        SharedFilesystem::None => {}
        SharedFilesystem::VirtioFs { socket, tag } => args.extend(virtio_fs(profile, sandbox, values, socket, tag)),
        SharedFilesystem::Virtio9p { dir, tag } => args.extend(virtio_9p(values, &modern, dir, tag)),
    }
    if let Some(net) = &sandbox.net {
        args.extend(network(profile, values, &modern, net));
    }
    args.extend(sandbox.disks.iter().flat_map(|disk| block(profile, values, &modern, disk)));
    args
}

/// `appendNvdimmImage`, or `genericImage` with eight random bytes in its id, both in `qemu_arch_base.go`.
fn image(profile: &Profile, sandbox: &Sandbox, values: &Values, modern: &str, image: &GuestImage) -> [Arg; 2] {
    let file = values.pick(&image.file, "image");
    match image.driver {
        ImageDriver::Nvdimm => {
            let bytes = values.pick(&image.bytes.to_string(), "image-bytes");
            [
                Arg::new("-device", "nvdimm,id=nv0,memdev=mem0,unarmed=on"),
                Arg::new("-object", format!("memory-backend-file,id=mem0,mem-path={file},size={bytes},readonly=on")),
            ]
        }
        ImageDriver::Blk => {
            let id = format!("image-{}", values.pick(&random(sandbox), "random"));
            virtio_blk(profile, modern, &id, &file, ",share-rw=on", true)
        }
    }
}

/// `AddDevice` in `qemu.go` names the channel by sixteen random hexadecimal digits; here they come from the UUID.
fn virtio_fs(profile: &Profile, sandbox: &Sandbox, values: &Values, socket: &str, tag: &str) -> [Arg; 2] {
    let id = format!("char-{}", values.pick(&random(sandbox), "random"));
    let socket = values.pick(socket, "virtiofsd");
    let queue = profile.qemu.virtio_fs_queue_size.map(|size| format!(",queue-size={size}")).unwrap_or_default();
    let bus = root_bus(profile);
    [
        Arg::new("-chardev", format!("socket,id={id},path={socket}")),
        Arg::new("-device", format!("vhost-user-fs-pci,chardev={id},tag={tag}{queue}{bus}")),
    ]
}

/// Sixteen hexadecimal digits, which Kata takes at random.
fn random(sandbox: &Sandbox) -> String {
    sandbox.uuid.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

/// `hasPCIeRoot` in govmm's `qemu.go`: devices are kept off other root buses by name.
fn root_bus(profile: &Profile) -> String {
    profile.qemu.root_bus.as_ref().map(|bus| format!(",bus={bus}")).unwrap_or_default()
}

/// `generic9PVolume` in `qemu_arch_base.go`.
fn virtio_9p(values: &Values, modern: &str, dir: &str, tag: &str) -> [Arg; 2] {
    let id = cut(&format!("extra-9p-{tag}"));
    let dir = values.pick(dir, "share");
    [
        Arg::new("-device", format!("virtio-9p-pci,{modern},fsdev={id},mount_tag={tag}")),
        Arg::new("-fsdev", format!("local,id={id},path={dir},security_model=none,multidevs=remap")),
    ]
}

/// `genericNetwork` in `qemu_arch_base.go`; `Script` and `DownScript` are printed only without descriptors.
fn network(profile: &Profile, values: &Values, modern: &str, net: &Net) -> [Arg; 2] {
    let bus = root_bus(profile);
    let (vhost, tap) = (&values.vhost_net_fds, &values.tap_fds);
    let mac = values.pick(&net.mac, "mac");
    let vectors = 2 * net.queues + 2;
    [
        Arg::new("-netdev", format!("tap,id=network-0,vhost=on,vhostfds={vhost},fds={tap}")),
        Arg::new(
            "-device",
            format!("driver=virtio-net-pci,netdev=network-0,mac={mac}{bus},{modern},mq=on,vectors={vectors}"),
        ),
    ]
}

/// `genericBlockDevice` in `qemu_arch_base.go`.
fn block(profile: &Profile, values: &Values, modern: &str, disk: &BlockDevice) -> [Arg; 2] {
    let id = cut(&format!("drive-{}", disk.id));
    virtio_blk(profile, modern, &id, &values.pick(&disk.file, "disk"), "", disk.read_only)
}

/// `QemuParams` of `BlockDevice` in govmm's `qemu.go`.
fn virtio_blk(profile: &Profile, modern: &str, id: &str, file: &str, share: &str, read_only: bool) -> [Arg; 2] {
    let scsi = if profile.qemu.blk_scsi_off { ",scsi=off" } else { "" };
    let read_only = match (read_only, profile.qemu.blk_read_only) {
        (false, _) => "",
        (true, BlkReadOnly::Readonly) => ",readonly",
        (true, _) => ",readonly=on",
    };
    [
        Arg::new("-device", format!("virtio-blk-pci,{modern},drive={id}{scsi},config-wce=off{share},serial={id}")),
        Arg::new("-drive", format!("id={id},file={file},aio=threads,format=raw,if=none{read_only}")),
    ]
}

/// `kernelParams` in `qemu_amd64.go`, the consoles of `appendConsole`, `kernelParamsNonDebug` in `qemu_arch_base.go`,
/// then `kernelParameters` in `qemu.go` and what `SetKernelParams` in `src/runtime/pkg/katautils/config.go` leaves in
/// the configuration.
///
/// An image brings `handleImagePath` in `qemu_arch_base.go`, behind what the runtime has of its own and before the
/// consoles where these are added later, and `getKernelParams` in `src/runtime/pkg/katautils/create.go`.
fn kernel_params(profile: &Profile, sandbox: &Sandbox) -> Vec<String> {
    let mut params = profile.qemu.runtime_params.clone();
    let own = params.iter().position(|param| param == "pci=lastbus=0").map_or(0, |last| last + 1);
    if sandbox.iommu {
        // `newQemuArch` in `qemu_amd64.go`.
        params.splice(own..own, super::IOMMU_PARAMS.map(str::to_owned));
    }
    if let Some(image) = &sandbox.image {
        params.splice(own..own, super::root_params(image.driver));
        let quiet = params.iter().position(|param| param == "quiet").map_or(params.len(), |quiet| quiet + 1);
        params.insert(quiet, "systemd.show_status=false".to_owned());
    }
    params.push(format!("nr_cpus={}", sandbox.max_vcpus));
    params.extend(profile.qemu.guest_selinux.clone());
    if sandbox.image.is_some() {
        let systemd = [
            "systemd.unit=kata-containers.target",
            "systemd.mask=systemd-networkd.service",
            "systemd.mask=systemd-networkd.socket",
        ];
        params.extend(systemd.map(str::to_owned));
    }
    params.extend(profile.qemu.kernel_params.iter().cloned());
    params.extend(sandbox.extra_kernel_params.iter().cloned());
    params
}

fn cut(id: &str) -> String {
    id.chars().take(MAX_ID).collect()
}
