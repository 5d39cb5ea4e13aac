//! Arguments of commands that compare runs, the record and the mirror.

use super::{Format, ImageArguments};
use clap::Args;
use std::path::PathBuf;

/// Days after which an entry is stale, unless another number is given.
pub(in crate::cli) const AGE: u32 = 30;

/// `kata-qualify diff`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArguments {
    /// The output folder of the earlier run. If it is the only one, it is compared with the record.
    #[arg(value_name = "RUN")]
    pub a: PathBuf,
    /// The output folder of the later run.
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
    /// Profiles, or `all` [default: those that upstream maintains].
    #[arg(long = "profile", value_delimiter = ',', value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Days after which an entry is stale, even if the mirror has the same versions.
    #[arg(long, value_name = "DAYS", default_value_t = AGE, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub age: u32,
    /// Ask no mirror: check only an entry's age and its test set.
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
    /// One release, by version, codename or alias: `debian:13`.
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Output folders of runs, or folders that contain such folders, to be used in addition to the record [default:
    /// kata-qualify-out, if it exists].
    #[arg(long = "runs", value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}
