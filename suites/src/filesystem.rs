//! Properties of the filesystems that a Kata guest is given.
//!
//! A property is an ordinary function in the module of its theme, listed in that module's `ROWS`.
//! Most run inside the guest on a [`Site`]; those between host and guest run in the environment on a [`Pair`].
//! The former also run natively, as the control: what fails there says nothing about a distro.

mod attributes;
mod concurrency;
mod confinement;
mod conformance;
mod data;
mod descriptors;
mod directories;
mod durability;
mod expect;
mod guest_side;
mod handles;
mod links;
mod locks;
mod mapping;
mod mount;
mod names;
mod nodes;
mod opening;
mod pair;
mod permissions;
mod proves;
mod renames;
mod space;
mod times;
mod user;
mod visibility;

#[cfg(test)]
mod tests;

use crate::reproducer::Reproducer;
use crate::row::Row;
use crate::share::Share;
use crate::test::{Place, Suite, Test};
use crate::under;

pub use crate::environment::{Action, Bytes, FileKind, GuestSide, Pair, Reply, Site, Status};
pub use crate::test::{GuestBody, PairBody};
pub use conformance::{NATIVE_FAILURES, pjdfstest_failures, record_native_failures};
pub use guest_side::{BadAction, perform};
pub use mapping::read_mapped;

/// The body on which all others depend.
const MOUNTS: &str = "mounts_in_the_guest";

/// The rows of this suite, in the order of running.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let themes: [&'static [Row]; 21] = [
        mount::ROWS,
        visibility::ROWS,
        names::ROWS,
        directories::ROWS,
        opening::ROWS,
        data::ROWS,
        mapping::ROWS,
        renames::ROWS,
        links::ROWS,
        handles::ROWS,
        permissions::ROWS,
        times::ROWS,
        locks::ROWS,
        concurrency::ROWS,
        space::ROWS,
        nodes::ROWS,
        confinement::ROWS,
        attributes::ROWS,
        conformance::ROWS,
        descriptors::ROWS,
        // These kill the guest, so they come last.
        durability::ROWS,
    ];
    themes.into_iter().flatten()
}

/// The tests of this suite, one for each property and share it makes sense on.
pub(crate) fn tests() -> Vec<Test> {
    let mut all = Vec::new();
    for row in rows() {
        let shares = Share::ALL.iter().filter(|share| row.proves.iter().any(|c| c.share() == Some(**share)));
        for share in shares {
            all.extend(row.places.iter().map(|place| test(row, *place, *share)));
        }
    }
    all
}

fn test(row: &Row, place: Place, share: Share) -> Test {
    let module = format!("filesystem::{}", share.module());
    let mut test = row.test(Suite::Filesystem, &module, place, Some(share));
    test.proves.retain(|capability| capability.share() == Some(share));
    if row.name == MOUNTS {
        test.blocked_by = mount::blockers(share);
    } else if row.blocked_by.is_none() {
        test.blocked_by = vec![format!("{module}::{MOUNTS}")];
    }
    match share {
        // On a disk of its own the guest makes the nodes itself.
        Share::VirtioBlk => {
            test.needs = &[];
            // There a script would try the guest's ext4.
            test.reproducer = test.reproducer.filter(|by| !matches!(by, Reproducer::SystemCalls(_)));
        }
        Share::Virtio9p => test.profiles = &under::NINEP,
        Share::VirtioFs => {}
    }
    test
}
