//! Packets sent from a guest's interface and awaited back: frames of a type that nothing else uses, or UDP.
#![expect(unsafe_code, reason = "packet sockets and interface flags have no safe interface")]

mod answer;
mod taps;

use crate::environment::Traffic;
use crate::netlink::{Attributes, CREATE, Message, Netlink};
use answer::{GUEST, PEER, PORT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use answer::answer;
pub(crate) use taps::macvtap;
pub use taps::{TapHeader, tap, tap_of_queues};

/// The EtherType for local experiments (IEEE 802).
pub const TYPE: u16 = 0x88b5;
/// The IPv4 address of the peer that answers: datagrams are sent to it.
pub(crate) const ANSWERED: Ipv4Addr = PEER.0;
/// The payload's bytes after the Ethernet header and the packet's number.
const PAYLOAD: usize = 600;
/// The largest MTU that a test asks for, which is a tap's: a guest must not send more than the peer can send back.
pub const LARGEST_MTU: u16 = 9000;
/// Larger than any frame of the tests.
const BUFFER: usize = 16 << 10;

/// Brings an interface up, sends this many packets one after the other, and counts those that come back unchanged.
///
/// # Errors
/// The kernel's error.
pub fn exchange(interface: &str, traffic: Traffic, count: u32) -> io::Result<u32> {
    match traffic {
        Traffic::Frames => frames(interface, PAYLOAD, count),
        Traffic::LargestFrames => frames(interface, mtu(interface)?.saturating_sub(NUMBER), count),
        Traffic::Ipv4 => datagrams(interface, GUEST.0.into(), PEER.0.into(), count),
        Traffic::Ipv6 => datagrams(interface, GUEST.1.into(), PEER.1.into(), count),
    }
}

fn frames(interface: &str, payload: usize, count: u32) -> io::Result<u32> {
    bring_up(interface)?;
    let mut socket = packet_socket(interface, TYPE)?;
    let own = address(interface)?;
    returning(count, |number| {
        let sent = frame(own, number, payload);
        socket.write_all(&sent)?;
        comes_back(&mut socket, &sent)
    })
}

/// Counts the packets that come back; one that is lost five times counts as lost, and so do all after it.
fn returning(count: u32, mut try_one: impl FnMut(u32) -> io::Result<bool>) -> io::Result<u32> {
    for number in 0..count {
        // A link that has just come up may drop the first packets; only whether packets cross matters.
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

/// Gives the interface an address, and sends datagrams from it to a peer that sends them back.
fn datagrams(interface: &str, own: IpAddr, peer: IpAddr, count: u32) -> io::Result<u32> {
    bring_up(interface)?;
    give(interface, own, if own.is_ipv4() { 24 } else { 64 })?;
    let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
    let to = SocketAddr::new(peer, PORT);
    returning(count, |number| {
        let sent: Vec<u8> = (0..PAYLOAD).map(|at| (at as u32 ^ number) as u8).collect();
        socket.send_to(&sent, to)?;
        comes_back_from(&socket, to, &sent)
    })
}

/// Checks whether the datagram comes back within a second; late answers to earlier datagrams are skipped.
fn comes_back_from(socket: &UdpSocket, there: SocketAddr, sent: &[u8]) -> io::Result<bool> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut buffer = [0; 2048];
    loop {
        let remaining = end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(remaining))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) if from == there && buffer[..length] == *sent => return Ok(true),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
}

/// The size of a packet's number, bytes.
const NUMBER: usize = size_of::<u32>();

/// Returns a broadcast frame whose payload has this size and depends on the frame's number and each byte's position.
fn frame(own: [u8; 6], number: u32, payload: usize) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &own, &TYPE.to_be_bytes(), &number.to_be_bytes()].concat();
    frame.extend((0..payload).map(|at| (at as u32 ^ number) as u8));
    frame
}

/// Checks whether the frame comes back within a second, addressed to its sender.
fn comes_back(socket: &mut File, sent: &[u8]) -> io::Result<bool> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut buffer = vec![0; BUFFER];
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

/// Brings an interface up and answers its packets in the background until the interface goes away; `held` is dropped
/// then.
///
/// # Errors
/// The kernel's error.
pub fn echo_on<T: Send + 'static>(interface: &str, held: T) -> io::Result<()> {
    bring_up(interface)?;
    let mut socket = packet_socket(interface, EVERY_TYPE)?;
    let interface = interface.to_owned();
    std::thread::spawn(move || {
        let _held = held;
        let mut buffer = vec![0; BUFFER];
        loop {
            match socket.read(&mut buffer) {
                Ok(count) => {
                    // If an answer cannot be sent now, the guest sends its packet again.
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

/// Runs `work` while each packet that comes out of a tap is answered into it, as by a guest that has the tap.
///
/// # Errors
/// The kernel's error for the tap.
pub(crate) fn with_answers_from<T>(tap: OwnedFd, work: impl FnOnce() -> T) -> io::Result<T> {
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    let answers = std::thread::spawn(move || answer_from(File::from(tap), &until));
    let done = work();
    over.store(true, Ordering::Relaxed);
    let answered = answers.join().map_err(|_| io::Error::other("the thread that answers on a tap panicked"))?;
    answered.map(|()| done)
}

fn answer_from(mut tap: File, until: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; 2048];
    let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !until.load(Ordering::Relaxed) {
        if poll(&mut [PollFd::new(&tap, PollFlags::IN)], Some(&patience))? == 0 {
            continue;
        }
        let count = tap.read(&mut buffer)?;
        if let Some(back) = answer(&buffer[..count]) {
            tap.write_all(&back)?;
        }
    }
    Ok(())
}

/// Returns the number of an interface in this thread's network namespace.
pub(crate) fn index(interface: &str) -> io::Result<i32> {
    let request = ask(interface, libc::SIOCGIFINDEX as libc::Ioctl)?;
    // SAFETY: the kernel filled this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

/// Returns the MTU: how many bytes a frame may have after its header.
fn mtu(interface: &str) -> io::Result<usize> {
    let request = ask(interface, libc::SIOCGIFMTU as libc::Ioctl)?;
    // SAFETY: the kernel filled this member of the union.
    usize::try_from(unsafe { request.ifr_ifru.ifru_mtu }).map_err(io::Error::other)
}

/// Sets the MTU of an interface in this thread's network namespace.
///
/// # Errors
/// The kernel's error.
pub fn set_mtu(interface: &str, mtu: u16) -> io::Result<()> {
    let mut request = request_about(interface)?;
    request.ifr_ifru.ifru_mtu = mtu.into();
    call(request, libc::SIOCSIFMTU as libc::Ioctl).map(drop)
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

/// Gives an interface in this thread's network namespace an address with this prefix length (rtnetlink(7)).
pub(crate) fn give(interface: &str, address: IpAddr, bits: u8) -> io::Result<()> {
    const NEW_ADDRESS: u16 = 20;
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let (family, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // Skip duplicate address detection, until whose end the address could not be used (RFC 4862); nobody else has it.
    const NOT_ASKED_FOR: u8 = 0x02;
    // `struct ifaddrmsg`: the family, the bits, flags (`IFA_F_NODAD` of linux/if_addr.h), scope, the interface.
    let flags = if address.is_ipv6() { NOT_ASKED_FOR } else { 0 };
    let head = [&[family as u8, bits, flags, 0][..], &index(interface)?.to_ne_bytes()].concat();
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
    // SAFETY: the kernel filled this member of the union.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16 };
    call(request, libc::SIOCSIFFLAGS as libc::Ioctl).map(drop)
}

/// Executes an ioctl that queries an interface.
fn ask(interface: &str, what: libc::Ioctl) -> io::Result<libc::ifreq> {
    call(request_about(interface)?, what)
}

/// Executes an ioctl on a request that names an interface; returns the request as the kernel filled it.
fn call(mut request: libc::ifreq, what: libc::Ioctl) -> io::Result<libc::ifreq> {
    let socket = any_socket()?;
    // SAFETY: the kernel reads the name, which is shorter than its field and so ends in zero, and reads or writes the
    // rest.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, &mut request) } {
        0 => Ok(request),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns a request that names an interface and is otherwise empty.
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
    fn late_or_foreign_datagrams_are_not_taken_for_the_awaited_one() {
        let bound = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (ours, theirs, strangers) = (bound(), bound(), bound());
        let (own, there) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
        for _ in 0..5 {
            theirs.send_to(b"one", own).unwrap();
        }
        strangers.send_to(b"two", own).unwrap();
        theirs.send_to(b"two", own).unwrap();
        assert!(comes_back_from(&ours, there, b"two").unwrap());
        strangers.send_to(b"three", own).unwrap();
        assert!(!comes_back_from(&ours, there, b"three").unwrap());
    }

    #[test]
    fn a_packet_that_is_lost_five_times_ends_the_counting() {
        let mut tries = 0;
        // The first packet takes three tries, the third never comes back.
        let counted = returning(16, |number| {
            tries += 1;
            Ok(number == 1 || number == 0 && tries == 3)
        });
        assert_eq!((counted.unwrap(), tries), (2, 3 + 1 + 5));
        assert_eq!(returning(16, |_| Ok(true)).unwrap(), 16);
        assert!(returning(16, |_| Err(io::Error::other("no link"))).is_err());
    }
}
