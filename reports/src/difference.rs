//! Comparison of two runs, or of a run with the record: verdicts, causes by their signatures, packages.
//!
//! Only what both sides know and were asked for is compared. What only the earlier side knew is unjudged, and not
//! green.

mod record;
mod side;
mod text;

pub use side::Side;

use crate::journal::CellId;
use crate::package_change::differing;
use crate::standing::{Change, Effect, ProfileStanding, Standings, compare};
use crate::verdict::Judgement;
use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::test_id::TestId;
use model::verified::Verdict;
use serde::Serialize;
use side::Known;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;

/// The version of the document.
const SCHEMA: u32 = 1;

/// The differences between two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    schema: u32,
    before: String,
    after: String,
    /// Cells and profiles that only one side has; all else is about those that both have.
    only_before: Vec<String>,
    only_after: Vec<String>,
    verdicts: Vec<VerdictTurn>,
    /// Capabilities that cannot be compared, because the earlier side could not judge them.
    not_compared: Vec<NotCompared>,
    signatures: Vec<SignatureTurn>,
    packages: Vec<PackageTurn>,
    /// Why the later side may be incomplete; in a comparison with the record also what else was not judged, in words.
    not_judged: Vec<String>,
    /// The results of the known issues, in words; empty if two runs are compared.
    known_issues: Vec<String>,
    /// The effect on the exit code; in a comparison with the record, the same as in every report.
    #[serde(skip)]
    effect: Effect,
    /// Whether the sides have no cell and profile in common.
    #[serde(skip)]
    is_of_nothing: bool,
}

/// A verdict that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct VerdictTurn {
    cell: CellId,
    capability: Capability,
    profiles: Vec<ProfileName>,
    was: Option<Verdict>,
    is: Option<Verdict>,
    /// The kind of change, in the reports' words.
    change: Change,
    /// Whether the verdict is worse now, or lacking under `--strict`.
    worse: bool,
    /// Whether it is unknown if the verdict is worse: it was better than unsupported and nothing is decided now, or it
    /// could not be judged now.
    unjudged: bool,
}

/// Capabilities for which the earlier side has no verdict, so that any change is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct NotCompared {
    cell: CellId,
    capabilities: Vec<Capability>,
    profiles: Vec<ProfileName>,
    /// Why the whole cell was not judged; null if some of its tests were in error.
    why: Option<String>,
}

/// How a cause compares with the earlier side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum SignatureState {
    /// Seen only now; in a comparison with the record, not among the capability's recorded causes.
    New,
    /// Seen only now, for a capability that the record did not decide either way.
    NewVerdict,
    /// Seen only now, and its tests could not be judged before; in a comparison with the record, no capability rests on
    /// them.
    NotCompared,
    /// Seen before, and its tests have passed now.
    Fixed,
    /// Its tests failed and then passed.
    Flaky,
    /// Seen before, and its tests have neither failed with it nor passed now.
    Unseen,
    /// Seen before and now.
    Known,
}

/// A cause and how it compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SignatureTurn {
    state: SignatureState,
    signature: String,
    tests: Vec<TestId>,
    /// Cells with their profiles: `debian:13/x86_64/container go-3.32`.
    places: Vec<String>,
}

/// A package whose version differs; null if it is not installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PackageTurn {
    cell: CellId,
    name: PackageName,
    was: Option<PackageVersion>,
    is: Option<PackageVersion>,
}

impl Difference {
    /// Returns the differences between two runs, of everything that both know and were asked for.
    pub fn between(before: &Side, after: &Side) -> Difference {
        Difference::of(before, after, None)
    }

    /// Returns the differences between the record and a run named `name`: the same answer as the reports, by the same
    /// functions.
    pub fn beside_record(standings: &Standings<'_>, name: &str) -> Difference {
        Difference::of(&Side::of_record(standings), &Side::of_run(name, standings.matrix), Some(standings))
    }

    fn of(before: &Side, after: &Side, standings: Option<&Standings<'_>>) -> Difference {
        let only = |one: &Side, other: &Side| {
            let keys = one.known.keys().filter(|key| !other.known.contains_key(key));
            keys.map(|(cell, profile)| format!("{cell} {profile}")).collect()
        };
        let both = pairs(before, after, standings);
        let mut difference = Difference {
            schema: SCHEMA,
            before: before.name.clone(),
            after: after.name.clone(),
            only_before: only(before, after),
            only_after: only(after, before),
            verdicts: standings.map_or_else(|| verdicts(&both), |standings| record::verdicts(standings, after)),
            // Results that the record did not decide are reported with their current state.
            not_compared: if standings.is_none() { not_compared(&both) } else { Vec::new() },
            signatures: signatures(&both),
            packages: package_turns(before, after),
            not_judged: standings.map_or_else(|| after.problems.clone(), Standings::not_judged),
            known_issues: standings.map(record::known_issues).unwrap_or_default(),
            effect: Effect::None,
            is_of_nothing: both.is_empty(),
        };
        difference.effect = standings.map_or_else(|| difference.effect_of_runs(), Standings::effect);
        difference
    }

    /// Returns the effect of a comparison of two runs: worse if a verdict is worse or a cause is new, unjudged if that
    /// is unknown.
    fn effect_of_runs(&self) -> Effect {
        let has = |state: SignatureState| self.signatures.iter().any(|turn| turn.state == state);
        if self.verdicts.iter().any(|turn| turn.worse) || has(SignatureState::New) {
            return Effect::Worse;
        }
        let is_lost = !self.only_before.is_empty() || !self.not_judged.is_empty();
        let is_open = self.verdicts.iter().any(|turn| turn.unjudged) || has(SignatureState::NotCompared);
        if is_lost || is_open { Effect::Unjudged } else { Effect::None }
    }

    /// Returns the effect on the exit code.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Checks whether the sides have no cell and profile in common.
    pub fn is_of_nothing(&self) -> bool {
        self.is_of_nothing
    }
}

/// A cell under a profile that both sides know.
struct Pair<'s> {
    cell: &'s CellId,
    profile: &'s ProfileName,
    before: &'s Known,
    now: &'s Known,
    /// The comparison with the record, if the record is the earlier side.
    standing: Option<&'s ProfileStanding<'s>>,
}

impl Pair<'_> {
    /// Returns how a failure of the later side compares; `None` if the earlier side was not asked for its tests.
    fn state(&self, signature: &str, tests: &BTreeSet<TestId>) -> Option<SignatureState> {
        if let Some(standing) = self.standing {
            return Some(record::state(standing, signature, tests));
        }
        if self.before.knows(self.now, signature) {
            return Some(SignatureState::Known);
        }
        let mut requested = tests.iter().filter(|test| !self.before.left_out(test)).peekable();
        requested.peek()?;
        let is_open = requested.all(|test| self.before.could_not_judge(test));
        Some(if is_open { SignatureState::NotCompared } else { SignatureState::New })
    }
}

fn pairs<'s>(before: &'s Side, after: &'s Side, standings: Option<&'s Standings<'s>>) -> Vec<Pair<'s>> {
    let both = after.known.iter().filter_map(|(key, now)| Some((key, before.known.get(key)?, now)));
    let pair = |((cell, profile), before, now): (&'s (CellId, ProfileName), &'s Known, &'s Known)| {
        let standing = standings.and_then(|standings| record::standing(standings, cell, profile));
        Pair { cell, profile, before, now, standing }
    };
    both.map(pair).collect()
}

/// A verdict that differs, without the profiles that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Turn<'s> {
    cell: &'s CellId,
    capability: Capability,
    was: Option<Verdict>,
    is: Option<Verdict>,
    change: Change,
    effect: Effect,
}

impl Turn<'_> {
    fn of(self, profiles: Vec<ProfileName>) -> VerdictTurn {
        let Turn { cell, capability, was, is, change, effect } = self;
        let (worse, unjudged) = (effect == Effect::Worse, effect == Effect::Unjudged);
        VerdictTurn { cell: cell.clone(), capability, profiles, was, is, change, worse, unjudged }
    }
}

/// Returns the verdicts that differ between two runs, by the same rule as against the record ([`compare`]).
fn verdicts(both: &[Pair<'_>]) -> Vec<VerdictTurn> {
    let mut all: BTreeMap<Turn<'_>, Vec<ProfileName>> = BTreeMap::new();
    for &Pair { cell, profile, before, now, .. } in both {
        let is_requested = |c: &&Capability| !before.not_requested.contains(*c) && !now.not_requested.contains(*c);
        let all_of = before.judged.keys().chain(now.judged.keys()).filter(is_requested);
        for capability in all_of.collect::<BTreeSet<_>>() {
            let (then, found) = (before.judged.get(capability), now.judged.get(capability));
            let (was, is) = (then.map(|one| one.verdict), found.map(|one| one.verdict));
            if was == is || was == Some(Verdict::Inconclusive) {
                continue;
            }
            // Both are judged by the same tests.
            let compared = found.map(|found| compare(was, true, found, false));
            let (change, effect) = compared.unwrap_or((Change::Same, Effect::None));
            let turn = Turn { cell, capability: *capability, was, is, change, effect };
            all.entry(turn).or_default().push(profile.clone());
        }
    }
    all.into_iter().map(|(turn, profiles)| turn.of(profiles)).collect()
}

/// Returns what the earlier side could not judge, each list of capabilities once for all profiles that it applies to.
fn not_compared(both: &[Pair<'_>]) -> Vec<NotCompared> {
    type Place<'s> = (&'s CellId, Vec<Capability>, Option<&'s str>);
    let mut all: BTreeMap<Place<'_>, Vec<ProfileName>> = BTreeMap::new();
    for &Pair { cell, profile, before, now, .. } in both {
        let is_open = |(capability, judged): &(&Capability, &Judgement)| {
            judged.verdict == Verdict::Inconclusive && !now.not_requested.contains(*capability)
        };
        let open: Vec<Capability> = before.judged.iter().filter(is_open).map(|(capability, _)| *capability).collect();
        if !open.is_empty() {
            all.entry((cell, open, before.lost.as_deref())).or_default().push(profile.clone());
        }
    }
    let entry = |((cell, capabilities, why), profiles): (Place<'_>, Vec<ProfileName>)| NotCompared {
        cell: cell.clone(),
        capabilities,
        profiles,
        why: why.map(str::to_owned),
    };
    all.into_iter().map(entry).collect()
}

fn signatures(both: &[Pair<'_>]) -> Vec<SignatureTurn> {
    type Places = (BTreeSet<TestId>, BTreeSet<String>);
    let mut all: BTreeMap<(SignatureState, &str), Places> = BTreeMap::new();
    for pair in both {
        let &Pair { cell, profile, before, now, .. } = pair;
        let mut add = |state, signature, tests: &BTreeSet<TestId>| {
            let (known, places) = all.entry((state, signature)).or_default();
            known.extend(tests.iter().cloned());
            places.insert(format!("{cell} {profile}"));
        };
        for (signature, tests) in &now.failures {
            if let Some(state) = pair.state(signature, tests) {
                add(state, signature.as_str(), tests);
            }
        }
        for (signature, tests) in &now.flaky {
            add(SignatureState::Flaky, signature.as_str(), tests);
        }
        for (signature, tests) in &before.failures {
            let is_left_out = tests.iter().all(|test| now.left_out(test));
            if !is_left_out && !now.shows(signature) {
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

/// Returns the packages that differ, of those that both sides know.
fn package_turns(before: &Side, after: &Side) -> Vec<PackageTurn> {
    let mut all = Vec::new();
    for (cell, now) in &after.packages {
        let Some(then) = before.packages.get(cell) else { continue };
        let differing = differing(then.versions(), now.versions());
        all.extend(differing.into_iter().filter(|package| then.both_know(now, package.name)).map(|package| {
            PackageTurn {
                cell: cell.clone(),
                name: package.name.clone(),
                was: package.then.cloned(),
                is: package.now.cloned(),
            }
        }));
    }
    all
}

#[cfg(test)]
mod tests;
