//! The options of Kata's own guest kernel, what they are for, and a distro's kernel held against them.
//!
//! `distros/profiles/kernel/fragments.yaml` says what Kata sets, and `uses.yaml` beside it what does not work without.
//! `harness/upstream` compares the first with a checkout of Kata's source.

mod config;
mod fragments;
mod judgement;
mod uses;
mod version;

pub use config::{ConfigError, KernelConfig, OptionValue};
pub use fragments::{Condition, FOLDER, Fragment, Fragments, KernelOption, Wanted, folder_of};
pub use judgement::{Judged, State};
pub use uses::{KernelUse, Use, Weight};
pub use version::KernelVersion;
