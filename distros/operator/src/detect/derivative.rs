//! Derivatives that keep the os-release of the distro that they are built from, but have their own kernel.

use crate::os_release::OsRelease;
use root::{Root, RootError};
use serde::Serialize;
use std::path::Path;

/// A derivative that os-release does not reveal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Derivative {
    /// `Proxmox VE`.
    pub name: &'static str,
    /// The file that identifies it.
    pub sign: &'static str,
}

/// The known derivatives, each with a file that only it has.
///
/// `pveversion` is part of the package pve-manager; pi-gen writes `rpi-issue` into every image
/// (export-image/05-finalise).
const DERIVATIVES: [Derivative; 2] = [
    Derivative { name: "Proxmox VE", sign: "/usr/bin/pveversion" },
    Derivative { name: "Raspberry Pi OS", sign: "/etc/rpi-issue" },
];

/// Returns the Debian derivative that the system is.
///
/// # Errors
///
/// Fails if a directory in an identifying file's path cannot be searched.
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
