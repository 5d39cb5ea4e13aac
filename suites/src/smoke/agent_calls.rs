//! Other kernel features that Kata's agent needs in the guest, tested inside the guest: event descriptors, sockets,
//! message queues, terminals, locks. Namespaces, seccomp filters and control groups are tested elsewhere.
//!
//! Kata's own kernel has each of these options because its agent or its containers cannot work without it
//! (tools/packaging/kernel/configs/fragments/common/base.conf@4.1.0 and the files in the same directory), and no initrd
//! loads a module for it: a kernel without one boots, and fails later.
#![expect(unsafe_code, reason = "signals as a descriptor and messages of a queue have no safe interface")]

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::namespace::Namespace;
use crate::packets;
use crate::row::{Row, row};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{FlockOperation, flock, inotify};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOURCE: &str = include_str!("agent_calls.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Inside(guest_waits_for_events_of_each_kind), &[Capability::KernelGuest], Kernel).blocked_by(BOOTS),
    row!(Inside(guest_has_sockets_of_each_family), &[Capability::KernelGuest], Kernel).blocked_by(BOOTS),
    row!(Inside(guest_has_queues_terminals_and_locks), &[Capability::KernelGuest], Kernel).blocked_by(BOOTS),
];

/// How long to wait for an event that comes at once. The guest does not know where it runs: this is more than a stall
/// of one that is emulated twice over, and less than the time that its test has anywhere.
const PATIENCE: Duration = Duration::from_secs(45);
/// The text that is sent and must arrive.
const WORDS: &[u8] = b"kata-qualify: these words\n";
/// The directory for these tests' files.
const FOLDER: &str = "/scratch/calls";

/// A process waits with one epoll for a timer, a signal and a change in a directory, each a descriptor, and is notified
/// of each when it happens and not before.
///
/// The agent's runtime waits for everything by epoll (tokio, `src/agent/Cargo.toml@4.1.0`): for children that end
/// (`src/agent/src/signal.rs@4.1.0`), changes in ConfigMaps (`src/agent/src/watcher.rs@4.1.0`) and timers. The options
/// are EPOLL, TIMERFD, SIGNALFD and INOTIFY_USER.
fn guest_waits_for_events_of_each_kind() -> Check {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing("making an epoll")?;
    let timer =
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).doing("making a timer's descriptor")?;
    let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
    let soon = Itimerspec { it_interval: nothing, it_value: Timespec { tv_sec: 0, tv_nsec: 10_000_000 } };
    event_is_reported(&epoll, &timer, "a timer", || {
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &soon).map(|_| ()).map_err(io::Error::from)
    })?;
    let signal = SignalDescriptor::open().doing("making a signal's descriptor")?;
    event_is_reported(&epoll, &signal.file, "a signal", SignalDescriptor::send)?;
    let number = signal.number().doing("reading a signal from its descriptor")?;
    ensure!(number == libc::SIGURG, "signal {} was sent, and its descriptor tells of {number}", libc::SIGURG);
    fs::create_dir_all(FOLDER).doing("making a folder")?;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).doing("making an inotify")?;
    inotify::add_watch(&watch, FOLDER, inotify::WatchFlags::CREATE).doing("watching a folder")?;
    let file = Path::new(FOLDER).join("watched");
    let _ = fs::remove_file(&file);
    event_is_reported(&epoll, &watch, "a file in a folder", || File::create(&file).map(drop))?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut changes = inotify::Reader::new(&watch, &mut buffer);
    let event = changes.next().doing("reading what has changed in a folder")?;
    let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
    let _ = fs::remove_file(&file);
    ensure!(name.as_deref() == Some("watched"), "a file was made in a folder, inotify tells of {name:?}");
    Ok(())
}

/// Checks that an epoll reports a descriptor once its event has happened, and not before.
fn event_is_reported(
    epoll: &OwnedFd,
    source: &impl AsFd,
    what: &str,
    happen: impl FnOnce() -> io::Result<()>,
) -> Check {
    const NUMBER: u64 = 7;
    epoll::add(epoll, source, epoll::EventData::new_u64(NUMBER), epoll::EventFlags::IN)
        .doing(format!("having an epoll look at {what}"))?;
    let reported = |patience: Duration| -> Result<Vec<u64>, Stop> {
        let patience = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: 0 };
        let mut events: Vec<epoll::Event> = Vec::with_capacity(4);
        epoll::wait(epoll, spare_capacity(&mut events), Some(&patience)).doing("waiting by an epoll")?;
        Ok(events.into_iter().map(|event| event.data.u64()).collect())
    };
    let before = reported(Duration::ZERO)?;
    ensure!(before.is_empty(), "an epoll tells of {what} that has not come");
    happen().doing(format!("causing {what}"))?;
    let after = reported(PATIENCE)?;
    ensure!(after == [NUMBER], "{what} came, and an epoll reported {after:?} within {} s", PATIENCE.as_secs());
    epoll::delete(epoll, source).doing(format!("having an epoll look no more at {what}"))
}

/// A descriptor that reports this thread's SIGURG, which has no handler; the signal is blocked while this value exists.
struct SignalDescriptor {
    file: File,
    _blocked: Blocked,
}

/// The signals that were blocked for this thread before.
struct Blocked(libc::sigset_t);

impl SignalDescriptor {
    fn open() -> io::Result<SignalDescriptor> {
        // SAFETY: plain calls on sets that live until each returns; the descriptor is owned at once.
        unsafe {
            let (mut urgent, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigemptyset(&mut urgent);
            libc::sigaddset(&mut urgent, libc::SIGURG);
            match libc::pthread_sigmask(libc::SIG_BLOCK, &urgent, &mut before) {
                0 => {}
                code => return Err(io::Error::from_raw_os_error(code)),
            }
            let blocked = Blocked(before);
            match libc::signalfd(-1, &urgent, libc::SFD_CLOEXEC) {
                fd if fd < 0 => Err(io::Error::last_os_error()),
                fd => Ok(SignalDescriptor { file: File::from(OwnedFd::from_raw_fd(fd)), _blocked: blocked }),
            }
        }
    }

    /// Sends the signal to this thread.
    fn send() -> io::Result<()> {
        // SAFETY: a plain call about the thread that makes it.
        match unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGURG) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Reads the number of the received signal.
    fn number(&self) -> io::Result<i32> {
        // The signal's number is the first field of `struct signalfd_siginfo`.
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        (&self.file).read_exact(&mut info)?;
        Ok(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a plain call on a set that lives until it returns. A SIGURG that was not read is then ignored.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Data crosses IPv4, IPv6 and Unix sockets between two ends in the guest.
///
/// A container's services talk to each other this way, and so do the agent's helper processes; the agent gives
/// interfaces addresses of both families (`update_interface` in `src/agent/src/rpc.rs@4.1.0`). The options are INET,
/// IPV6 and UNIX.
fn guest_has_sockets_of_each_family() -> Check {
    Namespace::new()?.run(|| {
        packets::bring_up("lo").doing("bringing the loopback up")?;
        crosses_tcp(Ipv4Addr::LOCALHOST.into())?;
        crosses_tcp(Ipv6Addr::LOCALHOST.into())?;
        crosses_a_file()
    })
}

fn crosses_tcp(own: IpAddr) -> Check {
    let listener = TcpListener::bind(SocketAddr::new(own, 0)).doing(format!("listening at {own}"))?;
    let address = listener.local_addr().doing("asking where a socket listens")?;
    let there = TcpStream::connect_timeout(&address, PATIENCE).doing(format!("connecting to {own}"))?;
    let (here, _) = listener.accept().doing(format!("accepting at {own}"))?;
    here.set_read_timeout(Some(PATIENCE)).doing("setting a time-out")?;
    arrives(there, here, &format!("a connection at {own}"))
}

fn crosses_a_file() -> Check {
    fs::create_dir_all(FOLDER).doing("making a folder")?;
    let path = Path::new(FOLDER).join("socket");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).doing("listening at a file")?;
    let there = UnixStream::connect(&path).doing("connecting to a file")?;
    let (here, _) = listener.accept().doing("accepting at a file")?;
    here.set_read_timeout(Some(PATIENCE)).doing("setting a time-out")?;
    let _ = fs::remove_file(&path);
    arrives(there, here, "a connection at a file")
}

fn arrives(mut there: impl Write, mut here: impl Read, what: &str) -> Check {
    there.write_all(WORDS).doing(format!("writing into {what}"))?;
    let mut came = [0; WORDS.len()];
    here.read_exact(&mut came).doing(format!("reading from {what}"))?;
    ensure!(came == WORDS, "{WORDS:?} were sent over {what}, and {came:?} came");
    Ok(())
}

/// A POSIX message queue delivers the most urgent message first, a terminal carries lines both ways, and a lock on a
/// file keeps others out.
///
/// For each container the agent mounts a filesystem of message queues and one of terminals, and it opens a terminal if
/// one is requested (`src/agent/rustjail/src/mount.rs@4.1.0`, `src/agent/rustjail/src/process.rs@4.1.0`). The options
/// are POSIX_MQUEUE, UNIX98_PTYS and FILE_LOCKING.
fn guest_has_queues_terminals_and_locks() -> Check {
    queue_sorts()?;
    terminal_carries()?;
    lock_keeps_others_out()
}

/// A filesystem mounted by the test; dropping it unmounts the filesystem.
struct Mounted(PathBuf);

impl Mounted {
    fn new(kind: &str, options: &CStr) -> Result<Mounted, Stop> {
        let folder = Path::new(FOLDER).join(kind);
        fs::create_dir_all(&folder).doing("making a folder")?;
        mount(kind, &folder, kind, MountFlags::empty(), options).doing(format!("mounting {kind}"))?;
        Ok(Mounted(folder))
    }

    fn open(&self, name: &str, may_make: bool, flags: i32) -> Result<File, Stop> {
        let path = self.0.join(name);
        let mut how = File::options();
        let opened = how.read(true).write(true).create(may_make).truncate(false).custom_flags(flags).open(&path);
        opened.doing(format!("opening {}", path.display()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn queue_sorts() -> Check {
    let queues = Mounted::new("mqueue", c"")?;
    // Non-blocking, because the messages are already in the queue.
    let queue = queues.open("kata-qualify", true, libc::O_NONBLOCK)?;
    let sorted = send(&queue, b"later", 1).and_then(|()| send(&queue, b"first", 5)).and_then(|()| receive(&queue));
    let _ = fs::remove_file(queues.0.join("kata-qualify"));
    let came = sorted.doing("sending and receiving by a message queue")?;
    ensure!(
        came == b"first",
        "of two messages the more urgent one comes first, not {:?}",
        String::from_utf8_lossy(&came)
    );
    Ok(())
}

fn send(queue: &File, message: &[u8], priority: u32) -> io::Result<()> {
    let no_time = std::ptr::null::<libc::timespec>();
    // SAFETY: the kernel reads the message, which lives until the call returns; without a time it ends at once.
    let sent = unsafe {
        libc::syscall(libc::SYS_mq_timedsend, queue.as_raw_fd(), message.as_ptr(), message.len(), priority, no_time)
    };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn receive(queue: &File) -> io::Result<Vec<u8>> {
    // Larger than the largest message of a queue with default attributes.
    let mut message = vec![0_u8; 64 << 10];
    let (no_priority, no_time) = (std::ptr::null_mut::<u32>(), std::ptr::null::<libc::timespec>());
    // SAFETY: the kernel writes into the buffer, which lives until the call returns.
    let length = unsafe {
        libc::syscall(
            libc::SYS_mq_timedreceive,
            queue.as_raw_fd(),
            message.as_mut_ptr(),
            message.len(),
            no_priority,
            no_time,
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    message.truncate(length);
    Ok(message)
}

fn terminal_carries() -> Check {
    let terminals = Mounted::new("devpts", c"newinstance,ptmxmode=0666")?;
    let ours = terminals.open("ptmx", false, libc::O_NOCTTY)?;
    unlockpt(&ours).doing("unlocking a terminal")?;
    let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY);
    let theirs = File::from(theirs.doing("opening the other end of a terminal")?);
    passes_through(&ours, &theirs, b"words\n", b"words\n")?;
    // A terminal echoes its input, and ends lines with two characters.
    passes_through(&theirs, &ours, b"answer\n", b"words\r\nanswer\r\n")
}

/// Checks that text written to one end of a terminal comes out of the other end.
fn passes_through(mut from: &File, mut to: &File, text: &[u8], expected: &[u8]) -> Check {
    from.write_all(text).doing("writing to a terminal")?;
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let mut came = Vec::new();
    while came.len() < expected.len() {
        let ready = poll(&mut [PollFd::new(to, PollFlags::IN)], Some(&patience)).doing("waiting for a terminal")?;
        ensure!(ready > 0, "of {expected:?} a terminal gave {came:?} within {} s", PATIENCE.as_secs());
        let mut piece = [0; 64];
        let count = to.read(&mut piece).doing("reading from a terminal")?;
        ensure!(count > 0, "of {expected:?} a terminal gave {came:?}, and ended");
        came.extend_from_slice(&piece[..count]);
    }
    ensure!(came == expected, "a terminal was to give {expected:?}, and gave {came:?}");
    Ok(())
}

fn lock_keeps_others_out() -> Check {
    fs::create_dir_all(FOLDER).doing("making a folder")?;
    let path = Path::new(FOLDER).join("locked");
    let (one, other) = (File::create(&path).doing("making a file")?, File::create(&path).doing("opening a file")?);
    let locked = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive);
    locked(&one).doing("locking a file")?;
    let refused = locked(&other);
    flock(&one, FlockOperation::Unlock).doing("unlocking a file")?;
    let then = locked(&other);
    let _ = fs::remove_file(&path);
    ensure!(
        refused == Err(rustix::io::Errno::WOULDBLOCK),
        "a file that is locked is locked once more, the kernel answers {refused:?}"
    );
    then.doing("locking a file that was unlocked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::message;

    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
    fn bodies_pass_on_a_working_kernel() {
        crate::mounts::own();
        assert_eq!(guest_waits_for_events_of_each_kind(), Ok(()));
        assert_eq!(guest_has_sockets_of_each_family(), Ok(()));
        assert_eq!(guest_has_queues_terminals_and_locks(), Ok(()));
    }

    #[test]
    fn an_early_event_and_a_failed_trigger_are_found() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"early").unwrap();
        assert_eq!(
            message(event_is_reported(&epoll, &here, "a word", || Ok(()))),
            "an epoll tells of a word that has not come"
        );
        let other = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let refused = event_is_reported(&other, &there, "a word", || Err(io::Error::from_raw_os_error(libc::EPERM)));
        assert_eq!(message(refused), "causing a word: Operation not permitted (os error 1)");
    }

    #[test]
    fn a_terminal_with_other_output_is_found() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (reader, writer) = (File::from(reader), File::from(writer));
        assert_eq!(passes_through(&writer, &reader, b"words\n", b"words\n"), Ok(()));
        assert!(
            message(passes_through(&writer, &reader, b"other\n", b"words\n")).starts_with("a terminal was to give")
        );
    }
}
