//! The host's vhost and tap drivers, opened and set up as Kata's runtimes do before they start QEMU.
//!
//! In a container [`broker`] does so.
#![expect(unsafe_code, reason = "the drivers are set up by ioctl, which has no safe interface")]

use crate::broker::{self, Wish};
use qemu::launch::FdPurpose;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use suites::check::Stop;

/// The tap interface; it goes away with its descriptor.
pub(crate) const TAP: &str = "tap0_kata";

/// The driver of vsock.
pub const VSOCK: &str = "/dev/vhost-vsock";
/// That of the network.
pub const NET: &str = "/dev/vhost-net";
const TUN: &str = "/dev/net/tun";

/// `VHOST_SET_OWNER` of linux/vhost.h.
const SET_OWNER: libc::c_ulong = 0xaf01;
/// `VHOST_VSOCK_SET_GUEST_CID` of linux/vhost.h.
const SET_GUEST_CID: libc::c_ulong = 0x4008_af60;

/// Opens what a descriptor of QEMU's is for; a guest has one disk at most.
pub(crate) fn open(purpose: FdPurpose, guest_cid: u32, disk: &Path) -> Result<OwnedFd, Stop> {
    let disk = disk.to_string_lossy();
    let drivers = broker::here();
    let driver = |wish, here: fn(u32) -> io::Result<OwnedFd>| match drivers {
        Some(broker) => broker.ask(wish),
        None => here(guest_cid),
    };
    let (path, opened) = match purpose {
        FdPurpose::Vsock => (VSOCK, driver(Wish::VhostVsock { cid: guest_cid }, vsock)),
        FdPurpose::VhostNet { .. } => (NET, driver(Wish::VhostNet, |_| net())),
        FdPurpose::Tap { .. } => (TUN, driver(Wish::Tap, |_| tap_apart(()))),
        FdPurpose::Disk { read_only: true, .. } => (&*disk, File::open(&*disk).map(OwnedFd::from)),
        FdPurpose::Disk { read_only: false, .. } => (&*disk, device(&disk)),
        FdPurpose::Qmp | FdPurpose::Virtiofsd => return Err(Stop::error("a socket is not a device")),
    };
    opened.map_err(|e| Stop::error(format!("opening {path} for QEMU: {e}")))
}

fn device(path: &str) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
}

/// Whether a vhost driver does something: it starts a thread for its first owner. A device may open and do nothing.
///
/// # Errors
/// What the kernel says.
pub fn serves(path: &str) -> io::Result<()> {
    let fd = device(path)?;
    // SAFETY: the driver reads no argument.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_OWNER as libc::Ioctl, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `/dev/vhost-net`.
///
/// # Errors
/// What the kernel says.
pub fn net() -> io::Result<OwnedFd> {
    device(NET)
}

/// `/dev/vhost-vsock` with a guest's context id claimed.
///
/// # Errors
/// What the kernel says; that somebody else has the id.
pub fn vsock(guest_cid: u32) -> io::Result<OwnedFd> {
    let fd = device(VSOCK)?;
    let cid = u64::from(guest_cid);
    // SAFETY: the driver reads a u64 from the pointer, which lives until the call returns.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_GUEST_CID, &cid) };
    if result == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

/// A tap in a network namespace of its own, as a pod's is: guests that run side by side have the same interface's name.
/// The namespace lives as long as the descriptor; `held` is dropped soon after.
///
/// # Errors
/// What the kernel says.
pub fn tap_apart<T: Send + 'static>(held: T) -> io::Result<OwnedFd> {
    let apart = std::thread::spawn(move || {
        // SAFETY: only this thread's network namespace is unshared; no file descriptor changes its meaning.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
        let tap = suites::packets::tap(TAP, suites::packets::TapHeader::Virtio)?;
        // As Kata has the pod's interface there, there is something at the other end: it answers test packets.
        suites::packets::echo_on(TAP, held)?;
        Ok(tap)
    });
    apart.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes the tap panicked")))
}
