//! What was known of a run's cells before: what the records say, or what a base run showed.

use crate::journal::CellId;
use crate::matrix::Matrix;
use model::record::Record;
use model::verified::VerifiedEntry;
use std::collections::BTreeMap;

/// What was verified before, by distro.
#[derive(Debug, Clone, Default)]
pub struct Recorded<'a> {
    entries: BTreeMap<&'a str, &'a [VerifiedEntry]>,
    /// The base run that it is of, if it is of one.
    base: Option<&'a Matrix>,
}

impl<'a> Recorded<'a> {
    /// What the records say.
    pub fn of(records: impl IntoIterator<Item = &'a Record>) -> Recorded<'a> {
        let entries = records.into_iter().map(|record| (record.distro.as_str(), record.verified.as_slice()));
        Recorded { entries: entries.collect(), base: None }
    }

    /// What is known of one distro.
    pub fn of_distro(distro: &'a str, entries: &'a [VerifiedEntry]) -> Recorded<'a> {
        Recorded { entries: BTreeMap::from([(distro, entries)]), base: None }
    }

    /// What a base run showed, by distro.
    pub(super) fn of_base(matrix: &'a Matrix, entries: &'a BTreeMap<String, Vec<VerifiedEntry>>) -> Recorded<'a> {
        let entries = entries.iter().map(|(distro, entries)| (distro.as_str(), entries.as_slice()));
        Recorded { entries: entries.collect(), base: Some(matrix) }
    }

    /// Whether it is what a base run showed, and not what the records say.
    pub fn is_of_a_base_run(&self) -> bool {
        self.base.is_some()
    }

    /// The base run that it is of; `None` where the records are compared with.
    pub fn base(&self) -> Option<&'a Matrix> {
        self.base
    }

    /// What is known of a cell under a profile: each run that judged a part of it has an entry.
    pub fn entries(&self, cell: &CellId, profile: &str) -> Vec<&'a VerifiedEntry> {
        let mut all = self.of_release(cell, profile);
        all.retain(|entry| entry.environment == cell.environment);
        all
    }

    /// What is known of a cell's release under a profile in any environment.
    pub fn of_release(&self, cell: &CellId, profile: &str) -> Vec<&'a VerifiedEntry> {
        let all: &'a [VerifiedEntry] = self.entries.get(cell.distro.as_str()).copied().unwrap_or_default();
        let same = |e: &&VerifiedEntry| e.release == cell.release && e.arch == cell.arch && e.profile == profile;
        all.iter().filter(same).collect()
    }
}
