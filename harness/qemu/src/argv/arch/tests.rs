//! Whole command lines, written by hand from Kata's source: one argument a line, the flag and its value.

use super::*;
use crate::argv::launch;
use crate::launch::{FdPurpose, Launch};
use crate::sandbox::{BlockDevice, Net, SHARE_TAG, SharedFilesystem, Vsock};

fn find(name: &str) -> &'static Profile {
    Profile::find(name).unwrap()
}

/// Returns a sandbox as Kata makes it on a host with 16 GB and four CPUs: vsock, virtio-fs and one network interface.
fn made(profile: &Profile, arch: Arch) -> Sandbox {
    let mut sandbox = Sandbox {
        arch,
        uuid: "11111111-2222-4333-8444-555555555555".to_owned(),
        initrd: Some("/boot/kata.img".to_owned()),
        host_memory_mib: 16000,
        shared: SharedFilesystem::VirtioFs { socket: "/run/vhost-fs.sock".to_owned(), tag: SHARE_TAG.to_owned() },
        vsock: Some(Vsock { guest_cid: 77 }),
        net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1, vhost: true }),
        console: "/run/console.sock".to_owned(),
        pid_file: "/run/pid".to_owned(),
        // Kata does not detect nesting on other architectures.
        nested: true,
        ..Sandbox::new(profile, format!("/usr/bin/qemu-system-{}", arch.qemu_name()), "s1", "/boot/vmlinuz")
    };
    sandbox.for_host_with(4, profile);
    sandbox
}

fn lines(launch: &Launch) -> Vec<String> {
    launch
        .args
        .iter()
        .map(|arg| match &arg.value {
            Some(value) => format!("{} {value}", arg.flag),
            None => arg.flag.clone(),
        })
        .collect()
}

fn golden(name: &str, arch: Arch) -> Vec<String> {
    let profile = find(name);
    lines(&launch(profile, &made(profile, arch)).unwrap())
}

/// src/runtime/virtcontainers/qemu_arm64.go@3.32.0, src/runtime/arch/arm64-options.mk@3.32.0; a PCIe port for each link
/// of the network namespace (`createPCIeTopology` in src/runtime/virtcontainers/qemu.go@3.32.0).
#[test]
fn go_on_arm() {
    let expected = [
        "-name sandbox-s1",
        "-uuid 11111111-2222-4333-8444-555555555555",
        "-machine virt,usb=off,accel=kvm,gic-version=host",
        "-cpu host,pmu=off",
        "-qmp unix:fd=3,server=on,wait=off",
        "-m 2048M,slots=10,maxmem=17024M",
        "-device pci-bridge,bus=pcie.0,id=pci-bridge-0,chassis_nr=1,shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m",
        "-device virtio-serial-pci,disable-modern=false,id=serial0",
        "-device virtconsole,chardev=charconsole0,id=console0",
        "-chardev socket,id=charconsole0,path=/run/console.sock,server=on,wait=off",
        "-device virtio-scsi-pci,id=scsi0,disable-modern=false",
        "-object rng-random,id=rng0,filename=/dev/urandom",
        "-device virtio-rng-pci,rng=rng0",
        "-device pcie-root-port,id=rp0,bus=pcie.0,chassis=0,slot=0,multifunction=off",
        "-device pcie-root-port,id=rp1,bus=pcie.0,chassis=0,slot=1,multifunction=off",
        "-device vhost-vsock-pci,disable-modern=false,vhostfd=4,id=vsock-77,guest-cid=77,bus=pcie.0",
        "-chardev socket,id=char-1111111122224333,path=/run/vhost-fs.sock",
        "-device vhost-user-fs-pci,chardev=char-1111111122224333,tag=kataShared,queue-size=1024,bus=pcie.0",
        "-netdev tap,id=network-0,vhost=on,vhostfds=5,fds=6",
        "-device driver=virtio-net-pci,netdev=network-0,mac=02:00:00:00:00:01,bus=pcie.0,disable-modern=false,mq=on,vectors=4",
        "-rtc base=utc,driftfix=slew,clock=host",
        "-global kvm-pit.lost_tick_policy=discard",
        "-vga none",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "--no-reboot",
        "-object memory-backend-file,id=dimm1,size=2048M,mem-path=/dev/shm,share=on",
        "-numa node,memdev=dimm1",
        "-kernel /boot/vmlinuz",
        "-initrd /boot/kata.img",
        "-append iommu.passthrough=0 console=hvc0 console=hvc1 quiet panic=1 nr_cpus=1 selinux=0 scsi_mod.scan=none \
         agent.cdh_api_timeout=50 cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1",
        "-pidfile /run/pid",
        "-smp 1,cores=1,threads=1,sockets=1,maxcpus=1",
    ];
    assert_eq!(golden("go-3.32", Arch::Aarch64), expected);
}

/// src/runtime/virtcontainers/qemu_ppc64le.go@3.32.0, src/runtime/arch/ppc64le-options.mk@3.32.0: no `pcie.0`, memory
/// in steps of 256 MiB, and nothing after the comma of `-cpu`.
#[test]
fn go_on_power() {
    let expected = [
        "-name sandbox-s1",
        "-uuid 11111111-2222-4333-8444-555555555555",
        "-machine pseries,accel=kvm,usb=off,cap-ail-mode-3=off,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-large-decr=off,cap-ccf-assist=off",
        "-cpu host,",
        "-qmp unix:fd=3,server=on,wait=off",
        "-m 2048M,slots=10,maxmem=16896M",
        "-device pci-bridge,bus=pci.0,id=pci-bridge-0,chassis_nr=1,shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m",
        "-device virtio-serial-pci,disable-modern=false,id=serial0",
        "-device virtconsole,chardev=charconsole0,id=console0",
        "-chardev socket,id=charconsole0,path=/run/console.sock,server=on,wait=off",
        "-device virtio-scsi-pci,id=scsi0,disable-modern=false",
        "-object rng-random,id=rng0,filename=/dev/urandom",
        "-device virtio-rng-pci,rng=rng0",
        "-device vhost-vsock-pci,disable-modern=false,vhostfd=4,id=vsock-77,guest-cid=77",
        "-chardev socket,id=char-1111111122224333,path=/run/vhost-fs.sock",
        "-device vhost-user-fs-pci,chardev=char-1111111122224333,tag=kataShared,queue-size=1024",
        "-netdev tap,id=network-0,vhost=on,vhostfds=5,fds=6",
        "-device driver=virtio-net-pci,netdev=network-0,mac=02:00:00:00:00:01,disable-modern=false,mq=on,vectors=4",
        "-rtc base=utc,driftfix=slew,clock=host",
        "-global kvm-pit.lost_tick_policy=discard",
        "-vga none",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "--no-reboot",
        "-object memory-backend-file,id=dimm1,size=2048M,mem-path=/dev/shm,share=on",
        "-numa node,memdev=dimm1",
        "-kernel /boot/vmlinuz",
        "-initrd /boot/kata.img",
        "-append rcupdate.rcu_expedited=1 reboot=k cryptomgr.notests net.ifnames=0 console=hvc0 console=hvc1 quiet panic=1 \
         nr_cpus=4 selinux=0 scsi_mod.scan=none agent.cdh_api_timeout=50 cgroup_no_v1=all \
         systemd.unified_cgroup_hierarchy=1",
        "-pidfile /run/pid",
        "-smp 1,cores=1,threads=1,sockets=4,maxcpus=4",
    ];
    assert_eq!(golden("go-3.32", Arch::Ppc64le), expected);
}

/// src/runtime/virtcontainers/qemu_s390x.go@3.32.0, src/runtime/virtcontainers/types/bridges.go@3.32.0: channels in the
/// order in which devices are added, no bridge, no random numbers, no consoles for the kernel, no vhost-net, and memory
/// that is the machine's.
#[test]
fn go_on_ibm_z() {
    let expected = [
        "-name sandbox-s1",
        "-uuid 11111111-2222-4333-8444-555555555555",
        "-machine s390-ccw-virtio,accel=kvm",
        "-cpu host,",
        "-qmp unix:fd=3,server=on,wait=off",
        "-m 2048M,slots=10,maxmem=16000M",
        "-device virtio-serial-ccw,id=serial0,devno=fe.0.0001",
        "-device virtconsole,chardev=charconsole0,id=console0",
        "-chardev socket,id=charconsole0,path=/run/console.sock,server=on,wait=off",
        "-device virtio-scsi-ccw,id=scsi0,devno=fe.0.0002",
        "-device vhost-vsock-ccw,vhostfd=4,id=vsock-77,guest-cid=77,devno=fe.0.0003",
        "-chardev socket,id=char-1111111122224333,path=/run/vhost-fs.sock",
        "-device vhost-user-fs-ccw,chardev=char-1111111122224333,tag=kataShared,queue-size=1024,devno=fe.0.0004",
        "-netdev tap,id=network-0,fds=5",
        "-device driver=virtio-net-ccw,netdev=network-0,mac=02:00:00:00:00:01,mq=on,devno=fe.0.0005",
        "-rtc base=utc,driftfix=slew,clock=host",
        "-global kvm-pit.lost_tick_policy=discard",
        "-vga none",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "--no-reboot",
        "-object memory-backend-file,id=dimm1,size=2048M,mem-path=/dev/shm,share=on",
        "-machine memory-backend=dimm1",
        "-kernel /boot/vmlinuz",
        "-initrd /boot/kata.img",
        "-append quiet panic=1 nr_cpus=4 selinux=0 scsi_mod.scan=none agent.cdh_api_timeout=50 cgroup_no_v1=all \
         systemd.unified_cgroup_hierarchy=1",
        "-pidfile /run/pid",
        "-smp 1,cores=1,threads=1,sockets=4,maxcpus=4",
    ];
    assert_eq!(golden("go-3.32", Arch::S390x), expected);
}

/// Parameters that runtime-rs passes to every kernel before the console.
const RS_PARAMS: &str = "reboot=k panic=1 systemd.unit=kata-containers.target systemd.mask=systemd-networkd.service \
                         systemd.mask=systemd-networkd.socket agent.cdh_api_timeout=50 cgroup_no_v1=all \
                         systemd.unified_cgroup_hierarchy=1 selinux=0";

/// src/runtime-rs/arch/aarch64-options.mk@4.1.0; no room for more memory beside the share's (`add_file_memory_backend`
/// in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0, `VMROOTFSDRIVER_QEMU` in
/// src/runtime-rs/Makefile@4.1.0).
#[test]
fn rs_on_arm() {
    let append = format!("-append {RS_PARAMS} console=hvc0");
    let expected = [
        "-name sandbox-s1",
        "-kernel /boot/vmlinuz",
        "-initrd /boot/kata.img",
        &append,
        "-smp 1",
        "-machine virt,accel=kvm,usb=off,gic-version=host,kernel_irqchip=on,memory-backend=entire-guest-memory-share",
        "-cpu host,pmu=off",
        "-m 2G",
        "-object memory-backend-file,id=entire-guest-memory-share,mem-path=/dev/shm,size=2G,share=on,prealloc=off,readonly=off",
        "-qmp unix:fd=3,server=on,wait=off",
        "-rtc base=utc,clock=host,driftfix=slew",
        "-object rng-random,id=rng0,filename=/dev/urandom",
        "-device virtio-rng-pci,rng=rng0",
        "-device pci-bridge,bus=pcie.0,id=pci-bridge-0,chassis_nr=1,shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m",
        "-device virtio-scsi-pci,id=scsi0",
        "-device vhost-vsock-pci,vhostfd=4,guest-cid=77",
        "-netdev tap,id=network-tap0_kata,vhost=on,vhostfds=5,fds=6",
        "-device virtio-net-pci,netdev=network-tap0_kata,mac=02:00:00:00:00:01,mq=on,vectors=4",
        "-chardev socket,id=virtiofsd-chardev,path=/run/vhost-fs.sock",
        "-device vhost-user-fs-pci,chardev=virtiofsd-chardev,tag=kataShared,queue-size=1024",
        "-device virtio-serial-pci,id=serial0",
        "-device virtconsole,id=console0,chardev=charconsole0",
        "-chardev socket,id=charconsole0,server=on,wait=off,path=/run/console.sock",
        "-vga none",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "-no-reboot",
    ];
    assert_eq!(golden("rs-4.1", Arch::Aarch64), expected);
}

/// src/runtime-rs/arch/powerpc64le-options.mk@4.1.0, `DevicePciBridge::new` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
#[test]
fn rs_on_power() {
    let append = format!("-append {RS_PARAMS} console=hvc0");
    let expected = [
        "-name sandbox-s1",
        "-kernel /boot/vmlinuz",
        "-initrd /boot/kata.img",
        &append,
        "-smp 1",
        "-machine pseries,accel=kvm,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-large-decr=off,cap-ccf-assist=off,kernel_irqchip=on,memory-backend=entire-guest-memory-share",
        "-cpu host,",
        "-m 2G,slots=10,maxmem=16000M",
        "-object memory-backend-file,id=entire-guest-memory-share,mem-path=/dev/shm,size=2G,share=on,prealloc=off,readonly=off",
        "-qmp unix:fd=3,server=on,wait=off",
        "-rtc base=utc,clock=host,driftfix=slew",
        "-object rng-random,id=rng0,filename=/dev/urandom",
        "-device virtio-rng-pci,rng=rng0",
        "-device pci-bridge,bus=pci.0,id=pci-bridge-0,chassis_nr=1,shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m",
        "-device virtio-scsi-pci,id=scsi0",
        "-device vhost-vsock-pci,vhostfd=4,guest-cid=77",
        "-netdev tap,id=network-tap0_kata,vhost=on,vhostfds=5,fds=6",
        "-device virtio-net-pci,netdev=network-tap0_kata,mac=02:00:00:00:00:01,mq=on,vectors=4",
        "-chardev socket,id=virtiofsd-chardev,path=/run/vhost-fs.sock",
        "-device vhost-user-fs-pci,chardev=virtiofsd-chardev,tag=kataShared,queue-size=1024",
        "-device virtio-serial-pci,id=serial0",
        "-device virtconsole,id=console0,chardev=charconsole0",
        "-chardev socket,id=charconsole0,server=on,wait=off,path=/run/console.sock",
        "-vga none",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "-no-reboot",
    ];
    assert_eq!(golden("rs-4.1", Arch::Ppc64le), expected);
}

/// src/runtime-rs/arch/s390x-options.mk@4.1.0, `CcwSubChannel` and what is left out for `VirtioBusType::Ccw` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0; no SCSI, which is not the driver of disks
/// there (src/runtime-rs/Makefile@4.1.0).
#[test]
fn rs_on_ibm_z() {
    let append = format!("-append {RS_PARAMS} console=hvc0");
    let expected = [
        "-name sandbox-s1",
        "-kernel /boot/vmlinuz",
        "-initrd /boot/kata.img",
        &append,
        "-smp 1",
        "-machine s390-ccw-virtio,accel=kvm,kernel_irqchip=on,memory-backend=entire-guest-memory-share",
        "-cpu host,",
        "-m 2G,slots=10,maxmem=16000M",
        "-object memory-backend-file,id=entire-guest-memory-share,mem-path=/dev/shm,size=2G,share=on,prealloc=off,readonly=off",
        "-qmp unix:fd=3,server=on,wait=off",
        "-rtc base=utc,clock=host,driftfix=slew",
        "-device vhost-vsock-ccw,devno=fe.0.0000,vhostfd=4,guest-cid=77",
        "-netdev tap,id=network-tap0_kata,vhost=on,vhostfds=5,fds=6",
        "-device virtio-net-ccw,netdev=network-tap0_kata,mac=02:00:00:00:00:01,devno=fe.0.0001,mq=on",
        "-chardev socket,id=virtiofsd-chardev,path=/run/vhost-fs.sock",
        "-device vhost-user-fs-ccw,chardev=virtiofsd-chardev,tag=kataShared,queue-size=1024,devno=fe.0.0002",
        "-device virtio-serial-ccw,id=serial0,devno=fe.0.0003",
        "-device virtconsole,id=console0,chardev=charconsole0",
        "-chardev socket,id=charconsole0,server=on,wait=off,path=/run/console.sock",
        "-vga none",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "-no-reboot",
    ];
    assert_eq!(golden("rs-4.1", Arch::S390x), expected);
}

/// `appendCCWBlockDevice` in src/runtime/virtcontainers/qemu_s390x.go@3.32.0, `QemuParams` of `BlockDevice` in
/// src/runtime/pkg/govmm/qemu/qemu.go@3.32.0; `add_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
#[test]
fn disks_and_images_get_ccw_channels_in_device_order() {
    let of = |name: &str| {
        let profile = find(name);
        let disk = BlockDevice { id: "0".to_owned(), file: "/d.img".to_owned(), read_only: false };
        let image = GuestImage { file: "/k.img".to_owned(), bytes: 1 << 20, driver: ImageDriver::Blk };
        let mut sandbox = made(profile, Arch::S390x);
        sandbox.initrd = None;
        sandbox.image = Some(image);
        sandbox.disks = vec![disk];
        let all = lines(&launch(profile, &sandbox).unwrap());
        let root = all.iter().any(|line| line.contains("root=/dev/vda1 rootflags=data=ordered,errors=remount-ro ro "));
        assert!(root, "{name}: {all:?}");
        all.into_iter().filter(|line| line.starts_with("-device virtio-blk-ccw")).collect::<Vec<_>>()
    };
    assert_eq!(
        of("go-3.32"),
        [
            "-device virtio-blk-ccw,drive=image-1111111122224333,config-wce=off,devno=fe.0.0002,share-rw=on,serial=image-1111111122224333",
            "-device virtio-blk-ccw,drive=drive-0,config-wce=off,devno=fe.0.0007,serial=drive-0",
        ]
    );
    assert_eq!(
        of("rs-4.1"),
        [
            "-device virtio-blk-ccw,drive=image-1111111122224333,config-wce=off,share-rw=on,serial=image-1111111122224333,devno=fe.0.0003",
            "-device virtio-blk-ccw,drive=image-0,config-wce=off,share-rw=on,serial=image-0,devno=fe.0.0004",
        ]
    );
}

/// A descriptor that no argument names is not passed: on IBM Z the Go runtime opens vhost-net and passes none of its
/// descriptors.
#[test]
fn only_descriptors_named_in_arguments_are_passed() {
    let profile = find("go-3.32");
    let launch = launch(profile, &made(profile, Arch::S390x)).unwrap();
    assert_eq!(launch.fd(FdPurpose::VhostNet { queue: 0 }), None);
    assert_eq!(launch.fd(FdPurpose::Tap { queue: 0 }), Some(5));
}

/// Arm's ports are the maximum of the requested ports and those that Arm needs: `createPCIeTopology` in
/// src/runtime/virtcontainers/qemu.go@3.32.0.
#[test]
fn arm_has_at_least_one_root_port_for_each_link() {
    let profile = find("go-3.32");
    let ports = |change: fn(&mut Sandbox), driver: &str| {
        let mut sandbox = made(profile, Arch::Aarch64);
        change(&mut sandbox);
        let all = lines(&launch(profile, &sandbox).unwrap());
        all.iter().filter(|line| line.starts_with(&format!("-device {driver},"))).count()
    };
    assert_eq!(ports(|s| s.root_ports = 1, "pcie-root-port"), 2);
    assert_eq!(ports(|s| s.root_ports = 3, "pcie-root-port"), 3);
    assert_eq!(ports(|s| s.net = None, "pcie-root-port"), 1);
    // This is the root port above the switch.
    assert_eq!(ports(|s| s.switch_port = true, "pcie-root-port"), 1);
    assert_eq!(ports(|s| s.switch_port = true, "xio3130-downstream"), 2);
}

#[test]
fn settings_without_arguments_on_an_architecture_are_refused() {
    let of = |name: &str, arch: Arch, change: fn(&mut Sandbox)| {
        let profile = find(name);
        let mut sandbox = made(profile, arch);
        change(&mut sandbox);
        launch(profile, &sandbox).unwrap_err().to_string()
    };
    assert_eq!(
        of("go-3.32", Arch::Aarch64, |s| s.iommu = true),
        "profile go-3.32 has no arguments on aarch64 for an IOMMU"
    );
    for arch in [Arch::Ppc64le, Arch::S390x] {
        assert!(of("rs-4.1", arch, |s| s.root_ports = 1).ends_with("for PCIe ports"), "{arch}");
        assert!(of("go-3.32", arch, |s| s.memory = MemoryBacking::TwoNodes).ends_with("NUMA nodes"), "{arch}");
    }
    let image = |sandbox: &mut Sandbox| {
        sandbox.initrd = None;
        sandbox.image = Some(GuestImage { file: "/k.img".to_owned(), bytes: 1 << 20, driver: ImageDriver::Nvdimm });
    };
    assert!(of("rs-4.1", Arch::Ppc64le, image).ends_with("for an image"));
    assert!(of("rs-4.1", Arch::S390x, image).ends_with("for an image as an NVDIMM"));
    assert!(of("go-3.32", Arch::Aarch64, image).ends_with("without a firmware"));
    // Older profiles were not read for Arm.
    assert!(of("go-3.29", Arch::Aarch64, |_| {}).ends_with("Kata's were read for x86_64 only"));
}
