//! Package managers by their names in a record.

use serde::{Deserialize, Serialize};

/// A package manager that the database knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Enterprise Linux ≥ 8.
    Dnf,
    /// Enterprise Linux 7, Amazon Linux 2.
    Yum,
    /// openSUSE, SLES.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
    /// Gentoo.
    Emerge,
    /// NixOS.
    Nix,
}
