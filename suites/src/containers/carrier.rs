//! The kernel that a container sees, and the host's programs that run the container.

use super::arguments;
use super::lifecycle::names;
use super::process::parse_facts;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerRuntime, ContainerSandbox, Containers, Process};
use crate::outcome::Component;
use crate::row::{Row, row};
use crate::share::Share;
use model::release::InsidePath;
use model::words::list_and;

const SOURCE: &str = include_str!("carrier.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(the_kernel_inside_is_the_runtimes), &[Capability::KataSmoke], Kernel),
    row!(Containers(the_vmm_is_the_distros_with_the_profiles_arguments), &[Capability::KataSmoke], Qemu).seconds(180),
];

/// Under Kata the boot id inside a container is not the host's, and the kernel is the release's or a candidate; under
/// the control both are the host's.
///
/// This proves that the container runs in a virtual machine: a Kata that fell back to the host's kernel would pass
/// every other test. Each container of Kata runs in a virtual machine with a kernel of its own
/// (docs/design/architecture/README.md@4.1.0).
fn the_kernel_inside_is_the_runtimes(containers: &dyn Containers) -> Check {
    let facts = parse_facts(&containers.run(&Container::new(&["facts"]), &[])?)?;
    let host_boot = containers.read_host("/proc/sys/kernel/random/boot_id")?;
    let host_kernel = containers.read_host("/proc/sys/kernel/osrelease")?;
    match containers.runtime() {
        ContainerRuntime::Runc => {
            ensure!(facts.boot_id == host_boot.trim(), "under runc the boot id is {}, not the host's", facts.boot_id);
            ensure!(facts.kernel == host_kernel.trim(), "under runc the kernel is {}, not the host's", facts.kernel);
        }
        ContainerRuntime::Kata => {
            ensure!(facts.boot_id != host_boot.trim(), "the boot id inside is the host's: there is no virtual machine");
            let claimed = &containers.claims().kernel;
            if containers.claims().candidates.contains_key(&Component::Kernel) {
                containers.note(format!("the guest's kernel, a candidate, is {}", facts.kernel));
                return Ok(());
            }
            ensure!(
                claimed == facts.kernel.as_str(),
                "the guest's kernel is {}, the release's is {claimed}",
                facts.kernel
            );
        }
    }
    Ok(())
}

/// The processes behind a Kata container are the distro's own QEMU, with exactly the profile's arguments, and the
/// distro's own virtiofsd; a container of the control has neither.
///
/// Apart from identifiers, paths and descriptors, `/proc/PID/cmdline` is compared word for word with the arguments that
/// Kata passes according to the profile: this comparison justifies using the guests of the other suites in place of
/// Kata's. A difference is an error of the profile, and the message has both sides: Kata generates its arguments by
/// itself. Kata starts the QEMU and the virtiofsd that its configuration names, with arguments of its own (`CreateVM`
/// in src/runtime/virtcontainers/qemu.go@4.1.0, src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn the_vmm_is_the_distros_with_the_profiles_arguments(containers: &dyn Containers) -> Check {
    let task = containers.start(&Container::new(&["stay"]).within(ContainerSandbox::Alone))?;
    let processes = containers.processes(task.id());
    let (vmm, daemon) = (processes.iter().find(|p| p.is_vmm()), processes.iter().find(|p| p.is_daemon()));
    match containers.runtime() {
        ContainerRuntime::Runc => {
            let found: Vec<&str> = [vmm, daemon].into_iter().flatten().map(|p| p.program.as_str()).collect();
            ensure!(found.is_empty(), "under runc there is {}", list_and(found));
            ensure!(!processes.is_empty(), "no process of the container was found on the host");
            Ok(())
        }
        ContainerRuntime::Kata => {
            let release = containers.claims().in_use();
            let qemu = release.qemu().map(|vmm| vmm.path.clone());
            let virtiofsd = release.filesystem(Share::VirtioFs).and_then(|driver| driver.path.clone());
            let vmm = is_the_binary(vmm, qemu, "QEMU", &processes)?;
            is_the_binary(daemon, virtiofsd, "virtiofsd", &processes)?;
            let golden = containers.golden_arguments(task.id())?;
            let profile = &containers.profile().name;
            let kata = containers.claims().kata_for(profile);
            let kata = kata.map_or("of an unknown version".to_owned(), |kata| kata.version.to_string());
            arguments::agree(profile, &kata, &golden, &vmm.argv[1..])
        }
    }
}

fn is_the_binary<'a>(
    process: Option<&'a Process>,
    wanted: Option<InsidePath>,
    what: &str,
    all: &[Process],
) -> Result<&'a Process, Stop> {
    let wanted = wanted.ok_or_else(|| Stop::blame(Component::Record, format!("the record names no path of {what}")))?;
    let process =
        process.ok_or_else(|| Stop::fail(format!("no {what} runs for the container, only {}", names(all))))?;
    let same = std::fs::canonicalize(&wanted).is_ok_and(|path| path.to_string_lossy() == process.program);
    ensure!(same, "{what} is {}, expected {wanted}", process.program);
    Ok(process)
}
