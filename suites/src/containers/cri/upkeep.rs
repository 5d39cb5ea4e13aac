//! Events in the life of a node: a restart of containerd, and pods that come and go.

use crate::capability::Capability;
use crate::check::Check;
use crate::containers::lifecycle::no_trace_remains;
use crate::containers::process::{wait_for, was_killed};
use crate::ensure;
use crate::environment::{Containers, PodContainer, PodProcess, PodWanted};
use crate::row::{Row, row};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("upkeep.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(a_pod_lives_through_a_restart_of_containerd), &[Capability::KataCri], Kata).seconds(300),
    row!(Containers(a_container_that_defies_sigterm_is_killed_after_its_grace), &[Capability::KataCri], Kata)
        .seconds(240),
    row!(Containers(pods_come_and_go_and_leave_nothing), &[Capability::KataCri], Kata).seconds(600).random(),
];

/// The seconds that a container which ignores SIGTERM is given to end by itself.
const GRACE: u32 = 2;

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

/// A container that is stopped gets SIGTERM and ends by itself; a container that ignores SIGTERM is killed by SIGKILL
/// (exit code 137), and not before its grace period has passed.
///
/// Every rollout stops containers; under Kata the signals go to the agent (testContainerStop in
/// `tests/integration/cri-containerd/integration-tests.sh@4.1.0`).
fn a_container_that_defies_sigterm_is_killed_after_its_grace(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-stop"))?;
    let obeys = pod.start(&PodContainer::new(&["handle"]))?;
    is_ready(obeys.as_ref())?;
    obeys.stop(60)?;
    let end = obeys.wait(Duration::from_secs(10))?;
    ensure!(end.code == 33, "it handles SIGTERM and exits with 33, reported is {end:?}");
    let defies = pod.start(&PodContainer::new(&["defy"]))?;
    is_ready(defies.as_ref())?;
    let began = Instant::now();
    defies.stop(GRACE)?;
    let took = began.elapsed();
    let end = defies.wait(Duration::from_secs(10))?;
    ensure!(was_killed(containers, end.code), "it ignores SIGTERM and has to be killed (137), reported is {end:?}");
    ensure!(
        took >= Duration::from_secs(GRACE.into()),
        "a container with a grace period of {GRACE} s was stopped within {:.1} s",
        took.as_secs_f64()
    );
    drop((obeys, defies));
    pod.remove()
}

/// Waits until a container that handles signals says that it does.
fn is_ready(container: &dyn PodProcess) -> Check {
    wait_for(
        || container.log().is_ok_and(|log| log.contains("ready")),
        || format!("a container that says when it is ready has logged {:?}", container.log()),
    )
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
