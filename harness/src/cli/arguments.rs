//! Definition of the command line.

use crate::built_in::VERSION;
use crate::cli::UsageError;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use model::arch::Arch;
use reports::journal::Environment;
use std::path::{Path, PathBuf};
use suites::environment::Effort;

mod blame;
mod compared;
mod exit_style;
mod known;
mod maintenance;
mod results;
mod transfer;

pub(super) use blame::{BlameArguments, BugArguments, FailedTestArguments, ShellArguments};
pub(super) use compared::{AGE, DiffArguments, HistoryArguments, StaleArguments};
pub(super) use exit_style::ExitStyle;
pub(super) use known::{ExplainArguments, ListArguments, ListWhat, MatrixArguments};
pub(super) use maintenance::{CleanArguments, DoctorArguments, GenerateArguments, ProfilesArguments};
pub(super) use results::{
    BundleArguments, MergeArguments, ReportArguments, RerunArguments, SiteArguments, VerifyArguments, WatchArguments,
    WriteBackArguments,
};
pub(super) use transfer::{ImagesArguments, ImagesCommand};

/// Proves what each distro offers Kata Containers: boots its releases, tests their native QEMU, virtiofsd and kernel in
/// guests started the way Kata starts them, and writes the verified support matrix back into the records.
#[derive(Debug, Parser)]
#[command(name = "kata-qualify", version, long_version = VERSION, max_term_width = 110, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// Print more on standard error.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub command: Command,
}

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    as recorded or better (a first record is never worse)
  1    worse than recorded; a known issue must be corrected; with --strict: something required is not supported;
       `diff`: worse; `stale`: something is stale; `bug --reproduce`: the script did not reproduce it each time
  2    bad usage or bad input, or a release that cannot be brought up here (see `plan`); nothing was run;
       `bug`: there is nothing to report
  3    infrastructure: something could not be judged (no mirror answers, for example), or `clean` is incomplete
  130  interrupted";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Qualify releases: `debian:13`, `debian`, `debian:11,12`, `all`.
    Run(Box<RunArguments>),
    /// Run again the tests that a run did not pass, did not reach or did not have; `merge` joins the two runs.
    Rerun(Box<RerunArguments>),
    /// Show for each release whether and how `run` can bring it up here, and if not, why; boots and fetches nothing.
    Plan(Box<PlanArguments>),
    /// List tests, capabilities, profiles and releases, without running anything.
    List(ListArguments),
    /// Explain a test or a capability: what it proves, why Kata needs it, what it requires.
    Explain(ExplainArguments),
    /// Print the verified results in the records as Markdown, as in `docs/matrix.md`.
    Matrix(MatrixArguments),
    /// For maintainers: compare the profiles with a checkout of Kata's source, release by release.
    Profiles(ProfilesArguments),
    /// Follow a run in another terminal: what each cell is doing, and every failure. Ends with the run.
    Watch(WatchArguments),
    /// Join the output folders or bundles of several runs: shards, a run and its rerun, copies of a run.
    Merge(MergeArguments),
    /// Write the results of finished runs, from here or elsewhere, into the folder verified/ of records, for people to
    /// review. Bundles are judged again.
    WriteBack(WriteBackArguments),
    /// Pack a run into one file for others: journal, reports, manifests, and the logs of what failed.
    Bundle(BundleArguments),
    /// Judge a bundle again with this program's tests and show what it proves. Writes no records, and runs nothing.
    Verify(VerifyArguments),
    /// Write all reports again from a run's journal; the exit code is that of `run` with the current records.
    Report(ReportArguments),
    /// Write a static site about records and runs: answers, matrix, packages, tests, changes; a feed, badges and JSON.
    Site(SiteArguments),
    /// Compare two runs, or a run with the record: verdicts, causes (new, known, fixed or flaky) and packages.
    Diff(DiffArguments),
    /// Show which entries of the record are stale: the mirror has other versions, the entry is old, or the tests have
    /// changed. Boots nothing.
    Stale(Box<StaleArguments>),
    /// Show when a release last worked, according to the record and to kept runs.
    History(HistoryArguments),
    /// Find the component that causes a failure: repeat a failed test with the VMM, the daemon or the kernel of a
    /// release where it passes. Exits with 3 if there is no verdict.
    Blame(Box<BlameArguments>),
    /// Write a bug report about a test that failed in a run, for the tracker that is responsible, with a script that
    /// reproduces the failure. Sends nothing. Exits with 2, and says why, if there is nothing to report.
    Bug(Box<BugArguments>),
    /// Open a shell where a test failed: in the kept container, or in the same environment, brought up again with the
    /// test's guest. Exits with the code of the shell, or of the command after `--`, and removes the environment.
    Shell(Box<ShellArguments>),
    /// Copy cached images from one machine to another, so that a shard need not make them.
    Images(ImagesArguments),
    /// Show what this machine can do and what it lacks.
    Doctor(DoctorArguments),
    /// Remove what earlier runs left behind; with --images also the cached images, in the cache and in Docker.
    Clean(CleanArguments),
    /// For packagers: write man pages and completions for bash, fish and zsh.
    Generate(GenerateArguments),
}

/// Where releases are brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum In {
    /// The release's root filesystem as a Docker container.
    Container,
    /// The release's root filesystem as a disk, booted with its own kernel and init.
    Vm,
    /// This machine, as it is; nothing is installed.
    Host,
}

impl From<Environment> for In {
    fn from(environment: Environment) -> In {
        match environment {
            Environment::Container => In::Container,
            Environment::Vm => In::Vm,
            Environment::Host => In::Host,
        }
    }
}

impl From<In> for Environment {
    fn from(place: In) -> Environment {
        match place {
            In::Container => Environment::Container,
            In::Vm => Environment::Vm,
            In::Host => Environment::Host,
        }
    }
}

/// Where an image's base comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SourceArgument {
    /// Bootstrap if the distro's tool is installed and a mirror is known, else the OCI image.
    Auto,
    /// The distro family's own tool (mmdebstrap, dnf, pacman, apk).
    Bootstrap,
    /// The record's OCI image.
    Oci,
}

/// The form of data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// What a run writes on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RunFormat {
    /// The matrix, for people.
    Human,
    /// The results, for programs, at the end of the run.
    Json,
    /// The journal's events as they happen, for programs; the matrix goes to standard error.
    Ndjson,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RunArguments {
    /// Releases: `debian:13`, `debian`, `debian:11,12`, `all`. With `--in host` name none: it tests the release that
    /// this machine runs. With --stale the default is all releases that have an entry in the record.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// A file with the cells to run, instead of targets and --in: a plan (`plan --format json`), one of its shards, a
    /// JSON list, or one cell per line, for example debian:13/x86_64/container.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["targets", "environments", "resume"])]
    pub cells: Option<PathBuf>,
    /// The number of the shard to run of the plan given with --cells, counted from 0 as in job arrays.
    #[arg(long, value_name = "K", requires = "cells", value_parser = clap::value_parser!(u16).range(0..256))]
    pub shard: Option<u16>,
    /// Resume the killed or interrupted run in this folder: tests that had finished are not run again. Releases,
    /// environments, profiles and tests are taken from its journal; repeat the other options that it was started with.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["targets", "environments", "profiles", "filters", "out"])]
    pub resume: Option<PathBuf>,
    /// Where to bring releases up [default: container, or vm if no Docker engine answers].
    #[arg(long = "in", value_enum, value_delimiter = ',', value_name = "ENVIRONMENT")]
    pub environments: Vec<In>,
    /// The architecture of the releases: aarch64, ppc64le, s390x, x86_64. Any other than this machine's is emulated, in
    /// virtual machines only (--in vm) [default: this machine's].
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<Arch>,
    /// Memory of a virtual machine, in which guests run.
    #[arg(long, default_value_t = 4096, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1024..=1 << 20))]
    pub vm_memory: u32,
    /// Profiles to qualify for, or `all` [default: those that upstream maintains].
    #[arg(long = "profile", value_delimiter = ',', value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Also run containers with this Kata: a release archive (kata-static-*.tar.xz or .zst), with the SHA-256 that it
    /// must have, or an unpacked one. Can be given once for a Go runtime and once for a Rust runtime. Needs --in vm.
    #[arg(long, value_name = "PATH|URL[#SHA256]")]
    pub kata: Vec<String>,
    /// A file to use instead of the distro's own virtiofsd, qemu, or (for Kata's guests) kernel; or that of another
    /// release, with all that it needs: qemu@debian:13. Verdicts become `partial`. A cloud-hypervisor or firecracker is
    /// tested in addition, in virtual machines.
    #[arg(long = "component", value_name = "NAME=PATH|NAME@RELEASE")]
    pub components: Vec<String>,
    /// Run only tests whose id contains this, or that prove the capability of this name (vmm.vsock), and the tests that
    /// can block them; several are separated by commas. Capabilities that they prove completely can be written back.
    #[arg(long = "test", value_delimiter = ',', value_name = "FILTER", value_parser = NonEmptyStringValueParser::new())]
    pub filters: Vec<String>,
    /// Run only the cells whose entry in the record is stale according to `kata-qualify stale`.
    #[arg(long, conflicts_with_all = ["cells", "resume"])]
    pub stale: bool,
    /// Folder for journal, reports and logs [default: kata-qualify-out/<time>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// Write the verified results into the folder verified/ of --records, or of distros/records in the current folder.
    #[arg(long)]
    pub write_back: bool,
    /// How many guests run at the same time [default: the number of CPUs, at most 7].
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=7))]
    pub jobs: Option<u16>,
    /// How often to retry a failing test in a fresh guest; one that then passes is flaky.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub retries: u32,
    /// Run every test this many times, each time in a fresh guest, and report how often it passed. Nothing else is
    /// retried, except that tests that failed in an emulated machine run as often again in a fresh one.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,
    /// Seed of tests that do random work: the same number does the same work. Their notes contain it.
    #[arg(long, default_value_t = Effort::SEED, value_name = "N")]
    pub seed: u64,
    /// Test random work and large directories much longer: ten times as long, and more.
    #[arg(long)]
    pub thorough: bool,
    /// Find the cause of each new failure, as `blame` does, for at most the first five. Takes minutes for each.
    #[arg(long)]
    pub blame: bool,
    /// Do not first run the release without --with-packages, but compare with the record.
    #[arg(long, requires = "with_packages")]
    pub no_base: bool,
    /// Keep the containers, so that you can inspect them: `shell` opens a shell in one and then removes it, `clean`
    /// removes all of them.
    #[arg(long)]
    pub keep: bool,
    /// Like --keep, but only for cells in which a test failed or could not be judged.
    #[arg(long, conflicts_with = "keep")]
    pub keep_failed: bool,
    /// The output folder of a run that shows how long cells take; can be given several times [default: the last runs in
    /// kata-qualify-out, or the plan given with --cells].
    #[arg(long = "times-of", value_name = "RUN")]
    pub times_of: Vec<PathBuf>,
    /// Exit with 1 if anything required is not supported, whatever the record says.
    #[arg(long)]
    pub strict: bool,
    /// Do not use the network, but the newest cached image of each release.
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub images: ImageArguments,
    /// Limit for cached images, in GiB. At the end of a run the least recently used images that are not in use are
    /// removed, with their copies in Docker, which do not count [default: $KATA_QUALIFY_CACHE_SIZE, else 20].
    #[arg(long, value_name = "GIB")]
    pub cache_size: Option<u64>,
    /// What is written to standard output: the matrix, the results as JSON, or the journal line by line during the run.
    #[arg(long, value_enum, default_value = "human")]
    pub format: RunFormat,
    /// Exit codes as listed below, or for autopkgtest: 77 (skipped) instead of 3.
    #[arg(long, value_enum, default_value = "own")]
    pub exit_style: ExitStyle,
}

// How images of releases are made; a doc comment would become the text of the commands that take it.
#[derive(Debug, Clone, Args)]
pub(super) struct ImageArguments {
    /// Accept a mirror whose signed index has expired; this is noted in the evidence.
    #[arg(long)]
    pub accept_expired: bool,
    /// The archive to install from [default: the one that this machine's apt uses, else mmdebstrap's default; for other
    /// package managers the base's own repositories]. For RPM the folder with `repodata`, for pacman the one with
    /// `core` and `extra`, for apk the one with `main`; for these the run is shaped, as with --mirror-key, because
    /// the distro's key also signs packages of other releases.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// The mirror of the security updates, which --mirror does not cover [default: found as for --mirror].
    #[arg(long, value_name = "URL")]
    pub security_mirror: Option<String>,
    /// A key that signs the packages or indexes of --mirror and that neither the base nor this machine has. Such a run
    /// is shaped: it may not show the distro's own packages, its reports say so, and it can be written back only into
    /// your own folder of --records.
    #[arg(long = "mirror-key", value_name = "FILE", requires = "mirror")]
    pub mirror_keys: Vec<PathBuf>,
    /// Where an image's base comes from.
    #[arg(long, value_enum, default_value = "auto")]
    pub source: SourceArgument,
    /// Use the vendor's cloud image (qcow2) as the base; exactly one release must be named. The checksum, `#sha256:HEX`
    /// or `#sha512:HEX`, is required for an address and optional for a path. The run is shaped, as with --mirror-key.
    #[arg(long, value_name = "PATH|URL#CHECKSUM", conflicts_with = "source")]
    pub cloud_image: Option<String>,
    /// Use an OCI image as the base; exactly one release must be named. Takes an archive of `docker save`, or an OCI
    /// layout as a folder or tar archive. The checksum is that of the archive, or for a folder the digest of the image
    /// in it; it is required for an address and optional for a path. The run is shaped, as with --mirror-key. Needs no
    /// Docker engine.
    #[arg(long, value_name = "PATH|URL[#CHECKSUM]", conflicts_with_all = ["source", "cloud_image"])]
    pub oci_image: Option<String>,
    /// Also install this package (name, .deb, .rpm, .pkg.tar.zst or .apk) in the release: a candidate, never written
    /// back.
    #[arg(long = "install", value_name = "PACKAGE")]
    pub install: Vec<String>,
    /// Replace the release's packages of the same names by these: candidates, never written back. Takes package files,
    /// a .changes with the .deb files that it names, or a .dsc with those beside it. Debug symbols are left out. `run`
    /// first runs the release without them, in the same environments, and its exit code says whether the candidates are
    /// worse.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub with_packages: Vec<PathBuf>,
    /// Add this folder to the release like an image layer (`.wh.NAME` deletes): a candidate, never written back.
    #[arg(long, value_name = "DIR")]
    pub overlay: Option<PathBuf>,
    /// Where images are cached [default: $KATA_QUALIFY_CACHE, else ~/.cache/kata-qualify].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// Releases: `debian:13`, `debian`, `debian:11,12` [default: all].
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Where to bring releases up [default: container, or vm if no Docker engine answers].
    #[arg(long = "in", value_enum, value_delimiter = ',', value_name = "ENVIRONMENT")]
    pub environments: Vec<In>,
    /// The architecture of the releases, as for `run`.
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<Arch>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// Show what the cached images alone allow, without the network.
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub images: ImageArguments,
    /// Distribute the cells over at most N shards, each for one machine: `run --cells PLAN --shard K` runs one of them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// The output folder of a run that shows how long cells take; can be given several times.
    #[arg(long = "times-of", value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}

/// Returns the cache directory: from the option, the environment, or the user's own.
pub(super) fn cache(option: Option<&Path>) -> Result<PathBuf, UsageError> {
    if let Some(dir) = option {
        return absolute(dir);
    }
    if let Some(dir) = std::env::var_os("KATA_QUALIFY_CACHE").filter(|d| !d.is_empty()) {
        return absolute(Path::new(&dir));
    }
    let base = home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("kata-qualify")).ok_or_else(|| {
        UsageError("neither $XDG_CACHE_HOME nor $HOME is an absolute path: name the cache with --cache".to_owned())
    })
}

/// Returns a directory of the user. A relative path is ignored (XDG Base Directory Specification), because it would
/// name a different directory in each working directory.
pub(super) fn home(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

/// Default limit for the cache, in GiB. The five releases of Debian as containers and as disks take about 10.
const CACHE_SIZE: u64 = 20;

/// Returns the cache's limit in bytes: from the option, the environment, or the default.
pub(super) fn budget(option: Option<u64>) -> Result<u64, UsageError> {
    let from_environment = std::env::var("KATA_QUALIFY_CACHE_SIZE").ok().filter(|text| !text.is_empty());
    let gib = match (option, from_environment) {
        (Some(gib), _) => gib,
        (None, Some(text)) => text
            .trim()
            .parse()
            .map_err(|_| UsageError(format!("KATA_QUALIFY_CACHE_SIZE is `{text}`: expected a number of GiB")))?,
        (None, None) => CACHE_SIZE,
    };
    Ok(gib.saturating_mul(1 << 30))
}

fn absolute(path: &Path) -> Result<PathBuf, UsageError> {
    std::path::absolute(path).map_err(|e| UsageError(format!("{}: {e}", path.display())))
}
