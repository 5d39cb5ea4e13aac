//! Combination of the records and runs, as if the runs had been written back.

use super::package::Packages;
use super::{SiteCell, SiteChange, SiteRelease, SiteRun, Website, by_id};
use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix, ProfileHead};
use crate::standing::{Change, ChangeRow, Recorded, ReleaseAnswer, Standings, recorded_answer};
use crate::views::record::{SHAPED, verified_entries, withheld_cell};
use crate::views::wording::Labels;
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::profile::{Profile, ProfileName};
use model::record::Record;
use model::verified::{VerifiedEntry, remove_outdated, remove_overridden, remove_repeated_inapplicable};
use model::words::count;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Area;
use suites::catalogue::Test;

/// What is verified, by distro.
type Entries = BTreeMap<DistroId, Vec<VerifiedEntry>>;

/// The records, successively extended by runs.
pub(super) struct History<'a> {
    records: &'a [&'a Record],
    /// The runs, the oldest first.
    runs: Vec<PastRun<'a>>,
    /// The entries after all runs.
    known: Entries,
}

/// A run and what it adds.
struct PastRun<'a> {
    matrix: &'a Matrix,
    /// The entries before it.
    before: Entries,
    /// Why the run, or a part of it, does not count.
    withheld: Vec<String>,
    /// The cells for which it has verdicts on the release's own components.
    decides: BTreeSet<CellId>,
}

impl<'a> History<'a> {
    /// Extends the records by runs, in the order of their ends.
    ///
    /// A run is compared with the runs before it, or if there are none, with the records. In the end the verdict with
    /// the latest day counts, be it a run's or the record's.
    pub(super) fn new(records: &'a [&'a Record], matrices: &'a [Matrix]) -> History<'a> {
        let own = |record: &&Record| {
            let of_distro = record.verified.iter().filter(|entry| !entry.shaped);
            (record.distro.clone(), of_distro.cloned().collect())
        };
        let mut known: Entries = records.iter().map(own).collect();
        let mut before = known.clone();
        let mut matrices: Vec<&Matrix> = matrices.iter().collect();
        matrices.sort_by_key(|matrix| (matrix.finished, matrix.run.clone()));
        let mut runs = Vec::new();
        for matrix in matrices {
            let distros: BTreeSet<&DistroId> = matrix.cells.iter().map(|cell| &cell.cell.distro).collect();
            let snapshot: Entries =
                distros.iter().filter_map(|distro| Some(((*distro).clone(), before.get(*distro)?.clone()))).collect();
            let recorded = Recorded::of_entries(&snapshot, records.iter().copied());
            let (entries, withheld) = verified_entries(&Standings::new(matrix, recorded, false));
            let mut withheld: Vec<String> = withheld
                .into_iter()
                .map(|held| match held.cell {
                    Some(cell) => format!("{cell}: {}", held.reason),
                    None => held.reason,
                })
                .collect();
            if matrix.shaped {
                withheld.insert(0, SHAPED.to_owned());
            }
            withheld.extend(matrix.cells.iter().filter_map(components_brought_along));
            let own = entries.iter().filter(|(_, entry)| !entry.shaped && entry.supplied_components().is_empty());
            let decides = own.map(|(distro, entry)| cell_of(distro, entry)).collect();
            let mut new: Entries = BTreeMap::new();
            for (distro, entry) in entries.into_iter().filter(|(_, entry)| !entry.shaped) {
                new.entry(distro).or_default().push(entry);
            }
            for (distro, new) in new {
                let (below, mut above) = (before.entry(distro.clone()).or_default(), new.clone());
                remove_repeated_inapplicable(below, &mut above);
                remove_overridden(below, &above);
                below.extend(above);
                take_over(known.entry(distro).or_default(), new);
            }
            runs.push(PastRun { matrix, before: snapshot, withheld, decides });
        }
        History { records, runs, known }
    }

    /// Compares each run with the entries before it.
    pub(super) fn standings(&'a self) -> Vec<Standings<'a>> {
        let compared = |run: &'a PastRun<'a>| {
            Standings::new(run.matrix, Recorded::of_entries(&run.before, self.records.iter().copied()), false)
        };
        self.runs.iter().map(compared).collect()
    }
}

/// Returns why a cell with brought components does not count.
fn components_brought_along(cell: &CellReport) -> Option<String> {
    let components = cell.supplied_components();
    (!components.is_empty()).then(|| {
        let (id, components) = (&cell.cell, components.join(", "));
        format!("{id}: replaced or added components: {components}; only Kata's own results count")
    })
}

/// Adds a run's results, except where a later measurement is known.
fn take_over(known: &mut Vec<VerifiedEntry>, mut new: Vec<VerifiedEntry>) {
    remove_outdated(known, &mut new);
    remove_repeated_inapplicable(known, &mut new);
    remove_overridden(known, &new);
    known.extend(new);
}

/// Makes the site of the records and the runs that extend them.
///
/// `profiles` are all known profiles; those with any result are shown.
pub(super) fn of_history<'a>(
    history: &'a History<'a>,
    standings: &'a [Standings<'a>],
    catalogue: &'a [Test],
    profiles: &[Profile],
) -> Website<'a> {
    let mut cells: BTreeMap<CellId, SiteCell<'a>> = BTreeMap::new();
    for (distro, entries) in &history.known {
        for entry in entries {
            let id = cell_of(distro, entry);
            cells
                .entry(id.clone())
                .or_insert_with(|| empty(id))
                .rows
                .entry(entry.profile.clone())
                .or_default()
                .add(entry);
        }
    }
    let mut runs: Vec<SiteRun<'a>> = history
        .runs
        .iter()
        .zip(standings)
        .map(|(run, standings)| SiteRun { standings, withheld: run.withheld.clone() })
        .collect();
    runs.reverse();
    let mut of_cells: BTreeMap<&CellId, Vec<OfRun<'a>>> = BTreeMap::new();
    for (place, (run, past)) in runs.iter().zip(history.runs.iter().rev()).enumerate() {
        for cell in run.standings.cells.iter().filter(|_| run.is_shown()) {
            let report = cell.report;
            let decides = past.decides.contains(&report.cell);
            of_cells.entry(&report.cell).or_default().push(OfRun { place, report, decides });
        }
    }
    for (id, all) in of_cells {
        cells.entry(id.clone()).or_insert_with(|| empty(id.clone())).take_tests(&all);
    }
    let changes = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.is_shown())
        .flat_map(|(run, of)| changes_that_count(of.standings).into_iter().map(move |row| SiteChange { row, run }));
    let changes = changes.collect();
    let cells = in_order(cells, history.records);
    let by_release = by_release(&history.known);
    let mut all = releases(&cells, |id| answers(&by_release, history.records, profiles, id));
    trends(&mut all, &cells, runs.iter().enumerate().filter(|(_, run)| run.is_shown()));
    let heads = heads(&cells, profiles);
    Website {
        is_run: false,
        tests: by_id(catalogue),
        head: head(&cells, all.len(), runs.len()),
        caveats: Vec::new(),
        catalogue,
        records: history.records.to_vec(),
        profiles: heads,
        unrun: unrun(&cells, history.records),
        changes,
        no_changes: match (runs.is_empty(), runs.iter().any(SiteRun::is_shown)) {
            (true, _) => "No run was given: this is what the records say.",
            (false, true) => "None: the runs show what was known before them.",
            (false, false) => "None: no run that was given counts.",
        }
        .to_owned(),
        exit_code: None,
        packages: Packages::new(history.records, standings, cells.iter().map(|cell| &cell.id)),
        labels: Labels::among(cells.iter().map(|cell| &cell.id)),
        releases: all,
        cells,
        runs,
    }
}

/// Returns the changes of a run that count: with a brought component, only Kata's own results; for a cell that is not
/// written back, only what could not be judged.
fn changes_that_count<'a>(standings: &Standings<'a>) -> Vec<ChangeRow<'a>> {
    let reports: BTreeMap<&CellId, &CellReport> =
        standings.cells.iter().map(|cell| (&cell.report.cell, cell.report)).collect();
    let mut rows = standings.changes();
    rows.retain_mut(|row| {
        let Some(report) = reports.get(row.cell) else { return false };
        if !report.supplied_components().is_empty() {
            row.capabilities.retain(|capability| capability.area() == Area::Kata);
        }
        let counts = row.change == Change::Unjudged || withheld_cell(report).is_none();
        counts && !row.capabilities.is_empty()
    });
    rows
}

fn empty<'a>(id: CellId) -> SiteCell<'a> {
    SiteCell { id, rows: BTreeMap::new(), report: None, run: None, others: Vec::new() }
}

/// Returns the cell that an entry is about.
fn cell_of(distro: &DistroId, entry: &VerifiedEntry) -> CellId {
    CellId { distro: distro.clone(), release: entry.release.clone(), arch: entry.arch, environment: entry.environment }
}

/// A run's results for a cell.
struct OfRun<'a> {
    /// The run's index in the site.
    place: usize,
    report: &'a CellReport,
    /// Whether the run has verdicts on the release's own components.
    decides: bool,
}

impl<'a> SiteCell<'a> {
    /// Takes the tests of the newest run with verdicts on the release's own components, or if there is none, of the
    /// newest run; `all` are the cell's runs, the newest first.
    fn take_tests(&mut self, all: &[OfRun<'a>]) {
        let Some(shown) = all.iter().find(|run| run.decides).or(all.first()) else { return };
        (self.report, self.run) = (Some(shown.report), Some(shown.place));
        // What an older run showed of the release's own components is outdated.
        let is_other = |run: &&OfRun<'_>| {
            run.place < shown.place || (run.place > shown.place && !run.report.supplied_components().is_empty())
        };
        self.others = all.iter().filter(is_other).map(|run| (run.place, run.report)).collect();
    }
}

/// Describes the site in one line.
fn head(cells: &[SiteCell<'_>], releases: usize, runs: usize) -> String {
    let days = || cells.iter().flat_map(|cell| cell.rows.values()).filter_map(super::SiteRow::days);
    let days = days().map(|(first, _)| first).min().zip(days().map(|(_, last)| last).max());
    let days = days.map(|(first, last)| match first == last {
        true => format!(", measured {last}"),
        false => format!(", measured {first} to {last}"),
    });
    let days = days.unwrap_or_default();
    format!("{}{days}; by the records and {}", count(releases, "release"), count(runs, "run"))
}

/// Sorts the cells in the order of the records: distro, release, architecture, environment.
fn in_order<'a>(cells: BTreeMap<CellId, SiteCell<'a>>, records: &[&Record]) -> Vec<SiteCell<'a>> {
    let mut places: BTreeMap<(&DistroId, &ReleaseVersion), usize> = BTreeMap::new();
    for record in records {
        for (place, release) in record.releases.iter().enumerate() {
            places.insert((&record.distro, &release.version), place);
        }
    }
    let mut cells: Vec<SiteCell<'a>> = cells.into_values().collect();
    let place = |id: &CellId| places.get(&(&id.distro, &id.release)).copied().unwrap_or(usize::MAX);
    cells.sort_by(|a, b| (&a.id.distro, place(&a.id), &a.id).cmp(&(&b.id.distro, place(&b.id), &b.id)));
    cells
}

/// Groups the cells by release, in their order.
pub(super) fn releases(
    cells: &[SiteCell<'_>],
    answers: impl Fn(&CellId) -> BTreeMap<ProfileName, ReleaseAnswer>,
) -> Vec<SiteRelease> {
    let mut places = BTreeMap::new();
    let mut all: Vec<SiteRelease> = Vec::new();
    for (at, cell) in cells.iter().enumerate() {
        let CellId { distro, release, arch, .. } = &cell.id;
        let place = *places.entry((distro, release, *arch)).or_insert_with(|| {
            all.push(SiteRelease { cells: Vec::new(), answers: answers(&cell.id), trend: BTreeMap::new() });
            all.len() - 1
        });
        if let Some(release) = all.get_mut(place) {
            release.cells.push(at);
        }
    }
    all
}

/// The entries of each release.
type ByRelease<'e> = BTreeMap<(&'e DistroId, &'e ReleaseVersion, Arch), Vec<&'e VerifiedEntry>>;

fn by_release(known: &Entries) -> ByRelease<'_> {
    let mut all = ByRelease::new();
    for (distro, entries) in known {
        for entry in entries {
            all.entry((distro, &entry.release, entry.arch)).or_default().push(entry);
        }
    }
    all
}

/// Returns the answers for a release, under each profile that has an entry.
fn answers(
    entries: &ByRelease<'_>,
    records: &[&Record],
    profiles: &[Profile],
    id: &CellId,
) -> BTreeMap<ProfileName, ReleaseAnswer> {
    let Some(entries) = entries.get(&(&id.distro, &id.release, id.arch)) else {
        return BTreeMap::new();
    };
    let manager = records.iter().find(|record| record.distro == id.distro).map(|record| record.package_manager);
    let known = profiles.iter().filter(|profile| entries.iter().any(|entry| entry.profile == profile.name));
    known.map(|profile| (profile.name.clone(), recorded_answer(entries, profile, manager))).collect()
}

/// Adds to each release the answers of each single run, from the release's own components.
fn trends<'r>(
    releases: &mut [SiteRelease],
    cells: &[SiteCell<'_>],
    runs: impl Iterator<Item = (usize, &'r SiteRun<'r>)>,
) {
    let id = |release: &SiteRelease| cells.get(*release.cells.first()?).map(|cell| cell.id.clone());
    let key = |id: &CellId| (id.distro.clone(), id.release.clone(), id.arch);
    let places: BTreeMap<_, usize> =
        releases.iter().enumerate().filter_map(|(place, release)| Some((key(&id(release)?), place))).collect();
    for (run, of) in runs {
        let matrix = of.standings.matrix;
        let alone = Standings::new(matrix, Recorded::default(), false);
        let with_candidates: BTreeSet<_> =
            matrix.cells.iter().filter(|c| !c.supplied_components().is_empty()).map(|c| key(&c.cell)).collect();
        for id in alone.releases().into_iter().filter(|id| !with_candidates.contains(&key(id))) {
            let Some(release) = places.get(&key(id)).and_then(|place| releases.get_mut(*place)) else { continue };
            for profile in &matrix.profiles {
                let answer = alone.answer(id, &profile.name);
                release.trend.entry(profile.name.clone()).or_default().push((run, answer));
            }
        }
    }
}

/// Returns the profiles with any result; those that upstream maintains come first.
fn heads(cells: &[SiteCell<'_>], profiles: &[Profile]) -> Vec<ProfileHead> {
    let known: BTreeSet<&str> = cells.iter().flat_map(|cell| cell.rows.keys()).map(ProfileName::as_str).collect();
    let known = profiles.iter().filter(|profile| known.contains(profile.name.as_str()));
    let head = |profile: &Profile| ProfileHead {
        name: profile.name.clone(),
        range: profile.range.clone(),
        maintained: !profile.ended(),
    };
    let mut heads: Vec<ProfileHead> = known.map(head).collect();
    heads.sort_by_key(|profile| !profile.maintained);
    heads
}

/// What the records list and no cell is of.
fn unrun(cells: &[SiteCell<'_>], records: &[&Record]) -> Vec<(DistroId, Vec<ReleaseVersion>)> {
    let run: BTreeSet<(&DistroId, &ReleaseVersion)> =
        cells.iter().map(|cell| (&cell.id.distro, &cell.id.release)).collect();
    let of = |record: &&Record| {
        let releases = record.releases.iter().map(|release| &release.version);
        let unrun: Vec<ReleaseVersion> =
            releases.filter(|release| !run.contains(&(&record.distro, *release))).cloned().collect();
        (!unrun.is_empty()).then(|| (record.distro.clone(), unrun))
    };
    records.iter().filter_map(of).collect()
}
