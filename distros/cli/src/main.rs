//! `kata-osinfo`: queries the records of distros, checks and installs the components they name, and configures Kata to
//! use them.

/// Replaces the standard macro, which panics if standard error cannot be written: the exit code still tells the result.
macro_rules! eprintln {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arguments)*);
    }};
}

mod commands;
mod schema;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use commands::system::GlobalArguments;
use commands::{
    EXIT_CODES, Exit, Failed, Format, check, configure, detect, fallback, generate, install, lint, list, requirements,
    show, unconfigure, verified,
};
use model::diagnostic::{error_chain, printable};
use operator::configure::state::ChangeError;
use operator::configure::{HandlerError, LocateError, PrepareError};
use root::RootError;
use schema::SchemaOf;
use std::ffi::OsString;
use std::process::ExitCode;

/// Output of `--version`, which includes the commit that the program was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KATA_QUALIFY_COMMIT"), ")");

/// What each Linux distro offers Kata Containers, what of it is installed here, and what was proved of it.
#[derive(Debug, Parser)]
#[command(name = "kata-osinfo", version, long_version = VERSION, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print which distro, release and architecture the system is.
    Detect(detect::DetectArguments),
    /// Print what is known of a release: packages, paths, suites, and the verified matrix.
    Show(show::ShowArguments),
    /// Print what of it is installed: where, which version, of which package.
    Check(check::CheckArguments),
    /// Print whether what is installed was proved to work: for which profile, on what basis, how long ago.
    Verified(verified::VerifiedArguments),
    /// Print the name of the system's package installer.
    Installer(install::InstallerArguments),
    /// Print the packages to install.
    Packages(install::PackagesArguments),
    /// Install the packages by the system's own package manager; as root.
    ///
    /// On the running system it runs as it does by hand, and may go on when this program is killed.
    /// In another root (`--root`) it runs in a sandbox: the root's own program or this machine's, with what packages start,
    /// as ids that own nothing here, with that root as all that it may write to, with a network only while it fetches, and
    /// killed with this program.
    /// That needs Linux 5.12, namespaces, and a filesystem that can map ids; without, nothing is run there.
    /// While it fetches, a hostile root may reach the network; else it may use time, memory and space, and read what
    /// everybody may read here.
    Install(install::InstallArguments),
    /// Make Kata use what the distro has: a drop-in beside the configuration that Kata reads, or an edit of it before Kata 2.5.
    Configure(Box<configure::ConfigureArguments>),
    /// Take back everything that `configure` wrote, to the byte; what others have changed since stays.
    Unconfigure(unconfigure::UnconfigureArguments),
    /// Say what to do where something is missing or does not work: the next best, packages, one's own entry, or a build.
    Fallback(Box<fallback::FallbackArguments>),
    /// Print what a distro's package must have, with Kata's source for each demand.
    Requirements(requirements::RequirementsArguments),
    /// Check records: syntax, keys, names, dates, paths.
    Lint(lint::LintArguments),
    /// Print the JSON Schema of a record, of a file of verdicts or of known issues, or of what a call answers to programs.
    Schema {
        /// Of which.
        #[arg(value_enum, default_value_t = SchemaOf::Record)]
        of: SchemaOf,
    },
    /// Write the man pages and the completions of bash, zsh and fish into a directory, for a package to install.
    Generate(generate::GenerateArguments),
    /// List the releases that are known, all or those of a distro or family, or supported on a day.
    List(list::ListArguments),
}

impl Command {
    /// Whether the answer is for programs.
    fn is_json(&self) -> bool {
        let format = match self {
            Command::Detect(arguments) => arguments.format,
            Command::Show(arguments) => arguments.format,
            Command::Check(arguments) => arguments.about.format,
            Command::Verified(arguments) => arguments.about.format,
            Command::Installer(arguments) => arguments.about.format,
            Command::Packages(arguments) => arguments.about.format,
            Command::Install(arguments) => arguments.about.format,
            Command::Configure(arguments) => arguments.machine.about.format,
            Command::Unconfigure(arguments) => arguments.format,
            Command::Fallback(arguments) => arguments.machine.about.format,
            Command::Requirements(arguments) => arguments.format,
            Command::List(arguments) => arguments.format,
            // Findings are answers, while a missing text to check is reported as an error, like that of any subcommand.
            Command::Lint(arguments) => return arguments.is_json(),
            Command::Schema { .. } | Command::Generate(_) => Format::Human,
        };
        format == Format::Json
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    let exit = match run(&arguments) {
        Ok(exit) => exit,
        // The reader of the output has seen enough: `kata-osinfo show | head`.
        Err(error) if is_broken_pipe(&error) => Exit::Ok,
        Err(error) => report(&error, arguments.command.is_json()),
    };
    ExitCode::from(exit as u8)
}

/// Prints the requested help, or the usage error, which a program gets as the answer, too.
fn misused(error: &clap::Error) -> ExitCode {
    // If the output fails, the exit code still tells the result.
    let _ = error.print();
    if error.use_stderr() && asks_for_json(&std::env::args_os().collect::<Vec<_>>()) {
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        let message = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
            _ => message.strip_prefix("error: ").unwrap_or(&message),
        };
        let hint = paragraphs.find(|told| told.starts_with("tip: ") || told.starts_with("Usage: "));
        let document = serde_json::json!({
            "version": 1, "error": { "kind": "usage", "message": message, "hint": hint },
        });
        let _ = commands::json(&document);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::BadInput as u8))
}

/// Whether a call with a usage error asked for an answer for programs.
fn asks_for_json(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "--format=json") || words.windows(2).any(|two| two == ["--format", "json"])
}

/// Reports an error on standard error and, to a program, as the answer.
fn report(error: &anyhow::Error, as_json: bool) -> Exit {
    let message = match is_unprinted(error) {
        true => format!("the answer could not be printed: {error}"),
        false => error_chain(error.as_ref()),
    };
    let failed = error.downcast_ref::<Failed>();
    let (exit, kind, hint) = match failed {
        Some(failed) => (failed.exit, failed.kind, failed.hint.as_deref()),
        None => match root_error(error).filter(|error| error.is_unreadable() || may_not_write(error)) {
            Some(RootError::TooLarge { .. } | RootError::TooMany { .. }) => {
                (Exit::Unknown, "unreadable", Some("put it elsewhere, if it is not meant to be there"))
            }
            Some(RootError::Write { .. }) => {
                (Exit::Unknown, "unwritable", Some("run it as a user who may write that, such as root"))
            }
            Some(_) => (Exit::Unknown, "unreadable", Some("run it as a user who may read that, such as root")),
            None if is_unprinted(error) => (Exit::Unknown, "unprinted", None),
            None => (Exit::BadInput, "bad-input", None),
        },
    };
    eprintln!("error: {}", printable(&message));
    if let Some(hint) = hint {
        eprintln!("hint: {}", printable(hint));
    }
    if as_json {
        let document = serde_json::json!({
            "version": 1, "error": { "kind": kind, "message": message, "hint": hint },
        });
        // If the output fails, the exit code still tells the result.
        let _ = commands::json(&document);
    }
    exit
}

/// Returns the error about the root inside any of the error types that wrap it.
fn root_error(error: &anyhow::Error) -> Option<&RootError> {
    fn of_change(error: &ChangeError) -> Option<&RootError> {
        if let ChangeError::Root(error) = error { Some(error) } else { None }
    }
    fn of_handler(error: &HandlerError) -> Option<&RootError> {
        match error {
            HandlerError::Root(error) => Some(error),
            HandlerError::Change(error) => of_change(error),
            _ => None,
        }
    }
    fn of_locate(error: &LocateError) -> Option<&RootError> {
        if let LocateError::Root(error) = error { Some(error) } else { None }
    }
    fn of_prepare(error: &PrepareError) -> Option<&RootError> {
        match error {
            PrepareError::Root(error) => Some(error),
            PrepareError::Change(error) => of_change(error),
            PrepareError::Handler(error) => of_handler(error),
            _ => None,
        }
    }
    let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error
        .downcast_ref::<RootError>()
        .or_else(|| error.downcast_ref().and_then(of_change))
        .or_else(|| error.downcast_ref().and_then(of_handler))
        .or_else(|| error.downcast_ref().and_then(of_prepare))
        .or_else(|| error.downcast_ref().and_then(of_locate))
        .or_else(|| io.and_then(|inner| inner.downcast_ref()))
}

/// Whether the error is that a user other than root may not write a file.
fn may_not_write(error: &RootError) -> bool {
    let RootError::Write { source, .. } = error else { return false };
    source.kind() == std::io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root()
}

/// Whether the error is that the answer could not be printed: every other I/O error says what was being done.
fn is_unprinted(error: &anyhow::Error) -> bool {
    error.chain().count() == 1 && error.downcast_ref::<std::io::Error>().is_some_and(|e| e.raw_os_error().is_some())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Detect(arguments) => detect::run(common, arguments),
        Command::Show(arguments) => show::run(common, arguments),
        Command::Check(arguments) => check::run(common, arguments),
        Command::Verified(arguments) => verified::run(common, arguments),
        Command::Installer(arguments) => install::installer(common, arguments),
        Command::Packages(arguments) => install::packages(common, arguments),
        Command::Install(arguments) => install::install(common, arguments),
        Command::Configure(arguments) => configure::run(common, arguments),
        Command::Unconfigure(arguments) => unconfigure::run(common, arguments),
        Command::Fallback(arguments) => fallback::run(common, arguments),
        Command::Requirements(arguments) => requirements::run(arguments),
        Command::Lint(arguments) => lint::run(arguments),
        Command::Schema { of } => {
            commands::print(&schema::document(*of)?)?;
            Ok(Exit::Ok)
        }
        Command::Generate(arguments) => generate::run(arguments, Arguments::command()),
        Command::List(arguments) => list::run(common, arguments),
    }
}
