//! The host's vhost and tap drivers, opened and set up as Kata's runtimes do before they start QEMU.
#![expect(unsafe_code, reason = "the drivers are set up by ioctl, which has no safe interface")]

use qemu::launch::{FdPurpose, InheritedFd};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use suites::check::Stop;
use suites::environment::Tap;

/// The tap interface; it goes away with its descriptor.
pub(crate) const TAP: &str = "tap0_kata";

/// `VHOST_VSOCK_SET_GUEST_CID` of linux/vhost.h.
const SET_GUEST_CID: libc::c_ulong = 0x4008_af60;
/// `TUNSETIFF` of linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
/// `IFF_TAP | IFF_NO_PI | IFF_VNET_HDR` of linux/if_tun.h.
const TAP_FLAGS: libc::c_short = 0x0002 | 0x1000 | 0x4000;
/// `IFF_MULTI_QUEUE` of linux/if_tun.h.
const SEVERAL_QUEUES: libc::c_short = 0x0100;

/// Opens what QEMU's descriptors are for, each with its number; a guest has one disk and one tap at most.
pub(crate) fn open_all(fds: &[InheritedFd], guest_cid: u32, disk: &Path) -> Result<Vec<(OwnedFd, i32)>, Stop> {
    let queues = fds.iter().filter(|fd| matches!(fd.purpose, FdPurpose::Tap { .. })).count();
    let taps = if queues > 0 { tap_apart(queues).map_err(in_vain(TUN))? } else { Vec::new() };
    let mut taps = taps.into_iter();
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

/// A tap of one queue in a network namespace of its own, whose other end answers test packets, and vhost-net.
pub(crate) fn tap_and_vhost() -> Result<Tap, Stop> {
    let tap = tap_apart(1).map_err(in_vain(TUN))?.pop().ok_or_else(|| Stop::error("the tap has no queue"))?;
    let vhost = device(VHOST_NET).map_err(in_vain(VHOST_NET))?;
    Ok(Tap { tap: File::from(tap), vhost: File::from(vhost) })
}

const TUN: &str = "/dev/net/tun";
const VHOST_NET: &str = "/dev/vhost-net";

fn open(purpose: FdPurpose, guest_cid: u32, disk: &Path) -> Result<OwnedFd, Stop> {
    let disk = disk.to_string_lossy();
    let (path, opened) = match purpose {
        FdPurpose::Vsock => ("/dev/vhost-vsock", vsock(guest_cid)),
        FdPurpose::VhostNet { .. } => (VHOST_NET, device(VHOST_NET)),
        FdPurpose::Disk { read_only: true, .. } => (&*disk, File::open(&*disk).map(OwnedFd::from)),
        FdPurpose::Disk { read_only: false, .. } => (&*disk, device(&disk)),
        FdPurpose::Tap { .. } | FdPurpose::Qmp | FdPurpose::Virtiofsd => {
            return Err(Stop::error("neither a queue of a tap nor a socket is a device by itself"));
        }
    };
    opened.map_err(in_vain(path))
}

fn in_vain(path: &str) -> impl Fn(io::Error) -> Stop {
    move |e| Stop::error(format!("opening {path} for QEMU: {e}"))
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
fn tap_apart(queues: usize) -> io::Result<Vec<OwnedFd>> {
    let apart = std::thread::spawn(move || {
        // SAFETY: only this thread's network namespace is unshared; no file descriptor changes its meaning.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
        let tap = (0..queues).map(|_| tap(queues > 1)).collect::<io::Result<Vec<OwnedFd>>>()?;
        // As Kata has the pod's interface there, there is something at the other end: it answers test packets.
        suites::packets::echo_on(TAP)?;
        Ok(tap)
    });
    apart.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes the tap panicked")))
}

/// One queue of the tap; all of them name the same interface.
fn tap(is_one_of_several: bool) -> io::Result<OwnedFd> {
    let fd = device(TUN)?;
    // `struct ifreq` of linux/if.h: the name, the flags, and room for the other members of the union.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let flags = TAP_FLAGS | if is_one_of_several { SEVERAL_QUEUES } else { 0 };
    let mut request = Request { name: [0; 16], flags, rest: [0; 22] };
    request.name[..TAP.len()].copy_from_slice(TAP.as_bytes());
    // SAFETY: the driver reads and writes a `struct ifreq` of 40 bytes, which this is, and it lives until the call returns.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &mut request) };
    if result == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}
