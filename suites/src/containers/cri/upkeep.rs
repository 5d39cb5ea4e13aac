//! Events in the life of a node: a restart of containerd, and pods that come and go.

use crate::capability::Capability;
use crate::check::Check;
use crate::containers::lifecycle::no_trace_remains;
use crate::containers::process::wait_for;
use crate::ensure;
use crate::environment::{Containers, PodContainer, PodWanted};
use crate::row::{Row, row};
use std::time::Duration;

const SOURCE: &str = include_str!("upkeep.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(a_pod_lives_through_a_restart_of_containerd), &[Capability::KataCri], Qemu).seconds(300),
    row!(Containers(a_container_is_stopped_with_grace), &[Capability::KataCri], Qemu).seconds(240),
    row!(Containers(pods_come_and_go_and_leave_nothing), &[Capability::KataCri], Qemu).seconds(600).random(),
];

/// A pod keeps running while containerd is restarted: afterwards it has the same process, another one can be executed
/// in it, and it can be removed.
///
/// Every upgrade of containerd's package restarts it. Only Kata's shim knows the sandbox, and containerd has to find
/// the shim again (`src/runtime/pkg/containerd-shim-v2/service.go@4.1.0`).
fn a_pod_lives_through_a_restart_of_containerd(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-restart"))?;
    let container = pod.start(&PodContainer::new(&["stay"]))?;
    let written = container.exec(&["rewrite", "/tmp/before", "restart"])?;
    ensure!(written.code == 0, "writing before the restart: {}", written.summary());
    cri.restart_containerd()?;
    let end = container.end()?;
    ensure!(end.is_none(), "containerd was restarted, and an end of the container is reported: {end:?}");
    let read = container.exec(&["read", "/tmp/before"])?;
    ensure!(read.text() == "restart", "what was written before the restart is not read after it: {}", read.summary());
    drop(container);
    pod.remove()
}

/// A container that is stopped gets SIGTERM and ends by itself; a container that ignores SIGTERM is killed after its
/// grace period.
///
/// Every rollout stops containers; under Kata the signals go to the agent (testContainerStop in
/// `tests/integration/cri-containerd/integration-tests.sh@4.1.0`).
fn a_container_is_stopped_with_grace(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-stop"))?;
    let obeys = pod.start(&PodContainer::new(&["handle"]))?;
    wait_for(
        || obeys.log().is_ok_and(|log| log.contains("ready")),
        || format!("a container that says when it is ready has logged {:?}", obeys.log()),
    )?;
    obeys.stop(60)?;
    let end = obeys.wait(Duration::from_secs(10))?;
    ensure!(end.code == 33, "it handles SIGTERM and exits with 33, reported is {end:?}");
    let defies = pod.start(&PodContainer::new(&["defy"]))?;
    defies.stop(2)?;
    let end = defies.wait(Duration::from_secs(10))?;
    ensure!(end.code != 0, "it ignores SIGTERM and has to be killed, reported is {end:?}");
    drop((obeys, defies));
    pod.remove()
}

/// Pods that come and go one after the other leave nothing on the host: two pods, or fifty with `--thorough`.
///
/// A node lives for months. No record, process, mount, network namespace or directory may stay, and no control group
/// except empty ones of Kata's Go runtime (Kata's issues 6422 and 11815). Kata's own soak test is
/// `tests/stability/soak_parallel_rm.sh@4.1.0`.
fn pods_come_and_go_and_leave_nothing(containers: &dyn Containers) -> Check {
    let rounds = containers.claims().effort.of(2, 50);
    let cri = containers.cri()?;
    cri.pull()?;
    let before = cri.traces();
    for round in 1..=rounds {
        let pod = cri.run_pod(&PodWanted::named("kq-soak"))?;
        let container = pod.start(&PodContainer::new(&["stay"]))?;
        let answered = container.exec(&["exit", "0"])?;
        ensure!(answered.code == 0, "in round {round} of {rounds}: {}", answered.summary());
        drop(container);
        pod.remove()?;
    }
    no_trace_remains(containers, &|| cri.traces(), &before, &format!("after {rounds} pods"))
}
