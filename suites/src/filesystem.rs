//! Properties of the filesystems that a Kata guest is given.
//!
//! A property is an ordinary function in the module of its theme, listed in that module's `ROWS`.
//! Most run inside the guest on a [`Site`]; those between host and guest run in the environment on a [`Pair`].
//! The former also run natively, as the control: a failure there says nothing about a distro.

mod attributes;
mod caches;
mod concurrency;
mod confinement;
mod conformance;
mod daemon_end;
mod data;
mod descriptors;
mod directories;
mod durability;
mod expect;
mod fsx;
mod guest_side;
mod handles;
mod ids;
mod links;
mod locks;
mod mapping;
mod mount;
mod names;
mod nodes;
mod opening;
mod overlay;
mod pair;
mod permissions;
mod proves;
mod random_writes;
mod renames;
mod space;
mod submounts;
mod times;
mod two_sides;
mod user;
mod visibility;
mod watching;

#[cfg(test)]
mod tests;

use crate::capability::Capability;
use crate::reproducer::Reproducer;
use crate::row::{Row, test_id};
use crate::share::Share;
use crate::test::{Place, Suite, Test};
use crate::under;
use model::profile::DaemonSetting;

pub use crate::environment::{Action, Bytes, DaemonSignal, Effort, FileKind, GuestSide, Pair, Reply, Site, Status};
pub use crate::test::{GuestBody, PairBody};
pub use conformance::{NATIVE_FAILURES, pjdfstest_failures, record_native_failures};
pub use guest_side::{BadAction, perform};
pub use mapping::read_mapped;

/// The body that must pass before any other one.
const MOUNTS: &str = "mounts_in_the_guest";

/// Returns the rows of this suite, in the order of running.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let themes: [&'static [Row]; 29] = [
        mount::ROWS,
        visibility::ROWS,
        two_sides::ROWS,
        watching::ROWS,
        caches::ROWS,
        names::ROWS,
        directories::ROWS,
        opening::ROWS,
        data::ROWS,
        mapping::ROWS,
        renames::ROWS,
        links::ROWS,
        handles::ROWS,
        permissions::ROWS,
        ids::ROWS,
        times::ROWS,
        locks::ROWS,
        concurrency::ROWS,
        space::ROWS,
        submounts::ROWS,
        overlay::ROWS,
        nodes::ROWS,
        confinement::ROWS,
        attributes::ROWS,
        conformance::ROWS,
        fsx::ROWS,
        descriptors::ROWS,
        // These kill the guest, so they come last.
        durability::ROWS,
        daemon_end::ROWS,
    ];
    themes.into_iter().flatten()
}

/// Returns the tests of this suite: one for each property and applicable share, and for each setting it is tried with.
pub(crate) fn tests() -> Vec<Test> {
    let mut all = Vec::new();
    for row in rows() {
        let shares = Share::ALL.iter().filter(|share| row.proves.iter().any(|c| c.share() == Some(**share)));
        for share in shares {
            let with: &[DaemonSetting] = if *share == Share::VirtioFs { row.settings } else { &[] };
            let settings = row.as_shipped.then_some(None).into_iter().chain(with.iter().copied().map(Some));
            all.extend(settings.flat_map(|with| row.places.iter().map(move |place| test(row, *place, *share, with))));
        }
    }
    all
}

fn test(row: &Row, place: Place, share: Share, with: Option<DaemonSetting>) -> Test {
    let about = with.map(proves::about);
    let module = match about.as_ref().and_then(|about| about.module) {
        Some(setting) => format!("filesystem::{}_{setting}", share.module()),
        None => format!("filesystem::{}", share.module()),
    };
    let mut test = row.test(Suite::Filesystem, &module, place, Some(share));
    match about {
        Some(about) => {
            test.proves = vec![about.proves];
            test.profiles = about.under.map_or(test.profiles, |names| names.as_slice());
        }
        None => test.proves.retain(|capability| capability.share() == Some(share)),
    }
    test.setting = with.or_else(|| always_with(&test.proves));
    if row.name == MOUNTS {
        test.blocked_by = mount::blockers(share);
    } else if row.blocked_by.is_none() {
        test.blocked_by = vec![test_id(&format!("{module}::{MOUNTS}"))];
    }
    match share {
        // On a disk of its own the guest makes the nodes itself.
        Share::VirtioBlk => {
            test.needs = &[];
            // A script with a C program would only try the guest's own ext4, because nothing serves this share.
            test.reproducer = test.reproducer.filter(|by| !matches!(by, Reproducer::SystemCalls(_)));
        }
        Share::Virtio9p => test.profiles = &under::NINEP,
        Share::VirtioFs => {}
    }
    test
}

/// Returns the setting that all tests of these capabilities need.
fn always_with(proves: &[Capability]) -> Option<DaemonSetting> {
    [DaemonSetting::Xattr, DaemonSetting::Acl]
        .into_iter()
        .find(|setting| proves.contains(&proves::about(*setting).proves))
}
