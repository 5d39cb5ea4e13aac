//! What runs said of the faults, held against what they must say.

use super::corpus::{Fault, Part};
use model::capability::Capability;
use model::component::Component;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a run said of a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The capabilities that are unsupported and were not, each with the components that it blames.
    pub(crate) turned: BTreeMap<Capability, BTreeSet<Component>>,
    /// Whom tests that failed blame.
    pub(crate) blamed: BTreeSet<Component>,
    /// Whether the run says that something could not be judged.
    pub(crate) errors: bool,
    /// All that it says of what is wrong.
    pub(crate) said: String,
}

impl Seen {
    /// What a cell of `results.json` says; `was_unsupported` tells what the record has so already.
    pub(crate) fn of(cell: &Value, fault: &Fault, was_unsupported: impl Fn(&str, Capability) -> bool) -> Seen {
        let mut seen = Seen::default();
        for error in cell["errors"].as_array().into_iter().flatten() {
            seen.errors = true;
            seen.say(&error["message"]);
        }
        for profile in &fault.profiles {
            for (name, judgement) in cell["verdicts"][profile.as_str()].as_object().into_iter().flatten() {
                let capability: Capability = name.parse().unwrap();
                if judgement["verdict"] != "unsupported" || was_unsupported(profile, capability) {
                    continue;
                }
                let blamed = seen.turned.entry(capability).or_default();
                for cause in judgement["causes"].as_array().into_iter().flatten() {
                    blamed.extend(component(cause));
                }
                for cause in judgement["causes"].as_array().into_iter().flatten() {
                    seen.say(&cause["message"]);
                }
            }
        }
        for test in cell["tests"].as_array().into_iter().flatten() {
            let outcomes = test["attempts"].as_array().into_iter().flatten().map(|attempt| &attempt["outcome"]);
            for outcome in outcomes {
                match outcome["outcome"].as_str() {
                    Some("error") => {
                        seen.errors = true;
                        seen.say(&outcome["message"]);
                    }
                    Some("fail") => {
                        seen.blamed.extend(component(outcome));
                        seen.say(&outcome["observed"]);
                    }
                    _ => {}
                }
            }
        }
        seen
    }

    pub(crate) fn say(&mut self, words: &Value) {
        self.said += words.as_str().unwrap_or_default();
        self.said.push('\n');
    }
}

fn component(of: &Value) -> Option<Component> {
    of["component"].as_str().and_then(Component::of_name)
}

/// How a run's words compare with what they must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judged {
    /// It noticed, or need not.
    pub(crate) caught: bool,
    /// It took away what it must, and nothing else.
    pub(crate) capability: bool,
    /// It blames whom it must, and nobody else.
    pub(crate) component: bool,
}

impl Judged {
    pub(crate) fn of(fault: &Fault, seen: &Seen) -> Judged {
        let says = seen.said.contains(&fault.says);
        let turned: BTreeSet<Capability> = seen.turned.keys().copied().collect();
        let capability = turned == fault.turns.iter().copied().collect();
        let blames = |blamed: &BTreeSet<Component>| blamed.iter().copied().eq(fault.blames);
        match fault.blames {
            Some(_) => Judged {
                caught: !turned.is_empty() && says,
                capability,
                component: !turned.is_empty() && seen.turned.values().all(blames),
            },
            None => Judged {
                caught: fault.may_pass || seen.errors && says,
                capability,
                component: blames(&seen.blamed) && seen.turned.values().all(BTreeSet::is_empty),
            },
        }
    }

    pub(crate) fn is_right(self) -> bool {
        self.caught && self.capability && self.component
    }
}

/// A fault that was tried.
pub(crate) struct Row {
    pub(crate) part: Part,
    pub(crate) fault: Fault,
    /// What the run said, or why it could not be tried.
    pub(crate) seen: Result<Seen, String>,
    pub(crate) seconds: u64,
}

impl Row {
    pub(crate) fn judged(&self) -> Judged {
        let nothing = Judged { caught: false, capability: false, component: false };
        self.seen.as_ref().map_or(nothing, |seen| Judged::of(&self.fault, seen))
    }

    /// What it said, where that was not right.
    fn wrong(&self) -> Option<String> {
        let words = |text: &str| {
            let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
            line.replace('|', "/")
        };
        match &self.seen {
            Err(why) => Some(format!("not tried: {}", words(why))),
            Ok(_) if self.judged().is_right() => None,
            Ok(seen) => {
                let turned = names(seen.turned.keys().map(|capability| capability.name()));
                let blamed: BTreeSet<Component> = seen.turned.values().flatten().chain(&seen.blamed).copied().collect();
                let blamed = names(blamed.into_iter().map(Component::name));
                Some(format!("turned {turned}; blamed {blamed}; said: {}", words(&seen.said)))
            }
        }
    }
}

fn names(all: impl Iterator<Item = &'static str>) -> String {
    let all: Vec<&str> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// Percent, rounded down: 100 is all.
pub(crate) fn percent(rows: &[Row], right: impl Fn(Judged) -> bool) -> usize {
    let count = rows.iter().filter(|row| right(row.judged())).count();
    (count * 100).checked_div(rows.len()).unwrap_or(0)
}

/// How the document begins, which [`markdown`] makes.
const HEAD: &str = "\
# Seeded faults

<!-- Made by `cargo test --package harness --test faults -- --ignored`: do not edit. -->

Each of these faults is put into a release, or under the harness, and `kata-qualify` is run on it.
A run has *caught* a fault if it says that something is wrong.
It has the right *capability* if it takes away those that the fault breaks and no others, and the right *component* if it blames that one and no other.
A fault of the infrastructure must be told as an error, take nothing away and blame nobody; with some a run may also do as if nothing were wrong.
The corpus is `harness/tests/seeded/corpus`; how it is tried stands in `CONTRIBUTING.md`.

";

/// The document.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    let total = rows.len();
    let _ = writeln!(
        text,
        "{total} faults: {} % caught, {} % with the right capability, {} % with the right component.\n",
        percent(rows, |judged| judged.caught),
        percent(rows, |judged| judged.capability),
        percent(rows, |judged| judged.component)
    );
    text += "| fault | of | what is wrong | must turn | must blame | caught | capability | component | s |\n";
    text += "|---|---|---|---|---|---|---|---|---|\n";
    let mark = |right: bool| if right { "✓" } else { "✗" };
    for row in rows {
        let (fault, judged) = (&row.fault, row.judged());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            fault.id,
            row.part.name(),
            fault.breaks,
            names(fault.turns.iter().map(|capability| capability.name())),
            fault.blames.map_or("nobody", Component::name),
            mark(judged.caught),
            mark(judged.capability),
            mark(judged.component),
            row.seconds
        );
    }
    let wrong: Vec<(&str, String)> =
        rows.iter().filter_map(|row| Some((row.fault.id.as_str(), row.wrong()?))).collect();
    if !wrong.is_empty() {
        text += "\n## What was not right\n\n";
        for (id, why) in wrong {
            let _ = writeln!(text, "- {id}: {why}");
        }
    }
    text
}
