//! Comparison of runs' reports of the faults with the expected reports.

use super::corpus::{Fault, FaultGroup, corpus};
use model::capability::Capability;
use model::component::Component;
use model::environment::Environment;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A run's report of a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FaultReport {
    /// Capabilities that are unsupported and were not before, each with the components that it blames.
    pub(crate) turned: BTreeMap<Capability, BTreeSet<Component>>,
    /// Capabilities that an emulated machine leaves inconclusive, because no container confirms the failures.
    pub(crate) undecided: BTreeSet<Capability>,
    /// Components that failed tests blame.
    pub(crate) blamed: BTreeSet<Component>,
    /// Whether the run reports that something could not be judged.
    pub(crate) errors: bool,
    /// All error messages of the run.
    pub(crate) messages: String,
}

impl FaultReport {
    /// Reads a cell of `results.json`; `was_unsupported` tells which capabilities are already unsupported in the
    /// record.
    pub(crate) fn of(cell: &Value, fault: &Fault, was_unsupported: impl Fn(&str, Capability) -> bool) -> FaultReport {
        let mut report = FaultReport::default();
        for error in cell["errors"].as_array().into_iter().flatten() {
            report.errors = true;
            report.add_message(&error["message"]);
        }
        for profile in &fault.profiles {
            for (name, judgement) in cell["verdicts"][profile.as_str()].as_object().into_iter().flatten() {
                let capability: Capability = name.parse().unwrap();
                let is_nested = fault.environment == Environment::Vm && judgement["basis"] == "emulated";
                if is_nested && judgement["verdict"] == "inconclusive" {
                    report.undecided.insert(capability);
                }
                if judgement["verdict"] != "unsupported" || was_unsupported(profile, capability) {
                    continue;
                }
                let blamed = report.turned.entry(capability).or_default();
                for cause in judgement["causes"].as_array().into_iter().flatten() {
                    blamed.extend(component(cause));
                }
                for cause in judgement["causes"].as_array().into_iter().flatten() {
                    report.add_message(&cause["message"]);
                }
            }
        }
        for test in cell["tests"].as_array().into_iter().flatten() {
            let outcomes = test["attempts"].as_array().into_iter().flatten().map(|attempt| &attempt["outcome"]);
            for outcome in outcomes {
                match outcome["outcome"].as_str() {
                    Some("error") => {
                        report.errors = true;
                        report.add_message(&outcome["message"]);
                    }
                    Some("fail") => {
                        report.blamed.extend(component(outcome));
                        report.add_message(&outcome["observed"]);
                    }
                    _ => {}
                }
            }
        }
        report
    }

    pub(crate) fn add_message(&mut self, words: &Value) {
        self.messages += words.as_str().unwrap_or_default();
        self.messages.push('\n');
    }
}

fn component(value: &Value) -> Option<Component> {
    value["component"].as_str().and_then(Component::of_name)
}

/// Comparison of a run's report with the expected report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Judged {
    /// Whether the run noticed the fault, or did not need to.
    pub(crate) caught: bool,
    /// Whether exactly the expected capabilities became unsupported.
    pub(crate) capability: bool,
    /// Whether exactly the expected component is blamed.
    pub(crate) component: bool,
}

impl Judged {
    pub(crate) fn of(fault: &Fault, report: &FaultReport) -> Judged {
        let has_message = report.messages.contains(&fault.says);
        let turned: BTreeSet<Capability> = report.turned.keys().copied().collect();
        let turns: BTreeSet<Capability> = fault.turns.iter().copied().collect();
        let capability = turned == turns;
        let blames = |blamed: &BTreeSet<Component>| blamed.iter().copied().eq(fault.blames);
        match fault.blames {
            Some(_) if turned.is_empty() && !report.undecided.is_empty() => {
                Judged { caught: has_message, capability: report.undecided == turns, component: blames(&report.blamed) }
            }
            Some(_) => Judged {
                caught: !turned.is_empty() && has_message,
                capability,
                component: !turned.is_empty() && report.turned.values().all(blames),
            },
            None => Judged {
                caught: fault.may_pass || report.errors && has_message,
                capability,
                component: blames(&report.blamed) && report.turned.values().all(BTreeSet::is_empty),
            },
        }
    }

    pub(crate) fn is_right(self) -> bool {
        self.caught && self.capability && self.component
    }
}

/// A tried fault.
pub(crate) struct FaultRun {
    pub(crate) group: FaultGroup,
    pub(crate) fault: Fault,
    /// The run's report, or why the fault could not be tried.
    pub(crate) report: Result<FaultReport, String>,
    pub(crate) seconds: u64,
}

impl FaultRun {
    pub(crate) fn judged(&self) -> Judged {
        let nothing = Judged { caught: false, capability: false, component: false };
        self.report.as_ref().map_or(nothing, |report| Judged::of(&self.fault, report))
    }

    /// Returns the report's messages if the report was wrong.
    fn wrong(&self) -> Option<String> {
        let words = |text: &str| {
            let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
            line.replace('|', "/")
        };
        match &self.report {
            Err(why) => Some(format!("not tried: {}", words(why))),
            Ok(_) if self.judged().is_right() => None,
            Ok(report) => {
                let turned = names(report.turned.keys().map(|capability| capability.name()));
                let blamed: BTreeSet<Component> =
                    report.turned.values().flatten().chain(&report.blamed).copied().collect();
                let blamed = names(blamed.into_iter().map(Component::name));
                Some(format!("turned {turned}; blamed {blamed}; said: {}", words(&report.messages)))
            }
        }
    }
}

fn names(all: impl Iterator<Item = &'static str>) -> String {
    let all: Vec<&str> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// Result of a fault's latest try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tried {
    /// Checksum of the fault at that time.
    of: String,
    /// The day.
    on: jiff::civil::Date,
    judged: Judged,
    seconds: u64,
    /// The run's messages, if the report was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
}

/// Results by the fault's name, so that the file's order does not depend on the corpus.
pub(crate) type AllTried = BTreeMap<String, Tried>;

impl Tried {
    /// Returns the result of a fault that was tried today.
    pub(crate) fn today(row: &FaultRun) -> Tried {
        let on = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let of = checksum(&row.fault);
        Tried { of, on, judged: row.judged(), seconds: row.seconds, wrong: row.wrong() }
    }
}

/// Returns a fault's checksum, which changes with the fault.
fn checksum(fault: &Fault) -> String {
    format!("{:08x}", crc32fast::hash(format!("{fault:?}").as_bytes()))
}

/// Keeps only the results of faults that are unchanged in the corpus.
pub(crate) fn only_unchanged(mut all: AllTried) -> AllTried {
    let now: BTreeMap<String, String> =
        corpus().into_iter().map(|(_, fault)| (fault.id.clone(), checksum(&fault))).collect();
    all.retain(|id, tried| now.get(id) == Some(&tried.of));
    all
}

/// Returns the names of faults that were tried in their present form and made their tests fail, with the right report.
pub(crate) fn seen_red(tried: AllTried) -> BTreeSet<String> {
    let unchanged = only_unchanged(tried).into_iter();
    unchanged.filter(|(_, tried)| tried.judged.is_right()).map(|(id, _)| id).collect()
}

/// Returns the percentage, rounded down, so that 100 means all.
pub(crate) fn percent(all: &[Judged], right: impl Fn(Judged) -> bool) -> usize {
    let count = all.iter().filter(|judged| right(**judged)).count();
    (count * 100).checked_div(all.len()).unwrap_or(0)
}

/// The beginning of the document that [`markdown`] makes.
const HEAD: &str = "\
# Seeded faults

<!-- Made from the corpus and `harness/tests/seeded/tried.json` by `UPDATE_TESTS_DOC=1 cargo test --package harness --test faults`: do not edit. -->

Each of these faults is put into a release or into the harness's infrastructure, and `kata-qualify` is run on it.
A run has *caught* a fault if it reports that something is wrong.
The *capability* is right if exactly the capabilities that the fault breaks became unsupported, and the *component* is right if no other component is blamed.
If a guest in an emulated machine fails and no container shows the same failure, the verdict blames nobody: the run must leave these capabilities inconclusive, but the failed tests must still name the right component.
A fault of the infrastructure must be reported as an error, make no capability unsupported and blame nobody; with some of them, a run may also pass.
*Tried* is the day of the latest try and its length in seconds; a fault that has changed since then counts as not tried.
The corpus is `harness/tests/seeded/corpus`; `CONTRIBUTING.md` explains how it is tried.

";

/// Returns the document.
pub(crate) fn markdown(faults: &[(FaultGroup, Fault)], tried: &AllTried) -> String {
    let mut text = HEAD.to_owned();
    let judged: Vec<Judged> = faults.iter().filter_map(|(_, fault)| Some(tried.get(&fault.id)?.judged)).collect();
    // The counts come first: of faults that nobody has tried, nothing is known.
    let mut groups: Vec<(&str, usize, usize)> = Vec::new();
    for (group, fault) in faults {
        let (name, is_tried) = (group.name(), usize::from(tried.contains_key(&fault.id)));
        match groups.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, tried, all)) => (*tried, *all) = (*tried + is_tried, *all + 1),
            None => groups.push((name, is_tried, 1)),
        }
    }
    let groups: Vec<String> = groups.iter().map(|(name, tried, all)| format!("{name} {tried} of {all}")).collect();
    let _ = writeln!(
        text,
        "**{} of {} faults were tried** in their present form: {}.\n\n\
         Of those {}: {} % caught, {} % with the right capability, {} % with the right component.\n",
        judged.len(),
        faults.len(),
        groups.join(", "),
        judged.len(),
        percent(&judged, |judged| judged.caught),
        percent(&judged, |judged| judged.capability),
        percent(&judged, |judged| judged.component)
    );
    text += "| fault | of | what is wrong | must turn | must blame | caught | capability | component | tried |\n";
    text += "|---|---|---|---|---|---|---|---|---|\n";
    for (group, fault) in faults {
        let result = tried.get(&fault.id);
        let mark = |is_right: fn(Judged) -> bool| match result.map(|tried| is_right(tried.judged)) {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "–",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            fault.id,
            group.name(),
            fault.breaks,
            names(fault.turns.iter().map(|capability| capability.name())),
            fault.blames.map_or("nobody", Component::name),
            mark(|judged| judged.caught),
            mark(|judged| judged.capability),
            mark(|judged| judged.component),
            result.map_or_else(|| "–".to_owned(), |tried| format!("{}, {} s", tried.on, tried.seconds)),
        );
    }
    let wrong = |(_, fault): &(FaultGroup, Fault)| Some((fault.id.clone(), tried.get(&fault.id)?.wrong.clone()?));
    let wrong: Vec<(String, String)> = faults.iter().filter_map(wrong).collect();
    if !wrong.is_empty() {
        text += "\n## What was not right\n\n";
        for (id, why) in wrong {
            let _ = writeln!(text, "- {id}: {why}");
        }
    }
    text
}
