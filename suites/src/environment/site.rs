//! The place where a property of a filesystem is tried: a directory in a guest, or one that host and guest share.

use super::RunCommand;
use super::action::{Action, Reply};
use crate::check::{Doing, Stop};
use crate::effort::Effort;
use crate::share::Share;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The directories and tools for trying a property on one side: in a guest, or natively.
#[derive(Debug, Clone)]
pub struct Site {
    /// A fresh, empty directory of this test's own, mode 0777, every parent searchable by all.
    pub dir: PathBuf,
    /// A directory on a small (about 16 MiB) filesystem that is reached through the same share.
    pub small: Option<PathBuf>,
    /// The mount point of the share.
    pub root: PathBuf,
    /// The share, or `None` natively: the control.
    pub share: Option<Share>,
    /// A static pjdfstest binary.
    pub pjdfstest: Option<PathBuf>,
    /// A static fsx binary.
    pub fsx: Option<PathBuf>,
    /// The agent's function for running these binaries.
    pub run: RunCommand,
    /// A writable directory that is not on the share.
    pub scratch: PathBuf,
    /// The seed and amount of random work.
    pub effort: Effort,
}

impl Site {
    /// Returns the path of `name` in the test's directory.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.join(name.as_ref())
    }

    /// Creates a file with these contents.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf, Stop> {
        let path = self.path(name);
        fs::write(&path, contents).doing(format_args!("writing {name}"))?;
        Ok(path)
    }

    /// Creates a directory.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.path(name);
        fs::create_dir(&path).doing(format_args!("making the directory {name}"))?;
        Ok(path)
    }
}

/// The signal that ends a share's daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonSignal {
    /// SIGKILL, as sent by Kata, and by the kernel when memory runs out.
    Kill,
    /// SIGTERM, as sent when a machine is shut down.
    Terminate,
}

/// The guest's side, as a body between host and guest uses it.
pub trait GuestSide {
    /// Has the guest do something under the share's mount point.
    ///
    /// # Errors
    ///
    /// Only when the guest cannot be asked: a refusal by the filesystem is [`Reply::Refused`].
    fn act(&mut self, action: Action) -> Result<Reply, Stop>;

    /// Has the guest try something under the share's mount point; `None` if it has not replied by the deadline, and the
    /// attempt goes on.
    ///
    /// # Errors
    ///
    /// As for [`GuestSide::act`].
    fn attempt(&mut self, action: Action, deadline: Duration) -> Result<Option<Reply>, Stop>;

    /// Returns the number of descriptors that the share's daemon has open, in all of its processes.
    ///
    /// # Errors
    ///
    /// When there is no daemon, or it cannot be looked at.
    fn daemon_descriptors(&mut self) -> Result<usize, Stop>;

    /// Sends a signal to the daemon, as a runtime or an admin ends it, and waits until the daemon and all processes
    /// that it started have ended; returns whether they have by the deadline.
    ///
    /// # Errors
    ///
    /// When there is no daemon, or it cannot be sent a signal.
    fn end_daemon(&mut self, by: DaemonSignal, deadline: Duration) -> Result<bool, Stop>;

    /// Checks whether the guest answers a question that has nothing to do with its share.
    ///
    /// # Errors
    ///
    /// When the guest cannot be asked.
    fn answers(&mut self) -> Result<bool, Stop>;

    /// Tells the VMM by QMP to quit, and returns whether it has ended by the deadline.
    ///
    /// # Errors
    ///
    /// When the VMM cannot be told.
    fn quit_vmm(&mut self, deadline: Duration) -> Result<bool, Stop>;

    /// Kills the VMM without warning (SIGKILL) and waits for its end; the guest must not be asked anything afterwards.
    ///
    /// # Errors
    ///
    /// When the VMM could not be killed.
    fn kill_vmm(&mut self) -> Result<(), Stop>;
}

/// A directory that host and guest share.
pub struct Pair<'a> {
    /// The test's own directory (fresh, mode 0777) on the host's side of the share.
    pub host: PathBuf,
    /// The same directory relative to the share's root, as the guest sees it.
    pub relative: PathBuf,
    /// The share between them.
    pub share: Share,
    /// How long a change may take to become visible on the other side.
    pub deadline: Duration,
    /// The seed and amount of random work.
    pub effort: Effort,
    /// The guest.
    pub guest: &'a mut dyn GuestSide,
}
