//! The host suite: the release as Kata's host, with its own kernel, its own devices and its own container manager.
//!
//! A container shares the machine's kernel and cannot show anything of a release's own host, so these tests are not run
//! in containers.

mod cgroups;
mod check;
mod containerd;
mod devices;
mod io_uring;
mod kvm;
mod memory;
mod modules;
mod network;

use crate::check::{Check, Stop};
use crate::environment::Environment;
use crate::row::Row;
use crate::test::{Place, Suite, Test};

/// Returns the rows of this suite, in the order of running.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 9] = [
        kvm::ROWS,
        modules::ROWS,
        devices::ROWS,
        network::ROWS,
        cgroups::ROWS,
        memory::ROWS,
        containerd::ROWS,
        check::ROWS,
        io_uring::ROWS,
    ];
    modules.into_iter().flatten()
}

/// Returns the tests of this suite.
pub(crate) fn tests() -> Vec<Test> {
    rows().flat_map(|row| row.places.iter().map(move |place| test(row, *place))).collect()
}

/// Checks that the process runs as root, as Kata does when it prepares a sandbox.
fn as_root() -> Check {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Stop::skip("the environment lacks root")),
    }
}

fn test(row: &Row, place: Place) -> Test {
    Test { environments: Environment::WITH_A_KERNEL, ..row.test(Suite::Host, "host", place, None) }
}
