//! Arguments of the Go runtime, 2.2 and later: `src/runtime/virtcontainers/qemu*.go` describes the machine, and
//! `LaunchQemu` in `src/runtime/pkg/govmm/qemu/qemu.go` prints it.

use super::Values;
use super::arch::{self, Bus};
use crate::launch::Arg;
use crate::sandbox::{BlockDevice, GuestImage, MemoryBacking, Net, Sandbox, SharedFilesystem};
use model::profile::fixed::{MAX_ID, MEMORY_OFFSET_MIB, ROOT_BUS, ROOT_PORT, SWITCH_DOWN, SWITCH_UP};
use model::profile::{BlkReadOnly, ImageDriver, Profile};

/// Returns all arguments in the order of `LaunchQemu`. The devices are in the order in which `CreateVM`, then the agent
/// (vsock, share), then the network add them.
pub(super) fn arguments(profile: &Profile, sandbox: &Sandbox, values: &Values) -> Vec<Arg> {
    let qemu = &profile.qemu;
    // `genericMemoryTopology` in `qemu.go`.
    let max_memory = arch::go_max_memory(sandbox, MEMORY_OFFSET_MIB).to_string();
    let max_memory = values.pick(&max_memory, "host-memory-mib + 1024");
    let mut args = vec![
        Arg::new("-name", format!("sandbox-{}", values.id)),
        Arg::new("-uuid", values.uuid.as_str()),
        Arg::new("-machine", format!("{},{}{}", qemu.machine, machine_options(profile, sandbox), nvdimm(sandbox))),
        Arg::new("-cpu", format!("host,{}", qemu.cpu_features)),
        Arg::new("-qmp", format!("unix:{},server=on,wait=off", values.qmp)),
    ];
    args.extend(values.monitor(sandbox));
    args.push(Arg::new("-m", format!("{}M,slots={},maxmem={max_memory}M", sandbox.memory_mib, qemu.memory_slots)));
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
        _ => vec![Arg::new("-object", memory_backend(sandbox, values)), memory_place(sandbox)],
    });
    args.extend(values.kernel_args(sandbox, kernel_params(profile, sandbox)));
    args.extend(sandbox.firmware.iter().map(|firmware| Arg::new("-bios", values.pick(firmware, "firmware"))));
    args.extend(
        sandbox.scsi_thread.then(|| Arg::new("-object", format!("iothread,id={}", scsi_thread(sandbox, values)))),
    );
    args.extend(sandbox.io_thread.then(|| Arg::new("-object", super::IO_THREAD)));
    if sandbox.incoming {
        args.extend([Arg::flag("-S"), Arg::new("-incoming", "defer")]);
    }
    args.push(Arg::new("-pidfile", values.pid_file.as_str()));
    args.extend(sandbox.filtered.then(|| super::filter(profile)));
    args.push(cpus(sandbox));
    args
}

/// Returns the topology of `cpuTopology` in `qemu_arch_base.go`: one socket for each vCPU, or for each NUMA node.
fn cpus(sandbox: &Sandbox) -> Arg {
    let (vcpus, max) = (sandbox.vcpus, sandbox.max_vcpus);
    let (sockets, cores, max) = match sandbox.memory {
        // With NUMA, sandboxes are sized statically (`static_sandbox_resource_mgmt`): no vCPUs are added later.
        MemoryBacking::TwoNodes => (NODES, vcpus.div_ceil(NODES), NODES * vcpus.div_ceil(NODES)),
        _ => (max, 1, max),
    };
    Arg::new("-smp", format!("{vcpus},cores={cores},threads=1,sockets={sockets},maxcpus={max}"))
}

/// Number of NUMA nodes of a guest with NUMA.
const NODES: u32 = 2;

/// Returns the NUMA nodes of `appendMultiNUMAMemoryKnobs` in govmm's `qemu.go`, for `numa_mapping = ["0", "0"]`: all
/// distances are the distance from the host's first node to itself.
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

/// Returns the machine options; with an IOMMU `splitIrqChipMachineOptions` in `qemu_amd64.go` replaces all others.
fn machine_options<'a>(profile: &'a Profile, sandbox: &Sandbox) -> &'a str {
    if sandbox.iommu { "accel=kvm,kernel_irqchip=split" } else { &profile.qemu.machine_options }
}

/// Returns the machine option that `handleImagePath` in `qemu_arch_base.go` adds for an NVDIMM.
fn nvdimm(sandbox: &Sandbox) -> &'static str {
    match &sandbox.image {
        Some(GuestImage { driver: ImageDriver::Nvdimm, .. }) => ",nvdimm=on",
        _ => "",
    }
}

/// Returns the argument of `appendMemoryKnobs` that uses the memory backend. Without DIMMs it is a second `-machine`,
/// which QEMU merges with the first.
fn memory_place(sandbox: &Sandbox) -> Arg {
    match arch::has_dimms(sandbox) {
        true => Arg::new("-numa", "node,memdev=dimm1"),
        false => Arg::new("-machine", "memory-backend=dimm1"),
    }
}

/// Returns the memory backend of `appendMemoryKnobs`; `setupFileBackedMem` makes it a shared file for virtio-fs, and
/// `setupTemplate` the template's file.
fn memory_backend(sandbox: &Sandbox, values: &Values) -> String {
    let size = sandbox.memory_mib;
    let shared = matches!(sandbox.shared, SharedFilesystem::VirtioFs { .. });
    let file =
        |path: &str, options: &str| format!("memory-backend-file,id=dimm1,size={size}M,mem-path={path}{options}");
    let huge = matches!(sandbox.memory, MemoryBacking::Hugepages);
    let backend = match &sandbox.memory {
        MemoryBacking::Hugepages => file("/dev/hugepages", if shared { ",share=on" } else { "" }),
        MemoryBacking::File { path, shared } => {
            file(&values.pick(path, "memory"), if *shared { ",share=on" } else { "" })
        }
        _ if shared => file("/dev/shm", ",share=on"),
        _ => format!("memory-backend-ram,id=dimm1,size={size}M"),
    };
    // Shared huge pages are always preallocated (`CreateVM` in `qemu.go`).
    let preallocated = sandbox.preallocated || (huge && shared);
    backend + if preallocated { ",prealloc=on" } else { "" }
}

fn devices(profile: &Profile, sandbox: &Sandbox, values: &Values) -> Vec<Arg> {
    let mut bus = Bus::new(sandbox, profile.runtime);
    // `disableModern` in govmm prints the option with either value on PCI, and on no other bus.
    let modern = if bus.is_pci() { format!(",disable-modern={}", sandbox.nested) } else { String::new() };
    let bridge = arch::bridge_bus(sandbox).map(|on| {
        Arg::new("-device", format!("pci-bridge,bus={on},id=pci-bridge-0,chassis_nr=1,{}", profile.qemu.bridge))
    });
    let mut args: Vec<Arg> = bridge.into_iter().collect();
    // `appendConsole` in `qemu_arch_base.go`.
    args.extend(match sandbox.legacy_serial {
        true => vec![Arg::new("-serial", "chardev:charconsole0")],
        // `max_ports=2` is set, but printed only together with a ROM file, which Kata does not have.
        false => vec![
            Arg::new("-device", format!("{}{modern},id=serial0{}", bus.device("virtio-serial"), bus.place())),
            Arg::new("-device", "virtconsole,chardev=charconsole0,id=console0"),
        ],
    });
    args.push(Arg::new("-chardev", format!("socket,id=charconsole0,path={},server=on,wait=off", values.console)));
    if let Some(guest_image) = &sandbox.image {
        args.extend(image(profile, sandbox, values, (&mut bus, &modern), guest_image));
    }
    args.extend(sandbox.iommu.then(|| Arg::new("-device", super::IOMMU)));
    let thread = scsi_thread(sandbox, values);
    let thread = if sandbox.scsi_thread { format!(",iothread={thread}") } else { String::new() };
    if sandbox.panic_device {
        args.extend([Arg::new("-device", "pvpanic"), Arg::flag("-no-shutdown")]);
    }
    args.push(Arg::new("-device", format!("{},id=scsi0{modern}{thread}{}", bus.device("virtio-scsi"), bus.place())));
    // `CreateVM` adds no virtio-rng on IBM Z, which has its own random numbers.
    if !bus.has_channels() {
        args.extend([
            Arg::new("-object", "rng-random,id=rng0,filename=/dev/urandom"),
            Arg::new("-device", format!("{},rng=rng0", bus.device("virtio-rng"))),
        ]);
    }
    // `CreateVM` always makes the balloon a modern device, nested or not.
    // `appendBalloonDevice` assigns it no device number on channels, so QEMU gets an empty one.
    args.extend(
        sandbox
            .balloon
            .then(|| match bus.is_pci() {
                true => "virtio-balloon-pci,id=balloon0,deflate-on-oom=on,disable-modern=false,free-page-reporting=on",
                false => "virtio-balloon-ccw,id=balloon0,devno=,deflate-on-oom=on,free-page-reporting=on",
            })
            .map(|balloon| Arg::new("-device", balloon)),
    );
    // `genericAppendPCIeRootPort` in `qemu.go`.
    args.extend((0..sandbox.root_ports).map(|slot| {
        Arg::new(
            "-device",
            format!("pcie-root-port,id={ROOT_PORT}{slot},bus={ROOT_BUS},chassis=0,slot={slot},multifunction=off"),
        )
    }));
    // `createNUMAPCIeTopology` in `qemu.go`.
    if sandbox.numa_port {
        let port = super::NUMA_PORT;
        args.extend([
            Arg::new("-device", format!("pxb-pcie,id=pxb-numa1,bus={ROOT_BUS},bus_nr=64,numa_node=1")),
            Arg::new("-device", format!("pcie-root-port,id={port},bus=pxb-numa1,chassis=11,slot=0,multifunction=off")),
        ]);
    }
    // `genericAppendPCIeSwitchPort` in `qemu.go`.
    if sandbox.switch_port {
        args.extend([
            Arg::new(
                "-device",
                format!("pcie-root-port,id=sw{ROOT_PORT}0,bus={ROOT_BUS},chassis=1,slot=0,multifunction=off"),
            ),
            Arg::new("-device", format!("x3130-upstream,id={SWITCH_UP}0,bus=sw{ROOT_PORT}0")),
        ]);
        args.extend((0..arch::go_switch_ports(sandbox)).map(|slot| {
            let port = format!("xio3130-downstream,id={SWITCH_DOWN}{slot},bus={SWITCH_UP}0,chassis=2,slot={slot}");
            Arg::new("-device", port)
        }));
    }
    if sandbox.vsock.is_some() {
        let (fd, cid) = (&values.vsock_fd, &values.guest_cid);
        let (device, root, place) = (bus.device("vhost-vsock"), root_bus(profile), bus.place());
        args.push(Arg::new(
            "-device",
            format!("{device}{modern},vhostfd={fd},id=vsock-{cid},guest-cid={cid}{root}{place}"),
        ));
    }
    match &sandbox.shared {
        SharedFilesystem::None => {}
        SharedFilesystem::VirtioFs { socket, tag } => {
            args.extend(virtio_fs(profile, sandbox, values, &mut bus, (socket, tag)));
        }
        SharedFilesystem::Virtio9p { dir, tag } => args.extend(virtio_9p(values, &modern, dir, tag)),
    }
    if let Some(net) = &sandbox.net {
        args.extend(network(profile, values, (&mut bus, &modern), net));
    }
    for disk in &sandbox.disks {
        args.extend(block(profile, values, (&mut bus, &modern), disk));
    }
    args
}

/// Returns the image of `appendNvdimmImage`, or of `genericImage` with eight random bytes in its id, both in
/// `qemu_arch_base.go`.
fn image(profile: &Profile, sandbox: &Sandbox, values: &Values, on: (&mut Bus, &str), image: &GuestImage) -> [Arg; 2] {
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
            virtio_blk(profile, on, &id, &file, ",share-rw=on", true)
        }
    }
}

/// Returns the virtio-fs device. `AddDevice` in `qemu.go` names its chardev by sixteen random hexadecimal digits; here
/// they come from the UUID.
fn virtio_fs(
    profile: &Profile,
    sandbox: &Sandbox,
    values: &Values,
    bus: &mut Bus,
    (socket, tag): (&str, &str),
) -> [Arg; 2] {
    let id = format!("char-{}", values.pick(&random(sandbox), "random"));
    let socket = values.pick(socket, "virtiofsd");
    let queue = profile.qemu.virtio_fs_queue_size.map(|size| format!(",queue-size={size}")).unwrap_or_default();
    let (device, root, place) = (bus.device("vhost-user-fs"), root_bus(profile), bus.place());
    [
        Arg::new("-chardev", format!("socket,id={id},path={socket}")),
        Arg::new("-device", format!("{device},chardev={id},tag={tag}{queue}{root}{place}")),
    ]
}

/// Returns the id of the I/O thread of `genericSCSIController` in `qemu_arch_base.go`.
fn scsi_thread(sandbox: &Sandbox, values: &Values) -> String {
    format!("iothread-{}", values.pick(&random(sandbox), "random"))
}

/// Returns sixteen hexadecimal digits of the UUID where Kata uses random ones.
fn random(sandbox: &Sandbox) -> String {
    sandbox.uuid.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

/// Returns the option that puts a device on the root bus by name, and so on no other bus (`hasPCIeRoot` in govmm's
/// `qemu.go`).
fn root_bus(profile: &Profile) -> String {
    profile.qemu.root_bus.as_ref().map(|bus| format!(",bus={bus}")).unwrap_or_default()
}

/// Returns the share of `generic9PVolume` in `qemu_arch_base.go`, PCI only: no profile that was read for a machine with
/// channels supports 9p.
fn virtio_9p(values: &Values, modern: &str, dir: &str, tag: &str) -> [Arg; 2] {
    let id = cut(&format!("extra-9p-{tag}"));
    let dir = values.pick(dir, "share");
    [
        Arg::new("-device", format!("virtio-9p-pci{modern},fsdev={id},mount_tag={tag}")),
        Arg::new("-fsdev", format!("local,id={id},path={dir},security_model=none,multidevs=remap")),
    ]
}

/// Returns the interface of `genericNetwork` in `qemu_arch_base.go`; `Script` and `DownScript` are printed only without
/// descriptors.
///
/// Only PCI devices have vectors (`mqParameter` in govmm's `qemu.go`).
fn network(profile: &Profile, values: &Values, (bus, modern): (&mut Bus, &str), net: &Net) -> [Arg; 2] {
    let (device, root, place) = (bus.device("virtio-net"), root_bus(profile), bus.place());
    let (vhost, tap) = (values.vhost_net(net), &values.tap_fds);
    let mac = values.pick(&net.mac, "mac");
    let vectors = if bus.is_pci() { format!(",vectors={}", 2 * net.queues + 2) } else { String::new() };
    [
        Arg::new("-netdev", format!("tap,id=network-0{vhost},fds={tap}")),
        Arg::new("-device", format!("driver={device},netdev=network-0,mac={mac}{root}{modern},mq=on{vectors}{place}")),
    ]
}

/// Returns a disk of `genericBlockDevice` in `qemu_arch_base.go`.
fn block(profile: &Profile, values: &Values, on: (&mut Bus, &str), disk: &BlockDevice) -> [Arg; 2] {
    let id = cut(&format!("drive-{}", disk.id));
    virtio_blk(profile, on, &id, &values.pick(&disk.file, "disk"), "", disk.read_only)
}

/// Returns a virtio-blk device of `QemuParams` of `BlockDevice` in govmm's `qemu.go`.
fn virtio_blk(
    profile: &Profile,
    (bus, modern): (&mut Bus, &str),
    id: &str,
    file: &str,
    share: &str,
    read_only: bool,
) -> [Arg; 2] {
    let scsi = if profile.qemu.blk_scsi_off { ",scsi=off" } else { "" };
    let read_only = match (read_only, profile.qemu.blk_read_only) {
        (false, _) => "",
        (true, BlkReadOnly::Readonly) => ",readonly",
        (true, _) => ",readonly=on",
    };
    let (device, place) = (bus.device("virtio-blk"), bus.place());
    [
        Arg::new("-device", format!("{device}{modern},drive={id}{scsi},config-wce=off{place}{share},serial={id}")),
        Arg::new("-drive", format!("id={id},file={file},aio=threads,format=raw,if=none{read_only}")),
    ]
}

/// Returns the kernel parameters: `kernelParams` in `qemu_amd64.go`, the consoles of `appendConsole`,
/// `kernelParamsNonDebug` in `qemu_arch_base.go`, then `kernelParameters` in `qemu.go` and the parameters that
/// `SetKernelParams` in `src/runtime/pkg/katautils/config.go` leaves in the configuration.
///
/// For an image, `handleImagePath` in `qemu_arch_base.go` adds parameters after the runtime's own, and before the
/// consoles if these are added later; `getKernelParams` in `src/runtime/pkg/katautils/create.go` adds more.
fn kernel_params(profile: &Profile, sandbox: &Sandbox) -> Vec<String> {
    let mut params = profile.qemu.runtime_params.clone();
    // The runtime's own parameters end here on x86_64, and before the consoles on other architectures.
    let own = match params.iter().position(|param| param == "pci=lastbus=0") {
        Some(last) => last + 1,
        None => params.iter().position(|param| param.starts_with("console=") || param == "quiet").unwrap_or(0),
    };
    if sandbox.iommu {
        // `newQemuArch` in `qemu_amd64.go`.
        params.splice(own..own, super::IOMMU_PARAMS.map(str::to_owned));
    }
    if let Some(image) = &sandbox.image {
        params.splice(own..own, super::root_params(image, sandbox.arch));
        let quiet = params.iter().position(|param| param == "quiet").map_or(params.len(), |quiet| quiet + 1);
        params.insert(quiet, "systemd.show_status=false".to_owned());
    }
    if sandbox.legacy_serial {
        let is_console = |param: &String| param.starts_with("console=hvc");
        let first = params.iter().position(is_console).unwrap_or(params.len());
        params.retain(|param| !is_console(param));
        params.insert(first, "console=ttyS0".to_owned());
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

/// Cuts an id to QEMU's limit.
fn cut(id: &str) -> String {
    id.chars().take(MAX_ID).collect()
}
