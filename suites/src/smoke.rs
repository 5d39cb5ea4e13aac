//! Smoke tests: packages, binaries, and whether QEMU and virtiofsd do what the profile asks.

mod agent_calls;
mod boot;
mod clock;
mod consoles;
mod daemon;
mod device_rules;
mod disks;
mod expander;
#[cfg(test)]
mod fake_machine;
mod gates;
mod guest_files;
mod guest_memory;
mod guest_swap;
mod guests;
mod hotplug;
mod image;
mod inside;
mod kernel;
mod memory;
mod microvm;
mod network;
mod networks;
mod other_vmms;
mod packages;
mod peer;
mod platform;
mod qmp;
mod rootless;
mod settings;
mod state;
mod verity;
mod vhost;

use crate::row::Row;
use crate::test::{Suite, Test};

/// The test that all guest tests build on.
const BOOTS: &[&str] = &["smoke::kernel_boots_to_userspace"];

/// Returns the rows of this suite, in the order of running.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 36] = [
        packages::ROWS,
        gates::ROWS,
        kernel::ROWS,
        daemon::ROWS,
        boot::ROWS,
        platform::ROWS,
        inside::ROWS,
        agent_calls::ROWS,
        device_rules::ROWS,
        guest_memory::ROWS,
        guest_swap::ROWS,
        networks::ROWS,
        disks::ROWS,
        qmp::ROWS,
        vhost::ROWS,
        hotplug::ROWS,
        hotplug::cpus::ROWS,
        hotplug::disks::ROWS,
        hotplug::addresses::ROWS,
        hotplug::vhost_user::ROWS,
        hotplug::interfaces::ROWS,
        hotplug::virtio_mem::ROWS,
        image::ROWS,
        verity::ROWS,
        guests::ROWS,
        hotplug::options::ROWS,
        memory::ROWS,
        expander::ROWS,
        state::ROWS,
        settings::ROWS,
        consoles::ROWS,
        microvm::ROWS,
        rootless::ROWS,
        network::ROWS,
        clock::ROWS,
        other_vmms::ROWS,
    ];
    modules.into_iter().flatten()
}

/// Returns the tests of this suite.
pub(crate) fn tests() -> Vec<Test> {
    rows().flat_map(|row| row.places.iter().map(move |place| row.test(Suite::Smoke, "smoke", *place, None))).collect()
}
