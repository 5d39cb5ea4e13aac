//! Systems that name a relative, or have its `ID`, and are unlike it in what its record is about.

use crate::os_release::OsRelease;

/// Why no relative's record is the system's; `has_own` where there is a record of its `ID`.
pub(super) fn why(os: &OsRelease, has_own: bool) -> Option<&'static str> {
    // It keeps the os-release of the SUSE Linux Micro that its image is built from, and says what it is beside it.
    if os.get("VARIANT") == Some("Harvester") {
        return Some(
            "Harvester is image-based: its system is replaced as a whole, and no package can be installed into it",
        );
    }
    if has_own {
        return None;
    }
    match os.id().as_str() {
        "steamos" => Some(
            "SteamOS is image-based: its system is replaced as a whole, and what Arch's package manager put there is lost",
        ),
        "arch32" => Some("Arch Linux 32 is built for i686, an architecture that Kata does not have"),
        _ => None,
    }
}
