//! Smoke tests: packages, binaries, and whether QEMU and virtiofsd do what the profile asks.

mod boot;
mod clock;
mod daemon;
mod disks;
#[cfg(test)]
mod fake_machine;
mod gates;
mod group;
mod guest_files;
mod guests;
mod hotplug;
mod image;
mod inside;
mod kernel;
mod memory;
mod network;
mod networks;
mod packages;
mod peer;
mod qmp;
mod settings;
mod state;
mod verity;
mod vhost;

use crate::row::Row;
use crate::test::{Suite, Test};

/// What everything in a guest builds on.
const BOOTS: &[&str] = &["smoke::kernel_boots_to_userspace"];

/// The rows of this suite, in the order of running.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 22] = [
        packages::ROWS,
        gates::ROWS,
        kernel::ROWS,
        daemon::ROWS,
        boot::ROWS,
        inside::ROWS,
        networks::ROWS,
        disks::ROWS,
        qmp::ROWS,
        vhost::ROWS,
        hotplug::ROWS,
        hotplug::disks::ROWS,
        hotplug::interfaces::ROWS,
        hotplug::virtio_mem::ROWS,
        image::ROWS,
        verity::ROWS,
        guests::ROWS,
        memory::ROWS,
        state::ROWS,
        settings::ROWS,
        network::ROWS,
        clock::ROWS,
    ];
    modules.into_iter().flatten()
}

/// The tests of this suite.
pub(crate) fn tests() -> Vec<Test> {
    rows().flat_map(|row| row.places.iter().map(move |place| row.test(Suite::Smoke, "smoke", *place, None))).collect()
}
