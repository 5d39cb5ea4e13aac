//! The programs that install packages.

use super::failure::{NOTHING_KNOWN, Signs};
use super::settings::OwnSettings;
use super::{Chosen, PackageChange, Wanted, apt, dnf, other, pacman, zypper};
use crate::process::{Confinement, Finished, Invocation};
use model::package_manager::PackageManager;
use root::{Root, RootError};
use serde::Serialize;
use std::io;
use std::path::Path;

/// A program that installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installer {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Enterprise Linux ≥ 8.
    Dnf,
    /// Enterprise Linux 7, Amazon Linux 2.
    Yum,
    /// Minimal images of Enterprise Linux.
    Microdnf,
    /// Photon OS, Azure Linux up to 3.
    Tdnf,
    /// openSUSE, SLES.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
    /// Gentoo.
    Emerge,
    /// Fedora CoreOS, Silverblue, RHEL CoreOS: packages layered on an image.
    RpmOstree,
    /// openSUSE MicroOS, SLE Micro: packages installed into the next snapshot.
    TransactionalUpdate,
    /// NixOS.
    Nix,
    /// None: the system comes as an image, and nothing is installed into it.
    #[serde(rename = "none")]
    ImageBased,
}

/// What differs between the programs: their names, what they are told, and how they are understood.
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

    /// The options of the machine's program on another root; `settings` is the folder of our own.
    fn outside_options(&self, root: &Root, settings: Option<&Path>) -> Vec<String>;

    /// The commands that install what is wanted.
    fn steps(&self, chosen: &Chosen, root: &Root, wanted: &Wanted, refresh: bool)
    -> Result<Vec<Invocation>, RootError>;

    /// The command that says what would be changed; `None` where there is none that may be run so confined.
    fn simulation(&self, _: &Chosen, _: &Root, _: &Wanted, _: Confinement) -> Option<Invocation> {
        None
    }

    /// Reads the simulation's answer; `None` if it failed.
    fn changes(&self, _: &Finished) -> Option<Vec<PackageChange>> {
        None
    }

    /// The signs of its failures.
    fn signs(&self) -> &'static Signs {
        &NOTHING_KNOWN
    }
}

impl Installer {
    /// All of them; a package manager's own comes before others that write its database.
    pub const ALL: &'static [Installer] = &[
        Installer::Apt,
        Installer::Dnf,
        Installer::Yum,
        Installer::Microdnf,
        Installer::Tdnf,
        Installer::Zypper,
        Installer::Pacman,
        Installer::Apk,
        Installer::Emerge,
        Installer::RpmOstree,
        Installer::TransactionalUpdate,
        Installer::Nix,
        Installer::ImageBased,
    ];

    /// The program itself.
    pub(super) fn program(self) -> &'static dyn InstallerProgram {
        match self {
            Installer::Apt => &apt::AptInstaller,
            Installer::Dnf => &dnf::DnfInstaller,
            Installer::Yum => &other::YUM,
            Installer::Microdnf => &other::MICRODNF,
            Installer::Tdnf => &other::TDNF,
            Installer::Zypper => &zypper::ZypperInstaller,
            Installer::Pacman => &pacman::PacmanInstaller,
            Installer::Apk => &other::APK,
            Installer::Emerge => &other::EMERGE,
            Installer::RpmOstree => &other::RPM_OSTREE,
            Installer::TransactionalUpdate => &other::TRANSACTIONAL_UPDATE,
            Installer::Nix => &other::NIX,
            Installer::ImageBased => &other::IMAGE_BASED,
        }
    }

    /// A package manager's own program.
    pub(super) fn of(manager: PackageManager) -> Installer {
        Installer::ALL.iter().copied().find(|one| one.manager() == manager).unwrap_or(Installer::ImageBased)
    }

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        self.program().name()
    }

    /// The name of the program's file.
    pub fn file_name(self) -> &'static str {
        self.program().file_name()
    }

    /// The package manager whose database it writes.
    pub fn manager(self) -> PackageManager {
        self.program().manager()
    }

    /// The command by which it fetches package lists before it installs; `None` where it sees to them itself.
    pub fn refresh(self) -> Option<&'static str> {
        self.program().refresh()
    }

    /// Whether it is run; else its command is told and left to the admin.
    pub fn is_exercised(self) -> bool {
        self.program().is_exercised()
    }
}
