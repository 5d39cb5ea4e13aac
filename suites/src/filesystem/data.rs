//! Bytes that come back as they were written.

use super::expect::{noise, refused, same_bytes};
use super::proves::{CACHES, FILES, FILES_NOT_ON_9P};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, SeekFrom, copy_file_range, fallocate, openat, seek};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const SOURCE: &str = include_str!("data.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(odd_sizes_round_trip), FILES).also_with(CACHES),
    row!(Guest(sparse_files_stay_sparse), FILES),
    row!(Guest(files_may_exceed_4_gib), FILES).finds("pwrite64:retval=10"),
    row!(Guest(truncation_cuts_and_extends_with_zeros), FILES).finds("/^ftruncate:retval=0").also_with(CACHES),
    row!(Guest(fallocate_reserves_and_punches), FILES_NOT_ON_9P).finds("fallocate:retval=0"),
    row!(Guest(direct_io_round_trips), FILES),
    row!(Guest(copy_file_range_copies_or_refuses_cleanly), FILES).finds("copy_file_range:retval=100"),
    row!(Guest(files_and_directories_can_be_synced), FILES).finds("/^fsync:error=EIO"),
];

fn open_both(path: &Path) -> Result<File, Stop> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).doing(format_args!("opening {} for reading and writing", path.display()))
}

/// Reads and writes of odd sizes around a page, a request of 128 KiB and 1 MiB return every byte, and a read beyond the
/// end is short.
///
/// A share splits large requests (FUSE by max_write, 9p by msize), and off-by-one errors occur at these boundaries.
fn odd_sizes_round_trip(site: &Site) -> Check {
    let edges = [1, 511, 4095, 4096, 4097, 131_071, 131_073, 1_048_575, 1_048_576, 1_048_577];
    let path = site.path("file");
    for (seed, size) in edges.into_iter().enumerate() {
        let contents = noise(seed as u64, size);
        fs::write(&path, &contents).doing(format_args!("writing {size} bytes"))?;
        let seen = fs::read(&path).doing(format_args!("reading {size} bytes"))?;
        same_bytes(&seen, &contents, format_args!("a file of {size} bytes"))?;
    }
    let mut expected = noise(99, 300_000);
    fs::write(&path, &expected).doing("writing 300000 bytes")?;
    let file = open_both(&path)?;
    for (seed, offset) in [0, 1, 4095, 8191, 65_537, 131_071, 299_000].into_iter().enumerate() {
        let patch = noise(1000 + seed as u64, 777);
        file.write_all_at(&patch, offset as u64).doing(format_args!("writing 777 bytes at {offset}"))?;
        expected[offset..offset + 777].copy_from_slice(&patch);
    }
    same_bytes(&fs::read(&path).doing("reading the patched file")?, &expected, "a file patched at odd offsets")?;
    let mut buffer = [0; 100];
    let short = file.read_at(&mut buffer, 299_990).doing("reading across the end")?;
    ensure!(short == 10, "reading 100 bytes 10 before the end: expected 10, saw {short}");
    let none = file.read_at(&mut buffer, 400_000).doing("reading past the end")?;
    ensure!(none == 0, "reading past the end: expected 0 bytes, saw {none}");
    Ok(())
}

/// A file with a hole of 64 MiB and one written block takes little space, and the hole reads as zeros; SEEK_HOLE finds
/// the hole if the filesystem supports it.
///
/// Disk images and databases in containers are sparse; a share that fills holes fills the host's disk.
fn sparse_files_stay_sparse(site: &Site) -> Check {
    let path = site.path("sparse");
    let file = open_both(&path)?;
    let end = 64 << 20;
    file.write_all_at(b"end", end).doing("writing behind 64 MiB of hole")?;
    file.sync_all().doing("fsync of the sparse file")?;
    let status = file.metadata().doing("fstat of the sparse file")?;
    ensure!(status.len() == end + 3, "expected {} bytes, saw {}", end + 3, status.len());
    ensure!(status.blocks() * 512 < 1 << 20, "expected less than 1 MiB allocated, saw {} KiB", status.blocks() / 2);
    let mut middle = vec![1; 10_000];
    file.read_exact_at(&mut middle, 12_345_678).doing("reading in the hole")?;
    ensure!(middle.iter().all(|byte| *byte == 0), "reading in the hole: expected zeros, saw other bytes");
    match seek(&file, SeekFrom::Data(0)) {
        // POSIX allows a filesystem without this knowledge to report everything as data.
        Ok(0) | Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
        Ok(at) => {
            ensure!(at <= end && at > end - (1 << 20), "SEEK_DATA: expected to land close before {end}, saw {at}")
        }
        Err(e) => {
            return Err(Stop::fail(format!("SEEK_DATA: expected a position or EINVAL, got {e}")));
        }
    }
    Ok(())
}

/// A file may be larger than 4 GiB: data written just below, across and beyond that offset is read back from there, and
/// not from the offset modulo 4 GiB.
///
/// Every field on the way (FUSE, 9p, the daemon) must be 64 bits wide; images and models in containers are larger than
/// 4 GiB.
fn files_may_exceed_4_gib(site: &Site) -> Check {
    let path = site.path("large");
    let file = open_both(&path)?;
    let edge: u64 = 4 << 30;
    let places = [0, (2 << 30) - 5, edge - 5, edge + 4096, edge * 2 + 1];
    for (seed, at) in places.into_iter().enumerate() {
        file.write_all_at(&noise(seed as u64, 10), at).doing(format_args!("writing at offset {at}"))?;
    }
    file.sync_all().doing("fsync of a file over 4 GiB")?;
    let size = fs::metadata(&path).doing("stat of a file over 4 GiB")?.len();
    ensure!(size == edge * 2 + 11, "expected {} bytes, saw {size}", edge * 2 + 11);
    let again = File::open(&path).doing("opening a file over 4 GiB again")?;
    for (seed, at) in places.into_iter().enumerate() {
        let mut seen = [0; 10];
        again.read_exact_at(&mut seen, at).doing(format_args!("reading at offset {at}"))?;
        same_bytes(&seen, &noise(seed as u64, 10), format_args!("the bytes at offset {at}"))?;
    }
    Ok(())
}

/// Truncating shortens a file; extending it again shows zeros, never the bytes that were removed; every descriptor
/// shows the right size at once.
///
/// POSIX's ftruncate demands this; otherwise a container reads data that it deleted, and SQLite finds a corrupt
/// journal.
fn truncation_cuts_and_extends_with_zeros(site: &Site) -> Check {
    let path = site.file("file", noise(5, 20_000))?;
    let (one, two) = (open_both(&path)?, open_both(&path)?);
    one.set_len(5_001).doing("truncating to 5001 bytes")?;
    let size = two.metadata().doing("fstat of the second descriptor")?.len();
    ensure!(size == 5_001, "a second descriptor after truncation: expected 5001 bytes, saw {size}");
    one.set_len(15_000).doing("extending to 15000 bytes")?;
    let mut expected = noise(5, 20_000);
    expected.truncate(5_001);
    expected.resize(15_000, 0);
    same_bytes(&fs::read(&path).doing("reading the file")?, &expected, "a file truncated and extended")?;
    rustix::fs::ftruncate(&one, 0).doing("truncating to 0")?;
    same_bytes(&fs::read(&path).doing("reading the empty file")?, b"", "a file truncated to 0")?;
    let reader = File::open(&path).doing("opening for reading")?;
    refused(reader.set_len(1), &[Errno::INVAL, Errno::BADF], "ftruncate through a read-only descriptor")
}

/// fallocate(2) extends a file with zeros and reserves its space, and punching a hole zeroes exactly the hole.
///
/// Databases and image tools reserve space this way. FUSE has had the request since Linux 3.5; Linux's 9p client has
/// none, so this is not tried on 9p.
fn fallocate_reserves_and_punches(site: &Site) -> Check {
    let path = site.file("file", noise(6, 16_384))?;
    let file = open_both(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).doing("fallocate of 1 MiB")?;
    let status = file.metadata().doing("fstat after fallocate")?;
    ensure!(status.len() == 1 << 20, "after fallocate: expected {} bytes, saw {}", 1 << 20, status.len());
    ensure!(
        status.blocks() * 512 >= 1 << 20,
        "after fallocate: expected 1 MiB allocated, saw {} KiB",
        status.blocks() / 2
    );
    fallocate(&file, FallocateFlags::KEEP_SIZE, 1 << 20, 1 << 20).doing("fallocate with KEEP_SIZE")?;
    let size = file.metadata().doing("fstat after KEEP_SIZE")?.len();
    ensure!(size == 1 << 20, "after fallocate with KEEP_SIZE: expected {} bytes, saw {size}", 1 << 20);
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, 4_096, 8_192).doing("punching a hole")?;
    let mut expected = noise(6, 16_384);
    expected[4_096..12_288].fill(0);
    expected.resize(1 << 20, 0);
    same_bytes(&fs::read(&path).doing("reading the file")?, &expected, "a file with a punched hole")
}

/// Ordinary reads return data written with O_DIRECT, and vice versa; a filesystem may refuse the flag with EINVAL when
/// a file is opened.
///
/// Databases request O_DIRECT and can handle a refusal, but not a cache that shows older bytes than the disk.
fn direct_io_round_trips(site: &Site) -> Check {
    let path = site.file("file", noise(7, 65_536))?;
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    let direct = match openat(CWD, &path, flags, Mode::empty()) {
        Err(Errno::INVAL) => return Ok(()),
        opened => File::from(opened.doing("opening with O_DIRECT")?),
    };
    // A page-aligned window of an ordinary buffer.
    let mut buffer = vec![0; 3 * 4096];
    let start = buffer.as_ptr().align_offset(4096);
    let window = &mut buffer[start..start + 8192];
    window.copy_from_slice(&noise(8, 8192));
    direct.write_all_at(window, 8192).doing("writing 8 KiB with O_DIRECT")?;
    let mut expected = noise(7, 65_536);
    expected[8192..16_384].copy_from_slice(&noise(8, 8192));
    same_bytes(&fs::read(&path).doing("reading through the cache")?, &expected, "ordinary reads after a direct write")?;
    open_both(&path)?.write_all_at(&noise(9, 4096), 8192).doing("writing through the cache")?;
    direct.read_exact_at(window, 8192).doing("reading 8 KiB with O_DIRECT")?;
    same_bytes(&window[..4096], &noise(9, 4096), "a direct read after an ordinary write")
}

/// copy_file_range(2) copies exactly the range, or leaves the target unchanged and refuses with an errno on which
/// programs fall back.
///
/// coreutils and Go use it for every copy in a container; Linux up to 5.6 corrupted it over FUSE with cached writes.
fn copy_file_range_copies_or_refuses_cleanly(site: &Site) -> Check {
    let from = open_both(&site.file("from", noise(10, 100_000))?)?;
    let to = open_both(&site.path("to"))?;
    let (mut source, mut target, end) = (1_000, 0, 91_000);
    while source < end {
        let remaining = (end - source) as usize;
        match copy_file_range(&from, Some(&mut source), &to, Some(&mut target), remaining) {
            Ok(0) => break,
            Ok(copied) => ensure!(
                source == 1_000 + target && copied as u64 <= target,
                "copy_file_range said it copied {copied} bytes: expected both offsets to advance by as many, saw {source} and {target}"
            ),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::INVAL) if target == 0 => {
                let size = to.metadata().doing("fstat of the target")?.len();
                ensure!(size == 0, "after a refused copy: expected an empty target, saw {size} bytes");
                return Ok(());
            }
            Err(e) => return Err(Stop::fail(format!("copying after {target} bytes: {e}"))),
        }
    }
    let seen = fs::read(site.path("to")).doing("reading the copy")?;
    same_bytes(&seen, &noise(10, 100_000)[1_000..91_000], "the copied range")
}

/// fsync(2), fdatasync(2), syncfs(2) and fsync of a directory succeed, and the data is unchanged.
///
/// Databases and package managers give up after EIO or EINVAL from fsync; FUSE has a separate request for directories
/// (FSYNCDIR).
fn files_and_directories_can_be_synced(site: &Site) -> Check {
    let path = site.file("file", "before;")?;
    let mut file = OpenOptions::new().append(true).open(&path).doing("opening the file")?;
    file.write_all(b"after;").doing("writing")?;
    file.sync_all().doing("fsync of a file")?;
    file.sync_data().doing("fdatasync of a file")?;
    rustix::fs::syncfs(&file).doing("syncfs")?;
    File::open(&site.dir).doing("opening the directory")?.sync_all().doing("fsync of a directory")?;
    same_bytes(&fs::read(&path).doing("reading the file")?, b"before;after;", "the synced file")
}
