//! JUnit XML: one suite for each cell and profile.
//!
//! The dialect is the one that Jenkins' schema allows: properties stand on suites, every failure and rerun has a `type`.
//! `skipped` has the type `skip`, `blocked` or `untested`; `error` is never the distro's fault.

use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::redact::is_unprintable;
use crate::run::{Attempt, Instance, by_profile};
use crate::standing::Standings;
use crate::verdict::Standing;
use crate::views::wording;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use std::collections::BTreeSet;
use std::time::Duration;
use suites::catalogue::Test;
use suites::outcome::Outcome;

/// Renders the matrix as JUnit XML.
///
/// Tests of the catalogue that apply to the profile and in the cell's environment and never ran are shown as skipped,
/// unless the run was filtered; what does not apply is left out, because whoever counts skipped tests looks for gaps.
///
/// # Errors
/// When the XML cannot be serialised, which no input is known to cause.
pub fn render(standings: &Standings<'_>, catalogue: &[Test]) -> Result<String, quick_junit::SerializeError> {
    let matrix = standings.matrix;
    let mut report = Report::new(clean(&format!("kata-qualify {}", matrix.run)));
    for cell in &matrix.cells {
        let of = by_profile(&cell.instances);
        for profile in &matrix.profiles {
            let instances = of.get(profile.name.as_str()).map(Vec::as_slice).unwrap_or_default();
            report.add_test_suite(suite(matrix, cell, &profile.name, instances, catalogue));
        }
    }
    report.to_string()
}

fn suite(matrix: &Matrix, cell: &CellReport, profile: &str, instances: &[&Instance], catalogue: &[Test]) -> TestSuite {
    let mut suite = TestSuite::new(format!("{} {profile}", cell.cell));
    for (name, value) in properties(matrix, cell, profile) {
        suite.add_property(Property::new(clean(&name), clean(&value)));
    }
    let class = class(&cell.cell, profile);
    for failure in &cell.errors {
        let status = non_success(NonSuccessKind::Error, "cell", &failure.message);
        suite.add_test_case(case(&format!("cell::{}", failure.phase), &class, status, 0));
    }
    for instance in instances {
        suite.add_test_case(instance_case(instance, &class));
    }
    if matrix.filter.is_none() {
        let ran: BTreeSet<&str> = instances.iter().map(|i| i.test.as_str()).collect();
        let applies = |test: &&Test| test.applies_to(profile) && test.applies_in(cell.cell.environment);
        for test in catalogue.iter().filter(applies).filter(|test| !ran.contains(test.id.as_str())) {
            suite.add_test_case(case(&test.id, &class, skipped("untested", "never ran"), 0));
        }
    }
    suite
}

/// What the suite's results rest on.
fn properties(matrix: &Matrix, cell: &CellReport, profile: &str) -> Vec<(String, String)> {
    let mut all = vec![
        ("cell".to_owned(), cell.cell.to_string()),
        ("profile".to_owned(), profile.to_owned()),
        ("harness".to_owned(), matrix.harness.clone()),
        ("test-set".to_owned(), matrix.test_set.clone()),
        ("basis".to_owned(), wording::basis(cell.basis()).to_owned()),
        ("candidate".to_owned(), matrix.candidate.to_string()),
        ("shaped".to_owned(), matrix.shaped.to_string()),
    ];
    if let Some(facts) = &cell.facts {
        all.push(("accelerator".to_owned(), facts.accelerator.clone()));
        all.push(("image".to_owned(), facts.image.clone()));
        all.extend(facts.kernel.iter().map(|k| ("kernel".to_owned(), k.clone())));
        all.extend(facts.versions.iter().map(|(k, v)| (format!("version.{k}"), v.to_string())));
        all.extend(facts.suites.iter().map(|(k, v)| (format!("suite.{k}"), v.clone())));
        all.extend(facts.candidates.iter().map(|(k, v)| (format!("candidate.{k}"), v.clone())));
        all.extend(facts.environment.iter().map(|(k, v)| (format!("environment.{k}"), v.clone())));
        all.extend(facts.image_options.iter().map(|v| ("image-option".to_owned(), v.clone())));
    }
    for (capability, judgement) in cell.judgements.get(profile).into_iter().flatten() {
        all.push((format!("verdict.{capability}"), judgement.verdict.name().to_owned()));
    }
    all
}

/// `debian_13.x86_64.container.go-3_29`: dots separate packages in most viewers.
fn class(cell: &CellId, profile: &str) -> String {
    let word = |s: &str| clean(s).replace('.', "_");
    let CellId { distro, release, arch, environment } = cell;
    format!("{}_{}.{arch}.{environment}.{}", word(distro), word(release), word(profile))
}

fn instance_case(instance: &Instance, class: &str) -> TestCase {
    let Some(standing) = Standing::of(instance.attempts.iter().map(|a| &a.outcome)) else {
        return case(&instance.test, class, skipped("untested", "never ran"), 0);
    };
    let mut status = match &standing.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail { message, blames } => non_success(NonSuccessKind::Failure, blames.name(), message),
        Outcome::Error { message } => non_success(NonSuccessKind::Error, "error", message),
        Outcome::Skip { reason } => skipped("skip", reason),
        Outcome::Blocked { by } => skipped("blocked", &format!("blocked by {by}")),
    };
    // The attempt that counts is the status itself; the other bad ones are its reruns.
    let counts = instance.attempts.iter().rposition(|a| a.outcome == standing.outcome);
    if !matches!(status, TestCaseStatus::Skipped { .. }) {
        for (place, attempt) in instance.attempts.iter().enumerate().filter(|(i, _)| Some(*i) != counts) {
            if let Some(rerun) = rerun(attempt, place + 1) {
                status.add_rerun(rerun);
            }
        }
    }
    let millis = instance.attempts.iter().fold(0u64, |sum, a| sum.saturating_add(a.millis));
    let mut case = case(&instance.test, class, status, millis);
    let lines: Vec<&str> = instance.attempts.iter().flat_map(|a| &a.notes).map(String::as_str).collect();
    if !lines.is_empty() {
        case.set_system_out(clean(&lines.join("\n")));
    }
    case
}

fn rerun(attempt: &Attempt, number: usize) -> Option<TestRerun> {
    let (kind, ty, message) = match &attempt.outcome {
        Outcome::Fail { message, blames } => (NonSuccessKind::Failure, blames.name(), message),
        Outcome::Error { message } => (NonSuccessKind::Error, "error", message),
        Outcome::Pass | Outcome::Skip { .. } | Outcome::Blocked { .. } => return None,
    };
    let mut rerun = TestRerun::new(kind);
    rerun.set_type(ty).set_message(head(message)).set_description(clean(&format!("attempt {number}: {message}")));
    Some(rerun)
}

fn case(name: &str, class: &str, status: TestCaseStatus, millis: u64) -> TestCase {
    let mut case = TestCase::new(clean(name), status);
    case.set_classname(class);
    case.set_time(Duration::from_millis(millis));
    case
}

fn non_success(kind: NonSuccessKind, ty: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(head(message)).set_description(clean(message));
    status
}

fn skipped(ty: &str, reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_type(ty).set_message(head(reason));
    status
}

/// The first line, for an attribute.
fn head(text: &str) -> String {
    clean(text.trim().lines().next().unwrap_or_default())
}

/// quick-junit takes out what XML 1.0 forbids, but lets U+FFFE and U+FFFF through.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).collect()
}

#[cfg(test)]
mod tests;
