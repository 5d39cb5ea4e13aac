//! Environments of cells: three kinds, in each of which an agent answers at the end of a line.

pub mod container;
pub mod host;
pub mod vm;

use crate::line::Line;
use container::{Container, ContainerError};
use host::{Host, HostError};
use model::diagnostic::error_chain;
use protocol::facts::{self, EnvironmentFact, Facts};
use std::sync::Arc;
use std::time::Duration;
use vm::outer::OuterError;
use vm::{Vm, VmError};

/// Containers that outlive their run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// No container.
    #[default]
    Nothing,
    /// The environments of cells in which a test failed.
    Failed,
    /// All containers.
    All,
}

impl Keep {
    /// Returns the meaning of `--keep` and `--keep-failed`; `--keep` includes the other.
    pub fn of(all: bool, failed: bool) -> Keep {
        match (all, failed) {
            (true, _) => Keep::All,
            (false, true) => Keep::Failed,
            (false, false) => Keep::Nothing,
        }
    }

    /// Checks whether the environment of a cell is kept; `has_failed` is true if one of its tests failed.
    pub fn keeps(self, has_failed: bool) -> bool {
        match self {
            Keep::Nothing => false,
            Keep::Failed => has_failed,
            Keep::All => true,
        }
    }
}

/// An environment that is up.
pub enum Running {
    /// A container.
    Container(Box<Container>),
    /// A virtual machine.
    Vm(Box<Vm>),
    /// This machine.
    Host(Box<Host>),
}

/// Reason why an environment did not come up, or is not fit for tests.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A container was requested, and there is no engine.
    #[error("no Docker engine answers")]
    NoDocker,
    /// The container failed.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// There is no QEMU for the virtual machine.
    #[error(transparent)]
    Qemu(#[from] Arc<OuterError>),
    /// The virtual machine failed.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The agent failed on this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The container runs without the harness's filter.
    #[error(
        "the Docker engine did not apply kata-qualify's seccomp profile, without which a container can open its host's \
         files: use an engine 20.10.10 or later for which `docker info` lists seccomp"
    )]
    Unfiltered,
}

/// Checks whether the agent in a container runs under a filter (mode 2 in its status) that refuses file handles.
fn is_filtered(facts: &Facts) -> bool {
    let by_a_filter = EnvironmentFact::Told("2".to_owned());
    facts.get(facts::SECCOMP) == Some(&by_a_filter)
        && matches!(facts.get(facts::FILE_HANDLES), Some(EnvironmentFact::Lacks(_)))
}

impl Running {
    /// Returns the line to the agent.
    pub fn line(&self) -> Line {
        match self {
            Running::Container(container) => container.line.clone(),
            Running::Vm(vm) => vm.line.clone(),
            Running::Host(host) => host.line(),
        }
    }

    /// Returns why the line may have ended, in addition to the line's own error.
    pub async fn ending(&mut self) -> Option<String> {
        match self {
            Running::Container(_) => None,
            Running::Vm(vm) => {
                let silence_message = |silent: Duration| {
                    format!("the virtual machine runs, but its agent has been silent for {} s", silent.as_secs())
                };
                vm.ending().await.or_else(|| vm.line.silent().map(silence_message))
            }
            Running::Host(host) => host.ending(),
        }
    }

    /// Checks whether the environment is isolated from the machine around it, as far as its agent can see: a
    /// container's filter must be in force.
    ///
    /// # Errors
    /// [`EnvironmentError::Unfiltered`].
    pub fn is_closed(&self, facts: &Facts) -> Result<(), EnvironmentError> {
        match self {
            Running::Container(_) if !is_filtered(facts) => Err(EnvironmentError::Unfiltered),
            _ => Ok(()),
        }
    }

    /// Takes the environment down, or with `keep` leaves it for people to examine later. Returns a line for people, if
    /// there is one.
    pub async fn take_down(self, keep: bool) -> Option<String> {
        match self {
            Running::Container(container) if keep => {
                let message = format!(
                    "kept container {}: `kata-qualify shell RUN TEST` opens a shell in it and then removes it; \
                     `kata-qualify clean` removes it, too",
                    container.id()
                );
                container.keep().await;
                Some(message)
            }
            Running::Container(container) => {
                let removed = container.remove().await;
                removed.err().map(|e| format!("{}; the next run removes it", error_chain(&e)))
            }
            Running::Vm(vm) => {
                vm.stop().await;
                keep.then(|| {
                    "virtual machines cannot be kept: they end with the run; `kata-qualify shell RUN TEST` boots this \
                     one again"
                        .to_owned()
                })
            }
            Running::Host(host) => {
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
    fn environments_are_kept_by_setting_and_failure() {
        let table = [(Keep::Nothing, [false, false]), (Keep::Failed, [false, true]), (Keep::All, [true, true])];
        for (keep, expected) in table {
            assert_eq!([keep.keeps(false), keep.keeps(true)], expected, "{keep:?}");
        }
    }

    #[test]
    fn a_seccomp_filter_that_refuses_file_handles_is_detected() {
        let facts = |seccomp: &str, handles: EnvironmentFact| -> Facts {
            [(facts::SECCOMP, EnvironmentFact::Told(seccomp.to_owned())), (facts::FILE_HANDLES, handles)]
                .into_iter()
                .collect()
        };
        let refused = || EnvironmentFact::Lacks("Operation not permitted (os error 1)".to_owned());
        assert!(is_filtered(&facts("2", refused())));
        // Docker's own filter allows the call to processes with the capability.
        assert!(!is_filtered(&facts("2", EnvironmentFact::Has)));
        assert!(!is_filtered(&facts("0", refused())));
        assert!(!is_filtered(&Facts::default()));
    }
}
