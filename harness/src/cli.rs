//! The `kata-qualify` command: turns arguments into valid requests and results into exit codes.

mod accepted;
mod arguments;
mod base;
mod blame;
mod bring_up;
mod bug;
mod bundle;
mod chosen;
mod clean;
mod components;
mod diff;
mod doctor;
mod explain;
mod generate;
mod history;
mod input_run;
mod merge;
mod plan;
mod profiles;
mod prospect;
mod records;
mod report;
mod request;
mod resolved;
mod run;
mod shell;
mod site;
mod stale;
mod times;
mod transfer;
mod vouched;
mod watch;
mod write_back;

use crate::progress::{Printable, tell};
use anyhow::Context as _;
use arguments::{Arguments, Command, ExitStyle};
use clap::Parser as _;
use model::diagnostic::error_chain;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Exit codes of the process; `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// As recorded or better; a first record is never worse.
    AsRecorded = 0,
    /// Worse than recorded, a known issue at fault, or something stale; under `--strict`, any required capability that
    /// is not supported.
    Worse = 1,
    /// Bad usage or bad input, or a release that cannot be brought up here; nothing was run.
    Usage = 2,
    /// Infrastructure: something could not be judged, such as when no mirror answers, no given run can be written back,
    /// or `clean` could not remove everything.
    Infrastructure = 3,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// Exit code for a test that was skipped, for autopkgtest (README.package-tests: `skippable`).
const SKIPPED: u8 = 77;

impl Exit {
    /// Returns the process's exit code.
    fn code(self, style: ExitStyle) -> ExitCode {
        ExitCode::from(match (self, style) {
            (Exit::Infrastructure, ExitStyle::Autopkgtest) => SKIPPED,
            (exit, _) => exit as u8,
        })
    }
}

/// Bad usage or input: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Broken records: exit code 2. Each diagnostic begins with `error[RULE]`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BrokenRecords(String);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            let exit = if e.use_stderr() { Exit::Usage } else { Exit::AsRecorded };
            let _ = e.print();
            return exit.code(ExitStyle::Own);
        }
    };
    let level = if arguments.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(|| Printable).without_time().init();
    let style = arguments.command.exit_style();
    match dispatch(arguments, style) {
        Ok(code) => code,
        Err(e) => {
            let broken_records = e.is::<BrokenRecords>();
            let lead = if broken_records { "" } else { "error: " };
            tell(format_args!("{lead}{}", redact(&format!("{e:#}"))));
            let exit = if broken_records || e.is::<UsageError>() { Exit::Usage } else { Exit::Infrastructure };
            exit.code(style)
        }
    }
}

fn dispatch(arguments: Arguments, style: ExitStyle) -> anyhow::Result<ExitCode> {
    let exit = match arguments.command {
        // The program in the shell decides the exit code.
        Command::Shell(what) => return shell::shell(&what),
        Command::Run(run) => run::run(&run),
        Command::Rerun(what) => run::rerun(&what),
        Command::Plan(what) => plan::plan(&what),
        Command::List(list) => explain::list(&list),
        Command::Explain(what) => explain::explain(&what),
        Command::Matrix(what) => report::matrix(&what),
        Command::Profiles(what) => profiles::profiles(&what),
        Command::Watch(what) => watch::watch(&what.folder),
        Command::Merge(what) => merge::merge(&what),
        Command::WriteBack(what) => write_back::write_back(&what),
        Command::Bundle(what) => bundle::bundle(&what),
        Command::Verify(what) => bundle::verify(&what),
        Command::Report(what) => report::report(&what),
        Command::Site(what) => site::site(&what),
        Command::Diff(what) => diff::diff(&what),
        Command::Stale(what) => stale::stale(&what),
        Command::History(what) => history::history(&what),
        Command::Blame(what) => blame::blame(&what),
        Command::Bug(what) => bug::bug(&what),
        Command::Images(what) => transfer::images(&what.command),
        Command::Doctor(what) => doctor::doctor(what.fix),
        Command::Clean(what) => clean::clean(&what),
        Command::Generate(what) => generate::generate(&what.folder),
    };
    Ok(exit?.code(style))
}

/// Returns the cache directory for a command without an option for it.
///
/// # Errors
/// If neither the environment nor a home directory names one.
pub(crate) fn cache_folder() -> Result<std::path::PathBuf, UsageError> {
    arguments::cache(None)
}

/// Prints an answer on standard output.
///
/// A reader that closes it, as in `kata-qualify list | head`, is no error: a run's findings and its exit code do not
/// depend on it.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")
}

/// Shuts a runtime down. Returns false if something still blocks one of its threads after `within`; the thread then
/// ends with the process.
///
/// Dropping the runtime would wait for the thread.
fn shut_down(runtime: tokio::runtime::Runtime, within: Duration) -> bool {
    let since = Instant::now();
    runtime.shutdown_timeout(within);
    since.elapsed() < within
}

/// Makes a usage error from an error and all its causes.
fn usage(error: &dyn std::error::Error) -> UsageError {
    UsageError(error_chain(error))
}

fn redact(text: &str) -> String {
    reports::redact::text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_infrastructure_errors_exit_as_skipped_for_autopkgtest() {
        for (exit, own, autopkgtest) in [
            (Exit::AsRecorded, 0, 0),
            (Exit::Worse, 1, 1),
            (Exit::Usage, 2, 2),
            (Exit::Infrastructure, 3, 77),
            (Exit::Interrupted, 130, 130),
        ] {
            assert_eq!(exit.code(ExitStyle::Own), ExitCode::from(own));
            assert_eq!(exit.code(ExitStyle::Autopkgtest), ExitCode::from(autopkgtest));
        }
    }

    #[test]
    fn a_blocked_thread_does_not_delay_the_shutdown() {
        assert!(shut_down(runtime().unwrap(), Duration::from_secs(60)), "nothing is under way");
        let blocked = runtime().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let _task = blocked.spawn_blocking(move || {
            sender.send(()).unwrap();
            std::thread::sleep(Duration::from_secs(300));
        });
        receiver.recv().unwrap();
        let since = Instant::now();
        assert!(!shut_down(blocked, Duration::from_millis(200)));
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    }
}
