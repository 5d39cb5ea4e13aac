use super::*;
use crate::sandbox::{Disk, Net, SHARE_TAG, Vsock};

fn profile(name: &str) -> &'static Profile {
    Profile::find(name).unwrap()
}

fn virtio_fs() -> Shared {
    Shared::VirtioFs { socket: "/run/vc/vm/s1/vhost-fs.sock".to_owned(), tag: SHARE_TAG.to_owned() }
}

fn virtio_9p() -> Shared {
    Shared::Virtio9p { dir: "/run/kata-containers/shared/sandboxes/s1/shared".to_owned(), tag: SHARE_TAG.to_owned() }
}

/// A sandbox as Kata makes it on a host with 16 GiB and four CPUs: vsock and one network interface.
fn sandbox(profile: &Profile, shared: Shared) -> Sandbox {
    Sandbox {
        uuid: "11111111-2222-4333-8444-555555555555".to_owned(),
        initrd: Some("/boot/kata.img".to_owned()),
        host_memory_mib: 16000,
        max_vcpus: 4,
        shared,
        vsock: Some(Vsock { guest_cid: 1234567 }),
        net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1 }),
        console: "/run/vc/vm/s1/console.sock".to_owned(),
        pid_file: "/run/vc/vm/s1/pid".to_owned(),
        ..Sandbox::new(profile, "/usr/bin/qemu-system-x86_64", "s1", "/boot/vmlinuz")
    }
}

/// One argument a line, the flag and its value.
fn golden(name: &str, shared: Shared) -> String {
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

/// `LaunchQemu` in src/runtime/pkg/govmm/qemu/qemu.go@3.1.0, filled by `CreateVM` in
/// src/runtime/virtcontainers/qemu.go@3.1.0; defaults of src/runtime/Makefile@3.1.0.
#[test]
fn go_2_0_with_virtio_fs() {
    insta::assert_snapshot!(golden("go-2.0", virtio_fs()));
}

/// As above, with `generic9PVolume` in src/runtime/virtcontainers/qemu_arch_base.go@3.1.0.
#[test]
fn go_2_0_with_virtio_9p() {
    insta::assert_snapshot!(golden("go-2.0", virtio_9p()));
}

/// `LaunchQemu` in src/runtime/pkg/govmm/qemu/qemu.go@3.2.0, filled by `CreateVM` in
/// src/runtime/virtcontainers/qemu.go@3.2.0; defaults of src/runtime/Makefile@3.2.0.
#[test]
fn go_3_2_with_virtio_fs() {
    insta::assert_snapshot!(golden("go-3.2", virtio_fs()));
}

/// As above, with `generic9PVolume` in src/runtime/virtcontainers/qemu_arch_base.go@3.2.0.
#[test]
fn go_3_2_with_virtio_9p() {
    insta::assert_snapshot!(golden("go-3.2", virtio_9p()));
}

/// `LaunchQemu` in src/runtime/pkg/govmm/qemu/qemu.go@3.29.0, filled by `CreateVM` in
/// src/runtime/virtcontainers/qemu.go@3.29.0; defaults of src/runtime/Makefile@3.29.0 and
/// src/runtime/arch/amd64-options.mk@3.29.0.
#[test]
fn go_3_29_with_virtio_fs() {
    insta::assert_snapshot!(golden("go-3.29", virtio_fs()));
}

/// As above, with `shared_fs = "none"`: `appendMemoryKnobs` in src/runtime/pkg/govmm/qemu/qemu.go@3.29.0.
#[test]
fn go_3_29_without_a_share() {
    insta::assert_snapshot!(golden("go-3.29", Shared::None));
}

/// `QemuCmdLine::build` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0, filled by `start_vm` in
/// src/runtime-rs/crates/hypervisor/src/qemu/inner.rs@4.0.0; defaults of src/runtime-rs/Makefile@4.0.0 and
/// src/runtime-rs/arch/x86_64-options.mk@4.0.0.
#[test]
fn rs_4_0_with_virtio_fs() {
    insta::assert_snapshot!(golden("rs-4.0", virtio_fs()));
}

/// As above, with `shared_fs = "none"`: `add_ram_memory_backend` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0.
#[test]
fn rs_4_0_without_a_share() {
    insta::assert_snapshot!(golden("rs-4.0", Shared::None));
}

/// `genericBlockDevice` in src/runtime/virtcontainers/qemu_arch_base.go@3.1.0 and @3.29.0, `QemuParams` of `BlockDevice`
/// in src/runtime/pkg/govmm/qemu/qemu.go@3.1.0 and @3.29.0 (which no longer prints `scsi=off`), `add_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0.
#[test]
fn a_disk_is_described_in_each_familys_way() {
    let all = ["go-2.0", "go-3.29", "rs-4.0"].map(|name| {
        let profile = profile(name);
        let mut sandbox = sandbox(profile, Shared::None);
        let without = launch(profile, &sandbox).unwrap();
        sandbox.disks = vec![Disk { id: "0".to_owned(), file: "/d.img".to_owned(), read_only: true }];
        let with = launch(profile, &sandbox).unwrap();
        let new: Vec<String> = with
            .args
            .iter()
            .filter(|a| !without.args.contains(a))
            .map(|a| format!("{} {}", a.flag, a.value.clone().unwrap()))
            .collect();
        format!("{name}\n{}", new.join("\n"))
    });
    insta::assert_snapshot!(all.join("\n\n"));
}

/// `disableModern` in src/runtime/pkg/govmm/qemu/qemu.go@3.29.0 prints the option either way; `should_disable_modern` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0 prints it only when true, and not for the console.
#[test]
fn inside_a_vm_virtio_is_transitional() {
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
fn descriptors_are_numbered_as_go_does() {
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

/// What two runs of one configuration have in common does not depend on ids, paths, descriptors or the host.
#[test]
fn the_normalised_form_knows_no_run() {
    for profile in Profile::all() {
        let one = sandbox(profile, virtio_fs());
        let two = Sandbox {
            id: "another".to_owned(),
            uuid: "99999999-2222-4333-8444-555555555555".to_owned(),
            kernel: "/tmp/k".to_owned(),
            initrd: Some("/tmp/i".to_owned()),
            host_memory_mib: 1000,
            shared: Shared::VirtioFs { socket: "/tmp/s".to_owned(), tag: SHARE_TAG.to_owned() },
            vsock: Some(Vsock { guest_cid: 9 }),
            net: Some(Net { tap: "t1".to_owned(), mac: "02:00:00:00:00:02".to_owned(), queues: 1 }),
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

/// Between 3.1 and 3.2 QEMU's arguments did not change, only virtiofsd's; 3.29 has other kernel parameters.
#[test]
fn two_families_share_a_configuration() {
    let of = |name| launch(profile(name), &sandbox(profile(name), virtio_fs())).unwrap().normalised();
    assert_eq!(of("go-2.0"), of("go-3.2"));
    assert_ne!(of("go-3.2"), of("go-3.29"));
}

#[test]
fn what_cannot_be_expressed_is_refused() {
    let of = |name, change: fn(&mut Sandbox)| {
        let profile = profile(name);
        let mut sandbox = sandbox(profile, Shared::None);
        change(&mut sandbox);
        launch(profile, &sandbox).unwrap_err().to_string()
    };
    assert_eq!(
        of("go-3.29", |s| s.shared = virtio_9p()),
        "profile go-3.29 does not share over virtio-9p, only over virtio-fs"
    );
    assert!(of("rs-4.0", |s| s.console = "/a,b".to_owned()).starts_with("console socket \"/a,b\" contains a comma"));
    assert_eq!(of("rs-4.0", |s| s.max_vcpus = 0), "maximum of vcpus is 0, expected at least the vcpus");
    assert!(of("go-3.2", |s| s.vsock = Some(Vsock { guest_cid: 2 })).starts_with("guest cid is 2"));
}
