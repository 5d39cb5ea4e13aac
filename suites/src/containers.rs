//! Containers under the distro's containerd: the same bodies under runc, as the control, and under Kata.
//!
//! Every body is two tests, `containers::runc::NAME` and `containers::kata::NAME`, unless its row names one place only.
//! The control only decides whether the environment can judge Kata: if a body fails under runc, its twin under Kata is
//! an error and not a failure of the distro.
//! A property that Kata removes by design, according to its source, has a control only.
//! Features that only Kata has ([`guests`]: its own check of the host, an initrd of the distro's tool, its own kernel)
//! have no control; each is a capability of its own, so that its failure does not affect `kata.smoke`.
//! Pods by CRI ([`cri`]) are a capability of their own on both sides, because a release may have containers without
//! CRI; so are containers by Docker ([`docker`]), disks, and root filesystems by other snapshotters.
//! A body sees `Containers`, `Task` and `NetworkNamespace` and does not know which runtime it was given, except the
//! few that prove which one it is.
//! Without Kata, or with a Kata of another profile, the twin is a `skip`, so its capability is `untested`.

mod arguments;
mod carrier;
mod cri;
mod disks;
mod docker;
mod files;
mod guests;
mod helpers;
mod huge_pages;
mod lifecycle;
mod limits;
mod network;
mod privileges;
mod process;
mod snapshotters;
mod volumes;

use crate::capability::Capability;
use crate::environment::Environment;
use crate::outcome::Component;
use crate::row::{Row, test_id};
use crate::test::{Place, Suite, Test};

pub use crate::claims::{GuestRoot, Kata, OwnGuest};
pub use crate::environment::{
    Container, ContainerDisk, ContainerEnd, ContainerLimits, ContainerMount, ContainerOutput, ContainerRuntime,
    ContainerSandbox, ContainerUsage, ContainerdEvent, Containers, Cri, DiskFacts, Docker, DockerContainer,
    DockerNetwork, DockerProcess, Ephemeral, FileFacts, GuestFiles, IMAGE_USER, NetworkNamespace, NoCri, PROBE, Pod,
    PodContainer, PodLimits, PodProcess, PodUsage, PodWanted, ProbeFacts, Process, ProfileWanted, Snapshotter, Task,
    TerminalSize, Trace,
};
pub use crate::test::ContainersBody;
pub use process::pattern;

/// The body that must pass before any other one.
const FIRST: &str = "exit_codes_are_told";

/// Returns the rows of this suite, in the order of running under each runtime.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 13] = [
        process::ROWS,
        privileges::ROWS,
        carrier::ROWS,
        files::ROWS,
        volumes::ROWS,
        disks::ROWS,
        huge_pages::ROWS,
        snapshotters::ROWS,
        limits::ROWS,
        network::ROWS,
        lifecycle::ROWS,
        helpers::ROWS,
        guests::ROWS,
    ];
    modules.into_iter().flatten().chain(cri::rows()).chain(docker::ROWS)
}

/// Returns the tests of this suite: every control first, then every twin.
pub(crate) fn tests() -> Vec<Test> {
    let under =
        |runtime| rows().filter(move |row| row.places.contains(&place(runtime))).map(move |row| test(runtime, row));
    under(ContainerRuntime::Runc).chain(under(ContainerRuntime::Kata)).collect()
}

fn test(runtime: ContainerRuntime, row: &Row) -> Test {
    let module = format!("containers::{}", runtime.name());
    let mut test = row.test(Suite::Containers, &module, place(runtime), None);
    test.environments = Environment::WITH_A_KERNEL;
    if row.blocked_by.is_none() {
        let first = first_of(row);
        test.blocked_by = vec![test_id(&format!("{module}::{first}"))];
    }
    // A control proves nothing about Kata, so it applies under all profiles, whichever the twin applies to.
    if runtime == ContainerRuntime::Runc {
        test.proves = vec![control_of(row)];
        test.blames = Component::Containerd;
        test.profiles = &[];
    }
    test
}

/// Returns the capability that a control proves: containers by `ctr`, pods by CRI, or a feature that environments or
/// releases may lack.
fn control_of(row: &Row) -> Capability {
    match row.proves {
        [Capability::KataBlock] => Capability::ContainersBlock,
        [Capability::KataHugePages] => Capability::ContainersHugePages,
        [Capability::KataDevmapper] => Capability::ContainersDevmapper,
        [Capability::KataBlockfile] => Capability::ContainersBlockfile,
        [Capability::KataErofs] => Capability::ContainersErofs,
        [Capability::KataDocker] => Capability::ContainersDocker,
        _ if cri::has(row) => Capability::ContainersCri,
        _ => Capability::ContainersRunc,
    }
}

/// Returns the body that must pass before this row's body.
fn first_of(row: &Row) -> &'static str {
    match row.proves {
        [Capability::KataDocker] => docker::FIRST,
        _ if cri::has(row) => cri::FIRST,
        _ => FIRST,
    }
}

fn place(runtime: ContainerRuntime) -> Place {
    match runtime {
        ContainerRuntime::Runc => Place::Runc,
        ContainerRuntime::Kata => Place::Kata,
    }
}

/// Checks whether the body of this name also runs under runc, where it must pass first.
pub fn has_control(name: &str) -> bool {
    rows().any(|row| row.name == name && row.places.contains(&Place::Runc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_runs_under_runc_and_kata_except_the_listed_ones() {
        let all = tests();
        assert!(rows().count() >= 20, "{}", rows().count());
        for row in rows() {
            for runtime in [ContainerRuntime::Runc, ContainerRuntime::Kata] {
                let id = format!("containers::{}::{}", runtime.name(), row.name);
                let test = all.iter().find(|test| test.id == *id);
                assert_eq!(test.is_some(), row.places.contains(&place(runtime)), "{id}");
                let control = test.is_some_and(|test| test.proves == [control_of(row)]);
                assert_eq!(control, test.is_some() && runtime == ContainerRuntime::Runc, "{id}");
            }
        }
        let alone =
            |places: &[Place]| rows().filter(|row| row.places == places).map(|row| row.name).collect::<Vec<_>>();
        let controls = [
            "the_limit_on_processes_holds",
            "containerd_speaks_cri_v1",
            "a_port_of_a_pod_is_forwarded",
            "an_apparmor_profile_is_in_force",
        ];
        assert_eq!(alone(&[Place::Runc]), controls);
        let kata = [
            "killing_virtiofsd_ends_the_container",
            "katas_own_check_accepts_the_host",
            "an_initrd_of_the_distros_tool_boots",
            "a_guest_runs_katas_own_kernel",
            "katas_own_image_boots",
        ];
        assert_eq!(alone(&[Place::Kata]), kata);
    }
}
