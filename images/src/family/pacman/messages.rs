//! Tells from what pacman, curl and gpg say what went wrong.
//!
//! pacman's kinds of failures are told apart by the signs that the installer of `operator` has. The lines of the tests are
//! those of pacman 6.0, curl 7.88 and gpg 2.2 of Debian 12.

use crate::error::Cause;
use crate::family::download;
use model::package_manager::PackageManager;
use operator::installer::{FailureKind, failure_kind};

/// The most telling cause among the lines.
pub(super) fn cause(lines: &[String]) -> Cause {
    if let Some(cause) = lines.iter().find_map(|line| download::cause(line)) {
        return cause;
    }
    if let Some(line) = lines.iter().find(|line| line.starts_with("gpg: ") && is_no_good(line)) {
        let key = lines.iter().find_map(|line| line.split_once(" key ").filter(|_| line.starts_with("gpg:  ")));
        let key = key.map(|(_, key)| format!(" ({key})")).unwrap_or_default();
        return Cause::Untrusted { detail: format!("{}{key}", line.trim_start_matches("gpg: ")) };
    }
    let said = lines.join("\n");
    match failure_kind(PackageManager::Pacman, &said) {
        FailureKind::DiskFull => Cause::DiskFull,
        FailureKind::MissingPackage => match lines.iter().find_map(|line| line.split_once("target not found: ")) {
            Some((_, package)) => Cause::PackageMissing { package: package.trim().to_owned() },
            None => Cause::CommandFailed,
        },
        FailureKind::Verification => {
            let is_one = |line: &&String| failure_kind(PackageManager::Pacman, line) == FailureKind::Verification;
            Cause::Untrusted { detail: lines.iter().find(is_one).cloned().unwrap_or_default() }
        }
        _ => Cause::CommandFailed,
    }
}

fn is_no_good(line: &str) -> bool {
    [
        "BAD signature",
        "Can't check signature",
        "no valid OpenPGP data",
        "no signature found",
        "the signature could not be verified",
    ]
    .iter()
    .any(|phrase| line.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Cause {
        cause(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_missing_package_is_named() {
        let cause = of("error: target not found: nosuch");
        assert!(matches!(cause, Cause::PackageMissing { package } if package == "nosuch"));
    }

    #[test]
    fn a_wrong_key_and_a_damaged_file_are_named() {
        let made = "gpg: Signature made Sun Nov 29 06:41:24 2026 UTC\ngpg:                using RSA key AB7AD4A0\n";
        let cause = of(&format!("{made}gpg: Can't check signature: No public key"));
        assert!(
            matches!(&cause, Cause::Untrusted { detail } if detail == "Can't check signature: No public key (AB7AD4A0)"),
            "{cause:?}"
        );
        let cause = of(&format!("{made}gpg: BAD signature from \"good <good@b.example>\" [full]"));
        assert!(matches!(&cause, Cause::Untrusted { detail } if detail.starts_with("BAD signature from")), "{cause:?}");
    }

    #[test]
    fn curls_and_pacmans_own_failures() {
        assert!(matches!(of("curl: (6) Could not resolve host: mirror.example"), Cause::MirrorUnreachable { .. }));
        assert!(matches!(of("curl: (22) The requested URL returned error: 404"), Cause::NoSuchRelease { .. }));
        assert!(matches!(of("error: Partition / too full: 4 blocks needed, 1 blocks free"), Cause::DiskFull));
        assert!(matches!(
            of("error: failed to prepare transaction (could not satisfy dependencies)"),
            Cause::CommandFailed
        ));
    }
}
