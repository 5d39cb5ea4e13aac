//! Properties of the filesystems that a Kata guest is given.
//!
//! A property is an ordinary function in the module of its theme, listed in that module's `ROWS`.
//! Most run inside the guest on a [`Site`]; those between host and guest run in the environment on a [`Pair`].
//! Each also runs natively, as the control: what fails there says nothing about a distro.

mod action;
mod attributes;
mod concurrency;
mod confinement;
mod conformance;
mod data;
mod descriptors;
mod directories;
mod durability;
mod expect;
mod handles;
mod links;
mod locks;
mod mapping;
mod mount;
mod names;
mod nodes;
mod opening;
mod permissions;
mod renames;
mod row;
mod site;
mod space;
mod times;
mod user;
mod visibility;

#[cfg(test)]
mod tests;

use crate::catalogue::{Body, Test};
use crate::check::{Check, Stop};
use crate::share::Share;
use std::path::PathBuf;
use std::time::Duration;

pub use action::{Action, Bytes, Kind, Reply, Status, perform};
pub use conformance::{NATIVE_FAILURES, pjdfstest_failures, record_native_failures};
pub use mapping::read_mapped;
pub use site::Site;

/// A body that runs inside the guest (or natively).
pub type GuestBody = fn(&Site) -> Check;

/// A body that runs in the environment and has the guest act.
pub type PairBody = fn(&mut Pair<'_>) -> Check;

/// The guest, as a [`PairBody`] sees it.
pub trait GuestSide {
    /// Has the guest do something under the share's mount point.
    ///
    /// # Errors
    ///
    /// Only when the guest cannot be asked: a refusal by the filesystem is [`Reply::Refused`].
    fn act(&mut self, action: Action) -> Result<Reply, Stop>;

    /// How many descriptors the share's daemon has open, in all of its processes.
    ///
    /// # Errors
    ///
    /// When there is no daemon, or it cannot be looked at.
    fn daemon_descriptors(&mut self) -> Result<usize, Stop>;

    /// Kills the VMM without warning (SIGKILL) and waits for its end; the guest is not asked anything afterwards.
    ///
    /// # Errors
    ///
    /// When the VMM could not be killed.
    fn kill_vmm(&mut self) -> Result<(), Stop>;
}

/// A directory that host and guest both have.
pub struct Pair<'a> {
    /// The test's own directory (fresh, mode 0777) on the host's side of the share.
    pub host: PathBuf,
    /// The same directory relative to the share's root, as the guest sees it.
    pub relative: PathBuf,
    /// The share between them.
    pub share: Share,
    /// How long a change may take to be visible on the other side.
    pub deadline: Duration,
    /// The guest.
    pub guest: &'a mut dyn GuestSide,
}

/// The body on which all others depend.
const MOUNTS: &str = "mounts_in_the_guest";

fn rows() -> impl Iterator<Item = &'static row::Row> {
    let themes: [&'static [row::Row]; 21] = [
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

/// The rows of this suite, one per property and share it makes sense on.
pub fn tests() -> Vec<Test> {
    rows().flat_map(row::Row::tests).collect()
}

/// The body of that name (`Test::name`), if it is one of this suite's.
pub fn body(name: &str) -> Option<Body> {
    rows().find(|row| row.name == name).map(|row| row.body)
}
