//! Final outcome of a test.

use suites::outcome::Outcome;

/// The final outcome of a test, derived from its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalOutcome {
    /// The outcome that counts.
    pub outcome: Outcome,
    /// How many attempts passed.
    pub passed: u32,
    /// How many attempts passed or failed.
    pub decided: u32,
}

impl FinalOutcome {
    /// Derives the final outcome from a test's attempts; `None` without any.
    ///
    /// The last attempt that passed or failed counts: an error while repeating a failure does not undo the failure.
    /// A pass counts only if nothing came after it: a test that later was in error, blocked or skipped was not shown to
    /// work that time. A failure or an error that is retried and passes ends with the pass.
    pub fn of<'a>(attempts: impl IntoIterator<Item = &'a Outcome>) -> Option<FinalOutcome> {
        let mut counts: Option<&Outcome> = None;
        let (mut passed, mut decided) = (0, 0);
        for outcome in attempts {
            let decides = matches!(outcome, Outcome::Pass | Outcome::Fail { .. });
            if decides || !matches!(counts, Some(Outcome::Fail { .. })) {
                counts = Some(outcome);
            }
            decided += u32::from(decides);
            passed += u32::from(*outcome == Outcome::Pass);
        }
        Some(FinalOutcome { outcome: counts?.clone(), passed, decided })
    }

    /// Derives the final outcome of a test that was repeated, from its attempts; `None` without any.
    ///
    /// An attempt in error shows nothing, so that a pass or a failure stands only if most of the attempts passed or
    /// failed: one pass among nine errors is no pass, and one failure among them blames nobody.
    pub fn of_repeated<'a>(attempts: impl IntoIterator<Item = &'a Outcome>) -> Option<FinalOutcome> {
        let attempts: Vec<&Outcome> = attempts.into_iter().collect();
        let last = FinalOutcome::of(attempts.iter().copied())?;
        let messages: Vec<&str> = attempts.iter().filter_map(|outcome| in_error(outcome)).collect();
        let is_decided = matches!(last.outcome, Outcome::Pass | Outcome::Fail(_));
        let Some(message) = messages.last().filter(|_| is_decided && messages.len() >= last.decided as usize) else {
            return Some(last);
        };
        let message = format!(
            "too few of the repetitions say anything: {} of {} were in error: {message}",
            messages.len(),
            attempts.len()
        );
        Some(FinalOutcome { outcome: Outcome::Error { message }, ..last })
    }

    /// Checks whether the test passed, but not every time.
    pub fn is_flaky(&self) -> bool {
        self.outcome == Outcome::Pass && self.passed < self.decided
    }

    /// Returns the worse of two outcomes, for a test that ran in two configurations of one profile.
    pub fn worse(self, other: FinalOutcome) -> FinalOutcome {
        let rank = |s: &FinalOutcome| match s.outcome {
            Outcome::Fail { .. } => 4,
            Outcome::Error { .. } => 3,
            Outcome::Blocked { .. } => 2,
            Outcome::Skip { .. } => 1,
            Outcome::Pass => 0,
        };
        let (passed, decided) = (self.passed + other.passed, self.decided + other.decided);
        let outcome = if rank(&other) > rank(&self) { other.outcome } else { self.outcome };
        FinalOutcome { outcome, passed, decided }
    }
}

/// Returns the message of an attempt in error.
fn in_error(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Error { message } => Some(message),
        Outcome::Pass | Outcome::Fail(_) | Outcome::Skip { .. } | Outcome::Blocked { .. } => None,
    }
}
