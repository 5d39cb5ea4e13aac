//! What the records say of a run's cells.

use crate::journal::CellId;
use model::record::Record;
use model::verified::VerifiedEntry;
use std::collections::BTreeMap;

/// What was verified before, by distro.
#[derive(Debug, Clone, Default)]
pub struct Recorded<'a> {
    entries: BTreeMap<&'a str, &'a [VerifiedEntry]>,
}

impl<'a> Recorded<'a> {
    /// What the records say.
    pub fn of(records: impl IntoIterator<Item = &'a Record>) -> Recorded<'a> {
        let entries = records.into_iter().map(|record| (record.distro.as_str(), record.verified.as_slice()));
        Recorded { entries: entries.collect() }
    }

    /// What is known of one distro.
    pub fn of_distro(distro: &'a str, entries: &'a [VerifiedEntry]) -> Recorded<'a> {
        Recorded { entries: BTreeMap::from([(distro, entries)]) }
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
