//! Pass rates of repeated tests.

use crate::matrix::Matrix;
use crate::run::{TestRun, by_profile};
use crate::standing::Standings;
use crate::views::wording::Labels;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use suites::outcome::Outcome;

/// The outcomes of a test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Rate {
    /// Attempts that passed.
    passed: u32,
    /// Attempts that passed or failed.
    decided: u32,
    /// Attempts in error, which show nothing.
    errors: u32,
}

impl Rate {
    /// Returns the rate of a test that was repeated (`--repeat`); `None` if it was not, or if no attempt has a result.
    pub(crate) fn of(matrix: &Matrix, instance: &TestRun) -> Option<Rate> {
        matrix.repeat?;
        Some(of(instance.attempts.iter().map(|attempt| &attempt.outcome))).filter(|rate| *rate != Rate::default())
    }

    /// Checks whether every attempt passed.
    pub(crate) fn is_whole(self) -> bool {
        self.passed == self.decided && self.errors == 0
    }

    /// Formats the rate: `3 of 5 (60 %), 1 in error`.
    pub(crate) fn words(self) -> String {
        let Rate { passed, decided, errors } = self;
        let errors = if errors == 0 { String::new() } else { format!(", {errors} in error") };
        match decided {
            0 => format!("never decided{errors}"),
            _ => format!("{passed} of {decided} ({} %){errors}", u64::from(passed) * 100 / u64::from(decided)),
        }
    }
}

/// Returns the rates of tests that were repeated and did not pass each time; `None` if nothing was repeated.
///
/// Tests that were only retried after a failure have no rate: repeating only failures makes the rate too low.
pub fn rates(standings: &Standings<'_>) -> Option<String> {
    let matrix = standings.matrix;
    matrix.repeat?;
    let labels = Labels::new(matrix);
    let mut out = String::from("Passes of each test\n");
    for cell in &matrix.cells {
        let mut always: BTreeMap<u32, usize> = BTreeMap::new();
        let mut lines = Vec::new();
        for (profile, instances) in by_profile(&cell.instances) {
            for instance in instances {
                match Rate::of(matrix, instance) {
                    None => {}
                    Some(rate) if rate.is_whole() => *always.entry(rate.passed).or_default() += 1,
                    Some(rate) => lines.push(format!("  {} ({profile}): {}", instance.test, rate.words())),
                }
            }
        }
        let counted: Vec<String> = always.iter().map(|(of, count)| format!("{count} passed {of} of {of}")).collect();
        let counted = if counted.is_empty() { "no test passed every time".to_owned() } else { counted.join(", ") };
        out.push_str(&format!("{}: {counted}\n", labels.of(cell)));
        lines.sort();
        for line in lines {
            out.push_str(&line);
            out.push('\n');
        }
    }
    Some(out)
}

fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Rate {
    let mut rate = Rate::default();
    for outcome in outcomes {
        rate.passed += u32::from(*outcome == Outcome::Pass);
        rate.decided += u32::from(matches!(outcome, Outcome::Pass | Outcome::Fail { .. }));
        rate.errors += u32::from(matches!(outcome, Outcome::Error { .. }));
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Event, RunFacts};
    use crate::sample::{BOOT, HOTPLUG, QMP, error, fail, judged, run, standings};
    use suites::outcome::Component;

    #[test]
    fn tests_with_failures_have_a_pass_rate_and_the_rest_is_counted() {
        let mut maker = run(|_| None);
        let (end, cell_end) = (maker.journal.entries.pop().unwrap(), maker.journal.entries.pop().unwrap());
        let fails = || fail(Component::Qemu, "no reply");
        for (test, more) in [
            (QMP, vec![fails(), Outcome::Pass, Outcome::Pass, error("the line ended")]),
            (BOOT, vec![Outcome::Pass, Outcome::Pass]),
            (HOTPLUG, vec![Outcome::Pass, fails()]),
        ] {
            for (number, outcome) in (2..).zip(more) {
                maker.attempt("13", &["go-3.29"], test, number, outcome);
            }
        }
        maker.journal.entries.extend([cell_end, end]);
        assert_eq!(rates(&standings(&judged(&maker))), None, "nobody asked for rates");
        if let Event::RunStarted { facts, .. } = &mut maker.journal.entries[0].event {
            *facts = Some(RunFacts { repeat: Some(5), ..RunFacts::default() });
        }
        let matrix = judged(&maker);
        let text = rates(&standings(&matrix)).unwrap();
        let expected = format!(
            "Passes of each test\n\
             debian 13: 5 passed 1 of 1, 1 passed 3 of 3\n\
             \x20 {HOTPLUG} (go-3.29): 2 of 3 (66 %)\n\
             \x20 {QMP} (go-3.29): 3 of 4 (75 %), 1 in error\n\
             \x20 {} (go-3.29): 0 of 1 (0 %)\n",
            crate::sample::TDX
        );
        assert_eq!(text, expected);
        // Every output has them.
        let standings = standings(&matrix);
        let markdown = crate::views::markdown::render(&standings);
        assert!(markdown.contains("## Pass rates\n") && markdown.contains(&expected), "{markdown}");
        let tests = crate::sample::catalogue();
        let pages = crate::views::site::pages(&crate::views::site::of_run(&standings, &[], &tests));
        assert!(pages.values().any(|page| page.contains("3 of 4 (75 %), 1 in error")), "{:?}", pages.keys());
        let json = crate::views::json::render(&standings).unwrap();
        assert!(json.contains(r#""rate":{"passed":3,"decided":4,"errors":1}"#), "{json}");
    }
}
