//! Privileges of a container's processes, the privileges that they may gain, and their limits.

use super::process::{STATUS, status_line};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerSandbox, Containers};
use crate::row::{Row, row};
use model::procfs;

const SOURCE: &str = include_str!("privileges.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(capabilities_are_the_ones_asked_for), &[Capability::KataSmoke], Kernel),
    row!(Containers(no_new_privileges_are_denied_as_asked_for), &[Capability::KataSmoke], Kernel),
    row!(Containers(a_limit_on_open_files_holds), &[Capability::KataControl], Kernel),
    row!(Containers(sysctls_are_the_ones_asked_for), &[Capability::KataControl], Kernel).seconds(180),
];

/// The 14 capabilities that containerd gives a container by default (`defaultUnixCaps` in its `oci/spec.go`), as a
/// mask.
const DEFAULT: u64 = 0xa804_25fb;
/// `CAP_NET_BIND_SERVICE` and its bit (linux/capability.h).
const BINDS: (&str, u64) = ("CAP_NET_BIND_SERVICE", 1 << 10);

/// The process has the requested capabilities and can get no others: with containerd's default ones it can give a file
/// to another user; with a different single one chown fails with EPERM.
///
/// `securityContext.capabilities` of a pod ends up as this set. Under Kata the agent drops the others in the guest
/// (`drop_privileges` in src/agent/rustjail/src/capabilities.rs@4.1.0; Kata's own test is
/// tests/integration/kubernetes/k8s-caps.bats@4.1.0).
fn capabilities_are_the_ones_asked_for(containers: &dyn Containers) -> Check {
    let one = Some(vec![BINDS.0.to_owned()]);
    for (capabilities, mask, refusal) in [(None, DEFAULT, None), (one, BINDS.1, Some("EPERM"))] {
        let requested = if capabilities.is_some() { BINDS.0 } else { "the default ones" };
        let container = |command: &[&str]| Container { capabilities: capabilities.clone(), ..Container::new(command) };
        let status = containers.run(&container(&["read", STATUS]), &[])?;
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let seen = status_line(&status, set)?;
            let number = u64::from_str_radix(&seen, 16).ok();
            ensure!(number == Some(mask), "asked for were {requested}, {mask:016x}, and {set} is {seen:?} inside");
        }
        let chown = containers.run(&container(&["give", "/tmp/given", "1234"]), &[])?;
        let seen = chown.refusal();
        ensure!(
            seen.as_deref() == refusal && (refusal.is_some() || chown.code == 0),
            "with {requested}, giving a file away is to end with {}: {}",
            refusal.unwrap_or("success"),
            chown.summary()
        );
    }
    Ok(())
}

/// The kernel marks a process that must not gain privileges by executing a program (`no_new_privs`), and does not mark
/// a process that may.
///
/// This is `allowPrivilegeEscalation: false` of a pod: a setuid program then gains nothing. Under Kata the agent sets
/// the mark in the guest (src/agent/rustjail/src/container.rs@4.1.0).
fn no_new_privileges_are_denied_as_asked_for(containers: &dyn Containers) -> Check {
    let mark = |gains_privileges: bool| {
        let container = Container { gains_privileges, ..Container::new(&["read", STATUS]) };
        status_line(&containers.run(&container, &[])?, "NoNewPrivs")
    };
    let denied = mark(false)?;
    ensure!(denied == "1", "a container is to gain no privileges, and NoNewPrivs is {denied:?} inside");
    if nobody_gains_privileges(containers)? {
        return Ok(());
    }
    let allowed = mark(true)?;
    ensure!(allowed == "0", "a container may gain privileges, and NoNewPrivs is {allowed:?} inside");
    Ok(())
}

/// Checks whether `no_new_privs` is set for the environment itself, and adds a note if so: the mark is inherited and
/// cannot be cleared, so that no container of the environment's can gain privileges.
pub(super) fn nobody_gains_privileges(containers: &dyn Containers) -> Result<bool, Stop> {
    let is_so = procfs::status(&containers.read_host(STATUS)?, "NoNewPrivs") == Some("1");
    if is_so {
        containers.note("the environment itself gains no privileges, so that no container of its does".to_owned());
    }
    Ok(is_so)
}

/// A process that may have 64 files open cannot open 200 (`RLIMIT_NOFILE`).
///
/// Container managers hand such limits on from their own settings. Under Kata the agent sets them in the guest
/// (src/agent/rustjail/src/container.rs@4.1.0).
fn a_limit_on_open_files_holds(containers: &dyn Containers) -> Check {
    let opened = |open_files| {
        let finished = containers.run(&Container { open_files, ..Container::new(&["open", "200"]) }, &[])?;
        let count = finished.text().parse::<u32>();
        count.map_err(|_| Stop::fail(format!("no count of open files: {}", finished.summary())))
    };
    let limited = opened(Some(64))?;
    ensure!((32..64).contains(&limited), "a process that may have 64 files open could open {limited} more of 200");
    let free = opened(None)?;
    ensure!(free == 200, "a process without such a limit could open {free} files of 200");
    Ok(())
}

/// Sysctls of a container's own namespaces have the requested values.
///
/// This is `securityContext.sysctls` of a pod. Under Kata the agent writes them in the guest (`set_sysctls` in
/// src/agent/rustjail/src/container.rs@4.1.0; Kata's own test is tests/integration/kubernetes/k8s-sysctls.bats@4.1.0).
fn sysctls_are_the_ones_asked_for(containers: &dyn Containers) -> Check {
    let wanted = [("kernel.shm_rmid_forced", "1"), ("kernel.msgmax", "12288")];
    let sysctls = wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let container = Container { sysctls, ..Container::new(&["stay"]) };
    let task = containers.start(&container.within(ContainerSandbox::Alone))?;
    for (name, value) in wanted {
        let read = task.exec(&["read", &format!("/proc/sys/{}", name.replace('.', "/"))], &[])?;
        ensure!(read.text() == value, "{name} is to be {value} in the container: {}", read.summary());
    }
    Ok(())
}
