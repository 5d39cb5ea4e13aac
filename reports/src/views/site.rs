//! HTML pages: a run's own `index.html`, and the site of the records and many runs.
//!
//! Both consist of the same pages, made by the same code: [`of_run`] shows a single run, in its directory, next to its
//! files; [`write`] shows the recorded results, as they would be if the given runs had been written back, with the
//! tests of the newest run of each cell that its verdicts rest on. Nothing is decided here: verdicts, answers and
//! changes come from [`crate::standing`], and a run contributes to a release what it may write back
//! ([`crate::views::record`]).
//!
//! The pages are plain HTML that needs no script, in one template ([`page`]), with one style sheet.
//! The template escapes everything, and names from a journal become file names in a single place ([`address`]).
//! No page has more than 1 MB: longer lists continue on further pages, and omissions are stated ([`page::MOST`]).

mod address;
mod answers;
mod api;
mod badge;
mod capability;
mod cell;
mod changes;
mod evidence;
mod feed;
mod filters;
mod folder;
mod gather;
mod index;
mod known;
mod matrix;
mod package;
mod page;
mod parts;
mod release;
mod results;
mod runs;
mod test;
mod turns;

pub use folder::{SiteError, WrittenSite, write};

pub(crate) use api::Documents;
pub(crate) use folder::{Folder, replace, temporary_sibling};

use crate::journal::CellId;
use crate::matrix::{CellReport, ProfileHead};
use crate::run::{RunEnding, day};
use crate::standing::{ChangeRow, ReleaseAnswer, Standings};
use crate::views::record::future_end_reason;
use crate::views::wording::{self, Labels};
use address::Page;
use jiff::Timestamp;
use jiff::civil::Date;
use known::Known;
use model::distro::{DistroId, ReleaseVersion};
use model::known_issues::KnownIssue;
use model::profile::ProfileName;
use model::record::Record;
use model::verified::Basis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use suites::capability::Capability;
use suites::catalogue::Test;

/// Callback that takes a file of the site, by its path below the site's directory.
pub(crate) type Put<'p> = dyn FnMut(&str, &str) -> io::Result<()> + 'p;

/// The directory of a run's pages, other than its index, below the run's own.
pub const PAGES: &str = "pages";

/// The data of the pages.
pub struct Website<'a> {
    /// Whether the site is about one run, in whose directory it lies.
    is_run: bool,
    /// The tests by id.
    tests: BTreeMap<&'a str, &'a Test>,
    /// The subject, in one line.
    head: String,
    /// Warnings that a reader needs before believing the results.
    caveats: Vec<String>,
    catalogue: &'a [Test],
    records: Vec<&'a Record>,
    /// The profiles that upstream maintains come first.
    profiles: Vec<ProfileHead>,
    cells: Vec<SiteCell<'a>>,
    releases: Vec<SiteRelease>,
    /// Releases in the records that nobody has run, by distro.
    unrun: Vec<(DistroId, Vec<ReleaseVersion>)>,
    /// The runs, the newest first.
    runs: Vec<SiteRun<'a>>,
    /// The changes, the newest first.
    changes: Vec<SiteChange<'a>>,
    /// The text where there are no changes.
    no_changes: String,
    /// The reason for the exit code; `None` if there are several runs, each with its own.
    exit_code: Option<String>,
    packages: package::Packages<'a>,
    labels: Labels,
}

/// A cell with its results.
struct SiteCell<'a> {
    id: CellId,
    /// The results by profile.
    rows: BTreeMap<ProfileName, SiteRow>,
    /// The results of the cell's newest run with verdicts on the release's own components; if there is none, of its
    /// newest run.
    report: Option<&'a CellReport>,
    /// The index of that run.
    run: Option<usize>,
    /// Other runs of the cell by index, the newest first: newer ones, and those with components that were brought
    /// along.
    others: Vec<(usize, &'a CellReport)>,
}

/// The results of a cell under one profile.
#[derive(Default)]
struct SiteRow {
    capabilities: BTreeMap<Capability, Known>,
    /// The facts that they rest on, the newest first.
    basics: Vec<Basics>,
}

/// Facts that verdicts rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basics {
    tested: Option<Date>,
    basis: Option<Basis>,
    harness: String,
    test_set: String,
    /// For Kata's own results: the Kata that was run, and the brought components.
    kata: Option<String>,
    versions: BTreeMap<String, String>,
}

/// A release on an architecture.
struct SiteRelease {
    /// Indices of its cells; at least one.
    cells: Vec<usize>,
    /// The answers by profile.
    answers: BTreeMap<ProfileName, ReleaseAnswer>,
    /// The answers of each single run, by profile: the run's index and the answer, the newest first.
    trend: BTreeMap<ProfileName, Vec<(usize, ReleaseAnswer)>>,
}

/// A run among others.
struct SiteRun<'a> {
    standings: &'a Standings<'a>,
    /// Why the run, or a part of it, does not count.
    withheld: Vec<String>,
}

/// A change, and the run that found it.
struct SiteChange<'a> {
    row: ChangeRow<'a>,
    run: usize,
}

impl<'a> Website<'a> {
    /// Returns the capabilities that are judged under the profile in any cell.
    fn columns(&self, profile: &str) -> Vec<Capability> {
        let is_said = |capability: &Capability| {
            let known = self.cells.iter().filter_map(|cell| cell.rows.get(profile)?.capabilities.get(capability));
            known.into_iter().any(|known| known.verdict != model::verified::Verdict::NotApplicable)
        };
        Capability::ALL.iter().copied().filter(is_said).collect()
    }

    /// Returns the cell that a release is named after.
    fn id(&self, release: &SiteRelease) -> Option<&CellId> {
        Some(&self.cells.get(*release.cells.first()?)?.id)
    }

    /// Returns the path of a page.
    fn path(&self, page: Page<'_>) -> String {
        match (self.is_run, page) {
            (true, Page::Index) | (false, _) => page.path(),
            (true, page) => format!("{PAGES}/{}", page.path()),
        }
    }

    /// Returns the test with an id, if the catalogue has it, so that it has a page.
    fn test(&self, id: &str) -> Option<&'a Test> {
        self.tests.get(id).copied()
    }

    /// Returns the known issues of all distros.
    fn issues(&self) -> impl Iterator<Item = (&'a Record, &'a KnownIssue)> {
        self.records.iter().flat_map(|record| record.known_issues.iter().map(move |issue| (*record, issue)))
    }
}

impl SiteRun<'_> {
    /// Checks whether the run is about the distros' own packages, and finished. Other runs are listed, but not shown.
    fn is_shown(&self) -> bool {
        let matrix = self.standings.matrix;
        let is_over = matrix.ending == RunEnding::Finished && future_end_reason(matrix.finished).is_none();
        !matrix.candidate && !matrix.shaped && is_over
    }

    /// Returns the time of the run's end, or else of its start.
    fn at(&self) -> Option<Timestamp> {
        let matrix = self.standings.matrix;
        matrix.finished.or(matrix.started)
    }

    /// Returns the day of the run's end, or else of its start.
    fn day(&self) -> Option<Date> {
        self.at().map(day)
    }
}

fn by_id(catalogue: &[Test]) -> BTreeMap<&str, &Test> {
    catalogue.iter().map(|test| (test.id.as_str(), test)).collect()
}

/// Makes the pages of a run, compared with the same record as the run.
pub(crate) fn of_run<'a>(standings: &'a Standings<'a>, records: &[&'a Record], catalogue: &'a [Test]) -> Website<'a> {
    let matrix = standings.matrix;
    let cells = standings.cells.iter().map(|cell| {
        let report = cell.report;
        let basics = report.facts.as_ref().map(|facts| Basics {
            tested: report.finished.map(day),
            basis: Some(facts.basis),
            harness: matrix.harness.clone(),
            test_set: matrix.test_set.clone(),
            kata: None,
            versions: facts.versions.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect(),
        });
        let row = |standing| SiteRow::of_run(standing, basics.clone(), report.finished.map(day));
        let rows = cell.profiles.iter().map(|(profile, standing)| ((*profile).clone(), row(standing))).collect();
        SiteCell { id: report.cell.clone(), rows, report: Some(report), run: Some(0), others: Vec::new() }
    });
    let instances = matrix.cells.iter().flat_map(|cell| &cell.instances);
    let mut site = Website {
        is_run: true,
        tests: {
            let ran: BTreeSet<&str> = instances.map(|instance| instance.test.as_str()).collect();
            by_id(catalogue).into_iter().filter(|(id, _)| ran.contains(id)).collect()
        },
        head: format!("{} · {} · test set {}", wording::head(matrix), wording::common(matrix), matrix.test_set),
        caveats: wording::caveats(standings),
        catalogue,
        records: records.to_vec(),
        profiles: matrix.profiles.clone(),
        cells: cells.collect(),
        releases: Vec::new(),
        unrun: Vec::new(),
        runs: vec![SiteRun { standings, withheld: Vec::new() }],
        changes: standings.changes().into_iter().map(|row| SiteChange { row, run: 0 }).collect(),
        no_changes: wording::no_changes(standings),
        exit_code: Some(wording::exit_code(standings)),
        packages: package::Packages::new(
            records,
            std::slice::from_ref(standings),
            matrix.cells.iter().map(|c| &c.cell),
        ),
        labels: Labels::new(matrix),
    };
    site.profiles.sort_by_key(|profile| !profile.maintained);
    site.releases = gather::releases(&site.cells, |id| {
        let answer = |profile: &ProfileHead| (profile.name.clone(), standings.answer(id, &profile.name));
        matrix.profiles.iter().map(answer).collect()
    });
    site
}

impl Website<'_> {
    /// Makes all pages.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn render(&self, put: &mut Put<'_>) -> io::Result<()> {
        put(&self.path(Page::Style), page::CSS)?;
        put(&self.path(Page::Script), page::JS)?;
        index::put(self, put)?;
        answers::put(self, put)?;
        for profile in &self.profiles {
            matrix::put(self, profile, put)?;
        }
        for release in &self.releases {
            release::put(self, release, put)?;
        }
        for cell in &self.cells {
            cell::put(self, cell, put)?;
        }
        capability::put(self, put)?;
        test::put(self, put)?;
        package::put(self, put)?;
        changes::put(self, put)?;
        if !self.is_run {
            runs::put(self, put)?;
            put(&self.path(Page::Feed), &feed::render(self))?;
            api::put(self, put)?;
        }
        Ok(())
    }
}

/// Returns all pages, by their paths.
#[cfg(test)]
pub(crate) fn pages(site: &Website<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let put = &mut |path: &str, text: &str| match all.insert(path.to_owned(), text.to_owned()) {
        None => Ok(()),
        Some(_) => Err(io::Error::other(format!("{path} is put twice"))),
    };
    site.render(put).unwrap_or_else(|e| panic!("{e}"));
    all
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
