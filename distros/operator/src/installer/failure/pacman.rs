//! Messages of pacman 6.0 of Debian 12, and of pacman 7, which downloads as another user.

use super::{FailureKind, FailureSigns, NOTHING_KNOWN};

pub(in crate::installer) static SIGNS: FailureSigns = FailureSigns {
    codes: &[],
    words: &[
        (FailureKind::DiskFull, &["no space left on device", "free disk space", "too full", "disk full"]),
        (FailureKind::Locked, &["unable to lock database"]),
        (
            FailureKind::Verification,
            &[
                "invalid or corrupted package",
                "invalid or corrupted database",
                "pgp signature",
                "missing required signature",
                "required key missing from keyring",
            ],
        ),
        // pacman also reports that it failed to synchronize, but no repository is at fault.
        (FailureKind::Other, &["switching to sandbox user"]),
        (FailureKind::MissingPackage, &["target not found"]),
        (
            FailureKind::Repository,
            &[
                "failed to synchronize",
                "failed retrieving file",
                "failed to retrieve some files",
                "could not be opened",
                "does not exist",
                "no usable package repositories",
            ],
        ),
        (
            FailureKind::Conflict,
            &[
                "conflicts with",
                "are in conflict",
                "conflicting files",
                "conflicting dependencies",
                "unable to satisfy",
                "could not satisfy dependencies",
            ],
        ),
    ],
    package: |line| line.split_once("target not found: ").map(|(_, package)| package.trim()),
    ..NOTHING_KNOWN
};

#[cfg(test)]
mod tests {
    use crate::installer::{FailureReason, Installer, failure_reason};

    fn of(text: &str) -> FailureReason {
        failure_reason(Installer::Pacman, &text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_missing_package_is_named() {
        let reason = of("error: target not found: nosuch");
        assert!(matches!(reason, FailureReason::MissingPackage { package: Some(package) } if package == "nosuch"));
    }

    #[test]
    fn full_disks_conflicts_and_unreadable_databases_are_recognized() {
        assert_eq!(of("error: Partition / too full: 4 blocks needed, 1 blocks free"), FailureReason::DiskFull);
        let conflict = of("error: failed to prepare transaction (could not satisfy dependencies)");
        assert_eq!(conflict, FailureReason::Conflict);
        assert_eq!(of("error: failed to synchronize all databases"), FailureReason::Unreadable);
    }
}
