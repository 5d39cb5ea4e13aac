//! One cell: brings a release up in an environment, runs its tests, keeps its evidence and removes everything.

use crate::environments::vm::outer::MachineAccelerator;
use crate::environments::{Keep, Running};
use crate::line::{LineError, ask};
use crate::output::{CellOutput, Output};
use crate::plan::{Cell, Unit};
use crate::record_places::RecordPlaces;
use crate::resources::Resources;
use crate::schedule::{AfterEnvironment, Attempts, EnvironmentEnd, Interrupted, RestartReason, Schedule};
use crate::setup::{self, PreparedCell};
use crate::shell::Visit;
use model::diagnostic::error_chain;
use model::sync::locked;
use protocol::facts::{self, EnvironmentFact};
use protocol::message::{EnvironmentReply, EnvironmentRequest};
use reports::journal::{Environment, Event, Phase, ProbeAnswer};
use std::sync::{Arc, Mutex};
use suites::environment::Effort;
use suites::outcome::Outcome;
use testing::{FinishedAttempt, Testing};
use tokio::sync::Semaphore;

mod bring_up;
mod testing;

/// Options for the tests of a run's cells.
pub struct TestOptions {
    /// One permit per guest, shared by all cells.
    pub guests: Arc<Semaphore>,
    /// How often a test is tried, each time in a fresh guest.
    pub attempts: Attempts,
    /// Amount of work for randomized tests.
    pub effort: Effort,
    /// Containers that are kept so that people can look into them.
    pub keep: Keep,
    /// Source positions of the records' claims.
    pub record_places: RecordPlaces,
    /// A visitor (as for `shell`) who is let into the environment instead of running its tests.
    pub visit: Option<Arc<Visit>>,
}

/// A cell that could not go on: the phase and the reason.
struct Broken {
    phase: Phase,
    message: String,
}

/// Wraps an error as a failure of the phase.
fn broken<E: std::error::Error>(phase: Phase) -> impl Fn(E) -> Broken {
    move |e| Broken { phase, message: error_chain(&e) }
}

/// Runs a cell to its end. Every failure is written into the journal.
pub async fn run(resources: Arc<Resources>, options: Arc<TestOptions>, output: Arc<Output>, cell: Arc<Cell>) {
    let output = Arc::new(CellOutput::new(output, cell.id.clone()));
    output.write(Event::CellStarted { cell: cell.id.clone() });
    let ended = bring_up_and_test(&resources, &options, &output, &cell).await;
    output.report_omitted_artifacts().await;
    if let Err(Broken { phase, message }) = ended {
        output.write(Event::CellError { cell: cell.id.clone(), phase, message });
    }
    output.write(Event::CellFinished { cell: cell.id.clone() });
}

async fn bring_up_and_test(
    resources: &Resources,
    options: &Arc<TestOptions>,
    output: &Arc<CellOutput>,
    cell: &Arc<Cell>,
) -> Result<(), Broken> {
    let is_vm = cell.id.environment == Environment::Vm;
    let mut schedule = match &cell.before {
        Some(before) => Schedule::resumed(cell.units.clone(), is_vm, options.attempts, before),
        None => Schedule::new(cell.units.clone(), is_vm, options.attempts),
    };
    if cell.before.is_some() && schedule.is_over() {
        return Ok(());
    }
    phase(output, cell, Phase::Image);
    cell.line.doing("preparing the image");
    let mut prepared = setup::prepare(resources, cell).await.map_err(|e| {
        let place = e.missing_package().and_then(|package| {
            let place = options.record_places.of_package(&cell.release.target(), package)?;
            Some(format!("\n{place} names `{package}`"))
        });
        let Broken { phase, message } = broken(Phase::Image)(e);
        Broken { phase, message: message + &place.unwrap_or_default() }
    })?;
    setup::keep_manifest(&prepared, output.folder(), &cell.id).map_err(broken(Phase::Image))?;
    prepared.claims.effort = options.effort;
    phase(output, cell, Phase::Environment);
    // Only a few machines run at a time, because they and their guests take much memory.
    cell.line.waits();
    let _machine = match cell.id.environment {
        Environment::Vm => Some(Arc::clone(&resources.machines.permits).acquire_owned().await),
        Environment::Container | Environment::Host => None,
    };
    loop {
        cell.line.doing(bring_up::doing(cell.id.environment));
        let running = bring_up::bring_up(resources, output, &prepared, cell.profiles.first(), &mut schedule).await;
        let mut running = running.map_err(broken(Phase::Environment))?;
        let tested = test(resources, options, output, cell, &prepared, &running, &mut schedule).await;
        let ended = if tested.is_err() { running.ending().await } else { None };
        if let Some(notice) = running.take_down(options.keep.keeps(schedule.has_failed())).await {
            output.say(&notice);
        }
        let end = match (&tested, &ended) {
            (Ok(()), _) => EnvironmentEnd::Whole,
            (Err(_), Some(_)) => EnvironmentEnd::Lost,
            (Err(_), None) => EnvironmentEnd::Broken,
        };
        let broken = tested.err().map(|broken| match &ended {
            Some(how) => Broken { message: format!("{how} ({})", broken.message), ..broken },
            None => broken,
        });
        let machine = schedule.machine();
        let (next, interrupted) = schedule.ended(end);
        for Interrupted { profiles, test, attempt, began } in interrupted {
            let message = format!("during this test, {}", ended.as_deref().unwrap_or("the machine was lost"));
            let outcome = Outcome::Error { message };
            let (guests, notes, artifacts) = (Vec::new(), Vec::new(), Vec::new());
            let (profiles, test, unanswered) = (&profiles[..], &test, false);
            let one = FinishedAttempt { profiles, test, attempt, outcome, unanswered, began, guests, notes, artifacts };
            testing::write_attempt(output, cell, machine, one);
        }
        match (next, broken) {
            (AfterEnvironment::GivenUp, Some(broken)) => return Err(broken),
            (_, Some(Broken { message, .. })) => {
                cell.line.lost();
                output.say(&format!("{message}; the remaining tests run in a fresh environment"));
            }
            (AfterEnvironment::Machine(RestartReason::Unanswered), None) => {
                output.say("a Kata sandbox did not answer; the remaining tests run in a fresh machine");
            }
            (_, None) => {}
        }
        if !matches!(next, AfterEnvironment::Machine(_)) {
            return Ok(());
        }
    }
}

async fn test(
    resources: &Resources,
    options: &Arc<TestOptions>,
    output: &Arc<CellOutput>,
    cell: &Arc<Cell>,
    prepared: &PreparedCell,
    running: &Running,
    schedule: &mut Schedule,
) -> Result<(), Broken> {
    output.begin_artifacts().await;
    let line = &running.line();
    setup::send(line, prepared).await.map_err(broken(Phase::Environment))?;
    phase(output, cell, Phase::Probe);
    cell.line.doing("checking what the environment provides");
    let Some(profile) = cell.profiles.first() else {
        return Err(Broken { phase: Phase::Probe, message: "no profile was asked for".to_owned() });
    };
    let probe = EnvironmentRequest::Probe { profile: Box::new(profile.clone()) };
    let probed = ask(line, probe, bring_up::PROBE).await.map_err(broken(Phase::Probe))?;
    let EnvironmentReply::Probed { facts } = probed else {
        return Err(Broken { phase: Phase::Probe, message: format!("unexpected answer from the agent: {probed:?}") });
    };
    running.is_closed(&facts).map_err(broken(Phase::Environment))?;
    let mut environment = bring_up::evidence(running, resources);
    environment.extend(facts.all().map(|(name, fact)| (name.clone(), answer(fact))));
    let runs_kvm = facts.has(facts::KVM);
    let (mut candidates, outer) = (resources.kata.candidates(), resources.machines.outer_if_known());
    candidates.extend(resources.donors.evidence());
    let mut evidence = setup::evidence(prepared, environment, candidates, runs_kvm, outer);
    evidence.image_manifest = setup::kept_manifest(prepared, &cell.id);
    output.write(Event::CellFacts { cell: cell.id.clone(), facts: evidence });
    if let Some(visit) = &options.visit {
        let booted = visit.boot_guest(line, testing::start_deadline(true)).await;
        visit.pay(line, prepared.packages(), booted).await;
        return Ok(());
    }
    phase(output, cell, Phase::Tests);
    let groups = schedule.begin(is_emulated(resources));
    cell.line.doing(&format!("running {} tests", schedule.progress().0));
    let idle = Schedule::new(Vec::new(), false, Attempts::retrying(0));
    let testing = Arc::new(Testing {
        options: Arc::clone(options),
        output: Arc::clone(output),
        cell: Arc::clone(cell),
        line: line.clone(),
        facts,
        schedule: Mutex::new(std::mem::replace(schedule, idle)),
    });
    let mut result = Ok(());
    for units in groups {
        if result.is_ok() && !locked(&testing.schedule).is_to_be_replaced() {
            result = run_units(&testing, units).await;
        }
    }
    // Files that belong to no unit, such as the agent's own log.
    testing.fetch_artifacts().await;
    std::mem::swap(schedule, &mut *locked(&testing.schedule));
    result.map_err(broken(Phase::Tests))
}

/// Returns the evidence for a fact.
fn answer(fact: &EnvironmentFact) -> ProbeAnswer {
    match fact {
        EnvironmentFact::Has => ProbeAnswer::Yes,
        EnvironmentFact::Lacks(_) | EnvironmentFact::Limited(_) | EnvironmentFact::Told(_) => {
            ProbeAnswer::Words(fact.to_string())
        }
    }
}

/// Checks whether virtual machines run without hardware virtualization.
fn is_emulated(resources: &Resources) -> bool {
    resources.machines.outer_if_known().is_some_and(|outer| outer.accelerator != MachineAccelerator::Kvm)
}

/// Runs units in parallel, as many as there are permits.
async fn run_units(testing: &Arc<Testing>, units: Vec<Unit>) -> Result<(), LineError> {
    let mut tasks = tokio::task::JoinSet::new();
    for unit in units {
        let testing = Arc::clone(testing);
        // The permit is taken here, so that the units start in the order of the plan.
        let permit = Arc::clone(&testing.options.guests).acquire_owned().await;
        tasks.spawn(async move {
            let result = testing.unit(&unit).await;
            drop(permit);
            result
        });
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(e)) => result = Err(e),
            Err(e) => result = Err(LineError::Ended(e.to_string())),
        }
    }
    result
}

fn phase(output: &CellOutput, cell: &Cell, phase: Phase) {
    output.write(Event::PhaseStarted { cell: cell.id.clone(), phase });
}
