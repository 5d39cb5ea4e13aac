use super::*;
use crate::launch::virtio_fs::Ring;

const QEMU: Option<Component> = Some(Component::Qemu);
const DAEMON: Option<Component> = Some(Component::Virtiofsd);
const KERNEL: Option<Component> = Some(Component::Kernel);

/// Stand-ins for a verdict without a component, and for one that leaves the component to the test.
const NOBODY: Option<Component> = None;
const TEST: Option<Component> = Some(Component::Record);

/// Returns the component that a stop blames; [`TEST`] if it leaves it to the test.
fn blamed(stop: &Stop) -> Option<Component> {
    match stop {
        Stop::Fail { blames, .. } => blames.or(TEST),
        Stop::Error { .. } => NOBODY,
        other => panic!("{other:?}"),
    }
}

fn queues(asked: u16, answered: u16) -> FsDevice {
    // The high-priority queue is seldom used.
    let rings = vec![Ring { asked: 0, answered: 0 }, Ring { asked, answered }];
    FsDevice::Queues(Queues { rings, moving: false })
}

fn moving(asked: u16, answered: u16) -> FsDevice {
    FsDevice::Queues(Queues { rings: vec![Ring { asked, answered }], moving: true })
}

const HEARD: [Heard; 4] = [Heard::Request, Heard::Mount, Heard::Nothing, Heard::Unknown];

/// Each row: the memory, the device, and the component blamed after each of [`HEARD`].
#[test]
fn each_state_of_an_unfinished_request_blames_its_component() {
    use Memory::{NotInDaemon, PrivateInVmm, Shared, Unknown};
    let rows = [
        // If the first request of a mount wakes the daemon, the request that waits for its answer does not wake it
        // again.
        (PrivateInVmm, queues(1, 0), [QEMU; 4]),
        (PrivateInVmm, queues(0, 0), [QEMU; 4]),
        (PrivateInVmm, FsDevice::Unknown, [QEMU; 4]),
        (PrivateInVmm, FsDevice::NoDriver, [QEMU; 4]),
        (Shared, FsDevice::Absent, [QEMU; 4]),
        (Unknown, FsDevice::Absent, [QEMU; 4]),
        (NotInDaemon, FsDevice::NoDriver, [KERNEL; 4]),
        (Shared, FsDevice::NoDriver, [KERNEL; 4]),
        (Shared, FsDevice::NotReady, [NOBODY; 4]),
        (NotInDaemon, FsDevice::NotReady, [NOBODY; 4]),
        (Shared, FsDevice::NotStarted, [NOBODY; 4]),
        (NotInDaemon, FsDevice::NotStarted, [NOBODY; 4]),
        (NotInDaemon, queues(1, 0), [NOBODY; 4]),
        (NotInDaemon, FsDevice::Unknown, [NOBODY; 4]),
        (Shared, queues(0, 0), [KERNEL; 4]),
        (Shared, queues(7, 7), [TEST, NOBODY, NOBODY, TEST]),
        (Unknown, queues(7, 7), [TEST, NOBODY, NOBODY, TEST]),
        (Shared, moving(9, 8), [TEST; 4]),
        (Shared, queues(1, 0), [DAEMON, DAEMON, NOBODY, TEST]),
        (Shared, queues(8, 7), [DAEMON, NOBODY, NOBODY, TEST]),
        (Unknown, queues(1, 0), [NOBODY; 4]),
        (Unknown, queues(8, 7), [DAEMON, NOBODY, NOBODY, TEST]),
        (Shared, FsDevice::Unknown, [TEST, NOBODY, NOBODY, TEST]),
        (Unknown, FsDevice::Unknown, [TEST, NOBODY, NOBODY, TEST]),
    ];
    for (memory, device, expected) in rows {
        for (heard, expected) in HEARD.into_iter().zip(expected) {
            let facts = ShareFacts { memory, heard, device: device.clone() };
            let stop = unfinished("mounting: not finished", Some(&facts), false);
            assert_eq!(blamed(&stop), expected, "{facts:?}: {stop:?}");
            // Slow is not hung, and only an emulated guest is slow without any component at fault.
            let moves = matches!(&facts.device, FsDevice::Queues(queues) if queues.moving);
            let stop = unfinished("mounting: not finished", Some(&facts), true);
            assert_eq!(blamed(&stop), if moves { NOBODY } else { expected }, "emulated: {facts:?}: {stop:?}");
        }
    }
    assert_eq!(unfinished("late", None, true), Stop::fail("late"), "a guest without a share has no such facts");
}

#[test]
fn a_refused_mount_does_not_blame_a_virtiofsd_without_requests() {
    let facts = |memory, device| ShareFacts { memory, heard: Heard::Nothing, device };
    for (facts, expected) in [
        (facts(Memory::PrivateInVmm, queues(1, 0)), QEMU),
        (facts(Memory::NotInDaemon, FsDevice::Absent), QEMU),
        (facts(Memory::NotInDaemon, FsDevice::NoDriver), KERNEL),
        (facts(Memory::NotInDaemon, FsDevice::NotReady), NOBODY),
        (facts(Memory::Shared, queues(0, 0)), NOBODY),
        (facts(Memory::Shared, queues(1, 1)), TEST),
        (facts(Memory::Shared, FsDevice::Unknown), TEST),
    ] {
        let stop = refused("mounting: EINVAL", Some(&facts));
        assert_eq!(blamed(&stop), expected, "{facts:?}: {stop:?}");
    }
    assert_eq!(refused("refused", None), Stop::fail("refused"));
}

#[test]
fn the_message_describes_memory_daemon_and_device() {
    let facts = ShareFacts { memory: Memory::PrivateInVmm, heard: Heard::Mount, device: queues(1, 0) };
    let Stop::Fail { message, .. } = unfinished("mounting: not finished", Some(&facts), true) else {
        panic!("{facts}")
    };
    assert_eq!(
        message,
        "mounting: not finished; QEMU was given share=on and maps the guest's memory for itself alone: no request \
         reaches virtiofsd (memory: QEMU's alone; virtiofsd woke up: since the mount, not since the request; \
         device: served, requests open)"
    );
}

#[test]
fn wakes_show_whether_mount_or_request_reached_virtiofsd() {
    for (mount, request, now, expected) in [
        (Some(3), Some(5), Some(6), Heard::Request),
        (Some(3), Some(5), Some(5), Heard::Mount),
        (Some(5), Some(5), Some(5), Heard::Nothing),
        // Before the mount.
        (None, Some(5), Some(5), Heard::Nothing),
        (None, Some(5), Some(6), Heard::Request),
        (Some(3), None, Some(5), Heard::Unknown),
        (Some(3), Some(5), None, Heard::Unknown),
    ] {
        assert_eq!(Heard::of(mount, request, now), expected, "{mount:?} {request:?} {now:?}");
    }
}
