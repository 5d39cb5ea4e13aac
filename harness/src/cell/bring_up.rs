//! Bring-up of a prepared cell: from the image to a running environment, and the evidence about it.

use crate::built_in::{self, AGENT};
use crate::environments::container::{self, Container, OwningRun};
use crate::environments::vm::outer::{MachineAccelerator, RELEASE};
use crate::environments::vm::{self, Size};
use crate::environments::{EnvironmentError, Running, host};
use crate::level;
use crate::line::{Line, LineError, ask};
use crate::output::CellOutput;
use crate::resources::Resources;
use crate::schedule::Schedule;
use crate::seed::{Content, SeedFile};
use crate::setup::{self, EnvironmentBase, PreparedCell, SetupError};
use model::diagnostic::error_chain;
use model::profile::Profile;
use protocol::facts::{self, EnvironmentFact};
use protocol::message::{EnvironmentReply, EnvironmentRequest};
use reports::journal::{Environment, ProbeAnswer};
use std::collections::BTreeMap;

/// Seconds that an agent may take to report what its environment provides: it may boot a guest to find out, which may
/// be nested, and starved by another guest.
pub(super) const PROBE: u64 = 600;

/// Returns the status line that is shown during the bring-up.
pub(super) fn doing(kind: Environment) -> &'static str {
    match kind {
        Environment::Container => "starting the container",
        Environment::Vm => "booting the virtual machine",
        Environment::Host => "starting the agent",
    }
}

/// Brings a prepared cell up, for the next part of its schedule.
///
/// # Errors
/// If the environment fails to come up.
pub(super) async fn bring_up(
    resources: &Resources,
    output: &CellOutput,
    prepared: &PreparedCell,
    profile: Option<&Profile>,
    schedule: &mut Schedule,
) -> Result<Running, EnvironmentError> {
    let machine = schedule.new_machine();
    match &prepared.base {
        EnvironmentBase::Container { docker_image, .. } => {
            let container = with_kvm_if_it_works(resources, output, prepared, profile, docker_image).await?;
            if let Some(refused) = &container.refused {
                output.warn(refused);
            }
            Ok(Running::Container(Box::new(container)))
        }
        EnvironmentBase::Vm { disk } => {
            let outer = resources.machines.outer().await?;
            let file = |name: &str, content: Content| SeedFile { name: name.to_owned(), content };
            let agent = built_in::agent(prepared.claims.release.arch).unwrap_or_default();
            let mut seed = vec![file("agent", Content::Static(agent)), file("initramfs", prepared.initramfs.clone())];
            seed.extend(prepared.files.iter().cloned());
            let cpus = match outer.accelerator {
                MachineAccelerator::Tcg { .. } if !schedule.needs_cpus() => 1,
                MachineAccelerator::Tcg { .. } | MachineAccelerator::Kvm => resources.machines.size.cpus,
            };
            let size = Size { cpus, ..resources.machines.size };
            let logs = output.logs().join(format!("machine-{machine}"));
            let vm = match vm::start(&outer, disk, size, &seed, &logs).await {
                Ok(vm) => vm,
                // A boot under emulation fails now and then; the logs of the first attempt stay next to those of the
                // second.
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

/// Starts a container with this machine's KVM if a guest boots under it, else a container without any device.
async fn with_kvm_if_it_works(
    resources: &Resources,
    output: &CellOutput,
    prepared: &PreparedCell,
    profile: Option<&Profile>,
    image: &str,
) -> Result<Container, EnvironmentError> {
    let docker = resources.docker.as_ref().ok_or(EnvironmentError::NoDocker)?;
    let kept = resources.owner.kept.as_ref().map(|run| container::kept_as(run, output.cell()));
    let owner = OwningRun { kept, ..resources.owner.clone() };
    let start = |brokers| container::start(docker, image, AGENT, &owner, brokers);
    if let (Ok(()), Some(profile)) = (&resources.kvm, profile) {
        let why = match start(Some(&resources.host_folder)).await {
            Ok(container) => match boots_under_kvm(&container.line, prepared, profile).await {
                Ok(()) => return Ok(container),
                Err(why) => {
                    container.remove().await?;
                    error_chain(&why)
                }
            },
            Err(e) => error_chain(&e),
        };
        output.say(&format!("the container gets no KVM, so its guests are emulated: {why}"));
    }
    Ok(start(None).await?)
}

/// Reason why the release's guest does not boot under KVM.
#[derive(Debug, thiserror::Error)]
enum NotUnderKvm {
    /// The agent did not receive the files that it needs for a guest.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The agent cannot be reached.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The agent tried and reported this.
    #[error("{0}")]
    Found(EnvironmentFact),
    /// The agent did not try.
    #[error("the agent did not check KVM")]
    NotLookedAt,
}

/// Asks the agent whether the release's guest boots under KVM; returns the reason if it does not.
async fn boots_under_kvm(line: &Line, prepared: &PreparedCell, profile: &Profile) -> Result<(), NotUnderKvm> {
    setup::send(line, prepared).await?;
    let probe = EnvironmentRequest::Probe { profile: Box::new(profile.clone()) };
    let facts = match ask(line, probe, PROBE).await? {
        EnvironmentReply::Probed { facts } => facts,
        other => return Err(LineError::Unexpected(format!("{other:?}")).into()),
    };
    match facts.get(facts::KVM) {
        Some(EnvironmentFact::Has) => Ok(()),
        Some(other) => Err(NotUnderKvm::Found(other.clone())),
        None => Err(NotUnderKvm::NotLookedAt),
    }
}

/// Returns the evidence about an environment beyond the findings of its agent.
pub(super) fn evidence(running: &Running, resources: &Resources) -> BTreeMap<String, ProbeAnswer> {
    let mut evidence = BTreeMap::from([("processor".to_owned(), ProbeAnswer::Words(level::here().why))]);
    if let Running::Container(container) = running {
        let handed_in = match (container.has_kvm(), &resources.kvm) {
            (true, _) => "the device of KVM, and a broker of vhost and tap drivers".to_owned(),
            (false, Ok(())) => "nothing: no guest of the release boots under KVM here".to_owned(),
            (false, Err(why)) => format!("nothing: {why}"),
        };
        evidence.insert("handed-in".to_owned(), ProbeAnswer::Words(handed_in));
    }
    if let (Running::Vm(vm), Some(outer)) = (running, resources.machines.outer_if_known()) {
        let size = vm.size;
        let mut record = |name: &str, value: String| drop(evidence.insert(name.to_owned(), ProbeAnswer::Words(value)));
        record("machine-qemu", format!("{} of {RELEASE}, whatever this machine has", outer.version));
        record("machine-accelerator", outer.processor().join(" "));
        record("machine-memory-mib", size.memory_mib.to_string());
        record("machine-cpus", size.cpus.to_string());
        for (name, value) in resources.kata.runtime_evidence() {
            record(&name, value);
        }
        if let MachineAccelerator::Tcg { why, .. } = &outer.accelerator {
            record("machine-without-kvm", why.clone());
        }
    }
    evidence
}
