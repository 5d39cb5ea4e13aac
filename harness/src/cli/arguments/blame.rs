//! Arguments of `kata-qualify blame`, `bug` and `shell`, which are about one failed test.

use super::ImageArguments;
use clap::{Args, ValueEnum};
use reports::bug::Form;
use reports::journal::CellId;
use std::path::PathBuf;

/// Which failed test of a run.
#[derive(Debug, Args)]
pub(in crate::cli) struct FailedTestArguments {
    /// The output folder of the run in which the test failed; `bug` takes its bundle, too.
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
}

/// `kata-qualify blame`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BlameArguments {
    #[command(flatten)]
    pub failed: FailedTestArguments,
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

/// `kata-qualify shell`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShellArguments {
    #[command(flatten)]
    pub failed: FailedTestArguments,
    /// Run this in the place of a shell. Without a terminal a shell reads its commands from standard input.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Kata to run containers with, as for the run.
    #[arg(long, value_name = "PATH|URL[#SHA256]")]
    pub kata: Vec<String>,
    /// What took the place of the distro's own components, as for the run.
    #[arg(long = "component", value_name = "NAME=PATH|NAME@RELEASE")]
    pub components: Vec<String>,
    /// Memory of a virtual machine, as for the run.
    #[arg(long, default_value_t = 4096, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1024..=1 << 20))]
    pub vm_memory: u32,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    #[command(flatten)]
    pub images: ImageArguments,
}

/// The forms of trackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum To {
    /// Debian's tracker: a mail with pseudo-headers.
    Debian,
    /// A Bugzilla: the fields of a new bug, as JSON.
    Bugzilla,
    /// Launchpad: a mail with commands, for you to sign.
    Launchpad,
    /// GitLab or GitHub, also that of QEMU's makers: an issue in Markdown.
    Gitlab,
    /// Kata: an issue in Markdown.
    Kata,
}

impl From<To> for Form {
    fn from(to: To) -> Form {
        match to {
            To::Debian => Form::Debian,
            To::Bugzilla => Form::Bugzilla,
            To::Launchpad => Form::Launchpad,
            To::Gitlab => Form::Gitlab,
            To::Kata => Form::Kata,
        }
    }
}

/// `kata-qualify bug`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BugArguments {
    #[command(flatten)]
    pub failed: FailedTestArguments,
    /// For which tracker [default: that of whom the failure is].
    #[arg(long, value_enum, value_name = "TRACKER")]
    pub to: Option<To>,
    /// Also write down what is no bug, because the release never claimed it: as a wish.
    #[arg(long)]
    pub wishlist: bool,
    /// The folder for the report, the reproducer, the bundle, and where they should go; must be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Run the reproducer three times, each in a new container of the release's image. Packages that it needs are
    /// installed into that image first.
    #[arg(long)]
    pub reproduce: bool,
    /// Folders of runs, or folders that have such folders in them, that say when the test last passed [default:
    /// kata-qualify-out, where it is there].
    #[arg(long = "runs", value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// With --reproduce: use no network, but the newest cached image of the release.
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub images: ImageArguments,
}
