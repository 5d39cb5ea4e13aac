use super::*;
use crate::argv;
use crate::launch::FdPurpose;
use crate::sandbox::{Net, Sandbox, Vsock};
use model::profile::{DaemonSetting, Profile};

fn launch(name: &str) -> Launch {
    let profile = Profile::find(name).unwrap();
    let sandbox = Sandbox {
        vsock: Some(Vsock { guest_cid: 5 }),
        net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1, vhost: true }),
        ..Sandbox::new(profile, "qemu-system-x86_64", "s1", "/boot/vmlinuz")
    };
    argv::launch(profile, &sandbox).unwrap()
}

fn all() -> Vec<Deviation> {
    vec![
        Deviation::Accelerator,
        Deviation::CpuModel,
        Deviation::NoVsock,
        Deviation::NoNetwork,
        Deviation::RpcPort { socket: "/run/rpc.sock".to_owned() },
        Deviation::SerialLog { socket: "/run/serial.sock".to_owned(), terse: false },
        Deviation::DaemonSandbox,
        Deviation::DaemonHandles,
        Deviation::DaemonSetting { setting: DaemonSetting::Xattr },
        Deviation::DaemonSetting { setting: DaemonSetting::Acl },
    ]
}

/// Returns the arguments that are only in the first list, one a line.
fn only_in(these: &[Arg], those: &[Arg], sign: char) -> String {
    let only = these.iter().filter(|arg| !those.contains(arg));
    let words = |arg: &Arg| std::iter::once(&arg.flag).chain(&arg.value).cloned().collect::<Vec<_>>().join(" ");
    only.map(|arg| format!("\n  {sign} {}", words(arg))).collect()
}

#[test]
fn the_record_shows_removed_and_added_arguments() {
    for name in ["go-3.29", "rs-4.0"] {
        let mut launch = launch(name);
        let mut text = Vec::new();
        for deviation in all().into_iter().filter(|deviation| deviation.program() == Program::Qemu) {
            let before = launch.args.clone();
            apply(&mut launch, Arch::X86_64, std::slice::from_ref(&deviation)).unwrap();
            assert_eq!(launch.deviations.last(), Some(&deviation));
            let name = serde_json::to_value(&deviation).unwrap()["deviation"].as_str().unwrap().to_owned();
            let (removed, added) = (only_in(&before, &launch.args, '-'), only_in(&launch.args, &before, '+'));
            text.push(format!("{name}{removed}{added}"));
        }
        insta::assert_snapshot!(format!("record_{name}"), text.join("\n"));
    }
}

#[test]
fn every_deviation_applies_exactly_once_to_every_profile() {
    for profile in Profile::all() {
        let mut launch = launch(&profile.name);
        // Only a QEMU that daemonizes can be kept in the foreground.
        let mut applied = all();
        applied.extend((!profile.qemu.foreground).then_some(Deviation::Foreground));
        apply(&mut launch, Arch::X86_64, &applied).unwrap();
        let argv = launch.argv().join(" ");
        assert!(!argv.contains("kvm,") && !argv.contains(" host,"), "{argv}");
        assert!(!argv.contains("vsock") && !argv.contains("tap") && !argv.contains("quiet"), "{argv}");
        assert_eq!(launch.fds.len(), 1, "only QMP's descriptor is left");
        let qmp = launch.fd(FdPurpose::Qmp).unwrap();
        assert!(argv.contains(&format!("-qmp unix:fd={qmp},")) && !argv.contains("-daemonize"), "{argv}");
        let before = launch.clone();
        for deviation in all().into_iter().chain([Deviation::Foreground]).filter(|d| d.program() == Program::Qemu) {
            assert!(apply(&mut launch, Arch::X86_64, &[deviation]).is_err());
        }
        assert_eq!(launch, before, "a refused deviation changes nothing");
    }
}

#[test]
fn removing_an_absent_device_is_refused() {
    let profile = Profile::find("rs-4.0").unwrap();
    let sandbox = Sandbox::new(profile, "/bin/qemu", "s1", "/boot/vmlinuz");
    let mut launch = argv::launch(profile, &sandbox).unwrap();
    let before = launch.clone();
    let error = apply(&mut launch, Arch::X86_64, &[Deviation::NoVsock]).unwrap_err();
    assert_eq!(error.to_string(), "applying NoVsock to /bin/qemu: its arguments have no -device vhost-vsock-pci");
    assert!(apply(&mut launch, Arch::X86_64, &[Deviation::NoNetwork]).is_err());
    assert_eq!(launch, before);
}

#[test]
fn removing_the_network_keeps_the_vsock_descriptor() {
    let mut launch = launch("go-3.29");
    apply(&mut launch, Arch::X86_64, &[Deviation::NoNetwork]).unwrap();
    assert_eq!(launch.fd(FdPurpose::Vsock), Some(4));
    assert_eq!(launch.fds.len(), 2);
}

#[test]
fn a_launch_survives_serialisation_and_normalises_run_paths() {
    let mut one = launch("go-3.29");
    apply(&mut one, Arch::X86_64, &all()).unwrap();
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Launch>(&text).unwrap(), one);
    let normal = one.normalised().join(" ");
    assert!(
        !normal.contains("/run/") && normal.contains("path=<rpc>") && normal.contains("path=<serial-log>"),
        "{normal}"
    );
}

#[test]
fn each_architecture_has_its_own_serial_line_bus_and_interrupt_controller() {
    let of = |name: &str, arch: Arch| {
        let profile = Profile::find(name).unwrap();
        let sandbox = Sandbox {
            arch,
            vsock: Some(Vsock { guest_cid: 5 }),
            net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1, vhost: true }),
            ..Sandbox::new(profile, "qemu", "s1", "/boot/vmlinuz")
        };
        let mut launch = argv::launch(profile, &sandbox).unwrap();
        apply(&mut launch, arch, &all()).unwrap();
        launch.argv().join(" ")
    };
    for name in ["go-3.32", "rs-4.1"] {
        for (arch, console, port) in [
            (Arch::X86_64, "console=ttyS0", "-device isa-serial,chardev=charserial0"),
            (Arch::Aarch64, "console=ttyAMA0", "-serial chardev:charserial0"),
            (Arch::Ppc64le, "console=hvc0", "-device spapr-vty,chardev=charserial0"),
            (Arch::S390x, "console=ttysclp0", "-device sclpconsole,chardev=charserial0"),
        ] {
            let argv = of(name, arch);
            assert!(argv.contains(console) && argv.contains(port), "{name} {arch}: {argv}");
            assert!(!argv.contains("vsock") && !argv.contains("virtio-net") && !argv.contains("kvm,"), "{argv}");
            assert_eq!(argv.contains("gic-version=max"), arch == Arch::Aarch64, "{name} {arch}: {argv}");
            assert!(!argv.contains("gic-version=host") && argv.contains("-cpu max"), "{name} {arch}: {argv}");
        }
    }
}

#[test]
fn with_katas_serial_port_the_kernel_log_is_on_the_second_port() {
    let profile = Profile::find("go-3.32").unwrap();
    for (arch, console) in [(Arch::X86_64, "ttyS1"), (Arch::Aarch64, "ttyAMA1"), (Arch::Ppc64le, "hvc1")] {
        let sandbox = Sandbox { arch, legacy_serial: true, ..Sandbox::new(profile, "qemu", "s1", "/boot/vmlinuz") };
        let mut launch = argv::launch(profile, &sandbox).unwrap();
        let socket = "/run/serial.sock".to_owned();
        apply(&mut launch, arch, &[Deviation::SerialLog { socket, terse: false }]).unwrap();
        let argv = launch.argv().join(" ");
        assert!(argv.contains("-serial chardev:charconsole0"), "{arch}: {argv}");
        assert!(argv.contains(&format!(" console={console}")), "{arch}: {argv}");
    }
}

/// The devices of a machine without PCI have other names, and its guest is told what it cannot find out by itself.
#[test]
fn a_microvm_gets_its_deviations_on_mmio() {
    let profile = Profile::find("go-3.32").unwrap();
    let sandbox = Sandbox {
        microvm: true,
        vsock: Some(Vsock { guest_cid: 5 }),
        net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1, vhost: true }),
        ..Sandbox::new(profile, "qemu", "s1", "/boot/vmlinuz")
    };
    let mut launch = argv::launch(profile, &sandbox).unwrap();
    let modules = Deviation::BusModules { parameter: "load=virtio_mmio".to_owned() };
    let mut changes = vec![Deviation::Accelerator, Deviation::CpuModel, Deviation::NoVsock, Deviation::NoNetwork];
    changes.extend([modules, Deviation::Frequency { khz: 2_000_000 }]);
    changes.push(Deviation::RpcPort { socket: "/run/rpc.sock".to_owned() });
    changes.push(Deviation::SerialLog { socket: "/run/serial.sock".to_owned(), terse: false });
    apply(&mut launch, Arch::X86_64, &changes).unwrap();
    let argv = launch.argv().join(" ");
    assert!(argv.contains("-machine microvm,accel=tcg") && !argv.contains("vsock") && !argv.contains("tap"), "{argv}");
    assert!(argv.contains(" load=virtio_mmio tsc_early_khz=2000000 console=ttyS0"), "{argv}");
    assert_eq!(argv.matches("-device virtio-serial-device").count(), 1, "{argv}");
    // The frequency differs from machine to machine.
    assert!(launch.normalised().join(" ").contains("tsc_early_khz=<khz>"));
}

/// The architecture is passed in and not guessed from the machine name: QEMU's `virt` is on Arm and on RISC-V, too.
#[test]
fn the_architecture_is_passed_in_not_guessed_from_the_machine() {
    let profile = Profile::find("go-3.32").unwrap();
    let sandbox = Sandbox {
        arch: Arch::S390x,
        vsock: Some(Vsock { guest_cid: 5 }),
        ..Sandbox::new(profile, "qemu", "s1", "/boot/vmlinuz")
    };
    let mut launch = argv::launch(profile, &sandbox).unwrap();
    launch.edit(|args, _| replace(args, "-machine", "s390-ccw-virtio", "virt", "-machine s390-ccw-virtio")).unwrap();
    let log = Deviation::SerialLog { socket: "/run/serial.sock".to_owned(), terse: false };
    apply(&mut launch, Arch::S390x, &[Deviation::NoVsock, log]).unwrap();
    let argv = launch.argv().join(" ");
    assert!(argv.contains("-machine virt") && !argv.contains("vsock"), "{argv}");
    assert!(argv.contains("console=ttysclp0") && argv.contains("-device sclpconsole,"), "{argv}");
}
