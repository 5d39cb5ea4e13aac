//! The form of `kata-qualify blame`.

use super::ImageArguments;
use clap::Args;
use reports::journal::CellId;
use std::path::PathBuf;

/// `kata-qualify blame`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BlameArguments {
    /// The output folder of the run in which the test failed.
    #[arg(value_name = "RUN")]
    pub dir: PathBuf,
    /// The test's id, or a part of it that no other failed test has.
    #[arg(value_name = "TEST")]
    pub test: String,
    /// The cell in which it failed, where it did in several: debian:12/x86_64/container.
    #[arg(long)]
    pub cell: Option<CellId>,
    /// The profile under which it failed [default: the first one].
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// The release whose components are swapped in [default: one where the record says that the test passes; with
    /// --install, --with-packages or --overlay the release itself as it is shipped].
    #[arg(long, value_name = "RELEASE")]
    pub from: Option<String>,
    /// Kata to run containers with, as for the run.
    #[arg(long, value_name = "PATH|URL[#SHA256]")]
    pub kata: Vec<String>,
    /// Memory of a virtual machine, as for the run.
    #[arg(long, default_value_t = 4096, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1024..=1 << 20))]
    pub vm_memory: u32,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// Use no network, but the newest cached image of each release.
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub images: ImageArguments,
}
