//! Arguments of commands about existing runs.

use super::{Format, RunArguments};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RerunArguments {
    /// The output folder of the run. Its cells and profiles are run again, unless others are given; repeat the other
    /// options that it was started with.
    #[arg(value_name = "RUN", conflicts_with_all = ["filters", "cells", "stale"])]
    pub run: PathBuf,
    #[command(flatten)]
    pub options: RunArguments,
}

/// How results are judged and shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct JudgedArguments {
    /// Records that replace or add to the shipped ones; the results are compared with them.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// Exit with 1 if anything required is not supported, whatever the record says.
    #[arg(long)]
    pub strict: bool,
    /// The matrix on standard output, or the results as JSON.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArguments {
    /// A run's output folder.
    pub dir: PathBuf,
    #[command(flatten)]
    pub judged: JudgedArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SiteArguments {
    /// Output folders of runs, or bundles; without any, the pages show only what the records say.
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder for the pages; must be empty, absent, or an older site, which is replaced completely.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeArguments {
    /// Output folders of runs or merged runs, or bundles; duplicates are ignored.
    #[arg(required = true, value_name = "DIR|BUNDLE")]
    pub runs: Vec<PathBuf>,
    /// Folder for the merged journal, reports and logs; must be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The plan of the runs, as printed by `plan --format json`: use the exit codes of a pipeline, and write its
    /// messages for people into the folder `pipeline` in --out. A bundle that cannot be read or is about other packages
    /// than the distros' own is left out, and so are cells outside its shard: exit 3, if nothing is worse.
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub judged: JudgedArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WriteBackArguments {
    /// Output folders of runs or merged runs, or bundles; entries that none of them finished stay unchanged.
    #[arg(required = true, value_name = "DIR|BUNDLE")]
    pub runs: Vec<PathBuf>,
    /// The folder of records, in which the folder verified/ is written; the shipped records are in distros/records. A
    /// folder without records or verified/ is refused.
    #[arg(long, value_name = "DIR")]
    pub records: PathBuf,
    /// The plan of the runs, as printed by `plan --format json`: results of other cells are not written.
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BundleArguments {
    /// A run's output folder.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The bundle [default: kata-qualify-<run>.tar.zst]; an existing file is not replaced.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Records that replace or add to the shipped ones; the reports in the bundle compare with them.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArguments {
    /// A bundle made by `kata-qualify bundle`, here or elsewhere.
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    #[command(flatten)]
    pub judged: JudgedArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WatchArguments {
    /// The output folder of a run, which may still be running or be finished.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}
