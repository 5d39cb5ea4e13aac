//! Messages of dnf and rpm: dnf 4.14 and rpm 4.18 of Debian 12, and dnf5 5.2, which shows rpm's messages where dnf 4
//! has its own. The lines in the tests are those of dnf 4.14 and rpm 4.18.

use super::{FailureKind, FailureReason, FailureSigns, rpm};

pub(in crate::installer) static SIGNS: FailureSigns = FailureSigns {
    codes: &[(200, FailureKind::Locked)],
    words: &[
        (FailureKind::DiskFull, rpm::DISK_FULL),
        (
            FailureKind::Locked,
            &[
                "another copy is running",
                "already locked by",
                "transaction lock on",
                "failed to obtain the transaction lock",
                "failed to obtain rpm transaction lock", // dnf5.
                "waiting for process with pid",
            ],
        ),
        (FailureKind::Verification, rpm::VERIFICATION),
        (FailureKind::Verification, &["pgp check for package"]), // dnf5.
        // An index that must be signed.
        (FailureKind::Verification, &["bad gpg signature", "gpg signature is not available"]),
        (FailureKind::MissingPackage, &["no match for argument", "unable to find a match"]),
        (
            FailureKind::Repository,
            &[
                "failed to download metadata",
                "cannot download",
                "no enabled repositories",
                "errors during downloading",
                "failed to download packages",  // dnf5.
                "no matching repositories for", // dnf5.
                "unknown repo",
                "is invalid",
                "failed to synchronize",
                "could not be opened",
                "does not exist",
                "repository error",
            ],
        ),
        (
            FailureKind::Conflict,
            &[
                "conflicts with",
                "conflicts between",
                "conflicting requests",
                "problem:",
                "problem 1:", // If there are several.
                "nothing provides",
            ],
        ),
    ],
    package: missing,
    untrusted,
    repository,
};

/// Extracts `x` from `No match for argument: x`; dnf 5 prints the same.
fn missing(line: &str) -> Option<&str> {
    let (_, name) =
        line.split_once("No match for argument: ").or_else(|| line.split_once("Unable to find a match: "))?;
    name.split_whitespace().next()
}

/// Names the package and the keys it was checked with, or the repository of the index.
fn untrusted(lines: &[String], first: &str) -> String {
    let find = |phrases: &[&str]| lines.iter().find(|line| phrases.iter().any(|phrase| line.contains(phrase)));
    let telling = find(&[
        "Public key for ",
        "is not signed",
        "checksum doesn't match",
        "does not verify",
        "Bad GPG signature",
        "GPG signature is not available",
        "SIGNATURES NOT OK",
        "DIGESTS NOT OK",
    ]);
    let line = telling.map_or(first, String::as_str).trim_start_matches([' ', '-']).trim_end();
    let more = find(&["GPG Keys are configured as: "]).map(|keys| keys.trim().to_owned());
    let more = more.or_else(|| lines.iter().find_map(|l| id(l)).map(|id| format!("repository {id}")));
    match more {
        Some(more) => format!("{line} ({more})"),
        None => line.to_owned(),
    }
}

fn repository(lines: &[String], first: &str) -> FailureReason {
    if let Some(what) = lines.iter().find_map(|line| absent(line, lines)) {
        return FailureReason::MissingIndex { what };
    }
    let transfer_error = lines.iter().find(|line| line.contains("Curl error") || line.contains("Status code"));
    let detail = transfer_error.map_or(first, String::as_str).trim_start_matches([' ', '-']).to_owned();
    FailureReason::Unreachable { detail }
}

/// Returns the repository whose index is missing on a mirror that answers.
fn absent(line: &str, lines: &[String]) -> Option<String> {
    if let Some((_, name)) = line.split_once("Unknown repo: ") {
        return Some(format!("repository {}", name.trim().trim_matches('\'')));
    }
    if !(line.contains("Status code: 404") && line.contains("repomd.xml")) {
        return None;
    }
    Some(format!("repository {}", lines.iter().find_map(|line| id(line)).unwrap_or("of the mirror")))
}

/// Extracts `x` from `for repository 'x'` or `for repo 'x'`.
fn id(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("for repository '").or_else(|| line.split_once("for repo '"))?;
    rest.split('\'').next()
}

#[cfg(test)]
mod tests {
    use crate::installer::{FailureReason, Installer, failure_reason};

    fn of(text: &str) -> FailureReason {
        failure_reason(Installer::Dnf, &text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_wrong_key_is_named_with_the_package() {
        let reason =
            of("Importing GPG key 0x1C4B6655:\n Userid     : \"wrong <wrong@b.example>\"\nKey imported successfully\n\
            Import of key(s) didn't help, wrong key(s)?\n\
            Public key for hello-1.0-1.noarch.rpm is not installed. Failing package is: hello-1.0-1.noarch\n \
            GPG Keys are configured as: file:///tmp/dnf/keys/wrong.asc\nError: GPG check FAILED");
        let FailureReason::Untrusted { detail } = reason else { panic!("{reason:?}") };
        assert!(detail.starts_with("Public key for hello-1.0-1.noarch.rpm is not installed."), "{detail}");
        assert!(detail.ends_with("/keys/wrong.asc)"), "{detail}");
        let reason = of("/tmp/archives/hello-1.0-1.noarch.rpm: digests SIGNATURES NOT OK");
        assert!(matches!(reason, FailureReason::Untrusted { detail } if detail.contains("hello-1.0-1")));
        let reason = of("/tmp/archives/hello-1.0-1.noarch.rpm: DIGESTS SIGNATURES NOT OK");
        assert!(matches!(reason, FailureReason::Untrusted { .. }));
    }

    #[test]
    fn an_index_with_a_wrong_checksum_is_untrusted() {
        let reason = of("Errors during downloading metadata for repository 'main':\n  \
            - Downloading successful, but checksum doesn't match. Calculated: 4167(sha256)  Expected: f9ff(sha256) \n\
            Error: Failed to download metadata for repo 'main': Yum repo downloading error: Downloading error(s): repodata/f9ff-primary.xml.gz - Cannot download, all mirrors were already tried without success");
        let FailureReason::Untrusted { detail } = reason else { panic!("{reason:?}") };
        assert!(detail.starts_with("Downloading successful, but checksum doesn't match."), "{detail}");
        assert!(detail.ends_with("(repository main)"), "{detail}");
    }

    #[test]
    fn an_index_without_a_good_signature_is_untrusted() {
        let failed = "Error: Failed to download metadata for repo 'main': ";
        for why in [
            "GPG verification is enabled, but GPG signature is not available. This may be an error or the repository does not support GPG verification: Curl error (37): Couldn't read a file:// file",
            "repomd.xml GPG signature verification error: Bad GPG signature",
        ] {
            let reason = of(&format!("Errors during downloading metadata for repository 'main':\n{failed}{why}"));
            assert!(
                matches!(&reason, FailureReason::Untrusted { detail } if detail.ends_with("(repository main)")),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_missing_package_is_named() {
        let reason = of("No match for argument: nosuch\nError: Unable to find a match: nosuch");
        assert!(matches!(reason, FailureReason::MissingPackage { package: Some(package) } if package == "nosuch"));
    }

    #[test]
    fn unreachable_mirrors_and_missing_repositories_are_distinguished() {
        let reason = of("Errors during downloading metadata for repository 'main':\n  \
            - Curl error (7): Couldn't connect to server for http://127.0.0.1:9/x/repodata/repomd.xml [Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server]\n\
            Error: Failed to download metadata for repo 'main': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried");
        assert!(
            matches!(&reason, FailureReason::Unreachable { detail, .. } if detail.starts_with("Curl error")),
            "{reason:?}"
        );
        let reason = of("Errors during downloading metadata for repository 'main':\n  \
            - Status code: 404 for http://mirror.example/x/repodata/repomd.xml (IP: 192.0.2.1)\n\
            Error: Failed to download metadata for repo 'main': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried");
        assert!(matches!(&reason, FailureReason::MissingIndex { what } if what == "repository main"), "{reason:?}");
        let reason = of("Error: Unknown repo: 'crb'");
        assert!(matches!(&reason, FailureReason::MissingIndex { what } if what == "repository crb"), "{reason:?}");
    }

    #[test]
    fn full_disks_and_conflicts_are_recognized() {
        let full = "error: installing package x needs 12MB more space on the / filesystem";
        assert!(matches!(of(full), FailureReason::DiskFull));
        let conflict =
            "Error: \n Problem: conflicting requests\n  - nothing provides /bin/sh needed by hello-1.0-1.noarch";
        assert_eq!(of(conflict), FailureReason::Conflict);
    }
}
