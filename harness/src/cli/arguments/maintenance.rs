//! Arguments of commands for maintainers.

use clap::Args;
use std::path::PathBuf;

/// Seconds in a year: more is a typing error, and can overflow a clock.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// `kata-qualify profiles`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProfilesArguments {
    /// A git repository with Kata's tags and its branch `main`, bare or not; it is only read.
    #[arg(long, value_name = "CHECKOUT")]
    pub against: PathBuf,
    /// Seconds that reading it may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    pub within: u64,
}
