//! What the makers of a component have mended, so that a distro needs to look for no cure.

use super::case::FailedTest;
use super::feature::Series;
use model::share::Share;
use suites::outcome::Component;

/// A fault that a later release does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mended {
    of: Component,
    /// On which share.
    share: Option<Share>,
    /// By which words a failure shows it.
    sign: &'static str,
    /// The change's title.
    pub(super) change: &'static str,
    /// Where it is talked about.
    pub(super) address: &'static str,
    /// The first series that has the change from its beginning.
    since: Series,
}

const MENDED: &[Mended] = &[
    // Brought by what mends the CVE (f6b0de53fb8), which all branches that were kept then have.
    Mended {
        of: Component::Qemu,
        share: Some(Share::Virtio9p),
        sign: "No such device or address",
        change: "9pfs: fix regression regarding CVE-2023-2861",
        address: "https://gitlab.com/qemu-project/qemu/-/issues/2337",
        since: Series::new(10, 0),
    },
];

/// The change that mends a failure, where the release's package is older.
pub(super) fn mended(failed: &FailedTest<'_>) -> Option<&'static Mended> {
    let series = Series::of_package(failed.package().version.as_deref()?)?;
    let own = |one: &&Mended| {
        one.of == failed.failure.component
            && one.share == failed.test.share
            && failed.failure.observed.contains(one.sign)
    };
    MENDED.iter().filter(own).find(|one| series < one.since)
}

impl Mended {
    /// In a sentence.
    pub(super) fn words(&self) -> String {
        let Mended { of, change, address, since, .. } = self;
        let name = if *of == Component::Qemu { "QEMU" } else { of.name() };
        format!("{name}'s makers have mended it by \"{change}\" ({address}), which {name} {since} and later have.")
    }
}
