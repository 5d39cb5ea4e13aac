//! What has changed against the record, which every face shows first.

use super::known::reason;
use super::{CapabilityStanding, Change, Effect, ProfileStanding, Standings};
use crate::journal::CellId;
use crate::matrix::CellReport;
use crate::package_change::{PackageChange, differing};
use crate::verdict::{Cause, ReasonSource};
use jiff::civil::Date;
use model::known_issues::KnownIssue;
use model::verified::Verdict;
use std::collections::BTreeMap;
use suites::capability::Capability;

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

    /// `qemu-system-x86 1:10.0 → 1:10.1`, or that none has changed; nothing where nobody knows.
    pub fn packages(&self) -> String {
        let Some(packages) = self.packages.as_ref().filter(|_| self.was.is_some()) else { return String::new() };
        if packages.is_empty() {
            return "the same packages".to_owned();
        }
        packages.iter().map(|p| format!("{} {}", p.name, p.turn())).collect::<Vec<_>>().join(", ")
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

/// Same cell, change, effect, verdicts, known issues and causes, by their signatures: one row.
type Key<'m> = (
    usize,
    Change,
    Effect,
    Option<(Verdict, Date)>,
    Verdict,
    Vec<&'m str>,
    Vec<String>,
    Option<Vec<PackageChange<'m>>>,
);

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
                    let (was, packages) = (one.was(), one.packages(cell.report));
                    let excused = standing.excused(one);
                    let causes = reasons(one, |cause| cause.signature.as_str());
                    let issues = excused.keys().copied().collect();
                    let key = (place, one.change, one.effect, was, one.verdict(), issues, causes, packages);
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
        for ((place, change, effect, was, is, issues, _, packages), (why, capabilities)) in rows {
            let Some(cell) = self.cells.get(place).map(|cell| &cell.report.cell) else { continue };
            for (profiles, capabilities) in by_profiles(capabilities) {
                let (why, issues, packages) = (why.clone(), issues.clone(), packages.clone());
                all.push(ChangeRow { cell, change, effect, was, is, why, issues, packages, capabilities, profiles });
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
fn reasons(one: &CapabilityStanding<'_>, seen: impl Fn(&Cause) -> &str) -> Vec<String> {
    let causes = one.telling_causes().into_iter().map(|c| format!("{}: {} ({})", c.component, seen(c), c.test));
    let reasons = one.judgement.reasons.iter().map(|reason| match reason.source {
        // It holds for all tests of the cell.
        ReasonSource::Cell => reason.why.clone(),
        ReasonSource::Test | ReasonSource::Catalogue => reason.to_string(),
    });
    causes.chain(reasons).collect()
}
