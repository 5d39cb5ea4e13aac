//! Host resources that a file costs once the guest knows it.

use super::proves::HANDLES;
use crate::check::{Check, Doing, Stop};
use crate::environment::Pair;
use crate::outcome::{FailureDetail, Grounds};
use crate::row::{Row, row};
use crate::test::Need;

const SOURCE: &str = include_str!("descriptors.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Pair(files_that_the_guest_knows_hold_no_descriptors), HANDLES).needs(&[Need::FileHandles])];

/// After the guest has looked at 200 files, virtiofsd does not keep a descriptor open for each of them, and the guest
/// can still read every one.
///
/// The daemon refers to files by file handles, `--inode-file-handles=prefer`, which is virtiofsd's default from 1.14
/// on; Kata passes nothing, so the default decides. Without handles each file that a pod's kernel remembers is a
/// descriptor on the node, and a tree of a million files reaches the limit of open files (EMFILE for the pod). A daemon
/// whose default is `never`, like 1.13's, and the one written in C fail this test for that reason, and no other test.
fn files_that_the_guest_knows_hold_no_descriptors(pair: &mut Pair<'_>) -> Check {
    let names: Vec<String> = (0..FILES).map(|number| format!("known-{number}")).collect();
    for name in &names {
        std::fs::write(pair.on_host(name), name).doing("the host, writing a file")?;
    }
    let before = pair.guest.daemon_descriptors()?;
    for name in &names {
        let looked = pair.guest_stats(name)?;
        looked.map_err(|errno| Stop::fail(format!("the guest, looking at {name}: {errno}")))?;
    }
    let after = pair.guest.daemon_descriptors()?;
    for name in &names {
        let seen = pair.guest_reads(name)?;
        let seen = seen.map_err(|errno| Stop::fail(format!("the guest, reading {name} that it knows: {errno}")))?;
        super::expect::same_bytes(&seen, name.as_bytes(), "a file that the guest knows")?;
    }
    let grown = after.saturating_sub(before);
    if grown < FILES / 4 {
        return Ok(());
    }
    // This is a measurement: the host's kernel counted the descriptors of a process outside the guest, and the guest
    // has read all files since.
    let seen = format!(
        "the guest looked at {FILES} files, and virtiofsd has {grown} descriptors more than before ({before}, then \
         {after}): it keeps one for each instead of a file handle"
    );
    Err(Stop::fail(seen).resting_on(Grounds::Measured).showing(FailureDetail::NoFileHandles))
}

const FILES: usize = 200;
