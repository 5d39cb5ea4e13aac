//! Containers under the distro's containerd: the same bodies under runc, as the control, and under Kata.
//!
//! Every body is two tests, `containers::runc::NAME` and `containers::kata::NAME`, unless its row names one place only:
//! what Kata itself takes away has a control alone, and what only Kata has, [`guests`], has none.
//! The control only decides whether the environment can judge Kata: where a body fails under runc, its
//! twin is an error and not a failure of the distro.
//!
//! A property that Kata itself takes away, by its source, is a control only.
//! What only Kata has (its own check of the host, an initrd of the distro's tool, its own kernel) has no control; each
//! of these is a capability of its own, so that it takes nothing from `kata.smoke`.
//! A body sees `Containers`, `Task` and `Network` and does not know which runtime it was given, except the few that
//! prove which one it is.
//! Without Kata, or with a Kata of another profile, the twin is a `skip`, so its capability is `untested`.

mod arguments;
mod carrier;
mod files;
mod guests;
mod lifecycle;
mod limits;
mod network;
mod process;

use crate::capability::Capability;
use crate::environment::Environment;
use crate::outcome::Component;
use crate::row::Row;
use crate::test::{Place, Suite, Test};

pub use crate::claims::{Kata, OwnGuest};
pub use crate::environment::{
    Container, ContainerLimits, ContainerOutput, ContainerRuntime, ContainerdEvent, Containers, FileFacts, GuestFiles,
    Mount, Network, PROBE, ProbeFacts, Process, Sandbox, Task, Trace,
};
pub use crate::test::ContainersBody;
pub use process::pattern;

/// The body without which no other makes sense.
const FIRST: &str = "exit_codes_are_told";

/// The rows of this suite, in the order of running under each runtime.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 7] =
        [process::ROWS, carrier::ROWS, files::ROWS, limits::ROWS, network::ROWS, lifecycle::ROWS, guests::ROWS];
    modules.into_iter().flatten()
}

/// The tests of this suite: every control first, then every twin.
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
        test.blocked_by = vec![format!("{module}::{FIRST}")];
    }
    // A control says nothing of Kata.
    if runtime == ContainerRuntime::Runc {
        test.proves = vec![Capability::ContainersRunc];
        test.blames = Component::Containerd;
    }
    test
}

fn place(runtime: ContainerRuntime) -> Place {
    match runtime {
        ContainerRuntime::Runc => Place::Runc,
        ContainerRuntime::Kata => Place::Kata,
    }
}

/// Whether the body of that name is also run under runc, and must pass there first.
pub fn has_control(name: &str) -> bool {
    rows().any(|row| row.name == name && row.places.contains(&Place::Runc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_has_a_control_and_a_twin_but_for_those_that_cannot() {
        let all = tests();
        assert!(rows().count() >= 20, "{}", rows().count());
        for row in rows() {
            for runtime in [ContainerRuntime::Runc, ContainerRuntime::Kata] {
                let id = format!("containers::{}::{}", runtime.name(), row.name);
                let test = all.iter().find(|test| test.id == id);
                assert_eq!(test.is_some(), row.places.contains(&place(runtime)), "{id}");
                let control = test.is_some_and(|test| test.proves == [Capability::ContainersRunc]);
                assert_eq!(control, test.is_some() && runtime == ContainerRuntime::Runc, "{id}");
            }
        }
        let alone =
            |places: &[Place]| rows().filter(|row| row.places == places).map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(alone(&[Place::Runc]), ["the_limit_on_processes_holds"]);
        let kata =
            ["katas_own_check_accepts_the_host", "an_initrd_of_the_distros_tool_boots", "katas_own_kernel_boots"];
        assert_eq!(alone(&[Place::Kata]), kata);
    }
}
