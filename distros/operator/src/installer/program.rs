//! The programs that install packages.

use model::package_manager::PackageManager;
use serde::Serialize;

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

impl Installer {
    /// All of them.
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

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Installer::Apt => "apt",
            Installer::Dnf => "dnf",
            Installer::Yum => "yum",
            Installer::Microdnf => "microdnf",
            Installer::Tdnf => "tdnf",
            Installer::Zypper => "zypper",
            Installer::Pacman => "pacman",
            Installer::Apk => "apk",
            Installer::Emerge => "emerge",
            Installer::RpmOstree => "rpm-ostree",
            Installer::TransactionalUpdate => "transactional-update",
            Installer::Nix => "nix",
            Installer::ImageBased => "none",
        }
    }

    /// The program's file name.
    pub fn program(self) -> &'static str {
        match self {
            Installer::Apt => "apt-get",
            Installer::Nix => "nix-env",
            other => other.name(),
        }
    }

    /// The package manager whose database it writes.
    pub fn manager(self) -> PackageManager {
        match self {
            Installer::Apt => PackageManager::Apt,
            Installer::Dnf | Installer::Microdnf | Installer::RpmOstree => PackageManager::Dnf,
            Installer::Yum => PackageManager::Yum,
            Installer::Tdnf => PackageManager::Tdnf,
            Installer::Zypper | Installer::TransactionalUpdate => PackageManager::Zypper,
            Installer::Pacman => PackageManager::Pacman,
            Installer::Apk => PackageManager::Apk,
            Installer::Emerge => PackageManager::Emerge,
            Installer::Nix => PackageManager::Nix,
            Installer::ImageBased => PackageManager::ImageBased,
        }
    }

    /// The command by which it fetches package lists before it installs; `None` where it sees to them itself.
    pub fn refresh(self) -> Option<&'static str> {
        match self {
            Installer::Apt => Some("apt-get update"),
            Installer::Zypper => Some("zypper refresh"),
            Installer::Pacman => Some("pacman --sync --refresh"),
            _ => None,
        }
    }

    /// Whether it is run; else its command is told and left to the admin.
    pub fn is_exercised(self) -> bool {
        matches!(self, Installer::Apt | Installer::Dnf | Installer::Zypper | Installer::Pacman)
    }
}
