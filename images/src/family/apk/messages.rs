//! Tells from what apk and curl say what went wrong.
//!
//! The lines of the tests are those of apk-tools 2.14, by its source: no apk was asked.

use crate::error::Cause;
use crate::family::download;

/// The most telling cause among the lines.
pub(super) fn cause(lines: &[String]) -> Cause {
    if let Some(cause) = lines.iter().find_map(|line| download::cause(line)) {
        return cause;
    }
    let find = |phrases: &[&str]| lines.iter().find(|line| phrases.iter().any(|phrase| line.contains(phrase)));
    if find(&["No space left on device"]).is_some() {
        return Cause::DiskFull;
    }
    // What an index lacks that nobody trusts is no package that is missing.
    let signs = ["UNTRUSTED signature", "BAD signature", "BAD archive", "package integrity error", "UNTRUSTED"];
    if let Some(line) = find(&signs) {
        return Cause::Untrusted { detail: line.clone() };
    }
    match lines.iter().find_map(|line| line.split_once(" (no such package)")) {
        Some((package, _)) => Cause::PackageMissing { package: package.trim().to_owned() },
        None => Cause::CommandFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Cause {
        cause(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_missing_package_is_named() {
        let cause =
            of("ERROR: unable to select packages:\n  nosuch (no such package):\n    required by: world[nosuch]");
        assert!(matches!(cause, Cause::PackageMissing { package } if package == "nosuch"));
    }

    #[test]
    fn an_index_that_nobody_trusts_lacks_nothing() {
        let text = "WARNING: opening /var/cache/kata-qualify/main: UNTRUSTED signature\nERROR: unable to select packages:\n  qemu (no such package):\n    required by: world[qemu]";
        assert!(matches!(of(text), Cause::Untrusted { detail } if detail.contains("/main: UNTRUSTED signature")));
        assert!(matches!(of("ERROR: qemu-9-r0: BAD signature"), Cause::Untrusted { .. }));
    }

    #[test]
    fn a_mirror_that_does_not_answer_and_anything_else() {
        assert!(matches!(of("curl: (6) Could not resolve host: mirror.example"), Cause::MirrorUnreachable { .. }));
        assert!(matches!(of("ERROR: busybox-1-r0.trigger: script exited with error 1"), Cause::CommandFailed));
    }
}
