//! Turned verdicts: a capability that one run decided in one way, and a later run in the other.
//!
//! The comparison is strict: the same capability under the same profile in the same cell, which is a release on an
//! architecture in an environment, in two runs that both decided it. Results that a run did not try, could not judge,
//! or showed with brought components do not count as turns. Other differences between the two runs are listed with the
//! turn.

use super::Website;
use crate::journal::CellId;
use crate::matrix::{CellReport, RunKata};
use crate::package_change::differing;
use crate::standing::by_profiles;
use crate::views::wording;
use model::kernel::KernelRelease;
use model::profile::ProfileName;
use model::verified::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;

/// Maximum of package versions that are named for one turn.
const MOST_PACKAGES: usize = 8;

/// Verdicts of a cell that have turned between two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn<'s> {
    pub(super) cell: &'s CellId,
    /// Index of the later run.
    pub(super) run: usize,
    /// Index of the last run before it that decided the same capabilities.
    pub(super) before: usize,
    pub(super) was: Verdict,
    pub(super) is: Verdict,
    pub(super) capabilities: Vec<Capability>,
    pub(super) profiles: Vec<&'s str>,
    /// Other differences between the runs, in words; empty if none is known.
    pub(super) differs: Vec<String>,
}

/// A decision of a run.
#[derive(Clone, Copy)]
struct Decided<'s> {
    run: usize,
    report: &'s CellReport,
    verdict: Verdict,
}

/// The key of a turn: the later run, a cell, the run before it, and both verdicts, the earlier one first.
type Key<'s> = (usize, &'s CellId, usize, Verdict, Verdict);

/// By capability the profiles under which it has turned, and the decisions of both runs.
type Found<'s> = (BTreeMap<Capability, Vec<&'s str>>, Decided<'s>, Decided<'s>);

/// Returns all turns; those of the newest run come first.
pub(super) fn turns<'s>(site: &'s Website<'_>) -> Vec<Turn<'s>> {
    let mut last: BTreeMap<(&CellId, &str, Capability), Decided<'_>> = BTreeMap::new();
    let mut found: BTreeMap<Key<'_>, Found<'_>> = BTreeMap::new();
    // The runs are in order of time, the newest first.
    for (run, of) in site.runs.iter().enumerate().rev().filter(|(_, of)| of.is_shown()) {
        for report in of.standings.matrix.cells.iter().filter(|report| report.supplied_components().is_empty()) {
            for (profile, judgements) in &report.judgements {
                let profile = profile.as_str();
                for (capability, judgement) in judgements.iter().filter(|(_, one)| is_clear(one.verdict)) {
                    let now = Decided { run, report, verdict: judgement.verdict };
                    let Some(then) = last.insert((&report.cell, profile, *capability), now) else { continue };
                    if then.verdict != now.verdict {
                        let key = (run, &report.cell, then.run, then.verdict, now.verdict);
                        let (turned, ..) = found.entry(key).or_insert_with(|| (BTreeMap::new(), then, now));
                        turned.entry(*capability).or_default().push(profile);
                    }
                }
            }
        }
    }
    let mut all = Vec::new();
    for ((run, cell, before, was, is), (turned, then, now)) in found {
        let differs = differs(site, &then, &now);
        for (profiles, capabilities) in by_profiles(turned) {
            let differs = differs.clone();
            all.push(Turn { cell, run, before, was, is, capabilities, profiles, differs });
        }
    }
    all
}

fn is_clear(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Supported | Verdict::Unsupported)
}

/// Describes other differences between two runs' results for a cell.
fn differs(site: &Website<'_>, then: &Decided<'_>, now: &Decided<'_>) -> Vec<String> {
    let mut all = Vec::new();
    let (katas_then, katas_now) = (&then.report.katas, &now.report.katas);
    if let (Some(then), Some(now)) = (&then.report.facts, &now.report.facts) {
        let packages = differing(&then.versions, &now.versions);
        all.extend(packages.iter().take(MOST_PACKAGES).map(|package| format!("{} {}", package.name, package.turn())));
        if packages.len() > MOST_PACKAGES {
            all.push(format!("{} more packages", packages.len() - MOST_PACKAGES));
        }
        let unknown = "unknown";
        all.extend(turned(
            "kernel",
            then.kernel.as_ref().map_or(unknown, KernelRelease::as_str),
            now.kernel.as_ref().map_or(unknown, KernelRelease::as_str),
        ));
        all.extend(turned("basis", wording::basis(Some(then.basis)), wording::basis(Some(now.basis))));
        for profile in katas_then.keys().chain(katas_now.keys()).collect::<BTreeSet<&ProfileName>>() {
            let of = |katas: &BTreeMap<ProfileName, RunKata>| {
                katas.get(profile).map_or_else(|| "none".to_owned(), |kata| kata.words.clone())
            };
            all.extend(turned(&format!("kata-{profile}"), &of(katas_then), &of(katas_now)));
        }
    }
    if let (Some(then), Some(now)) = (site.runs.get(then.run), site.runs.get(now.run)) {
        let (then, now) = (then.standings.matrix, now.standings.matrix);
        all.extend(turned("test set", &then.test_set, &now.test_set));
        all.extend(turned("harness", &then.harness, &now.harness));
        let options = |options: &[String]| if options.is_empty() { "none".to_owned() } else { options.join(" ") };
        all.extend(turned("options", &options(&then.options), &options(&now.options)));
    }
    all
}

/// Formats a difference: `kernel 6.1 → 6.12`; `None` if both are the same.
fn turned(what: &str, then: &str, now: &str) -> Option<String> {
    (then != now).then(|| format!("{what} {then} → {now}"))
}

#[cfg(test)]
mod tests {
    use super::super::gather::{History, of_history};
    use super::super::tests::{of_day, three_days};
    use super::*;
    use crate::matrix::Matrix;
    use crate::run::RunEnding;
    use crate::sample::{self, BOOT, HOTPLUG, QMP, VSOCK, error, fail, skip};
    use suites::outcome::{Component, Outcome};

    /// Describes the turns over runs: both runs, the capabilities, and other differences.
    fn descriptions(runs: &[Matrix]) -> Vec<String> {
        let history = History::new(&[], runs);
        let standings = history.standings();
        let catalogue = sample::catalogue();
        let site = of_history(&history, &standings, &catalogue, &sample::profiles());
        let name = |place: usize| site.runs[place].standings.matrix.run.clone();
        let words = |turn: &Turn<'_>| {
            let Turn { cell, run, before, was, is, capabilities, profiles, differs } = turn;
            let names: Vec<&str> = capabilities.iter().map(|capability| capability.name()).collect();
            let (run, before, names) = (name(*run), name(*before), names.join(" "));
            format!("{before} to {run}: {cell} {names} {}: {was} to {is}; {}", profiles.join(" "), differs.join(", "))
        };
        turns(&site).iter().map(words).collect()
    }

    fn failing(test: &'static str) -> impl Fn(&str) -> Option<Outcome> {
        move |one| (one == test).then(|| fail(Component::Qemu, "no reply"))
    }

    const CELL: &str = "debian:13/x86_64/container";

    #[test]
    fn a_turn_is_listed_where_two_runs_decided_differently() {
        let expected = [
            format!("run-2 to run-3: {CELL} vmm.qmp go-3.29: unsupported to supported; "),
            format!("run-1 to run-2: {CELL} vmm.qmp go-3.29: supported to unsupported; "),
        ];
        assert_eq!(descriptions(&three_days()), expected);
        // Capabilities that turn together are listed together.
        let hotplug = descriptions(&[of_day(1, |_| None), of_day(2, failing(HOTPLUG))]);
        let names = "vmm.hotplug.memory vmm.hotplug.blk vmm.hotplug.net";
        assert_eq!(hotplug, [format!("run-1 to run-2: {CELL} {names} go-3.29: supported to unsupported; ")]);
        assert_eq!(descriptions(&[]), Vec::<String>::new());
    }

    #[test]
    fn undecided_results_neither_cause_nor_hide_a_turn() {
        let undecided = |test: &str| match test {
            QMP => Some(error("the line ended")),
            BOOT | VSOCK => Some(skip("it is not there")),
            _ => None,
        };
        assert_eq!(descriptions(&[of_day(1, |_| None), of_day(2, undecided)]), Vec::<String>::new());
        // Of three runs, the first and the last decided it.
        let runs = [of_day(1, |_| None), of_day(2, undecided), of_day(3, failing(QMP))];
        assert_eq!(
            descriptions(&runs),
            [format!("run-1 to run-3: {CELL} vmm.qmp go-3.29: supported to unsupported; ")]
        );
    }

    #[test]
    fn runs_that_are_not_comparable_give_no_turns() {
        let elsewhere = |change: &dyn Fn(&mut Matrix)| {
            let mut other = of_day(2, failing(QMP));
            change(&mut other);
            descriptions(&[of_day(1, |_| None), other])
        };
        assert_eq!(elsewhere(&|_| {}).len(), 1);
        let changes: [&dyn Fn(&mut Matrix); 7] = [
            &|matrix| matrix.cells[0].cell.release = "12".parse().unwrap(),
            &|matrix| matrix.cells[0].cell.environment = model::environment::Environment::Vm,
            &|matrix| matrix.cells[0].cell.arch = model::arch::Arch::Aarch64,
            &|matrix| matrix.candidate = true,
            &|matrix| matrix.shaped = true,
            &|matrix| matrix.ending = RunEnding::Killed,
            &|matrix| matrix.finished = Some(jiff::Timestamp::MAX),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_eq!(elsewhere(change), Vec::<String>::new(), "{number}");
        }
        let add_candidate = |matrix: &mut Matrix| {
            let facts = matrix.cells[0].facts.as_mut().unwrap();
            facts.candidates.insert(Component::Qemu, "mine".to_owned().into());
        };
        assert_eq!(elsewhere(&add_candidate), Vec::<String>::new());
        let under_another = |matrix: &mut Matrix| {
            let judgements = &mut matrix.cells[0].judgements;
            let judged = judgements.remove("go-3.29").unwrap();
            judgements.insert("rs-4.0".parse().unwrap(), judged);
        };
        assert_eq!(elsewhere(&under_another), Vec::<String>::new());
    }

    #[test]
    fn other_differences_between_the_runs_are_listed() {
        let mut other = of_day(2, failing(QMP));
        other.options = vec!["--source oci".to_owned()];
        let facts = other.cells[0].facts.as_mut().unwrap();
        facts.versions.insert("virtiofsd".parse().unwrap(), "1.14.0-1".parse().unwrap());
        facts.kernel = Some("6.13".parse().unwrap());
        facts.basis = model::verified::Basis::Hardware;
        let found = descriptions(&[of_day(1, |_| None), other]);
        let expected = "supported to unsupported; virtiofsd 1.13.2-1 → 1.14.0-1, kernel 6.12.41+deb13-amd64 → 6.13, basis \
                        emulated → hardware, options none → --source oci";
        assert!(found.len() == 1 && found[0].ends_with(expected), "{found:?}");
    }
}
