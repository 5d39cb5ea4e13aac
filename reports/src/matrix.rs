//! Cells × profiles × capabilities: the data of every report.

mod cell_report;
mod chosen;

pub use cell_report::{CellReport, RunKata};

use crate::journal::{CellId, Journal, RunFilter};
use crate::run::{
    CellFailure, CellRun, Conflict, MERGED, Provenance, Run, RunEnding, TestRun, by_profile, fold, last_words,
};
use crate::verdict::agreement::{self, Repetition};
use crate::verdict::{Evidence, Judgement, Requirements, judge, test_set};
use jiff::Timestamp;
use model::environment::Environment;
use model::profile::{Profile, ProfileName};
use model::record::Record;
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::catalogue::Test;
use suites::outcome::Outcome;

/// Profile → capability → judgement.
pub type Judgements = BTreeMap<ProfileName, BTreeMap<Capability, Judgement>>;

/// Profile → test → why its failure blames no component.
pub type Doubts = BTreeMap<ProfileName, BTreeMap<TestId, String>>;

/// The results of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// The run's id.
    pub run: String,
    /// The harness's version.
    pub harness: String,
    /// The origin of the run.
    pub provenance: Provenance,
    /// A digest of the required tests that the verdicts rest on.
    pub test_set: String,
    /// The test filter, if no cell was asked for all tests; decisions about a cell use the cell's own filter.
    pub filter: Option<RunFilter>,
    /// Whether the distro or the records were overlaid.
    pub candidate: bool,
    /// Whether the caller's own keys, image or records vouched for packages.
    pub shaped: bool,
    /// Whether the run was `--strict`: its exit code demanded that everything required is supported.
    pub strict: bool,
    /// Options that the results depend on, in words.
    pub options: Vec<String>,
    /// How often each test was run, if more than once.
    pub repeat: Option<u32>,
    /// When the run began.
    pub started: Option<Timestamp>,
    /// When its last event was.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub ending: RunEnding,
    /// The profiles, in the order asked for.
    pub profiles: Vec<ProfileHead>,
    /// Profiles that the journal names but that are unknown here: they cannot be judged.
    pub unknown_profiles: Vec<ProfileName>,
    /// The cells.
    pub cells: Vec<CellReport>,
    /// Conflicts between runs that were merged.
    pub conflicts: Vec<Conflict>,
    /// The mirrors that could not be asked what is stale, so that cells may be missing, each with the reason.
    pub unasked: Vec<String>,
}

/// A report's description of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileHead {
    /// `go-3.29`.
    pub name: ProfileName,
    /// The range of Kata versions.
    pub range: String,
    /// Whether upstream maintains it.
    pub maintained: bool,
}

impl Matrix {
    /// Removes the files of tests that `keep` does not want.
    pub fn keep_files(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let instances = self.cells.iter_mut().flat_map(|cell| &mut cell.instances);
        for attempt in instances.flat_map(|instance| &mut instance.attempts) {
            attempt.artifacts.retain(|file| keep(file));
        }
    }

    /// Checks whether the results are of several runs, whose cells may be of different days.
    pub(crate) fn is_merged(&self) -> bool {
        self.run.starts_with(MERGED)
    }

    /// Returns the capabilities that are judged under a profile, in the order of the matrix: without those that have no
    /// test or are not applicable.
    pub fn capabilities(&self, profile: &str) -> Vec<Capability> {
        let is_judged =
            |c: &Capability| self.cells.iter().filter_map(|cell| cell.judgement(profile, *c)).any(|j| j.required > 0);
        Capability::ALL.iter().copied().filter(is_judged).collect()
    }
}

/// Judges the results in a journal.
///
/// `profiles` are all that are known; the matrix has those that the run asked for.
pub fn matrix(journal: &Journal, catalogue: &[Test], profiles: &[Profile]) -> Matrix {
    matrix_beside(journal, catalogue, profiles, &[])
}

/// Judges the results in a journal; earlier failures in containers with the same packages may confirm what a machine
/// shows now.
pub fn matrix_beside(journal: &Journal, catalogue: &[Test], profiles: &[Profile], records: &[&Record]) -> Matrix {
    let run = fold(journal);
    let known = |name: &ProfileName| profiles.iter().find(|p| p.name == *name);
    let (requested, unknown): (Vec<_>, Vec<_>) = run.profiles.iter().partition(|name| known(name).is_some());
    let requested: Vec<&Profile> = requested.into_iter().filter_map(known).collect();
    let unknown_profiles: Vec<ProfileName> = unknown.into_iter().cloned().collect();
    let Run {
        id,
        harness,
        provenance,
        filter,
        candidate,
        shaped,
        strict,
        options,
        repeat,
        started,
        finished,
        ending,
        mut cells,
        order,
        profiles: _,
        conflicts,
        unasked,
    } = run;
    let requirements: Vec<Requirements<'_>> = requested.iter().map(|p| Requirements::new(catalogue, p)).collect();
    // The records hold nothing about candidates.
    let before = Before { records: if candidate { &[] } else { records }, shaped };
    let mut judged: BTreeMap<CellId, (Judgements, Doubts)> = cells
        .iter()
        .map(|(id, cell)| (id.clone(), judgements(id, cell, &cells, catalogue, &requirements, before)))
        .collect();
    let places: BTreeMap<&str, usize> = catalogue.iter().enumerate().map(|(i, t)| (t.id.as_str(), i)).collect();
    let cells = order
        .into_iter()
        .filter_map(|id| {
            let (cell, judged) = (cells.remove(&id)?, judged.remove(&id)?);
            Some(report(id, cell, judged, &places, catalogue))
        })
        .collect();
    Matrix {
        run: id,
        harness,
        provenance,
        test_set: test_set(catalogue),
        filter,
        candidate,
        shaped,
        strict,
        options,
        repeat,
        started,
        finished,
        ending,
        profiles: requested
            .iter()
            .map(|p| ProfileHead { name: p.name.clone(), range: p.range.clone(), maintained: !p.ended() })
            .collect(),
        unknown_profiles,
        cells,
        conflicts,
        unasked,
    }
}

/// Earlier verified results.
#[derive(Clone, Copy)]
struct Before<'r> {
    records: &'r [&'r Record],
    /// Whether the run is shaped: only entries count that are shaped exactly if the run is, because only they can be
    /// about the same packages.
    shaped: bool,
}

impl Before<'_> {
    /// Returns the tests that failed in containers of the cell's release under a profile, with the same packages as the
    /// cell.
    fn failures(self, id: &CellId, cell: &CellRun, profile: &str) -> BTreeSet<agreement::FailureId> {
        let Some(facts) = cell.facts.as_ref().filter(|facts| facts.candidates.is_empty()) else {
            return BTreeSet::new();
        };
        let records = self.records.iter().filter(|record| record.distro == id.distro);
        let entries = records.flat_map(|record| &record.verified).filter(|entry| {
            let is_its = entry.release == id.release && entry.arch == id.arch && entry.profile == profile;
            is_its && entry.shaped == self.shaped
        });
        agreement::recorded(entries, &facts.versions)
    }
}

/// Judges a cell's capabilities; failures in a virtual machine are weighed against the results of a container of the
/// same release, from this run or an earlier one.
fn judgements(
    id: &CellId,
    cell: &CellRun,
    cells: &BTreeMap<CellId, CellRun>,
    catalogue: &[Test],
    requirements: &[Requirements<'_>],
    before: Before<'_>,
) -> (Judgements, Doubts) {
    let container = match id.environment {
        Environment::Vm => cells.get(&CellId { environment: Environment::Container, ..id.clone() }),
        Environment::Container | Environment::Host => None,
    };
    let (none, of_cell) = (Vec::new(), by_profile(&cell.instances));
    let container = container.map(|cell| (cell, by_profile(&cell.instances)));
    let judged = requirements.iter().map(|requirements| {
        let profile = &requirements.profile().name;
        let elsewhere = container
            .as_ref()
            .map(|(cell, all)| evidence(Environment::Container, cell, all.get(profile.as_str()).unwrap_or(&none)));
        let instances = of_cell.get(profile.as_str()).unwrap_or(&none);
        let known = evidence(id.environment, cell, instances);
        let failed = failed(&known);
        let before = before.failures(id, cell, profile);
        let weighed = agreement::weigh(catalogue, known, &repeated(instances), elsewhere.as_ref(), &before);
        ((profile.clone(), judge(requirements, &weighed)), (profile.clone(), doubts(failed, &weighed)))
    });
    judged.unzip()
}

/// Returns the tests that failed.
fn failed(evidence: &Evidence) -> Vec<TestId> {
    let failed = evidence.outcomes.iter().filter(|(_, last)| matches!(last.outcome, Outcome::Fail { .. }));
    failed.map(|(test, _)| test.clone()).collect()
}

/// Returns the failures that were weighed and do not count, each with the reason.
fn doubts(failed: Vec<TestId>, weighed: &Evidence) -> BTreeMap<TestId, String> {
    let doubt = |test: TestId| match &weighed.outcomes.get(&test)?.outcome {
        Outcome::Error { message } => Some((test, message.clone())),
        Outcome::Pass | Outcome::Fail { .. } | Outcome::Skip { .. } | Outcome::Blocked { .. } => None,
    };
    failed.into_iter().filter_map(doubt).collect()
}

/// Makes a report of a cell, with its tests in the order of the catalogue.
fn report(
    id: CellId,
    cell: CellRun,
    (judgements, doubts): (Judgements, Doubts),
    places: &BTreeMap<&str, usize>,
    catalogue: &[Test],
) -> CellReport {
    let millis = cell.millis();
    let mut instances = cell.instances;
    instances.sort_by(|a, b| {
        let place = |i: &TestRun| places.get(i.test.as_str()).copied().unwrap_or(usize::MAX);
        (place(a), &a.test, &a.profiles).cmp(&(place(b), &b.test, &b.profiles))
    });
    let facts = cell.facts.iter().flat_map(|facts| &facts.environment);
    let katas = facts
        .filter_map(|(name, answer)| Some((name.strip_prefix("kata-")?.parse().ok()?, RunKata::of(answer.words()))));
    CellReport {
        cell: id,
        katas: katas.collect(),
        facts: cell.facts,
        contradicted: cell.contradicted,
        errors: cell.errors,
        launches: cell.launches,
        started: cell.started,
        finished: cell.last,
        complete: cell.complete,
        chosen: chosen::chosen(cell.filter.as_ref(), catalogue),
        filter: cell.filter,
        millis,
        phases: cell.phases,
        instances,
        judgements,
        doubts,
        packages: Vec::new(),
    }
}

/// Returns the tests that were tried in more than one virtual machine of the cell, and whether they failed in the same
/// way.
fn repeated(instances: &[&TestRun]) -> BTreeMap<TestId, Repetition> {
    let mut attempts: BTreeMap<&TestId, Vec<(u32, &Outcome)>> = BTreeMap::new();
    for instance in instances {
        let seen = instance.attempts.iter().map(|attempt| (attempt.machine, &attempt.outcome));
        attempts.entry(&instance.test).or_default().extend(seen);
    }
    let repeated = |(test, seen): (&TestId, Vec<_>)| Some((test.clone(), agreement::repetition(&seen)?));
    attempts.into_iter().filter_map(repeated).collect()
}

/// Returns the results of a cell under the profile that these tests count for.
fn evidence(environment: Environment, cell: &CellRun, instances: &[&TestRun]) -> Evidence {
    let outcomes = last_words(instances).into_iter().map(|(test, last)| (test.clone(), last));
    Evidence {
        outcomes: outcomes.collect(),
        error: cell.errors.first().map(CellFailure::to_string),
        basis: cell.facts.as_ref().map(|f| f.basis),
        runs_kvm: cell.facts.as_ref().is_some_and(|f| f.accelerator.is_kvm()),
        environment: Some(environment),
        candidates: cell.facts.as_ref().map(|f| f.candidates.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{matrix, matrix_beside};
    use crate::journal::{Event, JournalEntry, SCHEMA};
    use crate::sample::{BOOT, Maker, catalogue, cell, facts, fail, profiles, recorded};
    use model::database::Database;
    use model::record::Record;
    use model::verified::{Basis, Verdict, VerifiedCapability, VerifiedCause};
    use suites::capability::Capability;
    use suites::catalogue::Place;
    use suites::outcome::{Component, Failure, Grounds, Outcome};

    /// Returns the verdict on booting if the boot test passed, with these facts in a journal of this schema.
    fn verdict(written_as: u32, facts: Event) -> Verdict {
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        if let Event::RunStarted { schema, .. } = &mut maker.journal.entries[0].event {
            *schema = written_as;
        }
        maker.push(facts);
        maker.done("13", &["go-3.29"], BOOT, Outcome::Pass);
        let matrix = matrix(&maker.journal, &catalogue(), &profiles());
        matrix.cells[0].judgement("go-3.29", Capability::VmmBoot).unwrap().verdict
    }

    #[test]
    fn candidates_make_verdicts_partial_but_environment_facts_do_not() {
        let mut facts = facts(Basis::Hardware);
        facts.environment.insert("candidate-qemu".to_owned(), "what an agent may say".to_owned().into());
        assert_eq!(verdict(SCHEMA, Event::CellFacts { cell: cell("13"), facts: facts.clone() }), Verdict::Supported);
        facts.candidates.insert(Component::Qemu, "mine (sha256 0123)".to_owned().into());
        let line = serde_json::to_string(&Event::CellFacts { cell: cell("13"), facts }).unwrap();
        assert_eq!(verdict(SCHEMA, serde_json::from_str(&line).unwrap()), Verdict::Partial);
    }

    /// Turns the attempts of a container's cell into those of a machine's, each in a machine of its own.
    fn in_machines(maker: &mut Maker) {
        let text = serde_json::to_string(&maker.journal.entries).unwrap().replace("/container", "/vm");
        maker.journal.entries = serde_json::from_str(&text).unwrap();
        for entry in &mut maker.journal.entries {
            if let Event::TestFinished { attempt, machine, .. } = &mut entry.event {
                *machine = *attempt;
            }
        }
    }

    /// A machine alone, whose guest shows twice a failure that no container can show.
    #[test]
    fn only_a_measured_failure_repeated_in_a_fresh_machine_is_believed() {
        let test = "filesystem::virtio_fs::files_that_the_guest_knows_hold_no_descriptors";
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Emulated) });
        for attempt in [1, 2] {
            let failure = Failure::new(Component::Virtiofsd, format!("{attempt}00 descriptors more than before"));
            let failure = Failure { grounds: Grounds::Measured, ..failure };
            maker.attempt("13", &["go-3.29"], test, attempt, Outcome::Fail(failure));
        }
        in_machines(&mut maker);
        let judged = |maker: &Maker| {
            let matrix = matrix(&maker.journal, suites::catalogue::tests(), &profiles());
            let judgement = matrix.cells[0].judgement("go-3.29", Capability::FsVirtioFsHandles).unwrap();
            let blamed: Vec<Component> = judgement.causes.iter().map(|cause| cause.component).collect();
            (judgement.verdict, judgement.basis, blamed)
        };
        let unsupported = (Verdict::Unsupported, Some(Basis::Emulated), vec![Component::Virtiofsd]);
        assert_eq!(judged(&maker), unsupported);
        let text = serde_json::to_string(&maker.journal.entries).unwrap();
        let older = text.replace(r#""grounds":"measured","#, "");
        assert_ne!(older, text);
        maker.journal.entries = serde_json::from_str(&older).unwrap();
        assert_eq!(judged(&maker), (Verdict::Inconclusive, Some(Basis::Emulated), vec![]));
    }

    /// A machine alone, whose guest fails in two machines as the recorded container did.
    #[test]
    fn a_recorded_container_failure_confirms_a_repeated_one() {
        let mut catalogue = catalogue();
        for test in catalogue.iter_mut().filter(|test| test.id == BOOT) {
            test.place = Place::OwnGuest;
        }
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Emulated) });
        for attempt in [1, 2] {
            maker.attempt("13", &["go-3.29"], BOOT, attempt, fail(Component::Qemu, "it says no"));
        }
        in_machines(&mut maker);
        let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
        record.verified = recorded();
        let cause = VerifiedCause::new(Component::Qemu, "it says no").shown_by(BOOT.parse().unwrap());
        let boot = VerifiedCapability::plain(Verdict::Unsupported);
        let boot = VerifiedCapability { causes: vec![cause], ..boot };
        record.verified[0].capabilities.insert(Capability::VmmBoot, boot);
        let verdict = |maker: &Maker, records: &[&Record]| {
            let matrix = matrix_beside(&maker.journal, &catalogue, &profiles(), records);
            matrix.cells[0].judgement("go-3.29", Capability::VmmBoot).unwrap().verdict
        };
        assert_eq!(verdict(&maker, &[&record]), Verdict::Unsupported);
        assert_eq!(verdict(&maker, &[]), Verdict::Inconclusive);
        if let Event::RunStarted { candidate, .. } = &mut maker.journal.entries[0].event {
            *candidate = true;
        }
        assert_eq!(verdict(&maker, &[&record]), Verdict::Inconclusive, "of candidates the record says nothing");
    }

    #[test]
    fn candidates_in_an_older_journal_make_verdicts_partial() {
        for (fact, expected) in [
            ("candidate-qemu", Verdict::Partial),
            ("brought-qemu", Verdict::Partial),
            ("brought-what-nobody-knows", Verdict::Partial),
            ("candidate-virtiofsd", Verdict::Supported),
            ("kata-go-3.29", Verdict::Supported),
        ] {
            let line = r#"{"at":"2026-07-25T17:20:00Z","event":{"event":"cell-facts","cell":"debian:13/x86_64/container",
                "facts":{"basis":"hardware","accelerator":"kvm","versions":{},"suites":{},"kernel":null,"image":"",
                "image-made":null,"image-cached":true,"image-options":[],
                "environment":{"FACT":"mine (sha256 0123)","dev-shm":"1 GiB"},"notes":[]}}}"#;
            let entry: JournalEntry = serde_json::from_str(&line.replace("FACT", fact)).unwrap();
            assert_eq!(verdict(1, entry.event), expected, "{fact}");
        }
    }
}
