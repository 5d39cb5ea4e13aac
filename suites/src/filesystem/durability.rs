//! Data that outlives the guest.

use super::expect::{noise, same_bytes, until};
use super::proves::{DISK_INTEGRITY, SHARED_FILES, SHARED_INTEGRITY, WRITE_BACK};
use super::random_writes::missing;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, EnvironmentSide, Machine, Pair, Reply};
use crate::row::{Row, row};
use crate::scratch::Scratch;
use crate::test::Place;
use model::profile::DaemonSetting;
use std::fs::{self, File};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("durability.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Pair(writes_wait_in_the_guest_until_they_are_synced), WRITE_BACK).only_with(&[DaemonSetting::WriteBack]),
    row!(Pair(fsync_survives_killing_the_vmm), SHARED_FILES).also_with(&[DaemonSetting::WriteBack]).seconds(180),
    row!(Pair(synced_renames_survive_killing_the_vmm), SHARED_FILES).seconds(180),
    row!(Pair(random_writes_survive_killing_the_vmm), SHARED_INTEGRITY).seconds(240).random(),
    row!(Environment(random_writes_to_a_disk_survive_killing_the_vmm), DISK_INTEGRITY, Qemu)
        .places(&[Place::OwnGuest])
        .seconds(360)
        .random(),
];

/// The name of the file that is written continuously.
pub(super) const WRITTEN: &str = "written";
/// The number of blocks that are synced before the VMM is killed, in an ordinary and in a thorough run.
const ROUNDS: (u64, u64) = (60, 3_000);

/// The beginning of the names of open files to which the guest writes without a sync.
pub(super) const UNSYNCED: &str = "unsynced ";
/// The number of files that are written without a sync.
const LATE_FILES: usize = 10;

/// What the guest writes to an open file can reach the host after write(2) has returned, and once the guest calls
/// fsync(2) on the file, all of it is on the host, in order and whole.
///
/// With `--writeback` in `virtio_fs_extra_args` (src/runtime/config/configuration-qemu.toml.in@4.1.0) the guest's page
/// cache collects writes, which is the reason to ask for it: small writes are far faster. A daemon that ignores the
/// option makes each of them a request. The guest's kernel may write a file at any time, so one of ten files that the
/// host sees late is enough.
fn writes_wait_in_the_guest_until_they_are_synced(pair: &mut Pair<'_>) -> Check {
    let mut late = 0;
    for number in 0..LATE_FILES {
        let name = format!("late-{number}");
        pair.guest_writes(&name, b"", false)?;
        let handle = format!("{UNSYNCED}{}/{name}", pair.relative.display());
        pair.done("opening the file", Action::Hold { path: pair.in_guest(&name), handle: handle.clone() })?;
        let is_late = is_synced_later(pair, &name, &handle);
        pair.done("closing the file", Action::Release { handle })?;
        late += usize::from(is_late?);
    }
    ensure!(
        late > 0,
        "the host saw what the guest had written to each of {LATE_FILES} files at once, before the guest synced \
         them: the guest keeps no writes"
    );
    Ok(())
}

/// Writes to an open file and syncs it; returns whether the host saw nothing of it before.
fn is_synced_later(pair: &mut Pair<'_>, name: &str, handle: &str) -> Result<bool, Stop> {
    let mut expected = noise(6, 5000);
    let write = Action::AppendHeld { handle: handle.to_owned(), data: Bytes(expected.clone()) };
    pair.done("writing without a sync", write)?;
    let before = fs::read(pair.on_host(name)).doing("the host, reading a file that is not synced yet")?;
    let data = Bytes(b", synced".to_vec());
    let sync = Action::Write { path: pair.in_guest(name), data: data.clone(), append: true, sync: true };
    pair.done("appending and syncing", sync)?;
    expected.extend_from_slice(&data.0);
    let after = fs::read(pair.on_host(name)).doing("the host, reading a synced file")?;
    same_bytes(&after, &expected, "what the host reads once the guest has synced a file")?;
    Ok(before.is_empty())
}

/// Data that the guest wrote and fsynced is on the host, whole, even if the VMM is killed right after fsync returned.
///
/// POSIX's fsync promises this; a pod's database relies on it for its commits, and the OOM killer can kill a VMM at any
/// time.
fn fsync_survives_killing_the_vmm(pair: &mut Pair<'_>) -> Check {
    let large = noise(4, 200_000);
    pair.guest_writes("small", b"committed", true)?;
    pair.guest_writes("large", &large, true)?;
    let append =
        Action::Write { path: pair.in_guest("small"), data: Bytes(b", twice".to_vec()), append: true, sync: true };
    pair.done("appending and syncing", append)?;
    pair.guest.kill_vmm()?;
    pair.host_comes_to_read("small", b"committed, twice", "a synced file after the VMM was killed")?;
    pair.host_comes_to_read("large", &large, "a synced file of 200000 bytes after the VMM was killed")
}

/// If the guest writes and fsyncs a new version of a file, renames it into place and fsyncs the directory, the host
/// finds this version after the VMM is killed, and nothing under the old name.
///
/// Every careful program replaces a file this way; half of the replacement would leave a pod without its state.
fn synced_renames_survive_killing_the_vmm(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("state", b"old state", true)?;
    pair.guest_writes("state.new", b"new state", true)?;
    pair.done("renaming", Action::Rename { from: pair.in_guest("state.new"), to: pair.in_guest("state") })?;
    let directory = Bytes::from(&pair.relative);
    pair.done("syncing the directory", Action::SyncDirectory { path: directory })?;
    pair.guest.kill_vmm()?;
    pair.host_comes_to_read("state", b"new state", "a synced rename after the VMM was killed")?;
    let old_name = fs::symlink_metadata(pair.on_host("state.new"));
    let is_removed = old_name.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    ensure!(
        is_removed,
        "the old name after a synced rename and a killed VMM: expected it gone from the host, saw {old_name:?}"
    );
    Ok(())
}

/// When the VMM is killed while the guest writes blocks at random places, syncing each before the next, no synced block
/// is missing or torn on the host.
///
/// Databases write this way, and the OOM killer can kill a VMM at any time. The places and contents follow from the
/// run's seed.
fn random_writes_survive_killing_the_vmm(pair: &mut Pair<'_>) -> Check {
    let seed = pair.effort.seed;
    pair.done("writing in the background", Action::KeepWriting { path: pair.in_guest(WRITTEN), seed })?;
    let synced = committed(pair, pair.effort.of(ROUNDS.0, ROUNDS.1))?;
    pair.guest.kill_vmm()?;
    is_there(pair, synced, "after the VMM was killed while the guest wrote")
}

/// Waits until the host finds all synced blocks, whole; a write that was not synced may still be in progress.
pub(super) fn is_there(pair: &Pair<'_>, synced: u64, what: &str) -> Check {
    let (path, seed) = (pair.on_host(WRITTEN), pair.effort.seed);
    until(pair.deadline, format_args!("{what}: expected {synced} synced blocks on the host"), || {
        let lost = missing(&path, seed, synced).doing("the host, reading what the guest wrote")?;
        Ok(lost.map_or(Ok(()), Err))
    })
}

/// Waits until this many blocks are synced, and returns how many are.
pub(super) fn committed(pair: &mut Pair<'_>, rounds: u64) -> Result<u64, Stop> {
    let deadline = pair.deadline * pair.effort.of(20, 200);
    let path = pair.in_guest(WRITTEN);
    until_synced(deadline, rounds, || pair.guest.act(Action::Synced { path: path.clone() }))
}

/// Waits until the guest reports that it has synced this many blocks. If it still makes progress at the deadline, it is
/// slow, and nobody is blamed; if it has stopped, it has failed.
fn until_synced(deadline: Duration, rounds: u64, mut ask: impl FnMut() -> Result<Reply, Stop>) -> Result<u64, Stop> {
    let began = Instant::now();
    let (mut most, mut grew) = (0, began);
    until(deadline, format_args!("expected the guest to sync {rounds} blocks"), || {
        let count = match ask()? {
            Reply::Count { count } => count,
            other => return Err(Stop::error(format!("asked the guest how much is synced, it replied {other:?}"))),
        };
        if count > most {
            (most, grew) = (count, Instant::now());
        }
        if count >= rounds {
            return Ok(Ok(count));
        }
        if began.elapsed() >= deadline && grew.elapsed() < deadline / 4 {
            let seen = format!("the guest has synced {count} of {rounds} blocks within {deadline:.1?}, and goes on");
            return Err(Stop::error(seen));
        }
        Ok(Err(format!("{count} blocks")))
    })
}

/// When the VMM is killed while the guest writes blocks to a file on its disk, syncing each before the next, no synced
/// block is missing or torn when another guest reads the disk.
///
/// A volume that Kata gives a guest as a disk (`virtio-blk`, block volumes and snapshotters) outlives guests that are
/// killed; the second guest's kernel replays the filesystem's journal as on a node. If a block is lost, QEMU or the
/// guest's kernel has acknowledged it too early. The agent mounts it in the guest (`handle_block_storage` in
/// src/agent/src/storage/block_handler.rs@4.1.0).
fn random_writes_to_a_disk_survive_killing_the_vmm(env: &dyn EnvironmentSide) -> Check {
    let effort = env.claims().effort;
    let (disk, seed) = (ext4_disk(env)?, effort.seed);
    let path = Bytes::from(WRITTEN);
    let mut first = env.boot_with_disk(&disk.0)?;
    act(first.as_mut(), Action::KeepWriting { path: path.clone(), seed })?;
    let rounds = effort.of(ROUNDS.0, ROUNDS.1);
    let deadline = Duration::from_secs(effort.of(100, 1_000));
    let synced = until_synced(deadline, rounds, || act(first.as_mut(), Action::Synced { path: path.clone() }))?;
    first.kill_vmm()?;
    drop(first);
    let mut second = env.boot_with_disk(&disk.0)?;
    match act(second.as_mut(), Action::Missing { path, seed, synced })? {
        Reply::Data { data } if data.0.is_empty() => Ok(()),
        Reply::Data { data } => Err(Stop::fail(format!(
            "on a disk whose VMM was killed while the guest wrote: {}",
            String::from_utf8_lossy(&data.0)
        ))),
        other => Err(Stop::error(format!("asked the second guest what is missing, it replied {other:?}"))),
    }
}

fn act(machine: &mut dyn Machine, action: Action) -> Result<Reply, Stop> {
    match machine.act(action)? {
        Reply::Refused { errno } => Err(Stop::fail(format!("the guest, at a file on its disk: {errno}"))),
        reply => Ok(reply),
    }
}

/// Creates a file with an empty ext4 filesystem.
fn ext4_disk(env: &dyn EnvironmentSide) -> Result<Scratch, Stop> {
    let disk = Scratch::new("disk");
    let made = File::create_new(&disk.0).and_then(|file| file.set_len(64 << 20));
    made.map_err(|e| Stop::error(format!("making a disk: {e}")))?;
    let path = disk.0.to_string_lossy();
    let output = env.run(&["mke2fs", "-q", "-F", "-t", "ext4", &path], Duration::from_secs(60))?;
    match output.ok() {
        true => Ok(disk),
        false => Err(Stop::error(format!("making a disk: mke2fs: {}", output.tail()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::message;

    /// Waits for a guest that has synced one more block at each question, up to `most`.
    fn synced(most: u64, rounds: u64) -> Result<u64, Stop> {
        let mut count = 0;
        until_synced(Duration::from_millis(200), rounds, || {
            count = most.min(count + 1);
            Ok(Reply::Count { count })
        })
    }

    #[test]
    fn a_slow_guest_is_an_error_and_a_stopped_one_a_failure() {
        assert_eq!(synced(3, 3), Ok(3));
        assert!(matches!(synced(u64::MAX, u64::MAX), Err(Stop::Error { .. })));
        let error = message(synced(2, 3).map(drop));
        assert!(error.contains("expected the guest to sync 3 blocks") && error.contains("2 blocks"), "{error}");
        assert!(matches!(synced(0, 1), Err(Stop::Fail { .. })));
    }
}
