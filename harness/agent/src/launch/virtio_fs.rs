//! A guest's virtio-fs device as QEMU reports it: whether the guest has a driver for it, and the content of its queues.
//!
//! Only commands of QEMU 7.2 and later that send nothing to virtiofsd are used: a daemon that does not answer would
//! block QEMU, and querying the state of a queue (`x-query-virtio-queue-status`) stops that queue.
//! The indexes of the rings are read from the guest's memory in QEMU, where the guest's driver writes them.

use serde_json::{Value, json};
use std::time::Duration;

/// State of the device in QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FsDevice {
    /// Not reported by QEMU, as before 7.2.
    Unknown,
    /// QEMU has no such device.
    Absent,
    /// The guest's kernel has seen the device but has no driver for it.
    NoDriver,
    /// The guest's kernel has not seen the device, or its driver has not made it ready.
    NotReady,
    /// A driver has made the device ready, but virtiofsd does not serve it.
    NotStarted,
    /// virtiofsd should serve these queues.
    Queues(Queues),
}

/// The queues that the guest's driver uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queues {
    /// Their rings.
    pub(crate) rings: Vec<Ring>,
    /// Whether something changed between two looks.
    pub(crate) moving: bool,
}

/// Number of requests that have gone through a ring, modulo 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    /// Requests from the guest.
    pub(crate) asked: u16,
    /// Answered requests.
    pub(crate) answered: u16,
}

impl Queues {
    /// Returns the number of requests without an answer.
    pub(crate) fn open(&self) -> u32 {
        self.rings.iter().map(|ring| u32::from(ring.asked.wrapping_sub(ring.answered))).sum()
    }

    /// Returns whether the guest has never made a request.
    pub(crate) fn none_asked(&self) -> bool {
        self.rings.iter().all(|ring| ring.asked == 0 && ring.answered == 0)
    }

    /// Returns whether no request has ever been answered.
    pub(crate) fn none_answered(&self) -> bool {
        self.rings.iter().all(|ring| ring.answered == 0)
    }
}

/// Returns the answer to a QMP command, if there is one.
pub(crate) type Ask<'a> = &'a mut dyn FnMut(&str, Value) -> Option<Value>;

/// `VIRTIO_ID_FS` of linux/virtio_ids.h.
const VIRTIO_ID_FS: u64 = 26;
/// Maximum number of queues, more than Kata uses, which is one in addition to the high-priority queue.
const AT_MOST: u64 = 64;
/// Pause between two looks at the queues.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at the device, twice if it has queues.
pub(crate) fn device(ask: Ask<'_>) -> FsDevice {
    match look(ask).unwrap_or(FsDevice::Unknown) {
        FsDevice::Queues(before) => {
            std::thread::sleep(PAUSE);
            match look(ask) {
                Some(FsDevice::Queues(now)) => FsDevice::Queues(Queues { moving: now.rings != before.rings, ..now }),
                _ => FsDevice::Queues(before),
            }
        }
        other => other,
    }
}

/// Looks at the device once; `None` if QEMU does not answer, or in another form.
fn look(ask: Ask<'_>) -> Option<FsDevice> {
    let devices = ask("x-query-virtio", json!({}))?;
    let mut found = None;
    for device in devices.as_array()? {
        let path = device.get("path")?.as_str()?.to_owned();
        let status = ask("x-query-virtio-status", json!({ "path": path }))?;
        if status.get("device-id")?.as_u64()? == VIRTIO_ID_FS {
            found = Some((path, status));
        }
    }
    let Some((path, status)) = found else { return Some(FsDevice::Absent) };
    let statuses = status.pointer("/status/statuses")?.as_array()?;
    let has = |status: &str| statuses.iter().filter_map(Value::as_str).any(|text| text.contains(status));
    if !has("S_DRIVER_OK:") {
        let seen_only = has("S_ACKNOWLEDGE:") && !has("S_DRIVER:") && !has("S_FAILED:");
        return Some(if seen_only { FsDevice::NoDriver } else { FsDevice::NotReady });
    }
    if !status.get("vhost-started")?.as_bool()? {
        return Some(FsDevice::NotStarted);
    }
    let mut rings = Vec::new();
    for queue in 0..status.get("num-vqs")?.as_u64()?.min(AT_MOST) {
        let queue = ask("x-query-virtio-vhost-queue-status", json!({ "path": path, "queue": queue }))?;
        let (available, used) = (queue.get("avail-phys")?.as_u64()?, queue.get("used-phys")?.as_u64()?);
        // Address 0 means that the driver does not use this queue.
        if available != 0 {
            rings.push(Ring { asked: index(ask, available)?, answered: index(ask, used)? });
        }
    }
    Some(FsDevice::Queues(Queues { rings, moving: false }))
}

/// Returns the index of a ring at a guest's physical address: `idx` of `struct vring_avail` and of `struct vring_used`.
fn index(ask: Ask<'_>, ring: u64) -> Option<u16> {
    let command = format!("xp /1hx {:#x}", ring.checked_add(2)?);
    // `0000000000abc002: 0x0001`
    let output = ask("human-monitor-command", json!({ "command-line": command }))?;
    let (_, value) = output.as_str()?.split_once(": 0x")?;
    u16::from_str_radix(value.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU with one other device, whose virtio-fs device has this status and whose memory has these indexes, in
    /// order.
    struct Qemu {
        status: Value,
        memory: Vec<&'static str>,
        asked: Vec<String>,
    }

    impl Qemu {
        fn new(statuses: &[&str], vhost_started: bool, memory: &[&'static str]) -> Qemu {
            let status = json!({
                "device-id": 26, "num-vqs": 2, "vhost-started": vhost_started, "status": {"statuses": statuses},
            });
            Qemu { status, memory: memory.to_vec(), asked: Vec::new() }
        }

        fn answer(&mut self, command: &str, arguments: &Value) -> Option<Value> {
            self.asked.push(format!("{command} {arguments}"));
            let of_fs = arguments.get("path").is_some_and(|path| path == "/fs/virtio-backend");
            Some(match command {
                "x-query-virtio" => json!([{"path": "/rng/virtio-backend"}, {"path": "/fs/virtio-backend"}]),
                "x-query-virtio-status" if of_fs => self.status.clone(),
                "x-query-virtio-status" => json!({"device-id": 4, "status": {"statuses": []}}),
                "x-query-virtio-vhost-queue-status" if arguments.get("queue") == Some(&json!(0)) => {
                    json!({"avail-phys": 0, "used-phys": 0})
                }
                "x-query-virtio-vhost-queue-status" => json!({"avail-phys": 0x1000, "used-phys": 0x2000}),
                "human-monitor-command" => json!(self.memory.remove(0)),
                _ => return None,
            })
        }

        fn device(&mut self) -> FsDevice {
            device(&mut |command: &str, arguments: Value| self.answer(command, &arguments))
        }
    }

    const READY: &[&str] = &[
        "VIRTIO_CONFIG_S_DRIVER: Guest OS compatible with device",
        "VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready",
    ];
    const THREE: &str = "0000000000001002: 0x0003\r\n";
    const TWO: &str = "0000000000002002: 0x0002\r\n";

    #[test]
    fn the_rings_are_read_twice_at_the_drivers_addresses() {
        let mut qemu = Qemu::new(READY, true, &[THREE, TWO, THREE, TWO]);
        let FsDevice::Queues(queues) = qemu.device() else { panic!("{:?}", qemu.asked) };
        assert_eq!(queues, Queues { rings: vec![Ring { asked: 3, answered: 2 }], moving: false });
        assert_eq!((queues.open(), queues.none_asked(), queues.none_answered()), (1, false, false));
        assert!(qemu.asked.iter().any(|asked| asked.contains("xp /1hx 0x1002")), "{:?}", qemu.asked);
        assert!(qemu.asked.iter().any(|asked| asked.contains("xp /1hx 0x2002")), "{:?}", qemu.asked);
        let answered = "0000000000002002: 0x0003\r\n";
        let device = Qemu::new(READY, true, &[THREE, TWO, THREE, answered]).device();
        assert!(matches!(device, FsDevice::Queues(Queues { moving: true, .. })), "{device:?}");
        let wrapped = Queues { rings: vec![Ring { asked: 1, answered: 65_534 }], moving: false };
        assert_eq!(wrapped.open(), 3);
    }

    #[test]
    fn a_device_without_a_driver_is_distinguished_from_an_absent_one() {
        let acknowledged = "VIRTIO_CONFIG_S_ACKNOWLEDGE: Valid virtio device found";
        assert_eq!(Qemu::new(&[acknowledged], false, &[]).device(), FsDevice::NoDriver);
        // A driver that gives up may have been given a faulty device.
        assert_eq!(Qemu::new(&[acknowledged, READY[0]], false, &[]).device(), FsDevice::NotReady);
        let failed = "VIRTIO_CONFIG_S_FAILED: Error in guest, device failed";
        assert_eq!(Qemu::new(&[acknowledged, failed], false, &[]).device(), FsDevice::NotReady);
        assert_eq!(Qemu::new(&[], false, &[]).device(), FsDevice::NotReady);
        assert_eq!(Qemu::new(READY, false, &[]).device(), FsDevice::NotStarted);
        let mut other = Qemu::new(READY, true, &[]);
        other.status["device-id"] = json!(1);
        assert_eq!(other.device(), FsDevice::Absent);
    }

    #[test]
    fn a_device_that_qemu_does_not_describe_is_unknown() {
        // QEMU before 7.2, a QEMU without a human monitor, and one that cannot read at this address.
        assert_eq!(device(&mut |_: &str, _: Value| None), FsDevice::Unknown);
        assert_eq!(Qemu::new(READY, true, &["Cannot access memory\r\n"]).device(), FsDevice::Unknown);
        let mut other = Qemu::new(READY, true, &[]);
        other.status = json!({"device-id": 26});
        assert_eq!(other.device(), FsDevice::Unknown);
    }
}
