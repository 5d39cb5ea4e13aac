//! Derivatives that keep the os-release of the distro that they are built from, and have a kernel of their own.

use crate::os_release::OsRelease;
use root::{Root, RootError};
use serde::Serialize;
use std::path::Path;

/// What a system is beside what its os-release says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Derivative {
    /// `Proxmox VE`.
    pub name: &'static str,
    /// The file that it is known by.
    pub sign: &'static str,
}

/// Each with a file that it alone has.
///
/// `pveversion` is of the package pve-manager; pi-gen writes `rpi-issue` into every image (export-image/05-finalise).
const DERIVATIVES: [Derivative; 2] = [
    Derivative { name: "Proxmox VE", sign: "/usr/bin/pveversion" },
    Derivative { name: "Raspberry Pi OS", sign: "/etc/rpi-issue" },
];

/// The derivative of Debian that the system is.
///
/// # Errors
///
/// That a folder on the way to a sign cannot be searched.
pub(super) fn of(root: &Root, os: &OsRelease) -> Result<Option<Derivative>, RootError> {
    if !["debian", "raspbian"].contains(&os.id().as_str()) {
        return Ok(None);
    }
    for derivative in DERIVATIVES {
        if root.look(Path::new(derivative.sign))?.is_some() {
            return Ok(Some(derivative));
        }
    }
    Ok(None)
}
