//! Host and guest using the same file, or the same name.

use super::expect::{refused, same_bytes};
use super::proves::SHARED_FILES;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, Pair, Reply};
use crate::row::{Row, row};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

const SOURCE: &str = include_str!("two_sides.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Pair(host_and_guest_append_to_one_file), SHARED_FILES),
    row!(Pair(a_name_that_the_host_has_made_is_not_made_again), SHARED_FILES),
];

/// The number of records that each side appends.
const RECORDS: usize = 60;

/// Records that host and guest append to one file, first in turn and then at the same time, are all there, complete and
/// unique, and those of each side are in order.
///
/// Logs are written this way: by a pod, and on its node by tools that rotate and annotate them. The guest knows the
/// file's length only from its last lookup; if the guest chooses the offset of an append, it overwrites the host's
/// latest record.
fn host_and_guest_append_to_one_file(pair: &mut Pair<'_>) -> Check {
    pair.host_writes("log", b"")?;
    pair.guest_comes_to_read("log", b"", "an empty log")?;
    let mut log = OpenOptions::new().append(true).open(pair.on_host("log")).doing("the host, opening the log")?;
    for number in 0..RECORDS / 2 {
        append(&mut log, number)?;
        guest_appends(pair, number)?;
    }
    let ends = AtomicBool::new(false);
    let (by_host, by_guest) = std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            let mut number = RECORDS / 2;
            while !ends.load(Ordering::Relaxed) || number < RECORDS {
                append(&mut log, number)?;
                number += 1;
                // Limit the number of records, so that the guest can still read them all.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Ok(number)
        });
        let guest = (RECORDS / 2..RECORDS).try_for_each(|number| guest_appends(pair, number));
        ends.store(true, Ordering::Relaxed);
        (host.join().unwrap_or_else(|_| Err(Stop::error("the host's writer panicked"))), guest)
    });
    by_guest?;
    let by_host = by_host?;
    let seen = fs::read(pair.on_host("log")).doing("the host, reading the log")?;
    each_in_order(&seen, by_host)?;
    pair.guest_comes_to_read("log", &seen, "what host and guest have appended")
}

/// Returns a record, `host 7`, padded to a length that does not occur by accident.
fn record(side: &str, number: usize) -> String {
    format!("{side} {number} {}\n", "-".repeat(20 + number % 7))
}

fn append(log: &mut File, number: usize) -> Check {
    log.write_all(record("host", number).as_bytes()).doing("the host, appending")
}

fn guest_appends(pair: &mut Pair<'_>, number: usize) -> Check {
    let data = Bytes(record("guest", number).into_bytes());
    let append = Action::Write { path: pair.in_guest("log"), data, append: true, sync: false };
    pair.done("appending", append).map(drop)
}

fn each_in_order(log: &[u8], by_host: usize) -> Check {
    let text = String::from_utf8_lossy(log);
    for (side, count) in [("host", by_host), ("guest", RECORDS)] {
        let of_it = text.split_inclusive('\n').filter(|line| line.starts_with(side));
        let seen: Vec<&str> = of_it.collect();
        let expected: Vec<String> = (0..count).map(|number| record(side, number)).collect();
        let differs = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
        ensure!(
            seen.len() == count && differs.is_none(),
            "the {side}'s appended records: expected {count} in order, saw {}, the first that differs is {:?}",
            seen.len(),
            differs.and_then(|at| seen.get(at))
        );
    }
    let others = text.lines().find(|line| !line.starts_with("host ") && !line.starts_with("guest "));
    ensure!(others.is_none(), "between the appended records: saw {others:?}");
    Ok(())
}

/// Creating a name with O_EXCL fails (EEXIST) on the side that comes second, even if the guest has just found the name
/// missing, and the contents that the first side wrote stay.
///
/// Lock files and leases on a volume that several pods share are made this way: POSIX open demands that test and
/// creation are one step, and the guest's cached knowledge of a missing name must not replace the test.
fn a_name_that_the_host_has_made_is_not_made_again(pair: &mut Pair<'_>) -> Check {
    for round in 0..20 {
        let (hosts, guests) = (format!("host-{round}"), format!("guest-{round}"));
        for name in [&hosts, &guests] {
            let before = pair.guest_stats(name)?;
            ensure!(before == Err("ENOENT".to_owned()), "before {name} is made: expected ENOENT, saw {before:?}");
        }
        pair.host_writes(&hosts, b"the host's")?;
        let data = Bytes(b"the guest's".to_vec());
        match pair.guest.act(Action::CreateNew { path: pair.in_guest(&hosts), data: data.clone() })? {
            Reply::Refused { errno } if errno == "EEXIST" => {}
            other => {
                return Err(Stop::fail(format!(
                    "the guest, creating with O_EXCL what the host has just made: expected EEXIST, saw {other:?}"
                )));
            }
        }
        let seen = fs::read(pair.on_host(&hosts)).doing("the host, reading what it has made")?;
        same_bytes(&seen, b"the host's", "a file of the host's that the guest wanted to create")?;
        pair.done("creating with O_EXCL", Action::CreateNew { path: pair.in_guest(&guests), data })?;
        let again = OpenOptions::new().write(true).create_new(true).open(pair.on_host(&guests));
        refused(again, &[Errno::EXIST], "the host, creating with O_EXCL what the guest has just made")?;
    }
    Ok(())
}
