//! Answer to a reader's first question: can Kata run here?
//!
//! Each capability that Kata needs is decided by the measurements with the newest packages that were measured on the
//! release ([`Measured`]), under any profile and in any environment; if several environments decided, by the one that
//! shows most.
//! So a yes is about packages that can be installed together, and a result from before an update does not vouch for
//! later packages:
//!
//! - If the container is newer than the machine, capabilities that only a machine can show are not known yet with these
//!   packages.
//! - If the machine is newer than the container, the machine alone decides, and what it did not judge is not known yet.
//! - If both have the same packages, the decisions of both count, and the machine outranks the container, unless the
//!   container failed later: a pass does not outlive a later failure ([`decided`](model::verified::decided)).
//! - The packages of an entry without versions are unknown: if there are other entries, it vouches for nothing.
//!
//! With the same packages, results of the current tests outrank those of older tests, which were fewer or did less.
//! If only older tests say yes, the answer names the capabilities.
//!
//! A failure is different: it stands until the newest packages are seen to work, because as far as is known nobody has
//! fixed it.
//!
//! This module says which results are evidence; what follows from them is the same for all commands
//! ([`RunEvidence::decide`]).

use super::Standings;
use crate::journal::CellId;
use crate::matrix::CellReport;
use crate::run::day;
use jiff::civil::Date;
use model::environment::Environment;
use model::package_manager::PackageManager;
use model::profile::Profile;
use model::verified::{
    Basis, CanRun, CapabilityNames, Evidence, EvidenceSummary, Measured, RunAnswer, RunEvidence, Verdict, VerifiedEntry,
};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;

/// The answer for a release under a profile, from all environments with evidence, including the record's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseAnswer {
    /// The answer itself.
    pub answer: RunAnswer,
    /// Whether one of the missing capabilities was tried and could not be judged.
    pub inconclusive: bool,
    /// The day of the answer: a yes is as old as its oldest evidence, a no has the day of its latest failure, and an
    /// unknown answer has the last day with any evidence.
    pub day: Option<Date>,
    /// The basis of the answer: emulated, if any of its evidence is.
    pub basis: Option<Basis>,
    /// The record's environments that count, each with its day.
    pub from_record: BTreeMap<Environment, Date>,
}

impl ReleaseAnswer {
    /// Returns the verdict whose mark stands for the answer.
    pub fn verdict(&self) -> Verdict {
        match self.answer.can_run() {
            CanRun::Yes => Verdict::Supported,
            CanRun::With => Verdict::Partial,
            CanRun::No => Verdict::Unsupported,
            CanRun::NotKnown if self.inconclusive => Verdict::Inconclusive,
            CanRun::NotKnown => Verdict::Untested,
        }
    }

    /// Returns the first word of the answer, for programs.
    pub fn name(&self) -> &'static str {
        match self.answer.can_run() {
            CanRun::Yes => "yes",
            CanRun::With => "with",
            CanRun::No => "no",
            CanRun::NotKnown => "not-known",
        }
    }

    /// Formats the answer as all outputs do, with the days of the record's environments that count.
    pub fn words(&self) -> String {
        let mut words = self.answer.words(CapabilityNames::Short);
        if !self.from_record.is_empty() {
            let days: Vec<String> = self.from_record.iter().map(|(place, day)| format!("{place} {day}")).collect();
            words.push_str(&format!(" [record: {}]", days.join(", ")));
        }
        words
    }
}

/// The source of an evidence.
#[derive(Debug, Clone, Copy)]
struct Source {
    basis: Option<Basis>,
    /// The day of the run.
    day: Option<Date>,
    /// The day, if the evidence is the record's, beside a run.
    recorded: Option<Date>,
}

/// All measurements of a release.
struct Sides<'a> {
    /// The run's measurements.
    cells: &'a [&'a CellReport],
    /// The record's measurements, under any profile.
    known: Vec<&'a VerifiedEntry>,
    /// The packages of both.
    all: Vec<Measured<'a>>,
    /// The package manager that knows the order of their versions.
    manager: Option<PackageManager>,
    /// The digest of the tests that are required now.
    test_set: &'a str,
}

impl Sides<'_> {
    fn is_newest(&self, one: &Measured<'_>) -> bool {
        one.is_newest_of(&self.all, self.manager)
    }
}

impl<'m> Standings<'m> {
    /// Returns the releases of the run, in order: the first cell of each.
    pub fn releases(&self) -> Vec<&'m CellId> {
        let mut seen = BTreeSet::new();
        let ids = self.matrix.cells.iter().map(|cell| &cell.cell);
        ids.filter(|id| seen.insert((&id.distro, &id.release, id.arch))).collect()
    }

    /// Answers whether the Kata versions of a profile can run on a cell's release.
    pub fn answer(&self, release: &CellId, profile: &str) -> ReleaseAnswer {
        let key = (&release.distro, &release.release, release.arch);
        let cells = self.by_release.get(&key).map(Vec::as_slice).unwrap_or_default();
        let is_judged = |capability: Capability| {
            cells.iter().any(|cell| cell.judgement(profile, capability).is_some_and(|j| j.required > 0))
        };
        let known = if self.counts_record { self.recorded.of_release(release) } else { Vec::new() };
        let known: Vec<&VerifiedEntry> = known.into_iter().filter(|e| e.shaped == self.matrix.shaped).collect();
        let in_cells: Vec<Measured<'_>> = cells.iter().filter_map(|cell| cell.measured()).collect();
        let all: Vec<Measured<'_>> = in_cells.into_iter().chain(known.iter().map(|e| Measured::in_entry(e))).collect();
        let manager = self.recorded.manager(&release.distro);
        let sides = Sides { cells, known, all, manager, test_set: &self.matrix.test_set };
        let evidence = RunEvidence::gather(is_judged, |capability| self.evidence(&sides, profile, capability));
        of(&evidence, |source| *source)
    }

    fn evidence(&self, sides: &Sides<'_>, profile: &str, capability: Capability) -> Vec<Evidence<Source>> {
        let mut all: Vec<Evidence<Source>> = Vec::new();
        let tried = sides.cells.iter().filter_map(|cell| {
            let judgement = cell.judgement(profile, capability)?;
            // A capability that was not asked for is no evidence; one that was tried and could not be judged replaces
            // the record's.
            (!cell.is_left_out(judgement)).then(|| Evidence {
                summary: EvidenceSummary {
                    environment: cell.cell.environment,
                    verdict: judgement.verdict,
                    is_newest: cell.measured().is_none_or(|one| sides.is_newest(&one)),
                    is_by_older_tests: false,
                    // The cells of a run are of one time: that of the whole run.
                    day: match self.matrix.is_merged() {
                        true => cell.finished.map(day),
                        false => self.matrix.finished.map(day),
                    },
                    is_of_the_run: true,
                },
                blames: judgement.causes.iter().map(|cause| cause.component).collect(),
                workaround: judgement.workaround.clone(),
                source: Source { basis: judgement.basis, day: cell.finished.map(day), recorded: None },
            })
        });
        all.extend(tried);
        let tried: BTreeSet<Environment> = all.iter().map(|one| one.summary.environment).collect();
        let entries = sides.known.iter().filter(|e| e.profile == profile && !tried.contains(&e.environment));
        all.extend(entries.filter_map(|entry| {
            let is_newest = sides.is_newest(&Measured::in_entry(entry));
            let source = Source { recorded: Some(entry.tested), ..Source::of_entry(entry) };
            Evidence::recorded(entry, capability, is_newest, sides.test_set, source)
        }));
        all
    }
}

impl Source {
    fn of_entry(entry: &VerifiedEntry) -> Source {
        Source { basis: Some(entry.basis), day: Some(entry.tested), recorded: None }
    }
}

/// Answers from the record alone whether the Kata versions of a profile can run on a release
/// ([`RunEvidence::of_record`]).
pub fn recorded_answer(
    entries: &[&VerifiedEntry],
    profile: &Profile,
    manager: Option<PackageManager>,
) -> ReleaseAnswer {
    // All of the evidence is the record's: the answer need not mention it.
    of(&RunEvidence::of_record(entries, profile, manager), |entry| Source::of_entry(entry))
}

/// Returns the answer that follows from the evidence.
fn of<S>(evidence: &RunEvidence<S>, source: impl Fn(&S) -> Source) -> ReleaseAnswer {
    let decision = evidence.decide();
    let sourced = |one: &&Evidence<S>| (one.summary.environment, source(&one.source));
    let counting: Vec<(Environment, Source)> = decision.counting.iter().map(sourced).collect();
    let days: BTreeSet<Date> = decision.rests_on().filter_map(|one| source(&one.source).day).collect();
    let day = match decision.answer.can_run() {
        CanRun::Yes | CanRun::With => days.first().copied(),
        CanRun::No => days.last().copied(),
        CanRun::NotKnown => evidence.on_needed().filter_map(|one| source(&one.source).day).max(),
    };
    ReleaseAnswer {
        inconclusive: decision.undecided.iter().any(|one| one.summary.verdict == Verdict::Inconclusive),
        day,
        // Emulated is the weaker basis.
        basis: counting.iter().filter_map(|(_, source)| source.basis).max(),
        from_record: counting.iter().filter_map(|(place, source)| Some((*place, source.recorded?))).collect(),
        answer: decision.answer,
    }
}
