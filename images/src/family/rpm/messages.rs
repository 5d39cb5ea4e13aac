//! Tells from what dnf, rpmkeys and rpm say what went wrong.
//!
//! The kinds are told apart by the signs that the installer of `operator` has; what is read here besides is the name of
//! what is missing. The lines of the tests are those of dnf 4.14 and rpm 4.18 of Debian 12.

use crate::error::Cause;
use model::package_manager::PackageManager;
use operator::installer::{FailureKind, failure_kind};

/// The most telling cause among the lines.
pub(super) fn cause(lines: &[String]) -> Cause {
    let kind = |text: &str| failure_kind(PackageManager::Dnf, text);
    let of = |wanted: FailureKind| lines.iter().find(|line| kind(line) == wanted).cloned().unwrap_or_default();
    // By rpmkeys, which nobody else calls.
    if let Some(line) = lines.iter().find(|line| line.contains("SIGNATURES NOT OK") || line.contains("DIGESTS NOT OK"))
    {
        return Cause::Untrusted { detail: line.clone() };
    }
    match kind(&lines.join("\n")) {
        FailureKind::DiskFull => Cause::DiskFull,
        FailureKind::Verification => Cause::Untrusted { detail: untrusted(lines) },
        FailureKind::MissingPackage => match lines.iter().find_map(|line| missing(line)) {
            Some(package) => Cause::PackageMissing { package },
            None => Cause::CommandFailed,
        },
        FailureKind::Repository => match lines.iter().find_map(|line| absent(line, lines)) {
            Some(what) => Cause::NoSuchRelease { what },
            None => {
                let told = lines.iter().find(|line| line.contains("Curl error") || line.contains("Status code"));
                let detail = told.cloned().unwrap_or_else(|| of(FailureKind::Repository));
                Cause::MirrorUnreachable { detail: detail.trim_start_matches([' ', '-']).to_owned(), cached_age: None }
            }
        },
        _ => Cause::CommandFailed,
    }
}

/// `No match for argument: x`; dnf 5 says the same.
fn missing(line: &str) -> Option<String> {
    let (_, name) =
        line.split_once("No match for argument: ").or_else(|| line.split_once("Unable to find a match: "))?;
    name.split_whitespace().next().map(str::to_owned)
}

/// What a mirror that answers does not have: its index, and so the repository.
fn absent(line: &str, lines: &[String]) -> Option<String> {
    if let Some((_, name)) = line.split_once("Unknown repo: ") {
        return Some(format!("repository {}", name.trim().trim_matches('\'')));
    }
    if !(line.contains("Status code: 404") && line.contains("repomd.xml")) {
        return None;
    }
    Some(format!("repository {}", lines.iter().find_map(|line| repository(line)).unwrap_or("of the mirror")))
}

/// `x` of `for repository 'x'`, `for repo 'x'`.
fn repository(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("for repository '").or_else(|| line.split_once("for repo '"))?;
    rest.split('\'').next()
}

/// Which package, and by which keys; or which repository's index.
fn untrusted(lines: &[String]) -> String {
    let find = |phrases: &[&str]| lines.iter().find(|line| phrases.iter().any(|phrase| line.contains(phrase)));
    let telling = find(&[
        "Public key for ",
        "is not signed",
        "checksum doesn't match",
        "does not verify",
        "Bad GPG signature",
        "GPG signature is not available",
    ]);
    let is_one = |line: &&String| failure_kind(PackageManager::Dnf, line) == FailureKind::Verification;
    let line = telling.or_else(|| lines.iter().find(is_one)).cloned().unwrap_or_default();
    let line = line.trim_start_matches([' ', '-']).trim_end();
    let more = find(&["GPG Keys are configured as: "]).map(|keys| keys.trim().to_owned());
    let more = more.or_else(|| lines.iter().find_map(|l| repository(l)).map(|id| format!("repository {id}")));
    match more {
        Some(more) => format!("{line} ({more})"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Cause {
        cause(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_wrong_key_is_named_with_the_package() {
        let cause =
            of("Importing GPG key 0x1C4B6655:\n Userid     : \"wrong <wrong@b.example>\"\nKey imported successfully\n\
            Import of key(s) didn't help, wrong key(s)?\n\
            Public key for hello-1.0-1.noarch.rpm is not installed. Failing package is: hello-1.0-1.noarch\n \
            GPG Keys are configured as: file:///tmp/dnf/keys/wrong.asc\nError: GPG check FAILED");
        let Cause::Untrusted { detail } = cause else { panic!("{cause:?}") };
        assert!(detail.starts_with("Public key for hello-1.0-1.noarch.rpm is not installed."), "{detail}");
        assert!(detail.ends_with("/keys/wrong.asc)"), "{detail}");
        let cause = of("/tmp/archives/hello-1.0-1.noarch.rpm: digests SIGNATURES NOT OK");
        assert!(matches!(cause, Cause::Untrusted { detail } if detail.contains("hello-1.0-1")));
        let cause = of("/tmp/archives/hello-1.0-1.noarch.rpm: DIGESTS SIGNATURES NOT OK");
        assert!(matches!(cause, Cause::Untrusted { .. }));
    }

    #[test]
    fn an_index_of_which_only_half_is_there_is_not_trusted() {
        let cause = of("Errors during downloading metadata for repository 'main':\n  \
            - Downloading successful, but checksum doesn't match. Calculated: 4167(sha256)  Expected: f9ff(sha256) \n\
            Error: Failed to download metadata for repo 'main': Yum repo downloading error: Downloading error(s): repodata/f9ff-primary.xml.gz - Cannot download, all mirrors were already tried without success");
        let Cause::Untrusted { detail } = cause else { panic!("{cause:?}") };
        assert!(detail.starts_with("Downloading successful, but checksum doesn't match."), "{detail}");
        assert!(detail.ends_with("(repository main)"), "{detail}");
    }

    #[test]
    fn an_index_that_must_be_signed_and_is_not_is_not_trusted() {
        let failed = "Error: Failed to download metadata for repo 'main': ";
        for why in [
            "GPG verification is enabled, but GPG signature is not available. This may be an error or the repository does not support GPG verification: Curl error (37): Couldn't read a file:// file",
            "repomd.xml GPG signature verification error: Bad GPG signature",
        ] {
            let cause = of(&format!("Errors during downloading metadata for repository 'main':\n{failed}{why}"));
            assert!(
                matches!(&cause, Cause::Untrusted { detail } if detail.ends_with("(repository main)")),
                "{cause:?}"
            );
        }
    }

    #[test]
    fn a_missing_package_is_named() {
        let cause = of("No match for argument: nosuch\nError: Unable to find a match: nosuch");
        assert!(matches!(cause, Cause::PackageMissing { package } if package == "nosuch"));
    }

    #[test]
    fn a_mirror_that_does_not_answer_and_one_that_lacks_the_repository_are_told_apart() {
        let cause = of("Errors during downloading metadata for repository 'main':\n  \
            - Curl error (7): Couldn't connect to server for http://127.0.0.1:9/x/repodata/repomd.xml [Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server]\n\
            Error: Failed to download metadata for repo 'main': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried");
        assert!(
            matches!(&cause, Cause::MirrorUnreachable { detail, .. } if detail.starts_with("Curl error")),
            "{cause:?}"
        );
        let cause = of("Errors during downloading metadata for repository 'main':\n  \
            - Status code: 404 for http://mirror.example/x/repodata/repomd.xml (IP: 192.0.2.1)\n\
            Error: Failed to download metadata for repo 'main': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried");
        assert!(matches!(&cause, Cause::NoSuchRelease { what } if what == "repository main"), "{cause:?}");
        let cause = of("Error: Unknown repo: 'crb'");
        assert!(matches!(&cause, Cause::NoSuchRelease { what } if what == "repository crb"), "{cause:?}");
    }

    #[test]
    fn full_disks_and_anything_else() {
        let full = "error: installing package x needs 12MB more space on the / filesystem";
        assert!(matches!(of(full), Cause::DiskFull));
        let conflict =
            "Error: \n Problem: conflicting requests\n  - nothing provides /bin/sh needed by hello-1.0-1.noarch";
        assert!(matches!(of(conflict), Cause::CommandFailed));
    }
}
