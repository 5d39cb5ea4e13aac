use super::*;
use crate::sandbox::{BlockDevice, GuestImage, MemoryBacking, Net, SHARE_TAG, Vsock};

fn profile(name: &str) -> &'static Profile {
    Profile::find(name).unwrap()
}

fn virtio_fs() -> SharedFilesystem {
    SharedFilesystem::VirtioFs { socket: "/run/vc/vm/s1/vhost-fs.sock".to_owned(), tag: SHARE_TAG.to_owned() }
}

fn virtio_9p() -> SharedFilesystem {
    SharedFilesystem::Virtio9p {
        dir: "/run/kata-containers/shared/sandboxes/s1/shared".to_owned(),
        tag: SHARE_TAG.to_owned(),
    }
}

/// Returns a sandbox as Kata makes it on a host with 16 GiB and four CPUs, with vsock and one network interface.
fn sandbox(profile: &Profile, shared: SharedFilesystem) -> Sandbox {
    Sandbox {
        uuid: "11111111-2222-4333-8444-555555555555".to_owned(),
        initrd: Some("/boot/kata.img".to_owned()),
        host_memory_mib: 16000,
        max_vcpus: 4,
        shared,
        vsock: Some(Vsock { guest_cid: 1234567 }),
        net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1, vhost: true }),
        console: "/run/vc/vm/s1/console.sock".to_owned(),
        pid_file: "/run/vc/vm/s1/pid".to_owned(),
        ..Sandbox::new(profile, "/usr/bin/qemu-system-x86_64", "s1", "/boot/vmlinuz")
    }
}

/// Returns the arguments, one a line: the flag and its value.
fn golden(name: &str, shared: SharedFilesystem) -> String {
    let profile = profile(name);
    lines(&launch(profile, &sandbox(profile, shared)).unwrap())
}

fn lines(launch: &Launch) -> String {
    let args = launch.args.iter().map(|arg| match &arg.value {
        Some(value) => format!("{} {value}", arg.flag),
        None => arg.flag.clone(),
    });
    args.collect::<Vec<_>>().join("\n")
}

/// The whole command line of each profile matches Kata's source. The Go runtime: `LaunchQemu` in govmm's `qemu.go`,
/// filled by `CreateVM` in `src/runtime/virtcontainers/qemu.go`; runtime-rs: `QemuCmdLine::build` in
/// `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs`, filled by `start_vm` in `inner.rs`; each at the
/// profile's own tag, with the defaults of its Makefile and its architecture's options file.
#[test]
fn with_virtio_fs() {
    for profile in Profile::all() {
        insta::assert_snapshot!(format!("{}_with_virtio_fs", profile.name), golden(&profile.name, virtio_fs()));
    }
}

/// Like `with_virtio_fs`, with `generic9PVolume` in src/runtime/virtcontainers/qemu_arch_base.go@3.1.0.
#[test]
fn with_virtio_9p() {
    for name in ["go-2.2", "go-3.24"] {
        insta::assert_snapshot!(format!("{name}_with_virtio_9p"), golden(name, virtio_9p()));
    }
}

/// Like `with_virtio_fs`, with `shared_fs = "none"`: `appendMemoryKnobs` in src/runtime/pkg/govmm/qemu/qemu.go@3.32.0,
/// `add_ram_memory_backend` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
#[test]
fn without_a_share() {
    for name in ["go-3.32", "rs-4.1"] {
        insta::assert_snapshot!(format!("{name}_without_a_share"), golden(name, SharedFilesystem::None));
    }
}

/// `genericBlockDevice` in `src/runtime/virtcontainers/qemu_arch_base.go`, `QemuParams` of `BlockDevice` in govmm's
/// `qemu.go` (from 3.8.0 on without `scsi=off`), `add_block_device` in
/// `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs`; each at the profile's own tag.
#[test]
fn a_disk_is_described_in_each_profiles_way() {
    let all: Vec<String> = Profile::all()
        .iter()
        .map(|profile| {
            let new = [true, false].map(|read_only| {
                let mut sandbox = sandbox(profile, SharedFilesystem::None);
                let without = launch(profile, &sandbox).unwrap();
                sandbox.disks = vec![BlockDevice { id: "0".to_owned(), file: "/d.img".to_owned(), read_only }];
                let with = launch(profile, &sandbox).unwrap();
                let new: Vec<String> = with
                    .args
                    .iter()
                    .filter(|a| !without.args.contains(a))
                    .map(|a| format!("{} {}", a.flag, a.value.clone().unwrap()))
                    .collect();
                new.join("\n")
            });
            format!("{}\n{}", profile.name, new.join("\n"))
        })
        .collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

/// An image and a root port add or change the expected arguments; a guest with an image has no initrd.
///
/// `appendNvdimmImage`, `appendBlockImage` and `handleImagePath` in `src/runtime/virtcontainers/qemu_arch_base.go`,
/// `MemoryBackendFile` of `Object` in govmm's `qemu.go`, `genericAppendPCIeRootPort` in
/// `src/runtime/virtcontainers/qemu.go`; `add_nvdimm`, `add_block_device` and `add_pcie_root_ports` in
/// `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs`, `new_rootfs_kernel_params` in `kernel_param.rs`;
/// each at the profile's own tag.
#[test]
fn an_image_and_a_root_port_are_described_in_each_profiles_way() {
    let all: Vec<String> = ["go-2.2", "go-3.8", "go-3.32", "rs-4.0", "rs-4.1", "rs-main"]
        .iter()
        .map(|name| {
            let profile = profile(name);
            let without = launch(profile, &sandbox(profile, SharedFilesystem::None)).unwrap();
            let new = |change: &dyn Fn(&mut Sandbox)| {
                let mut sandbox = sandbox(profile, SharedFilesystem::None);
                change(&mut sandbox);
                let with = launch(profile, &sandbox).unwrap();
                let new: Vec<String> = with
                    .args
                    .iter()
                    .filter(|a| !without.args.contains(a))
                    .map(|a| format!("{} {}", a.flag, a.value.clone().unwrap()))
                    .collect();
                new.join("\n")
            };
            let image = |driver| {
                new(&move |sandbox: &mut Sandbox| {
                    sandbox.initrd = None;
                    sandbox.image = Some(GuestImage { file: "/kata.img".to_owned(), bytes: 128 << 20, driver });
                })
            };
            let port = new(&|sandbox: &mut Sandbox| sandbox.root_ports = 1);
            format!("{name}\n{}\n{}\n{port}", image(ImageDriver::Nvdimm), image(ImageDriver::Blk))
        })
        .collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

/// Each setting adds or changes the expected arguments. Also from `genericAppendPCIeSwitchPort`,
/// `add_pcie_switch_ports`, `add_iommu` and `add_monitor`.
///
/// `buildDevices`, `CreateVM`, `setupTemplate` and `buildNUMATopology` in src/runtime/virtcontainers/qemu.go@3.32.0,
/// `LaunchQemu` and what it calls in src/runtime/pkg/govmm/qemu/qemu.go@3.32.0; `QemuCmdLine::new`, `build` and
/// `DeviceNestedPcieBridge` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
#[test]
fn a_setting_is_described_in_each_profiles_way() {
    type Change = (&'static str, fn(&mut Sandbox));
    let file = |shared| MemoryBacking::File { path: "/run/vc/vm/template/memory".to_owned(), shared };
    let (template, clone) = (file(true), file(false));
    let both: [Change; 11] = [
        ("switch port", |sandbox| sandbox.switch_port = true),
        ("iommu", |sandbox| sandbox.iommu = true),
        ("thread of the controller", |sandbox| sandbox.scsi_thread = true),
        ("thread for disks", |sandbox| sandbox.io_thread = true),
        ("balloon", |sandbox| sandbox.balloon = true),
        ("memory taken at the start", |sandbox| sandbox.preallocated = true),
        ("memory taken at the start with virtio-fs", |sandbox| {
            sandbox.preallocated = true;
            sandbox.shared = virtio_fs();
        }),
        ("filter", |sandbox| sandbox.filtered = true),
        ("firmware", |sandbox| sandbox.firmware = Some("/usr/share/ovmf/OVMF.fd".to_owned())),
        ("incoming", |sandbox| sandbox.incoming = true),
        ("monitor", |sandbox| sandbox.monitor = Some("/run/vc/vm/s1/extra-monitor.sock".to_owned())),
    ];
    let of_go: [Change; 6] = [
        ("port in a node", |sandbox| {
            sandbox.memory = MemoryBacking::TwoNodes;
            sandbox.vcpus = 2;
            sandbox.numa_port = true;
        }),
        ("serial port", |sandbox| sandbox.legacy_serial = true),
        ("panic device", |sandbox| sandbox.panic_device = true),
        ("huge pages", |sandbox| sandbox.memory = MemoryBacking::Hugepages),
        ("huge pages with virtio-fs", |sandbox| {
            sandbox.memory = MemoryBacking::Hugepages;
            sandbox.shared = virtio_fs();
        }),
        ("two nodes", |sandbox| {
            sandbox.memory = MemoryBacking::TwoNodes;
            sandbox.vcpus = 2;
        }),
    ];
    let described = |name: &str, changes: &[Change], memories: &[&MemoryBacking]| {
        let profile = profile(name);
        let without = launch(profile, &sandbox(profile, SharedFilesystem::None)).unwrap();
        let new = |sandbox: &Sandbox| {
            let with = launch(profile, sandbox).unwrap();
            let new = with.args.iter().filter(|arg| !without.args.contains(arg));
            new.map(|arg| format!("  {} {}", arg.flag, arg.value.as_deref().unwrap_or("(alone)"))).collect::<Vec<_>>()
        };
        let mut all = vec![name.to_owned()];
        for (what, change) in changes {
            let mut sandbox = sandbox(profile, SharedFilesystem::None);
            change(&mut sandbox);
            all.push(format!("{what}\n{}", new(&sandbox).join("\n")));
        }
        for memory in memories {
            let sandbox = Sandbox { memory: (*memory).clone(), ..sandbox(profile, SharedFilesystem::None) };
            all.push(format!("{memory:?}\n{}", new(&sandbox).join("\n")));
        }
        all.join("\n")
    };
    let go = [&both[..], &of_go].concat();
    let all = [
        described("go-3.32", &go, &[&template, &clone]),
        described("rs-4.0", &both, &[]),
        described("rs-4.1", &both, &[&template]),
    ];
    insta::assert_snapshot!(all.join("\n\n"));
}

/// Written by hand from `newQemuArch` in src/runtime/virtcontainers/qemu_amd64.go, `genericBridges` in
/// src/runtime/virtcontainers/qemu.go, and `defaultTransport`, `hasPCIeRoot` and `isDimmSupported` in
/// src/runtime/pkg/govmm/qemu/qemu.go; all the same at 3.32.0 and 4.1.0.
#[test]
fn a_microvm_has_its_devices_on_mmio_and_no_bridge() {
    let profile = profile("go-3.32");
    let without = sandbox(profile, SharedFilesystem::None);
    let mut with = Sandbox { microvm: true, nested: true, ..without.clone() };
    with.disks = vec![BlockDevice { id: "0".to_owned(), file: "/d.img".to_owned(), read_only: false }];
    let [without, with] = [without, with].map(|sandbox| launch(profile, &sandbox).unwrap());
    let new: Vec<String> = with
        .args
        .iter()
        .filter(|arg| !without.args.contains(arg))
        .map(|arg| format!("{} {}", arg.flag, arg.value.as_deref().unwrap_or("(alone)")))
        .collect();
    assert_eq!(
        new,
        [
            "-machine microvm,accel=kvm",
            "-device virtio-serial-device,id=serial0",
            "-device virtio-scsi-device,id=scsi0",
            "-device virtio-rng-device,rng=rng0",
            "-device vhost-vsock-device,vhostfd=4,id=vsock-1234567,guest-cid=1234567",
            "-device driver=virtio-net-device,netdev=network-0,mac=02:00:00:00:00:01,mq=on",
            "-device virtio-blk-device,drive=drive-0,config-wce=off,serial=drive-0",
            "-drive id=drive-0,file=/d.img,aio=threads,format=raw,if=none",
            "-machine memory-backend=dimm1",
        ]
    );
    let text = lines(&with);
    assert!(!text.contains("-bridge") && !text.contains("-pci") && !text.contains("-numa"), "{text}");
}

#[test]
fn only_the_go_runtime_on_x86_64_has_a_microvm() {
    for (name, arch) in [("rs-4.1", Arch::X86_64), ("go-3.32", Arch::Aarch64)] {
        let profile = profile(name);
        let sandbox = Sandbox { microvm: true, arch, ..sandbox(profile, SharedFilesystem::None) };
        let error = launch(profile, &sandbox).unwrap_err().to_string();
        assert!(error.ends_with("for the machine type microvm"), "{error}");
    }
}

/// `disableModern` in src/runtime/pkg/govmm/qemu/qemu.go@3.29.0 prints the option either way; `should_disable_modern`
/// in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0 prints it only when true, and not for the
/// console.
#[test]
fn in_a_nested_vm_virtio_devices_disable_modern_mode() {
    for (name, devices) in [
        ("go-3.29", ["vhost-vsock-pci", "virtio-net-pci", "virtio-scsi-pci", "virtio-serial-pci"].as_slice()),
        ("rs-4.0", ["vhost-vsock-pci", "virtio-net-pci", "virtio-scsi-pci"].as_slice()),
    ] {
        let profile = profile(name);
        let of = |nested| {
            let launch = launch(profile, &Sandbox { nested, ..sandbox(profile, virtio_fs()) }).unwrap();
            let mut found: Vec<String> = launch
                .args
                .iter()
                .filter_map(|a| a.value.as_deref())
                .filter(|v| v.contains("disable-modern=true"))
                .map(|v| v.split(',').next().unwrap_or_default().replace("driver=", ""))
                .collect();
            found.sort();
            found
        };
        assert_eq!(of(true), devices, "{name}");
        assert_eq!(of(false), [""; 0], "{name}");
    }
}

#[test]
fn descriptors_are_numbered_as_in_the_go_runtime() {
    let profile = profile("go-3.29");
    let mut sandbox = sandbox(profile, virtio_fs());
    sandbox.net.as_mut().unwrap().queues = 2;
    let launch = launch(profile, &sandbox).unwrap();
    assert_eq!(launch.fd(FdPurpose::Qmp), Some(3));
    assert_eq!(launch.fd(FdPurpose::Vsock), Some(4));
    assert_eq!(launch.fd(FdPurpose::VhostNet { queue: 1 }), Some(6));
    assert_eq!(launch.fd(FdPurpose::Tap { queue: 0 }), Some(7));
    let text = lines(&launch);
    assert!(text.contains("vhostfds=5:6,fds=7:8"), "{text}");
    assert!(text.contains("mq=on,vectors=6"), "{text}");
}

/// `QemuNetdevParams` in src/runtime/pkg/govmm/qemu/qemu.go@3.32.0, `qemu_params` of `Netdev` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
#[test]
fn without_vhost_net_only_tap_descriptors_are_passed() {
    for (name, expected) in [
        ("go-3.32", "-netdev tap,id=network-0,fds=5"),
        ("rs-4.0", "-netdev tap,id=network-tap0_kata,fds=5"),
        ("rs-4.1", "-netdev tap,id=network-tap0_kata,fds=5"),
    ] {
        let profile = profile(name);
        let mut sandbox = sandbox(profile, SharedFilesystem::None);
        sandbox.net.as_mut().unwrap().vhost = false;
        let launch = launch(profile, &sandbox).unwrap();
        assert_eq!(launch.fd(FdPurpose::VhostNet { queue: 0 }), None, "{name}");
        let text = lines(&launch);
        assert!(text.lines().any(|line| line == expected), "{name}: {text}");
    }
}

/// The normalised form of a launch does not depend on ids, paths, descriptors or the host.
#[test]
fn the_normalised_form_does_not_depend_on_the_run() {
    for profile in Profile::all() {
        let one = sandbox(profile, virtio_fs());
        let two = Sandbox {
            id: "another".to_owned(),
            uuid: "99999999-2222-4333-8444-555555555555".to_owned(),
            kernel: "/tmp/k".to_owned(),
            initrd: Some("/tmp/i".to_owned()),
            host_memory_mib: 1000,
            shared: SharedFilesystem::VirtioFs { socket: "/tmp/s".to_owned(), tag: SHARE_TAG.to_owned() },
            vsock: Some(Vsock { guest_cid: 9 }),
            net: Some(Net { tap: "t1".to_owned(), mac: "02:00:00:00:00:02".to_owned(), queues: 1, vhost: true }),
            console: "/tmp/c".to_owned(),
            pid_file: "/tmp/p".to_owned(),
            ..one.clone()
        };
        let (one, two) = (launch(profile, &one).unwrap(), launch(profile, &two).unwrap());
        assert_ne!(one.argv(), two.argv());
        assert_eq!(one.normalised(), two.normalised(), "{}", profile.name);
        let other = launch(profile, &Sandbox { memory_mib: 512, ..sandbox(profile, virtio_fs()) }).unwrap();
        assert_ne!(one.normalised(), other.normalised(), "{}: the guest's size is part of it", profile.name);
    }
}

/// Profiles whose launches differ for a guest with virtio-fs, and profiles that differ only in disks, 9p, virtiofsd's
/// arguments or QMP.
#[test]
fn some_profiles_share_a_configuration() {
    let of = |name| launch(profile(name), &sandbox(profile(name), virtio_fs())).unwrap().normalised();
    for (one, other, same) in [
        ("go-2.2", "go-2.3", false),
        ("go-2.3", "go-2.4", true),
        ("go-2.4", "go-2.5", false),
        ("go-2.5", "go-3.0.2", false),
        ("go-3.0.2", "go-3.1", false),
        ("go-3.1", "go-3.2", true),
        ("go-3.2", "go-3.8", true),
        ("go-3.8", "go-3.13", true),
        ("go-3.13", "go-3.14", false),
        ("go-3.14", "go-3.20", true),
        ("go-3.20", "go-3.22", true),
        ("go-3.22", "go-3.24", false),
        ("go-3.24", "go-3.29", true),
        ("go-3.29", "go-3.32", false),
        ("rs-4.0", "rs-4.1", true),
        ("rs-4.1", "rs-main", true),
    ] {
        assert_eq!(of(one) == of(other), same, "{one} and {other}");
    }
}

#[test]
fn a_disk_of_a_descriptor_set_is_opened_by_the_runtime() {
    let profile = profile("rs-main");
    let mut sandbox = sandbox(profile, SharedFilesystem::None);
    sandbox.disks = vec![BlockDevice { id: "0".to_owned(), file: "/d.img".to_owned(), read_only: true }];
    let launch = launch(profile, &sandbox).unwrap();
    let fd = launch.fd(FdPurpose::Disk { index: 0, read_only: true }).unwrap();
    assert!(lines(&launch).contains(&format!("-add-fd fd={fd},set=1,opaque=kata-block:0:block-source")));
    assert!(!lines(&launch).contains("/d.img"));
}

#[test]
fn unsupported_or_invalid_sandboxes_are_refused() {
    let of = |name, change: fn(&mut Sandbox)| {
        let profile = profile(name);
        let mut sandbox = sandbox(profile, SharedFilesystem::None);
        change(&mut sandbox);
        launch(profile, &sandbox).unwrap_err().to_string()
    };
    assert_eq!(
        of("go-3.29", |s| s.shared = virtio_9p()),
        "profile go-3.29 does not share over virtio-9p, only over virtio-fs"
    );
    assert!(of("rs-4.0", |s| s.console = "/a,b".to_owned()).starts_with("console socket \"/a,b\" contains a comma"));
    assert_eq!(
        of("go-3.29", |s| s.arch = Arch::Aarch64),
        "profile go-3.29 has no arguments for aarch64: Kata's were read for x86_64 only"
    );
    assert_eq!(of("rs-4.0", |s| s.max_vcpus = 0), "maximum of vcpus is 0, expected at least the vcpus");
    assert!(of("go-2.2", |s| s.vsock = Some(Vsock { guest_cid: 2 })).starts_with("guest cid is 2"));
}
