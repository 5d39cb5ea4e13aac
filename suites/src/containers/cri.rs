//! Pods by CRI, as kubelet has containerd run them: under runc as the control, then under Kata.
//!
//! The other bodies of this suite drive containerd by `ctr`, which creates containers. CRI creates pods, with a
//! sandbox, a network and logs of their own, and nearly every user of Kata uses those.
//! A containerd without CRI v1 (bullseye's 1.4 has v1alpha2 only) fails one control, with a message that says so; all
//! others are skipped there, so that Kata's capabilities are `untested` and not `unsupported`.

mod placement;
mod pods;
mod resources;
mod security;
mod streams;
mod upkeep;

use crate::check::Check;
use crate::environment::{Containers, PodContainer, PodProcess, PodWanted};
use crate::row::Row;

/// The body that must pass before any other one by CRI.
pub(super) const FIRST: &str = "a_pod_by_cri_runs_a_container";

/// Returns the rows by CRI, in the order of running under each runtime.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 6] =
        [pods::ROWS, streams::ROWS, security::ROWS, resources::ROWS, placement::ROWS, upkeep::ROWS];
    modules.into_iter().flatten()
}

/// Checks whether a row is one by CRI.
pub(super) fn has(row: &Row) -> bool {
    rows().any(|own| own.name == row.name)
}

/// Runs a check on the only container of a new pod.
fn in_a_pod(
    containers: &dyn Containers,
    pod: &PodWanted,
    wanted: &PodContainer,
    check: impl FnOnce(&dyn PodProcess) -> Check,
) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(pod)?;
    let container = pod.start(wanted)?;
    check(&*container)?;
    drop(container);
    pod.remove()
}
