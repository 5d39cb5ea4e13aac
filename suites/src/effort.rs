//! The amount of random work, and the seed that it starts from.

use serde::{Deserialize, Serialize};

/// The run's settings for tests with random work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effort {
    /// The seed of all random choices: the same seed gives the same work.
    pub seed: u64,
    /// Whether to do much more work than in an ordinary run.
    pub thorough: bool,
}

impl Effort {
    /// The seed if none is asked for.
    pub const SEED: u64 = 1;

    /// Chooses between the amounts for an ordinary and a thorough run.
    pub(crate) fn of<T>(self, ordinary: T, thorough: T) -> T {
        if self.thorough { thorough } else { ordinary }
    }
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { seed: Effort::SEED, thorough: false }
    }
}
