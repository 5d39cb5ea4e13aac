//! Where a cell is brought up: one of three kinds, alike in that an agent answers at the end of a line.

pub mod container;
pub mod host;
pub mod vm;

use crate::line::Line;
use crate::setup::{Base, Prepared};
use crate::shared::Shared;
use agent::fact::{self, Fact, Facts};
use container::Container;
use host::Host;
use kata_osinfo::diagnostic::error_chain;
use reports::journal::{CellId, Environment};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use vm::{Content, SeedFile, Vm};

/// An environment that is up.
pub enum Brought {
    /// A container.
    Container(Box<Container>),
    /// A virtual machine.
    Vm(Box<Vm>),
    /// This machine.
    Host(Box<Host>),
}

const OPEN: &str = "the Docker engine did not apply the seccomp profile that it was given, and without one a container can \
                    open its host's files: expected an engine of version 20.10.10 or later that `docker info` says has seccomp";

/// Whether the agent in a container runs under a filter (mode 2 in its status), and one that refuses file handles.
fn is_filtered(facts: &Facts) -> bool {
    let by_a_filter = Fact::Told("2".to_owned());
    facts.get(fact::SECCOMP) == Some(&by_a_filter) && matches!(facts.get(fact::FILE_HANDLES), Some(Fact::Lacks(_)))
}

/// What to say while it is done.
pub fn doing(kind: Environment) -> &'static str {
    match kind {
        Environment::Container => "starting the container",
        Environment::Vm => "booting the virtual machine",
        Environment::Host => "starting the agent",
    }
}

/// Brings a prepared cell up.
///
/// # Errors
/// What failed, for a person.
pub async fn bring_up(shared: &Shared, cell: &CellId, prepared: &Prepared, machine: u32) -> Result<Brought, String> {
    match &prepared.base {
        Base::Container { docker_image, .. } => {
            let docker = shared.docker.as_ref().ok_or("no Docker engine answers")?;
            let started = container::start(docker, docker_image, crate::built_in::AGENT, shared.owner()).await;
            let container = started.map_err(|e| error_chain(&e))?;
            if let Some(refused) = &container.refused {
                shared.progress.say(&format!("warning: {cell}: {refused}"));
            }
            Ok(Brought::Container(Box::new(container)))
        }
        Base::Vm { disk } => {
            let outer = shared.outer().await?;
            let of = |name: &str, content: Content| SeedFile { name: name.to_owned(), content };
            let mut seed = vec![
                of("agent", Content::Static(crate::built_in::AGENT)),
                of("initramfs", Content::Bytes(Arc::clone(&prepared.initramfs))),
            ];
            seed.extend(prepared.pjdfstest.map(|bytes| of("pjdfstest", Content::Static(bytes))));
            seed.extend(prepared.files.iter().cloned());
            let logs = shared.out.join(crate::artifacts::artifact_folder(cell)).join(format!("machine-{machine}"));
            let started = match vm::start(&outer, disk, shared.size, &seed, &logs).await {
                Ok(vm) => Ok(vm),
                // Emulation fails a boot now and then; the logs of the first one stay beside those of the second.
                Err(why) => {
                    shared.progress.say(&format!("{cell}: {why}; once more"));
                    vm::start(&outer, disk, shared.size, &seed, &logs.join("again")).await
                }
            };
            started.map(|vm| Brought::Vm(Box::new(vm)))
        }
        Base::Host { dir } => host::start(crate::built_in::AGENT, dir).await.map(|host| Brought::Host(Box::new(host))),
    }
}

impl Brought {
    /// The line to the agent.
    pub fn line(&self) -> Line {
        match self {
            Brought::Container(container) => container.line.clone(),
            Brought::Vm(vm) => vm.line.clone(),
            Brought::Host(host) => host.line(),
        }
    }

    /// Why the line may have ended, beyond what was heard on it.
    pub async fn ending(&mut self) -> Option<String> {
        match self {
            Brought::Container(_) => None,
            Brought::Vm(vm) => {
                let still = |silent: Duration| {
                    format!("the virtual machine runs, and nothing was heard of it for {} s", silent.as_secs())
                };
                vm.ending().await.or_else(|| vm.line.silent().map(still))
            }
            Brought::Host(host) => host.ending(),
        }
    }

    /// Whether it is closed to the machine around it as far as its agent has found; a container's filter must be in force.
    ///
    /// # Errors
    /// What is open, for a person.
    pub fn is_closed(&self, facts: &Facts) -> Result<(), String> {
        match self {
            Brought::Container(_) if !is_filtered(facts) => Err(OPEN.to_owned()),
            _ => Ok(()),
        }
    }

    /// What the evidence says of it, beyond what its agent finds.
    pub fn facts(&self, shared: &Shared) -> BTreeMap<String, String> {
        let mut facts: BTreeMap<String, String> = shared.kata.component_facts().collect();
        if let (Brought::Vm(_), Some(outer)) = (self, shared.outer_if_known()) {
            let mut say = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
            say("machine-qemu", format!("{} of debian:13, whatever this machine has", outer.version));
            say("machine-accelerator", outer.accelerator.arguments().join(" "));
            say("machine-memory-mib", shared.size.memory_mib.to_string());
            say("machine-cpus", shared.size.cpus.to_string());
            for (name, value) in shared.kata.runtime_facts() {
                say(&name, value);
            }
            if let vm::outer::Accelerator::Tcg { why } = &outer.accelerator {
                say("machine-without-kvm", why.clone());
            }
        }
        facts
    }

    /// Takes it down, or with `keep` leaves what can be looked at later; gives what to tell a person.
    pub async fn take_down(self, keep: bool) -> Option<String> {
        match self {
            Brought::Container(container) if keep => {
                let said = format!("kept container {} (`kata-qualify clean` removes it)", container.id());
                container.keep().await;
                Some(said)
            }
            Brought::Container(container) => {
                let removed = container.remove().await;
                removed.err().map(|e| format!("{}; the next start sweeps it", error_chain(&e)))
            }
            Brought::Vm(vm) => {
                vm.stop().await;
                keep.then(|| {
                    "a virtual machine is not kept: it ends with the run, and its disk's layer with it".to_owned()
                })
            }
            Brought::Host(host) => {
                drop(host);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_our_filter_is_told_by_its_agent() {
        let facts = |seccomp: &str, handles: Fact| -> Facts {
            [(fact::SECCOMP, Fact::Told(seccomp.to_owned())), (fact::FILE_HANDLES, handles)].into_iter().collect()
        };
        let refused = || Fact::Lacks("Operation not permitted (os error 1)".to_owned());
        assert!(is_filtered(&facts("2", refused())));
        // Docker's own filter lets the call through to whoever has the capability.
        assert!(!is_filtered(&facts("2", Fact::Has)));
        assert!(!is_filtered(&facts("0", refused())));
        assert!(!is_filtered(&Facts::default()));
    }
}
