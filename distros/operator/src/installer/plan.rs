//! The packages to install, and what an installer would do for them.

use super::{Installer, InstallerLocation};
use crate::packages::Installed;
use crate::process::sandbox::TARGET;
use model::package::{PackageName, PackageVersion};
use model::shell::quoted;
use serde::Serialize;

/// The packages to install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallRequest {
    /// Packages by name.
    pub packages: Vec<PackageName>,
    /// Repositories to enable for them.
    pub repositories: Vec<String>,
    /// Modules of the package manager to enable for them.
    pub modules: Vec<String>,
}

/// What an installer would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstallPlan {
    /// The installer's name.
    pub installer: Installer,
    /// Whether it is run here; else its commands are told only.
    pub exercised: bool,
    /// Where it runs.
    pub place: InstallerLocation,
    /// What was asked for.
    pub packages: Vec<PackageName>,
    /// Of these, what is there already.
    pub already: Vec<Installed>,
    /// Repositories and modules that are enabled first.
    pub enables: Vec<String>,
    /// The commands, in order.
    pub commands: Vec<Vec<String>>,
    /// The same for a shell, with variables and `chroot`.
    pub shell: Vec<String>,
    /// Whether they run in a sandbox: by hand they would run as this machine's root, or not at all, because paths are those
    /// in the sandbox.
    pub guarded: bool,
    /// Every package that would be changed; `None` where no simulation could tell.
    pub changes: Option<Vec<PackageChange>>,
}

/// One package that an installer would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// What would happen to it.
    pub action: PackageAction,
    /// Its name.
    pub package: PackageName,
    /// The new version, or the one that would go.
    pub version: PackageVersion,
}

/// What would happen to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageAction {
    /// It is new.
    Install,
    /// Its version changes.
    Upgrade,
    /// It goes.
    Remove,
}

impl PackageChange {
    /// What a simulation tells of a package; `None` where that is no name or no version, so that the answer was not
    /// understood.
    pub(super) fn of(action: PackageAction, package: &str, version: &str) -> Option<PackageChange> {
        Some(PackageChange { action, package: package.parse().ok()?, version: version.parse().ok()? })
    }
}

impl InstallPlan {
    /// The plan for people.
    pub fn told(&self) -> String {
        let mut out = String::new();
        for package in &self.already {
            out += &format!("{} {} is installed already\n", package.package, package.version);
        }
        for enabled in &self.enables {
            out += &format!("enables {enabled}\n");
        }
        match self.guarded {
            false => self.shell.iter().for_each(|line| out += &format!("runs {line}\n")),
            // A comment to whoever pastes it: there is no sandbox then.
            true => self.commands.iter().for_each(|command| {
                let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
                let at = if self.place == InstallerLocation::Inside { "/" } else { TARGET };
                out += &format!("# runs, in a sandbox where the root is {at}, {}\n", words.join(" "));
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
            out += "  what it changes besides is not known before it runs\n";
        }
        let lines: Vec<String> = out.lines().map(model::diagnostic::printable).collect();
        lines.iter().map(|l| format!("{l}\n")).collect()
    }
}
