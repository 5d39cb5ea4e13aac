//! A prepared cell becomes an environment that runs, and what the evidence says of that.

use crate::artifacts::artifact_folder;
use crate::built_in::AGENT;
use crate::environments::vm;
use crate::environments::vm::outer::{Accelerator, release_name};
use crate::environments::{EnvironmentError, Running, container, host};
use crate::seed::{Content, SeedFile};
use crate::setup::{EnvironmentBase, PreparedCell};
use crate::shared::Shared;
use model::diagnostic::error_chain;
use reports::journal::{CellId, Environment};
use std::collections::BTreeMap;

/// What to say while it is done.
pub(super) fn doing(kind: Environment) -> &'static str {
    match kind {
        Environment::Container => "starting the container",
        Environment::Vm => "booting the virtual machine",
        Environment::Host => "starting the agent",
    }
}

/// Brings a prepared cell up; `machine` is the number of its virtual machine.
///
/// # Errors
/// What failed in the environment.
pub(super) async fn bring_up(
    shared: &Shared,
    cell: &CellId,
    prepared: &PreparedCell,
    machine: u32,
) -> Result<Running, EnvironmentError> {
    match &prepared.base {
        EnvironmentBase::Container { docker_image, .. } => {
            let docker = shared.docker.as_ref().ok_or(EnvironmentError::NoDocker)?;
            let container = container::start(docker, docker_image, AGENT, &shared.owner).await?;
            if let Some(refused) = &container.refused {
                shared.progress.say(&format!("warning: {cell}: {refused}"));
            }
            Ok(Running::Container(Box::new(container)))
        }
        EnvironmentBase::Vm { disk } => {
            let outer = shared.machines.outer().await?;
            let file = |name: &str, content: Content| SeedFile { name: name.to_owned(), content };
            let mut seed = vec![file("agent", Content::Static(AGENT)), file("initramfs", prepared.initramfs.clone())];
            seed.extend(prepared.pjdfstest.map(|bytes| file("pjdfstest", Content::Static(bytes))));
            seed.extend(prepared.files.iter().cloned());
            let (size, logs) = (shared.machines.size, shared.out.join(artifact_folder(cell)));
            let logs = logs.join(format!("machine-{machine}"));
            let vm = match vm::start(&outer, disk, size, &seed, &logs).await {
                Ok(vm) => vm,
                // Emulation fails a boot now and then; the logs of the first one stay beside those of the second.
                Err(why) => {
                    shared.progress.say(&format!("{cell}: {}; trying again", error_chain(&why)));
                    vm::start(&outer, disk, size, &seed, &logs.join("again")).await?
                }
            };
            Ok(Running::Vm(Box::new(vm)))
        }
        EnvironmentBase::Host { dir } => Ok(Running::Host(Box::new(host::start(AGENT, dir).await?))),
    }
}

/// What the evidence says of an environment, beyond what its agent finds.
pub(super) fn evidence(running: &Running, shared: &Shared) -> BTreeMap<String, String> {
    let mut evidence = BTreeMap::new();
    if let (Running::Vm(_), Some(outer)) = (running, shared.machines.outer_if_known()) {
        let size = shared.machines.size;
        let mut say = |name: &str, value: String| drop(evidence.insert(name.to_owned(), value));
        say("machine-qemu", format!("{} of {}, whatever this machine has", outer.version, release_name()));
        say("machine-accelerator", outer.accelerator.arguments().join(" "));
        say("machine-memory-mib", size.memory_mib.to_string());
        say("machine-cpus", size.cpus.to_string());
        for (name, value) in shared.kata.runtime_evidence() {
            say(&name, value);
        }
        if let Accelerator::Tcg { why } = &outer.accelerator {
            say("machine-without-kvm", why.clone());
        }
    }
    evidence
}
