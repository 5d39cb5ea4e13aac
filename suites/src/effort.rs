//! How much random work is done, and from where it begins.

use serde::{Deserialize, Serialize};

/// How tests of random work go about it: as a run was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effort {
    /// What is random follows from it: the same seed gives the same work.
    pub seed: u64,
    /// At length: much more of it than in an ordinary run.
    pub thorough: bool,
}

impl Effort {
    /// The seed where none is asked for.
    pub const SEED: u64 = 1;

    /// How much to do: so much, or so much at length.
    pub(crate) fn of<T>(self, ordinary: T, thorough: T) -> T {
        if self.thorough { thorough } else { ordinary }
    }
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { seed: Effort::SEED, thorough: false }
    }
}
