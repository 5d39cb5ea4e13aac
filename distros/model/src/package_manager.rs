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
    /// NixOS.
    Nix,
    /// None: the system comes as an image, and nothing is installed into it.
    #[serde(rename = "none")]
    ImageBased,
}

impl PackageManager {
    /// All of them.
    pub const ALL: &'static [PackageManager] = &[
        PackageManager::Apt,
        PackageManager::Dnf,
        PackageManager::Yum,
        PackageManager::Tdnf,
        PackageManager::Zypper,
        PackageManager::Pacman,
        PackageManager::Apk,
        PackageManager::Emerge,
        PackageManager::Nix,
        PackageManager::ImageBased,
    ];

    /// The word in a record, `package-manager:`.
    pub fn name(self) -> &'static str {
        match self {
            PackageManager::Apt => "apt",
            PackageManager::Dnf => "dnf",
            PackageManager::Yum => "yum",
            PackageManager::Tdnf => "tdnf",
            PackageManager::Zypper => "zypper",
            PackageManager::Pacman => "pacman",
            PackageManager::Apk => "apk",
            PackageManager::Emerge => "emerge",
            PackageManager::Nix => "nix",
            PackageManager::ImageBased => "none",
        }
    }
}

impl std::fmt::Display for PackageManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_manager_has_one_name_everywhere() {
        for manager in PackageManager::ALL {
            assert_eq!(serde_json::to_string(manager).unwrap(), format!("\"{manager}\""));
        }
    }
}
