use super::*;
use crate::smoke::fake_machine::FakeMachine;

fn profile(name: &str) -> &'static Profile {
    Profile::find(name).unwrap()
}

/// govmm writes `share-rw` and `mq` as the text `on` from 2.2.0 to 3.12.0, and as true from 3.13.0 on
/// (`ExecuteSCSIDeviceAdd` and `ExecuteNetPCIDeviceAdd` in qmp.go); runtime-rs writes true (`hotplug_block_device` and
/// `hotplug_network_device` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.0.0).
#[test]
fn switches_are_text_up_to_3_12() {
    for (name, on) in [
        ("go-2.2", json!("on")),
        ("go-3.8", json!("on")),
        ("go-3.13", json!(true)),
        ("go-3.32", json!(true)),
        ("rs-4.0", json!(true)),
    ] {
        let id = if name.starts_with("go") { "virtio-drive-0" } else { "drive-0" };
        let expected = json!({
            "driver": "scsi-hd", "id": id, "drive": "drive-0", "bus": "scsi0.0", "scsi-id": 0, "lun": 0, "share-rw": on,
        });
        assert_eq!(scsi_disk(profile(name), &Disk::first(Path::new("/d.img"))), expected, "{name}");
        assert_eq!(interface(profile(name), 1)["mq"], on, "{name}");
        assert_eq!(interface(profile(name), 1)["vectors"], json!(4), "{name}: a number at every tag");
    }
}

/// `hotplugAddCPUs` in src/runtime/virtcontainers/qemu.go passes text to `ExecuteCPUDeviceAdd` in govmm's qmp.go up to
/// 3.19.1, and numbers from 3.20.0 on; `hotplug_vcpus` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.0.0 passes
/// numbers, and no die.
#[test]
fn a_cpus_numbers_are_text_up_to_3_19() {
    let slot = json!({
        "type": "host-x86_64-cpu", "vcpus-count": 1,
        "props": { "core-id": 0, "thread-id": 0, "die-id": 0, "socket-id": 3 },
    });
    let driver = "host-x86_64-cpu";
    let text = json!({
        "driver": driver, "id": "cpu-0", "core-id": "0", "socket-id": "3", "thread-id": "0", "die-id": "0",
    });
    let numbers = json!({ "driver": driver, "id": "cpu-0", "core-id": 0, "socket-id": 3, "thread-id": 0, "die-id": 0 });
    let rust = json!({ "driver": driver, "id": "cpu-0", "core-id": 0, "socket-id": 3, "thread-id": 0 });
    for (name, expected) in [("go-2.2", &text), ("go-3.14", &text), ("go-3.20", &numbers), ("rs-4.0", &rust)] {
        assert_eq!(cpu(profile(name), &slot), *expected, "{name}");
    }
}

/// `hotplugAddBlockDevice` in src/runtime/virtcontainers/qemu.go passes 0 queues up to 2.4.3, which omits the argument,
/// and the number of CPUs from 2.5.0 on; `ExecutePCIDeviceAdd` in govmm's qmp.go writes it as text up to 3.21.0, as a
/// number from 3.22.0 on. `hotplug_block_device` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.0.0 omits it.
#[test]
fn the_queues_of_a_disk_are_text_up_to_3_21() {
    for (name, queues) in [
        ("go-2.4", None),
        ("go-2.5", Some(json!("1"))),
        ("go-3.20", Some(json!("1"))),
        ("go-3.22", Some(json!(1))),
        ("rs-4.0", None),
    ] {
        assert_eq!(pci_disk(profile(name)).get("num-queues"), queues.as_ref(), "{name}");
    }
    let expected = json!({
        "driver": "virtio-blk-pci", "id": "virtio-drive-0", "drive": "drive-0", "bus": "pci-bridge-0", "addr": "01",
        "share-rw": "on", "romfile": "", "num-queues": "1",
    });
    assert_eq!(pci_disk(profile("go-3.8")), expected);
}

/// `blockdevAddBaseArgs` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0 names the path; `hotplug_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0 and that of main (7c6ba40c54) differ in the file's name.
#[test]
fn a_disks_file_is_named_by_its_path_or_its_descriptor_set() {
    let go = json!({
        "driver": "raw", "node-name": "drive-0", "read-only": false,
        "file": { "driver": "file", "filename": "/d.img", "aio": "threads" },
    });
    let first = Disk::first(Path::new("/d.img"));
    assert_eq!(node(profile("go-3.32"), &first, "/d.img"), go);
    let rust = json!({
        "driver": "raw", "node-name": "drive-0", "read-only": false,
        "file": { "driver": "file", "filename": "/dev/fdset/1", "aio": "threads", "read-only": false },
    });
    assert_eq!(node(profile("rs-main"), &first, "/dev/fdset/1"), rust);
}

/// `ExecuteSCSIDeviceAdd` shares every disk; `hotplug_block_device` shares the writable ones, and allows the files of
/// the others to be open elsewhere.
#[test]
fn each_runtime_marks_a_read_only_disk_in_its_own_way() {
    let disk = Disk { file: Path::new("/d.img"), index: 300, read_only: true, aio: "io_uring" };
    let go = json!({
        "driver": "raw", "node-name": "drive-300", "read-only": true,
        "file": { "driver": "file", "filename": "/d.img", "aio": "io_uring" },
    });
    assert_eq!(node(profile("go-3.32"), &disk, "/d.img"), go);
    let rust = json!({
        "driver": "raw", "node-name": "drive-300", "read-only": true, "force-share": true,
        "file": { "driver": "file", "filename": "/d.img", "aio": "io_uring", "read-only": true },
    });
    assert_eq!(node(profile("rs-4.1"), &disk, "/d.img"), rust);
    let device = json!({
        "driver": "scsi-hd", "id": "drive-300", "drive": "drive-300", "bus": "scsi0.0", "scsi-id": 1, "lun": 44,
    });
    assert_eq!(scsi_disk(profile("rs-4.1"), &disk), device);
    assert_eq!(scsi_disk(profile("go-3.32"), &disk)["share-rw"], json!(true));
}

/// `hotAddNetDevice` passes the descriptors before it names them to the back end; `disable_vhost_net` omits vhost's.
#[test]
fn tap_descriptors_are_passed_before_netdev_add_names_them() {
    let null = || std::fs::File::open("/dev/null").unwrap();
    let tap = Tap { tap: null(), vhost: null() };
    let sent = |by_vhost| {
        let mut machine = FakeMachine::of("go-3.32");
        plug_tap(&mut machine, &tap, by_vhost).unwrap();
        machine.sent
    };
    let commands = |by_vhost| sent(by_vhost).into_iter().map(|(command, _)| command).collect::<Vec<_>>();
    assert_eq!(commands(true), ["getfd", "getfd", "netdev_add", "device_add"]);
    let named = json!({ "type": "tap", "id": "tap1_kata", "fds": "fd0", "vhost": true, "vhostfds": "vhostfd0" });
    assert_eq!(sent(true)[2].1, named);
    assert_eq!(commands(false), ["getfd", "netdev_add", "device_add"]);
    assert_eq!(sent(false)[1].1, json!({ "type": "tap", "id": "tap1_kata", "fds": "fd0" }));
}

const REFUSAL: &str =
    "QMP device_add: device_add was refused (GenericError): Invalid parameter type for 'multifunction'";

fn refusal() -> Stop {
    let [command, class, description] =
        ["device_add", "GenericError", "Invalid parameter type for 'multifunction'"].map(str::to_owned);
    Stop::blame(Component::Qemu, REFUSAL).showing(FailureDetail::QmpRefusal { command, class, description })
}

/// Returns a QEMU that refuses text for a switch or a number, as 9.2 does, and with `never` also everything else.
fn strict(profile: &str, never: bool) -> FakeMachine {
    let mut machine = FakeMachine::of(profile);
    machine.qmp = Box::new(move |command, arguments| {
        let text = SWITCHES_AND_NUMBERS.iter().any(|name| arguments.get(name).is_some_and(Value::is_string));
        match command {
            "device_add" if text => Err(refusal()),
            "device_add" if never => Err(Stop::blame(Component::Qemu, "no such bus")),
            _ => Ok(json!({})),
        }
    });
    machine
}

#[test]
fn a_refused_text_value_blames_kata_if_qemu_accepts_a_typed_one() {
    let file = Path::new("/d.img");
    let kata = |stop: Stop| match stop {
        Stop::Fail { message, blames, detail, .. } => {
            let is_still_told = matches!(*detail, FailureDetail::QmpRefusal { .. });
            message.starts_with(REFUSAL) && blames == Some(Component::Kata) && is_still_told
        }
        _ => false,
    };
    let mut machine = strict("rs-4.1", false);
    assert!(kata(plug_root_port_disk(&mut machine, file).unwrap_err()));
    let sent = &machine.sent.last().unwrap().1;
    assert_eq!((&sent["multifunction"], &sent["addr"]), (&json!(false), &json!("0x0")), "an address is a text");
    type Plug = fn(&mut FakeMachine) -> Result<String, Stop>;
    let plugs: [Plug; 3] = [
        |machine| plug_pci_disk(machine, Path::new("/d.img")),
        |machine| plug_scsi_disk(machine, &Disk::first(Path::new("/d.img"))),
        |machine| plug_interface(machine, 1, "127.0.0.1:1"),
    ];
    for plug in plugs {
        assert!(kata(plug(&mut strict("go-3.8", false)).unwrap_err()));
        assert_eq!(plug(&mut strict("go-3.8", true)), Err(refusal()), "what QEMU takes in no form is QEMU's");
        assert!(plug(&mut strict("go-3.32", false)).is_ok());
    }
    // If QEMU refuses the typed arguments, too, Kata is not at fault, and there is no other attempt.
    let mut machine = strict("go-3.32", true);
    assert_eq!(plug_scsi_disk(&mut machine, &Disk::first(file)), Err(Stop::blame(Component::Qemu, "no such bus")));
    assert_eq!(machine.count("device_add"), 1);
}

#[test]
fn numeric_and_switch_texts_become_typed_and_others_are_unchanged() {
    let cpu = json!({ "driver": "host-x86_64-cpu", "id": "cpu-0", "core-id": "1", "die-id": 0, "share-rw": "on" });
    let expected = json!({ "driver": "host-x86_64-cpu", "id": "cpu-0", "core-id": 1, "die-id": 0, "share-rw": true });
    assert_eq!(typed(cpu), expected);
    let odd = json!({ "mq": "maybe", "id": "1", "addr": "01" });
    assert_eq!(typed(odd.clone()), odd);
}
