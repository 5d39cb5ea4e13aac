//! Messages of apk-tools 2.14, taken from its source, because no apk was run.

use super::{FailureKind, FailureSigns, NOTHING_KNOWN};

pub(in crate::installer) static SIGNS: FailureSigns = FailureSigns {
    words: &[
        (FailureKind::DiskFull, &["no space left on device"]),
        // A package missing from an untrusted index does not count as missing.
        (
            FailureKind::Verification,
            &["untrusted signature", ": untrusted", "bad signature", "bad archive", "package integrity error"],
        ),
        (FailureKind::MissingPackage, &["(no such package)"]),
    ],
    package: |line| line.split_once(" (no such package)").map(|(package, _)| package.trim()),
    ..NOTHING_KNOWN
};

#[cfg(test)]
mod tests {
    use crate::installer::{FailureReason, Installer, failure_reason};

    fn of(text: &str) -> FailureReason {
        failure_reason(Installer::Apk, &text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_missing_package_is_named() {
        let reason =
            of("ERROR: unable to select packages:\n  nosuch (no such package):\n    required by: world[nosuch]");
        assert!(matches!(reason, FailureReason::MissingPackage { package: Some(package) } if package == "nosuch"));
    }

    #[test]
    fn an_untrusted_index_is_not_reported_as_a_missing_package() {
        let text = "WARNING: opening /var/cache/kata-qualify/main: UNTRUSTED signature\nERROR: unable to select packages:\n  qemu (no such package):\n    required by: world[qemu]";
        assert!(
            matches!(of(text), FailureReason::Untrusted { detail } if detail.contains("/main: UNTRUSTED signature"))
        );
        assert!(matches!(of("ERROR: qemu-9-r0: BAD signature"), FailureReason::Untrusted { .. }));
    }

    #[test]
    fn full_disks_and_other_failures_are_distinguished() {
        assert_eq!(of("ERROR: x-1-r0: No space left on device"), FailureReason::DiskFull);
        assert!(matches!(of("ERROR: busybox-1-r0.trigger: script exited with error 1"), FailureReason::Other));
    }
}
