//! Promises of the non-default values of Kata's `virtio_fs_cache`.

use super::expect::same_bytes;
use super::proves::CACHE;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Pair;
use crate::row::{Row, row};
use model::profile::DaemonSetting;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

const SOURCE: &str = include_str!("caches.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Pair(contents_that_the_host_changes_are_never_old), CACHE)
        .only_with(&[DaemonSetting::CacheNever, DaemonSetting::CacheMetadata]),
    row!(Pair(names_that_the_host_changes_are_never_old), CACHE).only_with(&[DaemonSetting::CacheNever]),
];

/// The guest reads contents that the host overwrites in place, with the length unchanged, at its next look, without a
/// delay.
///
/// With `never` and with `metadata` virtiofsd makes the guest bypass its page cache; databases that host and guest
/// share are set up this way. Kata's documented values: `valid` in src/runtime/virtcontainers/virtiofsd.go@4.1.0, and
/// src/libs/kata-types/src/config/hypervisor/mod.rs@4.1.0.
fn contents_that_the_host_changes_are_never_old(pair: &mut Pair<'_>) -> Check {
    pair.host_writes("file", &[b'-'; 10_000])?;
    let file = OpenOptions::new().write(true).open(pair.on_host("file")).doing("the host, opening the file")?;
    for round in 0..20_u8 {
        let version = vec![b'a' + round; 10_000];
        file.write_all_at(&version, 0).doing("the host, overwriting")?;
        let seen = pair.guest_reads("file")?;
        let seen = seen.map_err(|errno| Stop::fail(format!("the guest, reading the overwritten file: {errno}")))?;
        same_bytes(&seen, &version, "what the guest reads at once of a file that the host has overwritten")?;
    }
    Ok(())
}

/// The guest sees names that the host makes, renames and removes, and lengths and modes that the host changes, at its
/// next look, without a delay.
///
/// With `never`, the default if Kata's configuration has no value (`DEFAULT_VIRTIO_FS_CACHE_MODE` in
/// src/libs/kata-types/src/config/default.rs@4.1.0), names and attributes are not cached at all.
fn names_that_the_host_changes_are_never_old(pair: &mut Pair<'_>) -> Check {
    for round in 0..20_usize {
        let before = pair.guest_stats("name")?;
        ensure!(before == Err("ENOENT".to_owned()), "before the host made it: expected ENOENT, saw {before:?}");
        pair.host_writes("name", &vec![b'x'; round])?;
        let made = pair.guest_stats("name")?.map(|status| status.size);
        ensure!(made == Ok(round as u64), "at once after the host made it: expected {round} bytes, saw {made:?}");
        pair.host_writes("name", &vec![b'x'; round + 100])?;
        let grown = pair.guest_stats("name")?.map(|status| status.size);
        ensure!(
            grown == Ok(round as u64 + 100),
            "at once after the host wrote more: expected {}, saw {grown:?}",
            round + 100
        );
        fs::rename(pair.on_host("name"), pair.on_host("other")).doing("the host, renaming")?;
        let (old, new) = (pair.guest_stats("name")?, pair.guest_stats("other")?);
        ensure!(
            old == Err("ENOENT".to_owned()),
            "the old name at once after the host renamed it: expected ENOENT, saw {old:?}"
        );
        ensure!(new.is_ok(), "the new name at once after the host renamed it: expected it there, saw {new:?}");
        fs::remove_file(pair.on_host("other")).doing("the host, removing")?;
        let removed = pair.guest_stats("other")?;
        ensure!(
            removed == Err("ENOENT".to_owned()),
            "at once after the host removed it: expected ENOENT, saw {removed:?}"
        );
    }
    Ok(())
}
