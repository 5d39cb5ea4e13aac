//! JUnit XML: one file for each cell, with one suite for each profile, and one more file for problems of the whole run.
//!
//! A `failure` appears exactly where something makes the exit code 1, and an `error` where something makes it 3 (a
//! result that could not be judged: a test in error, a lost cell, a run without an end), so that a CI system is red
//! exactly if the exit code is.
//! A failure without effect, because it is known, optional or judged for the first time, is `skipped` with the reason,
//! and with the address of the known issue, if any. A known issue that is itself at fault is a `failure` of the run.
//! A capability that is worse although none of its tests failed has a case of its own, `capability::NAME`.
//!
//! The dialect follows Jenkins' schema: properties are on suites, every failure and rerun has a `type`, and the root
//! does not count skipped tests.
//! `skipped` has the type `skip`, `blocked`, `untested`, `excused` or `unjudged`; `error` is never the distro's fault.
//!
//! For a merged run that is compared with a plan, the exit code is the pipeline's: gaps that the pipeline tolerates are
//! `skipped`, and its other reasons to be red are cases of the run.

mod case;

use crate::journal::CellId;
use crate::matrix::Matrix;
use crate::redact::is_unprintable;
use crate::run::{TestRun, by_profile};
use crate::standing::{CellStanding, Effect, MISSING, ProfileStanding, Standings, UNREAD};
use crate::views::wording;
use case::{Cases, case, non_success, skipped, unjudged};
use model::arch::Arch;
use model::verified::Verdict;
use quick_junit::{NonSuccessKind, Property, Report, TestCaseStatus, TestSuite};
use std::collections::BTreeSet;
use std::path::Path;
use suites::catalogue::Test;
use suites::elsewhere::inapplicable_reason;
use suites::outcome::Outcome;

/// The file for problems of the whole run.
pub const OF_THE_RUN: &str = "run.xml";

/// The files that the tests left next to the journal.
#[derive(Clone, Copy)]
pub struct RunFiles<'a> {
    /// The run's directory, as readers of the XML find it.
    pub folder: &'a Path,
    /// Returns the last lines of a file in the directory.
    pub tail: &'a dyn Fn(&str) -> Option<String>,
}

/// Renders a run as JUnit XML: the files' names and texts.
///
/// Tests of the catalogue that apply to the profile, the cell's environment and its architecture but never ran are
/// shown as skipped, unless the run was filtered; tests that do not apply are left out, because readers who count
/// skipped tests look for gaps.
///
/// # Errors
/// If the XML cannot be serialised, which no input is known to cause.
pub fn render(
    standings: &Standings<'_>,
    catalogue: &[Test],
    run_files: RunFiles<'_>,
) -> Result<Vec<(String, String)>, quick_junit::SerializeError> {
    let matrix = standings.matrix;
    let mut names = BTreeSet::from([OF_THE_RUN.to_owned()]);
    let mut files = Vec::new();
    for cell in &standings.cells {
        let mut report = report(matrix);
        if let Some(lost) = lost(cell, standings.tolerates_gaps(Some(&cell.report.cell))) {
            report.add_test_suite(lost);
        }
        let of = by_profile(&cell.report.instances);
        for profile in &matrix.profiles {
            let Some(standing) = cell.profile(&profile.name) else { continue };
            let instances = of.get(profile.name.as_str()).map(Vec::as_slice).unwrap_or_default();
            report.add_test_suite(suite(
                standings,
                cell,
                (profile.name.as_str(), standing),
                instances,
                catalogue,
                run_files,
            ));
        }
        files.push((file_name(&cell.report.cell, &mut names), text(&report)?));
    }
    let problems = standings.problems();
    let at_fault: Vec<_> = standings.issues.iter().filter(|issue| issue.is_at_fault()).collect();
    let of_plan = of_plan(standings);
    if !problems.is_empty() || !at_fault.is_empty() || !of_plan.is_empty() {
        let mut report = report(matrix);
        let mut suite = TestSuite::new("run");
        for issue in at_fault {
            let message = issue.words().unwrap_or_default();
            let status = non_success(NonSuccessKind::Failure, "known-issue", &message);
            suite.add_test_case(case(&format!("known-issue::{}", issue.issue.id), "run", status, 0));
        }
        for (name, message) in of_plan {
            let status = non_success(NonSuccessKind::Error, "plan", &message);
            suite.add_test_case(case(&name, "run", status, 0));
        }
        for (what, problem) in problems {
            let status = unjudged("run", &problem, standings.tolerates_gaps(None));
            suite.add_test_case(case(&format!("run::{what}"), "run", status, 0));
        }
        report.add_test_suite(suite);
        files.push((OF_THE_RUN.to_owned(), text(&report)?));
    }
    Ok(files)
}

/// Returns the pipeline's reasons to be red in addition to the run's results: the name of each case, and why.
fn of_plan(standings: &Standings<'_>) -> Vec<(String, String)> {
    let Some(held) = &standings.held else { return Vec::new() };
    let missing = held.missing.iter().map(|cell| (format!("plan::{cell}"), MISSING.to_owned()));
    let unread = held.unread.iter().map(|unread| ("plan::unread".to_owned(), format!("{UNREAD}: {unread}")));
    let nothing = ("plan::nothing".to_owned(), "no planned cell could be judged".to_owned());
    missing.chain(unread).chain(held.nothing_judged.then_some(nothing)).collect()
}

fn report(matrix: &Matrix) -> Report {
    Report::new(clean(&format!("kata-qualify {}", matrix.run)))
}

/// Returns the XML of a report. Jenkins' schema lets suites count skipped tests, but not the root.
fn text(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let text = report.to_string()?;
    // Quotation marks are escaped in values, so that the first match is the attribute.
    let attribute = format!(" skipped=\"{}\"", report.skipped);
    Ok(text.replacen(&attribute, "", 1))
}

/// Returns a unique name for a cell's file.
fn file_name(cell: &CellId, taken: &mut BTreeSet<String>) -> String {
    let CellId { distro, release, arch, environment } = cell;
    let stem = format!("{distro}-{release}-{arch}-{environment}");
    let mut name = format!("{stem}.xml");
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}-{number}.xml");
        number += 1;
    }
    name
}

/// Returns a suite that says why the cell is lost or has no end, if so.
fn lost(cell: &CellStanding<'_>, is_tolerated: bool) -> Option<TestSuite> {
    let problems = cell.problems();
    if problems.is_empty() {
        return None;
    }
    let mut suite = TestSuite::new(cell.report.cell.to_string());
    started(&mut suite, cell);
    let class = class(&cell.report.cell, None);
    for (phase, message) in problems {
        let status = unjudged("cell", message, is_tolerated);
        suite.add_test_case(case(&format!("cell::{phase}"), &class, status, 0));
    }
    Some(suite)
}

fn suite(
    standings: &Standings<'_>,
    cell: &CellStanding<'_>,
    (profile, standing): (&str, &ProfileStanding<'_>),
    instances: &[&TestRun],
    catalogue: &[Test],
    run_files: RunFiles<'_>,
) -> TestSuite {
    let id = &cell.report.cell;
    let mut suite = TestSuite::new(format!("{id} {profile}"));
    started(&mut suite, cell);
    for (name, value) in properties(standings, cell, profile) {
        suite.add_property(Property::new(clean(&name), clean(&value)));
    }
    let class = class(id, Some(profile));
    let is_tolerated = standings.tolerates_gaps(Some(id));
    let cases = Cases::new(cell, profile, instances, run_files, is_tolerated);
    let (mut failed, mut in_error) = (BTreeSet::new(), BTreeSet::new());
    let elsewhere = inapplicable(catalogue, id.arch);
    let is_skipped = |instance: &TestRun| instance.attempts.iter().all(|a| matches!(a.outcome, Outcome::Skip { .. }));
    for instance in instances {
        // What cannot apply is no case; what ran all the same is one.
        if elsewhere.contains(instance.test.as_str()) && is_skipped(instance) {
            continue;
        }
        let case = cases.of(instance, &class);
        match case.status {
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, .. } => failed.insert(instance.test.as_str()),
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. } => in_error.insert(instance.test.as_str()),
            TestCaseStatus::Success { .. } | TestCaseStatus::Skipped { .. } => false,
        };
        suite.add_test_case(case);
    }
    let problems = cell.problems();
    let never_ran = match problems.first() {
        Some((phase, message)) => format!("never ran: {phase}: {message}"),
        None => "never ran".to_owned(),
    };
    if cell.report.filter.is_none() {
        let ran: BTreeSet<&str> = instances.iter().map(|i| i.test.as_str()).collect();
        let applies = |test: &&Test| {
            let is_of_arch = !elsewhere.contains(test.id.as_str());
            is_of_arch && test.applies_to(profile) && test.applies_in(id.environment)
        };
        for test in catalogue.iter().filter(applies).filter(|test| !ran.contains(test.id.as_str())) {
            suite.add_test_case(case(&test.id, &class, skipped("untested", &never_ran), 0));
        }
    }
    let is_lost = !problems.is_empty();
    for (capability, one) in &standing.capabilities {
        let causes = &one.judgement.causes;
        let is_worse = match one.effect {
            Effect::None => continue,
            Effect::Worse if causes.iter().any(|cause| failed.contains(cause.test.as_str())) => continue,
            Effect::Worse => true,
            // The case of the test or of the cell in error reports it.
            Effect::Unjudged if causes.iter().any(|cause| in_error.contains(cause.test.as_str())) => continue,
            Effect::Unjudged if one.verdict() == Verdict::Inconclusive && (is_lost || suite.errors > 0) => continue,
            Effect::Unjudged => false,
        };
        let why: Vec<String> = one.judgement.reasons.iter().map(ToString::to_string).collect();
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
        let message = format!("{capability} {}{why}", one.turn());
        let status = match is_worse {
            true => non_success(NonSuccessKind::Failure, one.title(), &message),
            false => unjudged(one.title(), &message, is_tolerated),
        };
        suite.add_test_case(case(&format!("capability::{capability}"), &class, status, 0));
    }
    suite
}

/// Returns the tests that say nothing of releases of an architecture.
fn inapplicable(catalogue: &[Test], arch: Arch) -> BTreeSet<&str> {
    let says_nothing = |test: &&Test| arch != Arch::X86_64 && inapplicable_reason(test, arch).is_some();
    catalogue.iter().filter(says_nothing).map(|test| test.id.as_str()).collect()
}

/// Sets the time when the cell began, in UTC, without a zone, as JUnit requires.
fn started(suite: &mut TestSuite, cell: &CellStanding<'_>) {
    if let Some(at) = cell.report.started {
        suite.extra.insert("timestamp".into(), at.strftime("%Y-%m-%dT%H:%M:%S").to_string().into());
    }
}

/// Returns the changes, and the facts that the suite's results rest on.
fn properties(standings: &Standings<'_>, standing: &CellStanding<'_>, profile: &str) -> Vec<(String, String)> {
    let (matrix, cell) = (standings.matrix, standing.report);
    let mut all = Vec::new();
    let of_profile = standing.profile(profile);
    let mut packages = BTreeSet::new();
    for (capability, one) in of_profile.into_iter().flat_map(|p| &p.capabilities) {
        if one.is_listed() {
            all.push((format!("change.{capability}"), format!("{}: {}", one.title(), one.turn())));
            packages.extend(one.packages(cell).into_iter().flatten());
        }
    }
    all.extend(packages.into_iter().map(|p| (format!("changed.{}", p.name), p.turn())));
    all.extend([
        ("can-kata-run".to_owned(), standings.answer(&cell.cell, profile).words()),
        ("cell".to_owned(), cell.cell.to_string()),
        ("profile".to_owned(), profile.to_owned()),
        ("harness".to_owned(), matrix.harness.clone()),
        ("test-set".to_owned(), matrix.test_set.clone()),
        ("basis".to_owned(), wording::basis(cell.basis()).to_owned()),
        ("candidate".to_owned(), matrix.candidate.to_string()),
        ("shaped".to_owned(), matrix.shaped.to_string()),
    ]);
    let conflicts = matrix.conflicts.iter().filter(|conflict| conflict.cell == cell.cell);
    all.extend(conflicts.map(|conflict| ("conflict".to_owned(), conflict.what.clone())));
    if let Some(facts) = &cell.facts {
        all.push(("accelerator".to_owned(), facts.accelerator.to_string()));
        all.push(("image".to_owned(), facts.image.clone()));
        all.extend(facts.kernel.iter().map(|k| ("kernel".to_owned(), k.to_string())));
        all.extend(facts.versions.iter().map(|(k, v)| (format!("version.{k}"), v.to_string())));
        all.extend(facts.suites.iter().map(|(k, v)| (format!("suite.{k}"), v.clone())));
        all.extend(facts.candidates.iter().map(|(k, v)| (format!("candidate.{k}"), v.to_string())));
        all.extend(facts.environment.iter().map(|(k, v)| (format!("environment.{k}"), v.to_string())));
        all.extend(facts.image_options.iter().map(|v| ("image-option".to_owned(), v.clone())));
    }
    for (capability, one) in of_profile.into_iter().flat_map(|p| &p.capabilities) {
        all.push((format!("verdict.{capability}"), one.verdict().name().to_owned()));
        // The day of a result that the run itself found is the run's day.
        let since = one.since.filter(|_| one.recorded == Some(one.verdict()));
        all.extend(since.map(|day| (format!("recorded.{capability}"), day.to_string())));
    }
    all
}

/// Formats a class name: `debian_13.x86_64.container.go-3_29`; dots separate packages in most viewers.
fn class(cell: &CellId, profile: Option<&str>) -> String {
    let word = |s: &str| clean(s).replace('.', "_");
    let CellId { distro, release, arch, environment } = cell;
    let class = format!("{}_{}.{arch}.{environment}", word(distro.as_str()), word(release.as_str()));
    match profile {
        Some(profile) => format!("{class}.{}", word(profile)),
        None => class,
    }
}

/// Removes unprintable characters: quick-junit removes those that XML 1.0 forbids, except for U+FFFE and U+FFFF.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).collect()
}

#[cfg(test)]
mod tests;
