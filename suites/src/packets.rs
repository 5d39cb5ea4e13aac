//! Packets from a guest's interface: frames of a type that nobody else uses, sent and awaited back.
#![expect(unsafe_code, reason = "packet sockets and interface flags have no safe interface")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// The EtherType for local experiments (IEEE 802).
pub const TYPE: u16 = 0x88b5;
/// Bytes behind an Ethernet header.
const PAYLOAD: usize = 600;

/// Brings an interface up, sends so many packets one after the other, and counts those that come back unchanged.
///
/// # Errors
/// What the kernel says.
pub fn exchange(interface: &str, count: u32) -> io::Result<u32> {
    bring_up(interface)?;
    let mut socket = packet_socket(interface)?;
    let own = address(interface)?;
    let mut back = 0;
    for number in 0..count {
        let sent = frame(own, number);
        // A link that has just come up may drop the first ones; what matters is that packets cross.
        for _ in 0..5 {
            socket.write_all(&sent)?;
            if comes_back(&mut socket, &sent)? {
                back += 1;
                break;
            }
        }
    }
    Ok(back)
}

/// A broadcast of ours with a payload that tells its number and place.
fn frame(own: [u8; 6], number: u32) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &own, &TYPE.to_be_bytes(), &number.to_be_bytes()].concat();
    frame.extend((0..PAYLOAD).map(|at| (at as u32 ^ number) as u8));
    frame
}

/// Whether what was sent comes back within a second, addressed to its sender.
fn comes_back(socket: &mut File, sent: &[u8]) -> io::Result<bool> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        match socket.read(&mut buffer) {
            Ok(count) if count == sent.len() && buffer[..6] == sent[6..12] && buffer[12..count] == sent[12..] => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Brings an interface up and, in the background, sends each test packet that comes out of it back, its two addresses
/// exchanged, until the interface goes away; `held` is dropped then.
///
/// # Errors
/// What the kernel says.
pub fn echo_on<T: Send + 'static>(interface: &str, held: T) -> io::Result<()> {
    bring_up(interface)?;
    let mut socket = packet_socket(interface)?;
    let interface = interface.to_owned();
    std::thread::spawn(move || {
        let _held = held;
        let mut buffer = [0; 2048];
        loop {
            match socket.read(&mut buffer) {
                Ok(count) => {
                    if turn(&mut buffer[..count]) {
                        // What cannot be sent now is sent again by the guest.
                        let _ = socket.write(&buffer[..count]);
                    }
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    if index(&interface).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    Ok(())
}

/// Exchanges the two addresses of a test packet; false where a frame is none.
pub(crate) fn turn(frame: &mut [u8]) -> bool {
    // What a kernel sends by itself is not answered.
    if frame.len() < 14 || frame[12..14] != TYPE.to_be_bytes() {
        return false;
    }
    let (receiver, rest) = frame.split_at_mut(6);
    receiver.swap_with_slice(&mut rest[..6]);
    true
}

/// What stands before each packet of a tap interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapHeader {
    /// Nothing.
    None,
    /// virtio's header, as QEMU wants it.
    Virtio,
}

/// Makes a tap interface in this thread's network namespace; it goes away with its descriptor.
///
/// # Errors
/// What the kernel says.
pub fn tap(name: &str, header: TapHeader) -> io::Result<OwnedFd> {
    /// `TUNSETIFF`, `IFF_TAP | IFF_NO_PI` and `IFF_VNET_HDR` of linux/if_tun.h.
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const TAP: libc::c_short = 0x0002 | 0x1000;
    const VIRTIO: libc::c_short = 0x4000;
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request_about(name)?;
    request.ifr_ifru.ifru_flags = if header == TapHeader::Virtio { TAP | VIRTIO } else { TAP };
    // SAFETY: the driver reads and writes a `struct ifreq`, which lives until the call returns.
    match unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF as libc::Ioctl, &mut request) } {
        0 => Ok(device.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number of an interface of this thread's network namespace.
pub(crate) fn index(interface: &str) -> io::Result<i32> {
    let request = ask(interface, libc::SIOCGIFINDEX as libc::Ioctl)?;
    // SAFETY: the kernel filled this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

fn address(interface: &str) -> io::Result<[u8; 6]> {
    let request = ask(interface, libc::SIOCGIFHWADDR as libc::Ioctl)?;
    let mut address = [0; 6];
    // SAFETY: the kernel filled this member of the union.
    let bytes = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    for (to, from) in address.iter_mut().zip(bytes) {
        *to = from as u8;
    }
    Ok(address)
}

fn packet_socket(interface: &str) -> io::Result<File> {
    let index = index(interface)?;
    // SAFETY: plain calls; the descriptor is owned at once, and the structures live until each call returns.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(TYPE.to_be()));
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let mut link: libc::sockaddr_ll = std::mem::zeroed();
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_protocol = TYPE.to_be();
        link.sll_ifindex = index;
        let size = size_of::<libc::sockaddr_ll>() as u32;
        if libc::bind(fd.as_raw_fd(), (&raw const link).cast(), size) != 0 {
            return Err(io::Error::last_os_error());
        }
        let limit = libc::timeval { tv_sec: 0, tv_usec: 100_000 };
        let size = size_of::<libc::timeval>() as u32;
        let value = (&raw const limit).cast();
        if libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, value, size) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from(fd))
    }
}

/// Brings an interface of this thread's network namespace up.
pub(crate) fn bring_up(interface: &str) -> io::Result<()> {
    let mut request = ask(interface, libc::SIOCGIFFLAGS as libc::Ioctl)?;
    let socket = any_socket()?;
    // SAFETY: the kernel filled this member of the union, and reads it again.
    unsafe {
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Asks the kernel one thing of an interface.
fn ask(interface: &str, what: libc::Ioctl) -> io::Result<libc::ifreq> {
    let socket = any_socket()?;
    let mut request = request_about(interface)?;
    // SAFETY: the kernel reads the name, which is shorter than its field and so ends in zero, and writes the rest.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, &mut request) } {
        0 => Ok(request),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A request that names an interface, and nothing else.
fn request_about(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros are a `struct ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::Error::other(format!("{interface:?} is no interface's name")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn any_socket() -> io::Result<OwnedFd> {
    // SAFETY: a plain call; the descriptor is owned at once.
    unsafe {
        match libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
