//! Two runs side by side, or a run beside the record: verdicts, causes by their signatures, packages.

mod side;

pub use side::Side;

use crate::journal::CellId;
use crate::package_change::differing;
use crate::standing::rank;
use model::verified::Verdict;
use serde::Serialize;
use side::Known;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use suites::capability::Capability;

/// The version of the document.
const SCHEMA: u32 = 1;

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
    /// What cannot be compared, because the earlier side could not judge it.
    not_compared: Vec<NotCompared>,
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
    /// Whether nobody knows if it is: it was better than unsupported, or could not be judged now.
    unjudged: bool,
}

/// Capabilities of which the earlier side has no verdict, so that nobody knows what has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct NotCompared {
    cell: CellId,
    capabilities: Vec<Capability>,
    profiles: Vec<String>,
    /// Why the whole cell was not judged; null where tests of it were in error.
    why: Option<String>,
}

/// How a cause compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum SignatureState {
    /// Only now; beside the record, what is not among the causes that it has of the capability.
    New,
    /// Only now, and its tests could not be judged before.
    NotCompared,
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
            SignatureState::NotCompared => "not compared",
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
            not_compared: not_compared(&both),
            signatures: signatures(&both),
            packages: package_turns(before, after),
        }
    }

    /// Whether anything is worse now: a verdict, or a cause that is new.
    pub fn is_worse(&self) -> bool {
        let is_new = |turn: &SignatureTurn| turn.state == SignatureState::New;
        self.verdicts.iter().any(|turn| turn.worse) || self.signatures.iter().any(is_new)
    }

    /// Whether nobody knows if something is worse: a verdict was not decided, the later side lacks a cell or a profile, or
    /// what fails now could not be judged before.
    pub fn is_unjudged(&self) -> bool {
        let is_open = |turn: &SignatureTurn| turn.state == SignatureState::NotCompared;
        !self.only_before.is_empty()
            || self.verdicts.iter().any(|turn| turn.unjudged)
            || self.signatures.iter().any(is_open)
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
        for VerdictTurn { cell, capability, profiles, was, is, worse, unjudged } in &self.verdicts {
            let word = |verdict: &Option<Verdict>| verdict.map_or("not judged", Verdict::name);
            let mark = match (worse, unjudged) {
                (true, _) => "worse ",
                (false, true) => "unjudged ",
                (false, false) => "",
            };
            let profiles = profiles.join(", ");
            let _ = writeln!(out, "  {mark}{cell} {capability}: {} → {} [{profiles}]", word(was), word(is));
        }
        if !self.not_compared.is_empty() {
            let _ = writeln!(out, "\nNot compared, because {} has no verdict:", self.before);
        }
        for NotCompared { cell, capabilities, profiles, why } in &self.not_compared {
            let names: Vec<&str> = capabilities.iter().map(|capability| capability.name()).collect();
            let why = why.as_deref().unwrap_or("a test of it was not judged");
            let _ = writeln!(out, "  {cell} {} [{}]: {why}", names.join(", "), profiles.join(", "));
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
        let is_asked = |c: &&Capability| !before.unasked.contains(*c) && !now.unasked.contains(*c);
        let all_of = before.verdicts.keys().chain(now.verdicts.keys()).filter(is_asked);
        for capability in all_of.collect::<BTreeSet<_>>() {
            let (was, is) = (before.verdicts.get(capability).copied(), now.verdicts.get(capability).copied());
            if was != is && was != Some(Verdict::Inconclusive) {
                all.entry((cell, *capability, was, is)).or_default().push(profile.clone());
            }
        }
    }
    let turn = |((cell, capability, was, is), profiles): (Turn<'_>, Vec<String>)| {
        // What is not judged any more is no worse for certain, and no better.
        let (then, now) = (was.and_then(rank), is.and_then(rank));
        let worse = then.zip(now).is_some_and(|(then, now)| now < then);
        // As beside the record: what was unsupported and was not tried stays as it was.
        let was_more = was.is_some_and(|was| was.is_decided() && was != Verdict::Unsupported);
        let unjudged = is.is_some_and(|is| is == Verdict::Inconclusive || was_more && !is.is_decided());
        VerdictTurn { cell: cell.clone(), capability, profiles, was, is, worse, unjudged }
    };
    all.into_iter().map(turn).collect()
}

/// What the earlier side could not judge, each list of capabilities once for all profiles that it is true of.
fn not_compared(both: &[Pair<'_>]) -> Vec<NotCompared> {
    type Place<'s> = (&'s CellId, Vec<Capability>, Option<&'s str>);
    let mut all: BTreeMap<Place<'_>, Vec<String>> = BTreeMap::new();
    for ((cell, profile), before, now) in both {
        let is_open = |(capability, verdict): &(&Capability, &Verdict)| {
            **verdict == Verdict::Inconclusive && !now.unasked.contains(*capability)
        };
        let open: Vec<Capability> = before.verdicts.iter().filter(is_open).map(|(capability, _)| *capability).collect();
        if !open.is_empty() {
            all.entry((cell, open, before.lost.as_deref())).or_default().push(profile.clone());
        }
    }
    let told = |((cell, capabilities, why), profiles): (Place<'_>, Vec<String>)| NotCompared {
        cell: cell.clone(),
        capabilities,
        profiles,
        why: why.map(str::to_owned),
    };
    all.into_iter().map(told).collect()
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
            let state = match before.lacks(now, signature) {
                false => SignatureState::Known,
                true if tests.iter().all(|test| before.could_not_judge(test)) => SignatureState::NotCompared,
                true => SignatureState::New,
            };
            add(state, signature.as_str(), tests);
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
