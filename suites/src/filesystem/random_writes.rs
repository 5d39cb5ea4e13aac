//! Blocks written at random places, each synced before the next, and the check of the synced blocks after the writing
//! has ended at any point.
//!
//! Round N, counted from 1, writes a block whose place and content follow from the seed and N, and which contains N. A
//! reader of the file can therefore tell for each block which round wrote it, and whether a later one was lost.

use super::expect::noise;
use model::sync::locked;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes of a block.
const BLOCK: usize = 4096;
/// Blocks of a file.
const BLOCKS: u64 = 64;

/// A file that is being written.
#[derive(Default)]
struct Writer {
    /// The number of synced rounds.
    synced: AtomicU64,
    /// Whether the writer is asked to end.
    ends: AtomicBool,
    /// Whether the writer has ended.
    ended: AtomicBool,
}

/// The files that are being written.
static WRITERS: Mutex<BTreeMap<PathBuf, Arc<Writer>>> = Mutex::new(BTreeMap::new());

/// Creates a file and keeps writing to it in the background, until a write or sync fails.
pub(super) fn start(path: &Path, seed: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.set_len(BLOCKS * BLOCK as u64)?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    let writer = Arc::new(Writer::default());
    locked(&WRITERS).insert(path.to_owned(), Arc::clone(&writer));
    std::thread::spawn(move || {
        for round in 1.. {
            let written = file.write_all_at(&content(seed, round), place(seed, round) * BLOCK as u64);
            if writer.ends.load(Ordering::Relaxed) || written.and_then(|()| file.sync_data()).is_err() {
                break;
            }
            writer.synced.store(round, Ordering::Release);
        }
        writer.ended.store(true, Ordering::Release);
    });
    Ok(())
}

/// Returns the number of synced rounds of a file.
pub(super) fn synced(path: &Path) -> io::Result<u64> {
    let writers = locked(&WRITERS);
    let writer = writers.get(path).ok_or_else(|| io::Error::other("this file is not being written"))?;
    Ok(writer.synced.load(Ordering::Acquire))
}

/// Describes the first synced block that is missing after this many synced rounds; `None` if none is.
pub(super) fn missing(path: &Path, seed: u64, synced: u64) -> io::Result<Option<String>> {
    let bytes = fs::read(path)?;
    let length = BLOCKS * BLOCK as u64;
    if bytes.len() as u64 != length {
        return Ok(Some(format!("it has {} bytes of {length}", bytes.len())));
    }
    let mut due = vec![0; BLOCKS as usize];
    for round in 1..=synced {
        due[place(seed, round) as usize] = round;
    }
    let mut blocks = bytes.chunks_exact(BLOCK).zip(due).enumerate();
    Ok(blocks.find_map(|(at, (block, due))| wrong(block, at as u64, due, seed)))
}

/// Describes what is wrong with a block that this round, or a later one, wrote and synced.
fn wrong(block: &[u8], at: u64, due: u64, seed: u64) -> Option<String> {
    let round = u64::from_le_bytes(block[..8].try_into().unwrap_or_default());
    let whole = match round {
        0 => block.iter().all(|byte| *byte == 0),
        round => place(seed, round) == at && content(seed, round) == block,
    };
    match whole {
        false => Some(format!("block {at} is no whole block of any round; round {due} was synced")),
        true if round < due => Some(format!("block {at} is of round {round}, while round {due} was synced")),
        true => None,
    }
}

fn content(seed: u64, round: u64) -> Vec<u8> {
    let mut block = noise(mixed(seed, round), BLOCK);
    block[..8].copy_from_slice(&round.to_le_bytes());
    block
}

fn place(seed: u64, round: u64) -> u64 {
    mixed(seed, round) % BLOCKS
}

/// Returns a hash of both numbers; all bits differ from those of neighbouring inputs (the last steps of SplitMix64).
fn mixed(seed: u64, round: u64) -> u64 {
    let mut z = seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Ends the writing of a file, as the end of a guest does; a test's guest is this process and cannot be killed.
#[cfg(test)]
pub(super) fn end(path: &Path) {
    let Some(writer) = locked(&WRITERS).get(path).cloned() else { return };
    writer.ends.store(true, Ordering::Relaxed);
    while !writer.ended.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a file's contents after this many rounds.
    fn after(rounds: u64, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK * BLOCKS as usize];
        for round in 1..=rounds {
            let at = place(seed, round) as usize * BLOCK;
            bytes[at..at + BLOCK].copy_from_slice(&content(seed, round));
        }
        bytes
    }

    fn missing_of(bytes: &[u8], seed: u64, synced: u64) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        missing(file.path(), seed, synced).unwrap()
    }

    #[test]
    fn synced_rounds_must_be_on_disk_and_later_ones_may_be() {
        assert_eq!(missing_of(&after(0, 7), 7, 0), None);
        assert_eq!(missing_of(&after(500, 7), 7, 500), None);
        assert_eq!(missing_of(&after(501, 7), 7, 500), None, "a round that was not acknowledged may have been done");
        let lost = missing_of(&after(499, 7), 7, 500).unwrap();
        assert!(lost.contains("while round 500 was synced"), "{lost}");
        assert!(missing_of(&after(500, 8), 7, 500).unwrap().contains("no whole block"), "another seed's");
        let mut torn = after(500, 7);
        let at = place(7, 500) as usize * BLOCK + BLOCK / 2;
        torn[at..at + 512].fill(0);
        assert!(missing_of(&torn, 7, 500).unwrap().contains("no whole block"));
        assert!(missing_of(&torn[..100], 7, 500).unwrap().contains("100 bytes of 262144"));
    }

    #[test]
    fn a_thousand_rounds_write_every_block() {
        let seen: std::collections::BTreeSet<u64> = (1..=1000).map(|round| place(3, round)).collect();
        assert_eq!(seen.len() as u64, BLOCKS);
    }
}
