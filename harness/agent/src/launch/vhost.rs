//! The host's vhost and tap drivers, opened and set up as Kata's runtimes do before they start QEMU.
#![expect(unsafe_code, reason = "the drivers are set up by ioctl, which has no safe interface")]

use qemu::launch::FdPurpose;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use suites::check::Stop;

/// The tap interface; it goes away with its descriptor.
pub(crate) const TAP: &str = "tap0_kata";

/// `VHOST_VSOCK_SET_GUEST_CID` of linux/vhost.h.
const SET_GUEST_CID: libc::c_ulong = 0x4008_af60;

/// Opens what a descriptor of QEMU's is for; a guest has one disk at most.
pub(crate) fn open(purpose: FdPurpose, guest_cid: u32, disk: &Path) -> Result<OwnedFd, Stop> {
    let disk = disk.to_string_lossy();
    let (path, opened) = match purpose {
        FdPurpose::Vsock => ("/dev/vhost-vsock", vsock(guest_cid)),
        FdPurpose::VhostNet { .. } => ("/dev/vhost-net", device("/dev/vhost-net")),
        FdPurpose::Tap { .. } => ("/dev/net/tun", tap_apart()),
        FdPurpose::Disk { read_only: true, .. } => (&*disk, File::open(&*disk).map(OwnedFd::from)),
        FdPurpose::Disk { read_only: false, .. } => (&*disk, device(&disk)),
        FdPurpose::Qmp | FdPurpose::Virtiofsd => return Err(Stop::error("a socket is not a device")),
    };
    opened.map_err(|e| Stop::error(format!("opening {path} for QEMU: {e}")))
}

fn device(path: &str) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
}

fn vsock(guest_cid: u32) -> io::Result<OwnedFd> {
    let fd = device("/dev/vhost-vsock")?;
    let cid = u64::from(guest_cid);
    // SAFETY: the driver reads a u64 from the pointer, which lives until the call returns.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_GUEST_CID, &cid) };
    if result == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

/// A tap in a network namespace of its own, as a pod's is: guests that run side by side have the same interface's name.
/// The namespace lives as long as the descriptor.
fn tap_apart() -> io::Result<OwnedFd> {
    let apart = std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace is unshared; no file descriptor changes its meaning.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
        let tap = suites::packets::tap(TAP, suites::packets::TapHeader::Virtio)?;
        // As Kata has the pod's interface there, there is something at the other end: it answers test packets.
        suites::packets::echo_on(TAP)?;
        Ok(tap)
    });
    apart.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes the tap panicked")))
}
