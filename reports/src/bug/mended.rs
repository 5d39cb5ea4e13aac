//! Faults that upstream has already fixed, so that a distro need not look for a fix.

use super::case::FailedTest;
use super::feature::Series;
use model::share::Share;
use suites::outcome::Component;

/// A fault that later releases do not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mended {
    of: Component,
    /// The share that has the fault.
    share: Option<Share>,
    /// The words in a failure that show the fault.
    sign: &'static str,
    /// The fixing change's title.
    pub(super) change: &'static str,
    /// The discussion of the change.
    pub(super) address: &'static str,
    /// The first series that has the change from its beginning.
    since: Series,
}

const MENDED: &[Mended] = &[
    // Introduced by the fix for the CVE (f6b0de53fb8), which all maintained branches therefore have.
    Mended {
        of: Component::Qemu,
        share: Some(Share::Virtio9p),
        sign: "No such device or address",
        change: "9pfs: fix regression regarding CVE-2023-2861",
        address: "https://gitlab.com/qemu-project/qemu/-/issues/2337",
        since: Series::new(10, 0),
    },
];

/// Returns the change that fixes a failure, if the release's package is older.
pub(super) fn mended(failed: &FailedTest<'_>) -> Option<&'static Mended> {
    let series = Series::of_package(&failed.package().version?)?;
    let own = |one: &&Mended| {
        one.of == failed.failure.component
            && one.share == failed.test.share
            && failed.failure.observed.contains(one.sign)
    };
    MENDED.iter().filter(own).find(|one| series < one.since)
}

impl Mended {
    /// Formats the change as a sentence.
    pub(super) fn words(&self) -> String {
        let Mended { of, change, address, since, .. } = self;
        let name = if *of == Component::Qemu { "QEMU" } else { of.name() };
        format!(
            "{name}'s developers have fixed it with \"{change}\" ({address}), which is in {name} {since} and \
             later."
        )
    }
}
