//! Bytes over vsock, both ways: the same few lines on the guest's side and on the host's.

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, VsockAddr, accept4, bind, listen, socket};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// The host's context id, as a guest dials it (`VMADDR_CID_HOST` of linux/vm_sockets.h).
pub const HOST: u32 = 2;
/// Any context id, to listen on (`VMADDR_CID_ANY`).
const ANY: u32 = u32::MAX;
/// The port of Kata's agent.
pub const AGENT_PORT: u32 = model::profile::fixed::AGENT_PORT;
/// The ports that tests listen on at the host's side.
pub const TEST_PORTS: std::ops::Range<u32> = 0x4b51_0000..0x4b51_2710;

/// A connection to a context id's port.
///
/// # Errors
/// What the kernel says.
pub fn connect(cid: u32, port: u32) -> io::Result<OwnedFd> {
    let stream = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::connect(stream.as_raw_fd(), &VsockAddr::new(cid, port))?;
    Ok(stream)
}

/// A listener on a port, for whoever may reach it.
///
/// # Errors
/// What the kernel says.
pub fn listen_on(port: u32) -> io::Result<OwnedFd> {
    let listener = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(listener.as_raw_fd(), &VsockAddr::new(ANY, port))?;
    listen(&listener, Backlog::new(1)?)?;
    Ok(listener)
}

/// Sends `bytes` bytes through a connection while it reads, and counts those that come back unchanged.
///
/// # Errors
/// What the connection says.
pub fn exchange(stream: OwnedFd, bytes: u32) -> io::Result<u32> {
    let mut stream = File::from(stream);
    let mut writer = stream.try_clone()?;
    let sender = std::thread::spawn(move || (0..bytes).try_for_each(|at| send(&mut writer, at, bytes)));
    let mut back = vec![0; 64 << 10];
    let (mut seen, mut same) = (0_u32, 0_u32);
    while seen < bytes {
        let count = stream.read(&mut back)?;
        if count == 0 {
            break;
        }
        for byte in &back[..count] {
            same += u32::from(*byte == pattern(seen));
            seen = seen.saturating_add(1);
        }
    }
    sender.join().map_err(|_| io::Error::other("the sending thread panicked"))??;
    Ok(same)
}

/// Sends the chunk that begins at `at`, if one does.
fn send(writer: &mut File, at: u32, bytes: u32) -> io::Result<()> {
    const CHUNK: u32 = 16 << 10;
    if !at.is_multiple_of(CHUNK) {
        return Ok(());
    }
    let chunk: Vec<u8> = (at..bytes.min(at.saturating_add(CHUNK))).map(pattern).collect();
    writer.write_all(&chunk)
}

/// A byte that tells its place, so that what is lost or doubled shows.
fn pattern(at: u32) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]
}

/// In the background sends one connection to a listener back what it sends; what happens to it its other side sees.
pub fn echo(listener: OwnedFd) {
    std::thread::spawn(move || serve_one(&listener));
}

/// Waits for a connection to a listener, on vsock or where a VMM gives a guest's vsock as a Unix socket.
///
/// # Errors
/// What the kernel says.
pub fn accept(listener: &OwnedFd) -> io::Result<File> {
    let raw = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    Ok(accepted(raw))
}

fn serve_one(listener: &OwnedFd) -> io::Result<()> {
    let mut stream = accept(listener)?;
    let mut writer = stream.try_clone()?;
    io::copy(&mut stream, &mut writer).map(drop)
}

#[expect(unsafe_code, reason = "nix gives an accepted connection as a number")]
fn accepted(raw: i32) -> File {
    // SAFETY: accept4 has just made this descriptor, and nobody else knows it.
    unsafe { File::from_raw_fd(raw) }
}
