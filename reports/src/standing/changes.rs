//! Changes against the record, which every output shows first.

use super::known::reason;
use super::{CapabilityStanding, Change, Effect, ProfileStanding, Standings};
use crate::journal::CellId;
use crate::matrix::CellReport;
use crate::package_change::{VersionChange, differing};
use crate::verdict::{Cause, NEVER_RAN, Reason, ReasonSource};
use jiff::civil::Date;
use model::known_issues::KnownIssue;
use model::verified::Verdict;
use std::collections::BTreeMap;
use suites::capability::{Area, Capability};
use suites::outcome::Component;

/// A change in a cell, once for all capabilities and profiles that it applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow<'m> {
    /// The cell.
    pub cell: &'m CellId,
    /// The kind of change.
    pub change: Change,
    /// The effect on the exit code.
    pub effect: Effect,
    /// The recorded verdict and its day.
    pub was: Option<(Verdict, Date)>,
    /// The run's verdict.
    pub is: Verdict,
    /// The reasons: the blamed component, the observation and the test, or why it could not be judged.
    pub why: Vec<String>,
    /// The ids of the known issues that make it expected although it is not recorded.
    pub issues: Vec<&'m str>,
    /// The packages whose versions differ from the recorded ones; `None` if either versions are unknown.
    pub packages: Option<Vec<VersionChange<'m>>>,
    /// Other differences from the recorded setup, in words: the environment, Kata's version, and components that were
    /// brought along.
    pub besides: Vec<String>,
    /// The capabilities.
    pub capabilities: Vec<Capability>,
    /// The profiles.
    pub profiles: Vec<&'m str>,
}

impl ChangeRow<'_> {
    /// Formats the row: `new failure: vmm.tdx was offered (2026-11-21), is unsupported`.
    pub fn words(&self) -> String {
        let names: Vec<&str> = self.capabilities.iter().map(|c| c.name()).collect();
        format!("{}: {} {}", self.title(), names.join(", "), self.turn())
    }

    /// Returns the title of the row: `new failure`, `known issue virtiofsd-flags`.
    pub fn title(&self) -> String {
        let title = title(self.effect, self.change, !self.issues.is_empty());
        if title == EXCUSED { format!("{title} {}", self.issues.join(", ")) } else { title.to_owned() }
    }

    /// Formats both verdicts: `was offered (2026-11-21), is unsupported`.
    pub fn turn(&self) -> String {
        turn(self.was, self.is)
    }

    /// Checks whether a person has to look at the row: something is worse, or newly known to be unsupported and needed
    /// by Kata.
    pub fn needs_a_person(&self) -> bool {
        let is_needed = || self.capabilities.iter().any(|capability| capability.is_needed());
        self.effect == Effect::Worse || (self.change == Change::NewVerdict && is_needed())
    }

    /// Formats the package changes: `kata 3.32.0 → 3.33.0, qemu-system-x86 1:10.0 → 1:10.1`, or that no package has
    /// changed; empty if unknown.
    pub fn packages(&self) -> String {
        let mut words = self.besides.clone();
        if let Some(packages) = self.packages.as_ref().filter(|_| self.was.is_some()) {
            match (packages.is_empty(), words.is_empty()) {
                (true, true) => words.push("the same packages".to_owned()),
                (true, false) => words.push("else the same packages".to_owned()),
                (false, _) => words.extend(packages.iter().map(|p| format!("{} {}", p.name, p.turn()))),
            }
        }
        words.join(", ")
    }
}

impl<'m> CapabilityStanding<'m> {
    /// Returns the title of the change: `new failure`.
    pub fn title(&self) -> &'static str {
        title(self.effect, self.change, self.is_excused())
    }

    /// Formats both verdicts: `was offered (2026-11-21), is unsupported`.
    pub fn turn(&self) -> String {
        turn(self.was(), self.verdict())
    }

    /// Returns the recorded verdict and its day.
    fn was(&self) -> Option<(Verdict, Date)> {
        self.recorded.zip(self.entry).map(|(verdict, entry)| (verdict, entry.tested))
    }

    /// Returns the packages of the cell whose versions differ from the record's; `None` if either versions are unknown.
    pub fn packages(&self, cell: &'m CellReport) -> Option<Vec<VersionChange<'m>>> {
        let then = self.entry.map(|entry| &entry.versions).filter(|versions| !versions.is_empty())?;
        let now = cell.facts.as_ref().map(|facts| &facts.versions).filter(|versions| !versions.is_empty())?;
        Some(differing(then, now))
    }

    /// Describes other differences from the recorded setup: the environment, for Kata's own results Kata's version, and
    /// components that were brought along.
    fn besides(&self, capability: Capability, cell: &CellReport, profile: &str) -> Vec<String> {
        let of_record = self.entry.and_then(|entry| entry.kata.as_ref());
        let mut words = Vec::new();
        let elsewhere = self.entry.map(|entry| entry.environment).filter(|other| *other != cell.cell.environment);
        words.extend(elsewhere.map(|other| format!("recorded in {other}")));
        let versions = of_record.map(|kata| kata.version).zip(cell.kata(profile).and_then(|kata| kata.version));
        if let Some((then, now)) = versions.filter(|(then, now)| capability.area() == Area::Kata && then != now) {
            words.push(format!("kata {then} → {now}"));
        }
        let then: Vec<String> = of_record.map(|kata| in_words(&kata.brought)).unwrap_or_default();
        let now = cell.supplied_components();
        words.extend(now.iter().filter(|one| !then.contains(one)).map(|one| format!("{one} brought along")));
        words.extend(then.iter().filter(|one| !now.contains(one)).map(|one| format!("{one} no longer brought along")));
        words
    }
}

/// Formats components that were brought along ([`CellReport::supplied_components`]): `virtiofsd mine`.
fn in_words(components: &BTreeMap<Component, String>) -> Vec<String> {
    components.iter().map(|(component, what)| format!("{component} {what}")).collect()
}

/// The title of a result that a known issue makes expected, but the record does not have.
const EXCUSED: &str = "known issue";

/// Returns the title of a change. A result that is as recorded or better affects the exit code only because of
/// `--strict`. A result that nobody has seen before keeps its own title.
fn title(effect: Effect, change: Change, is_excused: bool) -> &'static str {
    match (effect, change) {
        (Effect::Worse, Change::Known | Change::Same | Change::Fixed) => "lacking",
        (_, Change::Known) if is_excused => EXCUSED,
        (_, change) => change.name(),
    }
}

fn turn(was: Option<(Verdict, Date)>, is: Verdict) -> String {
    match was {
        Some((verdict, day)) => format!("was {verdict} ({day}), is {is}"),
        None => format!("had no record, is {is}"),
    }
}

/// The key of a row: same cell, change, effect, verdicts, known issues, signatures of causes, and other differences.
type Key<'m> = (usize, Change, Effect, Option<(Verdict, Date)>, Verdict, Vec<&'m str>, Vec<String>, Differing<'m>);

/// Packages that differ from the record's, and other differences.
type Differing<'m> = (Option<Vec<VersionChange<'m>>>, Vec<String>);

/// The reasons for a row in words, and by capability the profiles that the row applies to.
type Known<'m> = (Vec<String>, BTreeMap<Capability, Vec<&'m str>>);

impl<'m> Standings<'m> {
    /// Returns the changes against the record and all else that affects the exit code; worse results and new failures
    /// of needed capabilities come first.
    pub fn changes(&self) -> Vec<ChangeRow<'m>> {
        let mut rows: BTreeMap<Key<'m>, Known<'m>> = BTreeMap::new();
        for (place, cell) in self.cells.iter().enumerate() {
            for (profile, standing) in &cell.profiles {
                for (capability, one) in &standing.capabilities {
                    if !one.is_listed() {
                        continue;
                    }
                    let was = one.was();
                    let excused = standing.excused(one);
                    let causes = reasons(one, |cause| cause.signature.as_str());
                    let issues = excused.keys().copied().collect();
                    let differing = (one.packages(cell.report), one.besides(*capability, cell.report, profile));
                    let key = (place, one.change, one.effect, was, one.verdict(), issues, causes, differing);
                    // The words for one cause may differ by profile: the first ones stand for all.
                    let words = || {
                        let mut words = reasons(one, |cause| cause.message.as_str());
                        words.extend(excused.values().map(|issue| reason(issue)));
                        words
                    };
                    let (_, row) = rows.entry(key).or_insert_with(|| (words(), BTreeMap::new()));
                    row.entry(*capability).or_default().push(profile.as_str());
                }
            }
        }
        let mut all: Vec<ChangeRow<'m>> = Vec::new();
        for ((place, change, effect, was, is, issues, _, (packages, besides)), (why, capabilities)) in rows {
            let Some(cell) = self.cells.get(place).map(|cell| &cell.report.cell) else { continue };
            for (profiles, capabilities) in by_profiles(capabilities) {
                let (why, issues, packages, besides) = (why.clone(), issues.clone(), packages.clone(), besides.clone());
                all.push(ChangeRow {
                    cell,
                    change,
                    effect,
                    was,
                    is,
                    why,
                    issues,
                    packages,
                    besides,
                    capabilities,
                    profiles,
                });
            }
        }
        // The sort is stable: rows with the same effect keep the order of the matrix.
        all.sort_by_key(|row| std::cmp::Reverse((row.needs_a_person(), row.effect)));
        all
    }
}

impl<'m> ProfileStanding<'m> {
    /// Returns the known issues, by id, that make unrecorded failures of a capability expected.
    fn excused(&self, one: &CapabilityStanding<'m>) -> BTreeMap<&'m str, &'m KnownIssue> {
        let causes: &[Cause] = if one.is_excused() { &one.judgement.causes } else { &[] };
        let issues = causes.iter().filter_map(|cause| self.known.get(cause.test.as_str()).copied());
        issues.map(|issue| (issue.id.as_str(), issue)).collect()
    }
}

/// Groups the capabilities that apply to the same profiles.
pub(crate) fn by_profiles(capabilities: BTreeMap<Capability, Vec<&str>>) -> BTreeMap<Vec<&str>, Vec<Capability>> {
    let mut all: BTreeMap<Vec<&str>, Vec<Capability>> = BTreeMap::new();
    for (capability, profiles) in capabilities {
        all.entry(profiles).or_default().push(capability);
    }
    all
}

/// Returns the reasons for a capability's standing; `observed` returns the observation of a cause.
///
/// If there is a cause, tests that never ran are no reason: their number depends on the profile, and the same failure
/// would be listed once for each.
fn reasons(one: &CapabilityStanding<'_>, observed: impl Fn(&Cause) -> &str) -> Vec<String> {
    let causes = one.telling_causes();
    let counts = |reason: &&Reason| causes.is_empty() || reason.why != NEVER_RAN;
    let reasons = one.judgement.reasons.iter().filter(counts).map(|reason| match reason.source {
        // It holds for all tests of the cell.
        ReasonSource::Cell => reason.why.clone(),
        ReasonSource::Test | ReasonSource::Catalogue => reason.to_string(),
    });
    let causes = causes.iter().map(|&c| format!("{}: {} ({})", c.component, observed(c), c.test));
    causes.chain(reasons).collect()
}
