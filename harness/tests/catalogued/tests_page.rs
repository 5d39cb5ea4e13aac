//! `docs/tests.md`: the purpose, capabilities, requirements and blamed component of every test, and the faults that
//! make it fail.

use super::{once, spans};
use crate::corpus::Fault;
use serde::Serialize;
use std::fmt::Write as _;
use suites::catalogue::{Suite, Test};
use suites::citation::AskedFor;

/// The suites in running order, with their titles.
const SUITES: [(Suite, &str); 4] = [
    (Suite::Smoke, "Smoke"),
    (Suite::Host, "Host"),
    (Suite::Filesystem, "Filesystem"),
    (Suite::Containers, "Containers"),
];

const HEAD: &str = "\
# Tests

<!-- Made by `UPDATE_TESTS_DOC=1 cargo test --package harness --test catalogue`: do not edit. -->

";

const INTRODUCTION: &str = "\
A body that is tried on several shares, with several settings of virtiofsd, or under both runtimes counts as one test for each.
The text of a test is the comment above its body; `kata-qualify explain TEST` prints it, with the profiles that the test applies to and what blocks it.
*Faults* are those of `harness/tests/seeded/corpus` that must make one of these tests fail; [the list of faults](faults.md) says whether they did.
*Kata* is the place in Kata's source that asks for it, a file and the tag at which it was read.
*Kata, by the share* is where Kata gives containers their files by the share: it passes on what programs do with them, and they expect what they expect of any filesystem.
Other proofs that a test can fail (system calls and guests that lie, in `suites`) are not listed.
A test that has a guest also needs 1 GiB of memory and room for 256 processes.

| runs | where |
|---|---|
| environment | in the environment, without a guest |
| vcpu | in the environment, with a vCPU of its own under KVM |
| own-guest | in the environment, with guests of its own |
| machine | with a guest that has no share |
| guest | inside a guest, on its share |
| pair | in the environment and inside a guest |
| runc | in the environment, in containers under runc |
| kata | in the environment, in containers under Kata |
";

/// Returns the document.
pub(crate) fn markdown(tests: &[Test], faults: &[Fault]) -> String {
    let bodies = bodies(tests);
    let broken = bodies.iter().filter(|body| !of_body(body, faults).is_empty()).count();
    let mut out = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} tests of {} bodies, {broken} of which have a seeded fault of their own.",
        tests.len(),
        bodies.len()
    );
    out += INTRODUCTION;
    for (suite, title) in SUITES {
        let _ = writeln!(out, "\n## {title}");
        for body in bodies.iter().filter(|body| body[0].suite == suite) {
            entry(&mut out, body, faults);
        }
    }
    out
}

/// Groups the tests by body.
fn bodies(tests: &[Test]) -> Vec<Vec<&Test>> {
    let mut all: Vec<Vec<&Test>> = Vec::new();
    for test in tests {
        match all.iter_mut().find(|body| body[0].suite == test.suite && body[0].name == test.name) {
            Some(body) => body.push(test),
            None => all.push(vec![test]),
        }
    }
    all
}

fn entry(out: &mut String, body: &[&Test], faults: &[Fault]) {
    let test = body[0];
    let _ = writeln!(out, "\n### {}\n\n{}", test.name, test.property());
    let reason = test.reason();
    if !reason.is_empty() {
        let _ = writeln!(out, "{reason}");
    }
    let proves = once(body.iter().flat_map(|test| &test.proves).map(|capability| capability.name()));
    let blames = once(body.iter().map(|test| test.blames.name()));
    let _ = writeln!(out, "\n- proves: {}; blames: {}", spans(proves), blames.join(", "));
    let places = once(body.iter().map(|test| word(&test.place)));
    let modules = once(body.iter().map(|test| module(test)));
    let needs = once(body.iter().flat_map(|test| test.needs).map(word));
    let needs = if needs.is_empty() { String::new() } else { format!("; needs: {}", needs.join(", ")) };
    let _ = writeln!(out, "- runs: {}; in {}{needs}", places.join(", "), spans(modules));
    let cited = once(body.iter().flat_map(|test| test.cited()).map(ToString::to_string));
    let cited = spans(cited.iter().map(String::as_str));
    let _ = match &test.asked_for {
        AskedFor::Body(_) => writeln!(out, "- Kata: {cited}"),
        AskedFor::Share(_) => writeln!(out, "- Kata, by the share: {cited}"),
        AskedFor::Nowhere => writeln!(out, "- Kata: asks for it nowhere; other tests rest on it"),
    };
    let faults = of_body(body, faults);
    if !faults.is_empty() {
        let _ = writeln!(out, "- faults: {}", faults.join(", "));
    }
}

/// Returns the faults that must make a test of this body fail.
fn of_body<'f>(body: &[&Test], faults: &'f [Fault]) -> Vec<&'f str> {
    let matching = faults.iter().filter(|fault| body.iter().any(|test| test.id == *fault.test));
    matching.map(|fault| fault.id.as_str()).collect()
}

/// Returns the part of a test's id before the body's name.
fn module(test: &Test) -> &str {
    test.id.rsplit_once("::").map_or("", |(module, _)| module)
}

/// Returns the word to which a value serialises.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}
