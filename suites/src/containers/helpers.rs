//! Host processes behind a container that may be killed: its shim, and under Kata its virtiofsd.

use super::lifecycle::{names, no_trace_remains};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerSandbox, Containers, Process, Task, Trace};
use crate::row::{Row, row};
use crate::test::Place;
use crate::under::GO;
use model::profile;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("helpers.rs");

/// How long it may take until the end of a container is reported: Kata's runtimes poll every few seconds, and wait for
/// the guest.
const END: Duration = Duration::from_secs(180);

pub(super) static ROWS: &[Row] = &[
    row!(Containers(killing_the_shim_cleans_up), &[Capability::KataHelpers], Kata).under(&GO).seconds(420),
    row!(Containers(killing_virtiofsd_ends_the_container), &[Capability::KataHelpers], Kata)
        .places(&[Place::Kata])
        .seconds(420),
];

/// If the shim of a container is killed, the container and everything that belongs to it goes away.
///
/// containerd then calls the shim's program once more, to delete; Kata's Go runtime finds the sandbox on the disk and
/// stops it, QEMU and virtiofsd included (`Cleanup` in src/runtime/pkg/containerd-shim-v2/service.go@4.1.0,
/// `CleanupContainer` in src/runtime/virtcontainers/api.go@4.1.0). The Rust runtime then removes directories and leaves
/// QEMU running (`cleanup` in src/runtime-rs/crates/hypervisor/src/qemu/inner.rs@4.1.0), so this cannot be required of
/// a distro there.
fn killing_the_shim_cleans_up(containers: &dyn Containers) -> Check {
    // `ctr` may look for the container's end before containerd has it, and then leaves the container's record, for
    // which nobody is to blame.
    let traces = || -> BTreeSet<Trace> {
        let is_record = |trace: &Trace| matches!(trace, Trace::Record { kind: "container", .. });
        containers.traces().into_iter().filter(|trace| !is_record(trace)).collect()
    };
    let before = traces();
    let mut task = containers.start(&Container::new(&["stay"]).within(ContainerSandbox::Alone))?;
    let processes = containers.processes(task.id());
    let shim = processes.iter().find(|process| process.is_shim());
    let shim = shim.ok_or_else(|| Stop::error(format!("no shim to kill among {}", names(&processes))))?;
    containers.kill_process(shim.pid)?;
    ends(containers, task.as_mut(), "its shim was killed")?;
    no_trace_remains(containers, &traces, &before, "after the shim was killed")
}

/// If the virtiofsd of a container is killed, the container can be ended, its end is reported, and everything else that
/// belongs to it goes away.
///
/// A sandbox must not hang for ever on requests that no daemon answers. Kata's Go runtime then ends the virtual machine
/// (`setupVirtiofsDaemon` in src/runtime/virtcontainers/qemu.go@4.1.0); the Rust runtime only logs the daemon's end
/// (`run_virtiofsd` in src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.1.0), so the test
/// kills the container there, as kubelet would.
fn killing_virtiofsd_ends_the_container(containers: &dyn Containers) -> Check {
    let before = containers.traces();
    let mut task = containers.start(&Container::new(&["stay"]).within(ContainerSandbox::Alone))?;
    let processes = containers.processes(task.id());
    let daemons: Vec<&Process> = processes.iter().filter(|process| process.is_daemon()).collect();
    ensure!(!daemons.is_empty(), "no virtiofsd runs for the container, only {}", names(&processes));
    for daemon in daemons {
        // With its own sandbox virtiofsd is two processes, and killing one ends the other.
        let _ = containers.kill_process(daemon.pid);
    }
    let kata = containers.claims().kata_for(&containers.profile().name);
    if kata.is_some_and(|kata| kata.kind == profile::Runtime::Rs) {
        task.signal(9)?;
    }
    ends(containers, task.as_mut(), "its virtiofsd was killed")?;
    no_trace_remains(containers, &|| containers.traces(), &before, "after virtiofsd was killed")
}

/// Waits until the end of a container is reported, as a failure of the container or as a refusal.
fn ends(containers: &dyn Containers, task: &mut dyn Task, why: &str) -> Check {
    let began = Instant::now();
    match task.wait(END) {
        Ok(finished) => {
            ensure!(finished.code != 0, "{why}, and the reported exit code of the container is 0");
        }
        // A client that was waiting gets the error that nothing answers any more.
        Err(Stop::Fail { message, .. }) if began.elapsed() < END => {
            containers.note(format!("{why}, and ctr said: {message}"));
        }
        Err(other) => return Err(other),
    }
    Ok(())
}
