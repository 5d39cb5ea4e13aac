//! Confinement of a pod's containers: capabilities, privileges, seccomp and AppArmor profiles, devices.

use super::in_a_pod;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::containers::privileges::nobody_gains_privileges;
use crate::containers::process::{STATUS, status_line};
use crate::ensure;
use crate::environment::{ContainerRuntime, Containers, PodContainer, PodProcess, PodWanted, ProfileWanted};
use crate::row::{Row, row};
use crate::test::Place;
use model::procfs;
use std::path::Path;

const SOURCE: &str = include_str!("security.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(capabilities_are_added_and_dropped), &[Capability::KataCriSecurity], Kernel).seconds(240),
    row!(Containers(no_new_privileges_is_in_force), &[Capability::KataCriSecurity], Kernel).seconds(240),
    row!(Containers(a_seccomp_profile_of_the_hosts_is_in_force), &[Capability::KataCriSecurity], Kernel).seconds(240),
    row!(Containers(a_device_of_the_hosts_is_a_containers), &[Capability::KataCriSecurity], Kernel).seconds(240),
    row!(Containers(a_privileged_container_may_do_everything_inside), &[Capability::KataCriSecurity], Kernel)
        .seconds(240),
    // A control only: Kata's agent applies no AppArmor profile in the guest
    // (src/agent/rustjail/src/container.rs@4.1.0).
    row!(Containers(an_apparmor_profile_is_in_force), &[Capability::KataCriSecurity], Containerd)
        .places(&[Place::Runc]),
];

/// Numbers of capabilities in the kernel (`linux/capability.h`).
const CAP_CHOWN: u32 = 0;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
/// The last one before those of Linux 5.8.
const CAP_AUDIT_READ: u32 = 37;

/// The highest number of a capability that the kernel knows.
const LAST_CAP: &str = "/proc/sys/kernel/cap_last_cap";

/// A container has the capabilities that were added to the default ones, and lacks those that were dropped.
///
/// `securityContext.capabilities`; under Kata the agent sets them in the guest
/// (`src/agent/rustjail/src/container.rs@4.1.0`).
fn capabilities_are_added_and_dropped(containers: &dyn Containers) -> Check {
    let wanted = PodContainer {
        added: vec!["NET_ADMIN".to_owned()],
        dropped: vec!["CHOWN".to_owned()],
        ..PodContainer::new(&["stay"])
    };
    in_a_pod(containers, &PodWanted::named("kq-capabilities"), &wanted, |container| {
        let has = capabilities(container)?;
        ensure!(has(CAP_NET_ADMIN), "CAP_NET_ADMIN was added, and is not effective inside");
        ensure!(!has(CAP_CHOWN), "CAP_CHOWN was dropped, and is effective inside");
        ensure!(!has(CAP_SYS_ADMIN), "CAP_SYS_ADMIN is no default one, and is effective inside");
        Ok(())
    })
}

/// `no_new_privs` is set for a container that must gain no privileges, and not set for one that may.
///
/// `allowPrivilegeEscalation: false`; under Kata the agent sets it in the guest (`set_no_new_privs` in
/// `src/agent/rustjail/src/container.rs@4.1.0`).
fn no_new_privileges_is_in_force(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-privileges"))?;
    let every: &[bool] = if nobody_gains_privileges(containers)? { &[true] } else { &[true, false] };
    for &no_new_privileges in every {
        let container = pod.start(&PodContainer { no_new_privileges, ..PodContainer::new(&["stay"]) })?;
        let seen = status(&*container, "NoNewPrivs")?;
        let wanted = if no_new_privileges { "1" } else { "0" };
        ensure!(seen == wanted, "NoNewPrivs was to be {wanted}, inside it is {seen}");
    }
    pod.remove()
}

/// A seccomp profile in a file of the host's denies the system calls that it lists, and no others.
///
/// `seccompProfile: Localhost`; Kata passes it to the agent where its configuration says so (`disable_guest_seccomp`,
/// here by the pod's annotation), and the guest's kernel applies it (`src/agent/rustjail/src/container.rs@4.1.0`).
fn a_seccomp_profile_of_the_hosts_is_in_force(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let path = cri.seccomp_profile(&["mkdir", "mkdirat"])?;
    let annotation = ("io.katacontainers.config.runtime.disable_guest_seccomp".to_owned(), "false".to_owned());
    let pod = cri.run_pod(&PodWanted { annotations: vec![annotation], ..PodWanted::named("kq-seccomp") })?;
    let profile = ProfileWanted::Named(path.to_string_lossy().into_owned());
    let container = pod.start(&PodContainer { seccomp: Some(profile), ..PodContainer::new(&["stay"]) })?;
    let refused = container.exec(&["mkdir", "/tmp/denied"])?;
    if refused.code == 0 && containers.runtime() == ContainerRuntime::Kata && status(&*container, "Seccomp")? == "0" {
        return Err(Stop::error("Kata's agent applied no profile: the one given was built without seccomp"));
    }
    ensure!(refused.refusal().as_deref() == Some("EPERM"), "mkdir is denied with EPERM: {}", refused.summary());
    let written = container.exec(&["rewrite", "/tmp/free", "yes"])?;
    ensure!(written.code == 0, "the profile denies mkdir only, and writing fails: {}", written.summary());
    drop(container);
    pod.remove()
}

/// A character device of the host's that a container asks for exists in the container, under the requested name, and
/// works.
///
/// A device plug-in's answer ends up as such a request. Every guest has `/dev/full`, too: under Kata the agent creates
/// the node and allows it in the container's control group (TestDeviceCgroup in
/// `tests/integration/cri-containerd/integration-tests.sh@4.1.0`).
fn a_device_of_the_hosts_is_a_containers(containers: &dyn Containers) -> Check {
    let devices = vec![("/dev/full".to_owned(), "/dev/kq-full".to_owned())];
    let wanted = PodContainer { devices, ..PodContainer::new(&["stay"]) };
    in_a_pod(containers, &PodWanted::named("kq-device"), &wanted, |container| {
        let written = container.exec(&["rewrite", "/dev/kq-full", "x"])?;
        ensure!(
            written.refusal().as_deref() == Some("ENOSPC"),
            "writing to /dev/full is refused with ENOSPC: {}",
            written.summary()
        );
        Ok(())
    })
}

/// A privileged container has every capability that the kernel inside and its containerd have, and no seccomp filter;
/// under Kata this applies inside the guest.
///
/// Capabilities of Linux 5.8 and later are only noted, because containerd before 1.5 does not know them. Node agents
/// and image builders run as such containers. The handler that `configure` writes has
/// `privileged_without_host_devices`, because a guest cannot have all of the host's devices
/// (`docs/how-to/privileged.md@4.1.0`).
fn a_privileged_container_may_do_everything_inside(containers: &dyn Containers) -> Check {
    let pod = PodWanted { privileged: true, ..PodWanted::named("kq-privileged") };
    let wanted = PodContainer { privileged: true, ..PodContainer::new(&["stay"]) };
    in_a_pod(containers, &pod, &wanted, |container| {
        let has = capabilities(container)?;
        let read = container.exec(&["read", LAST_CAP])?;
        let last: u32 =
            read.text().trim().parse().map_err(|_| Stop::fail(format!("{LAST_CAP} inside: {}", read.summary())))?;
        // containerd gives no more than it has itself, which is what this process has.
        let own = containers.read_host(STATUS)?;
        let own = procfs::status(&own, "CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        let own = own.ok_or_else(|| Stop::error(format!("{STATUS} of the agent has no CapEff")))?;
        let (lacking, new): (Vec<u32>, Vec<u32>) = (0..=last.min(63))
            .filter(|number| (own >> number) & 1 == 1 && !has(*number))
            .partition(|number| *number <= CAP_AUDIT_READ);
        ensure!(lacking.is_empty(), "a privileged container lacks the capabilities {lacking:?} of 0 to {last}");
        if !new.is_empty() {
            containers.note(format!("a privileged container lacks the capabilities {new:?} of Linux 5.8 and later"));
        }
        let seccomp = status(container, "Seccomp")?;
        ensure!(seccomp == "0", "a privileged container has seccomp mode {seccomp}");
        Ok(())
    })
}

/// A container has the requested AppArmor profile: containerd's own by default, and none if the container asks to be
/// unconfined.
///
/// The kernel must have AppArmor. Kata takes the profile to be for the host and applies none in the guest
/// (`src/agent/rustjail/src/container.rs@4.1.0`), so this is a control only.
fn an_apparmor_profile_is_in_force(containers: &dyn Containers) -> Check {
    const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
    const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
    const PARSER: &str = "/sbin/apparmor_parser";
    if !containers.read_host(ENABLED).is_ok_and(|text| text.trim() == "Y") || containers.read_host(PROFILES).is_err() {
        return Err(Stop::skip("the host's kernel has no AppArmor switched on, or shows none of its profiles"));
    }
    // containerd loads its profile with this program, and without the program assumes that the host has no AppArmor.
    if !Path::new(PARSER).exists() {
        return Err(Stop::skip(format!("the environment has no {PARSER}")));
    }
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-apparmor"))?;
    let free = PodContainer { apparmor: Some(ProfileWanted::Unconfined), ..PodContainer::new(&["stay"]) };
    let container = pod.start(&free)?;
    let profile = container.exec(&["read", "/proc/self/attr/current"])?;
    ensure!(profile.text().trim_end_matches('\0') == "unconfined", "it was to be unconfined: {}", profile.summary());
    let confined = pod.start(&PodContainer::new(&["stay"]))?;
    let profile = confined.exec(&["read", "/proc/self/attr/current"])?;
    ensure!(profile.text().contains("cri-containerd"), "by default it has containerd's profile: {}", profile.summary());
    drop((container, confined));
    pod.remove()
}

/// Returns a field of `/proc/self/status` of a process in the container.
fn status(container: &dyn PodProcess, key: &str) -> Result<String, Stop> {
    status_line(&container.exec(&["read", STATUS])?, key)
}

/// Returns a predicate that says whether a capability is effective in the container.
fn capabilities(container: &dyn PodProcess) -> Result<impl Fn(u32) -> bool + use<>, Stop> {
    let text = status(container, "CapEff")?;
    let mask = u64::from_str_radix(&text, 16).map_err(|e| Stop::fail(format!("CapEff is {text}: {e}")))?;
    Ok(move |number: u32| (mask >> number) & 1 == 1)
}
