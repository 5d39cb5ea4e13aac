//! The interface of the programs that install packages.

use super::failure::{FailureSigns, NOTHING_KNOWN};
use super::settings::OwnSettings;
use super::{InstallRequest, InstallerChoice, PackageChange, Simulation};
use crate::process::{Invocation, ProcessOutput};
use model::package::PackageName;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;

/// A program that installs packages: its names, arguments, and the interpretation of its output.
pub(super) trait InstallerProgram: Sync {
    /// Returns the name known to people.
    fn name(&self) -> &'static str;

    /// Returns the program's file name.
    fn file_name(&self) -> &'static str {
        self.name()
    }

    /// Returns the package manager whose database the program writes.
    fn manager(&self) -> PackageManager;

    /// Returns the command that fetches package lists before an installation; `None` if the program fetches them
    /// itself.
    fn refresh(&self) -> Option<&'static str> {
        None
    }

    /// Checks whether the program is run here.
    fn is_exercised(&self) -> bool {
        true
    }

    /// Makes settings that replace the machine's and the root's, for the machine's program on another root.
    fn own_settings(&self, _: &Root) -> io::Result<Option<OwnSettings>> {
        Ok(None)
    }

    /// Returns the options to run the machine's program on another root, which it sees at `root_path`.
    fn outside_options(&self, root: &Root, root_path: &str) -> Vec<String>;

    /// Returns the commands that install the packages: on the running system, one command fetches and installs;
    /// elsewhere these are separate.
    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError>;

    /// Returns the command that reports the changes; `None` if there is none that may be run for this.
    fn simulation(&self, _: &InstallerChoice, _: &Root, _: &InstallRequest, _: Simulation) -> Option<Invocation> {
        None
    }

    /// Checks whether the simulation writes nothing, not even locks and caches.
    fn simulates_reading(&self) -> bool {
        true
    }

    /// Checks whether the program writes to `/tmp` regardless of its variables.
    fn writes_temporary(&self) -> bool {
        false
    }

    /// Returns the files in which the program leaves its process number while it works on a root; in a sandbox, these
    /// numbers are those of its namespace.
    fn number_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads the simulation's output; `None` if it failed, or names an invalid package or version.
    fn changes(&self, _: &ProcessOutput) -> Option<Vec<PackageChange>> {
        None
    }

    /// Returns the signs of the program's failures.
    fn signs(&self) -> &'static FailureSigns {
        &NOTHING_KNOWN
    }
}

/// Returns the commands that install packages with these words before their names; in a sandbox, a command with the
/// option `download_only` fetches the packages first.
pub(super) fn fetch_and_install(
    chosen: &InstallerChoice,
    root: &Root,
    words: &[&str],
    request: &InstallRequest,
    download_only: &str,
) -> Vec<Invocation> {
    let mut arguments: Vec<&str> = words.to_vec();
    arguments.extend(request.packages.iter().map(PackageName::as_str));
    let mut steps = Vec::new();
    if chosen.is_sandboxed() {
        steps.push(chosen.fetching(root, &[&[download_only][..], &arguments[..]].concat()));
    }
    steps.push(chosen.invocation(root, &arguments));
    steps
}
