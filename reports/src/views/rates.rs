//! Pass rates of repeated tests, for people.

use crate::run::by_profile;
use crate::standing::Standings;
use crate::verdict::FinalOutcome;
use crate::views::wording::Labels;
use std::collections::BTreeMap;
use suites::outcome::Outcome;

/// The outcomes of a test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rate {
    passed: u32,
    failed: u32,
    /// Attempts that neither passed nor failed, and thus show nothing.
    errors: u32,
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
                let rate = of(instance.attempts.iter().map(|attempt| &attempt.outcome));
                match rate {
                    Rate { passed: 0, failed: 0, errors: 0 } => {}
                    Rate { passed, failed: 0, errors: 0 } => *always.entry(passed).or_default() += 1,
                    _ => lines.push(format!("  {} ({profile}): {}", instance.test, words(rate))),
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

fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> Rate {
    let errors = outcomes.clone().filter(|outcome| matches!(outcome, Outcome::Error { .. })).count();
    let (passed, decided) = FinalOutcome::of(outcomes).map_or((0, 0), |last| (last.passed, last.decided));
    Rate { passed, failed: decided.saturating_sub(passed), errors: u32::try_from(errors).unwrap_or(u32::MAX) }
}

/// Formats a rate: `3 of 5 (60 %), 1 in error`.
fn words(rate: Rate) -> String {
    let decided = rate.passed + rate.failed;
    let errors = if rate.errors == 0 { String::new() } else { format!(", {} in error", rate.errors) };
    match decided {
        0 => format!("never decided{errors}"),
        _ => format!("{} of {decided} ({} %){errors}", rate.passed, u64::from(rate.passed) * 100 / u64::from(decided)),
    }
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
    }
}
