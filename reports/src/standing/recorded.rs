//! Earlier results for a run's cells: from the records, or from a base run.

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::day;
use model::distro::DistroId;
use model::known_issues::KnownIssue;
use model::package_manager::PackageManager;
use model::record::Record;
use model::verified::{EvidenceSummary, Verdict, VerifiedCapability, VerifiedEntry, decided, same_tests};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Component;

/// Earlier verified results, by distro.
#[derive(Debug, Clone, Default)]
pub struct Recorded<'a> {
    entries: BTreeMap<&'a DistroId, &'a [VerifiedEntry]>,
    issues: BTreeMap<&'a DistroId, (PackageManager, &'a [KnownIssue])>,
    /// The base run that it is of, if it is of one.
    base: Option<&'a Matrix>,
}

impl<'a> Recorded<'a> {
    /// Takes the results from the records.
    pub fn of(records: impl IntoIterator<Item = &'a Record>) -> Recorded<'a> {
        let mut all = Recorded::default();
        for record in records {
            all.entries.insert(&record.distro, &record.verified);
            all.issues.insert(&record.distro, (record.package_manager, &record.known_issues));
        }
        all
    }

    /// Takes the results from entries instead of the records, but the known issues from the records.
    pub fn of_entries(
        entries: &'a BTreeMap<DistroId, Vec<VerifiedEntry>>,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Recorded<'a> {
        let mut all = Recorded::of(records);
        all.entries = entries.iter().map(|(distro, entries)| (distro, entries.as_slice())).collect();
        all
    }

    /// What is known of one distro.
    pub fn of_distro(distro: &'a DistroId, entries: &'a [VerifiedEntry]) -> Recorded<'a> {
        Recorded { entries: BTreeMap::from([(distro, entries)]), ..Recorded::default() }
    }

    /// Adds a distro's known issues, whose versions are in the package manager's order.
    #[must_use]
    pub fn knowing(mut self, distro: &'a DistroId, manager: PackageManager, issues: &'a [KnownIssue]) -> Recorded<'a> {
        self.issues.insert(distro, (manager, issues));
        self
    }

    /// Returns the known issues about packages that are installed in a cell.
    ///
    /// If a component was brought along, no known issue applies: they are about the distro's own components.
    pub(super) fn issues(&self, cell: &CellReport) -> Vec<&'a KnownIssue> {
        let Some((manager, issues)) = self.issues.get(&cell.cell.distro) else { return Vec::new() };
        if cell.facts.as_ref().is_none_or(|facts| !facts.candidates.is_empty()) {
            return Vec::new();
        }
        let is_installed = |issue: &&KnownIssue| {
            let version = cell.source_version(issue.package.as_str());
            version.is_some_and(|version| issue.versions.contains(*manager, version.as_str()))
        };
        issues.iter().filter(is_installed).collect()
    }

    /// What a base run showed, by distro.
    pub(super) fn of_base(matrix: &'a Matrix, entries: &'a BTreeMap<DistroId, Vec<VerifiedEntry>>) -> Recorded<'a> {
        let entries = entries.iter().map(|(distro, entries)| (distro, entries.as_slice()));
        Recorded { entries: entries.collect(), base: Some(matrix), ..Recorded::default() }
    }

    /// Checks whether the results are from a base run, and not from the records.
    pub fn is_of_a_base_run(&self) -> bool {
        self.base.is_some()
    }

    /// Returns the base run; `None` if the results are from the records.
    pub fn base(&self) -> Option<&'a Matrix> {
        self.base
    }

    /// Returns the recorded entries for a run's cell under a profile: one for each run that judged a part of it.
    ///
    /// Entries that rest on a caller's keys, image or records (*shaped*) apply only to a run that is shaped, too.
    /// Entries with components that were brought along apply only to runs with the same ones, and come first there: if
    /// two entries have a capability, the first one counts.
    pub fn entries(&self, matrix: &Matrix, cell: &CellReport, profile: &str) -> Vec<&'a VerifiedEntry> {
        let mut all = self.in_any_environment(matrix, cell, profile);
        all.retain(|entry| entry.environment == cell.cell.environment);
        all
    }

    /// Returns the entry of another environment by which a capability worked before a run's cell, with its result;
    /// `None` if the entries do not say so together ([`decided`]).
    ///
    /// The packages do not matter, as in the comparison with the cell's own environment: they may be the reason why it
    /// works no more.
    pub(super) fn supported_elsewhere(
        &self,
        matrix: &Matrix,
        cell: &CellReport,
        profile: &str,
        capability: Capability,
    ) -> Option<(&'a VerifiedEntry, &'a VerifiedCapability)> {
        let today = cell.finished.map(day)?;
        let entries = self.in_any_environment(matrix, cell, profile).into_iter();
        let entries = entries.filter(|entry| entry.environment != cell.cell.environment && entry.tested <= today);
        let known: Vec<(&'a VerifiedEntry, &'a VerifiedCapability)> =
            entries.filter_map(|entry| Some((entry, entry.capabilities.get(&capability)?))).collect();
        let summary = |(entry, known): &(&VerifiedEntry, &VerifiedCapability)| EvidenceSummary {
            environment: entry.environment,
            verdict: known.verdict,
            is_newest: true,
            is_by_older_tests: !same_tests(&entry.test_set, &matrix.test_set, capability),
            day: Some(entry.tested),
            is_of_the_run: false,
        };
        decided(&known, summary, true).filter(|(_, known)| known.verdict == Verdict::Supported).copied()
    }

    /// Returns the entries for a cell's release under a profile that are as shaped as the run, without components that
    /// were brought along, or with the same ones, which come first.
    fn in_any_environment(&self, matrix: &Matrix, cell: &CellReport, profile: &str) -> Vec<&'a VerifiedEntry> {
        let candidates: BTreeSet<Component> =
            cell.facts.iter().flat_map(|facts| facts.candidates.keys().copied()).collect();
        let mut all = self.of_release(&cell.cell);
        all.retain(|entry| {
            let is_as_shaped = self.base.is_some() || entry.shaped == matrix.shaped;
            let with = entry.supplied_components();
            entry.profile == profile && is_as_shaped && (with.is_empty() || with == candidates)
        });
        all.sort_by_key(|entry| entry.supplied_components().is_empty());
        all
    }

    /// Returns the entries for a cell's release in any environment, under all profiles.
    pub fn of_release(&self, cell: &CellId) -> Vec<&'a VerifiedEntry> {
        let all: &'a [VerifiedEntry] = self.entries.get(&cell.distro).copied().unwrap_or_default();
        all.iter().filter(|entry| entry.release == cell.release && entry.arch == cell.arch).collect()
    }

    /// Who knows the order of a distro's versions, if its record is known.
    pub(super) fn manager(&self, distro: &DistroId) -> Option<PackageManager> {
        self.issues.get(distro).map(|(manager, _)| *manager)
    }
}
