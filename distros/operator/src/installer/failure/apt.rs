//! Messages of apt and dpkg, also when run by mmdebstrap: apt 2.6 and dpkg 1.21 of Debian 12, and the different ones of
//! apt 3.0 to 3.2.

use super::{FailureKind, FailureReason, FailureSigns};

pub(in crate::installer) static SIGNS: FailureSigns = FailureSigns {
    codes: &[],
    words: &[
        (FailureKind::DiskFull, &["no space left on device", "enough free space"]),
        (FailureKind::Locked, &["could not get lock", "unable to acquire the dpkg", "was locked by another process"]),
        (
            FailureKind::Verification,
            &[
                "hash sum mismatch",
                "has unexpected size",
                "no_pubkey",
                "expkeysig",
                "badsig",
                "is not signed",
                "is no longer signed",
                "cannot be authenticated",
                "could not be authenticated",
                "unauthenticated packages",
                "verification failed",
                "signatures were invalid",
            ],
        ),
        (FailureKind::MissingPackage, &["unable to locate package", "has no installation candidate"]),
        (FailureKind::Repository, SILENT),
        (
            FailureKind::Repository,
            &[
                "is expired (",
                "does not have a release file",
                "no longer has a release file",
                "is invalid",
                "could not be opened",
                "does not exist",
                "unable to parse package file",
                "sources list could not be read",
            ],
        ),
        (
            FailureKind::Conflict,
            &[
                "unmet dependencies",
                "remove is disabled",
                "conflicts with",
                "unable to satisfy", // apt 3.
                "held broken packages",
            ],
        ),
    ],
    package: missing,
    untrusted: |_, line| line.to_owned(),
    repository,
};

/// Messages, in lower case, about a mirror that does not answer.
const SILENT: &[&str] = &[
    "could not resolve",
    "temporary failure resolving",
    "could not connect",
    "unable to connect",
    "connection failed",
    "connection timed out",
    "connection refused",
    "network is unreachable",
    "cannot initiate the connection",
    "could not wait for server fd",
    "could not handshake",
    "403  forbidden",
    "401  unauthorized",
    "407  proxy",
    "500  internal",
    "502  bad",
    "503  service",
    "504  gateway",
    "failed to fetch",
];

fn missing(line: &str) -> Option<&str> {
    match line.split_once("Unable to locate package ") {
        Some((_, name)) => Some(name.trim()),
        None => {
            let (before, _) = line.split_once(" has no installation candidate")?;
            Some(before.rsplit_once("Package ")?.1.trim_matches(['\'', '"']))
        }
    }
}

fn repository(lines: &[String], _: &str) -> FailureReason {
    if let Some(suite) = lines.iter().find_map(|line| expired(line)) {
        return FailureReason::Expired { suite };
    }
    let silent =
        lines.iter().find(|line| is_silent(line)).map(|line| FailureReason::Unreachable { detail: line.clone() });
    let absent = || {
        lines.iter().find(|line| is_absent(line)).map(|line| FailureReason::MissingIndex { what: missing_index(line) })
    };
    // If no mirror answers, apt reports both that it cannot connect and that there is no Release file.
    silent.or_else(absent).unwrap_or(FailureReason::Unreadable)
}

fn expired(line: &str) -> Option<String> {
    let (before, _) = line.split_once(" is expired (")?;
    let address = before.split_once("Release file for ")?.1;
    Some(between_dists(address).unwrap_or_else(|| address.to_owned()))
}

fn is_silent(line: &str) -> bool {
    let line = line.to_lowercase();
    // If the mirror lacks a package that its index lists, it answers and is merely inconsistent.
    !line.contains("404  not found") && SILENT.iter().any(|phrase| line.contains(phrase))
}

/// Checks whether the mirror lacks a suite, or an index listed in the suite's Release file.
fn is_absent(line: &str) -> bool {
    line.contains("does not have a Release file") || line.contains("404  Not Found") && line.contains("/dists/")
}

fn missing_index(line: &str) -> String {
    let addresses = || line.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    let index = addresses().find_map(|address| Some(address.split_once("/dists/")?.1));
    if let Some(index) = index.filter(|index| !["InRelease", "Release"].iter().any(|end| index.ends_with(end))) {
        return format!("index {index}");
    }
    let quoted = || line.split('\'').nth(1).and_then(|q| q.split(' ').nth(1)).map(str::to_owned);
    match addresses().find_map(between_dists).or_else(quoted) {
        Some(suite) => format!("suite {suite}"),
        None => "the suite".to_owned(),
    }
}

/// Extracts `trixie-security` from `…/dists/trixie-security/InRelease`.
fn between_dists(address: &str) -> Option<String> {
    let rest = address.split_once("/dists/")?.1;
    let suite = rest.rsplit_once('/').map_or(rest, |(suite, _)| suite);
    (!suite.is_empty()).then(|| suite.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::installer::{FailureReason, Installer, failure_reason};

    fn of(text: &str) -> FailureReason {
        failure_reason(Installer::Apt, &text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn an_expired_release_file_is_reported_with_its_suite() {
        let reason = of("I: running apt-get update...\n\
            Get:1 http://mirror.example/debian sid InRelease [193 kB]\n\
            Reading package lists...\n\
            E: Release file for http://mirror.example/debian/dists/sid/InRelease is expired (invalid since 14d 20h 25min 22s). Updates for this repository will not be applied.\n\
            E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed\n\
            E: mmdebstrap failed to run");
        assert!(matches!(reason, FailureReason::Expired { suite } if suite == "sid"));
    }

    #[test]
    fn a_missing_package_is_named() {
        let reason = of("Reading package lists...\nE: Unable to locate package virtiofsd");
        assert!(matches!(reason, FailureReason::MissingPackage { package: Some(package) } if package == "virtiofsd"));
        let reason = of("E: Package 'qemu-kvm' has no installation candidate");
        assert!(matches!(reason, FailureReason::MissingPackage { package: Some(package) } if package == "qemu-kvm"));
        let reason = of("E: Package qemu-kvm has no installation candidate");
        assert!(matches!(reason, FailureReason::MissingPackage { package: Some(package) } if package == "qemu-kvm"));
    }

    #[test]
    fn an_unreachable_mirror_is_recognized() {
        for text in [
            "E: Failed to fetch http://192.0.2.1:9/debian/dists/sid/InRelease  Could not connect to 192.0.2.1:9 (192.0.2.1). - connect (111: Connection refused)\nE: Download Failed",
            "E: Failed to fetch http://mirror.invalid/debian/dists/sid/InRelease  Could not resolve 'mirror.invalid'",
            "Err:1 http://mirror.example/debian sid InRelease\n  503  Service Unavailable\nE: Failed to fetch x",
            // apt-get update adds a second, misleading error.
            "W: Failed to fetch http://mirror.invalid/debian/dists/sid/InRelease  Temporary failure resolving 'mirror.invalid'\nE: The repository 'http://mirror.invalid/debian sid Release' does not have a Release file.",
        ] {
            assert!(matches!(of(text), FailureReason::Unreachable { .. }), "{text}");
        }
    }

    #[test]
    fn a_missing_suite_is_named() {
        let reason = of(
            "Err:1 http://mirror.example/debian/dists/nosuch/InRelease\n  404  Not Found [IP: 192.0.2.80 80]\n\
            E: Failed to fetch http://mirror.example/debian/dists/nosuch/InRelease  404  Not Found [IP: 192.0.2.80 80]\n\
            E: Download Failed",
        );
        assert!(matches!(reason, FailureReason::MissingIndex { ref what } if what == "suite nosuch"), "{reason:?}");
        let reason =
            of("E: The repository 'http://mirror.example/debian nosuch Release' does not have a Release file.");
        assert!(matches!(reason, FailureReason::MissingIndex { ref what } if what == "suite nosuch"), "{reason:?}");
    }

    #[test]
    fn a_missing_index_is_named() {
        let reason = of(
            "Err:2 http://mirror.example/debian sid/main amd64 Packages\n  404  Not Found [IP: 192.0.2.80 80]\n\
            E: Failed to fetch http://mirror.example/debian/dists/sid/main/binary-amd64/Packages  404  Not Found [IP: 192.0.2.80 80]\n\
            E: Some index files failed to download. They have been ignored, or old ones used instead.",
        );
        let expected = "index sid/main/binary-amd64/Packages";
        assert!(matches!(reason, FailureReason::MissingIndex { ref what } if what == expected), "{reason:?}");
    }

    #[test]
    fn a_full_disk_is_reported_before_its_consequences() {
        let reason = of(
            "dpkg: error processing archive x.deb (--unpack):\n cannot copy extracted data: No space left on device\nE: Failed to fetch y",
        );
        assert!(matches!(reason, FailureReason::DiskFull));
    }

    #[test]
    fn a_repository_with_an_unknown_key_is_untrusted() {
        let reason = of(
            "W: GPG error: http://mirror.example sid InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0123456789ABCDEF\nE: The repository 'http://mirror.example sid InRelease' is not signed.",
        );
        assert!(matches!(reason, FailureReason::Untrusted { .. }));
    }

    #[test]
    fn an_unknown_failure_has_no_specific_reason() {
        assert!(matches!(of("dpkg: error processing package x (--configure):"), FailureReason::Other));
    }
}
