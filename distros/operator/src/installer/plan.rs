//! The packages to install, and the actions of an installer for them.

use super::{Installer, InstallerLocation};
use crate::packages::Installed;
use crate::process::sandbox::TARGET;
use model::package::{PackageName, PackageVersion};
use model::shell::quoted;
use serde::Serialize;

/// The packages to install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallRequest {
    /// Package names.
    pub packages: Vec<PackageName>,
    /// Repositories to enable for them.
    pub repositories: Vec<String>,
    /// Modules of the package manager to enable for them.
    pub modules: Vec<String>,
}

/// The actions of an installer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstallPlan {
    /// The installer's name.
    pub installer: Installer,
    /// Whether the installer is run here; otherwise its commands are only reported.
    pub exercised: bool,
    /// The place where it runs.
    pub place: InstallerLocation,
    /// The requested packages.
    pub packages: Vec<PackageName>,
    /// Requested packages that are already installed.
    pub already: Vec<Installed>,
    /// Repositories and modules that are enabled first.
    pub enables: Vec<String>,
    /// The commands, in order.
    pub commands: Vec<Vec<String>>,
    /// The commands as shell lines, with variables and `chroot`.
    pub shell: Vec<String>,
    /// Whether the commands run in a sandbox. Run by hand, they would run as this machine's root, or fail, because
    /// their paths are those in the sandbox.
    pub guarded: bool,
    /// Every package that would be changed; `None` if no simulation revealed them.
    pub changes: Option<Vec<PackageChange>>,
}

/// One package that an installer would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// The change.
    pub action: PackageAction,
    /// Its name.
    pub package: PackageName,
    /// The new version, or the removed one.
    pub version: PackageVersion,
}

/// The change to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageAction {
    /// The package is new.
    Install,
    /// The package's version changes.
    Upgrade,
    /// The package is removed.
    Remove,
}

impl PackageChange {
    /// Builds a change from a simulation's output; `None` if the name or version is invalid, so that the output was not
    /// understood.
    pub(super) fn of(action: PackageAction, package: &str, version: &str) -> Option<PackageChange> {
        Some(PackageChange { action, package: package.parse().ok()?, version: version.parse().ok()? })
    }
}

impl InstallPlan {
    /// Formats the plan for people.
    pub fn description(&self) -> String {
        let mut out = String::new();
        for package in &self.already {
            out += &format!("{} {} is installed already\n", package.package, package.version);
        }
        for enabled in &self.enables {
            out += &format!("enables {enabled}\n");
        }
        match self.guarded {
            false => self.shell.iter().for_each(|line| out += &format!("runs {line}\n")),
            // A shell comment, because anyone pasting the line would run it without the sandbox.
            true => self.commands.iter().for_each(|command| {
                let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
                let root_path = if self.place == InstallerLocation::Inside { "/" } else { TARGET };
                out += &format!("# runs, in a sandbox where the root is {root_path}, {}\n", words.join(" "));
            }),
        }
        for change in self.changes.iter().flatten() {
            let verb = match change.action {
                PackageAction::Install => "installs",
                PackageAction::Upgrade => "upgrades to",
                PackageAction::Remove => "removes",
            };
            out += &format!("  {verb} {} {}\n", change.package, change.version);
        }
        if self.changes.is_none() && !self.commands.is_empty() {
            out += "  its other changes are not known before it runs\n";
        }
        let lines: Vec<String> = out.lines().map(model::diagnostic::printable).collect();
        lines.iter().map(|l| format!("{l}\n")).collect()
    }
}
