//! Watching files: inotify for the guest's own changes, polling for the host's.

use super::expect::until;
use super::proves::{FILES, SHARED_FILES};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, FileKind, Pair, Reply, Site};
use crate::row::{Row, row};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, symlink};

const SOURCE: &str = include_str!("watching.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(own_changes_are_notified), FILES).finds("inotify_add_watch:retval=1"),
    row!(Pair(guest_that_looks_again_sees_an_updated_configmap), SHARED_FILES),
];

/// inotify reports everything that a process of the guest creates, writes, renames and removes in a watched directory,
/// in that order.
///
/// Kata promises no events for the host's changes (docs/design/inotify.md@4.1.0); programs of one pod that watch each
/// other's files get events from the guest's own kernel, on a share as on a disk.
fn own_changes_are_notified(site: &Site) -> Check {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).doing("making an inotify descriptor")?;
    let watched_events = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVE | WatchFlags::DELETE;
    inotify::add_watch(&watch, &site.dir, watched_events).doing("watching the directory")?;
    fs::write(site.path("one"), "written").doing("writing a file")?;
    fs::rename(site.path("one"), site.path("two")).doing("renaming it")?;
    fs::remove_file(site.path("two")).doing("removing it")?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut seen = Vec::new();
    while let Ok(event) = events.next() {
        let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kinds = [
            (ReadFlags::CREATE, "create"),
            (ReadFlags::MODIFY, "modify"),
            (ReadFlags::MOVED_FROM, "moved-from"),
            (ReadFlags::MOVED_TO, "moved-to"),
            (ReadFlags::DELETE, "delete"),
        ];
        let what = kinds.iter().find(|(flag, _)| event.events().contains(*flag)).map_or("other", |(_, word)| word);
        seen.push(format!("{what} {name}"));
    }
    let expected = ["create one", "modify one", "moved-from one", "moved-to two", "delete two"];
    ensure!(seen == expected, "expected the events {expected:?}, saw {seen:?}");
    Ok(())
}

/// The contents of a directory tree: kind, modification time, and the target of a symlink.
type Scan = BTreeMap<String, (FileKind, i64, String)>;

/// A guest that polls a ConfigMap finds each update by the deadline: new keys, removed ones, changed contents, and a
/// later time on everything that was swapped.
///
/// Kata's agent polls ConfigMaps and Secrets every two seconds in this way (`scan` in src/agent/src/watcher.rs@4.1.0):
/// it copies entries that are new or have a later time, and drops those that are gone. kubelet writes a new directory,
/// swaps the symlink `..data` to it by rename, and removes the old one.
fn guest_that_looks_again_sees_an_updated_configmap(pair: &mut Pair<'_>) -> Check {
    publish(pair, "..first", &[("changed", "before"), ("removed", "soon")], None)?;
    let before = until(pair.deadline, "expected the guest to find the first version", || {
        let scan = scan(pair)?;
        Ok(if scan.contains_key("changed") && scan.contains_key("..first/removed") {
            Ok(scan)
        } else {
            Err(names(&scan))
        })
    })?;
    let earlier = before.get("..data").map_or(0, |(_, modified, _)| *modified);
    publish(pair, "..second", &[("changed", "after"), ("added", "new")], Some(earlier))?;
    fs::remove_file(pair.on_host("removed")).doing("the host, removing a key")?;
    fs::remove_dir_all(pair.on_host("..first")).doing("the host, removing the old version")?;
    let expected = "..data, ..second, ..second/added, ..second/changed, added, changed";
    let after = until(pair.deadline, format_args!("expected the guest to find {expected}"), || {
        let scan = scan(pair)?;
        let swapped = scan.get("..data").is_some_and(|(_, _, to)| to == "..second");
        Ok(if names(&scan) == expected && swapped {
            Ok(scan)
        } else {
            Err(format!("{}, ..data: {:?}", names(&scan), scan.get("..data")))
        })
    })?;
    let later = after.get("..data").map_or(0, |(_, modified, _)| *modified);
    ensure!(
        later > earlier,
        "..data was swapped: expected a later time than {earlier} ns in the guest, saw {later} ns, which Kata's agent takes for no change"
    );
    for (key, contents) in [("changed", "after"), ("added", "new")] {
        pair.guest_comes_to_read(key, contents.as_bytes(), &format!("the key {key} after the update"))?;
    }
    Ok(())
}

/// Publishes a version of a ConfigMap as kubelet does; `..data` gets a later time than before.
fn publish(pair: &Pair<'_>, version: &str, keys: &[(&str, &str)], earlier: Option<i64>) -> Check {
    let failed = |what: &str| format!("the host, {what}");
    fs::create_dir(pair.on_host(version)).doing(failed("making a version"))?;
    for (key, contents) in keys {
        pair.host_writes(&format!("{version}/{key}"), contents.as_bytes())?;
    }
    let new = pair.on_host("..data_tmp");
    loop {
        symlink(version, &new).doing(failed("making ..data_tmp"))?;
        let status = fs::symlink_metadata(&new).doing(failed("looking at ..data_tmp"))?;
        let modified = status.mtime().saturating_mul(1_000_000_000).saturating_add(status.mtime_nsec());
        // The clock that stamps files has coarse ticks.
        if earlier.is_none_or(|earlier| modified > earlier) {
            break;
        }
        fs::remove_file(&new).doing(failed("removing ..data_tmp"))?;
    }
    fs::rename(&new, pair.on_host("..data")).doing(failed("swapping ..data"))?;
    for (key, _) in keys {
        let visible = pair.on_host(key);
        if fs::symlink_metadata(&visible).is_err() {
            symlink(format!("..data/{key}"), visible).doing(failed("making a key visible"))?;
        }
    }
    Ok(())
}

fn names(scan: &Scan) -> String {
    scan.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Returns everything that the guest finds below the test's directory; entries that disappear meanwhile are left out.
fn scan(pair: &mut Pair<'_>) -> Result<Scan, Stop> {
    let mut found = Scan::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let Reply::Names { names } = pair.guest.act(Action::List { path: pair.in_guest(&folder) })? else { continue };
        for name in names {
            let name = name.to_path().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let Ok(status) = pair.guest_stats(&path)? else { continue };
            let target = match status.kind {
                FileKind::Symlink => pair.guest.act(Action::ReadLink { path: pair.in_guest(&path) })?,
                _ => Reply::Done,
            };
            let target = match target {
                Reply::Data { data: Bytes(target) } => String::from_utf8_lossy(&target).into_owned(),
                _ => String::new(),
            };
            if status.kind == FileKind::Directory {
                folders.push(path.clone());
            }
            found.insert(path, (status.kind, status.modified, target));
        }
    }
    Ok(found)
}
