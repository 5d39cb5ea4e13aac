//! Arguments of commands that compare runs, the record and the mirror.

use super::{Format, ImageArguments};
use clap::Args;
use std::path::PathBuf;

/// Days after which an entry is stale, unless another number is given.
pub(in crate::cli) const AGE: u32 = 30;

/// `kata-qualify diff`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArguments {
    /// A run's output folder: what was before. Alone it is what is now, and what was before is the record.
    #[arg(value_name = "RUN")]
    pub a: PathBuf,
    /// Another run's output folder: what is now.
    #[arg(value_name = "RUN")]
    pub b: Option<PathBuf>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}

/// `kata-qualify stale`.
#[derive(Debug, Args)]
pub(in crate::cli) struct StaleArguments {
    /// Releases: `debian:13`, `debian`, `debian:11,12` [default: all that have an entry in the record].
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Kata families, or `all` [default: those that upstream maintains].
    #[arg(long = "profile", value_delimiter = ',', value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Days after which an entry is stale, whatever the mirror has.
    #[arg(long, value_name = "DAYS", default_value_t = AGE, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub age: u32,
    /// Ask no mirror: an entry's age and its test set only.
    #[arg(long)]
    pub offline: bool,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    #[command(flatten)]
    pub images: ImageArguments,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}

/// `kata-qualify history`.
#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArguments {
    /// A release: `debian:13`.
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Folders of runs, or folders that have such folders in them: they say more than the record [default:
    /// kata-qualify-out, where it is there].
    #[arg(long = "runs", value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}
