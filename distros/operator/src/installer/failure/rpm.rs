//! What dnf and zypper say alike, because rpm says it to both: rpm 4.18 of Debian 12, and its own words up to 6.0.

/// Of a disk that is full.
pub(super) const DISK_FULL: &[&str] = &[
    "no space left on device",
    "more space needed on the",
    "more space on the",
    "more inodes on the",
    "insufficient disk space",
    "disk full",
];

/// Of a checksum or signature that is wrong or missing.
pub(super) const VERIFICATION: &[&str] = &[
    "is not signed",
    "checksum doesn't match",
    "checksums do not match",
    "does not match the expected checksum",
    "checksum mismatch",
    "gpg check failed",
    "does not verify",
    "verification failed",
    "digest verification",
    "wrong digest",
    "unexpected checksum",
    "incorrect checksum",
    // rpmkeys.
    "signatures not ok",
    "digests not ok",
];
