//! The options of Kata's own guest kernel with their purposes, and the comparison of a distro's kernel with them.
//!
//! `distros/profiles/kernel/fragments.yaml` has the options that Kata sets; `uses.yaml` next to it says what does not
//! work without them.
//! `harness/upstream` compares the fragments with a checkout of Kata's source.

mod config;
mod fragments;
mod judgement;
mod release;
mod uses;
mod version;

pub use config::{ConfigError, KernelConfig, OptionValue};
pub use fragments::{Condition, FOLDER, Fragment, Fragments, KataValue, KernelOption, folder_of};
pub use judgement::{Judged, OptionState};
pub use release::{KernelRelease, NotAKernelRelease};
pub use uses::{KernelUse, Use, Weight};
pub use version::KernelVersion;
