//! Faults that upstream has already fixed, so that a distro need not look for a fix.

use super::case::FailedTest;
use super::feature::Series;
use model::share::Share;
use suites::outcome::{Component, FailureDetail};

/// A fault that later releases do not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UpstreamFix {
    of: Component,
    /// The share that has the fault.
    share: Option<Share>,
    /// The number of the error that a system call returns instead: 6 is ENXIO.
    errno: i32,
    /// The fixing change's title.
    pub(super) change: &'static str,
    /// The discussion of the change.
    pub(super) address: &'static str,
    /// The first series that has the change from its beginning.
    since: Series,
}

const UPSTREAM_FIXES: &[UpstreamFix] = &[
    // Introduced by the fix for the CVE (f6b0de53fb8), which all maintained branches therefore have.
    UpstreamFix {
        of: Component::Qemu,
        share: Some(Share::Virtio9p),
        errno: 6,
        change: "9pfs: fix regression regarding CVE-2023-2861",
        address: "https://gitlab.com/qemu-project/qemu/-/issues/2337",
        since: Series::new(10, 0),
    },
];

/// Returns the change that fixes a failure, if the release's package is older.
pub(super) fn upstream_fix(failed: &FailedTest<'_>) -> Option<&'static UpstreamFix> {
    let series = Series::of_package(&failed.package().version?)?;
    let own = |one: &&UpstreamFix| {
        one.of == failed.failure.component
            && one.share == failed.test.share
            && failed.failure.detail == FailureDetail::SystemCall { errno: one.errno }
    };
    UPSTREAM_FIXES.iter().filter(own).find(|one| series < one.since)
}

impl UpstreamFix {
    /// Formats the change as a sentence.
    pub(super) fn words(&self) -> String {
        let UpstreamFix { of, change, address, since, .. } = self;
        let name = if *of == Component::Qemu { "QEMU" } else { of.name() };
        format!(
            "{name}'s developers have fixed it with \"{change}\" ({address}), which is in {name} {since} and \
             later."
        )
    }
}
