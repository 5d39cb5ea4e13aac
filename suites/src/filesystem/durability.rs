//! What outlives the guest.

use super::expect::noise;
use super::proves::SHARED_FILES;
use crate::check::Check;
use crate::ensure;
use crate::environment::{Action, Bytes, Pair};
use crate::row::{Row, row};

const SOURCE: &str = include_str!("durability.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Pair(fsync_survives_killing_the_vmm), SHARED_FILES).seconds(180),
    row!(Pair(synced_renames_survive_killing_the_vmm), SHARED_FILES).seconds(180),
];

/// What the guest wrote and fsynced is on the host, whole, though the VMM is killed right after fsync returned.
///
/// POSIX fsync; a pod's database commits on that promise, and the OOM killer takes VMMs without asking.
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

/// A new version that the guest wrote, fsynced, renamed into place and whose directory it fsynced is what the host finds after the VMM is killed, with nothing left of the old name.
///
/// This is how every careful program replaces a file; half of it would leave a pod without its state.
fn synced_renames_survive_killing_the_vmm(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("state", b"old state", true)?;
    pair.guest_writes("state.new", b"new state", true)?;
    pair.done("renaming", Action::Rename { from: pair.in_guest("state.new"), to: pair.in_guest("state") })?;
    let directory = Bytes::from(&pair.relative);
    pair.done("syncing the directory", Action::SyncDirectory { path: directory })?;
    pair.guest.kill_vmm()?;
    pair.host_comes_to_read("state", b"new state", "a synced rename after the VMM was killed")?;
    let left = std::fs::symlink_metadata(pair.on_host("state.new"));
    let gone = left.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    ensure!(gone, "the old name after a synced rename and a killed VMM: expected it gone from the host, saw {left:?}");
    Ok(())
}
