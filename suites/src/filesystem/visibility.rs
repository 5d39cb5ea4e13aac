//! Changes by one side that the other side sees.

use super::expect::{noise, same_bytes, until};
use super::pair::brief;
use super::proves::{CACHES_SANDBOX_AND_SOCKET, SHARED_FILES};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, FileKind, Pair, Reply};
use crate::row::{Row, row};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("visibility.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Pair(host_sees_what_the_guest_writes), SHARED_FILES).also_with(CACHES_SANDBOX_AND_SOCKET),
    row!(Pair(guest_sees_what_the_host_writes), SHARED_FILES),
    row!(Pair(host_sees_what_the_guest_renames_and_removes), SHARED_FILES),
    row!(Pair(guest_sees_what_the_host_renames_and_removes), SHARED_FILES),
    row!(Pair(guest_sees_a_file_that_the_host_replaces), SHARED_FILES),
    row!(Pair(guest_sees_a_swapped_symlink), SHARED_FILES),
    row!(Pair(guest_sees_what_the_host_appends_and_truncates), SHARED_FILES),
    row!(Pair(guest_keeps_an_open_file_that_the_host_removes), SHARED_FILES),
    row!(Pair(host_sees_the_modes_and_owners_of_the_guest), SHARED_FILES),
    row!(Pair(names_of_any_bytes_pass_both_ways), SHARED_FILES),
    row!(Pair(links_pass_both_ways), SHARED_FILES),
    row!(Pair(host_sees_mapped_writes_of_the_guest), SHARED_FILES),
    row!(Pair(host_reads_whole_versions_while_the_guest_renames), SHARED_FILES),
];

/// By the deadline the host reads exactly the bytes that the guest writes: few or a megabyte, in a new file or over old
/// contents.
///
/// This is what the share is for: logs, results and volumes of a pod are read on the node by kubelet and other pods.
/// Kata's own test is tests/integration/kubernetes/k8s-volume.bats@4.1.0.
fn host_sees_what_the_guest_writes(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("file", b"hello from the guest", false)?;
    pair.host_comes_to_read("file", b"hello from the guest", "a small file")?;
    pair.guest_writes("file", b"shorter", false)?;
    pair.host_comes_to_read("file", b"shorter", "the file overwritten")?;
    let append =
        Action::Write { path: pair.in_guest("file"), data: Bytes(b", longer".to_vec()), append: true, sync: false };
    pair.done("appending", append)?;
    pair.host_comes_to_read("file", b"shorter, longer", "the file appended to")?;
    let large = noise(1, 300_001);
    pair.guest_writes("large", &large, false)?;
    pair.host_comes_to_read("large", &large, "a file of 300001 bytes")?;
    pair.done("making a directory", Action::Mkdir { path: pair.in_guest("directory") })?;
    pair.guest_writes("directory/below", b"below", false)?;
    pair.host_comes_to_read("directory/below", b"below", "a file in a new directory")
}

/// By the deadline the guest reads exactly the bytes that the host writes, also under a name that the guest has just
/// found missing.
///
/// kubelet and containerd prepare root filesystems, secrets and volumes on the node after the guest has started; a
/// guest that remembers too long that a name is missing does not see them. Kata shares such a volume while the guest
/// runs (`ShareFile` in src/runtime/virtcontainers/fs_share_linux.go@4.1.0).
fn guest_sees_what_the_host_writes(pair: &mut Pair<'_>) -> Check {
    let before = pair.guest_stats("file")?;
    ensure!(before == Err("ENOENT".to_owned()), "before the host wrote: expected ENOENT in the guest, saw {before:?}");
    pair.host_writes("file", b"hello from the host")?;
    pair.guest_comes_to_read("file", b"hello from the host", "a file that the guest had found missing")?;
    let large = noise(2, 300_001);
    pair.host_writes("large", &large)?;
    pair.guest_comes_to_read("large", &large, "a file of 300001 bytes")?;
    fs::create_dir(pair.on_host("directory")).doing("the host, making a directory")?;
    pair.host_writes("directory/below", b"below")?;
    pair.guest_comes_to_read("directory/below", b"below", "a file in a new directory")?;
    until(pair.deadline, "expected the guest to list what the host made", || {
        let reply = pair.guest.act(Action::List { path: Bytes::from(&pair.relative) })?;
        let expected: Vec<Bytes> = ["directory", "file", "large"].iter().map(|name| Bytes::from(*name)).collect();
        Ok(match reply {
            Reply::Names { names } if names == expected => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
}

/// A rename and a removal by the guest happen on the host, also of directories: the new name has the contents, and the
/// old one is gone.
///
/// The guest's own name cache cannot detect a daemon that only pretends, so the test looks at the host's directory.
fn host_sees_what_the_guest_renames_and_removes(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("old", b"contents", false)?;
    pair.guest_writes("target", b"replaced", false)?;
    pair.host_comes_to_read("old", b"contents", "before the rename")?;
    pair.done("renaming", Action::Rename { from: pair.in_guest("old"), to: pair.in_guest("target") })?;
    pair.host_comes_to_miss("old", "after the guest renamed it")?;
    pair.host_comes_to_read("target", b"contents", "after the guest renamed over it")?;
    pair.done("removing a file", Action::Remove { path: pair.in_guest("target") })?;
    pair.host_comes_to_miss("target", "after the guest removed it")?;
    pair.done("making a directory", Action::Mkdir { path: pair.in_guest("directory") })?;
    let moved = Action::Rename { from: pair.in_guest("directory"), to: pair.in_guest("moved") };
    pair.done("renaming a directory", moved)?;
    pair.host_comes_to_miss("directory", "after the guest renamed the directory")?;
    ensure!(
        pair.on_host("moved").is_dir(),
        "after the guest renamed a directory: expected \"moved\" on the host, it is not there"
    );
    pair.done("removing a directory", Action::Remove { path: pair.in_guest("moved") })?;
    pair.host_comes_to_miss("moved", "after the guest removed the directory")
}

/// By the deadline a guest that has the names in its cache sees a rename and a removal by the host.
///
/// The guest caches names for some time (virtiofsd's cache=auto: a second); if it kept them for ever, the pod would not
/// see changes of volumes on the node.
fn guest_sees_what_the_host_renames_and_removes(pair: &mut Pair<'_>) -> Check {
    pair.host_writes("old", b"contents")?;
    pair.guest_comes_to_read("old", b"contents", "before the rename")?;
    let before = pair.guest_stats("old")?;
    ensure!(before.is_ok(), "before the rename: expected the guest to find old, saw {before:?}");
    fs::rename(pair.on_host("old"), pair.on_host("new")).doing("the host, renaming")?;
    pair.guest_comes_to_miss("old", "after the host renamed it")?;
    pair.guest_comes_to_read("new", b"contents", "after the host renamed it")?;
    fs::remove_file(pair.on_host("new")).doing("the host, removing")?;
    pair.guest_comes_to_miss("new", "after the host removed it")
}

/// When the host renames a new file over one that the guest has read, the guest eventually reads the new contents, also
/// of the same length, and never a mix.
///
/// Configuration on the node is replaced this way; the guest's page cache belongs to the old inode, and a daemon that
/// kept its handles by name would serve the old contents for ever.
fn guest_sees_a_file_that_the_host_replaces(pair: &mut Pair<'_>) -> Check {
    let (old, new) = (vec![b'o'; 10_000], vec![b'n'; 10_000]);
    pair.host_writes("file", &old)?;
    pair.guest_comes_to_read("file", &old, "the first version")?;
    pair.host_writes("next", &new)?;
    fs::rename(pair.on_host("next"), pair.on_host("file")).doing("the host, renaming over the file")?;
    until(pair.deadline, "expected the guest to read the new version", || {
        Ok(match pair.guest_reads("file")? {
            Ok(seen) if seen == new => Ok(()),
            Ok(seen) if seen == old => Err("the old version".to_owned()),
            Ok(seen) => {
                return Err(Stop::fail(format!("expected one version or the other, the guest read {}", brief(&seen))));
            }
            Err(errno) => {
                return Err(Stop::fail(format!("expected one version or the other, the guest got {errno}")));
            }
        })
    })
}

/// When the host swaps a symlink to a directory for another by rename, the guest eventually reads through the new one.
///
/// kubelet updates ConfigMaps and Secrets this way (`..data`), and Kata shares them with the pod. Kata's own tests are
/// tests/integration/kubernetes/k8s-configmap.bats@4.1.0 and
/// tests/integration/kubernetes/k8s-credentials-secrets.bats@4.1.0.
fn guest_sees_a_swapped_symlink(pair: &mut Pair<'_>) -> Check {
    for version in ["one", "two"] {
        fs::create_dir(pair.on_host(version)).doing("the host, making a version")?;
        pair.host_writes(&format!("{version}/key"), version.as_bytes())?;
    }
    symlink("one", pair.on_host("..data")).doing("the host, making ..data")?;
    symlink("..data/key", pair.on_host("key")).doing("the host, making key")?;
    pair.guest_comes_to_read("key", b"one", "the first version")?;
    symlink("two", pair.on_host("..data_tmp")).doing("the host, making ..data_tmp")?;
    fs::rename(pair.on_host("..data_tmp"), pair.on_host("..data")).doing("the host, swapping ..data")?;
    pair.guest_comes_to_read("key", b"two", "after the swap")
}

/// When the host appends to or truncates a file that the guest has read, the guest eventually sees the new size and
/// contents.
///
/// Logs grow and are truncated on the node; with cache=auto the guest drops its pages if a file has changed when it is
/// opened (FUSE_AUTO_INVAL_DATA).
fn guest_sees_what_the_host_appends_and_truncates(pair: &mut Pair<'_>) -> Check {
    pair.host_writes("log", b"first;")?;
    pair.guest_comes_to_read("log", b"first;", "before the append")?;
    let mut log = OpenOptions::new().append(true).open(pair.on_host("log")).doing("the host, opening the log")?;
    log.write_all(b"second;").doing("the host, appending")?;
    pair.guest_comes_to_read("log", b"first;second;", "after the host appended")?;
    log.set_len(3).doing("the host, truncating")?;
    pair.guest_comes_to_read("log", b"fir", "after the host truncated")?;
    log.set_len(0).doing("the host, emptying")?;
    log.write_all(b"again").doing("the host, writing again")?;
    pair.guest_comes_to_read("log", b"again", "after the host emptied and wrote again")
}

/// A file that the guest has open stays readable and writable after the host has removed its name.
///
/// Logs are rotated and images removed on the node while a pod has them open; a daemon that reopened files by name
/// would fail with ENOENT or ESTALE.
fn guest_keeps_an_open_file_that_the_host_removes(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("file", b"before", false)?;
    pair.host_comes_to_read("file", b"before", "before the removal")?;
    let handle = format!("{}/file", pair.relative.display());
    pair.done("opening the file", Action::Hold { path: pair.in_guest("file"), handle: handle.clone() })?;
    fs::remove_file(pair.on_host("file")).doing("the host, removing the file")?;
    let used = (|| {
        let append = Action::AppendHeld { handle: handle.clone(), data: Bytes(b" and after".to_vec()) };
        pair.done("writing to the removed file", append)?;
        match pair.done("reading the removed file", Action::ReadHeld { handle: handle.clone() })? {
            Reply::Data { data } => same_bytes(&data.0, b"before and after", "the removed file in the guest"),
            other => Err(Stop::error(format!("asked the guest to read a held file, it replied {other:?}"))),
        }
    })();
    pair.done("closing the file", Action::Release { handle })?;
    used
}

/// The host's file has the mode bits and owners that the guest sets, and the guest sees those that the host sets.
///
/// Kata does not map ids: kubelet's fsGroup and a container's own chown must mean the same on both sides.
fn host_sees_the_modes_and_owners_of_the_guest(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("file", b"x", false)?;
    pair.done("chown", Action::Chown { path: pair.in_guest("file"), uid: 1234, gid: 4321 })?;
    pair.done("chmod", Action::Chmod { path: pair.in_guest("file"), mode: 0o4751 })?;
    let path = pair.on_host("file");
    until(pair.deadline, "expected mode 4751 and owner 1234:4321 on the host", || {
        let status = fs::metadata(&path).doing("the host, stat")?;
        let seen = (status.mode() & 0o7777, status.uid(), status.gid());
        Ok(if seen == (0o4751, 1234, 4321) {
            Ok(())
        } else {
            Err(format!("mode {:04o}, owner {}:{}", seen.0, seen.1, seen.2))
        })
    })?;
    std::os::unix::fs::chown(&path, Some(77), Some(88)).doing("the host, chown")?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).doing("the host, chmod")?;
    until(pair.deadline, "expected mode 0640 and owner 77:88 in the guest", || {
        Ok(match pair.guest_stats("file")? {
            Ok(status) if (status.mode, status.uid, status.gid) == (0o640, 77, 88) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
}

/// Names that are not UTF-8, have newlines, or are 255 bytes long are the same bytes on both sides.
///
/// Neither the daemon nor a 9p server may translate names: the host's tools must find the guest's files.
fn names_of_any_bytes_pass_both_ways(pair: &mut Pair<'_>) -> Check {
    let long = "l".repeat(255);
    let names: [&[u8]; 3] = [b"caf\xe9\xff", b"new\nline %41 \\x", long.as_bytes()];
    for (index, name) in names.iter().enumerate() {
        let shown = name.escape_ascii().to_string();
        let path = pair.in_guest(OsStr::from_bytes(name));
        let write = Action::Write { path: path.clone(), data: Bytes(name.to_vec()), append: false, sync: false };
        pair.done(&format!("writing \"{shown}\""), write)?;
        let host = pair.on_host(OsStr::from_bytes(name));
        until(pair.deadline, format_args!("expected \"{shown}\" on the host"), || {
            Ok(fs::read(&host)
                .map_err(|e| e.to_string())
                .and_then(|seen| if seen == *name { Ok(()) } else { Err(brief(&seen)) }))
        })?;
        let from_host = [format!("host-{index}-").as_bytes(), &name[..name.len().min(200)]].concat();
        fs::write(pair.on_host(OsStr::from_bytes(&from_host)), &from_host).doing("the host, writing the name")?;
    }
    let mut expected: Vec<Bytes> = Vec::new();
    for entry in fs::read_dir(&pair.host).doing("the host, listing")? {
        expected.push(Bytes(entry.doing("the host, listing")?.file_name().into_vec()));
    }
    expected.sort();
    ensure!(expected.len() == 6, "expected 6 names on the host, saw {expected:?}");
    until(pair.deadline, format_args!("expected the guest to list {expected:?}"), || {
        Ok(match pair.guest.act(Action::List { path: Bytes::from(&pair.relative) })? {
            Reply::Names { names } if names == expected => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
}

/// On both sides, a symlink is a symlink with the same target, and a hard link is one file with two names.
///
/// Image layers that are prepared on the node have many of both; 9p with mapped security stored symlinks as ordinary
/// files.
fn links_pass_both_ways(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("file", b"x", false)?;
    let target = Bytes::from("../some/where");
    pair.done("making a symlink", Action::Symlink { target: target.clone(), path: pair.in_guest("by-guest") })?;
    pair.done("linking", Action::Link { from: pair.in_guest("file"), to: pair.in_guest("second") })?;
    let link = pair.on_host("by-guest");
    until(pair.deadline, "expected a symlink to ../some/where on the host", || {
        Ok(match fs::read_link(&link) {
            Ok(seen) if seen == target.to_path() => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })?;
    let (one, two) = (fs::metadata(pair.on_host("file")), fs::metadata(pair.on_host("second")));
    let (one, two) = (one.doing("the host, stat of file")?, two.doing("the host, stat of second")?);
    ensure!(
        one.ino() == two.ino() && one.nlink() == 2,
        "expected one inode with 2 names on the host, saw {} and {} with {}",
        one.ino(),
        two.ino(),
        one.nlink()
    );
    symlink("/absolute", pair.on_host("by-host")).doing("the host, making a symlink")?;
    fs::hard_link(pair.on_host("file"), pair.on_host("third")).doing("the host, linking")?;
    until(pair.deadline, "expected a symlink to /absolute in the guest", || {
        Ok(match pair.guest.act(Action::ReadLink { path: pair.in_guest("by-host") })? {
            Reply::Data { data } if data == Bytes::from("/absolute") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })?;
    until(pair.deadline, "expected a file with 3 names in the guest", || {
        let (first, third) = (pair.guest_stats("file")?, pair.guest_stats("third")?);
        Ok(match (first, third) {
            (Ok(a), Ok(b)) if a.inode == b.inode && b.links == 3 && b.kind == FileKind::File => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
}

/// Bytes that the guest stores through a shared mapping reach the host after msync(2).
///
/// Databases on volumes write this way; otherwise a backup taken on the node is stale although the pod has synced.
fn host_sees_mapped_writes_of_the_guest(pair: &mut Pair<'_>) -> Check {
    let mut expected = noise(3, 9_000);
    pair.guest_writes("file", &expected, false)?;
    let data = Bytes(b"by a mapping".to_vec());
    pair.done("storing through a mapping", Action::MmapWrite { path: pair.in_guest("file"), offset: 4_090, data })?;
    expected[4_090..4_102].copy_from_slice(b"by a mapping");
    pair.host_comes_to_read("file", &expected, "after msync in the guest")
}

/// While the guest renames new versions over a name, the host never finds the name missing or half a version.
///
/// kubelet reads files that a pod publishes (termination messages, metrics) while they change; a rename must be one
/// step on the host, not a copy. Kata's own test of termination messages is
/// tests/integration/kubernetes/k8s-termination-log.bats@4.1.0.
fn host_reads_whole_versions_while_the_guest_renames(pair: &mut Pair<'_>) -> Check {
    let size = 5_000;
    pair.guest_writes("target", &vec![b'a'; size], true)?;
    pair.host_comes_to_read("target", &vec![b'a'; size], "before the renames")?;
    let path = pair.on_host("target");
    // No version equals the initial contents: otherwise a last rename without effect would go unnoticed.
    let content = |version: u8| vec![b'b' + version % 25; size];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let seen = fs::read(&path).doing("the host, reading the name that the guest renames over")?;
                let whole = seen.len() == size && seen.iter().all(|byte| Some(byte) == seen.first());
                ensure!(whole, "the host: expected one whole version of {size} bytes, saw {}", brief(&seen));
            }
            Ok(())
        });
        let start = Instant::now();
        let mut version = 0_u8;
        let renames = (|| {
            while start.elapsed() < Duration::from_secs(1) || version < 5 {
                version = version.wrapping_add(1);
                // Sync before the rename, so that a partial version seen by the host is due to the rename and not to
                // the writing.
                pair.guest_writes("next", &content(version), true)?;
                pair.done("renaming", Action::Rename { from: pair.in_guest("next"), to: pair.in_guest("target") })?;
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap_or_else(|_| Err(Stop::error("the reader panicked")));
        renames.and(read)?;
        pair.host_comes_to_read("target", &content(version), "after the last rename")
    })
}
