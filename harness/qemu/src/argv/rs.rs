//! Arguments of runtime-rs: `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs`, filled by `start_vm` in
//! `inner.rs`.

use super::Values;
use super::arch::{self, Bus};
use crate::launch::Arg;
use crate::sandbox::{BlockDevice, GuestImage, Net, Sandbox, SharedFilesystem};
use model::arch::Arch;
use model::profile::fixed::{BRIDGE_ADDRESS, NESTED_BRIDGE_CHASSIS};
use model::profile::{BlkReadOnly, BlkSource, ImageDriver, Profile};

/// Returns all arguments in the order of `QemuCmdLine::build`. The devices are first in the order of
/// `QemuCmdLine::new`, then in the order in which `prepare_for_start_sandbox` in
/// `src/runtime-rs/crates/runtimes/virt_container/src/sandbox.rs` adds them, then the console.
pub(super) fn arguments(profile: &Profile, sandbox: &Sandbox, values: &Values) -> Vec<Arg> {
    let qemu = &profile.qemu;
    let (backend_id, backend) = memory_backend(sandbox);
    let mut args = vec![Arg::new("-name", format!("sandbox-{}", values.id))];
    args.extend(values.kernel_args(sandbox, kernel_params(profile, sandbox)));
    args.push(Arg::new(
        "-smp",
        match sandbox.max_vcpus > sandbox.vcpus {
            true => format!("{},maxcpus={}", sandbox.vcpus, sandbox.max_vcpus),
            false => sandbox.vcpus.to_string(),
        },
    ));
    let max_memory = values.pick(&memory(sandbox.host_memory_mib), "host-memory");
    // The shipped `vm_rootfs_driver`, virtio-pmem, keeps slots and maxmem with a file-backed memory, whether there is
    // an initrd or not.
    let is_shared = matches!(sandbox.shared, SharedFilesystem::VirtioFs { .. });
    let room = match is_shared && !arch::keeps_slots(sandbox.arch) {
        true => String::new(),
        false => format!(",slots={},maxmem={max_memory}", qemu.memory_slots),
    };
    args.extend([
        Arg::new("-machine", machine(profile, sandbox, backend_id)),
        Arg::new("-cpu", format!("host,{}", qemu.cpu_features)),
        Arg::new("-m", format!("{}{room}", memory(sandbox.memory_mib.into()))),
        Arg::new("-object", backend),
        Arg::new("-qmp", format!("unix:{},server=on,wait=off", values.qmp)),
    ]);
    args.extend(devices(profile, sandbox, values));
    args.extend(sandbox.firmware.iter().map(|firmware| Arg::new("-bios", values.pick(firmware, "firmware"))));
    args.extend([
        Arg::new("-vga", "none"),
        Arg::flag("-no-user-config"),
        Arg::flag("-nodefaults"),
        Arg::flag("-nographic"),
        Arg::flag("-no-reboot"),
    ]);
    args
}

/// Returns the value of `-machine` as `ToQemuParams` for `Machine` does: `nvdimm=on` comes before the interrupt
/// controller.
fn machine(profile: &Profile, sandbox: &Sandbox, backend: &str) -> String {
    let split = profile.qemu.machine_options.replace("kernel_irqchip=on", "kernel_irqchip=split");
    let options = if sandbox.iommu { &split } else { &profile.qemu.machine_options };
    let options = match &sandbox.image {
        Some(GuestImage { driver: ImageDriver::Nvdimm, .. }) => {
            options.replace(",kernel_irqchip", ",nvdimm=on,kernel_irqchip")
        }
        _ => options.clone(),
    };
    format!("{},{options},memory-backend={backend}", profile.qemu.machine)
}

/// Formats a size like `format_memory`: in whole GiB, else in MiB.
fn memory(mib: u64) -> String {
    match mib.is_multiple_of(1024) {
        true => format!("{}G", mib / 1024),
        false => format!("{mib}M"),
    }
}

/// Returns the id and the options of the memory backend: `add_ram_memory_backend`, or for virtio-fs
/// `add_file_memory_backend`.
fn memory_backend(sandbox: &Sandbox) -> (&'static str, String) {
    let size = memory(sandbox.memory_mib.into());
    let preallocated = sandbox.preallocated;
    match sandbox.shared {
        SharedFilesystem::VirtioFs { .. } => (
            "entire-guest-memory-share",
            format!(
                "memory-backend-file,id=entire-guest-memory-share,mem-path=/dev/shm,size={size},share=on,prealloc={},readonly=off",
                if preallocated { "on" } else { "off" }
            ),
        ),
        SharedFilesystem::None | SharedFilesystem::Virtio9p { .. } => {
            let preallocated = if preallocated { ",prealloc=on" } else { "" };
            ("entire-guest-memory", format!("memory-backend-ram,id=entire-guest-memory,size={size}{preallocated}"))
        }
    }
}

fn devices(profile: &Profile, sandbox: &Sandbox, values: &Values) -> Vec<Arg> {
    let mut bus = Bus::new(sandbox, profile.runtime);
    let modern = if sandbox.nested { ",disable-modern=true" } else { "" };
    let mut args: Vec<Arg> = sandbox.iommu.then(|| Arg::new("-device", super::IOMMU)).into_iter().collect();
    args.extend(values.monitor(sandbox));
    args.push(Arg::new("-rtc", "base=utc,clock=host,driftfix=slew"));
    args.extend(sandbox.incoming.then(|| Arg::new("-incoming", "defer")));
    if bus.is_pci() {
        args.extend([
            Arg::new("-object", "rng-random,id=rng0,filename=/dev/urandom"),
            Arg::new("-device", "virtio-rng-pci,rng=rng0"),
        ]);
    }
    args.extend(bridge(profile, sandbox));
    args.extend(sandbox.scsi_thread.then(|| Arg::new("-object", "iothread,id=scsi-io-thread")));
    if arch::has_scsi(sandbox.arch, profile.runtime) {
        let thread = if sandbox.scsi_thread { ",iothread=scsi-io-thread" } else { "" };
        let device = format!("{},id=scsi0{modern}{thread}{}", bus.device("virtio-scsi"), bus.place());
        args.push(Arg::new("-device", device));
    }
    args.extend(sandbox.io_thread.then(|| Arg::new("-object", super::IO_THREAD)));
    args.extend(sandbox.balloon.then(|| Arg::new("-device", "virtio-balloon,free-page-reporting=on")));
    args.extend(sandbox.filtered.then(|| super::filter(profile)));
    if sandbox.vsock.is_some() {
        let (fd, cid) = (&values.vsock_fd, &values.guest_cid);
        let (device, place) = (bus.device("vhost-vsock"), bus.place());
        args.push(Arg::new("-device", format!("{device}{modern}{place},vhostfd={fd},guest-cid={cid}")));
    }
    if let Some(net) = &sandbox.net {
        args.extend(network(values, (&mut bus, modern), net));
    }
    if let SharedFilesystem::VirtioFs { socket, tag } = &sandbox.shared {
        let queue = profile.qemu.virtio_fs_queue_size.map(|size| format!(",queue-size={size}")).unwrap_or_default();
        args.extend([
            Arg::new("-chardev", format!("socket,id=virtiofsd-chardev,path={}", values.pick(socket, "virtiofsd"))),
            Arg::new(
                "-device",
                format!("{},chardev=virtiofsd-chardev,tag={tag}{queue}{}", bus.device("vhost-user-fs"), bus.place()),
            ),
        ]);
    }
    if let Some(guest_image) = &sandbox.image {
        args.extend(image(profile, sandbox, values, &mut bus, guest_image));
    }
    let first = super::image_disk(sandbox).into_iter().count();
    for (index, disk) in sandbox.disks.iter().enumerate() {
        args.extend(block(profile, values, &mut bus, first + index, disk));
    }
    // `add_pcie_root_ports`, from the pool of ports.
    args.extend((0..sandbox.root_ports).map(|slot| {
        Arg::new("-device", format!("pcie-root-port,id=rp{slot},chassis=0,slot={slot},bus=pcie.0,multifunction=off"))
    }));
    // `add_pcie_switch_ports`.
    if sandbox.switch_port {
        args.extend([
            Arg::new("-device", "pcie-root-port,id=rp0,chassis=1,slot=0,bus=pcie.0,multifunction=off"),
            Arg::new("-device", "x3130-upstream,id=swup0,bus=rp0"),
            Arg::new("-device", "xio3130-downstream,id=swdp0,bus=swup0,chassis=2,slot=0"),
        ]);
    }
    args.extend([
        Arg::new("-device", format!("{},id=serial0{}", bus.device("virtio-serial"), bus.place())),
        Arg::new("-device", "virtconsole,id=console0,chardev=charconsole0"),
        Arg::new("-chardev", format!("socket,id=charconsole0,server=on,wait=off,path={}", values.console)),
    ]);
    args
}

/// Returns the bridge of `add_bridges`. A firmware reserves room only for devices behind PCIe ports, so with a firmware
/// the bridge is behind such a port (`DeviceNestedPcieBridge`), on q35 only (`use_nested_pcie_bridges`).
fn bridge(profile: &Profile, sandbox: &Sandbox) -> Vec<Arg> {
    let Some(on) = arch::bridge_bus(sandbox) else { return Vec::new() };
    if sandbox.firmware.is_none() || sandbox.arch != Arch::X86_64 {
        let options = &profile.qemu.bridge;
        return vec![Arg::new("-device", format!("pci-bridge,bus={on},id=pci-bridge-0,chassis_nr=1,{options}"))];
    }
    let reserved = "bus-reserve=0x1,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m";
    let port = format!(
        "pcie-root-port,id=rp-pci-bridge-0,addr={BRIDGE_ADDRESS},chassis={NESTED_BRIDGE_CHASSIS},slot=0,bus=pcie.0,multifunction=off,{reserved}"
    );
    vec![Arg::new("-device", port), Arg::new("-device", "pcie-pci-bridge,bus=rp-pci-bridge-0,id=pci-bridge-0")]
}

/// Returns the interface of `get_network_device`. runtime-rs opens vhost-net even if it is configured not to use it
/// (`create_vhost_net_fds`). Only PCI devices have vectors.
fn network(values: &Values, (bus, modern): (&mut Bus, &str), net: &Net) -> [Arg; 2] {
    let id = format!("network-{}", values.pick(&net.tap, "tap"));
    let (vhost, tap) = (values.vhost_net(net), &values.tap_fds);
    let mac = values.pick(&net.mac, "mac");
    let vectors = if bus.is_pci() { format!(",vectors={}", 2 * net.queues + 2) } else { String::new() };
    let (device, place) = (bus.device("virtio-net"), bus.place());
    [
        Arg::new("-netdev", format!("tap,id={id}{vhost},fds={tap}")),
        Arg::new("-device", format!("{device},netdev={id},mac={mac}{modern}{place},mq=on{vectors}")),
    ]
}

/// Returns the image as `add_nvdimm`, whose ids are the word TODO, or as `add_block_device`.
fn image(profile: &Profile, sandbox: &Sandbox, values: &Values, bus: &mut Bus, image: &GuestImage) -> Vec<Arg> {
    match image.driver {
        ImageDriver::Nvdimm => {
            let file = values.pick(&image.file, "image");
            let mib = image.bytes >> 20;
            let size = values
                .pick(&if mib << 20 == image.bytes { memory(mib) } else { image.bytes.to_string() }, "image-bytes");
            vec![
                Arg::new(
                    "-object",
                    format!(
                        "memory-backend-file,id=TODO,mem-path={file},size={size},share=off,prealloc=off,readonly=on"
                    ),
                ),
                Arg::new("-device", "nvdimm,memdev=TODO,unarmed=on"),
            ]
        }
        ImageDriver::Blk => {
            super::image_disk(sandbox).map(|disk| block(profile, values, bus, 0, &disk)).unwrap_or_default()
        }
    }
}

/// Returns a disk of `add_block_device`, with `block_device_cache_direct = false` as shipped. Descriptor sets are
/// counted from 1.
fn block(profile: &Profile, values: &Values, bus: &mut Bus, index: usize, disk: &BlockDevice) -> Vec<Arg> {
    let id = format!("image-{}", disk.id);
    let mut args = Vec::new();
    let file = match profile.qemu.blk_source {
        BlkSource::Path => values.pick(&disk.file, "disk"),
        BlkSource::Fdset => {
            let (fd, set) = (values.disk_fd(index), index + 1);
            let opaque = format!("kata-block:{}:block-source", disk.id);
            args.push(Arg::new("-add-fd", format!("fd={fd},set={set},opaque={opaque}")));
            format!("/dev/fdset/{set}")
        }
    };
    let read_only = match (profile.qemu.blk_read_only, disk.read_only) {
        // runtime-rs 4.0 never says whether the disk is read-only, and QEMU finds out by itself.
        (BlkReadOnly::AutoReadOnly, _) => "auto-read-only=on",
        (_, true) => "read-only=on",
        (_, false) => "read-only=off",
    };
    args.extend([
        Arg::new(
            "-blockdev",
            format!(
                "driver=file,node-name={id},filename={file},aio=threads,cache.direct=off,cache.no-flush=off,{read_only}"
            ),
        ),
        Arg::new(
            "-device",
            format!("{},drive={id},config-wce=off,share-rw=on,serial={id}{}", bus.device("virtio-blk"), bus.place()),
        ),
    ]);
    args
}

/// Returns the kernel parameters: `KernelParams::new` in `src/runtime-rs/crates/hypervisor/src/kernel_param.rs`,
/// `new_rootfs_kernel_params` in the same file for an image, the configuration's, then SELinux (`Kernel::new`) and the
/// console (`add_console`).
fn kernel_params(profile: &Profile, sandbox: &Sandbox) -> Vec<String> {
    let mut params = profile.qemu.runtime_params.clone();
    params.extend(sandbox.image.iter().flat_map(|image| super::root_params(image, sandbox.arch)));
    params.extend(profile.qemu.kernel_params.iter().cloned());
    params.extend(sandbox.extra_kernel_params.iter().cloned());
    params.extend(profile.qemu.guest_selinux.clone());
    params.extend(sandbox.iommu.then_some(super::IOMMU_PARAMS).into_iter().flatten().map(str::to_owned));
    params.push("console=hvc0".to_owned());
    params
}
