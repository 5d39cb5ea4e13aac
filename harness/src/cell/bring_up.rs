//! A prepared cell becomes an environment that runs, and what the evidence says of that.

use crate::built_in::AGENT;
use crate::environments::vm::outer::{Accelerator, release_name};
use crate::environments::vm::{self, Size};
use crate::environments::{EnvironmentError, Running, container, host};
use crate::output::CellOutput;
use crate::resources::Resources;
use crate::schedule::Schedule;
use crate::seed::{Content, SeedFile};
use crate::setup::{EnvironmentBase, PreparedCell};
use model::diagnostic::error_chain;
use reports::journal::Environment;
use std::collections::BTreeMap;

/// What to say while it is done.
pub(super) fn doing(kind: Environment) -> &'static str {
    match kind {
        Environment::Container => "starting the container",
        Environment::Vm => "booting the virtual machine",
        Environment::Host => "starting the agent",
    }
}

/// Brings a prepared cell up, for what its schedule has next.
///
/// # Errors
/// What failed in the environment.
pub(super) async fn bring_up(
    resources: &Resources,
    output: &CellOutput,
    prepared: &PreparedCell,
    schedule: &mut Schedule,
) -> Result<Running, EnvironmentError> {
    let machine = schedule.new_machine();
    match &prepared.base {
        EnvironmentBase::Container { docker_image, .. } => {
            let docker = resources.docker.as_ref().ok_or(EnvironmentError::NoDocker)?;
            let container = container::start(docker, docker_image, AGENT, &resources.owner).await?;
            if let Some(refused) = &container.refused {
                output.warn(refused);
            }
            Ok(Running::Container(Box::new(container)))
        }
        EnvironmentBase::Vm { disk } => {
            let outer = resources.machines.outer().await?;
            let file = |name: &str, content: Content| SeedFile { name: name.to_owned(), content };
            let mut seed = vec![file("agent", Content::Static(AGENT)), file("initramfs", prepared.initramfs.clone())];
            seed.extend(prepared.files.iter().cloned());
            let cpus = match outer.accelerator {
                Accelerator::Tcg { .. } if !schedule.needs_cpus() => 1,
                Accelerator::Tcg { .. } | Accelerator::Kvm => resources.machines.size.cpus,
            };
            let size = Size { cpus, ..resources.machines.size };
            let logs = output.logs().join(format!("machine-{machine}"));
            let vm = match vm::start(&outer, disk, size, &seed, &logs).await {
                Ok(vm) => vm,
                // Emulation fails a boot now and then; the logs of the first one stay beside those of the second.
                Err(why) => {
                    output.say(&format!("{}; trying again", error_chain(&why)));
                    vm::start(&outer, disk, size, &seed, &logs.join("again")).await?
                }
            };
            Ok(Running::Vm(Box::new(vm)))
        }
        EnvironmentBase::Host { dir } => Ok(Running::Host(Box::new(host::start(AGENT, dir).await?))),
    }
}

/// What the evidence says of an environment, beyond what its agent finds.
pub(super) fn evidence(running: &Running, resources: &Resources) -> BTreeMap<String, String> {
    let mut evidence = BTreeMap::new();
    if let (Running::Vm(vm), Some(outer)) = (running, resources.machines.outer_if_known()) {
        let size = vm.size;
        let mut say = |name: &str, value: String| drop(evidence.insert(name.to_owned(), value));
        say("machine-qemu", format!("{} of {}, whatever this machine has", outer.version, release_name()));
        say("machine-accelerator", outer.accelerator.arguments().join(" "));
        say("machine-memory-mib", size.memory_mib.to_string());
        say("machine-cpus", size.cpus.to_string());
        for (name, value) in resources.kata.runtime_evidence() {
            say(&name, value);
        }
        if let Accelerator::Tcg { why } = &outer.accelerator {
            say("machine-without-kvm", why.clone());
        }
    }
    evidence
}
