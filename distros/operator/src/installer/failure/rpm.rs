//! Messages common to dnf and zypper, because both pass on rpm's: those of rpm 4.18 of Debian 12, and rpm's own up to
//! 6.0.

/// Messages about a full disk.
pub(super) const DISK_FULL: &[&str] = &[
    "no space left on device",
    "more space needed on the",
    "more space on the",
    "more inodes on the",
    "insufficient disk space",
    "disk full",
];

/// Messages about a wrong or missing checksum or signature.
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
    // Messages of rpmkeys.
    "signatures not ok",
    "digests not ok",
];
