//! Messages of programs in the syslog.

use crate::log::Log;
use operator::process::Invocation;
use std::io::{self, Read};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

static SYSLOG: OnceLock<Log> = OnceLock::new();

/// Returns the messages of a process in the syslog: lines with its id in brackets, in the format of syslog(3).
pub(crate) fn messages_of(pid: u32) -> String {
    if SYSLOG.get().is_none() {
        return journal_of(pid);
    }
    let tag = format!("[{pid}]");
    let text = SYSLOG.get().map(Log::text).unwrap_or_default();
    // `<27>Nov 21 05:47:02 virtiofsd[272]: fuse: unknown option(s): …`: the message begins after the id.
    let words = |line: &'_ str| line.split_once(&tag).map(|(_, words)| words.trim_start_matches(':').trim().to_owned());
    let lines: Vec<String> = text.lines().filter_map(words).collect();
    lines.join("\n")
}

/// Returns the messages of a process in the journal, if systemd owns /dev/log; they arrive with a short delay.
fn journal_of(pid: u32) -> String {
    let of = format!("_PID={pid}");
    let arguments = ["--quiet", "--no-pager", "--output=cat", "--lines=50", &of];
    let finished = Invocation::new(Path::new("journalctl"), &arguments).run(Duration::from_secs(30), None);
    finished.map(|finished| finished.stdout).unwrap_or_default()
}

/// Serves /dev/log, which a virtiofsd started with `--syslog` needs; its messages are kept next to the other logs.
pub(crate) fn serve(artifacts: &Path) {
    if Path::new("/dev/log").exists() {
        return;
    }
    if let Ok(socket) = UnixDatagram::bind("/dev/log") {
        struct Datagrams(UnixDatagram);
        impl Read for Datagrams {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.recv(&mut buffer[1..])?;
                buffer[0] = b'\n';
                Ok(count + 1)
            }
        }
        if let Ok(log) = Log::collect(Datagrams(socket), &artifacts.join("syslog")) {
            let _ = SYSLOG.set(log);
        }
    }
}
