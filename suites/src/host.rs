//! The host suite: the release as Kata's host, with its own kernel, its own devices and its own container manager.
//!
//! A container shares the machine's kernel and can show nothing of this; there these tests are not part of the cell.

mod cgroups;
mod check;
mod containerd;
mod devices;
mod io_uring;
mod kvm;
mod memory;
mod modules;

use crate::capability::Capability as C;
use crate::catalogue::{Body, Place, Suite, Test};
use crate::docs::doc_of;
use crate::environment::Kind;
use crate::outcome::Component as K;

/// One row: body, source, what it proves, whom it blames.
struct Row {
    name: &'static str,
    body: Body,
    source: &'static str,
    place: Place,
    proves: &'static [C],
    blames: K,
    blocked_by: &'static [&'static str],
}

macro_rules! row {
    ($module:ident::$name:ident, Vcpu, $($rest:tt)+) => {
        Row { place: Place::Vcpu, ..row!($module::$name, Environment, $($rest)+) }
    };
    ($module:ident::$name:ident, $place:ident, $blames:ident, $proves:expr $(, blocked_by: $blockers:expr)?) => {
        Row {
            $(blocked_by: $blockers,)?
            ..Row {
                name: stringify!($name),
                body: Body::$place($module::$name),
                source: include_str!(concat!("host/", stringify!($module), ".rs")),
                place: Place::$place,
                proves: $proves,
                blames: K::$blames,
                blocked_by: &[],
            }
        }
    };
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row!(kvm::cpu_can_virtualize, Environment, Kernel, &[C::HostKvm, C::HostCheck]),
        row!(kvm::kvm_modules_are_loaded, Environment, Kernel, &[C::HostKvm, C::KernelHost, C::HostCheck], blocked_by: &["host::cpu_can_virtualize"]),
        row!(kvm::a_vcpu_runs, Vcpu, Kernel, &[C::HostKvm, C::KernelHost], blocked_by: &["host::kvm_modules_are_loaded"]),
        row!(modules::vhost_modules_load, Environment, Kernel, &[C::HostVhost, C::KernelHost]),
        row!(modules::tun_loads, Environment, Kernel, &[C::HostNetwork, C::KernelHost]),
        row!(modules::traffic_control_modules_load, Environment, Kernel, &[C::HostNetwork, C::KernelHost]),
        row!(modules::host_modules_come_from_the_running_kernels_package, Environment, Kernel, &[C::KernelHost]),
        row!(devices::kvm_and_vhost_nodes_are_there, Environment, Kernel, &[C::HostKvm, C::HostVhost], blocked_by: &["host::kvm_modules_are_loaded", "host::vhost_modules_load"]),
        row!(devices::tun_node_is_there, Environment, Kernel, &[C::HostNetwork], blocked_by: &["host::tun_loads"]),
        row!(cgroups::cgroups_have_the_controllers_of_sandboxes, Environment, Kernel, &[C::HostCgroups, C::KernelHost]),
        row!(memory::shm_takes_guest_memory, Environment, Kernel, &[C::HostMemory]),
        row!(containerd::containerd_runs, Environment, Containerd, &[C::HostContainerd]),
        row!(check::rules_of_kata_runtime_check_hold, Environment, Kernel, &[C::HostCheck], blocked_by: &["host::cpu_can_virtualize"]),
        row!(check::rules_of_kata_ctl_check_hold, Environment, Kernel, &[C::HostCheck], blocked_by: &["host::cpu_can_virtualize"]),
        row!(io_uring::qemu_reads_a_disk_by_io_uring, Machine, Qemu, &[C::HostIoUring], blocked_by: &["smoke::kernel_boots_to_userspace"]),
    ]
}

/// The rows of this suite.
pub fn tests() -> Vec<Test> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    rows()
        .into_iter()
        .map(|row| Test {
            id: format!("host::{}", row.name),
            name: row.name,
            suite: Suite::Host,
            place: row.place,
            share: None,
            proves: row.proves.to_vec(),
            blames: row.blames,
            needs: &[],
            blocked_by: owned(row.blocked_by),
            profiles: &[],
            environments: Kind::WITH_A_KERNEL,
            seconds: 60,
            doc: doc_of(row.source, row.name),
        })
        .collect()
}

/// The body of that name.
pub fn body(name: &str) -> Option<Body> {
    rows().into_iter().find(|row| row.name == name).map(|row| row.body)
}
