//! Opens the host's vhost and tap drivers for the agent of a container, and the host's end of a vsock.
//!
//! | request | action | restriction |
//! |---|---|---|
//! | [`Wish::VhostVsock`] | `/dev/vhost-vsock` with the guest's context id claimed | the container's own range of ids |
//! | [`Wish::VhostNet`] | `/dev/vhost-net` | |
//! | [`Wish::Tap`] | a tap in a separate network namespace, whose other end sends test packets back | a limited number at a time |
//! | [`Wish::Dial`] | a vsock connection to a guest | the same range of ids, so that no other guest of the machine can be reached |
//! | [`Wish::Listen`] | a vsock listener | the ports of tests |
//!
//! Every process in the container may ask the broker, including the release's programs, so it grants nothing that
//! reaches beyond the container's own guests. A context id is not bound for good: a process with the descriptor may
//! claim another one by `ioctl`, as long as no guest has that id.

use agent::broker::{CIDS, ERRNO, LINE, PATIENCE, QUEUES, Wish};
use agent::launch::vhost;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use suites::vsock;

/// Taps that a container may have at a time: those of its guests, and of guests that ended a moment ago.
const TAPS: usize = 32;

/// The broker of one container, run by the harness.
pub(super) struct Broker {
    first_cid: u32,
    taps: Arc<AtomicUsize>,
}

impl Broker {
    /// Makes a broker for guests whose context ids start at `first_cid`.
    pub(super) fn new(first_cid: u32) -> Broker {
        Broker { first_cid, taps: Arc::default() }
    }

    /// Answers until `over` is set; whoever sets it connects once more, so that the loop notices.
    pub(super) fn serve(&self, listener: &UnixListener, over: &AtomicBool) {
        for stream in listener.incoming() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            // A caller that gets no answer asks again, or does without; answering one request at a time is fast enough.
            let _ = stream.and_then(|stream| self.answer(stream));
        }
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let granted = read_line(&mut stream)
            .and_then(|line| serde_json::from_slice(&line).map_err(io::Error::other))
            .and_then(|wish| self.grant(wish));
        match granted {
            Ok(handed_over) => {
                let descriptors: Vec<BorrowedFd<'_>> = handed_over.iter().map(OwnedFd::as_fd).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(QUEUES))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(&descriptors));
                sendmsg(&stream, &[IoSlice::new(b"\n")], &mut control, SendFlags::NOSIGNAL)?;
                Ok(())
            }
            Err(why) => stream.write_all(
                match why.raw_os_error() {
                    Some(errno) => format!("{ERRNO}{errno}\n").into_bytes(),
                    None => format!("{why}\n").into_bytes(),
                }
                .as_slice(),
            ),
        }
    }

    fn grant(&self, wish: Wish) -> io::Result<Vec<OwnedFd>> {
        let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        let one = |descriptor| vec![descriptor];
        let is_ours = |cid: u32| cid.checked_sub(self.first_cid).is_some_and(|number| number < CIDS);
        match wish {
            Wish::VhostVsock { cid } | Wish::Dial { cid, .. } if !is_ours(cid) => {
                refused("the context id does not belong to a guest of this container")
            }
            Wish::Listen { port } if !vsock::TEST_PORTS.contains(&port) => {
                refused("the port is not one that tests use")
            }
            Wish::Tap { queues } if !(1..=QUEUES).contains(&queues) => {
                refused(&format!("a tap device must have 1 to {QUEUES} queues"))
            }
            Wish::VhostVsock { cid } => vhost::serves(vhost::VSOCK).and_then(|()| vhost::vsock(cid)).map(one),
            Wish::VhostNet => vhost::serves(vhost::NET).and_then(|()| vhost::net()).map(one),
            Wish::Dial { cid, port } => vsock::connect(cid, port).map(one),
            Wish::Listen { port } => vsock::listen_on(port).map(one),
            Wish::Tap { queues } => {
                let counted = Counted::new(&self.taps);
                if counted.0.load(Ordering::Relaxed) > TAPS {
                    return refused("the container has too many tap devices");
                }
                vhost::tap_apart(queues, counted)
            }
        }
    }
}

/// Counts a tap while the value lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(taps: &Arc<AtomicUsize>) -> Counted {
        taps.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(taps))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads a line of at most [`LINE`] bytes.
fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LINE && stream.read(&mut byte)? == 1 {
        if byte == *b"\n" {
            return Ok(line);
        }
        line.extend(byte);
    }
    Err(io::Error::other("expected a line"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::broker::{SOCKET, ask};
    use std::fs::File;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::path::Path;
    use std::time::{Duration, Instant};
    use suites::packets::TYPE;

    const FIRST: u32 = CIDS * 7;

    /// Runs a broker in a thread while `use_it` runs with its socket; the thread ends even if `use_it` panics.
    fn with_broker(use_it: impl FnOnce(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(SOCKET);
        let listener = UnixListener::bind(&socket).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| Broker::new(FIRST).serve(&listener, &over));
            let used = catch_unwind(AssertUnwindSafe(|| use_it(&socket)));
            over.store(true, Ordering::Relaxed);
            UnixStream::connect(&socket).unwrap();
            if let Err(panic) = used {
                resume_unwind(panic);
            }
        });
    }

    #[test]
    #[should_panic(expected = "what was expected")]
    fn a_panic_with_a_broker_is_passed_on() {
        with_broker(|_| panic!("what was expected"));
    }

    #[test]
    fn other_guests_and_other_ports_are_refused() {
        with_broker(|socket| {
            for wish in [
                Wish::Dial { cid: 1, port: vsock::AGENT_PORT },
                Wish::Dial { cid: vsock::HOST, port: 1 },
                Wish::Dial { cid: FIRST - 1, port: vsock::AGENT_PORT },
                Wish::Dial { cid: FIRST + CIDS, port: vsock::AGENT_PORT },
                Wish::VhostVsock { cid: 3 },
                Wish::VhostVsock { cid: u32::MAX },
            ] {
                let why = ask(socket, wish).unwrap_err().to_string();
                assert_eq!(why, "the context id does not belong to a guest of this container", "{wish:?}");
            }
            for port in [22, vsock::AGENT_PORT, vsock::TEST_PORTS.start - 1, vsock::TEST_PORTS.end] {
                let why = ask(socket, Wish::Listen { port }).unwrap_err().to_string();
                assert_eq!(why, "the port is not one that tests use", "{port}");
            }
        });
    }

    #[test]
    fn unknown_requests_are_refused_and_harm_nothing() {
        with_broker(|socket| {
            for line in ["\n", "{}\n", "\"kvm\"\n", &"x".repeat(LINE + 1), "{\"dial\":{\"cid\":-1,\"port\":1}}\n"] {
                let mut stream = UnixStream::connect(socket).unwrap();
                stream.write_all(line.as_bytes()).unwrap();
                let mut reply = String::new();
                // If the broker read less than was sent, the connection ends with a reset.
                let _ = stream.read_to_string(&mut reply);
                assert!(!reply.is_empty() || line.len() > LINE, "{line:?}");
                assert!(!reply.starts_with(ERRNO), "the kernel was not asked: {reply}");
            }
            // A client that hangs up does no harm.
            drop(UnixStream::connect(socket).unwrap());
            let nowhere = ask(&socket.join("none"), Wish::VhostNet).unwrap_err();
            assert!(nowhere.raw_os_error().is_none(), "{nowhere}");
            assert!(
                ask(socket, Wish::Dial { cid: 1, port: 1 })
                    .unwrap_err()
                    .to_string()
                    .contains("does not belong to a guest")
            );
        });
    }

    /// The other end of a tap is outside the container, and answers all the same.
    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that makes namespaces")]
    fn a_tap_from_the_broker_carries_test_packets_both_ways() {
        with_broker(|socket| {
            let mut tap = File::from(ask(socket, Wish::Tap { queues: 1 }).unwrap());
            // A frame follows a header without offloads.
            let frame = |to: [u8; 6], from: [u8; 6]| [&[0; 10][..], &to, &from, &TYPE.to_be_bytes(), &[7; 60]].concat();
            let (all, own) = ([0xff; 6], [2, 0, 0, 0, 0, 1]);
            rustix::fs::fcntl_setfl(&tap, rustix::fs::OFlags::NONBLOCK).unwrap();
            let end = Instant::now() + Duration::from_secs(20);
            let mut came_back = false;
            while !came_back {
                assert!(Instant::now() < end, "nothing comes back");
                // The interface may not be up yet.
                let _ = tap.write(&frame(all, own));
                std::thread::sleep(Duration::from_millis(20));
                let mut buffer = [0; 2048];
                while let Ok(count) = tap.read(&mut buffer) {
                    // The answering side uses its own address as the sender.
                    came_back |= buffer[10..16] == own && buffer[22..count] == frame(all, own)[22..];
                }
            }
        });
    }

    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that makes namespaces")]
    fn the_number_of_taps_of_a_container_is_limited() {
        with_broker(|socket| {
            let mut taps: Vec<OwnedFd> = (0..TAPS).map(|_| ask(socket, Wish::Tap { queues: 1 }).unwrap()).collect();
            assert_eq!(
                ask(socket, Wish::Tap { queues: 1 }).unwrap_err().to_string(),
                "the container has too many tap devices"
            );
            taps.clear();
            // Taps are freed once their other ends have noticed.
            let end = Instant::now() + Duration::from_secs(20);
            while ask(socket, Wish::Tap { queues: 1 }).is_err() {
                assert!(Instant::now() < end, "no tap is free");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    }
}
