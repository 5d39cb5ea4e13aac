//! Two runs side by side, or a run beside the record: verdicts, causes by their signatures, packages.

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::package_change::differing;
use crate::run::{TestRun, by_profile};
use crate::signature;
use crate::standing::{Recorded, rank};
use model::package::{PackageName, PackageVersion};
use model::verified::Verdict;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use suites::capability::Capability;
use suites::outcome::Outcome;

/// The version of the document.
const SCHEMA: u32 = 1;

/// What one side knows of a cell under a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    verdicts: BTreeMap<Capability, Verdict>,
    /// By signature, the tests that failed so.
    failures: BTreeMap<String, BTreeSet<String>>,
    /// By signature, the tests that failed so and then passed.
    flaky: BTreeMap<String, BTreeSet<String>>,
    /// By signature of what is so long that a record has it cut, those that it has there.
    cut: BTreeMap<String, BTreeSet<String>>,
    passed: BTreeSet<String>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What people call it: a folder, or the record.
    name: String,
    known: BTreeMap<(CellId, String), Known>,
    packages: BTreeMap<CellId, Packages>,
}

/// What a side knows to be installed in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Packages {
    /// All of it, as an image's manifest has it.
    All(BTreeMap<String, PackageVersion>),
    /// The packages of components alone: of others nothing is known.
    Components(BTreeMap<String, PackageVersion>),
}

impl Side {
    /// What a run showed.
    pub fn of_run(name: &str, matrix: &Matrix) -> Side {
        let mut side = Side { name: name.to_owned(), known: BTreeMap::new(), packages: BTreeMap::new() };
        for cell in &matrix.cells {
            let runs = by_profile(&cell.instances);
            for (profile, judgements) in &cell.judgements {
                let judged = judgements.iter().filter(|(_, judgement)| judgement.required > 0);
                let verdicts = judged.map(|(capability, judgement)| (*capability, judgement.verdict)).collect();
                let mut known = Known { verdicts, ..Known::default() };
                for instance in runs.get(profile.as_str()).into_iter().flatten() {
                    known.add(cell, profile, instance);
                }
                side.known.insert((cell.cell.clone(), profile.clone()), known);
            }
            side.packages.insert(cell.cell.clone(), Packages::of(cell));
        }
        side
    }

    /// What the record says of a run's cells; it has component packages alone, and of each cause its words.
    pub fn of_record(matrix: &Matrix, recorded: &Recorded<'_>) -> Side {
        let mut side = Side { name: "the record".to_owned(), known: BTreeMap::new(), packages: BTreeMap::new() };
        for cell in &matrix.cells {
            let mut components = BTreeMap::new();
            for profile in &matrix.profiles {
                for entry in recorded.entries(&cell.cell, &profile.name) {
                    let known = side.known.entry((cell.cell.clone(), profile.name.clone())).or_default();
                    // What the run has no tests for is not compared.
                    let is_judged = |capability: Capability| {
                        cell.judgement(&profile.name, capability).is_some_and(|judgement| judgement.required > 0)
                    };
                    for (capability, said) in entry.capabilities.iter().filter(|(c, _)| is_judged(**c)) {
                        known.verdicts.insert(*capability, said.verdict);
                        for (test, signature) in said.causes.iter().filter_map(signature::of_recorded) {
                            known.failures.entry(signature).or_default().insert(test);
                        }
                    }
                    components.extend(by_text(&entry.versions));
                }
            }
            if !components.is_empty() {
                side.packages.insert(cell.cell.clone(), Packages::Components(components));
            }
        }
        side
    }
}

impl Known {
    fn add(&mut self, cell: &CellReport, profile: &str, instance: &TestRun) {
        let Some(last) = instance.final_outcome() else { return };
        let failures = instance.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Fail(failure) => Some(failure),
            Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } | Outcome::Error { .. } => None,
        });
        let mut seen = Vec::new();
        for failure in failures {
            let once_recorded = signature::once_recorded(failure, &instance.test).map(|(_, signature)| signature);
            if let Some(cut) = once_recorded.filter(|cut| *cut != failure.signature) {
                self.cut.entry(failure.signature.clone()).or_default().insert(cut);
            }
            seen.push(failure.signature.clone());
        }
        match &last.outcome {
            // What blames nobody is no finding.
            Outcome::Fail(failure) if cell.doubted(profile, &instance.test).is_none() => {
                self.failures.entry(failure.signature.clone()).or_default().insert(instance.test.clone());
            }
            Outcome::Pass => {
                for signature in seen {
                    self.flaky.entry(signature).or_default().insert(instance.test.clone());
                }
                self.passed.insert(instance.test.clone());
            }
            Outcome::Fail(_) | Outcome::Skip { .. } | Outcome::Blocked { .. } | Outcome::Error { .. } => {}
        }
    }

    /// Whether something failed so, be it that it then passed.
    fn has_failed(&self, signature: &str) -> bool {
        self.failures.contains_key(signature) || self.flaky.contains_key(signature)
    }

    /// Whether this side has seen a failure of another one, which a record may have cut.
    fn knows(&self, other: &Known, signature: &str) -> bool {
        let mut cut = other.cut.get(signature).into_iter().flatten();
        self.has_failed(signature) || cut.any(|cut| self.has_failed(cut))
    }

    /// Whether this side shows what a record has, be it cut there.
    fn shows(&self, recorded: &str) -> bool {
        self.has_failed(recorded) || self.cut.values().any(|cut| cut.contains(recorded))
    }
}

impl Packages {
    /// Everything that is installed, or the component packages where nobody kept the rest.
    fn of(cell: &CellReport) -> Packages {
        match cell.packages.is_empty() {
            false => Packages::All(cell.packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect()),
            true => Packages::Components(cell.facts.iter().flat_map(|facts| by_text(&facts.versions)).collect()),
        }
    }

    fn versions(&self) -> &BTreeMap<String, PackageVersion> {
        match self {
            Packages::All(versions) | Packages::Components(versions) => versions,
        }
    }

    /// Whether this side and another know whether a package is installed.
    fn both_know(&self, other: &Packages, name: &str) -> bool {
        match (self, other) {
            (Packages::All(_), Packages::Components(few)) | (Packages::Components(few), Packages::All(_)) => {
                few.contains_key(name)
            }
            (Packages::All(_), Packages::All(_)) | (Packages::Components(_), Packages::Components(_)) => true,
        }
    }
}

/// Versions by names that are texts, as manifests have them.
fn by_text(versions: &BTreeMap<PackageName, PackageVersion>) -> impl Iterator<Item = (String, PackageVersion)> {
    versions.iter().map(|(name, version)| (name.to_string(), version.clone()))
}

/// What differs between two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    schema: u32,
    before: String,
    after: String,
    /// Cells and profiles that only one side has; the rest is about those that both have.
    only_before: Vec<String>,
    only_after: Vec<String>,
    verdicts: Vec<VerdictTurn>,
    signatures: Vec<SignatureTurn>,
    packages: Vec<PackageTurn>,
}

/// A verdict that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct VerdictTurn {
    cell: CellId,
    capability: Capability,
    profiles: Vec<String>,
    was: Option<Verdict>,
    is: Option<Verdict>,
    /// Whether it is worse now.
    worse: bool,
}

/// How a cause compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum SignatureState {
    /// Only now.
    New,
    /// It was seen before, and its tests have passed.
    Fixed,
    /// It failed and then passed.
    Flaky,
    /// It was seen before, and its tests have neither failed so nor passed.
    Unseen,
    /// Before and now.
    Known,
}

impl SignatureState {
    fn name(self) -> &'static str {
        match self {
            SignatureState::New => "new",
            SignatureState::Fixed => "fixed",
            SignatureState::Flaky => "flaky",
            SignatureState::Unseen => "not seen again",
            SignatureState::Known => "known",
        }
    }
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SignatureTurn {
    state: SignatureState,
    signature: String,
    tests: Vec<String>,
    /// Cells with their profiles: `debian:13/x86_64/container go-3.32`.
    places: Vec<String>,
}

/// A package whose version differs; null where it is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PackageTurn {
    cell: CellId,
    name: String,
    was: Option<String>,
    is: Option<String>,
}

impl Difference {
    /// What differs between two sides, of what both know.
    pub fn between(before: &Side, after: &Side) -> Difference {
        let only = |one: &Side, other: &Side| {
            let keys = one.known.keys().filter(|key| !other.known.contains_key(key));
            keys.map(|(cell, profile)| format!("{cell} {profile}")).collect()
        };
        let both: Vec<Pair<'_>> =
            after.known.iter().filter_map(|(key, now)| Some((key, before.known.get(key)?, now))).collect();
        Difference {
            schema: SCHEMA,
            before: before.name.clone(),
            after: after.name.clone(),
            only_before: only(before, after),
            only_after: only(after, before),
            verdicts: verdicts(&both),
            signatures: signatures(&both),
            packages: package_turns(before, after),
        }
    }

    /// Whether anything is worse now: a verdict, or a cause that is new.
    pub fn is_worse(&self) -> bool {
        let is_new = |turn: &SignatureTurn| turn.state == SignatureState::New;
        self.verdicts.iter().any(|turn| turn.worse) || self.signatures.iter().any(is_new)
    }

    /// Whether the sides have a cell and a profile in common.
    pub fn is_of_nothing(&self, after: &Side) -> bool {
        self.only_after.len() == after.known.len()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("{} → {}\n", self.before, self.after);
        for (name, only) in [(&self.before, &self.only_before), (&self.after, &self.only_after)] {
            for place in only {
                let _ = writeln!(out, "only in {name}: {place}");
            }
        }
        let none = |is_empty: bool| if is_empty { " none" } else { "" };
        let _ = writeln!(out, "\nVerdicts that differ:{}", none(self.verdicts.is_empty()));
        for VerdictTurn { cell, capability, profiles, was, is, worse } in &self.verdicts {
            let word = |verdict: &Option<Verdict>| verdict.map_or("not judged", Verdict::name);
            let mark = if *worse { "worse " } else { "" };
            let profiles = profiles.join(", ");
            let _ = writeln!(out, "  {mark}{cell} {capability}: {} → {} [{profiles}]", word(was), word(is));
        }
        let _ = writeln!(out, "\nCauses:{}", none(self.signatures.is_empty()));
        for SignatureTurn { state, signature, tests, places } in &self.signatures {
            let (tests, places) = (tests.join(", "), places.join(", "));
            let _ = writeln!(out, "  {}: {signature} ({tests}) [{places}]", state.name());
        }
        let _ = writeln!(out, "\nPackages that differ:{}", none(self.packages.is_empty()));
        for PackageTurn { cell, name, was, is } in &self.packages {
            let word = |version: &Option<String>| version.clone().unwrap_or_else(|| "not there".to_owned());
            let _ = writeln!(out, "  {cell} {name}: {} → {}", word(was), word(is));
        }
        out
    }
}

type Pair<'s> = (&'s (CellId, String), &'s Known, &'s Known);

fn verdicts(both: &[Pair<'_>]) -> Vec<VerdictTurn> {
    type Turn<'s> = (&'s CellId, Capability, Option<Verdict>, Option<Verdict>);
    let mut all: BTreeMap<Turn<'_>, Vec<String>> = BTreeMap::new();
    for ((cell, profile), before, now) in both {
        for capability in before.verdicts.keys().chain(now.verdicts.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (before.verdicts.get(capability).copied(), now.verdicts.get(capability).copied());
            if was != is {
                all.entry((cell, *capability, was, is)).or_default().push(profile.clone());
            }
        }
    }
    let turn = |((cell, capability, was, is), profiles): (Turn<'_>, Vec<String>)| {
        // What is not judged any more is no worse for certain.
        let ranks = was.and_then(rank).zip(is.and_then(rank));
        let worse = ranks.is_some_and(|(was, is)| is < was);
        VerdictTurn { cell: cell.clone(), capability, profiles, was, is, worse }
    };
    all.into_iter().map(turn).collect()
}

fn signatures(both: &[Pair<'_>]) -> Vec<SignatureTurn> {
    type Places = (BTreeSet<String>, BTreeSet<String>);
    let mut all: BTreeMap<(SignatureState, &str), Places> = BTreeMap::new();
    for ((cell, profile), before, now) in both {
        let mut add = |state, signature, tests: &BTreeSet<String>| {
            let (known, places) = all.entry((state, signature)).or_default();
            known.extend(tests.iter().cloned());
            places.insert(format!("{cell} {profile}"));
        };
        for (signature, tests) in &now.failures {
            let is_known = before.knows(now, signature);
            add(if is_known { SignatureState::Known } else { SignatureState::New }, signature.as_str(), tests);
        }
        for (signature, tests) in &now.flaky {
            add(SignatureState::Flaky, signature.as_str(), tests);
        }
        for (signature, tests) in &before.failures {
            if !now.shows(signature) {
                let is_fixed = tests.iter().all(|test| now.passed.contains(test));
                add(if is_fixed { SignatureState::Fixed } else { SignatureState::Unseen }, signature.as_str(), tests);
            }
        }
    }
    let turn = |((state, signature), (tests, places)): ((SignatureState, &str), Places)| SignatureTurn {
        state,
        signature: signature.to_owned(),
        tests: tests.into_iter().collect(),
        places: places.into_iter().collect(),
    };
    all.into_iter().map(turn).collect()
}

/// The packages that differ, of those that both sides know of.
fn package_turns(before: &Side, after: &Side) -> Vec<PackageTurn> {
    let mut all = Vec::new();
    for (cell, now) in &after.packages {
        let Some(then) = before.packages.get(cell) else { continue };
        let differing = differing(then.versions(), now.versions());
        all.extend(differing.into_iter().filter(|package| then.both_know(now, package.name)).map(|package| {
            PackageTurn {
                cell: cell.clone(),
                name: package.name.to_owned(),
                was: package.then.map(str::to_owned),
                is: package.now.map(str::to_owned),
            }
        }));
    }
    all
}

#[cfg(test)]
mod tests;
