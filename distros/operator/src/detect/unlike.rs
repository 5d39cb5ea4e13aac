//! Systems that name a relative, or have its `ID`, but differ from it in the facts that its record states.

use crate::os_release::OsRelease;
use root::{Root, RootError};
use std::path::Path;

/// Image-based systems, which are replaced as a whole: `ID`, name, and the distro whose package manager they have.
const REPLACED: [(&str, &str, &str); 7] = [
    ("blendos", "blendOS", "Arch"),
    ("chimeraos", "ChimeraOS", "Arch"),
    ("endless", "Endless OS", "Debian"),
    ("holoiso", "HoloISO", "Arch"),
    ("kde-linux", "KDE Linux", "Arch"),
    ("steamos", "SteamOS", "Arch"),
    ("vanilla", "Vanilla OS", "Debian"),
];

/// Programs that identify image-based systems with any os-release: path, and a description.
///
/// `midclt` is the client of TrueNAS's middleware; frzr and ABRoot deploy images (README.md of ChimeraOS/frzr and
/// Vanilla-OS/ABRoot).
const SIGNS: [(&str, &str); 4] = [
    ("/usr/bin/midclt", "TrueNAS is an appliance"),
    ("/usr/bin/frzr", "systems deployed by frzr are image-based"),
    ("/usr/bin/frzr-deploy", "systems deployed by frzr are image-based"),
    ("/usr/bin/abroot", "systems deployed by ABRoot are image-based"),
];

/// Returns the reason why no relative's record applies to the system; `has_own` if there is a record for its `ID`.
///
/// # Errors
///
/// Fails if a directory in an identifying file's path cannot be searched.
pub(super) fn why(root: &Root, os: &OsRelease, has_own: bool) -> Result<Option<String>, RootError> {
    // Harvester keeps the os-release of the SUSE Linux Micro that its image is built from, and adds its own name as
    // `VARIANT`.
    if os.get("VARIANT") == Some("Harvester") {
        let why = "Harvester is image-based: its system is replaced as a whole, and packages cannot be installed";
        return Ok(Some(why.to_owned()));
    }
    let id = os.id();
    if !has_own {
        if id == "arch32" {
            let why = "Arch Linux 32 is built for i686, which Kata does not support";
            return Ok(Some(why.to_owned()));
        }
        if let Some((_, name, whose)) = REPLACED.iter().find(|(known, _, _)| *known == id) {
            return Ok(Some(replaced(&format!("{name} is image-based"), &format!("{whose}'s"))));
        }
    }
    for (sign, what) in SIGNS {
        if root.look(Path::new(sign))?.is_some() {
            return Ok(Some(replaced(what, "a")));
        }
    }
    Ok(None)
}

fn replaced(what: &str, whose: &str) -> String {
    format!(
        "{what}: the system is replaced as a whole, and packages that {whose} package manager installed would be lost"
    )
}
