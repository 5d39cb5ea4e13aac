//! Tap interfaces: links whose other end is a program, such as QEMU.
#![expect(unsafe_code, reason = "an interface is tied to a tap's descriptor by ioctl, which has no safe interface")]

use super::request_about;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The header before each packet of a tap interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapHeader {
    /// No header.
    None,
    /// virtio's header, as QEMU expects it.
    Virtio,
}

/// Creates a tap interface with one queue in this thread's network namespace; closing the descriptor removes the
/// interface.
///
/// # Errors
/// The kernel's error.
pub fn tap(name: &str, header: TapHeader) -> io::Result<OwnedFd> {
    tap_queue(name, header, 0)
}

/// Creates a tap interface with this many queues, each with its descriptor; closing the last one removes the interface.
///
/// # Errors
/// The kernel's error.
pub fn tap_of_queues(name: &str, header: TapHeader, queues: usize) -> io::Result<Vec<OwnedFd>> {
    /// `IFF_MULTI_QUEUE` of linux/if_tun.h.
    const SEVERAL_QUEUES: libc::c_short = 0x0100;
    let more = if queues > 1 { SEVERAL_QUEUES } else { 0 };
    (0..queues).map(|_| tap_queue(name, header, more)).collect()
}

/// Opens one queue of a tap interface; all queues are opened with the same name.
fn tap_queue(name: &str, header: TapHeader, more: libc::c_short) -> io::Result<OwnedFd> {
    become_tap(OpenOptions::new().read(true).write(true).open("/dev/net/tun")?, name, header, more)
}

/// Opens the device of the macvtap with this interface number, without a header before packets.
///
/// # Errors
/// The kernel's error.
pub(crate) fn macvtap(index: u32) -> io::Result<OwnedFd> {
    // The device belongs to its interface already, so no name is requested.
    let device = OpenOptions::new().read(true).write(true).open(format!("/dev/tap{index}"))?;
    become_tap(device, "", TapHeader::None, 0)
}

/// Tells a tap's driver the interface of a descriptor and the format of its packets.
fn become_tap(device: File, name: &str, header: TapHeader, more: libc::c_short) -> io::Result<OwnedFd> {
    /// `TUNSETIFF`, `IFF_TAP | IFF_NO_PI` and `IFF_VNET_HDR` of linux/if_tun.h.
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const TAP: libc::c_short = 0x0002 | 0x1000;
    const VIRTIO: libc::c_short = 0x4000;
    let mut request = request_about(name)?;
    request.ifr_ifru.ifru_flags = more | if header == TapHeader::Virtio { TAP | VIRTIO } else { TAP };
    // SAFETY: the driver reads and writes a `struct ifreq`, which lives until the call returns.
    match unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF as libc::Ioctl, &mut request) } {
        0 => Ok(device.into()),
        _ => Err(io::Error::last_os_error()),
    }
}
