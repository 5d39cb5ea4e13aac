//! The host's vhost and tap drivers, opened and set up as by Kata's runtimes before they start QEMU.
//!
//! In a container the [`broker`] does this.
#![expect(unsafe_code, reason = "the drivers are set up by ioctl, which has no safe interface")]

use crate::broker::{self, Wish};
use qemu::launch::{FdPurpose, InheritedFd};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use suites::check::Stop;
use suites::environment::Tap;
use suites::packets::{self, TapHeader};

/// Name of the tap interface, which disappears with its descriptor.
pub(crate) const TAP: &str = "tap0_kata";

/// Device of vsock.
pub const VSOCK: &str = "/dev/vhost-vsock";
/// Device for the network.
pub const NET: &str = "/dev/vhost-net";
const TUN: &str = "/dev/net/tun";

/// `VHOST_SET_OWNER` of linux/vhost.h.
const SET_OWNER: libc::c_ulong = 0xaf01;
/// `VHOST_VSOCK_SET_GUEST_CID` of linux/vhost.h.
const SET_GUEST_CID: libc::c_ulong = 0x4008_af60;

/// Opens the files of QEMU's descriptors, each with its number; a guest has at most one disk and one tap.
pub(crate) fn open_all(fds: &[InheritedFd], guest_cid: u32, disk: &Path) -> Result<Vec<(OwnedFd, i32)>, Stop> {
    let queues = fds.iter().filter(|fd| matches!(fd.purpose, FdPurpose::Tap { .. })).count();
    let mut taps = (if queues > 0 { tap(queues)? } else { Vec::new() }).into_iter();
    let mut opened = Vec::new();
    for fd in fds {
        let file = match fd.purpose {
            FdPurpose::Tap { .. } => taps.next().ok_or_else(|| Stop::error("a queue of the tap is missing"))?,
            other => open(other, guest_cid, disk)?,
        };
        opened.push((file, fd.number));
    }
    Ok(opened)
}

/// Returns a tap of one queue in a network namespace of its own, whose other end answers test packets, and vhost-net.
pub(crate) fn tap_and_vhost() -> Result<Tap, Stop> {
    let tap = tap(1)?.pop().ok_or_else(|| Stop::error("the tap has no queue"))?;
    Ok(Tap { tap: File::from(tap), vhost: File::from(vhost_net()?) })
}

fn tap(queues: usize) -> Result<Vec<OwnedFd>, Stop> {
    let opened = match broker::here() {
        Some(broker) => broker.ask_for_all(Wish::Tap { queues }),
        None => tap_apart(queues, ()),
    };
    opened.map_err(open_error(TUN))
}

fn vhost_net() -> Result<OwnedFd, Stop> {
    broker::here().map_or_else(net, |broker| broker.ask(Wish::VhostNet)).map_err(open_error(NET))
}

fn vhost_vsock(cid: u32) -> Result<OwnedFd, Stop> {
    broker::here().map_or_else(|| vsock(cid), |broker| broker.ask(Wish::VhostVsock { cid })).map_err(open_error(VSOCK))
}

fn open(purpose: FdPurpose, guest_cid: u32, disk: &Path) -> Result<OwnedFd, Stop> {
    let disk = disk.to_string_lossy();
    match purpose {
        FdPurpose::Vsock => vhost_vsock(guest_cid),
        FdPurpose::VhostNet { .. } => vhost_net(),
        FdPurpose::Disk { read_only: true, .. } => File::open(&*disk).map(OwnedFd::from).map_err(open_error(&disk)),
        FdPurpose::Disk { read_only: false, .. } => device(&disk).map_err(open_error(&disk)),
        FdPurpose::Tap { .. } | FdPurpose::Qmp | FdPurpose::Virtiofsd => {
            Err(Stop::error("neither a queue of a tap nor a socket is a device by itself"))
        }
    }
}

fn open_error(path: &str) -> impl Fn(io::Error) -> Stop {
    move |e| Stop::error(format!("opening {path} for QEMU: {e}"))
}

fn device(path: &str) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
}

/// Checks that a vhost driver works: it starts a thread for its first owner. A device that can be opened may still not
/// work.
///
/// # Errors
/// The kernel's error.
pub fn serves(path: &str) -> io::Result<()> {
    let fd = device(path)?;
    // SAFETY: the driver reads no argument.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_OWNER as libc::Ioctl, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Opens `/dev/vhost-net`.
///
/// # Errors
/// The kernel's error.
pub fn net() -> io::Result<OwnedFd> {
    device(NET)
}

/// Opens `/dev/vhost-vsock` and claims a guest's context id.
///
/// # Errors
/// The kernel's error; also if the id is already in use.
pub fn vsock(guest_cid: u32) -> io::Result<OwnedFd> {
    let fd = device(VSOCK)?;
    let cid = u64::from(guest_cid);
    // SAFETY: the driver reads a u64 from the pointer, which lives until the call returns.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_GUEST_CID, &cid) };
    if result == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

/// Makes a tap in a network namespace of its own, like a pod's: guests that run at the same time have the same
/// interface name.
/// Each queue has a descriptor. The namespace lives as long as the descriptors; `held` is dropped soon after.
///
/// # Errors
/// The kernel's error.
pub fn tap_apart<T: Send + 'static>(queues: usize, held: T) -> io::Result<Vec<OwnedFd>> {
    let apart = std::thread::spawn(move || {
        // SAFETY: only this thread's network namespace is unshared; no file descriptor changes its meaning.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
        let tap = packets::tap_of_queues(TAP, TapHeader::Virtio, queues)?;
        // Kata sets the MTU of the pod's interface: large enough for every test.
        packets::set_mtu(TAP, packets::LARGEST_MTU)?;
        // With Kata the pod's interface is at the other end; here the other end answers test packets.
        packets::echo_on(TAP, held)?;
        Ok(tap)
    });
    apart.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes the tap panicked")))
}
