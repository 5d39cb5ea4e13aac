//! The number of attempts at a test, each in a fresh guest.

use suites::outcome::Outcome;

/// The number of attempts at a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Number of further attempts after a failure or an error.
    pub retries: u32,
    /// Number of times that each test is run, whatever the outcome; with more than one, `retries` is not used.
    pub repeat: u32,
}

impl Attempts {
    /// Returns one attempt, with this many further ones after failures.
    pub fn retrying(retries: u32) -> Attempts {
        Attempts { retries, repeat: 1 }
    }

    /// Checks whether there is another attempt after this one, which is counted from 1.
    pub(super) fn has_another(self, attempt: u32, outcome: &Outcome) -> bool {
        match outcome {
            // Another guest would not change the outcome.
            Outcome::Skip { .. } | Outcome::Blocked { .. } => false,
            _ if self.repeat > 1 => attempt < self.repeat,
            Outcome::Fail(_) | Outcome::Error { .. } => attempt <= self.retries,
            Outcome::Pass => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suites::outcome::{Component, Failure};

    #[test]
    fn a_failure_is_retried_and_repeated_tests_run_the_given_times() {
        let fail = Outcome::Fail(Failure::new(Component::Qemu, "x"));
        let skip = Outcome::Skip { reason: "x".to_owned() };
        let runs = |attempts: Attempts, outcome: &Outcome| {
            (1..100).find(|attempt| !attempts.has_another(*attempt, outcome)).unwrap()
        };
        let repeating = |repeat| Attempts { retries: 1, repeat };
        for (attempts, of_pass, of_fail) in [
            (Attempts::retrying(0), 1, 1),
            (Attempts::retrying(2), 1, 3),
            (repeating(1), 1, 2),
            (repeating(2), 2, 2),
            (repeating(5), 5, 5),
        ] {
            assert_eq!((runs(attempts, &Outcome::Pass), runs(attempts, &fail)), (of_pass, of_fail), "{attempts:?}");
            assert_eq!(runs(attempts, &skip), 1, "{attempts:?}");
        }
    }
}
