//! Failures of virtiofsd: no descriptors left, killed, or told to end.

use super::durability::{WRITTEN, committed, is_there};
use super::proves::DAEMON_END;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, DaemonSignal, Pair, Reply, Site};
use crate::outcome::Component;
use crate::row::{Row, row};
use model::profile::DaemonSetting;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

const SOURCE: &str = include_str!("daemon_end.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(running_out_of_descriptors_is_an_errno), DAEMON_END)
        .finds("/^open(at)?$:error=EIO:when=50+")
        .only_with(&[DaemonSetting::FewDescriptors])
        .seconds(120),
    // These end the daemon, and the guest with it.
    row!(Pair(a_killed_virtiofsd_serves_nothing_and_takes_neither_guest_nor_data), DAEMON_END).seconds(180).random(),
    row!(Pair(a_virtiofsd_that_is_told_to_end_serves_nothing_more), DAEMON_END).seconds(180).random(),
];

/// More files than a daemon with few descriptors can have open, and fewer than a process of the guest.
const FILES: usize = 900;
/// Fewer files for the native run, where no daemon has a limit and the agent needs its own descriptors.
const NATIVELY: usize = 100;

/// A guest that opens more files than virtiofsd may gets EMFILE or ENFILE, its open files stay usable, and after
/// closing them it can open files again.
///
/// virtiofsd has its own limit (`--rlimit-nofile`), and one pod with many open files can reach it: the pod must get the
/// same error as on a node, and neither pod nor daemon may end. Natively, without a daemon, the test can open a hundred
/// files.
fn running_out_of_descriptors_is_an_errno(site: &Site) -> Check {
    let most = if site.share.is_some() { FILES } else { NATIVELY };
    let mut held = Vec::new();
    let open = |number: usize| {
        OpenOptions::new().read(true).write(true).create_new(true).open(site.path(format!("open-{number}")))
    };
    while held.len() < most {
        match open(held.len()) {
            Ok(file) => held.push(file),
            Err(e) => {
                let limits = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
                ensure!(
                    limits.contains(&e.raw_os_error()),
                    "opening one file more than virtiofsd can: expected EMFILE or ENFILE, got {e} (of {most}, {} are open)",
                    held.len()
                );
                break;
            }
        }
    }
    ensure!(
        held.len() > 20 && (site.share.is_none() || held.len() < FILES),
        "{} files could be opened; expected some, and an end below {FILES}",
        held.len()
    );
    let last = held.len() - 1;
    for at in [0, last] {
        still_usable(&mut held[at], at)?;
    }
    drop(held);
    super::expect::until(Duration::from_secs(10), "opening a file after all others were closed", || {
        Ok(open(FILES).map(drop).map_err(|e| e.to_string()))
    })
}

fn still_usable(file: &mut File, number: usize) -> Check {
    let contents = format!("file {number}");
    file.write_all(contents.as_bytes()).doing("writing to a file that was open when descriptors ran out")?;
    file.seek(SeekFrom::Start(0)).doing("seeking in it")?;
    let mut seen = String::new();
    file.read_to_string(&mut seen).doing("reading it")?;
    ensure!(seen == contents, "a file that was open when descriptors ran out: expected {contents:?}, saw {seen:?}");
    Ok(())
}

/// When virtiofsd is killed while the guest writes, none of its processes is left at the deadline, all synced data is
/// on the host, whole, a new file cannot be made on the share, the guest still answers, and QEMU ends when it is told
/// to quit.
///
/// If memory runs out, the kernel may kill virtiofsd. Kata's Go runtime notices and makes QEMU quit
/// (`setupVirtiofsDaemon` in src/runtime/virtcontainers/qemu.go@4.1.0); a guest that hangs, or a QEMU that waits for
/// its dead daemon, would leave a sandbox that cannot be removed. The write in progress stays unfinished, and a new
/// request may wait for ever: Linux's virtio-fs has no deadline, and Kata requires none. A request that succeeds was
/// answered by nobody.
fn a_killed_virtiofsd_serves_nothing_and_takes_neither_guest_nor_data(pair: &mut Pair<'_>) -> Check {
    ended(pair, DaemonSignal::Kill)
}

/// When virtiofsd is told to end (SIGTERM) while the guest writes, it ends by the deadline with all processes that it
/// started, all synced data is on the host, whole, a new file cannot be made on the share, the guest still answers, and
/// QEMU ends when it is told to quit.
///
/// A node that shuts down ends its daemons this way before it unmounts the filesystems that they share: a daemon that
/// stays keeps the mounts busy. The rest is up to Kata, as after a kill (`setupVirtiofsDaemon` in
/// src/runtime/virtcontainers/qemu.go@4.1.0).
fn a_virtiofsd_that_is_told_to_end_serves_nothing_more(pair: &mut Pair<'_>) -> Check {
    ended(pair, DaemonSignal::Terminate)
}

fn ended(pair: &mut Pair<'_>, by: DaemonSignal) -> Check {
    let seed = pair.effort.seed;
    pair.done("writing in the background", Action::KeepWriting { path: pair.in_guest(WRITTEN), seed })?;
    committed(pair, 1)?;
    let within = pair.deadline;
    ensure!(
        pair.guest.end_daemon(by, within)?,
        "virtiofsd, or what it has started, still runs {} s after {}",
        within.as_secs(),
        match by {
            DaemonSignal::Kill => "SIGKILL",
            DaemonSignal::Terminate => "SIGTERM",
        }
    );
    still_answers(pair)?;
    let synced = committed(pair, 1)?;
    is_there(pair, synced, "after virtiofsd ended while the guest wrote")?;
    let new = Action::CreateNew { path: pair.in_guest("after-the-end"), data: Bytes(b"nobody takes this".to_vec()) };
    match pair.guest.attempt(new, within)? {
        // Refused, or not answered.
        Some(Reply::Refused { .. }) | None => {}
        Some(other) => {
            let seen = format!("virtiofsd has ended, and the guest has made a new file on its share: {other:?}");
            return Err(Stop::blame(Component::Kernel, seen));
        }
    }
    still_answers(pair)?;
    if !pair.guest.quit_vmm(within)? {
        let seconds = within.as_secs();
        let seen = format!("QEMU, whose virtiofsd has ended, was told to quit, and still runs {seconds} s later");
        return Err(Stop::blame(Component::Qemu, seen));
    }
    Ok(())
}

fn still_answers(pair: &mut Pair<'_>) -> Check {
    match pair.guest.answers()? {
        true => Ok(()),
        false => Err(Stop::blame(
            Component::Kernel,
            "a guest whose virtiofsd has ended does not answer any more, although what it was asked has nothing to do with the share",
        )),
    }
}
