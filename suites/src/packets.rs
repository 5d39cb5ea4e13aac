//! Packets from a guest's interface, sent and awaited back: frames of a type that nobody else uses, or UDP.
#![expect(unsafe_code, reason = "packet sockets and interface flags have no safe interface")]

mod answer;

use crate::environment::Traffic;
use crate::netlink::{Attributes, CREATE, Message, Netlink};
use answer::{GUEST, PEER, PORT};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

pub use answer::answer;

/// The EtherType for local experiments (IEEE 802).
pub const TYPE: u16 = 0x88b5;
/// Bytes behind an Ethernet header.
const PAYLOAD: usize = 600;

/// Brings an interface up, sends so many packets one after the other, and counts those that come back unchanged.
///
/// # Errors
/// What the kernel says.
pub fn exchange(interface: &str, traffic: Traffic, count: u32) -> io::Result<u32> {
    match traffic {
        Traffic::Frames => frames(interface, count),
        Traffic::Ipv4 => datagrams(interface, GUEST.0.into(), PEER.0.into(), count),
        Traffic::Ipv6 => datagrams(interface, GUEST.1.into(), PEER.1.into(), count),
    }
}

fn frames(interface: &str, count: u32) -> io::Result<u32> {
    bring_up(interface)?;
    let mut socket = packet_socket(interface, TYPE)?;
    let own = address(interface)?;
    returning(count, |number| {
        let sent = frame(own, number);
        socket.write_all(&sent)?;
        comes_back(&mut socket, &sent)
    })
}

/// How many packets come back; one that is lost five times is lost, and so are those after it.
fn returning(count: u32, mut try_one: impl FnMut(u32) -> io::Result<bool>) -> io::Result<u32> {
    for number in 0..count {
        // A link that has just come up may drop the first ones; what matters is that packets cross.
        let mut tries = 0;
        while !try_one(number)? {
            tries += 1;
            if tries == 5 {
                return Ok(number);
            }
        }
    }
    Ok(count)
}

/// Sends datagrams from an address that the interface is given to one whose other end sends them back.
fn datagrams(interface: &str, own: IpAddr, peer: IpAddr, count: u32) -> io::Result<u32> {
    // Nobody else has the address: without this it could be used a second later only (RFC 4862). A kernel without IPv6
    // has no such file, and says so below.
    for name in ["accept_dad", "dad_transmits"] {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/{name}"), "0");
    }
    bring_up(interface)?;
    give(interface, own, if own.is_ipv4() { 24 } else { 64 })?;
    let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let to = SocketAddr::new(peer, PORT);
    returning(count, |number| {
        let sent: Vec<u8> = (0..PAYLOAD).map(|at| (at as u32 ^ number) as u8).collect();
        socket.send_to(&sent, to)?;
        let mut buffer = [0; 2048];
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => Ok(from == to && buffer[..length] == sent[..]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(e) => Err(e),
        }
    })
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

/// Brings an interface up and, in the background, answers what comes out of it, until the interface goes away; `held` is
/// dropped then.
///
/// # Errors
/// What the kernel says.
pub fn echo_on<T: Send + 'static>(interface: &str, held: T) -> io::Result<()> {
    bring_up(interface)?;
    let mut socket = packet_socket(interface, EVERY_TYPE)?;
    let interface = interface.to_owned();
    std::thread::spawn(move || {
        let _held = held;
        let mut buffer = [0; 2048];
        loop {
            match socket.read(&mut buffer) {
                Ok(count) => {
                    // What cannot be sent now is sent again by the guest.
                    let _ = answer(&buffer[..count]).map(|back| socket.write(&back));
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

/// What stands before each packet of a tap interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapHeader {
    /// Nothing.
    None,
    /// virtio's header, as QEMU wants it.
    Virtio,
}

/// Makes a tap interface of one queue in this thread's network namespace; it goes away with its descriptor.
///
/// # Errors
/// What the kernel says.
pub fn tap(name: &str, header: TapHeader) -> io::Result<OwnedFd> {
    tap_queue(name, header, 0)
}

/// Makes a tap interface of so many queues, each with its descriptor; it goes away with the last of them.
///
/// # Errors
/// What the kernel says.
pub fn tap_of_queues(name: &str, header: TapHeader, queues: usize) -> io::Result<Vec<OwnedFd>> {
    /// `IFF_MULTI_QUEUE` of linux/if_tun.h.
    const SEVERAL_QUEUES: libc::c_short = 0x0100;
    let more = if queues > 1 { SEVERAL_QUEUES } else { 0 };
    (0..queues).map(|_| tap_queue(name, header, more)).collect()
}

/// One queue of a tap interface; all of them name the same one.
fn tap_queue(name: &str, header: TapHeader, more: libc::c_short) -> io::Result<OwnedFd> {
    /// `TUNSETIFF`, `IFF_TAP | IFF_NO_PI` and `IFF_VNET_HDR` of linux/if_tun.h.
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const TAP: libc::c_short = 0x0002 | 0x1000;
    const VIRTIO: libc::c_short = 0x4000;
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request_about(name)?;
    request.ifr_ifru.ifru_flags = more | if header == TapHeader::Virtio { TAP | VIRTIO } else { TAP };
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

/// Gives an interface of this thread's network namespace an address in a network of so many bits (rtnetlink(7)).
pub(crate) fn give(interface: &str, address: IpAddr, bits: u8) -> io::Result<()> {
    const NEW_ADDRESS: u16 = 20;
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let (family, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // `struct ifaddrmsg`: the family, the bits, flags, scope, the interface.
    let head = [&[family as u8, bits, 0, 0][..], &index(interface)?.to_ne_bytes()].concat();
    let body = Attributes::behind(&head).put(LOCAL, &octets).put(ADDRESS, &octets).bytes();
    Netlink::open(None)?.ask(&[Message { kind: NEW_ADDRESS, flags: CREATE, body }], None)
}

/// `ETH_P_ALL` of linux/if_ether.h.
const EVERY_TYPE: u16 = 3;

fn packet_socket(interface: &str, of_type: u16) -> io::Result<File> {
    let index = index(interface)?;
    // SAFETY: plain calls; the descriptor is owned at once, and the structures live until each call returns.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(of_type.to_be()));
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let mut link: libc::sockaddr_ll = std::mem::zeroed();
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_protocol = of_type.to_be();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_lost_five_times_ends_the_counting() {
        let mut tries = 0;
        // The first one takes three tries, the third never comes back.
        let counted = returning(16, |number| {
            tries += 1;
            Ok(number == 1 || number == 0 && tries == 3)
        });
        assert_eq!((counted.unwrap(), tries), (2, 3 + 1 + 5));
        assert_eq!(returning(16, |_| Ok(true)).unwrap(), 16);
        assert!(returning(16, |_| Err(io::Error::other("no link"))).is_err());
    }
}
