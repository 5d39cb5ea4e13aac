//! JSON documents of the site, below `api/v1`.
//!
//! `index.json` leads to all others; `schema.json` describes them, each under its name in [`Documents`].
//! Words are those of the records and of `results.json`. A document has a `schema`, which is raised when a field
//! changes its meaning or is removed; new fields may be added without that.

use super::address::{self, Page};
use super::badge::{self, Badge};
use super::{Put, SiteCell, SiteRelease, Website};
use crate::journal::CellId;
use crate::matrix::ProfileHead;
use crate::views::json::{AnswerView, ChangeView, answer, change};
use jiff::Timestamp;
use jiff::civil::Date;
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::verified::{Basis, Verdict};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use suites::capability::Capability;

/// The version of the documents' format.
const SCHEMA: u32 = 1;
/// The documents' directory.
const FOLDER: &str = "api/v1";

/// All kinds of documents, by name: there is a `release` for each release, and so on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Documents<'a> {
    index: IndexDocument<'a>,
    release: ReleaseDocument<'a>,
    cell: CellDocument<'a>,
    changes: ChangesDocument<'a>,
    badge: Badge,
}

/// The index of all documents; paths are relative to the document's directory.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct IndexDocument<'a> {
    schema: u32,
    runs: Vec<RunView<'a>>,
    profiles: Vec<ProfileView<'a>>,
    releases: Vec<ReleaseView<'a>>,
    changes: &'static str,
    /// What the records list and nobody ran, by distro.
    not_run: BTreeMap<&'a DistroId, &'a [ReleaseVersion]>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct RunView<'a> {
    run: &'a str,
    harness: &'a str,
    #[schemars(with = "Option<String>")]
    ended: Option<Timestamp>,
    cells: usize,
    /// Why the run, or a part of it, does not count.
    withheld: &'a [String],
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ProfileView<'a> {
    name: &'a str,
    range: &'a str,
    maintained: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ReleaseView<'a> {
    distro: &'a DistroId,
    release: &'a ReleaseVersion,
    arch: Arch,
    document: String,
    page: String,
    /// `yes`, `with`, `no` or `not-known`, by profile.
    answers: BTreeMap<&'a str, &'static str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ReleaseDocument<'a> {
    schema: u32,
    answers: Vec<AnswerView<'a>>,
    cells: Vec<CellView<'a>>,
    /// Badges for shields.io's endpoint, by profile.
    badges: BTreeMap<&'a str, String>,
    /// The answers of each single run by profile, the newest first.
    trend: BTreeMap<&'a str, Vec<TrendView<'a>>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct CellView<'a> {
    cell: &'a CellId,
    document: String,
    page: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct TrendView<'a> {
    run: &'a str,
    #[schemars(with = "Option<String>")]
    ended: Option<Timestamp>,
    answer: &'static str,
    supported: usize,
    needed: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct CellDocument<'a> {
    schema: u32,
    cell: &'a CellId,
    /// The run whose tests are on the cell's page; null if only the record is known.
    run: Option<&'a str>,
    /// The verdicts by profile and capability.
    verdicts: BTreeMap<&'a str, BTreeMap<Capability, VerdictView<'a>>>,
    /// The facts that the verdicts rest on, by profile.
    rest_on: BTreeMap<&'a str, Vec<BasicsView<'a>>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct VerdictView<'a> {
    verdict: Verdict,
    basis: Option<Basis>,
    #[schemars(with = "Option<String>")]
    measured: Option<Date>,
    /// Whether the set of tests behind the verdict differs from the current one.
    older_tests: bool,
    /// Whether a test failed before it passed, in a fresh guest.
    flaky: bool,
    causes: Vec<String>,
    workaround: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct BasicsView<'a> {
    #[schemars(with = "Option<String>")]
    measured: Option<Date>,
    harness: &'a str,
    test_set: &'a str,
    kata: Option<&'a str>,
    versions: &'a BTreeMap<String, String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ChangesDocument<'a> {
    schema: u32,
    /// The changes, the newest first.
    changes: Vec<FoundChange<'a>>,
}

/// A change, and the run that found it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct FoundChange<'a> {
    run: &'a str,
    #[schemars(with = "Option<String>")]
    ended: Option<Timestamp>,
    change: ChangeView<'a>,
}

/// Writes all documents.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
    put_json(put, "index.json", &index(site))?;
    put_json(put, "changes.json", &changes(site))?;
    for release in &site.releases {
        let Some(id) = site.id(release) else { continue };
        put_json(put, &of_release(id), &release_document(site, id, release))?;
        for profile in &site.profiles {
            let Some(answer) = release.answers.get(&profile.name) else { continue };
            let badge = badge::of(&site.labels.of_release(id), profile, answer);
            put_json(put, &of_badge(id, profile), &badge)?;
        }
    }
    for cell in &site.cells {
        put_json(put, &of_cell(&cell.id), &cell_document(site, cell))?;
    }
    put(&format!("{FOLDER}/schema.json"), &model::schema::of::<Documents<'static>>()?)
}

fn put_json(put: &mut Put<'_>, name: &str, document: &impl Serialize) -> io::Result<()> {
    put(&format!("{FOLDER}/{name}"), &(serde_json::to_string(document)? + "\n"))
}

fn of_release(id: &CellId) -> String {
    format!("release/{}.json", address::release(id))
}

fn of_cell(id: &CellId) -> String {
    format!("cell/{}.json", address::cell(id))
}

fn of_badge(id: &CellId, profile: &ProfileHead) -> String {
    format!("badge/{}/{}.json", address::release(id), address::name(&profile.name))
}

/// Returns the relative path from a document to a page; the document's path is relative to the documents' directory.
fn page(from: &str, page: Page<'_>) -> String {
    address::relative(&format!("{FOLDER}/{from}"), &page.path())
}

fn index<'s>(site: &'s Website<'_>) -> IndexDocument<'s> {
    let release = |release: &'s SiteRelease| {
        let id = site.id(release)?;
        Some(ReleaseView {
            distro: &id.distro,
            release: &id.release,
            arch: id.arch,
            document: of_release(id),
            page: page("index.json", Page::Release(id)),
            answers: release.answers.iter().map(|(profile, answer)| (profile.as_str(), answer.name())).collect(),
        })
    };
    IndexDocument {
        schema: SCHEMA,
        runs: site
            .runs
            .iter()
            .map(|run| RunView {
                run: &run.standings.matrix.run,
                harness: &run.standings.matrix.harness,
                ended: run.at(),
                cells: run.standings.matrix.cells.len(),
                withheld: &run.withheld,
            })
            .collect(),
        profiles: site
            .profiles
            .iter()
            .map(|p| ProfileView { name: &p.name, range: &p.range, maintained: p.maintained })
            .collect(),
        releases: site.releases.iter().filter_map(release).collect(),
        changes: "changes.json",
        not_run: site.unrun.iter().map(|(distro, releases)| (distro, releases.as_slice())).collect(),
    }
}

fn changes<'s>(site: &'s Website<'_>) -> ChangesDocument<'s> {
    let found = site.changes.iter().filter_map(|found| {
        let run = site.runs.get(found.run)?;
        Some(FoundChange {
            run: &run.standings.matrix.run,
            ended: run.at(),
            change: change(run.standings, found.row.clone()),
        })
    });
    ChangesDocument { schema: SCHEMA, changes: found.collect() }
}

fn release_document<'s>(site: &'s Website<'_>, id: &'s CellId, release: &'s SiteRelease) -> ReleaseDocument<'s> {
    let from = of_release(id);
    let cell = |place: &usize| {
        let id = &site.cells.get(*place)?.id;
        Some(CellView { cell: id, document: format!("../{}", of_cell(id)), page: page(&from, Page::Cell(id)) })
    };
    let trend = |(run, answer): &(usize, crate::standing::ReleaseAnswer)| {
        let run = site.runs.get(*run)?;
        Some(TrendView {
            run: &run.standings.matrix.run,
            ended: run.at(),
            answer: answer.name(),
            supported: answer.answer.supported,
            needed: answer.answer.needed,
        })
    };
    let badges = site.profiles.iter().filter(|profile| release.answers.contains_key(&profile.name));
    ReleaseDocument {
        schema: SCHEMA,
        answers: release.answers.iter().map(|(profile, one)| answer(id, profile, one.clone())).collect(),
        cells: release.cells.iter().filter_map(cell).collect(),
        badges: badges.map(|profile| (profile.name.as_str(), format!("../{}", of_badge(id, profile)))).collect(),
        trend: release
            .trend
            .iter()
            .map(|(profile, all)| (profile.as_str(), all.iter().filter_map(trend).collect()))
            .collect(),
    }
}

fn cell_document<'s>(site: &'s Website<'_>, cell: &'s SiteCell<'_>) -> CellDocument<'s> {
    let verdict = |known: &'s super::Known| VerdictView {
        verdict: known.verdict,
        basis: known.basis,
        measured: known.tested,
        older_tests: known.is_older,
        flaky: known.is_flaky,
        causes: known.why.iter().map(super::known::Why::words).collect(),
        workaround: known.workaround.as_deref(),
    };
    let basics = |basics: &'s super::Basics| BasicsView {
        measured: basics.tested,
        harness: &basics.harness,
        test_set: &basics.test_set,
        kata: basics.kata.as_deref(),
        versions: &basics.versions,
    };
    let rows = || cell.rows.iter();
    CellDocument {
        schema: SCHEMA,
        cell: &cell.id,
        run: cell.run.and_then(|run| Some(site.runs.get(run)?.standings.matrix.run.as_str())),
        verdicts: rows()
            .map(|(profile, row)| {
                (profile.as_str(), row.capabilities.iter().map(|(c, known)| (*c, verdict(known))).collect())
            })
            .collect(),
        rest_on: rows().map(|(profile, row)| (profile.as_str(), row.basics.iter().map(basics).collect())).collect(),
    }
}
