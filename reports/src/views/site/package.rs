//! A source package: which release has which version of it, and what it is blamed for.
//!
//! A binary package's source is read in the manifests of the runs' images; without one it is the name of the component
//! that the record has it for, and else the package's own.

use super::address::Page;
use super::page::{Here, scroll};
use super::{Put, Site, SiteCell, parts};
use crate::journal::CellId;
use crate::standing::Standings;
use crate::views::causes;
use maud::{Markup, html};
use model::arch::Arch;
use model::package::PackageName;
use model::record::Record;
use model::release::Release;
use model::share::Share;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use suites::capability::Capability;
use suites::outcome::Component;

/// Reasons of one cell that are shown; its page has all.
const REASONS: usize = 5;

/// What is known of packages.
pub(super) struct Packages<'a> {
    /// By distro and binary package.
    sources: BTreeMap<(&'a str, &'a str), &'a str>,
    /// The binary packages of a release's component.
    of_component: BTreeMap<(String, String, Arch, Component), Vec<String>>,
    /// The component of a distro's binary package.
    components: BTreeMap<(String, String), Component>,
}

impl<'a> Packages<'a> {
    /// What the runs' manifests, and the records of these cells' releases, say.
    pub(super) fn new<'c>(
        records: &[&Record],
        runs: &'a [Standings<'a>],
        cells: impl Iterator<Item = &'c CellId>,
    ) -> Packages<'a> {
        let mut all = Packages { sources: BTreeMap::new(), of_component: BTreeMap::new(), components: BTreeMap::new() };
        for cell in runs.iter().flat_map(|run| &run.matrix.cells) {
            let of_distro =
                cell.packages.iter().map(|p| ((cell.cell.distro.as_str(), p.name.as_str()), p.source.as_str()));
            all.sources.extend(of_distro);
        }
        let releases: BTreeSet<(&str, &str, Arch)> =
            cells.map(|cell| (cell.distro.as_str(), cell.release.as_str(), cell.arch)).collect();
        for (distro, version, arch) in releases {
            let record = records.iter().find(|record| record.distro == distro);
            let Some(release) = record.and_then(|record| record.release(version, arch).ok()) else { continue };
            for (component, packages) in components(&release) {
                let names: Vec<String> = packages.iter().map(ToString::to_string).collect();
                for name in &names {
                    // Old releases have virtiofsd among QEMU's packages: the first that names it has it.
                    all.components.entry((distro.to_owned(), name.clone())).or_insert(component);
                }
                all.of_component.insert((distro.to_owned(), version.to_owned(), arch, component), names);
            }
        }
        all
    }

    /// The source package of a distro's binary package.
    pub(super) fn source(&self, distro: &str, name: &str) -> String {
        let component = || Some(self.components.get(&(distro.to_owned(), name.to_owned()))?.name());
        self.sources.get(&(distro, name)).copied().or_else(component).unwrap_or(name).to_owned()
    }

    /// The source package of a component on a cell.
    fn of_component(&self, cell: &CellId, component: Component) -> Option<String> {
        let key = (cell.distro.clone(), cell.release.clone(), cell.arch, component);
        match self.of_component.get(&key).and_then(|names| names.first()) {
            Some(name) => Some(self.source(&cell.distro, name)),
            // No record says it; what is no part of a distro has no package.
            None => match component {
                Component::Qemu | Component::Virtiofsd | Component::Kernel | Component::Containerd => {
                    Some(component.name().to_owned())
                }
                Component::Packages | Component::Record | Component::Kata => None,
            },
        }
    }
}

/// The components of a release that a failure can blame, each with its packages.
fn components(release: &Release) -> Vec<(Component, &[PackageName])> {
    let qemu = release.qemu().map(|vmm| (Component::Qemu, vmm.packages.as_slice()));
    let daemon = release.filesystem(Share::VirtioFs).map(|fs| (Component::Virtiofsd, fs.packages.as_slice()));
    let kernel = release.kernel.as_ref().map(|kernel| (Component::Kernel, kernel.packages.as_slice()));
    let manager = release.container_manager.as_ref().map(|m| (Component::Containerd, m.packages.as_slice()));
    [qemu, daemon, kernel, manager].into_iter().flatten().collect()
}

/// Profiles and capabilities.
type Scope<'s> = (BTreeSet<&'s str>, BTreeSet<Capability>);

/// A source package on a cell.
#[derive(Default)]
struct OnCell<'s> {
    /// Binary packages with their versions.
    versions: BTreeSet<(&'s str, &'s str)>,
    /// What it is blamed for: what was seen, in which test, and the profiles and capabilities.
    blamed: BTreeMap<(&'s str, Option<&'s str>), Scope<'s>>,
}

/// Source package → cell, by its place.
type All<'s> = BTreeMap<String, BTreeMap<usize, OnCell<'s>>>;

/// Puts a page for each source package, and that of all.
pub(super) fn put(site: &Site<'_>, put: &mut Put<'_>) -> io::Result<()> {
    let all = all(site);
    for (source, cells) in &all {
        one(site, source, cells, put)?;
    }
    parts::put(
        site,
        put,
        Page::Packages,
        "Packages",
        |_| html! { p { "The source packages of what Kata needs of a distro." } @if all.is_empty() { p { "None is known." } } },
        |here| all.iter().map(|(source, cells)| listed(here, source, cells)).collect(),
        |_, rows| {
            scroll(
                "Packages",
                &html! { table.sortable id="packages" {
                    thead { tr { th scope="col" { "source package" } th scope="col" { "binary packages" } th scope="col" { "cells" } th scope="col" { "blamed in" } } }
                    tbody { (rows) }
                } },
            )
        },
    )
}

fn listed(here: &Here<'_>, source: &str, cells: &BTreeMap<usize, OnCell<'_>>) -> Markup {
    let binaries: BTreeSet<&str> = cells.values().flat_map(|on| &on.versions).map(|(name, _)| *name).collect();
    let blamed = cells.values().filter(|on| !on.blamed.is_empty()).count();
    html! { tr {
        th scope="row" { a href=(here.to(Page::Package(source))) { (source) } }
        td { (binaries.into_iter().collect::<Vec<_>>().join(", ")) }
        td { (cells.len()) }
        td { (blamed) }
    } }
}

fn all<'s>(site: &'s Site<'_>) -> All<'s> {
    let mut all = All::new();
    for (place, cell) in site.cells.iter().enumerate() {
        for (name, version) in versions(cell) {
            let source = site.packages.source(&cell.id.distro, name);
            all.entry(source).or_default().entry(place).or_default().versions.insert((name, version));
        }
        for (profile, row) in &cell.rows {
            for (capability, known) in &row.capabilities {
                for why in &known.why {
                    let Some(source) = why.component.and_then(|c| site.packages.of_component(&cell.id, c)) else {
                        continue;
                    };
                    let on = all.entry(source).or_default().entry(place).or_default();
                    let (profiles, capabilities) = on.blamed.entry((&why.text, why.test.as_deref())).or_default();
                    profiles.insert(profile);
                    capabilities.insert(*capability);
                }
            }
        }
    }
    all
}

/// The component packages of a cell: of what its verdicts rest on, and of its newest run.
fn versions<'s>(cell: &'s SiteCell<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    let of_rows = cell.rows.values().flat_map(|row| &row.basics).flat_map(|basics| &basics.versions);
    let facts = cell.report.and_then(|report| report.facts.as_ref());
    let of_run = facts.into_iter().flat_map(|facts| &facts.versions);
    let of_rows = of_rows.map(|(name, version)| (name.as_str(), version.as_str()));
    of_rows.chain(of_run.map(|(name, version)| (name.as_str(), version.as_str())))
}

fn one(site: &Site<'_>, source: &str, cells: &BTreeMap<usize, OnCell<'_>>, put: &mut Put<'_>) -> io::Result<()> {
    parts::put(
        site,
        put,
        Page::Package(source),
        source,
        |_| {
            html! {
                p.muted { "A source package: what each release has of it, and what failed for which it is to blame." }
                (issues(site, source))
            }
        },
        |here| cells.iter().filter_map(|(place, on)| Some(row(here, site.cells.get(*place)?, on))).collect(),
        |_, rows| {
            scroll(
                source,
                &html! { table.sortable id="cells" {
                    thead { tr { th scope="col" { "release" } th scope="col" { "packages" } th scope="col" { "blamed for" } } }
                    tbody { (rows) }
                } },
            )
        },
    )
}

fn row(here: &Here<'_>, cell: &SiteCell<'_>, on: &OnCell<'_>) -> Markup {
    html! { tr data-arch=(cell.id.arch) data-in=(cell.id.environment) {
        th scope="row" { a href=(here.to(Page::Cell(&cell.id))) { (here.site.labels.of_id(&cell.id)) } }
        td { @for (name, version) in &on.versions { p { (name) " " code { (version) } } } }
        td {
            @if on.blamed.is_empty() { span.muted { "nothing" } }
            @for ((text, test), (profiles, capabilities)) in on.blamed.iter().take(REASONS) {
                p { span.u { "no" } " " @for capability in capabilities { (here.capability(*capability)) " " }
                    span.muted { (causes::words(profiles)) } }
                p.detail { (text) @if let Some(test) = test { " (" (here.test(test)) ")" } }
            }
            @if on.blamed.len() > REASONS { p.muted { "and " (on.blamed.len() - REASONS) " more" } }
        }
    } }
}

/// What is known to fail of it.
fn issues(site: &Site<'_>, source: &str) -> Markup {
    let issues: Vec<_> = site.issues().filter(|(_, issue)| issue.package.as_str() == source).collect();
    html! { @if !issues.is_empty() {
        h2 { "Known issues" }
        ul { @for (record, issue) in issues { li {
            (record.distro) ": "
            @if issue.url.starts_with("https://") { a href=(issue.url) rel="noreferrer" { (issue.id) } } @else { (issue.id) " " (issue.url) }
            span.muted { ", " (issue.owner) ", until " (issue.expires) }
        } } }
    } }
}
