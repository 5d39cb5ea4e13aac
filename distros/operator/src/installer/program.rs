//! What differs between the programs that install packages.

use super::failure::{FailureSigns, NOTHING_KNOWN};
use super::settings::OwnSettings;
use super::{InstallRequest, InstallerChoice, PackageChange, Simulation};
use crate::process::{Invocation, ProcessOutput};
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;

/// A program that installs packages: its names, what it is told, and how it is understood.
pub(super) trait InstallerProgram: Sync {
    /// The name people know it by.
    fn name(&self) -> &'static str;

    /// The name of its file.
    fn file_name(&self) -> &'static str {
        self.name()
    }

    /// The package manager whose database it writes.
    fn manager(&self) -> PackageManager;

    /// The command by which it fetches package lists before it installs; `None` where it sees to them itself.
    fn refresh(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is run.
    fn is_exercised(&self) -> bool {
        true
    }

    /// Settings in place of the machine's and of the root's, for the machine's program on another root.
    fn own_settings(&self, _: &Root) -> io::Result<Option<OwnSettings>> {
        Ok(None)
    }

    /// The options of the machine's program on another root, which it sees at that path.
    fn outside_options(&self, root: &Root, at: &str) -> Vec<String>;

    /// The commands that install what is wanted: on the running system each as one, elsewhere what fetches apart from what
    /// installs.
    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        wanted: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError>;

    /// The command that says what would be changed; `None` where there is none that may be run for that.
    fn simulation(&self, _: &InstallerChoice, _: &Root, _: &InstallRequest, _: Simulation) -> Option<Invocation> {
        None
    }

    /// Whether it tells what would be changed without writing anything, not even locks and caches.
    fn simulates_reading(&self) -> bool {
        true
    }

    /// Whether it writes to `/tmp`, whatever its variables say.
    fn writes_temporary(&self) -> bool {
        false
    }

    /// The files of a root in which it leaves its number while it works on it: in a sandbox its numbers are others.
    fn number_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads the simulation's answer; `None` if it failed, or tells what is no package or no version.
    fn changes(&self, _: &ProcessOutput) -> Option<Vec<PackageChange>> {
        None
    }

    /// The signs of its failures.
    fn signs(&self) -> &'static FailureSigns {
        &NOTHING_KNOWN
    }
}
