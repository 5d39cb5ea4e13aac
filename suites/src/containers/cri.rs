//! Pods by CRI, as kubelet has containerd run them: under runc as the control, then under Kata.
//!
//! The other bodies of this suite drive containerd by `ctr`, which makes containers; CRI makes pods, with a sandbox, a
//! network and logs of their own, and that is what nearly every user of Kata has.
//! A containerd that speaks no CRI v1 (bullseye's 1.4 has v1alpha2 only) fails one control, in words; all others are
//! skipped there, so that Kata's capabilities are `untested` and not `unsupported`.

mod placement;
mod pods;
mod resources;
mod security;
mod streams;
mod upkeep;

use crate::check::Check;
use crate::environment::{Containers, PodContainer, PodProcess, PodWanted};
use crate::row::Row;

/// The body without which no other of these makes sense.
pub(super) const FIRST: &str = "a_pod_by_cri_runs_a_container";

/// The rows of these bodies, in the order of running under each runtime.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    let modules: [&'static [Row]; 6] =
        [pods::ROWS, streams::ROWS, security::ROWS, resources::ROWS, placement::ROWS, upkeep::ROWS];
    modules.into_iter().flatten()
}

/// Whether a row is one of these.
pub(super) fn has(row: &Row) -> bool {
    rows().any(|own| own.name == row.name)
}

/// Runs a check on a container that is alone in a pod of its own.
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
