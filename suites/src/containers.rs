//! Containers under the distro's containerd: the same bodies under runc, as the control, and under Kata.
//!
//! Every body is two tests, `containers::runc::NAME` and `containers::kata::NAME`, but for [`CONTROLS_ONLY`] and those of
//! [`guests`], which ask for what only Kata has.
//! The control decides nothing about Kata but whether the environment can judge it: where a body fails under runc, its
//! twin is an error and not a failure of the distro.

mod arguments;
mod container;
mod engine;
mod files;
mod guests;
mod lifecycle;
mod limits;
mod network;
mod process;

use crate::capability::Capability as C;
use crate::catalogue::{Place, Suite, Test};
use crate::check::Check;
use crate::docs::doc_of;
use crate::environment::Kind;
use crate::outcome::Component as K;

pub use container::{Container, Facts, FileFacts, Finished, Limits, Mount, PROBE, Sandbox};
pub use engine::{Containers, EMPTY, GuestFiles, Kata, Network, OwnGuest, Process, Runtime, Task};
pub use process::pattern;

/// A body that is given a runtime.
pub type ContainersBody = fn(&dyn Containers) -> Check;

struct Row {
    name: &'static str,
    body: ContainersBody,
    source: &'static str,
    /// What the Kata twin proves.
    proves: &'static [C],
    /// Whom the Kata twin blames; a failing control is laid at containerd.
    blames: K,
    /// Seconds under emulation for the Kata twin.
    seconds: u32,
}

macro_rules! row {
    ($module:ident::$name:ident, $capability:ident, $blames:ident, $seconds:expr) => {
        Row {
            name: stringify!($name),
            body: $module::$name,
            source: include_str!(concat!("containers/", stringify!($module), ".rs")),
            proves: &[C::$capability],
            blames: K::$blames,
            seconds: $seconds,
        }
    };
}

/// Bodies whose property Kata itself takes away, whatever the distro has.
///
/// Neither runtime passes a limit on processes on: `Pids = nil` in `constrainGRPCSpec`
/// (`src/runtime/virtcontainers/kata_agent.go@3.30.0`); the agent keeps the limit only when the request has none
/// (`if !resources.has_Pids()` in `src/libs/protocols/src/trans.rs@4.0.0`).
const CONTROLS_ONLY: [&str; 1] = ["the_limit_on_processes_holds"];

/// Bodies that have no control: runc has no guest and checks no host.
const KATA_ONLY: [&str; 3] =
    ["katas_own_check_accepts_the_host", "an_initrd_of_the_distros_tool_boots", "katas_own_kernel_boots"];

/// Kata's own check boots nothing: what it says is worth most where no container starts.
const UNBLOCKED: &str = KATA_ONLY[0];

/// The body without which no other makes sense.
const FIRST: &str = "exit_codes_are_told";

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row!(process::exit_codes_are_told, KataSmoke, Qemu, 240),
        row!(process::an_image_runs_from_its_snapshot, KataSmoke, Qemu, 180),
        row!(process::an_image_brings_its_settings, KataSmoke, Qemu, 180),
        row!(process::a_missing_program_is_refused, KataSmoke, Qemu, 120),
        row!(process::standard_input_arrives_whole, KataSmoke, Qemu, 120),
        row!(process::standard_output_and_error_arrive_whole, KataSmoke, Qemu, 120),
        row!(process::environment_variables_arrive, KataSmoke, Qemu, 120),
        row!(process::the_working_directory_is_the_one_asked_for, KataSmoke, Qemu, 120),
        row!(process::user_and_groups_are_the_ones_asked_for, KataSmoke, Qemu, 120),
        row!(process::the_first_process_has_id_1, KataSmoke, Kernel, 120),
        row!(process::further_processes_run_in_a_container, KataSmoke, Qemu, 120),
        row!(process::signals_reach_the_process, KataSmoke, Qemu, 120),
        row!(process::sigkill_ends_what_ignores_sigterm, KataSmoke, Qemu, 120),
        row!(process::the_hostname_is_the_one_asked_for, KataSmoke, Kernel, 180),
        row!(process::seccomp_denies_what_the_profile_denies, KataSmoke, Kernel, 120),
        row!(lifecycle::the_kernel_inside_is_the_runtimes, KataSmoke, Kernel, 120),
        row!(lifecycle::the_vmm_is_the_distros_with_the_profiles_arguments, KataSmoke, Qemu, 180),
        row!(files::a_read_only_root_refuses_writing, KataFs, Virtiofsd, 120),
        row!(files::a_bind_mount_goes_both_ways, KataFs, Virtiofsd, 120),
        row!(files::ownership_is_the_same_on_both_sides, KataFs, Virtiofsd, 120),
        row!(files::a_read_only_bind_mount_refuses_writing, KataFs, Virtiofsd, 120),
        row!(files::a_tmpfs_has_its_size, KataFs, Kernel, 120),
        row!(files::root_filesystems_are_apart, KataFs, Virtiofsd, 120),
        row!(limits::the_limit_on_processes_holds, KataLimits, Kernel, 120),
        row!(limits::the_limit_on_memory_is_seen_inside, KataLimits, Kernel, 120),
        row!(limits::the_limit_on_cpu_time_is_seen_inside, KataLimits, Kernel, 120),
        row!(limits::running_out_of_memory_is_reported, KataLimits, Kernel, 180),
        row!(network::without_a_network_there_is_only_lo, KataNet, Kernel, 120),
        row!(network::a_ready_made_network_carries_both_ways, KataNet, Kernel, 240),
        row!(lifecycle::a_pod_shares_one_sandbox, KataSmoke, Qemu, 240),
        row!(lifecycle::nothing_stays_behind, KataSmoke, Qemu, 600),
        row!(lifecycle::killing_what_carries_it_cleans_up, KataSmoke, Virtiofsd, 240),
        row!(guests::katas_own_check_accepts_the_host, KataCheck, Kernel, 120),
        row!(guests::an_initrd_of_the_distros_tool_boots, KataInitrd, Kernel, 600),
        row!(guests::katas_own_kernel_boots, KataKernel, Qemu, 240),
    ]
}

/// The tests of this suite: every control first, then every twin.
pub fn tests() -> Vec<Test> {
    let mut all = Vec::new();
    for runtime in [Runtime::Runc, Runtime::Kata] {
        let has = |row: &Row| match runtime {
            Runtime::Runc => has_control(row.name),
            Runtime::Kata => !CONTROLS_ONLY.contains(&row.name),
        };
        all.extend(rows().into_iter().filter(has).map(|row| test(runtime, row)));
    }
    all
}

fn test(runtime: Runtime, row: Row) -> Test {
    let blocked_by = if [FIRST, UNBLOCKED].contains(&row.name) { Vec::new() } else { vec![id(runtime, FIRST)] };
    let doc = doc_of(row.source, row.name);
    let (place, proves, blames) = match runtime {
        Runtime::Runc => (Place::Runc, vec![C::ContainersRunc], K::Containerd),
        Runtime::Kata => (Place::Kata, row.proves.to_vec(), row.blames),
    };
    Test {
        id: id(runtime, row.name),
        name: row.name,
        suite: Suite::Containers,
        place,
        share: None,
        proves,
        blames,
        needs: &[],
        blocked_by,
        profiles: &[],
        environments: Kind::WITH_A_KERNEL,
        seconds: row.seconds,
        doc,
    }
}

/// Whether the body of that name is also run under runc, and must pass there first.
pub fn has_control(name: &str) -> bool {
    !KATA_ONLY.contains(&name)
}

/// The body of that name.
pub fn body(name: &str) -> Option<ContainersBody> {
    rows().into_iter().find(|row| row.name == name).map(|row| row.body)
}

fn id(runtime: Runtime, name: &str) -> String {
    format!("containers::{}::{name}", runtime.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_has_a_control_and_a_twin_but_for_those_that_cannot() {
        let all = tests();
        assert!(rows().len() >= 20, "{}", rows().len());
        for name in KATA_ONLY.iter().chain(&CONTROLS_ONLY) {
            assert!(rows().iter().any(|row| row.name == *name), "no body is called {name}");
        }
        for row in rows() {
            for runtime in [Runtime::Runc, Runtime::Kata] {
                let Some(test) = all.iter().find(|t| t.id == id(runtime, row.name)) else {
                    let lone = if runtime == Runtime::Kata { &CONTROLS_ONLY[..] } else { &KATA_ONLY[..] };
                    assert!(lone.contains(&row.name), "{}", row.name);
                    continue;
                };
                assert_eq!(test.place == Place::Runc, test.proves == [C::ContainersRunc], "{}", test.id);
            }
        }
    }
}
