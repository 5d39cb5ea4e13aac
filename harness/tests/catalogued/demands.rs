//! `docs/demands.md`: Kata's demands on a distro and their proofs; the demands are in `suites/demands`.

use super::spans;
use crate::corpus::Fault;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use suites::catalogue::{self, Place, Test};

/// The groups, with their titles and files.
const GROUPS: [(&str, &str); 10] = [
    ("Machine, CPUs, memory, arguments", include_str!("../../../suites/demands/machine.yaml")),
    ("Devices and objects", include_str!("../../../suites/demands/devices.yaml")),
    ("QMP", include_str!("../../../suites/demands/qmp.yaml")),
    ("virtiofsd", include_str!("../../../suites/demands/virtiofsd.yaml")),
    ("Guest kernel", include_str!("../../../suites/demands/guest-kernel.yaml")),
    ("Host", include_str!("../../../suites/demands/host.yaml")),
    ("Callers and containers", include_str!("../../../suites/demands/callers.yaml")),
    ("Kata's own features", include_str!("../../../suites/demands/kata.yaml")),
    ("Other VMMs", include_str!("../../../suites/demands/vmms.yaml")),
    ("Architectures", include_str!("../../../suites/demands/architectures.yaml")),
];

/// A group of related demands.
pub(crate) struct Group {
    title: &'static str,
    pub(crate) demands: Vec<Demand>,
}

/// One demand of Kata on a distro.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Demand {
    /// Name of the demand.
    pub(crate) id: String,
    /// Text of the demand.
    pub(crate) demand: String,
    /// The place in Kata's source: file and tag.
    pub(crate) source: String,
    /// Whether an ordinary pod needs it under a maintained profile as shipped, or "can Kata run here?" asks for it.
    pub(crate) default_path: bool,
    /// Tests that fail if the demand is not met.
    #[serde(default)]
    pub(crate) tests: Vec<String>,
    /// Whether only the tests of a Kata that the user supplies use what is demanded. A demand states it if it also
    /// names other tests, and only then.
    #[serde(default)]
    pub(crate) only_under_kata: Option<bool>,
    /// Part of the demand that the tests leave out.
    #[serde(default)]
    pub(crate) but: Option<String>,
    /// Tests that only look it up in a list.
    #[serde(default)]
    pub(crate) listed: Vec<String>,
    /// Why no test proves the demand.
    #[serde(default)]
    pub(crate) left: Option<Unproved>,
    /// The reason in a sentence.
    #[serde(default)]
    pub(crate) why: Option<String>,
}

/// Reasons why no test proves a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unproved {
    /// A test is possible and does not exist yet.
    NotBuilt,
    /// The test would need a device or a processor that no machine of the project has.
    Hardware,
    /// No distro packages it.
    NotPackaged,
    /// An emulated machine cannot show it.
    Emulation,
    /// No maintained Kata asks a distro for it.
    NotAsked,
}

impl Unproved {
    const ALL: [Unproved; 5] =
        [Unproved::NotBuilt, Unproved::Hardware, Unproved::NotPackaged, Unproved::Emulation, Unproved::NotAsked];

    fn name(self) -> &'static str {
        match self {
            Unproved::NotBuilt => "not built yet",
            Unproved::Hardware => "hardware",
            Unproved::NotPackaged => "not packaged",
            Unproved::Emulation => "emulation",
            Unproved::NotAsked => "not asked of a distro",
        }
    }
}

/// Extent to which a demand is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofExtent {
    /// Tests fail if the demand is not met.
    ByUse,
    /// Tests fail if the demand is not met, and they need a Kata that the user supplies.
    UnderKata,
    /// Tests use a part of what is demanded.
    InPart,
    /// No test uses what is demanded.
    Unproved(Unproved),
}

impl ProofExtent {
    fn name(self) -> &'static str {
        match self {
            ProofExtent::ByUse => "by use",
            ProofExtent::UnderKata => "by use, under Kata",
            ProofExtent::InPart => "in part",
            ProofExtent::Unproved(left) => left.name(),
        }
    }
}

impl Demand {
    pub(crate) fn state(&self) -> ProofExtent {
        if let Some(reason) = self.left {
            return ProofExtent::Unproved(reason);
        }
        let under_kata = || named(&self.tests).all(|test| test.place == Place::Kata);
        match (&self.but, self.only_under_kata.unwrap_or_else(under_kata)) {
            (Some(_), _) => ProofExtent::InPart,
            (None, true) => ProofExtent::UnderKata,
            (None, false) => ProofExtent::ByUse,
        }
    }

    /// Checks whether some of the tests need a Kata that the user supplies, and others do not.
    pub(crate) fn is_mixed(&self) -> bool {
        let of_kata = named(&self.tests).filter(|test| test.place == Place::Kata).count();
        of_kata > 0 && of_kata < named(&self.tests).count()
    }

    /// Returns the tests that prove the demand, the part that they leave out, and the reason.
    fn proof_text(&self) -> String {
        let tests = (!self.tests.is_empty()).then(|| spans(self.tests.iter().map(String::as_str)));
        let but = self.but.as_ref().map(|but| format!("not: {but}"));
        let listed =
            (!self.listed.is_empty()).then(|| format!("offered: {}", spans(self.listed.iter().map(String::as_str))));
        [tests, but, self.why.clone(), listed].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// The seeded faults that must make a test fail.
pub(crate) struct SeededFaults {
    /// All of them.
    pub(crate) kept: Vec<Fault>,
    /// The names of those that were tried in their present form, and made their tests fail.
    pub(crate) seen_red: BTreeSet<String>,
}

/// Whether a seeded fault shows that the proof can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultMatch {
    /// A fault was seen to make one of the tests fail.
    RedTest,
    /// A fault was seen to make a test with the same body fail.
    RedBody,
    /// A fault is kept for one of the tests.
    KeptTest,
    /// A fault is kept for a test with the same body.
    KeptBody,
    /// There is no such fault.
    Nothing,
}

impl FaultMatch {
    const ALL: [FaultMatch; 5] =
        [FaultMatch::RedTest, FaultMatch::RedBody, FaultMatch::KeptTest, FaultMatch::KeptBody, FaultMatch::Nothing];

    pub(crate) fn name(self) -> &'static str {
        match self {
            FaultMatch::RedTest => "seen red",
            FaultMatch::RedBody => "seen red, same body",
            FaultMatch::KeptTest => "kept",
            FaultMatch::KeptBody => "kept, same body",
            FaultMatch::Nothing => "–",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            FaultMatch::RedTest => "one of the tests was seen red",
            FaultMatch::RedBody => "another test of the same body was seen red",
            FaultMatch::KeptTest => "a fault of one of the tests is kept, and not tried since it changed",
            FaultMatch::KeptBody => "a fault of the same body is kept, and not tried since it changed",
            FaultMatch::Nothing => "no fault",
        }
    }
}

/// Returns the strongest evidence that these tests can fail.
pub(crate) fn fault_match(tests: &[String], faults: &SeededFaults) -> FaultMatch {
    let is_of_test = |fault: &Fault| tests.contains(&fault.test);
    let is_of_body = |fault: &Fault| {
        let broken = catalogue::find(&fault.test);
        broken.is_some_and(|broken| named(tests).any(|test| test.suite == broken.suite && test.name == broken.name))
    };
    let is_red = |fault: &Fault| faults.seen_red.contains(&fault.id);
    if faults.kept.iter().any(|fault| is_red(fault) && is_of_test(fault)) {
        FaultMatch::RedTest
    } else if faults.kept.iter().any(|fault| is_red(fault) && is_of_body(fault)) {
        FaultMatch::RedBody
    } else if faults.kept.iter().any(is_of_test) {
        FaultMatch::KeptTest
    } else if faults.kept.iter().any(is_of_body) {
        FaultMatch::KeptBody
    } else {
        FaultMatch::Nothing
    }
}

/// Returns the tests with these ids; ids without a test are skipped here and reported by another test.
fn named(tests: &[String]) -> impl Iterator<Item = &'static Test> {
    tests.iter().filter_map(|test| catalogue::find(test))
}

/// Returns all groups of demands.
pub(crate) fn groups() -> Vec<Group> {
    let group = |(title, text): (&'static str, &str)| {
        let demands = serde_yaml::from_str(text).unwrap_or_else(|e| panic!("suites/demands, {title}: {e}"));
        Group { title, demands }
    };
    GROUPS.into_iter().map(group).collect()
}

const HEAD: &str = "\
# What Kata asks of a distro

<!-- Made from `suites/demands` by `UPDATE_TESTS_DOC=1 cargo test --package harness --test catalogue`: do not edit. -->

";

const INTRODUCTION: &str = "
*By use*: a test fails if it does not work.
*By use, under Kata*: the same, but only in runs that are given a Kata (`--kata`); tests without one are controls.
*In part*: the tests leave out a part, which is named.
A test that only looks something up in a list (*offered*) proves nothing here.
*Default path*: an ordinary pod depends on it under a maintained profile as shipped, or \"can Kata run here?\" requires it.

*Fault* says whether something was broken on purpose to see the proof fail:

- *seen red*: a [seeded fault](faults.md) was tried in its present form, and made one of these tests fail, with the right report.
- *seen red, same body*: it made a test of the same body fail, with another share or runtime.
- *kept*, and *kept, same body*: there is such a fault, but it was not tried since it changed, or its report was wrong.
- –: there is none.

A fault that makes a test fail need not concern the demand itself.
";

/// Returns the document.
pub(crate) fn markdown(groups: &[Group], faults: &SeededFaults) -> String {
    let mut out = HEAD.to_owned();
    let all: Vec<&Demand> = groups.iter().flat_map(|group| &group.demands).collect();
    let is_used = |demand: &Demand| demand.state() == ProofExtent::ByUse;
    let is_red = |demand: &Demand| is_used(demand) && fault_match(&demand.tests, faults) == FaultMatch::RedTest;
    let (used, used_by_default) = count(&all, is_used);
    let (red, red_by_default) = count(&all, is_red);
    let (_, under_kata_by_default) = count(&all, |demand| demand.state() == ProofExtent::UnderKata);
    let (total, by_default) = count(&all, |_| true);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{used} of {total} are proved by use; {red} of these proofs were also seen red: a fault made them fail.\n\
         On the default path, {used_by_default} of {by_default} are proved by use; {red_by_default} were also seen red."
    );
    out += INTRODUCTION;
    totals(&mut out, &all, faults);
    out += "\n## Default path: demands that no test proves, or only in part\n\n";
    if used_by_default + under_kata_by_default == by_default {
        out += "None: all of them are proved by use, some of them only under Kata.\n";
    }
    for demand in all.iter().filter(|demand| demand.default_path) {
        let reason = match demand.state() {
            ProofExtent::ByUse | ProofExtent::UnderKata => continue,
            ProofExtent::InPart => format!("not: {}", demand.but.as_deref().unwrap_or_default()),
            ProofExtent::Unproved(_) => demand.why.clone().unwrap_or_default(),
        };
        let _ = writeln!(out, "- `{}`, {}: {}; {reason}", demand.id, demand.state().name(), demand.demand);
    }
    for group in groups {
        table(&mut out, group, faults);
    }
    out
}

/// Returns the number of demands of a kind, and how many of these are on the default path.
fn count(all: &[&Demand], is_one: impl Fn(&Demand) -> bool) -> (usize, usize) {
    let those: Vec<&&Demand> = all.iter().filter(|demand| is_one(demand)).collect();
    (those.len(), those.iter().filter(|demand| demand.default_path).count())
}

fn totals(out: &mut String, all: &[&Demand], faults: &SeededFaults) {
    *out += "\n| | all | on the default path |\n|---|---|---|\n";
    let mut row = |name: &str, (count, by_default): (usize, usize)| {
        let _ = writeln!(out, "| {name} | {count} | {by_default} |");
    };
    let of = |state: ProofExtent| count(all, |demand| demand.state() == state);
    row("all", count(all, |_| true));
    row("by use", of(ProofExtent::ByUse));
    for fault_kind in FaultMatch::ALL {
        let counts = count(all, |demand| {
            demand.state() == ProofExtent::ByUse && fault_match(&demand.tests, faults) == fault_kind
        });
        row(&format!("by use: {}", fault_kind.meaning()), counts);
    }
    row("by use, under Kata", of(ProofExtent::UnderKata));
    row("in part", of(ProofExtent::InPart));
    for reason in Unproved::ALL {
        row(&format!("left: {}", reason.name()), of(ProofExtent::Unproved(reason)));
    }
}

fn table(out: &mut String, group: &Group, faults: &SeededFaults) {
    let _ = writeln!(out, "\n## {}\n", group.title);
    *out += "| id | demand | default path | proved | by | fault | Kata |\n|---|---|---|---|---|---|---|\n";
    for demand in &group.demands {
        let default_path = if demand.default_path { "yes" } else { "" };
        let fault = if demand.tests.is_empty() { "" } else { fault_match(&demand.tests, faults).name() };
        let _ = writeln!(
            out,
            "| {} | {} | {default_path} | {} | {} | {fault} | `{}` |",
            demand.id,
            demand.demand,
            demand.state().name(),
            demand.proof_text(),
            demand.source
        );
    }
}
