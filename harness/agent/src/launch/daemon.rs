//! virtiofsd, started as the profile's runtime starts it.

use crate::launch::compose::Composed;
use crate::launch::deadlines::Deadlines;
use crate::launch::ending::{ProcessEnd, daemon_ended};
use crate::launch::paths::GuestPaths;
use crate::launch::{memory, syslog};
use crate::log::Log;
use crate::process::{self, kill_group, spawn, stderr_log, wait};
use rustix::process::Signal;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::environment::{Daemon, Ending};
use suites::outcome::Component;

/// Pause between two looks at a process.
const PAUSE: Duration = Duration::from_millis(20);

/// A virtiofsd that was started.
pub(crate) struct DaemonProcess {
    child: Child,
    ended: Option<ProcessEnd>,
    log: Log,
    /// The daemon and its child processes: a daemon in a sandbox serves from a child.
    family: Vec<u32>,
    socket: PathBuf,
    /// Time that it may take to open its socket.
    deadline: Duration,
}

impl DaemonProcess {
    /// Starts the profile's daemon for a share, and waits for its socket if the daemon creates it.
    pub(crate) fn start(composed: &Composed, paths: &GuestPaths, deadlines: Deadlines) -> Result<DaemonProcess, Stop> {
        let argv = &composed.daemon;
        let failed = |e: io::Error| Stop::error(format!("starting {}: {e}", argv[0]));
        let fds = match composed.daemon_fd {
            // The Go runtime listens itself and passes the listener down; with runtime-rs the daemon listens.
            Some(number) => vec![(OwnedFd::from(UnixListener::bind(&paths.virtiofsd).map_err(failed)?), number)],
            None => Vec::new(),
        };
        let mut child = spawn(argv, fds, composed.daemon_folder.as_deref())
            .map_err(|e| Stop::blame(Component::Virtiofsd, format!("{} does not start: {e}", argv[0])))?;
        let log = stderr_log(&mut child, &paths.dir.join("virtiofsd.log")).map_err(failed)?;
        let (socket, deadline) = (paths.virtiofsd.clone(), deadlines.daemon);
        let mut daemon = DaemonProcess { child, ended: None, log, family: Vec::new(), socket, deadline };
        let end = Instant::now() + deadline;
        // If the daemon inherits the listener, there is nothing to wait for: QEMU's connection waits in the queue.
        while composed.daemon_fd.is_none() && !paths.virtiofsd.exists() && Instant::now() < end {
            if daemon.end(Duration::from_millis(20)).is_some() {
                break;
            }
        }
        Ok(daemon)
    }

    /// Returns how the daemon ended, if it ends within `deadline`.
    pub(crate) fn end(&mut self, deadline: Duration) -> Option<ProcessEnd> {
        if self.ended.is_none() {
            self.ended = wait(&mut self.child, deadline).ok().flatten().map(ProcessEnd::of);
            if self.ended.is_some() {
                self.log.settle();
            }
        }
        self.ended
    }

    /// Fails if the daemon does not end within `deadline`.
    pub(crate) fn must_end(&mut self, deadline: Duration) -> Result<(), Stop> {
        self.end(deadline).map(drop).ok_or_else(|| Stop::fail("virtiofsd still runs"))
    }

    /// Returns the daemon's end as an ending of its guest.
    pub(crate) fn ending(&mut self, deadline: Duration) -> Option<Ending> {
        let end = self.end(deadline)?;
        Some(daemon_ended(end, &self.last_lines()))
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how many descriptors the daemon and its child processes have open.
    pub(crate) fn descriptors(&self) -> Result<usize, Stop> {
        let of = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count);
        let counted: io::Result<Vec<usize>> = process::family(self.child.id()).into_iter().map(of).collect();
        let counted = counted.map_err(|e| Stop::error(format!("counting the descriptors of virtiofsd: {e}")))?;
        Ok(counted.into_iter().sum())
    }

    /// Returns how often the daemon's threads went to sleep; see [`memory::wakes`].
    pub(crate) fn wakes(&mut self) -> Option<u64> {
        if self.family.is_empty() {
            // By now the daemon serves a guest, and starts no more processes.
            self.family = process::family(self.child.id());
        }
        memory::wakes(&self.family)
    }

    /// Sends the started process a signal, and returns whether it and all its children have ended by the deadline.
    pub(crate) fn end_by(&mut self, signal: Signal, deadline: Duration) -> Result<bool, Stop> {
        let family = process::family(self.child.id());
        self.signal(signal)?;
        let until = Instant::now() + deadline;
        loop {
            let ended = self.end(PAUSE).is_some();
            // A zombie has ended, too.
            let runs = |pid: &u32| process::state(*pid).is_some_and(|state| state != 'Z');
            if ended && !family.iter().any(runs) {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Stop> {
        process::signal(self.child.id(), signal).map_err(|e| Stop::error(format!("virtiofsd: {e}")))
    }
}

impl Daemon for DaemonProcess {
    fn log(&self) -> String {
        // With --syslog a refusal is only reported there.
        format!("{}\n{}", self.log.text(), syslog::messages_of(self.child.id()))
    }

    fn wait(&mut self, deadline: Duration) -> Option<String> {
        self.end(deadline).map(|end| end.to_string())
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn listens(&self) -> bool {
        self.socket.exists()
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}
