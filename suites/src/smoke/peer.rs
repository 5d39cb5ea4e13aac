//! The peer of a guest's network interface: a socket that sends test packets back.

use crate::check::Stop;
use crate::environment::EnvironmentSide;
use crate::packets::answer;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest accepted frame; an Ethernet frame has 1514 bytes.
const LONGEST: usize = 64 << 10;

/// A socket to which QEMU connects by `-netdev socket`.
pub(super) struct Peer {
    address: SocketAddr,
    seen: Arc<AtomicU64>,
}

impl Peer {
    /// Waits for QEMU in the background, on a port of this machine's loopback.
    pub(super) fn listen() -> Result<Peer, Stop> {
        let ours = |e: io::Error| Stop::error(format!("listening for the guest's interface: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ours)?;
        let address = listener.local_addr().map_err(ours)?;
        let seen = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&seen);
        // The thread ends with QEMU's connection, or without one with the agent.
        std::thread::spawn(move || {
            listener.accept().and_then(|(stream, _)| echo(stream.try_clone()?, stream, &counted))
        });
        Ok(Peer { address, seen })
    }

    /// Returns the address that QEMU must connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a note if packets have come here, as they do if QEMU had no tap and connected to this peer.
    pub(super) fn note(&self, env: &dyn EnvironmentSide) {
        if self.seen() > 0 {
            env.note("the packets crossed a socket of the harness's; no tap and no vhost-net was there".to_owned());
        }
    }

    /// Returns how many packets with an answer have arrived.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

/// Answers frames; each frame is preceded by its length, big-endian.
fn echo(mut from: impl Read, mut to: impl Write, seen: &AtomicU64) -> io::Result<()> {
    let mut length = [0; 4];
    loop {
        from.read_exact(&mut length)?;
        let count = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if count > LONGEST {
            return Err(io::Error::other("a frame of more than 64 KiB"));
        }
        let mut frame = vec![0; count];
        from.read_exact(&mut frame)?;
        let Some(back) = answer(&frame) else { continue };
        seen.fetch_add(1, Ordering::Relaxed);
        to.write_all(&length)?;
        to.write_all(&back)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::TYPE;

    #[test]
    fn only_a_test_packet_comes_back_to_its_sender() {
        let frame = |kind: [u8; 2]| [&[1; 6][..], &[2; 6], &kind, b"payload"].concat();
        let sent = |frame: &[u8]| [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat();
        let (ours, arp) = (frame(TYPE.to_be_bytes()), frame([8, 6]));
        let (mut back, seen) = (Vec::new(), AtomicU64::new(0));
        let ended = echo([sent(&arp), sent(&ours), sent(&[0; 3])].concat().as_slice(), &mut back, &seen);
        assert!(ended.is_err_and(|e| e.kind() == io::ErrorKind::UnexpectedEof));
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        assert_eq!(back[..10], sent(&ours)[..4].iter().copied().chain([2; 6]).collect::<Vec<u8>>());
        assert_eq!(back[16..], sent(&[&[2; 6][..], &[1; 6], &TYPE.to_be_bytes(), b"payload"].concat())[16..]);
        assert!(echo(&[0xff; 8][..], io::sink(), &seen).is_err());
    }
}
