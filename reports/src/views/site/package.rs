//! Pages of source packages: the version on each release, and the failures that they are blamed for.
//!
//! A binary package's source is read from the manifests of the runs' images; without one, it is the name of the
//! component that the package has in the record, or else the binary package's own name.
//! Bug reports find the package of a component in the same way ([`crate::component_package`]).

use super::address::Page;
use super::page::{Here, scroll};
use super::{Put, SiteCell, Website, parts};
use crate::component_package;
use crate::installed::InstalledPackage;
use crate::journal::CellId;
use crate::standing::Standings;
use crate::views::causes;
use maud::{Markup, html};
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::record::Record;
use model::release::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use suites::capability::Capability;
use suites::outcome::Component;

/// Maximum of reasons shown for one cell; the cell's page has all of them.
const REASONS: usize = 5;

/// The known facts about packages.
pub(super) struct Packages<'a> {
    /// By distro and binary package.
    sources: BTreeMap<(&'a DistroId, &'a str), &'a str>,
    /// What the records say of the releases.
    releases: BTreeMap<(DistroId, ReleaseVersion, Arch), Release>,
    /// The component of a distro's binary package.
    components: BTreeMap<(DistroId, String), Component>,
}

impl<'a> Packages<'a> {
    /// Collects facts from the runs' manifests, and from the records of these cells' releases.
    pub(super) fn new<'c>(
        records: &[&Record],
        runs: &'a [Standings<'a>],
        cells: impl Iterator<Item = &'c CellId>,
    ) -> Packages<'a> {
        let mut all = Packages { sources: BTreeMap::new(), releases: BTreeMap::new(), components: BTreeMap::new() };
        for cell in runs.iter().flat_map(|run| &run.matrix.cells) {
            let of_distro = cell.packages.iter().map(|p| ((&cell.cell.distro, p.name.as_str()), p.source.as_str()));
            all.sources.extend(of_distro);
        }
        let releases: BTreeSet<(&DistroId, &ReleaseVersion, Arch)> =
            cells.map(|cell| (&cell.distro, &cell.release, cell.arch)).collect();
        for (distro, version, arch) in releases {
            let record = records.iter().find(|record| record.distro == *distro);
            let Some(release) = record.and_then(|record| record.release(version, arch).ok()) else { continue };
            for component in Component::ALL {
                for name in release.packages_of(*component) {
                    // Old releases have virtiofsd in a package of QEMU: a package belongs to the first component that
                    // names it.
                    all.components.entry((distro.clone(), name.to_string())).or_insert(*component);
                }
            }
            all.releases.insert((distro.clone(), version.clone(), arch), release);
        }
        all
    }

    /// The source package of a distro's binary package.
    pub(super) fn source(&self, distro: &DistroId, name: &str) -> String {
        let component = || Some(self.components.get(&(distro.clone(), name.to_owned()))?.name());
        component_package::source_package_for_bugs(
            self.sources.get(&(distro, name)).copied().or_else(component).unwrap_or(name),
        )
    }

    /// Returns the source package of a component on a cell, and the binary package if the cell's manifest has it.
    fn of_component<'c>(
        &self,
        cell: &SiteCell<'c>,
        component: Component,
    ) -> Option<(String, Option<&'c InstalledPackage>)> {
        let CellId { distro, release, arch, .. } = &cell.id;
        let release = self.releases.get(&(distro.clone(), release.clone(), *arch));
        let binary = release.and_then(|release| component_package::binary(release, cell.report, component));
        let installed = binary.as_ref().and_then(|name| component_package::installed(cell.report?, name.as_str()));
        let source = match (installed, binary) {
            (Some(package), _) => Some(component_package::source_package_for_bugs(package.source.as_str())),
            (None, Some(name)) => Some(self.source(distro, name.as_str())),
            // No record names it; components that are not part of a distro have no package.
            (None, None) => match component {
                Component::Qemu | Component::Virtiofsd | Component::Kernel | Component::Containerd => {
                    Some(component.name().to_owned())
                }
                // Few distros package these components: without a record that names a package there is none.
                Component::CloudHypervisor
                | Component::Firecracker
                | Component::Packages
                | Component::Record
                | Component::Kata => None,
            },
        };
        Some((source?, installed))
    }
}

/// A failure that a source package is blamed for on a cell.
struct Blamed<'s> {
    /// The observation, in the words under the first profile.
    text: &'s str,
    test: Option<&'s str>,
    profiles: BTreeSet<&'s str>,
    capabilities: BTreeSet<Capability>,
}

/// The importance of a failure, in descending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Kata does not run without it.
    Needed,
    /// Kata runs without the capability.
    Optional,
    /// The tests only look at a list, and no release claims the capability: a bug report calls it a wish, too.
    Wish,
}

impl Blamed<'_> {
    fn need(&self) -> Need {
        let of = |capability: &Capability| match (capability.is_needed(), capability.is_only_listed()) {
            (true, _) => Need::Needed,
            (false, false) => Need::Optional,
            (false, true) => Need::Wish,
        };
        self.capabilities.iter().map(of).min().unwrap_or(Need::Optional)
    }
}

impl Need {
    /// Returns the note for maintainers that follows a reason.
    fn words(self) -> &'static str {
        match self {
            Need::Needed => "",
            Need::Optional => ", optional",
            Need::Wish => ", optional and no bug: a wish",
        }
    }
}

/// The facts about a source package on a cell.
#[derive(Default)]
struct OnCell<'s> {
    /// Binary packages with their versions.
    versions: BTreeSet<(&'s str, &'s str)>,
    /// The failures that it is blamed for, by the cause ([`causes::key`]) and the test.
    blamed: BTreeMap<(String, Option<&'s str>), Blamed<'s>>,
}

/// Source package → index of a cell → facts.
type All<'s> = BTreeMap<String, BTreeMap<usize, OnCell<'s>>>;

/// Writes a page for each source package, and the list of all.
pub(super) fn put(site: &Website<'_>, put: &mut Put<'_>) -> io::Result<()> {
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

fn all<'s>(site: &'s Website<'_>) -> All<'s> {
    let mut all = All::new();
    for (place, cell) in site.cells.iter().enumerate() {
        for (name, version) in versions(cell) {
            let source = site.packages.source(&cell.id.distro, name);
            all.entry(source).or_default().entry(place).or_default().versions.insert((name, version));
        }
        for (profile, row) in &cell.rows {
            for (capability, known) in &row.capabilities {
                for why in &known.why {
                    let blamed = why.component.and_then(|component| site.packages.of_component(cell, component));
                    let Some((source, installed)) = blamed else { continue };
                    let on = all.entry(source).or_default().entry(place).or_default();
                    on.versions.extend(installed.map(|package| (package.name.as_str(), package.version.as_str())));
                    let (test, (text, _)) = (why.test.as_deref(), causes::without_sources(&why.text));
                    let (profiles, capabilities) = (BTreeSet::new(), BTreeSet::new());
                    let key = (causes::key(why.component, &why.text), test);
                    let blamed = on.blamed.entry(key).or_insert(Blamed { text, test, profiles, capabilities });
                    blamed.profiles.insert(profile);
                    blamed.capabilities.insert(*capability);
                }
            }
        }
    }
    all
}

/// Returns the component packages of a cell: those behind its verdicts, and those of the run whose tests are shown.
fn versions<'s>(cell: &'s SiteCell<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    let of_rows = cell.rows.values().flat_map(|row| &row.basics).flat_map(|basics| &basics.versions);
    let facts = cell.report.and_then(|report| report.facts.as_ref());
    let of_run = facts.into_iter().flat_map(|facts| &facts.versions);
    let of_rows = of_rows.map(|(name, version)| (name.as_str(), version.as_str()));
    of_rows.chain(of_run.map(|(name, version)| (name.as_str(), version.as_str())))
}

fn one(site: &Website<'_>, source: &str, cells: &BTreeMap<usize, OnCell<'_>>, put: &mut Put<'_>) -> io::Result<()> {
    parts::put(
        site,
        put,
        Page::Package(source),
        source,
        |_| {
            html! {
                p.muted { "A source package: what each release has of it, and what failed for which it is to blame, what Kata needs first." }
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
    let is_maintained = |name: &&str| here.site.profiles.iter().any(|one| one.maintained && one.name == *name);
    let mut blamed: Vec<&Blamed<'_>> = on.blamed.values().collect();
    // Failures that make the answer `no` come first; those under Kata versions at their end of life alone come last.
    blamed.sort_by_key(|one| (one.need(), !one.profiles.iter().any(is_maintained)));
    html! { tr data-arch=(cell.id.arch) data-in=(cell.id.environment) {
        th scope="row" { a href=(here.to(Page::Cell(&cell.id))) { (here.site.labels.of_id(&cell.id)) } }
        td { @for (name, version) in &on.versions { p { (name) " " code { (version) } } } }
        td {
            @if blamed.is_empty() { span.muted { "nothing" } }
            @for one in blamed.iter().take(REASONS) {
                p { span.u { "no" } " " @for capability in &one.capabilities { (here.capability(*capability)) " " }
                    span.muted { (causes::words(&one.profiles)) (one.need().words()) } }
                p.detail { (one.text) @if let Some(test) = one.test { " (" (here.test(test)) ")" } }
            }
            @if blamed.len() > REASONS {
                p { a href=(format!("{}#why", here.to(Page::Cell(&cell.id)))) { "and " (blamed.len() - REASONS) " more" } }
            }
        }
    } }
}

/// Lists the package's known issues.
fn issues(site: &Website<'_>, source: &str) -> Markup {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bug::FailedTest;
    use crate::sample;
    use model::database::Database;
    use model::package::PackageName;
    use model::profile::Profile;
    use suites::outcome::Failure;

    /// A reader who sees the blamed package and then reports a bug must find the same package in the report.
    #[test]
    fn a_page_and_a_bug_report_name_the_same_package_of_every_component() {
        let database = Database::embedded();
        let made = sample::judged(&sample::run(|_| None));
        let (profile, test) = (&Profile::all()[0], &suites::catalogue::tests()[0]);
        let mut compared = 0;
        for record in database.records() {
            for listed in &record.releases {
                let Ok(release) = record.release(&listed.version, Arch::X86_64) else { continue };
                let (distro, version) = (record.distro.clone(), listed.version.clone());
                let id = CellId { distro, release: version, ..sample::cell("13") };
                let mut matrix = made.clone();
                matrix.cells[0].cell = id.clone();
                let kernel = matrix.cells[0].facts.as_ref().unwrap().kernel.clone().unwrap();
                let named = Component::ALL.iter().flat_map(|component| release.packages_of(*component));
                let names: BTreeSet<PackageName> =
                    named.cloned().chain([format!("linux-image-{kernel}").parse().unwrap()]).collect();
                let package = |name: &PackageName| InstalledPackage {
                    name: name.clone(),
                    version: "1.0".parse().unwrap(),
                    source: format!("source-of-{name}").parse().unwrap(),
                };
                matrix.cells[0].packages = names.iter().map(package).collect();
                let standings = [sample::standings(&matrix)];
                let packages = Packages::new(&[record], &standings, std::iter::once(&id));
                let report = &matrix.cells[0];
                let (rows, others) = (BTreeMap::new(), Vec::new());
                let cell = SiteCell { id: id.clone(), rows, report: Some(report), run: Some(0), others };
                for component in Component::ALL {
                    let failed = FailedTest {
                        matrix: &matrix,
                        cell: report,
                        profile,
                        test,
                        release: &release,
                        record,
                        failure: Failure::new(*component, "it fails"),
                        failed: (1, 1),
                        artifacts: BTreeSet::new(),
                    };
                    let (reported, shown) = (failed.package(), packages.of_component(&cell, *component));
                    let what = format!("{component} of {}", release.name());
                    let Some(source) = reported.source else {
                        // A report uses the component's name, too.
                        assert!(shown.is_none_or(|(source, _)| source == component.name()), "{what}");
                        continue;
                    };
                    let (shown, installed) = shown.unwrap_or_else(|| panic!("{what}"));
                    assert_eq!(shown, source.as_str(), "{what}");
                    assert_eq!(installed.map(|package| &package.name), reported.binary.as_ref(), "{what}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 100, "{compared}");
    }

    /// The kernel's own package is in a run's manifest; the package that depends on it is in the record.
    #[test]
    fn the_kernel_source_package_is_that_of_the_kernel_that_ran() {
        let database = Database::embedded();
        let record = database.records().find(|record| record.distro == "debian").unwrap();
        let mut matrix = sample::judged(&sample::run(|_| None));
        let package = |name: &str, source: &str| InstalledPackage {
            name: name.parse().unwrap(),
            version: "6.12.41-1".parse().unwrap(),
            source: source.parse().unwrap(),
        };
        matrix.cells[0].packages = vec![
            package("linux-image-amd64", "linux-meta"),
            package("linux-image-6.12.41+deb13-amd64", "linux-signed-amd64"),
        ];
        let standings = [sample::standings(&matrix)];
        let id = sample::cell("13");
        let packages = Packages::new(&[record], &standings, std::iter::once(&id));
        let (rows, report, others) = (BTreeMap::new(), Some(&matrix.cells[0]), Vec::new());
        let mut cell = SiteCell { id: id.clone(), rows, report, run: Some(0), others };
        let of = |cell: &SiteCell<'_>| packages.of_component(cell, Component::Kernel).map(|(source, _)| source);
        assert_eq!(of(&cell).as_deref(), Some("linux"), "which has the bugs of what is signed");
        cell.report = None;
        assert_eq!(of(&cell).as_deref(), Some("linux-meta"), "by the record alone");
    }
}
