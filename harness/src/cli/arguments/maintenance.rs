//! Arguments of commands for maintainers and about this machine.

use clap::Args;
use std::path::PathBuf;

/// Seconds in a year: more is a typing error, and can overflow a clock.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// `kata-qualify profiles`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProfilesArguments {
    /// A git repository with Kata's tags and its branch `main`, bare or not; it is not modified.
    #[arg(long, value_name = "CHECKOUT")]
    pub against: PathBuf,
    /// Time limit for reading it, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    pub within: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GenerateArguments {
    /// The folder; it is created if needed.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArguments {
    /// Install what is missing; must be run as root, and prints what it does.
    #[arg(long)]
    pub fix: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CleanArguments {
    /// Also remove cached images, here and in Docker.
    #[arg(long)]
    pub images: bool,
    /// Where images are cached [default: $KATA_QUALIFY_CACHE, else ~/.cache/kata-qualify].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}
