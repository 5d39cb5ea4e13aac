//! Locks between processes of one guest.
//!
//! Kata starts virtiofsd with `no_posix_lock` (the later daemons have no remote locks at all), so the guest's own
//! kernel keeps them.

use super::expect::refused;
use super::proves::FILES;
use crate::check::{Check, Doing, Stop};
use crate::environment::Site;
use crate::row::{Row, row};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;

const SOURCE: &str = include_str!("locks.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(flock_excludes_other_descriptors), FILES).finds("flock:retval=0"),
    row!(Guest(record_locks_exclude_by_range), FILES).finds("fcntl:retval=0"),
    row!(Guest(a_waiting_lock_is_granted), FILES).finds("flock:retval=0"),
];

fn open(site: &Site) -> Result<File, Stop> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(site.path("lock")).doing("opening the lock file")
}

/// An exclusive flock(2) excludes every other open file description (EWOULDBLOCK), shared locks do not exclude each
/// other, and closing releases a lock.
///
/// apt, dpkg's frontend lock and cron in a container begin with it; Kata disabled remote locks (`no_posix_lock`)
/// because apt failed with them.
fn flock_excludes_other_descriptors(site: &Site) -> Check {
    let (one, two) = (open(site)?, open(site)?);
    flock(&one, FlockOperation::NonBlockingLockExclusive).doing("taking an exclusive flock")?;
    let second = flock(&two, FlockOperation::NonBlockingLockExclusive);
    refused(second, &[Errno::WOULDBLOCK], "a second exclusive flock")?;
    let shared = flock(&two, FlockOperation::NonBlockingLockShared);
    refused(shared, &[Errno::WOULDBLOCK], "a shared flock beside an exclusive one")?;
    flock(&one, FlockOperation::NonBlockingLockShared).doing("turning the flock into a shared one")?;
    flock(&two, FlockOperation::NonBlockingLockShared).doing("a second shared flock")?;
    let upgrade = flock(&two, FlockOperation::NonBlockingLockExclusive);
    refused(upgrade, &[Errno::WOULDBLOCK], "turning one of two shared flocks into an exclusive one")?;
    drop(one);
    flock(&two, FlockOperation::NonBlockingLockExclusive).doing("an exclusive flock after the other was closed")
}

/// Tries to lock or unlock a range for this open file description.
fn lock_range(file: &File, kind: libc::c_int, start: i64, length: i64) -> io::Result<()> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop).map_err(io::Error::from)
}

/// Record locks of fcntl(2) exclude each other by byte: overlapping ranges conflict (EAGAIN), disjoint ones do not, and
/// a process's classic POSIX lock conflicts with them, too.
///
/// SQLite and dpkg lock byte ranges (POSIX fcntl). The test uses open file description locks, which conflict within one
/// process as POSIX locks do between two.
fn record_locks_exclude_by_range(site: &Site) -> Check {
    let (one, two) = (open(site)?, open(site)?);
    let conflict = [Errno::AGAIN, Errno::ACCESS];
    lock_range(&one, libc::F_WRLCK, 0, 100).doing("locking bytes 0..100 for writing")?;
    refused(lock_range(&two, libc::F_WRLCK, 50, 10), &conflict, "locking bytes 50..60 of a locked 0..100")?;
    refused(lock_range(&two, libc::F_RDLCK, 99, 1), &conflict, "locking byte 99 for reading")?;
    lock_range(&two, libc::F_WRLCK, 100, 50).doing("locking bytes 100..150 beside 0..100")?;
    lock_range(&one, libc::F_UNLCK, 40, 40).doing("unlocking bytes 40..80")?;
    lock_range(&two, libc::F_WRLCK, 50, 10).doing("locking bytes 50..60 after they were freed")?;
    let classic = fcntl_lock(&two, FlockOperation::NonBlockingLockExclusive);
    refused(classic, &conflict, "a POSIX lock of the whole file beside record locks")?;
    drop(one);
    lock_range(&two, libc::F_WRLCK, 0, 0).doing("locking the whole file after the other was closed")
}

/// A thread that waits for a lock gets it when the holder releases it, and not before.
///
/// The guest's kernel must wake the thread; with remote locks, a daemon with a single thread (Kata's
/// `--thread-pool-size=1`) would wait for itself for ever. The setting is `DEFVIRTIOFSEXTRAARGS` in
/// src/runtime/Makefile@4.1.0 and src/runtime-rs/Makefile@4.1.0.
fn a_waiting_lock_is_granted(site: &Site) -> Check {
    let (one, two) = (open(site)?, open(site)?);
    flock(&one, FlockOperation::NonBlockingLockExclusive).doing("taking an exclusive flock")?;
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let granted = flock(&two, FlockOperation::LockExclusive);
        // If the test has failed, nobody receives this any more.
        let _ = send.send(granted);
    });
    if let Ok(early) = receive.recv_timeout(std::time::Duration::from_millis(300)) {
        return Err(Stop::fail(format!(
            "a waiting flock: expected it to wait for the holder, but it returned {early:?}"
        )));
    }
    flock(&one, FlockOperation::Unlock).doing("releasing the flock")?;
    match receive.recv_timeout(std::time::Duration::from_secs(10)) {
        Ok(granted) => granted.doing("waiting for the flock"),
        Err(_) => Err(Stop::fail("a waiting flock: expected it within 10 s of its release, but it still waits")),
    }
}
