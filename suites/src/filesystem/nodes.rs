//! Fifos, sockets and device nodes.

use super::expect::{refused, same_bytes};
use super::proves::FILES_POSIX_ON_9P;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::test::Need;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};

const SOURCE: &str = include_str!("nodes.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(fifos_pass_bytes), FILES_POSIX_ON_9P)
        .finds("/^mknod:error=EPERM")
        .reproduced(Reproducer::SystemCalls(include_str!("reproducers/fifo.c"))),
    row!(Guest(unix_sockets_connect), FILES_POSIX_ON_9P).finds("bind:error=EPERM"),
    row!(Guest(device_nodes_keep_their_numbers), FILES_POSIX_ON_9P)
        .finds("/^mknod:error=EPERM")
        .needs(&[Need::Mknod])
        .reproduced(Reproducer::SystemCalls(include_str!("reproducers/nodes.c"))),
];

/// A fifo on the share is a fifo in the guest: bytes written at one end come out at the other, and the reader sees the
/// end when the writer closes it.
///
/// The guest's kernel passes the bytes, so the share must say that the file is a fifo, and never open it on the host,
/// where the daemon would hang.
fn fifos_pass_bytes(site: &Site) -> Check {
    let path = site.path("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).doing("making a fifo")?;
    let kind = fs::symlink_metadata(&path).doing("lstat of the fifo")?.file_type();
    ensure!(kind.is_fifo(), "lstat: expected a fifo, saw {kind:?}");
    let read = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut fifo = OpenOptions::new().write(true).open(&path).doing("opening the fifo for writing")?;
            fifo.write_all(b"through the fifo").doing("writing to the fifo")
        });
        let mut seen = Vec::new();
        let read = File::open(&path).and_then(|mut fifo| fifo.read_to_end(&mut seen)).doing("reading from the fifo");
        let written = writer.join().unwrap_or_else(|_| Err(Stop::error("the writer panicked")));
        written.and(read).map(|_| seen)
    })?;
    same_bytes(&read, b"through the fifo", "what came out of the fifo")
}

/// A Unix socket bound on the share accepts connections by its path and passes bytes both ways; a second bind fails
/// with EADDRINUSE.
///
/// PostgreSQL, MySQL and container engines put their sockets on volumes shared between a pod's containers. Kata's own
/// test is tests/integration/kubernetes/k8s-uds-shared-volume.bats@4.1.0.
fn unix_sockets_connect(site: &Site) -> Check {
    // A socket's address has 108 bytes, and a test's directory may be longer.
    let short = format!("/proc/self/fd/{}", {
        use std::os::fd::{AsRawFd, IntoRawFd};
        let directory = File::open(&site.dir).doing("opening the directory")?;
        let number = directory.as_raw_fd();
        let _ = directory.into_raw_fd();
        number
    });
    let path = std::path::Path::new(&short).join("socket");
    let listener = UnixListener::bind(&path).doing("binding a socket")?;
    let kind = fs::symlink_metadata(site.path("socket")).doing("lstat of the socket")?.file_type();
    ensure!(kind.is_socket(), "lstat: expected a socket, saw {kind:?}");
    refused(UnixListener::bind(&path), &[Errno::ADDRINUSE], "binding the same path again")?;
    let mut client = UnixStream::connect(&path).doing("connecting to the socket")?;
    let (mut server, _) = listener.accept().doing("accepting the connection")?;
    client.write_all(b"ping").doing("writing to the socket")?;
    let mut seen = [0; 4];
    server.read_exact(&mut seen).doing("reading from the socket")?;
    same_bytes(&seen, b"ping", "what came through the socket")?;
    server.write_all(b"pong").doing("answering")?;
    client.read_exact(&mut seen).doing("reading the answer")?;
    same_bytes(&seen, b"pong", "the answer through the socket")
}

/// Character and block device nodes can be made and keep their major and minor numbers, also large ones.
///
/// Image layers may contain device nodes, and overlayfs marks deleted files with the character device 0:0; the daemon
/// needs CAP_MKNOD on the host. Kata's agent makes a container's nodes on its root filesystem (`mknod_dev` in
/// src/agent/rustjail/src/mount.rs@4.1.0).
fn device_nodes_keep_their_numbers(site: &Site) -> Check {
    let cases = [
        ("null", FileType::CharacterDevice, 1, 3),
        ("whiteout", FileType::CharacterDevice, 0, 0),
        ("large", FileType::CharacterDevice, 500, 70_000),
        ("disk", FileType::BlockDevice, 254, 1),
    ];
    for (name, kind, major, minor) in cases {
        let path = site.path(name);
        let number = makedev(major, minor);
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), number)
            .doing(format_args!("mknod {name} {major}:{minor}"))?;
        let status = fs::symlink_metadata(&path).doing(format_args!("lstat of {name}"))?;
        let seen = FileType::from_raw_mode(status.mode());
        ensure!(seen == kind, "{name}: expected a {kind:?}, saw {seen:?}");
        let (seen_major, seen_minor) = (rustix::fs::major(status.rdev()), rustix::fs::minor(status.rdev()));
        ensure!(
            (seen_major, seen_minor) == (major, minor),
            "{name}: expected device {major}:{minor}, saw {seen_major}:{seen_minor}"
        );
        fs::remove_file(&path).doing(format_args!("removing {name}"))?;
    }
    Ok(())
}
