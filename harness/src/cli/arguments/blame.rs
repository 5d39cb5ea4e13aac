//! Arguments of `kata-qualify blame`, `bug` and `shell`, which are about one failed test.

use super::ImageArguments;
use clap::{Args, ValueEnum};
use model::profile::ProfileName;
use reports::bug::Form;
use reports::journal::CellId;
use std::path::PathBuf;

/// Which failed test of a run.
#[derive(Debug, Args)]
pub(in crate::cli) struct FailedTestArguments {
    /// The output folder of the run in which the test failed; `bug` also accepts a bundle.
    #[arg(value_name = "RUN")]
    pub dir: PathBuf,
    /// The test's id, or a part of it that matches no other failed test.
    #[arg(value_name = "TEST")]
    pub test: String,
    /// The cell in which it failed, needed if it failed in several: debian:12/x86_64/container.
    #[arg(long)]
    pub cell: Option<CellId>,
    /// The profile under which it failed [default: the first one].
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<ProfileName>,
}

/// `kata-qualify blame`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BlameArguments {
    #[command(flatten)]
    pub failed: FailedTestArguments,
    /// The release, by version, codename or alias, whose components are swapped in [default: one where the test passes
    /// according to the record; with --install, --with-packages or --overlay the release itself as shipped].
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
    /// Do not use the network, but the newest cached image of each release.
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
    /// Run this command instead of a shell. Without a terminal the shell reads its commands from standard input.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Kata to run containers with, as for the run.
    #[arg(long, value_name = "PATH|URL[#SHA256]")]
    pub kata: Vec<String>,
    /// Replacements of the distro's own components, as for the run.
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
    /// Launchpad: a mail with commands, which you have to sign.
    Launchpad,
    /// GitLab (also QEMU's upstream) or GitHub: an issue in Markdown.
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
    /// The tracker to report to [default: that of the component at fault].
    #[arg(long, value_enum, value_name = "TRACKER")]
    pub to: Option<To>,
    /// Also report what is not a bug, because the release never claimed to support it, as a wish.
    #[arg(long)]
    pub wishlist: bool,
    /// The folder for the report, the reproducer, the bundle, and instructions where to send them; must be empty or
    /// absent.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Run the reproducer three times, each time in a new container of the release's image. Packages that it needs are
    /// first installed into that image.
    #[arg(long)]
    pub reproduce: bool,
    /// Output folders of runs, or folders that contain such folders, to find out when the test last passed [default:
    /// kata-qualify-out, if it exists].
    #[arg(long = "runs", value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// With --reproduce: do not use the network, but the newest cached image of the release.
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub images: ImageArguments,
}
