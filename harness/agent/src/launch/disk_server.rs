//! The release's `qemu-storage-daemon`, which serves a file as a disk over vhost-user, in the place of SPDK.
//!
//! SPDK is no part of a distro's QEMU, so nothing that its stand-in does counts against a release: without the program,
//! or with one that cannot serve such disks, the test is skipped, and everything else is an error.

use crate::launch::deadlines::Deadlines;
use crate::launch::ending::ProcessEnd;
use crate::launch::paths::GuestPaths;
use crate::log::Log;
use crate::process::{self, kill_group, spawn, stderr_log, wait};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::environment::DiskServer;

/// The program; Debian has it in qemu-system-common up to 12, and in qemu-utils since 13.
const PROGRAM: &str = "/usr/bin/qemu-storage-daemon";
/// The kind of export. The program's help names it only if it was built in, and only since it is not experimental.
const EXPORT: &str = "vhost-user-blk";

/// A disk's process that was started.
pub(crate) struct DiskProcess {
    child: Child,
    ended: Option<ProcessEnd>,
    log: Log,
    socket: PathBuf,
    /// Keeps the directories of the socket and of the log.
    _paths: GuestPaths,
}

impl DiskProcess {
    /// Starts the program for a file, and waits until it listens.
    ///
    /// # Errors
    /// A skip if the release has no such program, or one that cannot do this; an error if it does not get to listen.
    pub(crate) fn start(file: &Path, paths: GuestPaths, deadlines: Deadlines) -> Result<DiskProcess, Stop> {
        if !Path::new(PROGRAM).exists() {
            return Err(Stop::skip(format!(
                "the release's image has no {PROGRAM} that could serve a disk over vhost-user: `--install` its package"
            )));
        }
        let help = process::run(&[PROGRAM, "--help"], &[], deadlines.start)
            .map_err(|stop| Stop::error(format!("asking for the help of {PROGRAM}: {}", stop.words())))?;
        if !help.stdout.contains(EXPORT) {
            return Err(Stop::skip(format!("the release's {PROGRAM} does not offer {EXPORT}")));
        }
        let failed = |e: io::Error| Stop::error(format!("starting {PROGRAM}: {e}"));
        let socket = paths.sockets.join("disk");
        let mut child = spawn(&argv(file, &socket), Vec::new(), None).map_err(failed)?;
        let log = match stderr_log(&mut child, &paths.dir.join("disk.log")) {
            Ok(log) => log,
            Err(e) => {
                kill_group(&mut child);
                return Err(failed(e));
            }
        };
        let mut process = DiskProcess { child, ended: None, log, socket, _paths: paths };
        process.listens_within(deadlines.daemon)?;
        Ok(process)
    }

    /// Returns the path of its log.
    pub(crate) fn log(&self) -> &Path {
        self.log.path()
    }

    fn listens_within(&mut self, deadline: Duration) -> Result<(), Stop> {
        let until = Instant::now() + deadline;
        loop {
            // A connection would be taken for QEMU's, so the kernel's list is read instead.
            let sockets = std::fs::read_to_string("/proc/net/unix");
            let sockets = sockets.map_err(|e| Stop::error(format!("reading /proc/net/unix: {e}")))?;
            if is_listening(&sockets, &self.socket.to_string_lossy()) {
                return Ok(());
            }
            if let Some(end) = self.ended(Duration::from_millis(20)) {
                return Err(Stop::error(end));
            }
            if Instant::now() > until {
                let last = self.log.last_lines(4);
                return Err(Stop::error(format!(
                    "{PROGRAM} did not listen within {deadline:?}; it said last: {last:?}"
                )));
            }
        }
    }
}

impl DiskServer for DiskProcess {
    fn socket(&self) -> &Path {
        &self.socket
    }

    fn ended(&mut self, deadline: Duration) -> Option<String> {
        if self.ended.is_none() {
            self.ended = wait(&mut self.child, deadline).ok().flatten().map(ProcessEnd::of);
            if self.ended.is_some() {
                self.log.settle();
            }
        }
        self.ended.map(|end| format!("{PROGRAM}, which served the disk, ended ({end}): {}", self.log.last_lines(4)))
    }
}

impl Drop for DiskProcess {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// Returns the command line that serves a raw file, which the guest may write.
fn argv(file: &Path, socket: &Path) -> Vec<String> {
    let (file, socket) = (file.display(), socket.display());
    vec![
        PROGRAM.to_owned(),
        "--blockdev".to_owned(),
        format!("driver=file,node-name=file,filename={file}"),
        "--blockdev".to_owned(),
        "driver=raw,node-name=disk,file=file".to_owned(),
        "--export".to_owned(),
        format!("type={EXPORT},id=export,node-name=disk,writable=on,addr.type=unix,addr.path={socket}"),
    ]
}

/// Returns whether `/proc/net/unix` has a socket at this path on which a process listens.
fn is_listening(sockets: &str, path: &str) -> bool {
    // `__SO_ACCEPTCON` in the kernel's linux/net.h.
    const LISTENS: &str = "00010000";
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(LISTENS) && fields.nth(3) == Some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_socket_that_is_bound_and_listens_is_found() {
        let text = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    ffff0: 00000002 00000000 00000000 0001 01 41 /run/bound\n\
                    ffff1: 00000002 00000000 00010000 0001 01 42 /run/disk\n";
        assert!(is_listening(text, "/run/disk"));
        assert!(!is_listening(text, "/run/bound"), "it does not listen yet");
        assert!(!is_listening(text, "/run/dis"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let _stream = UnixStream::connect(&path).unwrap();
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        assert!(is_listening(&sockets, &path.to_string_lossy()));
    }
}
