//! Where a property of a filesystem is tried: a directory in a guest, or one that host and guest both have.

use super::RunCommand;
use super::action::{Action, Reply};
use crate::check::{Doing, Stop};
use crate::effort::Effort;
use crate::share::Share;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Where a property is tried on one side: in a guest, or natively.
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
    /// The agent's way to run them.
    pub run: RunCommand,
    /// A writable directory that is not on the share.
    pub scratch: PathBuf,
    /// How random work is to be done.
    pub effort: Effort,
}

impl Site {
    /// The path of `name` in the test's directory.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.join(name.as_ref())
    }

    /// A new file with these contents.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf, Stop> {
        let path = self.path(name);
        fs::write(&path, contents).doing(format_args!("writing {name}"))?;
        Ok(path)
    }

    /// A new directory.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.path(name);
        fs::create_dir(&path).doing(format_args!("making the directory {name}"))?;
        Ok(path)
    }
}

/// How a share's daemon is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonSignal {
    /// SIGKILL, as Kata ends it, and the kernel when memory runs out.
    Kill,
    /// SIGTERM, as whoever shuts a machine down.
    Terminate,
}

/// The guest, as a body between host and guest sees it.
pub trait GuestSide {
    /// Has the guest do something under the share's mount point.
    ///
    /// # Errors
    ///
    /// Only when the guest cannot be asked: a refusal by the filesystem is [`Reply::Refused`].
    fn act(&mut self, action: Action) -> Result<Reply, Stop>;

    /// How many descriptors the share's daemon has open, in all of its processes.
    ///
    /// # Errors
    ///
    /// When there is no daemon, or it cannot be looked at.
    fn daemon_descriptors(&mut self) -> Result<usize, Stop>;

    /// Sends the daemon that was started the signal by which a runtime or an admin ends it, and waits until it and all that
    /// it has started have ended; says whether they have by the deadline.
    ///
    /// # Errors
    ///
    /// When there is no daemon, or it cannot be sent a signal.
    fn end_daemon(&mut self, by: DaemonSignal, deadline: Duration) -> Result<bool, Stop>;

    /// Whether the guest answers a question that has nothing to do with its share.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    fn answers(&mut self) -> Result<bool, Stop>;

    /// Tells the VMM by QMP to quit, and says whether it has ended by the deadline.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    fn quit_vmm(&mut self, deadline: Duration) -> Result<bool, Stop>;

    /// Kills the VMM without warning (SIGKILL) and waits for its end; the guest is not asked anything afterwards.
    ///
    /// # Errors
    ///
    /// When the VMM could not be killed.
    fn kill_vmm(&mut self) -> Result<(), Stop>;
}

/// A directory that host and guest both have.
pub struct Pair<'a> {
    /// The test's own directory (fresh, mode 0777) on the host's side of the share.
    pub host: PathBuf,
    /// The same directory relative to the share's root, as the guest sees it.
    pub relative: PathBuf,
    /// The share between them.
    pub share: Share,
    /// How long a change may take to be visible on the other side.
    pub deadline: Duration,
    /// How random work is to be done.
    pub effort: Effort,
    /// The guest.
    pub guest: &'a mut dyn GuestSide,
}
