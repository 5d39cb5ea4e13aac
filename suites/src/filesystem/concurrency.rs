//! Several writers at once.

use super::expect::{noise, same_bytes};
use super::proves::{FILES, THREAD_POOL};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("concurrency.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(concurrent_writers_keep_to_their_ranges), FILES).finds("pwrite64:retval=3000").also_with(THREAD_POOL),
    row!(Guest(concurrent_appenders_lose_nothing), FILES).also_with(THREAD_POOL),
    row!(Guest(concurrent_makers_share_a_directory), FILES).also_with(THREAD_POOL),
];

const THREADS: usize = 4;

fn in_threads<T: Send>(body: impl Fn(usize) -> Result<T, Stop> + Sync) -> Result<Vec<T>, Stop> {
    std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (0..THREADS).map(|index| scope.spawn(move || body(index))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Stop::error("a writer panicked"))))
            .collect()
    })
}

/// Four threads, each with its own descriptor, write interleaved blocks of one file; in the end every block has the
/// bytes of its writer.
///
/// Databases and parallel downloads in a container do this; the guest's page cache must merge partial pages of several
/// writers without loss.
fn concurrent_writers_keep_to_their_ranges(site: &Site) -> Check {
    let (block, blocks) = (3_000, 40);
    let path = site.file("file", "")?;
    in_threads(|index| {
        let file = OpenOptions::new().write(true).open(&path).doing("opening the file")?;
        for number in (index..blocks).step_by(THREADS) {
            file.write_all_at(&noise(number as u64, block), (number * block) as u64)
                .doing(format_args!("writing block {number}"))?;
        }
        Ok(())
    })?;
    let seen = fs::read(&path).doing("reading the file")?;
    let expected: Vec<u8> = (0..blocks).flat_map(|number| noise(number as u64, block)).collect();
    same_bytes(&seen, &expected, "a file of four concurrent writers")
}

/// Records that four threads append with O_APPEND are all there, complete and unique, and those of each thread are in
/// order.
///
/// POSIX makes seeking and writing one step with O_APPEND; several processes of a pod write one log this way.
fn concurrent_appenders_lose_nothing(site: &Site) -> Check {
    let path = site.file("log", "")?;
    let counts = in_threads(|index| {
        let mut log = OpenOptions::new().append(true).open(&path).doing("opening with O_APPEND")?;
        let start = Instant::now();
        let mut count = 0_usize;
        while start.elapsed() < Duration::from_millis(500) && count < 2_000 || count < 10 {
            log.write_all(format!("{index}:{count}:{}\n", "x".repeat(40 + index)).as_bytes()).doing("appending")?;
            count += 1;
        }
        Ok(count)
    })?;
    let log = fs::read_to_string(&path).doing("reading the log")?;
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for (number, line) in log.lines().enumerate() {
        let fields: Vec<&str> = line.split(':').collect();
        let parsed = match fields[..] {
            [index, count, filling] => index
                .parse::<usize>()
                .ok()
                .zip(count.parse::<usize>().ok())
                .filter(|(index, _)| filling.len() == 40 + index),
            _ => None,
        };
        let Some((index, count)) = parsed else {
            return Err(Stop::fail(format!("line {number}: expected a whole record, saw {line:?}")));
        };
        let due = next.entry(index).or_default();
        ensure!(
            count == *due,
            "line {number}: expected record {due} of appender {index}, saw {count}: records are lost or swapped"
        );
        *due += 1;
    }
    for (index, count) in counts.into_iter().enumerate() {
        let seen = next.get(&index).copied().unwrap_or(0);
        ensure!(seen == count, "appender {index}: expected its {count} records, saw {seen}");
    }
    Ok(())
}

/// Four threads make, rename and remove files in one directory at the same time; in the end it contains exactly the
/// files that they left.
///
/// Parallel builds and package installations do this; a daemon that has its own table of inodes must keep it correct
/// under such load.
fn concurrent_makers_share_a_directory(site: &Site) -> Check {
    let counts = in_threads(|index| {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < Duration::from_millis(500) && count < 300 || count < 10 {
            let (new, kept) = (site.path(format!("{index}-{count}.new")), site.path(format!("{index}-{count}")));
            fs::write(&new, "x").doing("making a file")?;
            fs::rename(&new, &kept).doing("renaming a file")?;
            if count % 2 == 1 {
                fs::remove_file(&kept).doing("removing a file")?;
            }
            count += 1;
        }
        Ok(count)
    })?;
    let mut expected: Vec<String> = Vec::new();
    for (index, count) in counts.into_iter().enumerate() {
        expected.extend((0..count).step_by(2).map(|number| format!("{index}-{number}")));
    }
    expected.sort();
    let entries = fs::read_dir(&site.dir).doing("listing")?.filter_map(Result::ok);
    let mut seen: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    seen.sort();
    let differing =
        seen.iter().find(|name| !expected.contains(name)).or_else(|| expected.iter().find(|name| !seen.contains(name)));
    ensure!(
        differing.is_none(),
        "expected {} entries, saw {}; the first that differs is {differing:?}",
        expected.len(),
        seen.len()
    );
    Ok(())
}
