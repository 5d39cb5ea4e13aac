//! What has changed against the record, which every face shows first.

use super::known::reason;
use super::{CapabilityStanding, Change, Effect, ProfileStanding, Standings};
use crate::journal::CellId;
use crate::matrix::CellReport;
use crate::package_change::{PackageChange, differing};
use crate::verdict::{Cause, NEVER_RAN, Reason, ReasonSource};
use jiff::civil::Date;
use model::known_issues::KnownIssue;
use model::verified::Verdict;
use std::collections::BTreeMap;
use suites::capability::{Area, Capability};
use suites::outcome::Component;

/// What has changed in a cell, once for all capabilities and profiles that it is true of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow<'m> {
    /// The cell.
    pub cell: &'m CellId,
    /// How it compares.
    pub change: Change,
    /// What it does to the exit code.
    pub effect: Effect,
    /// What the record said, and on which day.
    pub was: Option<(Verdict, Date)>,
    /// What the run says.
    pub is: Verdict,
    /// The reasons for it: whom it blames, what was seen and in which test, or why it could not be judged.
    pub why: Vec<String>,
    /// The known issues by which it is expected, where the record does not have it: their ids.
    pub issues: Vec<&'m str>,
    /// The packages whose versions differ from those that the record is of; `None` where no versions are known.
    pub packages: Option<Vec<PackageChange<'m>>>,
    /// Other differences from what the record is of, in words: Kata's version, and components that were brought along.
    pub besides: Vec<String>,
    /// The capabilities.
    pub capabilities: Vec<Capability>,
    /// The profiles.
    pub profiles: Vec<&'m str>,
}

impl ChangeRow<'_> {
    /// `new failure: vmm.tdx was offered (2026-11-21), is unsupported`.
    pub fn words(&self) -> String {
        let names: Vec<&str> = self.capabilities.iter().map(|c| c.name()).collect();
        format!("{}: {} {}", self.title(), names.join(", "), self.turn())
    }

    /// The word for it: `new failure`, `known issue virtiofsd-flags`.
    pub fn title(&self) -> String {
        let title = title(self.effect, self.change, !self.issues.is_empty());
        if title == EXCUSED { format!("{title} {}", self.issues.join(", ")) } else { title.to_owned() }
    }

    /// `was offered (2026-11-21), is unsupported`.
    pub fn turn(&self) -> String {
        turn(self.was, self.is)
    }

    /// Whether a person has to look at it: something is worse, or Kata needs it and nobody knew that it is not supported.
    pub fn needs_a_person(&self) -> bool {
        let is_needed = || self.capabilities.iter().any(|capability| capability.is_needed());
        self.effect == Effect::Worse || (self.change == Change::NewVerdict && is_needed())
    }

    /// `kata 3.32.0 → 3.33.0, qemu-system-x86 1:10.0 → 1:10.1`, or that no package has changed; nothing where nobody knows.
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
    /// The word for what it comes to: `new failure`.
    pub fn title(&self) -> &'static str {
        title(self.effect, self.change, self.is_excused())
    }

    /// `was offered (2026-11-21), is unsupported`.
    pub fn turn(&self) -> String {
        turn(self.was(), self.verdict())
    }

    /// What the record said, and on which day.
    fn was(&self) -> Option<(Verdict, Date)> {
        self.recorded.zip(self.entry).map(|(verdict, entry)| (verdict, entry.tested))
    }

    /// The packages of its cell whose versions differ from the record's; `None` where either's are not known.
    pub fn packages(&self, cell: &'m CellReport) -> Option<Vec<PackageChange<'m>>> {
        let then = self.entry.map(|entry| &entry.versions).filter(|versions| !versions.is_empty())?;
        let now = cell.facts.as_ref().map(|facts| &facts.versions).filter(|versions| !versions.is_empty())?;
        Some(differing(then, now))
    }

    /// What else differs from that which the record is of, in words: Kata, where a result is its own, and what was brought along.
    fn besides(&self, capability: Capability, cell: &CellReport, profile: &str) -> Vec<String> {
        let of_record = self.entry.and_then(|entry| entry.kata.as_ref());
        let mut words = Vec::new();
        let versions = of_record.map(|kata| kata.version).zip(cell.kata(profile).and_then(|kata| kata.version));
        if let Some((then, now)) = versions.filter(|(then, now)| capability.area() == Area::Kata && then != now) {
            words.push(format!("kata {then} → {now}"));
        }
        let then: Vec<String> = of_record.map(|kata| in_words(&kata.brought)).unwrap_or_default();
        let now = cell.brought();
        words.extend(now.iter().filter(|one| !then.contains(one)).map(|one| format!("{one} brought along")));
        words.extend(then.iter().filter(|one| !now.contains(one)).map(|one| format!("{one} no longer brought along")));
        words
    }
}

/// `virtiofsd mine`, as of a cell ([`CellReport::brought`]).
fn in_words(brought: &BTreeMap<Component, String>) -> Vec<String> {
    brought.iter().map(|(component, what)| format!("{component} {what}")).collect()
}

/// The word for what a known issue makes expected, and the record does not have.
const EXCUSED: &str = "known issue";

/// What is as recorded, or better, makes the exit code only because `--strict` objects to it. What nobody has seen before
/// is told as that.
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

/// Same cell, change, effect, verdicts, known issues and causes, by their signatures, and all else that differs: one row.
type Key<'m> = (usize, Change, Effect, Option<(Verdict, Date)>, Verdict, Vec<&'m str>, Vec<String>, Differing<'m>);

/// Packages that differ from the record's, and what else does.
type Differing<'m> = (Option<Vec<PackageChange<'m>>>, Vec<String>);

/// The reasons for a row in words, and by capability the profiles that it is true of.
type Known<'m> = (Vec<String>, BTreeMap<Capability, Vec<&'m str>>);

impl<'m> Standings<'m> {
    /// What has changed against the record or makes the exit code: what is worse, or new and needed, first.
    pub fn changes(&self) -> Vec<ChangeRow<'m>> {
        let mut rows: BTreeMap<Key<'m>, Known<'m>> = BTreeMap::new();
        for (place, cell) in self.cells.iter().enumerate() {
            for (profile, standing) in &cell.profiles {
                for (capability, one) in &standing.capabilities {
                    if !one.is_told() {
                        continue;
                    }
                    let was = one.was();
                    let excused = standing.excused(one);
                    let causes = reasons(one, |cause| cause.signature.as_str());
                    let issues = excused.keys().copied().collect();
                    let differing = (one.packages(cell.report), one.besides(*capability, cell.report, profile));
                    let key = (place, one.change, one.effect, was, one.verdict(), issues, causes, differing);
                    // Of one cause the words may differ by profile: the first ones stand for all.
                    let words = || {
                        let mut words = reasons(one, |cause| cause.message.as_str());
                        words.extend(excused.values().map(|issue| reason(issue)));
                        words
                    };
                    let (_, row) = rows.entry(key).or_insert_with(|| (words(), BTreeMap::new()));
                    row.entry(*capability).or_default().push(*profile);
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
        // Stable: within one effect the order of the matrix stays.
        all.sort_by_key(|row| std::cmp::Reverse((row.needs_a_person(), row.effect)));
        all
    }
}

impl<'m> ProfileStanding<'m> {
    /// The known issues by which a capability's failures are expected that the record does not have, by their ids.
    fn excused(&self, one: &CapabilityStanding<'m>) -> BTreeMap<&'m str, &'m KnownIssue> {
        let causes: &[Cause] = if one.is_excused() { &one.judgement.causes } else { &[] };
        let issues = causes.iter().filter_map(|cause| self.known.get(cause.test.as_str()).copied());
        issues.map(|issue| (issue.id.as_str(), issue)).collect()
    }
}

/// The capabilities that hold for the same profiles, together.
pub(crate) fn by_profiles(capabilities: BTreeMap<Capability, Vec<&str>>) -> BTreeMap<Vec<&str>, Vec<Capability>> {
    let mut all: BTreeMap<Vec<&str>, Vec<Capability>> = BTreeMap::new();
    for (capability, profiles) in capabilities {
        all.entry(profiles).or_default().push(capability);
    }
    all
}

/// The reasons for a capability's standing, with `seen` of each cause.
///
/// Beside a cause it is no reason that other tests never ran: how many did not depends on the profile, and the same failure
/// would be told once for each.
fn reasons(one: &CapabilityStanding<'_>, seen: impl Fn(&Cause) -> &str) -> Vec<String> {
    let causes = one.telling_causes();
    let counts = |reason: &&Reason| causes.is_empty() || reason.why != NEVER_RAN;
    let reasons = one.judgement.reasons.iter().filter(counts).map(|reason| match reason.source {
        // It holds for all tests of the cell.
        ReasonSource::Cell => reason.why.clone(),
        ReasonSource::Test | ReasonSource::Catalogue => reason.to_string(),
    });
    let causes = causes.iter().map(|&c| format!("{}: {} ({})", c.component, seen(c), c.test));
    causes.chain(reasons).collect()
}
