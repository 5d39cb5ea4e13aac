//! Data transfer over vsock, both ways: the same code for the guest's side and the host's.

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

/// Connects to a port of a context id.
///
/// # Errors
/// The kernel's error.
pub fn connect(cid: u32, port: u32) -> io::Result<OwnedFd> {
    let stream = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::connect(stream.as_raw_fd(), &VsockAddr::new(cid, port))?;
    Ok(stream)
}

/// Listens on a port, for any peer that can reach it.
///
/// # Errors
/// The kernel's error.
pub fn listen_on(port: u32) -> io::Result<OwnedFd> {
    let listener = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(listener.as_raw_fd(), &VsockAddr::new(ANY, port))?;
    listen(&listener, Backlog::new(1)?)?;
    Ok(listener)
}

/// Sends `bytes` bytes through a connection while reading from it, and counts the bytes that come back unchanged.
///
/// # Errors
/// The connection's error.
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

/// Sends the chunk that begins at `at`, if `at` is the start of one.
fn send(writer: &mut File, at: u32, bytes: u32) -> io::Result<()> {
    const CHUNK: u32 = 16 << 10;
    if !at.is_multiple_of(CHUNK) {
        return Ok(());
    }
    let chunk: Vec<u8> = (at..bytes.min(at.saturating_add(CHUNK))).map(pattern).collect();
    writer.write_all(&chunk)
}

/// Returns a byte that depends on its offset, so that lost or duplicated data is noticed.
fn pattern(at: u32) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]
}

/// Echoes the data of one connection in the background; the peer notices any error.
pub fn echo(listener: OwnedFd) {
    std::thread::spawn(move || serve_one(&listener));
}

/// Waits for a connection to a listener, on vsock or on the Unix socket that stands for a guest's vsock in other VMMs.
///
/// # Errors
/// The kernel's error.
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
