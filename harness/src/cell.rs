//! One cell: a release brought up in an environment, its tests run, its evidence kept, and everything removed again.

pub use kata_osinfo::diagnostic::error_chain;

use crate::artifacts::{Artifacts, artifact_path};
use crate::environment::{self, Brought};
use crate::line::{Line, LineError};
use crate::plan::{Planned, Unit};
use crate::progress::CellLine;
use crate::run::Shared;
use crate::setup::{self, Prepared};
use crate::vm::outer::Accelerator;
use agent::fact::{self, Facts};
use agent::probe::lacking;
use agent::protocol::{EnvironmentReply, EnvironmentRequest, Launched};
use agent::waiting::patience;
use kata_osinfo::profile::Profile;
use kata_osinfo::release::Release;
use kata_osinfo::sync::locked;
use reports::journal::{CellId, Environment, Event, Phase};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::outcome::Outcome;

/// What one cell is to do.
pub struct Cell {
    /// Its name.
    pub id: CellId,
    /// The release, by the record.
    pub release: Release,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// The work.
    pub units: Vec<Unit>,
    /// Its line of the progress display.
    pub line: CellLine,
}

/// A cell that could not go on: in which phase, and why.
struct Broken {
    phase: Phase,
    message: String,
}

fn broken(phase: Phase) -> impl Fn(String) -> Broken {
    move |message| Broken { phase, message }
}

/// Runs a cell to its end; whatever goes wrong is in the journal and nowhere else.
pub async fn run(shared: Arc<Shared>, cell: Arc<Cell>) {
    shared.journal(Event::CellStarted { cell: cell.id.clone() });
    match bring_up_and_test(&shared, &cell).await {
        Ok(summary) => {
            shared.journal(Event::CellFinished { cell: cell.id.clone() });
            cell.line.done(&summary);
        }
        Err(Broken { phase, message }) => {
            cell.line.done(&format!("error ({}): {}", phase.name(), message.lines().next().unwrap_or_default()));
            shared.journal(Event::CellError { cell: cell.id.clone(), phase, message });
            shared.journal(Event::CellFinished { cell: cell.id.clone() });
        }
    }
}

async fn bring_up_and_test(shared: &Arc<Shared>, cell: &Arc<Cell>) -> Result<String, Broken> {
    phase(shared, cell, Phase::Image);
    cell.line.doing("preparing the image");
    let mut prepared = setup::prepare(shared, cell).await.map_err(broken(Phase::Image))?;
    phase(shared, cell, Phase::Environment);
    // Machines are few at a time, as their memory and the guests in them ask for.
    let _machine = match cell.id.environment {
        Environment::Vm => Some(Arc::clone(&shared.machines).acquire_owned().await),
        Environment::Container | Environment::Host => None,
    };
    let mut done = Done::default();
    let mut units = cell.units.clone();
    let (mut lost, mut traded) = (0, 0);
    let mut repeated = false;
    let mut machine = 0;
    loop {
        machine += 1;
        cell.line.doing(environment::doing(cell.id.environment));
        let mut brought =
            environment::bring_up(shared, &cell.id, &prepared, machine).await.map_err(broken(Phase::Environment))?;
        let is_vm = cell.id.environment == Environment::Vm;
        let trade = is_vm && is_emulated(shared) && shared.retries > 0 && traded < TRADES;
        let part = Part { units: units.clone(), machine, trade };
        let mut tested = test(shared, cell, &mut prepared, &brought, part, &mut done).await;
        let mut ended = None;
        if let Err(broken) = &mut tested {
            ended = brought.ending().await;
            if let Some(how) = &ended {
                broken.message = format!("{how} ({})", broken.message);
            }
        }
        if let Some(said) = brought.take_down(shared.keep).await {
            shared.progress.say(&format!("{}: {said}", cell.id));
        }
        let mut left = match (tested, ended) {
            // Emulation loses a machine now and then, and so may one test: the others go on in a fresh one.
            (Err(broken), Some(how)) if is_vm && shared.retries > 0 && lost < LOSSES => {
                lost += 1;
                shared.progress.say(&format!("{}: {}; the rest goes on in a fresh one", cell.id, broken.message));
                done.trade();
                for (profiles, test, attempt, began) in done.lose() {
                    let outcome = Outcome::Error { message: format!("during this test, {how}") };
                    let millis = millis(began);
                    let (cell, notes, artifacts) = (cell.id.clone(), Vec::new(), Vec::new());
                    shared.journal(Event::TestFinished {
                        cell,
                        profiles,
                        test,
                        attempt,
                        machine,
                        outcome,
                        millis,
                        notes,
                        artifacts,
                    });
                }
                remaining(&units, |planned, profile| !done.standings.contains_key(&of(planned, profile)))
            }
            (Err(broken), _) => return Err(broken),
            (Ok(_), _) if done.trade() => {
                traded += 1;
                let said = "no answer from a sandbox of Kata's; the rest goes on in a fresh machine";
                shared.progress.say(&format!("{}: {said}", cell.id));
                remaining(&units, |planned, profile| !done.standings.contains_key(&of(planned, profile)))
            }
            (Ok(()), _) => Vec::new(),
        };
        if left.is_empty() {
            if repeated || !is_vm || !is_emulated(shared) || shared.retries == 0 {
                return Ok(done.summary());
            }
            // What fails in a guest of an emulated machine must fail in a fresh machine, too, before it can blame anybody.
            repeated = true;
            left = nested_failures(&cell.units, &mut done);
            if left.is_empty() {
                return Ok(done.summary());
            }
        }
        units = left;
    }
}

async fn test(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    prepared: &mut Prepared,
    brought: &Brought,
    part: Part,
    done: &mut Done,
) -> Result<(), Broken> {
    let Part { units, machine, trade } = part;
    let in_environment = broken(Phase::Environment);
    let line = &brought.line();
    setup::send(line, prepared).await.map_err(&in_environment)?;
    phase(shared, cell, Phase::Probe);
    let Some(profile) = cell.profiles.first() else {
        return Err(broken(Phase::Probe)("no profile was asked for".to_owned()));
    };
    let probe = EnvironmentRequest::Probe { profile: Box::new(profile.clone()) };
    let probed = ask(line, probe, 180).await.map_err(|e| broken(Phase::Probe)(e.to_string()))?;
    let EnvironmentReply::Probed { facts } = probed else {
        return Err(broken(Phase::Probe)(format!("the agent answered {probed:?}")));
    };
    brought.is_closed(&facts).map_err(broken(Phase::Environment))?;
    let mut said = brought.facts(shared);
    said.extend(facts.texts());
    let runs_kvm = facts.has(fact::KVM);
    let evidence = setup::facts(prepared, said, runs_kvm, shared.outer_if_known());
    shared.journal(Event::CellFacts { cell: cell.id.clone(), facts: evidence });
    phase(shared, cell, Phase::Tests);
    let total = units.iter().map(|unit| unit.tests.len()).sum();
    let testing = Arc::new(Testing {
        shared: Arc::clone(shared),
        cell: Arc::clone(cell),
        line: line.clone(),
        facts,
        machine: if cell.id.environment == Environment::Vm { machine } else { 0 },
        trade,
        done: Mutex::new(Done { total, finished: 0, ..std::mem::take(done) }),
        artifacts: Artifacts::default(),
    });
    cell.line.doing(&format!("running {total} tests"));
    let mut result = Ok(());
    for units in in_turn(units, is_emulated(shared)) {
        if result.is_ok() && !testing.is_spoilt() {
            result = run_units(&testing, units).await;
        }
    }
    // What belongs to no unit, such as the agent's own log.
    testing.fetch_artifacts().await;
    *done = std::mem::take(&mut *locked(&testing.done));
    result.map_err(|e| broken(Phase::Tests)(e.to_string()))
}

/// Whether virtual machines run without hardware virtualization.
fn is_emulated(shared: &Shared) -> bool {
    shared.outer_if_known().is_some_and(|outer| outer.accelerator != Accelerator::Kvm)
}

/// The units in groups, one after the other; those of a group run side by side.
///
/// Static checks block much of the rest, so their outcomes must be known first. In an emulated machine nothing runs beside
/// Kata, whose own deadlines know nothing of emulation.
fn in_turn(units: Vec<Unit>, emulated: bool) -> Vec<Vec<Unit>> {
    let (first, rest): (Vec<Unit>, Vec<Unit>) =
        units.into_iter().partition(|unit| unit.configuration == Configuration::Static);
    let (alone, rest): (Vec<Unit>, Vec<Unit>) =
        rest.into_iter().partition(|unit| emulated && unit.configuration == Configuration::Kata);
    [first, rest].into_iter().chain(alone.into_iter().map(|unit| vec![unit])).collect()
}

/// How many machines a cell may lose before it is given up.
const LOSSES: u32 = 4;
/// How many machines a cell may trade for fresh ones; from then on tests are repeated where they are.
const TRADES: u32 = 8;
/// How often a test is begun anew that was under way when the machine was lost.
const LOST: u32 = 2;

/// What stands of a test that took its last machine along.
const LOST_TWICE: &str = "the machine was lost, or gave no answer, during this test";

/// A test under one profile.
type Key = (String, String);

fn of(planned: &Planned, profile: &str) -> Key {
    (profile.to_owned(), planned.test.id.clone())
}

/// What is known of the tests of a cell, across its environments.
#[derive(Default)]
struct Done {
    /// What became of each finished test.
    standings: BTreeMap<Key, Outcome>,
    /// The tests under way: by profiles and id, which attempt since when.
    under_way: BTreeMap<(Vec<String>, String), (u32, Instant)>,
    /// How many machines were lost during a test.
    lost: BTreeMap<Key, u32>,
    /// The tests of Kata that could not be judged in the present machine, which is to be traded for a fresh one.
    spoilt: Vec<Key>,
    /// How many tests this environment has before it.
    total: usize,
    /// How many of them have finished.
    finished: usize,
    /// How many attempts ended how.
    counts: BTreeMap<&'static str, usize>,
}

impl Done {
    fn summary(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        counts.join(", ")
    }

    /// Ends the tests that were under way in a machine that is lost: gives their profiles, id, attempt and beginning.
    /// They are to be begun anew, unless it is not their first machine.
    fn lose(&mut self) -> Vec<(Vec<String>, String, u32, Instant)> {
        let mut ended = Vec::new();
        for ((profiles, test), (attempt, began)) in std::mem::take(&mut self.under_way) {
            for profile in &profiles {
                self.lose_machine((profile.clone(), test.clone()));
            }
            *self.counts.entry("error").or_default() += 1;
            ended.push((profiles, test, attempt, began));
        }
        ended
    }

    /// Counts a machine that ended, or is to end, during a test, which is begun anew unless it is not its first one.
    fn lose_machine(&mut self, key: Key) {
        let lost = self.lost.entry(key.clone()).or_default();
        *lost += 1;
        if *lost < LOST {
            self.standings.remove(&key);
        } else {
            self.standings.insert(key, Outcome::Error { message: LOST_TWICE.to_owned() });
        }
    }

    /// Whether the machine is to be traded for a fresh one; the tests for whose sake it is are to be begun anew.
    fn trade(&mut self) -> bool {
        let spoilt = std::mem::take(&mut self.spoilt);
        let any = !spoilt.is_empty();
        spoilt.into_iter().for_each(|key| self.lose_machine(key));
        any
    }
}

/// The units with those tests and profiles that are chosen.
fn remaining(units: &[Unit], chosen: impl Fn(&Planned, &str) -> bool) -> Vec<Unit> {
    let mut left = Vec::new();
    for unit in units {
        let mut again = unit.clone();
        for planned in &mut again.tests {
            let mut profiles = std::mem::take(&mut planned.profiles);
            profiles.retain(|profile| chosen(planned, profile));
            planned.profiles = profiles;
        }
        again.tests.retain(|planned| !planned.profiles.is_empty());
        if !again.tests.is_empty() {
            left.push(again);
        }
    }
    left
}

/// What one environment of a cell is to run.
struct Part {
    units: Vec<Unit>,
    /// Which environment of the cell, counted from 1.
    machine: u32,
    /// Whether a machine in which a sandbox of Kata's gives no answer is to be traded for a fresh one.
    trade: bool,
}

/// What is left of the units when only those tests of nested guests are to run again that failed or could not be judged,
/// and what they blocked; these are forgotten, so that they do not block each other by their old outcomes.
fn nested_failures(units: &[Unit], done: &mut Done) -> Vec<Unit> {
    let mut again: BTreeSet<Key> = BTreeSet::new();
    let tests: Vec<(&Planned, &String)> = units
        .iter()
        .flat_map(|unit| &unit.tests)
        .flat_map(|planned| planned.profiles.iter().map(move |profile| (planned, profile)))
        .collect();
    loop {
        let before = again.len();
        for (planned, profile) in &tests {
            let key = of(planned, profile);
            let chosen = match done.standings.get(&key) {
                Some(Outcome::Fail { .. } | Outcome::Error { .. }) => reports::agreement::is_nested(planned.test),
                Some(Outcome::Blocked { .. }) => {
                    planned.test.blocked_by.iter().any(|by| again.contains(&((*profile).clone(), by.clone())))
                }
                _ => false,
            };
            if chosen {
                again.insert(key);
            }
        }
        if again.len() == before {
            break;
        }
    }
    let left = remaining(units, |planned, profile| again.contains(&of(planned, profile)));
    for planned in left.iter().flat_map(|unit| &unit.tests) {
        for profile in &planned.profiles {
            done.standings.remove(&of(planned, profile));
        }
    }
    left
}

/// Runs units side by side, as many as there are permits.
async fn run_units(testing: &Arc<Testing>, units: Vec<Unit>) -> Result<(), LineError> {
    let mut tasks = tokio::task::JoinSet::new();
    for unit in units {
        let testing = Arc::clone(testing);
        // Taken here, in order, so that the units start in the order of the plan.
        let permit = Arc::clone(&testing.shared.permits).acquire_owned().await;
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

/// The tests of one cell while they run.
struct Testing {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    line: Line,
    facts: Facts,
    /// Which virtual machine of the cell it is; 0 where there is none.
    machine: u32,
    /// As in [`Part`].
    trade: bool,
    done: Mutex<Done>,
    artifacts: Artifacts,
}

/// A shared guest of a unit, while there is one.
struct Guest(Option<u64>);

impl Testing {
    async fn unit(&self, unit: &Unit) -> Result<(), LineError> {
        let mut guest = Guest(None);
        let mut result = Ok(());
        for planned in &unit.tests {
            result = self.planned(unit, planned, &mut guest).await;
            if result.is_err() || self.is_spoilt() {
                break;
            }
        }
        self.stop(&mut guest).await;
        self.fetch_artifacts().await;
        result
    }

    /// Copies what logs there are out of the environment: a run that is interrupted keeps those of the units that ended.
    async fn fetch_artifacts(&self) {
        self.artifacts.fetch(&self.shared.out, &self.cell.id, &self.line).await;
    }

    /// Runs one test, again in a fresh guest while it fails and retries are left.
    async fn planned(&self, unit: &Unit, planned: &Planned, guest: &mut Guest) -> Result<(), LineError> {
        let test = planned.test;
        let profiles = self.not_blocked(planned);
        if profiles.is_empty() {
            return Ok(());
        }
        if let Some(reason) = test.all_needs().into_iter().find_map(|need| lacking(need, &self.facts)) {
            self.started(&profiles, &test.id, 1);
            self.finished(&profiles, &test.id, 1, Outcome::Skip { reason }, Instant::now(), Vec::new(), Vec::new());
            return Ok(());
        }
        for attempt in 1..=1 + self.shared.retries {
            self.started(&profiles, &test.id, attempt);
            let began = Instant::now();
            let (stop, notes, artifacts) = self.attempt(unit, planned, &profiles, guest).await?;
            let unanswered = matches!(stop, Some(Stop::Unanswered { .. }));
            let outcome = self.judged(planned, stop);
            let failed = matches!(outcome, Outcome::Fail { .. } | Outcome::Error { .. });
            let again = attempt <= self.shared.retries && failed;
            self.finished(&profiles, &test.id, attempt, outcome, began, notes, artifacts);
            // Where emulation made one sandbox hang, the next ones often do, each until its deadline.
            if self.trade && unanswered {
                let spoilt = profiles.iter().map(|profile| (profile.clone(), test.id.clone()));
                locked(&self.done).spoilt.extend(spoilt);
                break;
            }
            if !again {
                break;
            }
            self.stop(guest).await;
        }
        Ok(())
    }

    /// What an attempt comes to.
    fn judged(&self, planned: &Planned, stop: Option<Stop>) -> Outcome {
        match stop {
            None => Outcome::Pass,
            Some(Stop::Fail { message, blames }) => {
                let outcome = Outcome::Fail { message, blames: blames.unwrap_or(planned.test.blames) };
                self.shared.admins.settle(&self.cell.release.name(), outcome)
            }
            Some(Stop::Skip { reason }) => Outcome::Skip { reason },
            Some(Stop::Error { message } | Stop::Unanswered { message }) => Outcome::Error { message },
        }
    }

    /// Whether nothing more is to be run in this machine.
    fn is_spoilt(&self) -> bool {
        !locked(&self.done).spoilt.is_empty()
    }

    async fn attempt(
        &self,
        unit: &Unit,
        planned: &Planned,
        profiles: &[String],
        guest: &mut Guest,
    ) -> Result<(Option<Stop>, Vec<String>, Vec<String>), LineError> {
        let test = planned.test;
        let wants_guest = test.shares_a_guest();
        if wants_guest && guest.0.is_none() {
            let request = EnvironmentRequest::StartGuest {
                profile: Box::new(unit.profile.clone()),
                configuration: unit.configuration,
            };
            match ask(&self.line, request, 400).await? {
                EnvironmentReply::Started { guest: handle, launched } => {
                    self.launched(unit, profiles, launched);
                    guest.0 = Some(handle);
                }
                EnvironmentReply::Failed { stop, artifacts, launched } => {
                    if let Some(launched) = launched {
                        self.launched(unit, profiles, launched);
                    }
                    return Ok((Some(stop), Vec::new(), self.relative(artifacts)));
                }
                other => return Err(LineError::Unexpected(format!("{other:?}"))),
            }
        }
        let request = EnvironmentRequest::RunTest {
            test: test.id.clone(),
            profile: Box::new(unit.profile.clone()),
            guest: guest.0,
        };
        // Natively and in the guest, and whatever it boots itself; the body's own deadlines are shorter.
        let deadline = u64::from(test.seconds) * 2 * patience(self.cell.id.environment) + 800;
        match ask(&self.line, request, deadline).await? {
            EnvironmentReply::Tested { stop, notes, artifacts, launched, guest_alive } => {
                for launched in launched {
                    self.launched(unit, profiles, launched);
                }
                if wants_guest && !guest_alive {
                    self.stop(guest).await;
                }
                Ok((stop, notes, self.relative(artifacts)))
            }
            EnvironmentReply::Failed { stop, artifacts, .. } => Ok((Some(stop), Vec::new(), self.relative(artifacts))),
            other => Err(LineError::Unexpected(format!("{other:?}"))),
        }
    }

    async fn stop(&self, guest: &mut Guest) {
        if let Some(handle) = guest.0.take() {
            // A guest that cannot be stopped goes with its environment.
            let _ = ask(&self.line, EnvironmentRequest::StopGuest { guest: handle }, 60).await;
        }
    }

    /// The profiles for which nothing that has finished blocks the test; the others get their outcome here.
    fn not_blocked(&self, planned: &Planned) -> Vec<String> {
        let mut free = Vec::new();
        for profile in &planned.profiles {
            let blocker = {
                let done = locked(&self.done);
                let stands = |id: &&String| {
                    done.standings.get(&(profile.clone(), (*id).clone())).is_some_and(|o| *o != Outcome::Pass)
                };
                planned.test.blocked_by.iter().find(stands).cloned()
            };
            match blocker {
                None => free.push(profile.clone()),
                Some(by) => {
                    let profiles = [profile.clone()];
                    self.started(&profiles, &planned.test.id, 1);
                    self.finished(
                        &profiles,
                        &planned.test.id,
                        1,
                        Outcome::Blocked { by },
                        Instant::now(),
                        Vec::new(),
                        Vec::new(),
                    );
                }
            }
        }
        free
    }

    fn started(&self, profiles: &[String], test: &str, attempt: u32) {
        let (profiles, test) = (profiles.to_vec(), test.to_owned());
        let mut done = locked(&self.done);
        self.cell.line.detail(&format!("{}/{} tests, {}: {test}", done.finished, done.total, profiles.join("+")));
        done.under_way.insert((profiles.clone(), test.clone()), (attempt, Instant::now()));
        drop(done);
        self.shared.journal(Event::TestStarted { cell: self.cell.id.clone(), profiles, test, attempt });
    }

    #[expect(clippy::too_many_arguments, reason = "one event's fields")]
    fn finished(
        &self,
        profiles: &[String],
        test: &str,
        attempt: u32,
        outcome: Outcome,
        began: Instant,
        notes: Vec<String>,
        artifacts: Vec<String>,
    ) {
        let (cell, profiles, test) = (self.cell.id.clone(), profiles.to_vec(), test.to_owned());
        let mut done = locked(&self.done);
        for profile in &profiles {
            done.standings.insert((profile.clone(), test.clone()), outcome.clone());
        }
        done.under_way.remove(&(profiles.clone(), test.clone()));
        done.finished += usize::from(attempt == 1);
        *done.counts.entry(outcome.name()).or_default() += 1;
        drop(done);
        let millis = millis(began);
        let machine = self.machine;
        self.shared.journal(Event::TestFinished {
            cell,
            profiles,
            test,
            attempt,
            machine,
            outcome,
            millis,
            notes,
            artifacts,
        });
    }

    fn launched(&self, unit: &Unit, profiles: &[String], launched: Launched) {
        let Launched { argv, daemon, deviations } = launched;
        let (cell, profiles) = (self.cell.id.clone(), profiles.to_vec());
        let configuration = unit.configuration.name().to_owned();
        self.shared.journal(Event::Launched { cell, profiles, configuration, argv, daemon, deviations });
    }

    /// Where the environment's artifacts will lie below the output folder.
    fn relative(&self, artifacts: Vec<String>) -> Vec<String> {
        artifacts.iter().map(|path| artifact_path(&self.cell.id, path)).collect()
    }
}

/// Asks with a deadline in seconds.
pub async fn ask(line: &Line, request: EnvironmentRequest, seconds: u64) -> Result<EnvironmentReply, LineError> {
    line.ask(request, Duration::from_secs(seconds)).await
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn phase(shared: &Shared, cell: &Cell, phase: Phase) {
    shared.journal(Event::PhaseStarted { cell: cell.id.clone(), phase });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use suites::environment::Kind;

    #[test]
    fn nothing_runs_beside_kata_in_an_emulated_machine() {
        let profiles: Vec<_> = ["go-3.29", "rs-4.0"].map(|name| Profile::find(name).unwrap().clone()).into();
        let units = plan::units(&profiles, Kind::Vm, |_| true, |p, _| p.name.clone());
        let groups = |emulated| {
            let groups = in_turn(units.clone(), emulated);
            assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), units.len());
            groups.iter().map(|g| g.iter().map(|u| u.configuration).collect::<BTreeSet<_>>()).collect::<Vec<_>>()
        };
        let [first, rest, kata, other] = &groups(true)[..] else { panic!("one group for each Kata") };
        assert_eq!(first, &BTreeSet::from([Configuration::Static]));
        assert!(rest.contains(&Configuration::Runc) && !rest.contains(&Configuration::Kata));
        assert_eq!((kata, other), (&BTreeSet::from([Configuration::Kata]), &BTreeSet::from([Configuration::Kata])));
        assert_eq!(groups(false).len(), 2);
    }

    #[test]
    fn a_test_has_two_machines_to_be_judged_in() {
        let key = ("go-3.29".to_owned(), "containers::kata::starts".to_owned());
        let mut done = Done::default();
        assert!(!done.trade());
        for stands in [false, true] {
            done.standings.insert(key.clone(), Outcome::Error { message: "no answer".to_owned() });
            done.spoilt.push(key.clone());
            assert!(done.trade());
            assert_eq!(done.standings.contains_key(&key), stands);
            assert!(done.spoilt.is_empty());
        }
    }

    #[test]
    fn what_a_failed_guest_blocked_runs_again_with_it() {
        let profile = Profile::find("go-3.29").unwrap();
        let units = plan::units(std::slice::from_ref(profile), Kind::Vm, |_| true, |p, _| p.name.clone());
        let key = |test: &str| ("go-3.29".to_owned(), test.to_owned());
        let mut done = Done::default();
        for planned in units.iter().flat_map(|unit| &unit.tests) {
            done.standings.insert(of(planned, "go-3.29"), Outcome::Pass);
        }
        let mut set = |test: &str, outcome| done.standings.insert(key(test), outcome).unwrap();
        // The guest did not come up, and two tests one behind the other never had one.
        let blocked = |share: &str| Outcome::Blocked { by: format!("filesystem::{share}::mounts_in_the_guest") };
        set("filesystem::virtio_blk::mounts_in_the_guest", Outcome::Error { message: "no guest".to_owned() });
        set("filesystem::virtio_blk::rename_is_atomic", blocked("virtio_blk"));
        // A finding that does not rest on a nested guest, and what it blocks, stay as they are.
        let refused = Outcome::Fail { message: "refused".to_owned(), blames: suites::outcome::Component::Virtiofsd };
        let by = "smoke::virtiofsd_accepts_the_profiles_flags";
        set(by, refused);
        set("filesystem::virtio_fs::mounts_in_the_guest", Outcome::Blocked { by: by.to_owned() });
        set("filesystem::virtio_fs::rename_is_atomic", blocked("virtio_fs"));
        let again = nested_failures(&units, &mut done);
        let ids: Vec<&str> =
            again.iter().flat_map(|unit| &unit.tests).map(|planned| planned.test.id.as_str()).collect();
        assert_eq!(ids, ["filesystem::virtio_blk::mounts_in_the_guest", "filesystem::virtio_blk::rename_is_atomic"]);
        assert!(!done.standings.contains_key(&key("filesystem::virtio_blk::rename_is_atomic")), "it would block");
        assert!(matches!(done.standings[&key("filesystem::virtio_fs::rename_is_atomic")], Outcome::Blocked { .. }));
    }
}
