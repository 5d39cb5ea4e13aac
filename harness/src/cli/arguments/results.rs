//! Arguments of commands about existing runs.

use super::{Format, RunArguments};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RerunArguments {
    /// The output folder of the run. Its cells and profiles are run again, unless others are named here; give the other
    /// options again that it was started with.
    #[arg(value_name = "RUN", conflicts_with_all = ["filter", "cells", "stale"])]
    pub run: PathBuf,
    #[command(flatten)]
    pub options: RunArguments,
}

/// How results are judged and shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct JudgedArguments {
    /// Records that replace or add to the shipped ones; what is judged is compared with them.
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
    /// Output folders of runs, or bundles; without any the pages show what the records say.
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder for the pages; must be empty, absent, or an older site, which is replaced whole.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeArguments {
    /// Output folders of runs, merged ones too, or bundles; the same one may come twice.
    #[arg(required = true, value_name = "DIR|BUNDLE")]
    pub runs: Vec<PathBuf>,
    /// Folder for the journal, reports and logs of all of them; must be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What was to be run, as `plan --format json` prints it: a pipeline's exit code, and the folder `pipeline` in --out
    /// with what it tells people. A bundle that cannot be read counts as missing: exit 3, if nothing is worse.
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub judged: JudgedArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WriteBackArguments {
    /// Output folders of runs, merged ones too, or bundles; what none of them saw to its end stays as it is.
    #[arg(required = true, value_name = "DIR|BUNDLE")]
    pub runs: Vec<PathBuf>,
    /// The records, whose folder verified/ is written; the shipped ones lie in distros/records. A folder without records
    /// or verified/ is refused.
    #[arg(long, value_name = "DIR")]
    pub records: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BundleArguments {
    /// A run's output folder.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The bundle [default: kata-qualify-<run>.tar.zst]; one that is there is not replaced.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Records that replace or add to the shipped ones; the reports in the bundle compare with them.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArguments {
    /// What `bundle` has made, here or elsewhere.
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    #[command(flatten)]
    pub judged: JudgedArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WatchArguments {
    /// The output folder of a run that goes on, or of one that is over.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}
