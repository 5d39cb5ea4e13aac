//! Messages of zypper and rpm: exit codes according to zypper(8), messages of zypper 1.14 and rpm 4.18 of Debian 12,
//! and rpm's own up to 6.0, which zypper passes on.

use super::{FailureKind, FailureSigns, NOTHING_KNOWN, rpm};

pub(in crate::installer) static SIGNS: FailureSigns = FailureSigns {
    codes: &[(6, FailureKind::Repository), (7, FailureKind::Locked), (104, FailureKind::MissingPackage)],
    words: &[
        (FailureKind::DiskFull, rpm::DISK_FULL),
        (
            FailureKind::DiskFull,
            &[
                "enough free space",
                "free disk space", // If a package does not fit into the cache.
                "can't hardlink/copy",
            ],
        ),
        (FailureKind::Locked, &["transaction lock on", "system management is locked"]),
        (FailureKind::Verification, rpm::VERIFICATION),
        (FailureKind::MissingPackage, &["not found in package names", "no provider of"]),
        (
            FailureKind::Repository,
            &[
                "failed to download metadata",
                "cannot download",
                "is invalid",
                "valid metadata not found",
                "no repositories defined",
                "could not be opened",
                "does not exist",
                "failed to cache rpm",
                "repository error",
                "could not refresh the repositories",
                "skipping repository",
            ],
        ),
        (
            FailureKind::Conflict,
            &["conflicts with", "conflicts between", "conflicting requests", "problem:", "nothing provides"],
        ),
    ],
    ..NOTHING_KNOWN
};
