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
//!   container failed later: a pass does not outlive a later failure ([`decided`]).
//! - The packages of an entry without versions are unknown: if there are other entries, it vouches for nothing.
//!
//! With the same packages, results of the current tests outrank those of older tests, which were fewer or did less.
//! If only older tests say yes, the answer names the capabilities.
//!
//! A failure is different: it stands until the newest packages are seen to work, because as far as is known nobody has
//! fixed it.

use super::Standings;
use crate::journal::CellId;
use crate::matrix::CellReport;
use crate::run::day;
use jiff::civil::Date;
use model::environment::Environment;
use model::package_manager::PackageManager;
use model::profile::Profile;
use model::verified::{
    Basis, CapabilityNames, EvidenceSummary, Measured, RunAnswer, Verdict, VerifiedEntry, WITH_CANDIDATES, decided,
    same_tests, test_set_of_today,
};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Component;

/// Whether the Kata versions of a profile can run on a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanRun {
    /// Everything that Kata needs is supported.
    Yes,
    /// Everything that Kata needs is supported with components that replaced the release's own.
    With(BTreeSet<String>),
    /// Not everything is supported; each unsupported capability with the components that it blames.
    No(BTreeMap<Capability, BTreeSet<Component>>),
    /// Nothing is known to fail, but not everything is known.
    NotKnown,
}

/// The answer for a release under a profile, from all environments with evidence, including the record's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseAnswer {
    /// The answer itself.
    pub answer: CanRun,
    /// How many needed capabilities are supported, be it with a component that was brought along.
    pub supported: usize,
    /// How many capabilities Kata needs.
    pub needed: usize,
    /// The capabilities that no run has judged with the newest packages.
    pub missing: Vec<Capability>,
    /// The missing capabilities that worked with other packages, which says nothing about the newest.
    pub outdated: Vec<Capability>,
    /// The capabilities that only older tests showed to be supported.
    pub older_tests: Vec<Capability>,
    /// The capabilities of the overview that Kata does not need, and that are not supported.
    pub optional: Vec<Capability>,
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
        match self.answer {
            CanRun::Yes => Verdict::Supported,
            CanRun::With(_) => Verdict::Partial,
            CanRun::No(_) => Verdict::Unsupported,
            CanRun::NotKnown if self.inconclusive => Verdict::Inconclusive,
            CanRun::NotKnown => Verdict::Untested,
        }
    }

    /// Returns the first word of the answer, for programs.
    pub fn name(&self) -> &'static str {
        match self.answer {
            CanRun::Yes => "yes",
            CanRun::With(_) => "with",
            CanRun::No(_) => "no",
            CanRun::NotKnown => "not-known",
        }
    }

    /// Formats the answer as all outputs do ([`RunAnswer`]), with the days of the record's environments that count.
    pub fn words(&self) -> String {
        let (with, against) = match &self.answer {
            CanRun::With(what) => (what.iter().map(String::as_str).collect(), Vec::new()),
            CanRun::No(why) => (Vec::new(), why.iter().map(|(one, blamed)| (*one, blamed.clone())).collect()),
            CanRun::Yes | CanRun::NotKnown => (Vec::new(), Vec::new()),
        };
        let answer = RunAnswer {
            needed: self.needed,
            supported: self.supported,
            against,
            missing: self.missing.clone(),
            is_outdated: !self.outdated.is_empty(),
            with,
            older_tests: self.older_tests.clone(),
            optional: self.optional.clone(),
        };
        let mut words = answer.words(CapabilityNames::Short);
        if !self.from_record.is_empty() {
            let days: Vec<String> = self.from_record.iter().map(|(place, day)| format!("{place} {day}")).collect();
            words.push_str(&format!(" [record: {}]", days.join(", ")));
        }
        words
    }
}

/// The evidence of one environment about a capability.
struct Evidence {
    environment: Environment,
    /// Whether it was measured with the newest packages.
    is_newest: bool,
    /// Whether the tests behind it differ from those that are required now.
    is_by_older_tests: bool,
    verdict: Verdict,
    basis: Option<Basis>,
    blames: BTreeSet<Component>,
    workaround: Option<String>,
    /// The day of the run.
    day: Option<Date>,
    /// The day by which it is earlier or later than another environment's: that of the whole run, whose cells are of
    /// one time.
    compared: Option<Date>,
    /// The day, if the evidence is the record's.
    recorded: Option<Date>,
}

impl Evidence {
    fn summary(&self) -> EvidenceSummary {
        let Evidence { environment, verdict, is_newest, is_by_older_tests, compared: day, recorded, .. } = *self;
        EvidenceSummary { environment, verdict, is_newest, is_by_older_tests, day, is_of_the_run: recorded.is_none() }
    }
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
        let is_judged = |capability: &Capability| {
            cells.iter().any(|cell| cell.judgement(profile, *capability).is_some_and(|j| j.required > 0))
        };
        let judged = || Capability::ALL.iter().copied().filter(is_judged);
        let known = if self.counts_record { self.recorded.of_release(release) } else { Vec::new() };
        let known: Vec<&VerifiedEntry> = known.into_iter().filter(|e| e.shaped == self.matrix.shaped).collect();
        let in_cells: Vec<Measured<'_>> = cells.iter().filter_map(|cell| cell.measured()).collect();
        let all: Vec<Measured<'_>> = in_cells.into_iter().chain(known.iter().map(|e| Measured::in_entry(e))).collect();
        let manager = self.recorded.manager(&release.distro);
        let sides = Sides { cells, known, all, manager, test_set: &self.matrix.test_set };
        let evidence = |capability| (capability, self.evidence(&sides, profile, capability));
        of(judged().filter(|c| c.is_needed()).map(evidence), judged().filter(|c| c.is_shown_beside()).map(evidence))
    }

    fn evidence(&self, sides: &Sides<'_>, profile: &str, capability: Capability) -> Vec<Evidence> {
        let mut all: Vec<Evidence> = Vec::new();
        let tried = sides.cells.iter().filter_map(|cell| {
            let judgement = cell.judgement(profile, capability)?;
            // A capability that was not asked for is no evidence; one that was tried and could not be judged replaces
            // the record's.
            (!cell.is_left_out(judgement)).then(|| Evidence {
                environment: cell.cell.environment,
                is_newest: cell.measured().is_none_or(|one| sides.is_newest(&one)),
                is_by_older_tests: false,
                verdict: judgement.verdict,
                basis: judgement.basis,
                blames: judgement.causes.iter().map(|cause| cause.component).collect(),
                workaround: judgement.workaround.as_deref().map(without_preface),
                day: cell.finished.map(day),
                compared: match self.matrix.is_merged() {
                    true => cell.finished.map(day),
                    false => self.matrix.finished.map(day),
                },
                recorded: None,
            })
        });
        all.extend(tried);
        let tried: BTreeSet<Environment> = all.iter().map(|e| e.environment).collect();
        let entries = sides.known.iter().filter(|e| e.profile == profile && !tried.contains(&e.environment));
        all.extend(entries.filter_map(|entry| recorded(sides, entry, capability)));
        all
    }
}

/// Answers from the record alone whether the Kata versions of a profile can run on a release. Takes all its entries for
/// the release and architecture, whatever their profile, because they show which packages are the newest that were
/// measured.
pub fn recorded_answer(
    entries: &[&VerifiedEntry],
    profile: &Profile,
    manager: Option<PackageManager>,
) -> ReleaseAnswer {
    let all = entries.iter().map(|entry| Measured::in_entry(entry)).collect();
    let sides = Sides { cells: &[], known: entries.to_vec(), all, manager, test_set: test_set_of_today() };
    let evidence = |capability: Capability| -> (Capability, Vec<Evidence>) {
        let own = sides.known.iter().filter(|entry| entry.profile == profile.name);
        let found = own.filter_map(|entry| recorded(&sides, entry, capability));
        // All of the evidence is the record's: the answer need not mention it.
        (capability, found.map(|evidence| Evidence { recorded: None, ..evidence }).collect())
    };
    let beside = Capability::ALL.iter().copied().filter(|c| c.is_shown_beside() && profile.has(*c));
    of(profile.needs().map(evidence), beside.map(evidence))
}

/// Returns the answer that follows from the evidence on each capability that Kata needs; the answer only names those in
/// `beside`, which it does not need.
fn of(
    needed: impl Iterator<Item = (Capability, Vec<Evidence>)>,
    beside: impl Iterator<Item = (Capability, Vec<Evidence>)>,
) -> ReleaseAnswer {
    let mut all = ReleaseAnswer {
        answer: CanRun::NotKnown,
        supported: 0,
        needed: 0,
        missing: Vec::new(),
        outdated: Vec::new(),
        older_tests: Vec::new(),
        optional: Vec::new(),
        inconclusive: false,
        day: None,
        basis: None,
        from_record: BTreeMap::new(),
    };
    let (mut with, mut against) = (BTreeSet::new(), BTreeMap::new());
    let (mut of_any, mut of_support, mut of_failures) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (capability, evidence) in needed {
        all.needed += 1;
        of_any.extend(evidence.iter().filter_map(|e| e.day));
        let Some(decided) = counting(&evidence) else {
            all.inconclusive |= evidence.iter().any(|e| e.verdict == Verdict::Inconclusive);
            all.missing.push(capability);
            all.outdated.extend(decided(&evidence, Evidence::summary, false).map(|_| capability));
            continue;
        };
        // Emulated is the weaker basis.
        all.basis = all.basis.max(decided.basis);
        if let Some(day) = decided.recorded {
            all.from_record.insert(decided.environment, day);
        }
        if decided.verdict.is_against() {
            of_failures.extend(decided.day);
            against.insert(capability, decided.blames.clone());
        } else {
            all.supported += 1;
            of_support.extend(decided.day);
            all.older_tests.extend(decided.is_by_older_tests.then_some(capability));
            with.extend(decided.workaround.clone());
        }
    }
    for (capability, evidence) in beside {
        let is_lost = counting(&evidence).is_some_and(|decided| decided.verdict == Verdict::Unsupported);
        all.optional.extend(is_lost.then_some(capability));
    }
    all.answer = match (against.is_empty(), all.missing.is_empty() && all.needed > 0, with.is_empty()) {
        (false, _, _) => CanRun::No(against),
        (true, false, _) => CanRun::NotKnown,
        (true, true, false) => CanRun::With(with),
        (true, true, true) => CanRun::Yes,
    };
    all.day = match all.answer {
        CanRun::Yes | CanRun::With(_) => of_support.first().copied(),
        CanRun::No(_) => of_failures.last().copied(),
        CanRun::NotKnown => of_any.last().copied(),
    };
    all
}

/// Returns the evidence that counts: that with the newest packages, or an older failure that was not seen to be fixed.
fn counting(evidence: &[Evidence]) -> Option<&Evidence> {
    let standing = || decided(evidence, Evidence::summary, false).filter(|older| older.verdict.is_against());
    decided(evidence, Evidence::summary, true).or_else(standing)
}

/// Returns the evidence of a record's entry about a capability.
fn recorded(sides: &Sides<'_>, entry: &VerifiedEntry, capability: Capability) -> Option<Evidence> {
    let known = entry.capabilities.get(&capability)?;
    Some(Evidence {
        environment: entry.environment,
        is_newest: sides.is_newest(&Measured::in_entry(entry)),
        is_by_older_tests: !same_tests(&entry.test_set, sides.test_set, capability),
        verdict: known.verdict,
        basis: Some(entry.basis),
        blames: known.failures().iter().filter_map(|cause| cause.component).collect(),
        workaround: known.workaround.as_deref().map(without_preface),
        day: Some(entry.tested),
        compared: Some(entry.tested),
        recorded: Some(entry.tested),
    })
}

/// Strips a workaround of its prefix, which is only needed if it stands alone.
fn without_preface(workaround: &str) -> String {
    workaround.strip_prefix(WITH_CANDIDATES).unwrap_or(workaround).to_owned()
}
