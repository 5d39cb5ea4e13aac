//! Limits of a container, which must be visible inside and in force, and reported usage.

use super::process::{parse_facts, wait_for, was_killed};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerLimits, Containers, ProbeFacts};
use crate::row::{Row, row};
use crate::test::Place;

const SOURCE: &str = include_str!("limits.rs");

pub(super) static ROWS: &[Row] = &[
    // A control only, because neither runtime passes the limit on: `Pids = nil` in `constrainGRPCSpec`
    // (src/runtime/virtcontainers/kata_agent.go@3.30.0); the agent keeps the limit only if the request has none
    // (`if !resources.has_Pids()` in src/libs/protocols/src/trans.rs@4.0.0).
    row!(Containers(the_limit_on_processes_holds), &[Capability::KataLimits], Kernel).places(&[Place::Runc]),
    row!(Containers(the_limit_on_memory_is_seen_inside), &[Capability::KataLimits], Kernel),
    row!(Containers(the_limit_on_cpu_time_is_seen_inside), &[Capability::KataLimits], Kernel),
    row!(Containers(running_out_of_memory_is_reported), &[Capability::KataLimits], Kernel).seconds(180),
    row!(Containers(use_of_memory_and_cpu_time_is_told), &[Capability::KataControl], Kernel),
];

/// A limit on processes is seen inside and in force: a container limited to 12 cannot have 30.
///
/// Without it one container's fork bomb takes its whole pod down. Kata passes no such limit on, so this is a control
/// only. Kata takes the limit away in `constrainGRPCSpec` in src/runtime/virtcontainers/kata_agent.go@3.30.0.
fn the_limit_on_processes_holds(containers: &dyn Containers) -> Check {
    let limits = ContainerLimits { pids: Some(12), ..ContainerLimits::default() };
    let limited = |command: &[&str]| Container { limits, ..Container::new(command) };
    let facts = parse_facts(&containers.run(&limited(&["facts"]), &[])?)?;
    ensure!(facts.pids_max.as_deref() == Some("12"), "pids.max is {:?} inside", facts.pids_max);
    let forked = containers.run(&limited(&["fork", "30"]), &[])?;
    let count: u32 = forked.text().parse().map_err(|_| Stop::fail(format!("no count: {}", forked.summary())))?;
    ensure!((1..12).contains(&count), "limited to 12 processes, the container could make {count} more of 30");
    Ok(())
}

/// A limit on memory is seen inside.
///
/// Language runtimes size their heaps by this limit; under Kata it comes from the control group in the guest. The agent
/// sets it (`set_memory_resources` in src/agent/rustjail/src/cgroups/fs/mod.rs@4.1.0).
fn the_limit_on_memory_is_seen_inside(containers: &dyn Containers) -> Check {
    let bytes = 96 << 20;
    let limits = ContainerLimits { memory: Some(bytes), ..ContainerLimits::default() };
    let facts = parse_facts(&containers.run(&Container { limits, ..Container::new(&["facts"]) }, &[])?)?;
    ensure!(
        facts.memory_max == Some(bytes.to_string()),
        "{bytes} bytes were asked for, inside: {:?}",
        facts.memory_max
    );
    Ok(())
}

/// A limit on CPU time is seen inside, as the same share of a CPU.
///
/// Go and Java choose their number of threads by it. The agent sets it (`set_cpu_resources` in
/// src/agent/rustjail/src/cgroups/fs/mod.rs@4.1.0).
fn the_limit_on_cpu_time_is_seen_inside(containers: &dyn Containers) -> Check {
    let limits = ContainerLimits { cpu_millis: Some(500), ..ContainerLimits::default() };
    let facts = parse_facts(&containers.run(&Container { limits, ..Container::new(&["facts"]) }, &[])?)?;
    let (quota, period) = quota_and_period(&facts)?;
    ensure!(quota * 2 == period, "half a CPU was asked for, inside cpu.max is {:?}", facts.cpu_max);
    Ok(())
}

/// Returns the quota and period of CPU time that the container's own control group allows.
pub(super) fn quota_and_period(facts: &ProbeFacts) -> Result<(u64, u64), Stop> {
    let seen = facts.cpu_max.as_deref().unwrap_or_default();
    let numbers: Vec<u64> = seen.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [quota, period] if period > 0 => Ok((quota, period)),
        _ => Err(Stop::fail(format!("CPU time was limited, and cpu.max is {seen:?} inside"))),
    }
}

/// A container that uses more memory than its limit is killed, which is reported as 137, and containerd publishes an
/// OOM event.
///
/// `OOMKilled` in a pod's status comes from this event; under Kata the agent has to notice it in the guest and the shim
/// has to pass it on. That is `get_oom_event` in src/agent/src/rpc.rs@4.1.0, and Kata's own test is
/// tests/integration/kubernetes/k8s-oom.bats@4.1.0.
fn running_out_of_memory_is_reported(containers: &dyn Containers) -> Check {
    let limits = ContainerLimits { memory: Some(48 << 20), ..ContainerLimits::default() };
    let mut task = containers.start(&Container { limits, ..Container::new(&["eat", "256"]) })?;
    let id = task.id().to_owned();
    let finished = task.wait(std::time::Duration::from_secs(120))?;
    ensure!(was_killed(containers, finished.code), "a container of 48 MiB used 256 MiB: {}", finished.summary());
    wait_for(
        || containers.events(&id).iter().any(|event| event.topic == "/tasks/oom"),
        || {
            let lines: Vec<String> = containers.events(&id).into_iter().map(|event| event.line).collect();
            format!("no OOM event; containerd published {}", lines.join(" | "))
        },
    )
}

/// The usage of a container is reported: as much memory as it holds, and more CPU time after one of its processes has
/// worked.
///
/// `kubectl top`, and tools that scale pods by their usage, ask containerd for these numbers; under Kata the agent
/// reads them in the guest (`get_stats` in src/agent/rustjail/src/cgroups/fs/mod.rs@4.1.0).
fn use_of_memory_and_cpu_time_is_told(containers: &dyn Containers) -> Check {
    let held = 48_u64;
    let task = containers.start(&Container::new(&["hold", &held.to_string()]))?;
    let before = task.usage()?;
    ensure!(
        before.memory >= held << 20,
        "a container holds {held} MiB of memory, and its reported use is {} bytes",
        before.memory
    );
    let worked = task.exec(&["spin", "500"], &[])?;
    ensure!(worked.code == 0, "working for 500 ms: {}", worked.summary());
    let after = task.usage()?;
    ensure!(
        after.cpu > before.cpu,
        "a container worked for 500 ms, and its reported CPU time went from {} to {}",
        before.cpu,
        after.cpu
    );
    Ok(())
}
